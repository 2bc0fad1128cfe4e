//! What one value breaks of the rules of its type: the id of each rule, and why in words.
//!
//! Ids are protovalidate's, so that clients which know them from elsewhere know them here; the words are ours.

use std::cmp::Ordering;
use std::fmt::{Display, Write};

use regex::Regex;

use super::annotations::{Bounds, BytesForm, BytesRules, FieldRules, Form, Ignore, Number, TextRules, Typed};
use crate::codec::base64;
use crate::codec::time::{self, Instant};
use crate::policy::formats::{self, Ip};
use crate::policy::pattern;
use crate::schema::plan::Kind;

const NANOS: i128 = 1_000_000_000;

/// Takes the id of a broken rule and the words for it.
pub(super) type Broken<'b> = dyn FnMut(&str, String) + 'b;

/// How numbers of a type are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Number,
    Moment,
    Span,
}

impl FieldRules {
    /// Whether zero breaks the rules, as it stands for a field that is left out and has no presence. Those in CEL are not
    /// asked.
    pub fn refuse_zero(&self) -> bool {
        let Some(typed) = self.typed.as_ref().filter(|_| self.ignore == Ignore::Unspecified) else {
            return false;
        };
        let compiled = |pattern: &Option<String>| pattern::compile(pattern.as_deref()?).ok();
        let mut is_broken = false;
        let broken = &mut |_: &str, _: String| is_broken = true;
        match typed {
            Typed::Number { kind: Kind::Float | Kind::Double, bounds, .. } => {
                bounds.judge("", Shown::Number, Number::Double(0.0), broken);
            }
            Typed::Number { bounds, .. } | Typed::Enum { bounds, .. } => {
                bounds.judge("", Shown::Number, Number::Whole(0), broken);
            }
            Typed::Text(rules) => rules.judge(compiled(&rules.pattern).as_ref(), "", broken),
            Typed::Bytes(rules) => rules.judge(compiled(&rules.pattern).as_ref(), b"", broken),
            Typed::Bool(expected) => is_broken = *expected == Some(true),
            Typed::Repeated { min, .. } | Typed::Map { min, .. } => {
                is_broken = min.is_some_and(|min| min > 0)
            }
            // Messages have presence.
            Typed::Any { .. } | Typed::Duration(_) | Typed::FieldMask { .. } | Typed::Timestamp { .. } => {}
        }
        is_broken
    }
}

impl Bounds {
    /// The rules `{of}.const`, `.lt` and their like.
    pub(super) fn judge(&self, of: &str, shown: Shown, value: Number, broken: &mut Broken<'_>) {
        let text = |number: Number| show(number, shown);
        if let Some(expected) = self.r#const.filter(|expected| *expected != value) {
            broken(&format!("{of}.const"), format!("must be {}", text(expected)));
        }
        self.judge_range(of, &text, value, broken);
        if !self.among.is_empty() && !self.among.contains(&value) {
            broken(
                &format!("{of}.in"),
                format!("must be one of {}", list(self.among.iter().map(|one| text(*one)))),
            );
        }
        if self.not_among.contains(&value) {
            let excluded = list(self.not_among.iter().map(|one| text(*one)));
            broken(&format!("{of}.not_in"), format!("must be none of {excluded}"));
        }
    }

    /// A lower bound above the upper one means what is outside of the two. No NaN is within any range.
    fn judge_range(&self, of: &str, text: &dyn Fn(Number) -> String, value: Number, broken: &mut Broken<'_>) {
        let low = self
            .gt
            .map(|bound| (bound, "gt", "greater than"))
            .or_else(|| self.gte.map(|bound| (bound, "gte", "at least")));
        let high = self
            .lt
            .map(|bound| (bound, "lt", "less than"))
            .or_else(|| self.lte.map(|bound| (bound, "lte", "at most")));
        let is_above = |(bound, name, _): (Number, &str, &str)| match value.partial_cmp(&bound) {
            Some(Ordering::Greater) => true,
            Some(Ordering::Equal) => name == "gte",
            _ => false,
        };
        let is_below = |(bound, name, _): (Number, &str, &str)| match value.partial_cmp(&bound) {
            Some(Ordering::Less) => true,
            Some(Ordering::Equal) => name == "lte",
            _ => false,
        };
        match (low, high) {
            (Some(low), Some(high)) => {
                let is_outside = high.0 < low.0;
                let holds = if is_outside {
                    is_above(low) || is_below(high)
                } else {
                    is_above(low) && is_below(high)
                };
                if !holds {
                    let (suffix, word) = if is_outside { ("_exclusive", "or") } else { ("", "and") };
                    let words =
                        format!("must be {} {} {word} {} {}", low.2, text(low.0), high.2, text(high.0));
                    broken(&format!("{of}.{}_{}{suffix}", low.1, high.1), words);
                }
            }
            (Some(low), None) if !is_above(low) => {
                broken(&format!("{of}.{}", low.1), format!("must be {} {}", low.2, text(low.0)));
            }
            (None, Some(high)) if !is_below(high) => {
                broken(&format!("{of}.{}", high.1), format!("must be {} {}", high.2, text(high.0)));
            }
            _ => {}
        }
    }
}

