//! The codec against prost-reflect, over arbitrary schemas, messages and JSON texts.
//!
//! Valid input must mean the same to both. Of input that may be invalid, both must think the same, but
//! for the rows of [`JSON_DIFFERENCES`] and [`WIRE_DIFFERENCES`]: each says whose refusal it is, how
//! that refusal reads, and why the codec is right.

use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::Value as Json;
use transom::codec::options::{JsonOptions, Unknown};
use transom::codec::{json_to_wire, wire_to_json};
use transom::schema::Schema;
use transom::schema::plan::MessageId;

use crate::arbitrary::{json, message, schema, wire};
use crate::dice::Dice;
use crate::oracle::{self, SLACK, output_options, same_json, same_message, show};

/// How many schemas a property sees; each is asked for a dozen messages.
const SCHEMAS: u64 = 40;
const MESSAGES_PER_SCHEMA: usize = 12;
const DEPTH: usize = 3;

/// One message type of an arbitrary schema, and the dice to go on with.
struct Case<'a, 'd> {
    seed: u64,
    dice: &'a mut Dice<'d>,
    schema: &'a Schema,
    id: MessageId,
    descriptor: MessageDescriptor,
}

fn for_each_case(mut check: impl FnMut(Case<'_, '_>)) {
    for seed in 0..SCHEMAS {
        let mut dice = Dice::seeded(seed);
        let schema = schema::schema(&mut dice);
        for _ in 0..MESSAGES_PER_SCHEMA {
            let id = schema.message_id(dice.pick::<&str>(&schema::MESSAGES)).expect("every schema has it");
            let descriptor = schema.descriptor(id).clone();
            check(Case { seed, dice: &mut dice, schema: &schema, id, descriptor });
        }
    }
}

impl Case<'_, '_> {
    fn message(&mut self) -> DynamicMessage {
        message::message(self.dice, &self.descriptor, DEPTH)
    }

    fn wire(&mut self) -> Vec<u8> {
        message::encode(&self.message())
    }

    fn to_json(&self, options: &JsonOptions, wire: &[u8]) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        wire_to_json(self.schema, self.id, options, wire, &mut out).map_err(|status| status.to_string())?;
        Ok(out)
    }

    fn to_wire(&self, options: &JsonOptions, json: &[u8]) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        json_to_wire(self.schema, self.id, options, json, &mut out).map_err(|status| status.to_string())?;
        Ok(out)
    }

    fn decode(&self, wire: &[u8]) -> DynamicMessage {
        let decoded = DynamicMessage::decode(self.descriptor.clone(), wire);
        decoded.unwrap_or_else(|error| panic!("{}: not a message: {error}: {wire:x?}", self.place()))
    }

    fn place(&self) -> String {
        format!("seed {}, `{}`", self.seed, self.descriptor.full_name())
    }

    /// Both write the same JSON.
    #[track_caller]
    fn check_output(&self, options: &JsonOptions, wire: &[u8]) {
        let expected = oracle::wire_to_json(&self.descriptor, options, wire);
        let expected = expected.unwrap_or_else(|error| panic!("{}: oracle: {error}", self.place()));
        let ours = self.to_json(options, wire).unwrap_or_else(|error| {
            panic!("{}: {error}\n{}\n{wire:x?}", self.place(), String::from_utf8_lossy(&expected))
        });
        let (ours_value, expected_value) = (parse(&ours), parse(&expected));
        assert!(
            same_json(&ours_value, &expected_value, SLACK),
            "{}, {options:?}\n  ours: {}\noracle: {}\n  wire: {wire:x?}",
            self.place(),
            String::from_utf8_lossy(&ours),
            String::from_utf8_lossy(&expected),
        );
    }
}

fn parse(json: &[u8]) -> Json {
    serde_json::from_slice(json)
        .unwrap_or_else(|error| panic!("not JSON: {error}: {}", String::from_utf8_lossy(json)))
}

#[test]
fn wire_becomes_the_oracles_json_under_every_option() {
    for_each_case(|mut case| {
        let wire = case.wire();
        for options in output_options() {
            case.check_output(&options, &wire);
        }
    });
}

