//! What an expression evaluates to on its way: mostly views into the token and the request's head.
//!
//! JSON numbers without a fraction are `int` (`uint` past that), others `double`; the rest is as CEL has it.

use std::cmp::Ordering;
use std::ops::Deref;
use std::rc::Rc;

use http::HeaderMap;
use serde_json::Value as Json;

use super::evaluate::EvaluationError;
use crate::codec::view::View;

#[derive(Clone, Debug)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Text<'a>),
    Bytes(Bytes<'a>),
    /// Nanoseconds since 1970.
    Timestamp(i128),
    /// Nanoseconds.
    Duration(i64),
    List(List<'a>),
    Map(Map<'a>),
    Message(View<'a>),
}

/// Text of the request, or made of it.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    Borrowed(&'a str),
    Made(Rc<str>),
}

#[derive(Clone, Debug)]
pub enum Bytes<'a> {
    Borrowed(&'a [u8]),
    Made(Rc<[u8]>),
}

#[derive(Clone, Debug)]
pub enum List<'a> {
    Json(&'a [Json]),
    Names(&'a [Box<str>]),
    Made(Rc<[Value<'a>]>),
}

#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// The claims of a token; `scope` is a list.
    Claims(&'a serde_json::Map<String, Json>, &'a [Box<str>]),
    Json(&'a serde_json::Map<String, Json>),
    Headers(&'a HeaderMap),
    Made(Rc<[(Value<'a>, Value<'a>)]>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Made(text) => text,
        }
    }
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Made(bytes) => bytes,
        }
    }
}

impl<'a> Value<'a> {
    pub(super) fn text(text: &'a str) -> Self {
        Self::Text(Text::Borrowed(text))
    }

    pub(super) fn made(text: impl Into<Rc<str>>) -> Self {
        Self::Text(Text::Made(text.into()))
    }

    pub(super) fn json(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => Self::Int(value),
                (None, Some(value)) => Self::Uint(value),
                (None, None) => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::text(text),
            Json::Array(items) => Self::List(List::Json(items)),
            Json::Object(entries) => Self::Map(Map::Json(entries)),
        }
    }

    /// The type's name, as a log shows it.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "timestamp",
            Self::Duration(_) => "duration",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Message(_) => "message",
        }
    }

    /// The order of two values; the inner `None` is a NaN's, the outer says that there is no order.
    pub(super) fn order(&self, other: &Self) -> Option<Option<Ordering>> {
        Some(match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => Some(left.cmp(right)),
            (Self::Text(left), Self::Text(right)) => Some(left.deref().cmp(right)),
            (Self::Bytes(left), Self::Bytes(right)) => Some(left.deref().cmp(right)),
            (Self::Timestamp(left), Self::Timestamp(right)) => Some(left.cmp(right)),
            (Self::Duration(left), Self::Duration(right)) => Some(left.cmp(right)),
            (Self::Double(left), Self::Double(right)) => left.partial_cmp(right),
            (left, Self::Double(right)) => against_double(left.whole()?, *right),
            (Self::Double(left), right) => against_double(right.whole()?, *left).map(Ordering::reverse),
            (left, right) => Some(left.whole()?.cmp(&right.whole()?)),
        })
    }

    fn whole(&self) -> Option<i128> {
        match self {
            Self::Int(value) => Some((*value).into()),
            Self::Uint(value) => Some((*value).into()),
            _ => None,
        }
    }
}

/// Exactly, where a conversion to double would round.
fn against_double(whole: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // Saturates; every i64 and u64 is far inside.
    let floor = double.floor() as i128;
    Some(whole.cmp(&floor).then(if double > double.floor() { Ordering::Less } else { Ordering::Equal }))
}

impl<'a> List<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Json(items) => items.len(),
            Self::Names(items) => items.len(),
            Self::Made(items) => items.len(),
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Self::Json(items) => items.get(index).map(Value::json),
            Self::Names(items) => items.get(index).map(|name| Value::text(name)),
            Self::Made(items) => items.get(index).cloned(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl<'a> Map<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Claims(entries, _) | Self::Json(entries) => entries.len(),
            Self::Headers(headers) => headers.keys_len(),
            Self::Made(entries) => entries.len(),
        }
    }

    /// The value under a name.
    pub(super) fn named(&self, name: &str) -> Result<Option<Value<'a>>, EvaluationError> {
        Ok(match self {
            Self::Claims(entries, scopes) if name == "scope" => {
                (!scopes.is_empty() || entries.contains_key(name)).then_some(Value::List(List::Names(scopes)))
            }
            Self::Claims(entries, _) | Self::Json(entries) => entries.get(name).map(Value::json),
            Self::Headers(headers) => header(headers, name)?,
            Self::Made(entries) => entries
                .iter()
                .find(|(key, _)| matches!(key, Value::Text(key) if **key == *name))
                .map(|(_, value)| value.clone()),
        })
    }

    /// The value under a key of any type.
    pub(super) fn get(&self, key: &Value<'a>) -> Result<Option<Value<'a>>, EvaluationError> {
        match (self, key) {
            (_, Value::Text(name)) => self.named(name),
            (Self::Made(entries), Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_)) => {
                let found = entries.iter().find(|(other, _)| other.order(key) == Some(Some(Ordering::Equal)));
                Ok(found.map(|(_, value)| value.clone()))
            }
            (_, Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_)) => Ok(None),
            _ => Err(EvaluationError::Type { what: "a key", found: key.kind() }),
        }
    }

    /// Its keys, in an order of its own.
    pub(super) fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Self::Claims(entries, _) | Self::Json(entries) => {
                entries.keys().map(|key| Value::text(key)).collect()
            }
            Self::Headers(headers) => headers.keys().map(|name| Value::text(name.as_str())).collect(),
            Self::Made(entries) => entries.iter().map(|(key, _)| key.clone()).collect(),
        }
    }
}

/// RFC 9110, section 5.3: several of one name are one, joined by commas.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<Value<'a>>, EvaluationError> {
    // The map of headers would find these too, but a CEL map is exact.
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok(None);
    }
    let mut values = headers.get_all(name).iter().map(|value| {
        std::str::from_utf8(value.as_bytes()).map_err(|_| EvaluationError::Unreadable("a header"))
    });
    let Some(first) = values.next().transpose()? else { return Ok(None) };
    let Some(second) = values.next().transpose()? else { return Ok(Some(Value::text(first))) };
    let mut joined = format!("{first}, {second}");
    for value in values {
        joined.push_str(", ");
        joined.push_str(value?);
    }
    Ok(Some(Value::made(joined)))
}
