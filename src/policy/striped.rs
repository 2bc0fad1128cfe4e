//! A count that many threads add to without meeting: each has a cache line of its own, and only whoever wants
//! the sum looks at all of them.

use std::sync::atomic::{AtomicU64, Ordering};

/// See the module's documentation.
#[derive(Debug)]
pub struct Striped(Box<[Stripe]>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

impl Striped {
    /// With room for this many threads; more of them share.
    pub fn new(threads: usize) -> Self {
        Self((0..threads.max(1)).map(|_| Stripe::default()).collect())
    }

    /// Counts one, in the stripe of the thread with this number.
    pub fn add_one(&self, thread: usize) {
        if let Some(Stripe(count)) = self.0.get(thread % self.0.len()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All that was counted.
    pub fn sum(&self) -> u64 {
        self.0.iter().fold(0, |sum, Stripe(count)| sum.wrapping_add(count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_counts_whatever_its_number() {
        let striped = Striped::new(2);
        for thread in [0, 1, 2, 17, usize::MAX] {
            striped.add_one(thread);
        }
        assert_eq!(striped.sum(), 5);
        let none = Striped::new(0);
        none.add_one(3);
        assert_eq!(none.sum(), 1);
    }
}
