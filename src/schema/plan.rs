//! Message plans: what the codec needs to know of a type, laid out for the hot path.
//!
//! A plan lists the fields of one message in ascending field-number order, each with its wire tag, its JSON
//! key already escaped and quoted, and the plan of its message or enum type by id. Two lookups
//! exist, by field number (wire → JSON) and by JSON or proto name (JSON → wire); callers first try
//! the field after the last one they met, which is nearly always the one that comes.
//!
//! Extensions of a type are fields of its plan like any other; their JSON name is `[full.name]`.

use std::collections::HashSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use prost_reflect::{Cardinality, Kind as Reflected, Syntax};

use super::Schema;
use super::key::Key;

/// Index of a message type in its [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub(super) u32);

impl MessageId {
    /// Its place among the types of the schema.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Index of an enum type in its [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnumId(pub(super) u32);

/// One message type, compiled.
#[derive(Debug)]
pub struct MessagePlan {
    pub id: MessageId,
    pub full_name: Box<str>,
    /// Decides the JSON form: most types are [`WellKnown::No`].
    pub well_known: WellKnown,
    /// Ascending by number, extensions included.
    pub fields: Box<[FieldPlan]>,
    /// How many (real) oneofs there are; [`FieldPlan::oneof`] counts below this.
    pub oneofs: u16,
    /// Whether some field of this very type is proto2 `required` (or edition `LEGACY_REQUIRED`).
    pub has_required: bool,
    names: NameTable,
    numbers: NumberTable,
    disordered: AtomicBool,
    reaches_required: OnceLock<bool>,
}

/// One field, compiled.
#[derive(Debug)]
pub struct FieldPlan {
    pub number: u32,
    pub kind: Kind,
    pub shape: Shape,
    /// The oneof this field is a member of; synthetic ones (proto3 `optional`) do not count.
    pub oneof: Option<u16>,
    /// The wire tag as it is written: of wire type LEN for a packed field.
    pub tag: u32,
    /// Whether string values must be valid UTF-8 on the wire.
    pub utf8: bool,
    /// The name as declared; `[full.name]` for an extension.
    pub name: Box<str>,
    pub json_name: Box<str>,
    /// `json_name`, ready to be written.
    pub json_key: Key,
    /// `name`, ready to be written.
    pub proto_key: Key,
}

/// The type of a field's (or of a repeated field's every) value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
    Enum(EnumId),
    Message(MessageId),
    /// Delimited by start-group and end-group tags instead of a length.
    Group(MessageId),
}

/// How often a field may occur and how its absence is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Absent and zero are the same (proto3 without `optional`).
    Implicit,
    /// Presence is tracked: proto3 `optional`, proto2, messages, oneof members.
    Explicit,
    /// Proto2 `required`.
    Required,
    Repeated {
        packed: bool,
    },
    /// [`FieldPlan::kind`] is `Message` of the entry type: key is its field 1, value its field 2.
    Map,
}

/// Types with a JSON form of their own (protobuf.dev, ProtoJSON format).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WellKnown {
    No,
    Any,
    Timestamp,
    Duration,
    FieldMask,
    Struct,
    Value,
    ListValue,
    /// A wrapper of `google/protobuf/wrappers.proto`: the value is field 1.
    Wrapper,
    /// The synthetic entry type of a map field.
    MapEntry,
}

/// Wire types of the protobuf encoding.
pub mod wire {
    pub const VARINT: u32 = 0;
    pub const I64: u32 = 1;
    pub const LEN: u32 = 2;
    pub const SGROUP: u32 = 3;
    pub const EGROUP: u32 = 4;
    pub const I32: u32 = 5;
}

