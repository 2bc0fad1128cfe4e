//! Repeated fields as JSON arrays, and the [`Occurrences`] that lists and maps are read from.
//!
//! Packed or not is the sender's choice for every element type that can be packed, occurrence by
//! occurrence, whatever the field declares (protobuf.dev, "Packed repeated fields").

use super::message::Form;
use super::scattered::Run;
use super::{Encoder, Result, Written};
use crate::codec::wire::Reader;
use crate::schema::plan::{FieldPlan, Shape};

/// The occurrences of one field: those that follow each other from some place, or all in some runs.
pub(super) struct Occurrences<'a, 'w> {
    pub(super) field: &'a FieldPlan,
    reader: Reader<'w>,
    wire: &'w [u8],
    runs: &'a [Run],
    /// Whether another field ends the list instead of being passed over.
    adjacent: bool,
}

impl<'a, 'w> Occurrences<'a, 'w> {
    /// From the tag at `reader` up to the next tag of another field.
    #[inline]
    pub(super) fn from_here(field: &'a FieldPlan, reader: Reader<'w>) -> Self {
        Self { field, reader, wire: &[], runs: &[], adjacent: true }
    }

    /// All in `wire`, whatever stands between them.
    pub(super) fn anywhere(field: &'a FieldPlan, wire: &'w [u8]) -> Self {
        Self { field, reader: Reader::new(wire), wire, runs: &[], adjacent: false }
    }

    /// All in these runs of `wire`.
    pub(super) fn within(field: &'a FieldPlan, wire: &'w [u8], runs: &'a [Run]) -> Self {
        Self { field, reader: Reader::new(&[]), wire, runs, adjacent: false }
    }

    /// Goes to the next occurrence; the reader then stands behind its tag.
    #[inline(always)]
    pub(super) fn advance(&mut self) -> Result<Option<(Form, &mut Reader<'w>)>> {
        let form = if self.reader.take_tag(self.field.tag) {
            Some(Form::declared(self.field))
        } else {
            self.seek()?
        };
        Ok(form.map(|form| (form, &mut self.reader)))
    }

    #[inline(never)]
    fn seek(&mut self) -> Result<Option<Form>> {
        loop {
            if self.reader.is_empty() {
                let Some((run, rest)) = self.runs.split_first() else { return Ok(None) };
                (self.reader, self.runs) = (Reader::new(run.of(self.wire)), rest);
                continue;
            }
            let before = self.reader;
            let (number, wire_type) = self.reader.tag()?;
            if number == self.field.number
                && let Some(form) = Form::of(self.field, wire_type)
            {
                return Ok(Some(form));
            }
            if self.adjacent {
                self.reader = before;
                return Ok(None);
            }
            self.reader.skip(number, wire_type)?;
        }
    }

    /// Where reading stopped.
    #[inline]
    pub(super) fn reader(&self) -> Reader<'w> {
        self.reader
    }
}

impl Encoder<'_> {
    /// Writes a repeated field's array or a map's object.
    pub(super) fn many(&mut self, occurrences: &mut Occurrences<'_, '_>) -> Result<Written> {
        match occurrences.field.shape {
            Shape::Map => self.entries(occurrences),
            _ => self.elements(occurrences),
        }
    }

    /// Writes a repeated field's array.
    pub(super) fn elements(&mut self, occurrences: &mut Occurrences<'_, '_>) -> Result<Written> {
        self.out.push(b'[');
        let start = self.out.len();
        let field = occurrences.field;
        while let Some((form, reader)) = occurrences.advance()? {
            let mut packed = match form {
                Form::Single => None,
                Form::Packed => Some(Reader::new(reader.bytes()?)),
            };
            while packed.is_none_or(|packed| !packed.is_empty()) {
                let values = packed.as_mut().unwrap_or(reader);
                if self.value(field.kind, field.number, values)? != Written::Nothing {
                    self.out.push(b',');
                }
                if form == Form::Single {
                    break;
                }
            }
        }
        let empty = self.out.len() == start;
        self.end(b']');
        Ok(if empty { Written::Default } else { Written::Value })
    }
}
