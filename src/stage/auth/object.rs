//! JSON objects of strangers: one name, one value, at every depth.
//!
//! RFC 7519, section 4, lets a reader take the last of two equal claims or refuse them. Two readers that
//! choose differently see two identities in one token, so here a name given twice is an error, also
//! inside nested objects. Depth is bounded by serde_json (128), size by who reads the bytes.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads an object; `None` for anything else, for what is no JSON, and for names given twice.
pub(super) fn read(bytes: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(bytes) {
        Ok(Unique(Value::Object(object))) => Some(object),
        _ => None,
    }
}

/// A value without duplicate names.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Unique)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate names")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Unique(value))) = entries.next_entry::<String, Unique>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name is given twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_without_duplicates_are_read() {
        let check =
            |text: &str, expected: bool| assert_eq!(read(text.as_bytes()).is_some(), expected, "{text}");
        check("{}", true);
        check(r#"{"a":1,"b":[-1,2.5,null,true,"x"],"c":{"a":1}}"#, true);
        check(r#"{"a":1,"a":1}"#, false);
        check(r#"{"a":1,"\u0061":2}"#, false);
        check(r#"{"a":{"b":1,"b":2}}"#, false);
        check(r#"{"a":[{"b":1,"b":2}]}"#, false);
        check("[]", false);
        check("null", false);
        check("", false);
        check("{} {}", false);
        check("\u{feff}{}", false);
        check(r#"{"a":1e999}"#, false);
        check(&format!("{{\"a\":{}1{}}}", "[".repeat(126), "]".repeat(126)), true);
        check(&format!("{{\"a\":{}1{}}}", "[".repeat(127), "]".repeat(127)), false);
    }

    #[test]
    fn what_is_read_is_what_serde_json_reads() {
        let text = r#"{"big":18446744073709551615,"small":-9223372036854775808,"half":0.5,"text":"é\n","none":null}"#;
        let expected: Map<String, Value> = serde_json::from_str(text).expect("valid JSON");
        assert_eq!(read(text.as_bytes()), Some(expected));
    }
}
