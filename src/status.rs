//! The one vocabulary of failure: a gRPC [`Code`], a message, typed details and whose fault it was.
//!
//! Every room returns [`Status`]; only room 8 (`frontend`) renders it. Domain modules have small error
//! enums of their own and turn them into a `Status` in one place. Details are `google.protobuf.Any`
//! already in wire form, because that is what a backend sends and what `grpc-status-details-bin`
//! carries: the gateway's own (`ErrorInfo`, `BadRequest`, `RetryInfo`) are encoded here by hand, which
//! takes a dozen lines and spares a generated crate.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

/// Domain of every `google.rpc.ErrorInfo` that the gateway itself emits.
pub const ERROR_DOMAIN: &str = "transom";

/// A failed call: what the client is told, and who is to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub code: Code,
    /// Shown to the client: never an internal address, key material or parser internals.
    pub message: Cow<'static, str>,
    /// `google.rpc.Status.details`.
    pub details: Vec<Detail>,
    pub blame: Blame,
    /// The HTTP number where the gRPC code is too coarse: 405, 408, 413, 414, 415, 431.
    pub http: Option<u16>,
    /// What `Allow` says with a 405 (RFC 9110, section 15.5.6).
    pub allow: Option<Box<str>>,
}

/// One `google.protobuf.Any` of `google.rpc.Status.details`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    pub type_url: String,
    /// The serialized message.
    pub value: Bytes,
}

/// Whose fault a failure is: breakers and metrics count only what the backend did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    Client,
    Gateway,
    Backend,
}

