//! One operation of a document, with its variables → what is called, and how the replies are written.
//!
//! ```text
//! Document + variables → for each root field: a text | a method, its request and a projection of its reply
//! ```
//!
//! What the surface hides of a reply is hidden here, too: a hidden field is written as if it were absent.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::coerce::{Coercer, Variables};
use super::collect::{Collected, collect};
use super::document::ast::{OperationDefinition, Selection as SelectionSet};
use super::document::{Code, Document, Problem};
use super::input;
use super::introspect::Introspection;
use super::model::{Link, Method, Model, Operation as Kind, Source, TypeId, TypeKind};
use super::projection::{Entry, Form, Linked, Projection, Renamed, Root};
use super::read_mask::{self, ReadMask};
use super::reply::{Reply, Traits};
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
    /// Of all that introspection tells.
    pub introspection_bytes_max: usize,
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
        let mut introspection = None;
        let mut planning = Planning { planner: self, document, variables, traits: Traits::default() };
        let place = document.replies(operation);
        let known = place.and_then(OnceLock::get);
        let is_new = place.is_some() && known.is_none();
        let (mut roots, mut replies) = (Vec::new(), Vec::new());
        let mut renamed = Renamed::new();
        let mut masks = Vec::new();
        let mut cost: u64 = 0;
        for field in collect(document, &[&operation.selections], variables) {
            let node = field.node;
            let mut root = Root {
                key: node.response_key().into(),
                location: field.node.at,
                form: Arc::new(Form::Hidden),
            };
            let known = known.and_then(|known| known.get(roots.len())?.clone());
            let (mut planned, mut root_cost) = (None, 0);
            let source = match &*node.name.text {
                "__typename" => RootSource::Text(quoted(operation.kind.type_name())),
                "__schema" | "__type" => {
                    let bytes_max = self.introspection_bytes_max;
                    let introspection = introspection
                        .get_or_insert_with(|| Introspection::new(coercer, document, variables, bytes_max));
                    RootSource::Text(introspection.answer(&field)?)
                }
                _ => match planning.call(operation.kind, &field, known) {
                    Some(Called { source, reply, list_length, is_masked }) => {
                        if let (Kind::Subscription, Some(at)) = (operation.kind, reply.traits.link_at) {
                            let message = "links are not followed in subscriptions".to_owned();
                            return Err(Problem::invalid(message, at));
                        }
                        root.form = Arc::clone(&reply.form);
                        root_cost = reply.traits.cost.total(list_length);
                        cost = cost.saturating_add(root_cost);
                        for (id, names) in &reply.traits.renamed {
                            renamed.entry(*id).or_insert_with(|| Arc::clone(names));
                        }
                        let mask = reply.mask.as_ref().filter(|_| !is_masked);
                        masks.extend(mask.map(|mask| (roots.len(), mask.clone())));
                        planned = Some(reply);
                        source
                    }
                    // A type without fields has one that says so.
                    None => RootSource::Text("null".to_owned()),
                },
            };
            roots.push(RootField { root, source, cost: root_cost });
            if is_new {
                replies.push(planned);
            }
        }
        if let Some(place) = place.filter(|_| is_new) {
            // Whoever plans it first, it is the same.
            place.get_or_init(|| replies.into());
        }
        if cost > self.cost_max {
            let max = self.cost_max;
            let message = format!("the operation may reply with {cost} objects, at most {max} are allowed");
            return Err(Problem::nowhere(Code::CostLimit, message));
        }
        push_down(&mut roots, masks, operation.kind);
        Ok(Operation { kind: operation.kind, roots, renamed })
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
    reply: Arc<Reply>,
    /// Of the lists of the reply.
    list_length: u64,
    /// Whether the client itself says what is to be read.
    is_masked: bool,
}

/// One operation on its way to a plan.
struct Planning<'m> {
    planner: Planner<'m>,
    document: &'m Document,
    variables: &'m Variables<'m>,
    /// Of the reply that is planned.
    traits: Traits,
}

