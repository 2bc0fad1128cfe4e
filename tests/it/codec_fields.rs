//! The codec's entry points for a part of a message, against the whole message and naive references.
//!
//! One field in JSON or as a text of a URL, one field of a reply, the paths a JSON sets, and whether a
//! message has what proto2 requires: each is said again here in terms of `DynamicMessage` and serde_json.

use prost_reflect::{
    Cardinality, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value,
};
use serde_json::Value as Json;
use transom::codec::options::{Defaults, JsonOptions};
use transom::codec::{check_required, field_to_json, field_to_wire, leaf_paths, text_to_wire};
use transom::schema::plan::FieldPlan;

use crate::arbitrary::{json, message, wire};
use crate::codec_differential::{Case, for_each_case, parse};
use crate::dice::Dice;
use crate::oracle::{self, SLACK, same_json, same_message, show};

impl Case<'_, '_> {
    fn plan(&self, name: &str) -> &FieldPlan {
        let plan = self.schema.message(self.id);
        let index = plan.by_name(name.as_bytes()).unwrap_or_else(|| panic!("{}: no {name}", self.place()));
        &plan.fields[index]
    }
}

#[test]
fn a_message_is_its_fields_one_by_one() {
    for_each_case(|mut case| {
        let message = case.message();
        let Json::Object(members) = show(&message) else { return };
        let mut wire = Vec::new();
        for (name, value) in members {
            let json = value.to_string();
            field_to_wire(case.schema, case.plan(&name), &JsonOptions::default(), json.as_bytes(), &mut wire)
                .unwrap_or_else(|error| panic!("{}, {name}: {error}\n{json}", case.place()));
        }
        assert!(same_message(&case.decode(&wire), &message, SLACK), "{}: {}", case.place(), show(&message));
    });
}

#[test]
fn a_field_is_refused_as_it_is_in_its_message() {
    const INSERTS: [&[u8]; 9] =
        [b"null", b"-", b"1.5", b"\"a\"", b"[", b"{}", b"\\u0000", b"99999999999999999999", b"true"];
    for_each_case(|mut case| {
        let Json::Object(members) = show(&case.message()) else { return };
        for (name, value) in members {
            let mut text = value.to_string().into_bytes();
            wire::mutate(case.dice, &mut text, &INSERTS);
            // What is no value could end the object around it.
            let Ok(shown) = serde_json::from_slice::<Json>(&text) else { continue };
            let options = JsonOptions::default();
            let whole = [b"{", Json::from(&*name).to_string().as_bytes(), b":", &text, b"}"].concat();
            let mut alone = Vec::new();
            let read = field_to_wire(case.schema, case.plan(&name), &options, &text, &mut alone);
            match (read, case.to_wire(&options, &whole)) {
                (Ok(()), Ok(whole)) => assert_eq!(alone, whole, "{}, {name}: {shown}", case.place()),
                (read, whole) => {
                    assert!(read.is_err() && whole.is_err(), "{}, {name}: {shown}", case.place());
                }
            }
        }
    });
}

#[test]
fn a_text_means_what_its_json_does() {
    for_each_case(|mut case| {
        let message = case.message();
        let shown = show(&message);
        for field in case.descriptor.fields().filter(|field| !field.is_map()) {
            let (json, value) = match (shown.get(field.json_name()), message.get_field(&field).as_ref()) {
                (Some(Json::Array(array)), Value::List(values)) => match (array.first(), values.first()) {
                    (Some(json), Some(value)) => (json.clone(), Value::List(vec![value.clone()])),
                    _ => continue,
                },
                (Some(json), value) => (json.clone(), value.clone()),
                _ => continue,
            };
            let text = match json {
                Json::String(text) => text,
                json => json.to_string(),
            };
            let mut out = Vec::new();
            let plan = case.plan(field.json_name());
            let put = text_to_wire(case.schema, plan, &text, &JsonOptions::default(), &mut out);
            if !is_one_text(&field) {
                assert!(put.is_err(), "{}, {}: {text}", case.place(), field.name());
                continue;
            }
            put.unwrap_or_else(|error| panic!("{}, {}: {error}: {text}", case.place(), field.name()));
            let mut expected = DynamicMessage::new(case.descriptor.clone());
            expected.set_field(&field, value);
            let ours = case.decode(&out);
            assert!(same_message(&ours, &expected, SLACK), "{}, {}: {text}", case.place(), field.name());
        }
    });
}

/// Whether a text can stand for (one) value of this field.
fn is_one_text(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::Enum(of) => of.full_name() != "google.protobuf.NullValue",
        Kind::Message(of) => match of.full_name().strip_prefix("google.protobuf.") {
            Some("Timestamp" | "Duration" | "FieldMask") => true,
            Some(name) => name.ends_with("Value") && name != "Value" && name != "ListValue",
            None => false,
        },
        _ => true,
    }
}

