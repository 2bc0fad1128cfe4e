//! One row of the statistics: calls by code, bytes, messages and a log-linear histogram of durations.
//!
//! ```text
//! bucket 0: under 64 µs; then four of equal width between each power of two and the next, up to 134 s
//! ```
//!
//! The worst a percentile can be off is a bucket's width, a quarter; within a bucket calls are taken as
//! spread evenly, so that it is less. A [`Cell`] has one writer, who holds the lock of its shard: counting
//! is a load and a store, no locked instruction. Anyone may read at any time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::status::Code;

/// How one call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub code: Code,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub messages: u64,
    /// Units that it took of its limits.
    pub cost: u64,
    pub duration: Duration,
}

const CODES: usize = Code::ALL.len();
/// 2⁶ µs is the end of the first bucket.
const FIRST_BITS: u32 = 6;
const LAST_BITS: u32 = 27;
const BUCKETS: usize = 1 + (LAST_BITS - FIRST_BITS) as usize * 4;

/// A row that grows.
#[derive(Debug)]
pub(super) struct Cell([AtomicU64; NUMBERS]);

/// A row as it was at some moment, or between two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sum([u64; NUMBERS]);

const BYTES_IN: usize = CODES;
const BYTES_OUT: usize = CODES + 1;
const MESSAGES: usize = CODES + 2;
const COST: usize = CODES + 3;
const RULES_BROKEN: usize = CODES + 4;
const DURATION_US: usize = CODES + 5;
const DURATIONS: usize = CODES + 6;
const NUMBERS: usize = DURATIONS + BUCKETS;

impl Default for Cell {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Cell {
    /// Counts one call; the caller is the only writer at this moment.
    pub(super) fn record(&self, outcome: &Outcome) {
        let duration_us = u64::try_from(outcome.duration.as_micros()).unwrap_or(u64::MAX);
        self.add(usize::from(outcome.code.number()), 1);
        self.add(BYTES_IN, outcome.bytes_in);
        self.add(BYTES_OUT, outcome.bytes_out);
        self.add(MESSAGES, outcome.messages);
        self.add(COST, outcome.cost);
        self.add(DURATION_US, duration_us);
        self.add(DURATIONS + bucket(duration_us), 1);
    }

    /// Counts a request that has broken rules; the caller is the only writer at this moment.
    pub(super) fn broke_rules(&self) {
        self.add(RULES_BROKEN, 1);
    }