impl<'m> Planning<'m> {
    /// A root field that is a call, whose reply is planned already or is now.
    fn call(&mut self, kind: Kind, field: &Collected<'m>, known: Option<Arc<Reply>>) -> Option<Called> {
        let Planner { model, schema, options, .. } = self.planner;
        let root = model.root(kind)?;
        let found = model.field(schema, root, &field.node.name.text)?;
        let Source::Method(index) = found.source else { return None };
        let method = model.methods().get(index)?;
        let coercer = Coercer { model, schema };
        let inputs = model.arguments(schema, found);
        let taken = if self.planner.read_masks { read_mask::taken(schema, method) } else { None };
        let (mut length, mut is_masked) = (LIST_LENGTH, false);
        let request = coercer
            .request(&field.node.arguments, inputs, method.input, self.variables)
            .map_err(|message| Status::invalid_field("", &message))
            .and_then(|arguments| {
                length = list_length(&arguments);
                is_masked = taken.is_some_and(|taken| is_set(&arguments, &taken.field.json_name));
                input::request(schema, method.input, options, &arguments)
            });
        let source = match request {
            Ok(request) => RootSource::Call { method: index, request: request.into() },
            Err(status) => RootSource::Wrong(status),
        };
        let reply = known.unwrap_or_else(|| {
            self.traits = Traits::default();
            let form = self.reply(method, found.type_ref.named, field);
            let output = schema.message(method.output);
            let mask = taken.and_then(|taken| ReadMask::of_reply(schema, taken, output, &form));
            Arc::new(Reply { form: Arc::new(form), mask, traits: std::mem::take(&mut self.traits) })
        });
        Some(Called { source, reply, list_length: length, is_masked })
    }

    fn reply(&mut self, method: &Method, named: TypeId, field: &Collected<'m>) -> Form {
        let selection = method.exposed.shown.selection.as_deref();
        self.traits.cost.add(0, 1);
        let projection = match self.planner.model.get(named).kind {
            TypeKind::Object(message) => {
                self.traits.cost.add(0, 1);
                Some(self.projection(named, message, &field.sets, selection, 0))
            }
            _ => None,
        };
        match Form::of(self.planner.schema, plan::Kind::Message(method.output), projection) {
            // A mask selects nothing of a message that is one value.
            Form::Json(_) | Form::Wrapper(_) if selection.is_some() => Form::Hidden,
            form => form,
        }
    }

    /// What is selected of a message of which `shown` may be seen, and which is in so many lists.
    fn projection(
        &mut self,
        named: TypeId,
        message: MessageId,
        sets: &[&'m [SelectionSet]],
        shown: Option<&Selection>,
        lists: usize,
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
                    self.traits.link_at = self.traits.link_at.or(Some(at));
                    let linked = self.linked(place, plan, &field, shown, lists);
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
                    let lists = lists + usize::from(found.type_ref.is_list);
                    self.traits.cost.add(lists, 1);
                    Some(self.projection(found.type_ref.named, inner, &field.sets, shown, lists))
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
        if self.traits.renamed.contains_key(&id) || values.iter().all(|value| value.name == value.declared) {
            return;
        }
        let mut names = HashMap::new();
        for value in values {
            // Of two names of one number, replies have the first.
            names.entry(value.number).or_insert_with(|| quoted(&value.name).into_bytes().into());
        }
        self.traits.renamed.insert(id, names.into());
    }

    /// What is selected of what a link leads to, from a message that is in so many lists; `None` where the surface
    /// hides the key or the object.
    fn linked(
        &mut self,
        place: usize,
        plan: &plan::MessagePlan,
        field: &Collected<'m>,
        shown: Option<&Selection>,
        lists: usize,
    ) -> Option<Linked> {
        let model = self.planner.model;
        let link = model.links().get(place)?;
        let key = plan.fields.get(link.from)?;
        if shown.is_some_and(|shown| !shown.shows(link.from)) {
            return None;
        }
        let lists = lists + usize::from(link.is_list);
        // One call, or one for each.
        self.traits.cost.add(if link.fetch.items.is_some() { 0 } else { lists }, 1);
        self.traits.cost.add(lists, 1);
        let shown = shown_of(model, link)?;
        let named = model.object(link.output)?;
        let projection = self.projection(named, link.output, &field.sets, shown, lists);
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
