//! What stands between calls and one service that may fail, shared by all threads: breaker, retry budget, gate.
//!
//! ```text
//! call ─▶ gate (is there room?) ─▶ breaker (is it open?) ─▶ attempt ─▶ again? (budget) ─▶ verdict ─▶ breaker, gate
//!                                                             └ at an endpoint whose own breaker is not open
//! ```
//!
//! Each part is there only where the configuration asks for it. What happens is counted here, where whoever
//! shows it finds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::breaker::{BreakerSettings, Circuit, EndpointBreakers, Refused, Trip};
use super::concurrency::{ConcurrencySettings, Gate};
use super::retry::Condition;
use super::retry::budget::SharedBudget;

/// What one service is protected by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProtectionSettings {
    pub breaker: Option<BreakerSettings>,
    /// Of each endpoint.
    pub endpoint_breaker: Option<BreakerSettings>,
    /// Of a hundred calls, those that may be made again; `None`: none are.
    pub retry_percent: Option<u32>,
    pub shed: Option<ConcurrencySettings>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Protection {
    pub service: Arc<str>,
    pub breaker: Option<Circuit>,
    pub endpoint_breakers: Option<EndpointBreakers>,
    pub retries: Option<SharedBudget>,
    pub gate: Option<Gate>,
    settings: ProtectionSettings,
    counts: Counts,
}

/// The part of a snapshot that is about protection: one a service, in the order of the snapshot's.
#[derive(Clone, Debug)]
pub struct Protections(pub Arc<[Arc<Protection>]>);

/// What happened since the start.
#[derive(Debug, Default)]
struct Counts {
    /// By [`Trip::ALL`].
    openings: [AtomicU64; Trip::ALL.len()],
    refused: AtomicU64,
    shed: AtomicU64,
    /// By [`Condition::ALL`].
    retries: [AtomicU64; Condition::ALL.len()],
    unaffordable: AtomicU64,
}

impl ProtectionSettings {
    /// Whether there is anything to protect by.
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }
}

impl Protection {
    /// For so many threads.
    pub fn new(
        service: impl Into<Arc<str>>,
        settings: ProtectionSettings,
        threads: usize,
        now: Instant,
    ) -> Self {
        Self {
            service: service.into(),
            breaker: settings.breaker.map(|breaker| Circuit::new(breaker, threads, now)),
            endpoint_breakers: settings.endpoint_breaker.map(EndpointBreakers::new),
            retries: settings.retry_percent.map(|percent| SharedBudget::new(percent, threads, now)),
            gate: settings.shed.map(|shed| Gate::new(shed, now)),
            settings,
            counts: Counts::default(),
        }
    }

    pub fn settings(&self) -> &ProtectionSettings {
        &self.settings
    }

    /// How long calls are refused from now on, by the breaker of the service; `None` where one would be let through.
    /// Whether its endpoints take any is for their [`Outage`](super::breaker::Outage) to say.
    pub fn refuses(&self, now: Instant) -> Option<Refused> {
        self.breaker.as_ref().and_then(|breaker| breaker.refuses(now))
    }

    /// Whether there is a breaker that may refuse a call.
    pub fn has_breaker(&self) -> bool {
        self.breaker.is_some() || self.endpoint_breakers.is_some()
    }

    /// Counts an opening of the breaker.
    pub fn opened(&self, trip: Trip) {
        count(self.counts.openings.get(trip.index()));
    }

    /// Counts a call that a breaker refused.
    pub fn refused(&self) {
        count(Some(&self.counts.refused));
    }

    /// Counts a call that found no room.
    pub fn shed(&self) {
        count(Some(&self.counts.shed));
    }

    /// Counts a retry.
    pub fn retried(&self, condition: Condition) {
        count(self.counts.retries.get(condition as usize));
    }

    /// Counts a retry that the budget did not allow.
    pub fn could_not_afford(&self) {
        count(Some(&self.counts.unaffordable));
    }

    /// Openings of the breaker by their reasons.
    pub fn openings(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Trip::ALL.into_iter().zip(&self.counts.openings).map(|(name, count)| (name, value(count)))
    }

    /// Retries by what had failed.
    pub fn retries_by_condition(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Condition::ALL.into_iter().zip(&self.counts.retries).map(|((name, _), count)| (name, value(count)))
    }

    /// Calls that a breaker refused, calls that found no room, retries that the budget did not allow.
    pub fn refusals(&self) -> [u64; 3] {
        let Counts { refused, shed, unaffordable, .. } = &self.counts;
        [refused, shed, unaffordable].map(value)
    }
}

fn count(counter: Option<&AtomicU64>) {
    if let Some(counter) = counter {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn value(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
