//! A cluster on one worker thread: its connections to each endpoint, made when a call first goes there.
//!
//! Pools stand in the order of the cluster's list, so that a pick leads to one by its place. A new list has them
//! put in its order, and those of endpoints that are gone let go: their connections close with their last call.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Failure;
use super::attempt::Attempt;
use super::cluster::{Cluster, Draw, Endpoints};
use super::endpoint::Endpoint;
use super::pool::{self, Pool};
use super::request::{GrpcRequest, RequestMessages};
use crate::policy::balance::mix;
use crate::status::Status;
use crate::telemetry::WorkerMetrics;

/// What one thread holds of a cluster.
#[derive(Debug)]
pub(super) struct Pools {
    cluster: Arc<Cluster>,
    /// The service's, in memory of this worker's own: every call that is told of counts its references.
    service: Arc<str>,
    metrics: Arc<WorkerMetrics>,
    /// Locked by this thread alone, but for new lists and for the end.
    ordered: Mutex<Ordered>,
    /// Counts random numbers.
    draws: AtomicU64,
}

#[derive(Debug, Default)]
struct Ordered {
    /// That of the list whose order this is.
    generation: u64,
    by_place: Vec<Option<Arc<Pool>>>,
}

impl Pools {
    pub(super) fn new(cluster: Arc<Cluster>, metrics: Arc<WorkerMetrics>) -> Arc<Self> {
        let draws = AtomicU64::new(RandomState::new().hash_one(0));
        let service = Arc::from(&**cluster.name());
        let pools = Arc::new(Self { cluster, service, metrics, ordered: Mutex::default(), draws });
        pools.cluster.join(&pools);
        pools
    }

    pub(super) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    pub(super) fn service(&self) -> &Arc<str> {
        &self.service
    }

    pub(super) fn metrics(&self) -> &Arc<WorkerMetrics> {
        &self.metrics
    }

    pub(super) fn endpoints_count(&self) -> usize {
        self.cluster.current().listed.len()
    }

    /// Begins a call at the endpoint that it is dealt to: here, and nowhere else.
    ///
    /// # Errors
    ///
    /// There is no endpoint, or none whose breaker takes calls.
    pub(super) fn begin(
        self: &Arc<Self>,
        request: &GrpcRequest,
        tried: &[Arc<Endpoint>],
    ) -> Result<Attempt, Failure> {
        let (key, is_copy) = (request.key, request.terms.is_copy);
        // What a stream of messages waits for is its own client.
        let is_timed = matches!(request.messages, RequestMessages::One(_));
        loop {
            let endpoints = self.cluster.current();
            let count = endpoints.listed.len();
            if count == 0 {
                return Err(pool::no_endpoints());
            }
            let (place, now) = if count == 1 && !self.cluster.has_breakers() {
                // Nothing to choose, nothing to compare.
                (0, None)
            } else {
                let now = Instant::now();
                let now_ms = self.cluster.moment(now);
                if endpoints.is_due(now_ms) && self.tend(now_ms) {
                    continue;
                }
                let random = mix(self.draws.fetch_add(1, Ordering::Relaxed));
                match self.cluster.pick(&endpoints, Draw { now_ms, random, key }, tried) {
                    Some(place) => (place, Some(now)),
                    None => return Err(self.refusal(now, is_copy)),
                }
            };
            // `None`: there is a newer list already.
            let Some(pool) = self.pool(&endpoints, place) else { continue };
            // Breakers know nothing of copies: one is no probe, and fails nobody.
            let admitted = now.filter(|_| !is_copy).map(|now| self.cluster.admit(pool.endpoint(), now));
            let ticket = match admitted {
                None => None,
                Some(Ok(ticket)) => ticket,
                // There is a newer roster already.
                Some(Err(_)) => continue,
            };
            let begun = now.filter(|_| is_timed && !is_copy);
            return Ok(Attempt::begin(pool, ticket, begun, is_copy));
        }
    }

    /// Nobody may be picked.
    fn refusal(&self, now: Instant, is_copy: bool) -> Failure {
        let Some(refused) = self.cluster.refuses(now) else { return pool::unreachable_backend() };
        if !is_copy {
            self.cluster.refused();
        }
        Failure::unsent(Status::breaker_open(refused.retry))
    }

    /// Puts the pools in the order of a new list.
    pub(super) fn follow(&self, endpoints: &Endpoints) {
        let left = self.lock().follow(endpoints);
        drop(left);
    }

    /// Does what is due in the cluster, and says whether there was anything.
    fn tend(&self, now_ms: u64) -> bool {
        let Some(due) = self.cluster.tend(now_ms) else { return false };
        for endpoint in &due {
            let endpoints = self.cluster.current();
            let place = endpoints.listed.iter().position(|listed| Arc::ptr_eq(&listed.endpoint, endpoint));
            if let Some(pool) = place.and_then(|place| self.pool(&endpoints, place)) {
                pool.probe();
            }
        }
        true
    }

    /// The pool at a place of this list; `None` when these pools follow a newer one.
    fn pool(&self, endpoints: &Endpoints, place: usize) -> Option<Arc<Pool>> {
        let mut ordered = self.lock();
        let left =
            if ordered.generation < endpoints.generation { ordered.follow(endpoints) } else { Vec::new() };
        let found = (ordered.generation == endpoints.generation).then(|| {
            let endpoint = &endpoints.listed.get(place)?.endpoint;
            let slot = ordered.by_place.get_mut(place)?;
            let pool = slot.get_or_insert_with(|| {
                Pool::new(Arc::clone(&self.cluster), Arc::clone(endpoint), Arc::clone(&self.metrics))
            });
            Some(Arc::clone(pool))
        });
        drop(ordered);
        drop(left);
        found.flatten()
    }

    fn lock(&self) -> MutexGuard<'_, Ordered> {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ordered {
    /// Takes the order of a list, unless that is an older one; gives what is no longer needed.
    fn follow(&mut self, endpoints: &Endpoints) -> Vec<Arc<Pool>> {
        if self.generation >= endpoints.generation {
            return Vec::new();
        }
        self.generation = endpoints.generation;
        let mut left: Vec<_> = std::mem::take(&mut self.by_place).into_iter().flatten().collect();
        let mut taken = |endpoint: &Arc<Endpoint>| {
            let index = left.iter().position(|pool| Arc::ptr_eq(pool.endpoint(), endpoint))?;
            Some(left.swap_remove(index))
        };
        self.by_place = endpoints.listed.iter().map(|listed| taken(&listed.endpoint)).collect();
        left
    }
}
