//! Coerced arguments → the request's wire bytes.
//!
//! ```text
//! Value ──▶ ProtoJSON ──codec──▶ wire
//! ```
//!
//! What GraphQL takes is ProtoJSON but for its maps, which are lists of entries: so arguments are written as JSON, a
//! few dozen bytes of it, and the codec reads that as it reads the body of any other request, with its checks of
//! ranges, texts, oneofs and depth, and the paths of its errors.

use super::value::Value;
use crate::codec::options::JsonOptions;
use crate::codec::{json, json_to_wire};
use crate::schema::Schema;
use crate::schema::plan::{FieldPlan, MessageId, Shape, WellKnown};
use crate::status::Status;

/// The bytes of a request of type `message`.
///
/// # Errors
///
/// `INVALID_ARGUMENT` naming the path of the argument: a number out of range, a text that is none of its scalar,
/// more than one member of a oneof, a key of a map that comes twice.
pub fn request(
    schema: &Schema,
    message: MessageId,
    options: &JsonOptions,
    arguments: &Value,
) -> Result<Vec<u8>, Status> {
    let mut writer = Writer { schema, out: Vec::with_capacity(64) };
    writer.message(message, arguments)?;
    let mut wire = Vec::with_capacity(writer.out.len());
    json_to_wire(schema, message, options, &writer.out, &mut wire)?;
    Ok(wire)
}

struct Writer<'s> {
    schema: &'s Schema,
    out: Vec<u8>,
}

