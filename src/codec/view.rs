//! A message in wire form whose fields have been found, and not yet decoded.
//!
//! What judges a message looks at some of its fields, in any order: a [`View`] notes where each one lies, and a
//! value is decoded when it is asked for. Nothing is copied. A message may lie in several parts, for concatenated
//! serializations merge; of a oneof the member that came last is the one that is set.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use smallvec::SmallVec;

use super::wire::{Reader, WireError, unzigzag32, unzigzag64};
use crate::schema::Schema;
use crate::schema::plan::{FieldPlan, Kind, MessageId, MessagePlan, Shape, wire};

/// The parts of one message, in their order.
pub type Parts<'a> = SmallVec<[&'a [u8]; 1]>;

/// A message and where its fields are.
#[derive(Clone, Debug)]
pub struct View<'a> {
    pub schema: &'a Schema,
    pub plan: &'a MessagePlan,
    /// By field, those of one field in the order of the wire.
    found: Rc<[Found<'a>]>,
}

/// One occurrence of a field.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    index: usize,
    raw: Raw<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Raw<'a> {
    Varint(u64),
    I64(u64),
    I32(u32),
    Bytes(&'a [u8]),
    Packed(&'a [u8]),
}

/// A decoded value; of a message its bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f32),
    Double(f64),
    Enum(i32),
    Text(&'a str),
    Bytes(&'a [u8]),
    Message(MessageId, Parts<'a>),
}

/// Why bytes are no message of their type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("a string is not valid UTF-8")]
    Text,
}

impl<'a> View<'a> {
    /// Finds the fields of a message.
    ///
    /// # Errors
    ///
    /// The bytes are no message at all; what lies deeper is not looked at.
    pub fn of(schema: &'a Schema, id: MessageId, parts: &[&'a [u8]]) -> Result<Self, WireError> {
        let plan = schema.message(id);
        let mut found = Vec::new();
        for part in parts {
            let mut reader = Reader::new(part);
            while !reader.is_empty() {
                let (number, wire_type) = reader.tag()?;
                match plan.by_number(number) {
                    Some(index) => {
                        let raw = raw(&mut reader, &plan.fields[index], wire_type)?;
                        found.extend(raw.map(|raw| Found { index, raw }));
                    }
                    None => reader.skip(number, wire_type)?,
                }
            }
        }
        if plan.oneofs > 0 {
            keep_last_members(plan, &mut found);
        }
        if !found.is_sorted_by_key(|one| one.index) {
            found.sort_by_key(|one| one.index);
        }
        Ok(Self { schema, plan, found: found.into() })
    }

    /// All occurrences of a field.
    pub fn occurrences(&self, index: usize) -> &[Found<'a>] {
        let start = self.found.partition_point(|one| one.index < index);
        let rest = &self.found[start..];
        &rest[..rest.partition_point(|one| one.index == index)]
    }

    /// Whether a field is on the wire.
    pub fn is_on_wire(&self, index: usize) -> bool {
        !self.occurrences(index).is_empty()
    }

    /// Whether a field counts as set: one without presence must differ from zero, or hold something.
    ///
    /// # Errors
    ///
    /// Its value does not decode.
    pub fn is_set(&self, index: usize) -> Result<bool, ViewError> {
        match self.plan.fields[index].shape {
            Shape::Explicit | Shape::Required => Ok(self.is_on_wire(index)),
            Shape::Implicit => Ok(self.value(index)?.is_some_and(|value| !value.is_zero())),
            Shape::Map | Shape::Repeated { packed: false } => Ok(self.is_on_wire(index)),
            Shape::Repeated { packed: true } => {
                Ok(self.occurrences(index).iter().any(|one| !matches!(one.raw, Raw::Packed([]))))
            }
        }
    }

    /// The value of a singular field; `None` where the wire does not have it.
    ///
    /// # Errors
    ///
    /// It does not decode.
    pub fn value(&self, index: usize) -> Result<Option<Scalar<'a>>, ViewError> {
        let found = self.occurrences(index);
        let Some(last) = found.last() else { return Ok(None) };
        let kind = self.plan.fields[index].kind;
        match kind.message() {
            Some(id) => Ok(Some(Scalar::Message(id, found.iter().filter_map(Found::bytes).collect()))),
            None => last.decode(kind).map(Some),
        }
    }

    /// The value of a singular field, or what it has where the wire does not have it.
    ///
    /// # Errors
    ///
    /// It does not decode.
    pub fn value_or_zero(&self, index: usize) -> Result<Scalar<'a>, ViewError> {
        Ok(self.value(index)?.unwrap_or_else(|| Scalar::zero(self.plan.fields[index].kind)))
    }

    /// As [`value_or_zero`](Self::value_or_zero), by number; `None` where the type has no such field.
    ///
    /// # Errors
    ///
    /// It does not decode.
    pub fn numbered(&self, number: u32) -> Result<Option<Scalar<'a>>, ViewError> {
        self.plan.by_number(number).map(|index| self.value_or_zero(index)).transpose()
    }

    /// Calls `visit` with each item of a repeated field.
    ///
    /// # Errors
    ///
    /// One does not decode, or what `visit` finds.
    pub fn each<E: From<ViewError>>(
        &self,
        index: usize,
        mut visit: impl FnMut(Scalar<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        let kind = self.plan.fields[index].kind;
        for one in self.occurrences(index) {
            let Raw::Packed(bytes) = one.raw else {
                visit(one.decode(kind)?)?;
                continue;
            };
            let mut reader = Reader::new(bytes);
            while !reader.is_empty() {
                let raw = match kind.wire_type() {
                    wire::VARINT => reader.varint().map(Raw::Varint),
                    wire::I64 => reader.fixed64().map(Raw::I64),
                    _ => reader.fixed32().map(Raw::I32),
                };
                let raw = raw.map_err(ViewError::from)?;
                visit(Found { index, raw }.decode(kind)?)?;
            }
        }
        Ok(())
    }

    /// The keys and values of a map field, in the order of the wire; of a key that comes twice the last value.
    ///
    /// # Errors
    ///
    /// One does not decode.
    pub fn entries(&self, index: usize) -> Result<Vec<(Scalar<'a>, Scalar<'a>)>, ViewError> {
        let Some(entry) = self.plan.fields[index].kind.message() else { return Ok(Vec::new()) };
        let mut entries: Vec<(Scalar<'a>, Scalar<'a>)> = Vec::new();
        let mut places: HashMap<MapKey<'a>, usize> = HashMap::new();
        for one in self.occurrences(index) {
            let entry = View::of(self.schema, entry, &[one.bytes().unwrap_or_default()])?;
            let (Some(key), Some(value)) = (entry.numbered(1)?, entry.numbered(2)?) else { continue };
            match places.entry(MapKey::of(&key)) {
                Entry::Occupied(place) => entries[*place.get()] = (key, value),
                Entry::Vacant(place) => {
                    place.insert(entries.len());
                    entries.push((key, value));
                }
            }
        }
        Ok(entries)
    }
}

