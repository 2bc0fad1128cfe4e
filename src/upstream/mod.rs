//! Room 7: the gRPC client that calls the backend.
//!
//! One [`Upstream`] lives on each worker thread and owns its connections, so that no lock is ever
//! contended; all of it is `Send` nevertheless. It stands on the `h2` crate itself and not on hyper's
//! client above it: hyper spawns a task and two channels per call, hides the peer's stream limit and
//! folds the RST_STREAM code away, and all three matter here.
//!
//! ```text
//! call → Pool::acquire (a connection with a free stream, or the queue) → HEADERS + DATA
//!      → reply head → GrpcMessages: DATA pulled only when asked → trailers ⇒ Status
//! ```
//!
//! A call that provably never reached the backend (refused stream, GOAWAY, a connection that died before
//! anything was written) is sent once more, as gRPC's transparent retry has it, if it is one message.
//!
//! Dropping the future or the reply resets the stream with CANCEL. What a client may read in an
//! error never holds an address; those go to the log.

mod backend;
mod connection;
mod frame;
mod passage;
mod pool;
mod probe;
mod repeat;
mod reply;
mod request;
mod socket;
mod status;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::uri::Authority;
use tokio::time::{Instant, Sleep};

use crate::policy::protection::Protection;
use crate::status::{Code, Status};
use crate::telemetry::WorkerMetrics;

pub use backend::{Backend, Backends, Worker};
pub use frame::put_frame;
pub use pool::Proofs;
pub use probe::probe;
pub use reply::{GrpcMessages, GrpcReply};
pub use request::{GrpcRequest, RequestMessages, RequestStream, Terms};
pub(crate) use status::protocol_error;

use passage::Guard;
use pool::Pool;
use request::OpenCall;

/// A backend as one worker thread sees it.
#[derive(Clone, Debug)]
pub struct Upstream {
    pool: Arc<Pool>,
    guard: Option<Arc<Guard>>,
}

/// Where the backend is and every bound of the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    pub authority: Authority,
    pub message_bytes_to_backend_max: usize,
    pub message_bytes_from_backend_max: usize,
    /// Size of a reply's header list (RFC 9113, section 6.5.2).
    pub header_bytes_max: u32,
    pub connections_max: usize,
    /// Calls that wait for a connection or a free stream; one more is refused.
    pub queue_calls_max: usize,
    pub connect_timeout: Duration,
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    pub stream_window_bytes: u32,
    pub connection_window_bytes: u32,
    /// PING while calls are open. Off by default: grpc-go answers a PING every 30 s on a quiet stream
    /// with GOAWAY `too_many_pings`. A peer that vanished is found by `TCP_USER_TIMEOUT` regardless.
    pub keepalive: Option<Duration>,
    /// How long a PING, or sent bytes at the TCP level, may stay unanswered.
    pub keepalive_timeout: Duration,
}

/// A call that got no reply.
#[derive(Debug)]
pub struct Failure {
    pub status: Status,
    /// The backend provably never worked on the call, so another attempt is safe.
    pub is_unsent: bool,
}

impl Upstream {
    /// Connects lazily: with the first call.
    pub fn new(config: UpstreamConfig, metrics: Arc<WorkerMetrics>) -> Self {
        Self::beside(Proofs::default(), config, metrics)
    }

    /// As [`new`](Self::new), for one of several workers before the same backend.
    pub fn beside(proofs: Proofs, config: UpstreamConfig, metrics: Arc<WorkerMetrics>) -> Self {
        Self { pool: Pool::new(config, metrics, proofs), guard: None }
    }

    /// Has every call go through the protection of the service, if it has any, as the worker with this number.
    pub fn protected(self, protection: Arc<Protection>, worker: usize) -> Self {
        let is_any = protection.settings().is_any();
        Self { guard: is_any.then(|| Arc::new(Guard { protection, thread: worker })), ..self }
    }

    /// One attempt of a [`call`](Self::call), past the protection of the service; a failure tells whether the call
    /// may safely be sent again.
    ///
    /// # Errors
    ///
    /// As `call`.
    pub async fn attempt(&self, request: GrpcRequest) -> Result<GrpcReply, Failure> {
        let mut guard = OpenCall::new(Arc::clone(self.pool.metrics()));
        let mut deadline = request.timeout.map(Deadline::after);
        let result = match &mut deadline {
            None => self.open(request).await,
            Some(deadline) => {
                let mut opening = pin!(self.open(request));
                std::future::poll_fn(|cx| match opening.as_mut().poll(cx) {
                    Poll::Ready(result) => Poll::Ready(result),
                    Poll::Pending => deadline.poll(cx).map(|status| Err(Failure::sent(status))),
                })
                .await
            }
        };
        match result {
            Ok(opened) => Ok(GrpcReply::new(opened, deadline, guard, self.pool.config())),
            Err(failure) => {
                guard.finish(failure.status.code);
                Err(failure)
            }
        }
    }

    async fn open(&self, request: GrpcRequest) -> Result<request::Opened, Failure> {
        if let RequestMessages::One(frame) = &request.messages {
            frame::check_bound(frame, self.pool.config().message_bytes_to_backend_max)
                .map_err(Failure::unsent)?;
        }
        let again = request.replay();
        let lease = self.pool.acquire().await?;
        let failure = match request::open(request, lease, self.pool.config()).await {
            Err(failure) if failure.is_unsent => failure,
            outcome => return outcome,
        };
        let Some(request) = again else { return Err(failure) };
        self.pool.metrics().upstream_retries.add(1);
        let lease = self.pool.acquire().await?;
        request::open(request, lease, self.pool.config()).await
    }
}

impl UpstreamConfig {
    /// A backend with every default; the port is 80 when `authority` has none, as in any URL.
    pub fn new(authority: Authority) -> Self {
        Self {
            authority,
            message_bytes_to_backend_max: 4 << 20,
            message_bytes_from_backend_max: 16 << 20,
            header_bytes_max: 64 << 10,
            connections_max: 4,
            queue_calls_max: 1024,
            connect_timeout: Duration::from_secs(5),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
            stream_window_bytes: 1 << 20,
            connection_window_bytes: 4 << 20,
            keepalive: None,
            keepalive_timeout: Duration::from_secs(20),
        }
    }
}

impl Failure {
    fn sent(status: Status) -> Self {
        Self { status, is_unsent: false }
    }

    fn unsent(status: Status) -> Self {
        Self { status, is_unsent: true }
    }
}

/// The moment a call is given up, whatever the backend does with its `grpc-timeout`.
#[derive(Debug)]
struct Deadline(Pin<Box<Sleep>>);

impl Deadline {
    fn after(timeout: Duration) -> Self {
        // A timeout beyond what the clock can express is no timeout: a century is.
        let far = Duration::from_secs(100 * 365 * 86_400);
        Self(Box::pin(tokio::time::sleep_until(Instant::now() + timeout.min(far))))
    }

    fn poll(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Status> {
        self.0
            .as_mut()
            .poll(cx)
            .map(|()| Status::backend(Code::DeadlineExceeded, "the backend did not answer in time"))
            .map(|status| status.with_reason("BACKEND_TIMEOUT"))
    }
}
