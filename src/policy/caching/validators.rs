//! Conditional requests: whether the client has what it would get (RFC 9110, section 13).
//!
//! `If-Match` and `If-Unmodified-Since` guard changes and say nothing to a cache (RFC 9111, section 4.3.2).

use http::header::{ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};

use super::control::elements;
use super::freshness::date;

/// Whether a request is answered by 304, and by which entity tag; the reply's own where the client named none.
///
/// A tag is given back as the client wrote it: it had the reply in a coding, for which the tag is weak (RFC 9110,
/// section 8.8.3.3), or without.
pub fn unmodified(request: &HeaderMap, reply: &HeaderMap) -> Option<Option<HeaderValue>> {
    let own = reply.get(ETAG);
    if request.contains_key(IF_NONE_MATCH) {
        let opaque = own.and_then(|tag| opaque(tag.as_bytes()));
        let listed = request.get_all(IF_NONE_MATCH).iter().flat_map(|value| elements(value.as_bytes()));
        for tag in listed {
            if tag == b"*" {
                return Some(own.cloned());
            }
            // Section 13.1.2: tags are compared weakly.
            if opaque.is_some() && self::opaque(tag) == opaque {
                return Some(HeaderValue::from_bytes(tag).ok());
            }
        }
        // Section 13.1.3: a date beside it is not looked at.
        return None;
    }
    let mut dates = request.get_all(IF_MODIFIED_SINCE).iter();
    let (Some(since), None) = (dates.next(), dates.next()) else { return None };
    let modified = date(reply.get(LAST_MODIFIED)?.as_bytes())?;
    (modified <= date(since.as_bytes())?).then(|| own.cloned())
}

/// What stands in the quotes of an entity tag.
fn opaque(tag: &[u8]) -> Option<&[u8]> {
    let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
    let inner = tag.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    inner.iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..)).then_some(inner)
}