/// What tells the keys of a map apart.
#[derive(PartialEq, Eq, Hash)]
enum MapKey<'a> {
    Number(u64),
    Text(&'a str),
}

impl<'a> MapKey<'a> {
    fn of(key: &Scalar<'a>) -> Self {
        match key {
            Scalar::Text(text) => Self::Text(text),
            Scalar::Bool(value) => Self::Number((*value).into()),
            Scalar::Int(value) => Self::Number(value.cast_unsigned()),
            Scalar::Uint(value) => Self::Number(*value),
            _ => Self::Number(0),
        }
    }
}

impl<'a> Found<'a> {
    fn bytes(&self) -> Option<&'a [u8]> {
        match self.raw {
            Raw::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn decode(&self, kind: Kind) -> Result<Scalar<'a>, ViewError> {
        Ok(match (kind, self.raw) {
            (Kind::Double, Raw::I64(bits)) => Scalar::Double(f64::from_bits(bits)),
            (Kind::Float, Raw::I32(bits)) => Scalar::Float(f32::from_bits(bits)),
            // A number that is too long for its type keeps its lower bits (protobuf.dev, "Encoding").
            (Kind::Int32, Raw::Varint(value)) => Scalar::Int(i64::from(value as u32 as i32)),
            (Kind::Int64, Raw::Varint(value)) => Scalar::Int(value.cast_signed()),
            (Kind::Uint32, Raw::Varint(value)) => Scalar::Uint(u64::from(value as u32)),
            (Kind::Uint64, Raw::Varint(value)) | (Kind::Fixed64, Raw::I64(value)) => Scalar::Uint(value),
            (Kind::Sint32, Raw::Varint(value)) => Scalar::Int(unzigzag32(value as u32).into()),
            (Kind::Sint64, Raw::Varint(value)) => Scalar::Int(unzigzag64(value)),
            (Kind::Fixed32, Raw::I32(value)) => Scalar::Uint(value.into()),
            (Kind::Sfixed32, Raw::I32(value)) => Scalar::Int(value.cast_signed().into()),
            (Kind::Sfixed64, Raw::I64(value)) => Scalar::Int(value.cast_signed()),
            (Kind::Bool, Raw::Varint(value)) => Scalar::Bool(value != 0),
            (Kind::Enum(_), Raw::Varint(value)) => Scalar::Enum(value as u32 as i32),
            (Kind::String, Raw::Bytes(bytes)) => {
                Scalar::Text(std::str::from_utf8(bytes).map_err(|_| ViewError::Text)?)
            }
            (Kind::Bytes, Raw::Bytes(bytes)) => Scalar::Bytes(bytes),
            (Kind::Message(id) | Kind::Group(id), Raw::Bytes(bytes)) => {
                Scalar::Message(id, Parts::from_slice(&[bytes]))
            }
            _ => unreachable!("what is found is of the wire type of its field"),
        })
    }
}

