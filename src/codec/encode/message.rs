//! One message as a JSON object: the pass that hopes for fields in ascending order.
//!
//! The pass gives up, and `scattered` writes the message instead, as soon as a field comes after a
//! later one, or a singular field or a oneof comes twice. A type that did so once is
//! not tried again: so nested messages are never written more than twice, however they nest.

use std::ops::Range;

use super::list::Occurrences;
use super::{Encoder, Result, within};
use crate::codec::selection::Selection;
use crate::codec::wire::Reader;
use crate::schema::plan::{FieldPlan, MessageId, MessagePlan, Shape, WellKnown, wire};

/// Whether a message could be written as it came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Kept,
    Broken,
}

/// How an occurrence of a field carries its values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Single,
    Packed,
}

impl<'s> Encoder<'s> {
    /// Writes a message in the JSON form of its type.
    pub(super) fn message(&mut self, id: MessageId, wire: &[u8]) -> Result<()> {
        let plan = self.schema.message(id);
        match plan.well_known {
            WellKnown::No | WellKnown::MapEntry => {
                self.enter()?;
                let start = self.out.len();
                self.members(plan, wire)?;
                // The bracket takes the place of the first member's comma.
                match self.out.get_mut(start) {
                    Some(comma) => *comma = b'{',
                    None => self.out.push(b'{'),
                }
                self.out.push(b'}');
                self.leave();
                Ok(())
            }
            WellKnown::Any => self.any(wire),
            WellKnown::Timestamp => self.timestamp(wire),
            WellKnown::Duration => self.duration(wire),
            WellKnown::FieldMask => self.field_mask(wire),
            WellKnown::Struct => self.structure(plan, wire),
            WellKnown::Value => self.any_value(plan, wire),
            WellKnown::ListValue => self.list_value(plan, wire),
            WellKnown::Wrapper => self.wrapper(plan, wire),
        }
    }

    /// Writes the members of a message's object, each with a comma before it: those that are selected.
    #[inline]
    pub(super) fn members(&mut self, plan: &MessagePlan, wire: &[u8]) -> Result<()> {
        match self.selection {
            None => self.members_of::<false>(plan, wire, None),
            selection => {
                self.members_of::<true>(plan, wire, selection)?;
                // For the next message of the same list or map.
                self.selection = selection;
                Ok(())
            }
        }
    }

    fn members_of<const SELECTED: bool>(
        &mut self,
        plan: &MessagePlan,
        wire: &[u8],
        selection: Option<&'s Selection>,
    ) -> Result<()> {
        if !plan.is_disordered() {
            let (start, depth, merged_bytes_left) = (self.out.len(), self.depth, self.merged_bytes_left);
            if self.members_in_order::<SELECTED>(plan, wire, selection)? == Order::Kept {
                return Ok(());
            }
            plan.mark_disordered();
            // What failed below, and is forgiven, has left nothing as it found it.
            self.out.truncate(start);
            (self.depth, self.merged_bytes_left) = (depth, merged_bytes_left);
        }
        self.scattered_members(plan, wire, selection)
    }

    /// `SELECTED` is whether there is a selection: without one, none of what is asked about it is compiled.
    fn members_in_order<const SELECTED: bool>(
        &mut self,
        plan: &MessagePlan,
        wire: &[u8],
        selection: Option<&'s Selection>,
    ) -> Result<Order> {
        let mut reader = Reader::new(wire);
        // Those that may still come, the next one first unless some are absent.
        let mut fields = &*plan.fields;
        let mut oneofs = 0u64;
        loop {
            let before = reader;
            let field = match fields {
                [field, later @ ..] if reader.take_tag(field.tag) => {
                    fields = later;
                    field
                }
                _ => {
                    let (found, rest) = seek(plan, reader)?;
                    let Some((index, field)) = found else { break };
                    let next = plan.fields.len() - fields.len();
                    if index < next {
                        return Ok(Order::Broken);
                    }
                    if self.emits_defaults() {
                        self.absent(plan, next..index, selection)?;
                    }
                    (reader, fields) = (rest, plan.fields.get(index + 1..).unwrap_or_default());
                    field
                }
            };
            if field.oneof.is_some() && !mark(&mut oneofs, field) {
                return Ok(Order::Broken);
            }
            if SELECTED && !self.choose(selection, plan.fields.len() - fields.len() - 1) {
                reader = skip_field(field, before)?;
                continue;
            }
            let start = self.out.len();
            self.key(field);
            let written = match field.shape {
                Shape::Implicit | Shape::Explicit | Shape::Required => {
                    self.value(field.kind, field.number, &mut reader)
                }
                Shape::Repeated { .. } | Shape::Map => {
                    let mut occurrences = Occurrences::from_here(field, before);
                    let written = self.many(&mut occurrences);
                    reader = occurrences.reader();
                    written
                }
            };
            let written = match within(written, field) {
                Ok(written) => written,
                Err(failure) => {
                    // A part, or what is replaced, may have no JSON form though the whole has one.
                    return if comes_again(plan, field, before) { Ok(Order::Broken) } else { Err(failure) };
                }
            };
            self.finish(field, start, written);
        }
        if self.emits_defaults() {
            self.absent(plan, plan.fields.len() - fields.len()..plan.fields.len(), selection)?;
        }
        Ok(Order::Kept)
    }

