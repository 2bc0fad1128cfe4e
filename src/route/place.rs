//! A place in a request message: the fields from the request down to the one that takes a text.
//!
//! Serializations merge, so a text is written as a message that holds nothing but its own place
//! (`book.name` as a `book` that has only a `name`), before or after whatever else is there. What merging
//! would hide, two values for one place or two members of one oneof, is looked for here.

use std::borrow::Cow;
use std::fmt;

use smallvec::SmallVec;

use crate::codec::options::JsonOptions;
use crate::codec::wire::{self, Reader, WireError, begin_len, end_len, put_tag};
use crate::codec::{TextError, text_to_wire};
use crate::schema::Schema;
use crate::schema::plan::wire::{EGROUP, LEN, SGROUP};
use crate::schema::plan::{FieldPlan, Kind, MessageId, Shape};

/// Fields by their plans, the request's own first.
pub(super) type Chain<'s> = SmallVec<[&'s FieldPlan; 4]>;

/// What one capture or query parameter sets.
#[derive(Clone, Debug)]
pub(super) struct Place<'s> {
    /// Never empty.
    pub(super) chain: Chain<'s>,
    /// The key, where the last field is a map.
    pub(super) key: Option<Cow<'s, str>>,
}

/// The place where another value was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Clash {
    /// At this very field.
    Value,
    /// At a member of the same oneof: its JSON path.
    Oneof(String),
}

impl<'s> Place<'s> {
    /// The place of a capture; `None` in a message of more fields than a plan can find by number.
    pub(super) fn of_numbers(schema: &'s Schema, input: MessageId, numbers: &[u32]) -> Option<Self> {
        let mut chain = Chain::new();
        let mut message = Some(input);
        for number in numbers {
            let plan = schema.message(message?);
            let field = plan.fields.get(plan.by_number(*number)?)?;
            message = field.kind.message();
            chain.push(field);
        }
        Some(Self { chain, key: None })
    }

    pub(super) fn of_field(field: &'s FieldPlan) -> Self {
        Self { chain: SmallVec::from_slice(&[field]), key: None }
    }

    pub(super) fn leaf(&self) -> &'s FieldPlan {
        self.chain.last().expect("a place has a field")
    }

    /// Writes a value, by `write`, within the messages that lead to it.
    pub(super) fn write<E>(
        &self,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let parents = &self.chain[..self.chain.len() - 1];
        let before = out.len();
        let mut starts = SmallVec::<[usize; 4]>::new();
        for parent in parents {
            put_tag(out, parent.tag);
            // A group has no length.
            starts.push(if is_group(parent) { 0 } else { begin_len(out) });
        }
        let start = out.len();
        write(out)?;
        if out.len() == start {
            // An unknown enum name that is ignored: the messages that lead to it stay absent too.
            out.truncate(before);
            return Ok(());
        }
        for (parent, start) in parents.iter().zip(starts).rev() {
            if is_group(parent) {
                put_tag(out, wire::tag(parent.number, EGROUP));
            } else {
                end_len(out, start);
            }
        }
        Ok(())
    }

    /// Writes a text as the last field, or as one entry of it.
    pub(super) fn write_text(
        &self,
        schema: &Schema,
        text: &str,
        json: &JsonOptions,
        out: &mut Vec<u8>,
    ) -> Result<(), TextError> {
        let leaf = self.leaf();
        let Some((key, [key_field, value_field])) = self.key.as_deref().zip(entry_fields(schema, leaf))
        else {
            return text_to_wire(schema, leaf, text, json, out);
        };
        put_tag(out, leaf.tag);
        let start = begin_len(out);
        text_to_wire(schema, key_field, key, json, out)?;
        text_to_wire(schema, value_field, text, json, out)?;
        end_len(out, start);
        Ok(())
    }

    /// Whether both name the same field of the same message, and the same entry of a map.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.key == other.key
            && self.chain.len() == other.chain.len()
            && self.chain.iter().zip(&other.chain).all(|(a, b)| a.number == b.number)
    }

    /// Whether the two run through different members of one oneof.
    pub(super) fn shares_oneof(&self, other: &Self) -> bool {
        let fork = self.chain.iter().zip(&other.chain).find(|(a, b)| a.number != b.number);
        fork.is_some_and(|(a, b)| a.oneof.is_some() && a.oneof == b.oneof)
    }

    /// Whether the bytes of a message set this place to something else than `leaf`, tag included.
    pub(super) fn clash(
        &self,
        schema: &Schema,
        input: MessageId,
        message: &[u8],
        leaf: &[u8],
    ) -> Result<Option<Clash>, WireError> {
        clash(schema, input, message, &self.chain, leaf).map(|clash| {
            clash.map(|(field, depth)| match field {
                None => Clash::Value,
                Some(sibling) => {
                    let mut chain: Chain<'_> = self.chain[..depth].into();
                    chain.push(sibling);
                    Clash::Oneof(Place { chain, key: None }.to_string())
                }
            })
        })
    }
}

/// The member of the same oneof that is set instead, if any, and how deep the clash is.
type Found<'s> = Option<(Option<&'s FieldPlan>, usize)>;

fn clash<'s>(
    schema: &'s Schema,
    id: MessageId,
    message: &[u8],
    chain: &[&FieldPlan],
    leaf: &[u8],
) -> Result<Found<'s>, WireError> {
    let Some((field, inner)) = chain.split_first() else { return Ok(None) };
    let mut reader = Reader::new(message);
    while !reader.is_empty() {
        let whole = reader.rest();
        let (number, wire_type) = reader.tag()?;
        if number != field.number {
            reader.skip(number, wire_type)?;
            if field.oneof.is_some()
                && let Some(sibling) = sibling(schema, id, number, field)
            {
                return Ok(Some((Some(sibling), 0)));
            }
            continue;
        }
        let value = reader.rest();
        let found = match field.kind.message() {
            Some(next) if !inner.is_empty() => {
                let content = match wire_type {
                    LEN => reader.bytes()?,
                    SGROUP => reader.group(number)?,
                    other => return Err(WireError::WireType(other)),
                };
                clash(schema, next, content, inner, leaf)?.map(|(sibling, depth)| (sibling, depth + 1))
            }
            _ => {
                reader.skip(number, wire_type)?;
                let written = whole.len() - reader.rest().len();
                let value = &value[..value.len() - reader.rest().len()];
                // The default of a field without presence is no value.
                let is_absent = field.shape == Shape::Implicit && value.iter().all(|byte| *byte == 0);
                (whole[..written] != *leaf && !is_absent).then_some((None, 0))
            }
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The field `number`, if it is a member of the same oneof as `field`.
fn sibling<'s>(schema: &'s Schema, id: MessageId, number: u32, field: &FieldPlan) -> Option<&'s FieldPlan> {
    let plan = schema.message(id);
    Some(&plan.fields[plan.by_number(number)?]).filter(|other| other.oneof == field.oneof)
}

/// Key and value field of a map's entries.
pub(super) fn entry_fields<'s>(schema: &'s Schema, map: &FieldPlan) -> Option<[&'s FieldPlan; 2]> {
    let entry = schema.message(map.kind.message().filter(|_| map.shape == Shape::Map)?);
    let field = |number| Some(&entry.fields[entry.by_number(number)?]);
    Some([field(1)?, field(2)?])
}

const fn is_group(field: &FieldPlan) -> bool {
    matches!(field.kind, Kind::Group(_))
}

/// The JSON path.
impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, field) in self.chain.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { "." }, field.json_name)?;
        }
        self.key.iter().try_for_each(|key| write!(f, "[{key}]"))
    }
}
