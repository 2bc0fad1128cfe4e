//! The names of the kinds of fields, as `.proto` files have them.

use super::plan::Kind;

impl Kind {
    /// The keyword of a scalar type (descriptor.proto, `FieldDescriptorProto.Type`); of types that have names of their
    /// own, what they are.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Double => "double",
            Self::Float => "float",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Uint32 => "uint32",
            Self::Uint64 => "uint64",
            Self::Sint32 => "sint32",
            Self::Sint64 => "sint64",
            Self::Fixed32 => "fixed32",
            Self::Fixed64 => "fixed64",
            Self::Sfixed32 => "sfixed32",
            Self::Sfixed64 => "sfixed64",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Enum(_) => "an enum",
            Self::Message(_) | Self::Group(_) => "a message",
        }
    }
}
