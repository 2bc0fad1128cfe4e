//! The testee of Google's protobuf conformance suite: `scripts/conformance` runs the suite against it.
//!
//! JSON goes through the codec of the library alone: JSON payloads through `json_to_wire`, JSON output
//! through `wire_to_json`, and JSON → protobuf answers are the very bytes `json_to_wire` wrote. The suite
//! also asks for protobuf → protobuf, which a gateway never does (it passes such messages on as they
//! came): `reserialize` below reads and writes wire bytes by the same plans, as the specification of
//! the encoding says, and keeps unknown fields. It is also the judge of what is valid wire, so that
//! a refusal by `wire_to_json` can be told apart as a parse error or a serialize error; where
//! `wire_to_json` accepts what `reserialize` refuses, the answer is what it wrote, and the test fails.
//!
//! Text format and JSPB are answered `skipped`. Everything is proto2, proto3 and edition 2023, the last
//! lowered by `schema::load` like any other descriptor set.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};

use bytes::Bytes;
use transom::codec::options::{JsonOptions, Unknown};
use transom::codec::wire::{self, Reader, WireError};
use transom::codec::{json_to_wire, wire_to_json};
use transom::schema::plan::wire::{EGROUP, I32, I64, LEN, SGROUP, VARINT};
use transom::schema::plan::{FieldPlan, Kind, MessageId, Shape};
use transom::schema::{Input, Schema, load};

const DESCRIPTORS: &[u8] = include_bytes!("../descriptors/conformance.binpb");

fn main() -> io::Result<()> {
    let input = Input { name: "conformance.binpb".to_owned(), bytes: Bytes::from_static(DESCRIPTORS) };
    let schema = load(&[input]).map_err(|errors| io::Error::other(format!("{errors:?}")))?;
    let (mut stdin, mut stdout) = (io::stdin().lock(), io::stdout().lock());
    loop {
        let mut len = [0; 4];
        match stdin.read_exact(&mut len) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let mut request = vec![0; u32::from_le_bytes(len) as usize];
        stdin.read_exact(&mut request)?;
        let answer = match Request::parse(&request) {
            Ok(request) => request.answer(&schema),
            Err(error) => Answer::RuntimeError(error.to_string()),
        };
        let response = answer.response();
        stdout.write_all(&u32::try_from(response.len()).map_err(io::Error::other)?.to_le_bytes())?;
        stdout.write_all(&response)?;
        stdout.flush()?;
    }
}

/// `conformance.ConformanceRequest`.
struct Request<'a> {
    payload: Payload<'a>,
    output: u64,
    message_type: &'a str,
    category: u64,
}

enum Payload<'a> {
    Protobuf(&'a [u8]),
    Json(&'a [u8]),
    Other,
}

/// `conformance.WireFormat`.
const PROTOBUF: u64 = 1;
const JSON: u64 = 2;

/// `conformance.TestCategory`.
const JSON_IGNORE_UNKNOWN_PARSING_TEST: u64 = 3;

/// `conformance.ConformanceResponse.result`.
enum Answer {
    ParseError(String),
    SerializeError(String),
    RuntimeError(String),
    Protobuf(Vec<u8>),
    Json(Vec<u8>),
    Skipped,
}

impl<'a> Request<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut request = Self { payload: Payload::Protobuf(&[]), output: 0, message_type: "", category: 0 };
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            match reader.tag()? {
                (1, LEN) => request.payload = Payload::Protobuf(reader.bytes()?),
                (2, LEN) => request.payload = Payload::Json(reader.bytes()?),
                (3, VARINT) => request.output = reader.varint()?,
                (4, LEN) => request.message_type = str::from_utf8(reader.bytes()?).unwrap_or_default(),
                (5, VARINT) => request.category = reader.varint()?,
                (7 | 8, LEN) => {
                    reader.bytes()?;
                    request.payload = Payload::Other;
                }
                (number, wire_type) => reader.skip(number, wire_type)?,
            }
        }
        Ok(request)
    }

    fn answer(&self, schema: &Schema) -> Answer {
        let Some(message) = schema.message_id(self.message_type) else {
            return Answer::RuntimeError(format!("unknown message type `{}`", self.message_type));
        };
        let mut options = JsonOptions::default();
        if self.category == JSON_IGNORE_UNKNOWN_PARSING_TEST {
            options.unknown = Unknown::Ignore;
        }
        match (&self.payload, self.output) {
            (Payload::Json(json), PROTOBUF | JSON) => {
                let mut wire = Vec::new();
                match json_to_wire(schema, message, &options, json, &mut wire) {
                    Err(status) => Answer::ParseError(status.to_string()),
                    Ok(()) if self.output == PROTOBUF => Answer::Protobuf(wire),
                    Ok(()) => to_json(schema, message, &options, &wire),
                }
            }
            (Payload::Protobuf(payload), PROTOBUF) => {
                // The codec must see the same errors, even where its output is not asked for.
                match (reserialize(schema, message, payload), to_json(schema, message, &options, payload)) {
                    (Ok(_), Answer::ParseError(error)) => Answer::RuntimeError(error),
                    (Ok(wire), _) => Answer::Protobuf(wire),
                    (Err(_), accepted @ Answer::Json(_)) => accepted,
                    (Err(error), _) => Answer::ParseError(error.to_string()),
                }
            }
            (Payload::Protobuf(payload), JSON) => to_json(schema, message, &options, payload),
            _ => Answer::Skipped,
        }
    }
}

