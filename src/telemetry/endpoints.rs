//! The endpoints of services, as an operator watches them: how many can be used, and what each does.
//!
//! What is shown is read at the scrape from those who deal the calls. Services have names of the configuration;
//! endpoints come and go by lists that may be long, so that only the first have a label of their own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use serde::Serialize;

use crate::policy::breaker::{State, Trip};

/// Endpoints of one service with a label of their own.
const ENDPOINTS_MAX: usize = if cfg!(test) { 2 } else { 100 };

/// The label of the others.
const OTHER: &str = "other";

/// The endpoints of one service.
#[derive(Clone, Debug, Default)]
pub struct ClusterSeen {
    pub endpoints: Vec<EndpointSeen>,
    /// Ejections by their reason.
    pub ejections: Vec<(&'static str, u64)>,
    /// Openings of the breakers of endpoints by their reason; none where these have no breaker.
    pub openings: Vec<(&'static str, u64)>,
}

/// One endpoint.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointSeen {
    /// Its URL.
    pub address: String,
    pub state: EndpointState,
    pub calls: u64,
    /// Of these, those that failed by its fault.
    pub failures: u64,
    pub in_flight: u64,
    /// Open connections of all workers.
    pub connections: u64,
    /// What a reply is expected to take; `None`: it has not answered yet, or it is the only endpoint of its service,
    /// whose replies are not timed.
    pub latency_ms: Option<f64>,
    /// Where the service asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerSeen>,
}

/// A breaker, as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct BreakerSeen {
    pub state: &'static str,
    /// 0 closed, 1 half-open, 2 open.
    #[serde(skip)]
    pub number: u64,
    /// What opened it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What may be done with an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointState {
    Usable,
    /// It can be reached and does not do its work.
    Unwell,
    /// Its calls fail: it is left out for a while.
    Ejected,
    /// No connection can be opened.
    Unreachable,
    /// Its breaker is open, or its probe is out.
    Open,
}

impl BreakerSeen {
    pub fn of(state: State, trip: Option<Trip>) -> Self {
        let (number, state) = match state {
            State::Closed => (0, "closed"),
            State::HalfOpen { .. } => (1, "half-open"),
            State::Open { .. } => (2, "open"),
        };
        Self { state, number, reason: trip.map(|trip| trip.to_string()) }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let Self { state, reason, .. } = self;
        reason.as_ref().map_or_else(|| (*state).to_owned(), |why| format!("{state}, last opened by {why}"))
    }
}

impl EndpointState {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Usable, "usable"),
        (Self::Unwell, "unwell"),
        (Self::Ejected, "ejected"),
        (Self::Unreachable, "unreachable"),
        (Self::Open, "open"),
    ];

    /// Its name in metrics and tables.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("", |(_, name)| name)
    }
}

/// How to read them; `None` when nobody holds them any more.
type ReadEndpoints = Box<dyn Fn() -> Option<ClusterSeen> + Send + Sync>;

/// By the names of services.
#[derive(Default)]
pub(super) struct ObservedEndpoints(Mutex<BTreeMap<Box<str>, ReadEndpoints>>);

/// What an endpoint has a series of.
type Series = (&'static str, &'static str, MetricType, fn(&EndpointSeen) -> u64);

const SERIES: [Series; 3] = [
    ("upstream_endpoint_calls", "Calls by endpoint", MetricType::Counter, |seen| seen.calls),
    (
        "upstream_endpoint_failures",
        "Calls that failed by the fault of their endpoint",
        MetricType::Counter,
        |seen| seen.failures,
    ),
    ("upstream_endpoint_calls_open", "Calls in flight by endpoint", MetricType::Gauge, |seen| seen.in_flight),
];

