//! What people wrote beside a declaration: the comments of `source_code_info`, read when they are asked for.
//!
//! ```text
//! declaration → file and path → index of the file (made on first use) → one Location → Comments
//! ```
//!
//! `source_code_info` is most of a set's bytes and is never decoded: the index of a file lists the places of
//! those locations that have a comment, in the order of their paths, and one lookup decodes one of them.
//! The texts are as the compiler left them, but for the space after `//` and for what is not meant for
//! readers: notes in `(-- … --)` (AIP-192) and directives of linters.

use bytes::Bytes;
use prost::Message;
use prost_reflect::{
    EnumDescriptor, EnumValueDescriptor, ExtensionDescriptor, FieldDescriptor, FileDescriptor,
    MessageDescriptor, MethodDescriptor, OneofDescriptor, ServiceDescriptor,
};
use smallvec::SmallVec;

use super::originals::{Occurrences, submessage};

/// The comments of one declaration, cleaned; what there is none of is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comments {
    /// Directly before it.
    pub leading: String,
    /// Behind it, or on the lines that follow.
    pub trailing: String,
    /// Before the leading one, each set off by a blank line.
    pub detached: Vec<String>,
}

impl Comments {
    /// What describes the declaration: the leading comment, and the trailing one as a paragraph below.
    pub fn text(&self) -> String {
        match (self.leading.is_empty(), self.trailing.is_empty()) {
            (false, false) => format!("{}\n\n{}", self.leading, self.trailing),
            (true, _) => self.trailing.clone(),
            (_, true) => self.leading.clone(),
        }
    }
}

/// What is declared in a file and has a path there.
pub trait Declaration: sealed::Sealed {
    fn file(&self) -> FileDescriptor;

    /// Field numbers and positions, as `google.protobuf.SourceCodeInfo.Location.path` has them.
    fn path(&self) -> &[i32];

    /// The field number of `options` in the declaration's own message.
    #[doc(hidden)]
    const OPTIONS_NUMBER: u32;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! declarations {
    ($($descriptor:ty: $options:literal),* $(,)?) => {$(
        impl sealed::Sealed for $descriptor {}

        impl Declaration for $descriptor {
            const OPTIONS_NUMBER: u32 = $options;

            fn file(&self) -> FileDescriptor {
                self.parent_file()
            }

            fn path(&self) -> &[i32] {
                // The inherent method, which goes before this one.
                self.path()
            }
        }
    )*};
}

// google/protobuf/descriptor.proto: the numbers of `options`.
declarations! {
    MessageDescriptor: 7,
    FieldDescriptor: 8,
    ExtensionDescriptor: 8,
    OneofDescriptor: 2,
    EnumDescriptor: 3,
    EnumValueDescriptor: 3,
    ServiceDescriptor: 3,
    MethodDescriptor: 4,
}

/// Where the comments of one file are.
#[derive(Debug)]
pub(super) struct CommentIndex {
    /// The `Location`s that have a comment, as slices of the file, in the order of their paths.
    locations: Box<[Bytes]>,
}

/// `FileDescriptorProto.source_code_info` and `SourceCodeInfo.location`.
const SOURCE_CODE_INFO_NUMBER: u32 = 9;
const LOCATION_NUMBER: u32 = 1;

/// `google.protobuf.SourceCodeInfo.Location` without the span. Comments that are no UTF-8 are kept.
#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(int32, repeated, tag = "1")]
    path: Vec<i32>,
    #[prost(bytes = "bytes", tag = "3")]
    leading_comments: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    trailing_comments: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    leading_detached_comments: Vec<Bytes>,
}

