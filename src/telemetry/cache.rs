//! What the cache of replies does: by surface and result, and in all.
//!
//! A surface's counters are found once, when a snapshot is built; a call adds to one of them. Surfaces beyond a
//! bound share a row, as those of the statistics do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Counter;

/// Surfaces with a row of their own, over the life of the process.
const SURFACES_MAX: usize = if cfg!(test) { 2 } else { 200 };
/// What does not fit.
const OTHER: &str = "other";

/// How a call was answered, where a rule has a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheResult {
    /// By a kept reply.
    Hit,
    /// By a kept reply that is stale.
    Stale,
    /// By what another call fetched at the same time.
    Collapsed,
    /// By the backend, whose reply is kept.
    Stored,
    /// By the backend, whose reply is not kept, or which failed.
    Miss,
    /// By the backend, for it is no call that the cache serves.
    Bypass,
    /// Not at all: `only-if-cached`.
    Refused,
}

/// The counters of one surface.
#[derive(Debug, Default)]
pub struct CacheCounts([Counter; CacheResult::ALL.len()]);

/// What is kept in all, and what had to go.
#[derive(Debug, Default)]
pub struct CacheTotals {
    entries: AtomicI64,
    bytes: AtomicI64,
    /// For want of room.
    pub evicted: Counter,
    /// Because an operator said so, or something was written.
    pub purged: Counter,
    /// Out of a store that nodes share.
    pub store_hits: Counter,
    pub store_misses: Counter,
    /// Questions that a store did not answer.
    pub store_failures: Counter,
}

/// All of it.
#[derive(Debug, Default)]
pub struct CacheMetrics {
    surfaces: Mutex<BTreeMap<Arc<str>, Arc<CacheCounts>>>,
    pub totals: Arc<CacheTotals>,
}

impl CacheMetrics {
    /// The counters of a surface; they are the same after every reload.
    pub fn surface(&self, name: &Arc<str>) -> Arc<CacheCounts> {
        let mut surfaces = self.surfaces.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = surfaces.contains_key(name);
        let name = if is_known || surfaces.len() < SURFACES_MAX { Arc::clone(name) } else { OTHER.into() };
        Arc::clone(surfaces.entry(name).or_default())
    }

    /// By surface and result; only what has occurred.
    pub fn results(&self) -> Vec<(Arc<str>, &'static str, u64)> {
        let surfaces = self.surfaces.lock().unwrap_or_else(PoisonError::into_inner);
        let of_surface = |(name, counts): (&Arc<str>, &Arc<CacheCounts>)| {
            CacheResult::ALL.map(|result| (Arc::clone(name), result.name(), counts.count(result)))
        };
        surfaces.iter().flat_map(of_surface).filter(|(_, _, count)| *count > 0).collect()
    }
}

impl CacheCounts {
    pub fn add(&self, result: CacheResult) {
        if let Some(counter) = self.0.get(result as usize) {
            counter.add(1);
        }
    }

    fn count(&self, result: CacheResult) -> u64 {
        self.0.get(result as usize).map_or(0, Counter::value)
    }
}

impl CacheTotals {
    /// Entries and bytes, before and after.
    pub fn changed(&self, before: (usize, usize), after: (usize, usize)) {
        let difference = |before: usize, after: usize| {
            let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
            signed(after) - signed(before)
        };
        self.entries.fetch_add(difference(before.0, after.0), Ordering::Relaxed);
        self.bytes.fetch_add(difference(before.1, after.1), Ordering::Relaxed);
    }

    pub fn entries(&self) -> i64 {
        self.entries.load(Ordering::Relaxed)
    }

    pub fn bytes(&self) -> i64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl CacheResult {
    pub const ALL: [Self; 7] =
        [Self::Hit, Self::Stale, Self::Collapsed, Self::Stored, Self::Miss, Self::Bypass, Self::Refused];

    /// Its name in metrics and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Collapsed => "collapsed",
            Self::Stored => "stored",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
            Self::Refused => "refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surfaces_beyond_the_bound_share_a_row() {
        let metrics = CacheMetrics::default();
        for name in ["a", "b", "c", "d", "a"] {
            metrics.surface(&name.into()).add(CacheResult::Hit);
        }
        let rows = metrics.results();
        let rows: Vec<_> = rows.iter().map(|(name, result, count)| (&**name, *result, *count)).collect();
        assert_eq!(rows, [("a", "hit", 2), ("b", "hit", 1), ("other", "hit", 2)]);
    }
}
