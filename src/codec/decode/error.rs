//! [`Failure`]: why a JSON text is no message, gathered on the way out.
//!
//! Nothing is kept about the place while all is well: a failure is made where it is found, each
//! level it passes adds its part of the path, and the entry points turn it into a [`Status`]. It is
//! boxed so that a `Result` on the hot path is one pointer.

use std::borrow::Cow;
use std::fmt::Write;

use crate::schema::plan::FieldPlan;
use crate::status::Status;

pub(super) type Result<T> = std::result::Result<T, Box<Failure>>;

/// How much of a map key is quoted in a path.
const KEY_CHARS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Failure {
    /// Innermost first.
    path: Vec<Segment>,
    what: Cow<'static, str>,
    /// Byte offset in the text; told for what is not JSON, or not the kind of value expected.
    at: Option<usize>,
}

#[derive(Debug)]
enum Segment {
    Name(Box<str>),
    Index(usize),
    Key(String),
}

impl Failure {
    /// The text is not what is expected at byte offset `at`.
    #[cold]
    #[inline(never)]
    pub(super) fn at(at: usize, what: impl Into<Cow<'static, str>>) -> Box<Self> {
        Box::new(Self { path: Vec::new(), what: what.into(), at: Some(at) })
    }

    /// A value is well written and still wrong.
    #[cold]
    #[inline(never)]
    pub(super) fn value(what: impl Into<Cow<'static, str>>) -> Box<Self> {
        Box::new(Self { path: Vec::new(), what: what.into(), at: None })
    }

    #[cold]
    pub(super) fn in_field(self: Box<Self>, field: &FieldPlan) -> Box<Self> {
        self.in_name(&field.json_name)
    }

    #[cold]
    pub(super) fn in_name(mut self: Box<Self>, name: &str) -> Box<Self> {
        self.path.push(Segment::Name(name.into()));
        self
    }

    #[cold]
    pub(super) fn in_element(mut self: Box<Self>, index: usize) -> Box<Self> {
        self.path.push(Segment::Index(index));
        self
    }

    #[cold]
    pub(super) fn in_entry(mut self: Box<Self>, key: &[u8]) -> Box<Self> {
        self.path.push(Segment::Key(shown(key)));
        self
    }

    /// `INVALID_ARGUMENT` with the path, and the line and column in `json`.
    #[cold]
    pub(super) fn into_status(self, json: &[u8]) -> Status {
        let mut description = self.what.into_owned();
        if let Some(at) = self.at {
            let before = &json[..at.min(json.len())];
            let line = memchr::memchr_iter(b'\n', before).count() + 1;
            let column = at - memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1) + 1;
            let _ = write!(description, " at line {line} column {column}");
        }
        Status::invalid_field(&path_text(&self.path), &description)
    }
}

/// What the client wrote, shortened to be quoted.
#[cold]
pub(super) fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(KEY_CHARS_MAX).collect()
}

fn path_text(innermost_first: &[Segment]) -> String {
    let mut path = String::new();
    for segment in innermost_first.iter().rev() {
        match segment {
            Segment::Name(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            Segment::Index(index) => {
                let _ = write!(path, "[{index}]");
            }
            Segment::Key(key) => {
                let _ = write!(path, "[{key}]");
            }
        }
    }
    path
}
