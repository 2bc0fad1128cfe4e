//! `buf.validate` annotations (extension 1159), read by the numbers of `buf/validate/validate.proto`.
//!
//! ```text
//! FieldOptions, MessageOptions, OneofOptions: 1159 → FieldRules, MessageRules, OneofRules
//! ```
//!
//! Options come as bytes, so a set need not hold that file. A rule whose number is not in these tables is told by it:
//! whoever checks requests refuses to leave one out.

use super::fields::Fields;
use crate::codec::view::{Scalar, View, ViewError};
use crate::codec::wire::WireError;
use crate::schema::plan::Kind;

/// The extension of all three kinds of options.
const RULES_NUMBER: u32 = 1159;
/// `(buf.validate.predefined)`, of a field that is an extension of a message of rules.
const PREDEFINED_NUMBER: u32 = 1160;

/// Why an annotation is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    #[error("the rules are malformed: {0}")]
    Malformed(#[from] WireError),
    #[error("a text of the rules is not valid UTF-8")]
    Text,
    #[error("rule {number} of `buf.validate.{message}` is not known here")]
    Unknown { message: &'static str, number: u32 },
    #[error("{value} is no value of `{name}`")]
    Value { name: &'static str, value: u64 },
}

pub(super) type Read<T> = Result<T, AnnotationError>;

/// `buf.validate.FieldRules`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldRules {
    pub required: bool,
    pub ignore: Ignore,
    pub cel: Vec<Cel>,
    pub typed: Option<Typed>,
    /// Rules that somebody else defined: the bytes of the message that they extend, and their numbers.
    pub predefined: Option<Predefined>,
}

/// Extensions of a message of rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Predefined {
    /// Such as `StringRules`.
    pub message: &'static str,
    pub bytes: Vec<u8>,
    pub numbers: Vec<u32>,
}

/// `buf.validate.Ignore`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ignore {
    #[default]
    Unspecified,
    IfZeroValue,
    Always,
}

/// `buf.validate.Rule`; of a bare expression the text is the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cel {
    pub id: String,
    pub message: String,
    pub expression: String,
}

/// `buf.validate.MessageRules`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct MessageRules {
    pub cel: Vec<Cel>,
    pub oneofs: Vec<MessageOneof>,
}

/// `buf.validate.MessageOneofRule`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MessageOneof {
    pub fields: Vec<String>,
    pub required: bool,
}

/// The rules of one type.
#[derive(Clone, Debug, PartialEq)]
pub enum Typed {
    Number { kind: Kind, bounds: Box<Bounds>, is_finite: bool },
    Bool(Option<bool>),
    Text(Box<TextRules>),
    Bytes(Box<BytesRules>),
    Enum { bounds: Box<Bounds>, defined_only: bool },
    Repeated { min: Option<u64>, max: Option<u64>, unique: bool, items: Option<Box<FieldRules>> },
    Map { min: Option<u64>, max: Option<u64>, keys: Option<Box<FieldRules>>, values: Option<Box<FieldRules>> },
    Any { among: Vec<String>, not_among: Vec<String> },
    Duration(Box<Bounds>),
    FieldMask { r#const: Option<Vec<String>>, among: Vec<String>, not_among: Vec<String> },
    Timestamp { bounds: Box<Bounds>, lt_now: bool, gt_now: bool, within: Option<i128> },
}

/// A number; moments and spans are nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum Number {
    Whole(i128),
    Double(f64),
}

/// What rules of numbers, moments and spans have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounds {
    pub r#const: Option<Number>,
    pub lt: Option<Number>,
    pub lte: Option<Number>,
    pub gt: Option<Number>,
    pub gte: Option<Number>,
    /// `in`.
    pub among: Vec<Number>,
    /// `not_in`.
    pub not_among: Vec<Number>,
}

/// `buf.validate.StringRules`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextRules {
    pub r#const: Option<String>,
    pub len: Option<u64>,
    pub min_len: Option<u64>,
    pub max_len: Option<u64>,
    pub len_bytes: Option<u64>,
    pub min_bytes: Option<u64>,
    pub max_bytes: Option<u64>,
    pub pattern: Option<String>,
    pub prefix: Option<String>,
    pub suffix: Option<String>,
    pub contains: Option<String>,
    pub not_contains: Option<String>,
    pub among: Vec<String>,
    pub not_among: Vec<String>,
    pub form: Option<Form>,
}

