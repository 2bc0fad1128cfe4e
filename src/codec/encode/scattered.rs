//! One message as a JSON object when its fields are not in order: first noted, then written by number.
//!
//! What is noted are [`Run`]s, stretches of the message that hold nothing but one field, so that a list
//! sent in one piece is one run however long it is. At most one run per two bytes exists, and sorting
//! them is all that is not linear. Singular scalars: the last wins. Singular messages that come more than
//! once merge, which is what joining their bytes means (protobuf.dev, "Last One Wins"). Of a
//! oneof, only what came since another member last did counts.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::list::Occurrences;
use super::message::Form;
use super::replaced::check_whole;
use super::value::low;
use super::{Encoder, Failure, Fault, Result, Written, within};
use crate::codec::selection::Selection;
use crate::codec::wire::Reader;
use crate::schema::plan::{FieldPlan, Kind, MessagePlan, Shape};

/// A stretch of a message with occurrences of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    field: u32,
    start: u32,
    end: u32,
}

pub(super) type Runs = SmallVec<[Run; 16]>;

impl Run {
    pub(super) fn of<'w>(&self, wire: &'w [u8]) -> &'w [u8] {
        wire.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// The field's index in its plan.
    pub(super) fn field(&self) -> usize {
        self.field as usize
    }
}

impl<'s> Encoder<'s> {
    /// Writes the selected members of a message whose fields may come in any order.
    pub(super) fn scattered_members(
        &mut self,
        plan: &MessagePlan,
        wire: &[u8],
        selection: Option<&'s Selection>,
    ) -> Result<()> {
        let runs = match selection {
            None => self.runs(plan, wire, |_, _| true)?,
            // What came last of a oneof is its value, selected or not.
            Some(selection) => self
                .runs(plan, wire, |index, field| selection.shows(index) || field.oneof.is_some())
                .map_err(Failure::unnamed)?,
        };
        let mut next = 0;
        for runs in runs.chunk_by(|a, b| a.field == b.field) {
            let Some(index) = runs.first().map(Run::field) else { continue };
            let Some(field) = plan.fields.get(index) else { continue };
            if self.emits_defaults() {
                self.absent(plan, next..index, selection)?;
            }
            next = index + 1;
            if selection.is_some() && !self.choose(selection, index) {
                continue;
            }
            let start = self.out.len();
            self.key(field);
            let written = within(self.scattered_value(field, wire, runs), field)?;
            self.finish(field, start, written);
        }
        if self.emits_defaults() {
            self.absent(plan, next..plan.fields.len(), selection)?;
        }
        Ok(())
    }

    /// Writes the value of one field of a message, of which this much is selected.
    pub(super) fn only_field(
        &mut self,
        plan: &MessagePlan,
        index: usize,
        selection: Option<&'s Selection>,
        wire: &[u8],
    ) -> Result<()> {
        let Some(field) = plan.fields.get(index) else { return Ok(()) };
        if !self.choose(selection, index) {
            return self.absent_value(field);
        }
        let wanted = |_, other: &FieldPlan| {
            other.number == field.number || (other.oneof.is_some() && other.oneof == field.oneof)
        };
        let mut runs = self.runs(plan, wire, wanted).map_err(|failure| match selection {
            None => failure,
            Some(_) => failure.unnamed(),
        })?;
        runs.retain(|run| run.field() == index);
        let start = self.out.len();
        if runs.is_empty() || within(self.scattered_value(field, wire, &runs), field)? == Written::Nothing {
            self.out.truncate(start);
            self.absent_value(field)?;
        }
        Ok(())
    }

    /// Writes the value of a field that has these (one or more) runs.
    pub(super) fn scattered_value(
        &mut self,
        field: &FieldPlan,
        wire: &[u8],
        runs: &[Run],
    ) -> Result<Written> {
        let mut occurrences = Occurrences::within(field, wire, runs);
        match field.shape {
            Shape::Repeated { .. } | Shape::Map => self.many(&mut occurrences),
            _ if field.kind.message().is_some() => self.merged(&mut occurrences),
            _ => match self.last(&mut occurrences)? {
                Some(mut reader) => self.value(field.kind, field.number, &mut reader),
                None => Ok(Written::Nothing),
            },
        }
    }

