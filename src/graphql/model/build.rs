//! What must be known at once: which methods are fields of what, which types are in reach, and all their names.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use prost_reflect::{FieldDescriptor, Kind as Reflected, MessageDescriptor, MethodDescriptor};

use super::names::{Candidate, legal, lower_camel, unique};
use super::{Mapping, Meta, Method, Model, Operation, Scalar, Type, TypeId, TypeKind, meta};
use crate::route::{Exposed, RouteTree};
use crate::schema::Schema;
use crate::schema::plan::{EnumId, Kind, MessageId, WellKnown};

/// A method that is no field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// `package.Service.Method`.
    pub method: Box<str>,
    pub why: Why,
}

/// Why a method is no field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    #[error("the client would have to stream")]
    ClientStreaming,
    #[error("both sides would have to stream")]
    BothStreaming,
    #[error("no rule of the surface shows it")]
    Hidden,
}

/// The type of a single value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    Scalar(Scalar),
    Enum(EnumId),
    Message(MessageId),
}

/// What clients send, and what they get.
#[derive(Clone, Copy, Debug, Default)]
struct Sides {
    input: bool,
    output: bool,
}

impl Model {
    /// Derives the schema of a surface from the methods that it shows; `routes` tells which of them are read by `GET`.
    pub fn new(schema: &Schema, exposed: &[Exposed], routes: &RouteTree, mapping: Mapping) -> Self {
        // What a route knows already is not read from the options again.
        let mut read: HashMap<&str, bool> = HashMap::new();
        for binding in routes.bindings() {
            *read.entry(&binding.method).or_default() |= binding.is_read_only();
        }
        let is_read = |method: &MethodDescriptor| {
            read.get(method.full_name()).copied().unwrap_or_else(|| schema.has_no_side_effects(method))
        };
        let methods = methods(schema, exposed, is_read);
        let reach = Reach::of(schema, &methods, mapping);
        let mut types = reach.types(schema);
        for operation in Operation::ALL {
            if operation == Operation::Query || methods.iter().any(|one| one.operation == operation) {
                types.push(Type::new(operation.type_name(), TypeKind::Root(operation)));
            }
        }
        types.extend(Scalar::ALL.map(|scalar| Type::new(scalar.name(), TypeKind::Scalar(scalar))));
        types.extend(Meta::ALL.map(|meta| Type::new(meta.name(), TypeKind::Meta(meta))));
        types.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Self::index(types, methods, mapping)
    }

    fn index(types: Vec<Type>, methods: Vec<Method>, mapping: Mapping) -> Self {
        let mut scalars = HashMap::new();
        let mut metas = HashMap::new();
        let (mut outputs, mut inputs, mut enums) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut roots = [None; 3];
        for (id, one) in (0..).map(TypeId).zip(&types) {
            match one.kind {
                TypeKind::Scalar(scalar) => drop(scalars.insert(scalar, id)),
                TypeKind::Meta(meta) => drop(metas.insert(meta, id)),
                TypeKind::Object(message) => drop(outputs.insert(message, id)),
                TypeKind::Input(message) => drop(inputs.insert(message, id)),
                TypeKind::Enum(enumeration) => drop(enums.insert(enumeration, id)),
                TypeKind::Root(operation) => roots[operation as usize] = Some(id),
            }
        }
        Self {
            entrance: meta::Entrance::new(|scalar| scalars[&scalar], |meta| metas[&meta]),
            types: types.into(),
            scalars,
            outputs,
            inputs,
            enums,
            metas,
            roots,
            methods: methods.into(),
            links: Vec::new(),
            mapping,
            reached: OnceLock::new(),
        }
    }
}

