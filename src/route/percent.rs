//! Percent-encoding in paths: what is compared, what is captured, what is refused.
//!
//! Two forms of a path segment exist. Its *normal form* is what literals are compared in: escapes of
//! unreserved characters decoded (RFC 3986, section 6.2.2.2), all other escapes with upper-case digits,
//! characters beyond ASCII escaped. Its *value* is what a capture takes: everything decoded, but in a capture of
//! several segments an encoded slash, which stays as the client wrote it (`google/api/http.proto`).
//! Nothing is ever decoded twice, so `%252F` is the value `%2F` and never a slash.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Why a path cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("`%` is not followed by two hexadecimal digits")]
    Truncated,
    #[error("a NUL character")]
    Nul,
    #[error("escapes that are not UTF-8")]
    NotUtf8,
}

/// A [`Fault`] and where it begins, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EscapeError {
    pub at: usize,
    pub fault: Fault,
}

/// Which escapes a value keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decode {
    All,
    /// All but `%2F` and `%2f`.
    KeepSlash,
}

/// Checks every escape of a path segment; after this, [`normal`] and [`decode_into`] cannot fail.
pub(super) fn check(segment: &str) -> Result<(), EscapeError> {
    let bytes = segment.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut first = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let (value, length) = match byte {
            b'%' => match escaped(bytes, at) {
                Some(value) => (value, 3),
                None => return Err(EscapeError { at, fault: Fault::Truncated }),
            },
            other => (other, 1),
        };
        if value == 0 {
            return Err(EscapeError { at, fault: Fault::Nul });
        }
        if length == 3 {
            first.get_or_insert(at);
        }
        decoded.push(value);
        at += length;
    }
    match first {
        Some(at) if std::str::from_utf8(&decoded).is_err() => Err(EscapeError { at, fault: Fault::NotUtf8 }),
        _ => Ok(()),
    }
}

/// The normal form of a segment that was [`check`]ed.
pub(super) fn normal(segment: &str) -> Cow<'_, str> {
    if segment.bytes().all(|byte| byte != b'%' && byte.is_ascii()) {
        return Cow::Borrowed(segment);
    }
    let bytes = segment.as_bytes();
    let mut out = String::with_capacity(segment.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escape = if byte == b'%' { escaped(bytes, at) } else { None };
        let value = escape.unwrap_or(byte);
        let is_plain = if escape.is_some() { is_unreserved(value) } else { value.is_ascii() };
        if is_plain {
            out.push(char::from(value));
        } else {
            write!(out, "%{value:02X}").expect("a string takes all");
        }
        at += if escape.is_some() { 3 } else { 1 };
    }
    Cow::Owned(out)
}

/// Appends the value of text (segments and the slashes between them) that was [`check`]ed.
pub(super) fn decode_into(text: &str, decode: Decode, out: &mut String) {
    if !text.contains('%') {
        out.push_str(text);
        return;
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match if byte == b'%' { escaped(bytes, at) } else { None } {
            Some(value) if value != b'/' || decode == Decode::All => {
                decoded.push(value);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    // Segment by segment this was found to be UTF-8, and a slash ends every sequence.
    out.push_str(&String::from_utf8_lossy(&decoded));
}

/// The value of the escape at `at`, if it is one.
pub(super) fn escaped(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let value = digit(at + 1)? << 4 | digit(at + 2)?;
    u8::try_from(value).ok()
}

/// RFC 3986, section 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_escapes_are_refused_with_their_place() {
        for (segment, at, fault) in [
            ("%", 0, Fault::Truncated),
            ("a%2", 1, Fault::Truncated),
            ("a%2g", 1, Fault::Truncated),
            ("%g0", 0, Fault::Truncated),
            ("%+1", 0, Fault::Truncated),
            ("ab%00", 2, Fault::Nul),
            ("a\0", 1, Fault::Nul),
            ("%ff", 0, Fault::NotUtf8),
            ("x%c3", 1, Fault::NotUtf8),
            // Overlong forms of `/`, `.` and NUL are not UTF-8.
            ("%c0%af", 0, Fault::NotUtf8),
            ("%e0%80%ae", 0, Fault::NotUtf8),
            ("%c0%80", 0, Fault::NotUtf8),
            // A surrogate.
            ("%ed%a0%80", 0, Fault::NotUtf8),
        ] {
            assert_eq!(check(segment), Err(EscapeError { at, fault }), "{segment}");
        }
    }

    #[test]
    fn normal_form_decodes_unreserved_only() {
        for (segment, expected) in [
            ("books", "books"),
            ("b%6fo%6Bs", "books"),
            ("%2e%2E", ".."),
            ("%7e%5f%2D", "~_-"),
            ("a%2fb", "a%2Fb"),
            ("a%3ab", "a%3Ab"),
            ("%252f", "%252f"),
            ("é", "%C3%A9"),
            ("%c3%a9", "%C3%A9"),
            ("a+b", "a+b"),
        ] {
            assert_eq!(check(segment), Ok(()), "{segment}");
            assert_eq!(normal(segment), expected, "{segment}");
        }
    }

    #[test]
    fn values_are_decoded_once() {
        for (text, all, keep_slash) in [
            ("abc", "abc", "abc"),
            ("a%2Fb%2fc", "a/b/c", "a%2Fb%2fc"),
            ("a/b%20c", "a/b c", "a/b c"),
            ("%252F", "%2F", "%2F"),
            ("%c3%a9/é", "é/é", "é/é"),
            ("a+b", "a+b", "a+b"),
        ] {
            let value = |decode| {
                let mut out = String::new();
                decode_into(text, decode, &mut out);
                out
            };
            assert_eq!(value(Decode::All), all, "{text}");
            assert_eq!(value(Decode::KeepSlash), keep_slash, "{text}");
        }
    }
}
