//! Who still calls what is deprecated: a row for each surface and consumer, to know whom to tell before the end.
//!
//! Calls of nobody in particular are in the rows of surface and method alone. Once its time is over a call is refused
//! before anybody is known.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;

use serde::Serialize;

use super::view::shown;
use super::{CONSUMERS_MAX, OTHER};
use crate::telemetry::timestamp::Timestamp;

/// What one worker has counted, or all of them together.
#[derive(Clone, Debug, Default)]
pub(super) struct Callers {
    /// By surface and consumer.
    known: HashMap<(Arc<str>, Arc<str>), Calls>,
    /// By surface: what does not fit.
    others: HashMap<Arc<str>, Calls>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Calls {
    count: u64,
    last: Timestamp,
}

impl Calls {
    fn add(&mut self, more: Self) {
        self.count += more.count;
        self.last = self.last.max(more.last);
    }
}

/// By surface and consumer.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Rows(BTreeMap<Box<str>, BTreeMap<Box<str>, Row>>);

#[derive(Debug, Serialize)]
struct Row {
    calls: u64,
    last: String,
}

impl Callers {
    /// Counts a call.
    pub(super) fn record(&mut self, surface: &Arc<str>, consumer: &Arc<str>, now: Timestamp) {
        self.add((Arc::clone(surface), Arc::clone(consumer)), Calls { count: 1, last: now });
    }

    /// Adds what another worker has counted.
    pub(super) fn merge(&mut self, other: Self) {
        // Who calls most has a row of his own.
        let mut known: Vec<_> = other.known.into_iter().collect();
        known.sort_by(|(one, few), (other, many)| (many.count, one).cmp(&(few.count, other)));
        known.into_iter().for_each(|(caller, calls)| self.add(caller, calls));
        for (surface, calls) in other.others {
            self.others.entry(surface).or_default().add(calls);
        }
    }

    fn add(&mut self, caller: (Arc<str>, Arc<str>), calls: Calls) {
        let has_room = self.known.len() < CONSUMERS_MAX || self.known.contains_key(&caller);
        let row = if has_room {
            self.known.entry(caller).or_default()
        } else {
            self.others.entry(caller.0).or_default()
        };
        row.add(calls);
    }

    pub(super) fn rows(self) -> Rows {
        let others = self.others.into_iter().map(|(surface, calls)| ((surface, Arc::from(OTHER)), calls));
        let mut rows = Rows::default();
        for ((surface, consumer), Calls { count, last }) in self.known.into_iter().chain(others) {
            let row = Row { calls: count, last: last.to_string() };
            rows.0.entry((&*surface).into()).or_default().insert((&*consumer).into(), row);
        }
        rows
    }
}

impl Rows {
    /// The lines for people; none where nothing deprecated is called.
    pub(super) fn write(&self, out: &mut String) {
        if !self.0.is_empty() {
            let _ = writeln!(out, "\n{:<16} {:<32} {:>12} last call", "deprecated", "consumer", "calls");
        }
        for (surface, consumers) in &self.0 {
            for (consumer, Row { calls, last }) in consumers {
                let _ = writeln!(out, "{:<16} {:<32} {calls:>12} {last}", shown(surface), shown(consumer));
            }
        }
    }
}
