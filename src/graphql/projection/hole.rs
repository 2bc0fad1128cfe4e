//! Holes: where a response waits for what a link leads to.
//!
//! ```text
//! reply ──▶ {"title":…,"writers":▢}   ▢ = where, path, keys ──calls──▶ objects ──▶ ▢'s own bytes, with holes again
//! ```
//!
//! What fills a hole is written behind everything before it, and put into its place when all is there: so that an
//! output is written once, errors know their paths, and a value that is taken back takes its holes with it.

use std::ops::Range;

use super::error::{Fault, Location, Step};
use super::scan::{Place, Run};
use super::write::{At, Projector, Result, steps};
use super::{Entry, Form};
use crate::codec::wire::{Reader, WireError, put_varint};
use crate::graphql::read_mask::ReadMask;
use crate::schema::plan::wire::{I32, I64, LEN};
use crate::schema::plan::{FieldPlan, Kind, Shape};
use crate::status::Status;

/// A field that a link makes, as it is selected.
#[derive(Debug)]
pub struct Linked {
    /// The place in [`Model::links`](crate::graphql::model::Model::links).
    pub link: usize,
    /// The index of the key's field in the message's plan.
    pub(super) index: usize,
    /// Where the scan notes that field's place.
    pub(super) slot: usize,
    pub(super) is_list: bool,
    /// Whether zero is no key: absence cannot be told from it.
    is_implicit: bool,
    kind: Kind,
    /// How an object is written.
    form: Form,
    /// What is read of it, where its method wants to know.
    pub mask: Option<ReadMask>,
}

/// A key as it stands on the wire, without what precedes it: a string's bytes, an integer's canonical ones.
pub type Key = Box<[u8]>;

/// Where the response waits.
#[derive(Debug)]
pub struct Hole<'p> {
    /// Where its value belongs.
    at: usize,
    path: Box<[Step]>,
    location: Location,
    linked: &'p Linked,
    /// One, but for a list; `None` of what is no key.
    keys: Box<[Option<Key>]>,
    /// Where its value is.
    content: Option<Range<usize>>,
}

/// What a key leads to.
#[derive(Clone, Copy, Debug)]
pub enum Found<'f> {
    /// The bytes of the object.
    Object(&'f [u8]),
    Missing,
    Failed(&'f Status),
}

impl Linked {
    /// The link at this place, whose key is the `field` at `index` of the message's plan.
    pub fn new(link: usize, index: usize, field: &FieldPlan, form: Form, mask: Option<ReadMask>) -> Self {
        Self {
            link,
            index,
            slot: 0,
            is_list: matches!(field.shape, Shape::Repeated { .. }),
            is_implicit: field.shape == Shape::Implicit,
            kind: field.kind,
            form,
            mask,
        }
    }

    /// Its keys in a message, none where there is no link; no more than `max`.
    fn keys(
        &self,
        place: Place,
        wire: &[u8],
        runs: &[Run],
        max: usize,
    ) -> std::result::Result<Vec<Option<Key>>, Fault> {
        if place.is_absent() {
            return Ok(Vec::new());
        }
        let from = |start: usize, end: usize| Reader::new(wire.get(start..end).unwrap_or_default());
        if !self.is_list {
            let key = self.key(&mut from(place.value, wire.len()))?;
            let is_zero = self.is_implicit && key.iter().all(|byte| *byte == 0);
            return Ok(if is_zero || key.is_empty() { Vec::new() } else { vec![Some(key)] });
        }
        let whole = [Run::whole(&place)];
        let runs = if place.is_scattered { Run::of(runs, self.slot) } else { &whole };
        let mut keys = Vec::new();
        for run in runs {
            let mut reader = from(run.start, run.end);
            while !reader.is_empty() && keys.len() <= max {
                let (_, wire_type) = reader.tag()?;
                if wire_type == self.kind.wire_type() {
                    keys.push(self.key(&mut reader)?);
                    continue;
                }
                let mut packed = Reader::new(reader.bytes()?);
                while !packed.is_empty() && keys.len() <= max {
                    keys.push(self.key(&mut packed)?);
                }
            }
        }
        Ok(keys.into_iter().map(|key| (!key.is_empty()).then_some(key)).collect())
    }

    fn key(&self, reader: &mut Reader<'_>) -> std::result::Result<Key, Fault> {
        let key = key_of(self.kind.wire_type(), reader)?;
        if self.kind == Kind::String && std::str::from_utf8(&key).is_err() {
            return Err(Fault::Utf8);
        }
        Ok(key)
    }
}

/// Reads a key whose tag has been read.
///
/// # Errors
///
/// The message is not well-formed, or its field is neither a string nor an integer.
pub fn key_of(wire_type: u32, reader: &mut Reader<'_>) -> std::result::Result<Key, WireError> {
    Ok(match wire_type {
        LEN => reader.bytes()?.into(),
        I32 => reader.fixed32()?.to_le_bytes().into(),
        I64 => reader.fixed64()?.to_le_bytes().into(),
        _ => {
            let mut key = Vec::new();
            put_varint(&mut key, reader.varint()?);
            key.into()
        }
    })
}

impl Hole<'_> {
    /// The link's place in [`Model::links`](crate::graphql::model::Model::links).
    pub fn linked(&self) -> &Linked {
        self.linked
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().flatten()
    }
}

