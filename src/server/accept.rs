//! A worker thread: accepts on its own sockets and keeps its connections until the drain is done.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio::task::AbortHandle;

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
    /// The listeners that come and go after that.
    pub(super) changes: mpsc::UnboundedReceiver<Change>,
    pub(super) drain: Drain,
    /// When it accepts no more.
    pub(super) until: Step,
    /// For its calls in flight after that; `None`: as long as the drain gives.
    pub(super) drain_timeout: Option<Duration>,
}

/// What becomes of the listeners of a worker while it serves.
#[derive(Debug)]
pub(super) enum Change {
    Open(std::net::TcpListener, Arc<Door>),
    /// Connections finish their calls, and others are accepted no more.
    Close(Arc<Door>),
    /// The connections that are open finish their calls.
    Empty(Arc<Door>),
}

/// The connections of one worker.
#[derive(Debug)]
struct OpenConnections {
    metrics: Arc<WorkerMetrics>,
    request_ids: Arc<RequestIds>,
    next_id: AtomicU64,
    entries: Mutex<HashMap<u64, Entry>>,
    ended: Notify,
}

/// What the worker knows of an open connection.
#[derive(Debug)]
struct Entry {
    door: Arc<Door>,
    watch: Arc<Watch>,
    /// Its task, once there is one.
    task: Option<AbortHandle>,
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

    async fn run(mut self, handler: &impl Handler, metrics: Arc<WorkerMetrics>) {
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
            entries: Mutex::default(),
            ended: Notify::new(),
        });
        let mut accepting = Vec::new();
        for (socket, door) in std::mem::take(&mut self.sockets) {
            accepting.extend(open_door(socket, door, &open, &worker));
        }
        loop {
            tokio::select! {
                () = self.drain.reached(self.until) => break,
                Some(change) = self.changes.recv() => match change {
                    Change::Open(socket, door) => accepting.extend(open_door(socket, door, &open, &worker)),
                    Change::Empty(door) => drop(tokio::spawn(Arc::clone(&open).leave(door, self.drain.timeout()))),
                    Change::Close(door) => {
                        let is_of = |(own, _): &mut (Arc<Door>, _)| Arc::ptr_eq(own, &door);
                        for (door, task) in accepting.extract_if(.., is_of).collect::<Vec<_>>() {
                            end(task).await;
                            tokio::spawn(Arc::clone(&open).leave(door, self.drain.timeout()));
                        }
                    }
                },
            }
        }
        for (_, task) in accepting {
            end(task).await;
        }
        let timeout = self.drain_timeout.unwrap_or_else(|| self.drain.timeout());
        if tokio::time::timeout(timeout, open.finish(|_, _| true)).await.is_err() {
            tracing::warn!("the drain's time is over; connections are cut off");
        }
    }
}

/// The task that accepts on a socket.
type Accepting = tokio::task::JoinHandle<()>;

/// Begins to accept on a socket.
fn open_door<W: HandlerWorker>(
    socket: std::net::TcpListener,
    door: Arc<Door>,
    open: &Arc<OpenConnections>,
    worker: &Arc<W>,
) -> Option<(Arc<Door>, Accepting)> {
    match TcpListener::from_std(socket) {
        Ok(listener) => {
            let accept = accept(listener, Arc::clone(&door), Arc::clone(open), Arc::clone(worker));
            Some((door, tokio::spawn(accept)))
        }
        Err(error) => {
            tracing::error!(%error, "cannot accept on a socket");
            None
        }
    }
}

/// Accepts no more: the socket is closed when the task is gone.
async fn end(accepting: Accepting) {
    accepting.abort();
    let _ = accepting.await;
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
        let connection = OpenConnections::add(&open, Arc::clone(&door), permit);
        let id = connection.id;
        let task = tokio::spawn(keep(socket, address, Arc::clone(&door), Arc::clone(&worker), connection));
        if let Some(entry) = lock(&open.entries).get_mut(&id) {
            entry.task = Some(task.abort_handle());
        }
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
    let rules = door.rules();
    let (metrics, request_ids) = (&*open.metrics, &*open.request_ids);
    let opening = Opening { door: &door, rules: &rules, watch, metrics, request_ids };
    let Some(Opened { socket, version, peer, place: _place }) = opening.open(tcp, address).await else {
        return;
    };
    let context = Arc::new(ConnectionContext {
        worker,
        limits: Arc::clone(&rules.limits),
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
    fn add(open: &Arc<Self>, door: Arc<Door>, permit: OwnedSemaphorePermit) -> OpenConnection {
        open.metrics.connections_open.increase();
        let watch = Arc::new(Watch::new());
        let id = open.next_id.fetch_add(1, Ordering::Relaxed);
        lock(&open.entries).insert(id, Entry { door, watch: Arc::clone(&watch), task: None });
        OpenConnection { open: Arc::clone(open), id, watch, _permit: permit }
    }

    /// Asks the connections of a listener to end, and cuts off those that have not in time.
    async fn leave(self: Arc<Self>, door: Arc<Door>, timeout: Duration) {
        // Those that are accepted from now on may stay.
        let next = self.next_id.load(Ordering::Relaxed);
        let is_of = |id: u64, entry: &Entry| id < next && Arc::ptr_eq(&entry.door, &door);
        if tokio::time::timeout(timeout, self.finish(is_of)).await.is_err() {
            let entries = lock(&self.entries);
            let late = entries.iter().filter(|(id, entry)| is_of(**id, entry));
            let tasks: Vec<_> = late.filter_map(|(_, entry)| entry.task.clone()).collect();
            drop(entries);
            tasks.iter().for_each(AbortHandle::abort);
        }
    }

    /// Asks connections to end, and waits for it.
    async fn finish(&self, which: impl Fn(u64, &Entry) -> bool) {
        let is_asked = |(id, entry): &(&u64, &Entry)| which(**id, entry);
        let watches: Vec<_> =
            lock(&self.entries).iter().filter(is_asked).map(|(_, entry)| Arc::clone(&entry.watch)).collect();
        for watch in watches {
            watch.stop();
        }
        loop {
            let mut ended = pin!(self.ended.notified());
            // Registered before looking, so that no end in between is missed.
            ended.as_mut().enable();
            if !lock(&self.entries).iter().any(|entry| is_asked(&entry)) {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.metrics.connections_open.decrease();
        lock(&self.open.entries).remove(&self.id);
        self.open.ended.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
