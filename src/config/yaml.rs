//! YAML text → a tree in which every key and value knows its place.
//!
//! Sections are read from this tree and not by derived `Deserialize`s, because serde stops at the first
//! error and the operator wants all of them. Duplicate keys are kept here and refused by the section
//! that meets them, with both places.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

use super::finding::Position;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub position: Position,
    pub value: Value,
}

/// The YAML core schema, with mappings in the order of the file.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// There is no file: the reader draws what it expects, see [`shape`](super::shape).
    Unwritten,
}

impl Node {
    /// The value of a key of a mapping.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    /// The keys of a mapping.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let entries = match &self.value {
            Value::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().map(|(key, _)| key.name.as_str())
    }

    /// What a reader is given to draw what it expects.
    pub(super) const fn unwritten() -> Self {
        Self { position: Position { line: 0, column: 0 }, value: Value::Unwritten }
    }
}

/// A mapping's key and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub position: Position,
    pub name: String,
}

/// Parses one YAML document; an empty one is [`Value::Null`].
pub(super) fn parse(text: &str) -> Result<Node, (Position, String)> {
    // YAML 1.2 has two booleans; those of 1.1 would make `false` of Norway.
    let options =
        serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::LastWins, strict_booleans: true };
    match serde_saphyr::from_str_with_options::<Spanned<Value>>(text, options) {
        Ok(root) => Ok(root.into()),
        Err(error) => {
            let position = error.location().map_or(Position { line: 1, column: 1 }, position);
            Err((position, message(&error)))
        }
    }
}

/// The parser's words without the place, which the finding states in its own way.
fn message(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let line = text.lines().next().unwrap_or_default();
    match line.rfind(" at line ") {
        Some(end) => line[..end].to_owned(),
        None => line.to_owned(),
    }
}

fn position(location: Location) -> Position {
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Position { line: narrow(location.line()), column: narrow(location.column()) }
}

impl Value {
    /// What an operator calls this kind of value.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
            Self::Unwritten => "what is not written",
        }
    }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self { position: position(spanned.referenced), value: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Value, E> {
        i128::try_from(value).map(Value::Integer).map_err(|_| E::custom("number too large"))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element::<Spanned<Value>>()? {
            items.push(item.into());
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<Spanned<Value>>()? {
            let Value::Text(name) = key.value else {
                return Err(A::Error::custom(format_args!(
                    "expected a name as key, found {}",
                    key.value.kind()
                )));
            };
            let value = access.next_value::<Spanned<Value>>()?.into();
            entries.push((Key { position: position(key.referenced), name }, value));
        }
        Ok(Value::Map(entries))
    }
}
