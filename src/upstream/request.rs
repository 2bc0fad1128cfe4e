//! The sending half of a call: head, one message or a stream of them.
//!
//! A single message is handed to h2 whole, which holds it until the peer's window admits it; nothing
//! has to be polled for it. A stream of messages gets a task that sends one message at a time as
//! the window opens; the task ends with the reply.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version, uri};
use tokio::task::JoinHandle;

use super::attempt::Attempt;
use super::connection::Lease;
use super::endpoint::Endpoint;
use super::{Failure, UpstreamConfig, frame, status};
use crate::policy::concurrency::Priority;
use crate::policy::request_id::unindexed;
use crate::policy::retry::RetryRules;
use crate::policy::trail::Trail;
use crate::status::{Code, Status};
use crate::telemetry::WorkerMetrics;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const APPLICATION_GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("transom/", env!("CARGO_PKG_VERSION")));

/// One call to a backend.
#[derive(Debug)]
pub struct GrpcRequest {
    /// `/package.Service/Method`.
    pub path: PathAndQuery,
    /// Metadata; `te`, `content-type`, `user-agent` and `grpc-timeout` are overwritten.
    pub metadata: HeaderMap,
    /// The hash of what keeps calls together, where the service deals them by that.
    pub key: Option<u64>,
    /// Kept here, and told to the backend as `grpc-timeout`, less what has passed by then: it covers the reply's last
    /// byte.
    pub timeout: Option<Duration>,
    pub messages: RequestMessages,
    pub terms: Terms,
    /// Where attempts are noted, for whoever tells of the call.
    pub trail: Option<Arc<Trail>>,
}

/// What the route says of a call, for the protection of its service.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// When it is made again; `None`: never.
    pub retry: Option<Arc<RetryRules>>,
    /// Whether it may be made twice.
    pub is_idempotent: bool,
    /// Whether it is shed before others; `None`: never, and it does not count, because it may last.
    pub priority: Option<Priority>,
    /// A deadline as long as this is long enough for the backend to be blamed when it passes.
    pub patience: Duration,
    /// Whether the reply is many messages, and may last.
    pub server_streaming: bool,
    /// Whether it is the copy of a call: nobody judges an endpoint by it.
    pub is_copy: bool,
}

/// Messages of the client, each already framed ([`put_frame`](super::put_frame)).
pub enum RequestMessages {
    One(Bytes),
    Stream(RequestStream),
}

/// Framed messages as they come; an error cancels the call and becomes its outcome.
pub type RequestStream = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

impl GrpcRequest {
    /// The same request for another service, with its hash there, if it is one message; nobody tells of that call.
    pub fn copy(&self, key: Option<u64>) -> Option<Self> {
        let terms = Terms { is_copy: true, ..Terms::default() };
        Some(Self { key, terms, trail: None, ..self.replay()? })
    }

    /// The same request once more, if it is one message; a stream of them can be read only once.
    pub(super) fn replay(&self) -> Option<Self> {
        let RequestMessages::One(frame) = &self.messages else { return None };
        Some(Self {
            path: self.path.clone(),
            metadata: self.metadata.clone(),
            key: self.key,
            timeout: self.timeout,
            messages: RequestMessages::One(frame.clone()),
            terms: self.terms.clone(),
            trail: self.trail.clone(),
        })
    }
}

impl fmt::Debug for RequestMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(frame) => f.debug_tuple("One").field(&frame.len()).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// A call whose reply has begun.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) response: Response<RecvStream>,
    pub(super) lease: Lease,
    pub(super) sending: Option<Sending>,
}

/// Sends the head and the messages, and waits for the head of the reply.
pub(super) async fn open(
    request: GrpcRequest,
    mut lease: Lease,
    config: &UpstreamConfig,
) -> Result<Opened, Failure> {
    let GrpcRequest { path, metadata, timeout, messages, .. } = request;
    let authority = config.authority.as_ref().unwrap_or(lease.authority());
    let head = head(path, metadata, timeout, lease.address().scheme(), authority.clone());
    let writes = lease.writes();
    let (response, mut body) =
        lease.send_request(head).map_err(|error| Failure::unsent(status::from_h2(&error).status))?;
    let mut sending = None;
    match messages {
        RequestMessages::One(frame) => {
            // An error here is the stream's, and the reply tells it better.
            let _ = body.send_data(frame, true);
        }
        RequestMessages::Stream(stream) => {
            let messages = Gathered::new(stream, config.message_bytes_to_backend_max);
            sending = Some(Sending::spawn(body, messages));
        }
    }
    match wait(response, sending.as_ref()).await {
        Ok(response) => {
            lease.prove();
            Ok(Opened { response, lease, sending })
        }
        Err(mut failure) => {
            if lease.writes() == writes {
                (failure.is_unsent, failure.was_refused) = (true, false);
            }
            Err(failure)
        }
    }
}

