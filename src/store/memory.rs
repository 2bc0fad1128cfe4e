//! Cells in the memory of this process: the default store, and the one to fall back on.
//!
//! Sixty-four shards, each a map behind a lock; the shards of one request are locked in order, so that its
//! limits are judged and debited as one. A key that is known costs no allocation.
//!
//! The number of keys is bounded. A cell is forgotten only when it says no more than none at all, so that
//! forgetting grants nothing. When every cell still says something, new keys are not turned into fresh
//! buckets: those of one limit share a *spill* cell, one a shard, until there is room, and a key that gets a
//! cell of its own begins with what the spill cell owes.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use super::key::{Hashed, Key};
use crate::policy::limit::{self, Demand, Now, Refusal, Standing};

/// See the module's documentation.
#[derive(Debug)]
pub struct MemoryStore {
    shards: Box<[Mutex<Shard>]>,
    keys_max: usize,
    shard_keys_max: usize,
}

/// One demand, and the cell that it asks.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub key: Key,
    /// The cell for keys of this limit that find no room.
    pub spill: Key,
    pub demand: Demand,
}

/// What was taken from one cell: enough to give it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub standing: Standing,
    /// The state right after.
    pub cell: u64,
}

/// As many limits as one request rarely exceeds.
pub type Few<T> = SmallVec<[T; 4]>;

type Cells = HashMap<Key, u64, BuildHasherDefault<Hashed>>;

#[derive(Debug, Default)]
struct Shard {
    cells: Cells,
    /// One for each limit at most, and empty as long as there is room.
    spill: Cells,
    swept_ns: u64,
}

const SHARDS: usize = 64;

/// Looking through a whole shard costs a fraction of a millisecond; more often than this it would add up.
const SWEEP_INTERVAL_NS: u64 = 100_000_000;

/// Keys of the store that is there without being configured: 24 to 48 MB when full.
pub const KEYS_DEFAULT: usize = 1_000_000;

impl MemoryStore {
    /// A store of about `keys_max` keys: each shard has its share of them.
    pub fn new(keys_max: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, keys_max, shard_keys_max: keys_max.div_ceil(SHARDS).max(1) }
    }

    /// The number of keys that it was made for.
    pub fn keys_max(&self) -> usize {
        self.keys_max
    }

    /// How many keys have a cell.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).cells.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Debits everything that is asked, or nothing.
    ///
    /// # Errors
    ///
    /// See [`limit::take_all`].
    pub fn take(&self, asked: &[Asked], now: Now) -> Result<Few<Taken>, Refusal> {
        self.judge(asked, now, true)
    }

    /// Whether [`take`](Self::take) would succeed; nothing is debited.
    ///
    /// # Errors
    ///
    /// Those of [`take`](Self::take).
    pub fn would_take(&self, asked: &[Asked], now: Now) -> Result<Few<Taken>, Refusal> {
        self.judge(asked, now, false)
    }

    fn judge(&self, asked: &[Asked], now: Now, is_debit: bool) -> Result<Few<Taken>, Refusal> {
        let mut locked = self.lock(asked);
        let mut cells: Few<u64> = SmallVec::new();
        let mut demands: Few<Demand> = SmallVec::new();
        for one in asked {
            cells.push(locked.shard(one.key).cell(one, now));
            demands.push(one.demand);
        }
        limit::take_all(&demands, &mut cells, now)?;
        let taken = asked.iter().zip(&cells);
        Ok(taken
            .map(|(one, cell)| {
                if is_debit {
                    locked.shard(one.key).keep(one, *cell, now, self.shard_keys_max);
                }
                Taken { standing: one.demand.limit.standing(*cell, now), cell: *cell }
            })
            .collect())
    }

    /// Gives back what [`take`](Self::take) took, as far as time has not done so already.
    pub fn give_back(&self, asked: &Asked, taken: u64, now: Now) {
        let Demand { limit, cost } = asked.demand;
        let mut shard = lock(&self.shards[asked.key.shard(SHARDS)]);
        if let Some(cell) = shard.cells.get_mut(&asked.key) {
            *cell = limit.give_back(*cell, taken, now, cost);
        }
    }

    /// What a cell says now; nothing is taken.
    pub fn standing(&self, asked: &Asked, now: Now) -> Standing {
        let shard = lock(&self.shards[asked.key.shard(SHARDS)]);
        asked.demand.limit.standing(shard.cell(asked, now), now)
    }

    /// Locks the shards of all keys, each once and in order, so that two requests never wait for each other.
    fn lock(&self, asked: &[Asked]) -> Locked<'_> {
        let mut numbers: Few<usize> = asked.iter().map(|one| one.key.shard(SHARDS)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        Locked(numbers.into_iter().map(|number| (number, lock(&self.shards[number]))).collect())
    }
}

