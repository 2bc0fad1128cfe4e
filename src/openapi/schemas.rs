//! The schemas of messages and enums: components, and the parts of them that one operation has.
//!
//! ```text
//! package.Message          as it is written in replies
//! package.Message-input    as it is read in requests
//! Message-graphql          as the documents of routes read it
//! ```
//!
//! A `-` stands in no name of protobuf, so that no two components are ever called the same. What is
//! referred to is noted, and becomes a component once all operations are written; recursion ends there.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost_reflect::MessageDescriptor;

use super::Direction;
use super::aggregates;
use super::annotations::{self, Behavior, FieldNotes, MessageNotes};
use super::constraints;
use super::json::{Json, Object, object, texts};
use super::scalar;
use crate::codec::options::{Defaults, Enums, JsonOptions, Names, Unknown};
use crate::codec::selection::{Choice, Selection};
use crate::graphql::model::{Model, TypeId};
use crate::schema::Schema;
use crate::schema::comments::Declaration;
use crate::schema::plan::{EnumId, FieldPlan, Kind, MessageId, Shape, WellKnown};
use crate::validate::{self, FieldRules};

/// Makes schemas, and notes which components they refer to.
#[derive(Debug)]
pub(super) struct Schemas<'s> {
    pub(super) schema: &'s Schema,
    pub(super) json: &'s JsonOptions,
    /// Where documents have their types from.
    pub(super) model: Option<&'s Model>,
    needed: BTreeSet<Component>,
}

/// A schema with a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Component {
    pub(super) name: String,
    of: Of,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Message(MessageId, Direction),
    Enum(EnumId, Direction),
    Any,
    Error,
    StreamError,
    /// An input object of GraphQL.
    Input(TypeId),
}

/// Which part of a message is meant.
#[derive(Clone, Debug, Default)]
pub(super) struct View<'v> {
    /// What the field mask of the surface leaves.
    pub(super) selection: Option<&'v Selection>,
    /// Fields that come with the path, dotted, with the names of the descriptor.
    pub(super) omitted: Vec<&'v str>,
    /// An update has what changes: nothing has to be there.
    pub(super) is_partial: bool,
}

impl<'v> View<'v> {
    pub(super) fn selected(selection: Option<&'v Selection>) -> Self {
        Self { selection, ..Self::default() }
    }

    fn is_whole(&self) -> bool {
        self.selection.is_none() && self.omitted.is_empty() && !self.is_partial
    }

    /// What is meant of a field; `None`: nothing.
    pub(super) fn below(&self, index: usize, name: &str) -> Option<Self> {
        let selection = match self.selection.map(|selection| selection.choice(index)) {
            None | Some(Choice::Whole) => None,
            Some(Choice::Part(part)) => Some(part),
            Some(Choice::Hidden) => return None,
        };
        let mut omitted = Vec::new();
        for path in &self.omitted {
            match path.strip_prefix(name) {
                Some("") => return None,
                Some(rest) => omitted.extend(rest.strip_prefix('.')),
                None => {}
            }
        }
        Some(Self { selection, omitted, is_partial: false })
    }
}

impl<'s> Schemas<'s> {
    pub(super) fn new(schema: &'s Schema, json: &'s JsonOptions) -> Self {
        Self { schema, json, model: None, needed: BTreeSet::new() }
    }

    /// Has the types of documents.
    pub(super) fn with_model(self, model: Option<&'s Model>) -> Self {
        Self { model, ..self }
    }

    /// What was referred to since it was asked last.
    pub(super) fn take_needed(&mut self) -> BTreeSet<Component> {
        std::mem::take(&mut self.needed)
    }

    /// The schema behind a name.
    pub(super) fn component(&mut self, component: &Component) -> Object {
        match component.of {
            Of::Message(id, direction) => self.object(id, direction, &View::default()),
            Of::Enum(id, direction) => self.enumeration(id, direction),
            Of::Any => any(),
            Of::Input(id) => aggregates::input_object(self, id),
            Of::Error => self.error(),
            Of::StreamError => {
                let error = self.refer_to_error();
                object("type", "object")
                    .with("description", "The last element of a stream that has failed.")
                    .with("required", texts(["error"]))
                    .with("properties", object("error", error))
            }
        }
    }

    /// The name of a field in JSON.
    pub(super) fn name(&self, field: &FieldPlan) -> String {
        match self.json.names {
            Names::Json => field.json_name.to_string(),
            Names::Proto => field.name.to_string(),
        }
    }

    /// What a field's options say.
    pub(super) fn notes(&self, owner: MessageId, field: &FieldPlan) -> FieldNotes {
        annotations::read(self.options(owner, field))
    }

