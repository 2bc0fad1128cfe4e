//! A reply as it is kept, before compression and framing: metadata, and JSON or the message as it came.
//!
//! Trailers, which have a place in an HTTP reply only for clients that ask, are kept with it.

pub(super) mod stored;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use bytes::Bytes;
use http::header::{AGE, ETAG, HeaderMap, HeaderName, HeaderValue, VARY};

use percent_encoding::percent_decode_str;

use super::key::{Asker, Varied};
use super::{Bounds, Rule, key};
use crate::call::{Reply, ReplyBody};
use crate::policy::caching::{self, Asked, Freshness, Received};

/// A kept reply.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) freshness: Freshness,
    pub(super) varied: Varied,
    /// By which it can be purged.
    pub(super) tags: Box<[Box<str>]>,
    pub(super) place: Place,
    /// What it takes of the cache.
    pub(super) bytes: usize,
    /// When it came.
    came: Instant,
    metadata: HeaderMap,
    body: Body,
    trailers: HeaderMap,
    /// Somebody is fetching a new one in the background.
    refreshing: AtomicBool,
    /// Until so many milliseconds after it came nobody asks a backend that has just failed.
    paused_ms: AtomicU64,
}

/// Where a reply was asked for, by which it can be purged.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) surface: Arc<str>,
    /// `package.Service.Method`.
    pub(super) method: Box<str>,
    /// Without escapes: two spellings of a path share a reply, which either of them purges.
    pub(super) path: Box<str>,
}

#[derive(Debug)]
enum Body {
    Json(Bytes),
    Wire(Bytes),
    Raw(Option<HeaderValue>, Bytes),
}

/// What an entry takes besides its text: maps, links and the parts of this struct.
const OVERHEAD_BYTES: usize = 512;

/// RFC 7541, section 4.1, counts a header so, and so do we.
const HEADER_BYTES: usize = 32;

const CACHE_TAGS: HeaderName = HeaderName::from_static("x-cache-tags");
const HTTP_CODE: HeaderName = HeaderName::from_static("x-http-code");

/// Labels of one reply; one that has more could not be purged as it asks, and is not kept.
const TAGS_MAX: usize = 64;
const TAG_BYTES_MAX: usize = 128;

/// How long a stale reply is served without asking, once the backend has failed to give a new one.
const PAUSE: Duration = Duration::from_secs(1);

/// What a 304 repeats of the reply (RFC 9110, section 15.4.5).
const REPEATED: [&str; 6] = ["cache-control", "content-location", "date", "etag", "expires", "vary"];

/// See [`Place::path`].
pub(super) fn decoded(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8_lossy()
}

/// Takes what is the gateway's own affair out of a fresh reply, and gives it the tag that it lacks.
pub(super) fn dress(reply: &mut Reply, rule: &Rule) -> Labels {
    let metadata = &mut reply.metadata;
    let labels = Labels { tags: tags(metadata), number: number(metadata) };
    metadata.remove(CACHE_TAGS);
    for name in &rule.vary {
        add_vary(metadata, name);
    }
    labels
}

/// How a reply was asked for.
pub(super) struct Asking<'a> {
    pub(super) rule: &'a Rule,
    pub(super) bounds: &'a Bounds,
    pub(super) asker: Asker<'a>,
    /// `package.Service.Method`.
    pub(super) method: &'a str,
    /// See [`Place::path`].
    pub(super) path: &'a str,
    pub(super) key_bytes: usize,
    pub(super) asked: Asked,
    pub(super) received: Received,
}

/// What is known of a reply beside its metadata.
pub(super) struct Labels {
    /// `None`: more than can be kept.
    tags: Option<Box<[Box<str>]>>,
    pub(super) number: u16,
}

impl Entry {
    /// A reply that may be kept: judged by HTTP's rules, the rule's and the bounds.
    pub(super) fn of(reply: &Reply, labels: Labels, asking: &Asking<'_>, came: Instant) -> Option<Self> {
        let Asking { rule, bounds, .. } = asking;
        let freshness =
            caching::storable(&reply.metadata, labels.number, &rule.terms, asking.asked, asking.received)?;
        let tags = labels.tags?;
        let names = key::varied_names(&reply.metadata, rule, bounds.vary_names_max)?;
        let varied = key::varied(asking.asker, names);
        let (body, trailers) = match &reply.body {
            ReplyBody::Unary { json, trailers } => (Body::Json(own(json)), trailers),
            ReplyBody::Wire { message, trailers } => (Body::Wire(own(message)), trailers),
            ReplyBody::Raw { content_type, body, trailers } => {
                (Body::Raw(content_type.clone(), own(body)), trailers)
            }
            ReplyBody::Stream(_) | ReplyBody::WireStream(_) | ReplyBody::RawStream { .. } => return None,
        };
        let mut metadata = reply.metadata.clone();
        metadata.remove(AGE);
        metadata.entry(ETAG).or_insert_with(|| tag(body.bytes()));
        let place = Place {
            surface: Arc::clone(&rule.surface),
            method: asking.method.into(),
            path: asking.path.into(),
        };
        let mut entry = Self {
            freshness,
            varied,
            tags,
            place,
            bytes: 0,
            came,
            metadata,
            body,
            trailers: trailers.clone(),
            refreshing: AtomicBool::new(false),
            paused_ms: AtomicU64::new(0),
        };
        entry.weigh(asking.key_bytes);
        let fits =
            entry.key_bytes(asking.key_bytes) <= bounds.key_bytes_max && entry.bytes <= rule.entry_bytes_max;
        fits.then_some(entry)
    }

