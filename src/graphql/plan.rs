//! One operation of a document, with its variables → what is called, and how the replies are written.
//!
//! ```text
//! Document + variables → for each root field: a text | a method, its request and a projection of its reply
//! ```
//!
//! What the surface hides of a reply is hidden here, too: a hidden field is written as if it were absent.

use std::collections::HashMap;

use bytes::Bytes;

use super::coerce::{Coercer, Variables};
use super::collect::{Collected, collect};
use super::document::ast::{OperationDefinition, Selection as SelectionSet};
use super::document::{Code, Document, Location, Problem};
use super::input;
use super::introspect::{self, Introspection};
use super::model::{Link, Method, Model, Operation as Kind, Source, TypeId, TypeKind};
use super::projection::{Entry, Form, Linked, Projection, Renamed, Root};
use super::read_mask::{self, ReadMask};
use super::value::Value;
use crate::codec::options::JsonOptions;
use crate::codec::selection::{Choice, Selection};
use crate::schema::Schema;
use crate::schema::plan::{self, EnumId, MessageId, WellKnown};
use crate::status::Status;

/// An operation that is ready to be executed.
#[derive(Debug)]
pub struct Operation {
    pub kind: Kind,
    /// In response order.
    pub roots: Vec<RootField>,
    /// Values of the enums in its replies that have other names than their declared ones.
    pub renamed: Renamed,
}

/// A field of the operation itself.
#[derive(Debug)]
pub struct RootField {
    pub root: Root,
    pub source: RootSource,
    /// Of the operation's cost.
    pub cost: u64,
}

/// Where the value of a root field comes from.
#[derive(Debug)]
pub enum RootSource {
    /// It is known: JSON.
    Text(String),
    /// A call of the method at this place in [`Model::methods`].
    Call { method: usize, request: Bytes },
    /// Its arguments do not make a request.
    Wrong(Status),
}

/// What an operation is planned by.
#[derive(Clone, Copy, Debug)]
pub struct Planner<'m> {
    pub model: &'m Model,
    pub schema: &'m Schema,
    /// How the codec reads arguments and writes values of the type `JSON`.
    pub options: &'m JsonOptions,
    /// Objects in the reply, as far as they can be told beforehand.
    pub cost_max: u64,
    /// Whether the selection becomes the request's read mask where that has one.
    pub read_masks: bool,
}

/// How many elements a list is thought to have of which nothing is known.
const LIST_LENGTH: u64 = 10;

/// Arguments that say how many elements the lists of a reply have at most.
const LENGTHS: [&str; 4] = ["pageSize", "first", "limit", "maxResults"];

impl<'m> Planner<'m> {
    /// Plans an operation of a document whose variables have their values.
    ///
    /// # Errors
    ///
    /// `COST_LIMIT`: the reply or what introspection tells may be too large. A subscription selects a link.
    pub fn plan(
        self,
        document: &'m Document,
        operation: &'m OperationDefinition,
        variables: &'m Variables<'m>,
    ) -> Result<Operation, Problem> {
        let coercer = Coercer { model: self.model, schema: self.schema };
        let mut introspection = Introspection::new(coercer, document, variables, introspect::BYTES_MAX);
        let mut planning = Planning {
            planner: self,
            document,
            variables,
            list_length: LIST_LENGTH,
            cost: 0,
            link_at: None,
            renamed: Renamed::new(),
        };
        let mut roots = Vec::new();
        let mut masks = Vec::new();
        for field in collect(document, &[&operation.selections], variables) {
            let node = field.node;
            let cost_before = planning.cost;
            let mut root = Root {
                key: node.response_key().into(),
                location: field.node.at,
                form: Form::Scalar(plan::Kind::Bool),
            };
            let source = match &*node.name.text {
                "__typename" => RootSource::Text(quoted(operation.kind.type_name())),
                "__schema" | "__type" => RootSource::Text(introspection.answer(&field)?),
                _ => match planning.call(operation.kind, &field) {
                    Some(Called { source, form, mask }) => {
                        root.form = form;
                        masks.extend(mask.map(|mask| (roots.len(), mask)));
                        source
                    }
                    // A type without fields has one that says so.
                    None => RootSource::Text("null".to_owned()),
                },
            };
            roots.push(RootField { root, source, cost: planning.cost - cost_before });
        }
        if let (Kind::Subscription, Some(at)) = (operation.kind, planning.link_at) {
            return Err(Problem::invalid("links are not followed in subscriptions".to_owned(), at));
        }
        if planning.cost > self.cost_max {
            let (cost, max) = (planning.cost, self.cost_max);
            let message = format!("the operation may reply with {cost} objects, at most {max} are allowed");
            return Err(Problem::nowhere(Code::CostLimit, message));
        }
        push_down(&mut roots, masks, operation.kind);
        Ok(Operation { kind: operation.kind, roots, renamed: planning.renamed })
    }
}

