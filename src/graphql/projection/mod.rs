//! Reply bytes → response JSON, in the shape of a selection set and in its order.
//!
//! ```text
//! wire ──scan──▶ where each selected field is ──write──▶ {"alias":…,"other":…}
//! ```
//!
//! A [`Projection`] is a selection set compiled against a message type. A message is passed over once, which notes
//! the places of what is selected and skips the rest, then written in the order of the selection. A value that cannot
//! be told is a field error and null; a null where none may stand takes its parent with it, by taking back what
//! the parent has written.

mod error;
mod hole;
mod scalar;
mod scan;
#[cfg(test)]
pub(super) mod tests;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

use crate::schema::Schema;
use crate::schema::key::Key;
use crate::schema::plan::{EnumId, Kind, MessageId, MessagePlan, Shape, WellKnown};

pub use error::{ERRORS_MAX, Errors, FieldError, KEYS_MAX, Location, Step};
pub use hole::{Found, Hole, Key as LinkKey, Linked, key_of};
pub use write::{Projector, Root};

use scan::Slots;

/// What is written of a message, compiled from a selection set whose fragments have been merged.
#[derive(Debug)]
pub struct Projection {
    entries: Box<[Entry]>,
    slots: Slots,
}

/// A member of the response: an alias or a name, and what stands behind it.
#[derive(Debug)]
pub struct Entry {
    key: Key,
    location: Location,
    what: What,
}

#[derive(Debug)]
enum What {
    /// The same in every reply: `__typename`, or the null of a message that has no fields.
    Constant(Box<[u8]>),
    Field(Field),
    /// What other calls tell.
    Linked(Linked),
}

/// A field of the message, as it is selected.
#[derive(Debug)]
struct Field {
    /// Its index in the message's plan.
    index: usize,
    number: u32,
    /// Where [`Slots`] notes its place.
    slot: usize,
    count: Count,
    /// Whether absence is a value: the default of the type.
    has_default: bool,
    is_nullable: bool,
    /// It is written as if it were absent.
    is_hidden: bool,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    One,
    List,
    /// A map as the list of its entries, whose keys are of this kind.
    Entries(Kind),
    /// A map as a JSON object.
    Object(MessageId),
}

/// Names of enums' values that are not the declared ones, quoted.
pub type Renamed = HashMap<EnumId, Arc<HashMap<i32, Box<[u8]>>>>;

/// How one value is written.
#[derive(Debug)]
pub enum Form {
    /// A number, string, boolean, enum name or base64.
    Scalar(Kind),
    /// The value that a wrapper holds.
    Wrapper(Kind),
    /// JSON of the type's own form: `Timestamp`, `Struct`, `Any`, ….
    Json(MessageId),
    /// `google.protobuf.Empty`: that it is there is all it says.
    True,
    /// Nothing of it may be seen: null.
    Hidden,
    Object(Projection),
}

impl Projection {
    /// Compiles the entries of a selection set on a message type, in response order.
    pub fn new(plan: &MessagePlan, mut entries: Vec<Entry>) -> Self {
        let fields = entries.iter_mut().filter_map(|entry| match &mut entry.what {
            What::Field(field) => Some((field.index, &mut field.slot)),
            What::Linked(linked) => Some((linked.index, &mut linked.slot)),
            What::Constant(_) => None,
        });
        let slots = Slots::new(plan, fields);
        Self { entries: entries.into(), slots }
    }

    /// The fields that are read of a message: their indexes in its plan, and how they are written; `None` of one that
    /// is read for what it leads to.
    pub fn fields(&self) -> impl Iterator<Item = (usize, Option<&Form>)> {
        self.entries.iter().filter_map(|entry| match &entry.what {
            What::Field(field) if !field.is_hidden => Some((field.index, Some(&field.form))),
            What::Linked(linked) => Some((linked.index, None)),
            What::Field(_) | What::Constant(_) => None,
        })
    }
}

impl Entry {
    /// A member that is `json` in every reply.
    pub fn constant(key: &str, location: Location, json: &str) -> Self {
        Self { key: Key::of(key), location, what: What::Constant(json.as_bytes().into()) }
    }

    /// What a link leads to.
    pub fn linked(key: &str, location: Location, linked: Linked) -> Self {
        Self { key: Key::of(key), location, what: What::Linked(linked) }
    }

    /// The field at `index` of a message's plan; a `selection` is of the message type that it holds (of a map, of its
    /// entries), `None` where its value has no fields to choose from, or is JSON.
    ///
    /// `None`: there is no such field.
    pub fn field(
        schema: &Schema,
        plan: &MessagePlan,
        key: &str,
        location: Location,
        index: usize,
        is_nullable: bool,
        selection: Option<Projection>,
    ) -> Option<Self> {
        let field = plan.fields.get(index)?;
        let count = match field.shape {
            Shape::Implicit | Shape::Explicit | Shape::Required => Count::One,
            Shape::Repeated { .. } => Count::List,
            Shape::Map if selection.is_some() => {
                Count::Entries(schema.message(field.kind.message()?).fields.first()?.kind)
            }
            Shape::Map => Count::Object(plan.id),
        };
        let what = What::Field(Field {
            index,
            number: field.number,
            slot: 0,
            count,
            // An entry without its key or value has the default of it (protobuf.dev, "Maps").
            has_default: field.shape == Shape::Implicit || plan.well_known == WellKnown::MapEntry,
            is_nullable,
            is_hidden: false,
            form: Form::of(schema, field.kind, selection),
        });
        Some(Self { key: Key::of(key), location, what })
    }

    /// The same field as if every message lacked it.
    #[must_use]
    pub fn hidden(mut self) -> Self {
        if let What::Field(field) = &mut self.what {
            field.is_hidden = true;
        }
        self
    }

    /// The name that it has in the response. GraphQL's names need no escapes.
    fn name(&self) -> &str {
        let quoted = self.key.quoted();
        let name = quoted.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\":"));
        name.and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default()
    }
}

impl Form {
    /// How a value of this kind is written, of which this is selected.
    pub fn of(schema: &Schema, kind: Kind, selection: Option<Projection>) -> Self {
        match (kind.message(), selection) {
            (None, _) => Self::Scalar(kind),
            (Some(_), Some(selection)) => Self::Object(selection),
            (Some(id), None) => {
                let plan = schema.message(id);
                match (plan.well_known, &*plan.fields) {
                    (WellKnown::Wrapper, [value]) => Self::Wrapper(value.kind),
                    (WellKnown::No, []) => Self::True,
                    _ => Self::Json(id),
                }
            }
        }
    }
}
