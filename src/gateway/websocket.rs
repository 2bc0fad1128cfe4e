//! A WebSocket that speaks `graphql-transport-ws`: one task, any number of operations up to a bound.
//!
//! ```text
//! client ─▶ messages ─▶ operations: each a request of its own, in the snapshot of its moment
//! client ◀─ outbox ◀─── one result at a time, none while an earlier one is not written
//! ```
//!
//! What waits to be written is bounded from both sides: no operation is asked for a result before everything is
//! written, and nothing is read while answers to what was read pile up. A client that takes nothing of it is cut off.

mod operation;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;
use http::{HeaderMap, Response};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, interval_at, sleep, timeout};
use tokio_stream::StreamMap;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Worker;
use super::meter::Tally;
use crate::call::ResponseBody;
use crate::config::subscriptions as file;
use crate::frontend::Exchange;
use crate::frontend::graphql::websocket::{self, ClientMessage, Close};
use crate::frontend::graphql::{self as http_graphql, Media, Parameters};
use crate::server::{Takeover, Tunnel};
use crate::snapshot::{Graphql, Snapshot, Surface, WebSockets};
use crate::status::{Code, Status};
use crate::telemetry::WorkerMetrics;

use operation::{Operation, Origin, Said, begin};

/// What sockets of a surface may take, as its section says.
pub(super) fn rules(file: &file::WebSockets) -> WebSockets {
    WebSockets {
        connections_max: file.connections_max,
        operations_max: file.operations_max,
        init_timeout: file.init_timeout,
        idle: file.idle,
        headers: file.headers.clone().into(),
    }
}

/// How many sockets there are; shared by every worker.
#[derive(Clone, Debug, Default)]
pub(super) struct Sockets(Arc<AtomicUsize>);

/// A socket's place among them, given back on drop.
struct Place {
    sockets: Sockets,
    metrics: Arc<WorkerMetrics>,
}

/// Answers to what was read that may wait to be written.
const OUTBOX_MAX: usize = 16;

/// For the client to answer a close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

impl Sockets {
    fn enter(&self, max: usize, metrics: &Arc<WorkerMetrics>) -> Option<Place> {
        let is_free = self.0.fetch_add(1, Ordering::Relaxed) < max;
        metrics.websockets_open.increase();
        let place = Place { sockets: self.clone(), metrics: Arc::clone(metrics) };
        is_free.then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sockets.0.fetch_sub(1, Ordering::Relaxed);
        self.metrics.websockets_open.decrease();
    }
}

impl Worker {
    /// Answers a handshake; the connection is taken over once the client has the answer.
    pub(super) fn websocket(
        &self,
        exchange: &mut Exchange,
        tally: &mut Tally,
        (surface, graphql): (&Surface, &Graphql),
        listener: &Arc<str>,
    ) -> Response<ResponseBody> {
        let head = Arc::clone(&exchange.head);
        let shaken = websocket::shake(exchange, surface, &head);
        tally.led(exchange);
        let max = graphql.subscriptions.websocket.connections_max;
        let entered = shaken.and_then(|shaken| {
            let place = self.sockets.enter(max, &self.metrics).ok_or_else(|| websocket::too_many(graphql))?;
            Ok((shaken, place))
        });
        let ((mut response, speaks), place) = match entered {
            Ok(entered) => entered,
            Err(status) => return self.refused(exchange, tally, Media::Json, &status),
        };
        tally.succeeded();
        let origin = Origin {
            worker: self.clone(),
            listener: Arc::clone(listener),
            handshake: head,
            bounds: graphql.subscriptions.clone(),
            message_bytes_max: graphql.body_bytes_max,
            values_max: graphql.limits.values_max,
        };
        response.extensions_mut().insert(Takeover::new(move |tunnel| async move {
            let _place = place;
            let connection = Connection::new(origin, tunnel).await;
            if speaks { connection.serve().await } else { connection.close(Close::other_protocol()).await }
        }));
        response
    }
}

