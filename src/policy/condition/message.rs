//! Messages as CEL sees them: the types of their fields, and what these hold.
//!
//! Wrappers are the value in them or null; `Timestamp`, `Duration`, `Struct` and its kin have forms of their own. An `Any`
//! is the message in it. All else is a message, whose fields are decoded when they are named.

use super::EvaluationError;
use super::check::literal;
use super::time::{self, NANOS};
use super::types::{MessageType, RuleField, Type};
use super::value::{Bytes, List, Map, Value};
use crate::codec::view::{Parts, Scalar, View};
use crate::schema::Schema;
use crate::schema::plan::{FieldPlan, Kind, MessageId, MessagePlan, Shape, WellKnown};

/// How deep a `Struct` or an `Any` may nest.
const DEPTH_MAX: u16 = 32;

/// The index of a field by the name that it is declared with.
pub(super) fn index(plan: &MessagePlan, name: &str) -> Option<usize> {
    plan.fields.iter().position(|field| *field.name == *name)
}

/// The number and type of a field.
pub(super) fn field(schema: &Schema, id: MessageId, name: &str) -> Option<(u32, Type)> {
    let plan = schema.message(id);
    let field = &plan.fields[index(plan, name)?];
    Some((field.number, field_type(schema, field)))
}

pub(super) fn type_of(schema: &Schema, id: MessageId) -> Type {
    Type::Message(MessageType { id, name: schema.descriptor(id).full_name().into() })
}

/// The type of what a field holds.
pub fn field_type(schema: &Schema, field: &FieldPlan) -> Type {
    match (field.shape, field.kind.message()) {
        (Shape::Repeated { .. }, _) => Type::list(item_type(schema, field.kind)),
        (Shape::Map, Some(entry)) => {
            let of = |number: u32| {
                let plan = schema.message(entry);
                let found = plan.by_number(number).map(|index| plan.fields[index].kind);
                found.map_or(Type::Dyn, |kind| item_type(schema, kind))
            };
            Type::map(of(1), of(2))
        }
        _ => item_type(schema, field.kind),
    }
}

/// The type of a single value.
pub fn item_type(schema: &Schema, kind: Kind) -> Type {
    match kind {
        Kind::Double | Kind::Float => Type::Double,
        Kind::Bool => Type::Bool,
        Kind::String => Type::Text,
        Kind::Bytes => Type::Bytes,
        Kind::Uint32 | Kind::Uint64 | Kind::Fixed32 | Kind::Fixed64 => Type::Uint,
        Kind::Message(id) | Kind::Group(id) => match WellKnown::of(schema.descriptor(id)) {
            WellKnown::Timestamp => Type::Timestamp,
            WellKnown::Duration => Type::Duration,
            WellKnown::Struct => Type::map(Type::Text, Type::Dyn),
            WellKnown::ListValue => Type::list(Type::Dyn),
            WellKnown::Wrapper | WellKnown::Value | WellKnown::Any => Type::Dyn,
            WellKnown::No | WellKnown::FieldMask | WellKnown::MapEntry => type_of(schema, id),
        },
        _ => Type::Int,
    }
}

/// A rule as a field of the message that it extends.
///
/// # Errors
///
/// Its value does not decode.
pub fn rule_field(view: &View<'_>, index: usize) -> Result<RuleField, EvaluationError> {
    let field = &view.plan.fields[index];
    let value = literal(&field_value(view, index)?);
    Ok(RuleField { number: field.number, of: field_type(view.schema, field), value })
}

/// What a field holds, or what it has where it is left out.
///
/// # Errors
///
/// It does not decode, or CEL has no such value.
pub fn field_value<'a>(view: &View<'a>, index: usize) -> Result<Value<'a>, EvaluationError> {
    let field = &view.plan.fields[index];
    match field.shape {
        Shape::Repeated { .. } => {
            let mut items = Vec::new();
            view.each(index, |item| {
                items.push(item_value(view.schema, item)?);
                Ok::<_, EvaluationError>(())
            })?;
            Ok(Value::List(List::Made(items.into())))
        }
        Shape::Map => {
            let entries = view.entries(index)?.into_iter();
            let entries: Result<Vec<_>, EvaluationError> = entries
                .map(|(key, value)| Ok((item_value(view.schema, key)?, item_value(view.schema, value)?)))
                .collect();
            Ok(Value::Map(Map::Made(entries?.into())))
        }
        _ => match view.value(index)? {
            Some(value) => item_value(view.schema, value),
            None => left_out(view, field),
        },
    }
}

/// How many items or entries [`field_value`] would make of a list or a map, entries of one key counted each: packed,
/// they are many in few bytes, and each is a value.
///
/// # Errors
///
/// It does not decode.
pub fn item_count(view: &View<'_>, index: usize) -> Result<usize, EvaluationError> {
    let mut count = 0;
    match view.plan.fields[index].shape {
        Shape::Repeated { .. } => view.each(index, |_| {
            count += 1;
            Ok::<_, EvaluationError>(())
        })?,
        Shape::Map => count = view.occurrences(index).len(),
        _ => {}
    }
    Ok(count)
}

