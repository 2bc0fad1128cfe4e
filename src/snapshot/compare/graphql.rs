//! What clients of GraphQL would lose: types, and what these consist of, by their names.
//!
//! ```text
//! every type that a root field leads to → its fields and their arguments, its inputs, its values
//! ```
//!
//! What comes out may be null less often than before, and what goes in may be left out more often: neither is a loss.

use std::mem::discriminant;

use crate::graphql::model::{Field, Inputs, Model, Source, Target, TypeId, TypeRef};
use crate::schema::Schema;

/// A model, and the schema that it is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'m> {
    pub(super) model: &'m Model,
    pub(super) schema: &'m Schema,
}

/// Tells what is lost from one model to the other.
pub(super) fn compare(before: View<'_>, after: View<'_>, lose: &mut dyn FnMut(String)) {
    for id in before.model.reached(before.schema) {
        let was = before.model.get(*id);
        let name = &was.name;
        match after.model.find(name) {
            None => lose(format!("type `{name}` is gone")),
            Some(other) if discriminant(&after.model.get(other).kind) != discriminant(&was.kind) => {
                lose(format!("`{name}` is another kind of type"));
            }
            Some(other) => Pair { before, after, name, lose: &mut *lose }.types(*id, other),
        }
    }
}

/// Two types of one name.
struct Pair<'p> {
    before: View<'p>,
    after: View<'p>,
    name: &'p str,
    lose: &'p mut dyn FnMut(String),
}

/// Which way a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

impl<'p> View<'p> {
    fn show(self, type_ref: TypeRef) -> String {
        self.model.show(type_ref).to_string()
    }

    /// The method that a field calls.
    fn called(self, field: &Field) -> Option<&'p str> {
        match field.source {
            Source::Method(index) => Some(self.model.methods().get(index)?.exposed.method.full_name()),
            Source::Field { .. } | Source::Link(_) | Source::Nothing | Source::Model => None,
        }
    }
}

impl Pair<'_> {
    fn types(&mut self, was: TypeId, is: TypeId) {
        let (before, after) = (self.before, self.after);
        let fields = after.model.fields(after.schema, is);
        // What stands for nothing goes as soon as there is something.
        let is_something = |field: &&Field| field.source != Source::Nothing;
        for field in before.model.fields(before.schema, was).iter().filter(is_something) {
            match fields.find(&field.name) {
                Some(other) => self.fields(field, other),
                None => (self.lose)(format!("`{}.{}` is gone", self.name, field.name)),
            }
        }
        let [had, has] = [(before, was), (after, is)].map(|(view, id)| view.model.inputs(view.schema, id));
        self.inputs(self.name, had, has);
        let values = after.model.values(after.schema, is);
        for value in before.model.values(before.schema, was) {
            if values.find(&value.name).is_none() {
                (self.lose)(format!("`{}.{}` is gone", self.name, value.name));
            }
        }
    }

    fn fields(&mut self, was: &Field, is: &Field) {
        let (before, after) = (self.before, self.after);
        let place = format!("{}.{}", self.name, was.name);
        match (before.called(was), after.called(is)) {
            (Some(called), Some(calls)) if called != calls => {
                (self.lose)(format!("`{place}` calls `{calls}` instead of `{called}`"));
            }
            _ => {}
        }
        self.type_refs(&place, was.type_ref, is.type_ref, Way::Out);
        let had = before.model.arguments(before.schema, was);
        self.inputs(&place, had, after.model.arguments(after.schema, is));
    }

    /// The fields of an input object, or the arguments of a field.
    fn inputs(&mut self, place: &str, had: &Inputs, has: &Inputs) {
        for input in had.list.iter().filter(|input| input.target != Target::Nothing) {
            let name = format!("{place}({}:)", input.name);
            match has.find(&input.name) {
                Some(other) => self.type_refs(&name, input.type_ref, other.type_ref, Way::In),
                None => (self.lose)(format!("`{name}` is gone")),
            }
        }
        for input in has.list.iter().filter(|input| input.type_ref.is_non_null && input.default.is_none()) {
            if had.find(&input.name).is_none() {
                (self.lose)(format!("`{place}({}:)` is new, and must be given", input.name));
            }
        }
        if has.is_one_of && !had.is_one_of {
            (self.lose)(format!("`{place}` takes exactly one of its fields"));
        }
    }

    fn type_refs(&mut self, place: &str, was: TypeRef, is: TypeRef, way: Way) {
        let [old, new] = [(self.before, was), (self.after, is)]
            .map(|(view, type_ref)| (&view.model.get(type_ref.named).name, type_ref.is_list));
        let is_narrower = match way {
            Way::In => is.is_non_null && !was.is_non_null || was.has_null_items && !is.has_null_items,
            Way::Out => was.is_non_null && !is.is_non_null || is.has_null_items && !was.has_null_items,
        };
        if old != new || is_narrower {
            let [was, is] = [(self.before, was), (self.after, is)].map(|(view, one)| view.show(one));
            (self.lose)(format!("`{place}` is `{is}` instead of `{was}`"));
        }
    }
}
