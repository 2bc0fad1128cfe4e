//! A checked expression and one request → a value.
//!
//! Nothing is copied that need not be made: variables are views into the subject, read when they are
//! mentioned. Every node, item and stretch of text costs steps, and when they are spent the evaluation
//! fails, so that no token or header makes a request expensive. As CEL has it, `&&` and `||` pass over a
//! failing side when the other decides.

mod convert;
mod format;
mod function;
mod operator;
mod text;

use core::net::IpAddr;
use std::borrow::Cow;

use http::HeaderMap;
use ipnet::IpNet;

use super::node::{Macro, MacroKind, Node};
use super::syntax::{Literal, Operator};
use super::value::{List, Map, Text, Value};
use super::vocabulary::Variable;
use super::{Judged, NESTING_MAX, message, time};
use crate::codec::view::{View, ViewError};
use crate::policy::host;
use crate::policy::identity::Identity;

/// What an expression is about: one request, and who sent it.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub identity: Option<&'a Identity>,
    pub method: &'a str,
    /// As it was sent, without the query.
    pub path: &'a str,
    /// As the request names it, port and all.
    pub host: Option<&'a str>,
    /// `package.Service.Method`.
    pub rpc: &'a str,
    pub headers: &'a HeaderMap,
    pub address: IpAddr,
    pub scheme: &'a str,
    pub country: Option<&'a str>,
    pub asn: Option<u32>,
    /// Nanoseconds since 1970.
    pub now: i128,
    pub captured: &'a dyn Captured,
}

/// What the head of a request says of its message.
pub trait Captured {
    /// The decoded text of a field by its path, such as `book.name`; `None` where the query leaves it out.
    fn text(&self, field: &str) -> Option<Cow<'_, str>>;

    /// Bytes that are looked through for it.
    fn bytes(&self, field: &str) -> usize;
}

