//! The document on its way out: JSON or YAML, member by member, nothing kept.
//!
//! ```text
//! open {  member "a" 1   enter "b" {  …  leave }  close }
//! ```
//!
//! YAML is its block style with every name and text in double quotes, where JSON's escapes hold (YAML 1.2,
//! section 5.7): so nothing is ever read as a date, a number or `no`.

use std::io::{self, Write};

use super::json::{Json, Object};

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Without blanks, for programs.
    Json,
    /// Indented, for people and for `diff`.
    JsonIndented,
    Yaml,
}

/// Writes one object, and the objects in it.
pub(super) struct Writer<W> {
    out: W,
    format: Format,
    /// For each open object, whether it has a member yet.
    open: Vec<bool>,
}

impl<W: Write> Writer<W> {
    /// Opens the document's object.
    pub(super) fn new(out: W, format: Format) -> Self {
        Self { out, format, open: vec![false] }
    }

    /// A member of the object that is open.
    pub(super) fn member(&mut self, name: &str, value: &Json) -> io::Result<()> {
        self.name(name)?;
        self.value(value, self.open.len())
    }

    /// Opens an object as a member of the one that is open.
    pub(super) fn enter(&mut self, name: &str) -> io::Result<()> {
        self.name(name)?;
        self.open.push(false);
        Ok(())
    }

    /// Closes the object that was opened last.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        let has_members = self.open.pop().unwrap_or(true);
        match self.format {
            Format::Yaml if has_members => Ok(()),
            Format::Yaml if self.open.is_empty() => self.out.write_all(b"{}\n"),
            Format::Yaml => self.out.write_all(b" {}\n"),
            _ if !has_members => self.out.write_all(b"{}"),
            _ => {
                self.line(self.open.len())?;
                self.out.write_all(b"}")
            }
        }
    }

    /// Closes the document.
    pub(super) fn finish(mut self) -> io::Result<()> {
        while !self.open.is_empty() {
            self.leave()?;
        }
        if self.format == Format::JsonIndented {
            self.out.write_all(b"\n")?;
        }
        self.out.flush()
    }

    fn name(&mut self, name: &str) -> io::Result<()> {
        let depth = self.open.len();
        let has_members = self.open.last_mut().is_some_and(|has| std::mem::replace(has, true));
        if self.format == Format::Yaml {
            if !has_members && depth > 1 {
                self.out.write_all(b"\n")?;
            }
            self.indent(depth - 1)?;
        } else {
            self.out.write_all(if has_members { b"," } else { b"{" })?;
            self.line(depth)?;
        }
        self.text(name)?;
        self.colon()
    }

    fn colon(&mut self) -> io::Result<()> {
        self.out.write_all(if self.format == Format::JsonIndented { b": " } else { b":" })
    }

    fn value(&mut self, value: &Json, depth: usize) -> io::Result<()> {
        if self.format == Format::Yaml { self.yaml(value, depth) } else { self.json(value, depth) }
    }

    fn json(&mut self, value: &Json, depth: usize) -> io::Result<()> {
        match value {
            Json::List(items) if !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    self.out.write_all(if index > 0 { b"," } else { b"[" })?;
                    self.line(depth + 1)?;
                    self.json(item, depth + 1)?;
                }
                self.line(depth)?;
                self.out.write_all(b"]")
            }
            Json::Object(Object(members)) if !members.is_empty() => {
                for (index, (name, member)) in members.iter().enumerate() {
                    self.out.write_all(if index > 0 { b"," } else { b"{" })?;
                    self.line(depth + 1)?;
                    self.text(name)?;
                    self.colon()?;
                    self.json(member, depth + 1)?;
                }
                self.line(depth)?;
                self.out.write_all(b"}")
            }
            scalar => self.scalar(scalar),
        }
    }

    /// What stands behind `name:` or `-`, to the end of its last line.
    fn yaml(&mut self, value: &Json, depth: usize) -> io::Result<()> {
        match value {
            Json::List(items) if !items.is_empty() => {
                self.out.write_all(b"\n")?;
                for item in items {
                    self.indent(depth)?;
                    self.out.write_all(b"-")?;
                    self.yaml(item, depth + 1)?;
                }
                Ok(())
            }
            Json::Object(Object(members)) if !members.is_empty() => {
                self.out.write_all(b"\n")?;
                for (name, member) in members {
                    self.indent(depth)?;
                    self.text(name)?;
                    self.out.write_all(b":")?;
                    self.yaml(member, depth + 1)?;
                }
                Ok(())
            }
            scalar => {
                self.out.write_all(b" ")?;
                self.scalar(scalar)?;
                self.out.write_all(b"\n")
            }
        }
    }

    fn scalar(&mut self, value: &Json) -> io::Result<()> {
        match value {
            Json::Null => self.out.write_all(b"null"),
            Json::Bool(value) => write!(self.out, "{value}"),
            Json::Integer(value) => write!(self.out, "{value}"),
            Json::Number(value) => Ok(serde_json::to_writer(&mut self.out, value)?),
            Json::Text(text) => self.text(text),
            Json::List(_) => self.out.write_all(b"[]"),
            Json::Object(_) => self.out.write_all(b"{}"),
        }
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        Ok(serde_json::to_writer(&mut self.out, text)?)
    }

    /// A new line where people read.
    fn line(&mut self, depth: usize) -> io::Result<()> {
        if self.format == Format::Json {
            return Ok(());
        }
        self.out.write_all(b"\n")?;
        self.indent(depth)
    }

    fn indent(&mut self, depth: usize) -> io::Result<()> {
        (0..depth).try_for_each(|_| self.out.write_all(b"  "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::{object, texts};
    use super::*;

    fn written(format: Format) -> String {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, format);
        writer.member("a", &Json::Integer(-1)).expect("memory");
        writer.enter("b").expect("memory");
        writer.member("c:", &texts(["x\n\"y\"", "no"])).expect("memory");
        writer.enter("d").expect("memory");
        writer.leave().expect("memory");
        writer.leave().expect("memory");
        let nested =
            Json::List(vec![object("f", Json::Null).into(), Json::List(vec![]), Object::new().into()]);
        writer.member("e", &nested).expect("memory");
        writer.member("g", &Json::Number(0.5)).expect("memory");
        writer.finish().expect("memory");
        String::from_utf8(out).expect("text")
    }

    const COMPACT: &str = r#"{"a":-1,"b":{"c:":["x\n\"y\"","no"],"d":{}},"e":[{"f":null},[],{}],"g":0.5}"#;

    #[test]
    fn json_has_no_blanks_and_the_same_content_with_them() {
        assert_eq!(written(Format::Json), COMPACT);
        let indented = written(Format::JsonIndented);
        assert!(indented.starts_with("{\n  \"a\": -1,\n  \"b\": {\n    \"c:\": [\n      \"x"), "{indented}");
        let value: serde_json::Value = serde_json::from_str(&indented).expect("JSON");
        assert_eq!(value, serde_json::from_str::<serde_json::Value>(COMPACT).expect("JSON"));
    }

    #[test]
    fn yaml_is_in_blocks_and_quotes() {
        let expected = "\
\"a\": -1
\"b\":
  \"c:\":
    - \"x\\n\\\"y\\\"\"
    - \"no\"
  \"d\": {}
\"e\":
  -
    \"f\": null
  - []
  - {}
\"g\": 0.5
";
        assert_eq!(written(Format::Yaml), expected);
    }
}
