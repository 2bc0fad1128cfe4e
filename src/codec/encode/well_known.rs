//! `Timestamp`, `Duration`, `FieldMask` and the wrappers: messages that are one JSON value.
//!
//! Their few fields are read in whatever order they come.

use super::list::Occurrences;
use super::value::low;
use super::{Encoder, Fault, Result};
use crate::codec::mask;
use crate::codec::time::{Instant, put_duration, put_timestamp};
use crate::codec::wire::Reader;
use crate::schema::plan::MessagePlan;
use crate::schema::plan::wire::{LEN, VARINT};

impl Encoder<'_> {
    pub(super) fn timestamp(&mut self, wire: &[u8]) -> Result<()> {
        let instant = instant(wire)?;
        self.out.push(b'"');
        put_timestamp(instant, &mut self.out).map_err(|_| Fault::Timestamp)?;
        self.out.push(b'"');
        Ok(())
    }

    pub(super) fn duration(&mut self, wire: &[u8]) -> Result<()> {
        let instant = instant(wire)?;
        self.out.push(b'"');
        put_duration(instant, &mut self.out).map_err(|_| Fault::Duration)?;
        self.out.push(b'"');
        Ok(())
    }

    pub(super) fn field_mask(&mut self, wire: &[u8]) -> Result<()> {
        self.out.push(b'"');
        let mut reader = Reader::new(wire);
        while !reader.is_empty() {
            match reader.tag()? {
                (1, LEN) => {
                    let path = std::str::from_utf8(reader.bytes()?).map_err(|_| Fault::Utf8)?;
                    // What would need escaping is no path, and an empty one would be read as none.
                    if path.is_empty() || path.contains(['"', '\\']) || path.contains(char::is_control) {
                        return Err(Fault::FieldMask.into());
                    }
                    mask::put_camel(path, &mut self.out).map_err(|_| Fault::FieldMask)?;
                    self.out.push(b',');
                }
                (number, wire_type) => reader.skip(number, wire_type)?,
            }
        }
        self.end(b'"');
        Ok(())
    }

    /// The value of a wrapper, its field 1.
    pub(super) fn wrapper(&mut self, plan: &MessagePlan, wire: &[u8]) -> Result<()> {
        let Some(field) = plan.by_number(1).and_then(|index| plan.fields.get(index)) else {
            self.out.extend_from_slice(b"null");
            return Ok(());
        };
        match self.last(&mut Occurrences::anywhere(field, wire))? {
            Some(mut reader) => self.value(field.kind, field.number, &mut reader).map(drop),
            None => self.default_value(field.kind).map(drop),
        }
    }
}

/// Seconds (1) and nanos (2).
fn instant(wire: &[u8]) -> Result<Instant> {
    let mut instant = Instant { seconds: 0, nanos: 0 };
    let mut reader = Reader::new(wire);
    while !reader.is_empty() {
        match reader.tag()? {
            (1, VARINT) => instant.seconds = reader.varint()?.cast_signed(),
            (2, VARINT) => instant.nanos = low(reader.varint()?).cast_signed(),
            (number, wire_type) => reader.skip(number, wire_type)?,
        }
    }
    Ok(instant)
}
