//! Arbitrary schemas: a proto3 and a proto2 file whose messages refer to one another.
//!
//! Between them they have every scalar kind in every cardinality, packed and not, maps of every key,
//! open and closed enums with aliases and negative numbers, oneofs, proto3 `optional`, `required`,
//! groups, extensions, recursion, the well-known types, JSON names of their own, and field numbers that
//! are neither dense nor in order of declaration.

use prost_reflect::DescriptorPool;
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumOptions, EnumValueDescriptorProto, FieldDescriptorProto,
    FieldOptions, FileDescriptorProto, MessageOptions, OneofDescriptorProto,
    descriptor_proto::ExtensionRange,
};
use transom::schema::{Schema, Traits};

use crate::dice::Dice;

/// The messages to test, by name; [`ROOT3`] and [`ROOT2`] are always among them.
pub(crate) const MESSAGES: [&str; 5] = ["three.M0", "three.M1", "three.M2", "two.M0", "two.M1"];

const SCALARS: [Type; 15] = [
    Type::String,
    Type::Int32,
    Type::Int64,
    Type::Bool,
    Type::Double,
    Type::Float,
    Type::Bytes,
    Type::Uint32,
    Type::Uint64,
    Type::Sint32,
    Type::Sint64,
    Type::Fixed32,
    Type::Fixed64,
    Type::Sfixed32,
    Type::Sfixed64,
];

const KEYS: [Type; 12] = [
    Type::String,
    Type::Int32,
    Type::Int64,
    Type::Bool,
    Type::Uint32,
    Type::Uint64,
    Type::Sint32,
    Type::Sint64,
    Type::Fixed32,
    Type::Fixed64,
    Type::Sfixed32,
    Type::Sfixed64,
];

const WELL_KNOWN: [&str; 16] = [
    "Timestamp",
    "Duration",
    "FieldMask",
    "Struct",
    "Value",
    "ListValue",
    "Any",
    "Empty",
    "DoubleValue",
    "FloatValue",
    "Int64Value",
    "UInt32Value",
    "BoolValue",
    "StringValue",
    "BytesValue",
    "UInt64Value",
];

/// A schema, and through `Schema::pool` the oracle's view of the same.
pub(crate) fn schema(dice: &mut Dice<'_>) -> Schema {
    let mut pool = DescriptorPool::global();
    pool.add_file_descriptor_proto(file(dice, Syntax::Proto3)).expect("a valid proto3 file");
    pool.add_file_descriptor_proto(file(dice, Syntax::Proto2)).expect("a valid proto2 file");
    Schema::new(pool, Traits::default())
}

#[derive(Clone, Copy, PartialEq)]
enum Syntax {
    Proto2,
    Proto3,
}

fn file(dice: &mut Dice<'_>, syntax: Syntax) -> FileDescriptorProto {
    let (package, count) = match syntax {
        Syntax::Proto2 => ("two", 2),
        Syntax::Proto3 => ("three", 3),
    };
    let mut dependency: Vec<String> =
        ["any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers"]
            .map(|name| format!("google/protobuf/{name}.proto"))
            .to_vec();
    if syntax == Syntax::Proto2 {
        dependency.push("three.proto".to_owned());
    }
    let mut file = FileDescriptorProto {
        name: Some(format!("{package}.proto")),
        package: Some(package.to_owned()),
        dependency,
        syntax: Some(if syntax == Syntax::Proto2 { "proto2" } else { "proto3" }.to_owned()),
        enum_type: vec![enumeration(dice, syntax)],
        message_type: (0..count).map(|index| message(dice, syntax, index)).collect(),
        ..FileDescriptorProto::default()
    };
    if syntax == Syntax::Proto2 {
        file.extension = (0..4).map(|index| extension(dice, index)).collect();
    }
    file
}

