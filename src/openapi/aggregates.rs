//! A GraphQL document at a path as an operation: its variables are parameters and body, its selection is the reply.
//!
//! Values have the forms of GraphQL, which `json` of the configuration has no say in: 64-bit integers are texts, enums
//! names, and what is null is there.

use super::Direction;
use super::json::{Json, Object, object, texts};
use super::operation::summarize;
use super::path::{Path, Role};
use super::schemas::Schemas;
use super::{Documents, Scheme, Security, Terms, Version, responses, scalar};
use crate::codec::options::JsonOptions;
use crate::graphql::bound::{Bound, BoundDocument, Fails, Member, Shape, Source, Text};
use crate::graphql::document::ast::{DeclaredKind, DeclaredType};
use crate::graphql::model::{Model, Scalar, TypeId, TypeKind, TypeRef};
use crate::schema::plan::{Kind, WellKnown};

/// A document, and how it is called in the description.
#[derive(Clone, Copy)]
pub(super) struct Described<'d> {
    pub(super) documents: Documents<'d>,
    pub(super) bound: &'d BoundDocument,
    pub(super) path: &'d Path,
    pub(super) id: &'d str,
    pub(super) version: Version,
}

/// What a document's operation would be called, if nothing else were.
pub(super) fn id(bound: &BoundDocument) -> String {
    let named = bound.definition().ok().and_then(|definition| definition.name.as_ref());
    let stem = || bound.title().split('.').next().unwrap_or_default().to_owned();
    let name = named.map_or_else(stem, |name| name.text.to_string());
    let is_plain = |character: char| character.is_ascii_alphanumeric() || character == '_';
    name.chars().map(|character| if is_plain(character) { character } else { '_' }).collect()
}

pub(super) fn operation(
    schemas: &mut Schemas<'_>,
    described: &Described<'_>,
    terms: &[Terms],
    schemes: &[Scheme],
) -> Object {
    let Described { documents, bound, .. } = *described;
    let shape = bound.shape(documents.model, schemas.schema);
    let terms = together(documents.model, &shape, terms);
    let (summary, description) = summarize(&bound.comment);
    let mut operation = object("operationId", described.id.to_owned())
        .with_text("summary", summary)
        .with_text("description", description);
    let parameters = parameters(schemas, described);
    if !parameters.is_empty() {
        operation.set("parameters", parameters);
    }
    if let Some(body) = request_body(schemas, described) {
        operation.set("requestBody", body);
    }
    let mut headers = responses::reply_headers(&terms);
    if bound.fails == Fails::Partial {
        let told = object("description", "The paths of what is null because it has failed.");
        headers.set("transom-partial", told.with("schema", object("type", "string")));
    }
    let data = object("schema", reply(schemas, documents.model, &shape));
    let success = object("description", "OK")
        .with("headers", headers)
        .with("content", object("application/json", data));
    operation.set("responses", responses::beside(success, &terms));
    if let Some(requirements) = terms.security.requirements(schemes, described.version) {
        operation.set("security", requirements);
    }
    operation
}

/// What holds for all calls of a document: a client meets the terms of each.
fn together(model: &Model, shape: &Shape, terms: &[Terms]) -> Terms {
    let mut all = Terms::default();
    let mut securities: Vec<&Security> = Vec::new();
    for method in shape.methods().into_iter().filter_map(|index| model.methods().get(index)) {
        let rule = usize::try_from(method.exposed.shown.rule).ok();
        let Some(own) = rule.and_then(|rule| terms.get(rule)) else { continue };
        all.is_limited |= own.is_limited;
        all.is_deprecated |= own.is_deprecated;
        if own.security.asks() && !securities.contains(&&own.security) {
            securities.push(&own.security);
        }
    }
    all.security = match securities.as_slice() {
        [] => Security::None,
        [one] => (*one).clone(),
        // What several ask for together has no words.
        _ => Security::Unknown,
    };
    all
}