/// Writes read masks into the requests of root fields. Fields of a query that would be one call stay one: it gets the
/// masks of all of them.
fn push_down(roots: &mut [RootField], masks: Vec<(usize, ReadMask)>, kind: Kind) {
    let mut joined: HashMap<(usize, Bytes), (Vec<usize>, ReadMask)> = HashMap::new();
    for (place, mask) in masks {
        let Some(RootField { source: RootSource::Call { method, request }, .. }) = roots.get_mut(place)
        else {
            continue;
        };
        if kind == Kind::Mutation {
            *request = masked(request, &mask);
            continue;
        }
        joined
            .entry((*method, request.clone()))
            .and_modify(|(places, whole)| {
                places.push(place);
                whole.join(&mask);
            })
            .or_insert_with(|| (vec![place], mask));
    }
    for ((_, request), (places, mask)) in joined {
        let request = masked(&request, &mask);
        for place in places {
            if let Some(RootField { source: RootSource::Call { request: whole, .. }, .. }) =
                roots.get_mut(place)
            {
                *whole = request.clone();
            }
        }
    }
}

fn masked(request: &[u8], mask: &ReadMask) -> Bytes {
    let mut whole = request.to_vec();
    mask.write(&mut whole);
    whole.into()
}

/// A root field that is a call.
struct Called {
    source: RootSource,
    form: Form,
    /// What is to be read, where the method wants to know and the client has not said it.
    mask: Option<ReadMask>,
}

/// One operation on its way to a plan.
struct Planning<'m> {
    planner: Planner<'m>,
    document: &'m Document,
    variables: &'m Variables<'m>,
    /// Of the lists of the reply that is planned.
    list_length: u64,
    cost: u64,
    /// Where the first link is selected.
    link_at: Option<Location>,
    renamed: Renamed,
}

impl<'m> Planning<'m> {
    /// A root field that is a call.
    fn call(&mut self, kind: Kind, field: &Collected<'m>) -> Option<Called> {
        let Planner { model, schema, options, .. } = self.planner;
        let root = model.root(kind)?;
        let found = model.field(schema, root, &field.node.name.text)?;
        let Source::Method(index) = found.source else { return None };
        let method = model.methods().get(index)?;
        let coercer = Coercer { model, schema };
        let inputs = model.arguments(schema, found);
        let taken = if self.planner.read_masks { read_mask::taken(schema, method) } else { None };
        let mut is_given = false;
        let request = coercer
            .request(&field.node.arguments, inputs, method.input, self.variables)
            .map_err(|message| Status::invalid_field("", &message))
            .and_then(|arguments| {
                self.list_length = list_length(&arguments);
                is_given = taken.is_some_and(|taken| is_set(&arguments, &taken.field.json_name));
                input::request(schema, method.input, options, &arguments)
            });
        let source = match request {
            Ok(request) => RootSource::Call { method: index, request: request.into() },
            Err(status) => RootSource::Wrong(status),
        };
        let form = self.reply(method, found.type_ref.named, field);
        let taken = taken.filter(|_| !is_given);
        let reply = schema.message(method.output);
        let mask = taken.and_then(|taken| ReadMask::of_reply(schema, taken, reply, &form));
        Some(Called { source, form, mask })
    }

    fn reply(&mut self, method: &Method, named: TypeId, field: &Collected<'m>) -> Form {
        let selection = method.exposed.shown.selection.as_deref();
        self.cost = self.cost.saturating_add(1);
        let projection = match self.planner.model.get(named).kind {
            TypeKind::Object(message) => {
                self.cost = self.cost.saturating_add(1);
                Some(self.projection(named, message, &field.sets, selection, 1))
            }
            _ => None,
        };
        match Form::of(self.planner.schema, plan::Kind::Message(method.output), projection) {
            // A mask selects nothing of a message that is one value.
            Form::Json(_) | Form::Wrapper(_) if selection.is_some() => Form::Hidden,
            form => form,
        }
    }

