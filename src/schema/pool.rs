//! The last step of loading: checked and lowered files become a prost-reflect pool.
//!
//! Options are left out but for the three that change what a declaration means. prost-reflect would
//! decode, keep and encode every one of them, which takes most of the time and half of the memory of a
//! large set, and it panics where a set's own `descriptor.proto` disagrees with the one it was built
//! with. Who wants an option reads it from the [`Originals`](super::originals::Originals).

use prost_reflect::{DescriptorError, DescriptorPool};
use prost_types as out;

use super::raw;

/// Files that go into the pool together: prost-reflect holds three copies of what it is adding.
const BATCH_FILES: usize = 256;

/// Builds the pool of `files`, which stand in such an order that imports come first.
pub(super) fn build(
    files: impl IntoIterator<Item = raw::FileDescriptorProto>,
) -> Result<DescriptorPool, DescriptorError> {
    let mut pool = DescriptorPool::new();
    let mut files = files.into_iter().map(file).peekable();
    while files.peek().is_some() {
        pool.add_file_descriptor_protos(files.by_ref().take(BATCH_FILES).collect::<Vec<_>>())?;
    }
    Ok(pool)
}

fn file(file: raw::FileDescriptorProto) -> out::FileDescriptorProto {
    out::FileDescriptorProto {
        name: file.name,
        package: file.package,
        dependency: file.dependency,
        public_dependency: file.public_dependency,
        weak_dependency: file.weak_dependency,
        message_type: file.message_type.into_iter().map(message).collect(),
        enum_type: file.enum_type.into_iter().map(enumeration).collect(),
        service: file.service.into_iter().map(service).collect(),
        extension: file.extension.into_iter().map(field).collect(),
        options: None,
        source_code_info: None,
        syntax: file.syntax,
    }
}

fn message(message: raw::DescriptorProto) -> out::DescriptorProto {
    let options: raw::MessageOptions = raw::known_options(message.options.as_ref());
    out::DescriptorProto {
        name: message.name,
        field: message.field.into_iter().map(field).collect(),
        extension: message.extension.into_iter().map(field).collect(),
        nested_type: message.nested_type.into_iter().map(self::message).collect(),
        enum_type: message.enum_type.into_iter().map(enumeration).collect(),
        extension_range: message
            .extension_range
            .into_iter()
            .map(|range| out::descriptor_proto::ExtensionRange {
                start: range.start,
                end: range.end,
                options: None,
            })
            .collect(),
        oneof_decl: message
            .oneof_decl
            .into_iter()
            .map(|oneof| out::OneofDescriptorProto { name: oneof.name, options: None })
            .collect(),
        options: options.map_entry.map(|map_entry| out::MessageOptions {
            map_entry: Some(map_entry),
            ..out::MessageOptions::default()
        }),
        reserved_range: message
            .reserved_range
            .into_iter()
            .map(|range| out::descriptor_proto::ReservedRange { start: range.start, end: range.end })
            .collect(),
        reserved_name: message.reserved_name,
    }
}

fn field(field: raw::FieldDescriptorProto) -> out::FieldDescriptorProto {
    let options: raw::FieldOptions = raw::known_options(field.options.as_ref());
    out::FieldDescriptorProto {
        name: field.name,
        number: field.number,
        label: field.label,
        r#type: field.r#type,
        type_name: field.type_name,
        extendee: field.extendee,
        default_value: field.default_value,
        oneof_index: field.oneof_index,
        json_name: field.json_name,
        options: options
            .packed
            .map(|packed| out::FieldOptions { packed: Some(packed), ..out::FieldOptions::default() }),
        proto3_optional: field.proto3_optional,
    }
}

fn enumeration(enumeration: raw::EnumDescriptorProto) -> out::EnumDescriptorProto {
    let options: raw::EnumOptions = raw::known_options(enumeration.options.as_ref());
    out::EnumDescriptorProto {
        name: enumeration.name,
        value: enumeration
            .value
            .into_iter()
            .map(|value| out::EnumValueDescriptorProto {
                name: value.name,
                number: value.number,
                options: None,
            })
            .collect(),
        options: options.allow_alias.map(|allow_alias| out::EnumOptions {
            allow_alias: Some(allow_alias),
            ..out::EnumOptions::default()
        }),
        reserved_range: enumeration
            .reserved_range
            .into_iter()
            .map(|range| out::enum_descriptor_proto::EnumReservedRange { start: range.start, end: range.end })
            .collect(),
        reserved_name: enumeration.reserved_name,
    }
}

fn service(service: raw::ServiceDescriptorProto) -> out::ServiceDescriptorProto {
    out::ServiceDescriptorProto {
        name: service.name,
        method: service
            .method
            .into_iter()
            .map(|method| out::MethodDescriptorProto {
                name: method.name,
                input_type: method.input_type,
                output_type: method.output_type,
                options: None,
                client_streaming: method.client_streaming,
                server_streaming: method.server_streaming,
            })
            .collect(),
        options: None,
    }
}
