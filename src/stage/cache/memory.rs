//! Replies in the memory of this process, bounded in bytes: a key leads to a few variants, by what they vary in.
//!
//! Sixteen shards, each behind a lock that a hit only reads. What goes first when there is no room is found by a
//! clock: everything stands in one queue; what was used since it last came to the front goes to the back, anything
//! else is forgotten. That is nearly the least recently used, and a hit moves nothing.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::entry::Entry;
use crate::telemetry::cache::CacheTotals;

/// All replies that are kept.
#[derive(Debug)]
pub struct Memory {
    bounds: Bounds,
    shards: Box<[RwLock<Shard>]>,
    hasher: RandomState,
    /// Counts purges: a reply that was asked for before one is not kept after it.
    purges: AtomicU64,
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
}

#[derive(Debug, Default)]
struct Shard {
    slots: HashMap<u64, Slot>,
    by_key: HashMap<Arc<[u8]>, SmallVec<[u64; 1]>>,
    queue: VecDeque<u64>,
    next_id: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Slot {
    key: Arc<[u8]>,
    content: Content,
    bytes: usize,
    was_used: AtomicBool,
}

#[derive(Clone, Debug)]
enum Content {
    Reply(Arc<Entry>),
    /// Until then, replies under this key are taken for such as are not kept.
    Passing(Instant),
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
        Self { bounds, shards, hasher: RandomState::new(), purges: AtomicU64::new(0), totals }
    }

    pub(super) fn totals(&self) -> &CacheTotals {
        &self.totals
    }

    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// The newest reply under a key that `fits`.
    pub(super) fn find(&self, key: &[u8], fits: impl Fn(&Entry) -> bool) -> Found {
        let shard = self.shard(key).read().unwrap_or_else(PoisonError::into_inner);
        let Some(ids) = shard.by_key.get(key) else { return Found::Nothing };
        // What was put in last stands last.
        for slot in ids.iter().rev().filter_map(|id| shard.slots.get(id)) {
            if let Content::Reply(entry) = &slot.content
                && fits(entry)
            {
                slot.was_used.store(true, Ordering::Relaxed);
                return Found::Entry(Arc::clone(entry));
            }
        }
        Found::Varies
    }

    /// Whether replies under a key were lately such as are not kept.
    pub(super) fn is_passing(&self, key: &[u8], now: Instant) -> bool {
        let shard = self.shard(key).read().unwrap_or_else(PoisonError::into_inner);
        let ids = shard.by_key.get(key).into_iter().flatten();
        ids.filter_map(|id| shard.slots.get(id))
            .any(|slot| matches!(slot.content, Content::Passing(until) if now < until))
    }

    /// Counts purges so far, for [`keep`](Self::keep).
    pub(super) fn purges(&self) -> u64 {
        self.purges.load(Ordering::Acquire)
    }

    /// Keeps a reply in the place of the one that is told apart by nothing; `false` after a purge.
    pub(super) fn keep(&self, key: &Arc<[u8]>, entry: Arc<Entry>, purges: u64) -> bool {
        let bytes = entry.bytes;
        self.put(key, Content::Reply(entry), bytes, purges)
    }

    /// Remembers for a while that replies under a key are not kept.
    pub(super) fn pass(&self, key: &Arc<[u8]>, now: Instant) {
        self.put(key, Content::Passing(now + PASSING), key.len() + SLOT_BYTES, self.purges());
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

    fn put(&self, key: &Arc<[u8]>, content: Content, bytes: usize, purges: u64) -> bool {
        let mut shard = self.shard(key).write().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, which a purge takes after it has counted.
        if self.purges() != purges || bytes > self.shard_bytes_max() {
            return false;
        }
        let before = shard.measure();
        match shard.place(key, &content, self.bounds.variants_max) {
            Some(id) => {
                shard.replace(key, id, content, bytes);
                self.make_room(&mut shard, 0);
            }
            None => {
                // First, or what is new and not yet used might be what goes.
                self.make_room(&mut shard, bytes);
                shard.add(key, content, bytes);
            }
        }
        self.settle(&mut shard, before);
        true
    }

    /// Forgets what is purged, and says how many replies it was.
    pub fn purge(&self, purge: &Purge) -> u64 {
        self.purges.fetch_add(1, Ordering::AcqRel);
        let mut count = 0;
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            let before = shard.measure();
            let purged = shard.slots.iter().filter_map(|(id, slot)| match &slot.content {
                Content::Reply(entry) if purge.concerns(entry) => Some(*id),
                _ => None,
            });
            let purged: Vec<u64> = purged.collect();
            count += purged.len() as u64;
            for id in &purged {
                shard.remove(*id);
            }
            self.settle(&mut shard, before);
        }
        self.totals.purged.add(count);
        count
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
        self.tags.as_ref().is_none_or(has)
            && is(&self.surface, &place.surface)
            && is(&self.method, &place.method)
            && self.path.as_deref().is_none_or(|path| place.path.starts_with(path))
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

impl Shard {
    /// Slots and bytes.
    fn measure(&self) -> (usize, usize) {
        (self.slots.len(), self.bytes)
    }

    /// The slot whose place a content takes: its own older one, else the oldest where there are too many.
    fn place(&self, key: &Arc<[u8]>, content: &Content, variants_max: usize) -> Option<u64> {
        let ids = self.by_key.get(key)?;
        let is_same = |id: &&u64| match (self.slots.get(id).map(|slot| &slot.content), content) {
            (Some(Content::Reply(old)), Content::Reply(new)) => old.varied == new.varied,
            (Some(Content::Passing(_)), _) => true,
            _ => false,
        };
        let oldest = || ids.first().filter(|_| ids.len() >= variants_max);
        ids.iter().find(is_same).or_else(oldest).copied()
    }

    fn add(&mut self, key: &Arc<[u8]>, content: Content, bytes: usize) {
        let id = self.next_id;
        self.next_id += 1;
        let slot = Slot { key: Arc::clone(key), content, bytes, was_used: AtomicBool::new(false) };
        self.slots.insert(id, slot);
        self.by_key.entry(Arc::clone(key)).or_default().push(id);
        self.queue.push_back(id);
        self.bytes += bytes;
    }

    /// Puts another content into a slot, which is the newest of its key from now on.
    fn replace(&mut self, key: &Arc<[u8]>, id: u64, content: Content, bytes: usize) {
        if let Some(slot) = self.slots.get_mut(&id) {
            self.bytes = self.bytes - slot.bytes + bytes;
            (slot.content, slot.bytes) = (content, bytes);
        }
        if let Some(ids) = self.by_key.get_mut(key) {
            ids.retain(|other| *other != id);
            ids.push(id);
        }
    }

    /// Takes what was forgotten out of the queue, once it is most of it.
    fn tidy(&mut self) {
        if self.queue.len() > 2 * self.slots.len() + SHARDS {
            let Self { queue, slots, .. } = self;
            queue.retain(|id| slots.contains_key(id));
        }
    }

    /// Forgets a slot, but for its place in the queue.
    fn remove(&mut self, id: u64) {
        let Some(slot) = self.slots.remove(&id) else { return };
        self.bytes -= slot.bytes;
        if let Some(ids) = self.by_key.get_mut(&slot.key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_key.remove(&slot.key);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
