//! The names that expressions may use: variables and functions, and their types.
//!
//! These tables are what the checker reads, and what `docs/conditions.md` is compared with.

use super::types::Type;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Variable {
    Claims,
    /// `claims.scope`: what was granted, as a list, in whatever form the token has it.
    Scope,
    Subject,
    Provider,
    Consumer,
    Plan,
    Method,
    Path,
    Host,
    Rpc,
    Headers,
    Address,
    Scheme,
    Country,
    Asn,
    Time,
}

/// `request.method` and its like: what stands before the dot, what behind it.
pub(super) const FIELDS: &[(&str, &str, Variable)] = &[
    ("identity", "subject", Variable::Subject),
    ("identity", "provider", Variable::Provider),
    ("consumer", "name", Variable::Consumer),
    ("consumer", "plan", Variable::Plan),
    ("request", "method", Variable::Method),
    ("request", "path", Variable::Path),
    ("request", "host", Variable::Host),
    ("request", "rpc", Variable::Rpc),
    ("request", "headers", Variable::Headers),
    ("request", "address", Variable::Address),
    ("request", "scheme", Variable::Scheme),
    ("request", "country", Variable::Country),
    ("request", "asn", Variable::Asn),
    ("request", "time", Variable::Time),
];

/// What an expression may begin with.
pub(super) const ROOTS: &[&str] = &["claims", "identity", "consumer", "request"];

impl Variable {
    pub(super) const ALL: &[Self] = &[
        Self::Claims,
        Self::Scope,
        Self::Subject,
        Self::Provider,
        Self::Consumer,
        Self::Plan,
        Self::Method,
        Self::Path,
        Self::Host,
        Self::Rpc,
        Self::Headers,
        Self::Address,
        Self::Scheme,
        Self::Country,
        Self::Asn,
        Self::Time,
    ];

    pub(super) fn type_of(self) -> Type {
        match self {
            Self::Claims => Type::map(Type::Text, Type::Dyn),
            Self::Scope => Type::list(Type::Text),
            Self::Headers => Type::map(Type::Text, Type::Text),
            Self::Asn => Type::Int,
            Self::Time => Type::Timestamp,
            _ => Type::Text,
        }
    }

    /// Whether a request may come without it, so that `has` makes sense.
    pub(super) const fn may_be_absent(self) -> bool {
        matches!(
            self,
            Self::Scope
                | Self::Subject
                | Self::Provider
                | Self::Consumer
                | Self::Plan
                | Self::Host
                | Self::Country
                | Self::Asn
        )
    }

    /// Whether it says who calls.
    pub(super) const fn is_of_identity(self) -> bool {
        matches!(
            self,
            Self::Claims | Self::Scope | Self::Subject | Self::Provider | Self::Consumer | Self::Plan
        )
    }

    /// As it is written.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Claims => "claims",
            Self::Scope => "claims.scope",
            Self::Subject => "identity.subject",
            Self::Provider => "identity.provider",
            Self::Consumer => "consumer.name",
            Self::Plan => "consumer.plan",
            Self::Method => "request.method",
            Self::Path => "request.path",
            Self::Host => "request.host",
            Self::Rpc => "request.rpc",
            Self::Headers => "request.headers",
            Self::Address => "request.address",
            Self::Scheme => "request.scheme",
            Self::Country => "request.country",
            Self::Asn => "request.asn",
            Self::Time => "request.time",
        }
    }

    /// A set of variables is a number with their bits.
    pub(super) const fn bit(self) -> u32 {
        1 << self as u8
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    LowerAscii,
    UpperAscii,
    Split,
    Bool,
    Int,
    Uint,
    Double,
    ToText,
    Bytes,
    Timestamp,
    Duration,
    Dyn,
    Part(Part),
    Text(TextFunction),
    Format,
    Join,
    Unique,
    IsNan,
    IsInf,
    IsEmail,
    IsHostname,
    IsHostAndPort,
    IsIp,
    IsIpPrefix,
    IsUri,
    IsUriRef,
}

