//! A call's way through the protection of its service, held from its first attempt to the end of its reply.
//!
//! ```text
//! enter: a place (or OVERLOADED), a ticket (or BREAKER_OPEN) ─▶ Passage ─ the first message, or finish ─▶ verdict
//!                                                                 └ dropped: nothing is known of the backend
//! ```
//!
//! A reply's first message decides for the backend: a stream may last for hours, and whether the breaker closes
//! cannot wait for its end.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::request::Terms;
use crate::policy::breaker::{Change, Outage, Ticket};
use crate::policy::protection::Protection;
use crate::policy::verdict::Verdict;
use crate::status::{Code, Status};

/// The protection of a service, as one worker sees it.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) protection: Arc<Protection>,
    pub(super) outage: Arc<Outage>,
    /// The worker's number.
    pub(super) thread: usize,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Passage {
    guard: Arc<Guard>,
    ticket: Option<Ticket>,
    is_in_gate: bool,
    entered: Instant,
    /// Whether the deadline is long enough for the backend to be blamed for it.
    was_patient: bool,
    /// Whether the time of the call is that of one attempt.
    is_timed: bool,
}

impl Guard {
    /// Lets a call in that may take as long as `timeout`.
    ///
    /// # Errors
    ///
    /// The service has its fill, or its breaker is open.
    pub(super) fn enter(
        self: &Arc<Self>,
        terms: &Terms,
        timeout: Option<Duration>,
    ) -> Result<Passage, Status> {
        let mut passage = Passage {
            guard: Arc::clone(self),
            ticket: None,
            is_in_gate: false,
            entered: Instant::now(),
            was_patient: timeout.is_none_or(|timeout| timeout >= terms.patience),
            is_timed: true,
        };
        let protection = &*self.protection;
        if let (Some(gate), Some(priority)) = (&protection.gate, terms.priority) {
            if !gate.enter(priority) {
                protection.shed();
                return Err(Status::overloaded());
            }
            passage.is_in_gate = true;
        }
        if let Some(breaker) = &protection.breaker {
            match breaker.admit(passage.entered) {
                Ok((ticket, change)) => {
                    passage.ticket = Some(ticket);
                    self.note(change);
                }
                Err(refused) => {
                    protection.refused();
                    return Err(Status::breaker_open(refused.retry));
                }
            }
        }
        Ok(passage)
    }

    /// Tells people of a change.
    fn note(&self, change: Option<Change>) {
        let service = &*self.protection.service;
        match change {
            None => {}
            Some(Change::Opened { trip, time }) => {
                self.protection.opened(trip);
                tracing::warn!(service, reason = %trip, open_ms = time.as_millis(), "the breaker opens");
            }
            Some(Change::HalfOpened) => tracing::info!(service, "the breaker lets a probe through"),
            Some(Change::Closed) => tracing::info!(service, "the breaker closes"),
        }
    }
}

impl Passage {
    pub(super) fn entered(&self) -> Instant {
        self.entered
    }

    pub(super) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Whether the call may be made again: the probe of a service is one call, and what is open takes none. That of
    /// an endpoint may, elsewhere: its own breaker is open again before.
    pub(super) fn may_repeat(&self, now: Instant) -> bool {
        let is_probe = self.ticket.as_ref().is_some_and(Ticket::is_probe);
        let Guard { protection, outage, .. } = &*self.guard;
        !is_probe && protection.refuses(now).is_none() && outage.refuses(now).is_none()
    }

    /// The call is made again: its time is no longer that of one attempt.
    pub(super) fn repeat(&mut self) {
        self.is_timed = false;
    }

    /// The backend has sent a message.
    pub(super) fn answered(&mut self) {
        if self.ticket.is_some() {
            self.judge(Verdict::Alive, Instant::now());
        }
    }

    /// The call has ended.
    pub(super) fn finish(mut self, outcome: Result<(), &Status>) {
        let verdict =
            outcome.map_or_else(|status| Verdict::of(status, self.was_patient), |()| Verdict::Alive);
        let now = Instant::now();
        self.judge(verdict, now);
        let is_timely = match verdict {
            Verdict::Alive => true,
            // One that was given up is at least as slow as that; one that failed at once is not fast.
            Verdict::Failed => outcome.is_err_and(|status| status.code == Code::DeadlineExceeded),
            Verdict::Exhausted | Verdict::Silent => false,
        };
        let took = (is_timely && self.is_timed).then(|| now.saturating_duration_since(self.entered));
        self.leave(took, now);
    }

    fn judge(&mut self, verdict: Verdict, now: Instant) {
        if let (Some(ticket), Some(breaker)) = (self.ticket.take(), &self.guard.protection.breaker) {
            self.guard.note(breaker.ended(ticket, verdict, now, self.guard.thread, random));
        }
    }

    fn leave(&mut self, took: Option<Duration>, now: Instant) {
        if let (true, Some(gate)) = (std::mem::take(&mut self.is_in_gate), &self.guard.protection.gate) {
            gate.leave(took, now);
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if self.ticket.is_some() || self.is_in_gate {
            let now = Instant::now();
            self.judge(Verdict::Silent, now);
            self.leave(None, now);
        }
    }
}

/// Uniform over all of `u32`.
pub(super) fn random() -> u32 {
    (RandomState::new().hash_one(0) >> 32) as u32
}
