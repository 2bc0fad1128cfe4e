//! The fields of a selection set as they are executed (GraphQL, section 6.3.2): fragments in place, `@skip` and
//! `@include` applied, fields of one response key as one.

use std::collections::{HashMap, HashSet};

use super::coerce::Variables;
use super::document::Document;
use super::document::ast::{Directive, FieldNode, LiteralKind, Selection};

/// The fields of one response key.
#[derive(Debug)]
pub struct Collected<'a> {
    /// The first of them: name and arguments of the others are the same.
    pub node: &'a FieldNode,
    /// What they select, to be merged.
    pub sets: Vec<&'a [Selection]>,
}

/// The fields of several selection sets of one parent, in response order.
///
/// Every type is concrete and the document is valid, so that the conditions of fragments need not be asked.
pub fn collect<'a>(
    document: &'a Document,
    sets: &[&'a [Selection]],
    variables: &Variables<'_>,
) -> Vec<Collected<'a>> {
    let mut collector =
        Collector { document, variables, fields: Vec::new(), places: HashMap::new(), seen: HashSet::new() };
    sets.iter().for_each(|set| collector.set(set));
    collector.fields
}

struct Collector<'a, 'v> {
    document: &'a Document,
    variables: &'v Variables<'v>,
    fields: Vec<Collected<'a>>,
    places: HashMap<&'a str, usize>,
    seen: HashSet<&'a str>,
}

impl<'a> Collector<'a, '_> {
    fn set(&mut self, selections: &'a [Selection]) {
        for selection in selections {
            if !self.is_included(selection.directives()) {
                continue;
            }
            match selection {
                Selection::Field(node) => self.field(node),
                Selection::Inline { selections, .. } => self.set(selections),
                Selection::Spread { name, .. } => {
                    if let Some(fragment) = self.document.fragment(&name.text)
                        && self.seen.insert(&name.text)
                    {
                        self.set(&fragment.selections);
                    }
                }
            }
        }
    }

    fn field(&mut self, node: &'a FieldNode) {
        let place = *self.places.entry(node.response_key()).or_insert(self.fields.len());
        if place == self.fields.len() {
            self.fields.push(Collected { node, sets: Vec::new() });
        }
        if let Some(field) = self.fields.get_mut(place)
            && !node.selections.is_empty()
        {
            field.sets.push(&node.selections);
        }
    }

    /// A condition that has no value, of a variable that is null against its type, selects nothing.
    fn is_included(&self, directives: &[Directive]) -> bool {
        directives.iter().all(|directive| {
            let condition = directive.arguments.first().and_then(|argument| match &argument.value.kind {
                LiteralKind::Boolean(value) => Some(*value),
                LiteralKind::Variable(name) => self.variables.is_true(name),
                _ => None,
            });
            match &*directive.name.text {
                "skip" => condition == Some(false),
                "include" => condition == Some(true),
                _ => true,
            }
        })
    }
}
