//! Fields that share a name in the response must be one field (GraphQL, section 5.3.2).
//!
//! Every type is concrete and every fragment is on the type that it is spread in, so that all fields of a selection set
//! are of one parent: two of one response key need the same name and the same arguments, and what they select is merged
//! and looked at as one set.

use std::collections::{HashMap, HashSet};

use super::ast::{Argument, Ast, FieldNode, FragmentDefinition, Literal, LiteralKind, Selection};
use super::problem::Problem;
use super::validate::{PROBLEMS_MAX, STEPS_MAX};

type Fragments<'a> = HashMap<&'a str, &'a FragmentDefinition>;

/// The fields of one response key, the first occurrence first.
type Merged<'a> = Vec<(&'a str, Vec<&'a FieldNode>)>;

pub(super) fn check(ast: &Ast, fragments: &Fragments<'_>, steps: &mut usize, problems: &mut Vec<Problem>) {
    let mut merger = Merger { fragments, steps, problems };
    for operation in &ast.operations {
        if merger.goes_on() {
            merger.set(&[&operation.selections]);
        }
    }
}

struct Merger<'m, 'a> {
    fragments: &'m Fragments<'a>,
    steps: &'m mut usize,
    problems: &'m mut Vec<Problem>,
}

impl<'a> Merger<'_, 'a> {
    fn set(&mut self, sets: &[&'a [Selection]]) {
        let mut merged = Merged::new();
        let mut places = HashMap::new();
        let mut seen = HashSet::new();
        for set in sets {
            self.collect(set, &mut merged, &mut places, &mut seen);
        }
        for (key, fields) in merged {
            let Some((first, rest)) = fields.split_first() else { continue };
            for other in rest {
                self.same(key, first, other);
            }
            let inner: Vec<&'a [Selection]> =
                fields.iter().map(|field| &*field.selections).filter(|set| !set.is_empty()).collect();
            if !inner.is_empty() && self.goes_on() {
                self.set(&inner);
            }
        }
    }

    fn goes_on(&self) -> bool {
        *self.steps <= STEPS_MAX && self.problems.len() < PROBLEMS_MAX
    }

    fn collect(
        &mut self,
        selections: &'a [Selection],
        merged: &mut Merged<'a>,
        places: &mut HashMap<&'a str, usize>,
        seen: &mut HashSet<&'a str>,
    ) {
        for selection in selections {
            *self.steps = self.steps.saturating_add(1);
            match selection {
                Selection::Field(field) => {
                    let key = field.response_key();
                    let place = *places.entry(key).or_insert(merged.len());
                    match merged.get_mut(place) {
                        Some((_, fields)) => fields.push(field),
                        None => merged.push((key, vec![field])),
                    }
                }
                Selection::Inline { selections, .. } => self.collect(selections, merged, places, seen),
                Selection::Spread { name, .. } => {
                    if let Some(fragment) = self.fragments.get(&*name.text).copied()
                        && seen.insert(&*name.text)
                    {
                        self.collect(&fragment.selections, merged, places, seen);
                    }
                }
            }
        }
    }

    fn same(&mut self, key: &str, first: &FieldNode, other: &FieldNode) {
        *self.steps = self.steps.saturating_add(1 + first.arguments.len());
        let (one, two) = (&first.name.text, &other.name.text);
        let message = if one != two {
            format!("`{key}` is `{one}` and `{two}`: give one of them another alias")
        } else if !same_members(&first.arguments, &other.arguments) {
            format!("`{key}` has different arguments: give one of them an alias")
        } else {
            return;
        };
        if self.problems.len() < PROBLEMS_MAX {
            let mut problem = Problem::invalid(message, first.at);
            problem.locations.push(other.at);
            self.problems.push(problem);
        }
    }
}

/// Whether the same names have the same values; the order does not matter.
fn same_members(first: &[Argument], other: &[Argument]) -> bool {
    fn sorted(members: &[Argument]) -> Vec<&Argument> {
        let mut members: Vec<&Argument> = members.iter().collect();
        members.sort_by_key(|member| &member.name.text);
        members
    }
    first.len() == other.len()
        && sorted(first)
            .iter()
            .zip(sorted(other))
            .all(|(one, two)| one.name.text == two.name.text && same_value(&one.value, &two.value))
}

fn same_value(first: &Literal, other: &Literal) -> bool {
    use LiteralKind as K;
    match (&first.kind, &other.kind) {
        (K::Variable(one), K::Variable(two))
        | (K::Int(one), K::Int(two))
        | (K::Float(one), K::Float(two))
        | (K::String(one), K::String(two))
        | (K::Enum(one), K::Enum(two)) => one == two,
        (K::Boolean(one), K::Boolean(two)) => one == two,
        (K::Null, K::Null) => true,
        (K::List(one), K::List(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| same_value(one, two))
        }
        (K::Object(one), K::Object(two)) => same_members(one, two),
        _ => false,
    }
}
