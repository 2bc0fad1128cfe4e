//! A listener as all workers share it: what it asks of connections, and who is inside.
//!
//! What it asks may change while it is open: a connection is under the rules with which it began, to its end. What
//! is counted goes on.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ListenerConfig;
use super::limits::ServerLimits;
use super::tls::CurrentTls;
use crate::policy::networks::Networks;

/// One listener of all workers.
#[derive(Debug)]
pub(super) struct Door {
    /// As it was asked for: the port may be 0.
    pub(super) bind: SocketAddr,
    rules: ArcSwap<DoorRules>,
    /// One permit a connection: without one, a worker keeps its newest client waiting and accepts no other.
    connections: Arc<Semaphore>,
    /// Permits that are to be taken back as they become free, because the bound has been lowered.
    owed: AtomicUsize,
    per_address: Mutex<HashMap<IpAddr, usize>>,
}

/// What a listener asks of a connection.
#[derive(Debug)]
pub(super) struct DoorRules {
    pub(super) name: Arc<str>,
    pub(super) limits: Arc<ServerLimits>,
    /// Who may connect and must begin with a preamble of the PROXY protocol; `None`: anyone, without.
    pub(super) proxies: Option<Networks>,
    pub(super) tls: Option<Arc<dyn CurrentTls>>,
}

/// One connection of one address; dropping it makes room for another.
#[derive(Debug)]
pub(super) struct Place {
    door: Arc<Door>,
    address: IpAddr,
}

impl Door {
    pub(super) fn new(config: &ListenerConfig) -> Self {
        Self {
            bind: config.bind,
            rules: ArcSwap::from_pointee(DoorRules::new(config)),
            connections: Arc::new(Semaphore::new(config.limits.connections_max)),
            owed: AtomicUsize::new(0),
            per_address: Mutex::default(),
        }
    }

    /// The rules for a connection that begins now.
    pub(super) fn rules(&self) -> Arc<DoorRules> {
        self.rules.load_full()
    }

    /// Puts connections that begin from now on under other rules. By one thread at a time.
    pub(super) fn change(&self, config: &ListenerConfig) {
        let before = self.rules.swap(Arc::new(DoorRules::new(config)));
        let (before, after) = (before.limits.connections_max, config.limits.connections_max);
        if after < before {
            let lowered = before - after;
            let taken = self.connections.forget_permits(lowered);
            self.owed.fetch_add(lowered - taken, Ordering::Relaxed);
        } else {
            let raised = after - before;
            let owed = self.owed.load(Ordering::Relaxed).min(raised);
            // Some may have been taken back since they were looked at.
            let waived = (0..owed).filter(|_| self.waive()).count();
            self.connections.add_permits(raised - waived);
        }
    }

    /// Waits until there is room for one more connection.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            let permit = Arc::clone(&self.connections).acquire_owned().await.ok()?;
            if !self.waive() {
                return Some(permit);
            }
            permit.forget();
        }
    }

    /// Takes one from what is owed, if anything is.
    fn waive(&self) -> bool {
        let less = |owed: usize| owed.checked_sub(1);
        self.owed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// A place for a connection from `address`; `None` when it has too many.
    pub(super) fn admit(door: &Arc<Self>, rules: &DoorRules, address: IpAddr) -> Option<Place> {
        // An IPv4 client of an IPv6 socket is the same client.
        let address = address.to_canonical();
        let mut per_address = door.lock();
        let count = per_address.entry(address).or_default();
        if *count >= rules.limits.connections_per_address_max {
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

impl DoorRules {
    fn new(config: &ListenerConfig) -> Self {
        Self {
            name: config.name.clone(),
            limits: Arc::new(config.limits.clone()),
            proxies: config.proxy_protocol.as_deref().map(|from| from.iter().copied().collect()),
            tls: config.tls.as_ref().map(|tls| Arc::clone(&tls.0)),
        }
    }

    /// `http` or `https`.
    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn bound_of_connections_changes_with_those_that_are_open() {
        let config = |connections_max| ListenerConfig {
            limits: ServerLimits { connections_max, ..ServerLimits::default() },
            ..ListenerConfig::new("a", "127.0.0.1:0".parse().expect("an address"))
        };
        let door = Door::new(&config(3));
        let permit = || match pin!(door.permit()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => permit,
            Poll::Pending => None,
        };
        let mut open: Vec<_> = std::iter::from_fn(permit).collect();
        assert_eq!(open.len(), 3);
        door.change(&config(1));
        open.truncate(1);
        assert!(permit().is_none(), "one is open, and one is the bound");
        door.change(&config(2));
        open.extend(permit());
        assert!(permit().is_none(), "two are open, and two is the bound");
        door.change(&config(1));
        door.change(&config(3));
        open.extend(permit());
        assert_eq!(open.len(), 3, "what was owed is waived");
        assert!(permit().is_none());
    }
}
