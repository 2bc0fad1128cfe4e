//! What people wrote about types and fields, and why something is deprecated: read when somebody asks.

use prost_reflect::{EnumDescriptor, MessageDescriptor};

use super::{EnumValue, Field, Input, Model, Source, Target, TypeId, TypeKind};
use crate::schema::Schema;
use crate::schema::plan::MessageId;

/// What `@deprecated` says where nobody has said more.
const NO_LONGER_SUPPORTED: &str = "No longer supported";

impl Model {
    /// What a type is for; empty where nobody has said it.
    pub fn type_description(&self, schema: &Schema, id: TypeId) -> String {
        let found = self.get(id);
        match found.kind {
            TypeKind::Scalar(scalar) => scalar.description().to_owned(),
            TypeKind::Meta(meta) => meta.description().to_owned(),
            TypeKind::Root(_) => String::new(),
            TypeKind::Enum(id) => schema.comments(schema.enum_descriptor(id)).text(),
            TypeKind::Object(id) | TypeKind::Input(id) => schema.comments(schema.descriptor(id)).text(),
        }
    }

    /// What a field of type `parent` is.
    pub fn field_description(&self, schema: &Schema, parent: TypeId, field: &Field) -> String {
        match (field.source, self.get(parent).kind) {
            (Source::Method(index), _) => {
                let method = self.methods.get(index).map(|method| &method.exposed.method);
                method.map(|method| schema.comments(method).text()).unwrap_or_default()
            }
            (Source::Field { number, .. }, TypeKind::Object(message)) => {
                of_number(schema, schema.descriptor(message), number, &field.name)
            }
            (Source::Link(index), _) => self.link_description(schema, index),
            (Source::Nothing, _) => "There is nothing in it.".to_owned(),
            _ => String::new(),
        }
    }

    fn link_description(&self, schema: &Schema, index: usize) -> String {
        let Some(link) = self.links.get(index) else { return String::new() };
        let plan = schema.message(link.on);
        let from = plan.fields.get(link.from).map_or("", |field| &field.json_name);
        format!("What `{from}` leads to.")
    }

    /// What an input value is; `message` is the message whose field it is.
    pub fn input_description(&self, schema: &Schema, message: MessageId, input: &Input) -> String {
        match input.target {
            Target::Field { number, .. } => {
                of_number(schema, schema.descriptor(message), number, &input.name)
            }
            Target::Nothing => "Ignored: there is nothing in it.".to_owned(),
            Target::Whole | Target::Model => String::new(),
        }
    }

    /// What an enum value means.
    pub fn value_description(
        &self,
        schema: &Schema,
        enumeration: &EnumDescriptor,
        value: &EnumValue,
    ) -> String {
        let declared = enumeration.get_value_by_name(&value.declared);
        let comments = declared.map(|one| schema.comments(&one).text()).unwrap_or_default();
        // A prefix that was taken off is no surprise.
        let is_kept = value.declared.ends_with(&*value.name);
        if is_kept { comments } else { with_declared(comments, &value.declared) }
    }
}

/// Why something is deprecated: what its description says after `Deprecated:`, to the end of the paragraph.
pub fn deprecation_reason(description: &str) -> String {
    let reason = description.split_once("Deprecated:").map_or("", |(_, rest)| rest);
    let paragraph = reason.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    if words.is_empty() { NO_LONGER_SUPPORTED.to_owned() } else { words.join(" ") }
}

fn of_number(schema: &Schema, message: &MessageDescriptor, number: u32, name: &str) -> String {
    let Some(field) = message.get_field(number) else { return String::new() };
    let comments = schema.comments(&field).text();
    if field.json_name() == name { comments } else { with_declared(comments, field.json_name()) }
}

fn with_declared(comments: String, declared: &str) -> String {
    let note = format!("Declared as `{declared}`, which is no name in GraphQL.");
    if comments.is_empty() { note } else { format!("{comments}\n\n{note}") }
}