fn show(number: Number, shown: Shown) -> String {
    match (number, shown) {
        (Number::Double(number), _) => number.to_string(),
        (Number::Whole(number), Shown::Number) => number.to_string(),
        (Number::Whole(nanos), Shown::Span) => show_nanos(nanos / NANOS, nanos % NANOS, time::put_duration),
        (Number::Whole(nanos), Shown::Moment) => {
            show_nanos(nanos.div_euclid(NANOS), nanos.rem_euclid(NANOS), time::put_timestamp)
        }
    }
}

/// In seconds where there is no JSON form: a bound may be beyond what protobuf's own ranges allow.
fn show_nanos(
    seconds: i128,
    nanos: i128,
    put: impl Fn(Instant, &mut Vec<u8>) -> Result<(), time::TimeError>,
) -> String {
    let mut out = Vec::with_capacity(32);
    if let (Ok(seconds), Ok(nanos)) = (i64::try_from(seconds), i32::try_from(nanos))
        && put(Instant { seconds, nanos }, &mut out).is_ok()
    {
        let text = String::from_utf8(out).unwrap_or_default();
        return text.trim_matches('"').to_owned();
    }
    format!("{seconds} seconds")
}

/// `lt_now`, `gt_now` and `within` of a moment.
pub(super) fn judge_now(
    (lt_now, gt_now, within): (bool, bool, Option<i128>),
    at: i128,
    now: i128,
    broken: &mut Broken<'_>,
) {
    if lt_now && at > now {
        broken("timestamp.lt_now", "must be in the past".to_owned());
    }
    if gt_now && at < now {
        broken("timestamp.gt_now", "must be in the future".to_owned());
    }
    if let Some(within) = within.filter(|within| (at - now).abs() > *within) {
        let span = show(Number::Whole(within), Shown::Span);
        broken("timestamp.within", format!("must be within {span} of now"));
    }
}

/// A count, and what it is one of.
pub(super) fn judge_count(
    id: &str,
    found: usize,
    (exactly, min, max): (Option<u64>, Option<u64>, Option<u64>),
    (exactly_name, min_name, max_name): (&str, &str, &str),
    unit: &str,
    broken: &mut Broken<'_>,
) {
    let found = u64::try_from(found).unwrap_or(u64::MAX);
    if let Some(exactly) = exactly.filter(|exactly| found != *exactly) {
        broken(&format!("{id}.{exactly_name}"), format!("must have exactly {exactly} {unit}, has {found}"));
    }
    if let Some(min) = min.filter(|min| found < *min) {
        broken(&format!("{id}.{min_name}"), format!("must have at least {min} {unit}, has {found}"));
    }
    if let Some(max) = max.filter(|max| found > *max) {
        broken(&format!("{id}.{max_name}"), format!("must have at most {max} {unit}, has {found}"));
    }
}

