//! The keys of token providers, as an operator watches them: whether there are any, and how fetching goes.
//!
//! Providers have names of the configuration, so that labels are bounded. What is shown is read at the
//! scrape; nothing is counted twice.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The keys of one provider.
#[derive(Clone, Copy, Debug)]
pub struct KeysSeen {
    pub fetched: u64,
    pub failed: u64,
    /// Tokens that named a key which is not in the set.
    pub unknown: u64,
    /// Whether there are keys to verify by.
    pub is_ready: bool,
}

/// How to read them; `None` when nobody holds them any more.
pub(super) type ReadKeys = Box<dyn Fn() -> Option<KeysSeen> + Send + Sync>;

/// By the names of providers.
#[derive(Default)]
pub(super) struct ObservedKeys(Mutex<BTreeMap<Box<str>, ReadKeys>>);

impl ObservedKeys {
    pub(super) fn observe(&self, provider: &str, read: ReadKeys) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(provider.into(), read);
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let seen = self.seen();
        let mut ready = encoder.encode_descriptor(
            "jwks_ready",
            "Whether there are keys for the tokens of a provider",
            None,
            MetricType::Gauge,
        )?;
        for (provider, keys) in &seen {
            let labels = [("provider", &**provider)];
            ConstGauge::new(i64::from(keys.is_ready)).encode(ready.encode_family(&labels)?)?;
        }
        let mut fetches = encoder.encode_descriptor(
            "jwks_fetches",
            "Fetches of keys by provider and result",
            None,
            MetricType::Counter,
        )?;
        for (provider, keys) in &seen {
            for (result, count) in [("ok", keys.fetched), ("failed", keys.failed)] {
                let labels = [("provider", &**provider), ("result", result)];
                ConstCounter::new(count).encode(fetches.encode_family(&labels)?)?;
            }
        }
        let mut unknown = encoder.encode_descriptor(
            "jwks_unknown_keys",
            "Tokens that named a key which was not in the set",
            None,
            MetricType::Counter,
        )?;
        for (provider, keys) in &seen {
            let labels = [("provider", &**provider)];
            ConstCounter::new(keys.unknown).encode(unknown.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn seen(&self) -> Vec<(Box<str>, KeysSeen)> {
        let mut seen = Vec::new();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|provider, read| {
            let keys = read();
            seen.extend(keys.map(|keys| (provider.clone(), keys)));
            keys.is_some()
        });
        seen
    }
}

impl fmt::Debug for ObservedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedKeys").finish_non_exhaustive()
    }
}
