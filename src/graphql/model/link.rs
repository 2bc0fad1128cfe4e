//! Links: fields that no message has, because what they lead to is told by another method.
//!
//! ```text
//! Order { customer_id } ──from──▶ key ──as──▶ GetCustomer(name)                          → Customer
//!                                 keys ──▶ BatchGetCustomers(names) → items, by their key → Customer, Customer, …
//! ```
//!
//! A link is declared by names, in the configuration or as an option of `proto/transom/graphql.proto`, and resolved here
//! against a surface: whatever it names must be there, be shown, and fit together. A key is a string or an integer, and
//! of one type wherever it stands, so that its bytes go from one message into the other as they are.

use super::names::legal;
use super::{Field, Method, Model, Operation, Source, TypeRef};
use crate::schema::Schema;
use crate::schema::plan::{FieldPlan, Kind, MessageId, MessagePlan, Shape};

/// A link as it is declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// The message that gets the field.
    pub on: Box<str>,
    pub field: Box<str>,
    /// The field of the message that has the key, or several of them.
    pub from: Box<str>,
    /// The method that tells of one object.
    pub call: Box<str>,
    /// The field of its request that takes the key.
    pub argument: Box<str>,
    pub batch: Option<DeclaredBatch>,
}

/// How several objects are asked for at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredBatch {
    pub call: Box<str>,
    /// The field of its request that takes the keys.
    pub keys: Box<str>,
    /// The field of its reply that has the objects.
    pub items: Box<str>,
    /// The field of each object that has its key.
    pub key: Box<str>,
    /// How many keys one call has at most.
    pub keys_max: usize,
}

/// A word of a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    On,
    Field,
    From,
    Call,
    Argument,
    BatchCall,
    BatchKeys,
    BatchItems,
    BatchKey,
}

/// What is wrong with a declaration, and with which of its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkError {
    /// The declaration's place in the list.
    pub index: usize,
    pub word: Word,
    pub message: String,
}

/// A link that leads somewhere.
#[derive(Debug)]
pub struct Link {
    pub on: MessageId,
    pub name: Box<str>,
    /// The field of the key: its index in the plan of `on`.
    pub from: usize,
    pub is_list: bool,
    /// What it leads to.
    pub output: MessageId,
    /// How it is asked for.
    pub fetch: Fetch,
}

/// How objects are asked for by their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fetch {
    /// The place in [`Model::methods`].
    pub method: usize,
    /// The number of the request's field that takes the key, or one key after the other.
    pub argument: u32,
    pub wire_type: u32,
    /// Where several objects are in the reply; `None` where the reply is the object.
    pub items: Option<Items>,
}

/// Where the objects of a batch are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Items {
    /// The number of the reply's field, and its index in the reply's plan.
    pub number: u32,
    pub index: usize,
    /// The number of the field of an object that has its key.
    pub key: u32,
    /// How many keys one call has at most.
    pub keys_max: usize,
}

type Found<T> = Result<T, (Word, String)>;

