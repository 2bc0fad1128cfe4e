//! Cookies that tell callers apart: the one of a request by its name, and a fresh one for who has none.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// A longer value is none. RFC 6265, section 6.1: browsers keep at least as much.
pub const VALUE_BYTES_MAX: usize = 4096;

/// The value of a request's cookie; of several of one name the first, and none that is empty or too long.
pub fn find<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    // RFC 9113, section 8.2.3: over HTTP/2 the pairs may come in several fields.
    let pairs = headers.get_all(COOKIE).iter().flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    let mut named = pairs.filter_map(|pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        (!value.is_empty() && value.len() <= VALUE_BYTES_MAX).then_some(value)
    });
    named.next()
}

/// Whether a cookie may be called so: RFC 6265, section 4.1.1, a token of HTTP.
pub fn is_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

/// The value of a fresh cookie: 128 bits as 32 digits.
pub fn fresh(random: [u64; 2]) -> String {
    format!("{:016x}{:016x}", random[0], random[1])
}

/// What has a browser keep a cookie for so many seconds, for the whole host, out of the reach of scripts, and has it
/// sent by links from elsewhere but not with what other sites send.
///
/// `None` for a name that is none.
pub fn set(name: &str, value: &str, max_age_s: u64) -> Option<HeaderValue> {
    let text = format!("{name}={value}; Max-Age={max_age_s}; Path=/; HttpOnly; Secure; SameSite=Lax");
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_by_name() {
        let check = |fields: &[&str], expected: Option<&str>| {
            let value = |field: &&str| HeaderValue::from_str(field).expect("a value");
            let headers: HeaderMap = fields.iter().map(|field| (COOKIE, value(field))).collect();
            let found = find(&headers, "side").map(|value| std::str::from_utf8(value).expect("ASCII"));
            assert_eq!(found, expected, "{fields:?}");
        };
        check(&[], None);
        check(&["side=a"], Some("a"));
        check(&["x=1; side=a; y=2"], Some("a"));
        check(&["x=1;side=a;y=2"], Some("a"));
        check(&["x=1", "side=a"], Some("a"));
        check(&["side=a; side=b"], Some("a"));
        check(&["side=a=b"], Some("a=b"));
        check(&["Side=a"], None);
        check(&["side"], None);
        check(&["side="], None);
        check(&["side=; side=b"], Some("b"));
        check(&["inside=a; side-b=c; sid=d"], None);
        let longest = "v".repeat(VALUE_BYTES_MAX);
        check(&[&format!("side={longest}")], Some(&longest));
        check(&[&format!("side={longest}v")], None);
    }

    #[test]
    fn fresh_cookies_are_as_long_as_their_bits() {
        assert_eq!(fresh([1, u64::MAX]), "0000000000000001ffffffffffffffff");
        let set = set("__Host-side", "ab", 60).expect("a header");
        assert_eq!(set, "__Host-side=ab; Max-Age=60; Path=/; HttpOnly; Secure; SameSite=Lax");
    }

    #[test]
    fn names_are_tokens() {
        for (name, expected) in
            [("side", true), ("__Host-a.b", true), ("", false), ("a b", false), ("a;b", false)]
        {
            assert_eq!(is_name(name), expected, "{name}");
        }
    }
}