impl MessagePlan {
    /// Compiles the plan of a message type from its descriptor.
    pub(super) fn compile(schema: &Schema, id: MessageId) -> Self {
        let message = schema.descriptor(id);
        let mut oneof_of = vec![None; message.oneofs().len()];
        let mut oneofs = 0u16;
        for (slot, oneof) in oneof_of.iter_mut().zip(message.oneofs()) {
            if !oneof.is_synthetic() {
                *slot = Some(oneofs);
                oneofs += 1;
            }
        }
        let mut fields: Vec<FieldPlan> = Vec::with_capacity(message.fields().len());
        for field in message.fields() {
            let oneof = message.oneofs().position(|o| Some(&o) == field.containing_oneof().as_ref());
            fields.push(FieldPlan::compile(
                schema,
                &Declared {
                    number: field.number(),
                    kind: field.kind(),
                    cardinality: field.cardinality(),
                    is_map: field.is_map(),
                    is_packed: field.is_packed(),
                    is_group: field.is_group(),
                    presence: field.supports_presence(),
                    full_name: field.full_name(),
                    name: field.name(),
                    json_name: field.json_name(),
                    syntax: field.parent_file().syntax(),
                },
                oneof.and_then(|index| oneof_of[index]),
            ));
        }
        for extension in message.extensions() {
            let name = format!("[{}]", extension.full_name());
            fields.push(FieldPlan::compile(
                schema,
                &Declared {
                    number: extension.number(),
                    kind: extension.kind(),
                    cardinality: extension.cardinality(),
                    is_map: false,
                    is_packed: extension.is_packed(),
                    is_group: extension.is_group(),
                    presence: extension.supports_presence(),
                    full_name: extension.full_name(),
                    name: &name,
                    json_name: &name,
                    syntax: extension.parent_file().syntax(),
                },
                None,
            ));
        }
        fields.sort_by_key(|field| field.number);
        let names = NameTable::build(&fields);
        let numbers = NumberTable::build(&fields);
        Self {
            id,
            full_name: message.full_name().into(),
            well_known: WellKnown::of(message),
            oneofs,
            has_required: fields.iter().any(|field| field.shape == Shape::Required),
            fields: fields.into(),
            names,
            numbers,
            disordered: AtomicBool::new(false),
            reaches_required: OnceLock::new(),
        }
    }

    /// Index in [`Self::fields`] of the field with this number.
    #[inline]
    pub fn by_number(&self, number: u32) -> Option<usize> {
        self.numbers.find(&self.fields, number)
    }

    /// Index in [`Self::fields`] of the field with this JSON name or proto name.
    #[inline]
    pub fn by_name(&self, name: &[u8]) -> Option<usize> {
        self.names.find(&self.fields, name)
    }

    /// Whether this type, or one that can occur in it, has a required field. Found out once.
    ///
    /// Asks the descriptors: to compile the plan of every type in reach would cost more memory than it is worth.
    pub fn reaches_required(&self, schema: &Schema) -> bool {
        *self.reaches_required.get_or_init(|| {
            let root = schema.descriptor(self.id);
            let mut seen = HashSet::from([root.full_name().to_owned()]);
            let mut open = vec![root.clone()];
            while let Some(message) = open.pop() {
                let declared = message.fields().map(|field| (field.cardinality(), field.kind()));
                let extended = message.extensions().map(|field| (field.cardinality(), field.kind()));
                for (cardinality, kind) in declared.chain(extended) {
                    match kind {
                        _ if cardinality == Cardinality::Required => return true,
                        Reflected::Message(inner) if seen.insert(inner.full_name().to_owned()) => {
                            open.push(inner);
                        }
                        _ => {}
                    }
                }
            }
            false
        })
    }

    /// Whether some message of this type came with its fields out of order: then a first pass
    /// that notes their places is cheaper than to start over.
    #[inline]
    pub fn is_disordered(&self) -> bool {
        self.disordered.load(Ordering::Relaxed)
    }

    /// Remembers that this type's fields may come out of order.
    pub fn mark_disordered(&self) {
        self.disordered.store(true, Ordering::Relaxed);
    }
}

/// What a field and an extension have in common, as prost-reflect tells it.
struct Declared<'a> {
    number: u32,
    kind: Reflected,
    cardinality: Cardinality,
    is_map: bool,
    is_packed: bool,
    is_group: bool,
    presence: bool,
    full_name: &'a str,
    name: &'a str,
    json_name: &'a str,
    syntax: Syntax,
}

