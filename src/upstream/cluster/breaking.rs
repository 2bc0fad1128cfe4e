//! The breaker of each endpoint: which endpoints of a cluster are left out because theirs is open, and by whom one is
//! tried when its time is over.
//!
//! ```text
//! a call is dealt to an endpoint ─▶ admit ─ closed: one load ─────────────────▶ it goes there
//!                                     ├ its time is over: it is the probe ────▶ a new roster without the endpoint
//!                                     └ somebody else is ─▶ a new roster ─────▶ dealt anew
//! it ends ─▶ settle ─ opened, closed, or the probe has ended ─▶ a new roster
//! ```
//!
//! The machine is that of the service, a [`Circuit`]. A roster is made anew after its
//! state has changed, so that picks never look at it; in between, a call that comes too late is told by `admit`.

use std::time::{Duration, Instant};

use super::{Cluster, Endpoint, Listed, milliseconds};
use crate::policy::breaker::{Change, Circuit, Refused, State, Ticket};
use crate::policy::verdict::Verdict;

impl Cluster {
    /// Whether endpoints have breakers.
    pub(in crate::upstream) fn has_breakers(&self) -> bool {
        self.breakers().is_some()
    }

    /// Asks to begin a call at an endpoint that was picked for it.
    ///
    /// # Errors
    ///
    /// Its breaker has opened since, or another call is the probe: the next pick knows.
    pub(in crate::upstream) fn admit(
        &self,
        endpoint: &Endpoint,
        now: Instant,
    ) -> Result<Option<Ticket>, Refused> {
        let Some(breaker) = &endpoint.breaker else { return Ok(None) };
        match breaker.admit(now) {
            Ok((ticket, change)) => {
                self.note(endpoint, change);
                if ticket.is_probe() {
                    self.follow_breakers(now);
                }
                Ok(Some(ticket))
            }
            Err(refused) => {
                self.follow_breakers(now);
                Err(refused)
            }
        }
    }

    /// Takes in how a call ended that was admitted; `random` is asked only where something failed.
    pub(in crate::upstream) fn settle(
        &self,
        endpoint: &Endpoint,
        ticket: Ticket,
        verdict: Verdict,
        now: Instant,
        random: impl FnOnce() -> u32,
    ) {
        let Some(breaker) = &endpoint.breaker else { return };
        let is_probe = ticket.is_probe();
        let change = breaker.ended(ticket, verdict, now, 0, random);
        if change == Some(Change::Closed) {
            endpoint.recovered(self.moment(now));
        }
        self.note(endpoint, change);
        // A probe that says nothing changes no state, and the next call is the probe.
        if is_probe || change.is_some() {
            self.follow_breakers(now);
        }
    }

    /// When a call may be made that no endpoint takes now, by their breakers; `None`: one takes it.
    pub(in crate::upstream) fn refuses(&self, now: Instant) -> Option<Refused> {
        self.outage.refuses(now)
    }

    /// Counts a call that was refused because of that.
    pub(in crate::upstream) fn refused(&self) {
        self.protection.refused();
    }

    /// Writes to the endpoints whose breaker refuses calls, and until when; to the outage, whether all do. Returns
    /// when the first of them may be tried.
    pub(super) fn ask_breakers(&self, listed: &[Listed], now_ms: u64) -> Option<u64> {
        self.breakers()?;
        let mut is_probing = false;
        for Listed { endpoint, .. } in listed {
            let until = endpoint.breaker.as_ref().and_then(Circuit::refuses_until);
            let until_ms = until.map(|until| self.not_before(until)).filter(|until_ms| *until_ms > now_ms);
            endpoint.refuse(until_ms);
            let state = || endpoint.breaker.as_ref().map(|breaker| breaker.state().0);
            is_probing |= until_ms.is_some() && state() == Some(State::HalfOpen { is_probing: true });
        }
        let first_ms = listed.iter().filter_map(|listed| listed.endpoint.refuses_until_ms()).min();
        let is_any = listed.iter().any(|listed| listed.endpoint.refuses_until_ms().is_none());
        let until = first_ms.filter(|_| !is_any).map(|first_ms| self.at(first_ms));
        self.outage.refuse(until, is_probing);
        first_ms
    }

    /// Makes a roster of what the breakers say now.
    fn follow_breakers(&self, now: Instant) {
        let changing = self.lock();
        self.reassess(&changing, &self.current.load_full(), self.moment(now));
    }

    /// The first whole millisecond that is no earlier.
    fn not_before(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.started);
        milliseconds(since.saturating_add(Duration::from_nanos(999_999)))
    }

    fn note(&self, endpoint: &Endpoint, change: Option<Change>) {
        let (service, endpoint) = (&**self.name(), &endpoint.address);
        match change {
            None => {}
            Some(Change::Opened { trip, time }) => {
                if let Some(breakers) = self.breakers() {
                    breakers.opened(trip);
                }
                let open_ms = time.as_millis();
                tracing::warn!(service, %endpoint, reason = %trip, open_ms, "the breaker of an endpoint opens");
            }
            Some(Change::HalfOpened) => {
                tracing::info!(service, %endpoint, "the breaker of an endpoint lets a probe through");
            }
            Some(Change::Closed) => tracing::info!(service, %endpoint, "the breaker of an endpoint closes"),
        }
    }
}

#[cfg(test)]
mod tests;
