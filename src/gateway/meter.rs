//! What a call used, measured at both of its ends and told when the last byte of its reply is gone.
//!
//! ```text
//! Meter::begin ─▶ Tally ─ routed, judged ─▶ Metered (the reply's body) ─ end, or the client is gone ─▶ told
//!        └▶ Counted (the request's body)            dropped before that: the client did not wait
//! ```
//!
//! Statistics count every call that found its route. Usage has only those that somebody can be billed for:
//! of an identity, or let in without one. What a stage refuses to a stranger is counted and not recorded,
//! or whoever has no credential could fill the spool.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use futures_core::Stream;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use super::told::{Teller, Told};
use crate::call::{BoundedBody, Call, Failure, Messages, Notes, Piece, Reply, ReplyBody, ResponseBody};
use crate::frontend::Exchange;
use crate::policy::balance::mix;
use crate::policy::trail::Trail;
use crate::route::Binding;
use crate::snapshot::Surfaces;
use crate::status::{Code, Status};
use crate::telemetry::Metrics;
use crate::telemetry::stats::{Outcome, Route, Shard, Stats};
use crate::telemetry::timestamp::Timestamp;
use crate::telemetry::usage::{Queue, Record, Usage};
use crate::transcode;

/// What one worker measures with.
#[derive(Debug)]
pub(super) struct Meter {
    shard: Arc<Shard>,
    usage: Option<Arc<Queue>>,
    teller: Option<Arc<Teller>>,
}

/// The routes of a snapshot by the address of their binding or aggregate, which the snapshot keeps alive.
#[derive(Debug)]
struct Labels(HashMap<usize, Arc<Route>, BuildHasherDefault<Mixed>>);

/// Nobody outside chooses an address: it is enough to mix its bits.
#[derive(Debug, Default)]
struct Mixed(u64);

/// The part of [`Snapshot::live`] that is the meter's.
#[derive(Clone, Debug)]
pub(super) struct Routes(Arc<Labels>);

impl Routes {
    pub(super) fn new(stats: &Stats, surfaces: &Surfaces) -> Self {
        let mut labels = HashMap::default();
        for surface in surfaces.all() {
            let graphql = surface.graphql.iter().flat_map(|graphql| &graphql.bindings);
            for binding in surface.routes.bindings().chain(graphql) {
                labels.insert(address(binding), stats.route(&surface.name, &binding.method));
            }
            for aggregate in surface.routes.aggregates() {
                let name = format!("{} {}", aggregate.verb, aggregate.template);
                labels.insert(address(aggregate), stats.route(&surface.name, &name));
            }
        }
        Self(Arc::new(Labels(labels)))
    }
}

fn address<T>(route: &Arc<T>) -> usize {
    Arc::as_ptr(route).addr()
}

