//! Lines of JSON as they are written, member by member, in the order in which people read them.

use std::fmt::Display;
use std::io::Write;

/// A JSON object that is being written.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    is_first: bool,
}

impl<'o> Object<'o> {
    pub(super) fn open(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_first: true }
    }

    /// Names are the program's own and need no escape.
    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(if std::mem::take(&mut self.is_first) { b"\"" } else { b",\"" });
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        serde_json::to_writer(&mut *self.out, value).expect("a Vec takes every byte");
    }

    /// Text that needs no escape: digits, hyphens and what else an operator or a client has no part in.
    pub(super) fn plain(&mut self, name: &str, value: impl Display) {
        self.name(name);
        write!(self.out, "\"{value}\"").expect("a Vec takes every byte");
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    pub(super) fn null(&mut self, name: &str) {
        self.name(name);
        self.out.extend_from_slice(b"null");
    }

    pub(super) fn object(&mut self, name: &str) -> Object<'_> {
        self.name(name);
        Object::open(self.out)
    }

    pub(super) fn close(self) {
        self.out.push(b'}');
    }
}

/// The beginning of a text that is too long, whole characters only.
pub(super) fn clip(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
