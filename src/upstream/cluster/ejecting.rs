//! Which endpoints of a cluster are left out because calls to them fail.
//!
//! ```text
//! an attempt ends ─ answered ─▶ one load: is the endpoint suspect? ─ no: done
//!                 └ failed   ─▶ (lock) Outliers ─ ejected ─▶ a new roster without it
//! a call finds that something is due ─▶ (lock) Outliers judges the interval; who is back is picked again
//! ```
//!
//! The machine is [`Outliers`]; what it decides is written to the endpoints, where picks read it.

use super::{Changing, Cluster, Endpoint, Endpoints, Listed};
use crate::policy::outlier::{Calls, Ejection, Outliers, Reason};
use crate::policy::verdict::Verdict;
use crate::telemetry::Counter;

/// How many there were, by [`Reason::ALL`].
#[derive(Debug, Default)]
pub(super) struct Ejections([Counter; Reason::ALL.len()]);

impl Ejections {
    pub(super) fn seen(&self) -> Vec<(&'static str, u64)> {
        Reason::ALL.iter().zip(&self.0).map(|(reason, count)| (reason.name(), count.value())).collect()
    }
}

impl Changing {
    /// The number of an endpoint that is new.
    pub(super) fn join(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        if let Some(outliers) = &mut self.outliers {
            outliers.join(number);
        }
        number
    }
}

impl Cluster {
    /// Takes in what an attempt says of its endpoint.
    pub(in crate::upstream) fn ended(&self, endpoint: &Endpoint, verdict: Verdict) {
        match verdict {
            Verdict::Alive if endpoint.is_suspect() => {
                let mut changing = self.lock();
                if let Some(outliers) = &mut changing.outliers {
                    let is_clear = outliers.answered(endpoint.number, self.at(self.now_ms()));
                    endpoint.suspect(!is_clear);
                }
            }
            Verdict::Failed if self.config.outlier.is_some() => self.failed(endpoint, self.now_ms()),
            Verdict::Alive | Verdict::Failed | Verdict::Exhausted | Verdict::Silent => {}
        }
    }

    pub(super) fn failed(&self, endpoint: &Endpoint, now_ms: u64) {
        let mut changing = self.lock();
        let Some(outliers) = &mut changing.outliers else { return };
        endpoint.suspect(true);
        let endpoints = self.current.load_full();
        let ended_before = outliers.interval_ends();
        let ejection = outliers.failed(endpoint.number, self.at(now_ms), || calls(&endpoints.listed));
        let has_interval_begun = outliers.interval_ends() != ended_before;
        if let Some(ejection) = &ejection {
            self.tell(&endpoints.listed, ejection);
            self.publish(outliers, &endpoints.listed, now_ms);
        }
        if ejection.is_some() || has_interval_begun {
            self.reassess(&changing, &endpoints, now_ms);
        }
    }

    /// Judges the interval if it has ended, and has those back whose time is over.
    pub(super) fn review(&self, changing: &mut Changing, endpoints: &Endpoints, now_ms: u64) {
        let Some(outliers) = &mut changing.outliers else { return };
        for ejection in outliers.sweep(self.at(now_ms), || calls(&endpoints.listed)) {
            self.tell(&endpoints.listed, &ejection);
        }
        self.publish(outliers, &endpoints.listed, now_ms);
    }

    /// Endpoints are no longer listed; of those that are, fewer may be left out.
    pub(super) fn let_go(&self, changing: &mut Changing, gone: &[u64], listed: &[Listed], now_ms: u64) {
        let Some(outliers) = &mut changing.outliers else { return };
        gone.iter().for_each(|number| outliers.leave(*number, self.at(now_ms)));
        self.publish(outliers, listed, now_ms);
    }

    /// When failures are judged.
    pub(super) fn judged_ms(&self, changing: &Changing) -> Option<u64> {
        changing.outliers.as_ref()?.interval_ends().map(|ends| self.moment(ends))
    }

    /// Writes to the endpoints who is left out, and until when.
    fn publish(&self, outliers: &Outliers, listed: &[Listed], now_ms: u64) {
        for Listed { endpoint, .. } in listed {
            let until = outliers.ejected_until(endpoint.number, self.at(now_ms));
            if until.is_some() {
                endpoint.suspect(true);
            }
            if endpoint.eject(until.map(|until| self.moment(until)), now_ms) {
                tracing::info!(service = %self.name(), endpoint = %endpoint.address, "an ejected endpoint is back");
            }
        }
    }

    fn tell(&self, listed: &[Listed], ejection: &Ejection) {
        let &Ejection { endpoint, reason, time } = ejection;
        if let Some(count) = self.ejections.0.get(reason as usize) {
            count.add(1);
        }
        let found = listed.iter().find(|listed| listed.endpoint.number == endpoint);
        if let Some(Listed { endpoint, .. }) = found {
            let (service, endpoint, reason) = (&**self.name(), &endpoint.address, reason.name());
            tracing::warn!(service, %endpoint, reason, eject_ms = time.as_millis(), "an endpoint is ejected");
        }
    }
}

fn calls(listed: &[Listed]) -> Calls {
    listed.iter().map(|Listed { endpoint, .. }| (endpoint.number, endpoint.calls())).collect()
}
