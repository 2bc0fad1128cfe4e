//! A document as it is written: operations, fragments, and what they select.

use super::problem::Location;
use crate::graphql::model::Operation;

/// A document that is well-formed; nothing has been looked up yet.
#[derive(Debug, Default)]
pub struct Ast {
    pub operations: Vec<OperationDefinition>,
    pub fragments: Vec<FragmentDefinition>,
}

#[derive(Debug)]
pub struct OperationDefinition {
    pub kind: Operation,
    pub name: Option<Name>,
    pub variables: Vec<VariableDefinition>,
    pub directives: Vec<Directive>,
    pub selections: Vec<Selection>,
    pub at: Location,
}

#[derive(Debug)]
pub struct FragmentDefinition {
    pub name: Name,
    /// The type on which it selects.
    pub condition: Name,
    pub directives: Vec<Directive>,
    pub selections: Vec<Selection>,
    pub at: Location,
}

#[derive(Debug)]
pub struct VariableDefinition {
    pub name: Name,
    pub declared: DeclaredType,
    pub default: Option<Literal>,
    pub directives: Vec<Directive>,
}

/// A type as a variable names it.
#[derive(Debug)]
pub struct DeclaredType {
    pub kind: DeclaredKind,
    pub is_non_null: bool,
}

#[derive(Debug)]
pub enum DeclaredKind {
    Named(Name),
    List(Box<DeclaredType>),
}

#[derive(Debug)]
pub enum Selection {
    Field(Box<FieldNode>),
    Spread { name: Name, directives: Vec<Directive> },
    Inline { condition: Option<Name>, directives: Vec<Directive>, selections: Vec<Selection>, at: Location },
}

#[derive(Debug)]
pub struct FieldNode {
    pub alias: Option<Name>,
    pub name: Name,
    pub arguments: Vec<Argument>,
    pub directives: Vec<Directive>,
    /// Empty where there is no selection set: one without selections is not well-formed.
    pub selections: Vec<Selection>,
    pub at: Location,
}

#[derive(Debug)]
pub struct Directive {
    pub name: Name,
    pub arguments: Vec<Argument>,
}

#[derive(Debug)]
pub struct Argument {
    pub name: Name,
    pub value: Literal,
}

#[derive(Clone, Debug)]
pub struct Name {
    pub text: Box<str>,
    pub at: Location,
}

/// A value as it is written.
#[derive(Debug)]
pub struct Literal {
    pub kind: LiteralKind,
    pub at: Location,
}

#[derive(Debug)]
pub enum LiteralKind {
    Variable(Box<str>),
    /// As written: no type of ours need hold it.
    Int(Box<str>),
    Float(Box<str>),
    String(Box<str>),
    Boolean(bool),
    Null,
    Enum(Box<str>),
    List(Vec<Literal>),
    Object(Vec<Argument>),
}

impl FieldNode {
    /// The name that it has in the response.
    pub fn response_key(&self) -> &str {
        self.alias.as_ref().map_or(&*self.name.text, |alias| &*alias.text)
    }
}

impl Selection {
    pub fn directives(&self) -> &[Directive] {
        match self {
            Self::Field(field) => &field.directives,
            Self::Spread { directives, .. } | Self::Inline { directives, .. } => directives,
        }
    }

    pub fn at(&self) -> Location {
        match self {
            Self::Field(field) => field.at,
            Self::Spread { name, .. } => name.at,
            Self::Inline { at, .. } => *at,
        }
    }
}
