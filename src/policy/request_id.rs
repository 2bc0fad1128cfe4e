//! The name of a request: the client's own if it is fit to be logged, else a fresh one.

use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::hex;

/// Carries the id in requests, in responses and in metadata.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longer ones are replaced: they end up in every log line and every call.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// A worker's source of request ids: 32 hexadecimal digits each.
///
/// They are unlikely to repeat, not hard to guess: they name requests, they protect nothing.
#[derive(Debug)]
pub struct RequestIds {
    seed: u64,
    count: AtomicU64,
}

impl RequestIds {
    /// `seed` must differ between workers and between processes.
    pub fn new(seed: u64) -> Self {
        Self { seed, count: AtomicU64::new(0) }
    }

    /// The id that the client gave, or a fresh one.
    pub fn choose(&self, headers: &HeaderMap) -> HeaderValue {
        let own = headers.get(X_REQUEST_ID).filter(|value| is_acceptable(value)).cloned();
        own.map_or_else(|| self.fresh(), unindexed)
    }

    /// A fresh id, for a request of which nothing is known.
    pub fn fresh(&self) -> HeaderValue {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let (high, low) = (mix(self.seed), mix(self.seed ^ mix(count)));
        let mut text = [0u8; 32];
        hex::put([high.to_be_bytes(), low.to_be_bytes()].as_flattened(), &mut text);
        unindexed(HeaderValue::from_bytes(&text).expect("hexadecimal digits are a header value"))
    }
}

/// A value that no other request repeats.
///
/// RFC 7541, section 6.2: HPACK keeps what may come again, and what differs in each request puts out of its table what
/// they have in common. To h2, what is sensitive is all that is not to be kept.
pub fn unindexed(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

fn is_acceptable(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

/// The finalizer of splitmix64: every bit of the input reaches every bit of the output.
const fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &str, kept: bool) {
        let ids = RequestIds::new(7);
        let headers = HeaderMap::from_iter([(X_REQUEST_ID, given.parse().expect("a value"))]);
        assert_eq!(ids.choose(&headers) == given, kept, "{given:?}");
    }

    #[test]
    fn fit_ids_of_clients_are_kept() {
        check("abc-1", true);
        check(&"x".repeat(128), true);
        check(&"x".repeat(129), false);
        check("", false);
        check("a b", false);
    }

    #[test]
    fn fresh_ids_are_hexadecimal_and_differ() {
        let ids = RequestIds::new(1);
        let (first, second) = (ids.fresh(), ids.fresh());
        assert_ne!(first, second);
        assert_ne!(first, RequestIds::new(2).fresh());
        assert!(first.len() == 32 && first.as_bytes().iter().all(u8::is_ascii_hexdigit), "{first:?}");
    }
}