/// The canonical gRPC status codes (`google/rpc/code.proto`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Status {
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>, blame: Blame) -> Self {
        Self { code, message: message.into(), details: Vec::new(), blame, http: None, allow: None }
    }

    /// The client sent something wrong.
    pub fn client(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code, message, Blame::Client)
    }

    /// The gateway refuses or cannot go on.
    pub fn gateway(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code, message, Blame::Gateway)
    }

    /// The backend failed or answered nonsense.
    pub fn backend(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code, message, Blame::Backend)
    }

    /// `INVALID_ARGUMENT` with a `google.rpc.BadRequest` naming the JSON path `field`, or no field where the body
    /// as a whole cannot be read.
    pub fn invalid_field(field: &str, description: &str) -> Self {
        let field = &*clip(field);
        let (message, reason) = if field.is_empty() {
            (description.to_owned(), "INVALID_BODY")
        } else {
            (format!("`{field}`: {description}"), "INVALID_FIELD")
        };
        Self::client(Code::InvalidArgument, message).with_violation(field, description).with_reason(reason)
    }

    /// Adds a `google.rpc.BadRequest` with one field violation.
    pub fn with_violation(self, field: &str, description: &str) -> Self {
        self.with_violations([(field, description, "")])
    }

    /// Adds a `google.rpc.BadRequest`: of each violation the field, its description and its reason.
    pub fn with_violations<'v>(
        mut self,
        violations: impl IntoIterator<Item = (&'v str, &'v str, &'v str)>,
    ) -> Self {
        // BadRequest.field_violations = 1; FieldViolation { field = 1, description = 2, reason = 3 }.
        let mut value = Vec::new();
        for (field, description, reason) in violations {
            let mut violation = Vec::new();
            put_string(&mut violation, 1, &clip(field));
            put_string(&mut violation, 2, description);
            put_string(&mut violation, 3, reason);
            put_bytes(&mut value, 1, &violation);
        }
        self.details.push(Detail::new("google.rpc.BadRequest", value));
        self
    }

    /// Somewhere there are as many calls as there can be.
    pub fn overloaded() -> Self {
        Self::gateway(Code::Unavailable, "too many calls are in flight")
            .with_reason("OVERLOADED")
            .with_retry(Duration::from_secs(1))
    }

    /// The service fails, and is left alone for a while.
    pub fn breaker_open(retry: Duration) -> Self {
        Self::gateway(Code::Unavailable, "the service is failing and is not called for now")
            .with_reason("BREAKER_OPEN")
            .with_retry(retry)
    }

    /// Adds a `google.rpc.ErrorInfo` with `reason` (UPPER_SNAKE_CASE) in the domain `transom`.
    pub fn with_reason(mut self, reason: &str) -> Self {
        // ErrorInfo { reason = 1, domain = 2 }.
        let mut value = Vec::new();
        put_string(&mut value, 1, reason);
        put_string(&mut value, 2, ERROR_DOMAIN);
        self.details.push(Detail::new("google.rpc.ErrorInfo", value));
        self
    }

    /// Adds a `google.rpc.RetryInfo`; the frontend turns it into `Retry-After`.
    pub fn with_retry(mut self, delay: Duration) -> Self {
        // RetryInfo { retry_delay = 1 }; Duration { seconds = 1, nanos = 2 }.
        let mut duration = Vec::new();
        put_varint_field(&mut duration, 1, delay.as_secs());
        put_varint_field(&mut duration, 2, u64::from(delay.subsec_nanos()));
        let mut value = Vec::new();
        put_bytes(&mut value, 1, &duration);
        self.details.push(Detail::new("google.rpc.RetryInfo", value));
        self
    }

    /// The reason of its `google.rpc.ErrorInfo`, if [`Self::with_reason`] gave it one.
    pub fn reason(&self) -> Option<&str> {
        let info = self.details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.ErrorInfo"))?;
        // ErrorInfo { reason = 1 }, the first of its fields and never as long as 128 bytes.
        let (length, rest) = info.value.strip_prefix(&[0x0a])?.split_first()?;
        std::str::from_utf8(rest.get(..usize::from(*length))?).ok().filter(|_| *length < 0x80)
    }

    /// Whether a detail has nothing to say but [`Self::reason`].
    pub fn is_own_reason(&self, detail: &Detail) -> bool {
        let is_own = |reason| {
            let own = Self::gateway(Code::Unknown, "").with_reason(reason);
            own.details.iter().any(|own| own.value == detail.value)
        };
        detail.type_url.ends_with("/google.rpc.ErrorInfo") && self.reason().is_some_and(is_own)
    }

    /// Sets the HTTP number that REST clients see.
    pub fn with_http(mut self, number: u16) -> Self {
        self.http = Some(number);
        self
    }

    /// The HTTP number of this status.
    pub fn http_number(&self) -> u16 {
        self.http.unwrap_or_else(|| self.code.http_number())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Status {}

impl Detail {
    /// A detail of the message type `full_name`, under the usual `type.googleapis.com/` prefix.
    pub fn new(full_name: &str, value: impl Into<Bytes>) -> Self {
        Self { type_url: format!("type.googleapis.com/{full_name}"), value: value.into() }
    }
}

impl Code {
    /// Every code, by number.
    pub const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The code with this number; numbers outside the table are `UNKNOWN`, as gRPC prescribes.
    pub fn from_number(number: u64) -> Self {
        usize::try_from(number).ok().and_then(|index| Self::ALL.get(index).copied()).unwrap_or(Self::Unknown)
    }

    pub const fn number(self) -> u8 {
        self as u8
    }

    /// HTTP mapping, from the comments of `google/rpc/code.proto`.
    pub const fn http_number(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::Cancelled => 499,
            Self::InvalidArgument | Self::FailedPrecondition | Self::OutOfRange => 400,
            Self::Unauthenticated => 401,
            Self::PermissionDenied => 403,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Aborted => 409,
            Self::ResourceExhausted => 429,
            Self::Unknown | Self::Internal | Self::DataLoss => 500,
            Self::Unimplemented => 501,
            Self::Unavailable => 503,
            Self::DeadlineExceeded => 504,
        }
    }

    /// The gRPC code for a backend that answered with plain HTTP (gRPC's `http-grpc-status-mapping.md`).
    pub const fn from_http(number: u16) -> Self {
        match number {
            400 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            429 | 502 | 503 | 504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    /// The name as `code.proto` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A path can hold names and keys of the client's own making, as long as its whole request.
fn clip(path: &str) -> Cow<'_, str> {
    const PATH_BYTES_MAX: usize = 500;
    if path.len() <= PATH_BYTES_MAX {
        return Cow::Borrowed(path);
    }
    Cow::Owned(format!("{}…", &path[..path.floor_char_boundary(PATH_BYTES_MAX)]))
}

fn put_string(out: &mut Vec<u8>, number: u8, text: &str) {
    if !text.is_empty() {
        put_bytes(out, number, text.as_bytes());
    }
}

fn put_bytes(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint_field(out: &mut Vec<u8>, number: u8, value: u64) {
    if value != 0 {
        out.push(number << 3);
        put_varint(out, value);
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for code in Code::ALL {
            assert_eq!(Code::from_number(u64::from(code.number())), code);
        }
        assert_eq!(Code::from_number(17), Code::Unknown);
        assert_eq!(Code::from_number(u64::MAX), Code::Unknown);
    }

    #[test]
    fn long_paths_are_cut() {
        let message = |path: &str| Status::invalid_field(path, "no").message;
        assert_eq!(message(&"x".repeat(500)), format!("`{}`: no", "x".repeat(500)));
        assert_eq!(message(&"x".repeat(501)), format!("`{}…`: no", "x".repeat(500)));
        assert_eq!(message(&"ä".repeat(1000)), format!("`{}…`: no", "ä".repeat(250)));
    }

    #[test]
    fn reasons_are_read_back() {
        assert_eq!(Status::client(Code::NotFound, "").with_reason("NO_SUCH").reason(), Some("NO_SUCH"));
        assert_eq!(Status::client(Code::NotFound, "").reason(), None);
        for foreign in [&b""[..], b"\x0a", b"\x0a\x05ab", b"\x12\x01a", b"\x0a\xff\x01a", b"\x0a\x01\xff"] {
            let details = vec![Detail::new("google.rpc.ErrorInfo", foreign)];
            assert_eq!(Status { details, ..Status::client(Code::NotFound, "") }.reason(), None);
        }
    }

    #[test]
    fn violation_is_a_bad_request_in_wire_form() {
        let status = Status::invalid_field("a.b", "no");
        assert_eq!(status.message, "`a.b`: no");
        assert_eq!(status.details[0].type_url, "type.googleapis.com/google.rpc.BadRequest");
        assert_eq!(&status.details[0].value[..], b"\x0a\x09\x0a\x03a.b\x12\x02no");
    }
}
