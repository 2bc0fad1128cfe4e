//! Conditions in the Common Expression Language: `allow: '"orders.read" in claims.scope'`.
//!
//! ```text
//! text → syntax (tree) → check (types, names, patterns) → node → evaluate(subject) → bool, or a number
//! ```
//!
//! An expression is checked whole when it is loaded, with every finding at its place: unknown names, operands
//! of the wrong type, patterns, fields that no path captures. At run time it may still fail, for a claim is
//! what a token says; a condition that fails does not hold. Text, depth, parts, nesting and steps are bounded,
//! so that an expression costs what its author sees and no more.
//!
//! Departs from the language: numbers of JSON without a fraction are `int`; patterns and networks are
//! literals; messages, optional values, `type` and named time zones are not served.

mod check;
mod error;
mod evaluate;
mod message;
mod node;
mod syntax;
mod time;
mod types;
mod value;
mod vocabulary;

use std::marker::PhantomData;

use crate::codec::view::View;
pub use error::{ConditionError, Problem};
use evaluate::{About, Evaluator};
pub use evaluate::{Captured, EvaluationError, Subject};
pub use message::{field_type, field_value, item_count, item_type, item_value, rule_field};
use node::Node;
use types::Names;
pub use types::{
    CaptureError, CaptureKind, CaptureTypes, MessageType, NoCaptures, RequestTypes, RuleField, RuleTypes,
    Type,
};
pub use value::Value;
pub use vocabulary::Variable;

/// Bytes of one expression.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Levels of one within the other.
pub const DEPTH_MAX: u16 = 32;
/// Operators, names, literals and calls.
pub const PARTS_MAX: usize = 512;
/// `all`, `exists`, `exists_one`, `map` and `filter` within one another.
pub const NESTING_MAX: usize = 2;
/// What an evaluation may cost: a step is a part, an item, or some bytes of text.
pub const STEPS_MAX: usize = 20_000;
/// The largest outcome of a number's expression; what is larger counts as this.
pub const COUNT_MAX: u64 = 1_000_000;

/// Whether a request is allowed.
pub type Condition = Expression<bool>;
/// What a request counts for.
pub type Count = Expression<u64>;

/// A checked expression whose outcome is a `T`.
#[derive(Debug)]
pub struct Expression<T> {
    root: Node,
    /// Bits of the variables that are mentioned.
    variables: u32,
    outcome: PhantomData<fn() -> T>,
}

/// A value that a rule judges.
#[derive(Debug)]
pub struct Judged<'a> {
    pub this: Value<'a>,
    /// The message that the rule is an extension of.
    pub rules: Option<View<'a>>,
    /// Nanoseconds since 1970.
    pub now: i128,
}

/// What a rule says of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Holds,
    Fails,
    /// And says why.
    FailsFor(String),
}

/// What an expression may be asked for.
pub trait Outcome: Sized {
    /// As a finding names it.
    const EXPECTED: &'static str;
    /// Whether a value of this type may be one.
    fn admits(found: &Type) -> bool;
    #[doc(hidden)]
    fn of(found: Outgoing<'_>) -> Result<Self, EvaluationError>;
}

/// A value on its way out.
#[doc(hidden)]
pub struct Outgoing<'a>(Value<'a>);

impl<T: Outcome> Expression<T> {
    /// Checks the text of an expression.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, each with its place; of text that does not parse, the first.
    pub fn compile(text: &str, types: &RequestTypes<'_>) -> Result<Self, Vec<ConditionError>> {
        let tree = syntax::parse(text).map_err(|error| vec![error])?;
        let (root, variables) = check::check(&tree, Names::Request(types), T::EXPECTED, T::admits)?;
        Ok(Self { root, variables, outcome: PhantomData })
    }

    /// The outcome for one request.
    ///
    /// # Errors
    ///
    /// What the types could not tell: an absent claim, one of the wrong type, an overflow, too many steps.
    pub fn evaluate(&self, subject: &Subject<'_>) -> Result<T, EvaluationError> {
        let about = About::Request(subject);
        T::of(Outgoing(Evaluator::new(Some(about), STEPS_MAX).value(&self.root)?))
    }

    /// As [`compile`](Self::compile), of what judges a message or a value in it.
    ///
    /// # Errors
    ///
    /// As those of [`compile`](Self::compile).
    pub fn compile_rule(text: &str, types: &RuleTypes<'_>) -> Result<Self, Vec<ConditionError>> {
        let tree = syntax::parse(text).map_err(|error| vec![error])?;
        let (root, variables) = check::check(&tree, Names::Rule(types), T::EXPECTED, T::admits)?;
        Ok(Self { root, variables, outcome: PhantomData })
    }

    /// The outcome for one value. It takes its steps of `steps`: all rules of a message share them.
    ///
    /// # Errors
    ///
    /// What the types could not tell: a null, an overflow, a division by zero, too many steps.
    pub fn judge<'a>(&'a self, judged: &'a Judged<'a>, steps: &mut usize) -> Result<T, EvaluationError> {
        let mut evaluator = Evaluator::new(Some(About::Value(judged)), *steps);
        let value = evaluator.value(&self.root);
        *steps = evaluator.steps_left();
        T::of(Outgoing(value?))
    }

    /// Whether `variable` is mentioned anywhere.
    pub fn mentions(&self, variable: Variable) -> bool {
        self.variables & variable.bit() != 0
    }

    /// The first variable that is mentioned and says who calls: it has no value where nobody authenticates.
    pub fn identity_variable(&self) -> Option<&'static str> {
        let mut variables = Variable::ALL.iter().filter(|variable| variable.is_of_identity());
        variables.find(|variable| self.mentions(**variable)).map(|variable| variable.name())
    }
}

impl Outcome for bool {
    const EXPECTED: &'static str = "a bool";

    fn admits(found: &Type) -> bool {
        matches!(found, Type::Bool | Type::Dyn)
    }

    fn of(found: Outgoing<'_>) -> Result<Self, EvaluationError> {
        match found.0 {
            Value::Bool(value) => Ok(value),
            other => Err(EvaluationError::Type { what: "the outcome", found: other.kind() }),
        }
    }
}

impl Outcome for Verdict {
    const EXPECTED: &'static str = "a bool or a string";

    fn admits(found: &Type) -> bool {
        matches!(found, Type::Bool | Type::Text | Type::Dyn)
    }

    fn of(found: Outgoing<'_>) -> Result<Self, EvaluationError> {
        match found.0 {
            Value::Bool(true) => Ok(Self::Holds),
            Value::Bool(false) => Ok(Self::Fails),
            Value::Text(text) if text.is_empty() => Ok(Self::Holds),
            Value::Text(text) => Ok(Self::FailsFor(text.to_string())),
            other => Err(EvaluationError::Type { what: "the outcome", found: other.kind() }),
        }
    }
}

impl Outcome for u64 {
    const EXPECTED: &'static str = "a whole number";

    fn admits(found: &Type) -> bool {
        matches!(found, Type::Int | Type::Uint | Type::Dyn)
    }

    fn of(found: Outgoing<'_>) -> Result<Self, EvaluationError> {
        let count = match found.0 {
            Value::Int(value) => Self::try_from(value).map_err(|_| EvaluationError::Overflow)?,
            Value::Uint(value) => value,
            other => return Err(EvaluationError::Type { what: "the outcome", found: other.kind() }),
        };
        Ok(count.min(COUNT_MAX))
    }
}

#[cfg(test)]
mod tests;
