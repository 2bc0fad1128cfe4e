//! When a failing thing may be tried again: exponential delays with jitter.
//!
//! The first failure costs nothing, because a restarted backend is usually back at once; from the
//! second one on the delay doubles from `delay_min` to `delay_max`, each drawn from its upper half so
//! that a crowd of workers does not return in step.

use std::time::{Duration, Instant};

/// The delay after repeated failures.
#[derive(Clone, Debug)]
pub struct Backoff {
    delay_min: Duration,
    delay_max: Duration,
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    pub fn new(delay_min: Duration, delay_max: Duration) -> Self {
        Self { delay_min, delay_max, failures: 0, until: None }
    }

    /// Whether the thing is still to be left alone.
    pub fn is_waiting(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// How much longer it is to be left alone.
    pub fn left(&self, now: Instant) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Notes a failure; `random` is uniform over all of `u32`.
    pub fn failed(&mut self, now: Instant, random: u32) {
        let delay = match self.failures {
            0 => Duration::ZERO,
            failures => {
                let factor = 1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX);
                self.delay_min.saturating_mul(factor).min(self.delay_max)
            }
        };
        self.failures = self.failures.saturating_add(1);
        let half = delay / 2;
        self.until = Some(now + half + half.mul_f64(f64::from(random) / f64::from(u32::MAX)));
    }

    /// Forgets all failures.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn delays_double_up_to_the_maximum() {
        let now = Instant::now();
        let mut backoff = Backoff::new(50 * MS, 300 * MS);
        for delay_ms in [0, 50, 100, 200, 300, 300] {
            backoff.failed(now, u32::MAX);
            let end = now + delay_ms * MS;
            assert!(!backoff.is_waiting(end), "{delay_ms}");
            assert!(delay_ms == 0 || backoff.is_waiting(end - MS / 1000), "{delay_ms}");
            assert_eq!(backoff.left(now), delay_ms * MS);
        }
        backoff.succeeded();
        assert!(!backoff.is_waiting(now));
        backoff.failed(now, 0);
        assert!(!backoff.is_waiting(now));
    }

    #[test]
    fn jitter_takes_at_most_half() {
        let now = Instant::now();
        let mut backoff = Backoff::new(50 * MS, 300 * MS);
        backoff.failed(now, 0);
        backoff.failed(now, 0);
        assert!(backoff.is_waiting(now + 24 * MS));
        assert!(!backoff.is_waiting(now + 25 * MS));
    }

    #[test]
    fn a_thousand_failures_do_not_overflow() {
        let now = Instant::now();
        let mut backoff = Backoff::new(50 * MS, 300 * MS);
        for _ in 0..1000 {
            backoff.failed(now, u32::MAX);
        }
        assert!(!backoff.is_waiting(now + 300 * MS));
    }
}
