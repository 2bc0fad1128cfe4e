//! A breaker that the threads of a process share.
//!
//! While it is closed and nothing fails, a call costs two loads of lines that nobody writes and an addition on
//! one that no other thread writes. The lock is for failures, for the call that ends a streak of them, for what
//! is not closed, and for one call at each edge of the window's buckets, which collects what was counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{Breaker, BreakerSettings, Change, Refused, State, Ticket, Trip};
use crate::policy::striped::Striped;
use crate::policy::verdict::Verdict;

/// See the module's documentation.
#[derive(Debug)]
pub struct Circuit {
    settings: BreakerSettings,
    origin: Instant,
    shared: Mutex<Shared>,
    /// The phase, plus one, of a closed breaker without a failure in a row; otherwise 0.
    calm: AtomicU64,
    /// The edge of the window's bucket, in nanoseconds since the origin.
    edge_ns: AtomicU64,
    /// Answers in calm phases.
    answers: Striped,
}

#[derive(Debug)]
struct Shared {
    breaker: Breaker,
    /// The answers that the breaker knows of.
    collected: u64,
}

impl Circuit {
    /// For so many threads.
    pub fn new(settings: BreakerSettings, threads: usize, now: Instant) -> Self {
        let breaker = Breaker::new(settings, now);
        let circuit = Self {
            settings,
            origin: now,
            calm: AtomicU64::new(0),
            edge_ns: AtomicU64::new(0),
            answers: Striped::new(threads),
            shared: Mutex::new(Shared { breaker, collected: 0 }),
        };
        circuit.publish(&circuit.lock().breaker);
        circuit
    }

    pub fn settings(&self) -> &BreakerSettings {
        &self.settings
    }

    /// See [`Breaker::state`] and [`Breaker::trip`].
    pub fn state(&self) -> (State, Option<Trip>) {
        let shared = self.lock();
        (shared.breaker.state(), shared.breaker.trip())
    }

    /// See [`Breaker::refuses_until`].
    pub fn refuses_until(&self) -> Option<Instant> {
        if self.calm.load(Ordering::Relaxed) != 0 {
            return None;
        }
        self.lock().breaker.refuses_until()
    }

    /// See [`Breaker::refuses`].
    pub fn refuses(&self, now: Instant) -> Option<Refused> {
        if self.calm.load(Ordering::Relaxed) != 0 {
            return None;
        }
        self.lock().breaker.refuses(now)
    }

    /// See [`Breaker::admit`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn admit(&self, now: Instant) -> Result<(Ticket, Option<Change>), Refused> {
        if let Some(phase) = self.calm.load(Ordering::Relaxed).checked_sub(1) {
            return Ok((Ticket { phase, is_probe: false }, None));
        }
        self.lock().breaker.admit(now)
    }

    /// See [`Breaker::ended`]; `random` is asked only when something fails.
    pub fn ended(
        &self,
        ticket: Ticket,
        verdict: Verdict,
        now: Instant,
        thread: usize,
        random: impl FnOnce() -> u32,
    ) -> Option<Change> {
        if verdict == Verdict::Alive
            && self.calm.load(Ordering::Relaxed).checked_sub(1) == Some(ticket.phase)
            && self.since_origin_ns(now) < self.edge_ns.load(Ordering::Relaxed)
        {
            self.answers.add_one(thread);
            return None;
        }
        let random = if verdict == Verdict::Alive { 0 } else { random() };
        let mut shared = self.lock();
        let sum = self.answers.sum();
        let answers = sum.wrapping_sub(std::mem::replace(&mut shared.collected, sum));
        if shared.breaker.state() == State::Closed {
            shared.breaker.answered_before(answers);
        }
        let change = shared.breaker.ended(ticket, verdict, now, random);
        self.publish(&shared.breaker);
        change
    }

    /// Tells the threads what they may do without the lock, which the caller holds.
    fn publish(&self, breaker: &Breaker) {
        let is_calm = breaker.state == State::Closed && breaker.streak == 0;
        self.calm.store(if is_calm { breaker.phase + 1 } else { 0 }, Ordering::Relaxed);
        self.edge_ns.store(self.since_origin_ns(breaker.window.edge()), Ordering::Relaxed);
    }

    fn since_origin_ns(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
