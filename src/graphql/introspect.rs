//! What a client asks of the schema itself (GraphQL, section 4), answered from the model.
//!
//! The answer is written as it is walked, and ends where it would be longer than its bound: ten thousand methods have
//! much to say of themselves.

use std::rc::Rc;

use serde_json::Value as Json;

use super::coerce::{Coercer, Variables};
use super::collect::{Collected, collect};
use super::document::ast::FieldNode;
use super::document::{Code, Document, Problem};
use super::model::{
    EnumValue, Field, Input, Inputs, Operation, Scalar, Source, Target, TypeId, TypeKind, TypeRef,
    deprecation_reason,
};
use super::value::Value;
use crate::schema::plan::MessageId;

/// How many bytes the answers of one operation may have.
pub const BYTES_MAX: usize = 32 << 20;

/// Answers introspection for one operation.
pub struct Introspection<'m> {
    coercer: Coercer<'m>,
    document: &'m Document,
    variables: &'m Variables<'m>,
    directives: Rc<[Directive]>,
    out: String,
    /// Of the answers before this one.
    written: usize,
    bytes_max: usize,
}

/// A field that is asked for, and what of it.
struct Planned<'m> {
    node: &'m FieldNode,
    deprecated_too: bool,
    inner: Vec<Planned<'m>>,
}

