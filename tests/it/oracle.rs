//! prost-reflect as the codec's oracle: the same bytes through `DynamicMessage` and serde_json.

use prost_reflect::{
    DeserializeOptions, DynamicMessage, Kind, MessageDescriptor, SerializeOptions, Syntax, Value,
};
use serde_json::Value as Json;
use transom::codec::options::{Defaults, Enums, Int64, JsonOptions, Names, Unknown};
use transom::codec::wire::Reader;
use transom::schema::plan::wire::{LEN, SGROUP};

/// Every combination of output options.
pub(crate) fn output_options() -> impl Iterator<Item = JsonOptions> {
    (0..16).map(|bits| JsonOptions {
        names: if bits & 1 == 0 { Names::Json } else { Names::Proto },
        enums: if bits & 2 == 0 { Enums::Name } else { Enums::Number },
        defaults: if bits & 4 == 0 { Defaults::Omit } else { Defaults::Emit },
        int64: if bits & 8 == 0 { Int64::String } else { Int64::Number },
        ..JsonOptions::default()
    })
}

/// Wire → JSON.
pub(crate) fn wire_to_json(
    descriptor: &MessageDescriptor,
    options: &JsonOptions,
    wire: &[u8],
) -> Result<Vec<u8>, String> {
    let message = DynamicMessage::decode(descriptor.clone(), wire).map_err(|error| error.to_string())?;
    to_json(&message, options)
}

pub(crate) fn to_json(message: &DynamicMessage, options: &JsonOptions) -> Result<Vec<u8>, String> {
    let options = SerializeOptions::new()
        .stringify_64_bit_integers(options.int64 == Int64::String)
        .use_enum_numbers(options.enums == Enums::Number)
        .use_proto_field_name(options.names == Names::Proto)
        .skip_default_fields(options.defaults == Defaults::Omit);
    let mut serializer = serde_json::Serializer::new(Vec::new());
    message.serialize_with_options(&mut serializer, &options).map_err(|error| error.to_string())?;
    Ok(serializer.into_inner())
}

/// JSON → message.
pub(crate) fn from_json(
    descriptor: &MessageDescriptor,
    options: &JsonOptions,
    json: &[u8],
) -> Result<DynamicMessage, String> {
    let options = DeserializeOptions::new().deny_unknown_fields(options.unknown == Unknown::Reject);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let message = DynamicMessage::deserialize_with_options(descriptor.clone(), &mut deserializer, &options);
    let message = message.map_err(|error| error.to_string())?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(message)
}

/// How far serde_json, as it is built here, may miss the double that a text means.
pub(crate) const SLACK: f64 = 1e-15;

/// Whether two messages of one type say the same, whatever the order of maps and of the fields in an `Any`;
/// of numbers, the difference may be `slack` of them.
pub(crate) fn same_message(left: &DynamicMessage, right: &DynamicMessage, slack: f64) -> bool {
    // NaN is unlike itself, hence the second look.
    left == right || same_json(&show(left), &show(right), slack)
}

/// A message as JSON, for comparing and for showing.
pub(crate) fn show(message: &DynamicMessage) -> Json {
    let text = to_json(message, &JsonOptions::default()).expect("the message has a JSON form");
    serde_json::from_slice(&text).expect("the oracle writes JSON")
}

/// Equality of JSON values, where `1` and `1.0` are the same number.
pub(crate) fn same_json(left: &Json, right: &Json, slack: f64) -> bool {
    match (left, right) {
        (Json::Number(left), Json::Number(right)) if left.is_f64() || right.is_f64() => {
            left.as_f64().zip(right.as_f64()).is_some_and(|(left, right)| near(left, right, slack))
        }
        // An int64 with an exponent goes through serde_json's doubles, too.
        (Json::String(left), Json::String(right)) if slack > 0.0 => {
            let numbers = left.parse::<f64>().ok().zip(right.parse::<f64>().ok());
            left == right || numbers.is_some_and(|(left, right)| near(left, right, slack))
        }
        (Json::Array(left), Json::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| same_json(left, right, slack))
        }
        (Json::Object(left), Json::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, left)| right.get(key).is_some_and(|right| same_json(left, right, slack)))
        }
        _ => left == right,
    }
}

