//! Many messages, in either direction or both.
//!
//! ```text
//! body → records → frames ─┐                    ┌→ first message → head of the response
//!                          └→ upstream → messages → JSON pieces, one at a time
//! ```
//!
//! Both directions are pulled by who reads them: the backend's flow control paces the client's body, the
//! client's reading paces the backend's messages. A request that breaks off (malformed record,
//! vanished client) resets the backend's stream; the upstream tells the cause, not the reset.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http::header::CONTENT_TYPE;
use tokio::time::{Instant, Sleep, sleep_until};

use super::http_body::{self, HttpBody};
use super::message;
use super::unary::{self, Form};
use crate::call::{Call, ClientBody, Failure, Head, Messages, Notes, Payload, Piece, Reply, ReplyBody};
use crate::codec::records::Records;
use crate::route::{Binding, Body, Captures};
use crate::snapshot::Snapshot;
use crate::status::{Code, Status};
use crate::upstream::{GrpcMessages, GrpcReply, GrpcRequest, RequestMessages, Upstream};

pub(super) async fn transcode(upstream: Upstream, call: Call) -> Result<Reply, Failure> {
    let key = super::key(&upstream, &call);
    let Call { snapshot, binding, metadata, deadline, head, payload, notes, trail, service, .. } = call;
    let session = Session::new(snapshot, binding, Arc::clone(&notes), service, Form::of(&payload));
    let session = Arc::new(session);
    let (snapshot, binding) = (&session.snapshot, &session.binding);
    let messages = if binding.client_streaming {
        RequestMessages::Stream(Box::pin(RequestStream::new(session.clone(), head, payload)?))
    } else {
        unary::request(snapshot, binding, &notes, &head, payload, deadline).await?
    };
    let timeout = unary::time_left(deadline)?;
    let terms = super::terms(snapshot, binding, service);
    let path = binding.grpc_path.clone();
    let request = GrpcRequest { path, metadata, key, timeout, messages, terms, trail };
    let mut reply = pin!(async {
        let reply = upstream.call(request).await?;
        if binding.server_streaming {
            stream_reply(session.clone(), reply).await
        } else {
            unary::reply(snapshot, binding, session.form, reply).await
        }
    });
    let mut idle = session.idle();
    poll_fn(|cx| match reply.as_mut().poll(cx) {
        Poll::Ready(reply) => Poll::Ready(reply),
        Poll::Pending => session.poll_idle(&mut idle, cx).map(|status| Err(status.into())),
    })
    .await
}

/// Waits for the first message or error, so that an early failure has an HTTP status of its own.
async fn stream_reply(session: Arc<Session>, reply: GrpcReply) -> Result<Reply, Failure> {
    let GrpcReply { metadata, messages } = reply;
    let mut stream = ReplyStream { messages, first: None, idle: session.idle(), session, ended: false };
    let mut content_type = None;
    let first = match poll_fn(|cx| stream.poll_wire(cx)).await.transpose() {
        Ok(first) => first,
        Err(status) => return Err(Failure::told(status, metadata, &stream.messages.trailers())),
    };
    if let Some(wire) = first {
        let first = stream.render(&wire)?;
        content_type = first.content_type;
        stream.first = Some(first.data);
    }
    let (form, is_raw) = (stream.session.form, stream.session.binding.raw_response);
    let messages: Messages = Box::pin(stream);
    let body = match form {
        Form::Wire => ReplyBody::WireStream(messages),
        Form::Http if is_raw => ReplyBody::RawStream { content_type, messages },
        Form::Http => ReplyBody::Stream(messages),
    };
    Ok(Reply { metadata, body })
}

/// What the two directions of one call share.
struct Session {
    snapshot: Arc<Snapshot>,
    binding: Arc<Binding>,
    notes: Arc<Notes>,
    form: Form,
    /// How long no message may pass.
    idle_max: Duration,
    opened: Instant,
    /// When the last message passed, in milliseconds since `opened`.
    active_ms: AtomicU64,
}

impl Session {
    fn new(
        snapshot: Arc<Snapshot>,
        binding: Arc<Binding>,
        notes: Arc<Notes>,
        service: usize,
        form: Form,
    ) -> Self {
        let active_ms = AtomicU64::new(0);
        let idle_max = snapshot.rule(&binding).destinations.of(service).stream_idle;
        Self { snapshot, binding, notes, form, idle_max, opened: Instant::now(), active_ms }
    }

    fn note_activity(&self) {
        let elapsed_ms = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.active_ms.store(elapsed_ms, Ordering::Relaxed);
    }

    fn idle_ends(&self) -> Instant {
        let active = Duration::from_millis(self.active_ms.load(Ordering::Relaxed));
        self.opened + active + self.idle_max
    }

    fn idle(&self) -> Pin<Box<Sleep>> {
        Box::pin(sleep_until(self.idle_ends()))
    }

    /// Ready when no message has passed in either direction for as long as the bound says.
    fn poll_idle(&self, idle: &mut Pin<Box<Sleep>>, cx: &mut Context<'_>) -> Poll<Status> {
        loop {
            ready!(idle.as_mut().poll(cx));
            let ends = self.idle_ends();
            if ends <= Instant::now() {
                let message = "no message has passed in either direction for too long";
                let status = Status::gateway(Code::DeadlineExceeded, message).with_reason("STREAM_IDLE");
                return Poll::Ready(status);
            }
            idle.as_mut().reset(ends);
        }
    }
}

