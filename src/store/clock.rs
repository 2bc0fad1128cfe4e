//! The two clocks of limits, read in one place.
//!
//! The calendar is looked at once a second and thread, and follows the other clock in between: a call that is limited
//! reads one clock and not two.

use std::cell::Cell;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use crate::policy::limit::Now;

/// The moment from which the process counts; the clock stands well above 0 from the beginning.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
const ORIGIN_NS: u64 = 24 * 3600 * 1_000_000_000;

/// How long the calendar is believed to go on as it was seen.
const SEEN_NS: u64 = 1_000_000_000;

thread_local! {
    /// A moment on both clocks; none at the beginning.
    static SEEN: Cell<Option<Seen>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct Seen {
    ns: u64,
    unix: Duration,
}

/// This moment.
pub fn now() -> Now {
    at(Instant::now())
}

fn at(moment: Instant) -> Now {
    let ns = ns_at(moment);
    // Of a moment just before the last look, it says what it said then.
    let seen = SEEN.get().filter(|seen| ns.saturating_sub(seen.ns) < SEEN_NS);
    let Seen { ns: seen_ns, unix } = seen.unwrap_or_else(|| {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let seen = Seen { ns, unix };
        SEEN.set(Some(seen));
        seen
    });
    Now { ns, unix_s: (unix + Duration::from_nanos(ns.saturating_sub(seen_ns))).as_secs() }
}

/// This moment on the clock that is never set.
pub(super) fn now_ns() -> u64 {
    ns_at(Instant::now())
}

fn ns_at(moment: Instant) -> u64 {
    let elapsed_ns = moment.saturating_duration_since(*ORIGIN).as_nanos();
    u64::try_from(elapsed_ns).unwrap_or(u64::MAX).saturating_add(ORIGIN_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_follows_the_other_clock_for_a_second() {
        // The first moment that is asked for may be older than the origin.
        now();
        let begun = Instant::now();
        let start = at(begun);
        let soon = at(begun + Duration::from_millis(900));
        assert_eq!(soon.ns - start.ns, 900_000_000);
        assert!(soon.unix_s - start.unix_s <= 1);
        // By then it has been looked at again, and no hour has passed.
        let later = at(begun + Duration::from_secs(3600));
        assert!(later.unix_s.abs_diff(start.unix_s) < 3600, "{start:?} {later:?}");
        assert_eq!(at(begun).unix_s, later.unix_s, "a moment before the last look");
    }
}
