//! CEL text → tree. The grammar is that of the language definition, top-down:
//!
//! ```text
//! Expr       = Or ["?" Or ":" Expr]
//! Or         = And {"||" And}                       And      = Relation {"&&" Relation}
//! Relation   = Sum {("<"|"<="|">="|">"|"=="|"!="|"in") Sum}
//! Sum        = Product {("+"|"-") Product}          Product  = Unary {("*"|"/"|"%") Unary}
//! Unary      = Member | "!" {"!"} Member | "-" {"-"} Member
//! Member     = Primary {"." NAME ["(" [List] ")"] | "[" Expr "]"}
//! Primary    = NAME ["(" [List] ")"] | "(" Expr ")" | "[" [List [","]] "]" | "{" [Entries [","]] "}" | Literal
//! ```
//!
//! Macros are left as the calls that they are written as, so that every finding has a place in the text.
//! Messages are not constructed and names not qualified: there are none here.

mod literal;
mod parse;
mod token;

pub(super) use parse::parse;

/// An expression and where it stands: an operator, or the name of a function or field, at its own place.
#[derive(Debug)]
pub(super) struct Expr {
    pub offset: usize,
    /// Levels below and including this one.
    pub height: u16,
    pub kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Literal(Literal),
    Name(Box<str>),
    Select(Box<Expr>, Box<str>),
    Index(Box<[Expr; 2]>),
    Call {
        name: Box<str>,
        target: Option<Box<Expr>>,
        arguments: Vec<Expr>,
    },
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary(Operator, Box<[Expr; 2]>),
    /// `&&` between all of them.
    All(Vec<Expr>),
    /// `||` between all of them.
    Any(Vec<Expr>),
    If(Box<[Expr; 3]>),
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Box<str>),
    Bytes(Box<[u8]>),
    /// Nanoseconds since 1970; only calls on literals make one.
    Timestamp(i128),
    /// Nanoseconds; only calls on literals make one.
    Duration(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

impl Operator {
    pub(super) const fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
        }
    }
}
