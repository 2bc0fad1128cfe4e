//! The purges of one store that this node knows of, by number, and which replies they concern.
//!
//! ```text
//! 0 ──────── all is purged ────────▶ floor ──┼──┼─────┼──▶ last      number ▶
//! ```
//!
//! A purge of everything is a floor and needs no other purge below it. So is whatever is too much to remember: more
//! is forgotten than was asked for, and never less.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::entry::Entry;
use super::memory::Purge;
use crate::store::redis::values::{LIFE_MAX, Noted};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Whether these are all that there are.
    pub(super) is_whole: bool,
    last: u64,
    /// Whatever was asked for before this one is purged.
    floor: u64,
    purges: BTreeMap<u64, Remembered>,
    bytes: usize,
}

#[derive(Debug)]
struct Remembered {
    purge: Purge,
    bytes: usize,
    came: Instant,
}

/// More than a store remembers, so that those of a whole store are remembered apart.
const PURGES_MAX: usize = 8192;

/// Of their texts.
const BYTES_MAX: usize = 32 << 20;

/// No reply in a store was asked for longer ago.
const REMEMBERED: Duration = Duration::from_secs(2 * LIFE_MAX.as_secs());

impl Heard {
    /// The number of the last purge.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// Remembers a purge; it is given back where it is new.
    pub(super) fn note(&mut self, noted: &Noted, now: Instant) -> Option<Purge> {
        let Noted { number, ref text } = *noted;
        self.last = self.last.max(number);
        if number <= self.floor || self.purges.contains_key(&number) {
            return None;
        }
        // What this one does not know is of a later gateway, which purges by more than this one can tell.
        let purge: Purge = serde_json::from_slice(text).unwrap_or_default();
        if purge == Purge::default() {
            self.raise(number);
            return Some(purge);
        }
        let remembered = Remembered { purge: purge.clone(), bytes: text.len(), came: now };
        self.purges.insert(number, remembered);
        self.bytes += text.len();
        self.tidy(now);
        Some(purge)
    }

    /// Whether a reply that was asked for when `last` was the last purge is purged.
    pub(super) fn concerns(&self, entry: &Entry, last: u64) -> bool {
        let mut later = self.purges.range(last.saturating_add(1)..);
        last < self.floor || later.any(|(_, remembered)| remembered.purge.concerns(entry))
    }

    /// Takes everything up to a number for purged.
    fn raise(&mut self, number: u64) {
        let above = self.purges.split_off(&number.saturating_add(1));
        self.purges = above;
        self.bytes = self.purges.values().map(|remembered| remembered.bytes).sum();
        self.floor = self.floor.max(number);
    }

    /// Forgets what no reply is old enough for, and what is too much.
    fn tidy(&mut self, now: Instant) {
        loop {
            let is_too_much = self.purges.len() > PURGES_MAX || self.bytes > BYTES_MAX;
            let Some(first) = self.purges.first_entry() else { break };
            let is_old = now.saturating_duration_since(first.get().came) >= REMEMBERED;
            if !is_old && !is_too_much {
                break;
            }
            let (number, remembered) = first.remove_entry();
            self.bytes -= remembered.bytes;
            if !is_old {
                self.floor = self.floor.max(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::tests::entry;
    use super::*;

    fn noted(number: u64, text: &str) -> Noted {
        Noted { number, text: text.into() }
    }

    fn tags(tag: &str) -> String {
        format!(r#"{{"tags":["{tag}"],"surface":null,"method":null,"path":null}}"#)
    }

    const ALL: &str = r#"{"tags":null,"surface":null,"method":null,"path":null}"#;

    #[test]
    fn a_purge_concerns_what_was_asked_for_before_it() {
        let (mut heard, now) = (Heard::default(), Instant::now());
        let (one, two) =
            (entry(&[("x-cache-tags", "one")], &[], 1), entry(&[("x-cache-tags", "two")], &[], 1));
        assert!(heard.note(&noted(5, &tags("one")), now).is_some());
        assert!(heard.note(&noted(5, &tags("one")), now).is_none(), "it is known");
        assert!(heard.note(&noted(3, &tags("two")), now).is_some(), "late, and new");
        assert_eq!(heard.last(), 5);
        let found = |heard: &Heard, last: u64| [&one, &two].map(|entry| heard.concerns(entry, last));
        assert_eq!(found(&heard, 2), [true, true]);
        assert_eq!(found(&heard, 3), [true, false]);
        assert_eq!(found(&heard, 5), [false, false]);
        // A later gateway purges by something that this one does not know.
        assert!(heard.note(&noted(7, r#"{"age":"10s"}"#), now).is_some());
        assert_eq!(found(&heard, 6), [true, true]);
        assert_eq!(found(&heard, 7), [false, false]);
    }

    #[test]
    fn a_purge_of_everything_takes_the_place_of_those_before_it() {
        let (mut heard, now) = (Heard::default(), Instant::now());
        for number in 1..=100 {
            heard.note(&noted(number, &tags("one")), now);
        }
        assert!(heard.note(&noted(90, ALL), now).is_none(), "the number of another one");
        assert!(heard.note(&noted(101, ALL), now).is_some());
        assert_eq!((heard.purges.len(), heard.bytes, heard.floor), (0, 0, 101));
        assert!(heard.note(&noted(101, ALL), now).is_none(), "it is known");
        assert!(heard.note(&noted(100, &tags("one")), now).is_none(), "nothing before it is new");
        assert!(heard.note(&noted(102, &tags("one")), now).is_some());
        assert_eq!((heard.purges.len(), heard.bytes), (1, tags("one").len()));
    }

    #[test]
    fn one_purge_too_many_is_one_of_everything_before_the_next() {
        let (mut heard, now) = (Heard::default(), Instant::now());
        let other = entry(&[("x-cache-tags", "other")], &[], 1);
        for number in 1..=PURGES_MAX as u64 {
            heard.note(&noted(number, &tags("one")), now);
        }
        assert_eq!((heard.purges.len(), heard.floor), (PURGES_MAX, 0));
        assert!(!heard.concerns(&other, 0));
        heard.note(&noted(PURGES_MAX as u64 + 1, &tags("one")), now);
        assert_eq!((heard.purges.len(), heard.floor), (PURGES_MAX, 1));
        assert!(heard.concerns(&other, 0) && !heard.concerns(&other, 1));
    }

    #[test]
    fn one_byte_too_many_is_a_purge_too_many() {
        let (mut heard, now) = (Heard::default(), Instant::now());
        let long = tags(&"t".repeat(BYTES_MAX / 4 - tags("").len()));
        for number in 1..=4 {
            heard.note(&noted(number, &long), now);
        }
        assert_eq!((heard.purges.len(), heard.bytes, heard.floor), (4, BYTES_MAX, 0));
        heard.note(&noted(5, &tags("")), now);
        assert_eq!((heard.purges.len(), heard.floor), (4, 1));
    }

    #[test]
    fn what_no_reply_is_old_enough_for_is_forgotten() {
        let (mut heard, now) = (Heard::default(), Instant::now());
        let one = entry(&[("x-cache-tags", "one")], &[], 1);
        heard.note(&noted(1, &tags("one")), now);
        heard.note(&noted(2, &tags("two")), now + REMEMBERED - Duration::from_secs(1));
        assert_eq!(heard.purges.len(), 2);
        heard.note(&noted(3, &tags("two")), now + REMEMBERED);
        assert_eq!((heard.purges.len(), heard.floor), (2, 0));
        assert!(!heard.concerns(&one, 0));
    }
}
