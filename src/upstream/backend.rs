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

use super::{Cluster, EndpointSpec, Upstream, UpstreamConfig};
use crate::policy::protection::Protection;
use crate::telemetry::WorkerMetrics;

/// The part of [`Snapshot::live`](crate::snapshot::Snapshot::live) that is room 7's: a backend for each service.
#[derive(Clone, Debug)]
pub struct Backends(pub Arc<[Arc<Backend>]>);

/// One backend of all workers.
#[derive(Debug)]
pub struct Backend {
    cluster: Arc<Cluster>,
    /// The endpoints that the configuration names.
    specs: Vec<EndpointSpec>,
    protection: Arc<Protection>,
    /// By the index of the worker.
    upstreams: Box<[OnceLock<Upstream>]>,
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

    /// The backend that is called so, is reached so and is protected so, if it is among these.
    pub fn find(
        &self,
        name: &str,
        config: &UpstreamConfig,
        specs: &[EndpointSpec],
        protection: &Arc<Protection>,
    ) -> Option<Arc<Backend>> {
        let is_same = |backend: &&Arc<Backend>| {
            let cluster = &backend.cluster;
            let same_way = **cluster.name() == *name && cluster.config() == config && backend.specs == specs;
            same_way && Arc::ptr_eq(&backend.protection, protection)
        };
        self.0.iter().find(is_same).cloned()
    }
}

impl Backend {
    /// A backend that `workers` threads will call; connects with the first call of each.
    pub fn new(
        name: impl Into<Arc<str>>,
        config: UpstreamConfig,
        specs: Vec<EndpointSpec>,
        protection: Arc<Protection>,
        workers: usize,
    ) -> Self {
        let upstreams = (0..workers).map(|_| OnceLock::new()).collect();
        Self { cluster: Cluster::new(name, config, specs.clone()), specs, protection, upstreams }
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
