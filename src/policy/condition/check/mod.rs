//! Tree → node: every name is found, every operand has a type, what is constant is computed.
//!
//! All findings are gathered: what is wrong counts as `dyn` from there on, so that one mistake is one
//! finding.

mod call;
mod name;
mod operator;

use super::error::{ConditionError, Problem};
use super::evaluate::{EvaluationError, Evaluator};
use super::node::Node;
use super::syntax::{Expr, Kind, Literal};
use super::types::{Names, Type};
use super::value::Value;
use super::{NESTING_MAX, STEPS_MAX};

/// The node of a tree and the bits of the variables in it.
pub(super) fn check(
    tree: &Expr,
    types: Names<'_>,
    expected: &'static str,
    admits: impl Fn(&Type) -> bool,
) -> Result<(Node, u32), Vec<ConditionError>> {
    let mut checker = Checker { types, locals: Vec::new(), variables: 0, errors: Vec::new() };
    let root = checker.check(tree);
    if checker.errors.is_empty() && !admits(&root.of) {
        checker.refuse(tree.offset, Problem::Outcome { expected, found: root.of.to_string() });
    }
    match checker.errors.is_empty() {
        true => Ok((root.node, checker.variables)),
        false => {
            checker.errors.sort_by_key(|error| error.offset);
            Err(checker.errors)
        }
    }
}

struct Checker<'c> {
    types: Names<'c>,
    /// The items of the macros around, from the outside in.
    locals: Vec<(Box<str>, Type)>,
    variables: u32,
    errors: Vec<ConditionError>,
}

/// A node and its type.
struct Checked {
    node: Node,
    of: Type,
}

