//! The text of one field of a message in wire form, as a path or a query parameter would have it.
//!
//! What judges calls by fields of their request knows them as text; of a request that is in wire form already, this
//! is where the text comes from. The field may be within messages: `book.name`.

use std::borrow::Cow;

use super::options::JsonOptions;
use super::wire::WireError;
use super::{field_to_json, wire};
use crate::schema::Schema;
use crate::schema::plan::{Kind, MessageId};

/// The text of the field that `path` leads to, by names as declared; `None` where there is no such single value, or it
/// is absent and absence is a state of its own.
pub fn wire_to_text<'w>(
    schema: &Schema,
    message: MessageId,
    path: &str,
    wire: &'w [u8],
) -> Option<Cow<'w, str>> {
    let (mut message, mut wire) = (message, Cow::Borrowed(wire));
    let mut names = path.split('.').peekable();
    loop {
        let plan = schema.message(message);
        let name = names.next()?;
        let index = plan.fields.iter().position(|field| *field.name == *name)?;
        let field = plan.fields.get(index)?;
        if field.is_repeated() {
            return None;
        }
        if names.peek().is_none() {
            return match (wire, field.kind) {
                (Cow::Borrowed(wire), Kind::String) => match last_string(wire, field.number).ok()? {
                    Some(text) => Some(Cow::Borrowed(text)),
                    None => (!field.has_presence()).then_some(Cow::Borrowed("")),
                },
                (wire, _) => scalar(schema, message, index, &wire),
            };
        }
        let Kind::Message(inner) = field.kind else { return None };
        wire = match wire {
            Cow::Borrowed(wire) => joined(wire, field.number).ok()?,
            Cow::Owned(wire) => Cow::Owned(joined(&wire, field.number).ok()?.into_owned()),
        };
        message = inner;
    }
}

/// The last occurrence of a string.
fn last_string(message: &[u8], number: u32) -> Result<Option<&str>, WireError> {
    let mut last = None;
    wire::each_len(message, number, |text| {
        last = Some(text);
        Ok(())
    })?;
    Ok(last.and_then(|text| std::str::from_utf8(text).ok()))
}

/// The message that all occurrences of a field make together.
fn joined(message: &[u8], number: u32) -> Result<Cow<'_, [u8]>, WireError> {
    let mut whole: Option<Cow<'_, [u8]>> = None;
    wire::each_len(message, number, |part| {
        match &mut whole {
            None => whole = Some(Cow::Borrowed(part)),
            Some(whole) => whole.to_mut().extend_from_slice(part),
        }
        Ok(())
    })?;
    Ok(whole.unwrap_or_default())
}

/// A value whose JSON is a literal or a string without escapes.
fn scalar<'w>(schema: &Schema, message: MessageId, index: usize, wire: &[u8]) -> Option<Cow<'w, str>> {
    let mut json = Vec::new();
    field_to_json(schema, message, index, None, &JsonOptions::default(), wire, &mut json).ok()?;
    match json.first()? {
        b'{' | b'[' | b'n' => None,
        b'"' => serde_json::from_slice(&json).ok().map(Cow::Owned),
        _ => String::from_utf8(json).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encode::tests::compile;
    use crate::codec::json_to_wire;

    #[test]
    fn fields_have_the_text_that_a_path_would_have() {
        let schema = compile();
        let check = |message: &str, json: &str, path: &str, expected: Option<&str>| {
            let id = schema.message_id(message).expect(message);
            let mut wire = Vec::new();
            json_to_wire(&schema, id, &JsonOptions::default(), json.as_bytes(), &mut wire).expect(json);
            assert_eq!(wire_to_text(&schema, id, path, &wire).as_deref(), expected, "{json} {path}");
        };
        check("t.Node", r#"{"name":"a b"}"#, "name", Some("a b"));
        check("t.Node", "{}", "name", Some(""));
        check("t.Node", r#"{"n":-7}"#, "n", Some("-7"));
        check("t.Node", "{}", "n", Some("0"));
        check("t.Node", r#"{"maybe":0}"#, "maybe", Some("0"));
        check("t.Node", "{}", "maybe", None);
        check("t.Node", r#"{"text":""}"#, "text", Some(""));
        check("t.Node", "{}", "text", None);
        check("t.Node", r#"{"color":"GREEN"}"#, "color", Some("GREEN"));
        check("t.Node", r#"{"child":{"child":{"name":"c"}}}"#, "child.child.name", Some("c"));
        check("t.Node", r#"{"child":{}}"#, "child.name", Some(""));
        check("t.Node", "{}", "child.name", Some(""));
        check("t.Node", r#"{"child":{"name":"c"}}"#, "child", None);
        check("t.Node", r#"{"children":[{"name":"c"}]}"#, "children", None);
        check("t.Node", "{}", "none.such", None);
        check("t.Node", r#"{"name":"n"}"#, "name.x", None);
        check("t.Scalars", r#"{"fBytes":"AQI="}"#, "f_bytes", Some("AQI="));
        check("t.Scalars", r#"{"fInt64":"9"}"#, "f_int64", Some("9"));
        check("t.Scalars", r#"{"fBool":true}"#, "f_bool", Some("true"));
    }

    #[test]
    fn parts_of_a_message_are_one() {
        let schema = compile();
        let id = schema.message_id("t.Node").expect("the fixture has it");
        // child { name: "a" }, child { n: 5 }, of which the name comes again.
        let wire = b"\x12\x03\x0a\x01a\x12\x02\x20\x05\x12\x03\x0a\x01b";
        assert_eq!(wire_to_text(&schema, id, "child.name", wire).as_deref(), Some("b"));
        assert_eq!(wire_to_text(&schema, id, "child.n", wire).as_deref(), Some("5"));
        assert_eq!(wire_to_text(&schema, id, "child.name", b"\x12\x05\x0a"), None);
    }
}
