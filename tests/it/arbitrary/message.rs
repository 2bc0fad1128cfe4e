//! Arbitrary messages of any type: every field takes an edge value of its kind or none.
//!
//! Well-known types hold what has a JSON form (a `Timestamp` in range, a `FieldMask` of names that
//! survive camelCase, finite numbers in a `Value`); what has none is the subject of tests by name.

use std::collections::HashMap;

use prost_reflect::prost::Message as _;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value,
};

use super::wire;
use crate::dice::Dice;

/// A message whose submessages go `depth` deep.
pub(crate) fn message(dice: &mut Dice<'_>, descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    if descriptor.full_name().starts_with("google.protobuf.") {
        well_known(dice, &mut message, depth);
        return message;
    }
    for field in descriptor.fields() {
        // Of a oneof's members the last one set stays.
        let absent = field.cardinality() != prost_reflect::Cardinality::Required && dice.below(3) == 0;
        if absent || is_message(&field.kind()) && depth == 0 {
            continue;
        }
        message.set_field(&field, field_value(dice, &field, depth));
    }
    for extension in descriptor.extensions() {
        if dice.one_in(2) || is_message(&extension.kind()) && depth == 0 {
            continue;
        }
        let value = if extension.is_list() {
            Value::List((0..dice.below(3)).map(|_| value(dice, &extension.kind(), depth)).collect())
        } else {
            value(dice, &extension.kind(), depth)
        };
        message.set_extension(&extension, value);
    }
    message
}

/// The message on the wire: the same bytes each time, though the oracle's maps have no order.
pub(crate) fn encode(message: &DynamicMessage) -> Vec<u8> {
    wire::settle(&message.descriptor(), &message.encode_to_vec()).expect("the oracle writes valid wire")
}

fn is_message(kind: &Kind) -> bool {
    matches!(kind, Kind::Message(_))
}

fn field_value(dice: &mut Dice<'_>, field: &FieldDescriptor, depth: usize) -> Value {
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let (key, kind) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        let entries = (0..dice.below(4)).map(|_| (map_key(dice, &key), value(dice, &kind, depth)));
        return Value::Map(entries.collect::<HashMap<_, _>>());
    }
    if field.is_list() {
        return Value::List((0..dice.below(4)).map(|_| value(dice, &field.kind(), depth)).collect());
    }
    value(dice, &field.kind(), depth)
}

fn value(dice: &mut Dice<'_>, kind: &Kind, depth: usize) -> Value {
    match kind {
        Kind::Double => Value::F64(double(dice)),
        Kind::Float => Value::F32(float(dice)),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(int32(dice)),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(int64(dice)),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(int32(dice).cast_unsigned()),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(int64(dice).cast_unsigned()),
        Kind::Bool => Value::Bool(dice.one_in(2)),
        Kind::String => Value::String(string(dice)),
        Kind::Bytes => Value::Bytes(bytes(dice).into()),
        Kind::Enum(of) if of.full_name() == "google.protobuf.NullValue" => Value::EnumNumber(0),
        Kind::Enum(of) => {
            let numbers: Vec<i32> = of.values().map(|value| value.number()).collect();
            // An open enum may hold any number; the oracle lets closed ones, too, and is wrong there.
            let unknown = of.parent_file().syntax() == prost_reflect::Syntax::Proto3 && dice.one_in(8);
            Value::EnumNumber(if unknown { 4321 } else { *dice.pick(&numbers) })
        }
        Kind::Message(of) => Value::Message(message(dice, of, depth.saturating_sub(1))),
    }
}

fn map_key(dice: &mut Dice<'_>, kind: &Kind) -> MapKey {
    match value(dice, kind, 0) {
        Value::Bool(key) => MapKey::Bool(key),
        Value::I32(key) => MapKey::I32(key),
        Value::I64(key) => MapKey::I64(key),
        Value::U32(key) => MapKey::U32(key),
        Value::U64(key) => MapKey::U64(key),
        Value::String(key) => MapKey::String(key),
        other => unreachable!("{other:?} is no map key"),
    }
}

