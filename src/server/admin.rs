//! The admin listener: `/healthz`, `/readyz`, `/metrics`, `/stats`, `/config`, `POST /config/reload` and `POST /cache/purge`.
//!
//! It has a thread and a runtime of its own, so that it answers when every worker is busy, and it
//! outlives the workers, so that a balancer reads 503 until the end. Its connections are those of any listener,
//! with the same guards; what it counts of them is not shown, because the metrics speak of clients.

use std::error::Error;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aws_lc_rs::{constant_time, digest};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tower::ServiceExt;

use super::drain::{Drain, Step};
use super::{
    AdminConfig, Handler, HandlerWorker, LimitedBody, Operations, Peer, Purged, Reloaded, ServerLimits,
    WorkerContext,
};
use crate::policy::secret::Secret;
use crate::status::{Code, Status};
use crate::telemetry::{Exposition, Metrics};

const JSON: &str = "application/json";

/// What probes ask for, who have no credentials.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// How long a page may still be read when everything else is gone.
pub(super) const DRAIN: Duration = Duration::from_secs(1);

/// The pages, and who may read them.
#[derive(Clone, Debug)]
pub(super) struct Admin {
    pages: Router,
    gate: CurrentGate,
}

/// Who may read, as of now.
#[derive(Clone, Debug)]
pub(super) struct CurrentGate(Arc<ArcSwap<Gate>>);

/// What a reader must show; each that is configured is asked for.
#[derive(Debug)]
pub(super) struct Gate {
    /// SHA-256 of the token: comparing digests tells nothing of the length either.
    token: Option<digest::Digest>,
    needs_certificate: bool,
}

/// Who asks for something to be done.
#[derive(Clone, Debug)]
struct Actor(String);

/// The body of a page.
pub(super) struct Page(axum::body::Body);

/// The bounds of operators and probes.
pub(super) fn limits() -> ServerLimits {
    ServerLimits { body_bytes_max: 64 << 10, connections_max: 1024, ..ServerLimits::default() }
}

impl Admin {
    pub(super) fn new(
        config: &AdminConfig,
        metrics: Arc<Metrics>,
        Operations { config_page, reload, purge, lacking }: Operations,
        drain: Drain,
    ) -> Self {
        let stats = Arc::clone(&metrics);
        let mut pages = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(async move || readiness(drain.step(), &lacking.now())))
            .route("/metrics", get(move |headers: HeaderMap| ready(scrape(&metrics, &headers))))
            .route("/stats", get(move |headers: HeaderMap| ready(statistics(&stats, &headers))))
            .route("/config", get(async move || ([(CONTENT_TYPE, JSON)], config_page.json())));
        if let Some(reload) = reload {
            let answer =
                async move |Extension(actor): Extension<Actor>| reloaded(reload.reload(actor.0).await);
            pages = pages.route("/config/reload", post(answer));
        }
        if let Some(purge) = purge {
            let answer = async move |Extension(actor): Extension<Actor>, body: axum::body::Body| {
                // Bounded by the listener, as every body is.
                match axum::body::to_bytes(body, usize::MAX).await {
                    Ok(wanted) => purged(purge.purge(actor.0, wanted).await),
                    Err(error) => unreadable(&error),
                }
            };
            pages = pages.route("/cache/purge", post(answer));
        }
        Self { pages, gate: CurrentGate(Arc::new(ArcSwap::from_pointee(Gate::new(config)))) }
    }

    /// For letting others in.
    pub(super) fn gate(&self) -> CurrentGate {
        self.gate.clone()
    }
}

impl Handler for Admin {
    type Worker = Self;

    fn worker(&self, _context: &WorkerContext) -> Self {
        self.clone()
    }
}

impl HandlerWorker for Admin {
    type Body = Page;

    async fn call(&self, request: Request<LimitedBody>, peer: &Peer) -> Response<Page> {
        let gate = self.gate.0.load_full();
        let response = match gate.refusal(&request, peer) {
            Some(refusal) => refusal.into_response(),
            None => {
                let mut request = request.map(axum::body::Body::new);
                request.extensions_mut().insert(gate.actor(peer));
                self.pages.clone().oneshot(request).await.unwrap_or_else(|never| match never {})
            }
        };
        response.map(Page)
    }
}

impl CurrentGate {
    /// Asks something else of those who come from now on.
    pub(super) fn change(&self, config: &AdminConfig) {
        self.0.store(Arc::new(Gate::new(config)));
    }
}

impl Gate {
    fn new(config: &AdminConfig) -> Self {
        let token = config.token.as_ref().map(Secret::expose);
        Self {
            token: token.map(|token| digest::digest(&digest::SHA256, token.as_bytes())),
            needs_certificate: config.needs_certificate,
        }
    }