/// The backend's messages as JSON (or raw bytes), then its trailers.
struct ReplyStream {
    messages: GrpcMessages,
    /// A message that was rendered before the stream was handed out.
    first: Option<Bytes>,
    session: Arc<Session>,
    idle: Pin<Box<Sleep>>,
    ended: bool,
}

impl ReplyStream {
    fn poll_wire(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        match self.messages.poll_next(cx) {
            Poll::Ready(item) => {
                self.session.note_activity();
                Poll::Ready(item)
            }
            Poll::Pending => self.session.poll_idle(&mut self.idle, cx).map(|status| Some(Err(status))),
        }
    }

    fn render(&self, wire: &Bytes) -> Result<HttpBody, Status> {
        let Session { snapshot, binding, form, .. } = &*self.session;
        if *form == Form::Wire {
            return Ok(HttpBody { content_type: None, data: wire.clone() });
        }
        if binding.raw_response {
            return http_body::read(&snapshot.schema, binding, wire);
        }
        let data = message::json(&snapshot.schema, &snapshot.json, binding, wire)?;
        Ok(HttpBody { content_type: None, data })
    }
}

impl Stream for ReplyStream {
    type Item = Result<Piece, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let data = match this.first.take() {
            Some(data) => Some(Ok(data)),
            None => ready!(this.poll_wire(cx)).map(|wire| Ok(this.render(&wire?)?.data)),
        };
        let piece = match data {
            Some(data) => data.map(Piece::Message),
            None => Ok(Piece::Trailers(this.messages.trailers())),
        };
        this.ended = !matches!(piece, Ok(Piece::Message(_)));
        Poll::Ready(Some(piece))
    }
}

/// The client's records as gRPC frames. Captures and query are part of the first message.
struct RequestStream {
    session: Arc<Session>,
    source: Source,
    head: Arc<Head>,
    /// Of the path; gone once the first message is made.
    opening: Option<Captures>,
    idle: Pin<Box<Sleep>>,
}

enum Source {
    /// No body is bound: one message of captures and query, or the refusal of what comes beside them.
    Unbound { body: ClientBody },
    /// JSON records, however the body is cut.
    Records { body: ClientBody, records: Records },
    /// `google.api.HttpBody`: each piece of the body is a message, and one without a piece is one too.
    Raw { body: ClientBody },
    /// The body has ended.
    Ended,
}

impl RequestStream {
    fn new(session: Arc<Session>, head: Arc<Head>, payload: Payload) -> Result<Self, Status> {
        let Payload::Http { captures, mut body } = payload else {
            let message = "a client's stream has no wire form here";
            return Err(Status::gateway(Code::Unimplemented, message));
        };
        let source = match session.binding.body {
            Body::None => Source::Unbound { body },
            _ => {
                body.lift_bounds();
                if session.binding.raw_request {
                    Source::Raw { body }
                } else {
                    Source::Records { body, records: Records::new(session.snapshot.bounds.body_bytes_max) }
                }
            }
        };
        let idle = session.idle();
        Ok(Self { session, source, head, opening: Some(captures), idle })
    }

    /// The body of the next message; `None` when there is no other.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        match &mut self.source {
            Source::Ended => Poll::Ready(Ok(None)),
            Source::Unbound { body } => {
                let data = ready!(body.poll_data(cx))?;
                self.source = Source::Ended;
                Poll::Ready(Ok(Some(data.unwrap_or_default())))
            }
            Source::Raw { body } => {
                let data = ready!(body.poll_data(cx))?;
                Poll::Ready(Ok(data.or_else(|| self.opening.is_some().then(Bytes::new))))
            }
            Source::Records { body, records } => loop {
                if let Some(record) = records.next_record().map_err(too_long)? {
                    return Poll::Ready(Ok(Some(record)));
                }
                match ready!(body.poll_data(cx))? {
                    Some(data) => records.push(&data),
                    None => return Poll::Ready(records.finish().map_err(too_long)),
                }
            },
        }
    }

    fn frame(&mut self, body: &[u8]) -> Result<Bytes, Status> {
        let opening = self.opening.take();
        let nothing = Captures::default();
        let parts = message::Parts {
            captures: opening.as_ref().unwrap_or(&nothing),
            query: opening.as_ref().and_then(|_| self.head.uri.query()),
            content_type: self.head.headers.get(CONTENT_TYPE),
        };
        let Session { snapshot, binding, notes, .. } = &*self.session;
        message::frame(snapshot, binding, notes, parts, body)
    }
}

impl Stream for RequestStream {
    type Item = Result<Bytes, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let body = match this.poll_body(cx) {
            Poll::Ready(body) => body,
            Poll::Pending => Err(ready!(this.session.poll_idle(&mut this.idle, cx))),
        };
        let frame = match body {
            Ok(None) => return Poll::Ready(None),
            Ok(Some(body)) => this.frame(&body),
            Err(status) => Err(status),
        };
        match &frame {
            Ok(_) => this.session.note_activity(),
            Err(_) => this.source = Source::Ended,
        }
        Poll::Ready(Some(frame))
    }
}

fn too_long(error: crate::codec::records::RecordTooLong) -> Status {
    Status::client(Code::ResourceExhausted, error.to_string()).with_http(413).with_reason("RECORD_TOO_LONG")
}
