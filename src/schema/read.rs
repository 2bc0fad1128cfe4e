//! Bytes to decoded files: decompression, the set, the join of several sets.
//!
//! A Buf image is a set whose files carry one more field, which protobuf skips like any unknown field.
//! Sets made apart share files (`google/protobuf/timestamp.proto`), so a file may come again as long as
//! it says the same.

use std::collections::HashMap;
use std::io::Read;

use bytes::Bytes;
use prost::Message;

use super::error::{Problem, Problems};
use super::raw::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};

/// One descriptor set, gzip-compressed or not.
#[derive(Clone, Debug)]
pub struct Input {
    /// How problems call it: the path, the URL.
    pub name: String,
    pub bytes: Bytes,
}

/// What loading takes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one set after decompression.
    pub set_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { set_bytes_max: 256 << 20 }
    }
}

/// A file of the joined set.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub proto: FileDescriptorProto,
    /// The file as it came.
    pub bytes: Bytes,
    /// The input it came from, for problems.
    input: String,
}

impl File {
    pub(super) fn name(&self) -> &str {
        self.proto.name()
    }
}

/// Reads and joins all sets; the order is that of first appearance.
pub(super) fn read(inputs: &[Input], limits: &Limits, problems: &mut Problems) -> Vec<File> {
    let mut joined = Joined::default();
    for input in inputs {
        if let Err(problem) = read_one(input, limits, &mut joined, problems) {
            problems.add(&input.name, "", problem);
        }
    }
    joined.files
}

fn read_one(
    input: &Input,
    limits: &Limits,
    joined: &mut Joined,
    problems: &mut Problems,
) -> Result<(), Problem> {
    let bytes = decompress(&input.bytes, limits.set_bytes_max)?;
    let set = FileDescriptorSet::decode(bytes).map_err(|error| Problem::NotASet(decode_reason(&error)))?;
    if set.file.is_empty() {
        return Err(Problem::NoFiles);
    }
    for (bytes, index) in set.file.into_iter().zip(0..) {
        match FileDescriptorProto::decode(bytes.clone()) {
            Err(error) => {
                let reason = decode_reason(&error);
                problems.add(&input.name, "", Problem::BrokenFile { index, reason });
            }
            Ok(proto) if proto.name().is_empty() => {
                problems.add(&input.name, "", Problem::UnnamedFile { index });
            }
            Ok(proto) => joined.add(File { proto, bytes, input: input.name.clone() }, problems),
        }
    }
    Ok(())
}

/// Prost's reason without its fixed preamble.
pub(super) fn decode_reason(error: &prost::DecodeError) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to decode Protobuf message: ").unwrap_or(&text).to_owned()
}

// RFC 1952: a gzip member starts with 1f 8b. As a protobuf tag that would be field 3 of wire type 7,
// which does not exist.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

fn decompress(bytes: &Bytes, max: u64) -> Result<Bytes, Problem> {
    let too_large = Problem::TooLarge { max };
    if !bytes.starts_with(&GZIP_MAGIC) {
        return if u64::try_from(bytes.len()).is_ok_and(|length| length <= max) {
            Ok(bytes.clone())
        } else {
            Err(too_large)
        };
    }
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(&bytes[..])
        .take(max.saturating_add(1))
        .read_to_end(&mut plain)
        .map_err(|error| Problem::Gzip(error.to_string()))?;
    if u64::try_from(plain.len()).is_ok_and(|length| length <= max) {
        Ok(plain.into())
    } else {
        Err(too_large)
    }
}

#[derive(Default)]
struct Joined {
    files: Vec<File>,
    index: HashMap<String, usize>,
}

impl Joined {
    fn add(&mut self, file: File, problems: &mut Problems) {
        let Some(&place) = self.index.get(file.name()) else {
            self.index.insert(file.name().to_owned(), self.files.len());
            self.files.push(file);
            return;
        };
        let first = &mut self.files[place];
        if first.bytes == file.bytes || says_the_same(&first.proto, &file.proto) {
            return;
        }
        if first.name().starts_with("google/protobuf/") {
            // Each protobuf release brings these files anew and only ever adds to them: sets made with
            // different releases belong together all the same.
            if file.bytes.len() > first.bytes.len() {
                *first = file;
            }
            return;
        }
        let problem = Problem::Differs { first: first.input.clone(), second: file.input.clone() };
        problems.add(file.name(), "", problem);
    }
}

/// Whether two files differ in nothing but comments and the JSON names that only repeat the default.
fn says_the_same(a: &FileDescriptorProto, b: &FileDescriptorProto) -> bool {
    let normal = |file: &FileDescriptorProto| {
        let mut file = file.clone();
        file.extension.iter_mut().for_each(without_default_json_name);
        file.message_type.iter_mut().for_each(without_default_json_names);
        file
    };
    normal(a) == normal(b)
}

fn without_default_json_names(message: &mut DescriptorProto) {
    message.field.iter_mut().chain(&mut message.extension).for_each(without_default_json_name);
    message.nested_type.iter_mut().for_each(without_default_json_names);
}

fn without_default_json_name(field: &mut FieldDescriptorProto) {
    if field.json_name.as_deref() == Some(&default_json_name(field.name())) {
        field.json_name = None;
    }
}

/// The JSON name protoc gives: `_` is dropped and the letter after it becomes upper case.
pub(super) fn default_json_name(name: &str) -> String {
    let mut json = String::with_capacity(name.len());
    let mut upper = false;
    for character in name.chars() {
        if character == '_' {
            upper = true;
        } else {
            json.push(if upper { character.to_ascii_uppercase() } else { character });
            upper = false;
        }
    }
    json
}
