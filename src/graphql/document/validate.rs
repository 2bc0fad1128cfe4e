//! The rules of GraphQL, section 5, against a model in which every type is an object or a leaf.
//!
//! Operations and fragments are each walked once, by type; the walk notes which variables stand where and which
//! fragments are spread, and what holds for an operation as a whole is told from the notes. Steps are counted, because
//! an operation follows every spread: many operations that share many fragments are a product.

use std::collections::{HashMap, HashSet};

use super::arguments::Where;
use super::ast::{
    Ast, DeclaredKind, DeclaredType, FieldNode, FragmentDefinition, LiteralKind, Name, OperationDefinition,
    Selection, VariableDefinition,
};
use super::merge;
use super::problem::{Code, Location, Problem};
use super::structure::by_name;
use super::values::Place;
use crate::graphql::model::{Model, Operation, TypeId, TypeRef};
use crate::schema::Schema;

/// How many problems are told of one document.
pub const PROBLEMS_MAX: usize = 20;

/// What one document may take: some tens of nanoseconds each.
pub(super) const STEPS_MAX: usize = 50_000;

/// A variable where it is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage<'a> {
    pub name: &'a str,
    pub at: Location,
    /// `None` where any value may stand.
    pub place: Option<Place>,
}

/// What an operation or a fragment has in it, spreads not followed.
#[derive(Debug, Default)]
struct Notes<'a> {
    usages: Vec<Usage<'a>>,
    spreads: Vec<&'a str>,
}

pub(super) struct Rules<'a> {
    pub model: &'a Model,
    pub schema: &'a Schema,
    pub usages: Vec<Usage<'a>>,
    fragments: HashMap<&'a str, &'a FragmentDefinition>,
    spreads: Vec<&'a str>,
    problems: Vec<Problem>,
    steps: usize,
}

/// Checks a document whose fragments have an end.
pub(super) fn validate(ast: &Ast, model: &Model, schema: &Schema) -> Result<(), Vec<Problem>> {
    let mut rules = Rules {
        model,
        schema,
        usages: Vec::new(),
        fragments: by_name(ast),
        spreads: Vec::new(),
        problems: Vec::new(),
        steps: 0,
    };
    rules.names(ast);
    let mut notes = HashMap::new();
    for fragment in &ast.fragments {
        rules.fragment(fragment);
        notes.insert(&*fragment.name.text, rules.take_notes());
    }
    let mut used = HashSet::new();
    for operation in &ast.operations {
        rules.operation(operation);
        let own = rules.take_notes();
        rules.variables(operation, &own, &notes, &mut used);
    }
    for fragment in ast.fragments.iter().filter(|fragment| !used.contains(&*fragment.name.text)) {
        rules.invalid(format!("fragment `{}` is never used", fragment.name.text), fragment.at);
    }
    if rules.problems.is_empty() {
        // Whoever merges fields may rely on each of them.
        merge::check(ast, &rules.fragments, &mut rules.steps, &mut rules.problems);
    }
    if rules.steps > STEPS_MAX {
        let message = format!("the document takes more than {STEPS_MAX} steps to check");
        return Err(vec![Problem::nowhere(Code::CostLimit, message)]);
    }
    if rules.problems.is_empty() { Ok(()) } else { Err(rules.problems) }
}

