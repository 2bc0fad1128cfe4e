//! Input that may be invalid: the codec and prost-reflect must think the same of it.
//!
//! But for the rows of [`JSON_DIFFERENCES`] and [`WIRE_DIFFERENCES`]: each says whose refusal it is, how
//! that refusal reads, why the codec is right, and has the least input that shows it.

use std::collections::BTreeMap;

use prost_reflect::DescriptorPool;
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};
use transom::codec::options::{JsonOptions, Unknown};
use transom::codec::{json_to_wire, wire_to_json};
use transom::schema::plan::MessageId;
use transom::schema::{Schema, Traits};

use crate::arbitrary::{json, wire};
use crate::codec_differential::{for_each_case, parse};
use crate::oracle::{self, SLACK, same_json, same_message, show};

/// Who refuses what the other accepts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Refuses {
    Codec,
    Oracle,
}

/// A justified difference.
struct Difference {
    by: Refuses,
    /// How the refusal reads, without the codec's place; `*` stands for anything.
    text: &'static str,
    why: &'static str,
    /// The least that shows it: a type that [`find`] knows, and its JSON or bytes.
    case: (&'static str, &'static [u8]),
}

const fn codec(
    text: &'static str,
    why: &'static str,
    message: &'static str,
    case: &'static [u8],
) -> Difference {
    Difference { by: Refuses::Codec, text, why, case: (message, case) }
}

const fn oracle(
    text: &'static str,
    why: &'static str,
    message: &'static str,
    case: &'static [u8],
) -> Difference {
    Difference { by: Refuses::Oracle, text, why, case: (message, case) }
}

