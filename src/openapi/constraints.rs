//! `buf.validate` (extension 1159): what a value must be beyond its type, as far as JSON Schema can say it.
//!
//! What has no words there (CEL, times relative to now, lists of numbers that may come as texts) is left to whoever checks requests.

use prost::Message;

use super::json::{Json, Object, number, texts};

/// `buf.validate.FieldRules`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FieldRules {
    #[prost(oneof = "Rules", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 18, 19")]
    rules: Option<Rules>,
    #[prost(bool, tag = "25")]
    pub(super) required: bool,
    /// `Ignore`: 0 is the default, any other leaves out values that a schema cannot tell from those that are judged.
    #[prost(int32, tag = "27")]
    ignore: i32,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Rules {
    #[prost(message, tag = "1")]
    Float(FloatRules),
    #[prost(message, tag = "2")]
    Double(DoubleRules),
    #[prost(message, tag = "3")]
    Int32(SignedRules),
    #[prost(message, tag = "4")]
    Int64(SignedRules),
    #[prost(message, tag = "5")]
    Uint32(UnsignedRules),
    #[prost(message, tag = "6")]
    Uint64(UnsignedRules),
    #[prost(message, tag = "7")]
    Sint32(ZigzagRules),
    #[prost(message, tag = "8")]
    Sint64(ZigzagRules),
    #[prost(message, tag = "9")]
    Fixed32(Fixed32Rules),
    #[prost(message, tag = "10")]
    Fixed64(Fixed64Rules),
    #[prost(message, tag = "11")]
    Sfixed32(Sfixed32Rules),
    #[prost(message, tag = "12")]
    Sfixed64(Sfixed64Rules),
    #[prost(message, tag = "13")]
    Bool(BoolRules),
    #[prost(message, tag = "14")]
    String(StringRules),
    #[prost(message, tag = "15")]
    Bytes(BytesRules),
    #[prost(message, boxed, tag = "18")]
    Repeated(Box<RepeatedRules>),
    #[prost(message, boxed, tag = "19")]
    Map(Box<MapRules>),
}

/// The rules of one kind of numbers; they differ in nothing but how values are encoded.
macro_rules! number_rules {
    ($($name:ident: $kind:ident, $type:ty;)*) => {$(
        #[derive(Clone, PartialEq, Message)]
        struct $name {
            #[prost($kind, optional, tag = "2")]
            lt: Option<$type>,
            #[prost($kind, optional, tag = "3")]
            lte: Option<$type>,
            #[prost($kind, optional, tag = "4")]
            gt: Option<$type>,
            #[prost($kind, optional, tag = "5")]
            gte: Option<$type>,
        }

        impl $name {
            fn bounds(&self) -> Bounds {
                Bounds {
                    lt: self.lt.and_then(NumberValue::json),
                    lte: self.lte.and_then(NumberValue::json),
                    gt: self.gt.and_then(NumberValue::json),
                    gte: self.gte.and_then(NumberValue::json),
                }
            }
        }
    )*};
}

number_rules! {
    FloatRules: float, f32;
    DoubleRules: double, f64;
    SignedRules: int64, i64;
    UnsignedRules: uint64, u64;
    ZigzagRules: sint64, i64;
    Fixed32Rules: fixed32, u32;
    Fixed64Rules: fixed64, u64;
    Sfixed32Rules: sfixed32, i32;
    Sfixed64Rules: sfixed64, i64;
}

trait NumberValue: Copy {
    fn json(self) -> Option<Json>;
}

macro_rules! number_values {
    ($($integer:ty),*; $($float:ty),*) => {
        $(impl NumberValue for $integer {
            fn json(self) -> Option<Json> {
                Some(Json::Integer(self.into()))
            }
        })*
        $(impl NumberValue for $float {
            fn json(self) -> Option<Json> {
                number(self.into())
            }
        })*
    };
}

number_values!(i32, i64, u32, u64; f32, f64);

struct Bounds {
    lt: Option<Json>,
    lte: Option<Json>,
    gt: Option<Json>,
    gte: Option<Json>,
}

#[derive(Clone, PartialEq, Message)]
struct BoolRules {
    #[prost(bool, optional, tag = "1")]
    r#const: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct StringRules {
    #[prost(string, optional, tag = "1")]
    r#const: Option<String>,
    #[prost(uint64, optional, tag = "2")]
    min_len: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    max_len: Option<u64>,
    #[prost(string, optional, tag = "6")]
    pattern: Option<String>,
    #[prost(string, optional, tag = "7")]
    prefix: Option<String>,
    #[prost(string, repeated, tag = "10")]
    r#in: Vec<String>,
    #[prost(bool, tag = "12")]
    email: bool,
    #[prost(bool, tag = "13")]
    hostname: bool,
    #[prost(bool, tag = "15")]
    ipv4: bool,
    #[prost(bool, tag = "16")]
    ipv6: bool,
    #[prost(bool, tag = "17")]
    uri: bool,
    #[prost(bool, tag = "18")]
    uri_ref: bool,
    #[prost(uint64, optional, tag = "19")]
    len: Option<u64>,
    #[prost(bool, tag = "22")]
    uuid: bool,
}

