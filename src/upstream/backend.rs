//! A backend as all workers share it, from one reload to the next.
//!
//! ```text
//! Snapshot::live ─▶ Backends ─ Rule::service ─▶ Backend ─ Worker ─▶ Upstream, made by the worker's first call
//! ```
//!
//! A snapshot holds its backends and hands those that stay the same to the next one, so that their connections
//! outlive a reload. Those of a backend that is gone are closed when the last call that knows it has ended: nobody
//! has to look for them. Finding the connections of one's own thread takes no lock.

use std::sync::{Arc, OnceLock};

use super::{Cluster, Discovery, EndpointSpec, Upstream, UpstreamConfig};
use crate::policy::breaker::Outages;
use crate::policy::protection::Protection;
use crate::telemetry::WorkerMetrics;

/// The part of [`Snapshot::live`](crate::snapshot::Snapshot::live) that is room 7's: a backend for each service.
#[derive(Clone, Debug)]
pub struct Backends(pub Arc<[Arc<Backend>]>);

/// One backend of all workers.
#[derive(Debug)]
pub struct Backend {
    cluster: Arc<Cluster>,
    origin: Origin,
    protection: Arc<Protection>,
    /// By the index of the worker.
    upstreams: Box<[OnceLock<Upstream>]>,
}

/// Where the endpoints of a backend come from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// The configuration names them.
    Fixed(Vec<EndpointSpec>),
    /// Somebody is asked.
    Discovered(Arc<Discovery>),
}

/// A worker thread as backends know it.
#[derive(Clone, Debug)]
pub struct Worker {
    /// From 0 to the number of workers less one.
    pub index: usize,
    pub metrics: Arc<WorkerMetrics>,
}

impl Backends {
    /// The backend of the service with this index.
    pub fn get(&self, service: usize) -> Option<&Backend> {
        self.0.get(service).map(|backend| &**backend)
    }

    /// The backend of the service with this name.
    pub fn named(&self, name: &str) -> Option<&Backend> {
        self.0.iter().map(|backend| &**backend).find(|backend| **backend.cluster.name() == *name)
    }

    /// Where all endpoints of a service refuse calls, as each cluster says of its own.
    pub fn outages(&self) -> Outages {
        Outages(self.0.iter().map(|backend| Arc::clone(backend.cluster.outage())).collect())
    }

    /// The backend that is called so, is reached so and is protected so, if it is among these.
    pub fn find(
        &self,
        name: &str,
        config: &UpstreamConfig,
        origin: &Origin,
        protection: &Arc<Protection>,
    ) -> Option<Arc<Backend>> {
        let is_same = |backend: &&Arc<Backend>| {
            let cluster = &backend.cluster;
            let same_way =
                **cluster.name() == *name && cluster.config() == config && backend.origin == *origin;
            same_way && Arc::ptr_eq(&backend.protection, protection)
        };
        self.0.iter().find(is_same).cloned()
    }
}

impl Backend {
    /// The backend of the service that is protected so, which `workers` threads will call; connects with the first call of each.
    pub fn new(config: UpstreamConfig, origin: Origin, protection: Arc<Protection>, workers: usize) -> Self {
        let upstreams = (0..workers).map(|_| OnceLock::new()).collect();
        let of_service = Arc::clone(&protection);
        let cluster = match &origin {
            Origin::Fixed(specs) => Cluster::protected(of_service, config, specs.clone()),
            Origin::Discovered(discovery) => {
                let cluster = Cluster::protected(of_service, config, Vec::new());
                discovery.lead(&cluster);
                cluster
            }
        };
        Self { cluster, origin, protection, upstreams }
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// The connections of one worker.
    pub fn upstream(&self, worker: &Worker) -> &Upstream {
        let upstream = self.upstreams.get(worker.index).expect("a backend has a place for each worker");
        upstream.get_or_init(|| {
            let upstream = Upstream::new(self.cluster.clone(), worker.metrics.clone());
            upstream.protected(Arc::clone(&self.protection), worker.index)
        })
    }
}

impl Origin {
    /// The endpoints as they are now.
    pub fn endpoints(&self) -> Vec<EndpointSpec> {
        match self {
            Self::Fixed(specs) => specs.clone(),
            Self::Discovered(discovery) => discovery.endpoints(),
        }
    }

    pub fn discovery(&self) -> Option<&Arc<Discovery>> {
        match self {
            Self::Fixed(_) => None,
            Self::Discovered(discovery) => Some(discovery),
        }
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fixed(these), Self::Fixed(those)) => these == those,
            (Self::Discovered(this), Self::Discovered(that)) => Arc::ptr_eq(this, that),
            _ => false,
        }
    }
}
