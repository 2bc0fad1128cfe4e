//! Values as they are written, against the types that take them (GraphQL, section 5.6).
//!
//! Scalars of protobuf are checked for their kind alone, a number or a text: what a number or a text says is told when
//! it is written into the request.

use std::collections::HashSet;

use super::ast::{Literal, LiteralKind};
use super::problem::Location;
use super::validate::{Rules, Usage};
use crate::graphql::model::{Inputs, Scalar, TypeId, TypeKind, TypeRef};

/// The place of a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub type_ref: TypeRef,
    /// Whether the place has a default of its own, so that a variable without a value may stand there.
    pub has_default: bool,
    /// Whether it is a member of an input object of which exactly one must be given.
    pub is_one_of: bool,
}

impl Place {
    pub(super) fn of(type_ref: TypeRef) -> Self {
        Self { type_ref, has_default: false, is_one_of: false }
    }
}

impl<'a> Rules<'a> {
    /// Checks a value, and notes the variables in it.
    pub(super) fn value(&mut self, literal: &'a Literal, place: Place) {
        self.step();
        let TypeRef { named, is_list, is_non_null, .. } = place.type_ref;
        match &literal.kind {
            LiteralKind::Variable(name) => {
                self.usages.push(Usage { name, at: literal.at, place: Some(place) });
            }
            LiteralKind::Null if is_non_null || place.is_one_of => {
                let message =
                    format!("expected a value of type `{}`, found `null`", self.show(place.type_ref));
                self.invalid(message, literal.at);
            }
            LiteralKind::Null => {}
            LiteralKind::List(items) if is_list => {
                let item =
                    Place::of(TypeRef { named, is_list: false, is_non_null: true, has_null_items: false });
                items.iter().for_each(|item_literal| self.value(item_literal, item));
            }
            // A single value stands for a list of one (section 3.11).
            _ if is_list => self.value(
                literal,
                Place::of(TypeRef { named, is_list: false, is_non_null: true, has_null_items: false }),
            ),
            _ => self.single(literal, named),
        }
    }

    fn single(&mut self, literal: &'a Literal, named: TypeId) {
        match (self.model.get(named).kind, &literal.kind) {
            (TypeKind::Scalar(scalar), _) => self.scalar(literal, scalar),
            (TypeKind::Enum(_) | TypeKind::Meta(_), LiteralKind::Enum(name)) => {
                let values = self.model.values(self.schema, named);
                if values.find(name).is_none() {
                    let message = format!("`{name}` is no value of `{}`", self.model.get(named).name);
                    self.invalid(message, literal.at);
                }
            }
            (TypeKind::Input(_), LiteralKind::Object(members)) => {
                self.unique(members.iter().map(|member| &member.name), "input field");
                let inputs = self.model.inputs(self.schema, named);
                self.members(literal, named, inputs);
            }
            _ => self.mismatch(literal, named),
        }
    }

    fn members(&mut self, literal: &'a Literal, named: TypeId, inputs: &'a Inputs) {
        let LiteralKind::Object(members) = &literal.kind else { return };
        let owner = &self.model.get(named).name;
        for member in members {
            let Some(input) = inputs.find(&member.name.text) else {
                self.invalid(format!("`{owner}` has no field `{}`", member.name.text), member.name.at);
                self.variables_within(&member.value);
                continue;
            };
            let is_one_of = inputs.is_one_of;
            self.value(&member.value, Place { type_ref: input.type_ref, has_default: false, is_one_of });
        }
        if inputs.is_one_of && members.len() != 1 {
            self.invalid(format!("`{owner}` takes exactly one field, found {}", members.len()), literal.at);
        }
        let given: HashSet<&str> = members.iter().map(|member| &*member.name.text).collect();
        for input in inputs.list.iter().filter(|input| input.type_ref.is_non_null) {
            if !given.contains(&*input.name) {
                let message = format!("`{owner}` needs a field `{}`", input.name);
                self.invalid(message, literal.at);
            }
        }
    }

    fn scalar(&mut self, literal: &'a Literal, scalar: Scalar) {
        let is_valid = match (&literal.kind, scalar) {
            (LiteralKind::Int(text), Scalar::Int) => text.parse::<i32>().is_ok(),
            (LiteralKind::Int(text) | LiteralKind::Float(text), Scalar::Float) => {
                text.parse::<f64>().is_ok_and(f64::is_finite)
            }
            (LiteralKind::String(_), Scalar::String | Scalar::Id) => true,
            (LiteralKind::Int(_), Scalar::Id) => true,
            (LiteralKind::Boolean(_), Scalar::Boolean) => true,
            (LiteralKind::Int(_), Scalar::UInt32) => true,
            (LiteralKind::Int(_) | LiteralKind::String(_), Scalar::Int64 | Scalar::UInt64) => true,
            (
                LiteralKind::String(_),
                Scalar::Bytes | Scalar::DateTime | Scalar::Duration | Scalar::FieldMask,
            ) => true,
            (_, Scalar::Json) => {
                self.json(literal);
                true
            }
            _ => false,
        };
        if !is_valid {
            self.mismatch(literal, self.model.scalar(scalar));
        }
    }

    /// Any value at all; what is in it follows the rules that need no type.
    fn json(&mut self, literal: &'a Literal) {
        self.step();
        match &literal.kind {
            LiteralKind::Variable(name) => self.usages.push(Usage { name, at: literal.at, place: None }),
            LiteralKind::List(items) => items.iter().for_each(|item| self.json(item)),
            LiteralKind::Object(members) => {
                self.unique(members.iter().map(|member| &member.name), "input field");
                members.iter().for_each(|member| self.json(&member.value));
            }
            _ => {}
        }
    }

    /// Notes the variables of a value whose type nobody knows, so that they count as used.
    pub(super) fn variables_within(&mut self, literal: &'a Literal) {
        self.json(literal);
    }

    fn mismatch(&mut self, literal: &'a Literal, named: TypeId) {
        let name = &self.model.get(named).name;
        let message = format!("expected a value of type `{name}`, found {}", found(literal));
        self.invalid(message, literal.at);
        self.variables_within(literal);
    }

    /// That no name comes twice.
    pub(super) fn unique<'n>(&mut self, names: impl Iterator<Item = &'n super::ast::Name>, what: &str) {
        let mut seen: Vec<(&str, Location)> = names.map(|name| (&*name.text, name.at)).collect();
        // Stable: of two alike, the later one is the culprit.
        seen.sort_by_key(|(name, _)| *name);
        let mut twice: Vec<(&str, Location)> = Vec::new();
        for pair in seen.windows(2) {
            if let [(first, _), (second, at)] = pair
                && first == second
            {
                twice.push((*second, *at));
            }
        }
        for (name, at) in twice {
            self.invalid(format!("{what} `{name}` comes twice"), at);
        }
    }
}

fn found(literal: &Literal) -> String {
    let text = |text: &str| text.chars().take(40).collect::<String>();
    match &literal.kind {
        LiteralKind::Variable(name) => format!("`${name}`"),
        LiteralKind::Int(number) | LiteralKind::Float(number) => format!("`{}`", text(number)),
        LiteralKind::String(_) => "a string".to_owned(),
        LiteralKind::Boolean(value) => format!("`{value}`"),
        LiteralKind::Null => "`null`".to_owned(),
        LiteralKind::Enum(name) => format!("`{}`", text(name)),
        LiteralKind::List(_) => "a list".to_owned(),
        LiteralKind::Object(_) => "an object".to_owned(),
    }
}
