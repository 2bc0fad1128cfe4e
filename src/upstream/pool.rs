//! The connections of one worker to one endpoint: which one a call gets, when another is opened, who waits.
//!
//! ```text
//! a connection with a free stream ──▶ the call goes
//! all full, or none open ──▶ the call queues, and one more connection is being opened
//! none open and backing off ──▶ UNAVAILABLE at once: calls never pile up before a dead backend
//! none open, the last attempt failed, one call waits for the next ──▶ UNAVAILABLE at once, for all but that call
//! ```
//!
//! Who waits is served in turn: a stream that is free, whether a call has ended or the peer allows more, is handed to
//! the first in the queue, and a call that comes while others wait goes behind them.
//!
//! Workers do not share connections, yet they share good news: when one of them is answered, the others
//! do not wait for their own backoff to end.
//!
//! Connections are opened only because a call wants one: an idle gateway leaves a dead backend alone. A probe is a
//! connection that no call waits for; it is one when the peer has answered a PING.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use bytes::Bytes;
use http::uri::Authority;

use super::cluster::Cluster;
use super::connection::{self, Connection, Ended, Lease, Proof};
use super::endpoint::Endpoint;
use super::passage::random;
use super::queue::{Length, Place, Queue};
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
    /// The endpoint's, in memory of this worker's own: every call counts its references.
    authority: Authority,
    metrics: Arc<WorkerMetrics>,
    state: Mutex<State>,
    /// That of the queue, beside the lock because a call that ends must look at it cheaply.
    queued: Length,
}

