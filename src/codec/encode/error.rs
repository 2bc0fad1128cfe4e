//! Why a backend's message has no JSON form: a [`Fault`] and the path of the field that has it.
//!
//! Boxed, so that a `Result` of the hot path fits in one register; the path is put together while the
//! error travels up, so that a good message pays nothing for it. What a reply's reader is told names
//! fields of the API it already knows, never a value.

use super::super::wire::WireError;
use crate::schema::plan::{FieldPlan, MessagePlan};
use crate::status::{Code, Status};

pub(super) type Result<T> = std::result::Result<T, Box<Failure>>;

/// A [`Fault`] and where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Proto names from the innermost field outwards.
    path: Vec<Box<str>>,
    fault: Fault,
}

/// What can be wrong with bytes that should be a message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("nested deeper than {0} levels")]
    Depth(u16),
    #[error("split into parts on too many levels")]
    Merging,
    #[error("longer than 4 GiB")]
    Length,
    #[error("its JSON is too long")]
    JsonLength,
    #[error("string is not valid UTF-8")]
    Utf8,
    #[error("timestamp is not within the years 1 to 9999")]
    Timestamp,
    #[error("duration is out of range or its parts differ in sign")]
    Duration,
    #[error("field mask path has no JSON form")]
    FieldMask,
    #[error("`google.protobuf.Value` holds no kind of value")]
    ValueKind,
    #[error("`google.protobuf.Value` holds a number that JSON does not have")]
    ValueNumber,
    #[error("`google.protobuf.Any` holds a value without a type")]
    AnyType,
}

impl Failure {
    /// Names the field that a failure went through on its way up.
    #[cold]
    pub(super) fn within(mut self: Box<Self>, field: &FieldPlan) -> Box<Self> {
        self.path.push(field.name.clone());
        self
    }

    /// Leaves the field unnamed: it may be one that is not to be seen.
    #[cold]
    pub(super) fn unnamed(mut self: Box<Self>) -> Box<Self> {
        self.path.clear();
        self
    }

    /// The failure as the client sees it: the backend's fault, unless it is our own bound.
    #[cold]
    pub(super) fn status(&self, plan: &MessagePlan) -> Status {
        if self.fault == Fault::JsonLength {
            let message = format!("the backend's `{}` is too long as JSON", plan.full_name);
            return Status::gateway(Code::ResourceExhausted, message).with_reason("MESSAGE_TOO_LARGE");
        }
        let mut message = format!("the backend's `{}` has no JSON form: ", plan.full_name);
        if !self.path.is_empty() {
            let path: Vec<&str> = self.path.iter().rev().map(|name| &**name).collect();
            message.push_str(&format!("`{}`: ", path.join(".")));
        }
        message.push_str(&self.fault.to_string());
        Status::backend(Code::Internal, message)
    }
}

impl From<Fault> for Box<Failure> {
    #[cold]
    fn from(fault: Fault) -> Self {
        Self::new(Failure { path: Vec::new(), fault })
    }
}

impl From<WireError> for Box<Failure> {
    #[cold]
    fn from(error: WireError) -> Self {
        Fault::Wire(error).into()
    }
}
