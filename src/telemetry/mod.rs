//! Metrics: what the gateway counts while it works, and how a scrape reads it.
//!
//! Serves rooms 1, 7 and 8. Every worker thread counts in its own [`WorkerMetrics`], so that the hot
//! path is one relaxed addition on a cache line no other thread writes; a scrape adds the shards up.
//! No label is looked up while a request runs: a field or an array index is the handle.

pub mod access_log;
mod append;
pub mod audit;
pub mod cache;
mod certificates;
mod classic;
mod discovery;
mod endpoints;
mod export;
mod histogram;
mod json;
mod keys;
mod mirrors;
mod priority;
mod protobuf;
mod reloads;
mod revoked;
pub mod stats;
pub mod timestamp;
pub mod traces;
pub mod usage;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::status::Code;
use certificates::ObservedCertificates;
use discovery::ObservedDiscovery;
use endpoints::ObservedEndpoints;
use histogram::Histogram;
use keys::ObservedKeys;
use revoked::ObservedRevoked;
use stats::Stats;

pub use certificates::CertificateSeen;
pub use discovery::DiscoverySeen;
pub use endpoints::{BreakerSeen, ClusterSeen, EndpointSeen, EndpointState};
pub use export::Exposition;
pub use keys::KeysSeen;
pub use mirrors::{MirrorCounts, MirrorMetrics};
pub use reloads::{ReloadResult, ReloadScope, Reloads};
pub use revoked::RevokedSeen;

/// HTTP numbers 100 to 599.
const HTTP_NUMBERS: usize = 500;

/// Counts the files that are read again when they change, for the process as a whole: no worker reads them.
pub static FILES: Files = Files { reloads: Counter::new(), reload_failures: Counter::new() };

/// See [`FILES`].
#[derive(Debug)]
pub struct Files {
    pub reloads: Counter,
    /// Changed for the worse: the old content stays.
    pub reload_failures: Counter,
}

/// All counters of the process.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Who calls what, and how it ends.
    pub stats: Stats,
    pub reloads: Reloads,
    /// Copies of calls.
    pub mirrors: MirrorMetrics,
    workers: Mutex<Vec<Arc<WorkerMetrics>>>,
    certificates: ObservedCertificates,
    keys: ObservedKeys,
    revoked: ObservedRevoked,
    endpoints: ObservedEndpoints,
    discovery: ObservedDiscovery,
}

/// The counters of one worker thread.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerMetrics {
    pub connections: Counter,
    pub connections_open: Gauge,
    /// Closed at once: too many connections from one address.
    pub connections_refused: Counter,
    /// Closed for want of a good PROXY preamble, or of a peer that may send one.
    pub proxy_protocol_refused: Counter,
    pub tls_handshakes: Counter,
    pub tls_handshake_failures: Counter,
    /// `accept` failed for want of file descriptors or memory.
    pub accept_failures: Counter,
    pub calls_open: Gauge,
    pub websockets_open: Gauge,
    /// Headers or metadata left out because their value cannot be carried.
    pub headers_dropped: Counter,
    /// Calls that a limit in shadow mode would have refused.
    pub limits_shadowed: Counter,
    /// Questions to shared stores of limits.
    pub limit_store_questions: Counter,
    /// Of these, those without an answer.
    pub limit_store_failures: Counter,
    /// Conditions of `when` that had no value for a call, beside those of what was not there.
    pub rollout_condition_failures: Counter,
    pub upstream_connects: Counter,
    pub upstream_connect_failures: Counter,
    pub upstream_connections_open: Gauge,
    pub upstream_calls_open: Gauge,
    /// Calls refused because the queue for a free stream was full.
    pub upstream_queue_refused: Counter,
    /// Calls sent once more, because they had never reached the backend.
    pub upstream_retries: Counter,
    /// Records of calls that reached the thread that writes usage.
    pub usage_records: Counter,
    /// Records that found the queue of their worker full.
    pub usage_lost_queue: Counter,
    /// Usage events that found the spool full.
    pub usage_lost_spool: Counter,
    /// Usage events that the sink has taken.
    pub usage_delivered: Counter,
    /// Usage events that the sink will never take.
    pub usage_rejected: Counter,
    /// Attempts to deliver usage events that failed.
    pub usage_delivery_failures: Counter,
    pub usage_spool_bytes: Gauge,
    /// Lines of the access log that a worker has left to be written.
    pub access_log_lines: Counter,
    /// Lines that found no room, or could not be written.
    pub access_log_dropped: Counter,
    /// Spans that the collector has taken.
    pub trace_spans_exported: Counter,
    /// Spans that found no room, or that the collector will never take.
    pub trace_spans_dropped: Counter,
    /// Requests that the collector did not take.
    pub trace_export_failures: Counter,
    auth_verdicts: [Counter; AuthVerdict::ALL.len()],
    permissions: [Counter; Permission::ALL.len()],
    fallbacks: [Counter; Fallback::ALL.len()],
    replies: [Counter; HTTP_NUMBERS],
    upstream_calls: [Counter; Code::ALL.len()],
    duration: Histogram,
}

