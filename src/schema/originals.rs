//! The descriptors as they came, for what is read seldom: options, and comments.
//!
//! Nothing is copied: a descriptor's path, the one that `source_code_info` uses too, is a list of field
//! numbers and positions, and walking the file's wire bytes along it finds the declaration in a few
//! microseconds. Only comments are indexed, file by file, because they lie in one long list.

use std::collections::HashMap;
use std::sync::OnceLock;

use bytes::{Buf, Bytes, BytesMut};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::comments::{CommentIndex, Comments};

/// `FileDescriptorProto` bytes by file name.
#[derive(Debug, Default)]
pub(super) struct Originals {
    files: HashMap<Box<str>, Original>,
}

#[derive(Debug)]
struct Original {
    bytes: Bytes,
    comments: OnceLock<CommentIndex>,
}

impl Originals {
    pub(super) fn insert(&mut self, name: &str, file: Bytes) {
        self.files.insert(name.into(), Original { bytes: file, comments: OnceLock::new() });
    }

    /// The comments of the declaration at `path`; none for a file that is not here.
    pub(super) fn comments(&self, file: &str, path: &[i32]) -> Comments {
        let Some(original) = self.files.get(file) else { return Comments::default() };
        original.comments.get_or_init(|| CommentIndex::of(&original.bytes)).find(path)
    }

    /// The serialized options of the declaration at `path`, empty when it has none; `None` for a file that is
    /// not here. `number` is that of `options` in the declaration's own message.
    pub(super) fn options(&self, file: &str, path: &[i32], number: u32) -> Option<Bytes> {
        let mut at = self.files.get(file)?.bytes.clone();
        for step in path.chunks_exact(2) {
            let &[number, index] = step else { return None };
            at = nth(at, u32::try_from(number).ok()?, usize::try_from(index).ok()?)?;
        }
        Some(submessage(at, number))
    }
}

/// All occurrences of a singular message field, merged: concatenated serializations merge.
pub(super) fn submessage(message: Bytes, number: u32) -> Bytes {
    let mut found = Occurrences::new(message, number);
    let Some(first) = found.next() else { return Bytes::new() };
    let Some(second) = found.next() else { return first };
    let mut merged = BytesMut::from(&first[..]);
    merged.extend_from_slice(&second);
    found.for_each(|more| merged.extend_from_slice(&more));
    merged.freeze()
}

fn nth(message: Bytes, number: u32, index: usize) -> Option<Bytes> {
    Occurrences::new(message, number).nth(index)
}

/// The length-delimited values of one field, as slices of the message. Ends at the first broken tag.
pub(super) struct Occurrences {
    rest: Bytes,
    number: u32,
}

impl Occurrences {
    pub(super) fn new(message: Bytes, number: u32) -> Self {
        Self { rest: message, number }
    }
}

impl Iterator for Occurrences {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while self.rest.has_remaining() {
            let (number, wire_type) = decode_key(&mut self.rest).ok()?;
            if number == self.number && wire_type == WireType::LengthDelimited {
                let length = usize::try_from(decode_varint(&mut self.rest).ok()?).ok()?;
                return (length <= self.rest.len()).then(|| self.rest.split_to(length));
            }
            skip_field(wire_type, number, &mut self.rest, DecodeContext::default()).ok()?;
        }
        None
    }
}
