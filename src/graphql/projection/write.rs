//! The writing of a [`Projection`]: members in its order, values from their places.
//!
//! [`Projector::path`] says at any time which value is being written, so that an error knows its place; whoever makes
//! a null of an error puts path, places and output back to where the value began.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use super::error::{Errors, Fault, FieldError, KEYS_MAX, Location, Step};
use super::scalar::{self, Names};
use super::scan::{Place, Run};
use super::{Count, Entry, Field, Form, Hole, Projection, Renamed, What};
use crate::codec::options::JsonOptions;
use crate::codec::wire::{Reader, WireError};
use crate::codec::{self, MapKey, json};
use crate::schema::Schema;
use crate::schema::plan::wire::SGROUP;
use crate::schema::plan::{Kind, MessageId};
use crate::status::{Code, Status};

/// A root field: where its value stands in the response, and how it is written.
#[derive(Debug)]
pub struct Root {
    /// Its alias or name.
    pub key: Box<str>,
    pub location: Location,
    pub form: Arc<Form>,
}

/// Writes the replies of one operation.
#[derive(Debug)]
pub struct Projector<'p> {
    schema: &'p Schema,
    names: Names<'p>,
    options: JsonOptions,
    pub(super) out: Vec<u8>,
    errors: Errors,
    /// How long `out` may become before another value begins.
    bytes_max: usize,
    /// Where the hole is that is being filled, and where the document asks for it.
    pub(super) prefix: Box<[Step]>,
    pub(super) location: Location,
    /// From the root, or from the hole that is being filled.
    pub(super) path: Vec<At<'p>>,
    /// Those of the messages that are open, the innermost last.
    places: Vec<Place>,
    /// In the order of their places in `out`.
    pub(super) holes: Vec<Hole<'p>>,
    /// How many keys they have, those taken back among them.
    pub(super) keys: usize,
    pub(super) keys_max: usize,
    /// How many of them have been filled.
    pub(super) filled: usize,
    /// How long the response without its holes is, once the first is filled: what fills them comes after it.
    pub(super) whole: Option<usize>,
}

/// Where the writing is.
#[derive(Clone, Copy, Debug)]
pub(super) enum At<'p> {
    Root(&'p Root),
    Entry(&'p Entry),
    Index(usize),
}

/// Why a value is not written to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It is null, and an error has been told or is not wanted: a parent that may be null becomes so.
    Null,
    /// The reply cannot be read.
    Broken(WireError),
    TooLong,
}

pub(super) type Result<T> = std::result::Result<T, Stop>;

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
        Self::Broken(error)
    }
}

impl<'p> Projector<'p> {
    /// A projector of replies of `schema`'s types, whose JSON values are written by `options`; what it writes is no
    /// longer than about `bytes_max`.
    pub fn new(schema: &'p Schema, options: &JsonOptions, bytes_max: usize) -> Self {
        Self {
            schema,
            names: Names { schema, renamed: None },
            options: *options,
            out: Vec::new(),
            errors: Errors::default(),
            bytes_max,
            prefix: Box::default(),
            location: Location::default(),
            path: Vec::new(),
            places: Vec::new(),
            holes: Vec::new(),
            keys: 0,
            keys_max: KEYS_MAX,
            filled: 0,
            whole: None,
        }
    }

    /// Tells at most so many errors, and follows links of so many keys.
    #[must_use]
    pub fn bounded(mut self, errors_max: usize, keys_max: usize) -> Self {
        self.errors.max = errors_max;
        self.keys_max = keys_max;
        self
    }

    /// Has values of enums written under the names that they have in GraphQL.
    #[must_use]
    pub fn renaming(mut self, renamed: &'p Renamed) -> Self {
        self.names.renamed = Some(renamed).filter(|renamed| !renamed.is_empty());
        self
    }