/// Why an expression has no value for a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    #[error("nobody is authenticated")]
    NoIdentity,
    #[error("`{0}` is absent")]
    Absent(&'static str),
    /// The key, or the type of one that the condition does not spell out.
    #[error("no key `{0}`")]
    NoKey(String),
    #[error("{found} does not suit {what}")]
    Type { what: &'static str, found: &'static str },
    #[error("`{operator}` does not apply to {left} and {right}")]
    Operands { operator: &'static str, left: &'static str, right: &'static str },
    #[error("division by zero")]
    DivisionByZero,
    #[error("out of range")]
    Overflow,
    #[error("index out of bounds")]
    Bounds,
    #[error("what is given is no {0}")]
    Conversion(&'static str),
    #[error("{0} is no text")]
    Unreadable(&'static str),
    #[error("a key is given twice")]
    DuplicateKey,
    #[error("more steps than there may be")]
    Steps,
    #[error("{0}")]
    Message(#[from] ViewError),
    #[error("messages nest too deep")]
    Depth,
}

impl EvaluationError {
    /// Whether what was asked for is not there, as a header is not that a client does not send.
    pub const fn is_absence(&self) -> bool {
        matches!(self, Self::NoIdentity | Self::Absent(_) | Self::NoKey(_))
    }
}

pub(super) type Evaluated<'a> = Result<Value<'a>, EvaluationError>;

/// What is asked.
#[derive(Clone, Copy)]
pub(super) enum About<'a> {
    Request(&'a Subject<'a>),
    Value(&'a Judged<'a>),
}

pub(super) struct Evaluator<'a> {
    /// `None` while literals are folded.
    about: Option<About<'a>>,
    locals: [Option<Value<'a>>; NESTING_MAX],
    steps: usize,
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(about: Option<About<'a>>, steps: usize) -> Self {
        Self { about, locals: [const { None }; NESTING_MAX], steps }
    }

    pub(super) const fn steps_left(&self) -> usize {
        self.steps
    }

    pub(super) fn value(&mut self, node: &'a Node) -> Evaluated<'a> {
        self.spend(1)?;
        match node {
            Node::Literal(literal) => Ok(literal_value(literal)),
            Node::Variable(variable) => self.variable(*variable),
            Node::HasVariable(variable) => Ok(Value::Bool(match self.variable(*variable) {
                Ok(Value::List(scopes)) => scopes.len() > 0,
                found => found.is_ok(),
            })),
            Node::Capture(field, kind) => {
                let captured = self.subject()?.captured;
                self.spend(captured.bytes(field) / 8)?;
                match captured.text(field) {
                    Some(text) => convert::capture(text, kind),
                    None => convert::left_out(kind).ok_or_else(|| EvaluationError::NoKey(field.to_string())),
                }
            }
            Node::This | Node::Rules | Node::Now | Node::Field(..) | Node::HasField(..) => self.of_rule(node),
            Node::Local(slot) => {
                let local = self.locals.get(*slot).and_then(Option::as_ref);
                Ok(local.expect("the checker saw the macro around it").clone())
            }
            Node::Select(operand, name) => {
                let operand = self.value(operand)?;
                self.select(operand, name)
            }
            Node::Has(operand, name) => {
                let operand = self.value(operand)?;
                has(operand, name).map(Value::Bool)
            }
            Node::Index(parts) => {
                let [operand, index] = &**parts;
                let (operand, found) = (self.value(operand)?, self.value(index)?);
                self.index(operand, &found, matches!(index, Node::Literal(_)))
            }
            Node::Not(operand) => Ok(Value::Bool(!self.truth(operand)?)),
            Node::Negate(operand) => operator::negate(&self.value(operand)?),
            Node::Binary(operator, parts) => {
                let [left, right] = &**parts;
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.binary(*operator, left, right)
            }
            Node::All(parts) => self.decide(parts, false),
            Node::Any(parts) => self.decide(parts, true),
            Node::If(parts) => {
                let [test, then, otherwise] = &**parts;
                if self.truth(test)? { self.value(then) } else { self.value(otherwise) }
            }
            Node::List(items) => {
                let items: Result<Vec<_>, _> = items.iter().map(|item| self.value(item)).collect();
                Ok(Value::List(List::Made(items?.into())))
            }
            Node::Map(entries) => self.make_map(entries),
            Node::Call(function, arguments) => self.call(*function, arguments),
            Node::Matches(operand, pattern) => {
                let text = self.text(operand, "matches")?;
                self.spend(text.len() / 8)?;
                Ok(Value::Bool(pattern.is_match(&text)))
            }
            Node::InNetwork(operand, networks) => self.in_network(operand, networks),
            Node::Macro(macro_node) => self.run(macro_node),
        }
    }

    fn in_network(&mut self, operand: &'a Node, networks: &[IpNet]) -> Evaluated<'a> {
        let address = match (operand, self.about) {
            (Node::Variable(Variable::Address), Some(About::Request(subject))) => subject.address,
            _ => {
                let text = self.text(operand, "inNetwork")?;
                text.parse::<IpAddr>().map_err(|_| EvaluationError::Conversion("address"))?
            }
        };
        let address = address.to_canonical();
        Ok(Value::Bool(networks.iter().any(|network| network.contains(&address))))
    }

    /// What only rules of messages have.
    fn of_rule(&mut self, node: &'a Node) -> Evaluated<'a> {
        let judged = self.judged()?;
        match node {
            Node::Rules => judged.rules.clone().map(Value::Message).ok_or(EvaluationError::Absent("rules")),
            Node::Now => time::moment(judged.now).map(Value::Timestamp),
            Node::Field(operand, number) => {
                let view = self.message(operand)?;
                self.field(&view, *number)
            }
            Node::HasField(operand, number) => {
                let view = self.message(operand)?;
                Ok(Value::Bool(view.plan.by_number(*number).map_or(Ok(false), |index| view.is_set(index))?))
            }
            _ => Ok(judged.this.clone()),
        }
    }

    /// A field by a name that no type vouches for.
    fn select(&mut self, operand: Value<'a>, name: &str) -> Evaluated<'a> {
        match operand {
            Value::Message(view) => self.field(&view, view.plan.fields[member(&view, name)?].number),
            operand => map(operand)?.named(name)?.ok_or_else(|| EvaluationError::NoKey(name.to_owned())),
        }
    }

    /// A value that must be true or false.
    pub(super) fn truth(&mut self, node: &'a Node) -> Result<bool, EvaluationError> {
        match self.value(node)? {
            Value::Bool(value) => Ok(value),
            other => Err(EvaluationError::Type { what: "a condition", found: other.kind() }),
        }
    }

    fn text(&mut self, node: &'a Node, what: &'static str) -> Result<Text<'a>, EvaluationError> {
        match self.value(node)? {
            Value::Text(text) => Ok(text),
            other => Err(EvaluationError::Type { what, found: other.kind() }),
        }
    }

    fn message(&mut self, node: &'a Node) -> Result<View<'a>, EvaluationError> {
        match self.value(node)? {
            Value::Message(view) => Ok(view),
            other => Err(EvaluationError::Type { what: "a field", found: other.kind() }),
        }
    }

    /// What it holds is paid for, and then decoded.
    fn field(&mut self, view: &View<'a>, number: u32) -> Evaluated<'a> {
        let index = view.plan.by_number(number).ok_or_else(|| EvaluationError::NoKey(number.to_string()))?;
        self.spend(view.occurrences(index).len())?;
        self.spend(message::item_count(view, index)?)?;
        message::field_value(view, index)
    }

    fn subject(&self) -> Result<&'a Subject<'a>, EvaluationError> {
        match self.about {
            Some(About::Request(subject)) => Ok(subject),
            _ => Err(EvaluationError::Absent("request")),
        }
    }

    fn judged(&self) -> Result<&'a Judged<'a>, EvaluationError> {
        match self.about {
            Some(About::Value(judged)) => Ok(judged),
            _ => Err(EvaluationError::Absent("this")),
        }
    }

    fn variable(&mut self, variable: Variable) -> Evaluated<'a> {
        let subject = self.subject()?;
        let identity = || subject.identity.ok_or(EvaluationError::NoIdentity);
        let absent = EvaluationError::Absent(variable.name());
        let text = |text: Option<&'a str>| text.map(Value::text).ok_or(absent.clone());
        match variable {
            Variable::Claims => {
                let identity = identity()?;
                Ok(Value::Map(Map::Claims(&identity.claims, &identity.scopes)))
            }
            Variable::Scope => Ok(Value::List(List::Names(&identity()?.scopes))),
            Variable::Subject => Ok(Value::text(&identity()?.subject)),
            Variable::Provider => Ok(Value::text(&identity()?.provider)),
            Variable::Consumer => text(identity()?.consumer.as_ref().map(|consumer| &*consumer.name)),
            Variable::Plan => {
                text(identity()?.consumer.as_ref().and_then(|consumer| consumer.plan.as_deref()))
            }
            Variable::Method => Ok(Value::text(subject.method)),
            Variable::Path => Ok(Value::text(subject.path)),
            Variable::Host => match subject.host.map(host::canonical) {
                Some(Cow::Borrowed(host)) => Ok(Value::text(host)),
                Some(Cow::Owned(host)) => Ok(Value::made(host)),
                None => Err(absent),
            },
            Variable::Rpc => Ok(Value::text(subject.rpc)),
            Variable::Headers => Ok(Value::Map(Map::Headers(subject.headers))),
            Variable::Address => Ok(Value::made(subject.address.to_string())),
            Variable::Scheme => Ok(Value::text(subject.scheme)),
            Variable::Country => text(subject.country),
            Variable::Asn => subject.asn.map(|asn| Value::Int(asn.into())).ok_or(absent),
            Variable::Time => time::moment(subject.now).map(Value::Timestamp),
        }
    }

    /// Errors name a key only if it `is_written` in the condition: from a request, it may be a credential.
    fn index(&mut self, operand: Value<'a>, index: &Value<'a>, is_written: bool) -> Evaluated<'a> {
        match operand {
            Value::List(list) => {
                let place = match index {
                    Value::Int(place) => usize::try_from(*place).ok(),
                    Value::Uint(place) => usize::try_from(*place).ok(),
                    other => return Err(EvaluationError::Type { what: "an index", found: other.kind() }),
                };
                place.and_then(|place| list.get(place)).ok_or(EvaluationError::Bounds)
            }
            Value::Map(map) => {
                self.spend_on_map(&map)?;
                map.get(index)?.ok_or_else(|| {
                    EvaluationError::NoKey(match index {
                        Value::Text(name) if is_written => name.to_string(),
                        other => other.kind().to_owned(),
                    })
                })
            }
            other => Err(EvaluationError::Type { what: "an item", found: other.kind() }),
        }
    }

    /// `&&` and `||`: one part that is `decisive` decides, even if others fail.
    fn decide(&mut self, parts: &'a [Node], decisive: bool) -> Evaluated<'a> {
        let mut failure = None;
        for part in parts {
            match self.truth(part) {
                Ok(value) if value == decisive => return Ok(Value::Bool(decisive)),
                Ok(_) => {}
                Err(error) => self.note(&mut failure, error)?,
            }
        }
        failure.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    /// Keeps the first failure; that the steps are spent ends everything.
    fn note(
        &self,
        failure: &mut Option<EvaluationError>,
        error: EvaluationError,
    ) -> Result<(), EvaluationError> {
        if error == EvaluationError::Steps {
            return Err(error);
        }
        failure.get_or_insert(error);
        Ok(())
    }

    fn make_map(&mut self, entries: &'a [(Node, Node)]) -> Evaluated<'a> {
        let mut made: Vec<(Value<'a>, Value<'a>)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let (key, value) = (self.value(key)?, self.value(value)?);
            if !matches!(key, Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Text(_)) {
                return Err(EvaluationError::Type { what: "a key", found: key.kind() });
            }
            for (other, _) in &made {
                if self.equal(other, &key)? {
                    return Err(EvaluationError::DuplicateKey);
                }
            }
            made.push((key, value));
        }
        Ok(Value::Map(Map::Made(made.into())))
    }

    /// `range.all(item, body)` and its like.
    fn run(&mut self, node: &'a Macro) -> Evaluated<'a> {
        let list = match self.value(&node.range)? {
            Value::List(list) => list,
            Value::Map(map) => {
                self.spend(map.len())?;
                List::Made(map.keys().into())
            }
            other => return Err(EvaluationError::Type { what: "an item", found: other.kind() }),
        };
        let (mut failure, mut count, mut made) = (None, 0_usize, Vec::new());
        for item in list.iter() {
            self.spend(1)?;
            if let Some(local) = self.locals.get_mut(node.slot) {
                *local = Some(item.clone());
            }
            match node.kind {
                MacroKind::All | MacroKind::Exists => match self.truth(&node.body) {
                    Ok(value) if value == (node.kind == MacroKind::Exists) => return Ok(Value::Bool(value)),
                    Ok(_) => {}
                    Err(error) => self.note(&mut failure, error)?,
                },
                MacroKind::ExistsOne => count += usize::from(self.truth(&node.body)?),
                MacroKind::Filter => {
                    if self.truth(&node.body)? {
                        made.push(item);
                    }
                }
                MacroKind::Map => {
                    let is_meant = node.filter.as_ref().map_or(Ok(true), |filter| self.truth(filter))?;
                    if is_meant {
                        made.push(self.value(&node.body)?);
                    }
                }
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        Ok(match node.kind {
            MacroKind::All => Value::Bool(true),
            MacroKind::Exists => Value::Bool(false),
            MacroKind::ExistsOne => Value::Bool(count == 1),
            MacroKind::Filter | MacroKind::Map => Value::List(List::Made(made.into())),
        })
    }

    /// Keys that the expression made are looked through one by one.
    fn spend_on_map(&mut self, map: &Map<'a>) -> Result<(), EvaluationError> {
        if let Map::Made(entries) = map { self.spend(entries.len()) } else { Ok(()) }
    }

    fn spend(&mut self, steps: usize) -> Result<(), EvaluationError> {
        match self.steps.checked_sub(steps) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => {
                self.steps = 0;
                Err(EvaluationError::Steps)
            }
        }
    }
}

fn has(operand: Value<'_>, name: &str) -> Result<bool, EvaluationError> {
    match operand {
        Value::Message(view) => Ok(view.is_set(member(&view, name)?)?),
        operand => Ok(map(operand)?.named(name)?.is_some()),
    }
}

fn member(view: &View<'_>, name: &str) -> Result<usize, EvaluationError> {
    message::index(view.plan, name).ok_or_else(|| EvaluationError::NoKey(name.to_owned()))
}

fn map(value: Value<'_>) -> Result<Map<'_>, EvaluationError> {
    match value {
        Value::Map(map) => Ok(map),
        other => Err(EvaluationError::Type { what: "a field", found: other.kind() }),
    }
}

fn literal_value(literal: &Literal) -> Value<'_> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::Text(text) => Value::text(text),
        Literal::Bytes(bytes) => Value::Bytes(super::value::Bytes::Borrowed(bytes)),
        Literal::Timestamp(nanos) => Value::Timestamp(*nanos),
        Literal::Duration(nanos) => Value::Duration(*nanos),
    }
}
