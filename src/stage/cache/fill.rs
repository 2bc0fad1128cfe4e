//! One fetch for a key: who comes while it is under way waits for it.
//!
//! ```text
//! first ─▶ Leads ─┬─ fetched ───▶ all who wait have the reply, unless a purge has come before them
//!                 ├─ not kept ──▶ all who wait go on by themselves
//!                 ├─ failed ────▶ the next in line Leads; after FAILURES_MAX all have failed
//!                 └─ its client is gone, or in too great a hurry ─▶ the next in line Leads
//! ```
//!
//! A fetch belongs to the client that leads, so that nothing runs for nobody: when that client goes away, the turn
//! goes to the next in line. Whoever waits does so until its own deadline.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::entry::Entry;
use crate::call::Failure;
use crate::status::{Code, Status};

/// So many fetches of a key fail, one after the other, before those who wait for it fail as well.
pub(super) const FAILURES_MAX: u32 = 3;

/// The fetches that are under way.
#[derive(Debug, Default)]
pub(super) struct Fills {
    open: Mutex<HashMap<Arc<[u8]>, Arc<Fill>>>,
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Fill {
    /// One turn, taken by whoever leads; closed once there is nothing to wait for.
    turn: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// What it has come to, once the turn is closed.
    outcome: Outcome,
}

#[derive(Clone, Debug, Default)]
enum Outcome {
    Fetched(Arc<Entry>, u64),
    #[default]
    Alone,
    Failed(Failure),
}

/// A call's place in the line for a key.
pub(super) struct Place {
    fills: Arc<Fills>,
    key: Arc<[u8]>,
    fill: Arc<Fill>,
}

/// What a place in the line has come to.
pub(super) enum Turn<'p> {
    /// It is this call that fetches; so many have failed to before it.
    Leads {
        lead: Lead<'p>,
        failures: u32,
    },
    /// With the count of purges when it was asked for: who came at another does not want it.
    Fetched(Arc<Entry>, u64),
    /// What others fetched is not kept.
    Alone,
    Failed(Failure),
}

/// The turn of the call that fetches. Dropped without a word, it goes to the next in line.
pub(super) struct Lead<'p> {
    place: &'p Place,
    _permit: SemaphorePermit<'p>,
}

impl Fills {
    /// A place in the line for a key.
    pub(super) fn join(self: &Arc<Self>, key: &Arc<[u8]>) -> Place {
        let mut open = self.open();
        let fill = open
            .entry(Arc::clone(key))
            .or_insert_with(|| Arc::new(Fill { turn: Semaphore::new(1), state: Mutex::default() }));
        Place { fills: Arc::clone(self), key: Arc::clone(key), fill: Arc::clone(fill) }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Arc<[u8]>, Arc<Fill>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits for the turn, until `deadline`; beyond `waiting_max` others nobody waits.
    pub(super) async fn turn(&self, deadline: Option<Instant>, waiting_max: usize) -> Turn<'_> {
        if let Ok(permit) = self.fill.turn.try_acquire() {
            return self.lead(permit);
        }
        let Some(_waiting) = Waiting::enter(&self.fills.waiting, waiting_max) else { return Turn::Alone };
        let turn = self.fill.turn.acquire();
        let permit = match deadline {
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), turn).await {
                Ok(permit) => permit,
                Err(_) => return Turn::Failed(too_late()),
            },
            None => turn.await,
        };
        match permit {
            Ok(permit) => self.lead(permit),
            Err(_closed) => match self.fill.state().outcome.clone() {
                Outcome::Fetched(entry, purges) => Turn::Fetched(entry, purges),
                Outcome::Alone => Turn::Alone,
                Outcome::Failed(failure) => Turn::Failed(failure),
            },
        }
    }

    /// The turn, if nobody has it.
    pub(super) fn lead_now(&self) -> Option<Lead<'_>> {
        let permit = self.fill.turn.try_acquire().ok()?;
        Some(Lead { place: self, _permit: permit })
    }

    fn lead<'p>(&'p self, permit: SemaphorePermit<'p>) -> Turn<'p> {
        let failures = self.fill.state().failures;
        Turn::Leads { lead: Lead { place: self, _permit: permit }, failures }
    }

    /// Ends the line: whoever comes now begins another.
    fn close(&self, outcome: Outcome) {
        self.fill.state().outcome = outcome;
        let mut open = self.fills.open();
        if open.get(&self.key).is_some_and(|fill| Arc::ptr_eq(fill, &self.fill)) {
            open.remove(&self.key);
        }
        drop(open);
        self.fill.turn.close();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.fills.open();
        let is_last = |fill: &Arc<Fill>| Arc::ptr_eq(fill, &self.fill) && Arc::strong_count(fill) == 2;
        // Places are taken under this lock: one in the map and one in hand are all there are.
        if open.get(&self.key).is_some_and(is_last) {
            open.remove(&self.key);
        }
    }
}

impl Lead<'_> {
    /// There is a reply, which was asked for when there had been so many purges.
    pub(super) fn fetched(self, entry: Arc<Entry>, purges: u64) {
        self.place.close(Outcome::Fetched(entry, purges));
    }

    /// The reply is nobody else's.
    pub(super) fn alone(self) {
        self.place.close(Outcome::Alone);
    }

    /// There is no reply: the next in line tries, or nobody of this line any more, and `told` is what they are told.
    pub(super) fn failed(self, told: impl FnOnce() -> Status) {
        let failures = {
            let mut state = self.place.fill.state();
            state.failures += 1;
            state.failures
        };
        if failures >= FAILURES_MAX {
            self.place.close(Outcome::Failed(told().into()));
        }
    }
}

impl Fill {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of those who wait.
struct Waiting<'c>(&'c AtomicUsize);

impl<'c> Waiting<'c> {
    fn enter(count: &'c AtomicUsize, most: usize) -> Option<Self> {
        let waiting = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < most).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn too_late() -> Failure {
    let message = "another call for the same reply was not answered in time";
    Status::gateway(Code::DeadlineExceeded, message).with_reason("CACHE_FILL_TOO_SLOW").into()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn so_many_wait_and_the_next_goes_alone() {
        let fills = Arc::new(Fills::default());
        let key: Arc<[u8]> = Arc::from(*b"key");
        let [first, second, third, fourth] = [0; 4].map(|_| fills.join(&key));
        let mut context = Context::from_waker(Waker::noop());
        let leads = first.turn(None, 2).await;
        assert!(matches!(leads, Turn::Leads { failures: 0, .. }));
        let mut waits = pin!(second.turn(None, 2));
        assert!(waits.as_mut().poll(&mut context).is_pending());
        {
            let mut waits = pin!(third.turn(None, 2));
            assert!(waits.as_mut().poll(&mut context).is_pending());
            assert!(matches!(fourth.turn(None, 2).await, Turn::Alone));
        }
        // Whoever goes away makes room.
        assert!(pin!(fourth.turn(None, 2)).poll(&mut context).is_pending());
        drop(leads);
        assert!(matches!(waits.await, Turn::Leads { .. }));
    }
}
