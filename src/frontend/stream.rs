//! The body of a streamed response: transcoded messages, framed as they come.
//!
//! ```text
//! Ndjson   {…}⏎ {…}⏎ … [{"error":{…}}⏎ abort]
//! Array    [{…} ,{…} … ]             | ,{"error":{…}}] abort
//! Events   data: {…}⏎⏎ …             | event: error⏎data: {…}⏎⏎ abort
//! Raw      bytes as they are         | abort
//! ```
//!
//! A stream that fails after its head was sent says so twice: in a last element that people and
//! programs can read, and by an abnormal end of the body, so that no client takes the part for the whole.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};

use super::accept::Framing;
use super::render;
use crate::call::{Messages, Piece};
use crate::snapshot::Snapshot;
use crate::status::Status;

/// A response body that frames [`Messages`].
pub(super) struct StreamBody {
    messages: Messages,
    /// `None`: raw bytes, nothing is written between them.
    framing: Option<Framing>,
    snapshot: Arc<Snapshot>,
    wants_trailers: bool,
    state: State,
}

enum State {
    /// Nothing written yet.
    Start,
    Running,
    /// All messages are written.
    Ending {
        trailers: Option<HeaderMap>,
    },
    /// The error element is written; the next poll but one aborts.
    Failed {
        status: Status,
        flushed: bool,
    },
    Ended,
}

impl StreamBody {
    pub(super) fn framed(
        messages: Messages,
        framing: Framing,
        snapshot: Arc<Snapshot>,
        wants_trailers: bool,
    ) -> Self {
        Self { messages, framing: Some(framing), snapshot, wants_trailers, state: State::Start }
    }

    pub(super) fn raw(messages: Messages, snapshot: Arc<Snapshot>, wants_trailers: bool) -> Self {
        Self { messages, framing: None, snapshot, wants_trailers, state: State::Start }
    }

    fn message(&mut self, json: Bytes) -> Bytes {
        let is_first = matches!(self.state, State::Start);
        self.state = State::Running;
        let Some(framing) = self.framing else { return json };
        let (before, after): (&[u8], &[u8]) = match framing {
            Framing::Ndjson => (b"", b"\n"),
            Framing::Array if is_first => (b"[", b""),
            Framing::Array => (b",", b""),
            Framing::Events => (b"data: ", b"\n\n"),
        };
        wrap(before, json, after)
    }

    fn error(&self, status: &Status) -> Option<Bytes> {
        let json = render::status_json(&self.snapshot.schema, &self.snapshot.json, status);
        let is_first = matches!(self.state, State::Start);
        let (before, after): (&[u8], &[u8]) = match self.framing? {
            Framing::Ndjson => (br#"{"error":"#, b"}\n"),
            Framing::Array if is_first => (br#"[{"error":"#, b"}]"),
            Framing::Array => (br#",{"error":"#, b"}]"),
            Framing::Events => (b"event: error\ndata: ", b"\n\n"),
        };
        Some(wrap(before, json.into(), after))
    }

    /// Closes the framing; the trailers follow if the client wants them.
    fn end(&mut self, trailers: &HeaderMap) -> Option<Bytes> {
        let is_first = matches!(self.state, State::Start);
        let mut wanted = HeaderMap::new();
        if self.wants_trailers {
            self.snapshot.metadata.response(trailers, &mut wanted);
        }
        self.state = State::Ending { trailers: (!wanted.is_empty()).then_some(wanted) };
        match self.framing {
            Some(Framing::Array) if is_first => Some(Bytes::from_static(b"[]")),
            Some(Framing::Array) => Some(Bytes::from_static(b"]")),
            _ => None,
        }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Start | State::Running => {}
                State::Ending { trailers } => {
                    let trailers = trailers.take();
                    this.state = State::Ended;
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                State::Ended => return Poll::Ready(None),
                State::Failed { flushed, .. } if !*flushed => {
                    // Aborting at once would discard what hyper has buffered, the error element
                    // included: one round through the scheduler lets the connection write it.
                    *flushed = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                State::Failed { status, .. } => {
                    let status = status.clone();
                    this.state = State::Ended;
                    return Poll::Ready(Some(Err(status)));
                }
            }
            let data = match ready!(this.messages.as_mut().poll_next(cx)) {
                Some(Ok(Piece::Message(json))) => Some(this.message(json)),
                Some(Ok(Piece::Trailers(trailers))) => this.end(&trailers),
                None => this.end(&HeaderMap::new()),
                Some(Err(status)) => {
                    let element = this.error(&status);
                    this.state = State::Failed { status, flushed: false };
                    element
                }
            };
            if let Some(data) = data {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
    }
}

/// Puts `before` and `after` around a message; only what stands before it costs a copy.
fn wrap(before: &[u8], json: Bytes, after: &[u8]) -> Bytes {
    let mut whole = if before.is_empty() {
        match json.try_into_mut() {
            Ok(json) => json,
            Err(shared) => BytesMut::from(&shared[..]),
        }
    } else {
        let mut whole = BytesMut::with_capacity(before.len() + json.len() + after.len());
        whole.extend_from_slice(before);
        whole.extend_from_slice(&json);
        whole
    };
    whole.extend_from_slice(after);
    whole.freeze()
}
