//! Objects read as messages: their members, in any order, each at most once.
//!
//! The field after the last one met is tried first, by comparing the text with its quoted key, colon included:
//! a client that writes fields in order, without spaces, costs one comparison a name.

use super::Decoder;
use super::error::{Failure, Result, shown};
use crate::codec::options::Unknown;
use crate::codec::wire::{begin_len, end_len, put_tag};
use crate::schema::plan::{FieldPlan, Kind, MessagePlan, Shape, WellKnown};

/// Which member a message's JSON has besides its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extra {
    None,
    /// `@type`, already read: the object is an `Any`.
    Type,
}

impl<'a> Decoder<'a> {
    /// Reads one value as a message and appends its content, without tag and length.
    pub(super) fn message(&mut self, plan: &'a MessagePlan) -> Result<()> {
        match plan.well_known {
            WellKnown::No | WellKnown::MapEntry => {
                self.scan.open(b'{', "expected an object")?;
                self.members(plan, Extra::None)
            }
            WellKnown::Any => self.any(),
            WellKnown::Struct => self.structure(),
            WellKnown::Value => self.json_value(),
            WellKnown::ListValue => self.list(),
            WellKnown::Timestamp => self.timestamp(),
            WellKnown::Duration => self.duration(),
            WellKnown::FieldMask => self.field_mask(),
            WellKnown::Wrapper => self.wrapper(plan),
        }
    }

    /// Reads the members of an object whose `{` is read, and its `}`.
    pub(super) fn members(&mut self, plan: &'a MessagePlan, extra: Extra) -> Result<()> {
        if self.scan.closes_at_once(b'}') {
            return Ok(());
        }
        // One place more than there are fields, for `@type`.
        let mut met = Met { fields: Bits::new(plan.fields.len() + 1), oneofs: Bits::new(plan.oneofs.into()) };
        let mut next = 0;
        loop {
            if let Some(index) = self.name(plan, next, extra, &mut met)? {
                let field = &plan.fields[index];
                next = index + 1;
                self.member(field, index, &mut met).map_err(|failure| failure.in_field(field))?;
            }
            if !self.scan.another(b'}')? {
                return Ok(());
            }
        }
    }

    /// Reads a name and its colon; the index of its field, or `None` when its value was skipped.
    #[inline]
    fn name(
        &mut self,
        plan: &'a MessagePlan,
        next: usize,
        extra: Extra,
        met: &mut Met,
    ) -> Result<Option<usize>> {
        self.scan.peek();
        if let Some(field) = plan.fields.get(next)
            && self.scan.rest().starts_with(field.json_key.quoted())
        {
            self.scan.at += field.json_key.quoted().len();
            return Ok(Some(next));
        }
        let name = self.scan.string("expected a name in quotes")?;
        self.scan.colon()?;
        match plan.by_name(&name) {
            Some(index) => Ok(Some(index)),
            None if extra == Extra::Type && *name == *b"@type" => {
                if !met.fields.insert(plan.fields.len()) {
                    return Err(Failure::value("the field occurs twice").in_name("@type"));
                }
                self.scan.skip().map(|()| None)
            }
            None => self.unknown(&name, &plan.full_name).map(|()| None),
        }
    }

    /// Skips the value of a member that the type does not know, or refuses it.
    #[cold]
    pub(super) fn unknown(&mut self, name: &[u8], full_name: &str) -> Result<()> {
        match self.options.unknown {
            Unknown::Ignore => self.scan.skip().map_err(|failure| failure.in_name(&shown(name))),
            Unknown::Reject => {
                Err(Failure::value(format!("`{full_name}` has no such field")).in_name(&shown(name)))
            }
        }
    }

    fn member(&mut self, field: &'a FieldPlan, index: usize, met: &mut Met) -> Result<()> {
        if !met.fields.insert(index) {
            return Err(Failure::value("the field occurs twice"));
        }
        let is_set = self.field(field)?;
        if let Some(oneof) = field.oneof
            && is_set
            && !met.oneofs.insert(oneof.into())
        {
            return Err(Failure::value("another field of the same oneof is set too"));
        }
        Ok(())
    }

    /// Reads the value of a field and appends it with its tag; whether there was one.
    #[inline]
    pub(super) fn field(&mut self, field: &'a FieldPlan) -> Result<bool> {
        if self.scan.peek() == b'n' && !self.has_null(field) {
            return self.scan.null().map(|()| false);
        }
        match field.shape {
            Shape::Implicit => self.value(field.kind, field.tag, OnDefault::Omit),
            Shape::Explicit | Shape::Required => self.value(field.kind, field.tag, OnDefault::Write),
            Shape::Repeated { packed } => self.repeated(field, packed).map(|()| true),
            Shape::Map => self.map(field).map(|()| true),
        }
    }

    /// Whether `null` is a value of this (singular) field, and not its absence.
    #[cold]
    fn has_null(&self, field: &FieldPlan) -> bool {
        match field.kind {
            _ if field.is_repeated() => false,
            Kind::Message(id) | Kind::Group(id) => self.schema.message(id).well_known == WellKnown::Value,
            Kind::Enum(id) => self.schema.enumeration(id).is_null_value,
            _ => false,
        }
    }

    fn repeated(&mut self, field: &'a FieldPlan, packed: bool) -> Result<()> {
        self.scan.open(b'[', "expected a list")?;
        if self.scan.closes_at_once(b']') {
            return Ok(());
        }
        let before = self.out.len();
        let start = packed.then(|| {
            put_tag(self.out, field.tag);
            begin_len(self.out)
        });
        let mut index = 0;
        loop {
            let element = if packed {
                self.packed(field.kind)
            } else {
                self.value(field.kind, field.tag, OnDefault::Write)
            };
            element.map_err(|failure| failure.in_element(index))?;
            index += 1;
            if !self.scan.another(b']')? {
                break;
            }
        }
        match start {
            // Every element was an unknown enum name that is ignored.
            Some(start) if start == self.out.len() => self.out.truncate(before),
            Some(start) => end_len(self.out, start),
            None => {}
        }
        Ok(())
    }
}

/// What happens to a value that is its type's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnDefault {
    Omit,
    Write,
}

/// What an object's members have named so far.
struct Met {
    fields: Bits,
    oneofs: Bits,
}

/// A set of small numbers; one word while they stay below 64.
struct Bits {
    low: u64,
    high: Vec<u64>,
}

impl Bits {
    /// For numbers below `len`.
    #[inline]
    fn new(len: usize) -> Self {
        let high = if len <= 64 { Vec::new() } else { vec![0; (len - 1) / 64] };
        Self { low: 0, high }
    }

    /// Whether `index` is new.
    #[inline]
    fn insert(&mut self, index: usize) -> bool {
        let word = if index < 64 { &mut self.low } else { &mut self.high[index / 64 - 1] };
        let bit = 1 << (index % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_new_once() {
        for len in [1, 64, 65, 128, 129, 1000] {
            let mut bits = Bits::new(len);
            assert!((0..len).all(|index| bits.insert(index)), "{len}");
            assert!(!(0..len).any(|index| bits.insert(index)), "{len}");
        }
    }
}
