//! What the breakers of the endpoints of one service have in common: when they open, and how often they did; and
//! whether there is an endpoint left that takes calls.
//!
//! Each endpoint has a [`Circuit`] of its own; who deals the calls asks these, and writes what holds for all of them
//! to an [`Outage`]. A call that no endpoint would take can so be refused by its head, by who knows of no endpoints.
//!
//! Settings and counts outlive a reload. An [`Outage`] belongs to the endpoints that it speaks of: those of before a
//! reload still learn of their last calls, and that is nothing to those in their place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{BreakerSettings, Circuit, PROBE_RETRY, Refused, Trip};

/// See the module's documentation.
#[derive(Debug)]
pub struct EndpointBreakers {
    settings: BreakerSettings,
    /// By [`Trip::ALL`].
    openings: [AtomicU64; Trip::ALL.len()],
}

/// Whether the breakers of all endpoints of a list refuse calls, and until when.
#[derive(Debug)]
pub struct Outage {
    origin: Instant,
    /// Until when every endpoint refuses calls, in nanoseconds since the origin; 0: one takes them.
    until_ns: AtomicU64,
    /// Whether one of them is tried by a probe while all refuse.
    is_probing: AtomicBool,
}

/// The part of a snapshot that is about outages: one a service, in the order of the snapshot's.
#[derive(Clone, Debug)]
pub struct Outages(pub Arc<[Arc<Outage>]>);

impl EndpointBreakers {
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, openings: Default::default() }
    }

    pub fn settings(&self) -> &BreakerSettings {
        &self.settings
    }

    /// The breaker of one more endpoint. All threads count the calls of an endpoint on one line anyway, so that
    /// it needs no stripes.
    pub fn circuit(&self, now: Instant) -> Circuit {
        Circuit::new(self.settings, 1, now)
    }

    /// Counts an opening.
    pub fn opened(&self, trip: Trip) {
        if let Some(count) = self.openings.get(trip.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Openings of all endpoints by their reasons.
    pub fn openings(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.openings.iter().map(|count| count.load(Ordering::Relaxed));
        Trip::ALL.into_iter().zip(counts)
    }
}

impl Outage {
    /// There is none yet.
    pub fn new(now: Instant) -> Self {
        Self { origin: now, until_ns: AtomicU64::new(0), is_probing: AtomicBool::new(false) }
    }

    /// Every endpoint refuses calls until then, one of them maybe because its probe is out; `None`: one takes them.
    pub fn refuse(&self, until: Option<Instant>, is_probing: bool) {
        let since_origin = |until: Instant| until.saturating_duration_since(self.origin).as_nanos();
        let until_ns = until.map_or(0, |until| u64::try_from(since_origin(until)).unwrap_or(u64::MAX));
        self.is_probing.store(is_probing, Ordering::Relaxed);
        self.until_ns.store(until_ns, Ordering::Relaxed);
    }

    /// Whether no endpoint would take a call, and when the first may; see [`Breaker::refuses`](super::Breaker::refuses).
    pub fn refuses(&self, now: Instant) -> Option<Refused> {
        let until_ns = Some(self.until_ns.load(Ordering::Relaxed)).filter(|until_ns| *until_ns != 0)?;
        let left = (self.origin + Duration::from_nanos(until_ns)).checked_duration_since(now)?;
        let is_probing = self.is_probing.load(Ordering::Relaxed);
        let retry = if is_probing { left.min(PROBE_RETRY) } else { left };
        (!left.is_zero()).then_some(Refused { retry })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_service_refuses_until_the_first_of_its_endpoints_may_be_tried() {
        let start = Instant::now();
        let outage = Outage::new(start);
        let check = |until: Option<Duration>, is_probing, after: Duration, expected: Option<Duration>| {
            outage.refuse(until.map(|until| start + until), is_probing);
            assert_eq!(outage.refuses(start + after).map(|refused| refused.retry), expected, "{until:?}");
        };
        check(None, false, Duration::ZERO, None);
        check(Some(5 * S), false, Duration::ZERO, Some(5 * S));
        check(Some(5 * S), false, 5 * S - Duration::from_nanos(1), Some(Duration::from_nanos(1)));
        check(Some(5 * S), false, 5 * S, None);
        // Nobody knows how long a probe takes.
        check(Some(60 * S), true, Duration::ZERO, Some(S));
        check(Some(60 * S), true, 60 * S - S / 2, Some(S / 2));
        check(None, false, 60 * S, None);
    }
}
