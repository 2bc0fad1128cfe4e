//! One message of annotations as its numbers, and which of them somebody has asked for: what is left is a rule that is
//! not known here. Occurrences of a message merge, for a compiler may write one for each option.

use std::collections::BTreeSet;

use super::annotations::{AnnotationError, Number, Read};
use crate::codec::wire::{Reader, WireError, unzigzag32, unzigzag64};
use crate::schema::plan::Kind;
use crate::schema::plan::wire::{EGROUP, I32, I64, LEN, SGROUP, VARINT};

/// The numbers of extensions begin here in every message of rules.
const EXTENSIONS_START: u32 = 1000;

/// The fields of one message of rules, and which of them have been asked for.
pub(super) struct Fields<'w> {
    message: &'static str,
    found: Vec<(u32, Raw<'w>)>,
    known: BTreeSet<u32>,
}

#[derive(Clone, Copy)]
enum Raw<'w> {
    Varint(u64),
    I64(u64),
    I32(u32),
    Bytes(&'w [u8]),
}

impl<'w> Fields<'w> {
    pub(super) fn of(message: &'static str, bytes: &'w [u8]) -> Read<Self> {
        let (mut found, mut reader) = (Vec::new(), Reader::new(bytes));
        while !reader.is_empty() {
            let (number, wire_type) = reader.tag()?;
            let raw = match wire_type {
                VARINT => Raw::Varint(reader.varint()?),
                I64 => Raw::I64(reader.fixed64()?),
                I32 => Raw::I32(reader.fixed32()?),
                LEN => Raw::Bytes(reader.bytes()?),
                SGROUP => Raw::Bytes(reader.group(number)?),
                EGROUP => return Err(WireError::EndGroup.into()),
                other => return Err(WireError::WireType(other).into()),
            };
            found.push((number, raw));
        }
        Ok(Self { message, found, known: BTreeSet::new() })
    }

    /// What is known and says nothing of what a value may be: examples.
    pub(super) fn pass(&mut self, number: u32) {
        self.known.insert(number);
    }

    fn each(&mut self, number: u32) -> impl DoubleEndedIterator<Item = Raw<'w>> + '_ {
        self.known.insert(number);
        self.found.iter().filter(move |(own, _)| *own == number).map(|(_, raw)| *raw)
    }

    pub(super) fn all(&mut self, number: u32) -> Vec<&'w [u8]> {
        let bytes = |raw| match raw {
            Raw::Bytes(bytes) => Some(bytes),
            _ => None,
        };
        self.each(number).filter_map(bytes).collect()
    }

    pub(super) fn number(&mut self, number: u32) -> Option<u64> {
        let varint = |raw| match raw {
            Raw::Varint(value) => Some(value),
            _ => None,
        };
        self.each(number).rev().find_map(varint)
    }

    pub(super) fn flag(&mut self, number: u32) -> bool {
        self.number(number).is_some_and(|value| value != 0)
    }

    pub(super) fn texts(&mut self, number: u32) -> Read<Vec<String>> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned);
        self.all(number).into_iter().map(text).collect::<Result<_, _>>().map_err(|_| AnnotationError::Text)
    }

    pub(super) fn text(&mut self, number: u32) -> Read<Option<String>> {
        Ok(self.texts(number)?.pop())
    }

    /// All occurrences, for concatenated serializations merge.
    pub(super) fn message(&mut self, number: u32) -> Option<Vec<u8>> {
        let all = self.all(number);
        (!all.is_empty()).then(|| all.concat())
    }

    /// The member that came last of those in a table.
    pub(super) fn last_of<T>(&mut self, table: &'static [(u32, T)]) -> Option<(u32, &'static T)> {
        self.known.extend(table.iter().map(|(number, _)| *number));
        let of = |number: u32| table.iter().find(|(own, _)| *own == number).map(|(own, kind)| (*own, kind));
        self.found.iter().rev().find_map(|(number, _)| of(*number))
    }

    /// Numbers of a kind, packed or not.
    pub(super) fn numbers(&mut self, number: u32, kind: Kind) -> Read<Vec<Number>> {
        let mut numbers = Vec::new();
        for raw in self.each(number).collect::<Vec<_>>() {
            let Raw::Bytes(packed) = raw else {
                numbers.extend(number_of(kind, raw));
                continue;
            };
            let mut reader = Reader::new(packed);
            while !reader.is_empty() {
                let raw = match kind.wire_type() {
                    VARINT => Raw::Varint(reader.varint()?),
                    I64 => Raw::I64(reader.fixed64()?),
                    _ => Raw::I32(reader.fixed32()?),
                };
                numbers.extend(number_of(kind, raw));
            }
        }
        Ok(numbers)
    }

    /// `Duration` and `Timestamp`: `seconds = 1`, `nanos = 2`.
    pub(super) fn spans(&mut self, number: u32) -> Read<Vec<Number>> {
        let mut spans = Vec::new();
        for bytes in self.all(number) {
            let mut fields = Fields::of("Duration", bytes)?;
            let mut part = |number| i128::from(fields.number(number).unwrap_or(0).cast_signed());
            spans.push(Number::Whole(part(1) * 1_000_000_000 + part(2)));
        }
        Ok(spans)
    }

    /// The rules that others defined.
    pub(super) fn extensions(&mut self) -> Vec<u32> {
        let numbers = self.found.iter().map(|(number, _)| *number);
        let numbers: BTreeSet<u32> = numbers.filter(|number| *number >= EXTENSIONS_START).collect();
        self.known.extend(&numbers);
        numbers.into_iter().collect()
    }

    pub(super) fn finish(self) -> Read<()> {
        let Self { message, found, known } = self;
        match found.iter().find(|(number, _)| !known.contains(number)) {
            Some((number, _)) => Err(AnnotationError::Unknown { message, number: *number }),
            None => Ok(()),
        }
    }
}

fn number_of(kind: Kind, raw: Raw<'_>) -> Option<Number> {
    Some(match (kind, raw) {
        (Kind::Double, Raw::I64(bits)) => Number::Double(f64::from_bits(bits)),
        (Kind::Float, Raw::I32(bits)) => Number::Double(f32::from_bits(bits).into()),
        (Kind::Sint32, Raw::Varint(value)) => Number::Whole(unzigzag32(value as u32).into()),
        (Kind::Sint64, Raw::Varint(value)) => Number::Whole(unzigzag64(value).into()),
        (Kind::Uint32 | Kind::Uint64, Raw::Varint(value)) => Number::Whole(value.into()),
        (_, Raw::Varint(value)) => Number::Whole(value.cast_signed().into()),
        (Kind::Fixed32, Raw::I32(value)) => Number::Whole(value.into()),
        (Kind::Sfixed32, Raw::I32(value)) => Number::Whole(value.cast_signed().into()),
        (Kind::Fixed64, Raw::I64(value)) => Number::Whole(value.into()),
        (Kind::Sfixed64, Raw::I64(value)) => Number::Whole(value.cast_signed().into()),
        _ => return None,
    })
}