impl Checker<'_> {
    fn check(&mut self, expr: &Expr) -> Checked {
        let offset = expr.offset;
        match &expr.kind {
            Kind::Literal(literal) => {
                let of = literal_type(literal);
                Checked { node: Node::Literal(literal.clone()), of }
            }
            Kind::Name(_) | Kind::Select(..) => self.name(expr),
            Kind::Index(parts) => self.index(offset, &parts[0], &parts[1]),
            Kind::Call { name, target, arguments } => self.call(offset, name, target.as_deref(), arguments),
            Kind::Not(operand) => {
                let operand = self.boolean(operand, "`!`");
                self.fold(offset, Node::Not(Box::new(operand)), Type::Bool)
            }
            Kind::Negate(operand) => self.negate(offset, operand),
            Kind::Binary(operator, parts) => self.binary(offset, *operator, &parts[0], &parts[1]),
            Kind::All(parts) => self.logic(parts, "`&&`", Node::All),
            Kind::Any(parts) => self.logic(parts, "`||`", Node::Any),
            Kind::If(parts) => {
                let [test, then, otherwise] = &**parts;
                let test = self.boolean(test, "`?`");
                let (then, otherwise) = (self.check(then), self.check(otherwise));
                let node = Node::If(Box::new([test, then.node, otherwise.node]));
                Checked { node, of: then.of.join(otherwise.of) }
            }
            Kind::List(items) => {
                let items: Vec<_> = items.iter().map(|item| self.check(item)).collect();
                let (nodes, of) = gather(items);
                Checked { node: Node::List(nodes.into()), of: Type::list(of) }
            }
            Kind::Map(entries) => self.map(entries),
        }
    }

    fn logic(&mut self, parts: &[Expr], what: &str, make: impl Fn(Box<[Node]>) -> Node) -> Checked {
        let parts: Vec<_> = parts.iter().map(|part| self.boolean(part, what)).collect();
        Checked { node: make(parts.into()), of: Type::Bool }
    }

    /// An operand that must be true or false.
    fn boolean(&mut self, expr: &Expr, what: &str) -> Node {
        let checked = self.check(expr);
        self.expect(expr.offset, what, &Type::Bool, &checked.of);
        checked.node
    }

    fn map(&mut self, entries: &[(Expr, Expr)]) -> Checked {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for (key, value) in entries {
            let checked = self.check(key);
            let is_key = matches!(checked.of, Type::Bool | Type::Int | Type::Uint | Type::Text | Type::Dyn);
            if !is_key {
                let expected = "bool, int, uint or string".to_owned();
                let found = checked.of.to_string();
                self.refuse(key.offset, Problem::Operand { what: "a key".to_owned(), expected, found });
            }
            let is_given = |other: &Checked| match (&other.node, &checked.node) {
                (Node::Literal(other), Node::Literal(literal)) => other == literal,
                _ => false,
            };
            if keys.iter().any(is_given) {
                self.refuse(key.offset, Problem::DuplicateKey);
            }
            keys.push(checked);
            values.push(self.check(value));
        }
        let (keys, key) = gather(keys);
        let (values, value) = gather(values);
        let entries: Vec<_> = keys.into_iter().zip(values).collect();
        Checked { node: Node::Map(entries.into()), of: Type::map(key, value) }
    }

    fn index(&mut self, offset: usize, operand: &Expr, index: &Expr) -> Checked {
        if let (Kind::Name(root), Kind::Literal(Literal::Text(name))) = (&operand.kind, &index.kind)
            && &**root == "claims"
            && matches!(self.types, Names::Request(_))
            && self.local(root).is_none()
        {
            return self.claim(index.offset, name);
        }
        let (operand, checked) = (self.check(operand), self.check(index));
        if matches!(operand.node, Node::Variable(super::Variable::Headers)) {
            self.header_name(index.offset, &checked.node);
        }
        let of = match &operand.of {
            Type::List(item) => {
                if !matches!(checked.of, Type::Int | Type::Uint | Type::Dyn) {
                    self.expect(index.offset, "an index", &Type::Int, &checked.of);
                }
                (**item).clone()
            }
            Type::Map(key, value) => {
                self.expect(index.offset, "a key", key, &checked.of);
                (**value).clone()
            }
            Type::Dyn => Type::Dyn,
            other => {
                let found = other.to_string();
                let expected = "list or map".to_owned();
                self.refuse(offset, Problem::Operand { what: "`[…]`".to_owned(), expected, found });
                Type::Dyn
            }
        };
        Checked { node: Node::Index(Box::new([operand.node, checked.node])), of }
    }

    /// A header's name that can never be there is a mistake.
    fn header_name(&mut self, offset: usize, node: &Node) {
        if let Node::Literal(Literal::Text(name)) = node
            && name.bytes().any(|byte| byte.is_ascii_uppercase())
        {
            self.refuse(offset, Problem::HeaderCase(name.to_ascii_lowercase()));
        }
    }

    fn expect(&mut self, offset: usize, what: &str, expected: &Type, found: &Type) {
        if !expected.agrees(found) {
            let (expected, found) = (expected.to_string(), found.to_string());
            self.refuse(offset, Problem::Operand { what: what.to_owned(), expected, found });
        }
    }

    /// Computes what needs no request. What always fails is refused here, where its author sees it.
    fn fold(&mut self, offset: usize, node: Node, of: Type) -> Checked {
        let is_literal = |node: &Node| matches!(node, Node::Literal(_));
        let is_constant = match &node {
            Node::Not(operand) | Node::Negate(operand) => is_literal(operand),
            Node::Binary(_, parts) => parts.iter().all(is_literal),
            Node::Call(_, arguments) => arguments.iter().all(is_literal),
            _ => false,
        };
        // What is already refused would be refused twice.
        if !is_constant || !self.errors.is_empty() {
            return Checked { node, of };
        }
        let folded = Evaluator::new(None, STEPS_MAX).value(&node).map(|value| literal(&value));
        match folded {
            Ok(Some(literal)) => Checked { node: Node::Literal(literal), of },
            Ok(None) => Checked { node, of },
            Err(error) => self.always_fails(offset, error),
        }
    }

    fn always_fails(&mut self, offset: usize, error: EvaluationError) -> Checked {
        self.refuse(offset, Problem::AlwaysFails(error));
        unknown()
    }

    /// Where a local is kept, and its type; the innermost of a name.
    fn local(&self, name: &str) -> Option<(usize, &Type)> {
        let found = self.locals.iter().enumerate().rev().find(|(_, (local, _))| **local == *name);
        found.map(|(slot, (_, of))| (slot, of))
    }

    /// Checks `body` with a local around it; `None` if it would nest too deep.
    fn with_local<T>(&mut self, name: &str, of: Type, body: impl FnOnce(&mut Self, usize) -> T) -> Option<T> {
        let slot = self.locals.len();
        if slot == NESTING_MAX {
            return None;
        }
        self.locals.push((name.into(), of));
        let checked = body(self, slot);
        self.locals.pop();
        Some(checked)
    }

    fn refuse(&mut self, offset: usize, problem: Problem) {
        self.errors.push(problem.at(offset));
    }
}

/// What stands for a mistake: it fits everywhere.
fn unknown() -> Checked {
    Checked { node: Node::Literal(Literal::Null), of: Type::Dyn }
}

/// Nodes, and the one type of them all.
fn gather(checked: Vec<Checked>) -> (Vec<Node>, Type) {
    let mut of: Option<Type> = None;
    let mut nodes = Vec::with_capacity(checked.len());
    for one in checked {
        of = Some(of.map_or(one.of.clone(), |of| of.join(one.of)));
        nodes.push(one.node);
    }
    (nodes, of.unwrap_or(Type::Dyn))
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::Text(_) => Type::Text,
        Literal::Bytes(_) => Type::Bytes,
        Literal::Timestamp(_) => Type::Timestamp,
        Literal::Duration(_) => Type::Duration,
    }
}

/// A single value that can be kept; lists are made anew for each request.
pub(super) fn literal(value: &Value<'_>) -> Option<Literal> {
    Some(match value {
        Value::Null => Literal::Null,
        Value::Bool(value) => Literal::Bool(*value),
        Value::Int(value) => Literal::Int(*value),
        Value::Uint(value) => Literal::Uint(*value),
        Value::Double(value) => Literal::Double(*value),
        Value::Text(text) => Literal::Text((&**text).into()),
        Value::Bytes(bytes) => Literal::Bytes((&**bytes).into()),
        Value::Timestamp(nanos) => Literal::Timestamp(*nanos),
        Value::Duration(nanos) => Literal::Duration(*nanos),
        Value::List(_) | Value::Map(_) | Value::Message(_) => return None,
    })
}
