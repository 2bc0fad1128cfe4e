//! Map fields as JSON objects.
//!
//! An entry is a message of a key (1) and a value (2), either of which may be absent, and of two entries
//! with one key the last wins (protobuf.dev, "Maps"). Members stay in wire order. Entries are written
//! as they come; what a later one overrides is cut out at the end.

use std::collections::HashMap;
use std::mem;
use std::ops::Range;

use smallvec::SmallVec;

use super::list::Occurrences;
use super::message::Form;
use super::value::low;
use super::{Encoder, Result, Written, number, text};
use crate::codec::wire::{Reader, WireError, unzigzag32, unzigzag64};
use crate::schema::plan::{FieldPlan, Kind};

/// How many keys are compared one by one before they go into a table.
const KEYS_COMPARED_MAX: usize = 16;

/// A map key, by which entries are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key<'w> {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Text(&'w [u8]),
}

/// The keys of a map and where in the output their entries stand.
#[derive(Default)]
struct Places<'w> {
    few: SmallVec<[(Key<'w>, Range<usize>); KEYS_COMPARED_MAX]>,
    many: Option<HashMap<Key<'w>, Range<usize>>>,
}

impl Encoder<'_> {
    /// Writes a map's object.
    pub(super) fn entries(&mut self, occurrences: &mut Occurrences<'_, '_>) -> Result<Written> {
        let entry = occurrences.field.kind.message().map(|id| self.schema.message(id));
        let Some([key, value]) = entry.map(|plan| &*plan.fields) else { return Ok(Written::Nothing) };
        self.out.push(b'{');
        let first = self.out.len();
        let mut places = Places::default();
        let mut overridden = Vec::new();
        while let Some((_, reader)) = occurrences.advance()? {
            let start = self.out.len();
            match self.entry(key, value, reader.bytes()?)? {
                Some(key) => {
                    self.out.push(b',');
                    overridden.extend(places.replace(key, start..self.out.len()));
                }
                None => self.out.truncate(start),
            }
        }
        self.cut(overridden);
        let empty = self.out.len() == first;
        self.end(b'}');
        Ok(if empty { Written::Default } else { Written::Value })
    }

    /// Writes one entry as a member; `None` when its value is not one the field can hold.
    fn entry<'w>(
        &mut self,
        key_field: &FieldPlan,
        value_field: &FieldPlan,
        wire: &'w [u8],
    ) -> Result<Option<Key<'w>>> {
        // Nearly every entry is its key and its value, in that order.
        let mut reader = Reader::new(wire);
        if reader.take_tag(key_field.tag) {
            let key = Key::read(key_field.kind, &mut reader)?;
            if reader.take_tag(value_field.tag) {
                let mut rest = reader;
                rest.skip(value_field.number, value_field.tag & 7)?;
                if rest.is_empty() {
                    key.write(&mut self.out)?;
                    let written = self.value(value_field.kind, value_field.number, &mut reader)?;
                    return Ok((written != Written::Nothing).then_some(key));
                }
            }
        }
        self.untidy_entry(key_field, value_field, wire)
    }

    /// Writes an entry with parts missing, repeated, swapped or unknown.
    fn untidy_entry<'w>(
        &mut self,
        key_field: &FieldPlan,
        value_field: &FieldPlan,
        wire: &'w [u8],
    ) -> Result<Option<Key<'w>>> {
        let (mut key, mut value) = (None, None);
        let mut values = 0;
        let mut reader = Reader::new(wire);
        while !reader.is_empty() {
            let (number, wire_type) = reader.tag()?;
            if number == key_field.number && wire_type == key_field.kind.wire_type() {
                if let Some(mut replaced) = key.replace(reader) {
                    self.pass(key_field, Form::Single, &mut replaced)?;
                }
            } else if number == value_field.number && wire_type == value_field.kind.wire_type() {
                values += 1;
                if let Some(mut replaced) = value.replace(reader) {
                    self.pass(value_field, Form::Single, &mut replaced)?;
                }
            }
            reader.skip(number, wire_type)?;
        }
        let key = match key {
            Some(mut reader) => Key::read(key_field.kind, &mut reader)?,
            None => Key::read(key_field.kind, &mut Reader::new(&[0; 8]))?,
        };
        key.write(&mut self.out)?;
        let written = match value {
            Some(mut reader) if values == 1 || value_field.kind.message().is_none() => {
                self.value(value_field.kind, value_field.number, &mut reader)?
            }
            Some(_) => self.merged(&mut Occurrences::anywhere(value_field, wire))?,
            None => self.default_value(value_field.kind)?,
        };
        Ok((written != Written::Nothing).then_some(key))
    }

    /// Removes these parts of the output.
    fn cut(&mut self, mut parts: Vec<Range<usize>>) {
        parts.sort_unstable_by_key(|part| part.start);
        let Some(first) = parts.first() else { return };
        let mut end = first.start;
        for (index, part) in parts.iter().enumerate() {
            let kept = part.end..parts.get(index + 1).map_or(self.out.len(), |next| next.start);
            let kept_len = kept.len();
            self.out.copy_within(kept, end);
            end += kept_len;
        }
        self.out.truncate(end);
    }
}

