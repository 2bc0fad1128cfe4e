//! When the keys of a provider are fetched: in the background, and once more for a key that nobody knows.
//!
//! ```text
//! fetched ──▶ min(max-age, refresh) ± 10 % ──▶ fetch        background
//! failed  ──▶ 1 s, 2 s, 4 s … 10 s, jittered ──▶ fetch      the keys of before go on serving
//! unknown kid ──▶ not within `floor` of the fetch before ──▶ fetch; a kid still unknown after that waits
//! ```
//!
//! One fetch at a time is the task's doing; here is only the arithmetic, with `now` as an argument. A kid
//! within the floor is not forgotten: the fetch is planned for the floor's end, so that the next client
//! finds the new key there.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Providers that say `max-age=0` are not asked more often than this.
const REFRESH_MIN: Duration = Duration::from_secs(60);
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How long a request waits for the fetch that it asked for.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// How long a kid that a fresh set did not have is not asked for again.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);
/// How many such kids are remembered; the oldest goes first.
const UNKNOWN_MAX: usize = 256;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Schedule {
    refresh_max: Duration,
    floor: Duration,
    due: Instant,
    began: Option<Instant>,
    is_running: bool,
    failures: u32,
    unknown: VecDeque<(Box<str>, Instant)>,
}

/// Which fetch a request may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// None that ends soon enough, or none that would help.
    Nothing,
    /// One that is under way, and may have begun before the key was published.
    Running,
    /// The next one, which knows every key there is now.
    Next,
}

impl Schedule {
    pub(super) fn new(refresh_max: Duration, floor: Duration, now: Instant) -> Self {
        Self {
            refresh_max,
            floor,
            due: now,
            began: None,
            is_running: false,
            failures: 0,
            unknown: VecDeque::new(),
        }
    }

    /// When the next fetch begins.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// A token names a key that is not in the set.
    pub(super) fn want(&mut self, key_id: &str, now: Instant) -> Want {
        if self.unknown.iter().any(|(unknown, until)| **unknown == *key_id && now < *until) {
            return Want::Nothing;
        }
        if self.is_running {
            return Want::Running;
        }
        let earliest = self.began.map_or(now, |began| began + self.floor).max(now);
        self.due = self.due.min(earliest);
        if self.due.saturating_duration_since(now) < PATIENCE { Want::Next } else { Want::Nothing }
    }

    /// The fetch has come, and the set still does not have this key.
    pub(super) fn still_unknown(&mut self, key_id: &str, now: Instant) {
        self.unknown.retain(|(unknown, until)| now < *until && **unknown != *key_id);
        if self.unknown.len() >= UNKNOWN_MAX {
            self.unknown.pop_front();
        }
        self.unknown.push_back((key_id.into(), now + UNKNOWN_FOR));
    }

    pub(super) fn begin(&mut self, now: Instant) {
        self.is_running = true;
        self.began = Some(now);
    }

    /// The fetch came to an end; `random` is uniform over all of `u32`.
    pub(super) fn succeeded(&mut self, max_age: Option<Duration>, now: Instant, random: u32) {
        self.is_running = false;
        self.failures = 0;
        let refresh_min = REFRESH_MIN.min(self.refresh_max);
        let every = max_age.unwrap_or(self.refresh_max).clamp(refresh_min, self.refresh_max);
        self.due = now + every.mul_f64(0.9 + 0.2 * share(random));
    }

    /// The fetch failed; `random` is uniform over all of `u32`.
    pub(super) fn failed(&mut self, now: Instant, random: u32) {
        self.is_running = false;
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let delay = RETRY_MIN.saturating_mul(factor).min(RETRY_MAX);
        self.due = now + delay.mul_f64(0.5 + 0.5 * share(random));
    }
}

/// From 0 to 1.
fn share(random: u32) -> f64 {
    f64::from(random) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const MIDDLE: u32 = u32::MAX / 2;

    /// A schedule whose first fetch has just succeeded.
    fn fetched(now: Instant) -> Schedule {
        let mut schedule = Schedule::new(600 * S, 10 * S, now);
        assert_eq!(schedule.due(), now);
        schedule.begin(now);
        schedule.succeeded(None, now, MIDDLE);
        schedule
    }

    #[test]
    fn keys_are_refreshed_by_the_lesser_of_two_ages() {
        let now = Instant::now();
        let check = |max_age: Option<u64>, random: u32, expected: f64| {
            let mut schedule = fetched(now);
            schedule.succeeded(max_age.map(Duration::from_secs), now, random);
            let seconds = (schedule.due() - now).as_secs_f64();
            assert!((seconds - expected).abs() < 0.01, "{max_age:?}: {seconds}");
        };
        check(None, MIDDLE, 600.0);
        check(None, 0, 540.0);
        check(None, u32::MAX, 660.0);
        check(Some(300), MIDDLE, 300.0);
        check(Some(86_400), MIDDLE, 600.0);
        check(Some(0), MIDDLE, 60.0);
        check(Some(u64::MAX), MIDDLE, 600.0);
    }

    #[test]
    fn an_unknown_key_is_fetched_once_in_ten_seconds() {
        let now = Instant::now();
        let mut schedule = fetched(now);
        // Within the floor: planned, not waited for.
        assert_eq!(schedule.want("a", now + S), Want::Nothing);
        assert_eq!(schedule.due(), now + 10 * S);
        // So near to it that waiting is worth it.
        assert_eq!(schedule.want("a", now + 9 * S), Want::Nothing);
        assert_eq!(schedule.want("a", now + 9 * S + S / 2), Want::Next);
        let mut schedule = fetched(now);
        assert_eq!(schedule.want("a", now + 10 * S), Want::Next);
        assert_eq!(schedule.due(), now + 10 * S);
        schedule.begin(now + 10 * S);
        // Everyone who comes while it runs waits for the same fetch.
        assert_eq!(schedule.want("a", now + 11 * S), Want::Running);
        assert_eq!(schedule.want("b", now + 11 * S), Want::Running);
        schedule.succeeded(None, now + 12 * S, MIDDLE);
        schedule.still_unknown("a", now + 12 * S);
        let due = schedule.due();
        assert_eq!(schedule.want("a", now + 30 * S), Want::Nothing);
        assert_eq!(schedule.due(), due, "a key known to be unknown plans nothing");
        assert_eq!(schedule.want("b", now + 30 * S), Want::Next);
        assert_eq!(schedule.want("a", now + 42 * S), Want::Next);
    }

    #[test]
    fn unknown_keys_are_forgotten_at_the_bound() {
        let now = Instant::now();
        let mut schedule = fetched(now);
        for number in 0..=UNKNOWN_MAX {
            schedule.still_unknown(&number.to_string(), now);
        }
        assert_eq!(schedule.unknown.len(), UNKNOWN_MAX);
        assert_eq!(schedule.want("0", now + 10 * S), Want::Next, "the oldest is forgotten");
        assert_eq!(schedule.want("1", now + 10 * S), Want::Nothing);
    }

    #[test]
    fn failures_are_retried_ever_later() {
        let now = Instant::now();
        let mut schedule = fetched(now);
        for seconds in [1, 2, 4, 8, 10, 10] {
            schedule.failed(now, u32::MAX);
            assert_eq!(schedule.due(), now + seconds * S);
        }
        schedule.failed(now, 0);
        assert_eq!(schedule.due(), now + 5 * S);
        schedule.succeeded(None, now, MIDDLE);
        schedule.failed(now, u32::MAX);
        assert_eq!(schedule.due(), now + S);
    }
}