impl<'a> Rules<'a> {
    pub(super) fn invalid(&mut self, message: String, at: Location) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem::invalid(message, at));
        }
    }

    pub(super) fn step(&mut self) {
        self.steps = self.steps.saturating_add(1);
    }

    pub(super) fn show(&self, type_ref: TypeRef) -> String {
        self.model.show(type_ref).to_string()
    }

    fn take_notes(&mut self) -> Notes<'a> {
        Notes { usages: std::mem::take(&mut self.usages), spreads: std::mem::take(&mut self.spreads) }
    }

    /// Names of operations and fragments.
    fn names(&mut self, ast: &'a Ast) {
        self.unique(ast.operations.iter().filter_map(|one| one.name.as_ref()), "operation");
        self.unique(ast.fragments.iter().map(|one| &one.name), "fragment");
        if let Some(one) = ast.operations.iter().find(|one| one.name.is_none())
            && ast.operations.len() > 1
        {
            self.invalid("an operation without a name must be the only one".to_owned(), one.at);
        }
    }

    fn operation(&mut self, operation: &'a OperationDefinition) {
        self.directives(&operation.directives, Where::Definition);
        self.unique(operation.variables.iter().map(|variable| &variable.name), "variable");
        for variable in &operation.variables {
            self.directives(&variable.directives, Where::Definition);
            if let Some((type_ref, is_checked)) = self.variable_type(&variable.declared)
                && let Some(default) = &variable.default
                && is_checked
            {
                self.value(default, Place::of(type_ref));
            }
        }
        let Some(root) = self.model.root(operation.kind) else {
            let kind = operation.kind.type_name().to_ascii_lowercase();
            self.invalid(format!("there are no {kind}s"), operation.at);
            return;
        };
        self.selections(&operation.selections, root);
        if operation.kind == Operation::Subscription {
            self.single_root(operation);
        }
    }

    /// The innermost type of a variable, which must be one of input. Lists of lists are legal, and fit nowhere.
    fn variable_type(&mut self, declared: &DeclaredType) -> Option<(TypeRef, bool)> {
        let (is_list, inner) = match &declared.kind {
            DeclaredKind::Named(_) => (false, declared),
            DeclaredKind::List(inner) => (true, &**inner),
        };
        let mut innermost = inner;
        while let DeclaredKind::List(deeper) = &innermost.kind {
            innermost = deeper;
        }
        let DeclaredKind::Named(name) = &innermost.kind else { return None };
        let Some(named) = self.model.find(&name.text) else {
            self.invalid(format!("there is no type `{}`", name.text), name.at);
            return None;
        };
        if !self.model.get(named).is_input() {
            self.invalid(format!("`{}` is no type for a variable", name.text), name.at);
            return None;
        }
        let type_ref = TypeRef { named, is_list, is_non_null: declared.is_non_null, has_null_items: false };
        Some((type_ref, std::ptr::eq(inner, innermost)))
    }

    fn fragment(&mut self, fragment: &'a FragmentDefinition) {
        self.directives(&fragment.directives, Where::Definition);
        if let Some(parent) = self.condition(&fragment.condition) {
            self.selections(&fragment.selections, parent);
        }
    }

    /// The type of a fragment's condition, which must have fields.
    fn condition(&mut self, condition: &Name) -> Option<TypeId> {
        let Some(id) = self.model.find(&condition.text) else {
            self.invalid(format!("there is no type `{}`", condition.text), condition.at);
            return None;
        };
        if !self.model.get(id).is_composite() {
            self.invalid(
                format!("a fragment cannot be on `{}`, which has no fields", condition.text),
                condition.at,
            );
            return None;
        }
        Some(id)
    }

    fn selections(&mut self, selections: &'a [Selection], parent: TypeId) {
        for selection in selections {
            self.step();
            self.directives(selection.directives(), Where::Selection);
            match selection {
                Selection::Field(field) => self.field(field, parent),
                Selection::Inline { condition: None, selections, .. } => self.selections(selections, parent),
                Selection::Inline { condition: Some(condition), selections, at, .. } => {
                    if let Some(id) = self.condition(condition) {
                        self.possible(id, parent, *at);
                        self.selections(selections, id);
                    }
                }
                Selection::Spread { name, .. } => match self.fragments.get(&*name.text).copied() {
                    None => self.invalid(format!("there is no fragment `{}`", name.text), name.at),
                    Some(fragment) => {
                        self.spreads.push(&fragment.name.text);
                        if let Some(id) = self.model.find(&fragment.condition.text) {
                            self.possible(id, parent, name.at);
                        }
                    }
                },
            }
        }
    }

    /// Every type is concrete: a fragment fits its own type alone.
    fn possible(&mut self, condition: TypeId, parent: TypeId, at: Location) {
        if condition != parent && self.model.get(condition).is_composite() {
            let (condition, parent) = (&self.model.get(condition).name, &self.model.get(parent).name);
            self.invalid(format!("a `{parent}` is never a `{condition}`"), at);
        }
    }

    fn field(&mut self, node: &'a FieldNode, parent: TypeId) {
        let owner = &self.model.get(parent).name;
        let name = &node.name.text;
        let Some(field) = self.model.field(self.schema, parent, name) else {
            self.invalid(format!("`{owner}` has no field `{name}`"), node.name.at);
            node.arguments.iter().for_each(|argument| self.variables_within(&argument.value));
            return;
        };
        let inputs = self.model.arguments(self.schema, field);
        self.arguments(name, &node.arguments, inputs, node.at);
        let is_composite = self.model.get(field.type_ref.named).is_composite();
        match (is_composite, node.selections.is_empty()) {
            (true, true) => {
                let message =
                    format!("`{name}` is a `{}`: say which of its fields", self.show(field.type_ref));
                self.invalid(message, node.at);
            }
            (false, false) => {
                let message = format!("`{name}` is a `{}`, which has no fields", self.show(field.type_ref));
                self.invalid(message, node.at);
            }
            (true, false) => self.selections(&node.selections, field.type_ref.named),
            (false, true) => {}
        }
    }

    /// A subscription has one field, which is neither introspection nor conditional (section 5.2.4.1).
    fn single_root(&mut self, operation: &'a OperationDefinition) {
        let mut fields: Vec<&'a FieldNode> = Vec::new();
        let mut seen = HashSet::new();
        let mut open = vec![&*operation.selections];
        while let Some(selections) = open.pop().filter(|_| self.steps <= STEPS_MAX) {
            for selection in selections {
                self.step();
                if let Some(condition) =
                    selection.directives().iter().find(|one| matches!(&*one.name.text, "skip" | "include"))
                {
                    let message = "the field of a subscription cannot be conditional".to_owned();
                    self.invalid(message, condition.name.at);
                }
                match selection {
                    Selection::Field(field) => fields.push(field),
                    Selection::Inline { selections, .. } => open.push(selections),
                    Selection::Spread { name, .. } => {
                        if let Some(fragment) = self.fragments.get(&*name.text)
                            && seen.insert(&*name.text)
                        {
                            open.push(&fragment.selections);
                        }
                    }
                }
            }
        }
        let first = fields.first().map(|field| field.response_key());
        if let Some(other) = fields.iter().find(|field| Some(field.response_key()) != first) {
            self.invalid("a subscription has exactly one field".to_owned(), other.at);
        }
        if let Some(field) = fields.iter().find(|field| field.name.text.starts_with("__")) {
            self.invalid("a subscription cannot be of introspection".to_owned(), field.at);
        }
    }

    /// Every variable that is used is declared and of a type that fits, and every declared one is used.
    fn variables(
        &mut self,
        operation: &'a OperationDefinition,
        own: &Notes<'a>,
        notes: &HashMap<&'a str, Notes<'a>>,
        used_fragments: &mut HashSet<&'a str>,
    ) {
        let declared: HashMap<&str, _> =
            operation.variables.iter().map(|variable| (&*variable.name.text, variable)).collect();
        let mut used = HashSet::new();
        let mut seen = HashSet::new();
        let mut open = vec![own];
        while let Some(notes_of_one) = open.pop() {
            for usage in &notes_of_one.usages {
                self.step();
                let Some(variable) = declared.get(usage.name) else {
                    self.invalid(format!("there is no variable `${}`", usage.name), usage.at);
                    continue;
                };
                used.insert(usage.name);
                if let Some(place) = usage.place
                    && !self.fits(variable, place)
                {
                    let expected = self.show(place.type_ref);
                    let message =
                        format!("variable `${}` does not fit where `{expected}` is expected", usage.name);
                    self.invalid(message, usage.at);
                }
            }
            for spread in &notes_of_one.spreads {
                self.step();
                if seen.insert(*spread) && self.steps < STEPS_MAX {
                    open.extend(notes.get(spread));
                }
            }
        }
        used_fragments.extend(seen);
        for variable in operation.variables.iter().filter(|one| !used.contains(&*one.name.text)) {
            self.invalid(format!("variable `${}` is never used", variable.name.text), variable.name.at);
        }
    }

    /// `IsVariableUsageAllowed` (section 5.8.5).
    fn fits(&self, variable: &VariableDefinition, place: Place) -> bool {
        let expected = place.type_ref;
        let declared = &variable.declared;
        if place.is_one_of && !declared.is_non_null {
            return false;
        }
        let has_default =
            variable.default.as_ref().is_some_and(|default| !matches!(default.kind, LiteralKind::Null));
        if expected.is_non_null && !declared.is_non_null && !has_default && !place.has_default {
            return false;
        }
        match (&declared.kind, expected.is_list) {
            (DeclaredKind::Named(name), false) => self.is_named(name, expected.named),
            (DeclaredKind::List(item), true) => match &item.kind {
                DeclaredKind::Named(name) => item.is_non_null && self.is_named(name, expected.named),
                DeclaredKind::List(_) => false,
            },
            _ => false,
        }
    }

    /// Whether it is the name of this type; of one that is no type of input enough has been said.
    fn is_named(&self, name: &Name, expected: TypeId) -> bool {
        self.model.find(&name.text).is_none_or(|id| id == expected || !self.model.get(id).is_input())
    }
}
