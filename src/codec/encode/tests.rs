//! Cases for wire → JSON: a type, the bytes of a message, the JSON or the error they must give.
//!
//! The bytes are put together from the functions below, one per wire type, in any order and any
//! shape: no serializer would write most of them.

mod hostile;
mod order;
mod selected;
mod values;
mod well_known;

use std::sync::LazyLock;

use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use crate::codec::options::{Defaults, Enums, Int64, JsonOptions, Names};
use crate::codec::wire::{put_len_prefixed, put_tag, put_varint, tag};
use crate::codec::{field_to_json, wire_to_json};
use crate::schema::plan::wire::{EGROUP, I32, I64, LEN, SGROUP, VARINT};
use crate::schema::{Schema, Traits};
use crate::status::{Blame, Code};

/// A message as parts of its bytes.
type Wire = Vec<u8>;

static SCHEMA: LazyLock<Schema> = LazyLock::new(compile);

/// A schema of its own, because plans remember disorder.
pub(in crate::codec) fn compile() -> Schema {
    let mut resolver = ChainFileResolver::new();
    resolver.add(GoogleFileResolver::new());
    resolver.add(Fixtures);
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_files(["t.proto", "two.proto"]).expect("the fixtures compile");
    Schema::new(compiler.descriptor_pool(), Traits::default())
}

struct Fixtures;

impl FileResolver for Fixtures {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "t.proto" => File::from_source(name, include_str!("tests/t.proto")),
            "two.proto" => File::from_source(name, include_str!("tests/two.proto")),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

fn default_options() -> JsonOptions {
    JsonOptions::default()
}

fn emit() -> JsonOptions {
    JsonOptions { defaults: Defaults::Emit, ..default_options() }
}

fn render(schema: &Schema, message: &str, options: &JsonOptions, wire: &[u8]) -> Result<String, String> {
    let id = schema.message_id(message).expect("the fixtures have this type");
    let mut out = b"kept".to_vec();
    let result = wire_to_json(schema, id, options, wire, &mut out);
    let text = String::from_utf8(out).expect("JSON is UTF-8");
    let json = text.strip_prefix("kept").expect("what was there stays").to_owned();
    match result {
        Ok(()) => {
            serde_json::from_str::<serde::de::IgnoredAny>(&json).expect("the output is JSON");
            Ok(json)
        }
        Err(status) => {
            assert_eq!((status.code, status.blame), (Code::Internal, Blame::Backend));
            assert_eq!(json, "", "after an error nothing is left");
            let prefix = format!("the backend's `{message}` has no JSON form: ");
            Err(status.message.strip_prefix(&prefix).expect("the type is named").to_owned())
        }
    }
}

/// The JSON of a message of a fixture type is this: also when a message before it was in disorder.
#[track_caller]
fn check_with<const N: usize>(options: &JsonOptions, message: &str, parts: [Wire; N], json: &str) {
    let wire = parts.concat();
    assert_eq!(render(&SCHEMA, message, options, &wire).as_deref(), Ok(json));
    let scattered = &*SCATTERED;
    assert_eq!(render(scattered, message, options, &wire).as_deref(), Ok(json), "written in two passes");
}

#[track_caller]
fn check<const N: usize>(message: &str, parts: [Wire; N], json: &str) {
    check_with(&default_options(), message, parts, json);
}

#[track_caller]
fn refuse<const N: usize>(message: &str, parts: [Wire; N], error: &str) {
    let wire = parts.concat();
    for schema in [&*SCHEMA, &*SCATTERED] {
        let result = render(schema, message, &default_options(), &wire);
        assert_eq!(result.as_ref().map_err(String::as_str), Err(error));
    }
}

/// The fixtures, every type marked as one whose fields come in disorder.
static SCATTERED: LazyLock<Schema> = LazyLock::new(|| {
    let schema = compile();
    for message in schema.pool().all_messages() {
        let id = schema.message_id(message.full_name()).expect("every message of the pool is indexed");
        schema.message(id).mark_disordered();
    }
    schema
});

fn varint(number: u32, value: u64) -> Wire {
    let mut out = Vec::new();
    put_tag(&mut out, tag(number, VARINT));
    put_varint(&mut out, value);
    out
}

fn fixed32(number: u32, value: u32) -> Wire {
    let mut out = Vec::new();
    put_tag(&mut out, tag(number, I32));
    out.extend_from_slice(&value.to_le_bytes());
    out
}

fn fixed64(number: u32, value: u64) -> Wire {
    let mut out = Vec::new();
    put_tag(&mut out, tag(number, I64));
    out.extend_from_slice(&value.to_le_bytes());
    out
}

fn double(number: u32, value: f64) -> Wire {
    fixed64(number, value.to_bits())
}

fn float(number: u32, value: f32) -> Wire {
    fixed32(number, value.to_bits())
}

fn bytes(number: u32, value: impl AsRef<[u8]>) -> Wire {
    let mut out = Vec::new();
    put_len_prefixed(&mut out, tag(number, LEN), value.as_ref());
    out
}

fn message<const N: usize>(number: u32, parts: [Wire; N]) -> Wire {
    bytes(number, parts.concat())
}

fn group<const N: usize>(number: u32, parts: [Wire; N]) -> Wire {
    let mut out = Vec::new();
    put_tag(&mut out, tag(number, SGROUP));
    out.extend(parts.concat());
    put_tag(&mut out, tag(number, EGROUP));
    out
}

fn packed<const N: usize>(number: u32, values: [u64; N]) -> Wire {
    let mut content = Vec::new();
    for value in values {
        put_varint(&mut content, value);
    }
    bytes(number, content)
}

/// `value` as a varint that means the negative number.
fn negative(value: i64) -> u64 {
    value.cast_unsigned()
}
