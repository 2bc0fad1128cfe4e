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

/// The segments of a path that starts with `/` and has no empty segment.
#[derive(Debug)]
pub(super) struct Path<'p> {
    text: &'p str,
    pub(super) segments: SmallVec<[PathSegment<'p>; 12]>,
}

/// One segment, as sent and in normal form.
#[derive(Clone, Debug)]
pub(super) struct PathSegment<'p> {
    /// Where it begins in the path.
    start: usize,
    raw: &'p str,
    /// What literals are compared with.
    pub(super) normal: Cow<'p, str>,
    /// [`hash`] of the normal form.
    pub(super) hash: u64,
}

impl<'p> Path<'p> {
    /// Cuts a path; `None` when no route can match it, for an empty segment never matches.
    pub(super) fn split(text: &'p str, segments_max: usize) -> Result<Option<Self>, BadPath> {
        let has_escapes = memchr::memchr2(b'%', 0, text.as_bytes()).is_some();
        if has_escapes {
            check(text)?;
        }
        let Some(rest) = text.strip_prefix('/') else { return Ok(None) };
        let mut path = Self { text, segments: SmallVec::new() };
        if rest.is_empty() {
            return Ok(Some(path));
        }
        let mut start = 1;
        let mut has_empty = false;
        for end in memchr::memchr_iter(b'/', text.as_bytes()).skip(1).chain([text.len()]) {
            if path.segments.len() == segments_max {
                return Err(BadPath::TooManySegments { max: segments_max });
            }
            has_empty |= start == end;
            path.segments.push(PathSegment::new(start, &text[start..end]));
            start = end + 1;
        }
        Ok((!has_empty).then_some(path))
    }

    /// The last segment's last colon, if a verb may begin there.
    pub(super) fn colon(&self) -> Option<usize> {
        memchr::memrchr(b':', self.segments.last()?.raw.as_bytes())
    }

    /// What follows the colon, in normal form.
    pub(super) fn verb(&self, colon: usize) -> Option<Cow<'p, str>> {
        Some(percent::normal(&self.segments.last()?.raw[colon + 1..]))
    }

    /// The path before the colon; `None` when that ends in an empty segment.
    pub(super) fn before(&self, colon: usize) -> Option<Self> {
        let mut segments = self.segments.clone();
        let last = segments.pop()?;
        if colon > 0 {
            segments.push(PathSegment::new(last.start, &last.raw[..colon]));
        } else if !segments.is_empty() {
            return None;
        }
        Some(Self { text: self.text, segments })
    }

    /// The text of some segments and the slashes between them, as sent.
    pub(super) fn text(&self, start: usize, end: usize) -> &'p str {
        match self.segments.get(start..end) {
            Some([first, .., last]) => &self.text[first.start..last.start + last.raw.len()],
            Some([only]) => only.raw,
            _ => "",
        }
    }
}

impl<'p> PathSegment<'p> {
    fn new(start: usize, raw: &'p str) -> Self {
        let normal = percent::normal(raw);
        let hash = hash(&normal);
        Self { start, raw, normal, hash }
    }
}

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
