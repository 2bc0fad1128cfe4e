//! Outlier detection: of the endpoints of one service, those that do worse than the others are left out for a while.
//!
//! ```text
//! failures in a row ───────────────┐
//! each interval: share of failures ├─▶ ejected for base × n, at most max ─▶ back
//!                rate far below    ┘     n grows with each ejection, and falls by one an interval without
//!                the mean of all
//! ```
//!
//! Who is back has to answer before anything else: one failure, and it is ejected again. The share that may be
//! ejected holds for the count after an ejection, and one endpoint always stays: an
//! ejection that would break either is not made. An interval begins with a failure: while all goes well there is
//! nothing to judge, and nothing is due.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// When an endpoint is ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OutlierSettings {
    /// Failures in a row.
    pub consecutive: u32,
    /// Of a hundred calls in an interval, those that fail.
    pub error_percent: u32,
    /// Calls in an interval without which the share says nothing.
    pub requests_min: u64,
    pub eject_base: Duration,
    pub eject_max: Duration,
    /// Of a hundred endpoints, those that may be ejected at a time.
    pub ejected_percent_max: u32,
}

/// See the module's documentation. Endpoints have numbers, which their owner gives them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outliers {
    settings: OutlierSettings,
    endpoints: BTreeMap<u64, Endpoint>,
    interval_ends: Option<Instant>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Endpoint {
    /// Failures in a row.
    streak: u32,
    /// Failures in this interval.
    failures: u64,
    /// All its calls before this interval.
    calls_before: u64,
    /// The `n` of the next ejection's time.
    ejections: u32,
    until: Option<Instant>,
    /// It was ejected, and has not answered since.
    is_doubtful: bool,
}

/// An endpoint is left out from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    pub endpoint: u64,
    pub reason: Reason,
    pub time: Duration,
}

/// Why an endpoint is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// So many failures in a row.
    Consecutive,
    /// A failure before it had answered, after it was ejected.
    Relapse,
    /// Its share of failures.
    ErrorRate,
    /// Its rate of success is far below that of the others.
    SuccessRate,
}

/// How many calls each endpoint has had in its life, by its number.
pub type Calls = HashMap<u64, u64>;

/// How often shares and rates are judged, and what was long ago forgiven.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Endpoints without which their mean says nothing, the calls that each of these has had in the interval, and the
/// standard deviations below the mean from which one is an outlier: Envoy's and gRPC's numbers (gRFC A50).
const RATED_ENDPOINTS_MIN: usize = 5;
const RATED_REQUESTS_MIN: u64 = 100;
const DEVIATIONS: f64 = 1.9;

impl Default for OutlierSettings {
    fn default() -> Self {
        Self {
            consecutive: 5,
            error_percent: 85,
            requests_min: 50,
            eject_base: Duration::from_secs(30),
            eject_max: Duration::from_secs(300),
            ejected_percent_max: 50,
        }
    }
}

impl Outliers {
    pub fn new(settings: OutlierSettings) -> Self {
        Self { settings, endpoints: BTreeMap::new(), interval_ends: None }
    }

    /// An endpoint is among the others from now on.
    pub fn join(&mut self, endpoint: u64) {
        self.endpoints.entry(endpoint).or_default();
    }

    /// An endpoint is gone. Of fewer endpoints fewer may be ejected: those whose time ends first are back.
    pub fn leave(&mut self, endpoint: u64, now: Instant) {
        self.endpoints.remove(&endpoint);
        while !self.may_be_ejected(self.ejected(now)) {
            let ejected = self.endpoints.values_mut().filter(|one| one.is_ejected(now));
            let Some(first) = ejected.min_by_key(|one| one.until) else { return };
            first.until = None;
        }
    }

    pub fn is_ejected(&self, endpoint: u64, now: Instant) -> bool {
        self.ejected_until(endpoint, now).is_some()
    }

    /// When an ejected endpoint is back.
    pub fn ejected_until(&self, endpoint: u64, now: Instant) -> Option<Instant> {
        self.endpoints.get(&endpoint)?.until.filter(|until| now < *until)
    }

    /// When shares and rates are to be judged, if there is anything to judge or to forgive.
    pub fn interval_ends(&self) -> Option<Instant> {
        self.interval_ends
    }

    /// The endpoint has answered; whether nothing is left to forget of it. It needs not be told again of one of which
    /// nothing is left, until that fails. What is answered while the endpoint is ejected began before.
    pub fn answered(&mut self, endpoint: u64, now: Instant) -> bool {
        let Some(one) = self.endpoints.get_mut(&endpoint) else { return true };
        one.streak = 0;
        one.is_doubtful &= one.is_ejected(now);
        !one.is_doubtful
    }

