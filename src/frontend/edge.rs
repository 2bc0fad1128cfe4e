//! What a surface owes to browsers, whatever protocol they speak: CORS, and an offer of compression.
//!
//! Decided in room 3, as soon as the surface is known, so that every reply has it: a page that may call
//! also reads why its call has failed. A preflight ends here, before any stage: browsers send it without
//! credentials.

use http::request::Parts;
use http::{HeaderMap, header};

use super::Exchange;
use crate::policy::cors;
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
    head: &Parts,
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
    let mut told = HeaderMap::new();
    let is_allowed = cors.preflight(&head.headers, &allow, &mut told);
    note(exchange, &told);
    if is_allowed {
        return Some(Status::client(Code::Ok, "").with_http(204));
    }
    exchange.notes.refused_by("cors");
    let message = "pages of this origin may not call";
    Some(Status::client(Code::PermissionDenied, message).with_reason("CORS_ORIGIN_DENIED"))
}

fn note(exchange: &Exchange, told: &HeaderMap) {
    for (name, value) in told {
        exchange.notes.reply_header(name.clone(), value.clone());
    }
}
