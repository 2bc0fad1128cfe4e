//! How many retries all calls of a service may make together: a share of the calls, and a few in any case.
//!
//! ```text
//! retries in the last 10 s ≤ max(share × calls in the last 10 s, 10)
//! ```
//!
//! So a backend that fails every call gets a fifth more of them and not a multiple, and a service that is
//! seldom called may still retry. A call costs an addition on a line that no other thread writes; only a retry,
//! and one call a second, takes the lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::policy::striped::Striped;
use crate::policy::window::{Counts, Window};

/// The length of its window.
pub const WINDOW: Duration = Duration::from_secs(10);

/// Retries in a window that are granted however few calls there are: one a second.
pub const RETRIES_MIN: u64 = 10;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Budget {
    percent: u32,
    /// Calls, and retries as the marked ones beside them.
    window: Window,
}

/// A budget that the threads of a process share.
#[derive(Debug)]
pub struct SharedBudget {
    percent: u32,
    origin: Instant,
    calls: Striped,
    /// The edge of the window's bucket, in nanoseconds since the origin.
    edge_ns: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    budget: Budget,
    /// The calls that the budget knows of.
    collected: u64,
}

impl Budget {
    /// Of a hundred calls, so many may be retried.
    pub fn new(percent: u32, now: Instant) -> Self {
        Self { percent, window: Window::new(WINDOW, now) }
    }

    /// Notes calls that were made before now.
    fn called_before(&mut self, calls: u64) {
        self.window.add_before(Counts { total: calls, marked: 0 });
    }

    /// Asks for one retry.
    pub fn take(&mut self, now: Instant) -> bool {
        let Counts { total: calls, marked: retries } = self.window.sum(now);
        let granted = (calls.saturating_mul(u64::from(self.percent)) / 100).max(RETRIES_MIN);
        if retries >= granted {
            return false;
        }
        self.window.add_before(Counts { total: 0, marked: 1 });
        true
    }
}

impl SharedBudget {
    /// For so many threads.
    pub fn new(percent: u32, threads: usize, now: Instant) -> Self {
        let budget = Budget::new(percent, now);
        let shared = Self {
            percent,
            origin: now,
            calls: Striped::new(threads),
            edge_ns: AtomicU64::new(0),
            state: Mutex::new(State { budget, collected: 0 }),
        };
        shared.publish(&shared.lock());
        shared
    }

    /// Of a hundred calls, so many may be retried.
    pub fn percent(&self) -> u32 {
        self.percent
    }

    /// Notes a call, by the thread with this number.
    pub fn called(&self, now: Instant, thread: usize) {
        self.calls.add_one(thread);
        if self.since_origin_ns(now) >= self.edge_ns.load(Ordering::Relaxed) {
            drop(self.collect(now));
        }
    }

    /// Asks for one retry.
    pub fn take(&self, now: Instant) -> bool {
        self.collect(now).budget.take(now)
    }

    fn collect(&self, now: Instant) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let calls = self.calls.sum();
        let new = calls.wrapping_sub(std::mem::replace(&mut state.collected, calls));
        state.budget.called_before(new);
        state.budget.window.sum(now);
        self.publish(&state);
        state
    }

    fn publish(&self, state: &State) {
        self.edge_ns.store(self.since_origin_ns(state.budget.window.edge()), Ordering::Relaxed);
    }

    fn since_origin_ns(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn taken(budget: &SharedBudget, wanted: u32, now: Instant) -> usize {
        (0..wanted).filter(|_| budget.take(now)).count()
    }

    #[test]
    fn a_share_of_the_calls_and_a_few_in_any_case() {
        let check = |percent: u32, calls: usize, expected: usize| {
            let now = Instant::now();
            let budget = SharedBudget::new(percent, 2, now);
            (0..calls).for_each(|call| budget.called(now, call));
            assert_eq!(taken(&budget, 1000, now), expected, "{percent} % of {calls}");
        };
        check(20, 0, 10);
        check(20, 50, 10);
        check(20, 54, 10);
        check(20, 55, 11);
        check(20, 200, 40);
        check(100, 200, 200);
        check(0, 200, 10);
    }

    #[test]
    fn calls_of_long_ago_grant_nothing() {
        let now = Instant::now();
        let budget = SharedBudget::new(20, 2, now);
        (0..1000).for_each(|call| budget.called(now, call));
        // The next call comes after the edge, and puts them where they belong.
        budget.called(now + 2 * S, 0);
        assert_eq!(taken(&budget, 1000, now + 9 * S), 200);
        assert_eq!(taken(&budget, 1000, now + 10 * S), 0, "the retries were made later than the calls");
        assert_eq!(taken(&budget, 1000, now + 20 * S), 10);
    }

    #[test]
    fn every_sequence_of_eight_events_stays_within_the_share() {
        #[derive(Clone, Copy)]
        enum Event {
            Calls,
            Retry,
            Second,
            Window,
        }
        const EVENTS: [Event; 4] = [Event::Calls, Event::Retry, Event::Second, Event::Window];
        for number in 0..4_u32.pow(8) {
            let mut now = Instant::now();
            let mut budget = Budget::new(50, now);
            let (mut calls, mut retries) = (Vec::new(), Vec::new());
            for digit in 0..8 {
                let event = EVENTS[usize::try_from(number / 4_u32.pow(digit) % 4).expect("small")];
                match event {
                    Event::Calls => {
                        budget.window.add(Counts { total: 4, marked: 0 }, now);
                        calls.push(now);
                    }
                    Event::Retry => {
                        // A crowd asks; what is granted never exceeds what the calls of a window allow.
                        let granted = (0..20).filter(|_| budget.take(now)).count();
                        retries.extend(std::iter::repeat_n(now, granted));
                    }
                    Event::Second => now += S,
                    Event::Window => now += WINDOW,
                }
                let within = |moments: &[Instant]| {
                    moments.iter().filter(|moment| now.duration_since(**moment) < WINDOW).count()
                };
                // Each retry was granted by the calls of the window before it: two windows reach back that far.
                let older = calls.iter().filter(|moment| now.duration_since(**moment) < 2 * WINDOW).count();
                assert!(within(&retries) <= (older * 2).max(10) + 10, "{number:o}");
                let fresh = within(&calls) == calls.len() && within(&retries) == retries.len();
                assert!(!fresh || retries.len() <= (calls.len() * 2).max(10), "{number:o}");
            }
        }
    }
}