/// What came of asking who is calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthVerdict {
    Accepted,
    /// Nobody in particular, where that is allowed.
    Anonymous,
    Missing,
    Invalid,
    Expired,
    Unavailable,
    Denied,
}

/// What came of asking whether a call is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    Allowed,
    /// A condition does not hold.
    Condition,
    /// A condition has no value for the call, and so does not hold.
    Failed,
    /// A scope was not granted.
    Scope,
    /// Nobody has said who is calling.
    Anonymous,
}

/// Why a call got the static reply of its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// The breaker of its service is open, or those of all endpoints are.
    Breaker,
    /// Nobody knows where its service is.
    NoEndpoints,
    /// Its service is unavailable in any other way.
    Unavailable,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// A number that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Metrics {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A fresh shard, for one worker thread.
    pub fn worker(&self) -> Arc<WorkerMetrics> {
        let worker = Arc::new(WorkerMetrics::default());
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&worker));
        worker
    }

    /// Shows when the certificates of all listeners end, in the place of those of before.
    pub fn observe_certificates(&self, read: impl Fn() -> Vec<CertificateSeen> + Send + Sync + 'static) {
        self.certificates.observe(Box::new(read));
    }

    /// Shows the keys of a provider of tokens, in the place of those of before; none: nobody holds them now.
    pub fn observe_keys(&self, provider: &str, read: impl Fn() -> Option<KeysSeen> + Send + Sync + 'static) {
        self.keys.observe(provider, Box::new(read));
    }

    /// Shows what a store has revoked for a provider, in the place of what was before.
    pub fn observe_revoked(
        &self,
        provider: &str,
        read: impl Fn() -> Option<RevokedSeen> + Send + Sync + 'static,
    ) {
        self.revoked.observe(provider, Box::new(read));
    }

    /// Shows the endpoints of a service, in the place of those of before; none: nobody calls it now.
    pub fn observe_endpoints(
        &self,
        service: &str,
        read: impl Fn() -> Option<ClusterSeen> + Send + Sync + 'static,
    ) {
        self.endpoints.observe(service, Box::new(read));
    }

    /// The endpoints of all services.
    pub fn endpoints(&self) -> BTreeMap<Box<str>, Vec<EndpointSeen>> {
        self.endpoints.seen().into_iter().map(|(service, cluster)| (service, cluster.endpoints)).collect()
    }

    /// Shows the search for the endpoints of a service, in the place of the one before.
    pub fn observe_discovery(
        &self,
        service: &str,
        read: impl Fn() -> Option<DiscoverySeen> + Send + Sync + 'static,
    ) {
        self.discovery.observe(service, Box::new(read));
    }

    /// The searches for endpoints, by service.
    pub fn discovery(&self) -> BTreeMap<Box<str>, DiscoverySeen> {
        self.discovery.seen()
    }

    /// The sum of `read` over all workers.
    pub fn sum(&self, read: impl Fn(&WorkerMetrics) -> u64) -> u64 {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        // A gauge may be negative in one shard and positive in another, hence the wrapping sum.
        workers.iter().fold(0, |sum, worker| sum.wrapping_add(read(worker)))
    }
}

impl WorkerMetrics {
    /// Counts one finished exchange of the public listener.
    pub fn replied(&self, http_number: u16, duration: Duration) {
        let index = usize::from(http_number).wrapping_sub(100);
        if let Some(counter) = self.replies.get(index) {
            counter.add(1);
        }
        self.duration.record(duration);
    }

    /// Counts what came of asking who is calling.
    pub fn authenticated(&self, verdict: AuthVerdict) {
        if let Some(counter) = self.auth_verdicts.get(verdict as usize) {
            counter.add(1);
        }
    }