    /// Writes the message that all occurrences of a singular field make together.
    pub(super) fn merged(&mut self, occurrences: &mut Occurrences<'_, '_>) -> Result<Written> {
        let field = occurrences.field;
        let Some(id) = field.kind.message() else { return Ok(Written::Nothing) };
        let (mut parts, mut last) = (Cow::Borrowed(&[][..]), &[][..]);
        while let Some((_, reader)) = occurrences.advance()? {
            let part = match field.kind {
                Kind::Group(_) => reader.group(field.number)?,
                _ => reader.bytes()?,
            };
            if parts.is_empty() {
                parts = Cow::Borrowed(part);
            } else {
                check_whole(last)?;
                parts.to_mut().extend_from_slice(part);
            }
            last = part;
        }
        let copied = match &parts {
            Cow::Borrowed(_) => 0,
            Cow::Owned(parts) => parts.len(),
        };
        self.merged_bytes_left = self.merged_bytes_left.checked_sub(copied).ok_or(Fault::Merging)?;
        self.message(id, &parts)?;
        self.merged_bytes_left += copied;
        Ok(Written::Value)
    }

    /// Notes where the `wanted` fields are: sorted by field, within a field as they came.
    pub(super) fn runs(
        &mut self,
        plan: &MessagePlan,
        wire: &[u8],
        wanted: impl Fn(usize, &FieldPlan) -> bool,
    ) -> Result<Runs> {
        if u32::try_from(wire.len()).is_err() {
            return Err(Fault::Length.into());
        }
        // Lengths fit in 32 bits, as just checked.
        let place = |reader: &Reader<'_>| low((wire.len() - reader.rest().len()) as u64);
        let mut runs = Runs::new();
        let mut reader = Reader::new(wire);
        while !reader.is_empty() {
            let start = place(&reader);
            let (number, wire_type) = reader.tag()?;
            let known = plan.by_number(number).and_then(|index| {
                let field = plan.fields.get(index)?;
                Form::of(field, wire_type)?;
                wanted(index, field).then_some((u32::try_from(index).ok()?, field))
            });
            let value = reader;
            let skipped = reader.skip(number, wire_type).map_err(Into::into);
            let Some((index, field)) = known else {
                skipped?;
                continue;
            };
            within(skipped, field)?;
            if !within(self.holds(field, value), field)? {
                continue;
            }
            let run = Run { field: index, start, end: place(&reader) };
            match runs.last_mut() {
                Some(last) if last.field == index && last.end == start => last.end = run.end,
                _ => runs.push(run),
            }
        }
        if plan.oneofs > 0 {
            for run in keep_last_members(plan, &mut runs) {
                if let Some(field) = plan.fields.get(run.field()) {
                    self.pass_over(field, wire, &[run])?;
                }
            }
        }
        runs.sort_unstable_by_key(|run| (run.field, run.start));
        Ok(runs)
    }

    /// Whether a singular field can hold the value at `reader`: a closed enum's unknown number it cannot.
    fn holds(&self, field: &FieldPlan, mut reader: Reader<'_>) -> Result<bool> {
        match (field.kind, field.shape) {
            (Kind::Enum(id), Shape::Implicit | Shape::Explicit | Shape::Required) => {
                let plan = self.schema.enumeration(id);
                Ok(!plan.closed || plan.quoted_name(low(reader.varint()?).cast_signed()).is_some())
            }
            _ => Ok(true),
        }
    }
}

/// Drops the runs of oneof members that a later run of another member cleared, and tells which.
fn keep_last_members(plan: &MessagePlan, runs: &mut Runs) -> Runs {
    struct Last {
        oneof: u16,
        field: u32,
        /// Another member came before: what is earlier still does not count.
        cut: bool,
    }
    let mut lasts = SmallVec::<[Last; 4]>::new();
    let mut dropped = Runs::new();
    runs.reverse();
    runs.retain(|run| {
        let Some(oneof) = plan.fields.get(run.field()).and_then(|field| field.oneof) else { return true };
        match lasts.iter_mut().find(|last| last.oneof == oneof) {
            None => lasts.push(Last { oneof, field: run.field, cut: false }),
            Some(last) => {
                last.cut |= last.field != run.field;
                if last.cut {
                    dropped.push(*run);
                    return false;
                }
            }
        }
        true
    });
    dropped
}