#[derive(Clone, PartialEq, Message)]
struct BytesRules {
    #[prost(uint64, optional, tag = "2")]
    min_len: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    max_len: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct RepeatedRules {
    #[prost(uint64, optional, tag = "1")]
    min_items: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    max_items: Option<u64>,
    #[prost(bool, tag = "3")]
    unique: bool,
    #[prost(message, optional, boxed, tag = "4")]
    items: Option<Box<FieldRules>>,
}

#[derive(Clone, PartialEq, Message)]
struct MapRules {
    #[prost(uint64, optional, tag = "1")]
    min_pairs: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    max_pairs: Option<u64>,
    #[prost(message, optional, boxed, tag = "5")]
    values: Option<Box<FieldRules>>,
}

impl FieldRules {
    /// Adds the rules to the schema of a field, which is that of its list or map where it has many values.
    pub(super) fn put(&self, schema: &mut Object) {
        match &self.rules {
            _ if self.ignore != 0 => {}
            None => {}
            Some(Rules::Float(rules)) => rules.bounds().put(schema),
            Some(Rules::Double(rules)) => rules.bounds().put(schema),
            Some(Rules::Int32(rules) | Rules::Int64(rules)) => rules.bounds().put(schema),
            Some(Rules::Uint32(rules) | Rules::Uint64(rules)) => rules.bounds().put(schema),
            Some(Rules::Sint32(rules) | Rules::Sint64(rules)) => rules.bounds().put(schema),
            Some(Rules::Fixed32(rules)) => rules.bounds().put(schema),
            Some(Rules::Fixed64(rules)) => rules.bounds().put(schema),
            Some(Rules::Sfixed32(rules)) => rules.bounds().put(schema),
            Some(Rules::Sfixed64(rules)) => rules.bounds().put(schema),
            Some(Rules::Bool(rules)) => put(schema, "const", rules.r#const.map(Json::Bool)),
            Some(Rules::String(rules)) => rules.put(schema),
            Some(Rules::Bytes(rules)) => {
                // Four characters for three bytes, padded or not.
                put(schema, "minLength", rules.min_len.map(|bytes| (i128::from(bytes) * 4 + 2) / 3));
                put(schema, "maxLength", rules.max_len.map(|bytes| (i128::from(bytes) + 2) / 3 * 4));
            }
            Some(Rules::Repeated(rules)) => {
                put(schema, "minItems", rules.min_items.map(i128::from));
                put(schema, "maxItems", rules.max_items.map(i128::from));
                put(schema, "uniqueItems", rules.unique.then_some(true));
                inner(schema, "items", rules.items.as_deref());
            }
            Some(Rules::Map(rules)) => {
                put(schema, "minProperties", rules.min_pairs.map(i128::from));
                put(schema, "maxProperties", rules.max_pairs.map(i128::from));
                inner(schema, "additionalProperties", rules.values.as_deref());
            }
        }
    }
}

fn inner(schema: &mut Object, name: &str, rules: Option<&FieldRules>) {
    if let (Some(Json::Object(values)), Some(rules)) = (schema.get_mut(name), rules) {
        rules.put(values);
    }
}

fn put(schema: &mut Object, name: &'static str, value: Option<impl Into<Json>>) {
    if let Some(value) = value {
        schema.set(name, value);
    }
}

impl Bounds {
    /// JSON Schema holds bounds against numbers alone; a text that stands for one is not judged.
    fn put(self, schema: &mut Object) {
        // `gt` above `lt` means what is outside of the two, which has no simple words.
        let low = self.gt.as_ref().or(self.gte.as_ref()).map(as_f64);
        let high = self.lt.as_ref().or(self.lte.as_ref()).map(as_f64);
        if low.zip(high).is_some_and(|(low, high)| low > high) {
            return;
        }
        // A number that has a form as a text too has its numeric one first.
        match schema.get_mut("anyOf") {
            Some(Json::List(forms)) => {
                if let Some(Json::Object(first)) = forms.first_mut() {
                    self.put_flat(first);
                }
            }
            _ => self.put_flat(schema),
        }
    }

    fn put_flat(self, schema: &mut Object) {
        put(schema, "exclusiveMaximum", self.lt);
        put(schema, "maximum", self.lte);
        put(schema, "exclusiveMinimum", self.gt);
        put(schema, "minimum", self.gte);
    }
}

fn as_f64(value: &Json) -> f64 {
    match value {
        Json::Integer(integer) => *integer as f64,
        Json::Number(number) => *number,
        _ => 0.0,
    }
}

impl StringRules {
    fn put(&self, schema: &mut Object) {
        put(schema, "const", self.r#const.clone());
        put(schema, "minLength", self.len.or(self.min_len).map(i128::from));
        put(schema, "maxLength", self.len.or(self.max_len).map(i128::from));
        let prefix = self.prefix.as_ref().map(|prefix| format!("^{}", escaped(prefix)));
        put(schema, "pattern", self.pattern.clone().or(prefix));
        put(schema, "enum", (!self.r#in.is_empty()).then(|| texts(self.r#in.iter().cloned())));
        let formats = [
            ("email", self.email),
            ("hostname", self.hostname),
            ("ipv4", self.ipv4),
            ("ipv6", self.ipv6),
            ("uri", self.uri),
            ("uri-reference", self.uri_ref),
            ("uuid", self.uuid),
        ];
        let format = formats.into_iter().find(|(_, holds)| *holds);
        put(schema, "format", format.map(|(format, _)| format));
    }
}

/// A text as a pattern that it alone matches.
pub(super) fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\^$.|?*+()[]{}/".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}
