//! Questions that are under way, and the purges that have come since they began.
//!
//! What is not there yet cannot be taken out: a purge is told to every flight that it may concern, and held against
//! the reply when that is to be kept. So only what is purged is lost, however many purges there are meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Purge;
use crate::stage::cache::entry::Entry;

/// All flights.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    /// By the hash of the target that they are for, and a number of their own: there may be many for one target.
    flights: BTreeMap<(u64, u64), Arc<Purges>>,
    next_id: u64,
}

/// A question that is under way, until it is dropped.
pub(in crate::stage::cache) struct Flight<'m> {
    flights: &'m Flights,
    place: (u64, u64),
    purges: Arc<Purges>,
}

/// The purges that one flight has met.
#[derive(Debug, Default)]
struct Purges(Mutex<Vec<Arc<Purge>>>);

/// Purges that one flight remembers apart; one more is one of everything.
const PURGES_MAX: usize = 64;

impl Flights {
    /// Begins a flight.
    pub(super) fn begin(&self, target: u64) -> Flight<'_> {
        let purges = Arc::<Purges>::default();
        let mut open = self.open();
        let place = (target, open.next_id);
        open.next_id += 1;
        open.flights.insert(place, Arc::clone(&purges));
        Flight { flights: self, place, purges }
    }

    /// Tells a purge to the flights for these targets; `None`: to all of them.
    pub(super) fn meet(&self, purge: &Arc<Purge>, targets: Option<&[u64]>) {
        let open = self.open();
        match targets {
            Some(targets) => {
                let of_target = |target: &u64| open.flights.range((*target, 0)..=(*target, u64::MAX));
                let met = targets.iter().flat_map(of_target);
                met.for_each(|(_, purges)| purges.add(purge));
            }
            None => open.flights.values().for_each(|purges| purges.add(purge)),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight<'_> {
    /// Whether its reply was purged since it began.
    pub(super) fn is_purged(&self, entry: &Entry) -> bool {
        let purges = self.purges.0.lock().unwrap_or_else(PoisonError::into_inner);
        purges.iter().any(|purge| purge.concerns(entry))
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.flights.open().flights.remove(&self.place);
    }
}

impl Purges {
    fn add(&self, purge: &Arc<Purge>) {
        let mut purges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if purges.len() < PURGES_MAX {
            purges.push(Arc::clone(purge));
        } else {
            purges.clear();
            purges.push(Arc::default());
        }
    }
}

#[cfg(test)]
impl Flights {
    pub(super) fn count(&self) -> usize {
        self.open().flights.len()
    }

    pub(super) const fn purges_max() -> usize {
        PURGES_MAX
    }
}
