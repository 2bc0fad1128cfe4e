//! What a listener refuses by itself, before a request reaches the gateway.
//!
//! A head that is not well-formed never becomes a request, so no frontend can answer it: the JSON is
//! written here, by hand, from fixed texts that need no escaping.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderValue;

use crate::status::{Code, Status};

/// Why a head or a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not HTTP/1, or a shape that two parsers may read differently; the text says what.
    Malformed(&'static str),
    UriTooLong,
    HeadersTooLarge,
    TooManyHeaders,
    HeadTimeout,
    /// HTTP without TLS at a listener that has it.
    PlainText,
}

impl Refusal {
    pub(super) fn http_number(self) -> u16 {
        match self {
            Self::Malformed(_) | Self::PlainText => 400,
            Self::UriTooLong => 414,
            Self::HeadersTooLarge | Self::TooManyHeaders => 431,
            Self::HeadTimeout => 408,
        }
    }

    fn phrase(self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::PlainText => "Bad Request",
            Self::UriTooLong => "URI Too Long",
            Self::HeadersTooLarge | Self::TooManyHeaders => "Request Header Fields Too Large",
            Self::HeadTimeout => "Request Timeout",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Malformed(_) => "MALFORMED_REQUEST",
            Self::UriTooLong => "URI_TOO_LONG",
            Self::HeadersTooLarge | Self::TooManyHeaders => "HEADERS_TOO_LARGE",
            Self::HeadTimeout => "HEAD_TIMEOUT",
            Self::PlainText => "TLS_REQUIRED",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Malformed(what) => what,
            Self::UriTooLong => "the request line is too long",
            Self::HeadersTooLarge => "the request headers are too large",
            Self::TooManyHeaders => "the request has too many headers",
            Self::HeadTimeout => "the request head did not arrive in time",
            Self::PlainText => "plain HTTP was sent to a port for HTTPS",
        }
    }

    fn code(self) -> Code {
        match self {
            Self::Malformed(_)
            | Self::PlainText
            | Self::UriTooLong
            | Self::HeadersTooLarge
            | Self::TooManyHeaders => Code::InvalidArgument,
            Self::HeadTimeout => Code::DeadlineExceeded,
        }
    }

    /// The same as a status, for a body that turns out malformed.
    pub(super) fn status(self) -> Status {
        Status::client(self.code(), Cow::Borrowed(self.message()))
            .with_reason(self.reason())
            .with_http(self.http_number())
    }

    /// `google.rpc.Status` as JSON.
    pub(super) fn json(self) -> Bytes {
        let (code, message, reason) = (self.code().number(), self.message(), self.reason());
        format!(
            "{{\"code\":{code},\"message\":\"{message}\",\"details\":[{{\"@type\":\
             \"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"{reason}\",\"domain\":\"transom\"}}]}}"
        )
        .into()
    }

    /// The whole HTTP/1.1 reply; the connection closes after it.
    pub(super) fn http1_reply(self, request_id: &HeaderValue) -> Vec<u8> {
        let json = self.json();
        let mut reply = format!(
            "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\nx-request-id: ",
            self.http_number(),
            self.phrase(),
            json.len()
        )
        .into_bytes();
        reply.extend_from_slice(request_id.as_bytes());
        reply.extend_from_slice(b"\r\n\r\n");
        reply.extend_from_slice(&json);
        reply
    }
}