async fn wait(response: ResponseFuture, sending: Option<&Sending>) -> Result<Response<RecvStream>, Failure> {
    response.await.map_err(|error| match sending.and_then(Sending::failure) {
        Some(status) => Failure::sent(status),
        None => {
            tracing::debug!(%error, "call to the backend failed");
            status::from_h2(&error)
        }
    })
}

fn head(
    path: PathAndQuery,
    mut metadata: HeaderMap,
    timeout: Option<Duration>,
    scheme: Scheme,
    authority: Authority,
) -> Request<()> {
    metadata.insert(TE, TRAILERS);
    metadata.insert(CONTENT_TYPE, APPLICATION_GRPC);
    metadata.insert(USER_AGENT, AGENT);
    match timeout {
        Some(timeout) => metadata.insert(GRPC_TIMEOUT, timeout_value(timeout)),
        None => metadata.remove(GRPC_TIMEOUT),
    };
    let mut parts = uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority);
    parts.path_and_query = Some(path);
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = Uri::from_parts(parts).expect("scheme, authority and path make a URI");
    *request.headers_mut() = metadata;
    request
}

/// PROTOCOL-HTTP2: `Timeout → TimeoutValue TimeoutUnit`, a value of at most eight digits. The finest unit that fits, but
/// none finer than milliseconds from a second on, rounded up so that a short timeout never becomes none.
///
/// What a call has left of a round time at its beginning is so told as that time. It will come again, and HPACK may
/// keep it.
fn timeout_value(timeout: Duration) -> HeaderValue {
    const UNITS: [(u128, u8); 6] = [
        (1, b'n'),
        (1_000, b'u'),
        (1_000_000, b'm'),
        (1_000_000_000, b'S'),
        (60_000_000_000, b'M'),
        (3_600_000_000_000, b'H'),
    ];
    const VALUE_MAX: u128 = 99_999_999;
    let is_long = timeout >= Duration::from_secs(1);
    let (nanos, units) = (timeout.as_nanos(), if is_long { &UNITS[2..] } else { &UNITS });
    let fitting = units.iter().find(|(unit, _)| nanos.div_ceil(*unit) <= VALUE_MAX);
    let (value, letter) =
        fitting.map_or((VALUE_MAX, b'H'), |(unit, letter)| (nanos.div_ceil(*unit), *letter));
    let mut digits = itoa::Buffer::new();
    let mut text = digits.format(value).as_bytes().to_vec();
    text.push(letter);
    let value_is_round = is_long && value % 100 == 0;
    let value = HeaderValue::from_maybe_shared(Bytes::from(text)).expect("digits and a letter");
    if value_is_round { value } else { unindexed(value) }
}

/// The task that sends a stream of messages; dropping this ends it, which resets the stream when it
/// is still open.
#[derive(Debug)]
pub(super) struct Sending {
    task: JoinHandle<()>,
    failure: Arc<OnceLock<Status>>,
}

impl Sending {
    fn spawn(mut body: SendStream<Bytes>, mut messages: Gathered) -> Self {
        let failure = Arc::new(OnceLock::new());
        let told = Arc::clone(&failure);
        let task = tokio::spawn(async move {
            if let Err(status) = send_all(&mut body, &mut messages).await {
                // Told before the reset, which is what wakes the reader.
                let _ = told.set(status);
                body.send_reset(Reason::CANCEL);
            }
        });
        Self { task, failure }
    }

