//! A worker thread: accepts on its own sockets and keeps its connections until the drain is done.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::sleep;

use super::call::ConnectionContext;
use super::connection;
use super::door::Door;
use super::drain::{Drain, Step};
use super::opening::{Opened, Opening};
use super::turn_away::turn_away;
use super::watch::Watch;
use super::{Handler, HandlerWorker, WorkerContext};
use crate::policy::request_id::RequestIds;
use crate::telemetry::WorkerMetrics;

/// How long handshakes of TCP that have begun may take when a socket is closed.
const LAST_HANDSHAKES: Duration = Duration::from_millis(100);

/// For all of the closing: connections beyond the listener's bound wait for a place in vain.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(1);

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
    /// The process is about to end.
    is_leaving: AtomicBool,
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
    ) -> io::Result<thread::JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name(self.name.clone()).spawn(move || {
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
            is_leaving: AtomicBool::new(false),
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
                () = self.drain.reached(Step::Announced), if !open.is_leaving() => open.leave_all(),
                Some(change) = self.changes.recv() => match change {
                    Change::Open(socket, door) => accepting.extend(open_door(socket, door, &open, &worker)),
                    Change::Empty(door) => drop(tokio::spawn(Arc::clone(&open).leave(door, self.drain.timeout()))),
                    Change::Close(door) => {
                        for closed in accepting.extract_if(.., |accepting| Arc::ptr_eq(&accepting.door, &door)) {
                            let (open, timeout) = (Arc::clone(&open), self.drain.timeout());
                            tokio::spawn(async move {
                                let door = closed.end().await;
                                open.leave(door, timeout).await;
                            });
                        }
                    }
                },
            }
        }
        open.leave_all();
        let mut ending: JoinSet<_> = accepting.into_iter().map(Accepting::end).collect();
        while ending.join_next().await.is_some() {}
        let timeout = self.drain_timeout.unwrap_or_else(|| self.drain.timeout());
        if tokio::time::timeout(timeout, open.finish(|_, _| true)).await.is_err() {
            tracing::warn!("the drain's time is over; connections are cut off");
        }
    }
}

/// A socket that is accepted on.
struct Accepting {
    door: Arc<Door>,
    closing: Arc<Notify>,
    task: JoinHandle<()>,
}

/// Begins to accept on a socket.
fn open_door<W: HandlerWorker>(
    socket: std::net::TcpListener,
    door: Arc<Door>,
    open: &Arc<OpenConnections>,
    worker: &Arc<W>,
) -> Option<Accepting> {
    match TcpListener::from_std(socket) {
        Ok(listener) => {
            let closing = Arc::new(Notify::new());
            let acceptor = Acceptor {
                door: Arc::clone(&door),
                open: Arc::clone(open),
                worker: Arc::clone(worker),
                is_exhausted: false,
            };
            let task = tokio::spawn(acceptor.run(listener, Arc::clone(&closing)));
            Some(Accepting { door, closing, task })
        }
        Err(error) => {
            tracing::error!(%error, "cannot accept on a socket");
            None
        }
    }
}

impl Accepting {
    /// Accepts who is there already and nobody else; the socket is closed when this returns.
    async fn end(mut self) -> Arc<Door> {
        self.closing.notify_one();
        if tokio::time::timeout(CLOSING_TIMEOUT, &mut self.task).await.is_err() {
            self.task.abort();
            let _ = self.task.await;
        }
        self.door
    }
}

/// Accepts on one socket.
struct Acceptor<W> {
    door: Arc<Door>,
    open: Arc<OpenConnections>,
    worker: Arc<W>,
    is_exhausted: bool,
}

impl<W: HandlerWorker> Acceptor<W> {
    async fn run(mut self, listener: TcpListener, closing: Arc<Notify>) {
        loop {
            tokio::select! {
                accepted = listener.accept() => self.take(accepted).await,
                () = closing.notified() => break,
            }
        }
        // Closing a socket resets the connections that nobody has accepted, with the requests that they bring.
        if turn_away(&listener) {
            let mut last_handshakes = pin!(sleep(LAST_HANDSHAKES));
            loop {
                tokio::select! {
                    accepted = listener.accept() => self.take(accepted).await,
                    () = &mut last_handshakes => break,
                }
            }
        }
        // The system is asked itself: a runtime knows what was there when it last asked.
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((socket, address)) = listener.accept() {
            let socket = socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket));
            self.take(socket.map(|socket| (socket, address))).await;
        }
    }

    /// Serves a connection that was accepted.
    async fn take(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        let (socket, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => return self.failed(&error).await,
        };
        if std::mem::take(&mut self.is_exhausted) {
            tracing::info!("accepting again");
        }
        // Not before there is a client: a worker that nobody calls would keep a place from the others.
        let Some(permit) = self.door.permit().await else { return };
        self.open.metrics.connections.add(1);
        if socket.set_nodelay(true).is_err() {
            return; // It is gone already.
        }
        let connection = OpenConnections::add(&self.open, Arc::clone(&self.door), permit);
        let id = connection.id;
        let kept = keep(socket, address, Arc::clone(&self.door), Arc::clone(&self.worker), connection);
        let task = tokio::spawn(kept);
        if let Some(entry) = lock(&self.open.entries).get_mut(&id) {
            entry.task = Some(task.abort_handle());
        }
    }

    async fn failed(&mut self, error: &io::Error) {
        self.open.metrics.accept_failures.add(1);
        if exhausts(error) {
            // Said once, however long it lasts.
            if !std::mem::replace(&mut self.is_exhausted, true) {
                tracing::warn!(%error, "cannot accept; pausing");
            }
            sleep(EXHAUSTED_PAUSE).await;
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
        if open.is_leaving() {
            watch.leave();
        }
        let id = open.next_id.fetch_add(1, Ordering::Relaxed);
        lock(&open.entries).insert(id, Entry { door, watch: Arc::clone(&watch), task: None });
        OpenConnection { open: Arc::clone(open), id, watch, _permit: permit }
    }

    fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// Has every reply, of connections to come too, ask its client to find another gateway.
    fn leave_all(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
        lock(&self.entries).values().for_each(|entry| entry.watch.leave());
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