impl FieldPlan {
    fn compile(schema: &Schema, declared: &Declared<'_>, oneof: Option<u16>) -> Self {
        let traits = schema.traits();
        let kind = Kind::of(schema, &declared.kind, declared.is_group);
        let shape = match declared.cardinality {
            _ if declared.is_map => Shape::Map,
            Cardinality::Repeated => Shape::Repeated { packed: declared.is_packed },
            Cardinality::Required => Shape::Required,
            Cardinality::Optional if traits.implicit.contains(declared.full_name) => Shape::Implicit,
            Cardinality::Optional if declared.presence => Shape::Explicit,
            Cardinality::Optional => Shape::Implicit,
        };
        let wire_type = match shape {
            Shape::Repeated { packed: true } => wire::LEN,
            _ => kind.wire_type(),
        };
        let flipped = traits.utf8_flipped.contains(declared.full_name);
        Self {
            number: declared.number,
            kind,
            shape,
            oneof,
            tag: declared.number << 3 | wire_type,
            utf8: (declared.syntax == Syntax::Proto3) != flipped,
            name: declared.name.into(),
            json_name: declared.json_name.into(),
            json_key: Key::of(declared.json_name),
            proto_key: Key::of(declared.name),
        }
    }

    /// Whether absent and zero are two states of this field.
    #[inline]
    pub fn has_presence(&self) -> bool {
        matches!(self.shape, Shape::Explicit | Shape::Required)
    }

    /// Whether this is an extension, which the type it extends does not know of.
    pub fn is_extension(&self) -> bool {
        self.name.starts_with('[')
    }

    /// Whether this field is repeated or a map.
    #[inline]
    pub fn is_repeated(&self) -> bool {
        matches!(self.shape, Shape::Repeated { .. } | Shape::Map)
    }
}

impl Kind {
    /// The kind of a field, as its descriptor tells it.
    pub fn of(schema: &Schema, kind: &Reflected, is_group: bool) -> Self {
        match kind {
            Reflected::Double => Self::Double,
            Reflected::Float => Self::Float,
            Reflected::Int32 => Self::Int32,
            Reflected::Int64 => Self::Int64,
            Reflected::Uint32 => Self::Uint32,
            Reflected::Uint64 => Self::Uint64,
            Reflected::Sint32 => Self::Sint32,
            Reflected::Sint64 => Self::Sint64,
            Reflected::Fixed32 => Self::Fixed32,
            Reflected::Fixed64 => Self::Fixed64,
            Reflected::Sfixed32 => Self::Sfixed32,
            Reflected::Sfixed64 => Self::Sfixed64,
            Reflected::Bool => Self::Bool,
            Reflected::String => Self::String,
            Reflected::Bytes => Self::Bytes,
            Reflected::Message(message) => {
                let id =
                    schema.message_id(message.full_name()).expect("every message of the pool is indexed");
                if is_group { Self::Group(id) } else { Self::Message(id) }
            }
            Reflected::Enum(enumeration) => Self::Enum(
                schema.enum_id(enumeration.full_name()).expect("every enum of the pool is indexed"),
            ),
        }
    }

    /// The wire type of one unpacked value.
    pub const fn wire_type(self) -> u32 {
        match self {
            Self::Int32
            | Self::Int64
            | Self::Uint32
            | Self::Uint64
            | Self::Sint32
            | Self::Sint64
            | Self::Bool
            | Self::Enum(_) => wire::VARINT,
            Self::Double | Self::Fixed64 | Self::Sfixed64 => wire::I64,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => wire::I32,
            Self::String | Self::Bytes | Self::Message(_) => wire::LEN,
            Self::Group(_) => wire::SGROUP,
        }
    }

    /// The message type of a message or group value.
    pub const fn message(self) -> Option<MessageId> {
        match self {
            Self::Message(id) | Self::Group(id) => Some(id),
            _ => None,
        }
    }