fn enumeration(dice: &mut Dice<'_>, syntax: Syntax) -> EnumDescriptorProto {
    let mut value: Vec<_> = [0, 1, 2, -1, 7, i32::MAX, i32::MIN, 1]
        .iter()
        .zip("ABCDEFGH".chars())
        .map(|(&number, name)| EnumValueDescriptorProto {
            name: Some(format!("E_{name}")),
            number: Some(number),
            ..EnumValueDescriptorProto::default()
        })
        .collect();
    // Proto3 demands zero first; the alias of 1 stays behind it.
    if syntax == Syntax::Proto2 {
        dice.shuffle(&mut value[..4]);
    }
    EnumDescriptorProto {
        name: Some("E".to_owned()),
        value,
        options: Some(EnumOptions { allow_alias: Some(true), ..EnumOptions::default() }),
        ..EnumDescriptorProto::default()
    }
}

/// A message being made.
struct Making<'d, 'b> {
    dice: &'d mut Dice<'b>,
    syntax: Syntax,
    path: String,
    message: DescriptorProto,
    numbers: Vec<i32>,
}

fn message(dice: &mut Dice<'_>, syntax: Syntax, index: usize) -> DescriptorProto {
    let package = if syntax == Syntax::Proto2 { "two" } else { "three" };
    let mut numbers: Vec<i32> =
        (1..24).chain([100, 127, 128, 2047, 2048, 18_999, 20_000, 536_870_911]).collect();
    if dice.one_in(2) {
        dice.shuffle(&mut numbers);
    }
    let mut making = Making {
        dice,
        syntax,
        path: format!(".{package}.M{index}"),
        message: DescriptorProto { name: Some(format!("M{index}")), ..DescriptorProto::default() },
        numbers,
    };
    making.fields();
    making.oneof();
    if syntax == Syntax::Proto2 {
        making.group();
        making.message.extension_range =
            vec![ExtensionRange { start: Some(5000), end: Some(6000), ..ExtensionRange::default() }];
    }
    making.optionals_last();
    making.message
}

impl Making<'_, '_> {
    fn fields(&mut self) {
        for _ in 0..4 + self.dice.below(9) {
            let mut field = self.field();
            match self.dice.below(8) {
                0..=2 => self.singular(&mut field),
                3 | 4 => self.repeated(&mut field),
                5 => self.map(&mut field),
                6 => well_known(self.dice, &mut field),
                _ => {
                    well_known(self.dice, &mut field);
                    field.set_label(Label::Repeated);
                }
            }
            self.message.field.push(field);
        }
    }

    /// A field with a number and names and no type yet.
    fn field(&mut self) -> FieldDescriptorProto {
        let index = self.message.field.len();
        let stem = *self.dice.pick(&["f", "long_name", "x__y", "_lead", "Upper", "with_9", "q"]);
        let mut field = FieldDescriptorProto {
            name: Some(format!("{stem}{index}")),
            number: Some(self.numbers.remove(0)),
            ..FieldDescriptorProto::default()
        };
        field.set_label(Label::Optional);
        if self.dice.one_in(6) {
            field.json_name = Some(format!("{}{index}", self.dice.pick(&["näme", "with space", "a\"b\\"])));
        }
        field
    }

