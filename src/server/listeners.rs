//! The listeners of a running server, and how others take their place.
//!
//! ```text
//! bind: what is new, every socket of every worker; one that fails gives all of them back
//!   ─▶ change: others are opened, those that stay get their rules, those that are gone are closed and drained
//! ```
//!
//! A listener stays if its address does, whatever its name: no client is turned away who is about to be accepted.
//! Its connections end after a change of name, because they are under the rules of the old one.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::accept::Change;
use super::admin::{self, CurrentGate};
use super::door::Door;
use super::drain::Drain;
use super::running::{StartError, bind};
use super::{AdminConfig, ListenerAddress, ListenerConfig, ServerConfig};

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Listeners(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    drain: Drain,
    /// The public ones.
    doors: Mutex<Vec<Arc<Door>>>,
    /// One message for each listener that comes or goes: as few as there are reloads.
    workers: Vec<mpsc::UnboundedSender<Change>>,
    admin: Option<(Arc<Door>, CurrentGate)>,
}

/// Listeners that are bound and not yet open; dropping them gives their addresses back.
#[derive(Debug)]
pub struct Bound {
    config: ServerConfig,
    sockets: Vec<DoorSockets>,
}

/// A listener with a socket for each worker.
pub(super) type DoorSockets = (Arc<Door>, Vec<TcpListener>);

impl Listeners {
    pub(super) fn new(
        drain: Drain,
        doors: Vec<Arc<Door>>,
        workers: Vec<mpsc::UnboundedSender<Change>>,
        admin: Option<(Arc<Door>, CurrentGate)>,
    ) -> Self {
        Self(Arc::new(Shared { drain, doors: Mutex::new(doors), workers, admin }))
    }

    /// Binds the listeners of `config` that are not open yet. The operators' address and the number of threads are
    /// those of the start.
    ///
    /// # Errors
    ///
    /// An address is taken or not ours.
    pub fn bind(&self, config: ServerConfig) -> Result<Bound, StartError> {
        let doors = self.0.doors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_new = |listener: &&ListenerConfig| doors.iter().all(|door| !is_same(door, listener));
        let bound =
            config.listeners.iter().filter(is_new).map(|listener| bind_door(listener, self.0.workers.len()));
        let sockets = bound.map(|bound| bound.map(|(door, _)| door)).collect::<Result<_, _>>()?;
        Ok(Bound { config, sockets })
    }

    /// Puts listeners in the place of those before.
    pub fn change(&self, bound: Bound) {
        let Bound { config, sockets } = bound;
        self.0.drain.change(config.drain_grace, config.drain_timeout);
        if let (Some((door, gate)), Some(admin)) = (&self.0.admin, &config.admin) {
            door.change(&admin_listener(admin));
            gate.change(admin);
        }
        let mut doors = self.0.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut stay, go): (Vec<_>, Vec<_>) =
            doors.drain(..).partition(|door| config.listeners.iter().any(|listener| is_same(door, listener)));
        for listener in &config.listeners {
            for door in stay.iter().filter(|door| is_same(door, listener)) {
                let is_renamed = door.rules().name != listener.name;
                door.change(listener);
                if is_renamed {
                    self.tell(|| Change::Empty(Arc::clone(door)));
                }
            }
        }
        for (door, sockets) in sockets {
            for (worker, socket) in self.0.workers.iter().zip(sockets) {
                // A worker that is gone serves nobody.
                let _ = worker.send(Change::Open(socket, Arc::clone(&door)));
            }
            stay.push(door);
        }
        for door in go {
            self.tell(|| Change::Close(Arc::clone(&door)));
        }
        *doors = stay;
    }

    fn tell(&self, change: impl Fn() -> Change) {
        for worker in &self.0.workers {
            let _ = worker.send(change());
        }
    }
}

impl Bound {
    /// Where the listeners are reached that are not open yet.
    pub fn addresses(&self) -> Vec<ListenerAddress> {
        let addresses = self.sockets.iter().filter_map(|(door, sockets)| {
            let address = sockets.first()?.local_addr().ok()?;
            Some(ListenerAddress { name: door.rules().name.clone(), address, scheme: door.rules().scheme() })
        });
        addresses.collect()
    }
}

/// Several may ask the system for a port, and are told apart by their names.
fn is_same(door: &Door, listener: &ListenerConfig) -> bool {
    door.bind == listener.bind && (door.bind.port() != 0 || door.rules().name == listener.name)
}

/// A listener with a socket for each of so many workers, and where it is reached.
pub(super) fn bind_door(
    listener: &ListenerConfig,
    workers: usize,
) -> Result<(DoorSockets, ListenerAddress), StartError> {
    let door = Arc::new(Door::new(listener));
    let mut address = listener.bind;
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let refused = |error| StartError::Listen { address, error };
        let socket = bind(address).map_err(refused)?;
        // The first socket learns the port, the others share it.
        address = socket.local_addr().map_err(refused)?;
        sockets.push(socket);
    }
    let address = ListenerAddress { name: listener.name.clone(), address, scheme: door.rules().scheme() };
    Ok(((door, sockets), address))
}

/// The operators' listener as any other.
pub(super) fn admin_listener(admin: &AdminConfig) -> ListenerConfig {
    ListenerConfig {
        limits: admin::limits(),
        tls: admin.tls.clone(),
        ..ListenerConfig::new("admin", admin.bind)
    }
}
