//! One call at one endpoint, from the pick to its outcome: what balancing learns from, and whatever else judges
//! endpoints by their work.
//!
//! ```text
//! Pools::begin (pick) ─▶ Attempt ─ answered: the head is there ─▶ finish(Verdict)
//!                            └─ dropped: the caller gave up, which says nothing good of the endpoint
//! ```
//!
//! Outlier detection and the endpoint's breaker take the first message of a reply for its end, as the breaker of the
//! service does; a stream may last for hours, and is no failure of its endpoint when it breaks off after that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;

use super::noted::Noted;
use super::passage::random;
use super::pool::Pool;
use crate::policy::balance::latency::Latency;
use crate::policy::breaker::Ticket;
use crate::policy::trail::Trail;
use crate::policy::verdict::Verdict;
use crate::status::Status;

/// A call that is counted among those in flight at its endpoint.
#[derive(Debug)]
pub(super) struct Attempt {
    pool: Arc<Pool>,
    /// Where the endpoint has a breaker, until that has been told.
    ticket: Option<Ticket>,
    /// Absent where nobody would make use of the time: an endpoint without others has no clock read for it.
    begun: Option<Instant>,
    /// Whether the deadline is long enough for the endpoint to be blamed for it.
    pub(super) was_patient: bool,
    /// As its call's trail has it.
    pub(super) noted: Noted,
    /// Whether it carries a copy: nobody learns from that, neither breakers nor balancing.
    is_copy: bool,
    /// Whether its endpoint has been judged by it.
    is_judged: bool,
    is_finished: bool,
}

impl Attempt {
    pub(super) fn begin(
        pool: Arc<Pool>,
        ticket: Option<Ticket>,
        begun: Option<Instant>,
        is_copy: bool,
    ) -> Self {
        pool.endpoint().begin();
        Self {
            pool,
            ticket,
            begun,
            was_patient: false,
            noted: Noted::default(),
            is_copy,
            is_judged: is_copy,
            is_finished: false,
        }
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Notes it in its call's trail, and tells the backend by its metadata.
    pub(super) fn note(&mut self, trail: &Arc<Trail>, now: Instant, metadata: &mut HeaderMap) {
        self.noted = Noted::begin(trail, self.pool.authority(), now, metadata);
    }

    /// The head of the reply is there.
    pub(super) fn answered(&mut self) {
        if let Some(elapsed) = self.begun.take().map(|begun| begun.elapsed()) {
            self.learn(|latency, now_ms| latency.answered(elapsed, now_ms));
        }
    }

    /// A message of the reply is there: whatever becomes of it later, the endpoint was alive.
    pub(super) fn delivered(&mut self) {
        self.judge(Verdict::Alive);
    }

    /// It ended with an outcome; only the first word counts.
    pub(super) fn ended(&mut self, outcome: Result<(), &Status>) {
        self.noted.end(outcome);
        let verdict = |status| Verdict::of(status, self.was_patient);
        self.finish(outcome.map_or_else(verdict, |()| Verdict::Alive));
    }

    /// It ended before it had a connection. Who cannot be reached is known to the pool already, and no outlier for
    /// it; to the breaker it is a call that failed.
    pub(super) fn unreached(&mut self, status: &Status) {
        self.noted.end(Err(status));
        self.settle(Verdict::of(status, self.was_patient));
        self.finish(Verdict::Silent);
    }

    /// Tells how it ended; only the first word counts.
    pub(super) fn finish(&mut self, verdict: Verdict) {
        if std::mem::replace(&mut self.is_finished, true) {
            return;
        }
        self.pool.endpoint().end();
        self.judge(verdict);
        // Since the head, a reply has taken as long as it had to.
        let elapsed = self.begun.map(|begun| begun.elapsed());
        match verdict {
            Verdict::Alive => {}
            Verdict::Failed | Verdict::Exhausted => {
                self.pool.endpoint().failures.add(1);
                let elapsed = elapsed.unwrap_or(Duration::ZERO);
                self.learn(|latency, now_ms| latency.failed(elapsed, now_ms));
            }
            Verdict::Silent => {
                if let Some(elapsed) = elapsed {
                    self.learn(|latency, now_ms| latency.given_up(elapsed, now_ms));
                }
            }
        }
    }

    fn judge(&mut self, verdict: Verdict) {
        self.settle(verdict);
        if !std::mem::replace(&mut self.is_judged, true) {
            self.pool.cluster().ended(self.pool.endpoint(), verdict);
        }
    }

    fn settle(&mut self, verdict: Verdict) {
        if let Some(ticket) = self.ticket.take() {
            let cluster = self.pool.cluster();
            cluster.settle(self.pool.endpoint(), ticket, verdict, Instant::now(), random);
        }
    }

    fn learn(&self, learn: impl Fn(Latency, u32) -> Latency) {
        if self.is_copy {
            return;
        }
        self.pool.endpoint().learn(self.pool.cluster().now_ms(), learn);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.finish(Verdict::Silent);
    }
}