/// The well-known forms of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Email,
    Hostname,
    Ip,
    Ipv4,
    Ipv6,
    Uri,
    UriRef,
    Address,
    Uuid,
    Tuuid,
    IpWithPrefixlen,
    Ipv4WithPrefixlen,
    Ipv6WithPrefixlen,
    IpPrefix,
    Ipv4Prefix,
    Ipv6Prefix,
    HostAndPort,
    Ulid,
    ProtobufFqn,
    ProtobufDotFqn,
    HeaderName { is_strict: bool },
    HeaderValue { is_strict: bool },
}

/// Number of the rule, and what it asks for.
const FORMS: &[(u32, Form)] = &[
    (12, Form::Email),
    (13, Form::Hostname),
    (14, Form::Ip),
    (15, Form::Ipv4),
    (16, Form::Ipv6),
    (17, Form::Uri),
    (18, Form::UriRef),
    (21, Form::Address),
    (22, Form::Uuid),
    (33, Form::Tuuid),
    (26, Form::IpWithPrefixlen),
    (27, Form::Ipv4WithPrefixlen),
    (28, Form::Ipv6WithPrefixlen),
    (29, Form::IpPrefix),
    (30, Form::Ipv4Prefix),
    (31, Form::Ipv6Prefix),
    (32, Form::HostAndPort),
    (35, Form::Ulid),
    (37, Form::ProtobufFqn),
    (38, Form::ProtobufDotFqn),
];

/// `buf.validate.BytesRules`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BytesRules {
    pub r#const: Option<Vec<u8>>,
    pub len: Option<u64>,
    pub min_len: Option<u64>,
    pub max_len: Option<u64>,
    pub pattern: Option<String>,
    pub prefix: Option<Vec<u8>>,
    pub suffix: Option<Vec<u8>>,
    pub contains: Option<Vec<u8>>,
    pub among: Vec<Vec<u8>>,
    pub not_among: Vec<Vec<u8>>,
    pub form: Option<BytesForm>,
}

/// Bytes of a certain length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BytesForm {
    Ip,
    Ipv4,
    Ipv6,
    Uuid,
}

const BYTES_FORMS: &[(u32, BytesForm)] =
    &[(10, BytesForm::Ip), (11, BytesForm::Ipv4), (12, BytesForm::Ipv6), (15, BytesForm::Uuid)];

/// The rules in the options of a field; `None` where it has none.
///
/// # Errors
///
/// What is wrong with them.
pub fn field_rules(options: &[u8]) -> Read<Option<FieldRules>> {
    let rules = Fields::of("FieldOptions", options)?.message(RULES_NUMBER);
    rules.map(|bytes| FieldRules::read(&bytes)).transpose()
}

/// The rules in the options of a message.
///
/// # Errors
///
/// As those of [`field_rules`].
pub(super) fn message_rules(options: &[u8]) -> Read<Option<MessageRules>> {
    let Some(bytes) = Fields::of("MessageOptions", options)?.message(RULES_NUMBER) else { return Ok(None) };
    let mut fields = Fields::of("MessageRules", &bytes)?;
    let cel = cel(&mut fields, 3, 5)?;
    let mut oneofs = Vec::new();
    for bytes in fields.all(4) {
        let mut fields = Fields::of("MessageOneofRule", bytes)?;
        oneofs.push(MessageOneof { fields: fields.texts(1)?, required: fields.flag(2) });
        fields.finish()?;
    }
    fields.finish()?;
    Ok(Some(MessageRules { cel, oneofs }))
}

/// Whether the options of a oneof say that one of its fields must be set.
///
/// # Errors
///
/// As those of [`field_rules`].
pub(super) fn is_oneof_required(options: &[u8]) -> Read<bool> {
    let Some(bytes) = Fields::of("OneofOptions", options)?.message(RULES_NUMBER) else { return Ok(false) };
    let mut fields = Fields::of("OneofRules", &bytes)?;
    let required = fields.flag(1);
    fields.finish()?;
    Ok(required)
}

/// The expressions in the options of an extension of a message of rules.
///
/// # Errors
///
/// As those of [`field_rules`].
pub(super) fn predefined(options: &[u8]) -> Read<Vec<Cel>> {
    let Some(bytes) = Fields::of("FieldOptions", options)?.message(PREDEFINED_NUMBER) else {
        return Ok(Vec::new());
    };
    let mut fields = Fields::of("PredefinedRules", &bytes)?;
    let cel = cel(&mut fields, 1, u32::MAX)?;
    fields.finish()?;
    Ok(cel)
}

fn cel(fields: &mut Fields<'_>, rules: u32, expressions: u32) -> Read<Vec<Cel>> {
    let mut list = Vec::new();
    for expression in fields.texts(expressions)? {
        list.push(Cel { id: expression.clone(), message: String::new(), expression });
    }
    for bytes in fields.all(rules) {
        let mut fields = Fields::of("Rule", bytes)?;
        let mut text = |number| fields.text(number).map(Option::unwrap_or_default);
        list.push(Cel { id: text(1)?, message: text(2)?, expression: text(3)? });
        fields.finish()?;
    }
    Ok(list)
}

