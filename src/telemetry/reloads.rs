//! How reloads of the configuration go, as an operator watches them.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::timestamp::Timestamp;
use super::{Counter, Gauge};

/// What came of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadResult {
    Applied,
    /// The configuration of before goes on.
    Rejected,
    /// Nothing is different.
    Unchanged,
}

/// The configuration that is served, and the attempts to replace it.
#[derive(Debug)]
pub struct Reloads {
    applied: Counter,
    rejected: Counter,
    unchanged: Counter,
    is_last_successful: Gauge,
    /// Seconds since 1970 at the last attempt; at the start before there is one.
    last_unix_s: Gauge,
    generation: Gauge,
    /// Backends that could not be asked for their descriptors again.
    pub fetch_failures: Counter,
}

impl ReloadResult {
    /// The word of metrics, answers and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Rejected => "rejected",
            Self::Unchanged => "unchanged",
        }
    }
}

impl Default for Reloads {
    fn default() -> Self {
        let reloads = Self {
            applied: Counter::default(),
            rejected: Counter::default(),
            unchanged: Counter::default(),
            is_last_successful: Gauge::default(),
            last_unix_s: Gauge::default(),
            generation: Gauge::default(),
            fetch_failures: Counter::default(),
        };
        reloads.is_last_successful.set(1);
        reloads.last_unix_s.set(Timestamp::now().unix_s());
        reloads.generation.set(1);
        reloads
    }
}

impl Reloads {
    /// Notes the end of a reload.
    pub fn ended(&self, result: ReloadResult) {
        self.counter(result).add(1);
        self.is_last_successful.set(u64::from(result != ReloadResult::Rejected));
        self.last_unix_s.set(Timestamp::now().unix_s());
        if result == ReloadResult::Applied {
            self.generation.increase();
        }
    }

    /// How many configurations have been served, the present one included: 1 from the start to the first reload.
    pub fn generation(&self) -> u64 {
        self.generation.value()
    }

    fn counter(&self, result: ReloadResult) -> &Counter {
        match result {
            ReloadResult::Applied => &self.applied,
            ReloadResult::Rejected => &self.rejected,
            ReloadResult::Unchanged => &self.unchanged,
        }
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Reloads of the configuration by what came of them";
        let mut family = encoder.encode_descriptor("config_reload", help, None, MetricType::Counter)?;
        for result in [ReloadResult::Applied, ReloadResult::Rejected, ReloadResult::Unchanged] {
            let counter = ConstCounter::new(self.counter(result).value());
            counter.encode(family.encode_family(&[("result", result.name())])?)?;
        }
        let help = "Backends that could not be asked for their descriptors, what they said before going on";
        ConstCounter::new(self.fetch_failures.value()).encode(encoder.encode_descriptor(
            "descriptor_fetch_failures",
            help,
            None,
            MetricType::Counter,
        )?)?;
        let gauge = |gauge: &Gauge| ConstGauge::new(i64::try_from(gauge.value()).unwrap_or(i64::MAX));
        let help = "Whether the last reload could be served, or there was none";
        let name = "config_last_reload_successful";
        gauge(&self.is_last_successful).encode(encoder.encode_descriptor(
            name,
            help,
            None,
            MetricType::Gauge,
        )?)?;
        let (name, help) = ("config_last_reload_timestamp", "When the last reload ended, or the start");
        let unit = Some(&Unit::Seconds);
        gauge(&self.last_unix_s).encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)?;
        let (name, help) = ("config_generation", "Configurations served so far, the present one included");
        gauge(&self.generation).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }
}
