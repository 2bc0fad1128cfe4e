//! Ends a call when the client's patience ends, wherever the call is at that moment.
//!
//! Dropping the call resets the backend's stream. A streamed reply is held to the same instant.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower::Service;

use super::Stage;
use crate::call::{Call, Messages, Piece, Reply};
use crate::status::{Code, Status};

/// See the module's documentation.
#[derive(Clone)]
pub struct Deadline<S> {
    inner: S,
}

impl<S> Deadline<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: Stage> Service<Call> for Deadline<S> {
    type Response = Reply;
    type Error = Status;
    type Future = Limited<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let deadline = call.deadline.map(Instant::from_std);
        Limited { call: self.inner.call(call), deadline, sleep: deadline.map(sleep_until) }
    }
}

pin_project! {
    /// A call that fails when its deadline passes.
    pub struct Limited<F> {
        #[pin]
        call: F,
        deadline: Option<Instant>,
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl<F: Future<Output = Result<Reply, Status>>> Future for Limited<F> {
    type Output = Result<Reply, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let deadline = *this.deadline;
        if let Poll::Ready(outcome) = this.call.poll(cx) {
            return Poll::Ready(outcome.map(|reply| match deadline {
                None => reply,
                Some(deadline) => reply.map_messages(|messages| {
                    Box::pin(LimitedMessages { messages, sleep: Some(Box::pin(sleep_until(deadline))) })
                }),
            }));
        }
        match this.sleep.as_pin_mut() {
            Some(sleep) => sleep.poll(cx).map(|()| Err(exceeded())),
            None => Poll::Pending,
        }
    }
}

fn exceeded() -> Status {
    Status::gateway(Code::DeadlineExceeded, "the deadline has passed").with_reason("DEADLINE_EXCEEDED")
}

/// A streamed reply that fails when its deadline passes.
struct LimitedMessages {
    messages: Messages,
    /// Gone once it has fired.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Stream for LimitedMessages {
    type Item = Result<Piece, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(sleep) = &mut self.sleep else { return Poll::Ready(None) };
        if sleep.as_mut().poll(cx).is_pending() {
            return self.messages.as_mut().poll_next(cx);
        }
        self.sleep = None;
        Poll::Ready(Some(Err(exceeded())))
    }
}
