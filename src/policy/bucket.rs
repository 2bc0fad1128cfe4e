//! A rate as a token bucket of eight bytes: the generic cell rate algorithm (GCRA).
//!
//! ```text
//! interval = period / units        tolerance = interval × burst
//! begin    = max(tat, now)         end = begin + interval × cost
//! end − now ≤ tolerance ? tat ← end : refused, and fits at end − tolerance
//! ```
//!
//! All state is the theoretical arrival time (TAT): when the bucket is full again. A TAT that has passed
//! says no more than none at all, which is why forgetting it grants nothing. Exactly `burst` units pass at
//! once; the interval is rounded up to the nanosecond, so that the rate is never exceeded.

use std::time::Duration;

/// `units` a period, `burst` of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    interval_ns: u64,
    burst: u64,
}

/// What asking a limit for units comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Admitted; the state to keep.
    Taken { cell: u64 },
    /// Not now; the same units fit after this long if nobody else takes any.
    Refused { retry_ns: u64 },
    /// Never: more units than the limit holds when it is full.
    TooLarge,
}

/// A full bucket never takes longer to refill than this; it also keeps every sum within 64 bits.
const TOLERANCE_NS_MAX: u64 = 366 * 24 * 3600 * 1_000_000_000;

impl Rate {
    /// `units` each `period`, `burst` at once; `None` where a number is zero or a full refill takes over a year.
    pub fn new(units: u64, period: Duration, burst: u64) -> Option<Self> {
        if units == 0 || burst == 0 {
            return None;
        }
        let interval_ns = u64::try_from(period.as_nanos().div_ceil(u128::from(units))).ok()?;
        let tolerance_ns = interval_ns.checked_mul(burst)?;
        (1..=TOLERANCE_NS_MAX).contains(&tolerance_ns).then_some(Self { interval_ns, burst })
    }

    /// The units that pass at once when nothing was taken for long.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// Between two units, once the burst is spent.
    pub fn interval_ns(&self) -> u64 {
        self.interval_ns
    }

    /// From empty to full.
    pub fn tolerance_ns(&self) -> u64 {
        self.interval_ns * self.burst
    }

    /// Units a second in the long run.
    pub fn per_second(&self) -> f64 {
        1e9 / self.interval_ns as f64
    }

    /// What one of `nodes` may admit when they cannot ask each other. At least one unit fits.
    pub fn share(&self, nodes: u32) -> Self {
        let nodes = u64::from(nodes.max(1));
        let burst = (self.burst / nodes).max(1);
        let interval_ns = self.interval_ns.saturating_mul(nodes).min(TOLERANCE_NS_MAX / burst);
        Self { interval_ns, burst }
    }

    /// Asks for `cost` units at `now_ns`, with the state `tat_ns`; 0 is the state of a key never seen.
    pub fn take(&self, tat_ns: u64, now_ns: u64, cost: u64) -> Verdict {
        if cost > self.burst {
            return Verdict::TooLarge;
        }
        let end = tat_ns.max(now_ns).saturating_add(self.interval_ns * cost);
        match (end - now_ns).checked_sub(self.tolerance_ns()) {
            None | Some(0) => Verdict::Taken { cell: end },
            Some(retry_ns) => Verdict::Refused { retry_ns },
        }
    }

    /// The state after `cost` units, whose taking had left `taken_ns`, are given back at `now_ns`.
    ///
    /// What time has refilled since is not given twice: at most what of them was still missing goes back.
    pub fn give_back(&self, tat_ns: u64, taken_ns: u64, now_ns: u64, cost: u64) -> u64 {
        let owed = taken_ns.saturating_sub(now_ns).min(self.interval_ns.saturating_mul(cost));
        tat_ns.saturating_sub(owed)
    }

