//! Requests by the rules of `buf.validate`: what descriptors say that a message must be, checked before any call.
//!
//! ```text
//! load:     options → annotations → compile (types, patterns, CEL; every mistake at once) → Validation
//! request:  wire bytes, from whatever door → check → violations, each with its path → INVALID_ARGUMENT
//! ```
//!
//! What is judged are the bytes that the backend would get, so that captures, query and defaults count and every
//! client's protocol is held to the same. A message type without rules, itself and all below it, is passed over
//! undecoded. The rules of the standard are code, those of CEL and of extensions are `policy::condition`'s expressions;
//! a rule that is not known here is refused at load: one that is left out would be a promise that nobody keeps.

mod annotations;
mod check;
mod compile;
mod fields;
mod rules;

use regex::Regex;

use crate::policy::condition::{Expression, Verdict};
use crate::schema::plan::MessageId;

pub use annotations::{
    AnnotationError, Bounds, FieldRules, Form, Ignore, Number, TextRules, Typed, field_rules,
};
pub use check::{Asked, Violation};
pub use compile::{RuleError, RuleProblem};

/// The rules of all messages that requests can hold; of those without any there is nothing here.
#[derive(Debug, Default)]
pub struct Validation {
    /// By the place of the type: to find that there are none costs a load.
    judges: Box<[Option<Box<Judge>>]>,
}

/// What a message must be.
#[derive(Debug, Default)]
struct Judge {
    fields: Box<[FieldJudge]>,
    oneofs: Box<[Oneof]>,
    /// Fields of which one at most may be set.
    groups: Box<[Group]>,
    rules: Box<[Rule]>,
}

/// A oneof of which a member must be set.
#[derive(Debug)]
struct Oneof {
    name: Box<str>,
    numbers: Box<[u32]>,
}

#[derive(Debug)]
struct Group {
    numbers: Box<[u32]>,
    /// As the violation names them.
    names: String,
    required: bool,
}

#[derive(Debug)]
struct FieldJudge {
    number: u32,
    required: bool,
    value: ValueJudge,
}

/// What a field, an item, a key or a value must be.
#[derive(Debug, Default)]
struct ValueJudge {
    /// Zero is not judged.
    ignores_zero: bool,
    /// The value is the one within a message such as `google.protobuf.StringValue`.
    is_wrapped: bool,
    typed: Option<Typed>,
    pattern: Option<Regex>,
    rules: Box<[Rule]>,
    /// The type whose own rules hold.
    nested: Option<MessageId>,
    items: Option<Box<Self>>,
    keys: Option<Box<Self>>,
}

/// A rule in CEL.
#[derive(Debug)]
struct Rule {
    id: Box<str>,
    /// What is said where the expression itself says nothing.
    message: Box<str>,
    expression: Expression<Verdict>,
    /// The message that the rule is an extension of: its type and its bytes.
    predefined: Option<(MessageId, Box<[u8]>)>,
}

impl Validation {
    /// Whether no message has rules.
    pub fn is_empty(&self) -> bool {
        self.judges.is_empty()
    }

    /// Whether a message of this type, or what it may hold, has rules.
    #[inline]
    pub fn concerns(&self, message: MessageId) -> bool {
        self.judge(message).is_some()
    }

    #[inline]
    fn judge(&self, message: MessageId) -> Option<&Judge> {
        self.judges.get(message.index())?.as_deref()
    }
}

#[cfg(test)]
mod tests;