/// The methods that are fields, sorted by the field's name.
fn methods(schema: &Schema, exposed: &[Exposed], is_read: impl Fn(&MethodDescriptor) -> bool) -> Vec<Method> {
    let unary = |one: &&Exposed| !one.method.is_client_streaming();
    let exposed: Vec<&Exposed> = exposed.iter().filter(unary).collect();
    let names: Vec<Candidate<'_>> = exposed
        .iter()
        .map(|one| {
            let service = one.method.parent_service();
            let short = lower_camel(one.method.name());
            let with_service = format!("{}_{short}", lower_camel(service.name()));
            let package = service.package_name().replace('.', "_");
            let in_full = (!package.is_empty()).then(|| format!("{package}_{with_service}"));
            let names = [Some(short), Some(with_service), in_full].into_iter().flatten();
            Candidate {
                full_name: one.method.full_name(),
                names: names.map(|name| legal(&name).into_owned()).collect(),
                forms: &[""],
            }
        })
        .collect();
    let names = unique(&names, &HashSet::new());
    let message = |message: &MessageDescriptor| {
        schema.message_id(message.full_name()).expect("every message of the pool is indexed")
    };
    let mut methods: Vec<Method> = exposed
        .into_iter()
        .zip(names)
        .map(|(one, name)| Method {
            name: name.into(),
            operation: Operation::of(&one.method, is_read(&one.method)),
            exposed: one.clone(),
            input: message(&one.method.input()),
            output: message(&one.method.output()),
            arguments: OnceLock::new(),
        })
        .collect();
    methods.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    methods
}

/// The methods that are no field of any root type, sorted by name.
pub fn left_out(schema: &Schema, exposed: &[Exposed]) -> Vec<LeftOut> {
    let shown: HashSet<&str> = exposed.iter().map(|one| one.method.full_name()).collect();
    let services: Vec<_> = schema.pool().services().collect();
    let all = services.iter().flat_map(prost_reflect::ServiceDescriptor::methods);
    let why = |method: &MethodDescriptor| match (method.is_client_streaming(), method.is_server_streaming()) {
        _ if !shown.contains(method.full_name()) => Some(Why::Hidden),
        (true, true) => Some(Why::BothStreaming),
        (true, false) => Some(Why::ClientStreaming),
        (false, _) => None,
    };
    let mut left_out: Vec<LeftOut> = all
        .filter_map(|method| Some(LeftOut { method: method.full_name().into(), why: why(&method)? }))
        .collect();
    left_out.sort_unstable_by(|one, other| one.method.cmp(&other.method));
    left_out
}

/// The messages and enums that some field leads to. By descriptor alone: no plan is compiled for it.
struct Reach<'s> {
    schema: &'s Schema,
    mapping: Mapping,
    messages: HashMap<MessageId, Sides>,
    enums: HashSet<EnumId>,
    open: Vec<(MessageId, Side)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Input,
    Output,
}

impl<'s> Reach<'s> {
    fn of(schema: &'s Schema, methods: &[Method], mapping: Mapping) -> Self {
        let (messages, enums) = (HashMap::new(), HashSet::new());
        let mut reach = Self { schema, mapping, messages, enums, open: Vec::new() };
        let mut requests = HashSet::new();
        for method in methods {
            // A request is no type: its fields are arguments.
            if requests.insert(method.input) && !has_own_form(schema.descriptor(method.input)) {
                reach.fields(method.input, Side::Input);
            }
            if let Leaf::Message(reply) = reply(schema, method.output) {
                reach.meet(reply, Side::Output);
            }
        }
        while let Some((message, side)) = reach.open.pop() {
            reach.fields(message, side);
        }
        reach
    }

    fn meet(&mut self, message: MessageId, side: Side) {
        let sides = self.messages.entry(message).or_default();
        let seen = match side {
            Side::Input => &mut sides.input,
            Side::Output => &mut sides.output,
        };
        if !std::mem::replace(seen, true) {
            self.open.push((message, side));
        }
    }

    fn fields(&mut self, message: MessageId, side: Side) {
        for field in self.schema.descriptor(message).fields() {
            match leaf(self.schema, &field, self.mapping) {
                Leaf::Scalar(_) => {}
                Leaf::Enum(enumeration) => drop(self.enums.insert(enumeration)),
                Leaf::Message(message) => self.meet(message, side),
            }
        }
    }

