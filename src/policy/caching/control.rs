//! `Cache-Control` of requests and replies (RFC 9111, section 5.2).
//!
//! ```text
//! Cache-Control   = #cache-directive
//! cache-directive = token [ "=" ( token / quoted-string ) ]
//! ```
//!
//! What is malformed never makes a reply live longer: a number that is none, or that is said twice and
//! differently, is zero (section 4.2.1), and for `min-fresh` more than there is. A directive with a list of
//! fields holds for the whole reply, which section 5.2.2.4 allows.

use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderName, PRAGMA};

/// Section 1.2.2: what does not fit is this many seconds.
const SECONDS_MAX: u64 = 1 << 31;

/// What a reply says of its being stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplyControl {
    pub no_store: bool,
    pub no_cache: bool,
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    /// Seconds, as all that follow.
    pub max_age: Option<u64>,
    pub s_maxage: Option<u64>,
    /// RFC 5861, section 3.
    pub stale_while_revalidate: Option<u64>,
    /// RFC 5861, section 4.
    pub stale_if_error: Option<u64>,
}

/// What a request says of stored replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestControl {
    pub no_store: bool,
    pub no_cache: bool,
    pub only_if_cached: bool,
    /// Seconds, as all that follow.
    pub max_age: Option<u64>,
    pub min_fresh: Option<u64>,
    /// Without a number, any staleness.
    pub max_stale: Option<u64>,
}

impl ReplyControl {
    pub fn of(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        each(headers, &CACHE_CONTROL, |name, value| match name {
            b"no-store" => control.no_store = true,
            b"no-cache" => control.no_cache = true,
            b"private" => control.private = true,
            b"public" => control.public = true,
            b"must-revalidate" => control.must_revalidate = true,
            b"proxy-revalidate" => control.proxy_revalidate = true,
            b"must-understand" => control.must_understand = true,
            b"max-age" => say(&mut control.max_age, value),
            b"s-maxage" => say(&mut control.s_maxage, value),
            b"stale-while-revalidate" => say(&mut control.stale_while_revalidate, value),
            b"stale-if-error" => say(&mut control.stale_if_error, value),
            _ => {}
        });
        control
    }
}

impl RequestControl {
    pub fn of(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        if headers.contains_key(CACHE_CONTROL) {
            each(headers, &CACHE_CONTROL, |name, value| match name {
                b"no-store" => control.no_store = true,
                b"no-cache" => control.no_cache = true,
                b"only-if-cached" => control.only_if_cached = true,
                b"max-age" => say(&mut control.max_age, value),
                // Of two the one that asks for more; of what is no number, more than there is.
                b"min-fresh" => {
                    let seconds = value.and_then(|value| digits(unquoted(value))).unwrap_or(u64::MAX);
                    control.min_fresh = control.min_fresh.max(Some(seconds));
                }
                b"max-stale" if value.is_none() => control.max_stale = Some(u64::MAX),
                b"max-stale" => say(&mut control.max_stale, value),
                _ => {}
            });
        } else {
            // Section 5.4: only where `Cache-Control` is absent.
            each(headers, &PRAGMA, |name, _| control.no_cache |= name == b"no-cache");
        }
        control
    }
}

/// Keeps the seconds that a directive names; said twice and differently, they are none.
fn say(kept: &mut Option<u64>, value: Option<&[u8]>) {
    let seconds = value.map_or(0, seconds);
    *kept = Some(kept.map_or(seconds, |first| if first == seconds { seconds } else { 0 }));
}

/// Digits, in quotes or not; anything else is no time at all.
fn seconds(value: &[u8]) -> u64 {
    digits(unquoted(value)).unwrap_or(0)
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value)
}

/// `delta-seconds`: digits alone.
pub(super) fn digits(value: &[u8]) -> Option<u64> {
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    is_number.then(|| value.iter().fold(0, add).min(SECONDS_MAX))
}

/// Gives each directive of a header to `read`, its name in lower case.
fn each(headers: &HeaderMap, header: &HeaderName, mut read: impl FnMut(&[u8], Option<&[u8]>)) {
    for value in headers.get_all(header) {
        for directive in elements(value.as_bytes()) {
            let mut parts = directive.splitn(2, |byte| *byte == b'=');
            let name = parts.next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
            read(&name, parts.next().map(<[u8]>::trim_ascii));
        }
    }
}

/// The elements of a list, which a comma within quotes does not end (RFC 9110, section 5.6.1).
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let ends_element = move |byte: &u8| {
        let ends = *byte == b',' && !is_quoted;
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ => {}
        }
        ends
    };
    value.split(ends_element).map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}