    /// Units that would pass now.
    pub fn remaining(&self, tat_ns: u64, now_ns: u64) -> u64 {
        self.tolerance_ns().saturating_sub(tat_ns.saturating_sub(now_ns)) / self.interval_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const START: u64 = 1_000 * S;

    fn rate(units: u64, period_s: u64, burst: u64) -> Rate {
        Rate::new(units, Duration::from_secs(period_s), burst).expect("a rate")
    }

    /// Takes one unit at each of `at_ms` after the start; expects `.` for taken, or the wait in ms.
    fn check(rate: Rate, steps: &[(u64, u64, Result<(), u64>)]) {
        let mut tat = 0;
        for (at_ms, cost, expected) in steps {
            let verdict = rate.take(tat, START + at_ms * 1_000_000, *cost);
            let seen = match verdict {
                Verdict::Taken { cell } => {
                    tat = cell;
                    Ok(())
                }
                Verdict::Refused { retry_ns } => Err(retry_ns / 1_000_000),
                Verdict::TooLarge => Err(u64::MAX),
            };
            assert_eq!(seen, *expected, "{rate:?} at {at_ms} ms");
        }
    }

    #[test]
    fn the_burst_passes_exactly_and_the_rest_at_the_rate() {
        let ok = Ok(());
        check(rate(10, 1, 1), &[(0, 1, ok), (0, 1, Err(100)), (99, 1, Err(1)), (100, 1, ok)]);
        check(rate(10, 1, 2), &[(0, 1, ok), (0, 1, ok), (0, 1, Err(100)), (100, 1, ok), (100, 1, Err(100))]);
        check(rate(5, 60, 1), &[(0, 1, ok), (1, 1, Err(11_999)), (12_000, 1, ok)]);
        // A refusal debits nothing, however often it is repeated.
        check(rate(1, 1, 1), &[(0, 1, ok), (1, 1, Err(999)), (2, 1, Err(998)), (1000, 1, ok)]);
        // Idle time saves no more than the burst.
        check(rate(10, 1, 2), &[(0, 1, ok), (9000, 2, ok), (9000, 1, Err(100))]);
        // What costs more waits longer; what costs more than the burst never fits; nothing costs nothing.
        check(
            rate(10, 1, 4),
            &[
                (0, 3, ok),
                (0, 3, Err(200)),
                (0, 1, ok),
                (0, 0, ok),
                (0, 5, Err(u64::MAX)),
                (200, 3, Err(100)),
            ],
        );
    }

    #[test]
    fn waiting_as_told_is_enough_and_one_nanosecond_less_is_not() {
        for (units, period_s, burst) in [(3, 1, 3), (7, 1, 2), (1000, 3600, 10), (999_999, 1, 50)] {
            let rate = rate(units, period_s, burst);
            let mut tat = 0;
            for _ in 0..burst {
                let Verdict::Taken { cell } = rate.take(tat, START, 1) else { panic!("{rate:?}") };
                tat = cell;
            }
            let Verdict::Refused { retry_ns } = rate.take(tat, START, 1) else { panic!("{rate:?}") };
            assert!(matches!(rate.take(tat, START + retry_ns - 1, 1), Verdict::Refused { retry_ns: 1 }));
            assert!(matches!(rate.take(tat, START + retry_ns, 1), Verdict::Taken { .. }));
        }
    }

    #[test]
    fn remaining_units_are_those_that_pass() {
        let rate = rate(10, 1, 20);
        assert_eq!(rate.remaining(0, START), 20);
        assert_eq!(rate.remaining(START + S, START), 10);
        assert_eq!(rate.remaining(START + S + 1, START), 9);
        assert_eq!(rate.remaining(START + 3 * S, START), 0);
    }

    #[test]
    fn what_is_given_back_was_never_taken_and_never_more() {
        let rate = rate(10, 1, 20);
        let Verdict::Taken { cell } = rate.take(0, START, 5) else { panic!("fits") };
        assert_eq!(rate.remaining(rate.give_back(cell, cell, START, 5), START), 20);
        // Half of it has been refilled by time already.
        let later = START + S / 4;
        assert_eq!(rate.give_back(cell, cell, later, 5), later);
        // All of it has, and somebody else took since.
        let late = START + S;
        let Verdict::Taken { cell: other } = rate.take(cell, late, 1) else { panic!("fits") };
        assert_eq!(rate.give_back(other, cell, late, 5), other);
    }

    #[test]
    fn a_share_is_at_least_one_unit() {
        assert_eq!(rate(100, 1, 31).share(4), rate(25, 1, 7));
        assert_eq!(rate(10, 1, 2).share(4).burst(), 1);
        assert_eq!(rate(10, 1, 2).share(0), rate(10, 1, 2));
        let slow = rate(1, 366 * 24 * 3600, 1);
        assert_eq!(slow.share(u32::MAX), slow);
    }

    #[test]
    fn numbers_that_mean_nothing_are_refused() {
        let year = Duration::from_secs(366 * 24 * 3600);
        let check = |units, period, burst, good: bool| {
            assert_eq!(Rate::new(units, period, burst).is_some(), good, "{units} {period:?} {burst}");
        };
        check(0, year, 1, false);
        check(1, year, 0, false);
        check(1, Duration::ZERO, 1, false);
        check(1, year, 1, true);
        check(1, year, 2, false);
        check(u64::MAX, year, 1, true);
        check(1, Duration::MAX, 1, false);
        check(1, Duration::from_secs(1), u64::MAX, false);
    }

    #[test]
    fn states_at_the_end_of_time_do_not_overflow() {
        let rate = rate(1, 3600, 100);
        assert!(matches!(rate.take(u64::MAX, START, 100), Verdict::Refused { .. }));
        assert_eq!(rate.remaining(u64::MAX, 0), 0);
    }
}
