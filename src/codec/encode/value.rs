//! One value of any kind, from the wire to JSON.

use super::{Encoder, Result, Written, number, text};
use crate::codec::base64;
use crate::codec::options::{Enums, Int64};
use crate::codec::wire::{Reader, unzigzag32, unzigzag64};
use crate::schema::plan::{EnumId, Kind};

/// Reads as the default of every kind but a group: a varint 0, a fixed 0, a length 0.
const ZERO: &[u8] = &[0; 8];

impl Encoder<'_> {
    /// Reads one unpacked value of the field `number`, whose tag has been read, and writes it.
    #[inline(always)]
    pub(super) fn value(&mut self, kind: Kind, number: u32, reader: &mut Reader<'_>) -> Result<Written> {
        let is_default = match kind {
            Kind::String => {
                let text = reader.bytes()?;
                text::string(&mut self.out, text)?;
                text.is_empty()
            }
            Kind::Message(id) => {
                self.message(id, reader.bytes()?)?;
                false
            }
            Kind::Enum(id) => return self.enumeration(id, low(reader.varint()?).cast_signed()),
            Kind::Int32 => self.int32(low(reader.varint()?).cast_signed()),
            Kind::Int64 => self.int64(reader.varint()?.cast_signed()),
            Kind::Bool => {
                let value = reader.varint()? != 0;
                match value {
                    true => self.out.extend_from_slice(b"true"),
                    false => self.out.extend_from_slice(b"false"),
                }
                !value
            }
            Kind::Double => {
                let bits = reader.fixed64()?;
                number::float(&mut self.out, f64::from_bits(bits));
                // Negative zero is not the default, although it is equal to it.
                bits == 0
            }
            Kind::Bytes => {
                let bytes = reader.bytes()?;
                self.bytes(bytes);
                bytes.is_empty()
            }
            Kind::Float => {
                let bits = reader.fixed32()?;
                number::float(&mut self.out, f32::from_bits(bits));
                bits == 0
            }
            Kind::Uint32 => self.uint32(low(reader.varint()?)),
            Kind::Uint64 => self.uint64(reader.varint()?),
            Kind::Sint32 => self.int32(unzigzag32(low(reader.varint()?))),
            Kind::Sint64 => self.int64(unzigzag64(reader.varint()?)),
            Kind::Fixed32 => self.uint32(reader.fixed32()?),
            Kind::Fixed64 => self.uint64(reader.fixed64()?),
            Kind::Sfixed32 => self.int32(reader.fixed32()?.cast_signed()),
            Kind::Sfixed64 => self.int64(reader.fixed64()?.cast_signed()),
            Kind::Group(id) => {
                // A copy, so that the reader itself is not lent out and stays in registers.
                let mut group = *reader;
                self.message(id, group.group(number)?)?;
                *reader = group;
                false
            }
        };
        Ok(if is_default { Written::Default } else { Written::Value })
    }

    /// Writes the value that a scalar has when it is absent; no map value or field without presence is a group.
    pub(super) fn default_value(&mut self, kind: Kind) -> Result<Written> {
        match kind {
            // The default of an enum is its first value, which only an open one always has as 0.
            Kind::Enum(id) => {
                let first = self.schema.enumeration(id).values().next().map_or(0, |(_, number)| number);
                self.enumeration(id, first)
            }
            _ => self.value(kind, 0, &mut Reader::new(ZERO)),
        }
    }

    /// Writes `bytes` in base64 as a JSON string.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.push(b'"');
        base64::encode(bytes, &mut self.out);
        self.out.push(b'"');
    }

    fn enumeration(&mut self, id: EnumId, number: i32) -> Result<Written> {
        self.check_length()?;
        let plan = self.schema.enumeration(id);
        let name = plan.quoted_name(number);
        match name {
            _ if plan.is_null_value => self.out.extend_from_slice(b"null"),
            // A closed enum's unknown numbers are kept aside as unknown fields, which JSON does not have.
            None if plan.closed => return Ok(Written::Nothing),
            Some(name) if self.options.enums == Enums::Name => self.out.extend_from_slice(name),
            _ => number::integer(&mut self.out, number),
        }
        Ok(if number == 0 { Written::Default } else { Written::Value })
    }

    #[inline]
    fn int32(&mut self, value: i32) -> bool {
        number::integer(&mut self.out, value);
        value == 0
    }

    #[inline]
    fn uint32(&mut self, value: u32) -> bool {
        number::integer(&mut self.out, value);
        value == 0
    }

    #[inline]
    fn int64(&mut self, value: i64) -> bool {
        match self.options.int64 {
            Int64::String => number::quoted_integer(&mut self.out, value),
            Int64::Number => number::integer(&mut self.out, value),
        }
        value == 0
    }

    #[inline]
    fn uint64(&mut self, value: u64) -> bool {
        match self.options.int64 {
            Int64::String => number::quoted_integer(&mut self.out, value),
            Int64::Number => number::integer(&mut self.out, value),
        }
        value == 0
    }
}

/// A 32-bit value on the wire may come in 64 bits: the upper ones are dropped (protobuf.dev,
/// "Updating a Message Type").
#[inline]
pub(super) const fn low(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}