struct Connection {
    origin: Arc<Origin>,
    socket: WebSocketStream<Tunnel>,
    outbox: VecDeque<Message>,
    operations: StreamMap<Box<str>, Operation>,
    /// What `connection_init` says of who it is; none before that.
    credential: Option<HeaderMap>,
    init: Pin<Box<Sleep>>,
    keep_alive: Interval,
    /// Whether the last ping is answered, or anything has come since.
    is_heard: bool,
    idle: Pin<Box<Sleep>>,
    /// Runs while something waits to be written.
    stall: Option<Pin<Box<Sleep>>>,
}

/// What happens to a socket.
enum Event {
    Heard(Message),
    Said(Box<str>, Said),
    Tick,
    End(End),
}

/// How a socket ends.
enum End {
    Close(Close),
    /// The client has said that it goes.
    Left,
    /// Nobody is there to be told.
    Gone,
}

impl Connection {
    async fn new(origin: Origin, tunnel: Tunnel) -> Self {
        let max = origin.message_bytes_max;
        let config = WebSocketConfig::default().max_message_size(Some(max)).max_frame_size(Some(max));
        let bounds = &origin.bounds;
        let mut keep_alive = interval_at(Instant::now() + bounds.keep_alive, bounds.keep_alive);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            init: Box::pin(sleep(bounds.websocket.init_timeout)),
            idle: Box::pin(sleep(bounds.websocket.idle)),
            keep_alive,
            socket: WebSocketStream::from_raw_socket(tunnel, Role::Server, Some(config)).await,
            origin: Arc::new(origin),
            outbox: VecDeque::new(),
            operations: StreamMap::new(),
            credential: None,
            is_heard: true,
            stall: None,
        }
    }

    async fn serve(mut self) {
        loop {
            let event = poll_fn(|cx| self.poll_event(cx)).await;
            let handled = match event {
                Event::Heard(message) => self.hear(message),
                Event::Said(id, said) => self.say(&id, said),
                Event::Tick => self.tick(),
                Event::End(end) => Err(end),
            };
            match handled {
                Ok(()) => {}
                Err(End::Gone) => return,
                Err(End::Left) => return self.farewell().await,
                Err(End::Close(close)) => return self.close(close).await,
            }
        }
    }

    /// Says why.
    async fn close(mut self, close: Close) {
        let frame = CloseFrame { code: close.code.into(), reason: close.reason.into_owned().into() };
        self.outbox.push_back(Message::Close(Some(frame)));
        self.farewell().await;
    }

    /// Lets out what is to be said, and waits a little for the other side to close.
    async fn farewell(mut self) {
        self.operations.clear();
        let farewell = poll_fn(|cx| {
            if !matches!(self.poll_write(cx), Poll::Ready(Ok(())) | Poll::Pending) {
                return Poll::Ready(());
            }
            // What still comes is not wanted; the last of it is the client's own close.
            loop {
                match Pin::new(&mut self.socket).poll_next(cx) {
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        let _ = timeout(CLOSE_PATIENCE, farewell).await;
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.socket.get_ref().poll_stopping(cx).is_ready() {
            return Poll::Ready(Event::End(End::Close(Close::going_away())));
        }
        let is_written = match self.poll_write(cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(_)) => return Poll::Ready(Event::End(End::Gone)),
            Poll::Pending => false,
        };
        if is_written {
            self.stall = None;
        } else {
            let patience = self.socket.get_ref().send_timeout();
            let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(patience)));
            if stall.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::End(End::Gone));
            }
        }
        if self.outbox.len() < OUTBOX_MAX
            && let Poll::Ready(heard) = Pin::new(&mut self.socket).poll_next(cx)
        {
            return Poll::Ready(match heard {
                Some(Ok(message)) => Event::Heard(message),
                Some(Err(Error::Capacity(_))) => Event::End(End::Close(Close::too_large())),
                Some(Err(_)) | None => Event::End(End::Gone),
            });
        }
        if is_written && let Poll::Ready(Some((id, said))) = Pin::new(&mut self.operations).poll_next(cx) {
            return Poll::Ready(Event::Said(id, said));
        }
        self.poll_clocks(cx)
    }

    /// Ready when everything is written.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut socket = Pin::new(&mut self.socket);
        while !self.outbox.is_empty() {
            std::task::ready!(socket.as_mut().poll_ready(cx))?;
            if let Some(message) = self.outbox.pop_front() {
                socket.as_mut().start_send(message)?;
            }
        }
        socket.poll_flush(cx)
    }

    fn poll_clocks(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.credential.is_none() && self.init.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Event::End(End::Close(Close::init_timeout())));
        }
        if self.keep_alive.poll_tick(cx).is_ready() {
            return Poll::Ready(Event::Tick);
        }
        if !self.operations.is_empty() {
            self.idle.as_mut().reset(Instant::now() + self.origin.bounds.websocket.idle);
        } else if self.idle.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Event::End(End::Close(Close::idle())));
        }
        Poll::Pending
    }

    fn hear(&mut self, message: Message) -> Result<(), End> {
        self.is_heard = true;
        let message = match message {
            Message::Text(text) => ClientMessage::parse(&text, self.origin.values_max).map_err(End::Close)?,
            Message::Binary(_) => return Err(End::Close(Close::invalid("a message must be text"))),
            // The library has answered it; what is left is to let the answer out.
            Message::Close(_) => return Err(End::Left),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(()),
        };
        match message {
            ClientMessage::Init(_) if self.credential.is_some() => {
                return Err(End::Close(Close::second_init()));
            }
            ClientMessage::Init(payload) => {
                let allowed = &self.origin.bounds.websocket.headers;
                self.credential = Some(websocket::credential(&payload, allowed).map_err(End::Close)?);
                self.tell(websocket::ACK.to_owned());
            }
            ClientMessage::Ping => self.tell(websocket::PONG.to_owned()),
            ClientMessage::Pong => {}
            ClientMessage::Complete { id } => drop(self.operations.remove(&id)),
            ClientMessage::Subscribe { id, parameters } => self.subscribe(id, *parameters)?,
        }
        Ok(())
    }

    fn subscribe(&mut self, id: Box<str>, parameters: Parameters) -> Result<(), End> {
        let Some(credential) = &self.credential else {
            return Err(End::Close(Close::unauthorized()));
        };
        if self.operations.contains_key(&id) {
            return Err(End::Close(Close::duplicate(&id)));
        }
        let max = self.origin.bounds.websocket.operations_max;
        if self.operations.len() >= max {
            let message = format!("there are {max} operations on this socket already");
            let status = Status::client(Code::ResourceExhausted, message).with_reason("TOO_MANY_OPERATIONS");
            let Snapshot { schema, json, .. } = &*self.origin.worker.catalog.current();
            self.put(websocket::error(&id, &http_graphql::error_list(schema, json, &status)));
            return Ok(());
        }
        let (request_id, started) = (self.origin.worker.request_ids.fresh(), Instant::now().into_std());
        let head = websocket::operation_head(&self.origin.handshake, credential, request_id, started);
        let begin = begin(Arc::clone(&self.origin), head, parameters);
        self.operations.insert(id, Operation::Beginning(Box::pin(begin)));
        Ok(())
    }

    fn say(&mut self, id: &str, said: Said) -> Result<(), End> {
        match said {
            Said::Result(json) => self.put(websocket::next(id, &json)),
            // The id is free from here on.
            Said::Refused(errors) => {
                self.operations.remove(id);
                self.put(websocket::error(id, &errors));
            }
            Said::Complete => {
                self.operations.remove(id);
                self.put(websocket::complete(id));
            }
        }
        Ok(())
    }

    /// Asks whether the client is still there.
    fn tick(&mut self) -> Result<(), End> {
        if !std::mem::take(&mut self.is_heard) {
            return Err(End::Gone);
        }
        if self.outbox.is_empty() {
            self.outbox.push_back(Message::Ping(Bytes::new()));
        }
        Ok(())
    }

    fn put(&mut self, json: Vec<u8>) {
        self.tell(String::from_utf8(json).expect("the gateway writes UTF-8"));
    }

    fn tell(&mut self, json: String) {
        self.outbox.push_back(Message::text(json));
    }
}
