//! A public listener as all workers share it: its bounds on connections, and who is inside.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ListenerConfig;
use super::limits::ServerLimits;
use super::tls::CurrentTls;
use crate::policy::networks::Networks;

/// One listener of all workers.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) index: usize,
    pub(super) limits: Arc<ServerLimits>,
    /// Who may connect and must begin with a preamble of the PROXY protocol; `None`: anyone, without.
    pub(super) proxies: Option<Networks>,
    pub(super) tls: Option<Arc<dyn CurrentTls>>,
    /// One permit a connection: without one, a worker keeps its newest client waiting and accepts no other.
    connections: Arc<Semaphore>,
    per_address: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of one address; dropping it makes room for another.
#[derive(Debug)]
pub(super) struct Place {
    door: Arc<Door>,
    address: IpAddr,
}

impl Door {
    pub(super) fn new(index: usize, config: &ListenerConfig) -> Self {
        Self {
            index,
            limits: Arc::new(config.limits.clone()),
            proxies: config.proxy_protocol.as_deref().map(|from| from.iter().copied().collect()),
            tls: config.tls.as_ref().map(|tls| Arc::clone(&tls.0)),
            connections: Arc::new(Semaphore::new(config.limits.connections_max)),
            per_address: Mutex::default(),
        }
    }

    /// `http` or `https`.
    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Waits until there is room for one more connection.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).acquire_owned().await.ok()
    }

    /// A place for a connection from `address`; `None` when it has too many.
    pub(super) fn admit(door: &Arc<Self>, address: IpAddr) -> Option<Place> {
        // An IPv4 client of an IPv6 socket is the same client.
        let address = address.to_canonical();
        let mut per_address = door.lock();
        let count = per_address.entry(address).or_default();
        if *count >= door.limits.connections_per_address_max {
            return None;
        }
        *count += 1;
        drop(per_address);
        Some(Place { door: Arc::clone(door), address })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.per_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut per_address = self.door.lock();
        if let Some(count) = per_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                per_address.remove(&self.address);
            }
        }
    }
}
