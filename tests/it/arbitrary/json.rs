//! Arbitrary valid JSON for a message type, in every spelling that ProtoJSON and the oracle both read:
//! either name, `null` for absent, numbers as strings, integral floats, enum names or numbers, both base64
//! alphabets with or without padding, offsets and fractions of timestamps, escapes, and white space.

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};

use super::message;
use crate::dice::Dice;

/// A JSON text that reads as `descriptor`, objects nesting at most `depth` messages deep.
pub(crate) fn json(dice: &mut Dice<'_>, descriptor: &MessageDescriptor, depth: usize) -> String {
    let mut writer = Writer { dice, out: String::new() };
    writer.space();
    writer.message(descriptor, depth);
    writer.space();
    writer.out
}

struct Writer<'d, 'b> {
    dice: &'d mut Dice<'b>,
    out: String,
}

impl Writer<'_, '_> {
    fn message(&mut self, descriptor: &MessageDescriptor, depth: usize) {
        if descriptor.full_name().starts_with("google.protobuf.") {
            return self.well_known(descriptor, depth);
        }
        self.out.push('{');
        let mut first = true;
        self.fields(descriptor, depth, &mut first);
        self.out.push('}');
    }

    fn fields(&mut self, descriptor: &MessageDescriptor, depth: usize, first: &mut bool) {
        let mut fields: Vec<_> = descriptor.fields().collect();
        if self.dice.one_in(2) {
            self.dice.shuffle(&mut fields);
        }
        let mut chosen = Vec::new();
        for field in fields {
            let required = field.cardinality() == Cardinality::Required;
            let deep = matches!(field.kind(), Kind::Message(_)) && depth == 0;
            if !required && (deep || self.dice.one_in(2)) {
                continue;
            }
            // Two members of one oneof are refused, unless all but one are null.
            if let Some(oneof) = field.containing_oneof().filter(|oneof| oneof.fields().len() > 1) {
                if chosen.contains(&oneof) {
                    continue;
                }
                chosen.push(oneof);
            }
            self.separator(first);
            let json = self.dice.one_in(3);
            self.string(if json { field.name() } else { field.json_name() });
            self.colon();
            self.field(&field, depth);
        }
        for extension in descriptor.extensions() {
            if self.dice.one_in(2) || matches!(extension.kind(), Kind::Message(_)) && depth == 0 {
                continue;
            }
            self.separator(first);
            self.string(extension.json_name());
            self.colon();
            if extension.is_list() {
                self.list(|writer| writer.value(&extension.kind(), depth));
            } else {
                self.value(&extension.kind(), depth);
            }
        }
    }

    fn field(&mut self, field: &FieldDescriptor, depth: usize) {
        let kind = field.kind();
        let null_is_a_value = match &kind {
            Kind::Message(of) => of.full_name() == "google.protobuf.Value",
            Kind::Enum(of) => of.full_name() == "google.protobuf.NullValue",
            _ => false,
        };
        // The oracle takes `null` for a list of `Value` as a `Value`, and fails an assertion.
        if field.cardinality() != Cardinality::Required && !null_is_a_value && self.dice.one_in(10) {
            return self.out.push_str("null");
        }
        match (field.is_map(), &kind) {
            (true, Kind::Message(entry)) => self.map(entry, depth),
            _ if field.is_list() => self.list(|writer| writer.value(&kind, depth)),
            _ => self.value(&kind, depth),
        }
    }

    fn list(&mut self, element: impl Fn(&mut Self)) {
        self.out.push('[');
        let mut first = true;
        for _ in 0..self.dice.below(4) {
            self.separator(&mut first);
            element(self);
        }
        self.out.push(']');
    }

    fn map(&mut self, entry: &MessageDescriptor, depth: usize) {
        let (key, value) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        self.out.push('{');
        let mut first = true;
        let mut seen = Vec::new();
        for _ in 0..self.dice.below(4) {
            let key = match key {
                Kind::Bool => self.dice.pick(&["true", "false"]).to_string(),
                Kind::String => message::string(self.dice),
                Kind::Uint32 | Kind::Fixed32 => message::int32(self.dice).cast_unsigned().to_string(),
                Kind::Uint64 | Kind::Fixed64 => message::int64(self.dice).cast_unsigned().to_string(),
                Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => message::int64(self.dice).to_string(),
                _ => message::int32(self.dice).to_string(),
            };
            if seen.contains(&key) {
                continue;
            }
            self.separator(&mut first);
            self.string(&key);
            seen.push(key);
            self.colon();
            self.value(&value, depth);
        }
        self.out.push('}');
    }