    /// Counts what came of asking whether a call is allowed.
    pub fn authorized(&self, permission: Permission) {
        if let Some(counter) = self.permissions.get(permission as usize) {
            counter.add(1);
        }
    }

    /// Counts a static reply.
    pub fn fell_back(&self, reason: Fallback) {
        if let Some(counter) = self.fallbacks.get(reason as usize) {
            counter.add(1);
        }
    }

    /// Counts one finished call to a backend.
    pub fn upstream_called(&self, code: Code) {
        if let Some(counter) = self.upstream_calls.get(usize::from(code.number())) {
            counter.add(1);
        }
    }
}

impl Default for WorkerMetrics {
    fn default() -> Self {
        Self {
            connections: Counter::default(),
            connections_open: Gauge::default(),
            connections_refused: Counter::default(),
            proxy_protocol_refused: Counter::default(),
            tls_handshakes: Counter::default(),
            tls_handshake_failures: Counter::default(),
            accept_failures: Counter::default(),
            calls_open: Gauge::default(),
            websockets_open: Gauge::default(),
            headers_dropped: Counter::default(),
            limits_shadowed: Counter::default(),
            limit_store_questions: Counter::default(),
            limit_store_failures: Counter::default(),
            rollout_condition_failures: Counter::default(),
            upstream_connects: Counter::default(),
            upstream_connect_failures: Counter::default(),
            upstream_connections_open: Gauge::default(),
            upstream_calls_open: Gauge::default(),
            upstream_queue_refused: Counter::default(),
            upstream_retries: Counter::default(),
            usage_records: Counter::default(),
            usage_lost_queue: Counter::default(),
            usage_lost_spool: Counter::default(),
            usage_delivered: Counter::default(),
            usage_rejected: Counter::default(),
            usage_delivery_failures: Counter::default(),
            usage_spool_bytes: Gauge::default(),
            access_log_lines: Counter::default(),
            access_log_dropped: Counter::default(),
            trace_spans_exported: Counter::default(),
            trace_spans_dropped: Counter::default(),
            trace_export_failures: Counter::default(),
            auth_verdicts: std::array::from_fn(|_| Counter::default()),
            permissions: std::array::from_fn(|_| Counter::default()),
            fallbacks: std::array::from_fn(|_| Counter::default()),
            replies: std::array::from_fn(|_| Counter::default()),
            upstream_calls: std::array::from_fn(|_| Counter::default()),
            duration: Histogram::default(),
        }
    }
}

impl AuthVerdict {
    /// Each with its name in metrics, in the order of their declaration.
    const ALL: [(Self, &'static str); 7] = [
        (Self::Accepted, "accepted"),
        (Self::Anonymous, "anonymous"),
        (Self::Missing, "missing"),
        (Self::Invalid, "invalid"),
        (Self::Expired, "expired"),
        (Self::Unavailable, "unavailable"),
        (Self::Denied, "denied"),
    ];
}

impl Fallback {
    const ALL: [Self; 3] = [Self::Breaker, Self::NoEndpoints, Self::Unavailable];

    /// As metrics, logs and clients are told.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Breaker => "breaker",
            Self::NoEndpoints => "no-endpoints",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Permission {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Allowed, "allowed"),
        (Self::Condition, "condition"),
        (Self::Failed, "failed"),
        (Self::Scope, "scope"),
        (Self::Anonymous, "anonymous"),
    ];
}

impl Counter {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    pub fn increase(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn decrease(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_summed_and_rendered() {
        let metrics = Metrics::new();
        let (one, two) = (metrics.worker(), metrics.worker());
        one.replied(200, Duration::from_micros(500));
        two.replied(200, Duration::from_micros(501));
        two.replied(42, Duration::ZERO);
        one.calls_open.increase();
        two.calls_open.decrease();
        one.upstream_called(Code::Unavailable);
        let text = metrics.render();
        for line in [
            "transom_http_replies_total{code=\"200\"} 2",
            "transom_http_calls_open 0",
            "transom_upstream_calls_total{code=\"UNAVAILABLE\"} 1",
            "transom_http_duration_seconds_bucket{le=\"0.0005\"} 2",
            "transom_http_duration_seconds_bucket{le=\"0.001\"} 3",
            "transom_http_duration_seconds_bucket{le=\"+Inf\"} 3",
            "transom_http_duration_seconds_count 3",
            "# EOF",
        ] {
            assert!(text.contains(line), "no `{line}` in:\n{text}");
        }
    }
}
