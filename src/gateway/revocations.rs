//! Revocations of providers, from the file's words to the stage's lists: by a file, or by a set in a store.
//!
//! What is known outlives a reload that leaves the place of the revocations as it is. A store is not asked before
//! [`Revocations::begin`], so that `transom check` reaches for no network.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::limits;
use crate::config::Config;
use crate::config::auth::Provider;
use crate::config::revoked::{self as file, Set};
use crate::config::stores::StoreKind;
use crate::source::watched::Watched;
use crate::stage::auth::revoked::{ENTRY_BYTES_MAX, GRACE_S, Lists, Revoked};
use crate::store::redis::RedisSettings;
use crate::store::redis::follow::{FollowError, SetSettings, Told, follow};
use crate::telemetry::{Metrics, RevokedSeen};

/// Between two reads of a whole set: so late is what no message told.
const INTERVAL: Duration = Duration::from_secs(60);

/// How long a start or a reload waits for a set: past it, it serves, and those who need it meet 503.
const PATIENCE: Duration = Duration::from_secs(10);

/// What providers believe no longer, by their names.
#[derive(Debug)]
pub(super) struct Revocations {
    background: Handle,
    metrics: Arc<Metrics>,
    kept: Mutex<HashMap<String, Kept>>,
}

#[derive(Clone, Debug)]
struct Kept {
    place: Place,
    revoked: Arc<Revoked>,
    /// Of a set in a store.
    shared: Option<Arc<Shared>>,
}

/// Where revocations come from.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    Nowhere,
    File(Box<Path>),
    Store(Box<(RedisSettings, SetSettings)>),
}

/// What is known of a set in a store, beside what is revoked by it.
#[derive(Debug)]
struct Shared {
    provider: Box<str>,
    entries_max: usize,
    /// Whether the store is asked.
    is_begun: AtomicBool,
    is_known: watch::Sender<bool>,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    read_at: Option<Instant>,
    failed: u64,
    left_out: u64,
    /// The failure that was told, until there is another one or none.
    told: Option<String>,
}

impl Revocations {
    pub(super) fn new(background: &Handle, metrics: &Arc<Metrics>) -> Self {
        Self { background: background.clone(), metrics: metrics.clone(), kept: Mutex::default() }
    }

    /// As much again, to be changed by a configuration that may yet be refused.
    pub(super) fn draft(&self) -> Self {
        let kept = Mutex::new(self.kept().clone());
        Self { background: self.background.clone(), metrics: self.metrics.clone(), kept }
    }

    /// What this provider believes no longer: the same as before if it comes from the same place.
    ///
    /// # Errors
    ///
    /// In words: a file that cannot be read or understood.
    pub(super) fn of(&self, config: &Config, provider: &Provider) -> Result<Arc<Revoked>, String> {
        let place = place(config, provider)?;
        let mut kept = self.kept();
        if let Some(before) = kept.get(&provider.name).filter(|before| before.place == place) {
            return Ok(before.revoked.clone());
        }
        let (revoked, shared) = match &place {
            Place::Nowhere => (Arc::new(Revoked::default()), None),
            Place::File(path) => (self.watch(path)?, None),
            Place::Store(store) => {
                (Arc::new(Revoked::awaited()), Some(Arc::new(Shared::new(&provider.name, &store.1))))
            }
        };
        kept.insert(provider.name.clone(), Kept { place, revoked: revoked.clone(), shared });
        Ok(revoked)
    }

    /// Lets go of providers that are not in the configuration any more.
    pub(super) fn keep_only(&self, is_there: impl Fn(&str) -> bool) {
        self.kept().retain(|name, _| is_there(name));
    }

    /// Begins to ask stores, and shows what is known of them among the metrics.
    pub(super) fn begin(&self) {
        self.ask();
        for (name, kept) in &*self.kept() {
            kept.shared.iter().for_each(|shared| self.show(name, &kept.revoked, shared));
        }
    }

    fn ask(&self) {
        for kept in self.kept().values() {
            let (Place::Store(store), Some(shared)) = (&kept.place, &kept.shared) else { continue };
            if shared.is_begun.swap(true, Ordering::Relaxed) {
                continue;
            }
            let (fed, shared) = (Arc::downgrade(&kept.revoked), shared.clone());
            let tell = move |told| shared.tell(&fed, told);
            match follow(&store.0, store.1.clone(), &self.background, tell) {
                Ok(following) => kept.revoked.feed(Arc::new(following)),
                // Of the certificates to trust, which the limits of this store have found good.
                Err(reason) => tracing::error!(%reason, "revocations cannot be read"),
            }
        }
    }

    /// Begins to ask stores and waits for what they know, not longer than a start may take. Gives the names of
    /// providers without: they answer 503 until their store can be reached. Nobody waits for those that there were
    /// `before`.
    pub(super) async fn ready(&self, before: Option<&Self>) -> Vec<String> {
        self.ask();
        let before: Vec<_> = before.map(Self::shared).unwrap_or_default();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut without = Vec::new();
        for shared in self.shared() {
            if before.iter().any(|known| Arc::ptr_eq(known, &shared)) {
                continue;
            }
            let mut is_known = shared.is_known.subscribe();
            let known = tokio::time::timeout_at(deadline, is_known.wait_for(|is_known| *is_known)).await;
            if known.is_err() {
                without.push(shared.provider.to_string());
            }
        }
        without
    }

    fn shared(&self) -> Vec<Arc<Shared>> {
        self.kept().values().filter_map(|kept| kept.shared.clone()).collect()
    }