impl Scalar<'_> {
    /// What a field has that is left out.
    pub fn zero(kind: Kind) -> Self {
        match kind {
            Kind::Double => Self::Double(0.0),
            Kind::Float => Self::Float(0.0),
            Kind::Int32 | Kind::Int64 | Kind::Sint32 | Kind::Sint64 | Kind::Sfixed32 | Kind::Sfixed64 => {
                Self::Int(0)
            }
            Kind::Uint32 | Kind::Uint64 | Kind::Fixed32 | Kind::Fixed64 => Self::Uint(0),
            Kind::Bool => Self::Bool(false),
            Kind::String => Self::Text(""),
            Kind::Bytes => Self::Bytes(&[]),
            Kind::Enum(_) => Self::Enum(0),
            Kind::Message(id) | Kind::Group(id) => Self::Message(id, Parts::new()),
        }
    }

    /// Whether a field without presence would leave it out. Negative zero is none: it has bits.
    pub fn is_zero(&self) -> bool {
        match self {
            Self::Bool(value) => !value,
            Self::Int(value) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Float(value) => value.to_bits() == 0,
            Self::Double(value) => value.to_bits() == 0,
            Self::Enum(value) => *value == 0,
            Self::Text(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Message(_, parts) => parts.iter().all(|part| part.is_empty()),
        }
    }
}

/// The next value; `None` where its wire type is not that of the field, which makes it an unknown one.
fn raw<'a>(reader: &mut Reader<'a>, field: &FieldPlan, wire_type: u32) -> Result<Option<Raw<'a>>, WireError> {
    let is_own = wire_type == field.kind.wire_type();
    Ok(Some(match wire_type {
        wire::VARINT if is_own => Raw::Varint(reader.varint()?),
        wire::I64 if is_own => Raw::I64(reader.fixed64()?),
        wire::I32 if is_own => Raw::I32(reader.fixed32()?),
        wire::LEN if is_own => Raw::Bytes(reader.bytes()?),
        wire::SGROUP if is_own => Raw::Bytes(reader.group(field.number)?),
        wire::LEN if field.kind.is_packable() && matches!(field.shape, Shape::Repeated { .. }) => {
            Raw::Packed(reader.bytes()?)
        }
        _ => {
            reader.skip(field.number, wire_type)?;
            return Ok(None);
        }
    }))
}

/// Of each oneof, what came since another of its members.
fn keep_last_members(plan: &MessagePlan, found: &mut Vec<Found<'_>>) {
    #[derive(Clone, Copy)]
    enum Seen {
        Nothing,
        Only(usize),
        Ended(usize),
    }
    let mut seen = vec![Seen::Nothing; usize::from(plan.oneofs)];
    let mut kept = vec![true; found.len()];
    for (one, kept) in found.iter().zip(&mut kept).rev() {
        let Some(oneof) = plan.fields[one.index].oneof else { continue };
        let seen = &mut seen[usize::from(oneof)];
        *seen = match *seen {
            Seen::Nothing => Seen::Only(one.index),
            Seen::Only(member) if member == one.index => continue,
            Seen::Only(member) | Seen::Ended(member) => Seen::Ended(member),
        };
        *kept = matches!(seen, Seen::Only(_));
    }
    let mut kept = kept.into_iter();
    found.retain(|_| kept.next().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Traits, built_in};

    /// A view of `google.protobuf.Value`, all of whose fields are one oneof.
    #[track_caller]
    fn members(wire: &[&[u8]], expected: &[(u32, usize)]) {
        let schema = built_in();
        let id = schema.message_id("google.protobuf.Value").expect("it is built in");
        let view = View::of(&schema, id, wire).expect("a message");
        let fields = view.plan.fields.iter().enumerate();
        let found: Vec<_> = fields
            .map(|(index, field)| (field.number, view.occurrences(index).len()))
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(found, expected, "{wire:x?}");
        assert_eq!(schema.traits().implicit, Traits::default().implicit);
    }

    #[test]
    fn of_a_oneof_the_last_member_holds() {
        members(&[b""], &[]);
        members(&[b"\x08\x00"], &[(1, 1)]);
        members(&[b"\x08\x00\x20\x01"], &[(4, 1)]);
        members(&[b"\x20\x01", b"\x08\x00"], &[(1, 1)]);
        // What came before another member is gone; what came since merges.
        members(&[b"\x2a\x00\x20\x01\x2a\x00\x2a\x00"], &[(5, 2)]);
    }

    #[test]
    fn fields_of_another_wire_type_are_unknown() {
        members(&[b"\x0a\x01a"], &[]);
        members(&[b"\x1d\x00\x00\x00\x00"], &[]);
    }
}