/// What makes a text, or a place in one, of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextFunction {
    CharAt,
    IndexOf,
    LastIndexOf,
    Replace,
    Reverse,
    Substring,
    Trim,
}

/// A part of a timestamp in UTC, or all of a duration in one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    FullYear,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// A type as far as functions care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Any,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Timestamp,
    Duration,
    List,
    Map,
    ListOfText,
}

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Global,
    Method,
    Both,
}

#[derive(Debug)]
pub(super) struct Signature {
    pub name: &'static str,
    pub style: Style,
    /// For each argument, the target first, what it may be.
    pub takes: &'static [&'static [Kind]],
    /// How many of the last ones may be left out.
    pub optional: usize,
    pub gives: Kind,
    pub function: Function,
    /// How it is called.
    pub example: &'static str,
}

const fn signature(
    name: &'static str,
    style: Style,
    takes: &'static [&'static [Kind]],
    gives: Kind,
    function: Function,
    example: &'static str,
) -> Signature {
    Signature { name, style, takes, optional: 0, gives, function, example }
}

const TEXT: &[Kind] = &[Kind::Text];
const INT: &[Kind] = &[Kind::Int];
const TEXTS: &[&[Kind]] = &[TEXT, TEXT];
const TEXT_OR_BYTES: &[Kind] = &[Kind::Text, Kind::Bytes];
const TEXTS_OR_BYTES: &[&[Kind]] = &[TEXT_OR_BYTES, TEXT_OR_BYTES];
const MOMENT: &[&[Kind]] = &[&[Kind::Timestamp]];
const MOMENT_OR_SPAN: &[&[Kind]] = &[&[Kind::Timestamp, Kind::Duration]];