/// The parameters of the path, then those of the query.
fn parameters(schemas: &mut Schemas<'_>, described: &Described<'_>) -> Vec<Json> {
    let Described { documents, bound, path, .. } = *described;
    let mut parameters: Vec<Json> = Vec::new();
    for parameter in path.parameters() {
        let capture = parameter.field.as_deref();
        let taken = |one: &&Bound| matches!(&one.source, Source::Path(own) if Some(&**own) == capture);
        let text = bound.variables().iter().find(taken).and_then(|one| one.text);
        let segment = || object("type", "string").with("minLength", 1i128);
        let (schema, whole) = match &parameter.role {
            Role::Part(whole) => (segment(), Some(whole)),
            Role::Many(whole) => {
                (object("type", "string").with("pattern", "^[^/]+(?:/[^/]+)*$"), whole.as_ref())
            }
            Role::Whole => {
                let schema = text.map(|text| one_text(schemas, documents.model, described, text, capture));
                let schema = schema.unwrap_or_else(segment);
                let is_text = schema.get("type") == Some(&"string".into()) && schema.get("enum").is_none();
                (if is_text { schema.with("minLength", 1i128) } else { schema }, None)
            }
        };
        let description = match (whole, capture) {
            (Some(whole), Some(capture)) => format!("`{capture}` is `{whole}`."),
            _ => String::new(),
        };
        let parameter = object("name", parameter.name.clone())
            .with("in", "path")
            .with_text("description", description)
            .with("required", true)
            .with("schema", schema);
        parameters.push(parameter.into());
    }
    let mut told: Vec<&str> = Vec::new();
    for variable in bound.variables() {
        let (Source::Query(name), Some(text)) = (&variable.source, variable.text) else { continue };
        if told.contains(&&**name) {
            continue;
        }
        told.push(name);
        let schema = one_text(schemas, documents.model, described, text, Some(name));
        let mut parameter = object("name", name.to_string()).with("in", "query");
        if variable.is_required {
            parameter.set("required", true);
        }
        let schema = if text.is_list {
            parameter.set("style", "form").set("explode", true);
            object("type", "array").with("items", schema)
        } else {
            schema
        };
        parameters.push(parameter.with("schema", schema).into());
    }
    parameters
}

/// The schema of one text that a path or a query has.
fn one_text(
    schemas: &Schemas<'_>,
    model: &Model,
    described: &Described<'_>,
    text: Text,
    name: Option<&str>,
) -> Object {
    let Some(scalar) = text.scalar else {
        let is_source = |one: &&Bound| match &one.source {
            Source::Path(own) | Source::Query(own) => Some(&**own) == name,
            Source::Body | Source::Member(_) => false,
        };
        let bound = described.bound.variables().iter().find(is_source);
        let named = bound.and_then(|bound| declared(described.bound, bound)).and_then(innermost);
        let named = named.and_then(|named| model.find(named));
        return named.map_or_else(|| object("type", "string"), |named| enumeration(schemas, model, named));
    };
    match scalar {
        Scalar::Int64 | Scalar::UInt64 => {
            let mut schema = value(scalar, Direction::Request);
            schema.remove("minimum");
            schema.remove("maximum");
            schema.with("type", "string")
        }
        Scalar::Id => object("type", "string"),
        scalar => value(scalar, Direction::Request),
    }
}

/// The type of a variable.
fn declared<'d>(document: &'d BoundDocument, bound: &Bound) -> Option<&'d DeclaredType> {
    let definition = document.definition().ok()?;
    definition.variables.iter().find(|one| one.name.text == bound.name).map(|one| &one.declared)
}

fn innermost(declared: &DeclaredType) -> Option<&str> {
    match &declared.kind {
        DeclaredKind::Named(name) => Some(&name.text),
        DeclaredKind::List(item) => innermost(item),
    }
}

/// `requestBody`: the value of a variable, or an object of several.
fn request_body(schemas: &mut Schemas<'_>, described: &Described<'_>) -> Option<Object> {
    let Described { documents, bound, .. } = *described;
    let (mut whole, mut properties, mut required) = (None, Object::new(), Vec::new());
    let mut is_required = false;
    for variable in bound.variables() {
        let Some(declared) = declared(bound, variable) else { continue };
        match &variable.source {
            Source::Body => whole = Some(input(schemas, documents.model, declared)),
            Source::Member(name) => {
                properties.set(name.to_string(), input(schemas, documents.model, declared));
                required.extend(variable.is_required.then(|| name.to_string()));
            }
            Source::Path(_) | Source::Query(_) => continue,
        }
        is_required |= variable.is_required;
    }
    if !bound.takes_body() {
        return None;
    }
    let schema = whole.unwrap_or_else(|| {
        let mut schema = object("type", "object").with("properties", properties);
        if !required.is_empty() {
            schema.set("required", texts(required));
        }
        schema.with("additionalProperties", false)
    });
    let body = object("content", object("application/json", object("schema", schema)));
    Some(if is_required { body.with("required", true) } else { body })
}

/// What a variable of a declared type takes from a body.
fn input(schemas: &mut Schemas<'_>, model: &Model, declared: &DeclaredType) -> Object {
    let schema = match &declared.kind {
        DeclaredKind::List(item) => object("type", "array").with("items", input(schemas, model, item)),
        DeclaredKind::Named(name) => {
            model.find(&name.text).map_or_else(Object::new, |named| single_input(schemas, model, named))
        }
    };
    if declared.is_non_null { schema } else { scalar::nullable(schema) }
}

