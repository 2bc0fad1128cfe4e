//! The shape of a document, before any name in it is looked up: how deep, how wide, and whether it ends.
//!
//! A fragment is measured once, however often it is spread, so that a document which would be of astronomic size with
//! its fragments in place is measured in time linear in its text. Fragments that contain themselves are found here;
//! whatever comes later may follow spreads without asking.

use std::collections::HashMap;

use super::ast::{Ast, FragmentDefinition, Selection};
use super::problem::{Code, Location, Problem};
use super::{Bounds, parse::NESTING_MAX};

/// The measure of a selection set with all its fragments in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Measure {
    /// Fields above each other; those of introspection are counted apart.
    depth: usize,
    /// The same below `__schema` and `__type`, these included.
    introspection_depth: usize,
    /// Fields above each other that have the name of one of [`LISTS`].
    lists: usize,
    /// The same below `__schema` and `__type`, where each can be as long as the schema.
    introspection_lists: usize,
    aliases: usize,
    /// Fields that stand side by side at its top.
    fields: usize,
    /// Brackets above each other, fragments in place.
    nesting: usize,
    has_introspection: bool,
}

/// Fields of introspection that are lists of types, or lead on to types.
const LISTS: [&str; 4] = ["fields", "interfaces", "possibleTypes", "inputFields"];
/// What the usual introspection queries need is one of each.
const INTROSPECTION_LISTS_MAX: usize = 2;

/// Measures every operation, and refuses what is past a bound or has no end.
pub(super) fn check(ast: &Ast, bounds: &Bounds) -> Result<(), Problem> {
    let mut measurer =
        Measurer { fragments: by_name(ast), measured: HashMap::new(), open: Vec::new(), level: 0 };
    // Unused fragments, too: those that contain themselves must never be followed.
    for fragment in &ast.fragments {
        measurer.fragment(fragment, fragment.at)?;
    }
    for operation in &ast.operations {
        let measure = measurer.selections(&operation.selections)?;
        measure.check(bounds, operation.at)?;
    }
    Ok(())
}

/// The fragments by name; of several of one name the first.
pub(super) fn by_name(ast: &Ast) -> HashMap<&str, &FragmentDefinition> {
    ast.fragments.iter().rev().map(|fragment| (&*fragment.name.text, fragment)).collect()
}

struct Measurer<'a> {
    fragments: HashMap<&'a str, &'a FragmentDefinition>,
    measured: HashMap<&'a str, Measure>,
    /// Fragments that are being measured, the outermost first.
    open: Vec<&'a str>,
    /// How many selection sets are being measured, one within the other.
    level: usize,
}

impl<'a> Measurer<'a> {
    fn fragment(&mut self, fragment: &'a FragmentDefinition, at: Location) -> Result<Measure, Problem> {
        let name = &*fragment.name.text;
        if let Some(measure) = self.measured.get(name) {
            return Ok(*measure);
        }
        if self.open.contains(&name) {
            let through: Vec<String> = self
                .open
                .iter()
                .skip_while(|one| **one != name)
                .skip(1)
                .map(|one| format!("`{one}`"))
                .collect();
            let through =
                if through.is_empty() { String::new() } else { format!(" through {}", through.join(", ")) };
            return Err(Problem::invalid(format!("fragment `{name}` contains itself{through}"), at));
        }
        self.open.push(name);
        let measure = self.selections(&fragment.selections)?;
        self.open.pop();
        self.measured.insert(name, measure);
        Ok(measure)
    }

    fn selections(&mut self, selections: &'a [Selection]) -> Result<Measure, Problem> {
        self.level += 1;
        let mut whole = Measure::default();
        for selection in selections {
            // What is measured already is as deep as it is; what is not yet must not exhaust the stack.
            if whole.nesting.max(self.level) > NESTING_MAX {
                let message =
                    format!("selections are nested more than {NESTING_MAX} deep, fragments in place");
                return Err(Problem::new(Code::DepthLimit, message, selection.at()));
            }
            let part = match selection {
                Selection::Field(field) => {
                    let inner = self.selections(&field.selections)?;
                    inner.below(&field.name.text, field.alias.is_some())
                }
                Selection::Inline { selections, .. } => self.selections(selections)?.deeper(),
                Selection::Spread { name, .. } => match self.fragments.get(&*name.text).copied() {
                    Some(fragment) => self.fragment(fragment, name.at)?.deeper(),
                    // That there is none is told with everything else that is not.
                    None => Measure::default(),
                },
            };
            whole = whole.beside(part);
        }
        self.level -= 1;
        Ok(whole)
    }
}

impl Measure {
    /// Of a field whose selection set this is the measure of.
    fn below(self, name: &str, has_alias: bool) -> Self {
        let is_entrance = matches!(name, "__schema" | "__type");
        let depth = self.depth.saturating_add(1);
        let lists = self.lists.saturating_add(usize::from(LISTS.contains(&name)));
        Self {
            depth: if is_entrance { 0 } else { depth },
            introspection_depth: if is_entrance { depth } else { self.introspection_depth },
            lists: if is_entrance { 0 } else { lists },
            introspection_lists: if is_entrance { lists } else { self.introspection_lists },
            aliases: self.aliases.saturating_add(usize::from(has_alias)),
            fields: 1,
            nesting: self.nesting.saturating_add(1),
            has_introspection: is_entrance || self.has_introspection,
        }
    }

    fn deeper(self) -> Self {
        Self { nesting: self.nesting.saturating_add(1), ..self }
    }

    fn beside(self, other: Self) -> Self {
        Self {
            depth: self.depth.max(other.depth),
            introspection_depth: self.introspection_depth.max(other.introspection_depth),
            lists: self.lists.max(other.lists),
            introspection_lists: self.introspection_lists.max(other.introspection_lists),
            aliases: self.aliases.saturating_add(other.aliases),
            fields: self.fields.saturating_add(other.fields),
            nesting: self.nesting.max(other.nesting),
            has_introspection: self.has_introspection || other.has_introspection,
        }
    }

    fn check(self, bounds: &Bounds, at: Location) -> Result<(), Problem> {
        let past = |code, what: &str, is: usize, max: usize| {
            Err(Problem::new(code, format!("the operation has {is} {what}, at most {max} are allowed"), at))
        };
        if self.nesting > NESTING_MAX {
            return past(Code::DepthLimit, "selections within each other", self.nesting, NESTING_MAX);
        }
        if self.depth > bounds.depth_max {
            return past(Code::DepthLimit, "fields above each other", self.depth, bounds.depth_max);
        }
        if self.aliases > bounds.aliases_max {
            return past(Code::AliasLimit, "aliases", self.aliases, bounds.aliases_max);
        }
        if self.fields > bounds.root_fields_max {
            return past(Code::RootFieldLimit, "root fields", self.fields, bounds.root_fields_max);
        }
        if !self.has_introspection {
            return Ok(());
        }
        if !bounds.introspection {
            return Err(Problem::new(Code::IntrospectionDisabled, "introspection is switched off", at));
        }
        let max = bounds.introspection_depth_max;
        if self.introspection_depth > max {
            return past(
                Code::DepthLimit,
                "fields of introspection above each other",
                self.introspection_depth,
                max,
            );
        }
        if self.introspection_lists > INTROSPECTION_LISTS_MAX {
            let (is, max) = (self.introspection_lists, INTROSPECTION_LISTS_MAX);
            return past(Code::DepthLimit, "lists of introspection above each other", is, max);
        }
        Ok(())
    }
}