    /// The types, each with its name, in no order.
    fn types(&self, schema: &Schema) -> Vec<Type> {
        let mut candidates = Vec::with_capacity(self.messages.len() + self.enums.len());
        let mut kinds: Vec<Vec<TypeKind>> = Vec::with_capacity(candidates.capacity());
        for (message, sides) in &self.messages {
            let descriptor = schema.descriptor(*message);
            let forms: &[&str] = match (sides.output, sides.input) {
                (true, true) => &["", "Input"],
                (false, true) => &["Input"],
                (_, false) => &[""],
            };
            let names = lengths(descriptor.full_name(), descriptor.package_name(), descriptor.is_map_entry());
            candidates.push(Candidate { full_name: descriptor.full_name(), names, forms });
            let kind = |form: &&str| match *form {
                "" => TypeKind::Object(*message),
                _ => TypeKind::Input(*message),
            };
            kinds.push(forms.iter().map(kind).collect());
        }
        for enumeration in &self.enums {
            let descriptor = schema.enum_descriptor(*enumeration);
            let names = lengths(descriptor.full_name(), descriptor.package_name(), false);
            candidates.push(Candidate { full_name: descriptor.full_name(), names, forms: &[""] });
            kinds.push(vec![TypeKind::Enum(*enumeration)]);
        }
        let reserved: HashSet<&str> = Scalar::ALL
            .into_iter()
            .map(Scalar::name)
            .chain(Operation::ALL.into_iter().map(Operation::type_name))
            .collect();
        let names = unique(&candidates, &reserved);
        let mut types = Vec::with_capacity(kinds.len());
        for ((candidate, kinds), name) in candidates.iter().zip(kinds).zip(names) {
            for (form, kind) in candidate.forms.iter().zip(kinds) {
                types.push(Type::new(format!("{name}{form}"), kind));
            }
        }
        types
    }
}

/// The names that a type may go by, shortest first: `Book`, `Shelf_Book`, `library_v1_Shelf_Book`.
///
/// The entry of a map goes by the name of its message: `BookLabelsEntry`.
fn lengths(full_name: &str, package: &str, is_map_entry: bool) -> Vec<String> {
    let within = full_name.strip_prefix(package).map_or(full_name, |rest| rest.trim_start_matches('.'));
    let mut parts: Vec<String> = within.split('.').map(str::to_owned).collect();
    if is_map_entry && let Some(entry) = parts.pop() {
        match parts.last_mut() {
            Some(message) => message.push_str(&entry),
            None => parts.push(entry),
        }
    }
    let short = parts.last().cloned().unwrap_or_default();
    let nested = parts.join("_");
    let in_full = format!("{}_{nested}", package.replace('.', "_"));
    let mut names = vec![short];
    if parts.len() > 1 {
        names.push(nested);
    }
    if !package.is_empty() {
        names.push(in_full);
    }
    names.iter().map(|name| legal(name).into_owned()).collect()
}

/// Whether a message is written otherwise than as an object of its fields.
pub(super) fn has_own_form(message: &MessageDescriptor) -> bool {
    !matches!(WellKnown::of(message), WellKnown::No | WellKnown::MapEntry)
}

/// The type of a reply.
pub(super) fn reply(schema: &Schema, output: MessageId) -> Leaf {
    let descriptor = schema.descriptor(output);
    if descriptor.full_name() == "google.protobuf.Empty" {
        // There is nothing to select; that it arrived is all there is to tell.
        return Leaf::Scalar(Scalar::Boolean);
    }
    message_leaf(schema, descriptor)
}

/// The type of a field's single value.
pub(super) fn leaf(schema: &Schema, field: &FieldDescriptor, mapping: Mapping) -> Leaf {
    match field.kind() {
        _ if field.is_map() && mapping.maps_as_json => Leaf::Scalar(Scalar::Json),
        Reflected::Message(message) => message_leaf(schema, &message),
        Reflected::Enum(enumeration) if enumeration.full_name() == "google.protobuf.NullValue" => {
            // Its JSON form is `null`.
            Leaf::Scalar(Scalar::Json)
        }
        kind => match Kind::of(schema, &kind, false) {
            Kind::Enum(enumeration) => Leaf::Enum(enumeration),
            kind => Leaf::Scalar(Scalar::of(kind).expect("neither a message nor an enum")),
        },
    }
}

fn message_leaf(schema: &Schema, message: &MessageDescriptor) -> Leaf {
    let known = WellKnown::of(message);
    if let Some(scalar) = Scalar::of_well_known(known) {
        return Leaf::Scalar(scalar);
    }
    if known == WellKnown::Wrapper
        && let Some(value) = message.get_field(1)
        && let Some(scalar) = Scalar::of(Kind::of(schema, &value.kind(), false))
    {
        return Leaf::Scalar(scalar);
    }
    Leaf::Message(schema.message_id(message.full_name()).expect("every message of the pool is indexed"))
}