    fn singular(&mut self, field: &mut FieldDescriptorProto) {
        self.any_type(field);
        match self.syntax {
            Syntax::Proto3 if self.dice.one_in(3) => field.proto3_optional = Some(true),
            Syntax::Proto2 if self.dice.one_in(6) && field.r#type() != Type::Message => {
                field.set_label(Label::Required);
            }
            _ => {}
        }
    }

    fn repeated(&mut self, field: &mut FieldDescriptorProto) {
        self.any_type(field);
        field.set_label(Label::Repeated);
        let packable = !matches!(field.r#type(), Type::String | Type::Bytes | Type::Message);
        if packable && self.dice.one_in(2) {
            let packed = Some(self.dice.one_in(2));
            field.options = Some(FieldOptions { packed, ..FieldOptions::default() });
        }
    }

    fn any_type(&mut self, field: &mut FieldDescriptorProto) {
        match self.dice.below(5) {
            0..=2 => field.set_type(*self.dice.pick(&SCALARS)),
            3 => {
                field.set_type(Type::Enum);
                field.type_name = Some(self.enum_name());
            }
            _ => {
                field.set_type(Type::Message);
                let own = if self.syntax == Syntax::Proto2 { &MESSAGES[..] } else { &MESSAGES[..3] };
                field.type_name = Some(format!(".{}", self.dice.pick(own)));
            }
        }
    }

    fn enum_name(&self) -> String {
        // Proto3 may not use a closed enum; proto2 could use an open one, but the oracle knows no such.
        if self.syntax == Syntax::Proto2 { ".two.E" } else { ".three.E" }.to_owned()
    }

    fn map(&mut self, field: &mut FieldDescriptorProto) {
        let entry_name = format!("{}Entry", camel(field.name()));
        let mut key = entry_field("key", 1);
        key.set_type(*self.dice.pick(&KEYS));
        let mut value = entry_field("value", 2);
        if self.dice.one_in(4) {
            well_known(self.dice, &mut value);
        } else {
            self.any_type(&mut value);
        }
        self.message.nested_type.push(DescriptorProto {
            name: Some(entry_name.clone()),
            field: vec![key, value],
            options: Some(MessageOptions { map_entry: Some(true), ..MessageOptions::default() }),
            ..DescriptorProto::default()
        });
        field.set_label(Label::Repeated);
        field.set_type(Type::Message);
        field.type_name = Some(format!("{}.{entry_name}", self.path));
    }

    fn oneof(&mut self) {
        let index = self.message.oneof_decl.len();
        self.message.oneof_decl.push(OneofDescriptorProto {
            name: Some(format!("choice{index}")),
            ..OneofDescriptorProto::default()
        });
        for _ in 0..2 + self.dice.below(3) {
            let mut field = self.field();
            match self.dice.below(6) {
                0 => well_known(self.dice, &mut field),
                1 => {
                    field.set_type(Type::Enum);
                    field.type_name = Some(".google.protobuf.NullValue".to_owned());
                }
                _ => self.any_type(&mut field),
            }
            field.oneof_index = Some(index as i32);
            self.message.field.push(field);
        }
    }

    fn group(&mut self) {
        for label in [Label::Optional, Label::Repeated] {
            let mut field = self.field();
            let name = camel(field.name());
            let mut inner = FieldDescriptorProto {
                name: Some("inner".to_owned()),
                number: Some(1),
                ..FieldDescriptorProto::default()
            };
            inner.set_label(Label::Optional);
            self.any_type(&mut inner);
            self.message.nested_type.push(DescriptorProto {
                name: Some(name.clone()),
                field: vec![inner],
                ..DescriptorProto::default()
            });
            field.json_name = None;
            field.set_type(Type::Group);
            field.set_label(label);
            field.type_name = Some(format!("{}.{name}", self.path));
            self.message.field.push(field);
        }
    }

    /// Every proto3 `optional` field has a oneof of its own, after all real ones.
    fn optionals_last(&mut self) {
        for field in &mut self.message.field {
            if field.proto3_optional() {
                field.oneof_index = Some(self.message.oneof_decl.len() as i32);
                self.message.oneof_decl.push(OneofDescriptorProto {
                    name: Some(format!("_{}", field.name())),
                    ..OneofDescriptorProto::default()
                });
            }
        }
    }
}

fn well_known(dice: &mut Dice<'_>, field: &mut FieldDescriptorProto) {
    field.set_type(Type::Message);
    field.type_name = Some(format!(".google.protobuf.{}", dice.pick(&WELL_KNOWN)));
}

fn entry_field(name: &str, number: i32) -> FieldDescriptorProto {
    let mut field = FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        ..FieldDescriptorProto::default()
    };
    field.set_label(Label::Optional);
    field
}

fn extension(dice: &mut Dice<'_>, index: i32) -> FieldDescriptorProto {
    let mut field = entry_field(&format!("extra_{index}"), 5000 + index);
    field.extendee = Some(format!(".two.M{}", index % 2));
    match dice.below(3) {
        0 => field.set_type(*dice.pick(&SCALARS)),
        1 => well_known(dice, &mut field),
        _ => {
            field.set_type(*dice.pick(&SCALARS));
            field.set_label(Label::Repeated);
        }
    }
    field
}

fn camel(name: &str) -> String {
    let mut camel = String::from("T");
    for part in name.split('_').filter(|part| !part.is_empty()) {
        camel.push_str(&part[..1].to_uppercase());
        camel.push_str(&part[1..]);
    }
    camel
}
