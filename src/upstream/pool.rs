//! The connections of one worker to one endpoint: which one a call gets, when another is opened, who waits.
//!
//! ```text
//! a connection with a free stream ──▶ the call goes
//! all full, or none open ──▶ the call queues, and one more connection is being opened
//! none open and backing off ──▶ UNAVAILABLE at once: calls never pile up before a dead backend
//! ```
//!
//! Workers do not share connections, yet they share good news: when one of them is answered, the others
//! do not wait for their own backoff to end.
//!
//! Connections are opened only because a call wants one: an idle gateway leaves a dead backend alone. A probe is a
//! connection that no call waits for; it is one when the peer has answered a PING.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::Notify;

use super::cluster::Cluster;
use super::connection::{self, Connection, Ended, Lease, Proof};
use super::endpoint::Endpoint;
use super::{Failure, UpstreamConfig};
use crate::policy::backoff::Backoff;
use crate::status::{Code, Status};
use crate::telemetry::WorkerMetrics;

/// How often the backend has proven itself, to whichever worker.
#[derive(Debug, Default)]
pub(super) struct Proofs(AtomicU64);

/// All connections of one worker to one endpoint.
#[derive(Debug)]
pub(super) struct Pool {
    cluster: Arc<Cluster>,
    endpoint: Arc<Endpoint>,
    metrics: Arc<WorkerMetrics>,
    state: Mutex<State>,
    /// Wakes queued calls: a stream is free, a connection opened, or none will.
    changed: Notify,
    /// Calls in the queue, beside the lock because a call that ends must look at it cheaply.
    queued: AtomicUsize,
}

#[derive(Debug)]
struct State {
    open: Vec<Arc<Connection>>,
    is_connecting: bool,
    /// Counts failed attempts, so that a queued call notices the one it waited for.
    attempts_failed: u64,
    backoff: Backoff,
    /// The count of proofs when the backoff began.
    proofs: u64,
}

/// What a call finds.
enum Found {
    Lease(Lease),
    Wait,
    BackingOff,
}

