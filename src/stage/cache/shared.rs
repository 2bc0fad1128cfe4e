//! The second level: replies in a Redis or Valkey, behind the memories of all nodes that share it.
//!
//! ```text
//! not in memory ─▶ look ─┬─ Kept: into memory, and the answer
//!                        ├─ Ask: the backend, by the one node that has the right to; what comes is written behind
//!                        └─ another node asks: look again, until it has written or its right is over
//! ```
//!
//! A store that is away is a miss and never a failure. Every reply says which purges were known when it was asked
//! for, and is held against those that came after: what one node purges no other node finds, whoever wrote it when.
//! A node that does not hear of purges, because the store is away or it has just begun, finds nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard, Weak};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::entry::Entry;
use super::entry::stored::{self, Stored};
use super::heard::Heard;
use super::memory::{Purge, Target};
use super::outbox::{self, Next, Outbox};
use super::{Cache, Rule};
use crate::store::redis::follow::FollowError;
use crate::store::redis::values::{Beginning, LIFE_MAX, Looked, Noted, RIGHT, Token, ValueKey, Values};

/// The replies of one store, as this node sees them.
#[derive(Debug)]
pub struct Shared {
    values: Values,
    cache: Weak<Cache>,
    heard: RwLock<Heard>,
    written: Outbox,
    /// Replies on their way into the store; further ones are not written.
    writes: Arc<Semaphore>,
    is_told: AtomicBool,
}

/// What comes of looking.
pub(super) enum Found {
    Kept(Arc<Entry>),
    /// Replies of this kind are not kept.
    Passing,
    /// The backend is to be asked, with the right to where the store could give it.
    Ask(Option<Fill>),
}

/// The right of this node to ask the backend, given back when it is dropped.
pub(super) struct Fill {
    shared: Arc<Shared>,
    key: ValueKey,
    token: Token,
    is_done: bool,
}

/// While another node asks the backend, the store is asked so often.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long other nodes take replies of a kind for such as are not kept.
const PASSING: Duration = Duration::from_secs(10);

const WRITES_MAX: usize = 64;

/// So many purges at once look at every reply of the memory; more are one of everything.
const PURGES_APART_MAX: usize = 64;

/// What a record needs beside what counts as the bytes of a reply.
const RECORD_BYTES: usize = 1024;

impl Shared {
    pub fn new(values: Values, cache: &Arc<Cache>) -> Arc<Self> {
        Arc::new(Self {
            values,
            cache: Arc::downgrade(cache),
            heard: RwLock::default(),
            written: Outbox::default(),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
            is_told: AtomicBool::new(false),
        })
    }

    pub fn values(&self) -> &Values {
        &self.values
    }

    /// Whether it is this cache that forgets what is purged.
    pub fn is_of(&self, cache: &Arc<Cache>) -> bool {
        std::ptr::eq(self.cache.as_ptr(), Arc::as_ptr(cache))
    }

    /// Begins to hear of purges: whoever only checks a configuration asks no store.
    pub fn begin(self: &Arc<Self>) {
        let shared = Arc::downgrade(self);
        self.values.follow(move |told| {
            if let Some(shared) = shared.upgrade() {
                shared.hear(told);
            }
        });
    }

    /// Tells all nodes of a purge.
    ///
    /// # Errors
    ///
    /// In words, for operators: other nodes may not know.
    pub async fn purge(&self, purge: &Purge) -> Result<(), String> {
        self.tell(purge).await.map(drop)
    }

    /// The purge as it is noted.
    async fn tell(&self, purge: &Purge) -> Result<Noted, String> {
        let text = |purge: &Purge| serde_json::to_string(purge).expect("names and lists of them");
        self.values.purge(&text(purge), &text(&Purge::default())).await
    }

    /// Has all nodes told of a write, behind it, and until then finds nothing for its target.
    pub(super) fn written(self: &Arc<Self>, target: &Target) {
        if !self.written.add(target) {
            return;
        }
        let shared = Arc::downgrade(self);
        self.values.runtime().spawn(async move {
            while let Some(shared) = shared.upgrade() {
                let Next::Tell(purge) = shared.written.next() else { return };
                let noted = shared.tell(&purge).await;
                // The message that says the same is no news then.
                let new = noted.as_ref().ok().and_then(|noted| shared.heard().note(noted, Instant::now()));
                if new.is_some_and(|new| new == Purge::default()) {
                    // Whatever comes late of others is below it.
                    shared.cache.upgrade().map(|cache| cache.memory().purge(&Purge::default()));
                }
                let can_wait = shared.written.settle(noted.is_ok());
                drop(shared);
                if can_wait {
                    sleep(outbox::INTERVAL).await;
                }
            }
        });
    }

    fn heard(&self) -> RwLockWriteGuard<'_, Heard> {
        self.heard.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last purge that is known, for [`Fill::keep`].
    pub(super) fn last_purge(&self) -> u64 {
        self.heard.read().unwrap_or_else(PoisonError::into_inner).last()
    }