    /// Whether a repeated field of this kind may be packed.
    pub const fn is_packable(self) -> bool {
        !matches!(self.wire_type(), wire::LEN | wire::SGROUP)
    }
}

impl WellKnown {
    /// What a message type is, by its name.
    pub fn of(message: &prost_reflect::MessageDescriptor) -> Self {
        if message.is_map_entry() {
            return Self::MapEntry;
        }
        match message.full_name() {
            "google.protobuf.Any" => Self::Any,
            "google.protobuf.Timestamp" => Self::Timestamp,
            "google.protobuf.Duration" => Self::Duration,
            "google.protobuf.FieldMask" => Self::FieldMask,
            "google.protobuf.Struct" => Self::Struct,
            "google.protobuf.Value" => Self::Value,
            "google.protobuf.ListValue" => Self::ListValue,
            "google.protobuf.DoubleValue"
            | "google.protobuf.FloatValue"
            | "google.protobuf.Int64Value"
            | "google.protobuf.UInt64Value"
            | "google.protobuf.Int32Value"
            | "google.protobuf.UInt32Value"
            | "google.protobuf.BoolValue"
            | "google.protobuf.StringValue"
            | "google.protobuf.BytesValue" => Self::Wrapper,
            _ => Self::No,
        }
    }
}

/// One enum type, compiled.
#[derive(Debug)]
pub struct EnumPlan {
    pub id: EnumId,
    pub full_name: Box<str>,
    /// Closed enums (proto2) have no unknown numbers in JSON input.
    pub closed: bool,
    /// `google.protobuf.NullValue`, whose JSON form is `null`.
    pub is_null_value: bool,
    /// In declaration order: of aliases, the first is the name that is written.
    values: Box<[(Box<str>, i32)]>,
    /// Indices of `values`, sorted by the length of the name and then the name.
    by_name: Box<[u32]>,
    /// Sorted by number, one per number, quoted and escaped for JSON.
    by_number: Box<[(i32, Box<[u8]>)]>,
}

impl EnumPlan {
    pub(super) fn compile(schema: &Schema, id: EnumId) -> Self {
        let descriptor = schema.enum_descriptor(id);
        let full_name = descriptor.full_name();
        // Editions are lowered to proto2, so that no file of proto3 has a closed enum.
        let closed = descriptor.parent_file().syntax() == Syntax::Proto2
            && !schema.traits().open_enums.contains(full_name);
        let values: Box<[_]> = descriptor
            .enum_descriptor_proto()
            .value
            .iter()
            .map(|value| (Box::from(value.name()), value.number()))
            .collect();
        let mut by_number: Vec<(i32, Box<[u8]>)> =
            values.iter().map(|(name, number)| (*number, quoted(name))).collect();
        by_number.sort_by_key(|(number, _)| *number);
        by_number.dedup_by_key(|(number, _)| *number);
        let mut by_name: Vec<u32> = (0..).take(values.len()).collect();
        by_name.sort_by_key(|index| by_length(values[*index as usize].0.as_bytes()));
        Self {
            id,
            full_name: full_name.into(),
            closed,
            is_null_value: full_name == "google.protobuf.NullValue",
            values,
            by_name: by_name.into(),
            by_number: by_number.into(),
        }
    }

    /// The number of the value called `name`.
    pub fn number(&self, name: &[u8]) -> Option<i32> {
        let value = |index: u32| &self.values[index as usize];
        let key = by_length(name);
        let place = self.by_name.binary_search_by(|&index| by_length(value(index).0.as_bytes()).cmp(&key));
        Some(value(self.by_name[place.ok()?]).1)
    }

    /// The name of a number as a JSON string, quotes included.
    #[inline]
    pub fn quoted_name(&self, number: i32) -> Option<&[u8]> {
        // Most enums count 0, 1, 2, …: try the place where the number then stands.
        let guess = usize::try_from(number).ok().and_then(|index| self.by_number.get(index));
        if let Some((found, name)) = guess
            && *found == number
        {
            return Some(name);
        }
        let index = self.by_number.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&self.by_number[index].1)
    }

    /// Every declared name and number, in declaration order.
    pub fn values(&self) -> impl Iterator<Item = (&str, i32)> {
        self.values.iter().map(|(name, number)| (&**name, *number))
    }
}

