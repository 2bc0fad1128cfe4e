//! The codec against prost-reflect, over arbitrary schemas, messages and JSON texts.
//!
//! Valid input must mean the same to both; what may be invalid is the subject of `codec_verdicts`.

use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::Value as Json;
use transom::codec::options::JsonOptions;
use transom::codec::{json_to_wire, wire_to_json};
use transom::schema::Schema;
use transom::schema::plan::MessageId;

use crate::arbitrary::{json, message, schema, wire};
use crate::dice::Dice;
use crate::oracle::{self, SLACK, output_options, same_json, same_message, show};

/// How many schemas a property sees, where `TRANSOM_SCHEMAS` says no other number: seconds' worth. Each is
/// asked for a dozen messages.
const SCHEMAS: u64 = if cfg!(debug_assertions) { 20 } else { 400 };
const MESSAGES_PER_SCHEMA: usize = 12;
const DEPTH: usize = 3;

/// One message type of an arbitrary schema, and the dice to go on with.
pub(crate) struct Case<'a, 'd> {
    pub(crate) seed: u64,
    pub(crate) dice: &'a mut Dice<'d>,
    pub(crate) schema: &'a Schema,
    pub(crate) id: MessageId,
    pub(crate) descriptor: MessageDescriptor,
}

pub(crate) fn for_each_case(mut check: impl FnMut(Case<'_, '_>)) {
    for seed in 0..schemas() {
        let mut dice = Dice::seeded(seed);
        let schema = schema::schema(&mut dice);
        for _ in 0..MESSAGES_PER_SCHEMA {
            let id = schema.message_id(dice.pick::<&str>(&schema::MESSAGES)).expect("every schema has it");
            let descriptor = schema.descriptor(id).clone();
            check(Case { seed, dice: &mut dice, schema: &schema, id, descriptor });
        }
    }
}

pub(crate) fn schemas() -> u64 {
    let count = std::env::var("TRANSOM_SCHEMAS").ok();
    count.map_or(SCHEMAS, |count| count.parse().expect("`TRANSOM_SCHEMAS` is a number"))
}

impl Case<'_, '_> {
    pub(crate) fn message(&mut self) -> DynamicMessage {
        message::message(self.dice, &self.descriptor, DEPTH)
    }

    pub(crate) fn wire(&mut self) -> Vec<u8> {
        message::encode(&self.message())
    }

    pub(crate) fn to_json(&self, options: &JsonOptions, wire: &[u8]) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        wire_to_json(self.schema, self.id, options, wire, &mut out).map_err(|status| status.to_string())?;
        Ok(out)
    }

    pub(crate) fn to_wire(&self, options: &JsonOptions, json: &[u8]) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        json_to_wire(self.schema, self.id, options, json, &mut out).map_err(|status| status.to_string())?;
        Ok(out)
    }

    pub(crate) fn decode(&self, wire: &[u8]) -> DynamicMessage {
        let decoded = DynamicMessage::decode(self.descriptor.clone(), wire);
        decoded.unwrap_or_else(|error| panic!("{}: not a message: {error}: {wire:x?}", self.place()))
    }

    pub(crate) fn place(&self) -> String {
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

pub(crate) fn parse(json: &[u8]) -> Json {
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
