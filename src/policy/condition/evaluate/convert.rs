//! `int("3")` and its like, and captured text as a value of its field's type.

use std::borrow::Cow;

use super::super::time::{self, NANOS};
use super::super::types::CaptureKind;
use super::super::value::{Bytes, Value};
use super::{Evaluated, EvaluationError};
use crate::codec::base64;

pub(super) fn boolean<'a>(value: &Value<'a>, wrong: impl Fn(&Value<'_>) -> EvaluationError) -> Evaluated<'a> {
    match value {
        Value::Bool(value) => Ok(Value::Bool(*value)),
        Value::Text(text) => match &**text {
            "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(Value::Bool(false)),
            _ => Err(EvaluationError::Conversion("bool")),
        },
        other => Err(wrong(other)),
    }
}

pub(super) fn int<'a>(value: &Value<'a>, wrong: impl Fn(&Value<'_>) -> EvaluationError) -> Evaluated<'a> {
    let whole = match value {
        Value::Int(value) => Some(*value),
        Value::Uint(value) => i64::try_from(*value).ok(),
        Value::Double(value) => whole(*value).and_then(|whole| i64::try_from(whole).ok()),
        Value::Text(text) => {
            return text.parse().map(Value::Int).map_err(|_| EvaluationError::Conversion("int"));
        }
        Value::Timestamp(at) => i64::try_from(at.div_euclid(NANOS)).ok(),
        other => return Err(wrong(other)),
    };
    whole.map(Value::Int).ok_or(EvaluationError::Overflow)
}

pub(super) fn uint<'a>(value: &Value<'a>, wrong: impl Fn(&Value<'_>) -> EvaluationError) -> Evaluated<'a> {
    let whole = match value {
        Value::Int(value) => u64::try_from(*value).ok(),
        Value::Uint(value) => Some(*value),
        Value::Double(value) => whole(*value).and_then(|whole| u64::try_from(whole).ok()),
        Value::Text(text) => {
            return text.parse().map(Value::Uint).map_err(|_| EvaluationError::Conversion("uint"));
        }
        other => return Err(wrong(other)),
    };
    whole.map(Value::Uint).ok_or(EvaluationError::Overflow)
}

/// Towards zero. The cast saturates, beyond every range that is asked for.
fn whole(value: f64) -> Option<i128> {
    value.is_finite().then_some(value as i128)
}

pub(super) fn double<'a>(value: &Value<'a>, wrong: impl Fn(&Value<'_>) -> EvaluationError) -> Evaluated<'a> {
    Ok(Value::Double(match value {
        Value::Int(value) => *value as f64,
        Value::Uint(value) => *value as f64,
        Value::Double(value) => *value,
        Value::Text(text) => text.parse().map_err(|_| EvaluationError::Conversion("double"))?,
        other => return Err(wrong(other)),
    }))
}

pub(super) fn text<'a>(value: Value<'a>, wrong: impl Fn(&Value<'_>) -> EvaluationError) -> Evaluated<'a> {
    Ok(Value::made(match &value {
        Value::Text(_) => return Ok(value),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => return Err(EvaluationError::Conversion("string")),
        },
        Value::Timestamp(at) => time::show_moment(*at)?,
        Value::Duration(span) => time::show_span(*span)?,
        other => return Err(wrong(other)),
    }))
}

pub(super) fn bytes<'a>(value: Value<'a>, wrong: impl Fn(&Value<'_>) -> EvaluationError) -> Evaluated<'a> {
    match &value {
        Value::Bytes(_) => Ok(value),
        Value::Text(text) => Ok(Value::Bytes(Bytes::Made(text.as_bytes().into()))),
        other => Err(wrong(other)),
    }
}

pub(super) fn timestamp<'a>(
    value: &Value<'a>,
    wrong: impl Fn(&Value<'_>) -> EvaluationError,
) -> Evaluated<'a> {
    match value {
        Value::Timestamp(at) => Ok(Value::Timestamp(*at)),
        Value::Text(text) => time::parse_moment(text).map(Value::Timestamp),
        Value::Int(seconds) => time::moment(i128::from(*seconds) * NANOS).map(Value::Timestamp),
        other => Err(wrong(other)),
    }
}

pub(super) fn duration<'a>(
    value: &Value<'a>,
    wrong: impl Fn(&Value<'_>) -> EvaluationError,
) -> Evaluated<'a> {
    match value {
        Value::Duration(span) => Ok(Value::Duration(*span)),
        Value::Text(text) => {
            time::parse_span(text).map(Value::Duration).ok_or(EvaluationError::Conversion("duration"))
        }
        other => Err(wrong(other)),
    }
}

/// What a field has that is left out, as all of protobuf has it; no moment stands for none.
pub(super) fn left_out<'a>(kind: &CaptureKind) -> Option<Value<'a>> {
    match kind {
        CaptureKind::Text => Some(Value::text("")),
        CaptureKind::Bool => Some(Value::Bool(false)),
        CaptureKind::Int | CaptureKind::Enum(_) => Some(Value::Int(0)),
        CaptureKind::Uint => Some(Value::Uint(0)),
        CaptureKind::Double => Some(Value::Double(0.0)),
        CaptureKind::Bytes => Some(Value::Bytes(Bytes::Made([].into()))),
        CaptureKind::Timestamp => None,
    }
}

/// What a path captured or a query gave, by the type of the field that it is for.
pub(super) fn capture<'a>(text: Cow<'a, str>, kind: &CaptureKind) -> Evaluated<'a> {
    let refused = |kind| EvaluationError::Conversion(kind);
    Ok(match kind {
        CaptureKind::Text => match text {
            Cow::Borrowed(text) => Value::text(text),
            Cow::Owned(text) => Value::made(text),
        },
        CaptureKind::Bool => match &*text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => return Err(refused("bool")),
        },
        CaptureKind::Int => Value::Int(text.parse().map_err(|_| refused("int"))?),
        CaptureKind::Uint => Value::Uint(text.parse().map_err(|_| refused("uint"))?),
        CaptureKind::Double => Value::Double(text.parse().map_err(|_| refused("double"))?),
        CaptureKind::Bytes => {
            let mut bytes = Vec::new();
            base64::decode(text.as_bytes(), &mut bytes).map_err(|_| refused("bytes"))?;
            Value::Bytes(Bytes::Made(bytes.into()))
        }
        CaptureKind::Timestamp => Value::Timestamp(time::parse_moment(&text)?),
        CaptureKind::Enum(names) => {
            let named = names.iter().find(|(name, _)| **name == *text).map(|(_, number)| *number);
            let number = named.or_else(|| text.parse::<i32>().ok()).ok_or_else(|| refused("enum"))?;
            Value::Int(number.into())
        }
    })
}
