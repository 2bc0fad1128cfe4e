//! What later bytes replace: parsed like anything else, and not written.
//!
//! A scalar that comes twice, another member of a oneof, a key or value of a map's entry that comes again. A
//! parser reads them before it drops them, and refuses the whole message for a string among them that is
//! not UTF-8 or a submessage that does not end; so do we, whatever the order of the fields. What has
//! no JSON form is no error here: nothing asks for one.

use super::list::Occurrences;
use super::message::Form;
use super::scattered::Run;
use super::{Encoder, Fault, Result, within};
use crate::codec::wire::Reader;
use crate::schema::plan::{FieldPlan, Kind, MessageId, MessagePlan, WellKnown};

impl Encoder<'_> {
    /// Parses the values of a singular field in these runs.
    pub(super) fn pass_over(&mut self, field: &FieldPlan, wire: &[u8], runs: &[Run]) -> Result<()> {
        let mut occurrences = Occurrences::within(field, wire, runs);
        while let Some((form, reader)) = occurrences.advance()? {
            within(self.pass(field, form, reader), field)?;
        }
        Ok(())
    }

    /// The last value of a singular field, those before it parsed; its reader stands behind the tag.
    pub(super) fn last<'w>(&mut self, occurrences: &mut Occurrences<'_, 'w>) -> Result<Option<Reader<'w>>> {
        let (field, mut last) = (occurrences.field, None);
        while let Some((form, reader)) = occurrences.advance()? {
            if let Some(mut replaced) = last.replace(*reader) {
                self.pass(field, form, &mut replaced)?;
            }
            reader.skip(field.number, field.kind.wire_type())?;
        }
        Ok(last)
    }

    /// Parses one occurrence of a field, whose tag has been read.
    pub(super) fn pass(&mut self, field: &FieldPlan, form: Form, reader: &mut Reader<'_>) -> Result<()> {
        match field.kind {
            _ if form == Form::Packed => {
                let mut packed = Reader::new(reader.bytes()?);
                while !packed.is_empty() {
                    packed.skip(field.number, field.kind.wire_type())?;
                }
                Ok(())
            }
            Kind::String if field.utf8 => check_utf8(reader.bytes()?),
            Kind::Message(id) => self.pass_message(id, reader.bytes()?),
            Kind::Group(id) => self.pass_message(id, reader.group(field.number)?),
            _ => Ok(reader.skip(field.number, field.kind.wire_type())?),
        }
    }

    fn pass_message(&mut self, id: MessageId, wire: &[u8]) -> Result<()> {
        let plan = self.schema.message(id);
        // An entry is no level of its own where it is written, either.
        if plan.well_known == WellKnown::MapEntry {
            return self.pass_fields(plan, wire);
        }
        self.enter()?;
        self.pass_fields(plan, wire)?;
        self.leave();
        Ok(())
    }

    fn pass_fields(&mut self, plan: &MessagePlan, wire: &[u8]) -> Result<()> {
        let mut reader = Reader::new(wire);
        while !reader.is_empty() {
            let (number, wire_type) = reader.tag()?;
            let field = plan.by_number(number).and_then(|index| plan.fields.get(index));
            match field.and_then(|field| Some((field, Form::of(field, wire_type)?))) {
                Some((field, form)) => within(self.pass(field, form, &mut reader), field)?,
                None => reader.skip(number, wire_type)?,
            }
        }
        Ok(())
    }
}

/// Refuses what is no UTF-8.
pub(super) fn check_utf8(text: &[u8]) -> Result<()> {
    std::str::from_utf8(text).map(drop).map_err(|_| Fault::Utf8.into())
}

/// Refuses a part of a message that ends within a field: joined to the next part, it would read as another.
pub(super) fn check_whole(part: &[u8]) -> Result<()> {
    let mut reader = Reader::new(part);
    while !reader.is_empty() {
        let (number, wire_type) = reader.tag()?;
        reader.skip(number, wire_type)?;
    }
    Ok(())
}
