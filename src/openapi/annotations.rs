//! What descriptors say of themselves beyond their types: options, read by the numbers of their extensions.
//!
//! ```text
//! google.api          field_behavior 1052, resource_reference 1055
//! grpc-gateway        openapiv2_swagger|operation|schema|tag|field 1042
//! gnostic             openapi.v3.document|operation|schema|property 1143
//! ```
//!
//! The options come as bytes, and what does not decode counts as absent: a set need hold none of these files.
//! Of two annotations gnostic's goes last, for it is of the same version as the document.

use bytes::Bytes;
use prost::Message;

use super::json::{Json, Object, number, texts};

/// What a field says of itself.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FieldNotes {
    #[prost(bool, tag = "3")]
    pub(super) deprecated: bool,
    #[prost(int32, repeated, tag = "1052")]
    behavior: Vec<i32>,
    #[prost(message, optional, tag = "1055")]
    resource: Option<ResourceReference>,
    #[prost(message, optional, tag = "1042")]
    gateway: Option<GatewaySchema>,
    #[prost(message, optional, tag = "1143")]
    gnostic: Option<GnosticSchema>,
}

/// `google.api.FieldBehavior`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behavior {
    Required = 2,
    OutputOnly = 3,
    InputOnly = 4,
    Immutable = 5,
}

/// `google.api.ResourceReference`.
#[derive(Clone, PartialEq, Message)]
struct ResourceReference {
    #[prost(string, tag = "1")]
    r#type: String,
    #[prost(string, tag = "2")]
    child_type: String,
}

/// What a message says of itself.
#[derive(Clone, PartialEq, Message)]
pub(super) struct MessageNotes {
    #[prost(bool, tag = "3")]
    pub(super) deprecated: bool,
    #[prost(message, optional, tag = "1042")]
    gateway: Option<GatewayWrapped>,
    #[prost(message, optional, tag = "1143")]
    gnostic: Option<GnosticSchema>,
}

/// What a method says of itself.
#[derive(Clone, PartialEq, Message)]
pub(super) struct MethodNotes {
    #[prost(bool, tag = "33")]
    pub(super) deprecated: bool,
    #[prost(message, optional, tag = "1042")]
    gateway: Option<Operation>,
    #[prost(message, optional, tag = "1143")]
    gnostic: Option<Operation>,
}

/// Whether the annotations of a method call it deprecated: each has its own number for that.
#[derive(Clone, PartialEq, Message)]
pub(super) struct MethodDeprecation {
    #[prost(message, optional, tag = "1042")]
    gateway: Option<GatewayDeprecation>,
    #[prost(message, optional, tag = "1143")]
    gnostic: Option<GnosticDeprecation>,
}

/// Of grpc-gateway's `Operation`.
#[derive(Clone, PartialEq, Message)]
struct GatewayDeprecation {
    #[prost(bool, tag = "11")]
    deprecated: bool,
}

/// Of gnostic's `Operation`.
#[derive(Clone, PartialEq, Message)]
struct GnosticDeprecation {
    #[prost(bool, tag = "10")]
    deprecated: bool,
}

/// What a service says of itself.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ServiceNotes {
    #[prost(bool, tag = "33")]
    pub(super) deprecated: bool,
    #[prost(message, optional, tag = "1042")]
    gateway: Option<Tag>,
}

/// What a file says of the API.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FileNotes {
    #[prost(message, optional, tag = "1042")]
    gateway: Option<Document>,
    #[prost(message, optional, tag = "1143")]
    gnostic: Option<Document>,
}

/// `Swagger` and `Document` have their `info` under the same number.
#[derive(Clone, PartialEq, Message)]
struct Document {
    #[prost(message, optional, tag = "2")]
    info: Option<Information>,
}

/// `Info` of both.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Information {
    #[prost(string, tag = "1")]
    pub(super) title: String,
    #[prost(string, tag = "2")]
    pub(super) description: String,
    #[prost(string, tag = "6")]
    pub(super) version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Tag {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    description: String,
}

