//! Arguments and directives: known, once, of their type, where they may stand (GraphQL, sections 5.4 and 5.7).

use std::collections::HashSet;

use super::ast::{Argument, Directive};
use super::problem::Location;
use super::validate::Rules;
use super::values::Place;
use crate::graphql::model::{Inputs, Scalar, TypeRef};

/// Where a directive stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// A field, a spread or an inline fragment.
    Selection,
    Definition,
}

impl<'a> Rules<'a> {
    /// Checks the arguments of a field.
    pub(super) fn arguments(&mut self, owner: &str, given: &'a [Argument], inputs: &'a Inputs, at: Location) {
        self.unique(given.iter().map(|argument| &argument.name), "argument");
        for argument in given {
            match inputs.find(&argument.name.text) {
                Some(input) => {
                    let has_default = input.default.is_some();
                    let place = Place { type_ref: input.type_ref, has_default, is_one_of: false };
                    self.value(&argument.value, place);
                }
                None => {
                    let name = &argument.name.text;
                    self.invalid(format!("`{owner}` has no argument `{name}`"), argument.name.at);
                    self.variables_within(&argument.value);
                }
            }
        }
        let names: HashSet<&str> = given.iter().map(|argument| &*argument.name.text).collect();
        for input in &inputs.list {
            let is_required = input.type_ref.is_non_null && input.default.is_none();
            if is_required && !names.contains(&*input.name) {
                self.invalid(format!("`{owner}` needs an argument `{}`", input.name), at);
            }
        }
    }

    /// Checks the directives of one place: `@skip` and `@include` are all that documents have.
    pub(super) fn directives(&mut self, directives: &'a [Directive], stand: Where) {
        self.unique(directives.iter().map(|directive| &directive.name), "directive");
        for directive in directives {
            let name = &directive.name;
            match (&*name.text, stand) {
                ("skip" | "include", Where::Selection) => self.skip_or_include(directive),
                ("skip" | "include" | "deprecated" | "specifiedBy" | "oneOf", _) => {
                    self.invalid(format!("directive `@{}` may not stand here", name.text), name.at);
                    directive.arguments.iter().for_each(|one| self.variables_within(&one.value));
                }
                _ => {
                    self.invalid(format!("there is no directive `@{}`", name.text), name.at);
                    directive.arguments.iter().for_each(|one| self.variables_within(&one.value));
                }
            }
        }
    }

    /// `(if: Boolean!)`
    fn skip_or_include(&mut self, directive: &'a Directive) {
        let owner = &directive.name.text;
        self.unique(directive.arguments.iter().map(|argument| &argument.name), "argument");
        let named = self.model.scalar(Scalar::Boolean);
        let place = Place::of(TypeRef { named, is_list: false, is_non_null: true, has_null_items: false });
        for argument in &directive.arguments {
            if &*argument.name.text == "if" {
                self.value(&argument.value, place);
            } else {
                let name = &argument.name.text;
                self.invalid(format!("`@{owner}` has no argument `{name}`"), argument.name.at);
                self.variables_within(&argument.value);
            }
        }
        if !directive.arguments.iter().any(|argument| &*argument.name.text == "if") {
            self.invalid(format!("`@{owner}` needs an argument `if`"), directive.name.at);
        }
    }
}