    /// Whom an operator has been found to be: by certificate, by token, or by address alone.
    fn actor(&self, peer: &Peer) -> Actor {
        let address = peer.address.ip().to_canonical();
        let certificate = peer.certificate.as_deref().map(|certificate| {
            let names = [&certificate.uris, &certificate.dns_names, &certificate.emails];
            let first =
                names.into_iter().find_map(|names| names.first()).or(certificate.common_name.as_ref());
            first.map_or_else(|| format!("{:?}", certificate.fingerprint), ToString::to_string)
        });
        Actor(match certificate {
            Some(name) => format!("admin {name} from {address}"),
            None if self.token.is_some() => format!("admin token from {address}"),
            None => format!("admin from {address}"),
        })
    }

    fn refusal(&self, request: &Request<LimitedBody>, peer: &Peer) -> Option<impl IntoResponse + use<>> {
        if OPEN.contains(&request.uri().path()) {
            return None;
        }
        let mut headers = HeaderMap::new();
        if self.token.is_some_and(|token| !shows(request.headers(), token)) {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"admin\""));
            return Some((StatusCode::UNAUTHORIZED, headers, "a bearer token is required\n"));
        }
        (self.needs_certificate && peer.certificate.is_none()).then_some((
            StatusCode::FORBIDDEN,
            headers,
            "a client certificate is required\n",
        ))
    }
}

/// Whether exactly one `Authorization` shows the token.
fn shows(headers: &HeaderMap, token: digest::Digest) -> bool {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Some((scheme, shown)) = value.as_bytes().split_at_checked(b"Bearer ".len()) else { return false };
    let shown = digest::digest(&digest::SHA256, shown);
    scheme.eq_ignore_ascii_case(b"Bearer ")
        && constant_time::verify_slices_are_equal(shown.as_ref(), token.as_ref()).is_ok()
}

/// In the format that the scraper reads.
fn scrape(metrics: &Arc<Metrics>, headers: &HeaderMap) -> impl IntoResponse + use<> {
    let exposition = Exposition::accepted(accepted(headers));
    ([(CONTENT_TYPE, exposition.content_type())], metrics.expose(exposition))
}

fn accepted(headers: &HeaderMap) -> &str {
    headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default()
}

/// For programs, unless somebody asks for what people read.
fn statistics(metrics: &Metrics, headers: &HeaderMap) -> impl IntoResponse + use<> {
    let view = metrics.stats.view(Instant::now(), metrics.reloads.generation());
    let view = view.with_endpoints(metrics.endpoints()).with_discovery(metrics.discovery());
    let mut types = accepted(headers).split(',').map(|one| one.split(';').next().unwrap_or_default().trim());
    let (content_type, text) = match types.find(|one| ["text/html", "text/plain", JSON].contains(one)) {
        Some("text/html") => ("text/html; charset=utf-8", view.html()),
        Some("text/plain") => ("text/plain; charset=utf-8", view.text()),
        _ => (JSON, view.json()),
    };
    ([(CONTENT_TYPE, content_type)], text)
}

fn reloaded(Reloaded { is_refused, json }: Reloaded) -> impl IntoResponse {
    let status = if is_refused { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    (status, [(CONTENT_TYPE, JSON)], json.to_string())
}

fn purged(purged: Purged) -> Response<axum::body::Body> {
    let (status, json) = match purged {
        Purged::Done(json) => (StatusCode::OK, json),
        Purged::HereAlone(json) => (StatusCode::SERVICE_UNAVAILABLE, json),
        Purged::Refused(json) => (StatusCode::BAD_REQUEST, json),
    };
    (status, [(CONTENT_TYPE, JSON)], json.to_string()).into_response()
}

/// A body that is too large, too slow or cut off.
fn unreadable(error: &axum::Error) -> Response<axum::body::Body> {
    let first: &(dyn Error + 'static) = error;
    let mut causes = std::iter::successors(Some(first), |&cause| cause.source());
    let status = causes.find_map(|cause| cause.downcast_ref::<Status>());
    let number = status.and_then(|status| StatusCode::from_u16(status.http_number()).ok());
    let message = status.map_or("the body cannot be read", |status| &*status.message);
    (number.unwrap_or(StatusCode::BAD_REQUEST), format!("{message}\n")).into_response()
}

fn readiness(step: Step, lacking: &[String]) -> impl IntoResponse + use<> {
    match step {
        Step::Serving if lacking.is_empty() => (StatusCode::OK, "ready\n".to_owned()),
        Step::Serving => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", lacking.join("; "))),
        Step::Announced | Step::Stopping | Step::Gone => {
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned())
        }
    }
}

impl Body for Page {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let failed =
            |_| Status::gateway(Code::Internal, "the page cannot be written").with_reason("INTERNAL");
        Pin::new(&mut self.0).poll_frame(cx).map_err(failed)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
