//! What can be wrong with an expression when it is loaded, in words for the operator who wrote it.

use super::evaluate::EvaluationError;
use super::types::CaptureError;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct ConditionError {
    /// Byte in the text of the expression.
    pub offset: usize,
    pub problem: Problem,
}

/// Why an expression is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("{bytes} bytes are more than the {max} allowed")]
    TooLong { bytes: usize, max: usize },
    #[error("nested deeper than the {max} levels allowed")]
    TooDeep { max: u16 },
    #[error("more than the {max} parts allowed")]
    TooManyParts { max: usize },
    #[error("`all`, `exists`, `exists_one`, `map` and `filter` nest no deeper than {max}")]
    TooNested { max: usize },

    #[error("expected {expected}, found {found}")]
    Unexpected { expected: &'static str, found: String },
    #[error("the text that begins here has no end")]
    Unterminated,
    #[error("unknown escape `{0}`")]
    Escape(String),
    #[error("`{0}` is no number, or none in range")]
    Number(String),
    #[error("`{0}` is a reserved word")]
    Reserved(String),
    #[error("{0} here")]
    Unserved(&'static str),

    #[error("unknown name `{name}`: {advice}")]
    UnknownName { name: String, advice: String },
    #[error("`{name}` is no value by itself: expected {expected}")]
    Incomplete { name: String, expected: String },
    #[error("`{of}` has no field `{name}`: {advice}")]
    UnknownField { of: &'static str, name: String, advice: String },
    #[error("`{message}` has no field `{name}`")]
    NoField { message: String, name: String },
    #[error("`{0}` needs `{1}`")]
    NoGeo(&'static str, &'static str),
    #[error("{0}")]
    Capture(Box<CaptureError>),
    #[error("names of headers are lower-case here: write `{0}`")]
    HeaderCase(String),

    #[error("unknown function `{name}`: {advice}")]
    UnknownFunction { name: String, advice: String },
    #[error("`{name}` takes {takes}, found {found}")]
    Arity { name: String, takes: String, found: usize },
    #[error("`{name}` is called on a value, as in `{example}`")]
    NeedsTarget { name: String, example: String },
    #[error("`{name}` is not called on a value: write `{example}`")]
    NeedsNoTarget { name: String, example: String },
    #[error("{what}: expected {expected}, found {found}")]
    Operand { what: String, expected: String, found: String },
    #[error("`{operator}` does not apply to {left} and {right}")]
    Operator { operator: &'static str, left: String, right: String },
    #[error("{what} must be a literal")]
    NotLiteral { what: &'static str },
    #[error("the pattern is refused: {0}")]
    Pattern(String),
    #[error("`{0}` is no network: expected an address such as `10.0.0.0/8` or `2001:db8::/32`")]
    Network(String),
    #[error("`has` asks for a field: expected something like `has(claims.tenant)`")]
    NotAField,
    #[error("`{0}` is always there")]
    AlwaysThere(String),
    #[error("a plain name must stand here, for each item in turn")]
    NotAName,
    #[error("the key is given twice")]
    DuplicateKey,
    #[error("this always fails: {0}")]
    AlwaysFails(EvaluationError),
    #[error("expected {expected} as the outcome, found {found}")]
    Outcome { expected: &'static str, found: String },
}

impl Problem {
    pub(super) fn at(self, offset: usize) -> ConditionError {
        ConditionError { offset, problem: self }
    }
}