    /// Where the response is written; others write between the values.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    pub fn errors(&mut self) -> &mut Errors {
        &mut self.errors
    }

    pub fn finish(self) -> (Vec<u8>, Errors) {
        let out = if self.holes.is_empty() { self.out } else { self.joined() };
        (out, self.errors)
    }

    /// Writes `separator` and the name of a root field, whose value comes next.
    pub fn begin(&mut self, root: &Root, separator: u8) {
        self.out.push(separator);
        self.out.push(b'"');
        self.out.extend_from_slice(root.key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// Writes the value of a root field from its reply: null, with an error, where that cannot be told.
    pub fn reply(&mut self, root: &'p Root, wire: &[u8]) {
        self.out.reserve(wire.len() + 16);
        self.path.clear();
        self.path.push(At::Root(root));
        self.put_or_null(&root.form, wire);
    }

    /// Writes a value from its message at the path that is set: null, with an error, where that cannot be told.
    pub(super) fn put_or_null(&mut self, form: &'p Form, wire: &[u8]) {
        let (start, holes, depth) = (self.out.len(), self.holes.len(), self.path.len());
        self.places.clear();
        if let Err(stop) = self.message(form, wire) {
            let status = match stop {
                Stop::Null => None,
                Stop::Broken(error) => {
                    let message = format!("the backend's reply cannot be read: {error}");
                    Some(Status::backend(Code::Internal, message))
                }
                Stop::TooLong => {
                    let message = "the response is too long";
                    Some(Status::gateway(Code::ResourceExhausted, message).with_reason("MESSAGE_TOO_LARGE"))
                }
            };
            self.out.truncate(start);
            self.holes.truncate(holes);
            self.out.extend_from_slice(b"null");
            if let Some(status) = status {
                self.path.truncate(depth);
                self.tell(status);
            }
        }
    }

    /// Writes the null of a root field whose call has failed.
    pub fn failure(&mut self, root: &'p Root, status: Status) {
        self.out.extend_from_slice(b"null");
        self.path.clear();
        self.path.push(At::Root(root));
        self.tell(status);
    }

    /// Writes a message in the form of its type.
    fn message(&mut self, form: &'p Form, wire: &[u8]) -> Result<()> {
        match form {
            Form::Object(projection) => self.object(projection, wire),
            Form::Json(id) => self.json(*id, wire),
            Form::Wrapper(kind) => self.wrapper(*kind, wire),
            Form::True => {
                self.out.extend_from_slice(b"true");
                Ok(())
            }
            Form::Hidden => {
                self.out.extend_from_slice(b"null");
                Ok(())
            }
            // Not the form of a message.
            Form::Scalar(_) => Err(self.fault(Fault::Missing)),
        }
    }

    /// Writes what is selected of a message.
    fn object(&mut self, projection: &'p Projection, wire: &[u8]) -> Result<()> {
        self.check_length()?;
        let base = self.places.len();
        self.places.resize(base + projection.slots.len(), Place::default());
        let places = self.places.get_mut(base..).unwrap_or_default();
        projection.slots.scan(wire, places)?;
        let start = self.out.len();
        // Noted when the first list needs them.
        let mut runs = None;
        for entry in &projection.entries {
            self.key(entry);
            match &entry.what {
                What::Constant(json) => self.out.extend_from_slice(json),
                What::Linked(linked) => {
                    let place = self.places.get(base + linked.slot).copied().unwrap_or_default();
                    if place.is_scattered && linked.is_list && runs.is_none() {
                        let places = self.places.get(base..).unwrap_or_default();
                        runs = Some(projection.slots.runs(wire, places)?);
                    }
                    self.hole(entry, linked, place, wire, runs.as_deref().unwrap_or_default())?;
                }
                What::Field(field) => {
                    let place = self.places.get(base + field.slot).copied().unwrap_or_default();
                    if place.is_scattered && field.count != Count::One && runs.is_none() {
                        let places = self.places.get(base..).unwrap_or_default();
                        runs = Some(projection.slots.runs(wire, places)?);
                    }
                    self.member(entry, field, place, wire, runs.as_deref().unwrap_or_default())?;
                }
            }
        }
        self.places.truncate(base);
        // The bracket takes the place of the first member's comma.
        match self.out.get_mut(start) {
            Some(comma) => *comma = b'{',
            None => self.out.push(b'{'),
        }
        self.out.push(b'}');
        Ok(())
    }

    #[inline]
    fn key(&mut self, entry: &Entry) {
        match entry.key.block() {
            Some((block, len)) => json::put_block(&mut self.out, block, len),
            None => self.out.extend_from_slice(entry.key.with_comma()),
        }
    }

    /// Writes the value of one member, null where it may be.
    #[inline]
    fn member(
        &mut self,
        entry: &'p Entry,
        field: &'p Field,
        place: Place,
        wire: &[u8],
        runs: &[Run],
    ) -> Result<()> {
        let (start, places, depth) = (self.out.len(), self.places.len(), self.path.len());
        let holes = self.holes.len();
        self.path.push(At::Entry(entry));
        let outcome = if place.is_absent() || field.is_hidden {
            self.absent(field)
        } else {
            self.present(field, &place, wire, runs)
        };
        match outcome {
            Ok(()) => {}
            Err(Stop::Null) if field.is_nullable => {
                self.out.truncate(start);
                self.places.truncate(places);
                self.holes.truncate(holes);
                self.out.extend_from_slice(b"null");
            }
            Err(stop) => return Err(stop),
        }
        self.path.truncate(depth);
        Ok(())
    }

    fn present(&mut self, field: &'p Field, place: &Place, wire: &[u8], runs: &[Run]) -> Result<()> {
        match field.count {
            Count::One => match &field.form {
                Form::Scalar(kind) => {
                    let mut reader = Reader::new(wire.get(place.value..).unwrap_or_default());
                    self.scalar(*kind, &mut reader)
                }
                form => {
                    let message = whole(field.number, place, wire)?;
                    self.message(form, &message)
                }
            },
            Count::List | Count::Entries(_) => {
                let one = [Run::whole(place)];
                let runs = if place.is_scattered { Run::of(runs, field.slot) } else { &one };
                match field.count {
                    Count::Entries(key) => self.entries(key, field, wire, runs),
                    _ => self.list(field, wire, runs),
                }
            }
            Count::Object(message) => self.map(message, field, wire),
        }
    }

    fn absent(&mut self, field: &'p Field) -> Result<()> {
        match (field.count, &field.form) {
            (Count::List | Count::Entries(_), _) => self.out.extend_from_slice(b"[]"),
            (Count::Object(_), _) => self.out.extend_from_slice(b"{}"),
            (Count::One, Form::Scalar(kind)) if field.has_default => {
                let written = scalar::put_default(self.names, *kind, &mut self.out);
                return written.map_err(|fault| self.fault(fault));
            }
            (Count::One, form) if field.has_default => return self.message(form, &[]),
            (Count::One, _) if field.is_nullable => self.out.extend_from_slice(b"null"),
            (Count::One, _) => return Err(self.fault(Fault::Missing)),
        }
        Ok(())
    }

    #[inline]
    fn scalar(&mut self, kind: Kind, reader: &mut Reader<'_>) -> Result<()> {
        let written = scalar::put(self.names, kind, reader, &mut self.out);
        written.map_err(|fault| self.fault(fault))
    }

    /// Writes a message whose type has a JSON form of its own.
    fn json(&mut self, id: MessageId, wire: &[u8]) -> Result<()> {
        let written = codec::wire_to_json(self.schema, id, &self.options, wire, &mut self.out);
        written.map_err(|status| self.fault(Fault::Json(Box::new(status))))
    }

    /// Writes the value of a wrapper, its field 1.
    fn wrapper(&mut self, kind: Kind, wire: &[u8]) -> Result<()> {
        let mut last = None;
        let mut reader = Reader::new(wire);
        while !reader.is_empty() {
            let (number, wire_type) = reader.tag()?;
            if number == 1 && wire_type == kind.wire_type() {
                last = Some(reader);
            }
            reader.skip(number, wire_type)?;
        }
        match last {
            Some(mut reader) => self.scalar(kind, &mut reader),
            None => {
                let written = scalar::put_default(self.names, kind, &mut self.out);
                written.map_err(|fault| self.fault(fault))
            }
        }
    }

    /// Writes a map as a JSON object.
    fn map(&mut self, message: MessageId, field: &Field, wire: &[u8]) -> Result<()> {
        let Self { schema, options, out, .. } = self;
        let written = codec::field_to_json(schema, message, field.index, None, options, wire, out);
        written.map_err(|status| self.fault(Fault::Json(Box::new(status))))
    }

    /// Writes a repeated field's array.
    fn list(&mut self, field: &'p Field, wire: &[u8], runs: &[Run]) -> Result<()> {
        self.out.push(b'[');
        let mut index = 0;
        let slot = self.path.len();
        self.path.push(At::Index(0));
        for run in runs {
            let mut reader = Reader::new(wire.get(run.start..run.end).unwrap_or_default());
            while !reader.is_empty() {
                let (_, wire_type) = reader.tag()?;
                let Form::Scalar(kind) = &field.form else {
                    let message = content(field.number, wire_type, &mut reader)?;
                    self.at(slot, &mut index);
                    self.message(&field.form, message)?;
                    self.out.push(b',');
                    continue;
                };
                if wire_type == kind.wire_type() {
                    self.at(slot, &mut index);
                    self.element(*kind, &mut reader)?;
                    continue;
                }
                let mut packed = Reader::new(reader.bytes()?);
                while !packed.is_empty() {
                    self.at(slot, &mut index);
                    self.element(*kind, &mut packed)?;
                }
            }
        }
        self.path.truncate(slot);
        self.end_list();
        Ok(())
    }

    fn element(&mut self, kind: Kind, reader: &mut Reader<'_>) -> Result<()> {
        // A number of one byte may be a name of hundreds.
        if matches!(kind, Kind::Enum(_)) {
            self.check_length()?;
        }
        self.scalar(kind, reader)?;
        self.out.push(b',');
        Ok(())
    }

    /// Writes the entries of a map as a list. Of two with one key the last counts (protobuf.dev, "Maps").
    fn entries(&mut self, key: Kind, field: &'p Field, wire: &[u8], runs: &[Run]) -> Result<()> {
        let mut entries = Vec::new();
        for run in runs {
            let mut reader = Reader::new(wire.get(run.start..run.end).unwrap_or_default());
            while !reader.is_empty() {
                let (_, wire_type) = reader.tag()?;
                entries.push(content(field.number, wire_type, &mut reader)?);
            }
        }
        keep_last_entries(key, &mut entries)?;
        self.out.push(b'[');
        let slot = self.path.len();
        self.path.push(At::Index(0));
        let mut index = 0;
        for entry in entries {
            self.at(slot, &mut index);
            self.message(&field.form, entry)?;
            self.out.push(b',');
        }
        self.path.truncate(slot);
        self.end_list();
        Ok(())
    }

    /// Notes which element of a list comes next.
    #[inline]
    fn at(&mut self, slot: usize, index: &mut usize) {
        self.path.truncate(slot + 1);
        if let Some(at) = self.path.get_mut(slot) {
            *at = At::Index(*index);
        }
        *index += 1;
    }

    /// Writes a closing bracket, over the comma that every element leaves behind it.
    pub(super) fn end_list(&mut self) {
        match self.out.last_mut() {
            Some(last) if *last == b',' => *last = b']',
            _ => self.out.push(b']'),
        }
    }

    #[inline]
    pub(super) fn check_length(&self) -> Result<()> {
        if self.out.len() > self.bytes_max { Err(Stop::TooLong) } else { Ok(()) }
    }

    /// Tells what is wrong with the value that is being written.
    #[cold]
    fn fault(&mut self, fault: Fault) -> Stop {
        if let Fault::Wire(error) = fault {
            return Stop::Broken(error);
        }
        self.tell(fault.status());
        Stop::Null
    }

    #[cold]
    pub(super) fn tell(&mut self, status: Status) {
        let Self { errors, prefix, path, .. } = self;
        let location = location(path).unwrap_or(self.location);
        errors.push(|| FieldError { path: steps(prefix, path), location, status });
    }
}

/// The message that all occurrences of a singular field make together (protobuf.dev, "Last One Wins").
fn whole<'w>(number: u32, place: &Place, wire: &'w [u8]) -> Result<Cow<'w, [u8]>> {
    let from = |start: usize| Reader::new(wire.get(start..place.end).unwrap_or_default());
    let mut reader = from(place.first);
    if place.first == place.last {
        let (_, wire_type) = reader.tag()?;
        return Ok(Cow::Borrowed(content(number, wire_type, &mut reader)?));
    }
    let (_, expected) = from(place.last).tag()?;
    let mut parts = Vec::new();
    while !reader.is_empty() {
        let (found, wire_type) = reader.tag()?;
        if found != number || wire_type != expected {
            reader.skip(found, wire_type)?;
            continue;
        }
        let part = content(number, wire_type, &mut reader)?;
        check_whole(part)?;
        parts.extend_from_slice(part);
    }
    Ok(Cow::Owned(parts))
}

