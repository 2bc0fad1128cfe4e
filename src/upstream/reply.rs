//! The receiving half of a call: head, messages pulled one at a time, trailers.
//!
//! ```text
//! Messages ──END_STREAM──▶ Trailers ──▶ Ended
//!     └────── any failure ─────────────▶ Ended      (dropping the stream resets it with CANCEL)
//! ```
//!
//! Nothing is read ahead: DATA leaves h2's window only in [`GrpcMessages::poll_next`], so a slow
//! reader slows the backend.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

use super::connection::Lease;
use super::deadline::Deadline;
use super::endpoint::Endpoint;
use super::frame::Frames;
use super::passage::Passage;
use super::request::{OpenCall, Opened, Sending};
use super::{UpstreamConfig, status};
use crate::status::Status;

/// A reply whose head has come.
#[derive(Debug)]
pub struct GrpcReply {
    /// The head's metadata, without the protocol's own fields.
    pub metadata: HeaderMap,
    pub messages: GrpcMessages,
}

/// The messages of a reply, then its trailers.
#[derive(Debug)]
pub struct GrpcMessages {
    state: State,
    frames: Frames,
    trailers: HeaderMap,
    deadline: Option<Deadline>,
    call: OpenCall,
    /// Through the protection of the service; told once how the call ended.
    passage: Option<Passage>,
}

#[derive(Debug)]
enum State {
    Messages(Receiving),
    Trailers(Receiving),
    /// Told by the head already.
    Refused(Status),
    Ended,
}

/// Everything that ends with the call.
#[derive(Debug)]
struct Receiving {
    stream: RecvStream,
    sending: Option<Sending>,
    _lease: Lease,
}

impl GrpcReply {
    pub(super) fn new(
        opened: Opened,
        deadline: Option<Deadline>,
        call: OpenCall,
        config: &UpstreamConfig,
    ) -> Self {
        let Opened { response, lease, sending } = opened;
        let (head, stream) = response.into_parts();
        let mut metadata = head.headers;
        let outcome = outcome_of_head(head.status, &mut metadata, stream.is_end_stream());
        metadata.remove(CONTENT_TYPE);
        let state = match outcome {
            None => State::Messages(Receiving { stream, sending, _lease: lease }),
            Some(Ok(())) => State::Ended,
            Some(Err(status)) => State::Refused(status),
        };
        let mut call = call;
        if matches!(state, State::Ended) {
            call.finish(Ok(()));
        }
        let frames = Frames::new(config.message_bytes_from_backend_max);
        let messages =
            GrpcMessages { state, frames, trailers: HeaderMap::new(), deadline, call, passage: None };
        Self { metadata, messages }
    }
}

/// What the head alone decides; `None` when messages or trailers follow.
fn outcome_of_head(
    http_status: StatusCode,
    metadata: &mut HeaderMap,
    is_end: bool,
) -> Option<Result<(), Status>> {
    let is_grpc = metadata.get(CONTENT_TYPE).is_some_and(|value| is_grpc(value.as_bytes()));
    if http_status == StatusCode::OK && is_grpc && !is_end {
        // A `grpc-status` in a head that is not the end has no meaning.
        metadata.remove(status::GRPC_STATUS);
        return None;
    }
    // Trailers-Only, or a proxy on the way that answered for the backend with a status of gRPC's.
    if is_end && let Some(outcome) = status::from_trailers(metadata) {
        return Some(outcome);
    }
    if http_status == StatusCode::OK && is_grpc {
        return Some(Err(status::without_status()));
    }
    // These are headers of HTTP, not metadata: what a proxy says of itself is not for clients.
    metadata.clear();
    Some(Err(status::from_http(http_status.as_u16())))
}

/// `application/grpc`, `application/grpc+proto`, `application/grpc;…`.
fn is_grpc(content_type: &[u8]) -> bool {
    match content_type.strip_prefix(b"application/grpc") {
        Some([]) => true,
        Some([next, ..]) => matches!(next, b'+' | b';' | b' '),
        None => false,
    }
}