struct Locked<'a>(SmallVec<[(usize, MutexGuard<'a, Shard>); 4]>);

impl Locked<'_> {
    fn shard(&mut self, key: Key) -> &mut Shard {
        let number = key.shard(SHARDS);
        let found = self.0.iter_mut().find(|(locked, _)| *locked == number);
        &mut found.expect("the shard of every key that is asked was locked").1
    }
}

impl Shard {
    /// The state of a key; one without a cell has what the spill cell of its limit says.
    fn cell(&self, asked: &Asked, now: Now) -> u64 {
        let cell = self.cells.get(&asked.key).or_else(|| self.spill.get(&asked.spill));
        cell.copied().filter(|cell| !asked.key.kind().is_fresh(*cell, now)).unwrap_or(0)
    }

    /// Keeps the state of a key, in its own cell if there is one or room for it.
    fn keep(&mut self, asked: &Asked, cell: u64, now: Now, keys_max: usize) {
        if let Some(kept) = self.cells.get_mut(&asked.key) {
            *kept = cell;
        } else if self.has_room(now, keys_max) {
            self.cells.insert(asked.key, cell);
        } else {
            self.spill.insert(asked.spill, cell);
        }
    }

    /// Before a cell is added: forgets those that say nothing, rather than growing.
    fn has_room(&mut self, now: Now, keys_max: usize) -> bool {
        let count = self.cells.len();
        let is_full = count >= keys_max;
        let would_grow = count == self.cells.capacity() && count > 0;
        if (is_full || would_grow) && now.ns.saturating_sub(self.swept_ns) >= SWEEP_INTERVAL_NS {
            self.swept_ns = now.ns;
            self.cells.retain(|key, cell| !key.kind().is_fresh(*cell, now));
            self.spill.retain(|key, cell| !key.kind().is_fresh(*cell, now));
        }
        self.cells.len() < keys_max
    }
}

