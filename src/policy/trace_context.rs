//! W3C Trace Context: which trace a request belongs to, as `traceparent` says.
//!
//! ```text
//! traceparent = version "-" trace-id "-" parent-id "-" trace-flags     ("-" more, in versions to come)
//!             = 2HEX    "-" 32HEX    "-" 16HEX     "-" 2HEX            HEX in lower case
//! ```
//!
//! A header that is not well-formed is as good as none, and `tracestate` is nothing without it (section 3.2 of the
//! recommendation).

use http::{HeaderMap, HeaderName, HeaderValue};

use super::balance::mix;
use super::hex;
use super::request_id::unindexed;

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Its text: two digits, 32, 16 and two, with hyphens between.
const BYTES: usize = 55;
/// Section 3.2.2.5: the caller may have recorded its part.
pub const SAMPLED: u8 = 1;
/// Level 2, section 3.2.2.5: the last seven bytes of the trace's id are random.
pub const RANDOM: u8 = 2;

/// The name of a trace, never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub [u8; 16]);

/// A place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: TraceId,
    /// The span that calls.
    pub parent_id: [u8; 8],
    pub flags: u8,
}

impl TraceContext {
    /// Where the sender of these headers is.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let value = values.next()?;
        // Section 3.2: a header given twice says nothing.
        values.next().is_none().then(|| Self::parse(value.as_bytes()))?
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(BYTES)?;
        let [version] = parse_hex(known.get(..2)?)?;
        // Section 4: what a later version says beyond this stands after another hyphen.
        let is_whole = more.is_empty() || version > 0 && more.starts_with(b"-");
        let hyphens = [2, 35, 52].iter().all(|at| known.get(*at) == Some(&b'-'));
        if version == 0xff || !is_whole || !hyphens {
            return None;
        }
        let trace_id = TraceId(parse_hex(known.get(3..35)?)?);
        let parent_id = parse_hex(known.get(36..52)?)?;
        let [flags] = parse_hex(known.get(53..)?)?;
        let is_named = trace_id.0 != [0; 16] && parent_id != [0; 8];
        is_named.then_some(Self { trace_id, parent_id, flags })
    }

    /// The span of an attempt of this one at an endpoint.
    pub fn attempt(&self, number: usize) -> Self {
        self.child(2 * number as u64)
    }

    /// The span of a stage of this one.
    pub fn stage(&self, number: usize) -> Self {
        self.child(2 * number as u64 + 1)
    }

    /// Whoever knows a span knows its children: none has to be remembered.
    fn child(&self, number: u64) -> Self {
        let id = mix(u64::from_be_bytes(self.parent_id) ^ mix(number)).max(1);
        Self { parent_id: id.to_be_bytes(), ..*self }
    }

    /// Whether the sender may have recorded its part of the trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

impl TraceId {
    /// 32 hexadecimal digits.
    pub fn digits(&self) -> [u8; 32] {
        let mut digits = [0; 32];
        hex::put(&self.0, &mut digits);
        digits
    }
}

impl From<TraceContext> for HeaderValue {
    /// Version 00, whatever the sender's was.
    fn from(context: TraceContext) -> Self {
        let mut text = *b"00-................................-................-..";
        let (before, flags) = text.split_at_mut(53);
        hex::put(&context.trace_id.0, &mut before[3..35]);
        hex::put(&context.parent_id, &mut before[36..52]);
        hex::put(&[context.flags], flags);
        unindexed(Self::from_bytes(&text).expect("digits and hyphens are a header value"))
    }
}

/// Digits in lower case alone: section 3.2.2.3 has no others.
fn parse_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<String> {
        let headers =
            values.iter().map(|value| (TRACEPARENT, HeaderValue::from_str(value).expect("a header value")));
        let context = TraceContext::of(&HeaderMap::from_iter(headers))?;
        Some(HeaderValue::from(context).to_str().expect("ASCII").to_owned())
    }

    #[test]
    fn well_formed_headers_are_read_and_written() {
        let check = |value: &str, expected: &str| assert_eq!(read(&[value]).as_deref(), Some(expected));
        let plain = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        check(plain, plain);
        check(&plain.replace("-01", "-ff"), &plain.replace("-01", "-ff"));
        // A later version is read as far as it is known, and answered in ours.
        check(&plain.replacen("00", "cc", 1), plain);
        check(&format!("{}-what-the-future-brings", plain.replacen("00", "01", 1)), plain);
    }

    #[test]
    fn malformed_headers_are_as_good_as_none() {
        let plain = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for value in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47360-0f067aa0ba902b7-01",
        ] {
            assert_eq!(read(&[value]), None, "{value:?}");
        }
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[plain, plain]), None, "given twice");
    }

    #[test]
    fn children_are_spans_of_their_own_in_the_same_trace() {
        let text = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent = TraceContext::parse(text).expect("well-formed");
        let children = (0..8).flat_map(|number| [parent.attempt(number), parent.stage(number)]);
        let mut ids = vec![parent.parent_id];
        for child in children {
            assert_eq!((child.trace_id, child.flags), (parent.trace_id, parent.flags));
            assert!(!ids.contains(&child.parent_id), "{child:?}");
            ids.push(child.parent_id);
        }
        assert_eq!(parent.attempt(0), parent.attempt(0));
    }

    #[test]
    fn one_flag_says_that_the_sender_records() {
        for (flags, expected) in [("00", false), ("01", true), ("02", false), ("03", true)] {
            let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            let context = TraceContext::parse(text.as_bytes()).expect("well-formed");
            assert_eq!(context.is_sampled(), expected, "{flags}");
        }
    }
}
