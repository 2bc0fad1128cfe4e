//! Replies in the memory of this process, bounded in bytes: a key leads to a few variants, by what they vary in.
//!
//! Sixteen shards, each behind a lock that a hit only reads. What goes first when there is no room is found by a
//! clock: everything stands in one queue; what was used since it last came to the front goes to the back, anything
//! else is forgotten. That is nearly the least recently used, and a hit moves nothing.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::entry::Entry;
use crate::telemetry::cache::CacheTotals;

mod flights;
mod shard;

use flights::Flights;
use shard::{Content, Shard, Slot};

pub(super) use flights::Flight;

/// All replies that are kept.
#[derive(Debug)]
pub struct Memory {
    bounds: Bounds,
    shards: Box<[RwLock<Shard>]>,
    hasher: RandomState,
    /// Counts purges.
    purges: AtomicU64,
    flights: Flights,
    totals: Arc<CacheTotals>,
}

/// The bounds of the cache as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of everything that is kept.
    pub bytes_max: usize,
    /// Of the key of a reply, with the values that it varies in.
    pub key_bytes_max: usize,
    /// Replies under one key.
    pub variants_max: usize,
    /// Names in the `Vary` of a reply.
    pub vary_names_max: usize,
    /// Refreshes in the background at once.
    pub refreshes_max: usize,
}

/// What there is under a key.
pub(super) enum Found {
    Entry(Arc<Entry>),
    /// There are replies, none of them for this request.
    Varies,
    Nothing,
}

/// Why a reply is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unkept {
    /// It takes more than there is for one.
    NoRoom,
    /// A purge has come while it was fetched.
    Purged,
}

/// What a purge is for: the replies of which everything holds that is said; where nothing is said, all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    /// The reply has one of these.
    pub tags: Option<Vec<String>>,
    pub surface: Option<String>,
    /// `package.Service.Method`.
    pub method: Option<String>,
    /// The path for which the reply was fetched begins so, when nothing in it is escaped any more.
    pub path: Option<String>,
    /// The reply was fetched for one of these. Gateways that do not know the word take it for a purge of everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Vec<Target>>,
}

/// What was asked for, whatever its query: what a write makes old.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub surface: String,
    /// Without escapes.
    pub path: String,
}

const SHARDS: usize = 16;

/// What a slot without a reply takes, beside its key.
const SLOT_BYTES: usize = 256;

/// How long it is remembered that a reply was not kept.
const PASSING: Duration = Duration::from_secs(10);

impl Default for Bounds {
    fn default() -> Self {
        Self {
            bytes_max: 64 << 20,
            key_bytes_max: 4 << 10,
            variants_max: 16,
            vary_names_max: 8,
            refreshes_max: 64,
        }
    }
}

