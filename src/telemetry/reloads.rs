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

/// What is loaded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadScope {
    /// The configuration, and all that it leads to.
    Everything,
    /// The descriptors under the configuration that holds.
    Descriptors,
}

/// The configuration that is served, and the attempts to replace it.
#[derive(Debug)]
pub struct Reloads {
    applied: Counter,
    rejected: Counter,
    unchanged: Counter,
    /// Whether the configuration was refused when it was last read: 0 or 1.
    is_configuration_refused: Gauge,
    /// Whether the descriptors were, under the configuration that holds.
    are_descriptors_refused: Gauge,
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
            is_configuration_refused: Gauge::default(),
            are_descriptors_refused: Gauge::default(),
            last_unix_s: Gauge::default(),
            generation: Gauge::default(),
            fetch_failures: Counter::default(),
        };
        reloads.last_unix_s.set(Timestamp::now().unix_s());
        reloads.generation.set(1);
        reloads
    }
}

impl Reloads {
    /// Notes the end of a reload.
    ///
    /// Who has only asked for descriptors knows nothing of a file that was refused: it is still as broken as it was.
    pub fn ended(&self, scope: ReloadScope, result: ReloadResult) {
        self.counter(result).add(1);
        let is_refused = u64::from(result == ReloadResult::Rejected);
        match scope {
            ReloadScope::Everything => {
                self.is_configuration_refused.set(is_refused);
                // What was refused of them alone is part of what has been loaded since, or refused with it.
                self.are_descriptors_refused.set(0);
            }
            ReloadScope::Descriptors => self.are_descriptors_refused.set(is_refused),
        }
        self.last_unix_s.set(Timestamp::now().unix_s());
        if result == ReloadResult::Applied {
            self.generation.increase();
        }
    }

    /// How many configurations have been served, the present one included: 1 from the start to the first reload.
    pub fn generation(&self) -> u64 {
        self.generation.value()
    }

    /// Whether nothing is refused of what there is to be served.
    fn is_successful(&self) -> bool {
        self.is_configuration_refused.value() == 0 && self.are_descriptors_refused.value() == 0
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
        let help = "Whether what was last read could be served, or nothing was read since the start";
        let name = "config_last_reload_successful";
        let is_successful = ConstGauge::new(i64::from(self.is_successful()));
        is_successful.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        let (name, help) = ("config_last_reload_timestamp", "When the last reload ended, or the start");
        let unit = Some(&Unit::Seconds);
        gauge(&self.last_unix_s).encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)?;
        let (name, help) = ("config_generation", "Configurations served so far, the present one included");
        gauge(&self.generation).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_lasts_until_what_was_refused_is_good() {
        use ReloadResult::{Applied, Rejected, Unchanged};
        use ReloadScope::{Descriptors, Everything};
        let reloads = Reloads::default();
        assert!(reloads.is_successful());
        for (scope, result, expected) in [
            (Everything, Rejected, false),
            (Descriptors, Unchanged, false),
            (Descriptors, Applied, false),
            (Descriptors, Rejected, false),
            (Descriptors, Applied, false),
            (Everything, Unchanged, true),
            (Descriptors, Rejected, false),
            (Descriptors, Unchanged, true),
            (Descriptors, Rejected, false),
            (Everything, Applied, true),
        ] {
            reloads.ended(scope, result);
            assert_eq!(reloads.is_successful(), expected, "after {scope:?}: {result:?}");
        }
        assert_eq!(reloads.generation(), 4);
    }
}
