//! The calls that fill the holes of a response, a level at a time.
//!
//! ```text
//! open holes ─ wanted ─▶ calls ─ (others make them) ─ take ─▶ objects by key ─ find ─▶ Projector::fill ─▶ open holes …
//! ```
//!
//! The keys of one level are collected over all parents, each once, and asked for in as few calls as the link's batch
//! allows; without a batch there is one call for each. What one level has asked for no later one asks for again. The
//! calls of an operation are counted: a cycle of links ends with the document, and its width with the bound.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::model::{Fetch, Items, Model};
use super::projection::{Found, Hole, LinkKey, Linked, key_of};
use super::read_mask::ReadMask;
use crate::codec::wire::{Reader, WireError, put_len_prefixed, put_tag, tag};
use crate::schema::plan::wire::{LEN, SGROUP};
use crate::status::{Code, Status};

/// The objects of one operation that links lead to.
#[derive(Debug)]
pub struct Follower<'m> {
    model: &'m Model,
    /// Calls that may still be made.
    calls_left: usize,
    calls_max: usize,
    objects: HashMap<Source, HashMap<LinkKey, Object>>,
    /// What is read of objects at this level, written as the end of a request.
    masks: HashMap<Fetch, Bytes>,
    /// Halves of batches of which one object was not there.
    halves: Vec<(Source, Vec<LinkKey>)>,
}

/// Where objects are from, and what has been read of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Source {
    fetch: Fetch,
    mask: Bytes,
}

/// What has become of a key.
#[derive(Clone, Debug)]
enum Object {
    Here(Bytes),
    Missing,
    Failed(Status),
}

/// A call that is to be made.
#[derive(Debug)]
pub struct Wanted {
    /// The place in [`Model::methods`].
    pub method: usize,
    pub request: Bytes,
    source: Source,
    keys: Vec<LinkKey>,
}

impl<'m> Follower<'m> {
    /// Follows the links of `model`; `calls_left` of `calls_max` calls have not been made.
    pub fn new(model: &'m Model, calls_left: usize, calls_max: usize) -> Self {
        let (objects, masks, halves) = Default::default();
        Self { model, calls_left, calls_max, objects, masks, halves }
    }

