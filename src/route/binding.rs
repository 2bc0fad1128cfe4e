//! One HTTP rule of one method, checked against the schema: what a route leads to.
//!
//! All that a rule names is resolved here, when routes are built, and by descriptor alone: a message type
//! is compiled to a plan no sooner than a request needs it. Fields are remembered by number.

use std::sync::Arc;

use http::uri::PathAndQuery;
use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use smallvec::SmallVec;

use super::build::{Exposed, Shown};
use super::captures::Captures;
use super::percent::Decode;
use super::rule::HttpRule;
use super::template::{PathTemplate, TemplateError, Variable};
use crate::codec::selection::Selection;
use crate::schema::Schema;
use crate::schema::plan::MessageId;

/// A method as one verb and one path template reach it.
#[derive(Debug)]
pub struct Binding {
    /// `package.Service.Method`.
    pub method: Box<str>,
    /// `/package.Service/Method`.
    pub grpc_path: PathAndQuery,
    /// What the builder of the routes was told for this method: which of its caller's rules holds.
    pub rule: u32,
    /// And what is shown of the output; `None`: all of it. It is no affair of a raw response.
    pub selection: Option<Arc<Selection>>,
    /// `GET`, …; `*` is any verb.
    pub verb: Box<str>,
    /// As declared.
    pub template: Box<str>,
    pub input: MessageId,
    pub output: MessageId,
    pub client_streaming: bool,
    pub server_streaming: bool,
    /// Whether a call may be made twice: the verb is `GET`, or the method says so by its `idempotency_level`.
    pub is_idempotent: bool,
    pub body: Body,
    /// Index in the fields of the output's plan.
    pub response_body: Option<usize>,
    /// The method is declared to change nothing: `idempotency_level: NO_SIDE_EFFECTS`.
    pub(super) has_no_side_effects: bool,
    /// The body is a `google.api.HttpBody`: bytes as they are, of any content type.
    pub raw_request: bool,
    /// The reply is a `google.api.HttpBody`.
    pub raw_response: bool,
    pub(super) captures: Box<[Capture]>,
    pub(super) span: Span,
    /// Number of the `FieldMask` field that an update fills from its body when the client did not.
    pub(super) update_mask: Option<u32>,
}

/// Where the HTTP body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// There must be none.
    None,
    /// It is the request message.
    All,
    /// It is one field: its index in the fields of the input's plan.
    Field(usize),
}

/// A field that takes its value from the path.
#[derive(Debug)]
pub(super) struct Capture {
    /// As the template has it: `book.name`.
    pub(super) path: Box<str>,
    /// Field numbers from the request message down.
    pub(super) numbers: SmallVec<[u32; 2]>,
    /// Its segments, counted in the template.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) decode: Decode,
}

/// How the segments of a template lie on those of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Segments of the template.
    length: usize,
    /// Where its `**` stands.
    many: Option<usize>,
}

/// Why a rule does not fit its method.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindingError {
    #[error("{0}")]
    Template(#[from] TemplateError),
    #[error("`{path}`: `{message}` has no field `{name}`")]
    UnknownField { path: String, message: String, name: String },
    #[error("`{path}`: `{name}` is {is}, expected {expected}")]
    WrongField { path: String, name: String, is: &'static str, expected: &'static str },
    #[error("`{first}` and `{second}` are captured, but members of one oneof")]
    Oneof { first: String, second: String },
    #[error("body `{body}`: expected `*` or the name of a field of `{message}`")]
    Body { body: String, message: String },
    #[error("body `{0}` is captured by the path too")]
    BodyCaptured(String),
    #[error("response_body `{body}`: expected the name of a field of `{message}`")]
    ResponseBody { body: String, message: String },
}

