//! REST: HTTP/JSON by `google.api.http` rules. Claims whatever no other frontend does.
//!
//! `open` routes by verb and path, checks the content type against what the route's body takes and
//! decides metadata and deadline. `respond` writes a transcoded reply or a `google.rpc.Status`. A
//! `HEAD` is answered like its `GET`, without the body.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};

use super::accept::Framing;
use super::stream::StreamBody;
use super::{Aggregated, Exchange, Frontend, Opened, decompress, edge, render};
use crate::call::{self, Call, ClientBody, Failure, Head, Payload, Reply, ReplyBody, ResponseBody};
use crate::policy::deadline;
use crate::route::{Aggregate, Binding, Body, Captures, Match};
use crate::snapshot::Snapshot;
use crate::status::{Code, Status};

/// The REST frontend.
pub(super) struct Rest;

static JSON: HeaderValue = HeaderValue::from_static("application/json");
static PROTOBUF: HeaderValue = HeaderValue::from_static("application/protobuf");

impl Frontend for Rest {
    fn claims(&self, _head: &Head) -> bool {
        true
    }

    fn open(&self, exchange: &mut Exchange, body: ClientBody) -> Result<Opened, Status> {
        let (snapshot, head) = (exchange.snapshot.clone(), exchange.head.clone());
        let (binding, captures) = match route(exchange, &snapshot, &head)? {
            (Routed::Method(binding), captures) => (binding, captures),
            (Routed::Aggregate(aggregate), captures) => {
                return aggregated(exchange, aggregate, captures, &head, body);
            }
        };
        exchange.binding = Some(binding.clone());
        if !body.is_empty() && !binding.raw_request && binding.body != Body::None {
            check_content_type(head.headers.get(header::CONTENT_TYPE), binding.client_streaming)?;
        }
        let body = decompress::decoded(exchange, &head.headers, body)?;
        if binding.server_streaming {
            exchange.framing = Framing::negotiate(&head.headers);
        }
        let timeout = deadline::client_timeout(&head.headers)?;
        let is_streaming = binding.client_streaming || binding.server_streaming;
        let bound = (!is_streaming).then_some(snapshot.rule(&binding).destinations.timeout_max());
        let timeout = timeout.into_iter().chain(bound).min();
        let metadata = edge::metadata(exchange);
        let service = snapshot.rule(&binding).destinations.first().service;
        Ok(Opened::Call(Call {
            binding,
            service,
            metadata,
            deadline: timeout.and_then(|timeout| head.started.checked_add(timeout)),
            payload: Payload::Http { captures, body },
            head,
            identity: None,
            notes: exchange.notes.clone(),
            trail: None,
            limited: None,
            held: Vec::new(),
            snapshot,
        }))
    }

    fn respond(&self, exchange: &mut Exchange, outcome: Result<Reply, Failure>) -> Response<ResponseBody> {
        let mut response = match outcome {
            Ok(reply) => success(exchange, reply),
            Err(told) => failure(exchange, &told),
        };
        edge::leave(exchange, &mut response);
        response
    }
}

/// What a route leads to.
enum Routed {
    Method(Arc<Binding>),
    Aggregate(Arc<Aggregate>),
}

/// A request that several calls answer, judged by its head as far as that of a call is.
fn aggregated(
    exchange: &mut Exchange,
    aggregate: Arc<Aggregate>,
    captures: Captures,
    head: &Head,
    body: ClientBody,
) -> Result<Opened, Status> {
    exchange.aggregate = Some(Arc::clone(&aggregate));
    if !body.is_empty() {
        check_content_type(head.headers.get(header::CONTENT_TYPE), false)?;
    }
    let body = decompress::decoded(exchange, &head.headers, body)?;
    Ok(Opened::Aggregate(Box::new(Aggregated { aggregate, captures, body })))
}

/// Room 3: the surface by listener and host, and what it has for verb and path.
fn route(exchange: &mut Exchange, snapshot: &Snapshot, head: &Head) -> Result<(Routed, Captures), Status> {
    let host = call::host(&head.uri, &head.headers).unwrap_or_default();
    if let Some(answer) = edge::preflight(exchange, snapshot, host, head) {
        return Err(answer);
    }
    let surfaces = &snapshot.surfaces;
    let found = surfaces.find(exchange.listener, host, head.method.as_str(), head.uri.path());
    let Ok((surface, found)) = found else {
        return Err(
            Status::client(Code::NotFound, "this host is not served here").with_reason("HOST_NOT_SERVED")
        );
    };
    edge::enter(exchange, surface, &head.headers);
    match found {
        Match::Found { binding, captures } => Ok((Routed::Method(binding.clone()), captures)),
        Match::Aggregate { aggregate, captures } => Ok((Routed::Aggregate(aggregate.clone()), captures)),
        Match::MethodNotAllowed { allow } => Err(method_not_allowed(&head.method, allow)),
        Match::NotFound => {
            Err(Status::client(Code::NotFound, "no route matches this path").with_reason("ROUTE_NOT_FOUND"))
        }
        Match::BadPath(reason) => {
            Err(Status::client(Code::InvalidArgument, reason.to_string()).with_reason("BAD_PATH"))
        }
    }
}

