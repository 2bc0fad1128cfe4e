//! The types of expressions, and those of what the path of a request captures.

use std::fmt;

use super::syntax::Literal;
use crate::schema::Schema;
use crate::schema::plan::MessageId;

/// A CEL type, as far as it is known before there is a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Known only at run time: what a claim holds.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Timestamp,
    Duration,
    List(Box<Type>),
    Map(Box<Type>, Box<Type>),
    Message(MessageType),
}

/// A message type that has no form of its own in CEL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageType {
    pub(super) id: MessageId,
    pub(super) name: Box<str>,
}

impl Type {
    pub(super) fn list(item: Self) -> Self {
        Self::List(Box::new(item))
    }

    pub(super) fn map(key: Self, value: Self) -> Self {
        Self::Map(Box::new(key), Box::new(value))
    }

    /// Whether a value of one type may turn out to be one of the other.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dyn, _) | (_, Self::Dyn) => true,
            (Self::List(left), Self::List(right)) => left.agrees(right),
            (Self::Map(key, value), Self::Map(other_key, other_value)) => {
                key.agrees(other_key) && value.agrees(other_value)
            }
            _ => self == other,
        }
    }

    /// The type of what is either of two.
    pub(super) fn join(self, other: Self) -> Self {
        if self == other { self } else { Self::Dyn }
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::Text => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::List(item) => write!(f, "list({item})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Message(message) => f.write_str(&message.name),
        }
    }
}

/// What an expression may be sure of, for the requests that it will judge.
#[derive(Clone, Copy)]
pub struct RequestTypes<'t> {
    /// Whether countries of clients are looked up.
    pub has_country: bool,
    /// Whether autonomous systems of clients are looked up.
    pub has_asn: bool,
    /// The fields under `request.message`.
    pub captures: &'t dyn CaptureTypes,
}

/// What a rule of a message or field may be sure of: what it judges, and where it is written.
#[derive(Clone, Debug)]
pub struct RuleTypes<'t> {
    pub schema: &'t Schema,
    /// What is judged.
    pub this: Type,
    /// The message that the rule is an extension of, and the rule's own field in it.
    pub rules: Option<(MessageId, RuleField)>,
}

/// A rule as a field of its message.
#[derive(Clone, Debug)]
pub struct RuleField {
    pub(super) number: u32,
    pub(super) of: Type,
    /// Its value where that is a single one, for it is known when the rule is loaded.
    pub(super) value: Option<Literal>,
}

/// Whom an expression asks.
#[derive(Clone, Copy)]
pub(super) enum Names<'t> {
    Request(&'t RequestTypes<'t>),
    Rule(&'t RuleTypes<'t>),
}

/// The fields of request messages that paths capture and queries give: the descriptors know their types.
pub trait CaptureTypes {
    /// The type of a field by its path, such as `book.name`.
    ///
    /// # Errors
    ///
    /// A field that some message does not have, or that comes in the body of some method.
    fn capture(&self, field: &str) -> Result<CaptureKind, CaptureError>;
}

/// How the text of a field is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaptureKind {
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Timestamp,
    /// A number, as in all of CEL; the names that stand for it in a path.
    Enum(Box<[(Box<str>, i32)]>),
}

impl CaptureKind {
    pub(super) fn type_of(&self) -> Type {
        match self {
            Self::Bool => Type::Bool,
            Self::Int | Self::Enum(_) => Type::Int,
            Self::Uint => Type::Uint,
            Self::Double => Type::Double,
            Self::Text => Type::Text,
            Self::Bytes => Type::Bytes,
            Self::Timestamp => Type::Timestamp,
        }
    }
}

impl fmt::Display for CaptureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enum(_) => f.write_str("an enum"),
            other => other.type_of().fmt(f),
        }
    }
}

/// Why a field of the request message is not to be had before the body is read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    #[error("`{message}`, the request of `{rpc}`, has no field `{field}`")]
    UnknownField { message: String, rpc: String, field: String },
    #[error(
        "`{field}` is neither captured by `{template}` of `{rpc}` nor one of its query: the body is unread when calls are judged"
    )]
    NotCaptured { field: String, template: String, rpc: String },
    #[error("`{field}` is {left} in `{rpc}`, but {right} in `{other}`")]
    Differs { field: String, rpc: String, left: String, other: String, right: String },
    #[error("`{field}` is {is}: name a single value in it")]
    NoValue { field: String, is: &'static str },
    #[error("no path is known here, and so no field that one captures")]
    NoPaths,
}

/// No path at all: `request.message` has no field.
#[derive(Clone, Copy, Debug)]
pub struct NoCaptures;

impl CaptureTypes for NoCaptures {
    fn capture(&self, _field: &str) -> Result<CaptureKind, CaptureError> {
        Err(CaptureError::NoPaths)
    }
}
