//! What is revoked, by provider: how many entries hold, how old they are, whether any is without effect.
//!
//! Providers have names of the configuration, so that labels are bounded. What is shown is read at the scrape.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// The revocations of one provider.
#[derive(Clone, Copy, Debug)]
pub struct RevokedSeen {
    pub entries: usize,
    /// Entries of the store that are not understood, or that there is no room for.
    pub left_out: u64,
    /// Since the store was last read as a whole; `None` before the first time.
    pub age: Option<Duration>,
    /// Reads of the whole that did not come to pass.
    pub failed: u64,
}

/// A gauge: name, help and how to read it.
type Gauge = (&'static str, &'static str, fn(&RevokedSeen) -> u64);

const GAUGES: [Gauge; 2] = [
    ("revoked_entries", "Revocations that a store has and that hold", |seen| seen.entries as u64),
    ("revoked_left_out", "Revocations of a store that are without effect", |seen| seen.left_out),
];

/// How to read them; `None` when nobody holds them any more.
pub(super) type ReadRevoked = Box<dyn Fn() -> Option<RevokedSeen> + Send + Sync>;

/// By the names of providers.
#[derive(Default)]
pub(super) struct ObservedRevoked(Mutex<BTreeMap<Box<str>, ReadRevoked>>);

impl ObservedRevoked {
    pub(super) fn observe(&self, provider: &str, read: ReadRevoked) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(provider.into(), read);
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let seen = self.seen();
        for (name, help, read) in GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (provider, seen) in &seen {
                let gauge = ConstGauge::new(i64::try_from(read(seen)).unwrap_or(i64::MAX));
                gauge.encode(family.encode_family(&[("provider", &**provider)])?)?;
            }
        }
        let help = "Since the revocations of a store were last read as a whole";
        let mut ages =
            encoder.encode_descriptor("revoked_age", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for (provider, age) in seen.iter().filter_map(|(provider, seen)| Some((provider, seen.age?))) {
            let gauge = ConstGauge::new(age.as_secs_f64());
            gauge.encode(ages.encode_family(&[("provider", &**provider)])?)?;
        }
        let help = "Reads of the revocations of a store that failed";
        let mut failures =
            encoder.encode_descriptor("revoked_read_failures", help, None, MetricType::Counter)?;
        for (provider, seen) in &seen {
            let counter = ConstCounter::new(seen.failed);
            counter.encode(failures.encode_family(&[("provider", &**provider)])?)?;
        }
        Ok(())
    }

    fn seen(&self) -> Vec<(Box<str>, RevokedSeen)> {
        let mut all = Vec::new();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|provider, read| {
            let seen = read();
            all.extend(seen.map(|seen| (provider.clone(), seen)));
            seen.is_some()
        });
        all
    }
}

impl fmt::Debug for ObservedRevoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedRevoked").finish_non_exhaustive()
    }
}