    /// The rules that a field's requests are held to. What cannot be read is refused where rules are kept.
    pub(super) fn rules(&self, owner: MessageId, field: &FieldPlan) -> Option<FieldRules> {
        validate::field_rules(&self.options(owner, field)?).ok().flatten()
    }

    fn options(&self, owner: MessageId, field: &FieldPlan) -> Option<Bytes> {
        let message = self.schema.descriptor(owner);
        match field.is_extension() {
            false => message.get_field(field.number).and_then(|field| self.schema.options(&field)),
            true => message.get_extension(field.number).and_then(|field| self.schema.options(&field)),
        }
    }

    /// What people wrote about a field.
    pub(super) fn description(&self, owner: MessageId, field: &FieldPlan) -> String {
        let message = self.schema.descriptor(owner);
        let comments = match field.is_extension() {
            false => message.get_field(field.number).map(|field| self.schema.comments(&field)),
            true => message.get_extension(field.number).map(|field| self.schema.comments(&field)),
        };
        comments.map(|comments| comments.text()).unwrap_or_default()
    }

    /// The schema of a field, and in a request of its absence.
    fn optional_field(
        &mut self,
        owner: MessageId,
        field: &FieldPlan,
        direction: Direction,
        view: &View<'_>,
    ) -> Object {
        let schema = self.field(owner, field, direction, view);
        // ProtoJSON: `null` is an accepted value for all field types and treated as absent.
        if direction == Direction::Request { scalar::nullable(schema) } else { schema }
    }

    /// The schema of a field with all of its values.
    pub(super) fn field(
        &mut self,
        owner: MessageId,
        field: &FieldPlan,
        direction: Direction,
        view: &View<'_>,
    ) -> Object {
        let is_request = direction == Direction::Request;
        let notes = self.notes(owner, field);
        let mut schema = match field.shape {
            Shape::Map => self.map(field, direction, view),
            Shape::Repeated { .. } => {
                let items = self.value(field.kind, direction, view);
                object("type", "array").with("items", items)
            }
            _ => self.value(field.kind, direction, view),
        }
        .with_text("description", self.description(owner, field));
        let rules = is_request.then(|| self.rules(owner, field)).flatten();
        if is_request && (notes.is(Behavior::Required) || rules.as_ref().is_some_and(|rules| rules.required))
        {
            not_empty(&mut schema, field);
        }
        notes.put(&mut schema);
        if let Some(rules) = rules {
            constraints::put(&rules, &mut schema);
        }
        if notes.deprecated {
            schema.set("deprecated", true);
        }
        if notes.is(Behavior::OutputOnly) {
            schema.set("readOnly", true);
        }
        if notes.is(Behavior::InputOnly) {
            schema.set("writeOnly", true);
        }
        if notes.is(Behavior::Immutable) && is_request {
            schema.set("x-immutable", true);
        }
        schema
    }

    fn map(&mut self, field: &FieldPlan, direction: Direction, view: &View<'_>) -> Object {
        let mut schema = object("type", "object");
        let Some(entry) = field.kind.message().map(|id| self.schema.passing_plan(id)) else { return schema };
        let field = |number| entry.fields.get(entry.by_number(number)?);
        let (Some(key), Some(value)) = (field(1), field(2)) else { return schema };
        match key.kind {
            Kind::String => {}
            Kind::Bool => {
                schema.set("propertyNames", object("enum", texts(["true", "false"])));
            }
            // As a text, which the names of members always are.
            kind => {
                if let Some(pattern) = scalar::scalar(kind, Direction::Request, self.json).remove("pattern") {
                    schema.set("propertyNames", object("pattern", pattern));
                }
            }
        }
        let values = self.value(value.kind, direction, view);
        schema.with("additionalProperties", values)
    }

    /// The schema of one value.
    pub(super) fn value(&mut self, kind: Kind, direction: Direction, view: &View<'_>) -> Object {
        match kind {
            Kind::Enum(id) => self.refer_to_enum(id, direction),
            Kind::Message(id) | Kind::Group(id) => self.message(id, direction, view),
            scalar => scalar::scalar(scalar, direction, self.json),
        }
    }

