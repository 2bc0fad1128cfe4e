//! What happened lately: two counts over a window that slides by a tenth of its length.
//!
//! ```text
//! ├ 1 s ┼ 1 s ┼ … ┼ 1 s ┤ now        ten buckets; the oldest goes when the youngest is full
//! ```
//!
//! What is counted is forgotten between nine tenths of the window and all of it later.

use std::time::{Duration, Instant};

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Window {
    width: Duration,
    buckets: [Counts; BUCKETS],
    /// The bucket that is being filled, and when it ends.
    head: usize,
    edge: Instant,
}

/// Everything, and the part of it that is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    pub total: u64,
    /// Failures of calls, retries beside calls: at most `total` or not, as the owner counts.
    pub marked: u64,
}

const BUCKETS: usize = 10;

impl Window {
    /// An empty window of this length, which is at least ten nanoseconds.
    pub fn new(length: Duration, now: Instant) -> Self {
        let width = (length / 10).max(Duration::from_nanos(1));
        Self { width, buckets: [Counts::default(); BUCKETS], head: 0, edge: now + width }
    }

    /// When the bucket that is being filled ends: until then, whoever counts elsewhere may go on.
    pub fn edge(&self) -> Instant {
        self.edge
    }

    /// Adds to the bucket that was filled last, whatever time it is: counts that were kept elsewhere until now.
    pub fn add_before(&mut self, counts: Counts) {
        let bucket = &mut self.buckets[self.head];
        bucket.total = bucket.total.saturating_add(counts.total);
        bucket.marked = bucket.marked.saturating_add(counts.marked);
    }

    pub fn add(&mut self, counts: Counts, now: Instant) {
        self.slide(now);
        self.add_before(counts);
    }

    /// What the window holds.
    pub fn sum(&mut self, now: Instant) -> Counts {
        self.slide(now);
        self.buckets.iter().fold(Counts::default(), |sum, bucket| Counts {
            total: sum.total.saturating_add(bucket.total),
            marked: sum.marked.saturating_add(bucket.marked),
        })
    }

    pub fn clear(&mut self) {
        self.buckets = [Counts::default(); BUCKETS];
    }

    fn slide(&mut self, now: Instant) {
        let Some(late) = now.checked_duration_since(self.edge) else { return };
        let buckets_late = late.as_nanos() / self.width.as_nanos();
        if buckets_late >= BUCKETS as u128 {
            self.clear();
            self.edge = now + self.width;
            return;
        }
        while self.edge <= now {
            self.head = (self.head + 1) % BUCKETS;
            self.buckets[self.head] = Counts::default();
            self.edge += self.width;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const ONE: Counts = Counts { total: 1, marked: 0 };

    fn total(window: &mut Window, now: Instant) -> u64 {
        window.sum(now).total
    }

    #[test]
    fn counts_live_for_the_length_of_the_window_and_not_longer() {
        let start = Instant::now();
        let mut window = Window::new(10 * S, start);
        window.add(Counts { total: 3, marked: 1 }, start);
        window.add(ONE, start + 5 * S);
        assert_eq!(window.sum(start + 9 * S), Counts { total: 4, marked: 1 });
        assert_eq!(total(&mut window, start + 10 * S - S / 1000), 4);
        assert_eq!(total(&mut window, start + 10 * S), 1);
        assert_eq!(total(&mut window, start + 15 * S - S / 1000), 1);
        assert_eq!(total(&mut window, start + 15 * S), 0);
    }

    #[test]
    fn long_silence_empties_it_at_once() {
        let start = Instant::now();
        let mut window = Window::new(10 * S, start);
        window.add(ONE, start);
        let late = start + 1_000_000 * S;
        assert_eq!(total(&mut window, late), 0);
        window.add(ONE, late);
        assert_eq!(total(&mut window, late + 9 * S), 1);
        assert_eq!(window.edge(), late + 10 * S);
    }

    #[test]
    fn what_was_counted_elsewhere_belongs_to_the_time_before() {
        let start = Instant::now();
        let mut window = Window::new(10 * S, start);
        window.add_before(Counts { total: 7, marked: 0 });
        window.add(ONE, start + S);
        assert_eq!(total(&mut window, start + 10 * S - S / 1000), 8);
        assert_eq!(total(&mut window, start + 10 * S), 1);
    }

    #[test]
    fn clocks_that_step_back_lose_nothing() {
        let start = Instant::now() + S;
        let mut window = Window::new(10 * S, start);
        window.add(ONE, start - S);
        assert_eq!(total(&mut window, start - S), 1);
    }
}
