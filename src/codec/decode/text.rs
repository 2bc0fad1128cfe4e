//! One text, a path capture or a query parameter, as one occurrence of a field.
//!
//! Unlike a JSON value it has no type of its own: the field's decides. Always written, defaults too: what
//! comes later on the wire must win over what came before.

use super::number::{NumberError, bits_of_text};
use super::value::{admits, put_bits};
use super::well_known::{put_instant, put_mask};
use crate::codec::base64::{self, Base64Error};
use crate::codec::mask::{self, MaskError};
use crate::codec::options::{JsonOptions, Unknown};
use crate::codec::time::{TimeError, parse_duration, parse_timestamp};
use crate::codec::wire::{begin_len, end_len, put_len_prefixed, put_tag, tag};
use crate::schema::Schema;
use crate::schema::plan::{EnumPlan, FieldPlan, Kind, MessageId, WellKnown};

/// Why a text is not a value of a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error(transparent)]
    Number(#[from] NumberError),
    #[error("expected `true` or `false`")]
    Bool,
    #[error("expected base64")]
    Bytes,
    #[error("`{0}` has no such value")]
    Enum(Box<str>),
    #[error(transparent)]
    Time(#[from] TimeError),
    #[error(transparent)]
    Mask(#[from] MaskError),
    #[error("a value of type `{0}` cannot be written as text")]
    Message(Box<str>),
}

impl From<Base64Error> for TextError {
    fn from(_: Base64Error) -> Self {
        Self::Bytes
    }
}

/// Appends `text` as one value of `field`, tag included; for a repeated field, one unpacked element.
///
/// A name that an enum does not know appends nothing where unknown fields are ignored.
///
/// # Errors
///
/// When the text is no value of the field's type; `out` is then as it was.
pub fn text_to_wire(
    schema: &Schema,
    field: &FieldPlan,
    text: &str,
    options: &JsonOptions,
    out: &mut Vec<u8>,
) -> Result<(), TextError> {
    let before = out.len();
    let put = put_text(schema, field.number, field.kind, text, options, out);
    if put.is_err() {
        out.truncate(before);
    }
    put
}

fn put_text(
    schema: &Schema,
    number: u32,
    kind: Kind,
    text: &str,
    options: &JsonOptions,
    out: &mut Vec<u8>,
) -> Result<(), TextError> {
    let tag = tag(number, kind.wire_type());
    let bits = match kind {
        Kind::String => {
            put_len_prefixed(out, tag, text.as_bytes());
            return Ok(());
        }
        Kind::Bytes => {
            put_tag(out, tag);
            let start = begin_len(out);
            base64::decode(text.as_bytes(), out)?;
            end_len(out, start);
            return Ok(());
        }
        Kind::Message(id) => {
            put_tag(out, tag);
            let start = begin_len(out);
            put_message(schema, id, text, options, out)?;
            end_len(out, start);
            return Ok(());
        }
        Kind::Group(id) => return Err(TextError::Message(schema.message(id).full_name.clone())),
        Kind::Bool => match text {
            "true" => 1,
            "false" => 0,
            _ => return Err(TextError::Bool),
        },
        Kind::Enum(id) => match enum_bits(schema.enumeration(id), kind, text)? {
            Some(bits) => bits,
            None if options.unknown == Unknown::Ignore => return Ok(()),
            None => return Err(TextError::Enum(schema.enumeration(id).full_name.clone())),
        },
        Kind::Double | Kind::Float => bits_of_text(kind, text.as_bytes())?,
        _ => integer_bits(kind, text)?,
    };
    put_tag(out, tag);
    put_bits(kind, bits, out);
    Ok(())
}

/// The content of a message that one text can stand for.
fn put_message(
    schema: &Schema,
    id: MessageId,
    text: &str,
    options: &JsonOptions,
    out: &mut Vec<u8>,
) -> Result<(), TextError> {
    let plan = schema.message(id);
    match (plan.well_known, &*plan.fields) {
        (WellKnown::Wrapper, [value, ..]) => {
            put_text(schema, value.number, value.kind, text, options, out)?;
        }
        (WellKnown::Timestamp, _) => put_instant(parse_timestamp(text.as_bytes())?, out),
        (WellKnown::Duration, _) => put_instant(parse_duration(text.as_bytes())?, out),
        (WellKnown::FieldMask, _) => put_mask(text, mask::put_snake_or_kept, out)?,
        _ => return Err(TextError::Message(plan.full_name.clone())),
    }
    Ok(())
}

/// The value by name or number; `None` when the enum has no such name.
fn enum_bits(plan: &EnumPlan, kind: Kind, text: &str) -> Result<Option<u64>, TextError> {
    if let Some(number) = plan.number(text.as_bytes()) {
        return Ok(Some(i64::from(number).cast_unsigned()));
    }
    if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Ok(None);
    }
    let bits = integer_bits(kind, text)?;
    if !admits(plan, bits) {
        return Err(TextError::Enum(plan.full_name.clone()));
    }
    Ok(Some(bits))
}

/// An integer in a URL has digits and perhaps a sign; zeros may lead.
fn integer_bits(kind: Kind, text: &str) -> Result<u64, NumberError> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NumberError::NotInteger);
    }
    match digits.trim_start_matches('0') {
        "" => Ok(0),
        significant if significant.len() == text.len() => bits_of_text(kind, significant.as_bytes()),
        significant => bits_of_text(kind, format!("{sign}{significant}").as_bytes()),
    }
}
