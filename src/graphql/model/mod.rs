//! The GraphQL schema of a surface, as far as anyone has looked at it.
//!
//! ```text
//! exposed methods → root fields; messages in reach → names of types        (at once: names must be unique)
//! a type's name → its fields, its arguments, its values                    (on first use)
//! ```
//!
//! Only names need the whole; a surface of ten thousand methods answers its first query before most of its types
//! have been looked at. Types are sorted by name, introspection's among them, so that one is found by binary search
//! and everything printed stands in the same order whatever the order of files.
//!
//! There are neither interfaces nor unions: every type that has fields is an object, which spares validation and
//! execution the question of what an object really is.

mod build;
mod describe;
mod fields;
mod link;
mod members;
mod meta;
mod names;
mod option;
mod scalar;
#[cfg(test)]
pub(super) mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use prost_reflect::MethodDescriptor;

use crate::route::Exposed;
use crate::schema::Schema;
use crate::schema::plan::{EnumId, MessageId};

pub use build::{LeftOut, Why, left_out};
pub use describe::deprecation_reason;
pub use link::{Declared, DeclaredBatch, Fetch, Items, Link, LinkError, Word};
pub use members::{Members, Named};
pub use meta::Meta;
pub use scalar::Scalar;

/// Everything that a client of one surface can name. Immutable but for what is compiled on first use.
#[derive(Debug)]
pub struct Model {
    /// Sorted by name.
    types: Box<[Type]>,
    scalars: HashMap<Scalar, TypeId>,
    outputs: HashMap<MessageId, TypeId>,
    inputs: HashMap<MessageId, TypeId>,
    enums: HashMap<EnumId, TypeId>,
    metas: HashMap<Meta, TypeId>,
    roots: [Option<TypeId>; 3],
    /// The exposed methods, sorted by the name of their field.
    methods: Box<[Method]>,
    links: Vec<Link>,
    mapping: Mapping,
    entrance: meta::Entrance,
    reached: OnceLock<Box<[TypeId]>>,
}

/// How descriptors are mapped where there is a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// Maps are `JSON` instead of lists of entries.
    pub maps_as_json: bool,
    /// `GENRE_POETRY` of the enum `Genre` is `POETRY`, where every value of the enum has the prefix.
    pub strip_enum_prefix: bool,
}

/// The place of a type in its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(u32);

/// A type, by name; what it consists of is asked of the [`Model`].
#[derive(Debug)]
pub struct Type {
    pub name: Box<str>,
    pub kind: TypeKind,
    fields: OnceLock<Members<Field>>,
    inputs: OnceLock<Inputs>,
    values: OnceLock<Members<EnumValue>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeKind {
    Scalar(Scalar),
    Enum(EnumId),
    Object(MessageId),
    Input(MessageId),
    Root(Operation),
    /// One of introspection's types.
    Meta(Meta),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    Query,
    Mutation,
    Subscription,
}

/// A type where it is used. Lists are never nested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeRef {
    pub named: TypeId,
    pub is_list: bool,
    pub is_non_null: bool,
    /// Whether what is in a list may be null: only what a link leads to.
    pub has_null_items: bool,
}

/// A field of an object type.
#[derive(Debug)]
pub struct Field {
    pub name: Box<str>,
    pub type_ref: TypeRef,
    pub source: Source,
    /// Of what is no method: see [`Model::is_deprecated`].
    is_deprecated: bool,
}

/// Where the value of a field comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A field of the message: its number, and its index in the message's plan.
    Field { number: u32, index: usize },
    /// A call: the index of [`Model::methods`].
    Method(usize),
    /// Other calls: the index of [`Model::links`].
    Link(usize),
    /// Nowhere: it stands in a type that has no fields.
    Nothing,
    /// The model itself: introspection.
    Model,
}

/// The fields of an input object, or the arguments of a field.
#[derive(Debug, Default)]
pub struct Inputs {
    pub list: Members<Input>,
    /// Exactly one of them must be given, and not null.
    pub is_one_of: bool,
}

/// A field of an input object, or an argument.
#[derive(Debug)]
pub struct Input {
    pub name: Box<str>,
    pub type_ref: TypeRef,
    pub target: Target,
    /// Of introspection's arguments alone: protobuf tells a default by not sending it.
    pub default: Option<bool>,
    pub is_deprecated: bool,
}

