//! `google/protobuf/descriptor.proto` as this room reads it.
//!
//! The types of prost-types drop what they do not know: extensions in options, editions and their
//! features. These keep every options message as the bytes it came in, which costs nothing (a slice of
//! the input) and lets each reader decode what it is after. `source_code_info` is not decoded at all.

use bytes::Bytes;
use prost::Message;

/// A set, its files still in wire form: one broken file does not hide the others.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FileDescriptorSet {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub file: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FileDescriptorProto {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub package: Option<String>,
    #[prost(string, repeated, tag = "3")]
    pub dependency: Vec<String>,
    #[prost(int32, repeated, packed = "false", tag = "10")]
    pub public_dependency: Vec<i32>,
    #[prost(int32, repeated, packed = "false", tag = "11")]
    pub weak_dependency: Vec<i32>,
    #[prost(message, repeated, tag = "4")]
    pub message_type: Vec<DescriptorProto>,
    #[prost(message, repeated, tag = "5")]
    pub enum_type: Vec<EnumDescriptorProto>,
    #[prost(message, repeated, tag = "6")]
    pub service: Vec<ServiceDescriptorProto>,
    #[prost(message, repeated, tag = "7")]
    pub extension: Vec<FieldDescriptorProto>,
    #[prost(bytes = "bytes", optional, tag = "8")]
    pub options: Option<Bytes>,
    #[prost(string, optional, tag = "12")]
    pub syntax: Option<String>,
    #[prost(int32, optional, tag = "14")]
    pub edition: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DescriptorProto {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(message, repeated, tag = "2")]
    pub field: Vec<FieldDescriptorProto>,
    #[prost(message, repeated, tag = "6")]
    pub extension: Vec<FieldDescriptorProto>,
    #[prost(message, repeated, tag = "3")]
    pub nested_type: Vec<DescriptorProto>,
    #[prost(message, repeated, tag = "4")]
    pub enum_type: Vec<EnumDescriptorProto>,
    #[prost(message, repeated, tag = "5")]
    pub extension_range: Vec<ExtensionRange>,
    #[prost(message, repeated, tag = "8")]
    pub oneof_decl: Vec<OneofDescriptorProto>,
    #[prost(bytes = "bytes", optional, tag = "7")]
    pub options: Option<Bytes>,
    #[prost(message, repeated, tag = "9")]
    pub reserved_range: Vec<ReservedRange>,
    #[prost(string, repeated, tag = "10")]
    pub reserved_name: Vec<String>,
}

/// `end` is exclusive.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ExtensionRange {
    #[prost(int32, optional, tag = "1")]
    pub start: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub end: Option<i32>,
}

/// `end` is exclusive for messages and inclusive for enums.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ReservedRange {
    #[prost(int32, optional, tag = "1")]
    pub start: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub end: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FieldDescriptorProto {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(int32, optional, tag = "3")]
    pub number: Option<i32>,
    #[prost(int32, optional, tag = "4")]
    pub label: Option<i32>,
    #[prost(int32, optional, tag = "5")]
    pub r#type: Option<i32>,
    #[prost(string, optional, tag = "6")]
    pub type_name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub extendee: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub default_value: Option<String>,
    #[prost(int32, optional, tag = "9")]
    pub oneof_index: Option<i32>,
    #[prost(string, optional, tag = "10")]
    pub json_name: Option<String>,
    #[prost(bytes = "bytes", optional, tag = "8")]
    pub options: Option<Bytes>,
    #[prost(bool, optional, tag = "17")]
    pub proto3_optional: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OneofDescriptorProto {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub options: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EnumDescriptorProto {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(message, repeated, tag = "2")]
    pub value: Vec<EnumValueDescriptorProto>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub options: Option<Bytes>,
    #[prost(message, repeated, tag = "4")]
    pub reserved_range: Vec<ReservedRange>,
    #[prost(string, repeated, tag = "5")]
    pub reserved_name: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EnumValueDescriptorProto {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(int32, optional, tag = "2")]
    pub number: Option<i32>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub options: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ServiceDescriptorProto {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(message, repeated, tag = "2")]
    pub method: Vec<MethodDescriptorProto>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub options: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MethodDescriptorProto {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub input_type: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub output_type: Option<String>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub options: Option<Bytes>,
    #[prost(bool, optional, tag = "5")]
    pub client_streaming: Option<bool>,
    #[prost(bool, optional, tag = "6")]
    pub server_streaming: Option<bool>,
}

/// What matters of `MessageOptions`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct MessageOptions {
    #[prost(bool, optional, tag = "1")]
    pub message_set_wire_format: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    pub map_entry: Option<bool>,
    #[prost(bool, optional, tag = "11")]
    pub deprecated_legacy_json_field_conflicts: Option<bool>,
    #[prost(message, optional, tag = "12")]
    pub features: Option<FeatureSet>,
}