pub(crate) fn int32(dice: &mut Dice<'_>) -> i32 {
    match dice.below(3) {
        0 => *dice.pick(&[0, 1, -1, 127, 128, i32::MAX, i32::MIN, 1_000_000]),
        1 => (dice.word() >> 32) as i32 >> dice.below(32),
        _ => dice.below(100) as i32,
    }
}

pub(crate) fn int64(dice: &mut Dice<'_>) -> i64 {
    match dice.below(3) {
        0 => *dice.pick(&[0, 1, -1, i64::MAX, i64::MIN, 1 << 53, (1 << 53) + 1, 1 << 32]),
        1 => dice.word().cast_signed() >> dice.below(64),
        _ => i64::from(int32(dice)),
    }
}

pub(crate) fn double(dice: &mut Dice<'_>) -> f64 {
    match dice.below(3) {
        0 => *dice.pick(&[
            0.0,
            1.5,
            -1.0,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            1e21,
            1e-7,
            0.1,
            123_456_789.0,
        ]),
        1 => finite(f64::from_bits(dice.word())),
        _ => f64::from(int32(dice)) / 8.0,
    }
}

fn float(dice: &mut Dice<'_>) -> f32 {
    match dice.below(3) {
        0 => *dice.pick(&[
            0.0,
            1.5,
            -1.0,
            f32::MAX,
            f32::MIN,
            1e-45,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            0.1,
            16_777_216.0,
        ]),
        1 => {
            let any = f32::from_bits(dice.word() as u32);
            if any.is_finite() { any } else { 1.0 }
        }
        _ => (int32(dice) >> 8) as f32 / 8.0,
    }
}

fn finite(number: f64) -> f64 {
    if number.is_finite() { number } else { 1.0 }
}

pub(crate) fn string(dice: &mut Dice<'_>) -> String {
    const PIECES: [&str; 18] = [
        "",
        "a",
        "hello world",
        "\"",
        "\\",
        "/",
        "\n\r\t",
        "\u{0}",
        "\u{1f}",
        "\u{7f}",
        "é",
        "日本",
        "😀",
        "\u{2028}",
        "<b>&amp;",
        "\u{feff}",
        "a long run of plain characters, longer than any vector register is wide",
        "1e5",
    ];
    (0..dice.below(4)).map(|_| *dice.pick(&PIECES)).collect()
}

pub(crate) fn bytes(dice: &mut Dice<'_>) -> Vec<u8> {
    let len = *dice.pick(&[0, 1, 2, 3, 4, 5, 30, 31, 50]);
    (0..len).map(|_| dice.word() as u8).collect()
}

