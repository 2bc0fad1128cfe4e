//! Room 7: the gRPC client that calls the backends.
//!
//! A [`Cluster`] is shared by all workers and knows the endpoints of a service. One [`Upstream`] for each cluster
//! lives on each worker thread and owns its connections, so that no lock is ever contended; all of it is `Send`
//! nevertheless. It stands on the `h2` crate itself and not on hyper's client above it: hyper spawns a task and two
//! channels per call, hides the peer's stream limit and folds the RST_STREAM code away, and all three matter here.
//!
//! ```text
//! call → Cluster::pick ⇒ Attempt → Pool::acquire (a connection with a free stream, or the queue) → HEADERS + DATA
//!      → reply head → GrpcMessages: DATA pulled only when asked → trailers ⇒ Status
//! ```
//!
//! A call that provably never reached the backend (no connection, or one that died before anything was written) goes
//! to another endpoint, or to the only one once more, as gRPC's transparent retry has it; so does one above the last
//! stream of a GOAWAY, and, once, one whose stream the backend refuses. What was sent is sent again only if it is one
//! message.
//!
//! Dropping the future or the reply resets the stream with CANCEL. What a client may read in an
//! error never holds an address; those go to the log.

mod attempt;
mod backend;
mod cluster;
mod connection;
mod deadline;
pub mod discovery;
mod endpoint;
mod frame;
mod health;
mod mirror;
mod noted;
mod passage;
mod pool;
mod pools;
mod probe;
mod queue;
mod repeat;
mod reply;
mod request;
mod socket;
mod status;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use smallvec::SmallVec;

use crate::policy::balance::Balance;
use crate::policy::health::HealthSettings;
use crate::policy::outlier::OutlierSettings;
use crate::policy::protection::Protection;
use crate::status::Status;
use crate::telemetry::WorkerMetrics;

pub use backend::{Backend, Backends, Origin, Worker};
pub use cluster::Cluster;
pub use discovery::{Discovery, DiscoverySettings};
pub use endpoint::{Address, Endpoint, EndpointSpec};
pub use frame::put_frame;
pub use health::ask as ask_health;
pub use mirror::{Mirror, Mirrors};
pub use probe::probe;
pub use reply::{GrpcMessages, GrpcReply};
pub use request::{GrpcRequest, RequestMessages, RequestStream, Terms};
pub use tls::{CurrentTls, Tls, TlsError, TlsHandle, TlsMaterial};

pub(crate) use status::protocol_error;

use attempt::Attempt;
use deadline::TimeToHead;
use passage::Guard;
use pools::Pools;
use request::{OpenCall, Opened};

/// A cluster as one worker thread sees it.
#[derive(Clone, Debug)]
pub struct Upstream {
    pools: Arc<Pools>,
    guard: Option<Arc<Guard>>,
}

/// How the endpoints of a service share its calls, and every bound of the way to each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    pub balance: Balance,
    /// In so long, an endpoint that comes or comes back takes its whole share.
    pub slow_start: Duration,
    /// When an endpoint whose calls fail is left out for a while.
    pub outlier: Option<OutlierSettings>,
    /// How endpoints are asked for their health.
    pub health: Option<HealthSettings>,
    /// Where we are: endpoints of the same zone go first.
    pub zone: Option<Box<str>>,
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
    /// For endpoints with TLS.
    pub tls: Option<TlsHandle>,
    /// What calls name as their host, instead of their endpoint.
    pub authority: Option<Authority>,
}

/// A call that got no reply.
#[derive(Debug)]
pub struct Failure {
    pub status: Status,
    /// The backend provably never worked on the call, so another attempt is safe.
    pub is_unsent: bool,
    /// It is unsent by the word of the backend, which has had the work of refusing it.
    pub was_refused: bool,
}

/// What a call has met.
#[derive(Debug, Default)]
struct Tried {
    endpoints: SmallVec<[Arc<Endpoint>; TRIES_MAX]>,
    /// Whether it was sent again after a refusal, unseen, or is not to be.
    was_refused: bool,
}

/// However many endpoints there are, a call that nobody takes is told so after this many tries.
const TRIES_MAX: usize = 3;

impl Upstream {
    /// Connects lazily: to each endpoint with the first call there.
    pub fn new(cluster: Arc<Cluster>, metrics: Arc<WorkerMetrics>) -> Self {
        Self { pools: Pools::new(cluster, metrics), guard: None }
    }

    pub fn cluster(&self) -> &Arc<Cluster> {
        self.pools.cluster()
    }

    /// The name of the service.
    pub fn service(&self) -> &Arc<str> {
        self.pools.service()
    }

    /// Has every call go through the protection of the service, if it has any, as the worker with this number.
    pub fn protected(self, protection: Arc<Protection>, worker: usize) -> Self {
        let is_any = protection.settings().is_any();
        let outage = Arc::clone(self.cluster().outage());
        Self { guard: is_any.then(|| Arc::new(Guard { protection, outage, thread: worker })), ..self }
    }

