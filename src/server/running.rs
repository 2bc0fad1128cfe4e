//! Starting a server and ending it: sockets, threads, handles.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::accept::Worker;
use super::admin::{self, Admin, ConfigPage};
use super::door::Door;
use super::drain::{Drain, Signals, Step};
use super::{AdminConfig, Handler, ListenerConfig, ServerConfig};
use crate::telemetry::Metrics;

/// Connections the system holds before `accept`; more than one burst of a busy second.
const BACKLOG: i32 = 4096;

/// A server that serves.
#[derive(Debug)]
pub struct Running {
    /// The public listeners, in the order of [`ServerConfig::listeners`], with the ports given.
    pub addresses: Vec<ListenerAddress>,
    pub admin_address: Option<ListenerAddress>,
    shutdown: Shutdown,
    workers: Vec<JoinHandle<()>>,
    admin: Option<JoinHandle<()>>,
}

/// Where a listener is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerAddress {
    pub name: Arc<str>,
    pub address: SocketAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
}

/// Ends a server, from anywhere.
#[derive(Clone, Debug)]
pub struct Shutdown {
    drain: Drain,
    grace: Duration,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on `{address}`: {error}")]
    Listen { address: SocketAddr, error: io::Error },
    #[error("cannot start a worker thread: {0}")]
    Thread(io::Error),
}

/// Binds the sockets and starts the threads; accepts when this returns.
///
/// # Errors
///
/// An address is taken or not ours; a thread or its runtime cannot be made.
pub fn start(
    config: ServerConfig,
    handler: Arc<impl Handler>,
    metrics: Arc<Metrics>,
    config_page: ConfigPage,
) -> Result<Running, StartError> {
    let workers_count = config.workers.max(1);
    let mut sockets: Vec<Vec<_>> = (0..workers_count).map(|_| Vec::new()).collect();
    let mut addresses = Vec::with_capacity(config.listeners.len());
    for (index, listener) in config.listeners.iter().enumerate() {
        let door = Arc::new(Door::new(index, listener));
        let mut address = listener.bind;
        for sockets in &mut sockets {
            let refused = |error| StartError::Listen { address, error };
            let socket = bind(address).map_err(refused)?;
            // The first socket learns the port, the others share it.
            address = socket.local_addr().map_err(refused)?;
            sockets.push((socket, Arc::clone(&door)));
        }
        addresses.push(ListenerAddress { name: Arc::clone(&listener.name), address, scheme: door.scheme() });
    }
    let drain = Drain::new();
    let mut running = Running {
        addresses,
        admin_address: None,
        shutdown: Shutdown { drain: drain.clone(), grace: config.drain_grace },
        workers: Vec::with_capacity(workers_count),
        admin: None,
    };
    // Bound before any thread accepts: what cannot start has served nobody.
    let admin = config.admin.map(|admin| Ok((bind_admin(&admin)?, admin))).transpose()?;
    for (index, sockets) in sockets.into_iter().enumerate() {
        let (name, until) = (format!("transom-{index}"), Step::Stopping);
        let drain = drain.clone();
        let worker = Worker { name, index, sockets, drain, until, drain_timeout: config.drain_timeout };
        let thread = worker.spawn(Arc::clone(&handler), metrics.worker()).map_err(StartError::Thread);
        running.workers.push(thread?);
    }
    if let Some(((socket, door, address), config)) = admin {
        running.admin_address = Some(address);
        let worker = Worker {
            name: "transom-admin".to_owned(),
            index: 0,
            sockets: vec![(socket, door)],
            drain: drain.clone(),
            until: Step::Gone,
            drain_timeout: admin::DRAIN,
        };
        let pages = Arc::new(Admin::new(&config, metrics, config_page, drain));
        running.admin = Some(worker.spawn(pages, Arc::default()).map_err(StartError::Thread)?);
    }
    Ok(running)
}

type BoundSocket = (std::net::TcpListener, Arc<Door>, ListenerAddress);

fn bind_admin(config: &AdminConfig) -> Result<BoundSocket, StartError> {
    let listener = ListenerConfig {
        limits: admin::limits(),
        tls: config.tls.clone(),
        ..ListenerConfig::new("admin", config.bind)
    };
    let door = Arc::new(Door::new(0, &listener));
    let refused = |error| StartError::Listen { address: config.bind, error };
    let socket = bind(config.bind).map_err(refused)?;
    let address = socket.local_addr().map_err(refused)?;
    let address = ListenerAddress { name: listener.name, address, scheme: door.scheme() };
    Ok((socket, door, address))
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // The kernel spreads connections over the workers' sockets.
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Running {
    /// A handle that ends this server.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Drains and waits for the end.
    pub async fn stop(self) {
        self.shutdown.start().await;
        // Joining blocks; a failure to spawn would mean that the runtime itself is going down.
        let _ = tokio::task::spawn_blocking(move || self.join()).await;
    }

    /// Serves until SIGTERM or SIGINT, then drains; a second signal ends the process as usual.
    ///
    /// Calls `announce` when signals are heard, so that who reads of it may send one at once.
    ///
    /// # Errors
    ///
    /// The system cannot install a signal handler.
    pub fn run_until_signal(self, announce: impl FnOnce()) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut signals = Signals::new()?;
            announce();
            signals.next().await;
            tracing::info!("draining");
            tokio::select! {
                () = self.stop() => {}
                () = signals.next() => {}
            }
            io::Result::Ok(())
        })?;
        // Not waiting for threads that a second signal has given up.
        runtime.shutdown_background();
        Ok(())
    }

    /// Waits until the workers have ended by a [`Shutdown`].
    pub fn join(mut self) {
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a worker thread has panicked");
            }
        }
        self.shutdown.drain.advance(Step::Gone);
        if let Some(admin) = self.admin.take() {
            let _ = admin.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Threads do not outlive their handle: a failed start, a test that panics.
        self.shutdown.drain.advance(Step::Stopping);
        if self.workers.is_empty() {
            self.shutdown.drain.advance(Step::Gone);
        }
    }
}

impl Shutdown {
    /// Announces the end on `/readyz`, waits for the grace, and stops accepting.
    pub async fn start(&self) {
        self.drain.advance(Step::Announced);
        tokio::time::sleep(self.grace).await;
        self.drain.advance(Step::Stopping);
    }

    /// Only announces; everything is still served.
    pub fn announce(&self) {
        self.drain.advance(Step::Announced);
    }
}