#[rustfmt::skip]
const JSON_DIFFERENCES: &[Difference] = &[
    codec("the field occurs twice", "ProtoJSON has no duplicate names; the oracle takes the last",
        "SourceContext", br#"{"fileName":"a","fileName":"a"}"#),
    codec("a key occurs twice", "nor duplicate keys",
        "Struct", br#"{"a":1,"a":1}"#),
    codec("`*` has no value `*`", "a closed enum has the numbers it declares",
        "FieldDescriptorProto", br#"{"type":99}"#),
    codec("invalid UTF-8 at line * column *", "what is ignored is still JSON text; the oracle does not look",
        "SourceContext", b"{\"a\":\"\xff\"}"),
    codec("a lone surrogate in a string at line * column *", "the same",
        "SourceContext", br#"{"a":"\ud800"}"#),
    codec("expected an integer", "a fraction stays one where an f64 has no room for it",
        "Int64Value", b"9007199254740993.5"),
    codec("expected an integer", "what is quoted is a number as JSON has it, without leading zeros",
        "Int64Value", br#""00""#),
    codec("out of range for *64", "numbers just out of range are not their nearest neighbour",
        "UInt64Value", b"18446744073709551616"),
    codec("out of range for double", "nor is a number that is too large an infinity",
        "DoubleValue", br#""1e400""#),
    codec("out of range for float", "the same",
        "FloatValue", br#""1e39""#),
    codec("expected a number", "`inf`, `nan`, `+1` and `01` are how Rust spells numbers, not JSON",
        "DoubleValue", br#""01""#),
    codec("expected base64", "padding that does not complete the last four characters is damage",
        "BytesValue", br#""AA=""#),
    codec("expected an RFC 3339 timestamp like *", "a timestamp has at most nine digits of fraction",
        "Timestamp", br#""2000-01-01T00:00:00.0000000001Z""#),
    codec("expected a duration in seconds like *", "a duration has at most nine digits of fraction",
        "Duration", br#""0.0000000001s""#),
    codec("a field mask path would not survive the change of case", "an empty path is none that can be written back",
        "FieldMask", br#"",""#),
    oracle("*invalid base64*", "one text may use both alphabets",
        "BytesValue", br#""+_AA""#),
    oracle("invalid digit found in string at line * column *", "a quoted integer may have an exponent, too",
        "Int32Value", br#""1e0""#),
    oracle("expected integer value at line * column *", "serde_json, as it is built here, misreads the fraction",
        "Int64Value", b"114620362035801.000"),
    oracle("number out of range at line * column *", "nor does it round to the largest double",
        "DoubleValue", b"1.7976931348623157623157e308"),
    oracle("invalid type: integer `*`, expected null at line * column *", "`NullValue` is an open enum",
        "Nulls", br#"{"null":-1}"#),
    oracle("Invalid type floating point `*`. Expected a string or integer at line * column *",
        "the same, as the oracle says it where `@type` comes last",
        "Any", br#"{"type":1e0,"@type":"x/google.protobuf.FieldDescriptorProto"}"#),
    oracle("invalid type: floating point `*`, expected a string or integer at line * column *",
        "an enum's number is an integer: `1e0` is one",
        "FieldDescriptorProto", br#"{"type":1e0}"#),
];

#[rustfmt::skip]
const WIRE_DIFFERENCES: &[Difference] = &[
    codec("`google.protobuf.Value` holds no kind of value", "it is an error (struct.proto)",
        "Value", b""),
    codec("field mask path has no JSON form", "control characters and quotes are in no path",
        "FieldMask", b"\x0a\x01\""),
    codec("timestamp is not within the years 1 to 9999", "nanos count from 0 to 999999999 (timestamp.proto)",
        "Timestamp", b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    codec("duration is out of range or its parts differ in sign", "as it says (duration.proto)",
        "Duration", b"\x08\x01\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    oracle("*failed to decode Protobuf message: *invalid wire type: * (expected *)",
        "another wire type makes an unknown field (protobuf.dev, Encoding)",
        "SourceContext", b"\x08\x01"),
    oracle("failed to decode Protobuf message: *invalid string value: data is not UTF-8 encoded",
        "a proto2 string need not be UTF-8 where it is replaced; shown, both refuse it",
        "FileDescriptorProto", b"\x0a\x01\xff\x0a\x00"),
    oracle("message '*' not found", "an `Any` of unknown type is shown as it is",
        "Any", b"\x0a\x03x/y"),
    oracle("unsupported type url '*'", "the same, of a name that no type could have; and an empty `Any` is `{}`",
        "Any", b""),
];

/// Whether `text` is `pattern`, where `*` stands for anything.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return text == pattern };
    let Some(text) = text.strip_prefix(head) else { return false };
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    ends.into_iter().any(|at| is_like(&text[at..], rest))
}

impl Difference {
    fn covers(&self, by: Refuses, text: &str) -> bool {
        self.by == by
            && match by {
                Refuses::Codec => is_like(text, &format!("*: {}", self.text)),
                Refuses::Oracle => is_like(text, self.text),
            }
    }
}

/// Who alone refuses, and how.
fn difference<'t>(
    ours: Result<(), &'t String>,
    oracle: Result<(), &'t String>,
) -> Option<(Refuses, &'t str)> {
    match (ours, oracle) {
        (Err(text), Ok(())) => Some((Refuses::Codec, text)),
        (Ok(()), Err(text)) => Some((Refuses::Oracle, text)),
        _ => None,
    }
}

/// What was found to differ without being listed.
struct Verdicts {
    differences: &'static [Difference],
    /// By who refuses and why, without the numbers in it: the shortest input.
    unlisted: BTreeMap<String, String>,
}

impl Verdicts {
    fn new(differences: &'static [Difference]) -> Self {
        Self { differences, unlisted: BTreeMap::new() }
    }

    fn note(&mut self, place: &str, input: &str, ours: Result<(), &String>, oracle: Result<(), &String>) {
        let Some((by, text)) = difference(ours, oracle) else { return };
        if self.differences.iter().any(|difference| difference.covers(by, text)) {
            return;
        }
        let reason = text.rsplit(": ").next().unwrap_or(text);
        let reason: String = reason.chars().filter(|char| !char.is_ascii_digit()).collect();
        let found = format!("{place}: {by:?} alone refuses: {text}\n    {input}");
        let shortest = self.unlisted.entry(format!("{by:?} {reason}")).or_insert_with(|| found.clone());
        if found.len() < shortest.len() {
            *shortest = found;
        }
    }

    #[track_caller]
    fn close(self) {
        let found: Vec<String> = self.unlisted.into_values().collect();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// One of Google's types, by its short name, or [`nulls`].
fn find(name: &str) -> (Schema, MessageId) {
    let mut pool = DescriptorPool::global();
    pool.add_file_descriptor_proto(nulls()).expect("a valid file");
    let schema = Schema::new(pool, Traits::default());
    let id = schema.message_id(&format!("google.protobuf.{name}")).or_else(|| schema.message_id(name));
    let id = id.unwrap_or_else(|| panic!("no {name}"));
    (schema, id)
}

/// `message Nulls { google.protobuf.NullValue null = 1; }`
fn nulls() -> FileDescriptorProto {
    let mut field = FieldDescriptorProto {
        name: Some("null".to_owned()),
        number: Some(1),
        type_name: Some(".google.protobuf.NullValue".to_owned()),
        ..FieldDescriptorProto::default()
    };
    field.set_type(Type::Enum);
    field.set_label(Label::Optional);
    FileDescriptorProto {
        name: Some("nulls.proto".to_owned()),
        dependency: vec!["google/protobuf/struct.proto".to_owned()],
        syntax: Some("proto3".to_owned()),
        message_type: vec![DescriptorProto {
            name: Some("Nulls".to_owned()),
            field: vec![field],
            ..DescriptorProto::default()
        }],
        ..FileDescriptorProto::default()
    }
}

/// What is wrong with the case of a row.
fn check_case(
    difference: &Difference,
    read: impl Fn(&Schema, MessageId, &[u8]) -> (Result<(), String>, Result<(), String>),
) -> Option<String> {
    let Difference { by, text, why, case: (message, case) } = difference;
    let (schema, id) = find(message);
    let (ours, oracle) = read(&schema, id, case);
    let found = self::difference(ours.as_ref().map(drop), oracle.as_ref().map(drop));
    let covered = found.is_some_and(|(by, text)| difference.covers(by, text));
    let case = case.escape_ascii();
    let wrong = || format!("{by:?}, `{text}` ({why}): {message} `{case}`\n  {ours:?}\n  {oracle:?}\n");
    (!covered).then(wrong)
}

#[test]
fn every_difference_has_its_case() {
    let options = JsonOptions { unknown: Unknown::Ignore, ..JsonOptions::default() };
    let json = JSON_DIFFERENCES.iter().filter_map(|difference| {
        check_case(difference, |schema, id, json| {
            let ours = json_to_wire(schema, id, &options, json, &mut Vec::new());
            let oracle = oracle::from_json(schema.descriptor(id), &options, json);
            (ours.map_err(|status| status.to_string()), oracle.map(drop))
        })
    });
    let wire = WIRE_DIFFERENCES.iter().filter_map(|difference| {
        check_case(difference, |schema, id, wire| {
            let ours = wire_to_json(schema, id, &options, wire, &mut Vec::new());
            let oracle = oracle::wire_to_json(schema.descriptor(id), &options, wire);
            (ours.map_err(|status| status.to_string()), oracle.map(drop))
        })
    });
    let wrong: String = json.chain(wire).collect();
    assert!(wrong.is_empty(), "{wrong}");
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
    let mut verdicts = Verdicts::new(JSON_DIFFERENCES);
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
            verdicts.note(&case.place(), &input, ours_verdict, oracle_verdict);
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
    verdicts.close();
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
    let mut verdicts = Verdicts::new(WIRE_DIFFERENCES);
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
            verdicts.note(&case.place(), &format!("{bytes:x?}"), ours_verdict, oracle_verdict);
            if let (Ok(ours), Ok(expected)) = (&ours, &oracle)
                && !oracle::holds_unknown_closed(&case.decode(&bytes))
            {
                let (ours, expected) = (oracle::without_quirks(parse(ours)), parse(expected));
                let expected = oracle::without_quirks(expected);
                assert!(
                    same_json(&ours, &expected, SLACK),
                    "{}\n{bytes:x?}\n{ours}\n{expected}",
                    case.place()
                );
            }
        }
    });
    verdicts.close();
}
