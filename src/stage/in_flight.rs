//! Bounds the calls in flight in the whole process: past it, an immediate 503 instead of a queue.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_core::Stream;
use pin_project_lite::pin_project;
use tower::Service;

use super::Stage;
use crate::call::{Call, Failure, Messages, Piece, Reply};
use crate::status::Status;

/// How many calls are in flight; shared by every worker.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<AtomicUsize>);

impl Calls {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn enter(&self, calls_max: usize) -> Option<Slot> {
        if self.0.fetch_add(1, Ordering::Relaxed) < calls_max {
            return Some(Slot(self.clone()));
        }
        self.0.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

/// A call's place among those in flight, given back on drop.
struct Slot(Calls);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// See the module's documentation.
#[derive(Clone)]
pub struct InFlight<S> {
    inner: S,
    calls: Calls,
}

impl<S> InFlight<S> {
    pub(super) fn new(inner: S, calls: Calls) -> Self {
        Self { inner, calls }
    }
}

impl<S: Stage> Service<Call> for InFlight<S> {
    type Response = Reply;
    type Error = Failure;
    type Future = Counted<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        match self.calls.enter(call.snapshot.bounds.calls_max) {
            Some(slot) => {
                let held = std::mem::take(&mut call.held);
                Counted::Admitted { call: self.inner.call(call), slot: Some((slot, held)) }
            }
            None => {
                call.notes.refused_by("in_flight");
                Counted::Refused
            }
        }
    }
}

pin_project! {
    /// A call with its slot, or the refusal of one.
    #[project = CountedProjection]
    pub enum Counted<F> {
        Admitted { #[pin] call: F, slot: Option<(Slot, HeldByCall)> },
        Refused,
    }
}

impl<F: Future<Output = Result<Reply, Failure>>> Future for Counted<F> {
    type Output = Result<Reply, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            CountedProjection::Refused => Poll::Ready(Err(Status::overloaded().into())),
            CountedProjection::Admitted { call, slot } => call.poll(cx).map(|outcome| {
                let slot = slot.take();
                outcome.map(|reply| reply.map_messages(|messages| Box::pin(Held { messages, _slot: slot })))
            }),
        }
    }
}

/// What other stages hold for the call, as long as it has its slot.
type HeldByCall = Vec<Box<dyn Send>>;

/// A streamed reply that keeps its slot until it ends.
struct Held {
    messages: Messages,
    _slot: Option<(Slot, HeldByCall)>,
}

impl Stream for Held {
    type Item = Result<Piece, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.messages.as_mut().poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_end_at_the_bound_and_come_back() {
        let calls = Calls::default();
        let first = calls.enter(2).expect("one of two");
        let second = calls.enter(2).expect("two of two");
        assert!(calls.enter(2).is_none());
        assert_eq!(calls.count(), 2);
        drop(first);
        assert!(calls.enter(2).is_some());
        drop(second);
        assert_eq!(calls.count(), 0);
    }
}
