//! Floats, bit by bit: what JSON says is read as the nearest value, and what is written reads back the same.
//!
//! The standard library's parser is the oracle: serde_json's, as it is built here, may miss by one.

use prost_reflect::DescriptorPool;
use transom::codec::options::JsonOptions;
use transom::codec::{json_to_wire, wire_to_json};
use transom::schema::{Schema, Traits};

use crate::dice::Dice;

const ROUNDS: usize = 20_000;

/// The wrapper `name` read from JSON: the bytes behind its tag.
fn read(schema: &Schema, name: &str, json: &str) -> Vec<u8> {
    let id = schema.message_id(name).expect("a well-known type");
    let mut wire = Vec::new();
    json_to_wire(schema, id, &JsonOptions::default(), json.as_bytes(), &mut wire).expect(json);
    // Zero is absent.
    wire.get(1..).unwrap_or_default().to_vec()
}

fn write(schema: &Schema, name: &str, tag: u8, value: &[u8]) -> String {
    let id = schema.message_id(name).expect("a well-known type");
    let mut json = Vec::new();
    let wire = [&[tag], value].concat();
    wire_to_json(schema, id, &JsonOptions::default(), &wire, &mut json).expect("a float has a JSON form");
    String::from_utf8(json).expect("JSON is UTF-8")
}

fn schema() -> Schema {
    Schema::new(DescriptorPool::global(), Traits::default())
}

#[test]
fn decimals_are_read_as_the_nearest_float() {
    let (schema, mut dice) = (schema(), Dice::seeded(1));
    for _ in 0..ROUNDS {
        let digits = 10u64.pow(1 + dice.below(18) as u32);
        let whole = dice.word() % digits;
        let fraction = dice.word() % 10u64.pow(1 + dice.below(18) as u32);
        let exponent = dice.below(40) as i32 - 20;
        let text = match dice.below(3) {
            0 => whole.to_string(),
            1 => format!("{whole}.{fraction}"),
            _ => format!("-{whole}.{fraction}e{exponent}"),
        };
        let double: f64 = text.parse().expect("a number");
        let float: f32 = text.parse().expect("a number");
        let expected = |bytes: &[u8], is_zero: bool| if is_zero { Vec::new() } else { bytes.to_vec() };
        assert_eq!(
            read(&schema, "google.protobuf.DoubleValue", &text),
            expected(&double.to_le_bytes(), double.to_bits() == 0),
            "{text}"
        );
        if float.is_finite() {
            assert_eq!(
                read(&schema, "google.protobuf.FloatValue", &text),
                expected(&float.to_le_bytes(), float.to_bits() == 0),
                "{text}"
            );
        }
    }
}

#[test]
fn floats_are_written_so_that_they_read_back_the_same() {
    let (schema, mut dice) = (schema(), Dice::seeded(2));
    for _ in 0..ROUNDS {
        let double = f64::from_bits(dice.word());
        if double.is_finite() {
            let text = write(&schema, "google.protobuf.DoubleValue", 9, &double.to_le_bytes());
            assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(double.to_bits()), "{text}");
        }
        let float = f32::from_bits(dice.word() as u32);
        if float.is_finite() {
            let text = write(&schema, "google.protobuf.FloatValue", 13, &float.to_le_bytes());
            assert_eq!(text.parse::<f32>().map(f32::to_bits), Ok(float.to_bits()), "{text}");
        }
    }
}
