//! What went wrong at the backend, as a [`Status`]: trailers, plain HTTP replies, HTTP/2 errors.
//!
//! The tables are gRPC's: PROTOCOL-HTTP2.md ("Errors", "Responses") and http-grpc-status-mapping.md.

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderName};
use prost::Message as _;

use super::Failure;
use crate::codec::base64;
use crate::status::{Code, Detail, Status};

pub(super) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// Details beyond these are left out: a client has no use for them.
const DETAILS_MAX: usize = 32;
const DETAILS_BYTES_MAX: usize = 64 << 10;
const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// `google.rpc.Status`, as `grpc-status-details-bin` carries it; `code` and `message` are not read,
/// because `grpc-status` decides.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<RpcAny>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcAny {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// The outcome that `trailers` tell, their status fields removed; `None` without a `grpc-status`.
pub(super) fn from_trailers(trailers: &mut HeaderMap) -> Option<Result<(), Status>> {
    let number = trailers.remove(GRPC_STATUS)?;
    let message = trailers.remove(GRPC_MESSAGE);
    let details = trailers.remove(GRPC_STATUS_DETAILS);
    if number.as_bytes() == b"0" {
        return Some(Ok(()));
    }
    let code = std::str::from_utf8(number.as_bytes())
        .ok()
        .and_then(|number| number.parse().ok())
        .map_or(Code::Unknown, Code::from_number);
    if code == Code::Ok {
        return Some(Ok(())); // "00": odd, yet what it says.
    }
    let message = message.map(|message| percent_decode(message.as_bytes())).unwrap_or_default();
    let mut status = Status::backend(code, message);
    if let Some(details) = details {
        status.details = decode_details(details.as_bytes());
    }
    Some(Err(status))
}

/// A reply that is HTTP but not gRPC.
pub(super) fn from_http(number: u16) -> Status {
    if let Some(what) = too_large(number) {
        // The client made it so, and no backend may be judged by what its clients send.
        return Status::client(Code::InvalidArgument, what)
            .with_http(number)
            .with_reason("BACKEND_REQUEST_TOO_LARGE");
    }
    let code = match number {
        200 => Code::Unknown,
        number => Code::from_http(number),
    };
    Status::backend(code, format!("the backend answered with HTTP {number} and not with gRPC"))
        .with_reason("BACKEND_NOT_GRPC")
}

/// What a server of HTTP says by itself of a request that is over its bounds, which may be narrower than the gateway's:
/// hyper takes 16 KiB of headers, and answers with 431 for whatever speaks gRPC above it.
fn too_large(number: u16) -> Option<&'static str> {
    match number {
        413 => Some("the request is larger than the backend takes"),
        414 => Some("the path is longer than the backend takes"),
        431 => Some("the request's headers are larger than the backend takes"),
        _ => None,
    }
}

/// An error of the stream or its connection.
pub(super) fn from_h2(error: &h2::Error) -> Failure {
    if error.is_reset() {
        if !error.is_remote() {
            // We reset the stream ourselves: the backend broke a rule of HTTP/2.
            return Failure::sent(protocol_error("the backend's reply breaks HTTP/2"));
        }
        let reason = error.reason().unwrap_or(Reason::NO_ERROR);
        let status = Status::backend(
            from_reset(reason),
            format!("the backend reset the stream ({})", reason_name(reason)),
        )
        .with_reason("BACKEND_RESET");
        // RFC 9113, section 8.7: REFUSED_STREAM says that nothing was processed.
        return match reason {
            Reason::REFUSED_STREAM => Failure::refused(status),
            _ => Failure::sent(status),
        };
    }
    // RFC 9113, section 6.8: streams above the last identifier of a GOAWAY were not processed, and only those get the
    // GOAWAY as their error. It is said once for a connection, so that it multiplies no calls as refusals would.
    if error.is_go_away() && error.is_remote() { Failure::unsent(lost()) } else { Failure::sent(lost()) }
}

