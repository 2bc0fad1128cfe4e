//! One scalar value, from the wire to response JSON.
//!
//! Integers of 64 bits are strings, as the scalars `Int64` and `UInt64` say: JavaScript's numbers would not hold
//! them. GraphQL's `Float` has no infinities and no NaN.

use super::Renamed;
use super::error::Fault;
use crate::codec::wire::{Reader, unzigzag32, unzigzag64};
use crate::codec::{base64, json};
use crate::schema::Schema;
use crate::schema::plan::{EnumId, Kind};

/// Where names of enums are found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'s> {
    pub schema: &'s Schema,
    /// `None`: all are as declared.
    pub renamed: Option<&'s Renamed>,
}

/// Reads as the default of every scalar: a varint 0, a fixed 0, a length 0.
const ZERO: &[u8] = &[0; 8];

/// Writes one unpacked value, whose tag has been read.
#[inline]
pub(super) fn put(
    names: Names<'_>,
    kind: Kind,
    reader: &mut Reader<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    match kind {
        Kind::String => return json::string(out, reader.bytes()?).map_err(|_| Fault::Utf8),
        Kind::Enum(id) => return put_enum(names, id, low(reader.varint()?).cast_signed(), out),
        Kind::Int32 => json::integer(out, low(reader.varint()?).cast_signed()),
        Kind::Int64 => json::quoted_integer(out, reader.varint()?.cast_signed()),
        Kind::Bool => {
            let value = reader.varint()? != 0;
            out.extend_from_slice(if value { b"true" } else { b"false" });
        }
        Kind::Double => {
            let value = f64::from_bits(reader.fixed64()?);
            if !value.is_finite() {
                return Err(Fault::NotFinite);
            }
            json::float(out, value);
        }
        Kind::Float => {
            let value = f32::from_bits(reader.fixed32()?);
            if !value.is_finite() {
                return Err(Fault::NotFinite);
            }
            json::float(out, value);
        }
        Kind::Bytes => {
            out.push(b'"');
            base64::encode(reader.bytes()?, out);
            out.push(b'"');
        }
        Kind::Uint32 => json::integer(out, low(reader.varint()?)),
        Kind::Uint64 => json::quoted_integer(out, reader.varint()?),
        Kind::Sint32 => json::integer(out, unzigzag32(low(reader.varint()?))),
        Kind::Sint64 => json::quoted_integer(out, unzigzag64(reader.varint()?)),
        Kind::Fixed32 => json::integer(out, reader.fixed32()?),
        Kind::Fixed64 => json::quoted_integer(out, reader.fixed64()?),
        Kind::Sfixed32 => json::integer(out, reader.fixed32()?.cast_signed()),
        Kind::Sfixed64 => json::quoted_integer(out, reader.fixed64()?.cast_signed()),
        // Messages are no scalars.
        Kind::Message(_) | Kind::Group(_) => return Err(Fault::Missing),
    }
    Ok(())
}

/// Writes the value that a scalar has when it is absent.
pub(super) fn put_default(names: Names<'_>, kind: Kind, out: &mut Vec<u8>) -> Result<(), Fault> {
    match kind {
        // The default of an enum is its first value, which only an open one always has as 0.
        Kind::Enum(id) => {
            let first = names.schema.enumeration(id).values().next().map_or(0, |(_, number)| number);
            put_enum(names, id, first, out)
        }
        _ => put(names, kind, &mut Reader::new(ZERO), out),
    }
}

/// Writes an enum's name. What has none is an error whether the enum is open or closed: to say that it is absent
/// would be to say something else.
fn put_enum(names: Names<'_>, id: EnumId, number: i32, out: &mut Vec<u8>) -> Result<(), Fault> {
    let plan = names.schema.enumeration(id);
    let renamed = names.renamed.and_then(|renamed| renamed.get(&id)?.get(&number));
    let name = renamed.map(|name| &**name).or_else(|| plan.quoted_name(number));
    out.extend_from_slice(name.ok_or_else(|| Fault::Enum(number, plan.full_name.clone()))?);
    Ok(())
}

/// A 32-bit value on the wire may come in 64 bits: the upper ones are dropped (protobuf.dev, "Updating a Message
/// Type").
const fn low(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}
