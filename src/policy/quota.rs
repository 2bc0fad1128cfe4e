//! A quota: so many units in a calendar day or month of UTC, exactly, in eight bytes.
//!
//! ```text
//! cell = window (24 bits) | units used (40 bits)      window = days or months since 1970
//! ```
//!
//! Other than a rate it does not refill as time passes: all units come back when the next window begins.
//! A cell of an earlier window says no more than none at all.

use super::bucket::Verdict;

/// `units` in each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    units: u64,
    period: Period,
    over: OverQuota,
}

/// Which windows a quota counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    Day,
    Month,
}

/// What happens past the quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OverQuota {
    /// Refused until the next window.
    #[default]
    Deny,
    /// Admitted and counted: somebody pays.
    Bill,
}

/// One window: seconds since 1970, the end excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Days or months since 1970.
    pub number: u64,
    pub start_unix_s: u64,
    pub end_unix_s: u64,
}

const USED_BITS: u32 = 40;

/// The largest quota, a bit over a million million.
pub const QUOTA_UNITS_MAX: u64 = (1 << USED_BITS) - 1;

const DAY_S: u64 = 24 * 3600;

impl Quota {
    /// `None` where `units` is zero or more than [`QUOTA_UNITS_MAX`].
    pub fn new(units: u64, period: Period, over: OverQuota) -> Option<Self> {
        (1..=QUOTA_UNITS_MAX).contains(&units).then_some(Self { units, period, over })
    }

    pub fn units(&self) -> u64 {
        self.units
    }

    pub fn period(&self) -> Period {
        self.period
    }

    pub fn over(&self) -> OverQuota {
        self.over
    }

    /// What one of `nodes` may admit when they cannot ask each other.
    pub fn share(&self, nodes: u32) -> Self {
        Self { units: (self.units / u64::from(nodes.max(1))).max(1), ..*self }
    }

    /// Asks for `cost` units; 0 is the state of a key never seen.
    pub fn take(&self, cell: u64, unix_s: u64, cost: u64) -> Verdict {
        let window = self.period.window(unix_s);
        let used = used(cell, window).saturating_add(cost);
        if used > self.units && self.over == OverQuota::Deny {
            return if cost > self.units {
                Verdict::TooLarge
            } else {
                Verdict::Refused { retry_ns: (window.end_unix_s - unix_s).saturating_mul(1_000_000_000) }
            };
        }
        Verdict::Taken { cell: pack(window, used) }
    }

    /// The state after `cost` units, taken with the state `taken`, are given back: in the same window only.
    pub fn give_back(&self, cell: u64, taken: u64, cost: u64) -> u64 {
        let same_window = cell >> USED_BITS == taken >> USED_BITS;
        if same_window { cell - cost.min(cell & QUOTA_UNITS_MAX) } else { cell }
    }

    /// Units that are left in this window.
    pub fn remaining(&self, cell: u64, unix_s: u64) -> u64 {
        self.units.saturating_sub(used(cell, self.period.window(unix_s)))
    }
}

impl Period {
    /// The window that a moment lies in.
    pub fn window(self, unix_s: u64) -> Window {
        let day = unix_s / DAY_S;
        let (number, start_day, end_day) = match self {
            Self::Day => (day, day, day + 1),
            Self::Month => {
                let (year, month) = year_and_month(day);
                let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                let number = (year - 1970) * 12 + month - 1;
                (number, first_day(year, month), first_day(next_year, next_month))
            }
        };
        Window { number, start_unix_s: start_day * DAY_S, end_unix_s: end_day * DAY_S }
    }

    /// Whether a cell says nothing any more: its window is over.
    pub fn is_over(self, cell: u64, unix_s: u64) -> bool {
        cell >> USED_BITS < self.window(unix_s).number
    }
}

fn used(cell: u64, window: Window) -> u64 {
    // A clock set back finds the cell of a later window: it is kept, for it grants nothing.
    if cell >> USED_BITS < window.number { 0 } else { cell & QUOTA_UNITS_MAX }
}

fn pack(window: Window, used: u64) -> u64 {
    window.number << USED_BITS | used.min(QUOTA_UNITS_MAX)
}

/// The civil year and month of a day since 1970, by the lengths of years and months.
///
/// Years are counted from March, so that the leap day is the last of a year and months have the lengths
/// 31, 30, 31, 30, 31 in turn, which `(153 × month + 2) / 5` sums.
fn year_and_month(day: u64) -> (u64, u64) {
    let day = day + DAYS_TO_1970;
    let (era, day) = (day / DAYS_OF_ERA, day % DAYS_OF_ERA);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let year = era * 400 + year_of_era;
    if month < 10 { (year, month + 3) } else { (year + 1, month - 9) }
}