/// A thread that panicked left a cell as it was or as it should be: both are good.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::bucket::{Rate, Verdict};
    use crate::policy::limit::Limit;
    use crate::policy::quota::{OverQuota, Period, Quota};
    use crate::store::key::Keys;

    const START: Now = Now { ns: 1_000_000_000_000, unix_s: 1_795_255_200 };

    fn rate(units: u64, burst: u64) -> Limit {
        Limit::Rate(Rate::new(units, Duration::from_secs(1), burst).expect("a rate"))
    }

    fn ask(keys: &Keys, name: &str, subject: u64, limit: Limit) -> Asked {
        let mut builder = keys.begin();
        builder.word(name.as_bytes());
        let spill = builder.finish().cell(0, limit.kind());
        builder.word(&subject.to_be_bytes());
        Asked { key: builder.finish().cell(0, limit.kind()), spill, demand: Demand { limit, cost: 1 } }
    }

    fn at(ns: u64) -> Now {
        Now { ns: START.ns + ns, unix_s: START.unix_s + ns / 1_000_000_000 }
    }

    #[test]
    fn two_hundred_calls_at_once_take_exactly_the_burst() {
        let (store, keys) = (MemoryStore::new(1000), Keys::default());
        let asked = [ask(&keys, "a", 1, rate(10, 20)), ask(&keys, "b", 1, rate(10, 30))];
        let taken: usize = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..25).filter(|_| store.take(&asked, START).is_ok()).count()))
                .collect();
            calls.into_iter().map(|call| call.join().expect("no panic")).sum()
        });
        assert_eq!(taken, 20);
        // What was refused by the one was not debited from the other.
        assert_eq!(store.standing(&asked[1], START).remaining, 10);
    }

    #[test]
    fn looking_takes_nothing() {
        let (store, keys) = (MemoryStore::new(1000), Keys::default());
        let asked = [ask(&keys, "a", 1, rate(10, 1))];
        assert!(store.would_take(&asked, START).is_ok());
        assert!(store.is_empty());
        assert!(store.take(&asked, START).is_ok());
        assert!(store.would_take(&asked, START).is_err());
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (store, keys) = (MemoryStore::new(1000), Keys::default());
        let asked = [ask(&keys, "a", 1, rate(10, 1))];
        let taken = store.take(&asked, START).expect("fits");
        store.give_back(&asked[0], taken[0].cell, START);
        assert!(store.take(&asked, START).is_ok());
        // Of a key that nobody knows any more, nothing comes back.
        store.give_back(&ask(&keys, "a", 2, rate(10, 1)), taken[0].cell, START);
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn keys_are_bounded_and_forgotten_when_they_say_nothing() {
        let (store, keys) = (MemoryStore::new(640), Keys::default());
        for subject in 0..10_000 {
            let _ = store.take(&[ask(&keys, "a", subject, rate(10, 1))], START);
        }
        assert!(store.len() <= 640, "{}", store.len());
        // 100 ms later all buckets are full again, and other keys take their places.
        for subject in 10_000..10_064 {
            let asked = [ask(&keys, "a", subject, rate(10, 1))];
            assert!(store.take(&asked, at(SWEEP_INTERVAL_NS)).is_ok(), "{subject}");
        }
        assert!(store.len() <= 640, "{}", store.len());
    }

    #[test]
    fn keys_without_room_share_one_bucket_a_shard() {
        let (store, keys) = (MemoryStore::new(1), Keys::default());
        let slow = Limit::Quota(Quota::new(1, Period::Month, OverQuota::Deny).expect("a quota"));
        let admitted = (0..10_000).filter(|key| store.take(&[ask(&keys, "a", *key, slow)], START).is_ok());
        // One key and one spill cell in each shard.
        assert_eq!(admitted.count(), 2 * SHARDS);
        assert_eq!(store.len(), SHARDS);
    }

    /// Against buckets that are never forgotten: whatever the store admits, they admit.
    #[test]
    fn forgetting_and_giving_back_never_grant_a_unit() {
        let mut state = 7_u64;
        let mut random = move |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let limits = [rate(10, 3), rate(2, 5), rate(1000, 50)];
        for round in 0..40 {
            let (store, keys) = (MemoryStore::new(64 * (1 + round % 3)), Keys::default());
            let mut exact: HashMap<(usize, u64), u64> = HashMap::new();
            let (mut now, mut admitted) = (START, 0);
            for _ in 0..4000 {
                now = Now { ns: now.ns + random(20_000_000), ..now };
                let which = random(3) as usize;
                // A few keys come often, many come once.
                let subject = if random(2) == 0 { random(5) } else { random(2000) };
                let mut asked = ask(&keys, "abc".get(which..).expect("three"), subject, limits[which]);
                asked.demand.cost = random(3);
                let Ok(taken) = store.take(&[asked], now) else { continue };
                admitted += 1;
                let Limit::Rate(bucket) = limits[which] else { panic!("a rate") };
                let tat = exact.entry((which, subject)).or_default();
                match bucket.take(*tat, now.ns, asked.demand.cost) {
                    Verdict::Taken { cell } => *tat = cell,
                    verdict => panic!("round {round}: {subject} got a unit too many: {verdict:?}"),
                }
                if random(8) == 0 {
                    now = Now { ns: now.ns + random(50_000_000), ..now };
                    store.give_back(&asked, taken[0].cell, now);
                    *tat = bucket.give_back(*tat, *tat, now.ns, asked.demand.cost);
                }
            }
            assert!(admitted > 1000, "round {round}: only {admitted} of 4000 admitted");
        }
    }
}
