//! Which replies are compressed: those that gain by it, that may be changed, and that keep no secret thereby.
//!
//! A page that sees how long the encrypted reply to a forged request is can guess what stands beside its
//! own words in it (BREACH). It cannot forge a bearer token, so the guess needs a credential that the browser
//! adds by itself: replies to requests with one are sent plain, unless the configuration says otherwise.

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};

use super::coding::Coding;
use super::vary;

/// What a configuration says about compressing replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// What is offered, what is preferred first; empty: nothing is compressed. Default all.
    pub codings: Vec<Coding>,
    /// Shorter replies gain nothing. Default 1 KiB.
    pub bytes_min: usize,
    pub effort: Effort,
    /// Streams too, each of their messages flushed; a stream holds its compressor's memory. Default no.
    pub streams: bool,
    /// Replies to requests with cookies and the like too. Default no.
    pub with_credentials: bool,
}

/// How hard to try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// The least work.
    #[default]
    Fast,
    /// Some percent shorter, for several times the work.
    Small,
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            codings: Coding::ALL.to_vec(),
            bytes_min: 1 << 10,
            effort: Effort::default(),
            streams: false,
            with_credentials: false,
        }
    }
}

/// How long a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Bytes(u64),
    /// Its messages come when they come.
    Stream,
}

/// What is offered to one client, decided while the head of its request is at hand. Default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Whether anything is offered to anybody.
    is_on: bool,
    /// `None`: this client gets plain replies.
    coding: Option<Coding>,
    bytes_min: usize,
    effort: Effort,
    streams: bool,
}

impl Compression {
    /// What a request may get, should its reply be worth it.
    pub fn offer(&self, request: &HeaderMap) -> Offer {
        let coding = Coding::negotiate(request, &self.codings);
        Offer {
            is_on: !self.codings.is_empty(),
            coding: coding.filter(|_| self.with_credentials || !has_ambient_credentials(request)),
            bytes_min: self.bytes_min,
            effort: self.effort,
            streams: self.streams,
        }
    }
}

impl Offer {
    /// The same for a reply whose body is not sent.
    pub fn plain(self) -> Self {
        Self { coding: None, ..self }
    }

    /// Decides on a reply and writes the headers that go with the decision.
    pub fn choose(
        self,
        status: StatusCode,
        headers: &mut HeaderMap,
        extent: Extent,
    ) -> Option<(Coding, Effort)> {
        if !self.is_on || !self.is_worth_it(extent) || !may_be_coded(status, headers) {
            return None;
        }
        // RFC 9110, section 12.5.5: the plain reply varies as well.
        vary::add(headers, "Accept-Encoding");
        let coding = self.coding?;
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::ACCEPT_RANGES);
        weaken(headers);
        Some((coding, self.effort))
    }

    /// Says that replies depend on what codings a client takes, where any is offered.
    pub fn vary(self, headers: &mut HeaderMap) {
        if self.is_on {
            vary::add(headers, "Accept-Encoding");
        }
    }

    fn is_worth_it(self, extent: Extent) -> bool {
        match extent {
            Extent::Bytes(bytes) => bytes >= self.bytes_min as u64,
            Extent::Stream => self.streams,
        }
    }
}

/// Whether a request carries what a browser adds by itself to whatever page's request.
fn has_ambient_credentials(request: &HeaderMap) -> bool {
    request.contains_key(header::COOKIE)
        || request.get_all(header::AUTHORIZATION).iter().any(|value| {
            let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
            [&b"basic"[..], b"digest", b"negotiate", b"ntlm"]
                .iter()
                .any(|name| scheme.eq_ignore_ascii_case(name))
        })
}

/// Whether a reply's head allows its body to be changed, and its type promises a gain.
fn may_be_coded(status: StatusCode, headers: &HeaderMap) -> bool {
    let has_body = !status.is_informational() && !matches!(status.as_u16(), 204 | 205 | 206 | 304);
    has_body
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !headers.contains_key(header::CONTENT_RANGE)
        && !headers.contains_key(header::SET_COOKIE)
        && !forbids_change(headers)
        && headers.get(header::CONTENT_TYPE).is_some_and(|value| is_compressible(value.as_bytes()))
}

/// RFC 9111, section 5.2.2.6.
fn forbids_change(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// Whether bodies of this type are text, or as loose as text.
fn is_compressible(content_type: &[u8]) -> bool {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let essence = essence.to_ascii_lowercase();
    let Ok(essence) = std::str::from_utf8(&essence) else { return false };
    match essence.split_once('/') {
        // Events must arrive one by one, and proxies on the way hold back what is compressed.
        Some(("text", "event-stream")) => false,
        Some(("text", _)) => true,
        // Their messages have a compression of their own.
        Some(("application", subtype)) if subtype.starts_with("grpc") || subtype.starts_with("connect+") => {
            false
        }
        Some(("application", subtype)) => {
            subtype.ends_with("+json")
                || subtype.ends_with("+xml")
                || matches!(
                    subtype,
                    "json"
                        | "x-ndjson"
                        | "ndjson"
                        | "jsonl"
                        | "json-seq"
                        | "xml"
                        | "yaml"
                        | "javascript"
                        | "graphql-response"
                        | "proto"
                        | "protobuf"
                        | "x-protobuf"
                        | "wasm"
                )
        }
        Some(("image", "svg+xml")) => true,
        _ => false,
    }
}

/// RFC 9110, section 8.8.1: one strong tag cannot stand for two sequences of bytes.
fn weaken(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) else {
        return;
    };
    if let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        headers.insert(header::ETAG, weak);
    }
}

#[cfg(test)]
mod tests;