/// An order of names that mostly needs to look no further than how long they are.
fn by_length(name: &[u8]) -> (usize, &[u8]) {
    (name.len(), name)
}

/// Field numbers to indices: a dense table for small numbers, binary search beyond it.
#[derive(Debug)]
struct NumberTable {
    dense: Box<[u16]>,
}

/// Marks an empty place in either table.
const NONE: u16 = u16::MAX;

impl NumberTable {
    fn build(fields: &[FieldPlan]) -> Self {
        let reach = fields.len() * 4 + 16;
        let last = fields.iter().map(|field| field.number as usize).filter(|number| *number < reach).max();
        let mut dense = vec![NONE; last.map_or(0, |number| number + 1)];
        for (field, index) in fields.iter().zip(0..NONE) {
            if let Some(place) = dense.get_mut(field.number as usize) {
                *place = index;
            }
        }
        Self { dense: dense.into() }
    }

    #[inline]
    fn find(&self, fields: &[FieldPlan], number: u32) -> Option<usize> {
        match self.dense.get(number as usize) {
            Some(&NONE) => None,
            Some(&index) => Some(usize::from(index)),
            None => fields.binary_search_by_key(&number, |field| field.number).ok(),
        }
    }
}

/// JSON and proto names to indices: open addressing, at most half full.
///
/// Only schema names are ever inserted, so a client cannot flood it: what it sends is looked up.
#[derive(Debug)]
struct NameTable {
    slots: Box<[u16]>,
    mask: usize,
}

impl NameTable {
    fn build(fields: &[FieldPlan]) -> Self {
        let size = (fields.len() * 4).next_power_of_two();
        let mut table = Self { slots: vec![NONE; size].into(), mask: size - 1 };
        // Protobuf lets a field's JSON name be another's proto name: the JSON name wins.
        for (field, index) in fields.iter().zip(0..NONE) {
            table.insert(fields, &field.json_name, index);
        }
        for (field, index) in fields.iter().zip(0..NONE) {
            table.insert(fields, &field.name, index);
        }
        table
    }

    fn insert(&mut self, fields: &[FieldPlan], name: &str, index: u16) {
        if self.find(fields, name.as_bytes()).is_some() {
            return;
        }
        let mut slot = hash(name.as_bytes()) & self.mask;
        while self.slots[slot] != NONE {
            slot = (slot + 1) & self.mask;
        }
        self.slots[slot] = index;
    }

    #[inline]
    fn find(&self, fields: &[FieldPlan], name: &[u8]) -> Option<usize> {
        let mut slot = hash(name) & self.mask;
        loop {
            let index = *self.slots.get(slot)?;
            if index == NONE {
                return None;
            }
            let field = &fields[usize::from(index)];
            if field.json_name.as_bytes() == name || field.name.as_bytes() == name {
                return Some(usize::from(index));
            }
            slot = (slot + 1) & self.mask;
        }
    }
}

/// Length, first and last eight bytes, mixed: field names differ in those nearly always.
#[inline]
fn hash(name: &[u8]) -> usize {
    let (first, last) = match name {
        [] => (0, 0),
        short if short.len() < 8 => {
            let mut bytes = [0; 8];
            bytes[..short.len()].copy_from_slice(short);
            (u64::from_le_bytes(bytes), 0)
        }
        long => {
            let word = |at: usize| u64::from_le_bytes(long[at..at + 8].try_into().expect("eight bytes"));
            (word(0), word(long.len() - 8))
        }
    };
    let mixed = (first ^ last.rotate_left(29) ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize
}

fn quoted(text: &str) -> Box<[u8]> {
    serde_json::to_vec(text).expect("a string serializes").into()
}