/// `Operation` of both, as far as they agree; see [`MethodDeprecation`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct Operation {
    #[prost(string, repeated, tag = "1")]
    pub(super) tags: Vec<String>,
    #[prost(string, tag = "2")]
    pub(super) summary: String,
    #[prost(string, tag = "3")]
    pub(super) description: String,
    #[prost(message, optional, tag = "4")]
    external_docs: Option<ExternalDocs>,
    #[prost(string, tag = "5")]
    pub(super) operation_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct ExternalDocs {
    #[prost(string, tag = "1")]
    description: String,
    #[prost(string, tag = "2")]
    url: String,
}

/// grpc-gateway's `Schema`, which messages are annotated with.
#[derive(Clone, PartialEq, Message)]
struct GatewayWrapped {
    #[prost(message, optional, tag = "1")]
    json_schema: Option<GatewaySchema>,
    #[prost(string, tag = "6")]
    example: String,
}

/// grpc-gateway's `JSONSchema`.
#[derive(Clone, PartialEq, Message)]
struct GatewaySchema {
    #[prost(string, tag = "5")]
    title: String,
    #[prost(string, tag = "6")]
    description: String,
    #[prost(string, tag = "7")]
    default: String,
    #[prost(bool, tag = "8")]
    read_only: bool,
    #[prost(string, tag = "9")]
    example: String,
    #[prost(double, tag = "10")]
    multiple_of: f64,
    #[prost(double, tag = "11")]
    maximum: f64,
    #[prost(bool, tag = "12")]
    exclusive_maximum: bool,
    #[prost(double, tag = "13")]
    minimum: f64,
    #[prost(bool, tag = "14")]
    exclusive_minimum: bool,
    #[prost(uint64, tag = "15")]
    max_length: u64,
    #[prost(uint64, tag = "16")]
    min_length: u64,
    #[prost(string, tag = "17")]
    pattern: String,
    #[prost(uint64, tag = "20")]
    max_items: u64,
    #[prost(uint64, tag = "21")]
    min_items: u64,
    #[prost(bool, tag = "22")]
    unique_items: bool,
    #[prost(uint64, tag = "24")]
    max_properties: u64,
    #[prost(uint64, tag = "25")]
    min_properties: u64,
    #[prost(string, repeated, tag = "26")]
    required: Vec<String>,
    #[prost(string, tag = "36")]
    format: String,
    #[prost(string, repeated, tag = "46")]
    r#enum: Vec<String>,
}

/// gnostic's `Schema`.
#[derive(Clone, PartialEq, Message)]
struct GnosticSchema {
    #[prost(bool, tag = "3")]
    read_only: bool,
    #[prost(bool, tag = "4")]
    write_only: bool,
    #[prost(message, optional, tag = "7")]
    example: Option<GnosticAny>,
    #[prost(bool, tag = "8")]
    deprecated: bool,
    #[prost(string, tag = "9")]
    title: String,
    #[prost(double, tag = "10")]
    multiple_of: f64,
    #[prost(double, tag = "11")]
    maximum: f64,
    #[prost(bool, tag = "12")]
    exclusive_maximum: bool,
    #[prost(double, tag = "13")]
    minimum: f64,
    #[prost(bool, tag = "14")]
    exclusive_minimum: bool,
    #[prost(int64, tag = "15")]
    max_length: i64,
    #[prost(int64, tag = "16")]
    min_length: i64,
    #[prost(string, tag = "17")]
    pattern: String,
    #[prost(int64, tag = "18")]
    max_items: i64,
    #[prost(int64, tag = "19")]
    min_items: i64,
    #[prost(bool, tag = "20")]
    unique_items: bool,
    #[prost(int64, tag = "21")]
    max_properties: i64,
    #[prost(int64, tag = "22")]
    min_properties: i64,
    #[prost(string, repeated, tag = "23")]
    required: Vec<String>,
    #[prost(message, repeated, tag = "24")]
    r#enum: Vec<GnosticAny>,
    #[prost(string, tag = "34")]
    description: String,
    #[prost(string, tag = "35")]
    format: String,
}

/// gnostic's `Any`: a value as YAML.
#[derive(Clone, PartialEq, Message)]
struct GnosticAny {
    #[prost(string, tag = "2")]
    yaml: String,
}