pub(super) const FUNCTIONS: &[Signature] = &[
    signature(
        "size",
        Style::Both,
        &[&[Kind::Text, Kind::Bytes, Kind::List, Kind::Map]],
        Kind::Int,
        Function::Size,
        "size(claims.groups)",
    ),
    signature(
        "contains",
        Style::Method,
        TEXTS_OR_BYTES,
        Kind::Bool,
        Function::Contains,
        "claims.email.contains(\"@\")",
    ),
    signature(
        "startsWith",
        Style::Method,
        TEXTS_OR_BYTES,
        Kind::Bool,
        Function::StartsWith,
        "request.path.startsWith(\"/v1/\")",
    ),
    signature(
        "endsWith",
        Style::Method,
        TEXTS_OR_BYTES,
        Kind::Bool,
        Function::EndsWith,
        "claims.email.endsWith(\"@shop.example\")",
    ),
    signature(
        "lowerAscii",
        Style::Method,
        &[TEXT],
        Kind::Text,
        Function::LowerAscii,
        "claims.email.lowerAscii()",
    ),
    signature(
        "upperAscii",
        Style::Method,
        &[TEXT],
        Kind::Text,
        Function::UpperAscii,
        "claims.country.upperAscii()",
    ),
    signature("split", Style::Method, TEXTS, Kind::ListOfText, Function::Split, "claims.roles.split(\" \")"),
    signature(
        "bool",
        Style::Global,
        &[&[Kind::Bool, Kind::Text]],
        Kind::Bool,
        Function::Bool,
        "bool(claims.beta)",
    ),
    signature(
        "int",
        Style::Global,
        &[&[Kind::Int, Kind::Uint, Kind::Double, Kind::Text, Kind::Timestamp]],
        Kind::Int,
        Function::Int,
        "int(claims.level)",
    ),
    signature(
        "uint",
        Style::Global,
        &[&[Kind::Int, Kind::Uint, Kind::Double, Kind::Text]],
        Kind::Uint,
        Function::Uint,
        "uint(claims.level)",
    ),
    signature(
        "double",
        Style::Global,
        &[&[Kind::Int, Kind::Uint, Kind::Double, Kind::Text]],
        Kind::Double,
        Function::Double,
        "double(claims.score)",
    ),
    signature(
        "string",
        Style::Global,
        &[&[
            Kind::Bool,
            Kind::Int,
            Kind::Uint,
            Kind::Double,
            Kind::Text,
            Kind::Bytes,
            Kind::Timestamp,
            Kind::Duration,
        ]],
        Kind::Text,
        Function::ToText,
        "string(claims.level)",
    ),
    signature(
        "bytes",
        Style::Global,
        &[&[Kind::Bytes, Kind::Text]],
        Kind::Bytes,
        Function::Bytes,
        "bytes(claims.sub)",
    ),
    signature(
        "timestamp",
        Style::Global,
        &[&[Kind::Timestamp, Kind::Text, Kind::Int]],
        Kind::Timestamp,
        Function::Timestamp,
        "timestamp(claims.exp)",
    ),
    signature(
        "duration",
        Style::Global,
        &[&[Kind::Duration, Kind::Text]],
        Kind::Duration,
        Function::Duration,
        "duration(\"1h\")",
    ),
    signature("dyn", Style::Global, &[&[Kind::Any]], Kind::Any, Function::Dyn, "dyn(1)"),
    part("getFullYear", MOMENT, Part::FullYear, "request.time.getFullYear()"),
    part("getMonth", MOMENT, Part::Month, "request.time.getMonth()"),
    part("getDate", MOMENT, Part::Date, "request.time.getDate()"),
    part("getDayOfMonth", MOMENT, Part::DayOfMonth, "request.time.getDayOfMonth()"),
    part("getDayOfWeek", MOMENT, Part::DayOfWeek, "request.time.getDayOfWeek()"),
    part("getDayOfYear", MOMENT, Part::DayOfYear, "request.time.getDayOfYear()"),
    part("getHours", MOMENT_OR_SPAN, Part::Hours, "request.time.getHours()"),
    part("getMinutes", MOMENT_OR_SPAN, Part::Minutes, "request.time.getMinutes()"),
    part("getSeconds", MOMENT_OR_SPAN, Part::Seconds, "request.time.getSeconds()"),
    part("getMilliseconds", MOMENT_OR_SPAN, Part::Milliseconds, "request.time.getMilliseconds()"),
    of_text("charAt", &[TEXT, INT], 0, Kind::Text, TextFunction::CharAt, "claims.sub.charAt(0)"),
    of_text("indexOf", &[TEXT, TEXT, INT], 1, Kind::Int, TextFunction::IndexOf, "claims.sub.indexOf(\"|\")"),
    of_text(
        "lastIndexOf",
        &[TEXT, TEXT, INT],
        1,
        Kind::Int,
        TextFunction::LastIndexOf,
        "claims.sub.lastIndexOf(\"|\")",
    ),
    of_text(
        "replace",
        &[TEXT, TEXT, TEXT, INT],
        1,
        Kind::Text,
        TextFunction::Replace,
        "claims.sub.replace(\"|\", \"/\")",
    ),
    of_text("reverse", &[TEXT], 0, Kind::Text, TextFunction::Reverse, "claims.sub.reverse()"),
    of_text(
        "substring",
        &[TEXT, INT, INT],
        1,
        Kind::Text,
        TextFunction::Substring,
        "claims.sub.substring(4)",
    ),
    of_text("trim", &[TEXT], 0, Kind::Text, TextFunction::Trim, "claims.name.trim()"),
    signature(
        "format",
        Style::Method,
        &[TEXT, &[Kind::List]],
        Kind::Text,
        Function::Format,
        "\"%s/%d\".format([claims.sub, 1])",
    ),
    Signature {
        optional: 1,
        ..signature(
            "join",
            Style::Method,
            &[&[Kind::List], TEXT],
            Kind::Text,
            Function::Join,
            "claims.scope.join(\" \")",
        )
    },
    signature(
        "unique",
        Style::Method,
        &[&[Kind::List]],
        Kind::Bool,
        Function::Unique,
        "claims.groups.unique()",
    ),
    is("isNan", &[&[Kind::Double]], 0, Function::IsNan, "claims.score.isNan()"),
    is("isInf", &[&[Kind::Double], INT], 1, Function::IsInf, "claims.score.isInf()"),
    is("isEmail", &[TEXT], 0, Function::IsEmail, "claims.email.isEmail()"),
    is("isHostname", &[TEXT], 0, Function::IsHostname, "request.host.isHostname()"),
    is(
        "isHostAndPort",
        &[TEXT, &[Kind::Bool]],
        0,
        Function::IsHostAndPort,
        "claims.server.isHostAndPort(true)",
    ),
    is("isIp", &[TEXT, INT], 1, Function::IsIp, "request.host.isIp(4)"),
    is(
        "isIpPrefix",
        &[TEXT, &[Kind::Int, Kind::Bool], &[Kind::Bool]],
        2,
        Function::IsIpPrefix,
        "claims.network.isIpPrefix(4, true)",
    ),
    is("isUri", &[TEXT], 0, Function::IsUri, "claims.iss.isUri()"),
    is("isUriRef", &[TEXT], 0, Function::IsUriRef, "claims.picture.isUriRef()"),
];

