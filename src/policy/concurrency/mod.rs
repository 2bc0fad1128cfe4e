//! How many calls a service can take at once, found by watching how long they take: Netflix's Gradient2.
//!
//! ```text
//! gradient = clamp(tolerance × long / short, ½, 1)          long, short: mean durations of long and of late
//! limit    ← (1 − smoothing) × limit + smoothing × (gradient × limit + √limit)
//! ```
//!
//! While calls take no longer than usual, the limit grows by a queue of its square root; when they take longer,
//! calls are waiting somewhere behind the gateway, and it falls. It does not move while less than half of it is
//! used. A sample is the mean of at least ten calls and a tenth of a second, because methods differ and one slow
//! method is no overload. [`Gate`] is the same machine with its counter of calls, shared by threads.

mod gate;

use std::time::{Duration, Instant};

pub use gate::{Gate, Priority};

/// Bounds of the limit, and how it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcurrencySettings {
    /// Where it begins, and below which it never falls.
    pub limit_min: u32,
    pub limit_max: u32,
    /// How much longer than usual calls may take without consequence, in hundredths: 150 is half as long again.
    pub tolerance_percent: u32,
    /// How much of a new limit counts at once, in hundredths.
    pub smoothing_percent: u32,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Gradient {
    settings: ConcurrencySettings,
    limit: f64,
    long: Average,
    sample: Sample,
}

/// What was measured since the last change.
#[derive(Clone, Copy, Debug)]
struct Sample {
    since: Instant,
    calls: u32,
    sum_s: f64,
    in_flight_max: u32,
}

/// The exponential mean of what is usual; plain until it has something to go by.
#[derive(Clone, Copy, Debug, Default)]
struct Average {
    mean_s: f64,
    samples: u32,
}

const SAMPLE_CALLS_MIN: u32 = 10;
const SAMPLE_TIME_MIN: Duration = Duration::from_millis(100);

/// Samples that the long mean goes by, and those until which it is a plain one.
const LONG_SAMPLES: f64 = 600.0;
const WARM_UP_SAMPLES: u32 = 10;

impl Default for ConcurrencySettings {
    fn default() -> Self {
        Self { limit_min: 20, limit_max: 1000, tolerance_percent: 150, smoothing_percent: 20 }
    }
}

impl Gradient {
    pub fn new(settings: ConcurrencySettings, now: Instant) -> Self {
        let limit = f64::from(settings.limit_min);
        Self { settings, limit, long: Average::default(), sample: Sample::new(now) }
    }

    /// Calls that may be in flight.
    pub fn limit(&self) -> u32 {
        // At most `limit_max`, which is 32 bits; a part of a call is none.
        self.limit as u32
    }

    /// Notes a call that took so long, `in_flight` of them having been there.
    pub fn ended(&mut self, took: Duration, in_flight: u32, now: Instant) {
        let sample = &mut self.sample;
        sample.calls = sample.calls.saturating_add(1);
        sample.sum_s += took.as_secs_f64();
        sample.in_flight_max = sample.in_flight_max.max(in_flight);
        if sample.calls < SAMPLE_CALLS_MIN || now.saturating_duration_since(sample.since) < SAMPLE_TIME_MIN {
            return;
        }
        let sample = std::mem::replace(sample, Sample::new(now));
        self.follow(sample.sum_s / f64::from(sample.calls), sample.in_flight_max);
    }

    fn follow(&mut self, short_s: f64, in_flight_max: u32) {
        // Nothing takes no time; a clock may be too coarse to see it.
        let short_s = short_s.max(1e-9);
        self.long.add(short_s);
        // What was slow for long and is fast again: the memory of the slow time would let the limit grow too far.
        if self.long.mean_s > 2.0 * short_s {
            self.long.mean_s *= 0.95;
        }
        if f64::from(in_flight_max) < self.limit / 2.0 {
            return;
        }
        let ConcurrencySettings { limit_min, limit_max, tolerance_percent, smoothing_percent } =
            self.settings;
        let tolerance = f64::from(tolerance_percent) / 100.0;
        let smoothing = f64::from(smoothing_percent) / 100.0;
        let gradient = (tolerance * self.long.mean_s / short_s).clamp(0.5, 1.0);
        let wanted = gradient * self.limit + self.limit.sqrt();
        let limit = (1.0 - smoothing) * self.limit + smoothing * wanted;
        self.limit = limit.clamp(f64::from(limit_min), f64::from(limit_max));
    }
}

impl Sample {
    fn new(since: Instant) -> Self {
        Self { since, calls: 0, sum_s: 0.0, in_flight_max: 0 }
    }
}