#[test]
fn one_field_of_a_reply_is_the_member_of_the_whole() {
    let emit = JsonOptions { defaults: Defaults::Emit, ..JsonOptions::default() };
    for_each_case(|mut case| {
        let wire = case.wire();
        let wire = wire::scramble(case.dice, &case.descriptor, &wire).expect("valid wire");
        let message = case.decode(&wire);
        let all = parse(&oracle::to_json(&message, &emit).expect("the message has a JSON form"));
        for options in [JsonOptions::default(), emit] {
            let whole = parse(&oracle::to_json(&message, &options).expect("the message has a JSON form"));
            for field in case.descriptor.fields() {
                let name = field.json_name();
                // Absent, it is its default; `null` where presence can be told.
                let expected = whole.get(name).or_else(|| all.get(name)).unwrap_or(&Json::Null);
                let index =
                    case.schema.message(case.id).by_name(name.as_bytes()).expect("the field is known");
                let mut out = Vec::new();
                field_to_json(case.schema, case.id, index, None, &options, &wire, &mut out)
                    .unwrap_or_else(|error| panic!("{}, {name}: {error}", case.place()));
                let ours = parse(&out);
                let place = case.place();
                assert!(
                    same_json(&ours, expected, SLACK),
                    "{place}, {name}: {ours} for {expected}\n{wire:x?}"
                );
            }
        }
    });
}

#[test]
fn leaf_paths_are_those_of_a_naive_walk() {
    for_each_case(|case| {
        let text = json::json(case.dice, &case.descriptor, 3);
        let mut expected = Vec::new();
        leaves(&case.descriptor, &parse(text.as_bytes()), "", &mut expected);
        let mut ours = leaf_paths(case.schema, case.id, &JsonOptions::default(), text.as_bytes())
            .unwrap_or_else(|error| panic!("{}: {error}\n{text}", case.place()));
        // serde_json's objects are sorted.
        ours.sort();
        expected.sort();
        assert_eq!(ours, expected, "{}: {text}", case.place());
    });
}

fn leaves(descriptor: &MessageDescriptor, json: &Json, prefix: &str, paths: &mut Vec<String>) {
    for (name, value) in json.as_object().expect("a message is an object") {
        let field = descriptor.get_field_by_json_name(name).or_else(|| descriptor.get_field_by_name(name));
        let (path, kind, is_single) = match field {
            Some(field) => {
                (format!("{prefix}{}", field.name()), field.kind(), !field.is_list() && !field.is_map())
            }
            None => {
                let mut extensions = descriptor.extensions();
                let extension = extensions.find(|extension| extension.json_name() == name);
                let extension = extension.unwrap_or_else(|| panic!("no {name}"));
                (format!("{prefix}{name}"), extension.kind(), !extension.is_list())
            }
        };
        let count = paths.len();
        if let (Kind::Message(of), true, true) = (kind, is_single, value.is_object())
            && (!of.full_name().starts_with("google.protobuf.") || of.name() == "Empty")
        {
            leaves(&of, value, &format!("{path}."), paths);
        }
        if paths.len() == count {
            paths.push(path);
        }
    }
}

#[test]
fn what_is_required_is_missed_as_in_the_oracles_message() {
    let (mut complete, mut incomplete) = (0, 0);
    for_each_case(|mut case| {
        let mut message = case.message();
        if case.dice.one_in(2) {
            forget(case.dice, &mut message);
        }
        let wire = message::encode(&message);
        for round in 0..4 {
            let wire = match round {
                0 => wire.clone(),
                _ => wire::scramble(case.dice, &case.descriptor, &wire).expect("valid wire"),
            };
            let expected = is_complete(&case.decode(&wire));
            *if expected { &mut complete } else { &mut incomplete } += 1;
            let ours = check_required(case.schema, case.id, &wire);
            assert_eq!(ours.is_ok(), expected, "{}: {ours:?}\n{}", case.place(), show(&case.decode(&wire)));
        }
    });
    assert!(complete > 0 && incomplete > 0, "{complete} complete, {incomplete} not");
}

/// Takes some of the required fields away.
fn forget(dice: &mut Dice<'_>, message: &mut DynamicMessage) {
    for field in message.descriptor().fields() {
        if field.cardinality() == Cardinality::Required && dice.one_in(8) {
            message.clear_field(&field);
        } else if message.has_field(&field) {
            match message.get_field_mut(&field) {
                Value::Message(inner) => forget(dice, inner),
                Value::List(list) => list.iter_mut().for_each(|value| forget_in(dice, value)),
                Value::Map(map) => map.values_mut().for_each(|value| forget_in(dice, value)),
                _ => {}
            }
        }
    }
}

fn forget_in(dice: &mut Dice<'_>, value: &mut Value) {
    if let Value::Message(message) = value {
        forget(dice, message);
    }
}

fn is_complete(message: &DynamicMessage) -> bool {
    let required = |field: &FieldDescriptor| field.cardinality() == Cardinality::Required;
    let whole = |value: &Value| match value {
        Value::Message(message) => is_complete(message),
        Value::List(list) => list.iter().all(|value| value.as_message().is_none_or(is_complete)),
        Value::Map(map) => map.values().all(|value| value.as_message().is_none_or(is_complete)),
        _ => true,
    };
    message.descriptor().fields().filter(required).all(|field| message.has_field(&field))
        && message.fields().all(|(_, value)| whole(value))
        && message.extensions().all(|(_, value)| whole(value))
}
