//! A worker thread: accepts on its own sockets and keeps its connections until the drain is done.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::call::ConnectionContext;
use super::connection;
use super::door::Door;
use super::drain::{Drain, Step};
use super::opening::{Opened, Opening};
use super::watch::Watch;
use super::{Handler, HandlerWorker, WorkerContext};
use crate::policy::request_id::RequestIds;
use crate::telemetry::WorkerMetrics;

/// How long accepting pauses when the system has no descriptor or memory left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A worker thread before it starts.
pub(super) struct Worker {
    /// Of the thread.
    pub(super) name: String,
    pub(super) index: usize,
    pub(super) sockets: Vec<(std::net::TcpListener, Arc<Door>)>,
    pub(super) drain: Drain,
    /// When it accepts no more.
    pub(super) until: Step,
    /// For its calls in flight after that.
    pub(super) drain_timeout: Duration,
}

/// The connections of one worker.
#[derive(Debug)]
struct OpenConnections {
    metrics: Arc<WorkerMetrics>,
    request_ids: Arc<RequestIds>,
    next_id: AtomicU64,
    watches: Mutex<HashMap<u64, Arc<Watch>>>,
    is_empty: Notify,
}

/// One connection among the open ones; dropping it takes it out.
struct OpenConnection {
    open: Arc<OpenConnections>,
    id: u64,
    watch: Arc<Watch>,
    _permit: OwnedSemaphorePermit,
}

impl Worker {
    pub(super) fn spawn(
        self,
        handler: Arc<impl Handler>,
        metrics: Arc<WorkerMetrics>,
    ) -> io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name(self.name.clone()).spawn(move || {
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
            metrics,
            request_ids,
            next_id: AtomicU64::new(0),
            watches: Mutex::default(),
            is_empty: Notify::new(),
        });
        let mut accepting = Vec::new();
        for (socket, door) in self.sockets {
            match TcpListener::from_std(socket) {
                Ok(listener) => {
                    let accept = accept(listener, door, Arc::clone(&open), Arc::clone(&worker));
                    accepting.push(tokio::spawn(accept));
                }
                Err(error) => tracing::error!(%error, "cannot accept on a socket"),
            }
        }
        self.drain.reached(self.until).await;
        for task in accepting {
            task.abort();
            // The socket is closed when the task is gone.
            let _ = task.await;
        }
        if tokio::time::timeout(self.drain_timeout, open.finish()).await.is_err() {
            tracing::warn!("the drain's time is over; connections are cut off");
        }
    }
}

async fn accept<W: HandlerWorker>(
    listener: TcpListener,
    door: Arc<Door>,
    open: Arc<OpenConnections>,
    worker: Arc<W>,
) {
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
        let Some(permit) = door.permit().await else { return };
        open.metrics.connections.add(1);
        if socket.set_nodelay(true).is_err() {
            continue; // It is gone already.
        }
        let connection = OpenConnections::add(&open, permit);
        tokio::spawn(keep(socket, address, Arc::clone(&door), Arc::clone(&worker), connection));
    }
}

/// Opens and serves one connection.
async fn keep<W: HandlerWorker>(
    tcp: TcpStream,
    address: SocketAddr,
    door: Arc<Door>,
    worker: Arc<W>,
    connection: OpenConnection,
) {
    let OpenConnection { open, watch, .. } = &connection;
    let opening = Opening { door: &door, watch, metrics: &open.metrics, request_ids: &open.request_ids };
    let Some(Opened { socket, version, peer, place: _place }) = opening.open(tcp, address).await else {
        return;
    };
    let context = Arc::new(ConnectionContext {
        worker,
        limits: Arc::clone(&door.limits),
        metrics: Arc::clone(&open.metrics),
        request_ids: Arc::clone(&open.request_ids),
        watch: Arc::clone(watch),
        peer,
    });
    connection::serve(socket, version, context).await;
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
    /// Takes in a new connection.
    fn add(open: &Arc<Self>, permit: OwnedSemaphorePermit) -> OpenConnection {
        open.metrics.connections_open.increase();
        let watch = Arc::new(Watch::new());
        let id = open.next_id.fetch_add(1, Ordering::Relaxed);
        lock(&open.watches).insert(id, Arc::clone(&watch));
        OpenConnection { open: Arc::clone(open), id, watch, _permit: permit }
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
