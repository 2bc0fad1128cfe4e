//! A worker thread: accepts on its own sockets and keeps its connections until the drain is done.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::call::ConnectionContext;
use super::connection;
use super::drain::{Drain, Step};
use super::limits::ServerLimits;
use super::watch::Watch;
use super::{Handler, HandlerWorker, Peer, ServerConfig, WorkerContext};
use crate::policy::request_id::RequestIds;
use crate::telemetry::WorkerMetrics;

/// How long accepting pauses when the system has no descriptor or memory left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// What all workers share.
#[derive(Debug)]
pub(super) struct Shared {
    limits: Arc<ServerLimits>,
    drain_timeout: Duration,
    /// One permit a connection: without one, a worker keeps its newest client waiting and accepts no other.
    connections: Arc<Semaphore>,
    per_address: Mutex<HashMap<IpAddr, usize>>,
}

/// A worker thread before it starts.
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) sockets: Vec<std::net::TcpListener>,
    pub(super) shared: Arc<Shared>,
    pub(super) drain: Drain,
}

/// The connections of one worker.
#[derive(Debug)]
struct OpenConnections {
    shared: Arc<Shared>,
    metrics: Arc<WorkerMetrics>,
    request_ids: Arc<RequestIds>,
    watches: Mutex<HashMap<u64, Arc<Watch>>>,
    is_empty: Notify,
}

/// One connection among the open ones; dropping it takes it out.
struct OpenConnection {
    open: Arc<OpenConnections>,
    id: u64,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Shared {
    pub(super) fn new(config: &ServerConfig) -> Self {
        Self {
            limits: Arc::new(config.limits.clone()),
            drain_timeout: config.drain_timeout,
            connections: Arc::new(Semaphore::new(config.limits.connections_max)),
            per_address: Mutex::default(),
        }
    }

    /// Counts a connection from `address`; `false` when it has too many.
    fn admit(&self, address: IpAddr) -> bool {
        let mut per_address = lock(&self.per_address);
        let count = per_address.entry(address).or_default();
        if *count >= self.limits.connections_per_address_max {
            return false;
        }
        *count += 1;
        true
    }

    fn leave(&self, address: IpAddr) {
        let mut per_address = lock(&self.per_address);
        if let Some(count) = per_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                per_address.remove(&address);
            }
        }
    }
}

impl Worker {
    pub(super) fn spawn(
        self,
        handler: Arc<impl Handler>,
        metrics: Arc<WorkerMetrics>,
    ) -> io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name(format!("transom-{}", self.index)).spawn(move || {
            runtime.block_on(self.run(&*handler, metrics));
            // Calls past the drain's timeout are cut off here.
            runtime.shutdown_background();
        })
    }

    async fn run(self, handler: &impl Handler, metrics: Arc<WorkerMetrics>) {
        let request_ids = Arc::new(RequestIds::new(RandomState::new().hash_one(self.index)));
        let context = WorkerContext {
            index: self.index,
            metrics: Arc::clone(&metrics),
            request_ids: Arc::clone(&request_ids),
        };
        let worker = Arc::new(handler.worker(&context));
        let open = Arc::new(OpenConnections {
            shared: Arc::clone(&self.shared),
            metrics,
            request_ids,
            watches: Mutex::default(),
            is_empty: Notify::new(),
        });
        let mut accepting = Vec::new();
        for socket in self.sockets {
            match TcpListener::from_std(socket) {
                Ok(listener) => {
                    accepting.push(tokio::spawn(accept(listener, Arc::clone(&open), Arc::clone(&worker))));
                }
                Err(error) => tracing::error!(%error, "cannot accept on a socket"),
            }
        }
        self.drain.reached(Step::Stopping).await;
        for task in accepting {
            task.abort();
            // The socket is closed when the task is gone.
            let _ = task.await;
        }
        if tokio::time::timeout(self.shared.drain_timeout, open.finish()).await.is_err() {
            tracing::warn!("the drain's time is over; connections are cut off");
        }
    }
}

async fn accept<W: HandlerWorker>(listener: TcpListener, open: Arc<OpenConnections>, worker: Arc<W>) {
    let mut id = 0;
    let mut is_exhausted = false;
    loop {
        let (socket, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                open.metrics.accept_failures.add(1);
                if exhausts(&error) {
                    // Said once, however long it lasts.
                    if !std::mem::replace(&mut is_exhausted, true) {
                        tracing::warn!(%error, "cannot accept; pausing");
                    }
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
                continue;
            }
        };
        if std::mem::take(&mut is_exhausted) {
            tracing::info!("accepting again");
        }
        // Not before there is a client: a worker that nobody calls would keep a place from the others.
        let semaphore = Arc::clone(&open.shared.connections);
        let Ok(permit) = semaphore.acquire_owned().await else { return };
        id += 1;
        open.metrics.connections.add(1);
        let Some((connection, watch)) = OpenConnections::admit(&open, id, address, permit) else {
            open.metrics.connections_refused.add(1);
            continue;
        };
        if socket.set_nodelay(true).is_err() {
            continue; // It is gone already.
        }
        let context = Arc::new(ConnectionContext {
            worker: Arc::clone(&worker),
            limits: Arc::clone(&open.shared.limits),
            metrics: Arc::clone(&open.metrics),
            request_ids: Arc::clone(&open.request_ids),
            watch,
            peer: Peer::new(address),
        });
        tokio::spawn(keep(socket, context, connection));
    }
}

async fn keep<W: HandlerWorker>(
    socket: TcpStream,
    context: Arc<ConnectionContext<W>>,
    connection: OpenConnection,
) {
    connection::serve(socket, context).await;
    drop(connection);
}

/// No descriptors or memory: trying again at once would only burn the processor.
fn exhausts(error: &io::Error) -> bool {
    // ECONNABORTED and the like concern one connection that is gone.
    !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

impl OpenConnections {
    /// A place for a new connection; `None` when its address has too many.
    fn admit(
        open: &Arc<Self>,
        id: u64,
        address: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) -> Option<(OpenConnection, Arc<Watch>)> {
        // An IPv4 client of an IPv6 socket is the same client.
        let ip = address.ip().to_canonical();
        if !open.shared.admit(ip) {
            return None;
        }
        open.metrics.connections_open.increase();
        let watch = Arc::new(Watch::new());
        // Listeners number their connections each for itself: the port makes the key unique.
        let id = id << 16 | u64::from(address.port());
        lock(&open.watches).insert(id, Arc::clone(&watch));
        Some((OpenConnection { open: Arc::clone(open), id, address: ip, _permit: permit }, watch))
    }

    /// Asks all connections to end, and waits for it.
    async fn finish(&self) {
        let watches: Vec<_> = lock(&self.watches).values().map(Arc::clone).collect();
        for watch in watches {
            watch.stop();
        }
        loop {
            let empty = self.is_empty.notified();
            if lock(&self.watches).is_empty() {
                return;
            }
            empty.await;
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.shared.leave(self.address);
        self.open.metrics.connections_open.decrease();
        let mut watches = lock(&self.open.watches);
        watches.remove(&self.id);
        if watches.is_empty() {
            self.open.is_empty.notify_one();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
