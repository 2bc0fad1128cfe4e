//! A request's path, cut into segments and checked before any route is tried.
//!
//! Nothing is resolved or collapsed: `..`, `;`, `\` and `//` are what they are, so that the path that is
//! matched is the path that was sent. A bad escape is refused wherever it stands, before it can matter
//! whether some route would have captured it.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::percent::{self, Fault};

/// Why a path cannot be matched at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    #[error("the path is malformed at byte {at}: {fault}")]
    Escape { at: usize, fault: Fault },
    #[error("the path has more than {max} segments")]
    TooManySegments { max: usize },
}

/// A path's segments, in place: a path is made on the stack of [`RouteTree::find`](super::RouteTree::find).
#[derive(Debug)]
pub(super) struct Path<'p> {
    text: &'p str,
    segments: SmallVec<[PathSegment; 16]>,
    /// How many of them count: all, unless a custom verb is all that the last one holds.
    length: usize,
    /// Their normal forms, where some segment is not in normal form as sent.
    normal: Vec<Cow<'p, str>>,
    /// Where the last segment's last colon is.
    colon: Option<usize>,
}

/// Where a segment is, and the [`hash`] of its normal form.
#[derive(Clone, Copy, Debug)]
struct PathSegment {
    start: usize,
    end: usize,
    hash: u64,
}

impl<'p> Path<'p> {
    /// A path to be [`split`](Self::split).
    pub(super) fn new(text: &'p str) -> Self {
        Self { text, segments: SmallVec::new(), length: 0, normal: Vec::new(), colon: None }
    }

    /// Cuts the path; false when no route can match it, for an empty segment never matches.
    pub(super) fn split(&mut self, segments_max: usize) -> Result<bool, BadPath> {
        if !self.text.starts_with('/') {
            return Ok(false);
        }
        let (mut start, mut is_special, mut has_empty) = (1, false, false);
        for (at, &byte) in self.text.as_bytes().iter().enumerate().skip(1) {
            match CLASSES[usize::from(byte)] {
                Class::Plain => {}
                Class::Slash => {
                    has_empty |= start == at;
                    self.push(start, at, segments_max)?;
                    start = at + 1;
                    self.colon = None;
                }
                Class::Colon => self.colon = Some(at),
                Class::Special => is_special = true,
            }
        }
        if self.text.len() > 1 {
            has_empty |= start == self.text.len();
            self.push(start, self.text.len(), segments_max)?;
        }
        if is_special {
            self.normalize()?;
        }
        Ok(!has_empty)
    }

    #[inline]
    fn push(&mut self, start: usize, end: usize, segments_max: usize) -> Result<(), BadPath> {
        if self.length == segments_max {
            return Err(BadPath::TooManySegments { max: segments_max });
        }
        let hash = hash(&self.text[start..end]);
        self.segments.push(PathSegment { start, end, hash });
        self.length += 1;
        Ok(())
    }

    #[cold]
    fn normalize(&mut self) -> Result<(), BadPath> {
        check(self.text)?;
        for segment in &mut self.segments {
            let normal = percent::normal(&self.text[segment.start..segment.end]);
            segment.hash = hash(&normal);
            self.normal.push(normal);
        }
        Ok(())
    }

    /// Whether some escape or character is not in normal form as sent.
    pub(super) fn is_special(&self) -> bool {
        !self.normal.is_empty()
    }

    /// Whether the path ends before its end, at a colon.
    pub(super) fn is_cut(&self) -> bool {
        self.segments.last().is_some_and(|last| last.end < self.text.len())
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// The normal form of a segment and its [`hash`].
    #[inline]
    pub(super) fn segment(&self, index: usize) -> Option<(&str, u64)> {
        let segment = self.segments[..self.length].get(index)?;
        let raw = &self.text[segment.start..segment.end];
        Some((self.normal.get(index).map_or(raw, |normal| normal), segment.hash))
    }

    /// Where a custom verb may begin, and that verb in normal form.
    #[inline]
    pub(super) fn custom_verb(&self) -> Option<(usize, Cow<'p, str>)> {
        let colon = self.colon?;
        let segment = self.segments.last()?;
        // What a verb follows is no empty segment, but may be no segment at all.
        let is_whole = segment.start == colon && self.segments.len() > 1;
        (!is_whole).then(|| (colon, percent::normal(&self.text[colon + 1..])))
    }

    /// From now on, the path ends at a colon of its last segment; `None` for all of the path.
    pub(super) fn read_to(&mut self, colon: Option<usize>) {
        let end = colon.unwrap_or(self.text.len());
        let length = self.segments.len();
        let Some(last) = self.segments.last_mut() else { return };
        let normal = percent::normal(&self.text[last.start..end]);
        (last.end, last.hash) = (end, hash(&normal));
        self.length = if last.start == end { length - 1 } else { length };
        if let Some(last) = self.normal.last_mut() {
            *last = normal;
        }
    }

    /// The text of some segments and the slashes between them, as sent.
    pub(super) fn text(&self, start: usize, end: usize) -> &'p str {
        match self.segments.get(start..end) {
            Some([first, .., last]) => &self.text[first.start..last.end],
            Some([only]) => &self.text[only.start..only.end],
            _ => "",
        }
    }
}

/// What a byte means to [`Path::split`].
#[derive(Clone, Copy)]
enum Class {
    Plain,
    Slash,
    Colon,
    /// An escape, a NUL or a byte beyond ASCII: the path is not in normal form as sent.
    Special,
}

static CLASSES: [Class; 256] = {
    let mut classes = [Class::Plain; 256];
    let mut byte = 0x80;
    while byte < classes.len() {
        classes[byte] = Class::Special;
        byte += 1;
    }
    classes[0] = Class::Special;
    classes[b'%' as usize] = Class::Special;
    classes[b'/' as usize] = Class::Slash;
    classes[b':' as usize] = Class::Colon;
    classes
};

#[cold]
fn check(text: &str) -> Result<(), BadPath> {
    let mut start = 0;
    for segment in text.split('/') {
        percent::check(segment)
            .map_err(|error| BadPath::Escape { at: start + error.at, fault: error.fault })?;
        start += segment.len() + 1;
    }
    Ok(())
}

/// Eight bytes at a time. Only literals of rules are in the table, so a client cannot flood it.
#[inline]
pub(super) fn hash(text: &str) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let mut hash = text.len() as u64;
    for word in words {
        hash = (hash.rotate_left(23) ^ u64::from_le_bytes(*word)).wrapping_mul(MULTIPLIER);
    }
    let mut last = 0;
    for byte in rest {
        last = last << 8 | u64::from(*byte);
    }
    (hash.rotate_left(23) ^ last).wrapping_mul(MULTIPLIER)
}