impl FieldRules {
    fn read(bytes: &[u8]) -> Read<Self> {
        let mut fields = Fields::of("FieldRules", bytes)?;
        let mut rules = Self {
            required: fields.flag(25),
            ignore: match fields.number(27).unwrap_or(0) {
                0 => Ignore::Unspecified,
                1 => Ignore::IfZeroValue,
                3 => Ignore::Always,
                value => return Err(AnnotationError::Value { name: "ignore", value }),
            },
            cel: cel(&mut fields, 23, 29)?,
            typed: None,
            predefined: None,
        };
        if let Some((number, kind)) = fields.last_of(TYPES) {
            let bytes = fields.message(number).unwrap_or_default();
            let mut inner = Fields::of(message_of(number), &bytes)?;
            rules.typed = Some(Typed::read(number, *kind, &mut inner)?);
            let numbers = inner.extensions();
            inner.finish()?;
            if !numbers.is_empty() {
                let message = message_of(number);
                rules.predefined = Some(Predefined { message, bytes: bytes.clone(), numbers });
            }
        }
        fields.finish()?;
        Ok(rules)
    }
}

/// The members of `FieldRules.type`: number, and of numbers their kind.
const TYPES: &[(u32, Option<Kind>)] = &[
    (1, Some(Kind::Float)),
    (2, Some(Kind::Double)),
    (3, Some(Kind::Int32)),
    (4, Some(Kind::Int64)),
    (5, Some(Kind::Uint32)),
    (6, Some(Kind::Uint64)),
    (7, Some(Kind::Sint32)),
    (8, Some(Kind::Sint64)),
    (9, Some(Kind::Fixed32)),
    (10, Some(Kind::Fixed64)),
    (11, Some(Kind::Sfixed32)),
    (12, Some(Kind::Sfixed64)),
    (13, None),
    (14, None),
    (15, None),
    (16, None),
    (18, None),
    (19, None),
    (20, None),
    (21, None),
    (22, None),
    (28, None),
];

fn message_of(number: u32) -> &'static str {
    match number {
        1 => "FloatRules",
        2 => "DoubleRules",
        3 => "Int32Rules",
        4 => "Int64Rules",
        5 => "UInt32Rules",
        6 => "UInt64Rules",
        7 => "SInt32Rules",
        8 => "SInt64Rules",
        9 => "Fixed32Rules",
        10 => "Fixed64Rules",
        11 => "SFixed32Rules",
        12 => "SFixed64Rules",
        13 => "BoolRules",
        14 => "StringRules",
        15 => "BytesRules",
        16 => "EnumRules",
        18 => "RepeatedRules",
        19 => "MapRules",
        20 => "AnyRules",
        21 => "DurationRules",
        22 => "TimestampRules",
        _ => "FieldMaskRules",
    }
}

