//! Fields and extensions: number, label, type, oneof, default.

use super::super::raw::{self, FieldDescriptorProto, field_type, label};
use super::super::symbols::Kind;
use super::{Checker, Problem, Syntax};

const NUMBER_MAX: i32 = (1 << 29) - 1;

impl Checker<'_> {
    pub(super) fn field(&mut self, field: &mut FieldDescriptorProto, oneofs: usize) {
        self.common(field, NUMBER_MAX);
        if field.extendee.is_some() {
            self.add(Problem::StrayExtendee);
        }
        if let Some(index) = field.oneof_index {
            if !usize::try_from(index).is_ok_and(|index| index < oneofs) {
                self.add(Problem::OneofIndex { index, oneofs });
            }
            if !matches!(field.label, None | Some(label::OPTIONAL)) {
                self.add(Problem::OneofLabel);
            }
        }
        if field.proto3_optional() && self.syntax != Syntax::Proto3 {
            self.add(Problem::NotAllowed("`proto3_optional`", self.syntax.name()));
        }
    }

    pub(super) fn extension(&mut self, field: &mut FieldDescriptorProto) {
        // Members of a message set are numbered up to the largest int32; the ranges of the extended
        // message, checked below, hold everyone else to the usual limit.
        self.common(field, i32::MAX);
        if field.oneof_index.is_some() {
            self.add(Problem::NotAllowed("a oneof", "an extension"));
        }
        if field.label == Some(label::REQUIRED) {
            self.add(Problem::NotAllowed("`required`", "an extension"));
        }
        let Some(extendee) = field.extendee.as_deref().filter(|name| !name.is_empty()) else {
            return self.add(Problem::NoExtendee);
        };
        let Some((extendee, _)) = self.resolve(extendee, "a message", &[Kind::Message]) else { return };
        let number = field.number();
        if !self.symbols.is_extensible(&extendee, number) {
            self.add(Problem::NumberNotExtensible { message: extendee.clone(), number });
        }
        field.extendee = Some(format!(".{extendee}"));
        let key = (extendee, number);
        match self.extension_numbers.get(&key).cloned() {
            Some(other) => self.add(Problem::DuplicateNumber { number, other }),
            None => {
                self.extension_numbers.insert(key, self.scope.clone());
            }
        }
    }

    fn common(&mut self, field: &mut FieldDescriptorProto, number_max: i32) {
        self.options::<raw::FieldOptions>(field.options.as_ref());
        match field.number {
            None => self.add(Problem::NoNumber),
            Some(number) if number < 1 || number > number_max => self.add(Problem::NumberRange(number)),
            Some(number @ 19_000..=19_999) => self.add(Problem::NumberKept(number)),
            Some(_) => {}
        }
        match field.label {
            None | Some(label::OPTIONAL | label::REPEATED) => {}
            Some(label::REQUIRED) if self.syntax == Syntax::Proto2 => {}
            Some(label::REQUIRED) => self.add(Problem::NotAllowed("`required`", self.syntax.name())),
            Some(other) => self.add(Problem::UnknownLabel(other)),
        }
        if self.field_type(field) {
            self.default_value(field);
        }
    }

    /// Whether the type is known; an absent one is filled in from the type name, as protoc does.
    fn field_type(&mut self, field: &mut FieldDescriptorProto) -> bool {
        let name = field.type_name.take().filter(|name| !name.is_empty());
        let (expected, allowed): (_, &[Kind]) = match (field.r#type, &name) {
            (None, None) => {
                self.add(Problem::NoType);
                return false;
            }
            (None, Some(_)) => ("a message or an enum", &[Kind::Message, Kind::MapEntry, Kind::Enum]),
            (Some(field_type::MESSAGE), _) => ("a message", &[Kind::Message, Kind::MapEntry]),
            (Some(field_type::GROUP), _) => ("a message", &[Kind::Message]),
            (Some(field_type::ENUM), _) => ("an enum", &[Kind::Enum]),
            (Some(field_type::DOUBLE..=field_type::SINT64), None) => return true,
            (Some(field_type::DOUBLE..=field_type::SINT64), Some(name)) => {
                self.add(Problem::TypeNameOnScalar(name.clone()));
                return false;
            }
            (Some(other), _) => {
                self.add(Problem::UnknownType(other));
                return false;
            }
        };
        if field.r#type == Some(field_type::GROUP) && self.syntax != Syntax::Proto2 {
            self.add(Problem::NotAllowed("a group", self.syntax.name()));
        }
        let Some(name) = name else {
            let what = if field.r#type == Some(field_type::ENUM) { "an enum" } else { "a message" };
            self.add(Problem::NoTypeName(what));
            return false;
        };
        let Some((full_name, kind)) = self.resolve(&name, expected, allowed) else { return false };
        if kind == Kind::MapEntry {
            // That it stands in the same message is what makes the entry find its one field.
            let parent = self.scope.rfind('.').map_or("", |dot| &self.scope[..dot]);
            if full_name.rfind('.').map(|dot| &full_name[..dot]) != Some(parent) || field.extendee.is_some() {
                self.add(Problem::WrongKind { name: full_name, found: kind.noun(), expected });
                return false;
            }
        }
        if field.r#type.is_none() {
            field.r#type = Some(if kind == Kind::Enum { field_type::ENUM } else { field_type::MESSAGE });
        }
        field.type_name = Some(format!(".{full_name}"));
        true
    }

    fn default_value(&mut self, field: &FieldDescriptorProto) {
        let Some(value) = field.default_value.as_deref() else { return };
        if self.syntax == Syntax::Proto3 {
            return self.add(Problem::NotAllowed("a default value", "proto3"));
        }
        if field.label == Some(label::REPEATED) {
            return self.add(Problem::NotAllowed("a default value", "a repeated field"));
        }
        let is_valid = match field.r#type() {
            field_type::DOUBLE => value.parse::<f64>().is_ok(),
            field_type::FLOAT => value.parse::<f32>().is_ok(),
            field_type::INT32 | field_type::SINT32 | field_type::SFIXED32 => value.parse::<i32>().is_ok(),
            field_type::INT64 | field_type::SINT64 | field_type::SFIXED64 => value.parse::<i64>().is_ok(),
            field_type::UINT32 | field_type::FIXED32 => value.parse::<u32>().is_ok(),
            field_type::UINT64 | field_type::FIXED64 => value.parse::<u64>().is_ok(),
            field_type::BOOL => matches!(value, "true" | "false"),
            field_type::STRING => true,
            field_type::BYTES => is_c_escaped(value),
            // Whether the enum has a value of this name is known when the pool is built.
            field_type::ENUM => super::is_identifier(value),
            _ => return self.add(Problem::NotAllowed("a default value", "a message field")),
        };
        if !is_valid {
            self.add(Problem::DefaultValue(value.to_owned()));
        }
    }
}

impl Syntax {
    const fn name(self) -> &'static str {
        match self {
            Self::Proto2 => "proto2",
            Self::Proto3 => "proto3",
            Self::Editions => "editions",
        }
    }
}

/// Whether protoc could have written this as the default of a bytes field (absl's CEscape).
fn is_c_escaped(text: &str) -> bool {
    let mut rest = text.as_bytes();
    if !text.is_ascii() {
        return false;
    }
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            continue;
        }
        rest = match after {
            [b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'\\' | b'?' | b'\'' | b'"', after @ ..] => {
                after
            }
            [b'x' | b'X', a, b, after @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => after,
            // Three octal digits reach past a byte from \400 on.
            [b'4'..=b'7', b'0'..=b'7', b'0'..=b'7', ..] => return false,
            [b'0'..=b'7', after @ ..] => after,
            _ => return false,
        };
    }
    true
}
