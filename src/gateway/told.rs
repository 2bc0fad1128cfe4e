//! What the access log and traces tell of a call and nobody else keeps: its head, where it was led, its span.
//!
//! Kept from the first moment, because which calls are logged is decided by how they end. Everything here is a
//! reference to what the request holds anyway.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};

use crate::call::Notes;
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
    request_id: HeaderValue,
    /// The caller's span.
    parent: Option<TraceContext>,
    /// Whether the caller has said more of its trace than that.
    has_state: bool,
    /// Whether the caller's span is that of the request, which has opened several calls.
    is_below: bool,
    /// Its own, where there are traces.
    span: Option<TraceContext>,
    /// Where it writes down its way, if that will be read.
    trail: Option<Arc<Trail>>,
    listener: Arc<str>,
    surface: Option<Arc<str>>,
    client: IpAddr,
    scheme: &'static str,
    user_agent: Option<HeaderValue>,
    version: Version,
    verb: Method,
    uri: Uri,
    /// Where the target itself does not say it.
    host: Option<HeaderValue>,
    binding: Option<Arc<Binding>>,
    aggregate: Option<Arc<Aggregate>>,
    reason: Option<Box<str>>,
}

impl Told {
    pub(super) fn new(teller: &Arc<Teller>, exchange: &Exchange, head: &Parts, listener: &Arc<str>) -> Self {
        let (mut user_agent, mut host) = (None, None);
        let (mut has_parent, mut has_state) = (false, false);
        // Once through all of them: to look each name up would have it hashed.
        for (name, value) in &head.headers {
            match name {
                name if name == header::USER_AGENT => _ = user_agent.get_or_insert(value),
                name if name == header::HOST => _ = host.get_or_insert(value),
                name if name == TRACEPARENT => has_parent = true,
                name if name == TRACESTATE => has_state = true,
                _ => {}
            }
        }
        let has_authority = head.uri.authority().is_some();
        let parent = has_parent.then(|| TraceContext::of(&head.headers)).flatten();
        Self {
            teller: Arc::clone(teller),
            request_id: exchange.request_id.clone(),
            parent,
            has_state,
            is_below: false,
            span: None,
            trail: None,
            listener: Arc::clone(listener),
            surface: None,
            client: exchange.client.address,
            scheme: exchange.client.scheme,
            user_agent: user_agent.cloned(),
            version: head.version,
            verb: head.method.clone(),
            uri: head.uri.clone(),
            host: host.filter(|_| !has_authority).cloned(),
            binding: None,
            aggregate: None,
            reason: None,
        }
    }

    /// As far as it was led; the surface says whether its clients are believed about traces.
    pub(super) fn led(&mut self, exchange: &Exchange) {
        if !exchange.trusts_traceparent {
            self.parent = None;
        }
        self.begin(exchange.started);
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
        if self.has_state && self.parent.is_none() {
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
        let host = self.host.as_ref().and_then(|host| host.to_str().ok());
        let user_agent = self.user_agent.as_ref().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let texts = Texts {
            request_id: std::str::from_utf8(self.request_id.as_bytes()).unwrap_or_default(),
            listener: &self.listener,
            surface: self.surface.as_deref(),
            user_agent: user_agent.as_deref(),
            verb: self.verb.as_str(),
            host: self.uri.authority().map(Authority::as_str).or(host),
            path: self.uri.path(),
            query: self.uri.query(),
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
            client: self.client,
            protocol: protocol(self.version),
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
        let Self { parent, is_below, scheme, .. } = *self;
        tracer.tell(&Seen { entry, scheme, span, parent, is_below, steps, started, ended });
    }

    /// Its place in a trace.
    fn place(&self) -> Option<&TraceContext> {
        self.span.as_ref().or(self.parent.as_ref())
    }

    fn point(&self) -> Point {
        match self.place() {
            Some(place) => Point::of_trace(&place.trace_id),
            None => Point::of_name(self.request_id.as_bytes()),
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
