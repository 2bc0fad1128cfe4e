//! `buf.validate`: what a value must be beyond its type, as far as JSON Schema can say it.
//!
//! What has no words there (CEL, times relative to now, lists of numbers that may come as texts) is left to `validate`, which checks requests.

use super::json::{Json, Object, number, texts};
use crate::validate::{Bounds, FieldRules, Form, Ignore, Number, TextRules, Typed};

/// Adds the rules to the schema of a field, which is that of its list or map where it has many values.
pub(super) fn put(rules: &FieldRules, schema: &mut Object) {
    // Which values are left out a schema cannot tell from those that are judged.
    if rules.ignore != Ignore::Unspecified {
        return;
    }
    match &rules.typed {
        None => {}
        Some(Typed::Number { bounds, .. }) => put_bounds(bounds, schema),
        Some(Typed::Bool(expected)) => set(schema, "const", expected.map(Json::Bool)),
        Some(Typed::Text(rules)) => put_text(rules, schema),
        Some(Typed::Bytes(rules)) => {
            // Four characters for three bytes, padded or not.
            set(schema, "minLength", rules.min_len.map(|bytes| (i128::from(bytes) * 4 + 2) / 3));
            set(schema, "maxLength", rules.max_len.map(|bytes| (i128::from(bytes) + 2) / 3 * 4));
        }
        Some(Typed::Repeated { min, max, unique, items }) => {
            set(schema, "minItems", min.map(i128::from));
            set(schema, "maxItems", max.map(i128::from));
            set(schema, "uniqueItems", unique.then_some(true));
            put_inner(schema, "items", items.as_deref());
        }
        Some(Typed::Map { min, max, values, .. }) => {
            set(schema, "minProperties", min.map(i128::from));
            set(schema, "maxProperties", max.map(i128::from));
            put_inner(schema, "additionalProperties", values.as_deref());
        }
        Some(
            Typed::Enum { .. }
            | Typed::Any { .. }
            | Typed::Duration(_)
            | Typed::FieldMask { .. }
            | Typed::Timestamp { .. },
        ) => {}
    }
}

fn put_inner(schema: &mut Object, name: &str, rules: Option<&FieldRules>) {
    if let (Some(Json::Object(values)), Some(rules)) = (schema.get_mut(name), rules) {
        put(rules, values);
    }
}

fn set(schema: &mut Object, name: &'static str, value: Option<impl Into<Json>>) {
    if let Some(value) = value {
        schema.set(name, value);
    }
}

/// JSON Schema holds bounds against numbers alone; a text that stands for one is not judged.
fn put_bounds(bounds: &Bounds, schema: &mut Object) {
    // `gt` above `lt` means what is outside of the two, which has no simple words.
    let low = bounds.gt.or(bounds.gte);
    let high = bounds.lt.or(bounds.lte);
    if low.zip(high).is_some_and(|(low, high)| low > high) {
        return;
    }
    // A number that has a form as a text too has its numeric one first.
    match schema.get_mut("anyOf") {
        Some(Json::List(forms)) => {
            if let Some(Json::Object(first)) = forms.first_mut() {
                put_flat(bounds, first);
            }
        }
        _ => put_flat(bounds, schema),
    }
}

fn put_flat(bounds: &Bounds, schema: &mut Object) {
    let json = |bound: Option<Number>| match bound? {
        Number::Whole(whole) => Some(Json::Integer(whole)),
        Number::Double(double) => number(double),
    };
    set(schema, "exclusiveMaximum", json(bounds.lt));
    set(schema, "maximum", json(bounds.lte));
    set(schema, "exclusiveMinimum", json(bounds.gt));
    set(schema, "minimum", json(bounds.gte));
}

fn put_text(rules: &TextRules, schema: &mut Object) {
    set(schema, "const", rules.r#const.clone());
    set(schema, "minLength", rules.len.or(rules.min_len).map(i128::from));
    set(schema, "maxLength", rules.len.or(rules.max_len).map(i128::from));
    let prefix = rules.prefix.as_ref().map(|prefix| format!("^{}", escaped(prefix)));
    let pattern = rules.pattern.as_ref().filter(|pattern| is_portable(pattern));
    set(schema, "pattern", pattern.cloned().or(prefix));
    set(schema, "enum", (!rules.among.is_empty()).then(|| texts(rules.among.iter().cloned())));
    let format = match rules.form {
        Some(Form::Email) => Some("email"),
        Some(Form::Hostname) => Some("hostname"),
        Some(Form::Ipv4) => Some("ipv4"),
        Some(Form::Ipv6) => Some("ipv6"),
        Some(Form::Uri) => Some("uri"),
        Some(Form::UriRef) => Some("uri-reference"),
        Some(Form::Uuid) => Some("uuid"),
        _ => None,
    };
    set(schema, "format", format);
}

/// Whether a pattern of RE2 means the same in ECMAScript, which JSON Schema takes its patterns from: no flags, no
/// named groups, no classes by name, none of RE2's own anchors and escapes.
fn is_portable(pattern: &str) -> bool {
    let is_group = |at: usize| pattern.get(at + 2..).is_some_and(|rest| rest.starts_with(':'));
    if pattern.contains("[[:") || pattern.match_indices("(?").any(|(at, _)| !is_group(at)) {
        return false;
    }
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if character == '\\' && characters.next().is_none_or(|escaped| "AzQECapP".contains(escaped)) {
            return false;
        }
    }
    true
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