    fn watch(&self, path: &Path) -> Result<Arc<Revoked>, String> {
        let revoked = Arc::new(Revoked::default());
        let fed = Arc::downgrade(&revoked);
        let watched = Watched::new(vec![path.to_owned()], &self.background, move |contents| {
            let text = String::from_utf8(contents.concat()).map_err(|_| "not UTF-8")?;
            let lists = Lists::parse(&text).map_err(|error| error.to_string())?;
            if let Some(revoked) = fed.upgrade() {
                revoked.replace(lists);
            }
            Ok(())
        })?;
        revoked.feed(watched);
        Ok(revoked)
    }

    /// Shows what is known of a set among the metrics, in the place of the one of before.
    fn show(&self, name: &str, revoked: &Arc<Revoked>, shared: &Arc<Shared>) {
        let (revoked, shared) = (Arc::downgrade(revoked), shared.clone());
        self.metrics.observe_revoked(name, move || {
            let lists = revoked.upgrade()?.current();
            let progress = shared.progress();
            Some(RevokedSeen {
                entries: lists.map_or(0, |lists| lists.len()),
                left_out: progress.left_out,
                age: progress.read_at.map(|read_at| read_at.elapsed()),
                failed: progress.failed,
            })
        });
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn new(provider: &str, set: &SetSettings) -> Self {
        Self {
            provider: provider.into(),
            entries_max: set.members_max,
            is_begun: AtomicBool::new(false),
            is_known: watch::Sender::new(false),
            progress: Mutex::default(),
        }
    }

    /// Takes in what the set says.
    fn tell(&self, revoked: &Weak<Revoked>, told: Result<Told, FollowError>) {
        let Some(revoked) = revoked.upgrade() else { return };
        let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
        match told {
            Ok(Told::All { members, is_wanted }) => {
                let holds = revoked.current().is_some_and(|lists| lists.holds_any(now_s));
                if members.is_empty() && holds && !is_wanted {
                    return self.failed("the set is gone from the store, and may be lost".to_owned());
                }
                self.replace(&revoked, &members);
            }
            Ok(Told::Some(members)) => self.amend(&revoked, &members, now_s),
            Err(error) => self.failed(error.to_string()),
        }
    }

    fn replace(&self, revoked: &Revoked, members: &[(Vec<u8>, f64)]) {
        let (mut lists, mut left_out) = (Lists::default(), 0);
        for (member, score) in members {
            let is_understood =
                std::str::from_utf8(member).is_ok_and(|entry| lists.insert(entry, end(*score)));
            left_out += u64::from(!is_understood);
        }
        revoked.replace(lists);
        self.is_known.send_replace(true);
        let mut progress = self.progress();
        let provider = &self.provider;
        if progress.told.take().is_some() {
            tracing::info!(%provider, "revocations are read again");
        }
        if left_out > progress.left_out {
            tracing::error!(%provider, left_out, "revocations are not understood, and without effect");
        }
        (progress.read_at, progress.left_out) = (Some(Instant::now()), left_out);
    }

    fn amend(&self, revoked: &Revoked, members: &[(Vec<u8>, Option<f64>)], now_s: u64) {
        // Without the whole there is nothing to amend, and it is on its way.
        let Some(before) = revoked.current() else { return };
        let mut lists = Lists::clone(&before);
        lists.forget_past(now_s);
        let mut left_out = 0;
        for (member, score) in members {
            let Ok(entry) = std::str::from_utf8(member) else {
                left_out += u64::from(score.is_some());
                continue;
            };
            // One that is there already takes no room.
            lists.remove(entry);
            let Some(score) = score else { continue };
            let has_room = lists.len() < self.entries_max;
            left_out += u64::from(!(has_room && lists.insert(entry, end(*score))));
        }
        revoked.replace(lists);
        if left_out > 0 {
            let provider = &self.provider;
            tracing::error!(%provider, left_out, "revocations are without effect: not understood, or too many");
            self.progress().left_out += left_out;
        }
    }

    /// What was known stays.
    fn failed(&self, reason: String) {
        let mut progress = self.progress();
        progress.failed += 1;
        if progress.told.as_ref() != Some(&reason) {
            let provider = &self.provider;
            tracing::error!(%provider, %reason, "revocations cannot be read: those of before stay");
            progress.told = Some(reason);
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until when an entry holds, by its score.
fn end(score: f64) -> u64 {
    // A cast of a float saturates: `+inf` is for ever.
    (score.max(0.0) as u64).saturating_add(GRACE_S)
}

fn place(config: &Config, provider: &Provider) -> Result<Place, String> {
    let set = match provider.revoked() {
        None => return Ok(Place::Nowhere),
        Some(file::Revoked::File(path)) => return Ok(Place::File(path.as_path().into())),
        Some(file::Revoked::Store(set)) => set,
    };
    let store = config.stores.iter().find(|store| store.name == set.store.name);
    let Some(StoreKind::Redis(redis)) = store.map(|store| &store.kind) else {
        return Err(format!("`{}` is no Redis", set.store.name));
    };
    let settings = limits::settings(&set.store.name.as_str().into(), redis)?;
    Ok(Place::Store(Box::new((settings, set_settings(set, &redis.prefix, &provider.name)))))
}

fn set_settings(set: &Set, prefix: &str, provider: &str) -> SetSettings {
    let key = set.key.clone().unwrap_or_else(|| format!("{prefix}:revoked:{provider}"));
    SetSettings {
        channel: set.channel.as_deref().unwrap_or(&key).into(),
        key: key.into(),
        interval: INTERVAL,
        members_max: set.entries_max,
        member_bytes_max: ENTRY_BYTES_MAX,
        grace: Duration::from_secs(GRACE_S),
    }
}
