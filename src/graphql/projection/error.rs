//! Field errors: what could not be told, where in the response, and where the document asks for it.

use crate::codec::wire::WireError;
pub use crate::graphql::document::Location;
use crate::status::{Code, Status};

/// A step of the path from the response's `data` to a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A name, or the alias in its place.
    Key(Box<str>),
    /// A place in a list.
    Index(usize),
}

/// Why a field is null, or why its parent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub path: Box<[Step]>,
    pub location: Location,
    pub status: Status,
}

/// How many keys the links of one operation have by default: each takes some hundred bytes, a few on the wire.
pub const KEYS_MAX: usize = 10_000;

/// The errors of one operation, of which only so many are kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Errors {
    pub kept: Vec<FieldError>,
    /// Those that were not kept.
    pub more: usize,
    /// How many are kept.
    pub max: usize,
}

/// How many errors of one operation are told by default: a list may hold any number of values that cannot be.
pub const ERRORS_MAX: usize = 100;

impl Default for Errors {
    fn default() -> Self {
        Self { kept: Vec::new(), more: 0, max: ERRORS_MAX }
    }
}

impl Errors {
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Keeps what `error` makes, within the bound.
    pub fn push(&mut self, error: impl FnOnce() -> FieldError) {
        if self.kept.len() < self.max { self.kept.push(error()) } else { self.more += 1 }
    }
}

/// What is wrong with one value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the backend's value {0} is none of `{1}`")]
    Enum(i32, Box<str>),
    #[error("the backend's number is not finite")]
    NotFinite,
    #[error("the backend's string is not valid UTF-8")]
    Utf8,
    #[error("the backend's message has no such value, which it must have")]
    Missing,
    #[error("the links of the operation have more than {0} keys")]
    Keys(usize),
    #[error("{}", .0.message)]
    Json(Box<Status>),
}

impl Fault {
    pub(super) fn status(self) -> Status {
        match self {
            Self::Json(status) => *status,
            Self::Keys(_) => {
                Status::gateway(Code::ResourceExhausted, self.to_string()).with_reason("LINK_LIMIT")
            }
            fault => Status::backend(Code::Internal, fault.to_string()).with_reason("INVALID_VALUE"),
        }
    }
}