impl CommentIndex {
    /// Indexes a serialized `FileDescriptorProto`. What does not decode has no comments.
    pub(super) fn of(file: &Bytes) -> Self {
        let information = submessage(file.clone(), SOURCE_CODE_INFO_NUMBER);
        let mut located: Vec<(SmallVec<[i32; 8]>, Bytes)> = Occurrences::new(information, LOCATION_NUMBER)
            .filter_map(|bytes| {
                let location = Location::decode(bytes.clone()).ok()?;
                location.has_comments().then(|| (location.path.into(), bytes))
            })
            .collect();
        // A path that comes twice (an `extend` block's does) keeps its first place.
        located.sort_by(|(left, _), (right, _)| left.cmp(right));
        located.dedup_by(|(second, _), (first, _)| second == first);
        Self { locations: located.into_iter().map(|(_, bytes)| bytes).collect() }
    }

    pub(super) fn find(&self, path: &[i32]) -> Comments {
        let location = |bytes: &Bytes| Location::decode(bytes.clone()).unwrap_or_default();
        let found = self.locations.binary_search_by(|bytes| location(bytes).path.as_slice().cmp(path));
        found.ok().and_then(|at| self.locations.get(at)).map(location).unwrap_or_default().clean()
    }
}

impl Location {
    fn has_comments(&self) -> bool {
        !(self.leading_comments.is_empty()
            && self.trailing_comments.is_empty()
            && self.leading_detached_comments.is_empty())
    }

    fn clean(&self) -> Comments {
        let detached = self.leading_detached_comments.iter().map(|comment| clean(comment));
        Comments {
            leading: clean(&self.leading_comments),
            trailing: clean(&self.trailing_comments),
            detached: detached.filter(|comment| !comment.is_empty()).collect(),
        }
    }
}

/// A comment as readers should see it.
fn clean(comment: &[u8]) -> String {
    let text = String::from_utf8_lossy(comment);
    let lines = text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line));
    let text = without_notes(&lines.collect::<Vec<_>>().join("\n"));
    let lines = text.lines().map(str::trim_end).filter(|line| !is_directive(line));
    lines.collect::<Vec<_>>().join("\n").trim_matches('\n').to_owned()
}

/// AIP-192: what stands in `(-- … --)` is for the authors alone; one that has no end goes to the end.
fn without_notes(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, note)) = rest.split_once("(--") {
        kept.push_str(before);
        rest = note.split_once("--)").map_or("", |(_, after)| after);
        // A note that had its lines to itself leaves none behind.
        if kept.trim_end_matches(' ').ends_with('\n') || kept.trim().is_empty() {
            rest = rest.strip_prefix('\n').unwrap_or(rest);
        }
    }
    kept.push_str(rest);
    kept
}