impl ObservedEndpoints {
    pub(super) fn observe(&self, service: &str, read: ReadEndpoints) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(service.into(), read);
    }

    pub(super) fn seen(&self) -> BTreeMap<Box<str>, ClusterSeen> {
        let mut seen = BTreeMap::new();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|service, read| {
            let cluster = read();
            let is_held = cluster.is_some();
            seen.extend(cluster.map(|cluster| (service.clone(), cluster)));
            is_held
        });
        seen
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let seen = self.seen();
        let mut family = encoder.encode_descriptor(
            "upstream_endpoints",
            "Endpoints by service and state",
            None,
            MetricType::Gauge,
        )?;
        for (service, ClusterSeen { endpoints, .. }) in &seen {
            for (state, name) in EndpointState::ALL {
                let count = endpoints.iter().filter(|endpoint| endpoint.state == state).count();
                let labels = [("service", &**service), ("state", name)];
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        for (name, help, metric_type, read) in SERIES {
            let mut family = encoder.encode_descriptor(name, help, None, metric_type)?;
            for (service, ClusterSeen { endpoints, .. }) in &seen {
                let own = endpoints.iter().take(ENDPOINTS_MAX);
                let own = own.map(|endpoint| (endpoint.address.as_str(), read(endpoint)));
                let others = endpoints.get(ENDPOINTS_MAX..).filter(|others| !others.is_empty());
                let others = others.map(|others| (OTHER, others.iter().map(read).sum()));
                for (endpoint, value) in own.chain(others) {
                    let labels = [("service", &**service), ("endpoint", endpoint)];
                    let metric = family.encode_family(&labels)?;
                    match metric_type {
                        MetricType::Counter => ConstCounter::new(value).encode(metric)?,
                        _ => ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)?,
                    }
                }
            }
        }
        encode_breakers(&seen, encoder)?;
        let help = "Endpoints left out for a while, by why";
        let mut family = encoder.encode_descriptor("outlier_ejections", help, None, MetricType::Counter)?;
        for (service, ClusterSeen { ejections, .. }) in &seen {
            for (reason, count) in ejections {
                let labels = [("service", &**service), ("reason", *reason)];
                ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn encode_breakers(
    seen: &BTreeMap<Box<str>, ClusterSeen>,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let help = "The breaker of an endpoint: 0 closed, 1 half-open, 2 open; of the others, the highest";
    let mut family = encoder.encode_descriptor("endpoint_breaker_state", help, None, MetricType::Gauge)?;
    for (service, ClusterSeen { endpoints, .. }) in seen {
        let number = |endpoint: &EndpointSeen| endpoint.breaker.as_ref().map(|breaker| breaker.number);
        let own = endpoints.iter().take(ENDPOINTS_MAX);
        let own = own.filter_map(|endpoint| Some((endpoint.address.as_str(), number(endpoint)?)));
        let others = endpoints.iter().skip(ENDPOINTS_MAX).filter_map(number).max();
        for (endpoint, value) in own.chain(others.map(|value| (OTHER, value))) {
            let labels = [("service", &**service), ("endpoint", endpoint)];
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
    }
    let help = "Openings of the breakers of endpoints by reason";
    let name = "endpoint_breaker_openings";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (service, ClusterSeen { openings, .. }) in seen {
        for (reason, count) in openings {
            let labels = [("service", &**service), ("reason", *reason)];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

impl fmt::Debug for ObservedEndpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedEndpoints").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn endpoints_beyond_the_bound_are_summed() {
        let metrics = Metrics::new();
        let endpoint = |place: u64| EndpointSeen {
            address: format!("http://b:{place}"),
            state: if place == 3 { EndpointState::Unreachable } else { EndpointState::Usable },
            calls: place,
            failures: 0,
            in_flight: 10 * place,
            connections: 1,
            latency_ms: Some(1.0),
            breaker: Some(match place {
                4 => BreakerSeen::of(State::HalfOpen { is_probing: true }, Some(Trip::Probe)),
                _ => BreakerSeen::of(State::Closed, None),
            }),
        };
        let cluster = |endpoints| ClusterSeen {
            endpoints,
            ejections: vec![("consecutive", 3)],
            openings: vec![("probe", 1)],
        };
        let two = cluster(vec![endpoint(1), endpoint(2)]);
        metrics.observe_endpoints("small", move || Some(two.clone()));
        let four = cluster((1..=4).map(endpoint).collect());
        metrics.observe_endpoints("large", move || Some(four.clone()));
        metrics.observe_endpoints("gone", || None);
        let text = metrics.render();
        for line in [
            "transom_upstream_endpoints{service=\"small\",state=\"usable\"} 2",
            "transom_upstream_endpoints{service=\"large\",state=\"usable\"} 3",
            "transom_upstream_endpoints{service=\"large\",state=\"unreachable\"} 1",
            "transom_outlier_ejections_total{service=\"small\",reason=\"consecutive\"} 3",
            "transom_endpoint_breaker_state{service=\"large\",endpoint=\"http://b:1\"} 0",
            "transom_endpoint_breaker_state{service=\"large\",endpoint=\"other\"} 1",
            "transom_endpoint_breaker_openings_total{service=\"small\",reason=\"probe\"} 1",
            "transom_upstream_endpoint_calls_total{service=\"large\",endpoint=\"http://b:2\"} 2",
            "transom_upstream_endpoint_calls_total{service=\"large\",endpoint=\"other\"} 7",
            "transom_upstream_endpoint_calls_open{service=\"large\",endpoint=\"other\"} 70",
        ] {
            assert!(text.contains(line), "no `{line}` in:\n{text}");
        }
        for absent in ["service=\"small\",endpoint=\"other\"", "http://b:3", "gone"] {
            assert!(!text.contains(absent), "`{absent}` in:\n{text}");
        }
    }
}
