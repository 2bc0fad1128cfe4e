//! What the access log and traces tell of a call and nobody else keeps: its head, where it was led, its span.
//!
//! Kept from the first moment, because which calls are logged is decided by how they end. Everything here is a
//! reference to what the request holds anyway.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Version, header};

use crate::call::{Head, Notes};
use crate::frontend::Exchange;
use crate::policy::sampling::Point;
use crate::policy::trace_context::{TRACEPARENT, TRACESTATE, TraceContext};
use crate::policy::trail::{Steps, Trail};
use crate::route::{Aggregate, Binding};
use crate::status::{Code, Status};
use crate::telemetry::access_log::{Entry, Facts, Lines, Texts};
use crate::telemetry::stats::Outcome;
use crate::telemetry::traces::{Seen, Tracer};

/// Whom one worker tells of its calls.
#[derive(Debug)]
pub(super) struct Teller {
    pub(super) lines: Option<Arc<Lines>>,
    pub(super) tracer: Option<Arc<Tracer>>,
}

/// A call that may be told of.
#[derive(Clone, Debug)]
pub(super) struct Told {
    teller: Arc<Teller>,
    head: Arc<Head>,
    /// The caller's span.
    parent: Option<TraceContext>,
    /// Whether the caller's span is that of the request, which has opened several calls.
    is_below: bool,
    /// Its own, where there are traces.
    span: Option<TraceContext>,
    /// Where it writes down its way, if that will be read.
    trail: Option<Arc<Trail>>,
    listener: Arc<str>,
    surface: Option<Arc<str>>,
    binding: Option<Arc<Binding>>,
    aggregate: Option<Arc<Aggregate>>,
    reason: Option<Box<str>>,
}

impl Told {
    pub(super) fn new(teller: &Arc<Teller>, exchange: &Exchange, listener: &Arc<str>) -> Self {
        Self {
            teller: Arc::clone(teller),
            head: Arc::clone(&exchange.head),
            parent: None,
            is_below: false,
            span: None,
            trail: None,
            listener: Arc::clone(listener),
            surface: None,
            binding: None,
            aggregate: None,
            reason: None,
        }
    }

    /// As far as it was led; the surface says whether its clients are believed about traces.
    pub(super) fn led(&mut self, exchange: &Exchange) {
        if exchange.trusts_traceparent {
            self.parent = TraceContext::of(&self.head.headers);
        }
        self.begin(self.head.started);
        self.surface.clone_from(&exchange.surface);
        self.binding.clone_from(&exchange.binding);
        self.aggregate.clone_from(&exchange.aggregate);
    }

    /// Its own span, under its parent, and its trail.
    fn begin(&mut self, started: Instant) {
        self.span = self.teller.tracer.as_ref().map(|tracer| tracer.span(self.parent.as_ref()));
        let sampled = self.span.filter(TraceContext::is_sampled);
        let is_read = self.teller.lines.is_some() || sampled.is_some();
        self.trail = is_read.then(|| Arc::new(Trail::new(started, sampled)));
    }

    /// See [`Call::trail`](crate::call::Call::trail).
    pub(super) fn trail(&self) -> Option<&Arc<Trail>> {
        self.trail.as_ref()
    }

    /// What is told of one of the calls that the request opens: its span is below the request's.
    pub(super) fn below(&self, binding: &Arc<Binding>, started: Instant) -> Self {
        let mut below = Self {
            parent: self.span.or(self.parent),
            is_below: true,
            binding: Some(Arc::clone(binding)),
            aggregate: None,
            reason: None,
            ..self.clone()
        };
        below.begin(started);
        below
    }

    /// Tells the backend its place in the trace. What nobody samples goes on as it came.
    pub(super) fn propagate(&self, metadata: &mut HeaderMap) {
        let Some(span) = self.span else { return };
        if self.parent.is_none() {
            // W3C Trace Context, section 3.2.2: whoever begins a trace takes over no state.
            metadata.remove(TRACESTATE);
        }
        if self.parent.is_none() || span.is_sampled() {
            metadata.insert(TRACEPARENT, span.into());
        }
    }

    pub(super) fn failed(&mut self, status: &Status) {
        self.reason = status.reason().map(Into::into);
    }

    /// Writes the line, if this is one of the calls that are logged, and the spans, if it is one that is sampled.
    pub(super) fn tell(&self, http_number: u16, outcome: &Outcome, started: Instant, notes: &Notes) {
        let is_error = outcome.code != Code::Ok || http_number >= 400;
        let lines = self.teller.lines.as_ref().filter(|lines| lines.wants(is_error, || self.point()));
        let Some(trail) = &self.trail else { return };
        let sampled = self.teller.tracer.as_ref().zip(trail.sampled());
        if lines.is_none() && sampled.is_none() {
            return;
        }
        let now = started + outcome.duration;
        let steps = trail.steps();
        let (stages, service) = match &steps.admitted {
            Some((passed, service)) => (*passed, Some(&**service)),
            None => (outcome.duration, None),
        };
        let consumer = notes.identity().and_then(|identity| identity.consumer.as_ref());
        let binding = self.binding.as_deref();
        let Head { method, uri, version, headers, client, request_id, .. } = &*self.head;
        let user_agent =
            headers.get(header::USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let texts = Texts {
            request_id: std::str::from_utf8(request_id.as_bytes()).unwrap_or_default(),
            listener: &self.listener,
            surface: self.surface.as_deref(),
            user_agent: user_agent.as_deref(),
            verb: method.as_str(),
            host: self.head.host(),
            path: uri.path(),
            query: uri.query(),
            template: binding
                .map(|binding| &*binding.template)
                .or(self.aggregate.as_ref().map(|aggregate| &*aggregate.template)),
            method: binding.map(|binding| &*binding.method),
            consumer: consumer.map(|consumer| &*consumer.name),
            reason: self.reason.as_deref(),
            service,
            endpoint: steps.kept.last().map(|last| last.endpoint.as_str()),
        };
        let facts = Facts {
            ended: now,
            trace_id: self.place().map(|place| place.trace_id),
            client: client.address,
            protocol: protocol(*version),
            http_number,
            code: outcome.code,
            refused_by: notes.refusing_stage(),
            duration_us: micros(outcome.duration),
            stages_us: micros(stages),
            backend_us: steps.in_backends(now).map(micros),
            bytes_in: outcome.bytes_in,
            bytes_out: outcome.bytes_out,
            messages: outcome.messages,
            attempts: steps.attempts as u64,
            cache: notes.cache_result(),
            fallback: notes.fallback(),
            limit_left: notes.limit_left(),
        };
        let entry = Entry { texts, facts };
        if let Some(lines) = lines {
            lines.push(&entry);
        }
        if let Some((tracer, span)) = sampled {
            self.trace(tracer, *span, &entry, &steps, [started, now]);
        }
    }

    /// Apart from what every call comes through.
    #[cold]
    fn trace(
        &self,
        tracer: &Tracer,
        span: TraceContext,
        entry: &Entry<'_>,
        steps: &Steps,
        [started, ended]: [Instant; 2],
    ) {
        let Self { parent, is_below, .. } = *self;
        let scheme = self.head.client.scheme;
        tracer.tell(&Seen { entry, scheme, span, parent, is_below, steps, started, ended });
    }

    /// Its place in a trace.
    fn place(&self) -> Option<&TraceContext> {
        self.span.as_ref().or(self.parent.as_ref())
    }

    fn point(&self) -> Point {
        match self.place() {
            Some(place) => Point::of_trace(&place.trace_id),
            None => Point::of_name(self.head.request_id.as_bytes()),
        }
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP",
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