impl Average {
    fn add(&mut self, value: f64) {
        self.samples = self.samples.saturating_add(1);
        let weight = if self.samples <= WARM_UP_SAMPLES {
            1.0 / f64::from(self.samples)
        } else {
            2.0 / (LONG_SAMPLES + 1.0)
        };
        self.mean_s += (value - self.mean_s) * weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    struct Service {
        gradient: Gradient,
        now: Instant,
    }

    impl Service {
        fn new(settings: ConcurrencySettings) -> Self {
            let now = Instant::now();
            Self { gradient: Gradient::new(settings, now), now }
        }

        /// So many samples of calls that take so long, with the limit used by this part of it.
        fn run(&mut self, samples: u32, took: Duration, used: f64) -> u32 {
            for _ in 0..samples {
                self.now += SAMPLE_TIME_MIN;
                let in_flight = (f64::from(self.gradient.limit()) * used).round() as u32;
                for _ in 0..SAMPLE_CALLS_MIN {
                    self.gradient.ended(took, in_flight, self.now);
                }
            }
            self.gradient.limit()
        }
    }

    #[test]
    fn it_grows_while_calls_take_their_usual_time_and_falls_when_they_wait() {
        let mut service = Service::new(ConcurrencySettings::default());
        assert_eq!(service.gradient.limit(), 20);
        assert_eq!(service.run(1, 10 * MS, 1.0), 20, "a part of a call is none");
        assert!(service.run(50, 10 * MS, 1.0) > 60);
        assert_eq!(service.run(300, 10 * MS, 1.0), 1000);
        // Half as long again is tolerated, twice as long is not.
        assert_eq!(service.run(20, 14 * MS, 1.0), 1000);
        let before = service.gradient.limit();
        let after = service.run(5, 40 * MS, 1.0);
        assert!(after < before * 2 / 3, "{before} to {after}");
        assert_eq!(service.run(50, 400 * MS, 1.0), 20);
        // And up again, when what waited is gone.
        assert!(service.run(100, 10 * MS, 1.0) > 100);
    }

    #[test]
    fn what_is_not_used_does_not_grow() {
        let mut service = Service::new(ConcurrencySettings::default());
        assert_eq!(service.run(100, 10 * MS, 0.4), 20);
        assert!(service.run(100, 10 * MS, 0.6) > 20);
    }

    #[test]
    fn a_sample_needs_calls_and_time() {
        let settings = ConcurrencySettings { smoothing_percent: 100, ..ConcurrencySettings::default() };
        let start = Instant::now();
        let mut gradient = Gradient::new(settings, start);
        (0..1000).for_each(|_| gradient.ended(MS, 20, start + 99 * MS));
        assert_eq!(gradient.limit(), 20);
        gradient.ended(MS, 20, start + 100 * MS);
        assert_eq!(gradient.limit(), 24);
        (0..9).for_each(|_| gradient.ended(MS, 24, start + 1000 * MS));
        assert_eq!(gradient.limit(), 24);
        gradient.ended(MS, 24, start + 1000 * MS);
        assert_eq!(gradient.limit(), 29);
    }

    #[test]
    fn extremes_stay_within_the_bounds() {
        let settings = ConcurrencySettings { limit_min: 1, limit_max: 3, ..ConcurrencySettings::default() };
        let mut service = Service::new(settings);
        for took in [Duration::ZERO, Duration::MAX, MS, Duration::ZERO, Duration::from_nanos(1)] {
            assert!((1..=3).contains(&service.run(20, took, 1.0)), "{took:?}");
        }
    }

    #[test]
    fn every_sequence_of_eight_samples_stays_within_the_bounds() {
        let settings = ConcurrencySettings {
            limit_min: 2,
            limit_max: 40,
            smoothing_percent: 100,
            ..ConcurrencySettings::default()
        };
        let kinds = [(MS, 1.0), (10 * MS, 1.0), (1000 * MS, 1.0), (10 * MS, 0.0)];
        for number in 0..4_usize.pow(8) {
            let mut service = Service::new(settings);
            for digit in 0..8 {
                let (took, used) = kinds[number / 4_usize.pow(digit) % 4];
                let before = service.gradient.limit;
                service.run(1, took, used);
                let after = service.gradient.limit;
                assert!((2.0..=40.0).contains(&after), "{number:o}");
                assert!(
                    after >= before / 2.0 && after <= before + before.sqrt(),
                    "{number:o}: {before} to {after}"
                );
                assert!(used > 0.0 || after == before, "{number:o}");
            }
        }
    }
}
