//! How the endpoints of services are found: how many, how long ago, and what keeps their source from telling.
//!
//! Services have names of the configuration, so that labels are bounded. What is shown is read when somebody asks.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use serde::{Serialize, Serializer};

/// The search for the endpoints of one service.
#[derive(Clone, Debug, Serialize)]
pub struct DiscoverySeen {
    /// The kind of source, by its key.
    pub source: &'static str,
    pub endpoints: usize,
    /// Since a list was last told; `None` before the first.
    #[serde(rename = "age_s", serialize_with = "seconds")]
    pub age: Option<Duration>,
    /// Lists that were other than those before.
    pub changes: u64,
    /// Times that the source could not tell.
    pub failures: u64,
    /// Entries of the last list that are without effect.
    pub left_out: u64,
    /// The source tells no endpoint at all, which is not believed yet.
    pub is_doubted: bool,
    /// Why the list is not known as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// A family by service alone: name, help, kind, and how to read it.
type Family = (&'static str, &'static str, MetricType, fn(&DiscoverySeen) -> u64);

const FAMILIES: [Family; 5] = [
    ("discovery_endpoints", "Endpoints of the list that holds", MetricType::Gauge, |seen| {
        seen.endpoints as u64
    }),
    ("discovery_left_out", "Entries of a list that are without effect", MetricType::Gauge, |seen| {
        seen.left_out
    }),
    (
        "discovery_failing",
        "Whether the source of a list could not tell it when last asked",
        MetricType::Gauge,
        |seen| u64::from(seen.failure.is_some()),
    ),
    ("discovery_changes", "Lists that were other than those before", MetricType::Counter, |seen| {
        seen.changes
    }),
    (
        "discovery_failures",
        "Times that the source of a list could not tell it",
        MetricType::Counter,
        |seen| seen.failures,
    ),
];

/// How to read one; `None` when nobody holds it any more.
pub(super) type ReadDiscovery = Box<dyn Fn() -> Option<DiscoverySeen> + Send + Sync>;

/// By the names of services.
#[derive(Default)]
pub(super) struct ObservedDiscovery(Mutex<BTreeMap<Box<str>, ReadDiscovery>>);

impl ObservedDiscovery {
    pub(super) fn observe(&self, service: &str, read: ReadDiscovery) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(service.into(), read);
    }

    pub(super) fn seen(&self) -> BTreeMap<Box<str>, DiscoverySeen> {
        let mut all = BTreeMap::new();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|service, read| {
            let seen = read();
            let is_held = seen.is_some();
            all.extend(seen.map(|seen| (service.clone(), seen)));
            is_held
        });
        all
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let seen = self.seen();
        for (name, help, kind, read) in FAMILIES {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (service, seen) in &seen {
                let labels = [("service", &**service), ("source", seen.source)];
                let metric = family.encode_family(&labels)?;
                match kind {
                    MetricType::Counter => ConstCounter::new(read(seen)).encode(metric)?,
                    _ => ConstGauge::new(i64::try_from(read(seen)).unwrap_or(i64::MAX)).encode(metric)?,
                }
            }
        }
        let help = "Since the endpoints of a service were last told";
        let mut ages =
            encoder.encode_descriptor("discovery_age", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for (service, seen) in &seen {
            if let Some(age) = seen.age {
                let labels = [("service", &**service), ("source", seen.source)];
                ConstGauge::new(age.as_secs_f64()).encode(ages.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

impl DiscoverySeen {
    /// On one line, for people.
    pub(super) fn text(&self) -> String {
        let mut out = format!("{} endpoints by {}, ", self.endpoints, self.source);
        let _ = match self.age {
            Some(age) => write!(out, "told {:.0} s ago", age.as_secs_f64()),
            None => write!(out, "not told yet"),
        };
        let _ = write!(out, ", {} changes, {} failures", self.changes, self.failures);
        if self.left_out > 0 {
            let _ = write!(out, ", {} entries left out", self.left_out);
        }
        if self.is_doubted {
            out.push_str(", none told of late");
        }
        if let Some(failure) = &self.failure {
            let _ = write!(out, ": {failure}");
        }
        out
    }
}

impl fmt::Debug for ObservedDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedDiscovery").finish_non_exhaustive()
    }
}

fn seconds<S: Serializer>(age: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    age.map(|age| age.as_secs_f64()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn a_search_is_shown_in_numbers_and_in_words() {
        let metrics = Metrics::new();
        let seen = DiscoverySeen {
            source: "dns",
            endpoints: 3,
            age: Some(Duration::from_millis(1500)),
            changes: 2,
            failures: 1,
            left_out: 4,
            is_doubted: true,
            failure: Some("refused".to_owned()),
        };
        let new = DiscoverySeen { age: None, left_out: 0, is_doubted: false, failure: None, ..seen.clone() };
        assert_eq!(
            seen.text(),
            "3 endpoints by dns, told 2 s ago, 2 changes, 1 failures, 4 entries left out, none told of late: refused"
        );
        assert_eq!(new.text(), "3 endpoints by dns, not told yet, 2 changes, 1 failures");
        metrics.observe_discovery("orders", move || Some(seen.clone()));
        metrics.observe_discovery("new", move || Some(new.clone()));
        metrics.observe_discovery("gone", || None);
        let text = metrics.render();
        for line in [
            "transom_discovery_endpoints{service=\"orders\",source=\"dns\"} 3",
            "transom_discovery_left_out{service=\"orders\",source=\"dns\"} 4",
            "transom_discovery_failing{service=\"orders\",source=\"dns\"} 1",
            "transom_discovery_failing{service=\"new\",source=\"dns\"} 0",
            "transom_discovery_changes_total{service=\"orders\",source=\"dns\"} 2",
            "transom_discovery_failures_total{service=\"orders\",source=\"dns\"} 1",
            "transom_discovery_age_seconds{service=\"orders\",source=\"dns\"} 1.5",
        ] {
            assert!(text.contains(line), "no `{line}` in:\n{text}");
        }
        assert!(!text.contains("gone") && !text.contains("discovery_age_seconds{service=\"new\""), "{text}");
    }
}