impl Hasher for Mixed {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only addresses are hashed here");
    }

    fn write_usize(&mut self, address: usize) {
        self.0 = mix(address as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A call that is being measured; dropping it tells.
#[derive(Debug)]
pub(super) struct Tally {
    meter: Arc<Meter>,
    notes: Arc<Notes>,
    started: Instant,
    /// `None`: no route was found, and there is nothing to count by.
    route: Option<Arc<Route>>,
    /// Its calls are measured on their own, and nobody pays twice.
    is_aggregate: bool,
    /// Whether the stages let it in.
    is_admitted: bool,
    code: Code,
    http_number: u16,
    bytes_out: u64,
    is_finished: bool,
    told: Option<Box<Told>>,
}

impl Meter {
    pub(super) fn new(metrics: &Metrics, usage: Option<&Usage>, teller: Option<Teller>) -> Arc<Self> {
        let (usage, teller) = (usage.map(Usage::queue), teller.map(Arc::new));
        Arc::new(Self { shard: metrics.stats.shard(), usage, teller })
    }

    /// Begins to measure.
    pub(super) fn begin(self: &Arc<Self>, exchange: &Exchange, listener: &Arc<str>) -> Tally {
        let teller = self.teller.as_ref();
        let told = teller.map(|teller| Box::new(Told::new(teller, exchange, listener)));
        Tally {
            meter: Arc::clone(self),
            notes: Arc::clone(&exchange.notes),
            started: exchange.head.started,
            told,
            route: None,
            is_aggregate: false,
            is_admitted: false,
            code: Code::Cancelled,
            http_number: 499,
            bytes_out: 0,
            is_finished: false,
        }
    }
}

impl Tally {
    /// The route is looked for, and found or not.
    pub(super) fn led(&mut self, exchange: &Exchange) {
        let place = exchange.binding.as_ref().map(address);
        let place = place.or_else(|| {
            self.is_aggregate = exchange.aggregate.is_some();
            exchange.aggregate.as_ref().map(address)
        });
        if let Some(place) = place {
            let routes = exchange.snapshot.live.get::<Routes>();
            self.route = routes.and_then(|routes| routes.0.0.get(&place).cloned());
        }
        if let Some(told) = &mut self.told {
            told.led(exchange);
        }
    }

    /// Begins to measure one of the calls that a request opens.
    pub(super) fn below(&self, exchange: &Exchange, binding: &Arc<Binding>, notes: &Arc<Notes>) -> Self {
        let routes = exchange.snapshot.live.get::<Routes>();
        let started = Instant::now();
        Self {
            meter: Arc::clone(&self.meter),
            notes: Arc::clone(notes),
            started,
            route: routes.and_then(|routes| routes.0.0.get(&address(binding)).cloned()),
            is_aggregate: false,
            is_admitted: false,
            code: Code::Cancelled,
            http_number: 499,
            bytes_out: 0,
            is_finished: false,
            told: self.told.as_ref().map(|told| Box::new(told.below(binding, started))),
        }
    }

    /// The call has ended, and its reply is part of a response.
    pub(super) fn end(mut self, outcome: &Result<Bytes, Status>) {
        self.is_finished = true;
        (self.http_number, self.bytes_out) = match outcome {
            Ok(message) => (200, message.len() as u64),
            Err(status) => {
                self.failed(status);
                (status.http_number(), 0)
            }
        };
    }

    /// Bytes of a streamed reply have become part of a response.
    pub(super) fn passed(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
    }

    /// A streamed reply has ended.
    pub(super) fn end_stream(mut self, outcome: Result<(), &Status>) {
        self.is_finished = true;
        self.http_number = match outcome {
            Ok(()) => 200,
            Err(status) => {
                self.failed(status);
                status.http_number()
            }
        };
    }

    /// The request was executed, whatever became of its calls.
    pub(super) fn succeeded(&mut self) {
        self.code = Code::Ok;
    }

    /// The request is refused before there is a call.
    pub(super) fn refused(&mut self, status: &Status) {
        self.failed(status);
        if let Some(stage) = self.notes.refusing_stage() {
            self.meter.shard.refused(stage, status.reason().unwrap_or("UNKNOWN"));
        }
    }

    /// The call goes to the stages, and its metadata to the backend.
    pub(super) fn opened(&mut self, call: &mut Call) {
        self.is_admitted = true;
        if let Some(told) = &self.told {
            told.propagate(&mut call.metadata);
            call.trail = told.trail().cloned();
        }
    }

    /// Where the request's own way is written down; `None`: nobody will read it.
    pub(super) fn trail(&self) -> Option<&Trail> {
        self.told.as_ref()?.trail().map(|trail| &**trail)
    }

    /// The stages and the backend have spoken.
    pub(super) fn judged(&mut self, outcome: Result<Reply, Failure>) -> Result<Reply, Failure> {
        match outcome {
            Ok(reply) => {
                self.code = Code::Ok;
                // Nobody pays for a reply that no backend has given.
                self.is_admitted &= self.notes.fallback().is_none();
                Ok(self.count_messages(reply))
            }
            Err(failure) => {
                self.failed(&failure.status);
                if let Some(stage) = self.notes.refusing_stage() {
                    self.is_admitted = false;
                    self.meter.shard.refused(stage, failure.status.reason().unwrap_or("UNKNOWN"));
                }
                Err(failure)
            }
        }
    }

    fn failed(&mut self, status: &Status) {
        self.code = status.code;
        if let Some(told) = &mut self.told {
            told.failed(status);
        }
    }

    fn count_messages(&self, reply: Reply) -> Reply {
        if matches!(reply.body, ReplyBody::Unary { .. } | ReplyBody::Wire { .. } | ReplyBody::Raw { .. }) {
            self.notes.sent_message();
        }
        let notes = Arc::clone(&self.notes);
        reply.map_messages(|messages| Box::pin(CountedMessages { messages, notes }))
    }

    /// Measures the reply, and tells when it has ended.
    pub(super) fn measure(mut self, response: Response<ResponseBody>) -> Response<Metered> {
        self.http_number = response.status().as_u16();
        // A body that is empty is not asked for its end.
        self.is_finished = response.body().is_end_stream();
        response.map(|body| Metered { body, tally: self })
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if self.route.is_none() && self.told.is_none() {
            return;
        }
        if !self.is_finished {
            // 499: the client went away before the end, as nginx names it.
            (self.code, self.http_number) = (Code::Cancelled, 499);
        }
        let outcome = Outcome {
            code: self.code,
            bytes_in: self.notes.bytes_read(),
            bytes_out: self.bytes_out,
            messages: self.notes.messages_sent(),
            // What a stage refuses takes nothing.
            cost: if self.is_admitted { self.notes.cost() } else { 0 },
            duration: self.started.elapsed(),
        };
        if let Some(told) = &self.told {
            told.tell(self.http_number, &outcome, self.started, &self.notes);
        }
        let Some(route) = self.route.take() else { return };
        let identity = self.notes.identity().filter(|_| !self.is_aggregate);
        let consumer = identity.and_then(|identity| Some(&identity.consumer.as_ref()?.name));
        self.meter.shard.record(&route, consumer, &outcome);
        if self.notes.refusing_stage() == Some(transcode::VALIDATION) {
            self.meter.shard.broke_rules(&route);
        }
        if let Some(queue) = self.meter.usage.as_ref().filter(|_| self.is_admitted || identity.is_some()) {
            queue.push(Record {
                route,
                identity: identity.cloned(),
                outcome,
                http_number: self.http_number,
                ended: Timestamp::now(),
                cache: self.notes.cache_result(),
            });
        }
    }
}

/// The body of a reply, measured.
pub(super) struct Metered {
    body: ResponseBody,
    tally: Tally,
}

impl Body for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                this.tally.bytes_out += frame.data_ref().map_or(0, |data| data.len() as u64);
                this.tally.is_finished = this.body.is_end_stream();
            }
            Some(Err(status)) => {
                this.tally.failed(status);
                this.tally.is_finished = true;
            }
            None => this.tally.is_finished = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a request, whose bytes are noted as they are read.
pub(super) struct Counted<B> {
    pub(super) body: B,
    pub(super) notes: Arc<Notes>,
}

impl<B: BoundedBody + Unpin> BoundedBody for Counted<B> {
    fn lift_bounds(self: Pin<&mut Self>) {
        Pin::new(&mut self.get_mut().body).lift_bounds();
    }

    fn bytes_max(&self) -> u64 {
        self.body.bytes_max()
    }
}

impl<B: BoundedBody + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            this.notes.read_bytes(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The messages of a streamed reply, noted as they go.
struct CountedMessages {
    messages: Messages,
    notes: Arc<Notes>,
}

impl Stream for CountedMessages {
    type Item = Result<Piece, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.messages.as_mut().poll_next(cx));
        if let Some(Ok(Piece::Message(_))) = &item {
            self.notes.sent_message();
        }
        Poll::Ready(item)
    }
}
