//! How many calls of each subject are in flight, in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::policy::limit::Kind;
use crate::store::key::{Key, Subject};

/// The counts. There are never more subjects than calls in flight.
#[derive(Debug)]
pub struct Slots(Box<[Mutex<HashMap<Key, u32>>]>);

const SHARDS: usize = 64;

/// One call's place; given back on drop.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    key: Key,
}

impl Default for Slots {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Slots {
    /// A place among `calls_max`, and whether there was one; a call that has none is counted all the same as long
    /// as it holds on to its slot.
    pub(super) fn enter(self: &Arc<Self>, subject: Subject, calls_max: u32) -> (Slot, bool) {
        // Slots and rates are kept apart, so that they may have the same name.
        let key = subject.cell(0, Kind::Rate);
        let mut calls = self.shard(key);
        let count = calls.entry(key).or_default();
        *count = count.saturating_add(1);
        let is_within = *count <= calls_max;
        drop(calls);
        (Slot { slots: self.clone(), key }, is_within)
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, HashMap<Key, u32>> {
        self.0[key.shard(SHARDS)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut calls = self.slots.shard(self.key);
        if let Some(count) = calls.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                calls.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::key::Keys;

    #[test]
    fn places_end_at_the_bound_and_come_back() {
        let slots = Arc::new(Slots::default());
        let keys = Keys::default();
        let subject = |word: &[u8]| {
            let mut builder = keys.begin();
            builder.word(word);
            builder.finish()
        };
        let (first, is_first_within) = slots.enter(subject(b"a"), 1);
        assert!(is_first_within);
        assert!(!slots.enter(subject(b"a"), 1).1);
        assert!(slots.enter(subject(b"b"), 1).1);
        drop(first);
        assert!(slots.enter(subject(b"a"), 1).1);
        assert!(slots.0.iter().all(|shard| shard.lock().expect("no panic").is_empty()));
    }
}
