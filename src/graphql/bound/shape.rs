//! What the data of an operation may look like, for those who describe it: every field that it may have, fragments in
//! place, conditions or not.

use crate::graphql::document::Document;
use crate::graphql::document::ast::{FieldNode, OperationDefinition, Selection};
use crate::graphql::model::{Model, Source, TypeId, TypeRef};
use crate::schema::Schema;

/// The members of an object, in response order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shape {
    pub members: Vec<Member>,
}

/// One member.
#[derive(Debug, PartialEq, Eq)]
pub struct Member {
    /// The alias or name.
    pub key: Box<str>,
    /// It may be left out, as a directive says.
    pub is_conditional: bool,
    /// `None` of `__typename`: the name of the type around it.
    pub type_ref: Option<TypeRef>,
    /// The place of the method in [`Model::methods`] that a call is made of for it.
    pub method: Option<usize>,
    /// What is selected of it; `None` where it has no fields.
    pub below: Option<Shape>,
}

/// Nobody reads a description that is longer. What is past it is said to be anything.
const MEMBERS_MAX: usize = 10_000;

/// A field with everything that is selected of it, wherever that stands.
struct Gathered<'d> {
    node: &'d FieldNode,
    is_conditional: bool,
    sets: Vec<&'d [Selection]>,
}

impl Shape {
    /// That of an operation's data.
    pub fn of(model: &Model, schema: &Schema, document: &Document, operation: &OperationDefinition) -> Self {
        let mut shaping = Shaping { model, schema, document, left: MEMBERS_MAX };
        let root = model.root(operation.kind);
        root.map_or_else(Self::default, |root| shaping.shape(root, &[&operation.selections]))
    }

    /// The methods that may be called, by their places in [`Model::methods`]: each once, level by level.
    pub fn methods(&self) -> Vec<usize> {
        let mut methods = Vec::new();
        let mut level = vec![self];
        while !level.is_empty() {
            let members = || level.iter().flat_map(|shape| &shape.members);
            for method in members().filter_map(|member| member.method) {
                if !methods.contains(&method) {
                    methods.push(method);
                }
            }
            level = members().filter_map(|member| member.below.as_ref()).collect();
        }
        methods
    }
}

struct Shaping<'d> {
    model: &'d Model,
    schema: &'d Schema,
    document: &'d Document,
    /// Members that there still is room for.
    left: usize,
}

impl<'d> Shaping<'d> {
    fn shape(&mut self, named: TypeId, sets: &[&'d [Selection]]) -> Shape {
        let mut fields = Vec::new();
        sets.iter().for_each(|set| self.gather(set, false, &mut fields));
        let members = fields.into_iter().filter_map(|field| self.member(named, &field));
        Shape { members: members.collect() }
    }

    fn member(&mut self, named: TypeId, field: &Gathered<'d>) -> Option<Member> {
        self.left = self.left.checked_sub(1)?;
        let (model, schema) = (self.model, self.schema);
        let mut member = Member {
            key: field.node.response_key().into(),
            is_conditional: field.is_conditional,
            type_ref: None,
            method: None,
            below: None,
        };
        let name = &*field.node.name.text;
        if name == "__typename" {
            return Some(member);
        }
        let found = model.field(schema, named, name)?;
        member.type_ref = Some(found.type_ref);
        member.method = match found.source {
            Source::Method(index) => Some(index),
            Source::Link(place) => model.links().get(place).map(|link| link.fetch.method),
            Source::Field { .. } | Source::Nothing | Source::Model => None,
        };
        if model.get(found.type_ref.named).is_composite() {
            member.below = Some(self.shape(found.type_ref.named, &field.sets));
        }
        Some(member)
    }

    /// Fields of the same name are one (GraphQL, section 6.3.2).
    fn gather(&self, set: &'d [Selection], is_conditional: bool, fields: &mut Vec<Gathered<'d>>) {
        for selection in set {
            let mut directives = selection.directives().iter().map(|directive| &*directive.name.text);
            let is_conditional = is_conditional || directives.any(|name| name == "skip" || name == "include");
            match selection {
                Selection::Field(node) => {
                    let key = node.response_key();
                    match fields.iter_mut().find(|field| field.node.response_key() == key) {
                        Some(field) => {
                            field.is_conditional &= is_conditional;
                            field.sets.push(&node.selections);
                        }
                        None => fields.push(Gathered { node, is_conditional, sets: vec![&node.selections] }),
                    }
                }
                Selection::Spread { name, .. } => {
                    if let Some(fragment) = self.document.fragment(&name.text) {
                        self.gather(&fragment.selections, is_conditional, fields);
                    }
                }
                Selection::Inline { selections, .. } => self.gather(selections, is_conditional, fields),
            }
        }
    }
}