impl Answer {
    fn response(&self) -> Vec<u8> {
        let (number, content) = match self {
            Self::ParseError(error) => (1, error.as_bytes()),
            Self::RuntimeError(error) => (2, error.as_bytes()),
            Self::Protobuf(wire) => (3, &wire[..]),
            Self::Json(json) => (4, &json[..]),
            Self::Skipped => (5, &b"only protobuf and JSON are spoken here"[..]),
            Self::SerializeError(error) => (6, error.as_bytes()),
        };
        let mut out = Vec::new();
        wire::put_len_prefixed(&mut out, wire::tag(number, LEN), content);
        out
    }
}

fn to_json(schema: &Schema, message: MessageId, options: &JsonOptions, wire: &[u8]) -> Answer {
    let mut json = Vec::new();
    match (wire_to_json(schema, message, options, wire, &mut json), reserialize(schema, message, wire)) {
        (Ok(()), _) => Answer::Json(json),
        (Err(status), Ok(_)) => Answer::SerializeError(status.to_string()),
        (Err(status), Err(_)) => Answer::ParseError(status.to_string()),
    }
}

#[derive(Debug, thiserror::Error)]
enum Invalid {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("`{0}`: the string is not UTF-8")]
    Utf8(Box<str>),
    #[error("messages nest too deep")]
    TooDeep,
}

/// How deep messages may nest: what protobuf's own implementations allow.
const DEPTH_MAX: u16 = 100;

/// Reads wire bytes as a message and writes the message: singular fields once, the last one winning,
/// messages merged, repeated fields as declared, what is unknown after what is known.
fn reserialize(schema: &Schema, message: MessageId, bytes: &[u8]) -> Result<Vec<u8>, Invalid> {
    let mut out = Vec::new();
    Message::read(schema, message, bytes, DEPTH_MAX)?.write(schema, message, DEPTH_MAX, &mut out)?;
    Ok(out)
}

/// A message whose submessages are still wire bytes: merging two is joining their bytes.
#[derive(Default)]
struct Message {
    /// By index in the plan: the values in wire form without tag or length. Singular fields have one.
    fields: BTreeMap<usize, Vec<Vec<u8>>>,
    /// Tags and values as they came.
    unknown: Vec<u8>,
}

impl Message {
    fn read(schema: &Schema, id: MessageId, bytes: &[u8], depth: u16) -> Result<Self, Invalid> {
        let mut message = Self::default();
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let start = reader.rest();
            let (number, wire_type) = reader.tag()?;
            let plan = schema.message(id);
            let index = plan.by_number(number);
            let known = match index.map(|index| (index, &plan.fields[index])) {
                Some((index, field)) if wire_type == field.kind.wire_type() => {
                    let value = value(&mut reader, number, wire_type)?;
                    message.put(schema, id, index, value, depth)?
                }
                // Either form of a repeated scalar is read, whichever is declared.
                Some((index, field))
                    if wire_type == LEN && field.is_repeated() && field.kind.is_packable() =>
                {
                    let mut packed = Reader::new(reader.bytes()?);
                    while !packed.is_empty() {
                        let value = value(&mut packed, number, field.kind.wire_type())?;
                        if !message.put(schema, id, index, value, depth)? {
                            wire::put_tag(&mut message.unknown, wire::tag(number, VARINT));
                            message.unknown.extend_from_slice(value);
                        }
                    }
                    continue;
                }
                _ => {
                    reader.skip(number, wire_type)?;
                    false
                }
            };
            if !known {
                message.unknown.extend_from_slice(&start[..start.len() - reader.rest().len()]);
            }
        }
        Ok(message)
    }

    /// Adds one value; false when it belongs among the unknown ones.
    fn put(
        &mut self,
        schema: &Schema,
        id: MessageId,
        index: usize,
        value: &[u8],
        depth: u16,
    ) -> Result<bool, Invalid> {
        let plan = schema.message(id);
        let field = &plan.fields[index];
        if !fits(schema, field, value)? {
            return Ok(false);
        }
        if let Some(message) = field.kind.message() {
            let depth = depth.checked_sub(1).ok_or(Invalid::TooDeep)?;
            let content = Self::read(schema, message, value, depth)?;
            // A map entry whose value is of no known enum number is unknown as a whole.
            if field.shape == Shape::Map && !content.unknown.is_empty() && has_closed_enum(schema, message) {
                return Ok(false);
            }
        }
        if let Some(oneof) = field.oneof {
            self.fields.retain(|other, _| *other == index || plan.fields[*other].oneof != Some(oneof));
        }
        let values = self.fields.entry(index).or_default();
        match values.last_mut() {
            Some(last) if !field.is_repeated() && field.kind.message().is_some() => {
                last.extend_from_slice(value);
            }
            Some(last) if !field.is_repeated() => *last = narrow(field, value)?,
            _ => values.push(narrow(field, value)?),
        }
        Ok(true)
    }

    fn write(&self, schema: &Schema, id: MessageId, depth: u16, out: &mut Vec<u8>) -> Result<(), Invalid> {
        let plan = schema.message(id);
        for (&index, values) in &self.fields {
            let field = &plan.fields[index];
            if field.shape == (Shape::Repeated { packed: true }) {
                wire::put_len_prefixed(out, field.tag, &values.concat());
                continue;
            }
            for value in values {
                write_value(schema, field, value, depth, out)?;
            }
        }
        out.extend_from_slice(&self.unknown);
        Ok(())
    }
}