/// Lines that only tools read.
fn is_directive(line: &str) -> bool {
    let line = line.trim_start();
    ["buf:lint:", "protolint:disable", "protolint:enable", "api-linter:"]
        .iter()
        .any(|word| line.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::tests::compile;
    use crate::schema::{Input, Schema, load};

    const TEXT: &str = "syntax = \"proto3\";
package t;

// Not of this message.

// Nor this.

// A message.
//   - indented
// buf:lint:ignore FIELD
message M {
  // Leading.
  string a = 1; // Trailing.
  string b = 2;
  // After b,
  // on two lines.

  // Inside. (-- not for you --) Outside.
  int32 c = 3;
  message Inner {
    /* A block
     * of lines. */
    enum E {
      // Zero.
      E_ZERO = 0;
    }
  }
  // One of two.
  oneof choice {
    // (-- all of this
    // is a note --)
    // The first.
    string x = 5;
    string y = 6;
  }
}
// A service.
service S {
  // Calls it.
  rpc Call(M) returns (M);
  rpc Bare(M) returns (M);
}
";

    fn schema(source_info: bool) -> Schema {
        let bytes = compile(TEXT, true, source_info);
        load(&[Input { name: "t".into(), bytes }]).expect("the set is valid")
    }

    #[test]
    fn every_kind_of_declaration_has_its_comments() {
        let schema = schema(true);
        let pool = schema.pool();
        let message = pool.get_message_by_name("t.M").expect("t.M");
        let field = |name: &str| schema.comments(&message.get_field_by_name(name).expect("a field"));
        let found = schema.comments(&message);
        assert_eq!(found.leading, "A message.\n  - indented");
        assert_eq!(found.detached, ["Not of this message.", "Nor this."]);
        assert_eq!(field("a").text(), "Leading.\n\nTrailing.");
        assert_eq!(field("b").text(), "After b,\non two lines.");
        assert_eq!(field("c").text(), "Inside.  Outside.");
        assert_eq!(field("x").text(), "The first.");
        assert_eq!(field("y"), Comments::default());
        let oneof = message.oneofs().next().expect("a oneof");
        assert_eq!(schema.comments(&oneof).text(), "One of two.");
        let inner = pool.get_enum_by_name("t.M.Inner.E").expect("an enum");
        assert_eq!(schema.comments(&inner).text(), "A block\nof lines.");
        let value = inner.values().next().expect("a value");
        assert_eq!(schema.comments(&value).text(), "Zero.");
        let service = pool.get_service_by_name("t.S").expect("t.S");
        assert_eq!(schema.comments(&service).text(), "A service.");
        let methods: Vec<_> = service.methods().map(|method| schema.comments(&method).text()).collect();
        assert_eq!(methods, ["Calls it.", ""]);
    }

    #[test]
    fn a_set_without_source_info_has_no_comments() {
        let schema = schema(false);
        let message = schema.pool().get_message_by_name("t.M").expect("t.M");
        assert_eq!(schema.comments(&message), Comments::default());
    }

    #[test]
    fn what_is_not_for_readers_is_left_out() {
        let check =
            |comment: &str, expected: &str| assert_eq!(clean(comment.as_bytes()), expected, "{comment:?}");
        check(" One.\n Two.\n", "One.\nTwo.");
        check("No space.\n", "No space.");
        check("  Two spaces.\n", " Two spaces.");
        check("\n\n A.\n\n B. \n\n", "A.\n\nB.");
        check(" (-- gone --)\n Kept.\n", "Kept.");
        check(" Kept.\n (-- api-linter: core::0122=disabled\n     aip.dev/not-precedent: x --)\n", "Kept.");
        check(" A.\n (-- gone --)\n B.\n", "A.\nB.");
        check(" A (-- one --) B (-- two --) C", "A  B  C");
        check(" A. (-- no end", "A.");
        check(" buf:lint:ignore ENUM_FIRST_VALUE_ZERO\n Kept.\n", "Kept.");
        check(" Says buf:lint:ignore inside.\n", "Says buf:lint:ignore inside.");
        check("", "");
        assert_eq!(clean(b" \xff\n"), "\u{fffd}");
    }

    #[test]
    fn locations_need_neither_order_nor_sense() {
        // Two locations, the later path first, and one that is broken.
        let location = |path: &[u8], text: &[u8]| {
            let mut bytes = vec![0x0a, u8::try_from(path.len()).expect("short")];
            bytes.extend_from_slice(path);
            bytes.extend([0x1a, u8::try_from(text.len()).expect("short")]);
            bytes.extend_from_slice(text);
            bytes
        };
        let mut information = Vec::new();
        for location in [location(&[4, 1], b" b"), location(&[4, 0], b" a"), vec![0x1a, 0x7f]] {
            information.extend([0x0a, u8::try_from(location.len()).expect("short")]);
            information.extend(location);
        }
        let mut file = vec![0x4a, u8::try_from(information.len()).expect("short")];
        file.extend(information);
        let index = CommentIndex::of(&file.into());
        assert_eq!(index.find(&[4, 0]).leading, "a");
        assert_eq!(index.find(&[4, 1]).leading, "b");
        assert_eq!(index.find(&[4]), Comments::default());
        assert_eq!(index.find(&[4, 2]), Comments::default());
    }
}