impl Binding {
    /// Checks a rule against its method; all that is wrong with it is reported.
    pub(super) fn new(
        schema: &Schema,
        method: &MethodDescriptor,
        rule: &HttpRule,
        template: &PathTemplate,
        shown: &Shown,
    ) -> Result<Self, Vec<BindingError>> {
        let (input, output) = (method.input(), method.output());
        let mut errors = Vec::new();
        let captures = captures(&input, template, &mut errors);
        let body_field = body_field(&input, rule, template, &mut errors);
        let response_field = response_field(&output, rule, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let body = match &body_field {
            _ if rule.body == "*" => Body::All,
            Some(field) => Body::Field(plan_index(&input, field)),
            None => Body::None,
        };
        let id = |message: &MessageDescriptor| {
            schema.message_id(message.full_name()).expect("every message of the pool is indexed")
        };
        Ok(Self {
            method: method.full_name().into(),
            grpc_path: grpc_path(method),
            rule: shown.rule,
            selection: shown.selection.clone(),
            verb: rule.verb.as_str().into(),
            template: rule.template.as_str().into(),
            input: id(&input),
            output: id(&output),
            client_streaming: method.is_client_streaming(),
            server_streaming: method.is_server_streaming(),
            is_idempotent: rule.verb == "GET" || schema.is_idempotent(method),
            has_no_side_effects: schema.has_no_side_effects(method),
            body,
            response_body: response_field.as_ref().map(|field| plan_index(&output, field)),
            raw_request: match &body_field {
                None => body == Body::All && is_http_body(&input),
                Some(field) => is_http_body_field(field),
            },
            raw_response: response_field.as_ref().map_or_else(|| is_http_body(&output), is_http_body_field),
            captures,
            span: Span::of(template),
            update_mask: body_field.and_then(|field| update_mask(&input, rule, &field)),
        })
    }
}

impl Binding {
    /// A method whose requests are messages already, at a path where several methods are called.
    ///
    /// `is_read` says that it changes nothing.
    pub fn of_method(schema: &Schema, exposed: &Exposed, path: &str, is_read: bool) -> Self {
        let Exposed { method, shown } = exposed;
        let id = |message: &MessageDescriptor| {
            schema.message_id(message.full_name()).expect("every message of the pool is indexed")
        };
        Self {
            method: method.full_name().into(),
            grpc_path: grpc_path(method),
            rule: shown.rule,
            selection: shown.selection.clone(),
            verb: "POST".into(),
            template: path.into(),
            input: id(&method.input()),
            output: id(&method.output()),
            client_streaming: method.is_client_streaming(),
            server_streaming: method.is_server_streaming(),
            is_idempotent: is_read || schema.is_idempotent(method),
            has_no_side_effects: is_read,
            body: Body::All,
            response_body: None,
            raw_request: false,
            raw_response: false,
            captures: Box::default(),
            span: Span { length: 0, many: None },
            update_mask: None,
        }
    }
}

/// gRPC over HTTP/2: `Path = "/" Service-Name "/" {method name}`.
fn grpc_path(method: &MethodDescriptor) -> PathAndQuery {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    PathAndQuery::try_from(path).expect("the schema lets only identifiers be names")
}

impl Binding {
    /// Whether calling it changes nothing: by its verb, or by what its descriptor says.
    pub fn is_read_only(&self) -> bool {
        &*self.verb == "GET" || self.has_no_side_effects
    }

    /// The fields that take their values from the path, as the template has them: `book.name`.
    pub fn captured_fields(&self) -> impl Iterator<Item = &str> {
        self.captures.iter().map(|capture| &*capture.path)
    }

    /// The decoded text of one of them.
    pub fn captured<'c>(&self, field: &str, captures: &'c Captures) -> Option<&'c str> {
        self.captured_fields().zip(captures.iter()).find(|(path, _)| *path == field).map(|(_, text)| text)
    }
}

fn captures(
    input: &MessageDescriptor,
    template: &PathTemplate,
    errors: &mut Vec<BindingError>,
) -> Box<[Capture]> {
    let mut captures = Vec::with_capacity(template.variables.len());
    let mut oneofs = Vec::new();
    for variable in &template.variables {
        match chain(input, &variable.path) {
            Ok(fields) => {
                for field in &fields {
                    let Some(oneof) = field.containing_oneof() else { continue };
                    oneofs.push((oneof.full_name().to_owned(), field.clone(), &variable.path));
                }
                captures.push(Capture {
                    path: variable.path.clone(),
                    numbers: fields.iter().map(FieldDescriptor::number).collect(),
                    start: variable.start,
                    end: variable.end,
                    decode: decode(variable, template),
                });
            }
            Err(error) => errors.push(error),
        }
    }
    for (index, (oneof, field, second)) in oneofs.iter().enumerate() {
        let clash = oneofs[..index].iter().find(|(other, member, _)| other == oneof && member != field);
        if let Some((_, _, first)) = clash {
            errors.push(BindingError::Oneof { first: first.to_string(), second: second.to_string() });
        }
    }
    captures.into()
}

/// The fields of a captured path, of which the last takes a text.
fn chain(input: &MessageDescriptor, path: &str) -> Result<Vec<FieldDescriptor>, BindingError> {
    let mut fields: Vec<FieldDescriptor> = Vec::new();
    let mut message = input.clone();
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let field = message.get_field_by_name(name).ok_or_else(|| BindingError::UnknownField {
            path: path.into(),
            message: message.full_name().into(),
            name: name.into(),
        })?;
        let wrong =
            |is, expected| BindingError::WrongField { path: path.into(), name: name.into(), is, expected };
        let is_leaf = names.peek().is_none();
        let expected = if is_leaf { "a singular field that is no message" } else { "a singular message" };
        if field.is_map() || field.cardinality() == Cardinality::Repeated {
            return Err(wrong(if field.is_map() { "a map" } else { "repeated" }, expected));
        }
        match (field.kind(), is_leaf) {
            (Kind::Message(inner), true) if !has_text(&inner) => return Err(wrong("a message", expected)),
            (_, true) => {}
            (Kind::Message(inner), false) if !has_text(&inner) => message = inner,
            (_, false) => return Err(wrong("a single value", expected)),
        }
        fields.push(field);
    }
    Ok(fields)
}