/// Decodes options; what does not decode says nothing.
pub(super) fn read<M: Message + Default>(options: Option<Bytes>) -> M {
    options.and_then(|bytes| M::decode(bytes).ok()).unwrap_or_default()
}

impl FieldNotes {
    pub(super) fn is(&self, behavior: Behavior) -> bool {
        self.behavior.contains(&(behavior as i32))
    }

    /// Adds what the annotations say to the schema of a field.
    pub(super) fn put(&self, schema: &mut Object) {
        if let Some(resource) = &self.resource {
            put_text(schema, "x-google-resource-type", &resource.r#type);
            put_text(schema, "x-google-resource-child-type", &resource.child_type);
        }
        self.gateway.iter().for_each(|note| note.put(schema));
        self.gnostic.iter().for_each(|note| note.put(schema));
    }
}

impl MessageNotes {
    /// Adds what the annotations say to the schema of a message.
    pub(super) fn put(&self, schema: &mut Object) {
        if let Some(note) = &self.gateway {
            note.json_schema.iter().for_each(|note| note.put(schema));
            put_example(schema, &note.example);
        }
        self.gnostic.iter().for_each(|note| note.put(schema));
    }

    /// Members that must be there.
    pub(super) fn required(&self) -> impl Iterator<Item = &str> {
        let gateway = self.gateway.iter().filter_map(|note| note.json_schema.as_ref());
        let gateway = gateway.flat_map(|note| &note.required);
        gateway.chain(self.gnostic.iter().flat_map(|note| &note.required)).map(String::as_str)
    }
}

impl MethodNotes {
    /// The annotations, the one that holds against the others last.
    pub(super) fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.gateway.iter().chain(&self.gnostic)
    }
}

impl MethodDeprecation {
    pub(super) fn is_said(&self) -> bool {
        self.gateway.as_ref().is_some_and(|said| said.deprecated)
            || self.gnostic.as_ref().is_some_and(|said| said.deprecated)
    }
}

impl Operation {
    pub(super) fn external_docs(&self) -> Option<Object> {
        let docs = self.external_docs.as_ref().filter(|docs| !docs.url.is_empty())?;
        Some(Object::new().with_text("description", docs.description.clone()).with("url", docs.url.clone()))
    }
}

impl ServiceNotes {
    pub(super) fn description(&self) -> Option<&str> {
        self.gateway.as_ref().map(|tag| tag.description.as_str()).filter(|text| !text.is_empty())
    }

    /// The name of the service's tag, where it is another than the service's own.
    pub(super) fn tag(&self) -> Option<&str> {
        self.gateway.as_ref().map(|tag| tag.name.as_str()).filter(|text| !text.is_empty())
    }
}

impl FileNotes {
    /// What is said of the API as a whole, the one that holds against the others last.
    pub(super) fn information(&self) -> impl Iterator<Item = &Information> {
        self.gateway.iter().chain(&self.gnostic).filter_map(|document| document.info.as_ref())
    }
}

/// What both annotations of a schema say, in the document's words. Proto3: zero is what nobody said.
struct Said<'n> {
    texts: [(&'static str, &'n str); 4],
    multiple_of: f64,
    /// With whether the bound itself is beyond.
    maximum: (f64, bool),
    minimum: (f64, bool),
    counts: [(&'static str, i128); 6],
    values: Vec<Json>,
    flags: &'n [(&'static str, bool)],
}

impl Said<'_> {
    fn put(&self, schema: &mut Object) {
        self.texts.iter().for_each(|(name, text)| put_text(schema, name, text));
        let mut bound = |name: &'static str, value: f64, is_said: bool| {
            if let Some(value) = number(value).filter(|_| is_said || value != 0.0) {
                schema.set(name, value);
            }
        };
        bound("multipleOf", self.multiple_of, false);
        for ((value, is_exclusive), inclusive, exclusive) in
            [(self.maximum, "maximum", "exclusiveMaximum"), (self.minimum, "minimum", "exclusiveMinimum")]
        {
            bound(if is_exclusive { exclusive } else { inclusive }, value, is_exclusive);
        }
        if !self.values.is_empty() {
            schema.set("enum", self.values.clone());
        }
        for (name, value) in self.counts {
            if value > 0 {
                schema.set(name, value);
            }
        }
        for &(name, value) in self.flags {
            if value {
                schema.set(name, true);
            }
        }
    }
}

