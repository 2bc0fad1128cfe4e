//! The keys of one provider, kept by one task: requests read them by one atomic load and never fetch.
//!
//! ```text
//! requests ── load ──▶ current ◀── store ── task ── fetch ──▶ provider
//!     └── want(kid) ──▶ schedule ──▶ wakes ──▶ ┘      (at most one at a time)
//! ```
//!
//! While the provider is down the last keys go on serving, up to `max_stale`; beyond it there are none,
//! and every token meets 503 instead of 401: nobody can say whether it is good. The keyring outlives
//! reloads that leave its [`Source`] as it is; the task ends with the last who holds it.

use std::any::Any;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::fetch::{Fetch, Fetched, Origin};
use super::keys::KeySet;
use super::schedule::{PATIENCE, Schedule, Want};

/// Where keys come from and how they are kept: what must be equal for a keyring to outlive a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub origin: Origin,
    /// Certificates in PEM that the provider's must descend from, instead of the system's.
    pub ca: Option<Arc<[u8]>>,
    /// The longest between two fetches in the background.
    pub refresh: Duration,
    /// The least between two fetches for the sake of unknown keys.
    pub floor: Duration,
    /// How long keys are believed after the provider last confirmed them.
    pub max_stale: Duration,
}

/// Requests that wait for a fetch at the same time; more are refused at once.
const WAITING_MAX: usize = 1024;

/// See the module's documentation.
#[derive(Debug)]
pub struct Keyring {
    name: Box<str>,
    current: ArcSwapOption<KeySet>,
    schedule: Mutex<Schedule>,
    wanted: Arc<Notify>,
    /// Counts fetches that came to an end.
    rounds: watch::Sender<u64>,
    waiting: AtomicUsize,
    counts: Counts,
    /// What the task begins with; none once it has begun, and where keys are given.
    idle: Mutex<Option<(Fetch, Duration)>>,
    /// None: keys are given, or nobody has begun to fetch them.
    pub(super) task: OnceLock<AbortHandle>,
    /// What gives the keys, for as long as they are wanted.
    feed: OnceLock<Arc<dyn Any + Send + Sync>>,
}

/// What an operator wants to know of a keyring.
#[derive(Debug, Default)]
pub struct Counts {
    pub fetched: AtomicU64,
    pub failed: AtomicU64,
    /// Tokens that named a key which is not in the set.
    pub unknown: AtomicU64,
}

/// A fetch that is under way or about to be, to be waited for.
pub(super) struct Round {
    rounds: watch::Receiver<u64>,
    keyring: Arc<Keyring>,
    want: Want,
}

/// Fetches the keys once, to see whether they can be.
///
/// # Errors
///
/// In words, for operators.
pub async fn probe(source: &Source) -> Result<(), String> {
    Fetch::new(source.origin.clone(), source.ca.as_deref())?.fetch().await.map(drop)
}

impl Keyring {
    /// A keyring that fetches its keys, once it is told to [`begin`](Self::begin).
    ///
    /// # Errors
    ///
    /// In words: no TLS client can be made for this source.
    pub fn fetching(name: &str, source: &Source) -> Result<Arc<Self>, String> {
        let fetch = Fetch::new(source.origin.clone(), source.ca.as_deref())?;
        let schedule = Schedule::new(source.refresh, source.floor, Instant::now().into_std());
        Ok(Arc::new(Self::new(name, schedule, Some((fetch, source.max_stale)))))
    }

    /// A keyring of keys that are given, by [`replace`](Self::replace): those of a file, or a secret.
    pub fn given(name: &str) -> Arc<Self> {
        let never = Schedule::new(Duration::MAX, Duration::MAX, Instant::now().into_std());
        Arc::new(Self::new(name, never, None))
    }

    fn new(name: &str, schedule: Schedule, idle: Option<(Fetch, Duration)>) -> Self {
        Self {
            name: name.into(),
            current: ArcSwapOption::empty(),
            schedule: Mutex::new(schedule),
            wanted: Arc::default(),
            rounds: watch::Sender::new(0),
            waiting: AtomicUsize::new(0),
            counts: Counts::default(),
            idle: Mutex::new(idle),
            task: OnceLock::new(),
            feed: OnceLock::new(),
        }
    }

    /// Fetches keys on `runtime` from now on, the first time at once.
    pub fn begin(self: &Arc<Self>, runtime: &Handle) {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((fetch, max_stale)) = idle {
            let task = run(Arc::downgrade(self), self.wanted.clone(), fetch, max_stale);
            let _ = self.task.set(runtime.spawn(task).abort_handle());
        }
    }

