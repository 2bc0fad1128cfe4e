//! How long an endpoint lets us wait: a moving average that believes bad news at once and good news slowly.
//!
//! ```text
//! slower than the estimate ─▶ the estimate (a peak)
//! faster                   ─▶ weighed in, the more the longer ago the last reply was
//! nothing for a while      ─▶ the estimate falls towards zero: a slow endpoint is tried again some day
//! ```
//!
//! Of an endpoint that has not answered yet there is no estimate. Any that is assumed starves it beside faster ones,
//! or floods it beside slower ones, so that its calls alone are compared; see [`Cost`].
//!
//! The whole state is one word, so that workers share it without a lock: the estimate in microseconds as `f32`
//! above, the moment of the last change in milliseconds below. Moments wrap after 49 days, which an endpoint that
//! nobody calls for so long survives with a wrong guess about its first reply.

use std::time::Duration;

/// In so long, an estimate that nothing confirms falls to about a third.
const DECAY_MS: f32 = 10_000.0;

/// An endpoint that has not answered yet is measured by this when it fails, or when a call to it is given up.
const UNKNOWN_US: f32 = 30_000.0;

/// A failure counts as a reply so many times slower than those before, because an endpoint that fails fast would
/// otherwise draw all calls. Once is soon forgotten; who fails every time is avoided more with each, up to a
/// bound that is forgotten within a minute: a crash ends many calls at once and is one failure all the same.
const FAILURE_FACTOR: f32 = 3.0;
const FAILURE_US_MAX: f32 = 500_000.0;

/// The estimate and its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency(u64);

/// What one more call costs an endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// The calls that it has, and this one.
    pub calls: u64,
    /// How long each takes, in microseconds, where that is known and is to count.
    pub latency_us: Option<f32>,
}

impl Latency {
    /// Nothing is known yet.
    pub fn unknown(now_ms: u32) -> Self {
        // The sign says that it was never measured: the first reply then is the estimate.
        Self::pack(-UNKNOWN_US, now_ms)
    }

    /// From the word that [`word`](Self::word) gave.
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    pub const fn word(self) -> u64 {
        self.0
    }

    /// In microseconds, as of now; `None`: it has not answered yet.
    pub fn estimate_us(self, now_ms: u32) -> Option<f32> {
        let (estimate_us, then_ms) = self.unpack();
        estimate_us.is_sign_positive().then(|| estimate_us * kept(then_ms, now_ms))
    }

    /// Takes in how long a reply took.
    #[must_use]
    pub fn answered(self, elapsed: Duration, now_ms: u32) -> Self {
        let (estimate_us, then_ms) = self.unpack();
        let sample_us = microseconds(elapsed);
        let kept = kept(then_ms, now_ms);
        let next_us = if estimate_us.is_sign_negative() || sample_us >= estimate_us * kept {
            sample_us
        } else {
            estimate_us * kept + sample_us * (1.0 - kept)
        };
        Self::pack(next_us, now_ms)
    }

    /// Takes in a failure after so long.
    #[must_use]
    pub fn failed(self, elapsed: Duration, now_ms: u32) -> Self {
        let estimate_us = self.estimate_us(now_ms).unwrap_or(UNKNOWN_US);
        let penalty_us = (FAILURE_FACTOR * estimate_us).min(FAILURE_US_MAX);
        Self::pack(penalty_us.max(estimate_us).max(microseconds(elapsed)), now_ms)
    }

    /// Takes in that a call was given up after so long: it would have taken longer, and no less is learned.
    #[must_use]
    pub fn given_up(self, elapsed: Duration, now_ms: u32) -> Self {
        let estimate_us = self.estimate_us(now_ms).unwrap_or(UNKNOWN_US);
        if microseconds(elapsed) > estimate_us { self.answered(elapsed, now_ms) } else { self }
    }

    fn pack(estimate_us: f32, now_ms: u32) -> Self {
        Self(u64::from(estimate_us.to_bits()) << 32 | u64::from(now_ms))
    }

