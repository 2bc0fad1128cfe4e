//! Projections against prost-reflect: what a selection shows of a message is what its fields say, read one by one.

use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage, Value};
use serde_json::{Map, Value as Json};
use transom::codec::options::JsonOptions;
use transom::graphql::projection::{Entry, Form, Location, Projection, Projector, Root};
use transom::schema::Schema;
use transom::schema::plan::{FieldPlan, Kind, MessageId, Shape, WellKnown};

use crate::arbitrary::wire;
use crate::codec_differential::{Case, for_each_case, parse};
use crate::dice::Dice;
use crate::oracle::{self, SLACK, same_json};

const FIELDS_MAX: usize = 8;
const DEPTH_MAX: usize = 4;
const SELECTIONS_PER_MESSAGE: usize = 6;

/// A field under some key, and what of its messages is selected.
struct Selected {
    key: String,
    index: usize,
    nested: Option<Vec<Self>>,
}

/// Some fields of a type, in any order; one may come twice.
fn select(dice: &mut Dice<'_>, schema: &Schema, id: MessageId, depth: usize) -> Vec<Selected> {
    let plan = schema.message(id);
    let mut selected = Vec::new();
    for place in 0..=dice.below(FIELDS_MAX) {
        let index = dice.below(plan.fields.len().max(1));
        let Some(field) = plan.fields.get(index).filter(|field| !field.is_extension()) else { continue };
        let held = field.kind.message().map(|id| schema.message(id));
        let has_fields = held.is_some_and(|held| {
            matches!(held.well_known, WellKnown::No | WellKnown::MapEntry) && !held.fields.is_empty()
        });
        // A map may be JSON; a message has to be selected from.
        let is_leaf = !has_fields || (field.shape == Shape::Map && dice.one_in(3));
        let nested = match field.kind.message().filter(|_| !is_leaf) {
            Some(_) if depth == DEPTH_MAX => continue,
            Some(id) => Some(select(dice, schema, id, depth + 1)),
            None => None,
        };
        // Entries have no order.
        let kind = if field.shape == Shape::Map && nested.is_some() { "entries" } else { "field" };
        selected.push(Selected { key: format!("{kind}{place}"), index, nested });
    }
    selected
}

fn is_nullable(schema: &Schema, id: MessageId, field: &FieldPlan) -> bool {
    field.shape == Shape::Explicit && schema.message(id).well_known != WellKnown::MapEntry
}

fn projection(schema: &Schema, id: MessageId, selected: &[Selected]) -> Projection {
    let plan = schema.message(id);
    let entry = |Selected { key, index, nested }: &Selected| {
        let field = &plan.fields[*index];
        let nested = field.kind.message().zip(nested.as_ref()).map(|(id, of)| projection(schema, id, of));
        let is_nullable = is_nullable(schema, id, field);
        Entry::field(schema, plan, key, Location::default(), *index, is_nullable, nested)
            .expect("of the plan")
    };
    Projection::new(plan, selected.iter().map(entry).collect())
}

/// A null where none may stand.
struct Null;

/// What is selected of a message; `None`: the oracle has no word for something in it.
fn object(
    schema: &Schema,
    id: MessageId,
    selected: &[Selected],
    message: &DynamicMessage,
) -> Option<Result<Json, Null>> {
    let plan = schema.message(id);
    let mut object = Map::new();
    for Selected { key, index, nested } in selected {
        let field = &plan.fields[*index];
        let descriptor = message.descriptor().get_field(field.number).expect("the descriptor has it");
        let value = match member(schema, plan.id, field, &descriptor, nested.as_deref(), message)? {
            Ok(value) => value,
            Err(Null) if is_nullable(schema, id, field) => Json::Null,
            Err(Null) => return Some(Err(Null)),
        };
        object.insert(key.clone(), value);
    }
    Some(Ok(Json::Object(object)))
}

fn member(
    schema: &Schema,
    id: MessageId,
    field: &FieldPlan,
    descriptor: &FieldDescriptor,
    nested: Option<&[Selected]>,
    message: &DynamicMessage,
) -> Option<Result<Json, Null>> {
    if nested.is_none() && field.shape == Shape::Map {
        let mut alone = DynamicMessage::new(message.descriptor());
        alone.set_field(descriptor, message.get_field(descriptor).into_owned());
        let json =
            oracle::wire_to_json(&message.descriptor(), &JsonOptions::default(), &alone.encode_to_vec());
        let mut json = parse(&json.ok()?);
        let members = json.get_mut(&*field.json_name).map(Json::take);
        return Some(Ok(members.unwrap_or_else(|| Json::Object(Map::new()))));
    }
    let is_entry = schema.message(id).well_known == WellKnown::MapEntry;
    if !message.has_field(descriptor) && !field.is_repeated() && !is_entry {
        match field.shape {
            Shape::Explicit => return Some(Ok(Json::Null)),
            Shape::Required => return Some(Err(Null)),
            _ => {}
        }
    }
    let value = message.get_field(descriptor);
    let one = |value: &Value| one(schema, field.kind, value, nested);
    let many = |values: Vec<Option<Result<Json, Null>>>| {
        let values: Option<Vec<_>> = values.into_iter().collect();
        Some(values?.into_iter().collect::<Result<Vec<_>, _>>().map(Json::Array))
    };
    match &*value {
        Value::List(list) => many(list.iter().map(one).collect()),
        Value::Map(map) => {
            let Kind::Message(entry) = field.kind else { panic!("a map has entries") };
            let entry = schema.descriptor(entry);
            let entries = map.iter().map(|(key, value)| {
                let mut message = DynamicMessage::new(entry.clone());
                message.set_field_by_number(1, Value::from(key.clone()));
                message.set_field_by_number(2, value.clone());
                one(&Value::Message(message))
            });
            many(entries.collect())
        }
        value => one(value),
    }
}