    fn add(&self, index: usize, count: u64) {
        let number = &self.0[index];
        number.store(number.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// The requests that have broken rules.
    pub(super) fn rules_broken(&self) -> u64 {
        self.0[RULES_BROKEN].load(Ordering::Relaxed)
    }

    /// The calls that ended with `code`.
    pub(super) fn calls(&self, code: Code) -> u64 {
        self.0[usize::from(code.number())].load(Ordering::Relaxed)
    }
}

impl Default for Sum {
    fn default() -> Self {
        Self([0; NUMBERS])
    }
}

impl Sum {
    pub(super) fn add(&mut self, cell: &Cell) {
        for (sum, number) in self.0.iter_mut().zip(&cell.0) {
            *sum = sum.wrapping_add(number.load(Ordering::Relaxed));
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (sum, number) in self.0.iter_mut().zip(other.0) {
            *sum = sum.wrapping_add(number);
        }
    }

    /// What was counted after `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let mut difference = self.clone();
        for (number, earlier) in difference.0.iter_mut().zip(earlier.0) {
            // A reader may see one number of a call before the other.
            *number = number.saturating_sub(earlier);
        }
        difference
    }

    pub(super) fn calls(&self) -> u64 {
        self.0[..CODES].iter().sum()
    }

    /// The codes that occurred.
    pub(super) fn codes(&self) -> impl Iterator<Item = (Code, u64)> {
        Code::ALL.into_iter().zip(self.0).filter(|(_, calls)| *calls > 0)
    }

    pub(super) fn bytes_in(&self) -> u64 {
        self.0[BYTES_IN]
    }

    pub(super) fn bytes_out(&self) -> u64 {
        self.0[BYTES_OUT]
    }

    pub(super) fn messages(&self) -> u64 {
        self.0[MESSAGES]
    }

    pub(super) fn cost(&self) -> u64 {
        self.0[COST]
    }

    pub(super) fn rules_broken(&self) -> u64 {
        self.0[RULES_BROKEN]
    }

    /// The mean duration in milliseconds; `None` without calls.
    pub(super) fn mean_ms(&self) -> Option<f64> {
        let calls = self.calls();
        (calls > 0).then(|| self.0[DURATION_US] as f64 / calls as f64 / 1000.0)
    }

    /// The duration in milliseconds that `share` of the calls did not exceed; `None` without calls.
    pub(super) fn percentile_ms(&self, share: f64) -> Option<f64> {
        let durations = &self.0[DURATIONS..];
        let count: u64 = durations.iter().sum();
        let rank = (share * count as f64).ceil().max(1.0);
        let mut below = 0.0;
        for (index, calls) in durations.iter().enumerate() {
            let calls = *calls as f64;
            if calls > 0.0 && below + calls >= rank {
                let (from, to) = (bound_us(index), bound_us(index + 1));
                return Some((from + (to - from) * (rank - below) / calls) / 1000.0);
            }
            below += calls;
        }
        None
    }
}

/// The bucket of a duration.
fn bucket(duration_us: u64) -> usize {
    let bits = duration_us.max(1).ilog2();
    if bits < FIRST_BITS {
        return 0;
    }
    if bits >= LAST_BITS {
        return BUCKETS - 1;
    }
    let quarter = (duration_us >> (bits - 2)) & 3;
    1 + (bits - FIRST_BITS) as usize * 4 + quarter as usize
}

/// Where a bucket begins, in microseconds.
fn bound_us(index: usize) -> f64 {
    match index.checked_sub(1) {
        None => 0.0,
        Some(quarters) => {
            let power = 1_u64 << (FIRST_BITS as usize + quarters / 4);
            (power + power / 4 * (quarters % 4) as u64) as f64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_their_bounds_say() {
        for index in 0..BUCKETS {
            let (from, to) = (bound_us(index) as u64, bound_us(index + 1) as u64);
            assert_eq!((bucket(from), bucket(to - 1)), (index, index), "{from} to {to}");
            assert!(index == 0 || (to - from) * 4 <= from, "{from} to {to} is wider than a quarter");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(bound_us(BUCKETS), f64::from(1 << LAST_BITS));
    }

    fn sum(durations_us: impl IntoIterator<Item = u64>) -> Sum {
        let cell = Cell::default();
        for duration_us in durations_us {
            let duration = Duration::from_micros(duration_us);
            cell.record(&Outcome {
                code: Code::Ok,
                bytes_in: 1,
                bytes_out: 2,
                messages: 3,
                cost: 4,
                duration,
            });
        }
        let mut sum = Sum::default();
        sum.add(&cell);
        sum
    }

    #[test]
    fn percentiles_are_near_the_truth() {
        let sum = sum((1..=10_000).map(|number| number * 100));
        for (share, expected) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = sum.percentile_ms(share).expect("there are calls");
            assert!((found / expected - 1.0).abs() < 0.13, "{share}: {found} and not {expected}");
        }
        assert_eq!(sum.mean_ms(), Some(500.05));
        assert_eq!(
            (sum.calls(), sum.bytes_in(), sum.bytes_out(), sum.messages()),
            (10_000, 10_000, 20_000, 30_000)
        );
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!((sum([]).percentile_ms(0.5), sum([]).mean_ms()), (None, None));
    }

    #[test]
    fn longest_calls_are_in_the_last_bucket() {
        let found = sum([u64::MAX]).percentile_ms(0.5).expect("a call");
        assert!(found > 100_000.0, "{found}");
    }

    #[test]
    fn what_is_counted_later_is_the_difference() {
        let (before, mut after) = (sum([1000, 2000]), sum([1000, 2000]));
        after.merge(&sum([9000]));
        assert_eq!(after.since(&before), sum([9000]));
        assert_eq!(before.since(&after).calls(), 0);
    }
}