fn success(exchange: &mut Exchange, reply: Reply) -> Response<ResponseBody> {
    let snapshot = exchange.snapshot.clone();
    let mut response = Response::new(ResponseBody::Empty);
    exchange.dropped_headers += snapshot.metadata.response(&reply.metadata, response.headers_mut());
    if let Some(number) = chosen_status(&reply.metadata) {
        *response.status_mut() = number;
    }
    let (content_type, body) = match reply.body {
        ReplyBody::Unary { json, trailers } => {
            (Some(JSON.clone()), full(json, wanted_trailers(exchange, &mut response, &trailers)))
        }
        // Nobody asks for it here; it is what it is nevertheless.
        ReplyBody::Wire { message, trailers } => {
            (Some(PROTOBUF.clone()), full(message, wanted_trailers(exchange, &mut response, &trailers)))
        }
        ReplyBody::WireStream(messages) => {
            let body = StreamBody::raw(messages, snapshot.clone(), exchange.wants_trailers);
            (Some(PROTOBUF.clone()), ResponseBody::Stream(Box::pin(body)))
        }
        ReplyBody::Stream(messages) => {
            let framing = exchange.framing;
            let body = StreamBody::framed(messages, framing, snapshot.clone(), exchange.wants_trailers);
            (Some(HeaderValue::from_static(framing.content_type())), ResponseBody::Stream(Box::pin(body)))
        }
        ReplyBody::Raw { content_type, body, trailers } => {
            (content_type, full(body, wanted_trailers(exchange, &mut response, &trailers)))
        }
        ReplyBody::RawStream { content_type, messages } => {
            let body = StreamBody::raw(messages, snapshot.clone(), exchange.wants_trailers);
            (content_type, ResponseBody::Stream(Box::pin(body)))
        }
    };
    put_body(&mut response, content_type, body);
    response
}

fn put_body(response: &mut Response<ResponseBody>, content_type: Option<HeaderValue>, body: ResponseBody) {
    if edge::forbids_body(response.status()) {
        return;
    }
    if let Some(content_type) = content_type {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    *response.body_mut() = body;
}

/// The trailers to send, announced by `Trailer`, without which HTTP/1.1 has no place for them (RFC 9110,
/// section 6.6.2).
fn wanted_trailers(
    exchange: &mut Exchange,
    response: &mut Response<ResponseBody>,
    trailers: &HeaderMap,
) -> Option<Box<HeaderMap>> {
    let mut wanted = HeaderMap::new();
    if exchange.wants_trailers {
        exchange.dropped_headers += exchange.snapshot.metadata.response(trailers, &mut wanted);
    }
    if wanted.is_empty() {
        return None;
    }
    let names: Vec<_> = wanted.keys().map(header::HeaderName::as_str).collect();
    let names = HeaderValue::from_str(&names.join(", ")).ok()?;
    response.headers_mut().insert(header::TRAILER, names);
    Some(Box::new(wanted))
}

fn failure(exchange: &mut Exchange, failure: &Failure) -> Response<ResponseBody> {
    let snapshot = &exchange.snapshot;
    let status = &failure.status;
    let json = render::status_json(&snapshot.schema, &snapshot.json, status);
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() =
        StatusCode::from_u16(status.http_number()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    put_body(&mut response, Some(JSON.clone()), full(json.into(), None));
    let headers = response.headers_mut();
    if let Some(metadata) = &failure.metadata {
        exchange.dropped_headers += snapshot.metadata.response(metadata, headers);
    }
    if let Some(allow) = status.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
        headers.insert(header::ALLOW, allow);
    }
    headers.extend(render::retry_after(status).map(|seconds| (header::RETRY_AFTER, seconds)));
    response
}

/// RFC 9110, section 15.5.6: a 405 lists what is allowed. `OPTIONS` asks for just that.
fn method_not_allowed(method: &Method, allow: String) -> Status {
    let mut status = if method == Method::OPTIONS {
        Status::client(Code::Ok, "").with_http(204)
    } else {
        Status::client(Code::Unimplemented, format!("this path allows {allow}"))
            .with_http(405)
            .with_reason("METHOD_NOT_ALLOWED")
    };
    status.allow = Some(allow.into());
    status
}

/// `application/json` and `application/*+json` in UTF-8, and NDJSON where many messages may come; a
/// missing type is taken as JSON.
fn check_content_type(content_type: Option<&HeaderValue>, is_stream: bool) -> Result<(), Status> {
    let Some(value) = content_type else { return Ok(()) };
    if value == JSON || value.to_str().is_ok_and(|text| is_json(text, is_stream)) {
        return Ok(());
    }
    Err(Status::client(Code::InvalidArgument, "the body must be `application/json` in UTF-8")
        .with_http(415)
        .with_reason("UNSUPPORTED_MEDIA_TYPE"))
}

fn is_json(content_type: &str, is_stream: bool) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_json = essence == "application/json"
        || essence.strip_prefix("application/").is_some_and(|subtype| subtype.ends_with("+json"))
        || is_stream && Framing::from_media_type(&essence) == Some(Framing::Ndjson);
    is_json
        && parts.all(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            !name.eq_ignore_ascii_case("charset") || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
}

/// The backend may choose a success or redirection number with the metadata `x-http-code`.
fn chosen_status(metadata: &HeaderMap) -> Option<StatusCode> {
    let number: u16 = metadata.get("x-http-code")?.to_str().ok()?.parse().ok()?;
    (200..400).contains(&number).then(|| StatusCode::from_u16(number).ok())?
}

fn full(data: bytes::Bytes, trailers: Option<Box<HeaderMap>>) -> ResponseBody {
    ResponseBody::Full { data, trailers }
}
