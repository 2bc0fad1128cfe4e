//! A checked expression, as it is evaluated: names are resolved, patterns compiled, literals folded.

use ipnet::IpNet;
use regex::Regex;

use super::syntax::{Literal, Operator};
use super::types::CaptureKind;
use super::vocabulary::{Function, Variable};

#[derive(Debug)]
pub(super) enum Node {
    Literal(Literal),
    Variable(Variable),
    /// `has(identity.subject)`.
    HasVariable(Variable),
    /// A field of the request message, by its path.
    Capture(Box<str>, CaptureKind),
    /// What is judged, or of a rule the message that holds it.
    This,
    Rules,
    Now,
    /// A field of a message, by its number.
    Field(Box<Node>, u32),
    HasField(Box<Node>, u32),
    /// The item that a macro is at, by how many macros stand around.
    Local(usize),
    Select(Box<Node>, Box<str>),
    Has(Box<Node>, Box<str>),
    Index(Box<[Node; 2]>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Binary(Operator, Box<[Node; 2]>),
    All(Box<[Node]>),
    Any(Box<[Node]>),
    If(Box<[Node; 3]>),
    List(Box<[Node]>),
    Map(Box<[(Node, Node)]>),
    Call(Function, Box<[Node]>),
    Matches(Box<Node>, Box<Regex>),
    InNetwork(Box<Node>, Box<[IpNet]>),
    Macro(Box<Macro>),
}

/// `range.all(item, test)` and its like.
#[derive(Debug)]
pub(super) struct Macro {
    pub kind: MacroKind,
    pub range: Node,
    /// Where the item is kept.
    pub slot: usize,
    /// Of `map` with three arguments: which items.
    pub filter: Option<Node>,
    pub body: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MacroKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}