/// `http.proto`: a variable of exactly one segment is decoded whole.
pub(super) fn decode(variable: &Variable, template: &PathTemplate) -> Decode {
    let takes_many = template.many().is_some_and(|many| (variable.start..variable.end).contains(&many));
    if takes_many || variable.end - variable.start > 1 { Decode::KeepSlash } else { Decode::All }
}

fn body_field(
    input: &MessageDescriptor,
    rule: &HttpRule,
    template: &PathTemplate,
    errors: &mut Vec<BindingError>,
) -> Option<FieldDescriptor> {
    if rule.body.is_empty() || rule.body == "*" {
        return None;
    }
    let field = input.get_field_by_name(&rule.body);
    if field.is_none() {
        let message = input.full_name().into();
        errors.push(BindingError::Body { body: rule.body.clone(), message });
    }
    if template.variables.iter().any(|variable| *variable.path == *rule.body) {
        errors.push(BindingError::BodyCaptured(rule.body.clone()));
    }
    field
}

fn response_field(
    output: &MessageDescriptor,
    rule: &HttpRule,
    errors: &mut Vec<BindingError>,
) -> Option<FieldDescriptor> {
    if rule.response_body.is_empty() {
        return None;
    }
    let field = output.get_field_by_name(&rule.response_body);
    if field.is_none() {
        let message = output.full_name().into();
        errors.push(BindingError::ResponseBody { body: rule.response_body.clone(), message });
    }
    field
}

/// AIP-134: the mask of a partial update is `update_mask`; older APIs name their only mask otherwise, but
/// a `read_mask` (AIP-157) says what to reply.
fn update_mask(input: &MessageDescriptor, rule: &HttpRule, body: &FieldDescriptor) -> Option<u32> {
    let takes_mask = rule.verb == "PATCH"
        && !body.is_list()
        && !body.is_map()
        && matches!(body.kind(), Kind::Message(message) if has_fields(&message));
    if !takes_mask {
        return None;
    }
    let is_mask = |field: &FieldDescriptor| {
        !field.is_list()
            && matches!(field.kind(), Kind::Message(m) if m.full_name() == "google.protobuf.FieldMask")
    };
    let named = input.get_field_by_name("update_mask").filter(is_mask);
    let mask = named.or_else(|| {
        let mut masks = input.fields().filter(is_mask).filter(|field| field.name() != "read_mask");
        masks.next().filter(|_| masks.next().is_none())
    });
    mask.map(|field| field.number())
}

/// A field's place in its message's plan, which lists fields and extensions by number.
fn plan_index(message: &MessageDescriptor, field: &FieldDescriptor) -> usize {
    let fields = message.fields().map(|other| other.number());
    let extensions = message.extensions().map(|other| other.number());
    fields.chain(extensions).filter(|number| *number < field.number()).count()
}

fn is_http_body_field(field: &FieldDescriptor) -> bool {
    !field.is_list() && matches!(field.kind(), Kind::Message(message) if is_http_body(&message))
}

fn is_http_body(message: &MessageDescriptor) -> bool {
    message.full_name() == "google.api.HttpBody"
}

/// Whether a message's JSON form is an object of its fields.
fn has_fields(message: &MessageDescriptor) -> bool {
    !has_text(message)
        && !matches!(
            message.full_name(),
            "google.protobuf.Any"
                | "google.protobuf.Struct"
                | "google.protobuf.Value"
                | "google.protobuf.ListValue"
        )
}

/// Whether a message has a text form, as captures and query parameters need it.
fn has_text(message: &MessageDescriptor) -> bool {
    let Some(name) = message.full_name().strip_prefix("google.protobuf.") else { return false };
    matches!(name, "Timestamp" | "Duration" | "FieldMask")
        || matches!(
            name.strip_suffix("Value"),
            Some("Double" | "Float" | "Int64" | "UInt64" | "Int32" | "UInt32" | "Bool" | "String" | "Bytes")
        )
}

impl Span {
    pub(super) fn of(template: &PathTemplate) -> Self {
        Self { length: template.segments.len(), many: template.many() }
    }

    /// The place on a path of `length` segments that a place in the template falls on.
    pub(super) fn locate(self, place: usize, length: usize) -> usize {
        match self.many {
            // What follows the `**` is counted from the end.
            Some(many) if place > many => length.saturating_sub(self.length - place),
            _ => place,
        }
    }
}
