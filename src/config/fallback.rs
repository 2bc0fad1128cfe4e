//! `surfaces.NAME.rules[].fallback`: what clients get in the place of a service that cannot be called.
//!
//! ```yaml
//! fallback: { body: { name: shelves/1, theme: "not known now" }, status: 203 }
//! ```
//!
//! The body is a message in its JSON form, and what fits depends on the methods of the rule: that is found out when
//! the descriptors are there, so that every part of it keeps its place in the file.

use std::fmt::Write;

use super::finding::{Position, Report};
use super::section::Section;
use super::value;
use super::yaml::{Node, Value};

/// The reply of a rule whose service cannot be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The HTTP number. Default 200.
    pub status: u16,
    /// Default: the empty message.
    pub body: Body,
    /// Where the file says it.
    pub position: Position,
}

/// A message as the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    pub json: String,
    /// The parts with their places, outer ones first.
    places: Vec<(Vec<String>, Position)>,
}

/// JSON of one reply; it is kept once for each method of the rule.
const JSON_BYTES_MAX: usize = 64 << 10;

impl Fallback {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut status = 200;
        let mut body = Body { json: "{}".to_owned(), places: Vec::new() };
        let mut section = Section::open(node, "surfaces.NAME.rules[].fallback", report)?;
        section.read("body", &mut body, Body::read);
        section.read("status", &mut status, number);
        section.close(&[]);
        Some(Self { status, body, position: node.position })
    }
}

/// RFC 9110, section 15.3: a success, and one that has a body.
fn number(node: &Node, report: &mut Report) -> Option<u16> {
    match value::integer(200..=299)(node, report)? {
        204 | 205 => value::refuse(node, report, "a reply with this number has no body"),
        number => Some(number),
    }
}

impl Body {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let Value::Map(_) = &node.value else {
            return value::expected(node, report, "the fields of the reply, such as `{ name: shelves/1 }`");
        };
        let mut body = Self { json: String::new(), places: Vec::new() };
        body.put(node, &mut Vec::new());
        if body.json.len() > JSON_BYTES_MAX {
            return value::refuse(node, report, format!("its JSON is longer than {JSON_BYTES_MAX} bytes"));
        }
        Some(body)
    }

    /// Writes a value, and notes where its parts stand.
    fn put(&mut self, node: &Node, path: &mut Vec<String>) {
        match &node.value {
            Value::Null | Value::Unwritten => self.json.push_str("null"),
            Value::Bool(value) => self.put_shown(value),
            Value::Integer(number) => self.put_shown(number),
            Value::Float(number) => self.put_shown(number),
            Value::Text(text) => self.put_text(text),
            Value::List(items) => {
                self.json.push('[');
                for (index, item) in items.iter().enumerate() {
                    self.separate(index);
                    self.enter(index.to_string(), item.position, path, |body, path| body.put(item, path));
                }
                self.json.push(']');
            }
            Value::Map(entries) => {
                self.json.push('{');
                for (index, (key, node)) in entries.iter().enumerate() {
                    self.separate(index);
                    self.enter(key.name.clone(), key.position, path, |body, path| {
                        body.put_text(&key.name);
                        body.json.push(':');
                        body.put(node, path);
                    });
                }
                self.json.push('}');
            }
        }
    }

    fn enter(
        &mut self,
        name: String,
        position: Position,
        path: &mut Vec<String>,
        put: impl FnOnce(&mut Self, &mut Vec<String>),
    ) {
        path.push(name);
        self.places.push((path.clone(), position));
        put(self, path);
        path.pop();
    }

    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.json.push(',');
        }
    }

    fn put_shown(&mut self, value: &impl std::fmt::Display) {
        let _ = write!(self.json, "{value}");
    }

    fn put_text(&mut self, text: &str) {
        self.json.push_str(&serde_json::Value::from(text).to_string());
    }

    /// Where the part stands that a path such as `book.pages[0].text` leads to, or the nearest around it.
    pub fn place(&self, path: &str) -> Option<Position> {
        let names: Vec<&str> = path.split(['.', '[', ']']).filter(|name| !name.is_empty()).collect();
        let is_around = |place: &[String]| {
            place.len() <= names.len() && place.iter().zip(&names).all(|(own, name)| is_named(own, name))
        };
        let around = self.places.iter().filter(|(place, _)| is_around(place));
        around.max_by_key(|(place, _)| place.len()).map(|(_, position)| *position)
    }
}

/// Whether the file's name of a field is this one of its JSON form, which may be spelled either way.
fn is_named(own: &str, name: &str) -> bool {
    let plain = |text: &str| text.replace('_', "").to_lowercase();
    own == name || plain(own) == plain(name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Elsewhere};

    fn fallback(text: &str) -> Result<Fallback, String> {
        let head = "version: 1\nservices: { a: { endpoints: { static: [\"http://a:1\"] } } }\n";
        let text = format!("{head}surfaces: {{ web: {{ rules: [{{ match: a, fallback: {text} }}] }} }}\n");
        let elsewhere = Elsewhere { descriptors: true, ..Elsewhere::default() };
        let config = Config::parse(&text, Path::new("t.yaml"), elsewhere);
        let config = config.map_err(|findings| findings[0].message.clone())?;
        Ok(config.surfaces[0].rules[0].fallback.clone().expect("it is said"))
    }

    #[test]
    fn a_body_is_the_json_that_the_file_says() {
        let check = |text: &str, json: &str| {
            assert_eq!(fallback(text).map(|fallback| fallback.body.json).as_deref(), Ok(json), "{text}");
        };
        check("{}", "{}");
        check("{ body: {} }", "{}");
        check(
            "{ body: { a: 1, b_c: [x, -2.5, true, null], d: { e: \"\\\"\" } } }",
            "{\"a\":1,\"b_c\":[\"x\",-2.5,true,null],\"d\":{\"e\":\"\\\"\"}}",
        );
    }

    #[test]
    fn a_body_is_bounded() {
        // `{"a":"…"}` is eight bytes more than the text.
        let sized = |bytes: usize| fallback(&format!("{{ body: {{ a: {} }} }}", "x".repeat(bytes - 8)));
        assert!(sized(JSON_BYTES_MAX).is_ok());
        assert_eq!(sized(JSON_BYTES_MAX + 1), Err("its JSON is longer than 65536 bytes".to_owned()));
    }

    #[test]
    fn parts_are_found_by_their_json_names() {
        let text = "{ body: { a_b: { c: [1, { d: 2 }] } } }";
        let body = fallback(text).expect("a good one").body;
        let column = |path: &str| body.place(path).map(|position| position.column);
        let base = column("aB").expect("found");
        for (path, after) in [("a_b", 0), ("aB.c", 7), ("aB.c[0]", 11), ("aB.c[1].d", 16), ("aB.c[1].x", 14)]
        {
            assert_eq!(column(path), Some(base + after), "{path}");
        }
        assert_eq!(column("x"), None);
    }
}
