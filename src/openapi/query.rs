//! The parameters of an operation: those of its path, and the fields that a query may set.
//!
//! A query names fields by dotted paths, so that all of them are listed, nearest first: scalars, lists of
//! them, maps of them, and types with a text form. A type within itself is not entered again, although
//! the gateway would take it: the list has to end.

use std::collections::VecDeque;

use super::Direction;
use super::constraints;
use super::json::{Json, Object, object};
use super::path::{Parameter, Path, Role};
use super::scalar;
use super::schemas::{Schemas, not_empty, wrapped};
use crate::codec::options::Int64;
use crate::route::{Binding, Body};
use crate::schema::plan::{FieldPlan, Kind, MessageId, MessagePlan, Shape, WellKnown};

/// So many parameters of one query are listed; whoever has more is served better by a body.
const LISTED_MAX: usize = 300;

/// The parameters of a path, in its order.
pub(super) fn of_path(schemas: &mut Schemas<'_>, binding: &Binding, path: &Path) -> Vec<Json> {
    path.parameters().map(|parameter| of_segment(schemas, binding, parameter).into()).collect()
}

fn of_segment(schemas: &mut Schemas<'_>, binding: &Binding, parameter: &Parameter) -> Object {
    let field = parameter.field.as_deref().and_then(|path| leaf(schemas, binding.input, path));
    let segment = || object("type", "string").with("minLength", 1i128);
    let (schema, whole) = match &parameter.role {
        Role::Part(whole) => (segment(), Some(whole)),
        Role::Many(whole) => (object("type", "string").with("pattern", "^[^/]+(?:/[^/]+)*$"), whole.as_ref()),
        Role::Whole => {
            let schema = field.as_ref().and_then(|(owner, field)| {
                let mut schema = text(schemas, field.kind)?;
                if let Some(rules) = schemas.rules(*owner, field) {
                    constraints::put(&rules, &mut schema);
                }
                Some(schema)
            });
            match schema {
                Some(schema)
                    if schema.get("type") == Some(&"string".into()) && schema.get("minLength").is_none() =>
                {
                    (schema.with("minLength", 1i128), None)
                }
                Some(schema) => (schema, None),
                None => (segment(), None),
            }
        }
    };
    let description = field.map(|(owner, field)| schemas.description(owner, &field)).unwrap_or_default();
    let description = match (whole, &parameter.field) {
        (Some(whole), Some(field)) => {
            let told = format!("`{field}` is `{whole}`.");
            if description.is_empty() { told } else { format!("{told}\n\n{description}") }
        }
        _ => description,
    };
    object("name", parameter.name.clone())
        .with("in", "path")
        .with_text("description", description)
        .with("required", true)
        .with("schema", schema)
}

/// The field at the end of a dotted path, and the message that it is one of.
fn leaf(schemas: &Schemas<'_>, input: MessageId, path: &str) -> Option<(MessageId, FieldPlan)> {
    let mut owner = input;
    let mut names = path.split('.').peekable();
    loop {
        let name = names.next()?;
        let field = find(schemas.schema.passing_plan(owner), name)?;
        if names.peek().is_none() {
            return Some((owner, field));
        }
        owner = field.kind.message()?;
    }
}

fn find(plan: MessagePlan, name: &str) -> Option<FieldPlan> {
    plan.fields.into_iter().find(|field| *field.name == *name)
}

/// A message whose fields a query may name.
struct Level {
    message: MessageId,
    /// The names that lead there, with the dot behind them.
    json: String,
    declared: String,
    /// The messages on the way, itself included.
    chain: Vec<MessageId>,
}

/// What a query may set, and whether that is all of it.
pub(super) fn of_query(schemas: &mut Schemas<'_>, binding: &Binding) -> (Vec<Json>, bool) {
    let mut parameters = Vec::new();
    if binding.body == Body::All {
        return (parameters, true);
    }
    let root = Level {
        message: binding.input,
        json: String::new(),
        declared: String::new(),
        chain: vec![binding.input],
    };
    let mut open = VecDeque::from([root]);
    while let Some(level) = open.pop_front() {
        let plan = schemas.schema.passing_plan(level.message);
        for (index, field) in plan.fields.iter().enumerate() {
            let declared = format!("{}{}", level.declared, field.name);
            let is_root = level.chain.len() == 1;
            let is_body = is_root && binding.body == Body::Field(index);
            if is_body || binding.captured_fields().any(|captured| captured == declared) {
                continue;
            }
            let name = format!("{}{}", level.json, schemas.name(field));
            if let Some(schema) = values(schemas, field) {
                if parameters.len() == LISTED_MAX {
                    return (parameters, false);
                }
                parameters.push(parameter(schemas, level.message, field, name, schema, is_root).into());
            } else if let Some(inner) = entered(schemas, field).filter(|inner| !level.chain.contains(inner)) {
                let chain = level.chain.iter().copied().chain([inner]).collect();
                let (json, declared) = (name + ".", declared + ".");
                open.push_back(Level { message: inner, json, declared, chain });
            }
        }
    }
    (parameters, true)
}

