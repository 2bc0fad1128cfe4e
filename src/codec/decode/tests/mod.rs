//! Cases for JSON → wire: what is accepted and means what, and what is refused and why.
//!
//! prost-reflect reads our wire back; the meaning of a case is another JSON that prost-reflect reads.

mod accepted;
mod binding;
mod refused;

use std::sync::OnceLock;

use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use super::json_to_wire;
use crate::codec::options::{JsonOptions, Unknown};
use crate::schema::{Schema, Traits};
use crate::status::Status;

const STRICT: JsonOptions = options(Unknown::Reject, 100);
const LENIENT: JsonOptions = options(Unknown::Ignore, 100);

const fn options(unknown: Unknown, depth_max: u16) -> JsonOptions {
    use crate::codec::options::{Defaults, Enums, Int64, Names};
    JsonOptions {
        names: Names::Json,
        enums: Enums::Name,
        defaults: Defaults::Omit,
        int64: Int64::String,
        unknown,
        depth_max,
    }
}

fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let mut chain = ChainFileResolver::new();
        chain.add(InMemory);
        chain.add(GoogleFileResolver::new());
        let mut compiler = protox::Compiler::with_file_resolver(chain);
        compiler.include_imports(true);
        compiler.open_file("three.proto").expect("the proto3 file compiles");
        compiler.open_file("two.proto").expect("the proto2 file compiles");
        Schema::new(compiler.descriptor_pool(), Traits::default())
    })
}

struct InMemory;

impl FileResolver for InMemory {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let source = match name {
            "three.proto" => include_str!("three.proto"),
            "two.proto" => include_str!("two.proto"),
            _ => return Err(protox::Error::file_not_found(name)),
        };
        File::from_source(name, source)
    }
}

fn decode(options: &JsonOptions, message: &str, json: &[u8]) -> Result<Vec<u8>, Status> {
    let id = schema().message_id(message).expect("the case names a type of the schema");
    let mut out = b"kept".to_vec();
    json_to_wire(schema(), id, options, json, &mut out)?;
    assert!(out.starts_with(b"kept"));
    Ok(out.split_off(4))
}

fn descriptor(message: &str) -> MessageDescriptor {
    schema().pool().get_message_by_name(message).expect("the case names a type of the schema")
}

/// A message read by prost-reflect, twice: where presence is implicit, a default is then absent.
fn reflected(message: &str, wire: &[u8]) -> DynamicMessage {
    let read = |wire: &[u8]| DynamicMessage::decode(descriptor(message), wire);
    let message = read(wire).expect("what is written is a message");
    read(&message.encode_to_vec()).expect("what prost-reflect writes is a message")
}

/// What prost-reflect makes of a JSON.
fn oracle(message: &str, json: &str) -> DynamicMessage {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let read = DynamicMessage::deserialize(descriptor(message), &mut deserializer);
    reflected(message, &read.expect("the oracle reads the meaning").encode_to_vec())
}

/// `json` is read as what prost-reflect understands by `meaning`; no bytes stand for `{}`.
#[track_caller]
fn means(options: &JsonOptions, message: &str, json: &str, meaning: &str) {
    let wire = match decode(options, message, json.as_bytes()) {
        Ok(wire) => wire,
        Err(status) => panic!("{json} is refused: {status}"),
    };
    // Not `assert_eq`: the `Debug` of a recursive type's message does not end.
    assert!(reflected(message, &wire) == oracle(message, meaning), "{json} is read as {wire:x?}");
    assert!(meaning != "{}" || wire.is_empty(), "{json} is read as {wire:x?}");
}

/// `json` is refused with this message.
#[track_caller]
fn refused(options: &JsonOptions, message: &str, json: &[u8], expected: &str) {
    match decode(options, message, json) {
        Ok(wire) => panic!("{} is read as {wire:x?}", String::from_utf8_lossy(json)),
        Err(status) => {
            assert_eq!(status.message, expected, "{}", String::from_utf8_lossy(json));
            assert_eq!(status.code, crate::status::Code::InvalidArgument);
            assert_eq!(status.details.len(), 2, "what is wrong where, and the reason");
            assert!(matches!(status.reason(), Some("INVALID_FIELD" | "INVALID_BODY")), "{status:?}");
        }
    }
}