impl Memory {
    pub fn new(bounds: Bounds, totals: Arc<CacheTotals>) -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        let (purges, flights) = (AtomicU64::new(0), Flights::default());
        Self { bounds, shards, hasher: RandomState::new(), purges, flights, totals }
    }

    pub(super) fn totals(&self) -> &CacheTotals {
        &self.totals
    }

    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// The reply under a key that `fits` and was made last (RFC 9111, section 4).
    pub(super) fn find(&self, key: &[u8], now: Instant, fits: impl Fn(&Entry) -> bool) -> Found {
        let shard = self.shard(key).read().unwrap_or_else(PoisonError::into_inner);
        let Some(ids) = shard.by_key.get(key) else { return Found::Nothing };
        // What was put in last stands last, and of two of one age it is the one that is meant.
        let slots = ids.iter().rev().filter_map(|id| shard.slots.get(id));
        let fitting = slots.filter_map(|slot| match &slot.content {
            Content::Reply(entry) if fits(entry) => Some((slot, entry)),
            _ => None,
        });
        let Some((slot, entry)) = fitting.min_by_key(|(_, entry)| entry.age(now)) else {
            return Found::Varies;
        };
        slot.was_used.store(true, Ordering::Relaxed);
        Found::Entry(Arc::clone(entry))
    }

    /// Whether replies under a key were lately such as are not kept.
    pub(super) fn is_passing(&self, key: &[u8], now: Instant) -> bool {
        let shard = self.shard(key).read().unwrap_or_else(PoisonError::into_inner);
        let ids = shard.by_key.get(key).into_iter().flatten();
        ids.filter_map(|id| shard.slots.get(id))
            .any(|slot| matches!(slot.content, Content::Passing(until) if now < until))
    }

    /// Counts purges so far: what was asked for at one count may be purged at another.
    pub(super) fn purges(&self) -> u64 {
        self.purges.load(Ordering::Acquire)
    }

    /// Begins to look out for purges of a reply that is fetched for this target, for [`keep`](Self::keep).
    pub(super) fn flight(&self, surface: &str, path: &str) -> Flight<'_> {
        self.flights.begin(self.target(surface, path))
    }

    /// Keeps a reply in the place of the one that is told apart by nothing.
    ///
    /// # Errors
    ///
    /// It was purged since its flight began, or is too large.
    pub(super) fn keep(
        &self,
        key: &Arc<[u8]>,
        entry: &Arc<Entry>,
        flight: &Flight<'_>,
    ) -> Result<(), Unkept> {
        let content = Content::Reply(Arc::clone(entry));
        let admit = || if flight.is_purged(entry) { Err(Unkept::Purged) } else { Ok(()) };
        self.put(key, content, entry.bytes, admit)
    }

    /// Remembers for a while that replies under a key are not kept.
    pub(super) fn pass(&self, key: &Arc<[u8]>, now: Instant) {
        // Without room it is not remembered.
        let _ = self.put(key, Content::Passing(now + PASSING), key.len() + SLOT_BYTES, || Ok(()));
    }

    /// Forgets a reply that is no longer what the backend says.
    pub(super) fn forget(&self, key: &[u8], entry: &Arc<Entry>) {
        let mut shard = self.shard(key).write().unwrap_or_else(PoisonError::into_inner);
        let before = shard.measure();
        let ids = shard.by_key.get(key).cloned().unwrap_or_default();
        for id in ids {
            let content = shard.slots.get(&id).map(|slot| &slot.content);
            if matches!(content, Some(Content::Reply(kept)) if Arc::ptr_eq(kept, entry)) {
                shard.remove(id);
            }
        }
        self.settle(&mut shard, before);
    }

    fn put(
        &self,
        key: &Arc<[u8]>,
        content: Content,
        bytes: usize,
        admit: impl FnOnce() -> Result<(), Unkept>,
    ) -> Result<(), Unkept> {
        let target = match &content {
            Content::Reply(entry) => Some(self.target(&entry.place.surface, &entry.place.path)),
            Content::Passing(_) => None,
        };
        let mut shard = self.shard(key).write().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, which a purge takes after it has told the flights.
        admit()?;
        if bytes > self.shard_bytes_max() {
            return Err(Unkept::NoRoom);
        }
        let before = shard.measure();
        let slot = Slot { key: Arc::clone(key), content, target, bytes, was_used: AtomicBool::new(false) };
        match shard.place(key, &slot.content, self.bounds.variants_max) {
            Some(id) => {
                shard.replace(id, slot);
                self.make_room(&mut shard, 0);
            }
            None => {
                // First, or what is new and not yet used might be what goes.
                self.make_room(&mut shard, bytes);
                shard.add(slot);
            }
        }
        self.settle(&mut shard, before);
        Ok(())
    }

    /// Forgets what is purged, and says how many replies it was.
    pub fn purge(&self, purge: &Purge) -> u64 {
        let purge = Arc::new(purge.clone());
        let target = |target: &Target| self.target(&target.surface, &target.path);
        let targets: Option<Vec<u64>> =
            purge.targets.as_ref().map(|targets| targets.iter().map(target).collect());
        self.purges.fetch_add(1, Ordering::AcqRel);
        self.flights.meet(&purge, targets.as_deref());
        let count = self.shards.iter().map(|shard| self.purge_shard(shard, &purge, targets.as_deref())).sum();
        self.totals.purged.add(count);
        count
    }

    /// `targets` are hashes; with them nothing else is looked at.
    fn purge_shard(&self, shard: &RwLock<Shard>, purge: &Purge, targets: Option<&[u64]>) -> u64 {
        if let Some(targets) = targets {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            if targets.iter().all(|target| shard.of_target(*target).next().is_none()) {
                return 0;
            }
        }
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        let before = shard.measure();
        let is_purged = |id: &u64| {
            let content = shard.slots.get(id).map(|slot| &slot.content);
            matches!(content, Some(Content::Reply(entry)) if purge.concerns(entry))
        };
        let purged: Vec<u64> = match targets {
            Some(targets) => {
                targets.iter().flat_map(|target| shard.of_target(*target)).filter(is_purged).collect()
            }
            None => shard.slots.keys().copied().filter(is_purged).collect(),
        };
        let count = purged.into_iter().filter(|id| shard.remove(*id)).count();
        self.settle(&mut shard, before);
        count as u64
    }

    /// Forgets what was not used, until there is room for so many bytes.
    fn make_room(&self, shard: &mut Shard, bytes: usize) {
        let mut evicted = 0;
        while shard.bytes + bytes > self.shard_bytes_max() {
            let Some(id) = shard.queue.pop_front() else { break };
            let Some(slot) = shard.slots.get(&id) else { continue };
            if slot.was_used.swap(false, Ordering::Relaxed) {
                shard.queue.push_back(id);
            } else {
                shard.remove(id);
                evicted += 1;
            }
        }
        self.totals.evicted.add(evicted);
    }

    /// Counts what has changed.
    fn settle(&self, shard: &mut Shard, before: (usize, usize)) {
        shard.tidy();
        self.totals.changed(before, shard.measure());
    }

    fn target(&self, surface: &str, path: &str) -> u64 {
        self.hasher.hash_one((surface, path))
    }

    /// The share of one shard.
    fn shard_bytes_max(&self) -> usize {
        self.bounds.bytes_max / SHARDS
    }

    fn shard(&self, key: &[u8]) -> &RwLock<Shard> {
        let hash = self.hasher.hash_one(key);
        // The maps inside have hashes of their own, so that these bits tell them nothing.
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or(0)]
    }
}

impl Purge {
    pub(super) fn concerns(&self, entry: &Entry) -> bool {
        let Entry { place, tags, .. } = entry;
        let is = |said: &Option<String>, found: &str| said.as_deref().is_none_or(|said| said == found);
        let has = |purged: &Vec<String>| tags.iter().any(|tag| purged.iter().any(|purged| **tag == **purged));
        let is_target = |targets: &Vec<Target>| {
            targets.iter().any(|target| target.path == *place.path && target.surface == *place.surface)
        };
        self.tags.as_ref().is_none_or(has)
            && is(&self.surface, &place.surface)
            && is(&self.method, &place.method)
            && self.path.as_deref().is_none_or(|path| place.path.starts_with(path))
            && self.targets.as_ref().is_none_or(is_target)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        for shard in &mut self.shards {
            let shard = shard.get_mut().unwrap_or_else(PoisonError::into_inner);
            self.totals.changed(shard.measure(), (0, 0));
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