fn well_known(dice: &mut Dice<'_>, message: &mut DynamicMessage, depth: usize) {
    let descriptor = message.descriptor();
    let mut set = |name: &str, value: Value| {
        message.set_field_by_name(name, value);
    };
    match descriptor.name() {
        "Timestamp" => {
            let seconds =
                *dice.pick(&[0, -1, 1, 1_700_000_000, -62_135_596_800, 253_402_300_799, 951_782_400]);
            let spread =
                if (0..2_000_000_000).contains(&seconds) { dice.below(100_000_000) as i64 } else { 0 };
            set("seconds", Value::I64(seconds + spread));
            set("nanos", Value::I32(nanos(dice)));
        }
        "Duration" => {
            let seconds = *dice.pick(&[0, 1, 3600, 315_576_000_000, 12_345]);
            let nanos = if seconds > 1_000_000 { 0 } else { nanos(dice) };
            let sign = if dice.one_in(3) { -1 } else { 1 };
            set("seconds", Value::I64(seconds * i64::from(sign)));
            set("nanos", Value::I32(nanos * sign));
        }
        "FieldMask" => {
            let paths = ["a", "foo_bar", "foo_bar.baz_qux", "x.y.z"];
            let paths = (0..dice.below(4)).map(|_| Value::String((*dice.pick(&paths)).to_owned()));
            set("paths", Value::List(paths.collect()));
        }
        "Struct" => {
            let entries = 0..dice.below(if depth == 0 { 1 } else { 4 });
            let value =
                descriptor.parent_pool().get_message_by_name("google.protobuf.Value").expect("global");
            let entries = entries.map(|_| (MapKey::String(string(dice)), nested_value(dice, &value, depth)));
            let entries = entries.collect::<HashMap<_, _>>();
            set("fields", Value::Map(entries));
        }
        "ListValue" => {
            let value =
                descriptor.parent_pool().get_message_by_name("google.protobuf.Value").expect("global");
            let len = dice.below(if depth == 0 { 1 } else { 4 });
            set("values", Value::List((0..len).map(|_| nested_value(dice, &value, depth)).collect()));
        }
        "Value" => one_value(dice, message, depth),
        "Any" => any(dice, message, depth),
        "Empty" => {}
        wrapper if wrapper.ends_with("Value") => {
            let kind = descriptor.get_field(1).expect("a wrapper has field 1").kind();
            // The oracle writes `null` for a wrapped NaN or infinity; the conformance suite has ours.
            let value = match value(dice, &kind, 0) {
                Value::F64(number) => Value::F64(finite(number)),
                Value::F32(number) if !number.is_finite() => Value::F32(2.5),
                other => other,
            };
            set("value", value);
        }
        other => unreachable!("no generator for google.protobuf.{other}"),
    }
}

fn nanos(dice: &mut Dice<'_>) -> i32 {
    *dice.pick(&[0, 500_000_000, 1_000_000, 1000, 1, 999_999_999, 120_000_000, 123_456_000])
}

fn nested_value(dice: &mut Dice<'_>, descriptor: &MessageDescriptor, depth: usize) -> Value {
    Value::Message(message(dice, descriptor, depth.saturating_sub(1)))
}

fn one_value(dice: &mut Dice<'_>, value: &mut DynamicMessage, depth: usize) {
    let pool = value.descriptor().parent_pool().clone();
    let choices = if depth == 0 { 4 } else { 6 };
    match dice.below(choices) {
        0 => value.set_field_by_name("null_value", Value::EnumNumber(0)),
        1 => value.set_field_by_name("bool_value", Value::Bool(dice.one_in(2))),
        2 => value.set_field_by_name("number_value", Value::F64(finite(double(dice)))),
        3 => value.set_field_by_name("string_value", Value::String(string(dice))),
        choice => {
            let (field, name) =
                if choice == 4 { ("list_value", "ListValue") } else { ("struct_value", "Struct") };
            let of = pool.get_message_by_name(&format!("google.protobuf.{name}")).expect("global");
            value.set_field_by_name(field, nested_value(dice, &of, depth));
        }
    }
}

fn any(dice: &mut Dice<'_>, any: &mut DynamicMessage, depth: usize) {
    let pool = any.descriptor().parent_pool().clone();
    let name = *dice.pick(&[
        "google.protobuf.Duration",
        "google.protobuf.Int64Value",
        "google.protobuf.Value",
        "google.protobuf.StringValue",
        "three.M0",
        "three.M1",
        "google.protobuf.Any",
    ]);
    if depth == 0 && name.ends_with("Any") {
        return any.set_field_by_name("type_url", Value::String("type.googleapis.com/three.M0".to_owned()));
    }
    let of = pool.get_message_by_name(name).expect("every schema has it");
    let content = message(dice, &of, depth.saturating_sub(1));
    any.set_field_by_name("type_url", Value::String(format!("type.googleapis.com/{name}")));
    any.set_field_by_name("value", Value::Bytes(encode(&content).into()));
}