/// The day since 1970 on which a month begins.
fn first_day(year: u64, month: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5;
    era * DAYS_OF_ERA + 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + day_of_year - DAYS_TO_1970
}

/// From 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: u64 = 719_468;

/// In 400 years.
const DAYS_OF_ERA: u64 = 146_097;

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(units: u64, period: Period, over: OverQuota) -> Quota {
        Quota::new(units, period, over).expect("a quota")
    }

    #[test]
    fn windows_are_calendar_days_and_months_of_utc() {
        let check = |period: Period, unix_s: u64, number: u64, start_unix_s: u64, end_unix_s: u64| {
            assert_eq!(period.window(unix_s), Window { number, start_unix_s, end_unix_s }, "{unix_s}");
        };
        check(Period::Day, 0, 0, 0, 86_400);
        check(Period::Day, 86_399, 0, 0, 86_400);
        check(Period::Day, 86_400, 1, 86_400, 172_800);
        check(Period::Month, 0, 0, 0, 2_678_400);
        // 2000 was a leap year and 2100 is none: 29 and 28 days.
        check(Period::Month, 951_782_400, 361, 949_363_200, 951_868_800);
        check(Period::Month, 4_107_542_399, 1561, 4_105_123_200, 4_107_542_400);
        // 2026-11-21 10:00, and the last second of the year before the next.
        check(Period::Month, 1_795_255_200, 682, 1_793_491_200, 1_796_083_200);
        check(Period::Month, 1_798_761_599, 683, 1_796_083_200, 1_798_761_600);
        check(Period::Month, 1_798_761_600, 684, 1_798_761_600, 1_801_440_000);
    }

    #[test]
    fn months_follow_one_another_for_four_centuries() {
        let mut at = 0;
        for number in 0..4800 {
            let window = Period::Month.window(at);
            let days = (window.end_unix_s - window.start_unix_s) / DAY_S;
            assert_eq!((window.number, window.start_unix_s), (number, at));
            assert!((28..=31).contains(&days), "{days} days in month {number}");
            assert_eq!(Period::Month.window(window.end_unix_s - 1), window);
            at = window.end_unix_s;
        }
        assert_eq!(at / DAY_S, DAYS_OF_ERA);
    }

    #[test]
    fn the_last_unit_passes_and_the_next_waits_for_the_window() {
        let two = quota(2, Period::Day, OverQuota::Deny);
        let Verdict::Taken { cell } = two.take(0, 100, 2) else { panic!("fits") };
        assert_eq!(two.remaining(cell, 100), 0);
        assert_eq!(two.take(cell, 86_399, 1), Verdict::Refused { retry_ns: 1_000_000_000 });
        assert_eq!(two.take(cell, 86_400, 3), Verdict::TooLarge);
        assert_eq!(two.remaining(cell, 86_400), 2);
        assert!(matches!(two.take(cell, 86_400, 1), Verdict::Taken { .. }));
        assert!(!Period::Day.is_over(cell, 86_399));
        assert!(Period::Day.is_over(cell, 86_400));
    }

    #[test]
    fn what_is_billed_passes_and_counts() {
        let two = quota(2, Period::Month, OverQuota::Bill);
        let Verdict::Taken { cell } = two.take(0, 100, 5) else { panic!("billed") };
        assert_eq!((cell & QUOTA_UNITS_MAX, two.remaining(cell, 100)), (5, 0));
    }

    #[test]
    fn units_go_back_in_their_own_window_only() {
        let two = quota(2, Period::Day, OverQuota::Deny);
        let Verdict::Taken { cell } = two.take(0, 100, 2) else { panic!("fits") };
        assert_eq!(two.remaining(two.give_back(cell, cell, 1), 100), 1);
        assert_eq!(two.remaining(two.give_back(cell, cell, 9), 100), 2);
        let Verdict::Taken { cell: next } = two.take(cell, 86_400, 1) else { panic!("fits") };
        assert_eq!(two.give_back(next, cell, 1), next);
    }

    #[test]
    fn a_clock_set_back_grants_nothing() {
        let two = quota(2, Period::Day, OverQuota::Deny);
        let Verdict::Taken { cell } = two.take(0, 90_000, 2) else { panic!("fits") };
        assert!(matches!(two.take(cell, 100, 1), Verdict::Refused { .. }));
    }

    #[test]
    fn numbers_beyond_the_cell_are_refused() {
        assert!(Quota::new(0, Period::Day, OverQuota::Deny).is_none());
        assert!(Quota::new(QUOTA_UNITS_MAX, Period::Day, OverQuota::Deny).is_some());
        assert!(Quota::new(QUOTA_UNITS_MAX + 1, Period::Day, OverQuota::Deny).is_none());
    }
}
