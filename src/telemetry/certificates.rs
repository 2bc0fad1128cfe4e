//! When the certificates of listeners end, for an alert before clients refuse them.
//!
//! Serves room 1. Listeners have names of the configuration, and each has as many certificates as that names, so
//! that labels are bounded. What is shown is read at the scrape: a file that was read again shows at once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// A certificate that clients may be shown.
#[derive(Clone, Debug)]
pub struct CertificateSeen {
    /// The name of the listener.
    pub listener: Arc<str>,
    /// The first host it is for; empty where it names none.
    pub name: Box<str>,
    /// The last second in which it is good, in seconds since 1970.
    pub not_after_unix_s: i64,
}

/// How to read those of all listeners.
pub(super) type ReadCertificates = Box<dyn Fn() -> Vec<CertificateSeen> + Send + Sync>;

/// Whoever reads them now.
#[derive(Default)]
pub(super) struct ObservedCertificates(Mutex<Option<ReadCertificates>>);

impl ObservedCertificates {
    pub(super) fn observe(&self, read: ReadCertificates) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut expiry = encoder.encode_descriptor(
            "certificate_expiry_timestamp",
            "When the certificates of a listener end, by first host, since 1970",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        for ((listener, name), not_after_unix_s) in &self.ends() {
            let labels = [("listener", &**listener), ("name", &**name)];
            ConstGauge::new(*not_after_unix_s).encode(expiry.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// By listener and name; of several certificates the one that ends first.
    fn ends(&self) -> BTreeMap<(Arc<str>, Box<str>), i64> {
        let read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ends = BTreeMap::new();
        for CertificateSeen { listener, name, not_after_unix_s } in read.iter().flat_map(|read| read()) {
            let end = ends.entry((listener, name)).or_insert(not_after_unix_s);
            *end = not_after_unix_s.min(*end);
        }
        ends
    }
}

impl fmt::Debug for ObservedCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedCertificates").finish_non_exhaustive()
    }
}
