//! Where a source tells what it finds, and who is told of it.
//!
//! Clusters are told with the lock of the listing held, so that no older list follows a newer one.

use std::convert::Infallible;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use http::uri::Authority;
use tokio::sync::Notify;

use super::DiscoverySettings;
use super::listing::{Change, Listing};
use crate::upstream::{Address, Cluster, EndpointSpec};

/// What a source tells its lists to.
#[derive(Clone, Debug)]
pub struct Feed(pub(super) Arc<Shared>);

/// What a search shares with its task.
#[derive(Debug)]
pub(super) struct Shared {
    service: Arc<str>,
    source: &'static str,
    is_tls: bool,
    followed: Mutex<Followed>,
    /// Something was told.
    told: Notify,
}

#[derive(Debug)]
struct Followed {
    listing: Listing,
    clusters: Vec<Weak<Cluster>>,
}

/// A listing that is being read or changed.
pub(super) struct Reading<'s>(MutexGuard<'s, Followed>);

impl Feed {
    /// These are the endpoints, all of them; of `left_out` further entries the source could make nothing.
    pub fn list(&self, specs: Vec<EndpointSpec>, left_out: u64) {
        let shared = &*self.0;
        shared.change(|listing| {
            if let Some(reason) = listing.failure() {
                tracing::info!(service = %shared.service, source = shared.source, last = reason,
                    "endpoints are told again");
            }
            listing.list(specs, left_out, Instant::now())
        });
    }

    /// The endpoints cannot be told now: those of before stay.
    pub fn failed(&self, reason: &(impl Display + ?Sized)) {
        let reason = reason.to_string();
        let shared = &*self.0;
        if shared.lock().listing.failed(&reason) {
            tracing::warn!(service = %shared.service, source = shared.source, %reason,
                "cannot find the endpoints: those of before stay");
        }
        shared.told.notify_waiters();
    }

    /// The service whose endpoints are looked for.
    pub fn service(&self) -> &str {
        &self.0.service
    }

    /// An endpoint that is named by host and port alone.
    pub fn endpoint(&self, authority: Authority) -> EndpointSpec {
        EndpointSpec::new(Address { authority, is_tls: self.0.is_tls })
    }

    /// Believes, when it is time, that there are no endpoints.
    pub(super) async fn doubt(&self) -> Infallible {
        loop {
            let mut told = std::pin::pin!(self.0.told.notified());
            // Registered before looking, so that nothing in between is missed.
            told.as_mut().enable();
            let until = self.0.lock().listing.doubted_until();
            match until {
                None => told.await,
                Some(until) => tokio::select! {
                    () = told => {}
                    () = tokio::time::sleep_until(until.into()) => {
                        self.0.change(|listing| listing.end_doubt(Instant::now()));
                    }
                },
            }
        }
    }
}

impl Shared {
    pub(super) fn new(service: Arc<str>, settings: &DiscoverySettings, before: Vec<EndpointSpec>) -> Self {
        let listing = Listing::new(before, settings.empty_after);
        Self {
            service,
            source: settings.source.name(),
            is_tls: settings.is_tls,
            followed: Mutex::new(Followed { listing, clusters: Vec::new() }),
            told: Notify::new(),
        }
    }

    pub(super) fn service(&self) -> &str {
        &self.service
    }

    pub(super) fn listing(&self) -> Reading<'_> {
        Reading(self.lock())
    }

    pub(super) fn lead(&self, cluster: &Arc<Cluster>) {
        let mut followed = self.lock();
        cluster.update(followed.listing.specs().to_vec());
        followed.clusters.retain(|cluster| cluster.strong_count() > 0);
        followed.clusters.push(Arc::downgrade(cluster));
    }

    pub(super) async fn answered(&self) -> bool {
        loop {
            let mut told = std::pin::pin!(self.told.notified());
            told.as_mut().enable();
            {
                let Followed { listing, .. } = &*self.lock();
                if listing.is_answered() {
                    return listing.is_told();
                }
            }
            told.await;
        }
    }

    /// Has something told, and tells the clusters what holds then.
    fn change(&self, tell: impl FnOnce(&mut Listing) -> Change) {
        let mut followed = self.lock();
        let left_out_before = followed.listing.left_out();
        let change = tell(&mut followed.listing);
        let (endpoints, left_out) = (followed.listing.specs().len(), followed.listing.left_out());
        let (service, source) = (&self.service, self.source);
        if left_out > 0 && left_out != left_out_before {
            tracing::warn!(%service, source, left_out, "not all of the endpoints can be used");
        }
        match change {
            Change::Nothing => {}
            Change::Doubted => {
                tracing::warn!(%service, source, endpoints, "no endpoint is told: those of before stay for a while");
            }
            Change::Listed { added, removed } => {
                tracing::info!(%service, source, endpoints, added, removed, "the endpoints are others");
                let specs = followed.listing.specs().to_vec();
                followed.clusters.retain(|cluster| {
                    let cluster = cluster.upgrade();
                    cluster.inspect(|cluster| cluster.replace(specs.clone())).is_some()
                });
            }
        }
        drop(followed);
        self.told.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::ops::Deref for Reading<'_> {
    type Target = Listing;

    fn deref(&self) -> &Listing {
        &self.0.listing
    }
}
