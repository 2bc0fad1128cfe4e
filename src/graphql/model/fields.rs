//! What a type consists of: fields of messages and values of enums, compiled when somebody first asks.
//!
//! Fields stand in the order of their numbers. An extension is no field: only its own file knows of it, and its name
//! is none in GraphQL.

use std::collections::HashSet;

use prost_reflect::{Cardinality, FieldDescriptor, Kind as Reflected, MessageDescriptor};

use super::build::{Leaf, has_own_form, leaf, reply};
use super::names::{legal, members};
use super::{
    EnumValue, Field, Input, Inputs, Members, Model, Operation, Scalar, Source, Target, TypeId, TypeRef,
};
use crate::schema::plan::{EnumId, MessageId};
use crate::schema::{Schema, Usage};

/// What stands in a type that has no fields: GraphQL wants one.
const NOTHING: &str = "_empty";

impl Model {
    pub(super) fn compile_root(&self, schema: &Schema, operation: Operation) -> Members<Field> {
        let methods = self.methods.iter().enumerate().filter(|(_, method)| method.operation == operation);
        let mut fields: Vec<Field> = methods
            .map(|(index, method)| Field {
                name: method.name.clone(),
                // A call may fail: it is null then, and its neighbours are not.
                type_ref: TypeRef::nullable(self.output(reply(schema, method.output))),
                source: Source::Method(index),
                is_deprecated: false,
            })
            .collect();
        if fields.is_empty() {
            fields.push(self.nothing());
        }
        fields.into_iter().collect()
    }

    pub(super) fn compile_object(&self, schema: &Schema, message: MessageId) -> Members<Field> {
        let descriptor = schema.descriptor(message);
        let used = used(schema, descriptor, |usage| !usage.input_only);
        let names = members(used.iter().map(|(_, field, _)| field.json_name()));
        let fields = names.into_iter().zip(&used).map(|(name, (index, field, usage))| {
            let leaf = leaf(schema, field, self.mapping);
            Field {
                name,
                type_ref: TypeRef {
                    named: self.output(leaf),
                    is_list: self.is_list(field),
                    is_non_null: self.is_list(field) || has_value(schema, field, leaf),
                    has_null_items: false,
                },
                source: Source::Field { number: field.number(), index: *index },
                is_deprecated: usage.deprecated,
            }
        });
        let mut fields: Vec<Field> = fields.chain(self.linked(message)).collect();
        if fields.is_empty() {
            fields.push(self.nothing());
        }
        fields.into_iter().collect()
    }

    fn nothing(&self) -> Field {
        Field {
            name: NOTHING.into(),
            type_ref: TypeRef::nullable(self.scalar(Scalar::Boolean)),
            source: Source::Nothing,
            is_deprecated: false,
        }
    }

    pub(super) fn compile_input(&self, schema: &Schema, message: MessageId) -> Inputs {
        let inputs = self.compile_arguments(schema, message);
        if !inputs.list.is_empty() {
            return inputs;
        }
        let nothing = Input {
            name: NOTHING.into(),
            type_ref: TypeRef::nullable(self.scalar(Scalar::Boolean)),
            target: Target::Nothing,
            default: None,
            is_deprecated: false,
        };
        Inputs { list: [nothing].into_iter().collect(), is_one_of: false }
    }

    /// The fields of a request as arguments; none where it has no fields.
    pub(super) fn compile_arguments(&self, schema: &Schema, message: MessageId) -> Inputs {
        let descriptor = schema.descriptor(message);
        if has_own_form(descriptor) {
            return self.whole(schema, message);
        }
        let used = used(schema, descriptor, |usage| !usage.output_only);
        let is_one_of = is_one_of(descriptor, &used);
        let names = members(used.iter().map(|(_, field, _)| field.json_name()));
        let inputs = names.into_iter().zip(&used).map(|(name, (index, field, usage))| {
            let is_member = real_oneof(field).is_some();
            let is_required = usage.required || field.cardinality() == Cardinality::Required;
            let is_non_null = is_required && !is_member && !returns(schema, descriptor, field);
            Input {
                name,
                type_ref: TypeRef {
                    named: self.input(leaf(schema, field, self.mapping)),
                    is_list: self.is_list(field),
                    is_non_null,
                    has_null_items: false,
                },
                target: Target::Field { number: field.number(), index: *index },
                default: None,
                // What must be given cannot be deprecated (GraphQL, section 3.13.3).
                is_deprecated: usage.deprecated && !is_non_null,
            }
        });
        Inputs { list: inputs.collect(), is_one_of }
    }

    /// A request whose type is written otherwise than as its fields has one argument for all of it.
    fn whole(&self, schema: &Schema, message: MessageId) -> Inputs {
        let input = Input {
            name: "value".into(),
            type_ref: TypeRef::nullable(self.input(reply(schema, message))),
            target: Target::Whole,
            default: None,
            is_deprecated: false,
        };
        Inputs { list: [input].into_iter().collect(), is_one_of: false }
    }

