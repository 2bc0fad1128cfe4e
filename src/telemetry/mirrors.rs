//! Copies of calls, by the service that gets them: how they end, how long they take, and those that found no room.
//!
//! A service's counters are found once, when a snapshot is built. Services beyond a bound share a row.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;

use super::Counter;
use super::histogram::{DURATION_BOUNDS_US, Histogram};
use crate::policy::mirror::Full;
use crate::status::Code;

/// Services with a row of their own, over the life of the process.
const SERVICES_MAX: usize = if cfg!(test) { 2 } else { 200 };
/// What does not fit.
const OTHER: &str = "other";

/// The counters of one service.
#[derive(Debug)]
pub struct MirrorCounts {
    calls: [Counter; Code::ALL.len()],
    dropped: [Counter; Full::ALL.len()],
    duration: Histogram,
}

/// Those of all services.
#[derive(Debug, Default)]
pub struct MirrorMetrics(Mutex<BTreeMap<Arc<str>, Arc<MirrorCounts>>>);

impl MirrorMetrics {
    /// The counters of a service; they are the same after every reload.
    pub fn service(&self, name: &str) -> Arc<MirrorCounts> {
        let mut services = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = services.contains_key(name);
        let name = if is_known || services.len() < SERVICES_MAX { name } else { OTHER };
        Arc::clone(services.entry(name.into()).or_default())
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let services = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let help = "Copies of calls that have ended, by gRPC code";
        let mut family = encoder.encode_descriptor("mirror_calls", help, None, MetricType::Counter)?;
        for (service, counts) in &services {
            for code in Code::ALL {
                let count = counts.calls.get(usize::from(code.number())).map_or(0, Counter::value);
                if count > 0 {
                    let labels = [("service", &**service), ("code", code.name())];
                    ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        let help = "Copies of calls for which there was no room, by the bound";
        let mut family = encoder.encode_descriptor("mirror_dropped", help, None, MetricType::Counter)?;
        for (service, counts) in &services {
            for (full, count) in Full::ALL.iter().zip(&counts.dropped) {
                let labels = [("service", &**service), ("reason", full.name())];
                ConstCounter::new(count.value()).encode(family.encode_family(&labels)?)?;
            }
        }
        let (help, unit) = ("Time from a copy's request to the end of its reply", Unit::Seconds);
        let mut family =
            encoder.encode_descriptor("mirror_duration", help, Some(&unit), MetricType::Histogram)?;
        for (service, counts) in &services {
            let buckets = counts.buckets();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let sum = counts.duration.sum_us.value() as f64 / 1e6;
            let labels = [("service", &**service)];
            family
                .encode_family(&labels)?
                .encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

impl MirrorCounts {
    /// A copy has ended.
    pub fn ended(&self, code: Code, duration: Duration) {
        if let Some(counter) = self.calls.get(usize::from(code.number())) {
            counter.add(1);
        }
        self.duration.record(duration);
    }

    /// There was no room for a copy.
    pub fn dropped(&self, full: Full) {
        if let Some(counter) = self.dropped.get(full as usize) {
            counter.add(1);
        }
    }

    fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = DURATION_BOUNDS_US.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
        bounds.zip(self.duration.buckets.iter().map(Counter::value)).collect()
    }
}

impl Default for MirrorCounts {
    fn default() -> Self {
        Self {
            calls: std::array::from_fn(|_| Counter::default()),
            dropped: std::array::from_fn(|_| Counter::default()),
            duration: Histogram::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn copies_are_counted_by_service() {
        let metrics = Metrics::new();
        for name in ["a", "b", "c", "d", "a"] {
            metrics.mirrors.service(name).ended(Code::Ok, Duration::from_millis(1));
        }
        metrics.mirrors.service("b").dropped(Full::Bytes);
        let text = metrics.render();
        for line in [
            "transom_mirror_calls_total{service=\"a\",code=\"OK\"} 2",
            "transom_mirror_calls_total{service=\"other\",code=\"OK\"} 2",
            "transom_mirror_dropped_total{service=\"b\",reason=\"bytes\"} 1",
            "transom_mirror_dropped_total{service=\"b\",reason=\"concurrency\"} 0",
            "transom_mirror_duration_seconds_bucket{le=\"0.001\",service=\"a\"} 2",
            "transom_mirror_duration_seconds_count{service=\"a\"} 2",
        ] {
            assert!(text.contains(line), "no `{line}` in:\n{text}");
        }
    }
}
