//! Starting a server and ending it: sockets, threads, handles.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use socket2::{Domain, Protocol, Socket, Type};

use tokio::sync::mpsc;

use super::accept::Worker;
use super::admin::{self, Admin};
use super::door::Door;
use super::drain::{Drain, Hangups, Signals, Step};
use super::listeners::{DoorSockets, Listeners, admin_listener, bind_door};
use super::{Handler, Operations, Reload, ServerConfig};
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
    listeners: Listeners,
    workers: Vec<JoinHandle<()>>,
    admin: Option<JoinHandle<()>>,
    reload: Option<Arc<dyn Reload>>,
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
    operations: Operations,
) -> Result<Running, StartError> {
    let workers_count = config.workers.max(1);
    let bound = config.listeners.iter().map(|listener| bind_door(listener, workers_count));
    let (doors, addresses): (Vec<DoorSockets>, Vec<_>) =
        bound.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    // Bound before any thread accepts: what cannot start has served nobody.
    let admin = config.admin.as_ref().map(|admin| bind_door(&admin_listener(admin), 1)).transpose()?;
    let drain = Drain::new(config.drain_grace, config.drain_timeout);
    let (senders, changes): (Vec<_>, Vec<_>) = (0..workers_count).map(|_| mpsc::unbounded_channel()).unzip();
    let pages = config
        .admin
        .as_ref()
        .map(|admin| Arc::new(Admin::new(admin, Arc::clone(&metrics), operations.clone(), drain.clone())));
    let gate = pages.as_ref().map(|pages| pages.gate());
    let admin_door = admin.as_ref().map(|((door, _), _)| Arc::clone(door)).zip(gate);
    let public_doors = doors.iter().map(|(door, _)| Arc::clone(door)).collect();
    let mut running = Running {
        addresses,
        admin_address: admin.as_ref().map(|(_, address)| address.clone()),
        shutdown: Shutdown { drain: drain.clone() },
        listeners: Listeners::new(drain.clone(), public_doors, senders, admin_door),
        workers: Vec::with_capacity(workers_count),
        admin: None,
        reload: operations.reload,
    };
    for ((index, sockets), changes) in by_worker(doors, workers_count).into_iter().enumerate().zip(changes) {
        let (name, until) = (format!("transom-{index}"), Step::Stopping);
        let worker =
            Worker { name, index, sockets, changes, drain: drain.clone(), until, drain_timeout: None };
        let thread = worker.spawn(Arc::clone(&handler), metrics.worker()).map_err(StartError::Thread);
        running.workers.push(thread?);
    }
    if let Some((((door, sockets), _), pages)) = admin.zip(pages) {
        let worker = Worker {
            name: "transom-admin".to_owned(),
            index: 0,
            sockets: sockets.into_iter().map(|socket| (socket, Arc::clone(&door))).collect(),
            changes: mpsc::unbounded_channel().1,
            drain,
            until: Step::Gone,
            drain_timeout: Some(admin::DRAIN),
        };
        running.admin = Some(worker.spawn(pages, Arc::default()).map_err(StartError::Thread)?);
    }
    Ok(running)
}

/// The sockets of each worker.
fn by_worker(doors: Vec<DoorSockets>, workers: usize) -> Vec<Vec<(std::net::TcpListener, Arc<Door>)>> {
    let mut sockets: Vec<Vec<_>> = (0..workers).map(|_| Vec::with_capacity(doors.len())).collect();
    for (door, of_door) in doors {
        for (sockets, socket) in sockets.iter_mut().zip(of_door) {
            sockets.push((socket, Arc::clone(&door)));
        }
    }
    sockets
}

/// A socket that listens.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
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
    /// A handle that changes the listeners of this server.
    pub fn listeners(&self) -> Listeners {
        self.listeners.clone()
    }

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

    /// Serves until SIGTERM or SIGINT, then drains; a second signal ends the process as usual. SIGHUP loads the
    /// configuration again, if there is one to load.
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
            let reload = self.reload.clone();
            let mut hangups = reload.is_some().then(Hangups::new).transpose()?;
            announce();
            loop {
                tokio::select! {
                    () = signals.next() => break,
                    () = Hangups::next(&mut hangups) => {
                        let reload = reload.iter().map(|reload| reload.reload("signal".to_owned()));
                        // The answer is for those who ask by HTTP; this one reads the log.
                        reload.for_each(|reload| drop(tokio::spawn(reload)));
                    }
                }
            }
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
        tokio::time::sleep(self.drain.grace()).await;
        self.drain.advance(Step::Stopping);
    }

    /// Only announces; everything is still served.
    pub fn announce(&self) {
        self.drain.advance(Step::Announced);
    }
}
