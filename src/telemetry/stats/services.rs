//! The services behind the gateway as their protection sees them: breakers, retries, room for calls.
//!
//! Services have names of the configuration, so that labels are bounded. What is shown is read when somebody asks;
//! nothing is counted twice.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use serde::Serialize;

use crate::policy::breaker::Circuit;
use crate::policy::protection::Protection;
use crate::telemetry::BreakerSeen;

/// The protections of all services.
#[derive(Debug, Default)]
pub struct Services(Mutex<Arc<[Arc<Protection>]>>);

/// One service, for people.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker: Option<BreakerRow>,
    /// By what had failed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    retries: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<LoadRow>,
}

#[derive(Debug, Serialize)]
struct BreakerRow {
    #[serde(flatten)]
    seen: BreakerSeen,
    /// Where endpoints have breakers, by these too.
    refused: u64,
}

#[derive(Debug, Serialize)]
struct LoadRow {
    in_flight: u32,
    limit: u32,
    shed: u64,
}

/// A family of metrics by service alone: name, help, kind, and how to read it.
type Family = (&'static str, &'static str, MetricType, fn(&Protection) -> Option<u64>);

const FAMILIES: [Family; 6] = [
    (
        "breaker_state",
        "The breaker of a service: 0 closed, 1 half-open, 2 open",
        MetricType::Gauge,
        |protection| protection.breaker.as_ref().map(|breaker| seen(breaker).number),
    ),
    ("breaker_refused", "Calls that the breakers of a service refused", MetricType::Counter, |protection| {
        protection.has_breaker().then(|| protection.refusals()[0])
    }),
    ("shed", "Calls for which a service had no room", MetricType::Counter, |protection| {
        protection.gate.is_some().then(|| protection.refusals()[1])
    }),
    ("retry_budget_exhausted", "Retries that the budget did not allow", MetricType::Counter, |protection| {
        protection.retries.is_some().then(|| protection.refusals()[2])
    }),
    ("concurrency_limit", "Calls at once that a service can take", MetricType::Gauge, |protection| {
        protection.gate.as_ref().map(|gate| gate.limit().into())
    }),
    ("concurrency_in_flight", "Calls at once that a service has", MetricType::Gauge, |protection| {
        protection.gate.as_ref().map(|gate| gate.in_flight().into())
    }),
];

impl Services {
    /// Shows these from now on, in the place of those of before.
    pub fn observe(&self, protections: Arc<[Arc<Protection>]>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = protections;
    }

    fn all(&self) -> Arc<[Arc<Protection>]> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The services of which there is anything to say.
    pub(super) fn rows(&self) -> BTreeMap<Box<str>, Row> {
        let all = self.all();
        let rows = all.iter().filter(|one| one.settings().is_any());
        rows.map(|one| ((&*one.service).into(), Row::of(one))).collect()
    }

    pub(in crate::telemetry) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.all();
        for (name, help, kind, read) in FAMILIES {
            let is_gauge = matches!(kind, MetricType::Gauge);
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (protection, value) in all.iter().filter_map(|one| Some((one, read(one)?))) {
                let labels = [("service", &*protection.service)];
                let metric = family.encode_family(&labels)?;
                if is_gauge {
                    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)?;
                } else {
                    ConstCounter::new(value).encode(metric)?;
                }
            }
        }
        let help = "Openings of the breaker of a service by reason";
        let mut family = encoder.encode_descriptor("breaker_openings", help, None, MetricType::Counter)?;
        for protection in all.iter().filter(|one| one.breaker.is_some()) {
            for (reason, count) in protection.openings() {
                let labels = [("service", &*protection.service), ("reason", reason)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Attempts after the first by what had failed";
        let mut family = encoder.encode_descriptor("retries", help, None, MetricType::Counter)?;
        for protection in all.iter().filter(|one| one.retries.is_some()) {
            for (reason, count) in protection.retries_by_condition().filter(|(_, count)| *count > 0) {
                let labels = [("service", &*protection.service), ("reason", reason)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn seen(breaker: &Circuit) -> BreakerSeen {
    let (state, trip) = breaker.state();
    BreakerSeen::of(state, trip)
}

impl Row {
    fn of(protection: &Protection) -> Self {
        let [refused, shed, _] = protection.refusals();
        let breaker = protection.breaker.as_ref().map(|breaker| BreakerRow { seen: seen(breaker), refused });
        let load = protection.gate.as_ref();
        Self {
            breaker,
            retries: protection.retries_by_condition().filter(|(_, count)| *count > 0).collect(),
            load: load.map(|gate| LoadRow { in_flight: gate.in_flight(), limit: gate.limit(), shed }),
        }
    }

    /// On one line, for people.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        if let Some(BreakerRow { seen, refused }) = &self.breaker {
            let _ = write!(out, "breaker {}, {refused} calls refused; ", seen.text());
        }
        if let Some(LoadRow { in_flight, limit, shed }) = &self.load {
            let _ = write!(out, "{in_flight} of {limit} calls, {shed} shed; ");
        }
        let retries: u64 = self.retries.values().sum();
        let _ = write!(out, "{retries} retries");
        out
    }
}
