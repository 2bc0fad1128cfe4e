//! The same schema once more, in edition 2023.
//!
//! Each file says by features what its syntax says by itself (protobuf.dev, "Feature Settings for
//! Editions"). The types at hand know no features, so options and edition are written as bytes.

use prost_reflect::DescriptorPool;
use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{DescriptorProto, FieldDescriptorProto, FieldOptions, FileDescriptorProto};
use transom::codec::wire::{put_len_prefixed, put_tag, put_varint, tag};
use transom::schema::plan::wire::{LEN, VARINT};

/// Number and value of a feature in `FeatureSet`.
type Feature = (u32, u64);

const EXPLICIT: Feature = (1, 1);
const IMPLICIT: Feature = (1, 2);
const LEGACY_REQUIRED: Feature = (1, 3);
const CLOSED: Feature = (2, 2);
const PACKED: Feature = (3, 1);
const EXPANDED: Feature = (3, 2);
const UTF8_NONE: Feature = (4, 3);
const DELIMITED: Feature = (5, 2);
const JSON_BEST_EFFORT: Feature = (6, 2);

/// A descriptor set of the pool's files, those without a Google package lifted to the edition.
pub(crate) fn lifted(pool: &DescriptorPool) -> Vec<u8> {
    let mut set = Vec::new();
    for file in pool.files() {
        let file = file.file_descriptor_proto();
        let is_google = file.package().starts_with("google.");
        let bytes = if is_google { file.encode_to_vec() } else { lift_file(file) };
        put_len_prefixed(&mut set, tag(1, LEN), &bytes);
    }
    set
}

fn lift_file(file: &FileDescriptorProto) -> Vec<u8> {
    // What differs from the edition's defaults.
    let features: &[Feature] = match file.syntax() {
        "proto3" => &[IMPLICIT],
        _ => &[CLOSED, EXPANDED, UTF8_NONE, JSON_BEST_EFFORT],
    };
    let rest = FileDescriptorProto {
        syntax: Some("editions".to_owned()),
        message_type: Vec::new(),
        extension: Vec::new(),
        ..file.clone()
    };
    let mut out = rest.encode_to_vec();
    for message in &file.message_type {
        put_len_prefixed(&mut out, tag(4, LEN), &lift_message(message));
    }
    for extension in &file.extension {
        put_len_prefixed(&mut out, tag(7, LEN), &lift_field(extension));
    }
    put_features(&mut out, 50, features);
    put_tag(&mut out, tag(14, VARINT));
    put_varint(&mut out, 1000);
    out
}

fn lift_message(message: &DescriptorProto) -> Vec<u8> {
    // The oneofs of proto3's `optional` fields stand behind all others.
    let synthetic = message.field.iter().filter(|field| field.proto3_optional()).count();
    let mut oneof_decl = message.oneof_decl.clone();
    oneof_decl.truncate(oneof_decl.len() - synthetic);
    let rest = DescriptorProto { field: Vec::new(), nested_type: Vec::new(), oneof_decl, ..message.clone() };
    let mut out = rest.encode_to_vec();
    for field in &message.field {
        put_len_prefixed(&mut out, tag(2, LEN), &lift_field(field));
    }
    for nested in &message.nested_type {
        put_len_prefixed(&mut out, tag(3, LEN), &lift_message(nested));
    }
    out
}

fn lift_field(field: &FieldDescriptorProto) -> Vec<u8> {
    let (mut field, mut features) = (field.clone(), Vec::new());
    if field.proto3_optional() {
        (field.proto3_optional, field.oneof_index) = (None, None);
        features.push(EXPLICIT);
    }
    if field.label() == Label::Required {
        field.set_label(Label::Optional);
        features.push(LEGACY_REQUIRED);
    }
    if field.r#type() == Type::Group {
        field.set_type(Type::Message);
        features.push(DELIMITED);
    }
    if let Some(FieldOptions { packed: Some(packed), .. }) = field.options.take() {
        features.push(if packed { PACKED } else { EXPANDED });
    }
    let mut out = field.encode_to_vec();
    put_features(&mut out, 21, &features);
    out
}

/// Appends the `options` (8 in files and fields alike) that set these features.
fn put_features(out: &mut Vec<u8>, number: u32, features: &[Feature]) {
    if features.is_empty() {
        return;
    }
    let (mut set, mut options) = (Vec::new(), Vec::new());
    for &(number, value) in features {
        put_tag(&mut set, tag(number, VARINT));
        put_varint(&mut set, value);
    }
    put_len_prefixed(&mut options, tag(number, LEN), &set);
    put_len_prefixed(out, tag(8, LEN), &options);
}