/// The backend breaks a rule of the protocol.
pub(crate) fn protocol_error(what: &'static str) -> Status {
    Status::backend(Code::Internal, what).with_reason("BACKEND_PROTOCOL_ERROR")
}

/// A call that ended without a status: gRPC's clients call that UNKNOWN.
pub(super) fn without_status() -> Status {
    Status::backend(Code::Unknown, "the backend ended the call without a status")
        .with_reason("BACKEND_PROTOCOL_ERROR")
}

/// The connection to the backend is gone.
pub(super) fn lost() -> Status {
    Status::backend(Code::Unavailable, "the connection to the backend was lost")
        .with_reason("BACKEND_CONNECTION_LOST")
}

/// PROTOCOL-HTTP2.md, "Errors": HTTP/2 error codes to gRPC codes.
fn from_reset(reason: Reason) -> Code {
    match reason {
        Reason::REFUSED_STREAM => Code::Unavailable,
        Reason::CANCEL => Code::Cancelled,
        Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        Reason::STREAM_CLOSED | Reason::HTTP_1_1_REQUIRED => Code::Unknown,
        _ => Code::Internal,
    }
}

/// The name in RFC 9113, section 7.
fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::NO_ERROR => "NO_ERROR",
        Reason::PROTOCOL_ERROR => "PROTOCOL_ERROR",
        Reason::INTERNAL_ERROR => "INTERNAL_ERROR",
        Reason::FLOW_CONTROL_ERROR => "FLOW_CONTROL_ERROR",
        Reason::SETTINGS_TIMEOUT => "SETTINGS_TIMEOUT",
        Reason::STREAM_CLOSED => "STREAM_CLOSED",
        Reason::FRAME_SIZE_ERROR => "FRAME_SIZE_ERROR",
        Reason::REFUSED_STREAM => "REFUSED_STREAM",
        Reason::CANCEL => "CANCEL",
        Reason::COMPRESSION_ERROR => "COMPRESSION_ERROR",
        Reason::CONNECT_ERROR => "CONNECT_ERROR",
        Reason::ENHANCE_YOUR_CALM => "ENHANCE_YOUR_CALM",
        Reason::INADEQUATE_SECURITY => "INADEQUATE_SECURITY",
        Reason::HTTP_1_1_REQUIRED => "HTTP_1_1_REQUIRED",
        _ => "unknown code",
    }
}

/// `grpc-message` decoded; malformed escapes stay as they are, "MUST NOT error or throw away".
fn percent_decode(text: &[u8]) -> String {
    let text = &text[..text.len().min(MESSAGE_BYTES_MAX)];
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if let (b'%', [high, low, tail @ ..]) = (byte, tail)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push(high << 4 | low);
            rest = tail;
        } else {
            out.push(*byte);
        }
    }
    match String::from_utf8(out) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The details of `grpc-status-details-bin`; none when it is malformed or out of bounds, because the
