//! What a surface owes to clients, whatever protocol they speak: CORS, an offer of compression, metadata by its
//! policy, the request's id.
//!
//! Decided in room 3, as soon as the surface is known, so that every reply has it: a page that may call
//! also reads why its call has failed. A preflight ends here, before any stage: browsers send it without
//! credentials.

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::Exchange;
use crate::call::{Head, ResponseBody};
use crate::policy::cors::{self, Cors};
use crate::policy::metadata::Peer;
use crate::policy::request_id::X_REQUEST_ID;
use crate::route::Match;
use crate::snapshot::{Snapshot, Surface};
use crate::status::{Code, Status};

/// Notes what every reply of a surface to this request says.
pub(super) fn enter(exchange: &mut Exchange, surface: &Surface, request: &HeaderMap) {
    exchange.surface = Some(surface.name.clone());
    exchange.trusts_traceparent = surface.trusts_traceparent;
    exchange.compression = surface.compression.offer(request);
    if let Some(cors) = &surface.cors {
        let mut told = HeaderMap::new();
        cors.tell(request, &mut told);
        note(exchange, &told);
    }
}

/// The answer to a preflight; `None` for requests of all other kinds, and where there is nothing to allow.
pub(super) fn preflight(
    exchange: &mut Exchange,
    snapshot: &Snapshot,
    host: &str,
    head: &Head,
) -> Option<Status> {
    if !cors::is_preflight(&head.method, &head.headers) {
        return None;
    }
    let path = head.uri.path();
    let asked = head.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?.to_str().ok()?;
    let (surface, _) = snapshot.surfaces.find(exchange.listener, host, asked, path).ok()?;
    let cors = surface.cors.as_ref()?;
    // A path that is not there is not found by this request either, and the page may read so.
    let Match::MethodNotAllowed { allow } = surface.routes.allow(path) else { return None };
    Some(answer_preflight(exchange, cors, &head.headers, &allow))
}

/// The answer to a preflight for a path with these methods.
pub(super) fn answer_preflight(exchange: &Exchange, cors: &Cors, request: &HeaderMap, allow: &str) -> Status {
    let mut told = HeaderMap::new();
    let is_allowed = cors.preflight(request, allow, &mut told);
    note(exchange, &told);
    if is_allowed {
        return Status::client(Code::Ok, "").with_http(204);
    }
    exchange.notes.refused_by("cors");
    let message = "pages of this origin may not call";
    Status::client(Code::PermissionDenied, message).with_reason("CORS_ORIGIN_DENIED")
}

/// The metadata of the calls that a request opens.
pub(super) fn metadata(exchange: &mut Exchange) -> HeaderMap {
    let Head { client, headers, uri, request_id, .. } = &*exchange.head;
    let peer = Peer {
        chain: client.chain.clone(),
        scheme: HeaderValue::from_static(client.scheme),
        host: client.host.clone(),
    };
    let (metadata, dropped) = exchange.snapshot.metadata.request(
        headers,
        uri.authority().map(Authority::as_str),
        &peer,
        request_id,
    );
    exchange.dropped_headers += dropped;
    metadata
}

/// What every response has, whatever it says.
pub(super) fn leave(exchange: &Exchange, response: &mut Response<ResponseBody>) {
    response.headers_mut().insert(X_REQUEST_ID, exchange.head.request_id.clone());
    for (name, value) in exchange.notes.take_reply_headers() {
        response.headers_mut().append(name, value);
    }
    if exchange.head.method == Method::HEAD {
        strip_body(response);
    }
}

/// RFC 9110, section 9.3.2: the same header fields as for `GET`, `Content-Length` included.
fn strip_body(response: &mut Response<ResponseBody>) {
    use http_body::Body as _;
    let body = std::mem::replace(response.body_mut(), ResponseBody::Empty);
    if let Some(length) = body.size_hint().exact()
        && !forbids_body(response.status())
    {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5.
pub(super) fn forbids_body(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
}

fn note(exchange: &Exchange, told: &HeaderMap) {
    for (name, value) in told {
        exchange.notes.reply_header(name.clone(), value.clone());
    }
}