impl Model {
    /// Adds fields for links. Must be called before anything is compiled.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the declarations; links without fault are there all the same.
    pub fn link(&mut self, schema: &Schema, declared: &[Declared]) -> Result<(), Vec<LinkError>> {
        let mut errors = Vec::new();
        for (index, one) in declared.iter().enumerate() {
            match self.resolved(schema, one) {
                Ok(link) => self.links.push(link),
                Err((word, message)) => errors.push(LinkError { index, word, message }),
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    pub fn links(&self) -> &[Link] {
        &self.links
    }

    fn resolved(&self, schema: &Schema, declared: &Declared) -> Found<Link> {
        let on = self.owner(schema, &declared.on)?;
        self.free(schema, on, &declared.field)?;
        let plan = schema.message(on);
        let (from, key) = field(plan, &declared.from, Word::From)?;
        let kind = key.kind;
        if !is_key(kind) || key.shape == Shape::Map {
            return Err((Word::From, format!("`{}` is no key: it is no string and no integer", key.name)));
        }
        let (place, method) = self.reader(schema, &declared.call, Word::Call)?;
        let (_, argument) = field(schema.message(method.input), &declared.argument, Word::Argument)?;
        fits(argument, kind, false, Word::Argument)?;
        let output = method.output;
        if !self.outputs.contains_key(&output) || self.reply_type(schema, method).is_none() {
            let name = schema.descriptor(output).full_name();
            return Err((Word::Call, format!("it replies with `{name}`, which has no fields to select")));
        }
        let single =
            Fetch { method: place, argument: argument.number, wire_type: kind.wire_type(), items: None };
        let fetch = match &declared.batch {
            None => single,
            Some(batch) => self.batch(schema, batch, output, kind)?,
        };
        let name = declared.field.clone();
        Ok(Link { on, name, from, is_list: key.is_repeated(), output, fetch })
    }

    /// The message that a link is on: one of the surface's replies.
    fn owner(&self, schema: &Schema, name: &str) -> Found<MessageId> {
        let id = schema
            .message_id(name)
            .ok_or_else(|| (Word::On, format!("the descriptors have no message `{name}`")))?;
        if !self.outputs.contains_key(&id) {
            return Err((Word::On, format!("no reply of this surface has a `{name}`")));
        }
        Ok(id)
    }

    fn free(&self, schema: &Schema, on: MessageId, name: &str) -> Found<()> {
        if legal(name) != name {
            return Err((Word::Field, format!("`{name}` is no name of a field in GraphQL")));
        }
        if self.compile_object(schema, on).find(name).is_some() {
            let message = schema.descriptor(on).full_name();
            return Err((Word::Field, format!("`{message}` has a field `{name}`")));
        }
        Ok(())
    }

    /// A method that a link may call: one that is shown, has one reply, and changes nothing.
    fn reader(&self, schema: &Schema, name: &str, word: Word) -> Found<(usize, &Method)> {
        let mut shown = self.methods.iter().enumerate();
        let Some(found) = shown.find(|(_, one)| one.exposed.method.full_name() == name) else {
            let message = if schema.has_method(name) {
                format!("`{name}` is no field of this surface's schema")
            } else {
                format!(
                    "the descriptors have no method `{name}`, expected one such as `shop.v1.Customers.GetCustomer`"
                )
            };
            return Err((word, message));
        };
        match found.1.operation {
            Operation::Query => Ok(found),
            Operation::Subscription => Err((word, format!("`{name}` streams its replies"))),
            Operation::Mutation => {
                let message = format!(
                    "`{name}` may change something: a link needs a method with a `GET` rule, or \
                     `idempotency_level = NO_SIDE_EFFECTS`"
                );
                Err((word, message))
            }
        }
    }

    fn batch(
        &self,
        schema: &Schema,
        declared: &DeclaredBatch,
        output: MessageId,
        kind: Kind,
    ) -> Found<Fetch> {
        let (place, method) = self.reader(schema, &declared.call, Word::BatchCall)?;
        let (_, keys) = field(schema.message(method.input), &declared.keys, Word::BatchKeys)?;
        fits(keys, kind, true, Word::BatchKeys)?;
        let (index, items) = field(schema.message(method.output), &declared.items, Word::BatchItems)?;
        let is_list = matches!(items.shape, Shape::Repeated { .. });
        if !is_list || items.kind.message() != Some(output) {
            let expected = schema.descriptor(output).full_name();
            return Err((
                Word::BatchItems,
                format!("`{}` must be `repeated {expected}`, what `call` replies with", items.name),
            ));
        }
        let (_, key) = field(schema.message(output), &declared.key, Word::BatchKey)?;
        fits(key, kind, false, Word::BatchKey)?;
        Ok(Fetch {
            method: place,
            argument: keys.number,
            wire_type: kind.wire_type(),
            items: Some(Items { number: items.number, index, key: key.number, keys_max: declared.keys_max }),
        })
    }

    /// The fields that links give to a message.
    pub(super) fn linked(&self, message: MessageId) -> impl Iterator<Item = Field> {
        let links = self.links.iter().enumerate().filter(move |(_, link)| link.on == message);
        links.filter_map(|(index, link)| {
            let type_ref = TypeRef {
                named: *self.outputs.get(&link.output)?,
                is_list: link.is_list,
                is_non_null: false,
                has_null_items: link.is_list,
            };
            Some(Field {
                name: link.name.clone(),
                type_ref,
                source: Source::Link(index),
                is_deprecated: false,
            })
        })
    }
}

fn field<'p>(plan: &'p MessagePlan, name: &str, word: Word) -> Found<(usize, &'p FieldPlan)> {
    let index = plan.by_name(name.as_bytes());
    index
        .and_then(|index| Some((index, plan.fields.get(index)?)))
        .ok_or_else(|| (word, format!("`{}` has no field `{name}`", plan.full_name)))
}

/// Whether a field takes a key of this kind, or several of them.
fn fits(field: &FieldPlan, kind: Kind, is_list: bool, word: Word) -> Found<()> {
    let found_list = matches!(field.shape, Shape::Repeated { .. });
    if field.kind == kind && field.shape != Shape::Map && found_list == is_list {
        return Ok(());
    }
    let article = if is_list { "repeated " } else { "" };
    Err((word, format!("`{}` must be `{article}{}`, as the key is", field.name, kind.name())))
}

const fn is_key(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Double
            | Kind::Float
            | Kind::Bool
            | Kind::Bytes
            | Kind::Enum(_)
            | Kind::Message(_)
            | Kind::Group(_)
    )
}