/// The bytes of a message or group whose tag has been read.
#[inline]
fn content<'w>(number: u32, wire_type: u32, reader: &mut Reader<'w>) -> Result<&'w [u8]> {
    Ok(if wire_type == SGROUP { reader.group(number)? } else { reader.bytes()? })
}

/// Refuses a part of a message that ends within a field: joined to the next part, it would read as another.
fn check_whole(part: &[u8]) -> Result<()> {
    let mut reader = Reader::new(part);
    while !reader.is_empty() {
        let (number, wire_type) = reader.tag()?;
        reader.skip(number, wire_type)?;
    }
    Ok(())
}

/// Drops the entries whose key comes again.
fn keep_last_entries(kind: Kind, entries: &mut Vec<&[u8]>) -> Result<()> {
    if entries.len() < 2 {
        return Ok(());
    }
    let keys: Vec<_> =
        entries.iter().map(|entry| MapKey::of_entry(kind, entry)).collect::<std::result::Result<_, _>>()?;
    let mut seen = HashSet::with_capacity(keys.len());
    // From the last to the first: of those with one key, the one that is met first holds.
    let mut is_kept: Vec<bool> = keys.into_iter().rev().map(|key| seen.insert(key)).collect();
    if seen.len() < entries.len() {
        entries.retain(|_| is_kept.pop().unwrap_or(true));
    }
    Ok(())
}

/// The path of a value within what is at `prefix`.
pub(super) fn steps(prefix: &[Step], path: &[At<'_>]) -> Box<[Step]> {
    let step = |at: &At<'_>| match at {
        At::Root(root) => Step::Key(root.key.clone()),
        At::Entry(entry) => Step::Key(entry.name().into()),
        At::Index(index) => Step::Index(*index),
    };
    prefix.iter().cloned().chain(path.iter().map(step)).collect()
}

/// Where the document asks for the innermost field of a path.
fn location(path: &[At<'_>]) -> Option<Location> {
    let of = |at: &At<'_>| match at {
        At::Root(root) => Some(root.location),
        At::Entry(entry) => Some(entry.location),
        At::Index(_) => None,
    };
    path.iter().rev().find_map(of)
}
