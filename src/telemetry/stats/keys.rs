//! The API keys among the statistics: those that are used, by id, and how many are not.
//!
//! They are read when somebody looks; nothing is counted twice. The id of a key is in the key alone, so that one
//! that was not used since the start has no name: it is counted with the others of its consumer.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Arc, OnceLock};

use serde::Serialize;

use super::view::shown;
use super::{CONSUMERS_MAX, OTHER};
use crate::policy::api_key::{KeyStatistic, KeyUse};
use crate::telemetry::timestamp::Timestamp;

/// Keys that are shown, those that were used last before all others.
pub(super) const KEYS_MAX: usize = if cfg!(test) { 4 } else { 1000 };

/// How the keys are read.
type ReadKeys = Box<dyn Fn() -> Vec<KeyStatistic> + Send + Sync>;

/// The keys of consumers.
#[derive(Default)]
pub struct Keys(OnceLock<ReadKeys>);

/// What a view has of the keys.
#[derive(Debug, Serialize)]
pub(super) struct Rows {
    /// Those that were used since the start, the latest first.
    keys: Vec<Row>,
    /// Used ones that there was no room for.
    keys_left_out: usize,
    /// How many were not used since the start, by consumer.
    keys_unused: BTreeMap<Box<str>, usize>,
}

#[derive(Debug, Serialize)]
struct Row {
    id: Box<str>,
    consumer: Box<str>,
    last_used: String,
    expires: Option<String>,
}

impl Keys {
    /// Shows what `read` has whenever somebody looks; the first who says how holds.
    pub fn observe(&self, read: impl Fn() -> Vec<KeyStatistic> + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(read));
    }

    pub(super) fn rows(&self) -> Rows {
        Rows::of(self.0.get().map(|read| read()).unwrap_or_default())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Rows {
    fn of(keys: Vec<KeyStatistic>) -> Self {
        let mut used = Vec::new();
        let mut unused: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for mut key in keys {
            match key.last_use.take() {
                Some(last_use) => used.push((last_use, key)),
                None => *unused.entry(key.consumer).or_default() += 1,
            }
        }
        used.sort_by_cached_key(|(last_use, key)| {
            (Reverse(last_use.at), Arc::clone(&key.consumer), Arc::clone(&last_use.id))
        });
        let mut keys_unused: BTreeMap<Box<str>, usize> = BTreeMap::new();
        for (index, (consumer, count)) in unused.iter().enumerate() {
            let consumer = if index < CONSUMERS_MAX { &**consumer } else { OTHER };
            *keys_unused.entry(consumer.into()).or_default() += count;
        }
        Self {
            keys_left_out: used.len().saturating_sub(KEYS_MAX),
            keys: used.iter().take(KEYS_MAX).map(Row::of).collect(),
            keys_unused,
        }
    }

    /// Adds their table, for people; nothing where there are no keys.
    pub(super) fn write(&self, out: &mut String) {
        if !self.keys.is_empty() {
            let _ = writeln!(out, "\n{:<16} {:<32} {:<24} expires", "key", "consumer", "last used");
        } else if !self.keys_unused.is_empty() {
            out.push_str("\nkeys\n");
        }
        for Row { id, consumer, last_used, expires } in &self.keys {
            let expires = expires.as_deref().unwrap_or("never");
            let _ = writeln!(out, "{:<16} {:<32} {last_used:<24} {expires}", shown(id), shown(consumer));
        }
        if self.keys_left_out > 0 {
            let _ = writeln!(out, "and {} keys more", self.keys_left_out);
        }
        for (consumer, count) in &self.keys_unused {
            let keys = if *count == 1 { "key" } else { "keys" };
            let _ = writeln!(out, "{count} {keys} of {} not used since the start", shown(consumer));
        }
    }
}

impl Row {
    fn of((last_use, key): &(KeyUse, KeyStatistic)) -> Self {
        let moment = |unix_s: u64| Timestamp(unix_s.saturating_mul(1000)).to_string();
        Self {
            id: (&*last_use.id).into(),
            consumer: (&*key.consumer).into(),
            last_used: moment(last_use.at),
            expires: key.expires.map(moment),
        }
    }
}