    /// One attempt of a [`call`](Self::call), past the protection of the service; a failure tells whether the call
    /// may safely be sent again.
    ///
    /// # Errors
    ///
    /// As `call`.
    pub async fn attempt(&self, request: GrpcRequest) -> Result<GrpcReply, Failure> {
        let time = TimeToHead::begin(request.timeout, None);
        // Nobody waits for a copy: one that a backend has refused is not worth the work of refusing it again.
        let mut tried = Tried { was_refused: request.terms.is_copy, ..Tried::default() };
        self.attempt_elsewhere(request, time, &mut tried).await
    }

    /// The same, at an endpoint that is none of `tried` while there is another; adds those that fail without a reply.
    async fn attempt_elsewhere(
        &self,
        request: GrpcRequest,
        mut time: TimeToHead,
        tried: &mut Tried,
    ) -> Result<GrpcReply, Failure> {
        let mut call = OpenCall::new(Arc::clone(self.pools.metrics()));
        match self.open(request, &mut time, tried).await {
            Ok((opened, attempt)) => {
                call.follow(attempt);
                Ok(GrpcReply::new(opened, time.answered(), call, self.cluster().config()))
            }
            Err(failure) => {
                call.finish(Err(&failure.status));
                Err(failure)
            }
        }
    }

    /// Tries one endpoint after the other, as long as the backend provably knows nothing of the call.
    async fn open(
        &self,
        mut request: GrpcRequest,
        time: &mut TimeToHead,
        tried: &mut Tried,
    ) -> Result<(Opened, Attempt), Failure> {
        let config = self.cluster().config();
        if let RequestMessages::One(frame) = &request.messages {
            frame::check_bound(frame, config.message_bytes_to_backend_max).map_err(Failure::unsent)?;
        }
        // Nobody is to blame for a deadline that came before any answer could.
        let was_patient = request.timeout.is_none_or(|timeout| timeout >= request.terms.patience);
        let count = self.pools.endpoints_count();
        // To the only endpoint, a call may go twice: by another connection.
        let mut tries_left = count.clamp(2, TRIES_MAX);
        let mut failed = None;
        loop {
            // Where nobody is left to try, what the last one said is news.
            let begun = self.pools.begin(&request, &tried.endpoints);
            let mut attempt = begun.map_err(|refused| failed.take().unwrap_or(refused))?;
            attempt.was_patient = was_patient;
            if let Some(trail) = &request.trail {
                attempt.note(trail, time.now(), &mut request.metadata);
            }
            tries_left -= 1;
            let endpoint = || Arc::clone(attempt.pool().endpoint());
            let lease = match time.within(attempt.pool().acquire()).await {
                Ok(lease) => lease,
                Err(failure) => {
                    tried.endpoints.push(endpoint());
                    if !failure.is_unsent {
                        attempt.ended(Err(&failure.status));
                        return Err(failure);
                    }
                    attempt.unreached(&failure.status);
                    if count > 1 && tries_left > 0 {
                        failed = Some(failure);
                        continue;
                    }
                    return Err(failure);
                }
            };
            let again = if tries_left > 0 { request.replay() } else { None };
            let opened = match time.left() {
                Ok(left) => {
                    // Connecting, queueing and earlier tries are the backend's loss of time, too.
                    request.timeout = left;
                    time.within(request::open(request, lease, config)).await
                }
                Err(late) => Err(late),
            };
            let failure = match opened {
                Ok(opened) => {
                    attempt.answered();
                    return Ok((opened, attempt));
                }
                Err(failure) => failure,
            };
            tried.endpoints.push(endpoint());
            attempt.ended(Err(&failure.status));
            let Some(copy) = again.filter(|_| tried.may_go_on(&failure)) else { return Err(failure) };
            self.pools.metrics().upstream_retries.add(1);
            failed = Some(failure);
            request = copy;
        }
    }
}

impl Tried {
    /// Whether the call may be sent again unseen. What was never written may; what a backend refused may once, as in
    /// gRFC A6: more would multiply the calls of backends that refuse because they have enough.
    fn may_go_on(&mut self, failure: &Failure) -> bool {
        let is_first = !failure.was_refused || !std::mem::replace(&mut self.was_refused, true);
        failure.is_unsent && is_first
    }
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            balance: Balance::default(),
            slow_start: Duration::from_secs(10),
            outlier: None,
            health: None,
            zone: None,
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
            tls: None,
            authority: None,
        }
    }
}

impl Failure {
    fn sent(status: Status) -> Self {
        Self { status, is_unsent: false, was_refused: false }
    }

    fn unsent(status: Status) -> Self {
        Self { status, is_unsent: true, was_refused: false }
    }

    fn refused(status: Status) -> Self {
        Self { status, is_unsent: true, was_refused: true }
    }
}
