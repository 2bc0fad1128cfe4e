//! The descriptors that Transom brings along: protobuf's well-known types and `proto/google`.
//!
//! `descriptors/built_in.binpb` is compiled from `proto/` and checked in; a test compiles it again and
//! compares. It serves as [`built_in`], the schema that renders error details, and fills in for imports
//! that a set was made without.

use std::collections::HashSet;

use bytes::Bytes;

use super::Schema;
use super::error::Problems;
use super::load::load;
use super::read::{self, File, Input, Limits};

const SET: &[u8] = include_bytes!("../../descriptors/built_in.binpb");

/// The schema of `google.rpc` error details, `google.api.HttpBody` and the well-known types.
pub fn built_in() -> Schema {
    load(&[input()]).expect("the built-in set is valid")
}

fn input() -> Input {
    Input { name: "built-in".to_owned(), bytes: Bytes::from_static(SET) }
}

/// Adds the built-in files that `files` import and do not hold.
pub(super) fn supply(files: &mut Vec<File>) {
    let present: HashSet<&str> = files.iter().map(File::name).collect();
    let mut missing: Vec<String> = files
        .iter()
        .flat_map(|file| &file.proto.dependency)
        .filter(|import| !present.contains(import.as_str()))
        .cloned()
        .collect();
    if missing.is_empty() {
        return;
    }
    let mut built_in = read::read(&[input()], &Limits::default(), &mut Problems::default());
    let mut present: HashSet<String> = present.into_iter().map(str::to_owned).collect();
    while let Some(import) = missing.pop() {
        if let Some(place) = built_in.iter().position(|file| file.name() == import)
            && present.insert(import)
        {
            let file = built_in.swap_remove(place);
            missing.extend(file.proto.dependency.iter().cloned());
            files.push(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL_KNOWN: [&str; 11] = [
        "google/protobuf/any.proto",
        "google/protobuf/api.proto",
        "google/protobuf/descriptor.proto",
        "google/protobuf/duration.proto",
        "google/protobuf/empty.proto",
        "google/protobuf/field_mask.proto",
        "google/protobuf/source_context.proto",
        "google/protobuf/struct.proto",
        "google/protobuf/timestamp.proto",
        "google/protobuf/type.proto",
        "google/protobuf/wrappers.proto",
    ];

    const OURS: [&str; 8] = [
        "google/api/annotations.proto",
        "google/api/field_behavior.proto",
        "google/api/http.proto",
        "google/api/httpbody.proto",
        "google/rpc/code.proto",
        "google/rpc/error_details.proto",
        "google/rpc/status.proto",
        "transom/graphql.proto",
    ];

    fn compile() -> Vec<u8> {
        let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
        let mut compiler = protox::Compiler::new([proto]).expect("the include path exists");
        compiler.include_imports(true).include_source_info(false);
        compiler.open_files(WELL_KNOWN.iter().chain(&OURS)).expect("our files compile");
        compiler.encode_file_descriptor_set()
    }

    /// With `TRANSOM_BLESS=1` it writes the set instead.
    #[test]
    fn checked_in_set_is_what_proto_compiles_to() {
        let compiled = compile();
        if std::env::var_os("TRANSOM_BLESS").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/descriptors/built_in.binpb");
            std::fs::write(path, &compiled).expect("the set can be written");
            return;
        }
        assert!(compiled == SET, "proto/ has changed: run this test with TRANSOM_BLESS=1");
    }

    #[test]
    fn error_details_and_well_known_types_are_built_in() {
        let schema = built_in();
        for name in [
            "google.rpc.Status",
            "google.rpc.ErrorInfo",
            "google.rpc.BadRequest",
            "google.rpc.RetryInfo",
            "google.api.HttpBody",
            "google.protobuf.Any",
            "google.protobuf.Timestamp",
            "google.protobuf.StringValue",
        ] {
            assert!(schema.message_id(name).is_some(), "{name}");
        }
    }
}