    /// What is selected of a message of which `shown` may be seen, and which there are `count` of.
    fn projection(
        &mut self,
        named: TypeId,
        message: MessageId,
        sets: &[&'m [SelectionSet]],
        shown: Option<&Selection>,
        count: u64,
    ) -> Projection {
        let Planner { model, schema, .. } = self.planner;
        let plan = schema.message(message);
        let mut entries = Vec::new();
        for field in collect(self.document, sets, self.variables) {
            let (key, at) = (field.node.response_key(), field.node.at);
            let name = &*field.node.name.text;
            if name == "__typename" {
                entries.push(Entry::constant(key, at, &quoted(&model.get(named).name)));
                continue;
            }
            let Some(found) = model.field(schema, named, name) else { continue };
            let index = match found.source {
                Source::Field { index, .. } => index,
                Source::Link(place) => {
                    self.link_at = self.link_at.or(Some(at));
                    let linked = self.linked(place, plan, &field, shown, count);
                    entries.push(match linked {
                        Some(linked) => Entry::linked(key, at, linked),
                        None => Entry::constant(key, at, "null"),
                    });
                    continue;
                }
                Source::Method(_) | Source::Nothing | Source::Model => {
                    entries.push(Entry::constant(key, at, "null"));
                    continue;
                }
            };
            let (is_shown, shown) = match shown.map(|shown| shown.choice(index)) {
                // An entry is shown as its map is.
                _ if plan.well_known == WellKnown::MapEntry => (true, shown),
                None | Some(Choice::Whole) => (true, None),
                Some(Choice::Part(part)) => (true, Some(part)),
                Some(Choice::Hidden) => (false, None),
            };
            let nested = match model.get(found.type_ref.named).kind {
                TypeKind::Object(inner) => {
                    let length = if found.type_ref.is_list { self.list_length } else { 1 };
                    let count = count.saturating_mul(length);
                    self.cost = self.cost.saturating_add(count);
                    Some(self.projection(found.type_ref.named, inner, &field.sets, shown, count))
                }
                TypeKind::Enum(id) => {
                    self.rename(found.type_ref.named, id);
                    None
                }
                _ => None,
            };
            // Of a value without a selection no part can be told.
            let is_shown =
                is_shown && (nested.is_some() || shown.is_none() || plan.well_known == WellKnown::MapEntry);
            let is_nullable = !found.type_ref.is_non_null;
            let entry = Entry::field(schema, plan, key, at, index, is_nullable, nested);
            entries.extend(entry.map(|entry| if is_shown { entry } else { entry.hidden() }));
        }
        Projection::new(plan, entries)
    }

    /// Notes the names of an enum that are not the declared ones.
    fn rename(&mut self, named: TypeId, id: EnumId) {
        let Planner { model, schema, .. } = self.planner;
        let values = model.values(schema, named);
        if self.renamed.contains_key(&id) || values.iter().all(|value| value.name == value.declared) {
            return;
        }
        let mut names = HashMap::new();
        for value in values {
            // Of two names of one number, replies have the first.
            names.entry(value.number).or_insert_with(|| quoted(&value.name).into_bytes().into());
        }
        self.renamed.insert(id, names);
    }

    /// What is selected of what a link leads to, from each of `count` messages; `None` where the surface hides the
    /// key or the object.
    fn linked(
        &mut self,
        place: usize,
        plan: &plan::MessagePlan,
        field: &Collected<'m>,
        shown: Option<&Selection>,
        count: u64,
    ) -> Option<Linked> {
        let model = self.planner.model;
        let link = model.links().get(place)?;
        let key = plan.fields.get(link.from)?;
        if shown.is_some_and(|shown| !shown.shows(link.from)) {
            return None;
        }
        let count = count.saturating_mul(if link.is_list { self.list_length } else { 1 });
        // One call, or one for each.
        let calls = if link.fetch.items.is_some() { 1 } else { count };
        self.cost = self.cost.saturating_add(calls).saturating_add(count);
        let shown = shown_of(model, link)?;
        let named = model.object(link.output)?;
        let projection = self.projection(named, link.output, &field.sets, shown, count);
        let mask = self.mask_of(link, &projection);
        Some(Linked::new(place, link.from, key, Form::Object(projection), mask))
    }

    fn mask_of(&self, link: &Link, projection: &Projection) -> Option<ReadMask> {
        let Planner { model, schema, read_masks, .. } = self.planner;
        let method = model.methods().get(link.fetch.method).filter(|_| read_masks)?;
        let taken = read_mask::taken(schema, method)?;
        // Of a batch it is of the objects, of a single one of the reply: both are what the link leads to.
        if taken.items != link.fetch.items.map(|items| items.index) {
            return None;
        }
        let key = link.fetch.items.map(|items| items.key);
        ReadMask::of_object(schema, taken, schema.message(link.output), projection, key)
    }
}

/// What the surface shows of the objects that a link leads to; the inner `None` is everything, the outer nothing.
fn shown_of<'m>(model: &'m Model, link: &Link) -> Option<Option<&'m Selection>> {
    let reply = model.methods().get(link.fetch.method)?.exposed.shown.selection.as_deref();
    match (reply, link.fetch.items) {
        (Some(reply), Some(items)) => match reply.choice(items.index) {
            Choice::Hidden => None,
            Choice::Whole => Some(None),
            Choice::Part(part) => Some(Some(part)),
        },
        (reply, _) => Some(reply),
    }
}

/// How many elements the lists of a reply have, as the request says.
fn list_length(arguments: &Value) -> u64 {
    let Value::Object(members) = arguments else { return LIST_LENGTH };
    let length = members.iter().find_map(|(name, value)| match value {
        Value::Int(length) if LENGTHS.contains(&&**name) => u64::try_from(*length).ok(),
        _ => None,
    });
    // AIP-158: 0 leaves the choice to the backend.
    length.filter(|length| *length > 0).unwrap_or(LIST_LENGTH)
}

/// Whether an argument has a value.
fn is_set(arguments: &Value, name: &str) -> bool {
    let Value::Object(members) = arguments else { return false };
    members.iter().any(|(own, value)| **own == *name && *value != Value::Null)
}

fn quoted(name: &str) -> String {
    // GraphQL's names need no escapes.
    format!("\"{name}\"")
}
