//! Names and what is selected of them: `claims.tenant`, `request.message.book.name`, `item.id`.

use super::super::error::Problem;
use super::super::message;
use super::super::node::Node;
use super::super::syntax::{Expr, Kind};
use super::super::types::{MessageType, Names, RuleTypes, Type};
use super::super::vocabulary::{FIELDS, ROOTS, Variable};
use super::{Checked, Checker, unknown};
use crate::policy::nearest::nearest;

/// A name behind a dot, and its place.
type Field<'e> = (usize, &'e str);

impl Checker<'_> {
    pub(super) fn name(&mut self, expr: &Expr) -> Checked {
        let Some((root, root_offset, fields)) = chain(expr) else {
            let Kind::Select(operand, field) = &expr.kind else { unreachable!("a name is a chain of one") };
            let operand = self.check(operand);
            return self.select(expr.offset, operand, field);
        };
        let (mut checked, rest) = self.root(root, root_offset, &fields);
        for (offset, field) in rest {
            checked = self.select(*offset, checked, field);
        }
        checked
    }

    /// What a chain begins with, and the fields that are left to select of it.
    fn root<'f, 'e>(
        &mut self,
        root: &str,
        offset: usize,
        fields: &'f [Field<'e>],
    ) -> (Checked, &'f [Field<'e>]) {
        if let Some((slot, of)) = self.local(root) {
            return (Checked { node: Node::Local(slot), of: of.clone() }, fields);
        }
        if let Names::Rule(types) = self.types {
            return (self.of_rule(types, root, offset), fields);
        }
        match (root, fields) {
            ("claims", [(offset, field), rest @ ..]) => (self.claim(*offset, field), rest),
            ("claims", []) => (self.variable(offset, Variable::Claims), fields),
            ("request", [(_, "message"), path @ ..]) => (self.capture(offset, path), &[]),
            ("identity" | "consumer" | "request", [(offset, field), rest @ ..]) => {
                (self.field(root, *offset, field), rest)
            }
            ("identity" | "consumer" | "request", []) => {
                let expected = known(root).map(|field| format!("`{root}.{field}`")).collect::<Vec<_>>();
                let expected = one_of(&expected);
                self.refuse(offset, Problem::Incomplete { name: root.to_owned(), expected });
                (unknown(), &[])
            }
            _ => {
                let advice = advice(root, ROOTS.iter().copied());
                self.refuse(offset, Problem::UnknownName { name: root.to_owned(), advice });
                (unknown(), &[])
            }
        }
    }

    /// What a rule may name: what it judges, what it says itself, and the time.
    fn of_rule(&mut self, types: &RuleTypes<'_>, root: &str, offset: usize) -> Checked {
        match (root, &types.rules) {
            ("this", _) => Checked { node: Node::This, of: types.this.clone() },
            ("now", _) => Checked { node: Node::Now, of: Type::Timestamp },
            ("rules", Some((id, _))) => {
                Checked { node: Node::Rules, of: message::type_of(types.schema, *id) }
            }
            ("rule", Some((_, field))) => {
                let node = match &field.value {
                    Some(literal) => Node::Literal(literal.clone()),
                    None => Node::Field(Box::new(Node::Rules), field.number),
                };
                Checked { node, of: field.of.clone() }
            }
            _ => {
                let known: &[&str] =
                    if types.rules.is_some() { &["this", "rule", "rules", "now"] } else { &["this", "now"] };
                let advice = advice(root, known.iter().copied());
                self.refuse(offset, Problem::UnknownName { name: root.to_owned(), advice });
                unknown()
            }
        }
    }

    /// `claims.scope` is what was granted, in whatever form the token says so; all others are as they are.
    pub(super) fn claim(&mut self, offset: usize, name: &str) -> Checked {
        if name == "scope" {
            return self.variable(offset, Variable::Scope);
        }
        let claims = self.variable(offset, Variable::Claims);
        self.select(offset, claims, name)
    }

    fn field(&mut self, root: &str, offset: usize, field: &str) -> Checked {
        let found = FIELDS.iter().find(|(of, name, _)| *of == root && *name == field);
        match found {
            Some((.., variable)) => self.variable(offset, *variable),
            None => {
                let of = ROOTS.iter().find(|name| **name == root).expect("a root has fields");
                let advice = advice(field, known(root));
                self.refuse(offset, Problem::UnknownField { of, name: field.to_owned(), advice });
                unknown()
            }
        }
    }

    fn variable(&mut self, offset: usize, variable: Variable) -> Checked {
        let missing = match (variable, self.types) {
            (Variable::Country, Names::Request(types)) if !types.has_country => Some("geo.file"),
            (Variable::Asn, Names::Request(types)) if !types.has_asn => Some("geo.asn_file"),
            _ => None,
        };
        if let Some(key) = missing {
            self.refuse(offset, Problem::NoGeo(variable.name(), key));
        }
        self.variables |= variable.bit();
        Checked { node: Node::Variable(variable), of: variable.type_of() }
    }

    /// `request.message`, and behind it the path of a field that no method takes from its body.
    fn capture(&mut self, offset: usize, path: &[Field<'_>]) -> Checked {
        let Some(((last, _), _)) = path.split_last() else {
            let expected = "a field of the path or the query, such as `request.message.name`".to_owned();
            self.refuse(offset, Problem::Incomplete { name: "request.message".to_owned(), expected });
            return unknown();
        };
        let field = path.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(".");
        let Names::Request(types) = self.types else { return unknown() };
        match types.captures.capture(&field) {
            Ok(kind) => {
                let of = kind.type_of();
                Checked { node: Node::Capture(field.into(), kind), of }
            }
            Err(error) => {
                self.refuse(*last, Problem::Capture(Box::new(error)));
                unknown()
            }
        }
    }

    fn select(&mut self, offset: usize, operand: Checked, field: &str) -> Checked {
        if let Type::Message(message) = &operand.of {
            return match self.field_of(offset, message, field) {
                Some((number, of)) => Checked { node: Node::Field(Box::new(operand.node), number), of },
                None => unknown(),
            };
        }
        let of = self.selected(offset, &operand, field);
        Checked { node: Node::Select(Box::new(operand.node), field.into()), of }
    }

    /// The number and the type of a message's field.
    fn field_of(&mut self, offset: usize, message: &MessageType, field: &str) -> Option<(u32, Type)> {
        let found = match self.types {
            Names::Rule(types) => message::field(types.schema, message.id, field),
            Names::Request(_) => None,
        };
        if found.is_none() {
            let (message, name) = (message.name.to_string(), field.to_owned());
            self.refuse(offset, Problem::NoField { message, name });
        }
        found
    }

    /// The type of a field.
    fn selected(&mut self, offset: usize, operand: &Checked, field: &str) -> Type {
        match &operand.of {
            Type::Dyn => Type::Dyn,
            Type::Map(key, value) if key.agrees(&Type::Text) => {
                if matches!(operand.node, Node::Variable(Variable::Headers)) {
                    let name = Node::Literal(super::Literal::Text(field.into()));
                    self.header_name(offset, &name);
                }
                (**value).clone()
            }
            other => {
                let (what, expected) = (format!("`.{field}`"), "map(string, …)".to_owned());
                self.refuse(offset, Problem::Operand { what, expected, found: other.to_string() });
                Type::Dyn
            }
        }
    }

    /// `has(claims.tenant)`.
    pub(super) fn has(&mut self, argument: &Expr) -> Checked {
        let Kind::Select(operand, field) = &argument.kind else {
            self.refuse(argument.offset, Problem::NotAField);
            return unknown();
        };
        if matches!(self.types, Names::Rule(_)) {
            let operand = self.check(operand);
            if let Type::Message(message) = &operand.of {
                return match self.field_of(argument.offset, message, field) {
                    Some((number, _)) => {
                        Checked { node: Node::HasField(Box::new(operand.node), number), of: Type::Bool }
                    }
                    None => unknown(),
                };
            }
            self.selected(argument.offset, &operand, field);
            let node = Node::Has(Box::new(operand.node), (&**field).into());
            return Checked { node, of: Type::Bool };
        }
        let always = |what: String| Problem::AlwaysThere(what);
        // `has(claims.a.b)` asks for `b`: that there is an `a` is taken for granted, as CEL has it.
        if let Kind::Name(root) = &operand.kind
            && self.local(root).is_none()
            && !(&**root == "claims" && &**field != "scope")
        {
            let checked = self.name(argument);
            if let Node::Variable(variable) = checked.node {
                if !variable.may_be_absent() {
                    self.refuse(argument.offset, always(variable.name().to_owned()));
                }
                return Checked { node: Node::HasVariable(variable), of: Type::Bool };
            }
            return unknown();
        }
        if let Some(("request", _, fields)) = chain(argument)
            && matches!(fields.first(), Some((_, "message")))
        {
            if !matches!(self.name(argument).node, Node::Literal(_)) {
                self.refuse(argument.offset, always(format!("request.message.{field}")));
            }
            return unknown();
        }
        let operand = self.check(operand);
        self.selected(argument.offset, &operand, field);
        let node = Node::Has(Box::new(operand.node), (&**field).into());
        Checked { node, of: Type::Bool }
    }
}

/// `a.b.c` as `a`, its place, and the fields with theirs.
fn chain(expr: &Expr) -> Option<(&str, usize, Vec<Field<'_>>)> {
    let (mut at, mut fields) = (expr, Vec::new());
    loop {
        match &at.kind {
            Kind::Select(operand, field) => {
                fields.push((at.offset, &**field));
                at = operand;
            }
            Kind::Name(root) => {
                fields.reverse();
                return Some((root, at.offset, fields));
            }
            _ => return None,
        }
    }
}

fn known(root: &str) -> impl Iterator<Item = &'static str> {
    let message = (root == "request").then_some("message");
    FIELDS.iter().filter(move |(of, ..)| *of == root).map(|(_, field, _)| *field).chain(message)
}

/// The name that was meant, or those there are.
fn advice<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<_> = names.collect();
    match nearest(name, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            format!("expected {}", one_of(&quoted))
        }
    }
}

pub(super) fn one_of(names: &[String]) -> String {
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}
