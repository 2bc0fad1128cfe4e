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

use super::Queue;
use super::otlp::{ERROR, KeyValue, Kind, Span, SpanStatus};
use crate::policy::balance::mix;
use crate::policy::sampling::{Point, Share};
use crate::policy::trace_context::{RANDOM, SAMPLED, TraceContext, TraceId};
use crate::policy::trail::{Attempt, Trail};
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
    pub trail: &'c Trail,
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
        let [low, high] = self.random();
        // An id is never 0; of 2^64 there is one more chance for 1.
        let parent_id = low.max(1).to_be_bytes();
        if let Some(parent) = parent {
            return TraceContext { parent_id, flags: parent.flags & (SAMPLED | RANDOM), ..*parent };
        }
        let mut id = [0; 16];
        let [left, right] = self.random();
        id[..8].copy_from_slice(&(left ^ high).to_be_bytes());
        id[8..].copy_from_slice(&right.max(1).to_be_bytes());
        let trace_id = TraceId(id);
        let sampled = if self.share.includes(Point::of_trace(&trace_id)) { SAMPLED } else { 0 };
        TraceContext { trace_id, parent_id, flags: RANDOM | sampled }
    }

    /// Leaves the spans of a call to be exported.
    pub fn tell(&self, seen: &Seen<'_>) {
        self.queue.push(spans(seen, SystemTime::now(), Instant::now()));
    }

    /// Unlikely to repeat, not hard to guess: ids name spans and protect nothing.
    fn random(&self) -> [u64; 2] {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        self.seed.map(|seed| mix(seed ^ mix(count)))
    }
}

/// All spans of a call, the longest first.
fn spans(seen: &Seen<'_>, now_unix: SystemTime, now: Instant) -> Vec<Span> {
    let now_ns = now_unix.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let at = |moment: Instant| {
        let ago_ns = now.saturating_duration_since(moment).as_nanos();
        u64::try_from(now_ns.saturating_sub(ago_ns)).unwrap_or(u64::MAX)
    };
    let new =
        |span: &TraceContext, parent: &[u8], name: String, kind: Kind, from: Instant, to: Instant| Span {
            trace_id: span.trace_id.0.to_vec(),
            span_id: span.parent_id.to_vec(),
            trace_state: String::new(),
            parent_span_id: parent.to_vec(),
            name,
            kind: kind.into(),
            start_time_unix_nano: at(from),
            end_time_unix_nano: at(to),
            attributes: Vec::new(),
            status: None,
            flags: span.flags.into(),
        };
    let Seen { entry, span, .. } = seen;
    let parent = seen.parent.map(|parent| parent.parent_id.to_vec()).unwrap_or_default();
    let name = [entry.verb, entry.template.unwrap_or_default()].join(" ");
    let server = Span {
        attributes: of_server(seen),
        status: (entry.http_number >= 500).then(|| failed(entry.reason.unwrap_or_default())),
        ..new(span, &parent, name.trim_end().to_owned(), Kind::Server, seen.started, seen.ended)
    };
    let stages = seen.trail.stages();
    let stages = stages.iter().enumerate().map(|(number, stage)| {
        let name = format!("stage {}", stage.name);
        new(&span.stage(number), &span.parent_id, name, Kind::Internal, stage.begun, stage.ended)
    });
    let attempts = seen.trail.attempts().kept;
    let attempts = attempts.iter().map(|attempt| {
        let (ended, code) = attempt.ended.unzip();
        let name = path(entry.method.unwrap_or_default());
        let to = ended.unwrap_or(seen.ended);
        Span {
            attributes: of_attempt(entry, attempt),
            status: code.filter(|code| *code != Code::Ok).map(|code| failed(code.name())),
            ..new(&span.attempt(attempt.number), &span.parent_id, name, Kind::Client, attempt.begun, to)
        }
    });
    std::iter::once(server).chain(stages).chain(attempts).collect()
}