/// A value without what the oracle writes otherwise: `null` for what is no number in a wrapper, and
/// nothing for a negative zero, as if it were the default.
pub(crate) fn without_quirks(value: Json) -> Json {
    match value {
        Json::String(text) if matches!(&*text, "NaN" | "Infinity" | "-Infinity") => Json::Null,
        Json::Array(list) => list.into_iter().map(without_quirks).collect(),
        Json::Object(members) => {
            let kept = members.into_iter().filter(|(_, value)| !is_negative_zero(value));
            kept.map(|(name, value)| (name, without_quirks(value))).collect()
        }
        value => value,
    }
}

fn is_negative_zero(value: &Json) -> bool {
    value.as_f64().is_some_and(|number| number == 0.0 && number.is_sign_negative())
}

fn near(left: f64, right: f64, slack: f64) -> bool {
    left == right || (left - right).abs() <= slack * left.abs()
}

/// Whether a closed enum has a number it does not declare: the oracle keeps it as the field's value, where the
/// specification makes it an unknown field (protobuf.dev, "Enum Behavior").
pub(crate) fn holds_unknown_closed(message: &DynamicMessage) -> bool {
    let fields = message.fields().map(|(field, value)| (field.kind(), value));
    let extensions = message.extensions().map(|(extension, value)| (extension.kind(), value));
    fields.chain(extensions).any(|(kind, value)| value_is_unknown(&kind, value))
}

/// Whether a map field stands there with another wire type than LEN, as an unknown field: the oracle reads a
/// length and an entry all the same.
pub(crate) fn misreads_a_map(descriptor: &MessageDescriptor, wire: &[u8]) -> bool {
    if let Some((of, content)) = payload(descriptor, wire) {
        return misreads_a_map(&of, &content);
    }
    let mut reader = Reader::new(wire);
    // Where reading fails both have failed, or will.
    while let (false, Ok((number, wire_type))) = (reader.is_empty(), reader.tag()) {
        let field = descriptor.get_field(number);
        if field.as_ref().is_some_and(|field| field.is_map() && wire_type != LEN) {
            return true;
        }
        let content = match wire_type {
            LEN => reader.bytes(),
            SGROUP => reader.group(number),
            _ => reader.skip(number, wire_type).map(|()| &[][..]),
        };
        match (content, field.map(|field| field.kind())) {
            (Ok(content), Some(Kind::Message(message))) if misreads_a_map(&message, content) => return true,
            (Ok(_), _) => {}
            (Err(_), _) => break,
        }
    }
    false
}

/// The message that an `Any` holds.
fn payload(descriptor: &MessageDescriptor, wire: &[u8]) -> Option<(MessageDescriptor, Vec<u8>)> {
    if descriptor.full_name() != "google.protobuf.Any" {
        return None;
    }
    let any = DynamicMessage::decode(descriptor.clone(), wire).ok()?;
    let (url, content) = (any.get_field_by_name("type_url")?, any.get_field_by_name("value")?);
    let (_, name) = url.as_str()?.rsplit_once('/')?;
    Some((descriptor.parent_pool().get_message_by_name(name)?, content.as_bytes()?.to_vec()))
}

fn value_is_unknown(kind: &Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::Enum(of), Value::EnumNumber(number)) => {
            of.parent_file().syntax() == Syntax::Proto2 && of.get_value(*number).is_none()
        }
        (_, Value::Message(message)) => holds_unknown_closed(message),
        (kind, Value::List(list)) => list.iter().any(|value| value_is_unknown(kind, value)),
        (Kind::Message(entry), Value::Map(map)) => {
            let kind = entry.map_entry_value_field().kind();
            map.values().any(|value| value_is_unknown(&kind, value))
        }
        _ => false,
    }
}
