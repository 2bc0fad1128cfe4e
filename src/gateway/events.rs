//! The body of a response whose results are Server-Sent Events, and which is kept alive while there are none.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

use super::subscription::Subscription;
use crate::frontend::graphql::events;
use crate::status::Status;

/// The events of a subscription.
pub(super) struct EventStream {
    results: Subscription,
    /// How long it says nothing.
    keep_alive: Duration,
    silence: Pin<Box<Sleep>>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Begun,
    Running,
    Ended,
}

impl EventStream {
    pub(super) fn new(results: Subscription, keep_alive: Duration) -> Self {
        Self { results, keep_alive, silence: Box::pin(sleep(keep_alive)), state: State::Begun }
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let data = match this.state {
            State::Ended => return Poll::Ready(None),
            // The head goes out with something, however long the first result takes.
            State::Begun => {
                this.state = State::Running;
                Bytes::from_static(events::COMMENT)
            }
            State::Running => match Pin::new(&mut this.results).poll_next(cx) {
                Poll::Ready(Some(json)) => events::next(&json),
                Poll::Ready(None) => {
                    this.state = State::Ended;
                    Bytes::from_static(events::COMPLETE)
                }
                Poll::Pending => match this.silence.as_mut().poll(cx) {
                    Poll::Ready(()) => Bytes::from_static(events::COMMENT),
                    Poll::Pending => return Poll::Pending,
                },
            },
        };
        this.silence.as_mut().reset(Instant::now() + this.keep_alive);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Ended
    }
}