    /// A call to the endpoint has failed; `calls` tells how many calls each endpoint has had in its life. What
    /// fails while the endpoint is ejected began before and tells nothing new.
    pub fn failed(&mut self, endpoint: u64, now: Instant, calls: impl Fn() -> Calls) -> Option<Ejection> {
        if self.interval_ends.is_none() {
            self.begin_interval(now, &calls());
        }
        let one = self.endpoints.get_mut(&endpoint).filter(|one| !one.is_ejected(now))?;
        one.failures = one.failures.saturating_add(1);
        one.streak = one.streak.saturating_add(1);
        let reason = match one.streak {
            _ if one.is_doubtful => Reason::Relapse,
            streak if streak >= self.settings.consecutive => Reason::Consecutive,
            _ => return None,
        };
        self.eject(endpoint, reason, now)
    }

    /// Judges the interval when it has ended; `calls` as in [`failed`](Self::failed).
    pub fn sweep(&mut self, now: Instant, calls: impl Fn() -> Calls) -> Vec<Ejection> {
        if self.interval_ends.is_none_or(|ends| now < ends) {
            return Vec::new();
        }
        let calls = calls();
        let mut rates: Vec<Rate> = Vec::new();
        for (endpoint, one) in &mut self.endpoints {
            let failures = std::mem::take(&mut one.failures);
            if one.is_ejected(now) {
                continue;
            }
            one.ejections = one.ejections.saturating_sub(1);
            // Calls that failed may have begun before the interval.
            let total = calls.get(endpoint).map_or(0, |calls| calls.saturating_sub(one.calls_before));
            let total = total.max(failures);
            rates.push(Rate { endpoint: *endpoint, total, failures });
        }
        // Where not all may be ejected, it is the worst.
        rates.sort_by(|one, other| other.failed().total_cmp(&one.failed()));
        let outlying = outlying(&rates);
        let mut ejections = Vec::new();
        for rate in rates {
            let is_bad = rate.failed() * 100.0 >= f64::from(self.settings.error_percent);
            let is_outlying = outlying.is_some_and(|share| rate.failed() > share);
            let reason = if rate.total >= self.settings.requests_min && is_bad {
                Reason::ErrorRate
            } else if rate.total >= RATED_REQUESTS_MIN && is_outlying {
                Reason::SuccessRate
            } else {
                continue;
            };
            ejections.extend(self.eject(rate.endpoint, reason, now));
        }
        self.interval_ends = None;
        if self.endpoints.values().any(|one| one.ejections > 0) {
            self.begin_interval(now, &calls);
        }
        ejections
    }

    fn begin_interval(&mut self, now: Instant, calls: &Calls) {
        self.interval_ends = Some(now + INTERVAL);
        for (endpoint, one) in &mut self.endpoints {
            one.calls_before = calls.get(endpoint).copied().unwrap_or(0);
        }
    }

    fn eject(&mut self, endpoint: u64, reason: Reason, now: Instant) -> Option<Ejection> {
        if !self.may_be_ejected(self.ejected(now) + 1) {
            return None;
        }
        let one = self.endpoints.get_mut(&endpoint)?;
        one.ejections = one.ejections.saturating_add(1);
        let time = self.settings.eject_base.saturating_mul(one.ejections).min(self.settings.eject_max);
        one.until = Some(now + time);
        one.streak = 0;
        one.is_doubtful = true;
        Some(Ejection { endpoint, reason, time })
    }

    fn ejected(&self, now: Instant) -> usize {
        self.endpoints.values().filter(|one| one.is_ejected(now)).count()
    }

    fn may_be_ejected(&self, count: usize) -> bool {
        let share = usize::try_from(self.settings.ejected_percent_max).unwrap_or(100);
        count == 0 || (count < self.endpoints.len() && count * 100 <= self.endpoints.len() * share)
    }
}

impl Endpoint {
    fn is_ejected(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

/// What one endpoint did in an interval.
#[derive(Clone, Copy)]
struct Rate {
    endpoint: u64,
    total: u64,
    failures: u64,
}

impl Rate {
    /// The share that failed, 0 to 1.
    fn failed(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.failures as f64 / self.total as f64 }
    }
}

/// The share of failures beyond which one is an outlier; `None` where too few have had enough calls.
fn outlying(rates: &[Rate]) -> Option<f64> {
    let rated: Vec<_> =
        rates.iter().filter(|rate| rate.total >= RATED_REQUESTS_MIN).map(Rate::failed).collect();
    if rated.len() < RATED_ENDPOINTS_MIN {
        return None;
    }
    let count = rated.len() as f64;
    let mean = rated.iter().sum::<f64>() / count;
    let variance = rated.iter().map(|failed| (failed - mean).powi(2)).sum::<f64>() / count;
    Some(mean + DEVIATIONS * variance.sqrt())
}

impl Reason {
    pub const ALL: [Self; 4] = [Self::Consecutive, Self::Relapse, Self::ErrorRate, Self::SuccessRate];

    /// As metrics and logs name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Consecutive => "consecutive",
            Self::Relapse => "relapse",
            Self::ErrorRate => "error_rate",
            Self::SuccessRate => "success_rate",
        }
    }
}
