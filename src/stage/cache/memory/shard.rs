//! One part of the memory: what there is, found by key and by target, and the queue of what goes first.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use smallvec::SmallVec;

use super::SHARDS;
use crate::stage::cache::entry::Entry;

#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) slots: HashMap<u64, Slot>,
    pub(super) by_key: HashMap<Arc<[u8]>, SmallVec<[u64; 1]>>,
    /// Replies by the hash of what they were fetched for, of which a client can make any number for one path.
    pub(super) by_target: BTreeSet<(u64, u64)>,
    pub(super) queue: VecDeque<u64>,
    next_id: u64,
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) key: Arc<[u8]>,
    pub(super) content: Content,
    /// See [`Shard::by_target`]; of replies alone.
    pub(super) target: Option<u64>,
    pub(super) bytes: usize,
    pub(super) was_used: AtomicBool,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Reply(Arc<Entry>),
    /// Until then, replies under this key are taken for such as are not kept.
    Passing(Instant),
}

impl Shard {
    /// Slots and bytes.
    pub(super) fn measure(&self) -> (usize, usize) {
        (self.slots.len(), self.bytes)
    }

    /// The slot whose place a content takes: its own older one, else the oldest where there are too many.
    pub(super) fn place(&self, key: &Arc<[u8]>, content: &Content, variants_max: usize) -> Option<u64> {
        let ids = self.by_key.get(key)?;
        let is_same = |id: &&u64| match (self.slots.get(id).map(|slot| &slot.content), content) {
            (Some(Content::Reply(old)), Content::Reply(new)) => old.varied == new.varied,
            (Some(Content::Passing(_)), _) => true,
            _ => false,
        };
        let oldest = || ids.first().filter(|_| ids.len() >= variants_max);
        ids.iter().find(is_same).or_else(oldest).copied()
    }

    pub(super) fn add(&mut self, slot: Slot) {
        let id = self.next_id;
        self.next_id += 1;
        self.by_key.entry(Arc::clone(&slot.key)).or_default().push(id);
        self.queue.push_back(id);
        self.put(id, slot);
    }

    /// Puts another slot into the place of one, which is the newest of its key from now on.
    pub(super) fn replace(&mut self, id: u64, slot: Slot) {
        if let Some(old) = self.take(id) {
            slot.was_used.store(old.was_used.into_inner(), Ordering::Relaxed);
        }
        if let Some(ids) = self.by_key.get_mut(&slot.key) {
            ids.retain(|other| *other != id);
            ids.push(id);
        }
        self.put(id, slot);
    }

    /// The slots of replies that were fetched for a target.
    pub(super) fn of_target(&self, target: u64) -> impl Iterator<Item = u64> {
        self.by_target.range((target, 0)..=(target, u64::MAX)).map(|(_, id)| *id)
    }

    fn put(&mut self, id: u64, slot: Slot) {
        self.by_target.extend(slot.target.map(|target| (target, id)));
        self.bytes += slot.bytes;
        self.slots.insert(id, slot);
    }

    fn take(&mut self, id: u64) -> Option<Slot> {
        let slot = self.slots.remove(&id)?;
        self.bytes -= slot.bytes;
        if let Some(target) = slot.target {
            self.by_target.remove(&(target, id));
        }
        Some(slot)
    }

    /// Takes what was forgotten out of the queue, once it is most of it.
    pub(super) fn tidy(&mut self) {
        if self.queue.len() > 2 * self.slots.len() + SHARDS {
            let Self { queue, slots, .. } = self;
            queue.retain(|id| slots.contains_key(id));
        }
    }

    /// Forgets a slot, but for its place in the queue; `false` where it is gone.
    pub(super) fn remove(&mut self, id: u64) -> bool {
        let Some(slot) = self.take(id) else { return false };
        if let Some(ids) = self.by_key.get_mut(&slot.key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_key.remove(&slot.key);
            }
        }
        true
    }
}