/// What an input value goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A field of the message: its number, and its index in the message's plan.
    Field { number: u32, index: usize },
    /// The message as a whole: its type has a JSON form of its own.
    Whole,
    /// Nothing: it stands in a type that has no fields.
    Nothing,
    /// Introspection.
    Model,
}

#[derive(Debug)]
pub struct EnumValue {
    pub name: Box<str>,
    /// As declared.
    pub declared: Box<str>,
    pub number: i32,
    pub is_deprecated: bool,
}

/// A method that is the field of a root type.
#[derive(Debug)]
pub struct Method {
    /// The name of the field.
    pub name: Box<str>,
    pub operation: Operation,
    pub exposed: Exposed,
    pub input: MessageId,
    pub output: MessageId,
    arguments: OnceLock<Inputs>,
}

impl Model {
    /// All types, sorted by name; those of introspection are among them, and some that nothing refers to.
    pub fn types(&self) -> impl Iterator<Item = (TypeId, &Type)> {
        (0..).map(TypeId).zip(&self.types)
    }

    pub fn get(&self, id: TypeId) -> &Type {
        &self.types[id.0 as usize]
    }

    /// The type of this name.
    pub fn find(&self, name: &str) -> Option<TypeId> {
        let place = self.types.binary_search_by(|one| (*one.name).cmp(name)).ok()?;
        u32::try_from(place).ok().map(TypeId)
    }

    /// The types that fields and arguments lead to, sorted by name, without introspection's. Looks at all of them.
    pub fn reached(&self, schema: &Schema) -> &[TypeId] {
        self.reached.get_or_init(|| {
            let mut seen = vec![false; self.types.len()];
            let mut open: Vec<TypeId> = self.roots.iter().copied().flatten().collect();
            open.extend([self.scalar(Scalar::String), self.scalar(Scalar::Boolean)]);
            while let Some(id) = open.pop() {
                if std::mem::replace(&mut seen[id.0 as usize], true) {
                    continue;
                }
                open.extend(self.inputs(schema, id).list.iter().map(|input| input.type_ref.named));
                for field in self.fields(schema, id) {
                    open.push(field.type_ref.named);
                    let arguments = &self.arguments(schema, field).list;
                    open.extend(arguments.iter().map(|input| input.type_ref.named));
                }
            }
            (0..).map(TypeId).zip(seen).filter_map(|(id, seen)| seen.then_some(id)).collect()
        })
    }

    /// The root type of an operation; there always is one of queries.
    pub fn root(&self, operation: Operation) -> Option<TypeId> {
        self.roots[operation as usize]
    }

    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// The fields of an object type; none of any other.
    pub fn fields(&self, schema: &Schema, id: TypeId) -> &Members<Field> {
        let found = self.get(id);
        found.fields.get_or_init(|| match found.kind {
            TypeKind::Object(message) => self.compile_object(schema, message),
            TypeKind::Root(operation) => self.compile_root(schema, operation),
            TypeKind::Meta(meta) => self.compile_meta(meta),
            TypeKind::Scalar(_) | TypeKind::Enum(_) | TypeKind::Input(_) => Members::default(),
        })
    }

    /// A field of an object type, `__typename` and the queries' `__schema` and `__type` included.
    pub fn field(&self, schema: &Schema, id: TypeId, name: &str) -> Option<&Field> {
        if name.starts_with("__") { self.entrance(id, name) } else { self.fields(schema, id).find(name) }
    }

    /// Whether a field should not be selected any more. A method's options are read for it: ten thousand methods must
    /// not wait for that.
    pub fn is_deprecated(&self, schema: &Schema, field: &Field) -> bool {
        match field.source {
            Source::Method(index) => self
                .methods
                .get(index)
                .is_some_and(|method| schema.is_deprecated_method(&method.exposed.method)),
            Source::Field { .. } | Source::Link(_) | Source::Nothing | Source::Model => field.is_deprecated,
        }
    }

    fn entrance(&self, id: TypeId, name: &str) -> Option<&Field> {
        if name == "__typename" {
            return self.get(id).is_composite().then_some(&self.entrance.typename);
        }
        let is_query = self.get(id).kind == TypeKind::Root(Operation::Query);
        self.entrance.of_query.iter().find(|field| is_query && *field.name == *name)
    }

    /// The fields of an input object; none of any other type.
    pub fn inputs(&self, schema: &Schema, id: TypeId) -> &Inputs {
        let found = self.get(id);
        found.inputs.get_or_init(|| match found.kind {
            TypeKind::Input(message) => self.compile_input(schema, message),
            _ => Inputs::default(),
        })
    }

