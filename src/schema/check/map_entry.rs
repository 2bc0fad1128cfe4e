//! Map entries: the message that protoc makes of `map<K, V>`.
//!
//! Codec and prost-reflect take the form for granted: field 1 `key`, field 2 `value`, both singular.

use super::super::raw::{DescriptorProto, FieldDescriptorProto, field_type, label};

pub(super) fn check(
    entry: &DescriptorProto,
    parent: Option<&[FieldDescriptorProto]>,
    full_name: &str,
) -> Result<(), &'static str> {
    let Some(parent) = parent else { return Err("it is not nested in a message") };
    let [key, value] = &entry.field[..] else { return Err("it must have exactly a key and a value") };
    if key.number() != 1 || key.name() != "key" {
        return Err("its first field must be `key = 1`");
    }
    if value.number() != 2 || value.name() != "value" {
        return Err("its second field must be `value = 2`");
    }
    if [key, value].iter().any(|field| !matches!(field.label, None | Some(label::OPTIONAL))) {
        return Err("key and value must be singular");
    }
    if !entry.oneof_decl.is_empty() || [key, value].iter().any(|field| field.oneof_index.is_some()) {
        return Err("it must not have a oneof");
    }
    let has_more = !entry.nested_type.is_empty()
        || !entry.enum_type.is_empty()
        || !entry.extension.is_empty()
        || !entry.extension_range.is_empty();
    if has_more {
        return Err("it must not hold other declarations");
    }
    match key.r#type() {
        field_type::DOUBLE
        | field_type::FLOAT
        | field_type::BYTES
        | field_type::MESSAGE
        | field_type::GROUP
        | field_type::ENUM => return Err("its key must be an integer, a bool or a string"),
        _ => {}
    }
    if value.r#type() == field_type::GROUP {
        return Err("its value must not be a group");
    }
    // Fields are checked before the types nested beside them, so these names are absolute by now.
    let mut users = parent.iter().filter(|field| {
        field.type_name.as_deref().and_then(|name| name.strip_prefix('.')) == Some(full_name)
    });
    match (users.next(), users.next()) {
        (None, _) => Err("no field uses it"),
        (Some(_), Some(_)) => Err("more than one field uses it"),
        (Some(field), None) if field.label() != label::REPEATED => Err("its field must be repeated"),
        (Some(field), None) if field.r#type() != field_type::MESSAGE => Err("its field must not be a group"),
        (Some(_), None) => Ok(()),
    }
}