impl GatewaySchema {
    fn put(&self, schema: &mut Object) {
        let said = Said {
            texts: [
                ("title", &self.title),
                ("description", &self.description),
                ("pattern", &self.pattern),
                ("format", &self.format),
            ],
            multiple_of: self.multiple_of,
            maximum: (self.maximum, self.exclusive_maximum),
            minimum: (self.minimum, self.exclusive_minimum),
            counts: [
                ("maxLength", self.max_length.into()),
                ("minLength", self.min_length.into()),
                ("maxItems", self.max_items.into()),
                ("minItems", self.min_items.into()),
                ("maxProperties", self.max_properties.into()),
                ("minProperties", self.min_properties.into()),
            ],
            values: self.r#enum.iter().map(|text| value(text)).collect(),
            flags: &[("uniqueItems", self.unique_items), ("readOnly", self.read_only)],
        };
        said.put(schema);
        if !self.default.is_empty() {
            schema.set("default", value(&self.default));
        }
        put_example(schema, &self.example);
    }
}

impl GnosticSchema {
    fn put(&self, schema: &mut Object) {
        let said = Said {
            texts: [
                ("title", &self.title),
                ("description", &self.description),
                ("pattern", &self.pattern),
                ("format", &self.format),
            ],
            multiple_of: self.multiple_of,
            maximum: (self.maximum, self.exclusive_maximum),
            minimum: (self.minimum, self.exclusive_minimum),
            counts: [
                ("maxLength", self.max_length.into()),
                ("minLength", self.min_length.into()),
                ("maxItems", self.max_items.into()),
                ("minItems", self.min_items.into()),
                ("maxProperties", self.max_properties.into()),
                ("minProperties", self.min_properties.into()),
            ],
            values: self.r#enum.iter().map(|any| value(&any.yaml)).collect(),
            flags: &[
                ("uniqueItems", self.unique_items),
                ("readOnly", self.read_only),
                ("writeOnly", self.write_only),
                ("deprecated", self.deprecated),
            ],
        };
        said.put(schema);
        self.example.iter().for_each(|example| put_example(schema, &example.yaml));
    }
}

fn put_text(schema: &mut Object, name: &'static str, text: &str) {
    if !text.is_empty() {
        schema.set(name, text.to_owned());
    }
}

fn put_example(schema: &mut Object, example: &str) {
    if !example.is_empty() {
        schema.set("examples", Json::List(vec![value(example)]));
    }
}

/// A value is JSON in a text; what is no JSON is taken as a text.
fn value(text: &str) -> Json {
    let value = serde_json::from_str(text).ok().map(json);
    value.unwrap_or_else(|| Json::Text(text.to_owned().into()))
}

fn json(value: serde_json::Value) -> Json {
    match value {
        serde_json::Value::Null => Json::Null,
        serde_json::Value::Bool(value) => Json::Bool(value),
        serde_json::Value::Number(value) => match value.as_i128() {
            Some(integer) => Json::Integer(integer),
            None => value.as_f64().and_then(number).unwrap_or(Json::Null),
        },
        serde_json::Value::String(text) => Json::Text(text.into()),
        serde_json::Value::Array(items) => Json::List(items.into_iter().map(json).collect()),
        serde_json::Value::Object(members) => {
            Json::Object(members.into_iter().map(|(name, value)| (name.into(), json(value))).collect())
        }
    }
}

/// Names of members that must be there, none twice.
pub(super) fn required(names: Vec<String>) -> Option<Json> {
    let mut once: Vec<String> = Vec::with_capacity(names.len());
    names.into_iter().for_each(|name| {
        if !once.contains(&name) {
            once.push(name);
        }
    });
    (!once.is_empty()).then(|| texts(once))
}