/// Semantic conventions for HTTP, "HTTP server span".
fn of_server(Seen { entry, scheme, .. }: &Seen<'_>) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::text("http.request.method", entry.verb),
        KeyValue::text("url.scheme", *scheme),
        KeyValue::text("url.path", entry.path),
        KeyValue::integer("http.response.status_code", entry.http_number.into()),
        KeyValue::text("client.address", entry.client.to_string()),
        KeyValue::text("network.protocol.version", entry.protocol.trim_start_matches("HTTP/")),
        KeyValue::text("transom.listener", entry.listener),
        KeyValue::text("transom.request_id", String::from_utf8_lossy(entry.request_id)),
        KeyValue::text("transom.code", entry.code.name()),
    ];
    let user_agent = entry.user_agent.map(String::from_utf8_lossy);
    let error = (entry.http_number >= 500).then(|| entry.reason.unwrap_or(entry.code.name()));
    for (key, value) in [
        ("http.route", entry.template),
        ("server.address", entry.host),
        ("user_agent.original", user_agent.as_deref()),
        ("error.type", error),
        ("transom.surface", entry.surface),
        ("transom.consumer", entry.consumer),
        ("transom.reason", entry.reason),
        ("transom.refused_by", entry.refused_by),
        ("transom.cache", entry.cache),
        ("transom.fallback", entry.fallback),
    ] {
        attributes.extend(value.map(|value| KeyValue::text(key, value)));
    }
    attributes
}

/// Semantic conventions for RPC, "gRPC", client side.
fn of_attempt(entry: &Entry<'_>, attempt: &Attempt) -> Vec<KeyValue> {
    let (service, method) = entry.method.and_then(|method| method.rsplit_once('.')).unwrap_or_default();
    let mut attributes = vec![
        KeyValue::text("rpc.system", "grpc"),
        KeyValue::text("rpc.service", service),
        KeyValue::text("rpc.method", method),
        KeyValue::text("server.address", attempt.endpoint.host()),
    ];
    attributes.extend(attempt.endpoint.port_u16().map(|port| KeyValue::integer("server.port", port.into())));
    if let Some((_, code)) = attempt.ended {
        attributes.push(KeyValue::integer("rpc.grpc.status_code", code.number().into()));
        if code != Code::Ok {
            attributes.push(KeyValue::text("error.type", code.name()));
        }
    }
    attributes
}

fn failed(why: &str) -> SpanStatus {
    SpanStatus { message: why.to_owned(), code: ERROR }
}

/// `package.Service.Method` → `package.Service/Method`.
fn path(method: &str) -> String {
    method
        .rsplit_once('.')
        .map_or_else(|| method.to_owned(), |(service, method)| format!("{service}/{method}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::telemetry::Metrics;

    fn tracer(millionths: u64, spans_max: usize, metrics: &Metrics) -> Tracer {
        let queue = Queue { spans: Mutex::default(), spans_max, metrics: metrics.worker() };
        Tracer::new(Arc::new(queue), Share::millionths(millionths), [7, 8])
    }

    #[test]
    fn a_share_of_new_traces_is_sampled_and_callers_decide_for_theirs() {
        let metrics = Metrics::new();
        let tracer = tracer(250_000, 1, &metrics);
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

    #[test]
    fn spans_without_room_are_dropped_and_counted() {
        let metrics = Metrics::new();
        let tracer = tracer(0, 3, &metrics);
        let dropped = || metrics.sum(|w| w.trace_spans_dropped.value());
        let call = || vec![Span::default(), Span::default()];
        tracer.queue.push(call());
        assert_eq!(dropped(), 0);
        tracer.queue.push(call());
        assert_eq!((dropped(), tracer.queue.take().len()), (1, 3));
        tracer.queue.push(call());
        assert_eq!((dropped(), tracer.queue.take().len()), (1, 2));
    }
}