/// status itself must not suffer from it.
fn decode_details(text: &[u8]) -> Vec<Detail> {
    if text.len() > DETAILS_BYTES_MAX {
        return Vec::new();
    }
    let mut wire = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let decoded = base64::decode(text, &mut wire).ok();
    let Some(status) = decoded.and_then(|()| RpcStatus::decode(Bytes::from(wire)).ok()) else {
        tracing::debug!("`grpc-status-details-bin` of a backend is malformed");
        return Vec::new();
    };
    let details = status.details.into_iter().take(DETAILS_MAX);
    details.map(|any| Detail { type_url: any.type_url, value: any.value }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Blame;

    fn trailers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a value")))
            .collect()
    }

    #[test]
    fn codes_and_messages() {
        #[track_caller]
        fn check(number: &str, message: &str, code: Code, expected: &str) {
            let mut trailers = trailers(&[("grpc-status", number), ("grpc-message", message), ("x", "y")]);
            let outcome = from_trailers(&mut trailers).expect("a status");
            let status = outcome.expect_err("a failure");
            assert_eq!((status.code, &*status.message), (code, expected));
            assert_eq!(trailers.len(), 1);
        }
        check("5", "no such book", Code::NotFound, "no such book");
        check("5", "caf%C3%A9 100%25", Code::NotFound, "café 100%");
        check("5", "100% %zz %4", Code::NotFound, "100% %zz %4");
        check("5", "%ff", Code::NotFound, "\u{fffd}");
        check("99", "", Code::Unknown, "");
        check("-1", "", Code::Unknown, "");
        check("five", "", Code::Unknown, "");
        check("18446744073709551616", "", Code::Unknown, "");
        assert_eq!(from_trailers(&mut trailers(&[("grpc-status", "0")])), Some(Ok(())));
        assert_eq!(from_trailers(&mut trailers(&[("grpc-message", "x")])), None);
    }

    #[test]
    fn details_are_bounded_and_never_fatal() {
        #[track_caller]
        fn check(details: &str, expected: &[(&str, &[u8])]) {
            let mut trailers = trailers(&[("grpc-status", "3"), ("grpc-status-details-bin", details)]);
            let status = from_trailers(&mut trailers).expect("a status").expect_err("a failure");
            assert_eq!(status.code, Code::InvalidArgument);
            let details: Vec<_> = status.details.iter().map(|d| (&*d.type_url, &d.value[..])).collect();
            assert_eq!(details, expected);
        }
        // Status { code: 5, message: "m", details: [Any { type_url: "t/a", value: "\x08\x01" }] }.
        check("CAUSAW0aCQoDdC9hEgIIAQ==", &[("t/a", b"\x08\x01")]);
        check("CAUSAW0aCQoDdC9hEgIIAQ", &[("t/a", b"\x08\x01")]);
        check("CAUSAW0aCQoDdC9hEgIIA", &[]);
        check("!!!", &[]);
        check("", &[]);
        // Three details without a type or a value a group of eight characters; 32 are kept.
        check(&"GgAaABoA".repeat(10), &[("", &b""[..]); 30]);
        check(&"GgAaABoA".repeat(11), &[("", &b""[..]); 32]);
        check(&"GgAaABoA".repeat(DETAILS_BYTES_MAX / 8 + 1), &[]);
    }

    #[test]
    fn plain_http() {
        for (number, code) in [
            (200, Code::Unknown),
            (302, Code::Unknown),
            (400, Code::Internal),
            (401, Code::Unauthenticated),
            (403, Code::PermissionDenied),
            (404, Code::Unimplemented),
            (429, Code::Unavailable),
            (500, Code::Unknown),
            (502, Code::Unavailable),
            (503, Code::Unavailable),
            (504, Code::Unavailable),
        ] {
            let status = from_http(number);
            assert_eq!((status.code, status.blame, status.http), (code, Blame::Backend, None), "{number}");
        }
        for number in [413, 414, 431] {
            let status = from_http(number);
            let found = (status.code, status.blame, status.http_number());
            assert_eq!(found, (Code::InvalidArgument, Blame::Client, number));
            assert_eq!(status.reason(), Some("BACKEND_REQUEST_TOO_LARGE"));
        }
    }

    #[test]
    fn resets() {
        for (reason, code) in [
            (0, Code::Internal),
            (1, Code::Internal),
            (2, Code::Internal),
            (3, Code::Internal),
            (4, Code::Internal),
            (5, Code::Unknown),
            (6, Code::Internal),
            (7, Code::Unavailable),
            (8, Code::Cancelled),
            (9, Code::Internal),
            (10, Code::Internal),
            (11, Code::ResourceExhausted),
            (12, Code::PermissionDenied),
            (13, Code::Unknown),
            (99, Code::Internal),
        ] {
            assert_eq!(from_reset(Reason::from(reason)), code, "{reason}");
        }
    }
}