#[test]
fn scrambled_wire_means_what_it_means_to_the_oracle() {
    for_each_case(|mut case| {
        let wire = case.wire();
        for _ in 0..4 {
            let wire = wire::scramble(case.dice, &case.descriptor, &wire).expect("valid wire");
            case.check_output(&JsonOptions::default(), &wire);
        }
    });
}

#[test]
fn json_becomes_the_oracles_message() {
    for_each_case(|case| {
        for _ in 0..4 {
            let json = json::json(case.dice, &case.descriptor, DEPTH);
            let options = JsonOptions::default();
            let expected = oracle::from_json(&case.descriptor, &options, json.as_bytes())
                .unwrap_or_else(|error| panic!("{}: oracle: {error}\n{json}", case.place()));
            let wire = case
                .to_wire(&options, json.as_bytes())
                .unwrap_or_else(|error| panic!("{}: {error}\n{json}", case.place()));
            let ours = case.decode(&wire);
            assert!(
                same_message(&ours, &expected, 0.0),
                "{}\n  json: {json}\n  ours: {}\noracle: {}",
                case.place(),
                show(&ours),
                show(&expected)
            );
        }
    });
}

#[test]
fn messages_survive_the_way_there_and_back() {
    for_each_case(|mut case| {
        let message = case.message();
        let wire = message::encode(&message);
        for options in output_options() {
            let json = case.to_json(&options, &wire).expect("valid wire");
            let back = case.to_wire(&options, &json).unwrap_or_else(|error| {
                panic!("{}: {error}\n{}", case.place(), String::from_utf8_lossy(&json))
            });
            assert!(same_message(&case.decode(&back), &message, 0.0), "{}: {}", case.place(), parse(&json));
        }
    });
}

/// Who refuses what the other accepts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Refuses {
    Codec,
    Oracle,
}

/// A justified difference: a piece of the refusal's text, and the reason.
type Difference = (Refuses, &'static str, &'static str);

const JSON_DIFFERENCES: &[Difference] = &[
    (Refuses::Codec, "occurs twice", "ProtoJSON has no duplicate names or keys; the oracle takes the last"),
    (Refuses::Codec, "has no value", "a closed enum has the numbers it declares"),
    (Refuses::Codec, "invalid UTF-8", "what is ignored is still JSON text; the oracle does not look"),
    (Refuses::Codec, "in a string", "the same"),
    (Refuses::Codec, "expected an integer", "a fraction stays one where an f64 has no room for it"),
    (Refuses::Codec, "out of range for", "numbers just out of range are not their nearest neighbour"),
    (Refuses::Codec, "expected a number", "`inf`, `nan` and `+1` are how Rust spells numbers, not ProtoJSON"),
    (Refuses::Codec, "expected base64", "padding that does not complete the last four characters is damage"),
    (Refuses::Codec, "expected an RFC 3339", "a timestamp has at most nine digits of fraction"),
    (Refuses::Codec, "expected a duration", "a duration has at most nine digits of fraction"),
    (Refuses::Codec, "field mask path", "an empty path is none that can be written back"),
    (Refuses::Oracle, "invalid base64", "one text may use both alphabets"),
    (Refuses::Oracle, "number out of range", "serde_json takes the largest double for infinity"),
    (Refuses::Oracle, "invalid digit", "integers in quotes may have an exponent or a zero fraction, too"),
    (Refuses::Oracle, "expected a string or integer", "an enum's number is an integer: `1e0` is one"),
    (Refuses::Oracle, "unexpected value in map", "unknown names in `Empty` are ignored like any others"),
];

const WIRE_DIFFERENCES: &[Difference] = &[
    (Refuses::Codec, "holds no kind of value", "a `Value` without a value is an error (struct.proto)"),
    (Refuses::Codec, "that JSON does not have", "nor may its number be NaN or an infinity (struct.proto)"),
    (Refuses::Codec, "field mask path", "control characters and quotes are in no path"),
    (
        Refuses::Oracle,
        "invalid wire type",
        "another wire type makes an unknown field (protobuf.dev, Encoding)",
    ),
    (Refuses::Oracle, "not UTF-8", "proto2 checks no string; what is no UTF-8 shows as U+FFFD"),
    (Refuses::Oracle, "not found", "an `Any` of unknown type is shown as it is"),
    (Refuses::Oracle, "unsupported type url", "an empty `Any` is `{}`"),
    (
        Refuses::Oracle,
        "invalid tag value",
        "a oneof's member that a later one replaces is passed over unread",
    ),
    (Refuses::Oracle, "invalid key value", "the same"),
];