impl<'w> Key<'w> {
    /// The key of a map's entry; an absent one is the default of its kind.
    ///
    /// # Errors
    ///
    /// What is wrong with the entry.
    pub fn of_entry(kind: Kind, entry: &'w [u8]) -> std::result::Result<Self, WireError> {
        let mut key = Reader::new(&[0; 8]);
        let mut reader = Reader::new(entry);
        while !reader.is_empty() {
            let (number, wire_type) = reader.tag()?;
            if number == 1 && wire_type == kind.wire_type() {
                key = reader;
            }
            reader.skip(number, wire_type)?;
        }
        Self::read(kind, &mut key)
    }

    fn read(kind: Kind, reader: &mut Reader<'w>) -> std::result::Result<Self, WireError> {
        Ok(match kind {
            Kind::Bool => Self::Bool(reader.varint()? != 0),
            Kind::Int32 => Self::Signed(low(reader.varint()?).cast_signed().into()),
            Kind::Int64 => Self::Signed(reader.varint()?.cast_signed()),
            Kind::Sint32 => Self::Signed(unzigzag32(low(reader.varint()?)).into()),
            Kind::Sint64 => Self::Signed(unzigzag64(reader.varint()?)),
            Kind::Sfixed32 => Self::Signed(reader.fixed32()?.cast_signed().into()),
            Kind::Sfixed64 => Self::Signed(reader.fixed64()?.cast_signed()),
            Kind::Uint32 => Self::Unsigned(low(reader.varint()?).into()),
            Kind::Uint64 => Self::Unsigned(reader.varint()?),
            Kind::Fixed32 => Self::Unsigned(reader.fixed32()?.into()),
            Kind::Fixed64 => Self::Unsigned(reader.fixed64()?),
            // No other kind can be a key; those of a length read as text.
            _ => Self::Text(reader.bytes()?),
        })
    }

    /// Writes the key as a JSON string, whatever its kind, and the colon.
    fn write(self, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Bool(value) => out.extend_from_slice(if value { b"\"true\"" } else { b"\"false\"" }),
            Self::Signed(value) => number::quoted_integer(out, value),
            Self::Unsigned(value) => number::quoted_integer(out, value),
            Self::Text(value) => text::string(out, value)?,
        }
        out.push(b':');
        Ok(())
    }
}

impl<'w> Places<'w> {
    /// Notes where the entry of `key` stands; the result is where an earlier one does.
    fn replace(&mut self, key: Key<'w>, place: Range<usize>) -> Option<Range<usize>> {
        let few = &mut self.few;
        let many = match &mut self.many {
            Some(many) => many,
            None => {
                if let Some((_, earlier)) = few.iter_mut().find(|(candidate, _)| *candidate == key) {
                    return Some(mem::replace(earlier, place));
                }
                if few.len() < KEYS_COMPARED_MAX {
                    few.push((key, place));
                    return None;
                }
                self.many.insert(few.drain(..).collect())
            }
        };
        many.insert(key, place)
    }
}