    /// The calls without which the holes cannot be filled; none when they can.
    pub fn wanted(&mut self, holes: &[Hole<'_>]) -> Vec<Wanted> {
        let asked = match self.halves.as_slice() {
            [] => {
                self.masks = self.masks_of(holes);
                self.asked(holes)
            }
            _ => std::mem::take(&mut self.halves),
        };
        let mut wanted = Vec::new();
        for (source, keys) in asked {
            let fetch = source.fetch;
            for keys in keys.chunks(fetch.items.map_or(1, |items| items.keys_max.max(1))) {
                if self.calls_left == 0 {
                    self.refuse(&source, keys);
                    continue;
                }
                self.calls_left -= 1;
                let request = request(&source, keys);
                let (method, source) = (fetch.method, source.clone());
                wanted.push(Wanted { method, request, source, keys: keys.into() });
            }
        }
        wanted
    }

    /// What the holes want to know of objects, by where those are from.
    fn masks_of(&self, holes: &[Hole<'_>]) -> HashMap<Fetch, Bytes> {
        let mut masks: HashMap<Fetch, Option<ReadMask>> = HashMap::new();
        for hole in holes {
            let linked = hole.linked();
            let Some(link) = self.model.links().get(linked.link) else { continue };
            match masks.entry(link.fetch) {
                Entry::Vacant(entry) => drop(entry.insert(linked.mask.clone())),
                Entry::Occupied(mut entry) => match (entry.get_mut(), &linked.mask) {
                    (Some(mask), Some(other)) => mask.join(other),
                    (mask, _) => *mask = None,
                },
            }
        }
        let written = |mask: Option<ReadMask>| {
            let mut out = Vec::new();
            if let Some(mask) = mask {
                mask.write(&mut out);
            }
            out.into()
        };
        masks.into_iter().map(|(fetch, mask)| (fetch, written(mask))).collect()
    }

    fn source(&self, linked: &Linked) -> Option<Source> {
        let fetch = self.model.links().get(linked.link)?.fetch;
        Some(Source { fetch, mask: self.masks.get(&fetch).cloned().unwrap_or_default() })
    }

    /// The keys of which nothing is known, in the order of the response.
    fn asked(&self, holes: &[Hole<'_>]) -> Vec<(Source, Vec<LinkKey>)> {
        let mut asked: Vec<(Source, Vec<LinkKey>)> = Vec::new();
        let mut seen: HashSet<(Fetch, &LinkKey)> = HashSet::new();
        for hole in holes {
            let Some(source) = self.source(hole.linked()) else { continue };
            let known = self.objects.get(&source);
            for key in hole.keys() {
                if known.is_some_and(|known| known.contains_key(key)) || !seen.insert((source.fetch, key)) {
                    continue;
                }
                match asked.iter_mut().find(|(other, _)| *other == source) {
                    Some((_, keys)) => keys.push(key.clone()),
                    None => asked.push((source.clone(), vec![key.clone()])),
                }
            }
        }
        asked
    }

    /// Keeps what a call has told.
    pub fn take(&mut self, wanted: Wanted, outcome: Result<Bytes, Status>) {
        let Wanted { source, mut keys, .. } = wanted;
        let fetch = source.fetch;
        match (outcome, fetch.items) {
            (Ok(message), None) => self.keep(source, keys, |_| Object::Here(message.clone())),
            (Ok(message), Some(items)) => match objects(&message, items, fetch.wire_type) {
                Ok(mut found) => {
                    self.keep(source, keys, |key| found.remove(key).map_or(Object::Missing, Object::Here));
                }
                Err(error) => {
                    let message = format!("the backend's reply cannot be read: {error}");
                    let status = Status::backend(Code::Internal, message);
                    self.keep(source, keys, |_| Object::Failed(status.clone()));
                }
            },
            (Err(status), _) if status.code == Code::NotFound && keys.len() > 1 => {
                // AIP-231: a batch fails as a whole where one of its objects is not there. The others may be.
                let second = keys.split_off(keys.len() / 2);
                self.halves.extend([(source.clone(), keys), (source, second)]);
            }
            (Err(status), _) if status.code == Code::NotFound => {
                self.keep(source, keys, |_| Object::Missing);
            }
            (Err(status), _) => self.keep(source, keys, |_| Object::Failed(status.clone())),
        }
    }

    /// What a key leads to.
    pub fn find(&self, linked: &Linked, key: &LinkKey) -> Found<'_> {
        let objects = self.source(linked).and_then(|source| self.objects.get(&source));
        match objects.and_then(|objects| objects.get(key)) {
            Some(Object::Here(bytes)) => Found::Object(bytes),
            Some(Object::Failed(status)) => Found::Failed(status),
            Some(Object::Missing) | None => Found::Missing,
        }
    }

    fn refuse(&mut self, source: &Source, keys: &[LinkKey]) {
        let message = format!("the operation needs more than {} calls", self.calls_max);
        let status = Status::client(Code::ResourceExhausted, message).with_reason("CALL_LIMIT");
        self.keep(source.clone(), keys.to_vec(), |_| Object::Failed(status.clone()));
    }

    fn keep(&mut self, source: Source, keys: Vec<LinkKey>, mut object: impl FnMut(&LinkKey) -> Object) {
        let objects = self.objects.entry(source).or_default();
        for key in keys {
            let object = object(&key);
            objects.insert(key, object);
        }
    }
}

/// A request that has these keys. Numbers stand one by one even where the field is packed: parsers take both
/// (protobuf.dev, "Packed Repeated Fields").
fn request(source: &Source, keys: &[LinkKey]) -> Bytes {
    let fetch = source.fetch;
    let mut out = Vec::new();
    let tag = tag(fetch.argument, fetch.wire_type);
    for key in keys {
        if fetch.wire_type == LEN {
            put_len_prefixed(&mut out, tag, key);
        } else {
            put_tag(&mut out, tag);
            out.extend_from_slice(key);
        }
    }
    out.extend_from_slice(&source.mask);
    out.into()
}

/// The objects of a batch's reply by their keys. One whose key is absent has its type's zero.
fn objects(reply: &Bytes, items: Items, wire_type: u32) -> Result<HashMap<LinkKey, Bytes>, WireError> {
    let mut objects = HashMap::new();
    let mut reader = Reader::new(reply);
    while !reader.is_empty() {
        let (number, found) = reader.tag()?;
        if number != items.number || !matches!(found, LEN | SGROUP) {
            reader.skip(number, found)?;
            continue;
        }
        let object = if found == SGROUP { reader.group(number)? } else { reader.bytes()? };
        let object = reply.slice_ref(object);
        objects.insert(key_within(&object, items.key, wire_type)?, object);
    }
    Ok(objects)
}

fn key_within(object: &[u8], number: u32, wire_type: u32) -> Result<LinkKey, WireError> {
    let mut reader = Reader::new(object);
    let mut last = None;
    while !reader.is_empty() {
        let (found, found_type) = reader.tag()?;
        if (found, found_type) == (number, wire_type) {
            last = Some(reader);
        }
        reader.skip(found, found_type)?;
    }
    match last {
        Some(mut reader) => key_of(wire_type, &mut reader),
        None if wire_type == LEN => Ok(LinkKey::default()),
        // Reads as zero whatever is asked of it.
        None => key_of(wire_type, &mut Reader::new(&[0; 8])),
    }
}

#[cfg(test)]
mod tests;
