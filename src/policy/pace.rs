//! What a limit lets pass, and when, in words: `10/s` with a burst of 20 is "20 at once, then one every 100 ms".
//!
//! The words are of a caller that has been quiet for long and then asks as often as it may. The numbers are those
//! that [`Rate::take`] comes to, and the tests hold them against it. Where the cost does not divide the burst, what
//! is left over makes the first wait shorter than all others.

use super::bucket::Rate;
use super::limit::Limit;
use super::quota::{OverQuota, Period, Quota};

/// When calls pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    /// At least one.
    at_once: u64,
    /// From these to the next.
    first_wait_ns: u64,
    /// From that one on, between any two.
    wait_ns: u64,
}

/// What passes when, if each call takes `cost` units; in units where that is `None`, for it differs from call to call.
pub fn words(limit: &Limit, cost: Option<u64>) -> String {
    let (cost, unit) = match cost {
        Some(cost) => (cost.max(1), ""),
        None => (1, " units"),
    };
    if limit.refuses() && cost > limit.capacity() {
        return format!("none, for a call takes {cost} of {}", limit.capacity());
    }
    match limit {
        Limit::Rate(rate) => of_rate(Pace::of(rate, cost), unit),
        Limit::Quota(quota) => of_quota(*quota, cost, unit),
    }
}

impl Pace {
    /// `cost` is not more than the burst.
    fn of(rate: &Rate, cost: u64) -> Self {
        let left_over = rate.burst() % cost;
        let interval_ns = rate.interval_ns();
        Self {
            at_once: rate.burst() / cost,
            first_wait_ns: interval_ns.saturating_mul(cost - left_over),
            wait_ns: interval_ns.saturating_mul(cost),
        }
    }
}

fn of_rate(pace: Pace, unit: &str) -> String {
    let Pace { at_once, first_wait_ns, wait_ns } = pace;
    let every = duration(wait_ns);
    if first_wait_ns != wait_ns {
        return format!(
            "{at_once} at once, the next after {}, then one every {every}",
            duration(first_wait_ns)
        );
    }
    match at_once {
        1 => format!("one{} every {every}", unit.trim_end_matches('s')),
        _ => format!("{at_once}{unit} at once, then one every {every}"),
    }
}

fn of_quota(quota: Quota, cost: u64, unit: &str) -> String {
    let end = match quota.period() {
        Period::Day => "00:00 UTC",
        Period::Month => "the 1st of the month, 00:00 UTC",
    };
    let beyond = match quota.over() {
        OverQuota::Deny => "",
        OverQuota::Bill => ", more pass and are billed",
    };
    format!("{}{unit} until {end}{beyond}", quota.units() / cost)
}

