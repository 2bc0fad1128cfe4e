//! What the access log tells of a call and nobody else keeps: its head, and where it was led.
//!
//! Kept from the first moment, because which calls are logged is decided by how they end. Everything here is a
//! reference to what the request holds anyway.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Method, Uri, Version, header};

use crate::call::Notes;
use crate::frontend::Exchange;
use crate::policy::sampling::Point;
use crate::policy::trace_context::{TraceContext, TraceId};
use crate::route::Binding;
use crate::status::{Code, Status};
use crate::telemetry::access_log::{Entry, Lines};
use crate::telemetry::stats::Outcome;
use crate::telemetry::timestamp::Timestamp;

/// A call that may be logged.
#[derive(Debug)]
pub(super) struct Logged {
    lines: Arc<Lines>,
    request_id: HeaderValue,
    trace_id: Option<TraceId>,
    listener: Arc<str>,
    surface: Option<Arc<str>>,
    client: IpAddr,
    user_agent: Option<HeaderValue>,
    version: Version,
    verb: Method,
    uri: Uri,
    /// Where the target itself does not say it.
    host: Option<HeaderValue>,
    binding: Option<Arc<Binding>>,
    reason: Option<Box<str>>,
}

impl Logged {
    pub(super) fn new(
        lines: &Arc<Lines>,
        head: &Parts,
        listener: &Arc<str>,
        client: IpAddr,
        request_id: &HeaderValue,
    ) -> Self {
        let has_authority = head.uri.authority().is_some();
        Self {
            lines: Arc::clone(lines),
            request_id: request_id.clone(),
            trace_id: TraceContext::of(&head.headers).map(|context| context.trace_id),
            listener: Arc::clone(listener),
            surface: None,
            client,
            user_agent: head.headers.get(header::USER_AGENT).cloned(),
            version: head.version,
            verb: head.method.clone(),
            uri: head.uri.clone(),
            host: head.headers.get(header::HOST).filter(|_| !has_authority).cloned(),
            binding: None,
            reason: None,
        }
    }

    /// As far as it was led.
    pub(super) fn led(&mut self, exchange: &Exchange) {
        self.surface.clone_from(&exchange.surface);
        self.binding.clone_from(&exchange.binding);
    }

    pub(super) fn failed(&mut self, status: &Status) {
        self.reason = status.reason().map(Into::into);
    }

    /// Writes the line, if this is one of the calls that are told of.
    pub(super) fn tell(
        &self,
        ended: Timestamp,
        http_number: u16,
        outcome: &Outcome,
        started: Instant,
        notes: &Notes,
    ) {
        let is_error = outcome.code != Code::Ok || http_number >= 400;
        if !self.lines.wants(is_error, || self.point()) {
            return;
        }
        let now = started + outcome.duration;
        let (admitted, attempts) =
            notes.trail().map(|trail| (trail.admitted_at(), trail.attempts())).unwrap_or_default();
        let stages =
            admitted.map_or(outcome.duration, |admitted| admitted.saturating_duration_since(started));
        let consumer = notes.identity().and_then(|identity| identity.consumer.as_ref());
        let binding = self.binding.as_deref();
        let host = self.host.as_ref().and_then(|host| host.to_str().ok());
        self.lines.push(&Entry {
            ended,
            request_id: self.request_id.as_bytes(),
            trace_id: self.trace_id,
            listener: &self.listener,
            surface: self.surface.as_deref(),
            client: self.client,
            user_agent: self.user_agent.as_ref().map(HeaderValue::as_bytes),
            protocol: protocol(self.version),
            verb: self.verb.as_str(),
            host: self.uri.authority().map(Authority::as_str).or(host),
            path: self.uri.path(),
            query: self.uri.query(),
            template: binding.map(|binding| &*binding.template),
            method: binding.map(|binding| &*binding.method),
            consumer: consumer.map(|consumer| &*consumer.name),
            http_number,
            code: outcome.code,
            reason: self.reason.as_deref(),
            refused_by: notes.refusing_stage(),
            duration_us: micros(outcome.duration),
            stages_us: micros(stages),
            backend_us: attempts.duration(now).map(micros),
            bytes_in: outcome.bytes_in,
            bytes_out: outcome.bytes_out,
            messages: outcome.messages,
            endpoint: attempts.kept.last().map(|last| last.endpoint.as_str()),
            attempts: attempts.count as u64,
            cache: notes.cache_result(),
            limit_left: notes.limit_left(),
        });
    }

    fn point(&self) -> Point {
        match &self.trace_id {
            Some(trace_id) => Point::of_trace(trace_id),
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