const fn of_text(
    name: &'static str,
    takes: &'static [&'static [Kind]],
    optional: usize,
    gives: Kind,
    function: TextFunction,
    example: &'static str,
) -> Signature {
    let signature = signature(name, Style::Method, takes, gives, Function::Text(function), example);
    Signature { optional, ..signature }
}

const fn is(
    name: &'static str,
    takes: &'static [&'static [Kind]],
    optional: usize,
    function: Function,
    example: &'static str,
) -> Signature {
    Signature { optional, ..signature(name, Style::Method, takes, Kind::Bool, function, example) }
}

const fn part(
    name: &'static str,
    takes: &'static [&'static [Kind]],
    part: Part,
    example: &'static str,
) -> Signature {
    signature(name, Style::Method, takes, Kind::Int, Function::Part(part), example)
}

/// What has rules of its own: name, example.
pub(super) const SPECIAL: &[(&str, &str)] = &[
    ("matches", "request.path.matches(\"^/v[12]/\")"),
    ("inNetwork", "inNetwork(request.address, \"10.0.0.0/8\")"),
    ("has", "has(claims.tenant)"),
    ("all", "claims.groups.all(group, group != \"guests\")"),
    ("exists", "claims.groups.exists(group, group == \"staff\")"),
    ("exists_one", "claims.groups.exists_one(group, group == \"staff\")"),
    ("filter", "claims.groups.filter(group, group != \"guests\")"),
    ("map", "claims.groups.map(group, group.lowerAscii())"),
];

impl Kind {
    pub(super) fn accepts(self, found: &Type) -> bool {
        match (self, found) {
            (Self::Any, _) | (_, Type::Dyn) => true,
            (Self::List, Type::List(_)) | (Self::Map, Type::Map(..)) => true,
            _ => self.type_of() == *found,
        }
    }

    pub(super) fn type_of(self) -> Type {
        match self {
            Self::Any => Type::Dyn,
            Self::Bool => Type::Bool,
            Self::Int => Type::Int,
            Self::Uint => Type::Uint,
            Self::Double => Type::Double,
            Self::Text => Type::Text,
            Self::Bytes => Type::Bytes,
            Self::Timestamp => Type::Timestamp,
            Self::Duration => Type::Duration,
            Self::List => Type::list(Type::Dyn),
            Self::Map => Type::map(Type::Dyn, Type::Dyn),
            Self::ListOfText => Type::list(Type::Text),
        }
    }

    /// As a finding names it.
    pub(super) fn name(self) -> String {
        match self {
            Self::List => "list".to_owned(),
            Self::Map => "map".to_owned(),
            _ => self.type_of().to_string(),
        }
    }
}