    /// The schema of a message: a reference, unless only a part of it is meant.
    pub(super) fn message(&mut self, id: MessageId, direction: Direction, view: &View<'_>) -> Object {
        let descriptor = self.schema.descriptor(id);
        match WellKnown::of(descriptor) {
            WellKnown::No | WellKnown::MapEntry if view.is_whole() => {
                let name = match direction {
                    Direction::Request => format!("{}-input", descriptor.full_name()),
                    Direction::Response => descriptor.full_name().to_owned(),
                };
                self.refer(Component { name, of: Of::Message(id, direction) })
            }
            WellKnown::No | WellKnown::MapEntry => self.object(id, direction, view),
            WellKnown::Any => self.refer(Component { name: descriptor.full_name().to_owned(), of: Of::Any }),
            WellKnown::Wrapper => match wrapped(self.schema, descriptor) {
                Some(kind) => scalar::scalar(kind, direction, self.json),
                None => Object::new(),
            },
            own => scalar::well_known(own, direction).unwrap_or_default(),
        }
    }

    /// The error that every failure is told as.
    pub(super) fn refer_to_error(&mut self) -> Object {
        self.refer(Component { name: "google.rpc.Status-error".to_owned(), of: Of::Error })
    }

    /// The last element of a stream that has failed.
    pub(super) fn refer_to_stream_error(&mut self) -> Object {
        self.refer(Component { name: "google.rpc.Status-stream".to_owned(), of: Of::StreamError })
    }

    /// An input object of GraphQL, whose name no message has: it has no package.
    pub(super) fn refer_to_input(&mut self, id: TypeId, name: &str) -> Object {
        self.refer(Component { name: format!("{name}-graphql"), of: Of::Input(id) })
    }

    fn refer(&mut self, component: Component) -> Object {
        let reference = format!("#/components/schemas/{}", component.name);
        self.needed.insert(component);
        object("$ref", reference)
    }

    fn refer_to_enum(&mut self, id: EnumId, direction: Direction) -> Object {
        let plan = self.schema.passing_enumeration(id);
        let by_number = self.json.enums == Enums::Number;
        if plan.is_null_value {
            return scalar::enumeration(&plan, direction, by_number);
        }
        // An open enum that is written by name has all of its forms in replies too.
        let is_same = scalar::enumeration(&plan, Direction::Request, by_number)
            == scalar::enumeration(&plan, Direction::Response, by_number);
        let (name, direction) = match direction {
            Direction::Request if !is_same => (format!("{}-input", plan.full_name), direction),
            _ => (plan.full_name.to_string(), Direction::Response),
        };
        self.refer(Component { name, of: Of::Enum(id, direction) })
    }

    fn enumeration(&self, id: EnumId, direction: Direction) -> Object {
        let plan = self.schema.passing_enumeration(id);
        let descriptor = self.schema.enum_descriptor(id);
        let values: Vec<String> = descriptor
            .values()
            .filter_map(|value| {
                let text = self.about(&value).replace('\n', " ");
                (!text.is_empty()).then(|| format!("- `{}`: {text}", value.name()))
            })
            .collect();
        let mut paragraphs = vec![self.about(descriptor), values.join("\n")];
        paragraphs.retain(|paragraph| !paragraph.is_empty());
        let by_number = self.json.enums == Enums::Number;
        Object::new()
            .with_text("description", paragraphs.join("\n\n"))
            .with_all(scalar::enumeration(&plan, direction, by_number))
    }

    /// The schema of a message as an object of its fields.
    pub(super) fn object(&mut self, id: MessageId, direction: Direction, view: &View<'_>) -> Object {
        let is_request = direction == Direction::Request;
        let plan = self.schema.passing_plan(id);
        let descriptor = self.schema.descriptor(id);
        let notes: MessageNotes = annotations::read(self.schema.options(descriptor));
        let mut properties = Object::new();
        let mut required: Vec<String> = Vec::new();
        let mut oneofs: Vec<Vec<String>> = vec![Vec::new(); usize::from(plan.oneofs)];
        for (index, field) in plan.fields.iter().enumerate() {
            let Some(below) = view.below(index, &field.name) else { continue };
            let of_field = self.notes(id, field);
            if !is_request && of_field.is(Behavior::InputOnly) {
                continue;
            }
            let name = self.name(field);
            let must_be_there = self.must_be_there(id, field, &of_field, is_request);
            // An update is held to its rules like any other request.
            if must_be_there && (!view.is_partial || self.is_demanded(id, field)) {
                required.push(name.clone());
            }
            if let Some(members) = field.oneof.and_then(|oneof| oneofs.get_mut(usize::from(oneof))) {
                members.push(name.clone());
            }
            // An update may leave out what has to be there, but not take it away with `null`.
            let schema = match must_be_there {
                true => self.field(id, field, direction, &below),
                false => self.optional_field(id, field, direction, &below),
            };
            properties.set(name, schema);
        }
        if is_request && !view.is_partial {
            let named = notes.required().filter(|name| properties.get(name).is_some());
            required.extend(named.map(str::to_owned));
        }
        let mut schema = object("type", "object").with_text("description", self.about(descriptor));
        notes.put(&mut schema);
        schema.remove("required");
        if notes.deprecated {
            schema.set("deprecated", true);
        }
        if let Some(required) = annotations::required(required) {
            schema.set("required", required);
        }
        schema.set("properties", properties);
        if is_request && self.json.unknown == Unknown::Reject {
            schema.set("additionalProperties", false);
        }
        exclude(&mut schema, &oneofs);
        schema
    }