fn write_value(
    schema: &Schema,
    field: &FieldPlan,
    value: &[u8],
    depth: u16,
    out: &mut Vec<u8>,
) -> Result<(), Invalid> {
    // Zero is absence where presence is not tracked.
    if field.shape == Shape::Implicit && is_zero(field, value) {
        return Ok(());
    }
    wire::put_tag(out, field.tag);
    if let Some(message) = field.kind.message() {
        let depth = depth.checked_sub(1).ok_or(Invalid::TooDeep)?;
        let mut content = Vec::new();
        Message::read(schema, message, value, depth)?.write(schema, message, depth, &mut content)?;
        if let Kind::Group(_) = field.kind {
            out.extend_from_slice(&content);
            wire::put_tag(out, wire::tag(field.number, EGROUP));
            return Ok(());
        }
        wire::put_varint(out, content.len() as u64);
        out.extend_from_slice(&content);
        return Ok(());
    }
    if let Kind::String | Kind::Bytes = field.kind {
        wire::put_varint(out, value.len() as u64);
    }
    out.extend_from_slice(value);
    Ok(())
}

fn is_zero(field: &FieldPlan, value: &[u8]) -> bool {
    match field.kind {
        Kind::String | Kind::Bytes => value.is_empty(),
        _ => value.iter().all(|&byte| byte == 0),
    }
}

/// A value as its own type writes it: of a varint only as many bits count as the type has.
fn narrow(field: &FieldPlan, value: &[u8]) -> Result<Vec<u8>, WireError> {
    if field.kind.wire_type() != VARINT {
        return Ok(value.to_vec());
    }
    let bits = Reader::new(value).varint()?;
    let mut out = Vec::new();
    wire::put_varint(
        &mut out,
        match field.kind {
            Kind::Int32 | Kind::Enum(_) => i64::from((bits as u32).cast_signed()).cast_unsigned(),
            Kind::Uint32 | Kind::Sint32 => u64::from(bits as u32),
            Kind::Bool => u64::from(bits != 0),
            _ => bits,
        },
    );
    Ok(out)
}

/// The bytes of one value: without its length, or between its group tags.
fn value<'a>(reader: &mut Reader<'a>, number: u32, wire_type: u32) -> Result<&'a [u8], WireError> {
    let start = reader.rest();
    match wire_type {
        LEN => reader.bytes(),
        SGROUP => reader.group(number),
        VARINT | I32 | I64 => {
            reader.skip(number, wire_type)?;
            Ok(&start[..start.len() - reader.rest().len()])
        }
        _ => Err(WireError::EndGroup),
    }
}

/// Whether the field may hold the value: a closed enum holds its own numbers alone.
fn fits(schema: &Schema, field: &FieldPlan, value: &[u8]) -> Result<bool, Invalid> {
    match field.kind {
        Kind::String if field.utf8 && str::from_utf8(value).is_err() => {
            Err(Invalid::Utf8(field.name.clone()))
        }
        Kind::Enum(id) => {
            let plan = schema.enumeration(id);
            // Enum numbers are int32: the low half of what the varint says.
            let number = (Reader::new(value).varint()? as u32).cast_signed();
            Ok(!plan.closed || plan.quoted_name(number).is_some())
        }
        _ => Ok(true),
    }
}

fn has_closed_enum(schema: &Schema, entry: MessageId) -> bool {
    schema
        .message(entry)
        .fields
        .iter()
        .any(|field| matches!(field.kind, Kind::Enum(id) if schema.enumeration(id).closed))
}
