//! The backends: each service of the configuration with its endpoints, for all workers.
//!
//! Endpoints that are found by a source go on being found across reloads, as long as nothing about their source has
//! changed; where it has, the list of before holds until the new source has told its own.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::backend_tls::Handles;
use super::settings;
use crate::config::Config;
use crate::config::endpoints::Endpoints;
use crate::config::services::Service;
use crate::policy::protection::{Protection, Protections};
use crate::server::Lacking;
use crate::snapshot::Snapshot;
use crate::telemetry::Metrics;
use crate::upstream::{Backend, Backends, Discovery, Origin, TlsHandle, UpstreamConfig};

/// How long a start or a reload waits for the first lists of endpoints.
const PATIENCE: Duration = Duration::from_secs(10);

/// One a service, in the order of the configuration; those that are called and reached as before go on.
pub(super) fn build(
    config: &Config,
    Protections(protections): &Protections,
    tls: Handles,
    workers: usize,
    previous: Option<&Backends>,
) -> Backends {
    let backend = |((service, protection), tls): ((&Service, &Arc<Protection>), Option<TlsHandle>)| {
        let settings = UpstreamConfig { tls, ..settings::upstream(service, config.zone.as_deref()) };
        let before = previous.and_then(|previous| previous.named(&service.name)).map(Backend::origin);
        let origin = origin(service, before);
        let found =
            previous.and_then(|previous| previous.find(&service.name, &settings, &origin, protection));
        found.unwrap_or_else(|| Arc::new(Backend::new(settings, origin, Arc::clone(protection), workers)))
    };
    Backends(config.services.iter().zip(&**protections).zip(tls).map(backend).collect())
}

fn origin(service: &Service, before: Option<&Origin>) -> Origin {
    let discovered = match &service.endpoints {
        Endpoints::Static(endpoints) => {
            return Origin::Fixed(endpoints.iter().map(settings::endpoint).collect());
        }
        Endpoints::Discovered(discovered) => settings::discovery(service, discovered),
    };
    let same = before.and_then(Origin::discovery).filter(|before| *before.settings() == discovered);
    Origin::Discovered(same.map_or_else(
        || Discovery::new(&*service.name, discovered, before.map(Origin::endpoints).unwrap_or_default()),
        Arc::clone,
    ))
}

/// Starts looking for endpoints, and waits for the first answer of every source, whatever it is; names the services
/// that have no endpoints then.
pub(super) async fn ready(snapshot: &Snapshot, background: &Handle) -> Vec<String> {
    let until = Instant::now() + PATIENCE;
    let mut without = Vec::new();
    begin(snapshot, background);
    for discovery in discoveries(snapshot) {
        let is_answered = timeout_at(until, discovery.answered()).await;
        if !is_answered.unwrap_or(false) && discovery.endpoints().is_empty() {
            without.push(discovery.service().to_owned());
        }
    }
    without
}

/// Starts looking for endpoints, where nobody does yet.
pub(super) fn begin(snapshot: &Snapshot, background: &Handle) {
    discoveries(snapshot).for_each(|discovery| discovery.begin(background));
}

/// The services of this snapshot that were never said where they are. Those of later ones do not count: a gateway
/// that serves goes on serving what it can.
pub(super) fn lacking(snapshot: &Snapshot) -> Lacking {
    let discoveries: Vec<_> = discoveries(snapshot).map(Arc::downgrade).collect();
    Lacking::new(move || {
        let discoveries = discoveries.iter().filter_map(Weak::upgrade);
        let without = discoveries.filter(|discovery| !discovery.has_list());
        without.map(|discovery| format!("service `{}` has no endpoints", discovery.service())).collect()
    })
}

/// Has the endpoints of the snapshot that serves from now on checked, where nobody does yet.
pub(super) fn check(snapshot: &Snapshot, background: &Handle) {
    backends(snapshot).for_each(|backend| backend.cluster().begin_checks(background));
}

/// Shows the endpoints of the snapshot that serves from now on.
pub(super) fn observe(snapshot: &Snapshot, metrics: &Metrics) {
    for backend in backends(snapshot) {
        let cluster = Arc::downgrade(backend.cluster());
        let read = move || cluster.upgrade().map(|cluster| cluster.seen());
        metrics.observe_endpoints(backend.cluster().name(), read);
    }
    for discovery in discoveries(snapshot) {
        let seen = Arc::downgrade(discovery);
        let read = move || seen.upgrade().map(|discovery| discovery.seen());
        metrics.observe_discovery(discovery.service(), read);
    }
}

fn backends(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<Backend>> {
    snapshot.live.get::<Backends>().into_iter().flat_map(|backends| &*backends.0)
}

fn discoveries(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<Discovery>> {
    backends(snapshot).filter_map(|backend| backend.origin().discovery())
}