#[track_caller]
fn check_verdicts(
    place: &str,
    input: &dyn std::fmt::Debug,
    ours: Result<(), &String>,
    oracle: Result<(), &String>,
    differences: &[Difference],
) {
    let (who, text) = match (ours, oracle) {
        (Err(text), Ok(())) => (Refuses::Codec, text),
        (Ok(()), Err(text)) => (Refuses::Oracle, text),
        _ => return,
    };
    let listed = differences.iter().any(|(by, piece, _)| *by == who && text.contains(piece));
    assert!(listed, "{place}: {who:?} alone refuses: {text}\n{input:?}");
}

#[test]
fn mutated_json_gets_the_oracles_verdict() {
    const INSERTS: [&[u8]; 24] = [
        b",",
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b":",
        b"null",
        b"0",
        b"-",
        b".",
        b"e9",
        b"e400",
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"\xff",
        b"\x00",
        b" ",
        b"true",
        b"\"a\":1,",
        b"[null]",
        b"99999999999999999999",
        b"1.5",
    ];
    for_each_case(|case| {
        for round in 0..16 {
            let mut text = json::json(case.dice, &case.descriptor, 2).into_bytes();
            wire::mutate(case.dice, &mut text, &INSERTS);
            let unknown = if round % 2 == 0 { Unknown::Reject } else { Unknown::Ignore };
            let options = JsonOptions { unknown, ..JsonOptions::default() };
            let ours = case.to_wire(&options, &text);
            let oracle = oracle::from_json(&case.descriptor, &options, &text);
            let input = String::from_utf8_lossy(&text);
            let (ours_verdict, oracle_verdict) = (ours.as_ref().map(drop), oracle.as_ref().map(drop));
            check_verdicts(&case.place(), &input, ours_verdict, oracle_verdict, JSON_DIFFERENCES);
            if let (Ok(wire), Ok(expected)) = (ours, oracle) {
                let ours = case.decode(&wire);
                assert!(
                    same_message(&ours, &expected, SLACK),
                    "{}
{input}
{}
{}",
                    case.place(),
                    show(&ours),
                    show(&expected)
                );
            }
        }
    });
}

#[test]
fn mutated_wire_gets_the_oracles_verdict() {
    const INSERTS: [&[u8]; 10] = [
        b"\x00",
        b"\xff",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x80",
        b"\x0a\x02",
        b"\x0b",
        b"\x0c",
        b"\x08\x01",
        b"\x12\x00",
        b"\x0d\x00\x00\x80\x3f",
    ];
    for_each_case(|mut case| {
        let valid = case.wire();
        for _ in 0..16 {
            let mut bytes = valid.clone();
            wire::mutate(case.dice, &mut bytes, &INSERTS);
            if oracle::misreads_a_map(&case.descriptor, &bytes) {
                continue;
            }
            let options = JsonOptions::default();
            let ours = case.to_json(&options, &bytes);
            let oracle = oracle::wire_to_json(&case.descriptor, &options, &bytes);
            ours.iter().for_each(|json| drop(parse(json)));
            let (ours_verdict, oracle_verdict) = (ours.as_ref().map(drop), oracle.as_ref().map(drop));
            check_verdicts(&case.place(), &bytes, ours_verdict, oracle_verdict, WIRE_DIFFERENCES);
            if let (Ok(ours), Ok(expected)) = (&ours, &oracle)
                && !oracle::holds_unknown_closed(&case.decode(&bytes))
            {
                let (ours, expected) = (parse(ours), parse(expected));
                assert!(
                    same_json(&ours, &expected, SLACK),
                    "{}\n{bytes:x?}\n{ours}\n{expected}",
                    case.place()
                );
            }
        }
    });
}