impl Typed {
    fn read(number: u32, kind: Option<Kind>, fields: &mut Fields<'_>) -> Read<Self> {
        let inner = |bytes: Option<Vec<u8>>| -> Read<Option<Box<FieldRules>>> {
            bytes.map(|bytes| FieldRules::read(&bytes).map(Box::new)).transpose()
        };
        Ok(match (kind, number) {
            (Some(kind), _) => {
                let is_float = matches!(kind, Kind::Float | Kind::Double);
                let is_finite = is_float && fields.flag(8);
                fields.pass(if is_float || kind == Kind::Int64 { 9 } else { 8 });
                let numbers = |number| fields.numbers(number, kind);
                Self::Number { kind, bounds: Box::new(Bounds::read(numbers, 1)?), is_finite }
            }
            (None, 13) => {
                fields.pass(2);
                Self::Bool(fields.number(1).map(|value| value != 0))
            }
            (None, 14) => Self::Text(Box::new(TextRules::read(fields)?)),
            (None, 15) => Self::Bytes(Box::new(BytesRules::read(fields)?)),
            (None, 16) => {
                fields.pass(5);
                let mut numbers = |number| fields.numbers(number, Kind::Int32);
                let mut bounds = Bounds { r#const: numbers(1)?.pop(), ..Bounds::default() };
                (bounds.among, bounds.not_among) = (numbers(3)?, numbers(4)?);
                Self::Enum { bounds: Box::new(bounds), defined_only: fields.flag(2) }
            }
            (None, 18) => Self::Repeated {
                min: fields.number(1),
                max: fields.number(2),
                unique: fields.flag(3),
                items: inner(fields.message(4))?,
            },
            (None, 19) => Self::Map {
                min: fields.number(1),
                max: fields.number(2),
                keys: inner(fields.message(4))?,
                values: inner(fields.message(5))?,
            },
            (None, 20) => Self::Any { among: fields.texts(2)?, not_among: fields.texts(3)? },
            (None, 21) => {
                fields.pass(9);
                Self::Duration(Box::new(Bounds::read(|number| fields.spans(number), 2)?))
            }
            (None, 22) => {
                fields.pass(10);
                let single =
                    |fields: &mut Fields<'_>, number| fields.spans(number).map(|mut list| list.pop());
                let bounds = Bounds {
                    r#const: single(fields, 2)?,
                    lt: single(fields, 3)?,
                    lte: single(fields, 4)?,
                    gt: single(fields, 5)?,
                    gte: single(fields, 6)?,
                    ..Bounds::default()
                };
                let within = match single(fields, 9)? {
                    Some(Number::Whole(nanos)) => Some(nanos),
                    _ => None,
                };
                let (lt_now, gt_now) = (fields.flag(7), fields.flag(8));
                Self::Timestamp { bounds: Box::new(bounds), lt_now, gt_now, within }
            }
            _ => {
                fields.pass(4);
                let mask = fields.message(1);
                let paths = mask.map(|mask| Fields::of("FieldMask", &mask)?.texts(1)).transpose()?;
                Self::FieldMask { r#const: paths, among: fields.texts(2)?, not_among: fields.texts(3)? }
            }
        })
    }
}

impl Bounds {
    /// `const`, `lt`, `lte`, `gt`, `gte`, `in` and `not_in` follow each other.
    fn read(mut numbers: impl FnMut(u32) -> Read<Vec<Number>>, first: u32) -> Read<Self> {
        let mut single = |number| numbers(first + number).map(|mut list| list.pop());
        Ok(Self {
            r#const: single(0)?,
            lt: single(1)?,
            lte: single(2)?,
            gt: single(3)?,
            gte: single(4)?,
            among: numbers(first + 5)?,
            not_among: numbers(first + 6)?,
        })
    }
}

impl TextRules {
    fn read(fields: &mut Fields<'_>) -> Read<Self> {
        fields.pass(34);
        let is_strict = fields.number(25).is_none_or(|value| value != 0);
        let mut form = None;
        for (number, named) in FORMS {
            if fields.flag(*number) {
                form = Some(*named);
            }
        }
        match fields.number(24).unwrap_or(0) {
            0 => {}
            1 => form = Some(Form::HeaderName { is_strict }),
            2 => form = Some(Form::HeaderValue { is_strict }),
            value => return Err(AnnotationError::Value { name: "well_known_regex", value }),
        }
        Ok(Self {
            r#const: fields.text(1)?,
            len: fields.number(19),
            min_len: fields.number(2),
            max_len: fields.number(3),
            len_bytes: fields.number(20),
            min_bytes: fields.number(4),
            max_bytes: fields.number(5),
            pattern: fields.text(6)?,
            prefix: fields.text(7)?,
            suffix: fields.text(8)?,
            contains: fields.text(9)?,
            not_contains: fields.text(23)?,
            among: fields.texts(10)?,
            not_among: fields.texts(11)?,
            form,
        })
    }
}

impl BytesRules {
    fn read(fields: &mut Fields<'_>) -> Read<Self> {
        fields.pass(14);
        let mut form = None;
        for (number, named) in BYTES_FORMS {
            if fields.flag(*number) {
                form = Some(*named);
            }
        }
        let mut list = |number| fields.all(number).into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
        let (mut r#const, mut prefix, mut suffix, mut contains) = (list(1), list(5), list(6), list(7));
        let (among, not_among) = (list(8), list(9));
        Ok(Self {
            r#const: r#const.pop(),
            len: fields.number(13),
            min_len: fields.number(2),
            max_len: fields.number(3),
            pattern: fields.text(4)?,
            prefix: prefix.pop(),
            suffix: suffix.pop(),
            contains: contains.pop(),
            among,
            not_among,
            form,
        })
    }
}

/// A moment or a span on the wire, in nanoseconds.
///
/// # Errors
///
/// It does not decode.
pub(super) fn nanos(view: &View<'_>) -> Result<i128, ViewError> {
    let part = |number| {
        Ok::<_, ViewError>(match view.numbered(number)? {
            Some(Scalar::Int(value)) => i128::from(value),
            _ => 0,
        })
    };
    Ok(part(1)? * 1_000_000_000 + part(2)?)
}