    fn value(&mut self, kind: &Kind, depth: usize) {
        match kind {
            Kind::Double => self.float(),
            Kind::Float => {
                let small = f64::from(message::int32(self.dice) >> 8) / 8.0;
                self.number(&small.to_string());
            }
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                let number = message::int32(self.dice);
                self.integer(number.to_string(), true);
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                let number = message::int64(self.dice);
                self.integer(number.to_string(), number.unsigned_abs() < 1 << 40);
            }
            Kind::Uint32 | Kind::Fixed32 => {
                let number = message::int32(self.dice).cast_unsigned();
                self.integer(number.to_string(), true);
            }
            Kind::Uint64 | Kind::Fixed64 => {
                let number = message::int64(self.dice).cast_unsigned();
                self.integer(number.to_string(), number < 1 << 40);
            }
            Kind::Bool => {
                let text = *self.dice.pick(&["true", "false"]);
                self.out.push_str(text);
            }
            Kind::String => {
                let text = message::string(self.dice);
                self.string(&text);
            }
            Kind::Bytes => self.base64(),
            Kind::Enum(of) if of.full_name() == "google.protobuf.NullValue" => {
                let text = *self.dice.pick(&["null", "\"NULL_VALUE\""]);
                self.out.push_str(text);
            }
            Kind::Enum(of) => {
                let values: Vec<_> = of.values().collect();
                let value = self.dice.pick(&values);
                if self.dice.one_in(3) {
                    self.out.push_str(&value.number().to_string());
                } else {
                    self.string(value.name());
                }
            }
            Kind::Message(of) => self.message(of, depth.saturating_sub(1)),
        }
    }

    fn float(&mut self) {
        let number = message::double(self.dice);
        if !number.is_finite() {
            let text = *self.dice.pick(&["\"NaN\"", "\"Infinity\"", "\"-Infinity\""]);
            return self.out.push_str(text);
        }
        let text = if self.dice.one_in(2) { format!("{number:e}") } else { number.to_string() };
        // serde_json as it is built here may miss the nearest double by one, or take the largest for infinity.
        if serde_json::from_str(&text).is_ok_and(|read: f64| read == number) {
            self.number(&text);
        } else {
            self.out.extend(["\"", &text, "\""]);
        }
    }

    /// `exact`: whether the oracle, which reads `1.0` as an f64, keeps the value.
    fn integer(&mut self, text: String, exact: bool) {
        if exact && self.dice.one_in(5) {
            let suffix = *self.dice.pick(&[".0", ".000", "e0", ".0E+0"]);
            self.out.push_str(&text);
            self.out.push_str(suffix);
        } else {
            self.number(&text);
        }
    }

    fn number(&mut self, text: &str) {
        if self.dice.one_in(3) { self.out.extend(["\"", text, "\""]) } else { self.out.push_str(text) }
    }

    fn base64(&mut self) {
        const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bytes = message::bytes(self.dice);
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let word =
                chunk.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
            for index in 0..=chunk.len() {
                text.push(char::from(URL[(word >> (18 - 6 * index) & 63) as usize]));
            }
        }
        if self.dice.one_in(2) {
            text = text.replace('-', "+").replace('_', "/");
        }
        if self.dice.one_in(2) {
            while !text.len().is_multiple_of(4) {
                text.push('=');
            }
        }
        // A slash may also come escaped.
        self.string(&text);
    }

    fn well_known(&mut self, descriptor: &MessageDescriptor, depth: usize) {
        match descriptor.name() {
            "Timestamp" => {
                let text = *self.dice.pick(&[
                    "\"1970-01-01T00:00:00Z\"",
                    "\"0001-01-01T00:00:00Z\"",
                    "\"9999-12-31T23:59:59.999999999Z\"",
                    "\"2000-02-29T12:30:45.5+01:30\"",
                    "\"1969-12-31T23:59:59.000000001-08:00\"",
                    "\"2024-06-30T23:59:59.123456Z\"",
                ]);
                self.out.push_str(text);
            }
            "Duration" => {
                let text = *self.dice.pick(&[
                    "\"0s\"",
                    "\"1s\"",
                    "\"-1.5s\"",
                    "\"-0.000000001s\"",
                    "\"315576000000s\"",
                    "\"3.100s\"",
                    "\"12.345678s\"",
                ]);
                self.out.push_str(text);
            }
            "FieldMask" => {
                let text = *self.dice.pick(&["\"\"", "\"a\"", "\"fooBar,baz.quxX\"", "\"a.b.c,d\""]);
                self.out.push_str(text);
            }
            "Struct" => self.any_object(depth),
            "ListValue" => self.list(|writer| writer.any_value(depth)),
            "Value" => self.any_value(depth),
            "Any" => self.any(descriptor, depth),
            "Empty" => self.out.push_str("{}"),
            _ => {
                let kind = descriptor.get_field(1).expect("a wrapper has field 1").kind();
                self.value(&kind, 0);
            }
        }
    }

    fn any_value(&mut self, depth: usize) {
        match self.dice.below(if depth == 0 { 4 } else { 6 }) {
            0 => self.out.push_str("null"),
            1 => self.out.push_str("true"),
            2 => {
                let text = (f64::from(message::int32(self.dice)) / 8.0).to_string();
                self.out.push_str(&text);
            }
            3 => {
                let text = message::string(self.dice);
                self.string(&text);
            }
            4 => self.list(|writer| writer.any_value(depth - 1)),
            _ => self.any_object(depth - 1),
        }
    }

    fn any_object(&mut self, depth: usize) {
        self.out.push('{');
        let mut first = true;
        for index in 0..self.dice.below(3) {
            let key = format!("{}{index}", message::string(self.dice));
            self.separator(&mut first);
            self.string(&key);
            self.colon();
            self.any_value(depth);
        }
        self.out.push('}');
    }

    fn any(&mut self, descriptor: &MessageDescriptor, depth: usize) {
        let own =
            *self.dice.pick(&["three.M0", "three.M2", "google.protobuf.Duration", "google.protobuf.Value"]);
        let of = descriptor.parent_pool().get_message_by_name(own).expect("every schema has it");
        self.out.push('{');
        let mut first = true;
        let url = format!("type.googleapis.com/{own}");
        if own.starts_with("google") {
            // `@type` may come after what it explains.
            let swapped = self.dice.one_in(3);
            for part in if swapped { ["value", "@type"] } else { ["@type", "value"] } {
                self.separator(&mut first);
                self.string(part);
                self.colon();
                if part == "value" { self.message(&of, 0) } else { self.string(&url) }
            }
        } else {
            let at_end = self.dice.one_in(3);
            if !at_end {
                self.separator(&mut first);
                self.out.push_str(&format!("\"@type\":\"{url}\""));
            }
            self.fields(&of, depth.saturating_sub(1), &mut first);
            if at_end {
                self.separator(&mut first);
                self.out.push_str(&format!("\"@type\":\"{url}\""));
            }
        }
        self.out.push('}');
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for char in text.chars() {
            match char {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\t' => self.out.push_str("\\t"),
                '/' if self.dice.one_in(3) => self.out.push_str("\\/"),
                _ if char < ' ' || self.dice.one_in(12) => {
                    for unit in char.encode_utf16(&mut [0; 2]) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                _ => self.out.push(char),
            }
        }
        self.out.push('"');
    }

    fn separator(&mut self, first: &mut bool) {
        if !*first {
            self.out.push(',');
        }
        *first = false;
        self.space();
    }

    fn colon(&mut self) {
        self.space();
        self.out.push(':');
        self.space();
    }

    fn space(&mut self) {
        if self.dice.one_in(8) {
            let space = *self.dice.pick(&[" ", "\n", "\t", " \r\n "]);
            self.out.push_str(space);
        }
    }
}
