//! The backends: each service of the configuration with its endpoints, for all workers.

use std::sync::Arc;

use super::settings;
use crate::config::Config;
use crate::config::endpoints::Endpoint;
use crate::config::services::Service;
use crate::policy::protection::{Protection, Protections};
use crate::snapshot::Snapshot;
use crate::telemetry::Metrics;
use crate::upstream::{Address, Backend, Backends, EndpointSpec};

/// One a service, in the order of the configuration; those that are called and reached as before go on.
pub(super) fn build(
    config: &Config,
    Protections(protections): &Protections,
    workers: usize,
    previous: Option<&Backends>,
) -> Backends {
    let backend = |(service, protection): (&Service, &Arc<Protection>)| {
        let settings = settings::upstream(service, config.zone.as_deref());
        let specs: Vec<_> = service.endpoints.fixed().iter().map(spec).collect();
        let found = previous.and_then(|previous| previous.find(&service.name, &settings, &specs, protection));
        found.unwrap_or_else(|| {
            Arc::new(Backend::new(&*service.name, settings, specs, Arc::clone(protection), workers))
        })
    };
    Backends(config.services.iter().zip(&**protections).map(backend).collect())
}

/// Shows the endpoints of the snapshot that serves from now on.
pub(super) fn observe(snapshot: &Snapshot, metrics: &Metrics) {
    for backend in snapshot.live.get::<Backends>().iter().flat_map(|backends| &*backends.0) {
        let cluster = Arc::downgrade(backend.cluster());
        let read = move || cluster.upgrade().map(|cluster| cluster.seen());
        metrics.observe_endpoints(backend.cluster().name(), read);
    }
}

fn spec(endpoint: &Endpoint) -> EndpointSpec {
    let authority = endpoint.url.authority().expect("an endpoint was read as a URL");
    EndpointSpec {
        address: Address { authority: authority.clone(), is_tls: false },
        weight: endpoint.weight,
        zone: endpoint.zone.as_deref().map(Into::into),
    }
}
