//! Push-down: what is selected of a reply, told to the backend as the request's read mask (AIP-157).
//!
//! A method takes one where its request has a field `read_mask` of type `FieldMask`, or `field_mask` where it reads: of a
//! method that writes that is what it updates, as `update_mask` always is. Its paths are of the resource. Where a reply
//! is a page of resources or a batch, they are of each of those (AIP-132 and AIP-231 return the resource's fields within
//! a list), else of the reply. A path ends at a repeated field or a map, beyond which masks do not reach.

use std::collections::BTreeSet;

use super::model::{Method, Operation};
use super::projection::{Form, Projection};
use crate::codec::wire::{put_len_prefixed, tag};
use crate::schema::Schema;
use crate::schema::plan::wire::LEN;
use crate::schema::plan::{FieldPlan, MessagePlan, Shape, WellKnown};

/// The mask of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadMask {
    /// Of the request's field.
    number: u32,
    paths: BTreeSet<Box<str>>,
}

/// How a method takes a mask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken<'s> {
    pub field: &'s FieldPlan,
    /// The index of the field in the reply's plan whose elements the mask is of; `None` of the reply itself.
    pub items: Option<usize>,
}

/// Beginnings of names of methods that reply with several resources.
const SEVERAL: [&str; 3] = ["List", "Search", "BatchGet"];

/// How a method takes a mask; `None` where it takes none, or it cannot be told what the mask would be of.
pub(super) fn taken<'s>(schema: &'s Schema, method: &Method) -> Option<Taken<'s>> {
    let request = schema.message(method.input);
    let mask = |name: &str| {
        let field = request.fields.get(request.by_name(name.as_bytes())?)?;
        let is_mask =
            field.kind.message().is_some_and(|id| schema.message(id).well_known == WellKnown::FieldMask);
        (is_mask && !field.is_repeated()).then_some(field)
    };
    let is_read = method.operation != Operation::Mutation;
    let field = mask("read_mask").or_else(|| mask("field_mask").filter(|_| is_read))?;
    let reply = schema.message(method.output);
    let name = method.exposed.method.name();
    let is_several = SEVERAL.iter().any(|word| name.starts_with(word))
        || request.by_name(b"page_token").is_some()
        || reply.by_name(b"next_page_token").is_some();
    if !is_several {
        return Some(Taken { field, items: None });
    }
    let is_list =
        |field: &FieldPlan| matches!(field.shape, Shape::Repeated { .. }) && field.kind.message().is_some();
    let mut lists = reply.fields.iter().enumerate().filter(|(_, field)| is_list(field));
    match (lists.next(), lists.next()) {
        (Some((index, _)), None) => Some(Taken { field, items: Some(index) }),
        _ => None,
    }
}

impl ReadMask {
    /// The mask of what is selected of the reply of a method; `None` where that is nothing, or no path can say it.
    pub(super) fn of_reply(
        schema: &Schema,
        taken: Taken<'_>,
        reply: &MessagePlan,
        form: &Form,
    ) -> Option<Self> {
        let Form::Object(projection) = form else { return None };
        let mut mask = Self { number: taken.field.number, paths: BTreeSet::new() };
        match taken.items {
            None => {
                mask.select(schema, reply, projection, "")?;
            }
            Some(items) => {
                let item = schema.message(reply.fields.get(items)?.kind.message()?);
                for (index, form) in projection.fields() {
                    match form {
                        Some(Form::Object(inner)) if index == items => {
                            mask.select(schema, item, inner, "")?;
                        }
                        _ => {}
                    }
                }
            }
        }
        (!mask.paths.is_empty()).then_some(mask)
    }

    /// The mask of an object that a link leads to, which is told by the field `key` of it in a batch.
    pub(super) fn of_object(
        schema: &Schema,
        taken: Taken<'_>,
        object: &MessagePlan,
        projection: &Projection,
        key: Option<u32>,
    ) -> Option<Self> {
        let mut mask = Self { number: taken.field.number, paths: BTreeSet::new() };
        mask.select(schema, object, projection, "")?;
        if mask.paths.is_empty() && key.is_none() {
            return None;
        }
        if let Some(key) = key {
            let field = object.fields.get(object.by_number(key)?)?;
            mask.paths.insert(field.name.clone());
        }
        Some(mask)
    }

    /// Adds what is selected of a message at `prefix`, and tells whether that is anything; `None` where no path can
    /// say it.
    fn select(
        &mut self,
        schema: &Schema,
        plan: &MessagePlan,
        projection: &Projection,
        prefix: &str,
    ) -> Option<bool> {
        let mut is_any = false;
        for (index, form) in projection.fields() {
            let field = plan.fields.get(index)?;
            if field.is_extension() {
                return None;
            }
            let path = format!("{prefix}{}", field.name);
            is_any = true;
            match (form, field.kind.message()) {
                (Some(Form::Object(inner)), Some(id)) if !field.is_repeated() => {
                    // Nothing but its presence.
                    if !self.select(schema, schema.message(id), inner, &format!("{path}."))? {
                        self.paths.insert(path.into());
                    }
                }
                _ => drop(self.paths.insert(path.into())),
            }
        }
        Some(is_any)
    }

    /// Adds what another mask of the same request selects.
    pub fn join(&mut self, other: &Self) {
        self.paths.extend(other.paths.iter().cloned());
    }

    /// Writes it behind the other fields of the request.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut mask = Vec::new();
        for path in &self.paths {
            // google/protobuf/field_mask.proto: paths = 1. One within another adds nothing.
            let is_within = path.match_indices('.').any(|(at, _)| self.paths.contains(&path[..at]));
            if !is_within {
                put_len_prefixed(&mut mask, tag(1, LEN), path.as_bytes());
            }
        }
        put_len_prefixed(out, tag(self.number, LEN), &mask);
    }
}

#[cfg(test)]
mod tests;