    /// Holds what gives the keys, so that both live as long.
    pub fn feed(&self, feed: Arc<dyn Any + Send + Sync>) {
        let _ = self.feed.set(feed);
    }

    /// Puts other keys in the place of those before.
    pub fn replace(&self, keys: KeySet) {
        let keys = keys.following(self.current.load().as_deref());
        self.current.store(Some(Arc::new(keys)));
    }

    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether there are keys.
    pub fn is_ready(&self) -> bool {
        self.current.load().is_some()
    }

    /// Waits until there are keys, for `patience` at most: what a start and a reload do before they serve.
    pub async fn ready(&self, patience: Duration) -> bool {
        let mut rounds = self.rounds.subscribe();
        let keys = rounds.wait_for(|_| self.is_ready());
        tokio::time::timeout(patience, keys).await.is_ok()
    }

    /// The keys, unless the provider was never reached or has been out of reach for too long.
    pub(super) fn current(&self) -> arc_swap::Guard<Option<Arc<KeySet>>> {
        self.current.load()
    }

    /// A token names a key that is not in the set: asks for a fetch, unless there was one just now.
    pub(super) fn want(self: &Arc<Self>, key_id: &str) -> Option<Round> {
        self.counts.unknown.fetch_add(1, Ordering::Relaxed);
        self.task.get()?;
        let rounds = self.rounds.subscribe();
        let want = self.schedule().want(key_id, Instant::now().into_std());
        self.wanted.notify_one();
        if want == Want::Nothing {
            return None;
        }
        // Gives its place back when it is dropped, also here.
        let is_free = self.waiting.fetch_add(1, Ordering::Relaxed) < WAITING_MAX;
        let round = Round { rounds, keyring: self.clone(), want };
        is_free.then_some(round)
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what a fetch brought. Returns whether the keys are confirmed.
    fn finish(&self, outcome: Result<Fetched, String>) -> bool {
        let now = Instant::now().into_std();
        let is_confirmed = match outcome {
            Ok(Fetched { keys, max_age }) => {
                self.counts.fetched.fetch_add(1, Ordering::Relaxed);
                if let Some(keys) = keys {
                    self.publish(keys);
                }
                self.schedule().succeeded(max_age, now, random());
                true
            }
            Err(reason) => {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                self.schedule().failed(now, random());
                tracing::warn!(provider = %self.name, %reason, "keys cannot be fetched");
                false
            }
        };
        self.rounds.send_modify(|rounds| *rounds += 1);
        is_confirmed
    }

    fn publish(&self, keys: KeySet) {
        let before = self.current.load();
        let keys = keys.following(before.as_deref());
        if before.as_ref().is_none_or(|before| before.generation != keys.generation) {
            tracing::info!(provider = %self.name, keys = keys.len(), skipped = keys.skipped, "new keys");
        }
        self.current.store(Some(Arc::new(keys)));
    }

    fn forget(&self) {
        if self.current.swap(None).is_some() {
            tracing::error!(provider = %self.name, "the keys are too old to be believed");
        }
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl Round {
    /// Waits for the fetch, not longer than a request may. What comes of it is in the keyring.
    pub(super) async fn end(mut self, key_id: &str) {
        let ended = tokio::time::timeout(PATIENCE, self.rounds.changed()).await.is_ok();
        let keys = self.keyring.current();
        let is_latest = ended && self.want == Want::Next;
        if is_latest && keys.as_ref().is_some_and(|keys| !keys.knows(Some(key_id))) {
            self.keyring.schedule().still_unknown(key_id, Instant::now().into_std());
        }
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        self.keyring.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Fetches whenever the schedule says so, and lets keys go that nobody has confirmed for too long.
async fn run(keyring: Weak<Keyring>, wanted: Arc<Notify>, mut fetch: Fetch, max_stale: Duration) {
    let mut stale_at = None;
    loop {
        let Some(holder) = keyring.upgrade() else { return };
        let due = Instant::from_std(holder.schedule().due());
        drop(holder);
        tokio::select! {
            () = tokio::time::sleep_until(due) => {
                let Some(holder) = keyring.upgrade() else { return };
                holder.schedule().begin(Instant::now().into_std());
                drop(holder);
                let outcome = fetch.fetch().await;
                let Some(holder) = keyring.upgrade() else { return };
                if holder.finish(outcome) {
                    stale_at = Some(Instant::now() + max_stale);
                }
            }
            () = wanted.notified() => {}
            () = tokio::time::sleep_until(stale_at.unwrap_or(due)), if stale_at.is_some() => {
                stale_at = None;
                let Some(holder) = keyring.upgrade() else { return };
                holder.forget();
                fetch.forget();
            }
        }
    }
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness the jitter is that of zero; nothing secret depends on it.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}