/// A wrapper that is not there is null; other messages are empty ones.
fn left_out<'a>(view: &View<'a>, field: &FieldPlan) -> Result<Value<'a>, EvaluationError> {
    let is_null = |id| {
        let well_known = WellKnown::of(view.schema.descriptor(id));
        matches!(well_known, WellKnown::Wrapper | WellKnown::Value | WellKnown::Any)
    };
    if field.kind.message().is_some_and(is_null) {
        return Ok(Value::Null);
    }
    item_value(view.schema, Scalar::zero(field.kind))
}

/// A single value.
///
/// # Errors
///
/// It does not decode, or CEL has no such value.
pub fn item_value<'a>(schema: &'a Schema, value: Scalar<'a>) -> Result<Value<'a>, EvaluationError> {
    single(schema, value, DEPTH_MAX)
}

fn single<'a>(schema: &'a Schema, value: Scalar<'a>, depth: u16) -> Result<Value<'a>, EvaluationError> {
    Ok(match value {
        Scalar::Bool(value) => Value::Bool(value),
        Scalar::Int(value) => Value::Int(value),
        Scalar::Uint(value) => Value::Uint(value),
        Scalar::Float(value) => Value::Double(value.into()),
        Scalar::Double(value) => Value::Double(value),
        Scalar::Enum(value) => Value::Int(value.into()),
        Scalar::Text(text) => Value::text(text),
        Scalar::Bytes(bytes) => Value::Bytes(Bytes::Borrowed(bytes)),
        Scalar::Message(id, parts) => return message(schema, id, &parts, depth),
    })
}

fn message<'a>(
    schema: &'a Schema,
    id: MessageId,
    parts: &Parts<'a>,
    depth: u16,
) -> Result<Value<'a>, EvaluationError> {
    let depth = depth.checked_sub(1).ok_or(EvaluationError::Depth)?;
    let view = View::of(schema, id, parts).map_err(crate::codec::view::ViewError::from)?;
    match view.plan.well_known {
        WellKnown::Timestamp => time::moment(nanos(&view)?).map(Value::Timestamp),
        WellKnown::Duration => {
            i64::try_from(nanos(&view)?).map(Value::Duration).map_err(|_| EvaluationError::Overflow)
        }
        WellKnown::Wrapper => match view.numbered(1)? {
            Some(value) => single(schema, value, depth),
            None => Ok(Value::Null),
        },
        WellKnown::Struct => {
            let Some(index) = view.plan.by_number(1) else { return Ok(Value::Null) };
            let entries: Result<Vec<_>, EvaluationError> = view
                .entries(index)?
                .into_iter()
                .map(|(key, value)| Ok((single(schema, key, depth)?, single(schema, value, depth)?)))
                .collect();
            Ok(Value::Map(Map::Made(entries?.into())))
        }
        WellKnown::ListValue => {
            let mut items = Vec::new();
            if let Some(index) = view.plan.by_number(1) {
                view.each(index, |item| {
                    items.push(single(schema, item, depth)?);
                    Ok::<_, EvaluationError>(())
                })?;
            }
            Ok(Value::List(List::Made(items.into())))
        }
        WellKnown::Value => dynamic(&view, depth),
        WellKnown::Any => {
            let (Some(Scalar::Text(url)), Some(Scalar::Bytes(bytes))) =
                (view.numbered(1)?, view.numbered(2)?)
            else {
                return Ok(Value::Null);
            };
            let name = url.rsplit('/').next().unwrap_or_default();
            let id =
                schema.message_id(name).ok_or(EvaluationError::Unreadable("an `Any` of unknown type"))?;
            message(schema, id, &Parts::from_slice(&[bytes]), depth)
        }
        WellKnown::No | WellKnown::FieldMask | WellKnown::MapEntry => Ok(Value::Message(view)),
    }
}

/// `google.protobuf.Value`: whichever of its members is set, null if none is.
fn dynamic<'a>(view: &View<'a>, depth: u16) -> Result<Value<'a>, EvaluationError> {
    let set = (0..view.plan.fields.len()).find(|index| view.is_on_wire(*index));
    match set.map(|index| view.value(index)).transpose()?.flatten() {
        None | Some(Scalar::Enum(_)) => Ok(Value::Null),
        Some(value) => single(view.schema, value, depth),
    }
}

/// `seconds = 1`, `nanos = 2`.
fn nanos(view: &View<'_>) -> Result<i128, EvaluationError> {
    let number = |number| {
        Ok::<_, EvaluationError>(match view.numbered(number)? {
            Some(Scalar::Int(value)) => i128::from(value),
            _ => 0,
        })
    };
    Ok(number(1)? * NANOS + number(2)?)
}
