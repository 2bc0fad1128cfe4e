//! What one worker traces with: which calls are sampled, and the spans of one that has ended.
//!
//! ```text
//! SERVER "GET /v1/{name=items/*}" ─┬─ INTERNAL "stage auth", "stage limit" …
//!                                  └─ CLIENT "shop.v1.Orders/Get", one for each attempt
//! ```
//!
//! Names of attributes are those of OpenTelemetry's semantic conventions for HTTP and RPC; what they have no name
//! for begins with `transom.`. A query is never among them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::otlp::{Kind, Span};
use super::queue::{Queue, Written};
use crate::policy::balance::mix;
use crate::policy::sampling::{Point, Share};
use crate::policy::trace_context::{RANDOM, SAMPLED, TraceContext, TraceId};
use crate::policy::trail::{Attempt, Steps};
use crate::status::Code;
use crate::telemetry::access_log::Entry;

/// See the module's documentation.
#[derive(Debug)]
pub struct Tracer {
    queue: Arc<Queue>,
    share: Share,
    seed: [u64; 2],
    count: AtomicU64,
}

/// A call that has ended and that is sampled.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'c> {
    /// As its line tells it.
    pub entry: &'c Entry<'c>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Its own span.
    pub span: TraceContext,
    /// The caller's.
    pub parent: Option<TraceContext>,
    /// Whether it is one of several calls that a request has opened, whose span is the parent.
    pub is_below: bool,
    pub steps: &'c Steps,
    pub started: Instant,
    pub ended: Instant,
}

impl Tracer {
    pub(super) fn new(queue: Arc<Queue>, share: Share, seed: [u64; 2]) -> Self {
        Self { queue, share, seed, count: AtomicU64::new(0) }
    }

    /// The span of a call: in its caller's trace, sampled as that is; otherwise in a trace of its own, for a share
    /// of the calls.
    pub fn span(&self, parent: Option<&TraceContext>) -> TraceContext {
        let [left, right] = self.random();
        // An id is never 0; of 2^64 there is one more chance for 1.
        let parent_id = mix(left ^ right).max(1).to_be_bytes();
        if let Some(parent) = parent {
            return TraceContext { parent_id, flags: parent.flags & (SAMPLED | RANDOM), ..*parent };
        }
        let mut id = [0; 16];
        id[..8].copy_from_slice(&left.to_be_bytes());
        id[8..].copy_from_slice(&right.max(1).to_be_bytes());
        let trace_id = TraceId(id);
        let sampled = if self.share.includes(Point::of_trace(&trace_id)) { SAMPLED } else { 0 };
        TraceContext { trace_id, parent_id, flags: RANDOM | sampled }
    }

    /// Leaves the spans of a call to be exported.
    pub fn tell(&self, seen: &Seen<'_>) {
        let (now_unix, now) = (SystemTime::now(), Instant::now());
        self.queue.push(|written| write(seen, now_unix, now, written));
    }

    /// Unlikely to repeat, not hard to guess: ids name spans and protect nothing.
    fn random(&self) -> [u64; 2] {
        let count = mix(self.count.fetch_add(1, Ordering::Relaxed));
        self.seed.map(|seed| mix(seed ^ count))
    }
}

/// All spans of a call, the longest first.
fn write(seen: &Seen<'_>, now_unix: SystemTime, now: Instant, written: &mut Written) {
    let now_ns = now_unix.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let at = |moment: Instant| {
        let ago_ns = now.saturating_duration_since(moment).as_nanos();
        u64::try_from(now_ns.saturating_sub(ago_ns)).unwrap_or(u64::MAX)
    };
    written.span(|out| of_server(seen, [at(seen.started), at(seen.ended)], out));
    for (number, stage) in seen.steps.stages.iter().enumerate() {
        let (own, times) = (seen.span.stage(number), [at(stage.begun), at(stage.ended)]);
        let name = ["stage ", stage.name];
        written.span(|out| {
            Span::open(out, &own, &seen.span.parent_id, Kind::Internal, &name, times);
        });
    }
    for attempt in &seen.steps.kept {
        let ended = attempt.ended.map_or(seen.ended, |(ended, _)| ended);
        written.span(|out| of_attempt(seen, attempt, [at(attempt.begun), at(ended)], out));
    }
}

