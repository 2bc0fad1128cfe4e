//! A kept reply as it lies in a store that several nodes share: its bytes, and back.
//!
//! ```text
//! format (1 byte), SHA-256 of what follows (the first 16 bytes), Record (protobuf)
//! ```
//!
//! What is of another format, damaged or odd in any way is no reply. Ages go by the store's clock: a record says how
//! old the reply was when it was written and how long it lived then, the store how long it still lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;

use super::{Body, Entry, Place};
use crate::policy::caching::Freshness;

/// What a store has under the key of a reply.
pub(in crate::stage::cache) enum Stored {
    Reply(Arc<Entry>),
    /// Replies under this key were lately such as are not kept.
    Passing,
}

/// Another one where older gateways would read something else into the bytes.
const FORMAT: u8 = 1;

const DIGEST_BYTES: usize = 16;

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(bool, tag = "1")]
    is_passing: bool,
    /// The last purge that was known when the reply was asked for.
    #[prost(uint64, tag = "2")]
    purges: u64,
    #[prost(string, tag = "3")]
    surface: String,
    #[prost(string, tag = "4")]
    method: String,
    #[prost(string, tag = "5")]
    path: String,
    #[prost(string, repeated, tag = "6")]
    tags: Vec<String>,
    #[prost(message, repeated, tag = "7")]
    varied: Vec<Header>,
    #[prost(message, repeated, tag = "8")]
    metadata: Vec<Header>,
    #[prost(message, repeated, tag = "9")]
    trailers: Vec<Header>,
    #[prost(bytes = "bytes", tag = "10")]
    body: Bytes,
    #[prost(bool, tag = "11")]
    is_raw: bool,
    #[prost(bytes = "bytes", optional, tag = "12")]
    content_type: Option<Bytes>,
    #[prost(uint64, tag = "13")]
    age_ms: u64,
    /// From when it was written.
    #[prost(uint64, tag = "14")]
    life_ms: u64,
    #[prost(uint64, tag = "15")]
    lifetime_ms: u64,
    #[prost(uint64, tag = "16")]
    while_revalidate_ms: u64,
    #[prost(uint64, tag = "17")]
    if_error_ms: u64,
    #[prost(bool, tag = "18")]
    is_strict: bool,
    #[prost(bool, tag = "19")]
    is_shared: bool,
    /// The body is a message in wire form.
    #[prost(bool, tag = "20")]
    is_wire: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// The bytes of a reply that lives for `life` from now on.
pub(in crate::stage::cache) fn bytes(entry: &Entry, purges: u64, now: Instant, life: Duration) -> Vec<u8> {
    let is_wire = matches!(entry.body, Body::Wire(_));
    let (body, content_type, is_raw) = match &entry.body {
        Body::Json(bytes) | Body::Wire(bytes) => (bytes.clone(), None, false),
        Body::Raw(content_type, body) => (body.clone(), content_type.as_ref(), true),
    };
    let Freshness { lifetime, while_revalidate, if_error, is_strict, is_shared, .. } = entry.freshness;
    let varied = |(name, value): &(HeaderName, Box<[u8]>)| Header {
        name: name.as_str().to_owned(),
        value: Bytes::copy_from_slice(value),
    };
    framed(&Record {
        is_passing: false,
        purges,
        surface: entry.place.surface.to_string(),
        method: entry.place.method.to_string(),
        path: entry.place.path.to_string(),
        tags: entry.tags.iter().map(ToString::to_string).collect(),
        varied: entry.varied.iter().map(varied).collect(),
        metadata: written(&entry.metadata),
        trailers: written(&entry.trailers),
        body,
        is_raw,
        content_type: content_type.map(|value| Bytes::copy_from_slice(value.as_bytes())),
        age_ms: millis(entry.age(now)),
        life_ms: millis(life),
        lifetime_ms: millis(lifetime),
        while_revalidate_ms: millis(while_revalidate),
        if_error_ms: millis(if_error),
        is_strict,
        is_shared,
        is_wire,
    })
}

/// The bytes that say that replies are not kept.
pub(in crate::stage::cache) fn passing() -> Vec<u8> {
    framed(&Record { is_passing: true, ..Record::default() })
}

/// What bytes say that live for `left` still, and the last purge that was known when the reply was asked for.
pub(in crate::stage::cache) fn read(
    bytes: Vec<u8>,
    left: Duration,
    now: Instant,
    key_bytes: usize,
) -> Option<(Stored, u64)> {
    let bytes = Bytes::from(bytes);
    let (head, rest) = bytes.split_at_checked(1 + DIGEST_BYTES)?;
    let (format, told) = head.split_first()?;
    if *format != FORMAT || told != checksum(rest) {
        return None;
    }
    let record = Record::decode(bytes.slice(1 + DIGEST_BYTES..)).ok()?;
    let purges = record.purges;
    if record.is_passing {
        return Some((Stored::Passing, purges));
    }
    let mut entry = entry(record, left, now)?;
    entry.weigh(key_bytes);
    Some((Stored::Reply(Arc::new(entry)), purges))
}

fn entry(record: Record, left: Duration, now: Instant) -> Option<Entry> {
    let millis = Duration::from_millis;
    let since = millis(record.life_ms).saturating_sub(left);
    let freshness = Freshness {
        age: millis(record.age_ms).saturating_add(since),
        lifetime: millis(record.lifetime_ms),
        while_revalidate: millis(record.while_revalidate_ms),
        if_error: millis(record.if_error_ms),
        is_strict: record.is_strict,
        is_shared: record.is_shared,
    };
    // Of its own: the rest of the record goes.
    let body = Bytes::copy_from_slice(&record.body);
    let body = match (record.is_raw, record.content_type) {
        (false, _) if record.is_wire => Body::Wire(body),
        (false, _) => Body::Json(body),
        (true, None) => Body::Raw(None, body),
        (true, Some(value)) => Body::Raw(Some(HeaderValue::from_bytes(&value).ok()?), body),
    };
    let varied =
        |header: Header| Some((header.name.parse::<HeaderName>().ok()?, header.value.to_vec().into()));
    let varied: Option<Vec<_>> = record.varied.into_iter().map(varied).collect();
    let (metadata, trailers) = (headers(record.metadata)?, headers(record.trailers)?);
    let tags: Box<[Box<str>]> = record.tags.into_iter().map(Into::into).collect();
    let place =
        Place { surface: record.surface.into(), method: record.method.into(), path: record.path.into() };
    Some(Entry {
        freshness,
        varied: varied?.into(),
        tags,
        place,
        bytes: 0,
        came: now,
        metadata,
        body,
        trailers,
        refreshing: AtomicBool::new(false),
        paused_ms: AtomicU64::new(0),
    })
}

fn framed(record: &Record) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    let record = record.encode_to_vec();
    bytes.extend_from_slice(&checksum(&record));
    bytes.extend_from_slice(&record);
    bytes
}

fn checksum(bytes: &[u8]) -> [u8; DIGEST_BYTES] {
    let digest = digest::digest(&digest::SHA256, bytes);
    *digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}

fn written(headers: &HeaderMap) -> Vec<Header> {
    let header = |(name, value): (&HeaderName, &HeaderValue)| Header {
        name: name.as_str().to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    headers.iter().map(header).collect()
}

fn headers(written: Vec<Header>) -> Option<HeaderMap> {
    let header = |Header { name, value }: Header| {
        Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_bytes(&value).ok()?))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in written.into_iter().map(header).collect::<Option<Vec<_>>>()? {
        headers.try_append(name, value).ok()?;
    }
    Some(headers)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
