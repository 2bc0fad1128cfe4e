//! One message, either way: bound and framed towards the backend, rendered towards the client.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderValue;

use crate::call::Notes;
use crate::codec;
use crate::codec::options::JsonOptions;
use crate::route::{Binding, Captures, Request, RequestBody};
use crate::schema::Schema;
use crate::snapshot::Snapshot;
use crate::status::Status;
use crate::upstream::put_frame;
use crate::validate::Asked;

/// What a request message is made of, beside the body.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub captures: &'a Captures,
    pub query: Option<&'a str>,
    pub content_type: Option<&'a HeaderValue>,
}

/// Binds one request message and puts gRPC's length prefix before it.
pub(super) fn frame(
    snapshot: &Snapshot,
    binding: &Binding,
    notes: &Notes,
    parts: Parts<'_>,
    body: &[u8],
) -> Result<Bytes, Status> {
    let mut out = Vec::with_capacity(body.len() + BINDING_BYTES);
    let body = if binding.raw_request {
        let content_type = parts.content_type.and_then(|value| value.to_str().ok());
        RequestBody::Raw { content_type, data: body }
    } else {
        RequestBody::Json(body)
    };
    let request = Request { captures: parts.captures, query: parts.query, body };
    put_frame(&mut out, |out| {
        let start = out.len();
        binding.assemble(&snapshot.schema, &snapshot.json, &snapshot.binding, request, out)?;
        codec::check_required(&snapshot.schema, binding.input, &out[start..])?;
        validate(snapshot, binding, notes, &out[start..])
    })?;
    Ok(out.into())
}

/// Puts gRPC's length prefix before a message that is in wire form already.
pub(super) fn wire_frame(
    snapshot: &Snapshot,
    binding: &Binding,
    notes: &Notes,
    message: &[u8],
) -> Result<Bytes, Status> {
    let mut out = Vec::with_capacity(message.len() + BINDING_BYTES);
    put_frame(&mut out, |out| {
        out.extend_from_slice(message);
        codec::check_required(&snapshot.schema, binding.input, message)?;
        validate(snapshot, binding, notes, message)
    })?;
    Ok(out.into())
}

/// What refuses a request that breaks the rules of its descriptors, as logs and metrics name it.
pub const VALIDATION: &str = "validation";

/// Holds a request to the rules of its descriptors.
fn validate(snapshot: &Snapshot, binding: &Binding, notes: &Notes, wire: &[u8]) -> Result<(), Status> {
    if !snapshot.validation.concerns(binding.input) || !snapshot.rule(binding).is_validated {
        return Ok(());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let asked = Asked {
        now: i128::try_from(now).unwrap_or(i128::MAX),
        violations_max: snapshot.bounds.violations_max,
        steps_max: snapshot.bounds.rule_steps_max,
        names: snapshot.json.names,
    };
    snapshot
        .validation
        .check(&snapshot.schema, binding.input, wire, &asked)
        .inspect_err(|_| notes.refused_by(VALIDATION))
}

/// Room for the prefix, captures and query; more of them only costs a reallocation.
const BINDING_BYTES: usize = 64;

/// A reply message, or its `response_body` field, as JSON: what the field mask of its surface leaves of it.
pub(super) fn json(
    schema: &Schema,
    options: &JsonOptions,
    binding: &Binding,
    wire: &[u8],
) -> Result<Bytes, Status> {
    let selection = binding.selection.as_deref();
    // JSON is seldom twice as long as its wire form; what is costs a reallocation.
    let mut out = Vec::with_capacity(2 * wire.len() + 64);
    match binding.response_body {
        None => codec::selected_to_json(schema, binding.output, selection, options, wire, &mut out)?,
        Some(field) => {
            codec::field_to_json(schema, binding.output, field, selection, options, wire, &mut out)?;
        }
    }
    Ok(out.into())
}