impl Pool {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        endpoint: Arc<Endpoint>,
        metrics: Arc<WorkerMetrics>,
    ) -> Arc<Self> {
        let config = cluster.config();
        let state = State {
            open: Vec::new(),
            is_connecting: false,
            attempts_failed: 0,
            backoff: Backoff::new(config.backoff_min, config.backoff_max),
            proofs: endpoint.proofs.count(),
        };
        Arc::new(Self {
            cluster,
            endpoint,
            metrics,
            state: Mutex::new(state),
            changed: Notify::new(),
            queued: AtomicUsize::new(0),
        })
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(super) fn config(&self) -> &UpstreamConfig {
        self.cluster.config()
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// A stream of an open connection, waiting for one when need be.
    pub(super) async fn acquire(self: &Arc<Self>) -> Result<Lease, Failure> {
        // Whoever waits already goes first.
        if self.queued.load(Ordering::Relaxed) == 0 {
            match self.find(&mut self.lock()) {
                Found::Lease(lease) => return Ok(lease),
                Found::BackingOff => return Err(unreachable_backend()),
                Found::Wait => {}
            }
        }
        let _queued = QueuedCall::take(self)?;
        let mut attempts_failed = self.lock().attempts_failed;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Registered before looking, so that no change in between is missed.
            changed.as_mut().enable();
            {
                let mut state = self.lock();
                if state.usable() == 0 && state.attempts_failed != attempts_failed {
                    // The attempt this call waited for has failed: the next one is not for it.
                    return Err(unreachable_backend());
                }
                attempts_failed = state.attempts_failed;
                match self.find(&mut state) {
                    Found::Lease(lease) => return Ok(lease),
                    Found::BackingOff => return Err(unreachable_backend()),
                    Found::Wait => {}
                }
            }
            changed.await;
        }
    }

    /// Tries one connection that no call waits for, whatever the backoff says.
    pub(super) fn probe(self: &Arc<Self>) {
        let mut state = self.lock();
        if !state.is_connecting {
            self.begin_connecting(&mut state, Proof::Ping);
        }
    }

    fn find(self: &Arc<Self>, state: &mut State) -> Found {
        loop {
            let free = state.open.iter().filter(|connection| connection.has_room());
            let Some(connection) = free.min_by_key(|connection| connection.calls_open()) else { break };
            // A connection that fails here is closed from now on, so the next look finds another.
            if let Some(sender) = connection.sender() {
                return Found::Lease(Lease::new(Arc::clone(connection), sender, Arc::clone(self)));
            }
        }
        let usable = state.usable();
        if state.is_connecting || usable >= self.config().connections_max {
            return Found::Wait;
        }
        if state.proofs == self.endpoint.proofs.count() && state.backoff.is_waiting(Instant::now()) {
            return if usable == 0 { Found::BackingOff } else { Found::Wait };
        }
        self.begin_connecting(state, Proof::Later);
        Found::Wait
    }

    fn begin_connecting(self: &Arc<Self>, state: &mut State, proof: Proof) {
        state.is_connecting = true;
        let (cluster, endpoint) = (Arc::clone(&self.cluster), Arc::clone(&self.endpoint));
        tokio::spawn(Self::connect(Arc::downgrade(self), cluster, endpoint, proof));
    }

    /// The task that opens one connection.
    async fn connect(pool: Weak<Self>, cluster: Arc<Cluster>, endpoint: Arc<Endpoint>, proof: Proof) {
        let on_end = {
            let pool = Weak::clone(&pool);
            move |connection: &Arc<Connection>, ended, error: Option<&str>| {
                if let Some(pool) = pool.upgrade() {
                    pool.ended(connection, ended, error);
                }
            }
        };
        let connecting = connection::connect(cluster.config(), &endpoint.address, proof, on_end);
        let result = tokio::time::timeout(cluster.config().connect_timeout, connecting).await;
        let result = result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let Some(pool) = pool.upgrade() else { return };
        let mut state = pool.lock();
        state.is_connecting = false;
        match result {
            // Ended before it got here, unseen by `ended`.
            Ok(connection) if connection.is_closed() => pool.failed(&mut state),
            Ok(connection) => {
                state.open.push(connection);
                cluster.connected(&endpoint);
                pool.metrics.upstream_connects.add(1);
                pool.metrics.upstream_connections_open.increase();
                tracing::debug!(endpoint = %endpoint.address, "connected to the backend");
            }
            Err(error) => {
                pool.failed(&mut state);
                pool.metrics.upstream_connect_failures.add(1);
                tracing::warn!(endpoint = %endpoint.address, %error, "cannot connect to the backend");
            }
        }
        drop(state);
        pool.changed.notify_waiters();
    }

    fn ended(&self, connection: &Arc<Connection>, ended: Ended, error: Option<&str>) {
        let mut state = self.lock();
        let count = state.open.len();
        state.open.retain(|open| !Arc::ptr_eq(open, connection));
        if state.open.len() == count {
            return;
        }
        self.metrics.upstream_connections_open.decrease();
        self.endpoint.disconnected();
        if ended == Ended::Unproven {
            self.failed(&mut state);
            self.metrics.upstream_connect_failures.add(1);
            let spoken = if self.endpoint.address.is_tls { "gRPC" } else { "gRPC without TLS" };
            tracing::warn!(
                endpoint = %self.endpoint.address,
                error,
                "the backend closed a connection before it ever answered; does it speak {spoken}?"
            );
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// A backend has answered: its past failures no longer count.
    pub(super) fn proven(&self) {
        self.lock().backoff.succeeded();
        self.endpoint.proofs.0.fetch_add(1, Ordering::Relaxed);
    }

    /// A stream is free again.
    pub(super) fn released(&self) {
        if self.queued.load(Ordering::Relaxed) > 0 {
            self.changed.notify_one();
        }
    }

    fn failed(&self, state: &mut State) {
        state.attempts_failed += 1;
        state.proofs = self.endpoint.proofs.count();
        let random = RandomState::new().hash_one(state.attempts_failed);
        let now = Instant::now();
        state.backoff.failed(now, (random >> 32) as u32);
        self.cluster.unreachable(&self.endpoint, state.backoff.left(now));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Connections that still take calls: one that got a GOAWAY only finishes its own.
    fn usable(&self) -> usize {
        self.open.iter().filter(|connection| !connection.is_closed()).count()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Its connections end with it, and nobody hears of their end.
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for _ in &state.open {
            self.metrics.upstream_connections_open.decrease();
            self.endpoint.disconnected();
        }
    }
}

impl Proofs {
    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts a call while it is in the queue.
struct QueuedCall<'p>(&'p Pool);

impl<'p> QueuedCall<'p> {
    fn take(pool: &'p Pool) -> Result<Self, Failure> {
        if pool.queued.load(Ordering::Relaxed) >= pool.config().queue_calls_max {
            pool.metrics.upstream_queue_refused.add(1);
            let status = Status::gateway(Code::Unavailable, "too many calls wait for the backend");
            return Err(Failure::unsent(status.with_reason("UPSTREAM_QUEUE_FULL")));
        }
        pool.queued.fetch_add(1, Ordering::Relaxed);
        Ok(Self(pool))
    }
}

impl Drop for QueuedCall<'_> {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn unreachable_backend() -> Failure {
    let status = Status::backend(Code::Unavailable, "the backend cannot be reached");
    Failure::unsent(status.with_reason("BACKEND_UNREACHABLE"))
}

/// Nobody has said yet where the backend is, or it was said to be nowhere.
pub(super) fn no_endpoints() -> Failure {
    let status = Status::backend(Code::Unavailable, "the backend has no endpoints");
    Failure::unsent(status.with_reason("NO_ENDPOINTS"))
}
