//! Calls: functions by their signatures, and what has rules of its own.

use ipnet::IpNet;

use super::super::NESTING_MAX;
use super::super::error::Problem;
use super::super::node::{Macro, MacroKind, Node};
use super::super::syntax::{Expr, Kind, Literal};
use super::super::types::Type;
use super::super::vocabulary::{FUNCTIONS, Function, SPECIAL, Signature, Style};
use super::name::one_of;
use super::{Checked, Checker, unknown};
use crate::policy::nearest::nearest;
use crate::policy::pattern;

impl Checker<'_> {
    pub(super) fn call(
        &mut self,
        offset: usize,
        name: &str,
        target: Option<&Expr>,
        arguments: &[Expr],
    ) -> Checked {
        let macro_kind = match name {
            "all" => Some(MacroKind::All),
            "exists" => Some(MacroKind::Exists),
            "exists_one" | "existsOne" => Some(MacroKind::ExistsOne),
            "filter" => Some(MacroKind::Filter),
            "map" => Some(MacroKind::Map),
            _ => None,
        };
        match (macro_kind, name) {
            (Some(kind), _) => self.run(offset, name, kind, target, arguments),
            (None, "has") => self.check_has(offset, target, arguments),
            (None, "matches") => self.matches(offset, target, arguments),
            (None, "inNetwork") => self.in_network(offset, target, arguments),
            _ => match FUNCTIONS.iter().find(|signature| signature.name == name) {
                Some(signature) => self.function(offset, signature, target, arguments),
                None => {
                    let names = FUNCTIONS.iter().map(|signature| signature.name);
                    let names: Vec<_> = names.chain(SPECIAL.iter().map(|(name, _)| *name)).collect();
                    let advice = match nearest(name, &names) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "the table of functions has what there is".to_owned(),
                    };
                    self.refuse(offset, Problem::UnknownFunction { name: name.to_owned(), advice });
                    unknown()
                }
            },
        }
    }

    fn function(
        &mut self,
        offset: usize,
        signature: &'static Signature,
        target: Option<&Expr>,
        arguments: &[Expr],
    ) -> Checked {
        let (name, example) = (signature.name.to_owned(), signature.example.to_owned());
        match (signature.style, target) {
            (Style::Method, None) => {
                self.refuse(offset, Problem::NeedsTarget { name, example });
                return unknown();
            }
            (Style::Global, Some(_)) => {
                self.refuse(offset, Problem::NeedsNoTarget { name, example });
                return unknown();
            }
            _ => {}
        }
        let most = signature.takes.len() - usize::from(target.is_some());
        let takes = arguments.len().clamp(most - signature.optional, most);
        if !self.has_arity(offset, signature.name, takes, arguments.len()) {
            return unknown();
        }
        let mut nodes = Vec::with_capacity(signature.takes.len());
        for (expr, kinds) in target.into_iter().chain(arguments).zip(signature.takes) {
            let checked = self.check(expr);
            if !kinds.iter().any(|kind| kind.accepts(&checked.of)) {
                let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
                let what = format!("`{}`", signature.name);
                let (expected, found) = (one_of(&names), checked.of.to_string());
                self.refuse(expr.offset, Problem::Operand { what, expected, found });
            }
            if signature.function == Function::Dyn {
                return Checked { node: checked.node, of: Type::Dyn };
            }
            nodes.push(checked.node);
        }
        self.fold(offset, Node::Call(signature.function, nodes.into()), signature.gives.type_of())
    }

    fn check_has(&mut self, offset: usize, target: Option<&Expr>, arguments: &[Expr]) -> Checked {
        if target.is_some() {
            return self.misplaced("has", offset);
        }
        match arguments {
            [argument] => self.has(argument),
            _ => {
                self.has_arity(offset, "has", 1, arguments.len());
                unknown()
            }
        }
    }

    /// The pattern is compiled here; as a search, in time linear in the text.
    fn matches(&mut self, offset: usize, target: Option<&Expr>, arguments: &[Expr]) -> Checked {
        let (text, pattern) = match (target, arguments) {
            (Some(text), [pattern]) | (None, [text, pattern]) => (text, pattern),
            _ => {
                let takes = if target.is_some() { 1 } else { 2 };
                self.has_arity(offset, "matches", takes, arguments.len());
                return unknown();
            }
        };
        let checked = self.check(text);
        self.expect(text.offset, "`matches`", &Type::Text, &checked.of);
        let source = self.check(pattern);
        let Node::Literal(Literal::Text(source)) = &source.node else {
            self.refuse(pattern.offset, Problem::NotLiteral { what: "the pattern of `matches`" });
            return unknown();
        };
        match pattern::compile(source) {
            Ok(regex) => {
                Checked { node: Node::Matches(Box::new(checked.node), Box::new(regex)), of: Type::Bool }
            }
            Err(error) => {
                self.refuse(pattern.offset, Problem::Pattern(error));
                unknown()
            }
        }
    }

    /// `inNetwork(request.address, "10.0.0.0/8")`, or with a list of networks.
    fn in_network(&mut self, offset: usize, target: Option<&Expr>, arguments: &[Expr]) -> Checked {
        if target.is_some() {
            return self.misplaced("inNetwork", offset);
        }
        let [address, networks] = arguments else {
            self.has_arity(offset, "inNetwork", 2, arguments.len());
            return unknown();
        };
        let checked = self.check(address);
        self.expect(address.offset, "`inNetwork`", &Type::Text, &checked.of);
        let literals = match &networks.kind {
            Kind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(networks),
        };
        let mut parsed = Vec::with_capacity(literals.len());
        for literal in literals {
            let Kind::Literal(Literal::Text(text)) = &literal.kind else {
                self.refuse(literal.offset, Problem::NotLiteral { what: "the network of `inNetwork`" });
                continue;
            };
            match network(text) {
                Some(network) => parsed.push(network),
                None => self.refuse(literal.offset, Problem::Network(text.to_string())),
            }
        }
        Checked { node: Node::InNetwork(Box::new(checked.node), parsed.into()), of: Type::Bool }
    }

    /// `range.all(item, body)` and its like.
    fn run(
        &mut self,
        offset: usize,
        name: &str,
        kind: MacroKind,
        target: Option<&Expr>,
        arguments: &[Expr],
    ) -> Checked {
        let Some(target) = target else {
            let known = SPECIAL.iter().find(|(special, _)| *special == name);
            let example = known.map_or("", |(_, example)| *example).to_owned();
            self.refuse(offset, Problem::NeedsTarget { name: name.to_owned(), example });
            return unknown();
        };
        let (item, filter, body) = match arguments {
            [item, body] => (item, None, body),
            [item, filter, body] if kind == MacroKind::Map => (item, Some(filter), body),
            _ => {
                self.has_arity(offset, name, 2, arguments.len());
                return unknown();
            }
        };
        let range = self.check(target);
        let of = match &range.of {
            Type::List(item) => (**item).clone(),
            Type::Map(key, _) => (**key).clone(),
            Type::Dyn => Type::Dyn,
            other => {
                let (what, expected) = (format!("`{name}`"), "list or map".to_owned());
                self.refuse(target.offset, Problem::Operand { what, expected, found: other.to_string() });
                Type::Dyn
            }
        };
        let Kind::Name(local) = &item.kind else {
            self.refuse(item.offset, Problem::NotAName);
            return unknown();
        };
        let checked = self.with_local(local, of.clone(), |checker, slot| {
            let filter = filter.map(|filter| checker.boolean(filter, &format!("`{name}`")));
            let body = match kind {
                MacroKind::Map => checker.check(body),
                _ => Checked { node: checker.boolean(body, &format!("`{name}`")), of: Type::Bool },
            };
            (slot, filter, body)
        });
        let Some((slot, filter, body)) = checked else {
            self.refuse(offset, Problem::TooNested { max: NESTING_MAX });
            return unknown();
        };
        let gives = match kind {
            MacroKind::Map => Type::list(body.of),
            MacroKind::Filter => Type::list(of),
            MacroKind::All | MacroKind::Exists | MacroKind::ExistsOne => Type::Bool,
        };
        let node = Macro { kind, range: range.node, slot, filter, body: body.node };
        Checked { node: Node::Macro(Box::new(node)), of: gives }
    }

    fn misplaced(&mut self, name: &str, offset: usize) -> Checked {
        let example = SPECIAL.iter().find(|(special, _)| *special == name);
        let example = example.map_or("", |(_, example)| *example).to_owned();
        self.refuse(offset, Problem::NeedsNoTarget { name: name.to_owned(), example });
        unknown()
    }

    fn has_arity(&mut self, offset: usize, name: &str, takes: usize, found: usize) -> bool {
        if takes != found {
            let takes = match takes {
                0 => "nothing".to_owned(),
                1 => "one argument".to_owned(),
                _ => format!("{takes} arguments"),
            };
            self.refuse(offset, Problem::Arity { name: name.to_owned(), takes, found });
        }
        takes == found
    }
}

/// A network, or one address of it; a v4 address written as v6 is what it stands for.
fn network(text: &str) -> Option<IpNet> {
    let network =
        text.parse::<IpNet>().ok().or_else(|| Some(text.parse::<core::net::IpAddr>().ok()?.into()))?;
    match (network.addr().to_canonical(), network.prefix_len()) {
        (core::net::IpAddr::V4(address), length) if network.addr().is_ipv6() => {
            IpNet::new(address.into(), length.checked_sub(96)?).ok()
        }
        _ => Some(network),
    }
}
