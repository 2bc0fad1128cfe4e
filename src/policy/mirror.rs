//! Mirroring: which calls are copied to another service, and how many copies there may be at once.
//!
//! A copy helps nobody who waits for it, so that past a bound it is dropped and never queued.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a rule says of its copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MirrorSettings {
    /// Of a hundred calls, so many are copied.
    pub share_percent: u32,
    /// Copies in flight.
    pub calls_max: usize,
    /// Bytes of the requests in flight.
    pub bytes_max: usize,
    /// Whether calls are copied that change something.
    pub writes: bool,
}

/// The copies in flight to one service, of all rules and workers, from one reload to the next.
#[derive(Debug, Default)]
pub struct Budget {
    calls: AtomicUsize,
    bytes: AtomicUsize,
}

/// A copy's place among them, given back on drop.
#[derive(Debug)]
pub struct Place {
    budget: Arc<Budget>,
    bytes: usize,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    Calls,
    Bytes,
}

impl MirrorSettings {
    /// Whether a call is one of those that are copied; `random` is uniform over all of `u32`.
    pub fn draws(&self, random: u32) -> bool {
        u64::from(random) * 100 < u64::from(self.share_percent) << 32
    }
}

impl Default for MirrorSettings {
    fn default() -> Self {
        Self { share_percent: 100, calls_max: 100, bytes_max: 16 << 20, writes: false }
    }
}

impl Budget {
    /// A place for a request of so many bytes.
    ///
    /// # Errors
    ///
    /// One of the bounds would be crossed.
    pub fn enter(self: &Arc<Self>, bytes: usize, settings: &MirrorSettings) -> Result<Place, Full> {
        let before = self.calls.fetch_add(1, Ordering::Relaxed);
        let bytes_before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Whatever is found, leaving gives it back.
        let place = Place { budget: Arc::clone(self), bytes };
        if before >= settings.calls_max {
            return Err(Full::Calls);
        }
        if bytes_before.saturating_add(bytes) > settings.bytes_max {
            return Err(Full::Bytes);
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.budget.calls.fetch_sub(1, Ordering::Relaxed);
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Full {
    pub const ALL: [Self; 2] = [Self::Calls, Self::Bytes];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calls => "concurrency",
            Self::Bytes => "bytes",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_end_at_the_bound_and_come_back() {
        let settings = MirrorSettings { calls_max: 3, bytes_max: 10, ..MirrorSettings::default() };
        let budget = Arc::new(Budget::default());
        let enter = |bytes| budget.enter(bytes, &settings);
        let first = enter(4).expect("room");
        assert_eq!(enter(7).map(drop), Err(Full::Bytes));
        let second = enter(6).expect("ten of ten bytes");
        assert_eq!(enter(1).map(drop), Err(Full::Bytes));
        let third = enter(0).expect("three of three calls");
        assert_eq!(enter(0).map(drop), Err(Full::Calls));
        drop(first);
        assert_eq!(enter(5).map(drop), Err(Full::Bytes));
        drop(enter(4).expect("what was given back"));
        drop((second, third));
        let counts = [&budget.calls, &budget.bytes].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts, [0, 0]);
    }

    #[test]
    fn a_share_of_all_numbers_is_drawn() {
        let count = |share_percent| {
            let settings = MirrorSettings { share_percent, ..MirrorSettings::default() };
            (0..1000).filter(|step| settings.draws(step * (u32::MAX / 999))).count()
        };
        assert_eq!([1, 10, 50, 99, 100].map(count), [10, 100, 500, 990, 1000]);
    }
}
