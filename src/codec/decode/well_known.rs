//! Well-known types whose JSON is a single leaf: wrappers, `Timestamp`, `Duration`, `FieldMask`.
//!
//! Their field numbers are written here and not looked up: they are part of ProtoJSON.

use super::Decoder;
use super::error::{Failure, Result};
use super::object::OnDefault;
use crate::codec::mask;
use crate::codec::time::{Instant, parse_duration, parse_timestamp};
use crate::codec::wire::{begin_len, end_len, put_varint};
use crate::schema::plan::MessagePlan;

impl<'a> Decoder<'a> {
    pub(super) fn wrapper(&mut self, plan: &'a MessagePlan) -> Result<()> {
        let Some(field) = plan.fields.first() else {
            return Err(Failure::value("the schema has no value field for this wrapper"));
        };
        self.value(field.kind, field.tag, OnDefault::Omit).map(drop)
    }

    pub(super) fn timestamp(&mut self) -> Result<()> {
        let text = self.scan.string("expected a timestamp in quotes")?;
        let instant = parse_timestamp(&text).map_err(|error| Failure::value(error.to_string()))?;
        put_instant(instant, self.out);
        Ok(())
    }

    pub(super) fn duration(&mut self) -> Result<()> {
        let text = self.scan.string("expected a duration in quotes")?;
        let instant = parse_duration(&text).map_err(|error| Failure::value(error.to_string()))?;
        put_instant(instant, self.out);
        Ok(())
    }

    pub(super) fn field_mask(&mut self) -> Result<()> {
        let text = self.scan.string("expected a field mask in quotes")?;
        let text = std::str::from_utf8(&text).expect("the scanner checked the whole text");
        put_mask(text, mask::put_snake, self.out).map_err(|error| Failure::value(error.to_string()))
    }
}

/// Appends `seconds` (1) and `nanos` (2) of a `Timestamp` or `Duration`.
pub(super) fn put_instant(instant: Instant, out: &mut Vec<u8>) {
    if instant.seconds != 0 {
        out.push(1 << 3);
        put_varint(out, instant.seconds.cast_unsigned());
    }
    if instant.nanos != 0 {
        out.push(2 << 3);
        put_varint(out, i64::from(instant.nanos).cast_unsigned());
    }
}

/// Appends `paths` (1) of a `FieldMask`.
pub(super) fn put_mask(
    text: &str,
    put_path: fn(&str, &mut Vec<u8>) -> std::result::Result<(), mask::MaskError>,
    out: &mut Vec<u8>,
) -> std::result::Result<(), mask::MaskError> {
    for path in mask::paths(text) {
        out.push(1 << 3 | 2);
        let start = begin_len(out);
        put_path(path, out)?;
        end_len(out, start);
    }
    Ok(())
}