/// To the nanosecond, in the largest unit that is not less than one of it; minutes and hours only where they are whole.
fn duration(ns: u64) -> String {
    const S: u64 = 1_000_000_000;
    for (unit_ns, name) in [(3600 * S, "h"), (60 * S, "min")] {
        if ns >= unit_ns && ns.is_multiple_of(unit_ns) {
            return format!("{} {name}", ns / unit_ns);
        }
    }
    let (unit_ns, name, digits) = [(S, "s", 9), (1_000_000, "ms", 6), (1_000, "µs", 3)]
        .into_iter()
        .find(|(unit_ns, ..)| ns >= *unit_ns)
        .unwrap_or((1, "ns", 0));
    let (whole, rest) = (ns / unit_ns, ns % unit_ns);
    if rest == 0 {
        return format!("{whole} {name}");
    }
    let rest = format!("{rest:0digits$}");
    format!("{whole}.{} {name}", rest.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::bucket::Verdict;
    use super::*;

    fn rate(units: u64, period_s: u64, burst: u64) -> Rate {
        Rate::new(units, Duration::from_secs(period_s), burst).expect("a rate")
    }

    #[test]
    fn rates_are_told_as_they_are_counted() {
        let check = |(units, period_s, burst), cost: Option<u64>, expected: &str| {
            assert_eq!(words(&Limit::Rate(rate(units, period_s, burst)), cost), expected);
        };
        check((10, 1, 20), Some(1), "20 at once, then one every 100 ms");
        check((6, 60, 6), Some(1), "6 at once, then one every 10 s");
        check((6, 60, 1), Some(1), "one every 10 s");
        check((1, 60, 1), Some(1), "one every 1 min");
        check((1, 3600, 2), Some(1), "2 at once, then one every 1 h");
        check((40, 3600, 40), Some(1), "40 at once, then one every 90 s");
        check((7, 1, 7), Some(1), "7 at once, then one every 142.857143 ms");
        check((400, 60, 1), Some(1), "one every 150 ms");
        check((40, 60, 1), Some(1), "one every 1.5 s");
        check((30_000, 1, 5), Some(1), "5 at once, then one every 33.334 µs");
        check((1_000_000_000, 1, 5), Some(1), "5 at once, then one every 1 ns");
        // A cost divides, and what is left over is waited for less.
        check((10, 1, 20), Some(5), "4 at once, then one every 500 ms");
        check((10, 1, 20), Some(20), "one every 2 s");
        check((10, 1, 20), Some(3), "6 at once, the next after 100 ms, then one every 300 ms");
        check((10, 1, 3), Some(2), "1 at once, the next after 100 ms, then one every 200 ms");
        check((10, 1, 20), Some(21), "none, for a call takes 21 of 20");
        // Who knows what a call takes?
        check((10, 1, 20), None, "20 units at once, then one every 100 ms");
        check((10, 1, 1), None, "one unit every 100 ms");
    }

    #[test]
    fn quotas_are_told_with_their_end() {
        let check = |units, period, over, cost: Option<u64>, expected: &str| {
            let quota = Quota::new(units, period, over).expect("a quota");
            assert_eq!(words(&Limit::Quota(quota), cost), expected);
        };
        let (deny, bill) = (OverQuota::Deny, OverQuota::Bill);
        check(10_000, Period::Month, deny, Some(1), "10000 until the 1st of the month, 00:00 UTC");
        check(100, Period::Day, deny, Some(1), "100 until 00:00 UTC");
        check(100, Period::Day, deny, Some(7), "14 until 00:00 UTC");
        check(100, Period::Day, deny, Some(101), "none, for a call takes 101 of 100");
        check(100, Period::Day, deny, None, "100 units until 00:00 UTC");
        check(100, Period::Day, bill, Some(1), "100 until 00:00 UTC, more pass and are billed");
        check(100, Period::Day, bill, Some(101), "0 until 00:00 UTC, more pass and are billed");
    }

    /// When the first calls of one that asks as soon as it may pass.
    fn passed_ns(rate: &Rate, cost: u64, count: u64) -> Vec<u64> {
        const START_NS: u64 = 1_000_000_000_000;
        let (mut now_ns, mut cell, mut passed) = (START_NS, 0, Vec::new());
        for _ in 0..count {
            if let Verdict::Refused { retry_ns } = rate.take(cell, now_ns, cost) {
                now_ns += retry_ns;
            }
            let Verdict::Taken { cell: after } = rate.take(cell, now_ns, cost) else { panic!("it fits") };
            cell = after;
            passed.push(now_ns - START_NS);
        }
        passed
    }

    #[test]
    fn the_bucket_keeps_the_pace_that_is_told() {
        for (units, period_s) in [(1, 60), (6, 60), (7, 1), (10, 1), (999_983, 1)] {
            for burst in 1..=13 {
                for cost in 1..=burst {
                    let rate = rate(units, period_s, burst);
                    let pace = Pace::of(&rate, cost);
                    let expected =
                        (0..pace.at_once + 3).map(|number| match number.checked_sub(pace.at_once) {
                            None => 0,
                            Some(later) => pace.first_wait_ns + later * pace.wait_ns,
                        });
                    let passed = passed_ns(&rate, cost, pace.at_once + 3);
                    assert_eq!(passed, expected.collect::<Vec<_>>(), "{rate:?}, cost {cost}");
                }
            }
        }
    }
}
