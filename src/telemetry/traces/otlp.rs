//! The messages of OTLP 1.x that a span takes, by their numbers in `opentelemetry/proto/trace/v1/trace.proto` and
//! its neighbours.
//!
//! Written out instead of generated: these are a tenth of what the files have, and a field's number never changes.
//! A [`Span`] is written once, by the worker that has served its call, and is bytes from there on: on the wire, a
//! field of bytes is what a field of messages is.

use bytes::Bytes;
use prost::encoding::{WireType, encoded_len_varint};

use crate::policy::trace_context::TraceContext;

/// `/opentelemetry.proto.collector.trace.v1.TraceService/Export`
pub(super) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(super) rejected_spans: i64,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub(super) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(super) scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AnyValue {
    #[prost(string, tag = "1")]
    pub(super) text: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub(super) scope: Option<Scope>,
    /// Each of them a [`Span`].
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(super) spans: Vec<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Scope {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
}

impl KeyValue {
    pub(super) fn text(key: &str, value: &str) -> Self {
        Self { key: key.to_owned(), value: Some(AnyValue { text: value.to_owned() }) }
    }
}

/// A span that is being written, field by field.
#[derive(Debug)]
pub(super) struct Span<'o>(&'o mut Vec<u8>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
}

/// `STATUS_CODE_ERROR`
const ERROR: u64 = 2;

impl<'o> Span<'o> {
    /// What every span has: its own place, the span that it is under, a name in parts, and when it began and ended,
    /// in nanoseconds since 1970.
    pub(super) fn open(
        out: &'o mut Vec<u8>,
        own: &TraceContext,
        parent: &[u8],
        kind: Kind,
        name: &[&str],
        times: [u64; 2],
    ) -> Self {
        let mut span = Self(out);
        span.bytes(1, &own.trace_id.0);
        span.bytes(2, &own.parent_id);
        span.bytes(4, parent);
        span.head(5, name.iter().map(|part| part.len()).sum());
        name.iter().for_each(|part| span.0.extend_from_slice(part.as_bytes()));
        span.number(6, kind as u64);
        for (tag, time) in [7, 8].into_iter().zip(times) {
            span.key(tag, WireType::SixtyFourBit);
            span.0.extend_from_slice(&time.to_le_bytes());
        }
        span.key(16, WireType::ThirtyTwoBit);
        span.0.extend_from_slice(&u32::from(own.flags).to_le_bytes());
        span
    }

    /// `attributes = 9 { key = 1, value = 2 { string_value = 1 } }`
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.attribute(key, field_bytes(value.len()));
        self.bytes(1, value.as_bytes());
    }

    /// `attributes = 9 { key = 1, value = 2 { int_value = 3 } }`
    pub(super) fn integer(&mut self, key: &str, value: u64) {
        self.attribute(key, 1 + encoded_len_varint(value));
        self.number(3, value);
    }

    /// `status = 15 { message = 2, code = 3 }`
    pub(super) fn fail(&mut self, message: &str) {
        self.head(15, field_bytes(message.len()) + 2);
        self.bytes(2, message.as_bytes());
        self.number(3, ERROR);
    }

    /// An attribute up to its value, of which so many bytes come next.
    fn attribute(&mut self, key: &str, value_bytes: usize) {
        self.head(9, field_bytes(key.len()) + field_bytes(value_bytes));
        self.bytes(1, key.as_bytes());
        self.head(2, value_bytes);
    }

    #[inline]
    fn bytes(&mut self, tag: u32, value: &[u8]) {
        self.head(tag, value.len());
        self.0.extend_from_slice(value);
    }

    /// The head of a field of which so many bytes come next.
    #[inline]
    fn head(&mut self, tag: u32, bytes: usize) {
        self.key(tag, WireType::LengthDelimited);
        self.varint(bytes as u64);
    }

    #[inline]
    fn number(&mut self, tag: u32, number: u64) {
        self.key(tag, WireType::Varint);
        self.varint(number);
    }

    #[inline]
    fn key(&mut self, tag: u32, wire_type: WireType) {
        self.varint((tag << 3 | wire_type as u32).into());
    }

    /// Most are of one byte.
    #[inline]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// What a field of so many bytes takes, with its head. Numbers up to 15 take one byte.
fn field_bytes(bytes: usize) -> usize {
    1 + encoded_len_varint(bytes as u64) + bytes
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::trace::v1;
    use prost::Message;

    use super::*;
    use crate::policy::trace_context::TraceId;

    #[test]
    fn spans_are_what_opentelemetry_reads() {
        let own = TraceContext { trace_id: TraceId([7; 16]), parent_id: [8; 8], flags: 3 };
        // Lengths of one byte and of two, of the text, of what is around it, and of what is around that.
        for length in [0, 1, 100, 110, 120, 122, 124, 126, 127, 128, 129, 300] {
            let text = "x".repeat(length);
            let mut out = Vec::new();
            let mut span =
                Span::open(&mut out, &own, &[9; 8], Kind::Client, &["a.B", "/", "C"], [1, u64::MAX]);
            span.text("text", &text);
            span.integer("least", 0);
            span.integer("most", i64::MAX as u64);
            span.fail(&text);
            let read = v1::Span::decode(&out[..]).expect("a span");
            assert_eq!((&read.trace_id[..], &read.span_id[..]), (&[7; 16][..], &[8; 8][..]));
            assert_eq!((&read.parent_span_id[..], read.flags), (&[9; 8][..], 3));
            assert_eq!((read.name.as_str(), read.kind()), ("a.B/C", v1::span::SpanKind::Client));
            assert_eq!((read.start_time_unix_nano, read.end_time_unix_nano), (1, u64::MAX));
            let status = read.status.expect("a status");
            assert_eq!((status.code(), &status.message), (v1::status::StatusCode::Error, &text));
            let attributes = read.attributes.into_iter();
            let attributes: Vec<_> =
                attributes.map(|pair| (pair.key, pair.value.and_then(|value| value.value))).collect();
            let expected = [
                ("text", Value::StringValue(text)),
                ("least", Value::IntValue(0)),
                ("most", Value::IntValue(i64::MAX)),
            ];
            assert_eq!(attributes, expected.map(|(key, value)| (key.to_owned(), Some(value))));
        }
    }

    #[test]
    fn a_span_without_parent_is_a_root() {
        let own = TraceContext { trace_id: TraceId([7; 16]), parent_id: [8; 8], flags: 2 };
        let mut out = Vec::new();
        Span::open(&mut out, &own, &[], Kind::Server, &["GET"], [1, 2]);
        let read = v1::Span::decode(&out[..]).expect("a span");
        assert!(read.parent_span_id.is_empty() && read.status.is_none() && read.attributes.is_empty());
        assert_eq!(read.kind(), v1::span::SpanKind::Server);
    }
}