/// What matters of `FieldOptions`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct FieldOptions {
    #[prost(bool, optional, tag = "2")]
    pub packed: Option<bool>,
    #[prost(message, optional, tag = "21")]
    pub features: Option<FeatureSet>,
}

/// What matters of `EnumOptions`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct EnumOptions {
    #[prost(bool, optional, tag = "2")]
    pub allow_alias: Option<bool>,
    #[prost(message, optional, tag = "7")]
    pub features: Option<FeatureSet>,
}

/// What matters of `FileOptions`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct FileOptions {
    #[prost(message, optional, tag = "50")]
    pub features: Option<FeatureSet>,
}

/// What matters of `OneofOptions`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct OneofOptions {
    #[prost(message, optional, tag = "1")]
    pub features: Option<FeatureSet>,
}

/// What matters of `MethodOptions`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct MethodOptions {
    /// `IdempotencyLevel`: 1 is `NO_SIDE_EFFECTS`, 2 is `IDEMPOTENT`.
    #[prost(int32, optional, tag = "34")]
    pub idempotency_level: Option<i32>,
}

/// Options of which nothing matters here: decoding only proves that they are well-formed.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct OtherOptions {}

/// The features of edition 2023 and later that change a wire or JSON form.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct FeatureSet {
    #[prost(int32, optional, tag = "1")]
    pub field_presence: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub enum_type: Option<i32>,
    #[prost(int32, optional, tag = "3")]
    pub repeated_field_encoding: Option<i32>,
    #[prost(int32, optional, tag = "4")]
    pub utf8_validation: Option<i32>,
    #[prost(int32, optional, tag = "5")]
    pub message_encoding: Option<i32>,
    #[prost(int32, optional, tag = "6")]
    pub json_format: Option<i32>,
}

/// Values of `FieldDescriptorProto.Type`.
pub(super) mod field_type {
    pub(crate) const DOUBLE: i32 = 1;
    pub(crate) const FLOAT: i32 = 2;
    pub(crate) const INT64: i32 = 3;
    pub(crate) const UINT64: i32 = 4;
    pub(crate) const INT32: i32 = 5;
    pub(crate) const FIXED64: i32 = 6;
    pub(crate) const FIXED32: i32 = 7;
    pub(crate) const BOOL: i32 = 8;
    pub(crate) const STRING: i32 = 9;
    pub(crate) const GROUP: i32 = 10;
    pub(crate) const MESSAGE: i32 = 11;
    pub(crate) const BYTES: i32 = 12;
    pub(crate) const UINT32: i32 = 13;
    pub(crate) const ENUM: i32 = 14;
    pub(crate) const SFIXED32: i32 = 15;
    pub(crate) const SFIXED64: i32 = 16;
    pub(crate) const SINT32: i32 = 17;
    pub(crate) const SINT64: i32 = 18;
}

/// Values of `FieldDescriptorProto.Label`.
pub(super) mod label {
    pub(crate) const OPTIONAL: i32 = 1;
    pub(crate) const REQUIRED: i32 = 2;
    pub(crate) const REPEATED: i32 = 3;
}

/// Decodes options that were proven well-formed when the set was checked.
pub(super) fn known_options<M: Message + Default>(options: Option<&Bytes>) -> M {
    options.map(|bytes| M::decode(bytes.clone()).unwrap_or_default()).unwrap_or_default()
}