impl Writer<'_> {
    /// Writes a message in the JSON form of its type.
    fn message(&mut self, id: MessageId, value: &Value) -> Result<(), Status> {
        let plan = self.schema.message(id);
        let (WellKnown::No | WellKnown::MapEntry, Value::Object(members)) = (plan.well_known, value) else {
            return self.plain(value);
        };
        self.list(b"{}", members, |writer, (name, value)| {
            writer.name(name)?;
            match plan.by_name(name.as_bytes()).and_then(|index| plan.fields.get(index)) {
                Some(field) => writer.field(field, value),
                None => writer.plain(value),
            }
        })
    }

    fn field(&mut self, field: &FieldPlan, value: &Value) -> Result<(), Status> {
        match (field.shape, field.kind.message(), value) {
            (Shape::Map, Some(entry), Value::List(entries)) => self.map(field, entry, entries),
            (Shape::Repeated { .. }, Some(id), Value::List(items)) => {
                self.list(b"[]", items, |writer, item| writer.message(id, item))
            }
            (Shape::Implicit | Shape::Explicit | Shape::Required, Some(id), value) => self.message(id, value),
            _ => self.plain(value),
        }
    }

    /// Writes a list of entries as the object that a map is. A key or value that is not given is the default of its
    /// type, as it is on the wire.
    fn map(&mut self, field: &FieldPlan, entry: MessageId, entries: &[Value]) -> Result<(), Status> {
        let plan = self.schema.message(entry);
        let [key_field, value_field] = &*plan.fields else { return self.plain(&Value::Null) };
        self.list(b"{}", entries, |writer, entry| {
            let member = |name: &str| match entry {
                Value::Object(members) => {
                    members.iter().find(|(own, _)| **own == *name).map(|(_, value)| value)
                }
                _ => None,
            };
            let missing = |what: &FieldPlan| {
                Status::invalid_field(&field.json_name, &format!("an entry needs its `{}`", what.json_name))
            };
            match member(&key_field.json_name) {
                Some(Value::String(text)) => writer.name(text)?,
                Some(Value::Int(number)) => writer.name(&number.to_string())?,
                Some(Value::Boolean(value)) => writer.name(if *value { "true" } else { "false" })?,
                _ => return Err(missing(key_field)),
            }
            match member(&value_field.json_name) {
                Some(Value::Null) | None => Err(missing(value_field)),
                Some(value) => writer.field(value_field, value),
            }
        })
    }

    /// Writes a value as JSON.
    fn plain(&mut self, value: &Value) -> Result<(), Status> {
        match value {
            Value::Null => self.out.extend_from_slice(b"null"),
            Value::Boolean(value) => self.out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Value::Int(number) => self.out.extend_from_slice(number.to_string().as_bytes()),
            Value::Float(number) => json::float(&mut self.out, *number),
            Value::String(text) | Value::Enum(text) => self.string(text)?,
            Value::List(items) => self.list(b"[]", items, |writer, item| writer.plain(item))?,
            Value::Object(members) => self.list(b"{}", members, |writer, (name, value)| {
                writer.name(name)?;
                writer.plain(value)
            })?,
        }
        Ok(())
    }

    /// Writes what `each` writes of the items, between brackets and with commas.
    fn list<T>(
        &mut self,
        brackets: &[u8; 2],
        items: &[T],
        mut each: impl FnMut(&mut Self, &T) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let [open, close] = *brackets;
        self.out.push(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            each(self, item)?;
        }
        self.out.push(close);
        Ok(())
    }

    fn name(&mut self, name: &str) -> Result<(), Status> {
        self.string(name)?;
        self.out.push(b':');
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), Status> {
        json::string(&mut self.out, text.as_bytes())
            .map_err(|error| Status::invalid_field("", &error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;
    use crate::codec::wire_to_json;
    use crate::graphql::projection::tests::SCHEMA;

    /// JSON as the values that a coercion would make of it; a string with a `!` before it is an enum's.
    fn value(json: &Json) -> Value {
        match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Boolean(*value),
            Json::Number(number) => match number.to_string().parse() {
                Ok(whole) => Value::Int(whole),
                Err(_) => Value::Float(number.as_f64().expect("a number")),
            },
            Json::String(text) => match text.strip_prefix('!') {
                Some(name) => Value::Enum(name.into()),
                None => Value::String(text.as_str().into()),
            },
            Json::Array(items) => Value::List(items.iter().map(value).collect()),
            Json::Object(members) => Value::Object(
                members.iter().map(|(name, json)| (name.as_str().into(), value(json))).collect(),
            ),
        }
    }

    /// The request as JSON, or what is wrong with the arguments.
    fn read(message: &str, arguments: &str) -> Result<String, String> {
        let id = SCHEMA.message_id(message).expect(message);
        let arguments = value(&serde_json::from_str(arguments).expect(arguments));
        let options = JsonOptions::default();
        let wire =
            request(&SCHEMA, id, &options, &arguments).map_err(|status| status.message.into_owned())?;
        let mut out = Vec::new();
        wire_to_json(&SCHEMA, id, &options, &wire, &mut out).expect("what was written can be read");
        Ok(String::from_utf8(out).expect("JSON is UTF-8"))
    }

    #[test]
    fn arguments_become_the_request() {
        let check = |arguments: &str, expected: &str| {
            assert_eq!(read("t.Book", arguments).as_deref(), Ok(expected), "{arguments}");
        };
        check("{}", "{}");
        check(
            r#"{"name":"n","copiesSold":9007199254740993}"#,
            r#"{"name":"n","copiesSold":"9007199254740993"}"#,
        );
        check(r#"{"copiesSold":"-1"}"#, r#"{"copiesSold":"-1"}"#);
        check(
            r#"{"isbn":18446744073709551615,"edition":4294967295}"#,
            r#"{"edition":4294967295,"isbn":"18446744073709551615"}"#,
        );
        check(r#"{"genre":"!POETRY","genres":["!NOVEL"]}"#, r#"{"genre":"POETRY","genres":["NOVEL"]}"#);
        check(r#"{"subtitle":null,"shelf":null,"authors":null}"#, "{}");
        check(r#"{"subtitle":""}"#, r#"{"subtitle":""}"#);
        check(r#"{"price":1.5,"weight":2,"lent":true}"#, r#"{"price":1.5,"weight":2,"lent":true}"#);
        check(r#"{"scan":"AQI="}"#, r#"{"scan":"AQI="}"#);
        check(
            r#"{"shelves":[{"id":"a","next":{"id":"b"}},{}]}"#,
            r#"{"shelves":[{"id":"a","next":{"id":"b"}},{}]}"#,
        );
        check(
            r#"{"publishTime":"2026-01-02T03:04:05Z","span":"1.5s","mask":"a,bC"}"#,
            r#"{"publishTime":"2026-01-02T03:04:05Z","span":"1.500s","mask":"a,bC"}"#,
        );
        check(r#"{"extra":{"a":[1,null,"x"]}}"#, r#"{"extra":{"a":[1,null,"x"]}}"#);
        check(
            r#"{"any":{"@type":"type.googleapis.com/t.Shelf","id":"x"}}"#,
            r#"{"any":{"@type":"type.googleapis.com/t.Shelf","id":"x"}}"#,
        );
        check(r#"{"note":"n","counts":[1,"2"],"score":null}"#, r#"{"note":"n","counts":["1","2"]}"#);
        check(r#"{"gone":{}}"#, r#"{"gone":{}}"#);
        check(r#"{"name":"\"\u0001ä"}"#, "{\"name\":\"\\\"\\u0001ä\"}");
    }

    #[test]
    fn maps_are_lists_of_entries_or_objects() {
        let check = |arguments: &str, expected: &str| {
            assert_eq!(read("t.Book", arguments).as_deref(), Ok(expected), "{arguments}");
        };
        check(r#"{"ratings":[{"key":"a","value":1},{"value":2,"key":"b"}]}"#, r#"{"ratings":{"a":1,"b":2}}"#);
        check(r#"{"ratings":{"a":1}}"#, r#"{"ratings":{"a":1}}"#);
        check(r#"{"ratings":[]}"#, "{}");
        check(
            r#"{"places":[{"key":"7","value":{"id":"x"}},{"key":8,"value":{}}]}"#,
            r#"{"places":{"7":{"id":"x"},"8":{}}}"#,
        );
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_path() {
        let check = |arguments: &str, expected: &str| {
            let found = read("t.Book", arguments);
            assert_eq!(found.as_ref().err().map(String::as_str), Some(expected), "{arguments} {found:?}");
        };
        check(r#"{"ratings":[{"value":1}]}"#, "`ratings`: an entry needs its `key`");
        check(r#"{"ratings":[{"key":"a"}]}"#, "`ratings`: an entry needs its `value`");
        for (arguments, path) in [
            (r#"{"copiesSold":9223372036854775808}"#, "`copiesSold`: "),
            (r#"{"shelves":[{},{"height":2147483648}]}"#, "`shelves[1].height`: "),
            (r#"{"publishTime":"yesterday"}"#, "`publishTime`: "),
            (r#"{"span":"1"}"#, "`span`: "),
            (r#"{"scan":"*"}"#, "`scan`: "),
            (r#"{"weight":1e300}"#, "`weight`: "),
            (r#"{"paper":"p","none":1}"#, "`paper`: another field of the same oneof is set too"),
            (r#"{"ratings":[{"key":"a","value":1},{"key":"a","value":2}]}"#, "`ratings`: a key occurs twice"),
            (r#"{"shelf":{"genre":"!NONE_SUCH"}}"#, "`shelf.genre`: "),
        ] {
            let found = read("t.Book", arguments).expect_err(arguments);
            assert!(found.starts_with(path), "{arguments}: {found}");
        }
    }
}