    /// Writes the defaults of the selected fields in `indices`, which the message does not hold.
    pub(super) fn absent(
        &mut self,
        plan: &MessagePlan,
        indices: Range<usize>,
        selection: Option<&Selection>,
    ) -> Result<()> {
        let first = indices.start;
        for (field, index) in plan.fields.get(indices).unwrap_or_default().iter().zip(first..) {
            let is_selected = selection.is_none_or(|selection| selection.shows(index));
            // What extends a type is not its own: nobody expects to be told that it is absent.
            if is_selected && !field.has_presence() && !field.is_extension() {
                self.key(field);
                self.absent_value(field)?;
            }
        }
        Ok(())
    }

    /// Writes the value that an absent field has.
    pub(super) fn absent_value(&mut self, field: &FieldPlan) -> Result<()> {
        match field.shape {
            Shape::Explicit | Shape::Required => self.out.extend_from_slice(b"null"),
            Shape::Repeated { .. } => self.out.extend_from_slice(b"[]"),
            Shape::Map => self.out.extend_from_slice(b"{}"),
            Shape::Implicit => return self.default_value(field.kind).map(drop),
        }
        Ok(())
    }
}

impl Form {
    /// How the field's own tag announces its values.
    #[inline]
    pub(super) fn declared(field: &FieldPlan) -> Self {
        match field.shape {
            Shape::Repeated { packed: true } => Self::Packed,
            _ => Self::Single,
        }
    }

    /// How an occurrence of this wire type is read. `None`: not as this field, which is
    /// then an unknown one with the same number (protobuf.dev, "Wire types").
    #[inline]
    pub(super) fn of(field: &FieldPlan, wire_type: u32) -> Option<Self> {
        if wire_type == field.kind.wire_type() {
            Some(Self::Single)
        } else if wire_type == wire::LEN
            && matches!(field.shape, Shape::Repeated { .. })
            && field.kind.is_packable()
        {
            Some(Self::Packed)
        } else {
            None
        }
    }
}

/// Passes over what is unknown, up to and including the tag of a field that the plan has.
fn seek<'p, 'w>(
    plan: &'p MessagePlan,
    mut reader: Reader<'w>,
) -> Result<(Option<(usize, &'p FieldPlan)>, Reader<'w>)> {
    while !reader.is_empty() {
        let (number, wire_type) = reader.tag()?;
        if let Some(index) = plan.by_number(number)
            && let Some(field) = plan.fields.get(index)
            && Form::of(field, wire_type).is_some()
        {
            return Ok((Some((index, field)), reader));
        }
        reader.skip(number, wire_type)?;
    }
    Ok((None, reader))
}

/// Passes over all that is not selected of a field from its tag at `reader` up to that of another field.
fn skip_field<'w>(field: &FieldPlan, reader: Reader<'w>) -> Result<Reader<'w>> {
    let mut occurrences = Occurrences::from_here(field, reader);
    while let Some((form, reader)) = occurrences.advance()? {
        let wire_type = match form {
            Form::Single => field.kind.wire_type(),
            Form::Packed => wire::LEN,
        };
        reader.skip(field.number, wire_type)?;
    }
    Ok(occurrences.reader())
}

/// Whether the value of `field` at `rest` is but a part of it, or replaced by another.
#[cold]
fn comes_again(plan: &MessagePlan, field: &FieldPlan, mut rest: Reader<'_>) -> bool {
    let same = |other: &FieldPlan| {
        other.number == field.number || (other.oneof.is_some() && other.oneof == field.oneof)
    };
    let mut times = 0;
    while times < 2
        && let Ok((number, wire_type)) = rest.tag()
        && rest.skip(number, wire_type).is_ok()
    {
        times +=
            usize::from(plan.by_number(number).and_then(|index| plan.fields.get(index)).is_some_and(same));
    }
    times == 2 && !field.is_repeated()
}

/// Notes that a member of a oneof came; `false` when one may have come before.
#[inline]
fn mark(oneofs: &mut u64, field: &FieldPlan) -> bool {
    let Some(oneof) = field.oneof else { return true };
    // Beyond 64, two oneofs share a bit; the careful way out is right for either.
    let bit = 1 << (oneof % 64);
    let first = *oneofs & bit == 0;
    *oneofs |= bit;
    first
}