impl TextRules {
    pub(super) fn judge(&self, pattern: Option<&Regex>, text: &str, broken: &mut Broken<'_>) {
        if let Some(expected) = self.r#const.as_ref().filter(|expected| *expected != text) {
            broken("string.const", format!("must be `{expected}`"));
        }
        if self.len.or(self.min_len).or(self.max_len).is_some() {
            let (bounds, names) = ((self.len, self.min_len, self.max_len), ("len", "min_len", "max_len"));
            judge_count("string", text.chars().count(), bounds, names, "characters", broken);
        }
        let bounds = (self.len_bytes, self.min_bytes, self.max_bytes);
        judge_count("string", text.len(), bounds, ("len_bytes", "min_bytes", "max_bytes"), "bytes", broken);
        if let Some(pattern) = pattern.filter(|pattern| !pattern.is_match(text)) {
            let written = self.pattern.as_deref().unwrap_or(pattern.as_str());
            broken("string.pattern", format!("must match the pattern `{written}`"));
        }
        let mut part = |id: &str, part: &Option<String>, holds: &dyn Fn(&str) -> bool, words: &str| {
            if let Some(part) = part.as_ref().filter(|part| !holds(part)) {
                broken(id, format!("must {words} `{part}`"));
            }
        };
        part("string.prefix", &self.prefix, &|part| text.starts_with(part), "begin with");
        part("string.suffix", &self.suffix, &|part| text.ends_with(part), "end with");
        part("string.contains", &self.contains, &|part| text.contains(part), "contain");
        part("string.not_contains", &self.not_contains, &|part| !text.contains(part), "not contain");
        if !self.among.is_empty() && !self.among.iter().any(|one| one == text) {
            broken("string.in", format!("must be one of {}", list(self.among.iter())));
        }
        if self.not_among.iter().any(|one| one == text) {
            broken("string.not_in", format!("must be none of {}", list(self.not_among.iter())));
        }
        if let Some(form) = self.form {
            form.judge(text, broken);
        }
    }
}

impl Form {
    fn judge(self, text: &str, broken: &mut Broken<'_>) {
        let (id, words) = self.named();
        // Where the empty text is none of them, it is told apart from a wrong one.
        let may_be_empty = matches!(self, Self::UriRef | Self::HeaderValue { .. });
        if text.is_empty() && !may_be_empty {
            broken(&format!("{id}_empty"), format!("must be {words}, and is empty"));
        } else if !self.fits(text) {
            broken(id, format!("must be {words}"));
        }
    }

    const fn named(self) -> (&'static str, &'static str) {
        match self {
            Self::Email => ("string.email", "an email address"),
            Self::Hostname => ("string.hostname", "a host name"),
            Self::Ip => ("string.ip", "an IP address"),
            Self::Ipv4 => ("string.ipv4", "an IPv4 address"),
            Self::Ipv6 => ("string.ipv6", "an IPv6 address"),
            Self::Uri => ("string.uri", "a URI"),
            Self::UriRef => ("string.uri_ref", "a URI or a relative reference"),
            Self::Address => ("string.address", "a host name or an IP address"),
            Self::Uuid => ("string.uuid", "a UUID"),
            Self::Tuuid => ("string.tuuid", "a UUID without hyphens"),
            Self::IpWithPrefixlen => {
                ("string.ip_with_prefixlen", "an IP address with the length of its prefix")
            }
            Self::Ipv4WithPrefixlen => {
                ("string.ipv4_with_prefixlen", "an IPv4 address with the length of its prefix")
            }
            Self::Ipv6WithPrefixlen => {
                ("string.ipv6_with_prefixlen", "an IPv6 address with the length of its prefix")
            }
            Self::IpPrefix => ("string.ip_prefix", "an IP network"),
            Self::Ipv4Prefix => ("string.ipv4_prefix", "an IPv4 network"),
            Self::Ipv6Prefix => ("string.ipv6_prefix", "an IPv6 network"),
            Self::HostAndPort => ("string.host_and_port", "a host and a port"),
            Self::Ulid => ("string.ulid", "a ULID"),
            Self::ProtobufFqn => ("string.protobuf_fqn", "a full name of Protobuf"),
            Self::ProtobufDotFqn => ("string.protobuf_dot_fqn", "a full name of Protobuf with a leading dot"),
            Self::HeaderName { .. } => ("string.well_known_regex.header_name", "the name of an HTTP header"),
            Self::HeaderValue { .. } => {
                ("string.well_known_regex.header_value", "the value of an HTTP header")
            }
        }
    }

