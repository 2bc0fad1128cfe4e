//! Where in a message its selected fields are: one pass, before anything is written.
//!
//! The common case is one [`Place`] a field: a singular field has one occurrence, a list its occurrences end to
//! end. Only a list with other fields between its elements needs a second pass, which notes every [`Run`] of it.
//! Of a oneof, what came last is its value, so that its other members have slots too, selected or not.

use crate::codec::wire::{Reader, WireError};
use crate::schema::plan::wire::LEN;
use crate::schema::plan::{FieldPlan, MessagePlan, Shape};

/// The fields whose places are noted.
#[derive(Debug)]
pub(super) struct Slots {
    /// Ascending by number.
    slots: Box<[Slot]>,
    /// By field number: the index of its slot, or [`NONE`]. Larger numbers are searched for.
    dense: Box<[u16]>,
    /// The slots of each oneof that has more than one of them.
    oneofs: Box<[Box<[usize]>]>,
}

#[derive(Debug)]
struct Slot {
    number: u32,
    wire_type: u32,
    /// Whether values may come many in one length-delimited record.
    is_packable: bool,
}

const NONE: u16 = u16::MAX;

/// Field numbers below this are looked up in a table, as far as it reaches.
const DENSE_MAX: usize = 256;

/// Where a field is, in bytes from the beginning of its message; all 0 where it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The tag of its first occurrence.
    pub(super) first: usize,
    /// The tag of its last occurrence.
    pub(super) last: usize,
    /// What follows that tag.
    pub(super) value: usize,
    /// The end of its last occurrence.
    pub(super) end: usize,
    /// Other fields stand between its occurrences.
    pub(super) is_scattered: bool,
}

/// Occurrences of one field with nothing between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    slot: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Place {
    pub(super) const fn is_absent(&self) -> bool {
        self.end == 0
    }
}

impl Slot {
    fn of(field: &FieldPlan) -> Self {
        Self {
            number: field.number,
            wire_type: field.kind.wire_type(),
            is_packable: matches!(field.shape, Shape::Repeated { .. }) && field.kind.is_packable(),
        }
    }
}

impl Slots {
    /// Slots for fields by their index in the plan; each is told which of them is its.
    pub(super) fn new<'f>(plan: &MessagePlan, fields: impl Iterator<Item = (usize, &'f mut usize)>) -> Self {
        let fields: Vec<_> = fields.collect();
        let is_noted = |index: usize, field: &FieldPlan| {
            let is_selected = |other: &FieldPlan, at: usize| {
                at == index || (field.oneof.is_some() && field.oneof == other.oneof)
            };
            fields.iter().any(|(at, _)| plan.fields.get(*at).is_some_and(|other| is_selected(other, *at)))
        };
        let noted: Vec<_> =
            plan.fields.iter().enumerate().filter(|(index, field)| is_noted(*index, field)).collect();
        let slots: Box<[Slot]> = noted.iter().map(|(_, field)| Slot::of(field)).collect();
        let reach = slots.last().map_or(0, |slot| slot.number as usize + 1).min(DENSE_MAX);
        let mut dense = vec![NONE; reach];
        for (slot, at) in slots.iter().zip(0..NONE) {
            if let Some(place) = dense.get_mut(slot.number as usize) {
                *place = at;
            }
        }
        let oneofs = (0..plan.oneofs).filter_map(|oneof| {
            let of = noted.iter().enumerate().filter(|(_, (_, field))| field.oneof == Some(oneof));
            let of: Box<[usize]> = of.map(|(slot, _)| slot).collect();
            (of.len() > 1).then_some(of)
        });
        let oneofs = oneofs.collect();
        for (index, slot) in fields {
            *slot = noted.binary_search_by_key(&index, |(noted, _)| *noted).unwrap_or_default();
        }
        Self { slots, dense: dense.into(), oneofs }
    }

    pub(super) const fn len(&self) -> usize {
        self.slots.len()
    }

    /// Notes in `places`, one for each slot and all absent, where the fields of a message are.
    ///
    /// # Errors
    ///
    /// What is wrong with the message, outside what is skipped by its length.
    pub(super) fn scan(&self, wire: &[u8], places: &mut [Place]) -> Result<(), WireError> {
        let mut reader = Reader::new(wire);
        while !reader.is_empty() {
            let start = wire.len() - reader.rest().len();
            let (number, wire_type) = reader.tag()?;
            let value = wire.len() - reader.rest().len();
            reader.skip(number, wire_type)?;
            if let Some(slot) = self.slot(number, wire_type)
                && let Some(place) = places.get_mut(slot)
            {
                let end = wire.len() - reader.rest().len();
                let (first, is_scattered) = match place.end {
                    0 => (start, false),
                    before => (place.first, place.is_scattered || before != start),
                };
                *place = Place { first, last: start, value, end, is_scattered };
            }
        }
        for oneof in &self.oneofs {
            keep_last_member(oneof, places);
        }
        Ok(())
    }

    /// The runs of every list that is scattered, in order of their slots and then as they came.
    pub(super) fn runs(&self, wire: &[u8], places: &[Place]) -> Result<Vec<Run>, WireError> {
        let mut runs: Vec<Run> = Vec::new();
        let mut reader = Reader::new(wire);
        while !reader.is_empty() {
            let start = wire.len() - reader.rest().len();
            let (number, wire_type) = reader.tag()?;
            reader.skip(number, wire_type)?;
            let end = wire.len() - reader.rest().len();
            let slot = self.slot(number, wire_type);
            let Some(slot) = slot.filter(|slot| places.get(*slot).is_some_and(|place| place.is_scattered))
            else {
                continue;
            };
            match runs.last_mut() {
                Some(run) if run.slot == slot && run.end == start => run.end = end,
                _ => runs.push(Run { slot, start, end }),
            }
        }
        runs.sort_unstable_by_key(|run| (run.slot, run.start));
        Ok(runs)
    }

    /// The slot of a field that comes with this wire type: with another it is an unknown one
    /// (protobuf.dev, "Wire types").
    #[inline]
    fn slot(&self, number: u32, wire_type: u32) -> Option<usize> {
        let at = match self.dense.get(number as usize) {
            Some(&NONE) => return None,
            Some(&at) => usize::from(at),
            None => self.slots.binary_search_by_key(&number, |slot| slot.number).ok()?,
        };
        let slot = self.slots.get(at)?;
        (slot.wire_type == wire_type || (slot.is_packable && wire_type == LEN)).then_some(at)
    }
}

impl Run {
    /// All that stands between the first occurrence of a field and the end of its last.
    pub(super) const fn whole(place: &Place) -> Self {
        Self { slot: 0, start: place.first, end: place.end }
    }

    /// Those of one slot.
    pub(super) fn of(runs: &[Self], slot: usize) -> &[Self] {
        let start = runs.partition_point(|run| run.slot < slot);
        let end = runs.partition_point(|run| run.slot <= slot);
        runs.get(start..end).unwrap_or_default()
    }
}

/// Of the members of a oneof, the one that came last holds, as far as it came after the others.
fn keep_last_member(oneof: &[usize], places: &mut [Place]) {
    let end_of = |places: &[Place], slot: usize| places.get(slot).map_or(0, |place| place.end);
    let Some(last) = oneof.iter().copied().max_by_key(|slot| end_of(places, *slot)) else { return };
    let mut cut = 0;
    for slot in oneof.iter().copied().filter(|slot| *slot != last) {
        if let Some(place) = places.get_mut(slot) {
            cut = cut.max(place.end);
            *place = Place::default();
        }
    }
    if let Some(place) = places.get_mut(last) {
        place.first = place.first.max(cut);
    }
}
