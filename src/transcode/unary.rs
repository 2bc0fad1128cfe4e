//! One message there, one message back.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use tokio::time::timeout_at;

use super::{http_body, message};
use crate::call::{Call, Failure, Head, Notes, Payload, Reply, ReplyBody};
use crate::codec::options::JsonOptions;
use crate::route::Binding;
use crate::schema::Schema;
use crate::snapshot::Snapshot;
use crate::status::{Code, Status};
use crate::upstream::{GrpcMessages, GrpcReply, GrpcRequest, RequestMessages, Upstream, protocol_error};

pub(super) async fn transcode(
    upstream: Upstream,
    call: Call,
    mirror: Option<super::Mirroring>,
) -> Result<Reply, Failure> {
    let key = super::key(&upstream, &call);
    let Call { snapshot, binding, metadata, deadline, head, payload, notes, trail, service, .. } = call;
    let form = Form::of(&payload);
    let messages = request(&snapshot, &binding, &notes, &head, payload, deadline).await?;
    let timeout = time_left(deadline)?;
    let terms = super::terms(&snapshot, &binding, service);
    let path = binding.grpc_path.clone();
    let request = GrpcRequest { path, metadata, key, timeout, messages, terms, trail };
    if let Some((upstream, key, mirror)) = mirror
        && let Some(copy) = request.copy(key)
    {
        mirror.send(upstream, copy);
    }
    reply(&snapshot, &binding, form, upstream.call(request).await?).await
}

/// What a call wants of its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// What HTTP clients are told.
    Http,
    /// The messages as they come.
    Wire,
}

impl Form {
    pub(super) fn of(payload: &Payload) -> Self {
        match payload {
            Payload::Http { .. } => Self::Http,
            Payload::Wire(_) => Self::Wire,
        }
    }
}

/// Reads the whole body and makes the one request message of it.
pub(super) async fn request(
    snapshot: &Snapshot,
    binding: &Binding,
    notes: &Notes,
    head: &Head,
    payload: Payload,
    deadline: Option<Instant>,
) -> Result<RequestMessages, Status> {
    let (captures, body) = match payload {
        Payload::Http { captures, body } => (captures, body),
        Payload::Wire(message) => {
            return Ok(RequestMessages::One(message::wire_frame(snapshot, binding, notes, &message)?));
        }
    };
    let body = match deadline {
        Some(deadline) => timeout_at(deadline.into(), body.collect()).await.map_err(|_| too_late())??,
        None => body.collect().await?,
    };
    let parts = message::Parts {
        captures: &captures,
        query: head.uri.query(),
        content_type: head.headers.get(CONTENT_TYPE),
    };
    Ok(RequestMessages::One(message::frame(snapshot, binding, notes, parts, &body)?))
}

/// How long the backend may take; a call that cannot be answered in time is not made.
pub(super) fn time_left(deadline: Option<Instant>) -> Result<Option<Duration>, Status> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if left.is_some_and(|left| left.is_zero()) { Err(too_late()) } else { Ok(left) }
}

/// The upstream keeps the deadline from the moment when it is called; until then it is kept here.
fn too_late() -> Status {
    Status::client(Code::DeadlineExceeded, "the request was not complete when its deadline passed")
        .with_reason("REQUEST_TOO_SLOW")
}

/// Makes a reply of exactly one message.
pub(super) async fn reply(
    snapshot: &Snapshot,
    binding: &Binding,
    form: Form,
    reply: GrpcReply,
) -> Result<Reply, Failure> {
    let GrpcReply { metadata, mut messages } = reply;
    let outcome = only_message(&mut messages).await;
    let trailers = messages.trailers();
    let wire = match outcome {
        Ok(wire) => wire,
        Err(status) => return Err(Failure::told(status, metadata, &trailers)),
    };
    if form == Form::Wire {
        return Ok(Reply { metadata, body: ReplyBody::Wire { message: wire, trailers } });
    }
    let body = match rendered(&snapshot.schema, &snapshot.json, binding, &wire)? {
        Rendered::Json(json) => ReplyBody::Unary { json, trailers },
        Rendered::Raw { content_type, data } => ReplyBody::Raw { content_type, body: data, trailers },
    };
    Ok(Reply { metadata, body })
}

/// A reply message as its clients read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rendered {
    Json(Bytes),
    /// `google.api.HttpBody`.
    Raw {
        content_type: Option<HeaderValue>,
        data: Bytes,
    },
}

/// Renders the reply message of a unary method.
///
/// # Errors
///
/// The bytes are not that message, or it has no JSON form.
pub fn rendered(
    schema: &Schema,
    json: &JsonOptions,
    binding: &Binding,
    wire: &Bytes,
) -> Result<Rendered, Status> {
    if binding.raw_response {
        let http_body::HttpBody { content_type, data } = http_body::read(schema, binding, wire)?;
        return Ok(Rendered::Raw { content_type, data });
    }
    message::json(schema, json, binding, wire).map(Rendered::Json)
}

async fn only_message(messages: &mut GrpcMessages) -> Result<Bytes, Status> {
    let Some(wire) = messages.next().await.transpose()? else {
        return Err(protocol_error("the backend ended a unary call without a message"));
    };
    if messages.next().await.transpose()?.is_some() {
        return Err(protocol_error("the backend answered a unary call with two messages"));
    }
    Ok(wire)
}
