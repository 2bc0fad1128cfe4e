//! How long an attempt may take: kept here whatever the backend does, and told to it as `grpc-timeout`.
//!
//! ```text
//! begun ─ connection ─ HEADERS: what is left ─ head of the reply ─ messages ─ end
//!   ├──────────────────── the time of the call ─────────────────────────────▶
//!   └──────────────── the time to the head ────▶ forgotten when that is there
//! ```

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::Failure;
use crate::status::{Code, Status};

/// A timeout beyond what the clock can express is no timeout: a century is.
const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The moment a call is given up, whatever the backend does with its `grpc-timeout`.
#[derive(Debug)]
pub(super) struct Deadline(Pin<Box<Sleep>>);

/// The time of an attempt, until the head of its reply is there.
#[derive(Debug)]
pub(super) struct TimeToHead {
    /// Of the whole call: what the backend is told.
    ends: Option<Instant>,
    /// That, or when the head must be there.
    deadline: Option<Deadline>,
    has_head_bound: bool,
    /// Until somebody asks for it.
    begun: Option<Instant>,
}

impl Deadline {
    fn at(moment: Instant) -> Self {
        Self(Box::pin(sleep_until(moment)))
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        self.0.as_mut().poll(cx).map(|()| too_late())
    }
}

impl TimeToHead {
    /// From now on: so long for all of it, and so long to the head.
    pub(super) fn begin(timeout: Option<Duration>, head_timeout: Option<Duration>) -> Self {
        if timeout.is_none() && head_timeout.is_none() {
            return Self { ends: None, deadline: None, has_head_bound: false, begun: None };
        }
        let now = Instant::now();
        let [ends, head_ends] = [timeout, head_timeout].map(|time| time.map(|time| now + time.min(FAR)));
        let first = ends.into_iter().chain(head_ends).min();
        let has_head_bound = head_ends.is_some();
        Self { ends, deadline: first.map(Deadline::at), has_head_bound, begun: Some(now) }
    }

    /// Now, for the first try of the attempt as the clock said it before.
    pub(super) fn now(&mut self) -> std::time::Instant {
        self.begun.take().unwrap_or_else(Instant::now).into_std()
    }

    /// What is left of the call's time, for the backend to be told now.
    ///
    /// # Errors
    ///
    /// Nothing is.
    pub(super) fn left(&self) -> Result<Option<Duration>, Failure> {
        let left = self.ends.map(|ends| ends.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) { Err(Failure::sent(too_late())) } else { Ok(left) }
    }

    /// Does some of the work, as long as there is time.
    pub(super) async fn within<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let Some(deadline) = &mut self.deadline else { return work.await };
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => deadline.poll(cx).map(|status| Err(Failure::sent(status))),
        })
        .await
    }

    /// The head is there: what is left bounds the messages.
    pub(super) fn answered(self) -> Option<Deadline> {
        if self.has_head_bound { self.ends.map(Deadline::at) } else { self.deadline }
    }
}

fn too_late() -> Status {
    Status::backend(Code::DeadlineExceeded, "the backend did not answer in time")
        .with_reason("BACKEND_TIMEOUT")
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn nothing_is_left_at_the_end() {
        let begun = Instant::now();
        let at = |ends| TimeToHead { ends, deadline: None, has_head_bound: false, begun: None };
        let left = at(Some(begun + 100 * S)).left().expect("there is time").expect("a bound");
        assert!(left <= 100 * S, "{left:?}");
        let late = at(Some(begun)).left().expect_err("nothing is left");
        let reason = late.status.reason();
        assert_eq!((late.status.code, reason), (Code::DeadlineExceeded, Some("BACKEND_TIMEOUT")));
        assert_eq!(at(None).left().ok(), Some(None), "a stream may last");
    }

    #[tokio::test]
    async fn what_bounds_the_head_does_not_bound_the_messages() {
        let check = |timeout, head_timeout, to_head, to_end| {
            let before = Instant::now();
            let time = TimeToHead::begin(timeout, head_timeout);
            let after = Instant::now();
            let ends_after = |deadline: Option<&Deadline>, expected: Option<Duration>| {
                let ends = deadline.map(|deadline| deadline.0.deadline());
                let is_then = |time| ends.is_some_and(|ends| (before + time..=after + time).contains(&ends));
                assert!(expected.map_or(ends.is_none(), is_then), "{timeout:?} {head_timeout:?}");
            };
            ends_after(time.deadline.as_ref(), to_head);
            ends_after(time.answered().as_ref(), to_end);
        };
        check(None, None, None, None);
        check(Some(3 * S), None, Some(3 * S), Some(3 * S));
        check(None, Some(S), Some(S), None);
        check(Some(3 * S), Some(S), Some(S), Some(3 * S));
        check(Some(S), Some(3 * S), Some(S), Some(S));
        check(Some(Duration::MAX), None, Some(FAR), Some(FAR));
    }
}
