//! What the file may hold, told by the readers themselves.
//!
//! A reader that is given [`Value::Unwritten`](super::yaml::Value) reads nothing and draws what it expects.
//! So the schema for editors is made of the same lines that read the file, and cannot differ from them.

use std::time::Duration;

/// What a reader expects of a value. Where it draws several, any of them will do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    Map(Map),
    List(Vec<Self>),
    Text,
    Boolean,
    Integer {
        least: i128,
        most: i128,
    },
    /// Text with a unit.
    Duration {
        least: Duration,
        most: Duration,
    },
    /// Text with a unit, or a number.
    Bytes {
        least: usize,
        most: usize,
    },
    Choice(Vec<&'static str>),
    /// In words, as a finding says what it expected.
    Words(String),
}

/// A mapping's keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Map {
    /// As findings and documentation name the mapping; empty for the whole file.
    pub path: String,
    pub keys: Vec<Key>,
    /// What a key of the operator's choice has.
    pub named: Option<Vec<Shape>>,
}

/// One key of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub name: String,
    pub shapes: Vec<Shape>,
    pub is_required: bool,
}

/// The name of an entry of the operator's choice, where there is none.
pub(super) const NAME: &str = "NAME";