    /// The arguments of a field.
    pub fn arguments(&self, schema: &Schema, field: &Field) -> &Inputs {
        match field.source {
            Source::Method(index) => {
                let method = self.methods.get(index);
                method.map_or(&self.entrance.none, |method| self.method_arguments(schema, method))
            }
            Source::Model => self.entrance.arguments(&field.name),
            Source::Field { .. } | Source::Link(_) | Source::Nothing => &self.entrance.none,
        }
    }

    /// The values of an enum; none of any other type.
    pub fn values(&self, schema: &Schema, id: TypeId) -> &Members<EnumValue> {
        let found = self.get(id);
        found.values.get_or_init(|| match found.kind {
            TypeKind::Enum(enumeration) => self.compile_enum(schema, enumeration),
            TypeKind::Meta(meta) => meta.values(),
            _ => Members::default(),
        })
    }

    /// The arguments of the field that a method is.
    pub fn method_arguments<'m>(&self, schema: &Schema, method: &'m Method) -> &'m Inputs {
        method.arguments.get_or_init(|| self.compile_arguments(schema, method.input))
    }

    /// The object type of a reply; `None` where there is nothing to select from.
    pub fn reply_type(&self, schema: &Schema, method: &Method) -> Option<TypeId> {
        match build::reply(schema, method.output) {
            build::Leaf::Message(message) => self.outputs.get(&message).copied(),
            build::Leaf::Scalar(_) | build::Leaf::Enum(_) => None,
        }
    }

    /// The object type of a message that some reply has.
    pub fn object(&self, message: MessageId) -> Option<TypeId> {
        self.outputs.get(&message).copied()
    }

    pub fn scalar(&self, scalar: Scalar) -> TypeId {
        self.scalars[&scalar]
    }

    pub fn meta(&self, meta: Meta) -> TypeId {
        self.metas[&meta]
    }

    /// A type as it is written: `[Book!]!`.
    pub fn show(&self, type_ref: TypeRef) -> impl fmt::Display {
        let name = &self.get(type_ref.named).name;
        let (open, close) = match (type_ref.is_list, type_ref.has_null_items) {
            (false, _) => ("", ""),
            (true, false) => ("[", "!]"),
            (true, true) => ("[", "]"),
        };
        format!("{open}{name}{close}{}", if type_ref.is_non_null { "!" } else { "" })
    }
}

impl Type {
    fn new(name: impl Into<Box<str>>, kind: TypeKind) -> Self {
        let name = name.into();
        Self { name, kind, fields: OnceLock::new(), inputs: OnceLock::new(), values: OnceLock::new() }
    }

    /// Whether it has fields to select from.
    pub fn is_composite(&self) -> bool {
        match self.kind {
            TypeKind::Object(_) | TypeKind::Root(_) => true,
            TypeKind::Meta(meta) => !meta.is_enum(),
            TypeKind::Scalar(_) | TypeKind::Enum(_) | TypeKind::Input(_) => false,
        }
    }

    /// Whether variables and arguments can be of it.
    pub fn is_input(&self) -> bool {
        match self.kind {
            TypeKind::Scalar(_) | TypeKind::Enum(_) | TypeKind::Input(_) => true,
            TypeKind::Meta(meta) => meta.is_enum(),
            TypeKind::Object(_) | TypeKind::Root(_) => false,
        }
    }
}

impl Operation {
    pub const ALL: [Self; 3] = [Self::Query, Self::Mutation, Self::Subscription];

    /// The name of its root type.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Query => "Query",
            Self::Mutation => "Mutation",
            Self::Subscription => "Subscription",
        }
    }

    fn of(method: &MethodDescriptor, is_read: bool) -> Self {
        match (method.is_server_streaming(), is_read) {
            (true, _) => Self::Subscription,
            (false, true) => Self::Query,
            (false, false) => Self::Mutation,
        }
    }
}

impl TypeRef {
    const fn nullable(named: TypeId) -> Self {
        Self { named, is_list: false, is_non_null: false, has_null_items: false }
    }
}

impl Inputs {
    pub fn find(&self, name: &str) -> Option<&Input> {
        self.list.find(name)
    }
}

impl Named for Field {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for Input {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for EnumValue {
    fn name(&self) -> &str {
        &self.name
    }
}