/// Something that introspection tells of.
#[derive(Clone, Copy)]
enum Node<'n> {
    Schema,
    Type(TypeRef),
    Field(TypeId, &'n Field),
    /// An argument or an input field, and the message whose field it is.
    Input(&'n Input, Option<MessageId>),
    Value(TypeId, &'n EnumValue),
    Directive(&'n Directive),
}

/// A directive that the language defines.
struct Directive {
    name: &'static str,
    description: &'static str,
    locations: &'static [&'static str],
    arguments: Inputs,
}

/// The answer would be longer than its bound.
struct TooLong;

impl<'m> Introspection<'m> {
    pub fn new(
        coercer: Coercer<'m>,
        document: &'m Document,
        variables: &'m Variables<'m>,
        bytes_max: usize,
    ) -> Self {
        let directives = directives(coercer).into();
        Self { coercer, document, variables, directives, out: String::new(), written: 0, bytes_max }
    }

    /// The JSON of `__schema` or `__type`.
    ///
    /// # Errors
    ///
    /// `COST_LIMIT`: it would be too long, with those before it.
    pub fn answer(&mut self, field: &Collected<'m>) -> Result<String, Problem> {
        let planned = self.planned(field);
        match self.root(&planned) {
            Ok(()) => {
                self.written += self.out.len();
                Ok(std::mem::take(&mut self.out))
            }
            Err(TooLong) => {
                let message = format!("what introspection tells has more than {} bytes", self.bytes_max);
                Err(Problem::new(Code::CostLimit, message, field.node.at))
            }
        }
    }

    fn root(&mut self, field: &Planned<'m>) -> Result<(), TooLong> {
        if &*field.node.name.text == "__schema" {
            return self.object(Node::Schema, &field.inner);
        }
        let named = match self.argument(field.node, Scalar::String) {
            Some(Value::String(name)) => self.coercer.model.find(&name),
            _ => None,
        };
        // What nothing leads to is no type of the schema, though the model knows its name.
        let named = named.filter(|id| self.is_told(*id));
        match named {
            Some(id) => self.object(Node::Type(named_type(id)), &field.inner),
            None => self.put("null"),
        }
    }

    fn is_told(&self, id: TypeId) -> bool {
        let Coercer { model, schema } = self.coercer;
        matches!(model.get(id).kind, TypeKind::Meta(_)) || model.reached(schema).binary_search(&id).is_ok()
    }

    /// The selection with its fragments in place, once: there are as many objects as the schema has types.
    fn planned(&self, field: &Collected<'m>) -> Planned<'m> {
        let inner = collect(self.document, &field.sets, self.variables);
        Planned {
            node: field.node,
            deprecated_too: self.argument(field.node, Scalar::Boolean) == Some(Value::Boolean(true)),
            inner: inner.iter().map(|field| self.planned(field)).collect(),
        }
    }

    fn object(&mut self, node: Node<'_>, fields: &[Planned<'m>]) -> Result<(), TooLong> {
        let mut separator = "{";
        for field in fields {
            self.put(separator)?;
            self.string(field.node.response_key())?;
            self.put(":")?;
            self.member(node, field)?;
            separator = ",";
        }
        self.put(if separator == "{" { "{}" } else { "}" })
    }

    fn member(&mut self, node: Node<'_>, field: &Planned<'m>) -> Result<(), TooLong> {
        let name = &*field.node.name.text;
        if name == "__typename" {
            return self.string(node.type_name());
        }
        match node {
            Node::Schema => self.schema_member(name, field),
            Node::Type(type_ref) => self.type_member(type_ref, name, field),
            Node::Field(parent, one) => self.field_member(parent, one, name, field),
            Node::Input(input, message) => self.input_member(input, message, name, field),
            Node::Value(owner, value) => self.value_member(owner, value, name),
            Node::Directive(directive) => self.directive_member(directive, name, field),
        }
    }

    fn schema_member(&mut self, name: &str, field: &Planned<'m>) -> Result<(), TooLong> {
        let Coercer { model, schema } = self.coercer;
        let root = |operation| model.root(operation).map(|id| Node::Type(named_type(id)));
        match name {
            "types" => {
                let metas = model.types().filter(|(_, one)| matches!(one.kind, TypeKind::Meta(_)));
                let all = model.reached(schema).iter().copied().chain(metas.map(|(id, _)| id));
                self.list(all.map(|id| Node::Type(named_type(id))), field)
            }
            "queryType" => self.nullable(root(Operation::Query), field),
            "mutationType" => self.nullable(root(Operation::Mutation), field),
            "subscriptionType" => self.nullable(root(Operation::Subscription), field),
            "directives" => {
                let directives = Rc::clone(&self.directives);
                self.list(directives.iter().map(Node::Directive), field)
            }
            _ => self.put("null"),
        }
    }

    fn type_member(&mut self, type_ref: TypeRef, name: &str, field: &Planned<'m>) -> Result<(), TooLong> {
        let Coercer { model, schema } = self.coercer;
        let id = type_ref.named;
        if type_ref.is_non_null || type_ref.is_list {
            let item = TypeRef { is_list: false, is_non_null: !type_ref.has_null_items, ..type_ref };
            let inner = if type_ref.is_non_null { TypeRef { is_non_null: false, ..type_ref } } else { item };
            return match name {
                "kind" => self.string(if type_ref.is_non_null { "NON_NULL" } else { "LIST" }),
                "ofType" => self.object(Node::Type(inner), &field.inner),
                _ => self.put("null"),
            };
        }
        let one = model.get(id);
        let deprecated_too = field.deprecated_too;
        match (name, one.kind) {
            ("kind", kind) => self.string(kind_name(kind)),
            ("name", _) => self.string(&one.name),
            ("description", _) => self.text(&model.type_description(schema, id)),
            ("specifiedByURL", TypeKind::Scalar(scalar)) => match scalar.specified_by() {
                Some(url) => self.string(url),
                None => self.put("null"),
            },
            ("fields", _) if one.is_composite() => {
                let fields = model.fields(schema, id).iter();
                let fields = fields.filter(|field| deprecated_too || !model.is_deprecated(schema, field));
                self.list(fields.map(|field| Node::Field(id, field)), field)
            }
            ("interfaces", _) if one.is_composite() => self.put("[]"),
            ("enumValues", TypeKind::Enum(_) | TypeKind::Meta(_)) if !one.is_composite() => {
                let values = model.values(schema, id).iter();
                let values = values.filter(|value| deprecated_too || !value.is_deprecated);
                self.list(values.map(|value| Node::Value(id, value)), field)
            }
            ("inputFields", TypeKind::Input(message)) => {
                let inputs = model.inputs(schema, id).list.iter();
                let inputs = inputs.filter(|input| deprecated_too || !input.is_deprecated);
                self.list(inputs.map(|input| Node::Input(input, Some(message))), field)
            }
            ("isOneOf", TypeKind::Input(_)) => self.boolean(model.inputs(schema, id).is_one_of),
            _ => self.put("null"),
        }
    }

    fn field_member(
        &mut self,
        parent: TypeId,
        one: &Field,
        name: &str,
        field: &Planned<'m>,
    ) -> Result<(), TooLong> {
        let Coercer { model, schema } = self.coercer;
        let description = || model.field_description(schema, parent, one);
        match name {
            "name" => self.string(&one.name),
            "description" => self.text(&description()),
            "args" => {
                let request = match one.source {
                    Source::Method(index) => model.methods().get(index).map(|method| method.input),
                    _ => None,
                };
                let deprecated_too = field.deprecated_too;
                let arguments = model.arguments(schema, one).list.iter();
                let arguments = arguments.filter(|input| deprecated_too || !input.is_deprecated);
                self.list(arguments.map(|input| Node::Input(input, request)), field)
            }
            "type" => self.object(Node::Type(one.type_ref), &field.inner),
            "isDeprecated" => self.boolean(model.is_deprecated(schema, one)),
            "deprecationReason" => self.reason(model.is_deprecated(schema, one), description),
            _ => self.put("null"),
        }
    }

    fn input_member(
        &mut self,
        input: &Input,
        message: Option<MessageId>,
        name: &str,
        field: &Planned<'m>,
    ) -> Result<(), TooLong> {
        let Coercer { model, schema } = self.coercer;
        let description =
            || message.map(|message| model.input_description(schema, message, input)).unwrap_or_default();
        match name {
            "name" => self.string(&input.name),
            "description" => self.text(&description()),
            "type" => self.object(Node::Type(input.type_ref), &field.inner),
            "defaultValue" => match input.default {
                Some(value) => self.string(&value.to_string()),
                None => self.put("null"),
            },
            "isDeprecated" => self.boolean(input.is_deprecated),
            "deprecationReason" => self.reason(input.is_deprecated, description),
            _ => self.put("null"),
        }
    }

    fn value_member(&mut self, owner: TypeId, value: &EnumValue, name: &str) -> Result<(), TooLong> {
        let Coercer { model, schema } = self.coercer;
        let description = || match model.get(owner).kind {
            TypeKind::Enum(id) => model.value_description(schema, schema.enum_descriptor(id), value),
            _ => String::new(),
        };
        match name {
            "name" => self.string(&value.name),
            "description" => self.text(&description()),
            "isDeprecated" => self.boolean(value.is_deprecated),
            "deprecationReason" => self.reason(value.is_deprecated, description),
            _ => self.put("null"),
        }
    }

    fn directive_member(
        &mut self,
        directive: &Directive,
        name: &str,
        field: &Planned<'m>,
    ) -> Result<(), TooLong> {
        match name {
            "name" => self.string(directive.name),
            "description" => self.text(directive.description),
            "isRepeatable" => self.boolean(false),
            "locations" => {
                let locations: Vec<Json> = directive.locations.iter().map(|one| Json::from(*one)).collect();
                self.put(&Json::from(locations).to_string())
            }
            "args" => {
                let arguments = directive.arguments.list.iter();
                self.list(arguments.map(|input| Node::Input(input, None)), field)
            }
            _ => self.put("null"),
        }
    }

    fn list<'n>(
        &mut self,
        nodes: impl Iterator<Item = Node<'n>>,
        field: &Planned<'m>,
    ) -> Result<(), TooLong> {
        let mut separator = "[";
        for node in nodes {
            self.put(separator)?;
            self.object(node, &field.inner)?;
            separator = ",";
        }
        self.put(if separator == "[" { "[]" } else { "]" })
    }

    fn nullable(&mut self, node: Option<Node<'_>>, field: &Planned<'m>) -> Result<(), TooLong> {
        match node {
            Some(node) => self.object(node, &field.inner),
            None => self.put("null"),
        }
    }

    fn reason(&mut self, is_deprecated: bool, description: impl Fn() -> String) -> Result<(), TooLong> {
        if is_deprecated { self.string(&deprecation_reason(&description())) } else { self.put("null") }
    }

    fn boolean(&mut self, value: bool) -> Result<(), TooLong> {
        self.put(if value { "true" } else { "false" })
    }

    /// A text that is null when there is none.
    fn text(&mut self, text: &str) -> Result<(), TooLong> {
        if text.is_empty() { self.put("null") } else { self.string(text) }
    }

    fn string(&mut self, text: &str) -> Result<(), TooLong> {
        self.put(&Json::from(text).to_string())
    }

    fn put(&mut self, json: &str) -> Result<(), TooLong> {
        if self.written + self.out.len() + json.len() > self.bytes_max {
            self.out = String::new();
            return Err(TooLong);
        }
        self.out.push_str(json);
        Ok(())
    }

    /// The only argument that a field of introspection has.
    fn argument(&self, node: &FieldNode, scalar: Scalar) -> Option<Value> {
        let argument = node.arguments.first()?;
        let type_ref = named_type(self.coercer.model.scalar(scalar));
        self.coercer.value(&argument.value, type_ref, self.variables)
    }
}

impl Node<'_> {
    const fn type_name(&self) -> &'static str {
        match self {
            Self::Schema => "__Schema",
            Self::Type(_) => "__Type",
            Self::Field(..) => "__Field",
            Self::Input(..) => "__InputValue",
            Self::Value(..) => "__EnumValue",
            Self::Directive(_) => "__Directive",
        }
    }
}

