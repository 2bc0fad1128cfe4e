//! Wire → JSON: a backend's reply is read once and written as it is read, with no message tree.
//!
//! ```text
//! message.rs  one pass, fields in the order they come   ──disorder──▶  scattered.rs  notes runs, writes by number
//!      └─▶ list.rs  map.rs ─▶ value.rs ─▶ text.rs        well_known.rs  structs.rs  any.rs  the forms of their own
//! ```
//!
//! Serializers write fields by ascending number with repeated ones together, which is JSON's order
//! here too, so the first pass hopes for it; only a message where it does not hold is written again, from
//! a list of where its fields are. Whatever is wrong with the bytes is the backend's fault.
//!
//! Under a [`Selection`] fields that are not selected are skipped. [`Encoder::selection`] is for the message
//! that begins next; `message.rs` takes it there, so that without one a message pays for one branch.

mod any;
mod error;
pub mod json;
mod list;
mod map;
mod message;
mod number;
mod replaced;
mod scattered;
mod structs;
#[cfg(test)]
pub(super) mod tests;
mod text;
mod value;
mod well_known;

use std::mem;

use super::options::{Defaults, JsonOptions, Names};
use super::selection::{Choice, Selection};
use crate::schema::Schema;
use crate::schema::plan::{FieldPlan, MessageId, MessagePlan, WellKnown};
use crate::status::Status;
use error::{Failure, Fault, Result};

pub use map::Key as MapKey;

/// Writes the message type `message` in `wire` to `out` as JSON.
///
/// After an error `out` is as it was.
///
/// # Errors
///
/// `INTERNAL`, the backend's fault: the bytes are not that message, or it has no JSON form.
/// `RESOURCE_EXHAUSTED`: its JSON is longer than 64 MiB and than 8 times the bytes.
pub fn wire_to_json(
    schema: &Schema,
    message: MessageId,
    options: &JsonOptions,
    wire: &[u8],
    out: &mut Vec<u8>,
) -> std::result::Result<(), Status> {
    selected_to_json(schema, message, None, options, wire, out)
}

/// Writes what a selection leaves of a message, `{}` where that is nothing; `None` leaves everything.
///
/// The selection is one of the type `message`. What it does not select is skipped: an error within it is
/// found only where it hides where the field ends.
///
/// # Errors
///
/// As [`wire_to_json`]; a message about what is not selected names no field.
pub fn selected_to_json(
    schema: &Schema,
    message: MessageId,
    selection: Option<&Selection>,
    options: &JsonOptions,
    wire: &[u8],
    out: &mut Vec<u8>,
) -> std::result::Result<(), Status> {
    Encoder::run(schema, message, options, wire, out, |encoder, plan| {
        // A selection of a type without fields selects nothing: no value of it is an object to take from.
        if selection.is_some() && plan.well_known != WellKnown::No {
            encoder.out.extend_from_slice(b"{}");
            return Ok(());
        }
        encoder.selection = selection;
        encoder.message(message, wire)
    })
}

/// Writes one field of a message as JSON, for `response_body`; `field` is its index in the plan.
///
/// An absent field is its JSON default where absence is no state of its own, else `null`; so is one
/// that is not selected. The selection is one of the whole message.
///
/// # Errors
///
/// As [`wire_to_json`].
pub fn field_to_json(
    schema: &Schema,
    message: MessageId,
    field: usize,
    selection: Option<&Selection>,
    options: &JsonOptions,
    wire: &[u8],
    out: &mut Vec<u8>,
) -> std::result::Result<(), Status> {
    Encoder::run(schema, message, options, wire, out, |encoder, plan| {
        encoder.only_field(plan, field, selection, wire)
    })
}

/// The state of one call: where the output goes and what is left of the bounds.
struct Encoder<'s> {
    schema: &'s Schema,
    options: JsonOptions,
    out: Vec<u8>,
    /// What of the next message that begins is written; `None`: all of it.
    selection: Option<&'s Selection>,
    /// How many messages, or objects and arrays of a `Struct`, are open.
    depth: u16,
    /// How many bytes the merged copies of split messages that are open may still take.
    merged_bytes_left: usize,
    /// How long `out` may be for another message or enum name to begin.
    bytes_max: usize,
}

