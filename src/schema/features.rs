//! The editions features that change a wire or JSON form, resolved.
//!
//! Naming style and symbol visibility (edition 2024) bind protoc alone and are not looked at.

use super::error::Problem;
use super::raw::FeatureSet;

/// What holds for one declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features {
    pub presence: Presence,
    pub open_enums: bool,
    pub packed: bool,
    pub utf8: bool,
    pub delimited: bool,
    pub json_format: JsonFormat,
}

/// Values of `FeatureSet.FieldPresence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Explicit = 1,
    Implicit = 2,
    LegacyRequired = 3,
}

/// Values of `FeatureSet.JsonFormat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonFormat {
    Allow,
    LegacyBestEffort,
}

impl Features {
    /// The defaults of edition 2023; 2024 changes none of them (`edition_defaults` in descriptor.proto).
    pub(super) const EDITION_2023: Self = Self {
        presence: Presence::Explicit,
        open_enums: true,
        packed: true,
        utf8: true,
        delimited: false,
        json_format: JsonFormat::Allow,
    };

    pub(super) const PROTO3: Self = Self { presence: Presence::Implicit, ..Self::EDITION_2023 };

    /// These features with what a declaration sets for itself.
    pub(super) fn with(mut self, own: &FeatureSet) -> Result<Self, Problem> {
        let unknown = |feature, value| Problem::UnknownFeature { feature, value };
        if let Some(value) = own.field_presence {
            self.presence = match value {
                1 => Presence::Explicit,
                2 => Presence::Implicit,
                3 => Presence::LegacyRequired,
                _ => return Err(unknown("field_presence", value)),
            };
        }
        if let Some(value) = own.enum_type {
            self.open_enums = either(value, 1, 2).ok_or_else(|| unknown("enum_type", value))?;
        }
        if let Some(value) = own.repeated_field_encoding {
            self.packed = either(value, 1, 2).ok_or_else(|| unknown("repeated_field_encoding", value))?;
        }
        if let Some(value) = own.utf8_validation {
            // VERIFY is 2 and NONE 3; 1 was withdrawn.
            self.utf8 = either(value, 2, 3).ok_or_else(|| unknown("utf8_validation", value))?;
        }
        if let Some(value) = own.message_encoding {
            self.delimited = either(value, 2, 1).ok_or_else(|| unknown("message_encoding", value))?;
        }
        if let Some(value) = own.json_format {
            let allow = either(value, 1, 2).ok_or_else(|| unknown("json_format", value))?;
            self.json_format = if allow { JsonFormat::Allow } else { JsonFormat::LegacyBestEffort };
        }
        Ok(self)
    }
}

fn either(value: i32, yes: i32, no: i32) -> Option<bool> {
    if value == yes {
        Some(true)
    } else if value == no {
        Some(false)
    } else {
        None
    }
}