    pub(super) fn compile_enum(&self, schema: &Schema, enumeration: EnumId) -> Members<EnumValue> {
        let descriptor = schema.enum_descriptor(enumeration);
        // As declared: prost-reflect sorts them by number, and leaves it open which of two aliases comes first.
        let declared: Vec<String> =
            descriptor.enum_descriptor_proto().value.iter().map(|value| value.name().to_owned()).collect();
        let prefix = prefix(descriptor.name(), &declared).filter(|_| self.mapping.strip_enum_prefix);
        let short = |name: &'_ str| match name {
            // These three are words of the language.
            "true" | "false" | "null" => format!("{name}_"),
            name => legal(name).into_owned(),
        };
        let stripped: Vec<String> =
            declared.iter().map(|name| short(name.get(prefix.unwrap_or(0)..).unwrap_or(name))).collect();
        let names = members(stripped.iter().map(String::as_str));
        let values = names.into_iter().zip(&declared).filter_map(|(name, declared)| {
            let value = descriptor.get_value_by_name(declared)?;
            Some(EnumValue {
                name,
                declared: declared.as_str().into(),
                number: value.number(),
                is_deprecated: schema.is_deprecated_value(&value),
            })
        });
        values.collect()
    }

    fn is_list(&self, field: &FieldDescriptor) -> bool {
        field.is_list() || (field.is_map() && !self.mapping.maps_as_json)
    }

    fn output(&self, leaf: Leaf) -> TypeId {
        match leaf {
            Leaf::Scalar(scalar) => self.scalar(scalar),
            Leaf::Enum(id) => *self.enums.get(&id).expect("`Reach` met every enum that a field leads to"),
            Leaf::Message(id) => *self.outputs.get(&id).expect("`Reach` met every message of a reply"),
        }
    }

    fn input(&self, leaf: Leaf) -> TypeId {
        match leaf {
            Leaf::Message(id) => *self.inputs.get(&id).expect("`Reach` met every message of a request"),
            other => self.output(other),
        }
    }
}

/// Fields with their indexes in the message's plan, by number.
type Used = Vec<(usize, FieldDescriptor, Usage)>;

/// The fields that one side has.
fn used(schema: &Schema, message: &MessageDescriptor, is_used: impl Fn(Usage) -> bool) -> Used {
    let mut numbers: Vec<u32> = message.fields().map(|field| field.number()).collect();
    numbers.extend(message.extensions().map(|extension| extension.number()));
    numbers.sort_unstable();
    let fields = message.fields().filter_map(|field| {
        let usage = schema.usage(&field);
        let index = numbers.binary_search(&field.number()).ok()?;
        is_used(usage).then_some((index, field, usage))
    });
    fields.collect()
}

/// Whether the field has a value in every reply: absent, it is its type's zero.
fn has_value(schema: &Schema, field: &FieldDescriptor, leaf: Leaf) -> bool {
    if matches!(field.kind(), Reflected::Message(_)) {
        // A required one, too: partial replies are no rarity, and whoever reads `null` sees what is missing.
        return field.is_map();
    }
    let is_implicit = schema.traits().implicit.contains(field.full_name()) || !field.supports_presence();
    (is_implicit || field.cardinality() == Cardinality::Required) && leaf != Leaf::Scalar(Scalar::Json)
}

/// Whether the message is nothing but one choice.
fn is_one_of(message: &MessageDescriptor, used: &Used) -> bool {
    let mut choices = used.iter().map(|(_, field, _)| real_oneof(field));
    let Some(Some(first)) = choices.next() else { return false };
    choices.all(|choice| choice.as_deref() == Some(&*first)) && message.fields().len() == used.len()
}

/// The oneof of a field, but for that of a proto3 `optional`.
fn real_oneof(field: &FieldDescriptor) -> Option<String> {
    let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic())?;
    Some(oneof.name().to_owned())
}

/// Whether a required message field leads, by required message fields alone, back to its own message: such a
/// value would have no end, and GraphQL refuses the type (section 3.10.1).
fn returns(schema: &Schema, from: &MessageDescriptor, field: &FieldDescriptor) -> bool {
    let next = |field: &FieldDescriptor| match field.kind() {
        Reflected::Message(message) if !field.is_list() && !field.is_map() => Some(message),
        _ => None,
    };
    let mut open: Vec<MessageDescriptor> = next(field).into_iter().collect();
    let mut seen = HashSet::new();
    while let Some(message) = open.pop() {
        if message == *from {
            return true;
        }
        if has_own_form(&message) || !seen.insert(message.full_name().to_owned()) {
            continue;
        }
        for field in message.fields() {
            let is_required = field.cardinality() == Cardinality::Required || schema.usage(&field).required;
            if is_required && real_oneof(&field).is_none() {
                open.extend(next(&field));
            }
        }
    }
    false
}

/// How many bytes all values of an enum share with its name: of `Genre`, `GENRE_`.
fn prefix(name: &str, values: &[String]) -> Option<usize> {
    let mut prefix = String::with_capacity(name.len() + 8);
    let mut after_lower = false;
    for char in name.chars() {
        if char.is_ascii_uppercase() && after_lower {
            prefix.push('_');
        }
        after_lower = char.is_ascii_lowercase() || char.is_ascii_digit();
        prefix.push(char.to_ascii_uppercase());
    }
    prefix.push('_');
    let is_short = |value: &String| {
        value
            .strip_prefix(&prefix)
            .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_alphabetic()))
    };
    values.iter().all(is_short).then_some(prefix.len())
}
