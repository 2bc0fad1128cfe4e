//! What has been written, on its way into a store that tells all nodes of it.
//!
//! ```text
//! a write ─▶ waiting ─▶ under way ─┬─ noted: a purge like any other ─▶ the next, a second later unless many wait
//!              ▲                   │
//!              └────── failed ─────┘
//! ```
//!
//! No reply waits for it. Until all nodes are told, this one finds nothing in the store for what was written.
//! A store remembers a bounded number of purges, so that one note is for all writes that come within a second.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::memory::{Purge, Target};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Outbox(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: Batch,
    under_way: Batch,
    /// Somebody tells.
    is_open: bool,
}

#[derive(Debug, Default)]
struct Batch {
    targets: BTreeSet<Target>,
    /// There were too many to name.
    is_everything: bool,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Tell(Purge),
    /// All is told.
    Nothing,
}

/// Between two notes.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// Targets that wait; one more is everything.
const WAITING_MAX: usize = 4096;

/// Targets of one note, and their bytes, so that the store takes it.
const TARGETS_MAX: usize = 512;
const BYTES_MAX: usize = 32 << 10;

impl Outbox {
    /// Adds what was written; `true` where nobody tells yet, and the caller has to see to it.
    pub(super) fn add(&self, target: &Target) -> bool {
        let mut state = self.state();
        state.waiting.add(target.clone());
        !std::mem::replace(&mut state.is_open, true)
    }

    /// Whether the store may have something that was written meanwhile.
    pub(super) fn concerns(&self, surface: &str, path: &str) -> bool {
        let state = self.state();
        // Most often nothing is under way.
        if !state.is_open {
            return false;
        }
        let target = Target { surface: surface.to_owned(), path: path.to_owned() };
        let has = |batch: &Batch| batch.is_everything || batch.targets.contains(&target);
        has(&state.waiting) || has(&state.under_way)
    }

    /// The next note; with nothing to tell it is closed.
    pub(super) fn next(&self) -> Next {
        let mut state = self.state();
        let State { waiting, under_way, is_open } = &mut *state;
        *under_way = waiting.take();
        if under_way.is_everything {
            return Next::Tell(Purge::default());
        }
        if under_way.targets.is_empty() {
            *is_open = false;
            return Next::Nothing;
        }
        Next::Tell(Purge { targets: Some(under_way.targets.iter().cloned().collect()), ..Purge::default() })
    }

    /// All nodes are told, or none; `true` where the next note can wait.
    pub(super) fn settle(&self, is_told: bool) -> bool {
        let mut state = self.state();
        let under_way = std::mem::take(&mut state.under_way);
        if !is_told {
            state.waiting.is_everything |= under_way.is_everything;
            under_way.targets.into_iter().for_each(|target| state.waiting.add(target));
        }
        !is_told || state.waiting.targets.len() < TARGETS_MAX
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    fn add(&mut self, target: Target) {
        if self.is_everything {
            return;
        }
        self.targets.insert(target);
        if self.targets.len() > WAITING_MAX {
            self.targets.clear();
            self.is_everything = true;
        }
    }

    /// As many as one note names, at least one.
    fn take(&mut self) -> Self {
        let is_everything = std::mem::take(&mut self.is_everything);
        let (mut taken, mut bytes) = (BTreeSet::new(), 0);
        while let Some(target) = self.targets.pop_first() {
            bytes += target.surface.len() + target.path.len();
            if taken.len() == TARGETS_MAX || bytes > BYTES_MAX && !taken.is_empty() {
                self.targets.insert(target);
                break;
            }
            taken.insert(target);
        }
        Self { targets: taken, is_everything }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Target {
        Target { surface: "web".to_owned(), path: path.to_owned() }
    }

    fn names(next: &Next) -> Option<usize> {
        match next {
            Next::Tell(purge) => purge.targets.as_ref().map(Vec::len),
            Next::Nothing => Some(0),
        }
    }

    #[test]
    fn writes_wait_for_the_note_that_is_under_way() {
        let outbox = Outbox::default();
        let concerns = |path: &str| outbox.concerns("web", path);
        assert!(!concerns("/a"));
        assert!(outbox.add(&target("/a")), "somebody has to tell");
        assert!(!outbox.add(&target("/a")) && !outbox.add(&target("/b")));
        assert_eq!(names(&outbox.next()), Some(2));
        assert!(concerns("/a") && concerns("/b") && !concerns("/c") && !outbox.concerns("app", "/a"));
        // Written once more, behind the note.
        assert!(!outbox.add(&target("/a")));
        assert!(outbox.settle(true));
        assert!(concerns("/a") && !concerns("/b"));
        assert_eq!(names(&outbox.next()), Some(1));
        // The store does not answer.
        assert!(outbox.settle(false));
        assert!(concerns("/a"));
        assert_eq!(names(&outbox.next()), Some(1));
        assert!(outbox.settle(true));
        assert_eq!(outbox.next(), Next::Nothing);
        assert!(!concerns("/a"));
        assert!(outbox.add(&target("/a")), "nobody tells any more");
    }

    #[test]
    fn a_note_has_so_many_names_and_so_many_bytes() {
        let outbox = Outbox::default();
        for number in 0..=TARGETS_MAX {
            outbox.add(&target(&format!("/{number}")));
        }
        assert_eq!(names(&outbox.next()), Some(TARGETS_MAX));
        assert!(outbox.settle(true), "one waits, which can wait");
        assert_eq!(names(&outbox.next()), Some(1));
        outbox.settle(true);
        let path = |first: &str| format!("{first}{}", "x".repeat(BYTES_MAX / 2 - 3 - first.len()));
        outbox.add(&target(&path("/a")));
        outbox.add(&target(&path("/b")));
        assert_eq!(names(&outbox.next()), Some(2));
        outbox.settle(true);
        outbox.add(&target(&path("/a")));
        outbox.add(&target(&path("/bb")));
        outbox.add(&target("/c"));
        assert_eq!(names(&outbox.next()), Some(2));
        outbox.settle(true);
        assert_eq!(names(&outbox.next()), Some(1));
        outbox.settle(true);
        // One that is longer goes alone; the store takes it for a purge of everything.
        outbox.add(&target(&"/x".repeat(BYTES_MAX)));
        outbox.add(&target("/a"));
        assert_eq!(names(&outbox.next()), Some(1));
    }

    #[test]
    fn one_too_many_that_wait_are_everything() {
        let outbox = Outbox::default();
        for number in 0..WAITING_MAX {
            outbox.add(&target(&format!("/{number}")));
        }
        assert!(!outbox.concerns("web", "/none"));
        outbox.add(&target("/one"));
        assert!(outbox.concerns("web", "/none"));
        assert_eq!(outbox.next(), Next::Tell(Purge::default()));
        assert!(outbox.settle(true));
        assert_eq!(outbox.next(), Next::Nothing);
    }
}
