//! Proto2 `required`: is every such field on the wire, in every message that is?
//!
//! Types from which no required field can be reached, which is every proto3 type, cost one look.
//! Messages split over several occurrences of a field are one message after merging: what
//! one occurrence lacks, another may hold.

use smallvec::SmallVec;

use super::fail::{Fail, Result};
use crate::codec::wire::{Reader, WireError};
use crate::schema::Schema;
use crate::schema::plan::{Kind, MessageId, MessagePlan, Shape, wire};
use crate::status::Status;

/// How deep messages may nest: as deep as protobuf's own parsers go.
const DEPTH_MAX: u16 = 100;

/// The parts of one message, in order; together they are it.
type Parts<'a> = SmallVec<[&'a [u8]; 2]>;

/// Checks that `wire`, a `message`, has all its required fields, and so have the messages in it.
///
/// # Errors
/// `INVALID_ARGUMENT` naming the JSON path of the first one that is missing.
pub fn check_required(schema: &Schema, message: MessageId, wire: &[u8]) -> std::result::Result<(), Status> {
    let plan = schema.message(message);
    if !plan.reaches_required(schema) {
        return Ok(());
    }
    check(schema, plan, &[wire], DEPTH_MAX).map_err(|fail| fail.into_status(&[]))
}

fn check(schema: &Schema, plan: &MessagePlan, parts: &[&[u8]], depth_left: u16) -> Result<()> {
    let Some(depth_left) = depth_left.checked_sub(1) else {
        return Err(Fail::value(format!("messages nest deeper than {DEPTH_MAX}")));
    };
    let mut present = vec![false; plan.fields.len()];
    let mut nested: Vec<(usize, Parts<'_>)> = Vec::new();
    for part in parts {
        note(schema, plan, part, &mut present, &mut nested).map_err(malformed)?;
    }
    if let Some((field, _)) = plan
        .fields
        .iter()
        .zip(present)
        .find(|(field, is_present)| field.shape == Shape::Required && !is_present)
    {
        return Err(Fail::value("a required field is missing").in_field(field));
    }
    let mut elements = vec![0; plan.fields.len()];
    for (index, parts) in &nested {
        let field = &plan.fields[*index];
        let message = field.kind.message().expect("only messages are noted as nested");
        check(schema, schema.message(message), parts, depth_left).map_err(|fail| {
            let fail = if field.is_repeated() { fail.in_element(elements[*index]) } else { fail };
            fail.in_field(field)
        })?;
        elements[*index] += 1;
    }
    Ok(())
}

/// Notes which fields one part of a message has, and the messages in it that need a check.
fn note<'a>(
    schema: &Schema,
    plan: &MessagePlan,
    part: &'a [u8],
    present: &mut [bool],
    nested: &mut Vec<(usize, Parts<'a>)>,
) -> std::result::Result<(), WireError> {
    let mut reader = Reader::new(part);
    while !reader.is_empty() {
        let (number, wire_type) = reader.tag()?;
        let Some(index) = plan.by_number(number) else {
            reader.skip(number, wire_type)?;
            continue;
        };
        let field = &plan.fields[index];
        let content = match (field.kind, wire_type) {
            (Kind::Message(id), wire::LEN) => (id, reader.bytes()?),
            (Kind::Group(id), wire::SGROUP) => (id, reader.group(number)?),
            _ => {
                reader.skip(number, wire_type)?;
                present[index] = true;
                continue;
            }
        };
        present[index] = true;
        if !schema.message(content.0).reaches_required(schema) {
            continue;
        }
        match nested.iter_mut().find(|(noted, _)| *noted == index) {
            Some((_, parts)) if !field.is_repeated() => parts.push(content.1),
            _ => nested.push((index, SmallVec::from_slice(&[content.1]))),
        }
    }
    Ok(())
}

#[cold]
fn malformed(error: WireError) -> Box<Fail> {
    Fail::value(error.to_string())
}