/// Semantic conventions for HTTP, "HTTP server span".
fn of_server(seen: &Seen<'_>, times: [u64; 2], out: &mut Vec<u8>) {
    let Seen { entry: Entry { texts, facts }, scheme, .. } = seen;
    let parent = seen.parent.as_ref().map_or(&[][..], |parent| &parent.parent_id);
    let (kind, name): (_, &[&str]) = match (texts.template, texts.method) {
        (_, Some(method)) if seen.is_below => (Kind::Internal, &["call ", method]),
        (Some(template), _) => (Kind::Server, &[texts.verb, " ", template]),
        (None, _) => (Kind::Server, &[texts.verb]),
    };
    let mut span = Span::open(out, &seen.span, parent, kind, name, times);
    span.text("http.request.method", texts.verb);
    span.text("url.scheme", scheme);
    span.text("url.path", texts.path);
    span.integer("http.response.status_code", facts.http_number.into());
    span.text("client.address", &facts.client.to_string());
    span.text("network.protocol.version", facts.protocol.trim_start_matches("HTTP/"));
    span.text("transom.listener", texts.listener);
    span.text("transom.request_id", texts.request_id);
    span.text("transom.code", facts.code.name());
    let is_error = facts.http_number >= 500;
    let error = is_error.then(|| texts.reason.unwrap_or(facts.code.name()));
    for (key, value) in [
        ("http.route", texts.template),
        ("server.address", texts.host),
        ("user_agent.original", texts.user_agent),
        ("error.type", error),
        ("transom.surface", texts.surface),
        ("transom.consumer", texts.consumer),
        ("transom.reason", texts.reason),
        ("transom.refused_by", facts.refused_by),
        ("transom.cache", facts.cache),
        ("transom.fallback", facts.fallback),
    ] {
        if let Some(value) = value {
            span.text(key, value);
        }
    }
    if is_error {
        span.fail(texts.reason.unwrap_or_default());
    }
}

/// Semantic conventions for RPC, "gRPC", client side.
fn of_attempt(seen: &Seen<'_>, attempt: &Attempt, times: [u64; 2], out: &mut Vec<u8>) {
    // `package.Service.Method` → `package.Service/Method`.
    let (service, method) =
        seen.entry.texts.method.and_then(|method| method.rsplit_once('.')).unwrap_or_default();
    let own = seen.span.attempt(attempt.number);
    let mut span = Span::open(out, &own, &seen.span.parent_id, Kind::Client, &[service, "/", method], times);
    span.text("rpc.system", "grpc");
    span.text("rpc.service", service);
    span.text("rpc.method", method);
    span.text("server.address", attempt.endpoint.host());
    if let Some(port) = attempt.endpoint.port_u16() {
        span.integer("server.port", port.into());
    }
    if let Some((_, code)) = attempt.ended {
        span.integer("rpc.grpc.status_code", code.number().into());
        if code != Code::Ok {
            span.text("error.type", code.name());
            span.fail(code.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    fn tracer(millionths: u64, metrics: &Metrics) -> Tracer {
        let queue = Queue::new(1, metrics.worker(), Arc::default());
        Tracer::new(Arc::new(queue), Share::millionths(millionths), [7, 8])
    }

    #[test]
    fn a_share_of_new_traces_is_sampled_and_callers_decide_for_theirs() {
        let metrics = Metrics::new();
        let tracer = tracer(250_000, &metrics);
        let spans: Vec<_> = (0..4000).map(|_| tracer.span(None)).collect();
        let sampled = spans.iter().filter(|span| span.is_sampled()).count();
        assert!((800..1200).contains(&sampled), "{sampled} of 4000");
        assert!(spans.iter().all(|span| span.flags & RANDOM != 0));
        let mut ids: Vec<_> = spans.iter().map(|span| (span.trace_id.0, span.parent_id)).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 4000, "a trace for each");
        let caller = TraceContext { flags: 0xf1, ..spans[0] };
        let span = tracer.span(Some(&caller));
        assert_eq!((span.trace_id, span.flags), (caller.trace_id, SAMPLED), "and no flag that nobody knows");
        assert_ne!(span.parent_id, caller.parent_id);
        assert!(!tracer.span(Some(&TraceContext { flags: 0, ..caller })).is_sampled());
    }
}