fn named_type(named: TypeId) -> TypeRef {
    TypeRef { named, is_list: false, is_non_null: false, has_null_items: false }
}

fn kind_name(kind: TypeKind) -> &'static str {
    match kind {
        TypeKind::Scalar(_) => "SCALAR",
        TypeKind::Enum(_) => "ENUM",
        TypeKind::Input(_) => "INPUT_OBJECT",
        TypeKind::Object(_) | TypeKind::Root(_) => "OBJECT",
        TypeKind::Meta(meta) => {
            if meta.is_enum() {
                "ENUM"
            } else {
                "OBJECT"
            }
        }
    }
}

/// The directives that every schema has.
fn directives(coercer: Coercer<'_>) -> Vec<Directive> {
    let argument = |name: &str, scalar, is_non_null| Inputs {
        list: [Input {
            name: name.into(),
            type_ref: TypeRef { is_non_null, ..named_type(coercer.model.scalar(scalar)) },
            target: Target::Model,
            default: None,
            is_deprecated: false,
        }]
        .into_iter()
        .collect(),
        is_one_of: false,
    };
    const SELECTIONS: &[&str] = &["FIELD", "FRAGMENT_SPREAD", "INLINE_FRAGMENT"];
    vec![
        Directive {
            name: "include",
            description: "Selects only when `if` is true.",
            locations: SELECTIONS,
            arguments: argument("if", Scalar::Boolean, true),
        },
        Directive {
            name: "skip",
            description: "Selects only when `if` is false.",
            locations: SELECTIONS,
            arguments: argument("if", Scalar::Boolean, true),
        },
        Directive {
            name: "deprecated",
            description: "Says that something should not be used any more, and why.",
            locations: &["FIELD_DEFINITION", "ARGUMENT_DEFINITION", "INPUT_FIELD_DEFINITION", "ENUM_VALUE"],
            arguments: argument("reason", Scalar::String, false),
        },
        Directive {
            name: "specifiedBy",
            description: "Says where the values of a scalar are specified.",
            locations: &["SCALAR"],
            arguments: argument("url", Scalar::String, true),
        },
        Directive {
            name: "oneOf",
            description: "Takes exactly one of the fields of an input object.",
            locations: &["INPUT_OBJECT"],
            arguments: Inputs::default(),
        },
    ]
}