    /// Whether a member is always there, or is asked for.
    fn must_be_there(
        &self,
        owner: MessageId,
        field: &FieldPlan,
        notes: &FieldNotes,
        is_request: bool,
    ) -> bool {
        if field.shape == Shape::Required {
            return true;
        }
        if is_request {
            let is_asked_for = notes.is(Behavior::Required) && !notes.is(Behavior::OutputOnly);
            return is_asked_for || self.is_demanded(owner, field);
        }
        // Only what has no presence is written although it is at its default.
        self.json.defaults == Defaults::Emit && !field.has_presence()
    }

    /// Whether a request must have a field: by its type, by what its service says, or by its rules.
    pub(super) fn is_asked_for(&self, owner: MessageId, field: &FieldPlan) -> bool {
        self.must_be_there(owner, field, &self.notes(owner, field), true)
    }

    /// Whether a request without a field breaks the field's rules.
    fn is_demanded(&self, owner: MessageId, field: &FieldPlan) -> bool {
        let rules = self.rules(owner, field);
        rules.is_some_and(|rules| rules.required || !field.has_presence() && rules.refuse_zero())
    }

    /// What people wrote about a declaration.
    pub(super) fn about(&self, declaration: &impl Declaration) -> String {
        self.schema.comments(declaration).text()
    }

    /// `google.rpc.Status`, as failures are told.
    fn error(&mut self) -> Object {
        let details = object("type", "array")
            .with(
                "description",
                "What else is known: `google.rpc.ErrorInfo`, `BadRequest`, `RetryInfo` and others.",
            )
            .with("items", self.refer(Component { name: "google.protobuf.Any".to_owned(), of: Of::Any }));
        let code = object("type", "integer")
            .with("format", "int32")
            .with("description", "The code of gRPC (google.rpc.Code).");
        let message = object("type", "string").with("description", "What went wrong, for people.");
        object("type", "object")
            .with("description", "A failure.")
            .with("required", texts(["code", "message", "details"]))
            .with("properties", object("code", code).with("message", message).with("details", details))
    }
}

/// `google.protobuf.Any`: the fields of the message, or `value` for one with a form of its own.
fn any() -> Object {
    let of = object("type", "string")
        .with("description", "The type of the message: a URL that ends with its name.");
    object("type", "object")
        .with("description", "A message of any type, with its type.")
        .with("properties", object("@type", of))
        .with("additionalProperties", true)
}

/// The kind of the value in a wrapper, which is its field 1.
pub(super) fn wrapped(schema: &Schema, wrapper: &MessageDescriptor) -> Option<Kind> {
    let plan = schema.passing_plan(schema.message_id(wrapper.full_name())?);
    plan.fields.get(plan.by_number(1)?).map(|field| field.kind)
}

/// AIP-203: what is required is not empty either, where empty and absent are the same.
pub(super) fn not_empty(schema: &mut Object, field: &FieldPlan) {
    let least = match (field.shape, field.kind) {
        (Shape::Map, _) => "minProperties",
        (Shape::Repeated { .. }, _) => "minItems",
        (Shape::Implicit, Kind::String | Kind::Bytes) => "minLength",
        _ => return,
    };
    schema.set(least, 1i128);
}

/// Says that of the members of each oneof at most one is there.
fn exclude(schema: &mut Object, oneofs: &[Vec<String>]) {
    let has = |name: &String| Json::from(object("required", texts([name.clone()])));
    let clauses: Vec<Json> = oneofs
        .iter()
        .filter(|members| members.len() > 1)
        .map(|members| {
            let none = object("not", object("anyOf", members.iter().map(has).collect::<Vec<_>>()));
            let one: Vec<Json> = members.iter().map(has).chain([Json::from(none)]).collect();
            Json::from(object("oneOf", one))
        })
        .collect();
    match <[Json; 1]>::try_from(clauses) {
        Ok([Json::Object(only)]) => {
            only.0.into_iter().for_each(|(name, value)| {
                schema.set(name, value);
            });
        }
        Ok(_) => {}
        Err(clauses) if clauses.is_empty() => {}
        Err(clauses) => {
            schema.set("allOf", clauses);
        }
    }
}