impl GrpcMessages {
    /// The next message, without its frame; `None` after the last one of a call that went well.
    ///
    /// # Errors
    ///
    /// The call's status, once; `None` from then on.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        let item = match self.poll_item(cx) {
            Poll::Pending => match &mut self.deadline {
                Some(deadline) if !matches!(self.state, State::Ended) => Some(Err(ready!(deadline.poll(cx)))),
                _ => return Poll::Pending,
            },
            Poll::Ready(item) => item,
        };
        match &item {
            Some(Ok(_)) => {
                self.call.delivered();
                if let Some(passage) = &mut self.passage {
                    passage.answered();
                }
            }
            Some(Err(status)) => self.end(Err(status)),
            None => self.end(Ok(())),
        }
        Poll::Ready(item)
    }

    /// [`poll_next`](Self::poll_next), to be awaited.
    pub async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The trailing metadata, without the protocol's own fields; empty before the end.
    pub fn trailers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.trailers)
    }

    /// Holds the call's way through the protection of its service from now on.
    pub(super) fn pass(&mut self, passage: Passage) {
        match self.state {
            State::Ended => passage.finish(Ok(())),
            State::Messages(_) | State::Trailers(_) | State::Refused(_) => self.passage = Some(passage),
        }
    }

    /// Why the backend refused, if it did so in the head.
    pub(super) fn refusal(&self) -> Option<&Status> {
        match &self.state {
            State::Refused(status) => Some(status),
            State::Messages(_) | State::Trailers(_) | State::Ended => None,
        }
    }

    /// Who replies, until the end.
    pub(super) fn endpoint(&self) -> Option<Arc<Endpoint>> {
        self.call.endpoint()
    }

    /// Ends a reply that nobody will read, because the call is made again.
    pub(super) fn discard(&mut self) {
        if let State::Refused(status) = std::mem::replace(&mut self.state, State::Ended) {
            self.end(Err(&status));
        }
    }

    fn end(&mut self, outcome: Result<(), &Status>) {
        self.state = State::Ended;
        self.deadline = None;
        self.call.finish(outcome);
        if let Some(passage) = self.passage.take() {
            passage.finish(outcome);
        }
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        loop {
            match &mut self.state {
                State::Messages(receiving) => {
                    match self.frames.next() {
                        Ok(None) => {}
                        Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                        Err(status) => return Poll::Ready(Some(Err(status))),
                    }
                    match ready!(receiving.stream.poll_data(cx)) {
                        Some(Ok(chunk)) => {
                            // Cannot fail: no more is released than was received.
                            let _ = receiving.stream.flow_control().release_capacity(chunk.len());
                            self.frames.push(chunk);
                        }
                        Some(Err(error)) => return Poll::Ready(Some(Err(receiving.failure(&error)))),
                        None => self.await_trailers(),
                    }
                }
                State::Trailers(receiving) => {
                    let trailers = match ready!(receiving.stream.poll_trailers(cx)) {
                        Ok(trailers) => trailers,
                        Err(error) => return Poll::Ready(Some(Err(receiving.failure(&error)))),
                    };
                    return Poll::Ready(self.finish(trailers).err().map(Err));
                }
                State::Refused(_) => {
                    let State::Refused(status) = std::mem::replace(&mut self.state, State::Ended) else {
                        unreachable!("the state was matched above");
                    };
                    return Poll::Ready(Some(Err(status)));
                }
                State::Ended => return Poll::Ready(None),
            }
        }
    }

    fn await_trailers(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Messages(receiving) => State::Trailers(receiving),
            state => state,
        };
    }

    /// The outcome of a call that ended with END_STREAM.
    fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Status> {
        let Some(mut trailers) = trailers else {
            return Err(status::protocol_error("the backend ended the call without trailers"));
        };
        let outcome = status::from_trailers(&mut trailers);
        self.trailers = trailers;
        match outcome {
            None => Err(status::without_status()),
            Some(Err(status)) => Err(status),
            Some(Ok(())) if self.frames.is_partial() => {
                Err(status::protocol_error("the backend ended the call within a message"))
            }
            Some(Ok(())) => Ok(()),
        }
    }
}

impl Receiving {
    fn failure(&self, error: &h2::Error) -> Status {
        if let Some(status) = self.sending.as_ref().and_then(Sending::failure) {
            return status;
        }
        tracing::debug!(%error, "reply of the backend failed");
        status::from_h2(error).status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(content_type.as_bytes()), expected, "{content_type}");
        }
    }
}
