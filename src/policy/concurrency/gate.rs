//! Who may go in while a service has its fill: a count of calls against the limit, by priority.
//!
//! Calls of low priority stop at 70 % of the limit, normal ones at 90 %, so that what is left is there for those
//! of high priority. Counting is an addition; the limit learns from a call only if nobody else is teaching it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{ConcurrencySettings, Gradient};

/// Which calls are shed first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Gate {
    settings: ConcurrencySettings,
    in_flight: AtomicU32,
    limit: AtomicU32,
    gradient: Mutex<Gradient>,
}

impl Priority {
    /// Each, as the configuration names it.
    pub const ALL: [(&'static str, Self); 3] =
        [("low", Self::Low), ("normal", Self::Normal), ("high", Self::High)];

    /// The calls at once that it may fill, of so many; at least one.
    fn share(self, limit: u32) -> u32 {
        let percent = match self {
            Self::Low => 70,
            Self::Normal => 90,
            Self::High => 100,
        };
        let share = u64::from(limit) * percent / 100;
        u32::try_from(share).unwrap_or(u32::MAX).max(1)
    }
}

impl Gate {
    pub fn new(settings: ConcurrencySettings, now: Instant) -> Self {
        let gradient = Gradient::new(settings, now);
        Self {
            settings,
            in_flight: AtomicU32::new(0),
            limit: AtomicU32::new(gradient.limit()),
            gradient: Mutex::new(gradient),
        }
    }

    pub fn settings(&self) -> &ConcurrencySettings {
        &self.settings
    }

    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether a call would be let in now.
    pub fn has_room(&self, priority: Priority) -> bool {
        self.in_flight() < priority.share(self.limit())
    }

    /// Lets a call in, which [leaves](Self::leave) when it has ended.
    pub fn enter(&self, priority: Priority) -> bool {
        if self.in_flight.fetch_add(1, Ordering::Relaxed) < priority.share(self.limit()) {
            return true;
        }
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// A call that was let in has ended; `took` where its time says something of the service.
    pub fn leave(&self, took: Option<Duration>, now: Instant) {
        let in_flight = self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let Some(took) = took else { return };
        // Samples may be missed; nobody waits to give one.
        if let Ok(mut gradient) = self.gradient.try_lock() {
            gradient.ended(took, in_flight, now);
            self.limit.store(gradient.limit(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_priorities_stop_earlier() {
        let check = |limit_min, expected: [usize; 3]| {
            for ((_, priority), expected) in Priority::ALL.into_iter().zip(expected) {
                let settings = ConcurrencySettings { limit_min, ..ConcurrencySettings::default() };
                let gate = Gate::new(settings, Instant::now());
                let entered = (0..2000).filter(|_| gate.enter(priority)).count();
                assert_eq!(entered, expected, "{priority:?} of {limit_min}");
            }
        };
        check(20, [14, 18, 20]);
        check(100, [70, 90, 100]);
        check(1, [1, 1, 1]);
    }

    #[test]
    fn every_sequence_of_eight_events_counts_right() {
        let settings = ConcurrencySettings { limit_min: 4, limit_max: 4, ..ConcurrencySettings::default() };
        for number in 0..5_u32.pow(8) {
            let now = Instant::now();
            let gate = Gate::new(settings, now);
            let mut inside = 0;
            for digit in 0..8 {
                let had_room = Priority::ALL.map(|(_, priority)| gate.has_room(priority));
                assert!(had_room.is_sorted(), "a lower priority has room where a higher has none");
                match number / 5_u32.pow(digit) % 5 {
                    3 if inside > 0 => gate.leave(None, now),
                    4 if inside > 0 => gate.leave(Some(Duration::from_millis(1)), now),
                    3 | 4 => continue,
                    kind => {
                        let kind = usize::try_from(kind).expect("small");
                        assert_eq!(gate.enter(Priority::ALL[kind].1), had_room[kind]);
                        inside += u32::from(had_room[kind]);
                        continue;
                    }
                }
                inside -= 1;
                assert_eq!(gate.in_flight(), inside);
            }
            assert!(inside <= 4 && gate.in_flight() == inside);
            (0..inside).for_each(|_| gate.leave(None, now));
            assert!(gate.has_room(Priority::Low));
        }
    }
}