/// What became of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Value,
    /// Written, and it is the default of its type: zero, or nothing between brackets.
    Default,
    /// A number that a closed enum does not have: not written, as if the field were unknown.
    Nothing,
}

/// How often the bytes of a reply may be copied at once to join messages that came in parts.
const MERGED_COPIES_MAX: usize = 8;

/// JSON that is longer than either is not written on: defaults and enum names turn each byte of a message
/// into hundreds, and a client chooses how many where a reply repeats its request.
const JSON_BYTES_MAX: usize = 64 << 20;
const JSON_BYTES_PER_WIRE_BYTE_MAX: usize = 8;

impl<'s> Encoder<'s> {
    fn run(
        schema: &'s Schema,
        message: MessageId,
        options: &JsonOptions,
        wire: &[u8],
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Self, &'s MessagePlan) -> Result<()>,
    ) -> std::result::Result<(), Status> {
        let start = out.len();
        let plan = schema.message(message);
        out.reserve(wire.len() + wire.len() / 2 + 16);
        let mut encoder = Self {
            schema,
            options: *options,
            out: mem::take(out),
            selection: None,
            depth: 0,
            merged_bytes_left: wire.len().saturating_mul(MERGED_COPIES_MAX),
            bytes_max: start + wire.len().saturating_mul(JSON_BYTES_PER_WIRE_BYTE_MAX).max(JSON_BYTES_MAX),
        };
        let written = write(&mut encoder, plan);
        *out = encoder.out;
        written.map_err(|failure| {
            out.truncate(start);
            failure.status(plan)
        })
    }

    /// Goes one level deeper, within the bound. An error ends the call, so that only success leaves again.
    #[inline]
    fn enter(&mut self) -> Result<()> {
        if self.depth >= self.options.depth_max {
            return Err(Fault::Depth(self.options.depth_max).into());
        }
        self.check_length()?;
        self.depth += 1;
        Ok(())
    }

    #[inline]
    fn check_length(&self) -> Result<()> {
        if self.out.len() > self.bytes_max { Err(Fault::JsonLength.into()) } else { Ok(()) }
    }

    #[inline]
    fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Writes a closing bracket, over the comma that every element of a list or map leaves behind it.
    #[inline]
    fn end(&mut self, bracket: u8) {
        match self.out.last_mut() {
            Some(last) if *last == b',' => *last = bracket,
            _ => self.out.push(bracket),
        }
    }

    /// Writes the comma, name and colon that a member of a message begins with.
    #[inline]
    fn key(&mut self, field: &FieldPlan) {
        let key = match self.options.names {
            Names::Json => &field.json_key,
            Names::Proto => &field.proto_key,
        };
        match key.block() {
            Some((block, len)) => text::put_block(&mut self.out, block, len),
            None => self.out.extend_from_slice(key.with_comma()),
        }
    }

    /// Ends the member of `field` that was begun at `start`, or takes it back where it should not be seen.
    #[inline]
    fn finish(&mut self, field: &FieldPlan, start: usize, written: Written) {
        let visible = match written {
            Written::Value => true,
            Written::Default => self.emits_defaults() || field.has_presence(),
            Written::Nothing => false,
        };
        if !visible {
            self.out.truncate(start);
        }
    }

    /// Turns to the field at `index` of a message of which this much is selected: whether it is written.
    #[inline]
    fn choose(&mut self, selection: Option<&'s Selection>, index: usize) -> bool {
        match selection.map_or(&Choice::Whole, |selection| selection.choice(index)) {
            Choice::Hidden => return false,
            Choice::Whole => self.selection = None,
            Choice::Part(part) => self.selection = Some(part),
        }
        true
    }

    #[inline]
    fn emits_defaults(&self) -> bool {
        self.options.defaults == Defaults::Emit
    }
}

/// Names `field` in the path of an error.
#[inline]
fn within<T>(result: Result<T>, field: &FieldPlan) -> Result<T> {
    result.map_err(|failure: Box<Failure>| failure.within(field))
}