    /// Counts what it takes of the cache.
    fn weigh(&mut self, key_bytes: usize) {
        let tag_bytes = self.tags.iter().map(|tag| tag.len()).sum::<usize>();
        self.bytes = self.body.bytes().len()
            + header_bytes(&self.metadata)
            + header_bytes(&self.trailers)
            + tag_bytes
            + self.key_bytes(key_bytes)
            + self.place.path.len()
            + OVERHEAD_BYTES;
    }

    /// The key with what it varies in.
    fn key_bytes(&self, key_bytes: usize) -> usize {
        key_bytes + self.varied.iter().map(|(_, value)| value.len()).sum::<usize>()
    }

    /// How old it is.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.freshness.age + now.saturating_duration_since(self.came)
    }

    /// The reply to a client.
    pub(super) fn reply(&self) -> Reply {
        let trailers = self.trailers.clone();
        let body = match &self.body {
            Body::Json(json) => ReplyBody::Unary { json: json.clone(), trailers },
            Body::Wire(message) => ReplyBody::Wire { message: message.clone(), trailers },
            Body::Raw(content_type, body) => {
                ReplyBody::Raw { content_type: content_type.clone(), body: body.clone(), trailers }
            }
        };
        Reply { metadata: self.metadata.clone(), body }
    }

    pub(super) fn metadata(&self) -> &HeaderMap {
        &self.metadata
    }

    /// Claims the fetching of a new one; `false` where somebody has.
    pub(super) fn claim(&self) -> bool {
        !self.refreshing.swap(true, Ordering::Relaxed)
    }

    pub(super) fn unclaim(&self) {
        self.refreshing.store(false, Ordering::Relaxed);
    }

    /// The backend has just failed to give a new one.
    pub(super) fn pause(&self, now: Instant) {
        let until = now.saturating_duration_since(self.came) + PAUSE;
        self.paused_ms.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn is_paused(&self, now: Instant) -> bool {
        let paused = Duration::from_millis(self.paused_ms.load(Ordering::Relaxed));
        now.saturating_duration_since(self.came) < paused
    }
}

impl Body {
    fn bytes(&self) -> &Bytes {
        match self {
            Self::Json(bytes) | Self::Wire(bytes) | Self::Raw(_, bytes) => bytes,
        }
    }
}

/// The 304 in the place of a 200.
pub(super) fn unmodified(request: &HeaderMap, metadata: &HeaderMap) -> Option<Reply> {
    if number(metadata) != 200 {
        return None;
    }
    let tag = caching::unmodified(request, metadata)?;
    let mut kept = HeaderMap::new();
    for name in REPEATED {
        for value in metadata.get_all(name) {
            kept.append(HeaderName::from_static(name), value.clone());
        }
    }
    tag.map(|tag| kept.insert(ETAG, tag));
    kept.insert(HTTP_CODE, HeaderValue::from_static("304"));
    Some(Reply { metadata: kept, body: ReplyBody::Unary { json: Bytes::new(), trailers: HeaderMap::new() } })
}

/// A copy of just these bytes: they may be a slice of much more.
fn own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// A strong entity tag (RFC 9110, section 8.8.3): other bytes have another one.
fn tag(bytes: &[u8]) -> HeaderValue {
    let digest = digest::digest(&digest::SHA256, bytes);
    let mut text = String::with_capacity(34);
    text.push('"');
    for byte in digest.as_ref().iter().take(16) {
        text.extend([byte >> 4, byte & 15].map(|half| char::from_digit(half.into(), 16).unwrap_or('0')));
    }
    text.push('"');
    HeaderValue::try_from(text).expect("hexadecimal digits in quotes")
}

/// The HTTP number that the backend has chosen.
fn number(metadata: &HeaderMap) -> u16 {
    let chosen = metadata.get(HTTP_CODE).and_then(|value| value.to_str().ok()?.parse().ok());
    chosen.filter(|number| (200..400).contains(number)).unwrap_or(200)
}

/// Words with commas or blanks between them.
fn tags(metadata: &HeaderMap) -> Option<Box<[Box<str>]>> {
    let mut tags: Vec<Box<str>> = Vec::new();
    for value in metadata.get_all(CACHE_TAGS) {
        let value = value.to_str().ok()?;
        for tag in value.split([',', ' ', '\t']).filter(|tag| !tag.is_empty()) {
            if tag.len() > TAG_BYTES_MAX || tags.len() == TAGS_MAX {
                return None;
            }
            tags.push(tag.into());
        }
    }
    Some(tags.into())
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER_BYTES).sum()
}

fn add_vary(metadata: &mut HeaderMap, name: &HeaderName) {
    let listed = |value: &HeaderValue| {
        let mut names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|listed| listed == b"*" || listed.eq_ignore_ascii_case(name.as_str().as_bytes()))
    };
    if !metadata.get_all(VARY).iter().any(listed) {
        metadata.append(VARY, HeaderValue::from_name(name.clone()));
    }
}