fn parameter(
    schemas: &Schemas<'_>,
    owner: MessageId,
    field: &FieldPlan,
    name: String,
    mut schema: Object,
    is_root: bool,
) -> Object {
    let notes = schemas.notes(owner, field);
    let is_required = is_root && schemas.is_asked_for(owner, field);
    if is_required {
        not_empty(&mut schema, field);
    }
    if let Some(rules) = schemas.rules(owner, field) {
        constraints::put(&rules, &mut schema);
    }
    let mut parameter =
        object("name", name).with("in", "query").with_text("description", schemas.description(owner, field));
    if is_required {
        parameter.set("required", true);
    }
    if notes.deprecated {
        parameter.set("deprecated", true);
    }
    match field.shape {
        // `labels[key]=value`
        Shape::Map => parameter.set("style", "deepObject").set("explode", true),
        Shape::Repeated { .. } => parameter.set("style", "form").set("explode", true),
        _ => &mut parameter,
    };
    parameter.with("schema", schema)
}

/// The message whose fields a name may go on with.
fn entered(schemas: &Schemas<'_>, field: &FieldPlan) -> Option<MessageId> {
    let message = field.kind.message().filter(|_| !field.is_repeated())?;
    (WellKnown::of(schemas.schema.descriptor(message)) == WellKnown::No).then_some(message)
}

/// The schema of all values of a field, as texts; `None` for what has no text.
fn values(schemas: &mut Schemas<'_>, field: &FieldPlan) -> Option<Object> {
    match field.shape {
        Shape::Map => {
            let entry = schemas.schema.passing_plan(field.kind.message()?);
            let value = entry.fields.get(entry.by_number(2)?)?;
            let values = text(schemas, value.kind)?;
            Some(object("type", "object").with("additionalProperties", values))
        }
        Shape::Repeated { .. } => {
            let items = text(schemas, field.kind)?;
            Some(object("type", "array").with("items", items))
        }
        _ => text(schemas, field.kind),
    }
}

/// The schema of a value that a path or a query has as text; `None` for what has no text.
fn text(schemas: &mut Schemas<'_>, kind: Kind) -> Option<Object> {
    let one = |kind: Kind, schemas: &Schemas<'_>| {
        let mut schema = scalar::scalar(kind, Direction::Request, schemas.json);
        // All is text here, so that a number needs no second form; only what JavaScript cannot hold is one.
        let is_text = schemas.json.int64 == Int64::String;
        match kind {
            Kind::Float | Kind::Double => {
                let format = if kind == Kind::Float { "float" } else { "double" };
                object("type", "number").with("format", format)
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 if is_text => {
                schema.remove("minimum");
                schema.remove("maximum");
                schema.set("type", "string");
                schema
            }
            Kind::String | Kind::Bytes | Kind::Bool => schema,
            _ => {
                schema.remove("pattern");
                schema.set("type", "integer");
                schema
            }
        }
    };
    match kind {
        Kind::Message(id) | Kind::Group(id) => match WellKnown::of(schemas.schema.descriptor(id)) {
            WellKnown::Wrapper => {
                let kind = wrapped(schemas.schema, schemas.schema.descriptor(id))?;
                Some(one(kind, schemas))
            }
            WellKnown::FieldMask => Some(scalar::field_mask(Some("[a-zA-Z_][a-zA-Z0-9_]*"))),
            own @ (WellKnown::Timestamp | WellKnown::Duration) => scalar::well_known(own, Direction::Request),
            _ => None,
        },
        Kind::Enum(_) => Some(schemas.value(kind, Direction::Request, &super::schemas::View::default())),
        scalar => Some(one(scalar, schemas)),
    }
}