fn one(
    schema: &Schema,
    kind: Kind,
    value: &Value,
    nested: Option<&[Selected]>,
) -> Option<Result<Json, Null>> {
    let finite = |value: f64| if value.is_finite() { Ok(Json::from(value)) } else { Err(Null) };
    Some(match value {
        Value::Bool(value) => Ok(Json::from(*value)),
        Value::I32(value) => Ok(Json::from(*value)),
        Value::U32(value) => Ok(Json::from(*value)),
        Value::I64(value) => Ok(Json::from(value.to_string())),
        Value::U64(value) => Ok(Json::from(value.to_string())),
        // The shortest decimal of an `f32` is another than that of the same `f64`.
        Value::F32(value) => finite(value.to_string().parse().expect("a number")),
        Value::F64(value) => finite(*value),
        Value::String(text) => Ok(Json::from(text.as_str())),
        Value::Bytes(bytes) => {
            use base64::Engine as _;
            Ok(Json::from(base64::engine::general_purpose::STANDARD.encode(bytes)))
        }
        Value::EnumNumber(number) => {
            let Kind::Enum(id) = kind else { panic!("an enum's value") };
            // Of aliases, the first that is declared; the oracle's descriptor has another order.
            let mut values = schema.enumeration(id).values();
            values.find(|(_, own)| own == number).map(|(name, _)| Json::from(name)).ok_or(Null)
        }
        Value::Message(message) => {
            let id = kind.message()?;
            return match (nested, schema.message(id).well_known) {
                (Some(nested), _) => object(schema, id, nested, message),
                (None, WellKnown::No) => Some(Ok(Json::from(true))),
                (None, known) => {
                    let wire = message.encode_to_vec();
                    let json = oracle::wire_to_json(&message.descriptor(), &JsonOptions::default(), &wire);
                    let json = parse(&json.ok()?);
                    // What is not finite is a string to ProtoJSON, and an error here.
                    let holds_float = matches!(
                        message.get_field_by_number(1).as_deref(),
                        Some(Value::F32(_) | Value::F64(_))
                    );
                    Some(if known == WellKnown::Wrapper && holds_float && json.is_string() {
                        Err(Null)
                    } else {
                        Ok(json)
                    })
                }
            };
        }
        Value::List(_) | Value::Map(_) => panic!("no single value"),
    })
}

/// Sorts what has no order.
fn settle(json: &mut Json) {
    match json {
        Json::Array(list) => list.iter_mut().for_each(settle),
        Json::Object(object) => {
            for (key, value) in object.iter_mut() {
                settle(value);
                if let (true, Json::Array(list)) = (key.starts_with("entries"), value) {
                    list.sort_by_key(ToString::to_string);
                }
            }
        }
        _ => {}
    }
}

fn check(case: &Case<'_, '_>, root: &Root, selected: &[Selected], wire: &[u8]) -> bool {
    let message = case.decode(wire);
    let Some(expected) = object(case.schema, case.id, selected, &message) else { return false };
    let has_failed = expected.is_err();
    let mut expected = expected.unwrap_or(Json::Null);
    let mut projector = Projector::new(case.schema, &JsonOptions::default(), usize::MAX);
    projector.reply(root, wire);
    let (out, errors) = projector.finish();
    let mut ours = parse(&out);
    settle(&mut expected);
    settle(&mut ours);
    assert!(
        same_json(&ours, &expected, SLACK),
        "{}, {root:?}\n  ours: {ours}\noracle: {expected}\nerrors: {errors:?}\n  wire: {wire:x?}",
        case.place(),
    );
    assert!(!has_failed || !errors.is_empty(), "{}: null without a reason", case.place());
    true
}

#[test]
fn what_is_selected_is_what_the_fields_say() {
    let (mut checked, mut all) = (0, 0);
    for_each_case(|mut case| {
        let plain = case.wire();
        let scrambled = wire::scramble(case.dice, &case.descriptor, &plain).expect("valid wire");
        for _ in 0..SELECTIONS_PER_MESSAGE {
            let selected = select(case.dice, case.schema, case.id, 0);
            let form = Form::Object(projection(case.schema, case.id, &selected));
            let root = Root { key: "root".into(), location: Location::default(), form: form.into() };
            for wire in [&plain, &scrambled] {
                all += 1;
                checked += usize::from(check(&case, &root, &selected, wire));
            }
        }
    });
    assert!(checked > all / 2, "the oracle knew {checked} of {all}");
}

#[test]
fn mutated_bytes_are_no_panic() {
    for_each_case(|mut case| {
        let mut wire = case.wire();
        let selected = select(case.dice, case.schema, case.id, 0);
        let form = Form::Object(projection(case.schema, case.id, &selected));
        let root = Root { key: "root".into(), location: Location::default(), form: form.into() };
        for _ in 0..SELECTIONS_PER_MESSAGE {
            wire::mutate(case.dice, &mut wire, &[b"\x0a\x00"]);
            let mut projector = Projector::new(case.schema, &JsonOptions::default(), usize::MAX);
            projector.reply(&root, &wire);
            parse(projector.out());
        }
    });
}