    fn fits(self, text: &str) -> bool {
        match self {
            Self::Email => formats::is_email(text),
            Self::Hostname => formats::is_hostname(text),
            Self::Ip => formats::is_ip(text, Ip::Any),
            Self::Ipv4 => formats::is_ip(text, Ip::V4),
            Self::Ipv6 => formats::is_ip(text, Ip::V6),
            Self::Uri => formats::is_uri(text),
            Self::UriRef => formats::is_uri_reference(text),
            Self::Address => formats::is_hostname(text) || formats::is_ip(text, Ip::Any),
            Self::Uuid => is_uuid(text),
            Self::Tuuid => text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
            Self::IpWithPrefixlen => formats::is_ip_prefix(text, Ip::Any, false),
            Self::Ipv4WithPrefixlen => formats::is_ip_prefix(text, Ip::V4, false),
            Self::Ipv6WithPrefixlen => formats::is_ip_prefix(text, Ip::V6, false),
            Self::IpPrefix => formats::is_ip_prefix(text, Ip::Any, true),
            Self::Ipv4Prefix => formats::is_ip_prefix(text, Ip::V4, true),
            Self::Ipv6Prefix => formats::is_ip_prefix(text, Ip::V6, true),
            Self::HostAndPort => formats::is_host_and_port(text, true),
            Self::Ulid => is_ulid(text),
            Self::ProtobufFqn => is_full_name(text),
            Self::ProtobufDotFqn => text.strip_prefix('.').is_some_and(is_full_name),
            Self::HeaderName { is_strict } => is_header_name(text, is_strict),
            Self::HeaderValue { is_strict } => is_header_value(text, is_strict),
        }
    }
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<_> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.concat().bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// 128 bits in Crockford's alphabet, which has neither I, L, O nor U; the first digit has but three of them.
fn is_ulid(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() && !b"ILOUilou".contains(&byte);
    text.len() == 26
        && text.bytes().all(is_digit)
        && text.starts_with(|first: char| ('0'..='7').contains(&first))
}

fn is_full_name(text: &str) -> bool {
    text.split('.').all(|part| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// RFC 9110, section 5.6.2, and the colon of HTTP/2's own; loosely, whatever ends no line.
fn is_header_name(text: &str, is_strict: bool) -> bool {
    if !is_strict {
        return is_header_value(text, false);
    }
    // As protovalidate writes it, the class has a range from `+` to `.`.
    let is_token = |byte: u8| {
        byte.is_ascii_alphanumeric() || b"!#$%&'*^_|~`".contains(&byte) || (b'+'..=b'.').contains(&byte)
    };
    let name = text.strip_prefix(':').unwrap_or(text);
    !name.is_empty() && name.bytes().all(is_token)
}

/// RFC 9110, section 5.5; loosely, whatever ends no line.
fn is_header_value(text: &str, is_strict: bool) -> bool {
    if !is_strict {
        return !text.contains(['\0', '\n', '\r']);
    }
    !text.chars().any(|one| matches!(one, '\0'..='\x08' | '\n'..='\x1f' | '\x7f'))
}

impl BytesRules {
    pub(super) fn judge(&self, pattern: Option<&Regex>, bytes: &[u8], broken: &mut Broken<'_>) {
        if let Some(expected) = self.r#const.as_ref().filter(|expected| *expected != bytes) {
            broken("bytes.const", format!("must be {}", encoded(expected)));
        }
        let (bounds, names) = ((self.len, self.min_len, self.max_len), ("len", "min_len", "max_len"));
        judge_count("bytes", bytes.len(), bounds, names, "bytes", broken);
        if let Some(pattern) = pattern {
            match std::str::from_utf8(bytes) {
                Ok(text) if pattern.is_match(text) => {}
                _ => {
                    let written = self.pattern.as_deref().unwrap_or(pattern.as_str());
                    broken("bytes.pattern", format!("must match the pattern `{written}`"));
                }
            }
        }
        let mut part = |id: &str, part: &Option<Vec<u8>>, holds: &dyn Fn(&[u8]) -> bool, words: &str| {
            if let Some(part) = part.as_ref().filter(|part| !holds(part)) {
                broken(id, format!("must {words} {}", encoded(part)));
            }
        };
        part("bytes.prefix", &self.prefix, &|part| bytes.starts_with(part), "begin with");
        part("bytes.suffix", &self.suffix, &|part| bytes.ends_with(part), "end with");
        let contains = |part: &[u8]| memchr::memmem::find(bytes, part).is_some();
        part("bytes.contains", &self.contains, &contains, "contain");
        if !self.among.is_empty() && !self.among.iter().any(|one| one == bytes) {
            broken("bytes.in", format!("must be one of {}", list(self.among.iter().map(|one| encoded(one)))));
        }
        if self.not_among.iter().any(|one| one == bytes) {
            let excluded = list(self.not_among.iter().map(|one| encoded(one)));
            broken("bytes.not_in", format!("must be none of {excluded}"));
        }
        if let Some(form) = self.form {
            form.judge(bytes, broken);
        }
    }
}

impl BytesForm {
    fn judge(self, bytes: &[u8], broken: &mut Broken<'_>) {
        let (id, words, lengths): (_, _, &[usize]) = match self {
            Self::Ip => ("bytes.ip", "an IP address of 4 or 16 bytes", &[4, 16]),
            Self::Ipv4 => ("bytes.ipv4", "an IPv4 address of 4 bytes", &[4]),
            Self::Ipv6 => ("bytes.ipv6", "an IPv6 address of 16 bytes", &[16]),
            Self::Uuid => ("bytes.uuid", "a UUID of 16 bytes", &[16]),
        };
        if bytes.is_empty() {
            broken(&format!("{id}_empty"), format!("must be {words}, and is empty"));
        } else if !lengths.contains(&bytes.len()) {
            broken(id, format!("must be {words}"));
        }
    }
}

fn encoded(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    base64::encode(bytes, &mut out);
    format!("`{}` in base64", String::from_utf8(out).unwrap_or_default())
}

/// `in` and `not_in` of types of messages.
pub(super) fn judge_any(url: &str, among: &[String], not_among: &[String], broken: &mut Broken<'_>) {
    if !among.is_empty() && !among.iter().any(|one| one == url) {
        broken("any.in", format!("must be of one of the types {}", list(among.iter())));
    }
    if not_among.iter().any(|one| one == url) {
        broken("any.not_in", format!("must be of none of the types {}", list(not_among.iter())));
    }
}

/// The paths of a mask; one that is in a list takes those below it along.
pub(super) fn judge_mask(
    paths: &[&str],
    expected: Option<&[String]>,
    among: &[String],
    not_among: &[String],
    broken: &mut Broken<'_>,
) {
    let is_in = |list: &[String], path: &str| {
        let below = |one: &String| path.strip_prefix(one.as_str()).is_some_and(|rest| rest.starts_with('.'));
        list.iter().any(|one| one == path || below(one))
    };
    if let Some(expected) = expected.filter(|expected| !expected.iter().eq(paths)) {
        broken("field_mask.const", format!("must have the paths {}", list(expected.iter())));
    }
    if !among.is_empty() && !paths.iter().all(|path| is_in(among, path)) {
        broken("field_mask.in", format!("must have no other paths than {}", list(among.iter())));
    }
    if !not_among.is_empty() && paths.iter().any(|path| is_in(not_among, path)) {
        broken("field_mask.not_in", format!("must have none of the paths {}", list(not_among.iter())));
    }
}

/// As a sentence lists things; of many, the first.
fn list(items: impl Iterator<Item = impl Display>) -> String {
    const ITEMS_MAX: usize = 20;
    let mut text = String::new();
    for (index, item) in items.enumerate() {
        if index == ITEMS_MAX {
            text.push_str(", …");
            break;
        }
        let _ = write!(text, "{}`{item}`", if index == 0 { "" } else { ", " });
    }
    text
}
