//! The scalars: GraphQL's own, and those that protobuf needs beside them.

use crate::schema::plan::{Kind, WellKnown};

/// A type without fields, as it is written in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scalar {
    Boolean,
    Float,
    Int,
    String,
    /// Part of the language; no message needs it.
    Id,
    Bytes,
    DateTime,
    Duration,
    FieldMask,
    Int64,
    Json,
    UInt32,
    UInt64,
}

impl Scalar {
    pub const ALL: [Self; 13] = [
        Self::Boolean,
        Self::Float,
        Self::Int,
        Self::String,
        Self::Id,
        Self::Bytes,
        Self::DateTime,
        Self::Duration,
        Self::FieldMask,
        Self::Int64,
        Self::Json,
        Self::UInt32,
        Self::UInt64,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "Boolean",
            Self::Float => "Float",
            Self::Int => "Int",
            Self::String => "String",
            Self::Id => "ID",
            Self::Bytes => "Bytes",
            Self::DateTime => "DateTime",
            Self::Duration => "Duration",
            Self::FieldMask => "FieldMask",
            Self::Int64 => "Int64",
            Self::Json => "JSON",
            Self::UInt32 => "UInt32",
            Self::UInt64 => "UInt64",
        }
    }

    /// Where its values are specified; `None` for the scalars of the language itself.
    pub const fn specified_by(self) -> Option<&'static str> {
        match self {
            Self::Boolean | Self::Float | Self::Int | Self::String | Self::Id => None,
            Self::Bytes => Some("https://www.rfc-editor.org/rfc/rfc4648#section-4"),
            Self::DateTime => Some("https://www.rfc-editor.org/rfc/rfc3339#section-5.6"),
            Self::Json => Some("https://www.rfc-editor.org/rfc/rfc8259"),
            Self::Duration | Self::FieldMask | Self::Int64 | Self::UInt32 | Self::UInt64 => {
                Some("https://protobuf.dev/programming-guides/json/")
            }
        }
    }

    pub const fn description(self) -> &'static str {
        match self {
            Self::Boolean => "`true` or `false`.",
            Self::Float => "A number of double precision (IEEE 754).",
            Self::Int => "A signed integer of 32 bits.",
            Self::String => "A text of Unicode characters.",
            Self::Id => "An identifier, written as a text.",
            Self::Bytes => "Bytes in base64.",
            Self::DateTime => "A point in time, such as `2026-01-31T10:00:00Z`.",
            Self::Duration => "A span of time in seconds, such as `1.5s`.",
            Self::FieldMask => "Paths to fields, separated by commas.",
            Self::Int64 => {
                "A signed integer of 64 bits, written as a text; a client may send it as a number, too."
            }
            Self::Json => "Any JSON value.",
            Self::UInt32 => "An unsigned integer of 32 bits.",
            Self::UInt64 => {
                "An unsigned integer of 64 bits, written as a text; a client may send it as a number, too."
            }
        }
    }

    /// The scalar of a field's kind; `None` for messages and enums.
    pub const fn of(kind: Kind) -> Option<Self> {
        Some(match kind {
            Kind::Double | Kind::Float => Self::Float,
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Self::Int,
            Kind::Uint32 | Kind::Fixed32 => Self::UInt32,
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Self::Int64,
            Kind::Uint64 | Kind::Fixed64 => Self::UInt64,
            Kind::Bool => Self::Boolean,
            Kind::String => Self::String,
            Kind::Bytes => Self::Bytes,
            Kind::Enum(_) | Kind::Message(_) | Kind::Group(_) => return None,
        })
    }

    /// The scalar of a message with a JSON form of its own; wrappers have that of their value.
    pub const fn of_well_known(known: WellKnown) -> Option<Self> {
        match known {
            WellKnown::Timestamp => Some(Self::DateTime),
            WellKnown::Duration => Some(Self::Duration),
            WellKnown::FieldMask => Some(Self::FieldMask),
            WellKnown::Any | WellKnown::Struct | WellKnown::Value | WellKnown::ListValue => Some(Self::Json),
            WellKnown::No | WellKnown::Wrapper | WellKnown::MapEntry => None,
        }
    }
}
