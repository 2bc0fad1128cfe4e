//! Durations, counted twice: in a few buckets for those who read text, and in many narrow ones for those who read
//! Prometheus's native histograms.
//!
//! ```text
//! native: bucket i holds (2^((i-1)/8), 2^(i/8)] seconds (schema 3), each a tenth wider than the one before
//! ```
//!
//! Buckets are at fixed places of an array, so that counting is an addition and scrapes of all workers add up.
//! What is at most 2^-14 s (61 µs) is in the zero bucket, what is longer than a day and a half in the last.

use std::time::Duration;

use super::Counter;

/// Upper bounds of the few buckets, in microseconds; the last bucket is unbounded.
pub(super) const DURATION_BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000, 30_000_000,
];

/// Native buckets of each power of two: 2^3.
pub(super) const SCHEMA: i32 = 3;
/// 2^-14 seconds.
pub(super) const ZERO_THRESHOLD: f64 = 1.0 / 16_384.0;
/// The first native bucket begins at the threshold.
pub(super) const FIRST_INDEX: i32 = -14 * 8 + 1;
/// Up to 2^17 seconds.
pub(super) const NATIVE_BUCKETS: usize = (14 + 17) * 8;

/// Where the buckets of a power of two end, as parts of its double: 2^(n/8) / 2, as Prometheus has them.
const PARTS: [f64; 8] = [
    0.5,
    0.545_253_866_332_628_8,
    0.594_603_557_501_360_5,
    0.648_419_777_325_504_8,
    0.707_106_781_186_547_5,
    0.771_105_412_703_970_4,
    0.840_896_415_253_714_4,
    0.917_004_043_204_671_1,
];

#[derive(Debug)]
pub(super) struct Histogram {
    pub(super) buckets: [Counter; DURATION_BOUNDS_US.len() + 1],
    pub(super) sum_us: Counter,
    /// At most the threshold.
    pub(super) zero: Counter,
    pub(super) native: [Counter; NATIVE_BUCKETS],
}

impl Histogram {
    pub(super) fn record(&self, duration: Duration) {
        let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = DURATION_BOUNDS_US.partition_point(|bound| *bound < duration_us);
        if let Some(counter) = self.buckets.get(bucket) {
            counter.add(1);
        }
        self.sum_us.add(duration_us);
        let native = usize::try_from(index(duration_us as f64 / 1e6) - FIRST_INDEX);
        match native {
            Ok(place) => self.native.get(place.min(NATIVE_BUCKETS - 1)).unwrap_or(&self.zero).add(1),
            Err(_) => self.zero.add(1),
        }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: Default::default(),
            sum_us: Counter::default(),
            zero: Counter::default(),
            native: std::array::from_fn(|_| Counter::default()),
        }
    }
}

/// The native bucket of a number that is not negative.
fn index(seconds: f64) -> i32 {
    // IEEE 754: 11 bits of exponent, 52 of fraction. With an exponent of -1 the rest is in [0.5, 1).
    const FRACTION: u64 = (1 << 52) - 1;
    let bits = seconds.to_bits();
    let exponent = i32::try_from(bits >> 52 & 0x7ff).unwrap_or_default() - 1022;
    let part = f64::from_bits(bits & FRACTION | 1022 << 52);
    let within = PARTS.iter().position(|bound| *bound >= part).unwrap_or(PARTS.len());
    (exponent - 1) * 8 + i32::try_from(within).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_buckets_end_where_prometheus_has_them() {
        for (seconds, expected) in [(1.0, 0), (1.000_001, 1), (2.0, 8), (0.5, -8), (0.001, -79), (3.0, 13)] {
            assert_eq!(index(seconds), expected, "{seconds}");
        }
        for expected in -100..100 {
            let bound = 2f64.powf(f64::from(expected) / 8.0);
            assert_eq!(index(bound * 0.999_999), expected, "just below {bound}");
            assert_eq!(index(bound * 1.000_001), expected + 1, "just above {bound}");
        }
        assert_eq!(index(ZERO_THRESHOLD), FIRST_INDEX - 1);
    }

    #[test]
    fn every_duration_is_in_one_bucket_of_each_kind() {
        let histogram = Histogram::default();
        let durations = [0, 1, 61, 62, 1_000, 999_999, 86_400_000_000, u64::MAX / 2];
        for duration_us in durations {
            histogram.record(Duration::from_micros(duration_us));
        }
        let sum = |counters: &[Counter]| counters.iter().map(Counter::value).sum::<u64>();
        assert_eq!(sum(&histogram.buckets), durations.len() as u64);
        assert_eq!((histogram.zero.value(), sum(&histogram.native)), (3, durations.len() as u64 - 3));
        assert_eq!(histogram.native[NATIVE_BUCKETS - 1].value(), 1);
    }
}
