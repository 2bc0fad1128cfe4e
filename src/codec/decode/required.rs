//! Proto2 `required`: is every such field on the wire, in every message that is?
//!
//! Types from which no required field can be reached, which is every proto3 type, cost one look.
//! Messages split over several occurrences of a field are one message after merging: what
//! one occurrence lacks, another may hold.

use smallvec::SmallVec;

use super::error::{Failure, Result};
use crate::codec::wire::{Reader, WireError};
use crate::schema::Schema;
use crate::schema::plan::{FieldPlan, Kind, MessageId, MessagePlan, Shape, wire};
use crate::status::Status;

/// How deep messages may nest: as deep as protobuf's own parsers go.
const DEPTH_MAX: u16 = 100;

/// What one message has.
struct Noted<'a> {
    /// By field index.
    fields: Vec<Presence>,
    /// The messages in it that need a check, each with the index of its field and its parts in order.
    nested: Vec<(usize, SmallVec<[&'a [u8]; 2]>)>,
}

#[derive(Clone, Copy)]
enum Presence {
    Absent,
    Present,
    /// And noted at this place of [`Noted::nested`].
    Nested(usize),
}

/// Checks that `wire`, a `message`, has all its required fields, and so have the messages in it.
///
/// # Errors
///
/// `INVALID_ARGUMENT` naming the JSON path of the first one that is missing.
pub fn check_required(schema: &Schema, message: MessageId, wire: &[u8]) -> std::result::Result<(), Status> {
    let plan = schema.message(message);
    if !plan.reaches_required(schema) {
        return Ok(());
    }
    check(schema, plan, &[wire], DEPTH_MAX).map_err(|failure| failure.into_status(&[]))
}

fn check(schema: &Schema, plan: &MessagePlan, parts: &[&[u8]], depth_left: u16) -> Result<()> {
    let Some(depth_left) = depth_left.checked_sub(1) else {
        return Err(Failure::value(format!("messages nest deeper than {DEPTH_MAX}")));
    };
    let mut noted = Noted { fields: vec![Presence::Absent; plan.fields.len()], nested: Vec::new() };
    for part in parts {
        noted.note(schema, plan, part).map_err(malformed)?;
    }
    let is_missing =
        |field: &FieldPlan, presence| field.shape == Shape::Required && matches!(presence, Presence::Absent);
    let mut fields = plan.fields.iter().zip(&noted.fields);
    if let Some((field, _)) = fields.find(|(field, presence)| is_missing(field, **presence)) {
        return Err(Failure::value("a required field is missing").in_field(field));
    }
    let mut elements = vec![0; plan.fields.len()];
    for (index, parts) in &noted.nested {
        let field = &plan.fields[*index];
        let message = field.kind.message().expect("only messages are noted as nested");
        check(schema, schema.message(message), parts, depth_left).map_err(|failure| {
            let failure = if field.is_repeated() { failure.in_element(elements[*index]) } else { failure };
            failure.in_field(field)
        })?;
        elements[*index] += 1;
    }
    Ok(())
}

impl<'a> Noted<'a> {
    /// Adds what one part of the message has.
    fn note(
        &mut self,
        schema: &Schema,
        plan: &MessagePlan,
        part: &'a [u8],
    ) -> std::result::Result<(), WireError> {
        let mut reader = Reader::new(part);
        while !reader.is_empty() {
            let (number, wire_type) = reader.tag()?;
            let Some(index) = plan.by_number(number) else {
                reader.skip(number, wire_type)?;
                continue;
            };
            let field = &plan.fields[index];
            let (inner, content) = match (field.kind, wire_type) {
                (Kind::Message(id), wire::LEN) => (schema.message(id), reader.bytes()?),
                (Kind::Group(id), wire::SGROUP) => (schema.message(id), reader.group(number)?),
                _ => {
                    reader.skip(number, wire_type)?;
                    self.fields[index] = Presence::Present;
                    continue;
                }
            };
            match self.fields[index] {
                _ if !inner.reaches_required(schema) => self.fields[index] = Presence::Present,
                Presence::Nested(place) if !field.is_repeated() => self.nested[place].1.push(content),
                _ => {
                    self.fields[index] = Presence::Nested(self.nested.len());
                    self.nested.push((index, SmallVec::from_slice(&[content])));
                }
            }
        }
        Ok(())
    }
}

#[cold]
fn malformed(error: WireError) -> Box<Failure> {
    Failure::value(error.to_string())
}
