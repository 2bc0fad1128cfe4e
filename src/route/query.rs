//! The query string: `application/x-www-form-urlencoded` pairs, each naming a place in the request.
//!
//! ```text
//! Name      = Field { "." Field } [ Key ] ;      JSON or proto names
//! Field     = IDENT | "[" extension "]" ;
//! Key       = "." text | "[" text "]" ;          after a map field only
//! ```
//!
//! A `+` is a space, `%XX` is decoded, `name` alone is `name=`. The surprise: a map's key is all that follows
//! its field, dots included, for no map of messages can be set here.

use std::borrow::Cow;

use super::percent::{Fault, escaped};
use super::place::{Chain, Place, entry_fields};
use super::request::BindingOptions;
use crate::schema::Schema;
use crate::schema::plan::{FieldPlan, Kind, MessageId, Shape, WellKnown};
use crate::status::{Code, Status};

/// Why a name is none of a field that a query can set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NameError {
    #[error("unknown query parameter")]
    Unknown,
    #[error("a message cannot be a query parameter: name its fields")]
    Message,
    #[error("repeated messages and maps of messages cannot be query parameters")]
    RepeatedMessage,
    #[error("a map entry needs its key: `{0}[key]`")]
    Keyless(String),
    #[error("nests deeper than {0}")]
    TooDeep(u16),
}

/// The pairs of a query, not decoded; empty ones are no pairs.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// A name or value as the form encoding means it.
pub(super) fn decode(text: &str) -> Result<Cow<'_, str>, Fault> {
    if memchr::memchr2(b'+', b'%', text.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(text));
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let (value, length) = match byte {
            b'+' => (b' ', 1),
            b'%' => (escaped(bytes, at).ok_or(Fault::Truncated)?, 3),
            other => (other, 1),
        };
        decoded.push(value);
        at += length;
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| Fault::NotUtf8)
}

/// Gives every parameter of a query to `take`, name and value decoded, but for those that are none of the request's.
///
/// # Errors
///
/// There are too many, or one is malformed; those of `take`.
pub fn each_parameter(
    query: &str,
    options: &BindingOptions,
    mut take: impl FnMut(Cow<'_, str>, Cow<'_, str>) -> Result<(), Status>,
) -> Result<(), Status> {
    for (count, (name, value)) in pairs(query).enumerate() {
        let max = options.query_parameters_max;
        if count == max {
            let message = format!("the query has more than {max} parameters");
            return Err(Status::client(Code::InvalidArgument, message).with_reason("TOO_MANY_PARAMETERS"));
        }
        let name = decode(name)
            .map_err(|fault| Status::invalid_field(name, &format!("a malformed name: {fault}")))?;
        if options.ignored_query.iter().any(|ignored| *ignored == *name) {
            continue;
        }
        let value = decode(value)
            .map_err(|fault| Status::invalid_field(&name, &format!("a malformed value: {fault}")))?;
        take(name, value)?;
    }
    Ok(())
}

/// The place that a decoded name stands for.
pub(super) fn resolve<'s>(
    schema: &'s Schema,
    input: MessageId,
    name: &str,
    depth_max: u16,
) -> Result<Place<'s>, NameError> {
    let mut chain = Chain::new();
    let mut message = input;
    let mut rest = name;
    loop {
        let (component, after) = rest.split_at(component_len(rest));
        let plan = schema.message(message);
        let index = plan.by_name(component.as_bytes()).ok_or(NameError::Unknown)?;
        let field = &plan.fields[index];
        chain.push(field);
        if field.shape == Shape::Map {
            return entry(schema, chain, after);
        }
        if after.is_empty() {
            return leaf(schema, chain);
        }
        // A type with a text form has no fields in JSON, nor has a scalar.
        let inner = inner(schema, field).ok_or(NameError::Unknown)?;
        rest = after.strip_prefix('.').ok_or(NameError::Unknown)?;
        if field.is_repeated() {
            return Err(NameError::RepeatedMessage);
        }
        if chain.len() >= usize::from(depth_max) {
            return Err(NameError::TooDeep(depth_max));
        }
        message = inner;
    }
}

/// How long the first component of a name is.
fn component_len(name: &str) -> usize {
    if name.starts_with('[') {
        return name.find(']').map_or(name.len(), |end| end + 1);
    }
    name.find(['.', '[']).unwrap_or(name.len())
}

fn leaf<'s>(schema: &'s Schema, chain: Chain<'s>) -> Result<Place<'s>, NameError> {
    let place = Place { chain, key: None };
    match has_text(schema, place.leaf()) {
        true => Ok(place),
        false if place.leaf().is_repeated() => Err(NameError::RepeatedMessage),
        false => Err(NameError::Message),
    }
}

fn entry<'s>(schema: &'s Schema, chain: Chain<'s>, after: &str) -> Result<Place<'s>, NameError> {
    let bracketed = after.strip_prefix('[').and_then(|after| after.strip_suffix(']'));
    let key = bracketed.or_else(|| after.strip_prefix('.'));
    let mut place = Place { chain, key: None };
    let entry = entry_fields(schema, place.leaf());
    place.key = key.zip(entry).map(|(key, [field, _])| canonical(field.kind, key).into());
    let has_text = entry.is_some_and(|[_, value]| has_text(schema, value));
    match place.key {
        _ if !has_text => Err(NameError::RepeatedMessage),
        None => Err(NameError::Keyless(place.to_string())),
        Some(_) => Ok(place),
    }
}

/// A map's key in the one way in which keys are compared: `[07]` is the entry `[7]`.
fn canonical(kind: Kind, key: &str) -> String {
    let number = if kind == Kind::String || key.starts_with('+') { None } else { key.parse::<i128>().ok() };
    number.map_or_else(|| key.to_owned(), |number| number.to_string())
}

/// The message type whose fields a name may go on with.
fn inner(schema: &Schema, field: &FieldPlan) -> Option<MessageId> {
    field.kind.message().filter(|id| schema.message(*id).well_known == WellKnown::No)
}

/// Whether one value of the field has a text form.
fn has_text(schema: &Schema, field: &FieldPlan) -> bool {
    match field.kind {
        Kind::Message(id) | Kind::Group(id) => matches!(
            schema.message(id).well_known,
            WellKnown::Timestamp | WellKnown::Duration | WellKnown::FieldMask | WellKnown::Wrapper
        ),
        _ => true,
    }
}
