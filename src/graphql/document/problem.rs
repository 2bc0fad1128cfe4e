//! What is wrong with a document or its variables, as the client reads it.

use smallvec::{SmallVec, smallvec};

/// A place in the document, both counted from 1; columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    pub line: u32,
    pub column: u32,
}

/// Why a request is refused before anything is called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    pub code: Code,
    pub message: String,
    /// Where in the document; none for what is wrong with the variables.
    pub locations: SmallVec<[Location; 2]>,
}

/// `extensions.code` of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    ParseFailed,
    ValidationFailed,
    /// The operation that is asked for is none of the document's.
    NoOperation,
    /// A variable has no value of its type.
    BadInput,
    DocumentTooLarge,
    TooManyTokens,
    DepthLimit,
    AliasLimit,
    RootFieldLimit,
    CostLimit,
    IntrospectionDisabled,
    PersistedQueryOnly,
    PersistedQueryNotFound,
    PersistedQueryNotSupported,
    /// The text is not the one that the hash is of.
    PersistedQueryMismatch,
}

/// Bytes of a message: it cites names of the client's, which may be as long as its document.
const MESSAGE_BYTES_MAX: usize = 512;

impl Problem {
    pub fn new(code: Code, message: impl Into<String>, location: Location) -> Self {
        Self { locations: smallvec![location], ..Self::nowhere(code, message) }
    }

    /// Of no place in the document.
    pub fn nowhere(code: Code, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
            message.push('…');
        }
        Self { code, message, locations: SmallVec::new() }
    }

    pub fn invalid(message: impl Into<String>, location: Location) -> Self {
        Self::new(Code::ValidationFailed, message, location)
    }
}

impl Code {
    /// As it is written; the first four are those of Apollo Server, which clients know.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ParseFailed => "GRAPHQL_PARSE_FAILED",
            Self::ValidationFailed => "GRAPHQL_VALIDATION_FAILED",
            Self::NoOperation => "OPERATION_RESOLUTION_FAILURE",
            Self::BadInput => "BAD_USER_INPUT",
            Self::DocumentTooLarge => "DOCUMENT_TOO_LARGE",
            Self::TooManyTokens => "TOO_MANY_TOKENS",
            Self::DepthLimit => "DEPTH_LIMIT",
            Self::AliasLimit => "ALIAS_LIMIT",
            Self::RootFieldLimit => "ROOT_FIELD_LIMIT",
            Self::CostLimit => "COST_LIMIT",
            Self::IntrospectionDisabled => "INTROSPECTION_DISABLED",
            Self::PersistedQueryOnly => "PERSISTED_QUERY_ONLY",
            Self::PersistedQueryNotFound => "PERSISTED_QUERY_NOT_FOUND",
            Self::PersistedQueryNotSupported => "PERSISTED_QUERY_NOT_SUPPORTED",
            Self::PersistedQueryMismatch => "PERSISTED_QUERY_MISMATCH",
        }
    }
}