fn single_input(schemas: &mut Schemas<'_>, model: &Model, named: TypeId) -> Object {
    let found = model.get(named);
    match found.kind {
        TypeKind::Scalar(scalar) => value(scalar, Direction::Request),
        TypeKind::Enum(_) => enumeration(schemas, model, named),
        TypeKind::Input(_) => schemas.refer_to_input(named, &found.name),
        TypeKind::Object(_) | TypeKind::Root(_) | TypeKind::Meta(_) => Object::new(),
    }
}

/// The component of an input object.
pub(super) fn input_object(schemas: &mut Schemas<'_>, id: TypeId) -> Object {
    let Some(model) = schemas.model else { return Object::new() };
    let inputs = model.inputs(schemas.schema, id);
    let (mut properties, mut required) = (Object::new(), Vec::new());
    for one in inputs.list.iter() {
        let TypeRef { named, is_list, is_non_null, .. } = one.type_ref;
        let schema = single_input(schemas, model, named);
        let schema = if is_list { object("type", "array").with("items", schema) } else { schema };
        let schema = if is_non_null { schema } else { scalar::nullable(schema) };
        properties.set(one.name.to_string(), schema);
        required.extend(is_non_null.then(|| one.name.to_string()));
    }
    let mut schema = object("type", "object").with("properties", properties);
    if !required.is_empty() {
        schema.set("required", texts(required));
    }
    if inputs.is_one_of {
        schema.set("minProperties", 1i128).set("maxProperties", 1i128);
    }
    schema.with("additionalProperties", false)
}

/// The schema of data of a shape.
fn reply(schemas: &Schemas<'_>, model: &Model, shape: &Shape) -> Object {
    let mut properties = Object::new();
    for member in &shape.members {
        properties.set(member.key.to_string(), of_member(schemas, model, member));
    }
    let always = shape.members.iter().filter(|member| !member.is_conditional);
    object("type", "object")
        .with("required", texts(always.map(|member| member.key.to_string())))
        .with("properties", properties)
}

fn of_member(schemas: &Schemas<'_>, model: &Model, member: &Member) -> Object {
    let Some(TypeRef { named, is_list, is_non_null, has_null_items }) = member.type_ref else {
        return object("type", "string");
    };
    let one = match (model.get(named).kind, &member.below) {
        (TypeKind::Scalar(scalar), _) => value(scalar, Direction::Response),
        (TypeKind::Enum(_), _) => enumeration(schemas, model, named),
        (_, Some(below)) => reply(schemas, model, below),
        (_, None) => Object::new(),
    };
    let schema = match (is_list, has_null_items) {
        (false, _) => one,
        (true, false) => object("type", "array").with("items", one),
        (true, true) => object("type", "array").with("items", scalar::nullable(one)),
    };
    if is_non_null { schema } else { scalar::nullable(schema) }
}

fn enumeration(schemas: &Schemas<'_>, model: &Model, named: TypeId) -> Object {
    let names = model.values(schemas.schema, named).iter().map(|value| value.name.to_string());
    object("type", "string").with("enum", texts(names))
}

/// A value of a scalar, in JSON.
fn value(scalar: Scalar, direction: Direction) -> Object {
    // The forms of GraphQL are those of ProtoJSON as it is without options.
    let json = JsonOptions::default();
    let plain = |kind: Kind| self::scalar::scalar(kind, direction, &json);
    let integer = |kind: Kind| {
        let mut schema = plain(kind);
        schema.remove("pattern");
        schema.with("type", "integer")
    };
    let well_known = |known| self::scalar::well_known(known, direction).unwrap_or_default();
    match scalar {
        Scalar::Boolean => plain(Kind::Bool),
        // What is not finite is an error.
        Scalar::Float => object("type", "number").with("format", "double"),
        Scalar::Int => integer(Kind::Int32),
        Scalar::UInt32 => integer(Kind::Uint32),
        Scalar::Int64 => plain(Kind::Int64),
        Scalar::UInt64 => plain(Kind::Uint64),
        Scalar::String => plain(Kind::String),
        Scalar::Id if direction == Direction::Request => object("type", texts(["string", "integer"])),
        Scalar::Id => plain(Kind::String),
        Scalar::Bytes => plain(Kind::Bytes),
        Scalar::DateTime => well_known(WellKnown::Timestamp),
        Scalar::Duration => well_known(WellKnown::Duration),
        Scalar::FieldMask => well_known(WellKnown::FieldMask),
        Scalar::Json => Object::new(),
    }
}
