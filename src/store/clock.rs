//! The two clocks of limits, read in one place.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use crate::policy::limit::Now;

/// The moment from which the process counts; the clock stands well above 0 from the beginning.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
const ORIGIN_NS: u64 = 24 * 3600 * 1_000_000_000;

/// This moment.
pub fn now() -> Now {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Now { ns: now_ns(), unix_s: unix.as_secs() }
}

/// This moment on the clock that is never set.
pub(super) fn now_ns() -> u64 {
    let elapsed_ns = u64::try_from(ORIGIN.elapsed().as_nanos()).unwrap_or(u64::MAX);
    elapsed_ns.saturating_add(ORIGIN_NS)
}
