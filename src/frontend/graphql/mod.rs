//! GraphQL over HTTP: what a request asks for, the calls that it opens, and what the client is told.
//!
//! ```text
//! head → judge → body → Parameters ─▶ (graphql: Document, Operation) ─▶ Opening::call, once a root field
//! replies → (graphql: Projector) → body of the response, events, or messages of a WebSocket
//! ```
//!
//! This protocol reads its small, bounded body in room 4, because the body says what is called; it calls nobody
//! itself. The gateway runs the calls through the stages, each like any other, and hands back what is to be joined.

pub mod events;
mod media;
mod request;
mod response;
mod values;
pub mod websocket;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body;

use super::{Exchange, decompress, edge, render};
use crate::call::{Call, ClientBody, Head, Notes, Payload, ResponseBody};
use crate::policy::{cors, deadline};
use crate::route::Binding;
use crate::snapshot::{Graphql, Surface};
use crate::status::{Code, Status};

pub use media::Media;
pub use request::{Parameters, Requests, batch_as_events, no_query, only_as_events, only_by_post, too_slow};
pub use response::{DATA, RequestError, end, error_list, failure, request_error_list, request_error_number};
pub use values::check as check_values;

/// What the calls of one request have in common.
pub struct Opening {
    metadata: HeaderMap,
    head: Arc<Head>,
    /// How long the client is ready to wait.
    timeout: Option<Duration>,
}

/// The conditions of a request are about its response as a whole, and no single reply.
const CONDITIONS: [HeaderName; 5] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
];

/// The methods of the path.
const ALLOW: &str = "GET, HEAD, POST";

/// Judges the head of a request to a surface's GraphQL.
///
/// # Errors
///
/// Whatever is wrong with the head, or the answer to a preflight.
pub fn enter(
    exchange: &mut Exchange,
    surface: &Surface,
    graphql: &Graphql,
    head: &Head,
) -> Result<Media, Status> {
    if let Some(cors) = surface.cors.as_ref().filter(|_| cors::is_preflight(&head.method, &head.headers)) {
        return Err(edge::answer_preflight(exchange, cors, &head.headers, ALLOW));
    }
    edge::enter(exchange, surface, &head.headers);
    request::judge(&head.method, &head.headers, graphql.needs_preflight)
}

/// Reads the parameters of a request, or of several: the whole body of a POST.
///
/// # Errors
///
/// 400 for what is no request, 413 for one of too many values; the body's own: too large, too slow, broken off.
pub async fn read(
    exchange: &Exchange,
    graphql: &Graphql,
    head: &Head,
    body: ClientBody,
) -> Result<Requests, Status> {
    if head.method != Method::POST {
        return Ok(Requests::One(Box::new(Parameters::of_query(&head.uri)?)));
    }
    let body = decompress::decoded(exchange, &head.headers, body)?;
    let body = read_body(body, graphql.body_bytes_max).await?;
    Requests::of_body(&body, graphql.limits.values_max, graphql.batch_max)
}

/// Reads a body that says what is called.
///
/// # Errors
///
/// 413 beyond `bytes_max`; the body's own: too slow, broken off.
pub async fn read_body(mut body: ClientBody, bytes_max: usize) -> Result<Vec<u8>, Status> {
    let mut whole = Vec::new();
    while let Some(data) = body.next_data().await? {
        if whole.len() + data.len() > bytes_max {
            let message = format!("the body has more than {bytes_max} bytes");
            return Err(Status::client(Code::ResourceExhausted, message)
                .with_http(413)
                .with_reason("BODY_TOO_LARGE"));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

impl Opening {
    /// # Errors
    ///
    /// The client names a deadline that is none.
    pub fn new(exchange: &mut Exchange) -> Result<Self, Status> {
        let timeout = deadline::client_timeout(&exchange.head.headers)?;
        let metadata = edge::metadata(exchange);
        let mut head = Arc::clone(&exchange.head);
        if CONDITIONS.iter().any(|name| head.headers.contains_key(name)) {
            let mut headers = head.headers.clone();
            for name in &CONDITIONS {
                headers.remove(name);
            }
            head = Arc::new(head.with_headers(headers));
        }
        Ok(Self { metadata, timeout, head })
    }

    /// One call of those that a request opens.
    pub fn call(
        &self,
        exchange: &Exchange,
        binding: &Arc<Binding>,
        request: Bytes,
        notes: Arc<Notes>,
    ) -> Call {
        let snapshot = Arc::clone(&exchange.snapshot);
        let destinations = &snapshot.rule(binding).destinations;
        // A stream lasts as long as its client wants; that it moves is bounded elsewhere.
        let bound = (!binding.server_streaming).then(|| destinations.timeout_max());
        let timeout = self.timeout.into_iter().chain(bound).min();
        Call {
            binding: Arc::clone(binding),
            service: destinations.first().service,
            metadata: self.metadata.clone(),
            deadline: timeout.and_then(|timeout| exchange.head.started.checked_add(timeout)),
            payload: Payload::Wire(request),
            head: Arc::clone(&self.head),
            identity: None,
            notes,
            trail: None,
            limited: None,
            held: Vec::new(),
            snapshot,
        }
    }
}

/// The response to a request that is refused.
pub fn refuse(exchange: &mut Exchange, media: Media, status: &Status) -> Response<ResponseBody> {
    let snapshot = &exchange.snapshot;
    let json = response::refusal(&snapshot.schema, &snapshot.json, status);
    let mut response = respond(exchange, media.of_refusal(), status.http_number(), json);
    if let Some(allow) = status.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response.headers_mut().extend(render::retry_after(status).map(|seconds| (header::RETRY_AFTER, seconds)));
    response
}

/// The response to a request that cannot be executed.
pub fn refuse_all(exchange: &mut Exchange, media: Media, errors: &[RequestError]) -> Response<ResponseBody> {
    respond(exchange, media, request_error_number(media), response::request_errors(errors))
}

/// A page, which is no GraphQL, as a response of its surface.
pub fn page(
    exchange: &mut Exchange,
    surface: &Surface,
    head: &Head,
    mut page: Response<ResponseBody>,
) -> Response<ResponseBody> {
    edge::enter(exchange, surface, &head.headers);
    edge::leave(exchange, &mut page);
    page
}

/// A response whose results come as they are there.
pub fn stream(
    exchange: &mut Exchange,
    body: impl Body<Data = Bytes, Error = Status> + Send + 'static,
) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Stream(Box::pin(body)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, Media::Events.content_type());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    edge::leave(exchange, &mut response);
    response
}

/// A response of this number with this body, which is the only result of an operation.
pub fn respond(exchange: &mut Exchange, media: Media, number: u16, json: Vec<u8>) -> Response<ResponseBody> {
    let data = if media == Media::Events { events::only(&json) } else { json.into() };
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if number != 204 {
        response.headers_mut().insert(header::CONTENT_TYPE, media.content_type());
        *response.body_mut() = ResponseBody::Full { data, trailers: None };
    }
    edge::leave(exchange, &mut response);
    response
}