    /// A reply that `fits`, or who is to ask the backend; waits for another node that does until `deadline`.
    pub(super) async fn look(
        self: &Arc<Self>,
        line: &[u8],
        rule: &Rule,
        deadline: Option<Instant>,
        fits: impl Fn(&Entry) -> bool,
    ) -> Found {
        let key = key(line);
        let begun = Instant::now();
        // What is left of the time is for the backend.
        let patience = deadline.map_or(RIGHT, |deadline| deadline.saturating_duration_since(begun) / 2);
        let patience = begun + patience.min(RIGHT);
        let mut unwanted = None;
        loop {
            if !self.hears() {
                return Found::Ask(None);
            }
            // The right may be given and the answer lost: it goes back on drop, unless it was not given.
            let fill = Fill { shared: Arc::clone(self), key, token: self.values.token(), is_done: false };
            let bytes_max = rule.entry_bytes_max.saturating_add(RECORD_BYTES);
            let looked = match self.values.look(&key, &fill.token, bytes_max, unwanted.as_ref()).await {
                Ok(Looked::Right) => return self.counted_miss(Found::Ask(Some(fill))),
                Ok(looked) => looked,
                Err(_) => {
                    self.with_totals(|totals| totals.store_failures.add(1));
                    return Found::Ask(None);
                }
            };
            fill.done();
            match looked {
                Looked::Found { value, left } => {
                    let beginning = Beginning::of(&value);
                    match self.read(value, left, line.len()) {
                        Some(Stored::Reply(entry)) if entry.bytes <= rule.entry_bytes_max && fits(&entry) => {
                            self.with_totals(|totals| totals.store_hits.add(1));
                            return Found::Kept(entry);
                        }
                        Some(Stored::Passing) => return self.counted_miss(Found::Passing),
                        _ => unwanted = Some(beginning),
                    }
                }
                _ if Instant::now() >= patience => return self.counted_miss(Found::Ask(None)),
                _ => sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Writes a reply behind, with the right to if there is one.
    pub(super) fn keep(
        self: &Arc<Self>,
        line: &[u8],
        fill: Option<Fill>,
        entry: &Entry,
        purges: u64,
        now: Instant,
    ) {
        let life = entry.freshness.lifetime.saturating_sub(entry.age(now)).min(LIFE_MAX);
        if !life.is_zero() {
            self.write(line, fill, stored::bytes(entry, purges, now, life), life);
        }
    }

    /// Lets other nodes know that replies of a kind are not kept.
    pub(super) fn pass(self: &Arc<Self>, line: &[u8], fill: Option<Fill>) {
        if fill.is_some() {
            self.write(line, fill, stored::passing(), PASSING);
        }
    }

    fn write(self: &Arc<Self>, line: &[u8], fill: Option<Fill>, value: Vec<u8>, life: Duration) {
        let Ok(permit) = Arc::clone(&self.writes).try_acquire_owned() else { return };
        let key = key(line);
        let shared = Arc::clone(self);
        let token = fill.as_ref().map_or_else(|| self.values.token(), |fill| fill.token.clone());
        self.values.runtime().spawn(async move {
            let is_kept = shared.values.keep(&key, &token, &value, life).await.is_ok();
            if let Some(fill) = fill.filter(|_| is_kept) {
                fill.done();
            }
            drop(permit);
        });
    }

    fn read(&self, value: Vec<u8>, left: Duration, key_bytes: usize) -> Option<Stored> {
        let (stored, purges) = stored::read(value, left, Instant::now(), key_bytes)?;
        let Stored::Reply(entry) = &stored else { return Some(stored) };
        let heard = self.heard.read().unwrap_or_else(PoisonError::into_inner);
        let is_old =
            heard.concerns(entry, purges) || self.written.concerns(&entry.place.surface, &entry.place.path);
        (!is_old).then_some(stored)
    }

    fn hears(&self) -> bool {
        self.heard.read().unwrap_or_else(PoisonError::into_inner).is_whole
    }

    /// Purges memory by what is new of what is told.
    fn hear(&self, told: Result<(Vec<Noted>, bool), FollowError>) {
        let (noted, is_all) = match told {
            Ok(told) => told,
            Err(error) => {
                self.heard().is_whole = false;
                if !self.is_told.swap(true, Ordering::Relaxed) {
                    let store = &*self.values.settings().name;
                    tracing::warn!(store, %error, "a store of replies does not answer: this node has its own alone");
                }
                return;
            }
        };
        let now = Instant::now();
        let new: Vec<_> = {
            let mut heard = self.heard();
            let new = noted.iter().filter_map(|noted| heard.note(noted, now)).collect();
            heard.is_whole |= is_all;
            new
        };
        if is_all && self.is_told.swap(false, Ordering::Relaxed) {
            tracing::info!(store = &*self.values.settings().name, "a store of replies answers again");
        }
        let Some(cache) = self.cache.upgrade() else { return };
        if new.len() > PURGES_APART_MAX {
            cache.memory().purge(&Purge::default());
        } else {
            for purge in &new {
                cache.memory().purge(purge);
            }
        }
    }

    fn counted_miss(&self, found: Found) -> Found {
        self.with_totals(|totals| totals.store_misses.add(1));
        found
    }

    fn with_totals(&self, count: impl FnOnce(&crate::telemetry::cache::CacheTotals)) {
        if let Some(cache) = self.cache.upgrade() {
            count(cache.memory().totals());
        }
    }
}

impl Fill {
    /// There is nothing to give back.
    fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if !self.is_done {
            let (shared, key, token) = (Arc::clone(&self.shared), self.key, self.token.clone());
            self.shared.values.runtime().spawn(async move { shared.values.release(&key, &token).await });
        }
    }
}

fn key(line: &[u8]) -> ValueKey {
    let digest = digest::digest(&digest::SHA256, line);
    *digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}
