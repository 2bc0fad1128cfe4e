//! How JSON is read and written where the mapping leaves a choice.

/// Per listener or route; the default is ProtoJSON's own, strict about unknown fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonOptions {
    /// How field names are written; both spellings are always read.
    pub names: Names,
    /// How enum values are written; both forms are always read.
    pub enums: Enums,
    /// Whether implicit-presence fields at their default, empty lists and empty maps are written.
    pub defaults: Defaults,
    /// How 64-bit integers are written; both forms are always read.
    pub int64: Int64,
    /// What happens to JSON names that the message type does not know.
    pub unknown: Unknown,
    /// How deep objects and arrays, and messages within messages, may nest.
    pub depth_max: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// `lowerCamelCase`, or the field's `json_name`.
    Json,
    /// As declared in the `.proto` file.
    Proto,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enums {
    Name,
    Number,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defaults {
    Omit,
    Emit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Int64 {
    /// JavaScript numbers are exact only up to 2⁵³, hence ProtoJSON's strings.
    String,
    Number,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    Ignore,
    Reject,
}

impl Default for JsonOptions {
    fn default() -> Self {
        Self {
            names: Names::Json,
            enums: Enums::Name,
            defaults: Defaults::Omit,
            int64: Int64::String,
            unknown: Unknown::Reject,
            depth_max: 100,
        }
    }
}