impl<'p> Projector<'p> {
    /// The holes that nobody has filled, in the order of the response.
    pub fn open(&self) -> &[Hole<'p>] {
        self.holes.get(self.filled..).unwrap_or_default()
    }

    /// Fills every hole that is open by what `find` finds of its keys. What is written may have holes, which are open
    /// then. Everything else of the response must have been written.
    pub fn fill<'f>(&mut self, find: impl Fn(&Linked, &Key) -> Found<'f>) {
        let end = self.holes.len();
        self.whole.get_or_insert(self.out.len());
        for index in self.filled..end {
            let Some(hole) = self.holes.get_mut(index) else { continue };
            let (linked, keys) = (hole.linked, std::mem::take(&mut hole.keys));
            self.prefix = std::mem::take(&mut hole.path);
            self.location = hole.location;
            let start = self.out.len();
            if linked.is_list {
                self.out.push(b'[');
                for (place, key) in keys.iter().enumerate() {
                    self.path.clear();
                    self.path.push(At::Index(place));
                    let found = key.as_ref().map_or(Found::Missing, |key| find(linked, key));
                    self.put_found(linked, found);
                    self.out.push(b',');
                }
                self.end_list();
            } else {
                self.path.clear();
                let found = keys.iter().flatten().next().map_or(Found::Missing, |key| find(linked, key));
                self.put_found(linked, found);
            }
            let content = start..self.out.len();
            if let Some(hole) = self.holes.get_mut(index) {
                hole.content = Some(content);
            }
        }
        self.filled = end;
    }

    fn put_found(&mut self, linked: &'p Linked, found: Found<'_>) {
        match found {
            Found::Missing => self.out.extend_from_slice(b"null"),
            Found::Failed(status) => {
                self.out.extend_from_slice(b"null");
                self.tell(status.clone());
            }
            Found::Object(wire) => self.put_or_null(&linked.form, wire),
        }
    }

    /// Leaves a hole for what the keys of a message lead to; writes what is known where there are none.
    pub(super) fn hole(
        &mut self,
        entry: &'p Entry,
        linked: &'p Linked,
        place: Place,
        wire: &[u8],
        runs: &[Run],
    ) -> Result<()> {
        self.path.push(At::Entry(entry));
        let left = self.keys_max.saturating_sub(self.keys);
        let keys = match linked.keys(place, wire, runs, left) {
            Ok(keys) if keys.len() > left => Err(Fault::Keys(self.keys_max)),
            found => found,
        };
        let keys = match keys {
            Ok(keys) => keys,
            Err(Fault::Wire(error)) => return Err(error.into()),
            Err(fault) => {
                // A linked field may be null: nothing else is.
                self.tell(fault.status());
                self.out.extend_from_slice(b"null");
                self.path.pop();
                return Ok(());
            }
        };
        if keys.is_empty() {
            self.out.extend_from_slice(if linked.is_list { b"[]" } else { b"null" });
        } else {
            self.check_length()?;
            self.keys += keys.len();
            self.holes.push(Hole {
                at: self.out.len(),
                path: steps(&self.prefix, &self.path),
                location: entry.location,
                linked,
                keys: keys.into(),
                content: None,
            });
        }
        self.path.pop();
        Ok(())
    }

    /// The response with every value in its place; null is where a hole was not filled.
    pub(super) fn joined(&self) -> Vec<u8> {
        let mut whole = Vec::with_capacity(self.out.len());
        self.copy(0..self.whole.unwrap_or(self.out.len()), &mut whole);
        whole
    }

    fn copy(&self, range: Range<usize>, whole: &mut Vec<u8>) {
        // Holes are in the order of their places: each is noted when the output reaches it.
        let first = self.holes.partition_point(|hole| hole.at < range.start);
        let within = self.holes.get(first..).unwrap_or_default().iter();
        let mut start = range.start;
        for hole in within.take_while(|hole| hole.at < range.end) {
            whole.extend_from_slice(self.out.get(start..hole.at).unwrap_or_default());
            match &hole.content {
                Some(content) => self.copy(content.clone(), whole),
                None => whole.extend_from_slice(b"null"),
            }
            start = hole.at;
        }
        whole.extend_from_slice(self.out.get(start..range.end).unwrap_or_default());
    }
}