    fn unpack(self) -> (f32, u32) {
        let [a, b, c, d, e, f, g, h] = self.0.to_be_bytes();
        (f32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
    }
}

impl Cost {
    /// Whether this is less than another, each borne by so much weight.
    pub fn is_below(&self, weight: f32, other: &Self, other_weight: f32) -> bool {
        let (one_us, other_us) = self.latency_us.zip(other.latency_us).unwrap_or((1.0, 1.0));
        let of = |calls: u64, latency_us: f32, weight: f32| calls as f32 * latency_us / weight;
        of(self.calls, one_us, weight) < of(other.calls, other_us, other_weight)
    }
}

/// The share of an estimate that is left by now.
fn kept(then_ms: u32, now_ms: u32) -> f32 {
    // A worker that reads its clock before another writes is early by a moment, which is no time at all.
    match now_ms.wrapping_sub(then_ms) {
        0 | 0x8000_0000.. => 1.0,
        passed_ms => (-(passed_ms as f32) / DECAY_MS).exp(),
    }
}

fn microseconds(elapsed: Duration) -> f32 {
    // Never zero: what costs nothing could not be compared by the calls in flight.
    (elapsed.as_secs_f32() * 1e6).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[track_caller]
    fn check(latency: Latency, now_ms: u32, expected_ms: f32) {
        let estimate_ms = latency.estimate_us(now_ms).expect("it has answered") / 1000.0;
        assert!((estimate_ms - expected_ms).abs() < 0.01 * expected_ms, "{estimate_ms}, not {expected_ms}");
    }

    #[test]
    fn peaks_are_believed_at_once_and_improvements_by_and_by() {
        let latency = Latency::unknown(1000);
        assert_eq!(latency.estimate_us(1000), None);
        let latency = latency.answered(5 * MS, 1000);
        check(latency, 1000, 5.0);
        let latency = latency.answered(50 * MS, 1000);
        check(latency, 1000, 50.0);
        // At the same moment, nothing has been forgotten.
        check(latency.answered(5 * MS, 1000), 1000, 50.0);
        // After one time constant, a good third is left of the old.
        check(latency.answered(5 * MS, 11_000), 11_000, 21.554);
    }

    #[test]
    fn silence_makes_a_slow_endpoint_worth_a_try() {
        let latency = Latency::unknown(0).answered(1000 * MS, 0);
        check(latency, 10_000, 367.9);
        check(latency, 100_000, 0.0454);
        check(latency.given_up(900 * MS, 0), 0, 1000.0);
        check(latency.given_up(2000 * MS, 0), 0, 2000.0);
        let unknown = Latency::unknown(0);
        assert_eq!(unknown.given_up(30 * MS, 0), unknown, "who gives up at once has learned nothing");
        check(unknown.given_up(31 * MS, 0), 0, 31.0);
    }

    #[test]
    fn failures_are_slow_replies() {
        let latency = Latency::unknown(0).answered(MS, 0);
        check(latency.failed(Duration::ZERO, 0), 0, 3.0);
        check(latency.failed(Duration::ZERO, 0).failed(Duration::ZERO, 0), 0, 9.0);
        check(latency.failed(700 * MS, 0), 0, 700.0);
        let doomed = (0..20).fold(latency, |latency, _| latency.failed(Duration::ZERO, 0));
        check(doomed, 0, 500.0);
        check(doomed.answered(900 * MS, 0).failed(Duration::ZERO, 0), 0, 900.0);
        check(Latency::unknown(0).failed(Duration::ZERO, 50_000), 50_000, 90.0);
    }

    #[test]
    fn calls_alone_are_compared_where_one_has_not_answered() {
        let cost =
            |calls, latency_ms: Option<f32>| Cost { calls, latency_us: latency_ms.map(|ms| ms * 1000.0) };
        let check = |one: Cost, other: Cost, expected: [bool; 2]| {
            assert_eq!([one.is_below(1.0, &other, 1.0), other.is_below(1.0, &one, 1.0)], expected);
        };
        check(cost(1, Some(1.0)), cost(1, Some(2.0)), [true, false]);
        check(cost(3, Some(1.0)), cost(1, Some(2.0)), [false, true]);
        check(cost(1, Some(500.0)), cost(1, None), [false, false]);
        check(cost(2, Some(0.1)), cost(1, None), [false, true]);
        check(cost(2, None), cost(1, None), [false, true]);
        assert!(cost(1, None).is_below(1.0, &cost(1, Some(1.0)), 0.1), "weights always count");
    }

    #[test]
    fn the_clock_may_wrap_and_disagree() {
        let latency = Latency::unknown(u32::MAX - 4999).answered(100 * MS, u32::MAX - 4999);
        check(latency, 5000, 36.79);
        check(latency, u32::MAX - 5005, 100.0);
        assert_eq!(Latency::from_word(latency.word()), latency);
    }
}