#[derive(Debug)]
struct State {
    open: Vec<Arc<Connection>>,
    /// Calls that wait for a stream.
    queue: Queue<Lease>,
    is_connecting: bool,
    /// Whether the connection that is being opened is waited for by a call.
    is_awaited: bool,
    /// Whether the last one could not be opened, or was none.
    has_failed: bool,
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
            queue: Queue::new(),
            is_connecting: false,
            is_awaited: false,
            has_failed: false,
            backoff: Backoff::new(config.backoff_min, config.backoff_max),
            proofs: endpoint.proofs.count(),
        };
        let queued = state.queue.length().clone();
        let authority = Bytes::copy_from_slice(endpoint.address.authority.as_str().as_bytes());
        let authority = Authority::from_maybe_shared(authority).expect("the text of an authority");
        Arc::new(Self { cluster, endpoint, authority, metrics, state: Mutex::new(state), queued })
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

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A stream of an open connection, waiting for one when need be.
    pub(super) async fn acquire(self: &Arc<Self>) -> Result<Lease, Failure> {
        let mut waiting = {
            let mut state = self.lock();
            // Whoever waits already goes first.
            if state.queue.is_empty() {
                match self.find(&mut state) {
                    Found::Lease(lease) => return Ok(lease),
                    Found::BackingOff => return Err(unreachable_backend()),
                    Found::Wait => {}
                }
            }
            self.queue(&mut state)?
        };
        // A stream that was freed meanwhile was freed before anybody was seen to wait.
        self.serve();
        (&mut waiting.place.handed).await.map_err(|_| unreachable_backend())
    }

    fn queue<'p>(self: &'p Arc<Self>, state: &mut State) -> Result<Waiting<'p>, Failure> {
        let is_unlikely = state.has_failed && !self.has_news(state) && state.usable() == 0;
        if std::mem::replace(&mut state.is_awaited, true) && is_unlikely {
            // One call tries whether the backend is back; the others would wait to be told what is known.
            return Err(unreachable_backend());
        }
        let Some(place) = state.queue.join(self.config().queue_calls_max) else {
            self.metrics.upstream_queue_refused.add(1);
            let status = Status::gateway(Code::Unavailable, "too many calls wait for the backend");
            return Err(Failure::unsent(status.with_reason("UPSTREAM_QUEUE_FULL")));
        };
        Ok(Waiting { pool: self, place })
    }

    /// Tries one connection that no call waits for, whatever the backoff says.
    pub(super) fn probe(self: &Arc<Self>) {
        let mut state = self.lock();
        if !state.is_connecting {
            self.begin_connecting(&mut state, Proof::Ping);
        }
    }

    fn find(self: &Arc<Self>, state: &mut State) -> Found {
        if let Some(lease) = self.find_free(state) {
            return Found::Lease(lease);
        }
        let usable = state.usable();
        if state.is_connecting || usable >= self.config().connections_max {
            return Found::Wait;
        }
        if !self.has_news(state) && state.backoff.is_waiting(Instant::now()) {
            return if usable == 0 { Found::BackingOff } else { Found::Wait };
        }
        self.begin_connecting(state, Proof::Later);
        Found::Wait
    }

    /// A stream of what is open.
    fn find_free(self: &Arc<Self>, state: &State) -> Option<Lease> {
        loop {
            let free = state.open.iter().filter(|connection| connection.has_room());
            let connection = free.min_by_key(|connection| connection.calls_open())?;
            // A connection that fails here is closed from now on, so the next look finds another.
            if let Some(sender) = connection.sender() {
                return Some(Lease::new(Arc::clone(connection), sender, Arc::clone(self)));
            }
        }
    }

    /// Hands what there is to those who wait, and opens a connection for them where that may be.
    pub(super) fn serve(self: &Arc<Self>) {
        self.hand_out(Self::find);
    }

    fn hand_out(self: &Arc<Self>, find: impl Fn(&Arc<Self>, &mut State) -> Found) {
        loop {
            let mut state = self.lock();
            if state.queue.is_empty() {
                return;
            }
            match find(self, &mut state) {
                Found::Wait => return,
                Found::BackingOff => {
                    let all = state.queue.all();
                    drop(state);
                    drop(all);
                }
                Found::Lease(lease) => {
                    let first = state.queue.first();
                    drop(state);
                    if let Some(first) = first {
                        // Who gives up at this very moment drops the lease, and that hands it on.
                        let _ = first.send(lease);
                    }
                }
            }
        }
    }

    /// Whether some worker was answered since the last failure here.
    fn has_news(&self, state: &State) -> bool {
        state.proofs != self.endpoint.proofs.count()
    }

    fn begin_connecting(self: &Arc<Self>, state: &mut State, proof: Proof) {
        state.is_connecting = true;
        state.is_awaited = false;
        let (cluster, endpoint) = (Arc::clone(&self.cluster), Arc::clone(&self.endpoint));
        tokio::spawn(Self::connect(Arc::downgrade(self), cluster, endpoint, proof));
    }

    /// The task that opens one connection.
    async fn connect(pool: Weak<Self>, cluster: Arc<Cluster>, endpoint: Arc<Endpoint>, proof: Proof) {
        let holder = Weak::clone(&pool);
        let connecting = connection::connect(cluster.config(), &endpoint.address, proof, holder);
        let result = tokio::time::timeout(cluster.config().connect_timeout, connecting).await;
        let result = result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let Some(pool) = pool.upgrade() else { return };
        let mut state = pool.lock();
        state.is_connecting = false;
        let is_open = result.as_ref().is_ok_and(|connection| !connection.is_closed());
        match result {
            // Ended before it got here, unseen by `ended`.
            Ok(_) if !is_open => pool.failed(&mut state),
            Ok(connection) => {
                state.has_failed = false;
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
        Self::tell(state, !is_open);
        pool.serve();
    }

    /// A connection is gone. Others are opened for those who wait by whoever [serves](Self::serve) next.
    pub(super) fn ended(&self, connection: &Arc<Connection>, ended: Ended, error: Option<&str>) {
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
        Self::tell(state, ended == Ended::Unproven);
    }

    /// Sends those away who wait where there is nothing to wait for any more.
    fn tell(mut state: MutexGuard<'_, State>, has_failed: bool) {
        // The attempt that they waited for has failed: the next one is not for them.
        let sent_away = (has_failed && state.usable() == 0).then(|| state.queue.all());
        drop(state);
        drop(sent_away);
    }

    /// A backend has answered: its past failures no longer count.
    pub(super) fn proven(&self) {
        self.lock().backoff.succeeded();
        self.endpoint.proofs.0.fetch_add(1, Ordering::Relaxed);
    }

    /// A stream is free again.
    pub(super) fn released(self: &Arc<Self>) {
        if !self.queued.is_zero() {
            // A call may end anywhere, and connections are opened by the worker's own tasks.
            self.hand_out(|pool, state| pool.find_free(state).map_or(Found::Wait, Found::Lease));
        }
    }

    pub(super) fn queued(&self) -> &Length {
        &self.queued
    }

    fn failed(&self, state: &mut State) {
        state.has_failed = true;
        state.proofs = self.endpoint.proofs.count();
        let now = Instant::now();
        state.backoff.failed(now, random());
        self.cluster.unreachable(&self.endpoint, state.backoff.left(now));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Connections that still take calls: one that got a GOAWAY only finishes its own.
    fn usable(&self) -> usize {
        self.open.iter().filter(|connection| connection.takes_calls()).count()
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

/// A call in the queue.
struct Waiting<'p> {
    pool: &'p Pool,
    place: Place<Lease>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let left = self.pool.lock().queue.leave(self.place.number);
        drop(left);
    }
}

pub(super) fn unreachable_backend() -> Failure {
    let status = Status::backend(Code::Unavailable, "the backend cannot be reached");
    Failure::unsent(status.with_reason("BACKEND_UNREACHABLE"))
}

/// Nobody has said yet where the backend is, or it was said to be nowhere.
pub(super) fn no_endpoints() -> Failure {
    // Nobody was called, so that nobody has failed: breakers have nothing to learn by it.
    let status = Status::gateway(Code::Unavailable, "the backend has no endpoints");
    Failure::unsent(status.with_reason("NO_ENDPOINTS"))
}
