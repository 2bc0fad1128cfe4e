//! One request on its way to the gateway and back: counted, timed, bounded.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::body::LimitedBody;
use super::limits::ServerLimits;
use super::refusal::Refusal;
use super::takeover::Takeover;
use super::watch::{Held, Watch};
use super::{HandlerWorker, Peer};
use crate::policy::request_id::RequestIds;
use crate::status::Status;
use crate::telemetry::WorkerMetrics;

/// What every call of a connection shares.
#[derive(Debug)]
pub(super) struct ConnectionContext<W> {
    pub(super) worker: Arc<W>,
    pub(super) limits: Arc<ServerLimits>,
    pub(super) metrics: Arc<WorkerMetrics>,
    pub(super) request_ids: Arc<RequestIds>,
    pub(super) watch: Arc<Watch>,
    pub(super) peer: Peer,
}

/// The reply's body; the call ends with it.
///
/// hyper buffers a frame whole, however small the client's window is. So a large one goes in pieces, and
/// the call lasts until the last of them is wanted.
pub(super) struct AnswerBody<B> {
    content: Content<B>,
    /// What is left of a frame.
    rest: Bytes,
    held: Option<Held>,
    open: OpenCall,
}

enum Content<B> {
    Handler(Pin<Box<B>>),
    Refusal(Option<Bytes>),
}

/// Bytes of a reply that are handed to hyper at once.
const PIECE_BYTES: usize = 64 << 10;

/// Counts a call while it is open.
struct OpenCall {
    limits: Arc<ServerLimits>,
    metrics: Arc<WorkerMetrics>,
    watch: Arc<Watch>,
    started: Instant,
    http_number: u16,
    is_finished: bool,
}

/// Answers one request.
pub(super) async fn answer<W: HandlerWorker>(
    context: Arc<ConnectionContext<W>>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody<W::Body>>, Infallible> {
    let is_http1 = request.version() < Version::HTTP_2;
    let mut response = respond(&context, request).await;
    let is_last = context.watch.is_leaving() && response.status() != StatusCode::SWITCHING_PROTOCOLS;
    if is_http1 && is_last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

async fn respond<W: HandlerWorker>(
    context: &ConnectionContext<W>,
    request: Request<Incoming>,
) -> Response<AnswerBody<W::Body>> {
    let mut open = OpenCall::new(context);
    if let Some(refusal) = refusal_of(&request, &context.limits) {
        return refuse(refusal, context.request_ids.choose(request.headers()), open);
    }
    let is_head = request.method() == Method::HEAD;
    let is_http1 = request.version() < Version::HTTP_2;
    let request = request.map(|incoming| LimitedBody::new(incoming, &context.limits));
    let mut response = context.worker.call(request, &context.peer).await;
    if is_http1 && let Some(takeover) = response.extensions_mut().remove::<Takeover>() {
        context.watch.hand_over(takeover);
    }
    open.http_number = response.status().as_u16();
    // hyper does not read the body of a reply to HEAD, nor one that is empty.
    open.is_finished = is_head || response.body().is_end_stream();
    response.map(|body| AnswerBody::new(Content::Handler(Box::pin(body)), open))
}

/// What the guard judges in HTTP/1 and nobody has judged in HTTP/2.
fn refusal_of(request: &Request<Incoming>, limits: &ServerLimits) -> Option<Refusal> {
    if request.version() != Version::HTTP_2 {
        return None;
    }
    let path_bytes = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    if path_bytes > limits.url_bytes_max {
        return Some(Refusal::UriTooLong);
    }
    (request.headers().len() > limits.header_count_max).then_some(Refusal::TooManyHeaders)
}

fn refuse<B>(refusal: Refusal, request_id: HeaderValue, mut open: OpenCall) -> Response<AnswerBody<B>> {
    open.http_number = refusal.http_number();
    let mut response = Response::new(AnswerBody::new(Content::Refusal(Some(refusal.json())), open));
    *response.status_mut() = StatusCode::from_u16(refusal.http_number()).unwrap_or(StatusCode::BAD_REQUEST);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert("x-request-id", request_id);
    response
}

impl<B> AnswerBody<B> {
    fn new(content: Content<B>, open: OpenCall) -> Self {
        Self { content, rest: Bytes::new(), held: None, open }
    }

    fn release(&mut self) {
        if let Some(held) = self.held.take() {
            self.open.watch.release(held);
        }
    }
}

impl<B> Drop for AnswerBody<B> {
    fn drop(&mut self) {
        self.release();
    }
}

impl<B: Body<Data = Bytes, Error = Status>> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        this.release();
        let mut frame = if this.rest.is_empty() {
            match &mut this.content {
                Content::Handler(body) => ready!(body.as_mut().poll_frame(cx)),
                Content::Refusal(json) => json.take().map(|json| Ok(Frame::data(json))),
            }
        } else {
            Some(Ok(Frame::data(std::mem::take(&mut this.rest))))
        };
        if let Some(Ok(data)) = &mut frame
            && let Some(data) = data.data_mut()
            && data.len() > PIECE_BYTES
        {
            this.rest = data.split_off(PIECE_BYTES);
        }
        if !matches!(frame, Some(Ok(_))) || this.is_end_stream() {
            this.open.is_finished = true;
        } else {
            this.held = Some(this.open.watch.hold());
        }
        this.open.watch.reply_moves();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
            && match &self.content {
                Content::Handler(body) => body.is_end_stream(),
                Content::Refusal(json) => json.is_none(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = match &self.content {
            Content::Handler(body) => body.size_hint(),
            Content::Refusal(json) => SizeHint::with_exact(json.as_ref().map_or(0, |json| json.len() as u64)),
        };
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

impl OpenCall {
    fn new<W>(context: &ConnectionContext<W>) -> Self {
        context.watch.call_begins();
        context.metrics.calls_open.increase();
        Self {
            limits: Arc::clone(&context.limits),
            metrics: Arc::clone(&context.metrics),
            watch: Arc::clone(&context.watch),
            started: Instant::now(),
            http_number: 499,
            is_finished: false,
        }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.watch.call_ends(!self.is_finished, &self.limits);
        self.metrics.calls_open.decrease();
        // 499: the client went away before the end, as nginx names it.
        let number = if self.is_finished { self.http_number } else { 499 };
        self.metrics.replied(number, self.started.elapsed());
    }
}