    /// Why sending ended early, when that was our client's fault.
    pub(super) fn failure(&self) -> Option<Status> {
        self.failure.get().cloned()
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends every message as the window opens; returns when the backend no longer listens.
async fn send_all(body: &mut SendStream<Bytes>, messages: &mut Gathered) -> Result<(), Status> {
    loop {
        let data = poll_fn(|cx| {
            if body.poll_reset(cx).is_ready() {
                return Poll::Ready(None);
            }
            messages.poll_data(cx).map(Some)
        });
        let data = match data.await {
            None => return Ok(()),
            Some(None) => {
                let _ = body.send_data(Bytes::new(), true);
                return Ok(());
            }
            Some(Some(data)) => data?,
        };
        // Wait until the window has room at all; then h2 holds at most what was gathered.
        body.reserve_capacity(data.len().max(1));
        loop {
            if body.capacity() > 0 {
                break;
            }
            match poll_fn(|cx| body.poll_capacity(cx)).await {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(()),
            }
        }
        if body.send_data(data, false).is_err() {
            return Ok(());
        }
    }
}

/// A stream of messages, of which those that are ready together go in one DATA frame: servers take many tiny
/// frames on a connection for a flood.
struct Gathered {
    messages: RequestStream,
    bytes_max: usize,
    /// Read already, and not to be sent with what came before it.
    held: Option<Option<Result<Bytes, Status>>>,
}

/// What a DATA frame holds by default (RFC 9113, section 6.5.2, SETTINGS_MAX_FRAME_SIZE).
const GATHERED_BYTES_MAX: usize = 16 << 10;

impl Gathered {
    fn new(messages: RequestStream, bytes_max: usize) -> Self {
        Self { messages, bytes_max, held: None }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        let first = match self.held.take() {
            Some(held) => held,
            None => ready!(self.poll_message(cx)),
        };
        let Some(Ok(first)) = first else { return Poll::Ready(first) };
        // Most messages come alone, and are not copied.
        let mut room = GATHERED_BYTES_MAX.saturating_sub(first.len());
        let mut gathered = BytesMut::new();
        while room > 0 {
            match self.poll_message(cx) {
                Poll::Ready(Some(Ok(next))) if next.len() <= room => {
                    if gathered.is_empty() {
                        gathered.extend_from_slice(&first);
                    }
                    gathered.extend_from_slice(&next);
                    room -= next.len();
                }
                Poll::Ready(held) => {
                    self.held = Some(held);
                    break;
                }
                Poll::Pending => break,
            }
        }
        Poll::Ready(Some(Ok(if gathered.is_empty() { first } else { gathered.freeze() })))
    }

    /// The next message, if it is within the bound.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        let bytes_max = self.bytes_max;
        let within = |message: Bytes| frame::check_bound(&message, bytes_max).map(|()| message);
        self.messages.as_mut().poll_next(cx).map(|message| message.map(|message| message.and_then(within)))
    }
}

/// Counts a call among the open ones, and its outcome when it ends; with it goes the attempt that it is at.
#[derive(Debug)]
pub(super) struct OpenCall {
    metrics: Arc<WorkerMetrics>,
    attempt: Option<Attempt>,
    is_finished: bool,
}

impl OpenCall {
    pub(super) fn new(metrics: Arc<WorkerMetrics>) -> Self {
        metrics.upstream_calls_open.increase();
        Self { metrics, attempt: None, is_finished: false }
    }

    /// The attempt whose reply this call reads.
    pub(super) fn follow(&mut self, attempt: Attempt) {
        self.attempt = Some(attempt);
    }

    /// Where it is at.
    pub(super) fn endpoint(&self) -> Option<Arc<Endpoint>> {
        self.attempt.as_ref().map(|attempt| Arc::clone(attempt.pool().endpoint()))
    }

    /// A message of the reply is there.
    pub(super) fn delivered(&mut self) {
        if let Some(attempt) = &mut self.attempt {
            attempt.delivered();
        }
    }

    /// Counts the outcome; only the first counts.
    pub(super) fn finish(&mut self, outcome: Result<(), &Status>) {
        if let Some(mut attempt) = self.attempt.take() {
            attempt.ended(outcome);
        }
        self.count(outcome.map_or_else(|status| status.code, |()| Code::Ok));
    }

    fn count(&mut self, code: Code) {
        if !self.is_finished {
            self.is_finished = true;
            self.metrics.upstream_calls_open.decrease();
            self.metrics.upstream_called(code);
        }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        // Whoever asked went away before the end.
        self.count(Code::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_at_most_eight_digits() {
        #[track_caller]
        fn check(timeout: Duration, expected: &str) {
            assert_eq!(timeout_value(timeout), expected);
        }
        check(Duration::ZERO, "0n");
        check(Duration::from_nanos(1), "1n");
        check(Duration::from_nanos(99_999_999), "99999999n");
        check(Duration::from_nanos(100_000_000), "100000u");
        check(Duration::from_nanos(100_000_001), "100001u");
        check(Duration::from_millis(999), "999000u");
        check(Duration::from_micros(999_999_001), "1000000m");
        check(Duration::from_secs(1), "1000m");
        check(Duration::from_secs(30) - Duration::from_micros(70), "30000m");
        check(Duration::from_millis(30_001), "30001m");
        check(Duration::from_secs(100_000), "100000S");
        check(Duration::from_secs(100_000_000), "1666667M");
        check(Duration::MAX, "99999999H");
        let is_kept = |timeout| !timeout_value(timeout).is_sensitive();
        assert!(
            is_kept(Duration::from_secs(30))
                && is_kept(Duration::from_millis(2499) + Duration::from_micros(1))
        );
        assert!(!is_kept(Duration::from_millis(2501)) && !is_kept(Duration::from_millis(500)));
    }
}
