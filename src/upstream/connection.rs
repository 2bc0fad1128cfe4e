//! One HTTP/2 connection to the backend, and the lease a call holds on one of its streams.
//!
//! The connection is driven by a task of its own that ends with it: when the peer closes it, when a
//! PING stays unanswered, or when the last handle is dropped.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Ping, PingPong, SendStream};
use http::Request;
use http::uri::Authority;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

use super::UpstreamConfig;
use super::endpoint::Address;
use super::pool::Pool;
use super::queue::Length;
use super::socket::{CountedSocket, Transport};

/// Streams opened before the peer's SETTINGS have come: what RFC 9113, section 6.5.2, wants every
/// peer to allow at least.
const STREAMS_BEFORE_SETTINGS: usize = 100;

/// What h2 may hold for DATA that no client has read yet, beside its bytes: 256 bytes less the payload for each
/// frame that is shorter than that. Its own bound, 8,000 tiny messages, would let one slow reader end all calls of
/// the connection.
const DATA_OVERHEAD_BYTES_MAX: usize = 64 << 20;

/// How a connection was before it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It has carried a reply.
    Proven,
    /// It never has: whatever listens there may not speak HTTP/2.
    Unproven,
}

/// When a peer must show that it speaks HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// With the first call, which may as well be on its way at once.
    Later,
    /// Before there is a connection, by answering a PING: nobody is in a hurry.
    Ping,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Bytes>,
    calls_open: AtomicUsize,
    is_proven: AtomicBool,
    is_closed: AtomicBool,
    /// Why it is over, since it is.
    over: OnceLock<Option<String>>,
    /// Whether its pool knows how it ended.
    is_settled: AtomicBool,
    settled: Notify,
    /// How often the socket has taken bytes.
    writes: Arc<AtomicU64>,
}

/// The right to one stream of a connection, for as long as a call lasts.
#[derive(Debug)]
pub(super) struct Lease {
    connection: Arc<Connection>,
    sender: SendRequest<Bytes>,
    pool: Arc<Pool>,
}

/// Opens a connection and spawns the task that drives it; its pool is told when there is news for those who wait, and
/// when it is gone.
pub(super) async fn connect(
    config: &UpstreamConfig,
    address: &Address,
    proof: Proof,
    pool: Weak<Pool>,
) -> io::Result<Arc<Connection>> {
    let writes = Arc::default();
    let transport = dial(config, address, Arc::clone(&writes)).await?;
    // Until it answers, nobody knows whether it takes our certificate: in TLS 1.3 it says so after the handshake.
    let proof = if address.is_tls { Proof::Ping } else { proof };
    let (sender, mut driver) = h2::client::Builder::new()
        .initial_window_size(config.stream_window_bytes)
        .initial_connection_window_size(config.connection_window_bytes)
        .initial_max_send_streams(STREAMS_BEFORE_SETTINGS)
        // h2 refuses a list of exactly this size.
        .max_header_list_size(config.header_bytes_max.saturating_add(1))
        .data_frame_budget(DATA_OVERHEAD_BYTES_MAX)
        .enable_push(false)
        .handshake(transport)
        .await
        .map_err(io::Error::other)?;
    let mut pings = driver.ping_pong().expect("taken once");
    let connection = Arc::new(Connection {
        sender,
        calls_open: AtomicUsize::new(0),
        is_proven: AtomicBool::new(false),
        is_closed: AtomicBool::new(false),
        over: OnceLock::new(),
        is_settled: AtomicBool::new(false),
        settled: Notify::new(),
        writes,
    });
    // The driver must not keep the connection's sender alive: when all are dropped, it ends.
    let watched = Arc::downgrade(&connection);
    let keepalive = config.keepalive.map(|interval| (interval, config.keepalive_timeout));
    let (prove, proven) = oneshot::channel();
    let queued = pool.upgrade().map(|pool| pool.queued().clone()).unwrap_or_default();
    let driving = tokio::spawn(async move {
        let is_active = {
            let watched = watched.clone();
            move || watched.upgrade().is_some_and(|connection| connection.calls_open() > 0)
        };
        let alive = async move {
            if proof == Proof::Later || pings.ping(Ping::opaque()).await.is_ok() {
                let _ = prove.send(());
            }
            keep_alive(pings, keepalive, is_active).await;
        };
        let error = drive(driver, alive, &queued, &pool).await;
        if let Some(connection) = watched.upgrade() {
            connection.is_closed.store(true, Ordering::SeqCst);
            tracing::debug!(error, "connection to the backend ended");
            let _ = connection.over.set(error.clone());
            if let Some(pool) = pool.upgrade() {
                connection.settle(&pool);
                connection.settled.notified().await;
                pool.serve();
            }
        }
        error
    });
    if proof == Proof::Ping && proven.await.is_err() {
        let error = driving.await.ok().flatten();
        return Err(error.map_or_else(|| io::ErrorKind::ConnectionReset.into(), io::Error::other));
    }
    Ok(connection)
}

/// Drives a connection to its end, and says why it ended. Its calls know of that at the latest after this.
async fn drive(
    driver: h2::client::Connection<Transport, Bytes>,
    alive: impl Future<Output = ()>,
    queued: &Length,
    pool: &Weak<Pool>,
) -> Option<String> {
    let (mut driver, mut alive) = (pin!(driver), pin!(alive));
    let ended = poll_fn(|cx| match driver.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(result.err().map(|error| error.to_string())),
        Poll::Pending => {
            // SETTINGS may have come that allow more streams, or a GOAWAY, after which there are no more here.
            if !queued.is_zero()
                && let Some(pool) = pool.upgrade()
            {
                pool.serve();
            }
            alive.as_mut().poll(cx).map(|()| Some("PING unanswered".to_owned()))
        }
    });
    ended.await
}

/// The way there, on which nothing has been said of HTTP/2 yet.
async fn dial(config: &UpstreamConfig, address: &Address, writes: Arc<AtomicU64>) -> io::Result<Transport> {
    let socket = TcpStream::connect((address.host(), address.port())).await?;
    tune(&socket, config.keepalive_timeout)?;
    let socket = CountedSocket::new(socket, writes);
    if !address.is_tls {
        return Ok(Transport::Plain(socket));
    }
    let tls = config.tls.as_ref().ok_or_else(|| io::Error::other("TLS is not set up for it"))?;
    let stream = tls.0.current().connect(address, socket).await?;
    Ok(Transport::Tls(Box::new(stream)))
}

/// Small frames must not wait for each other (Nagle), and a vanished peer must be noticed.
fn tune(socket: &TcpStream, timeout: Duration) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(timeout))?;
    Ok(())
}

/// Sends a PING every interval while calls are open; returns when one stays unanswered.
async fn keep_alive(
    mut pings: PingPong,
    keepalive: Option<(Duration, Duration)>,
    is_active: impl Fn() -> bool,
) {
    let Some((interval, timeout)) = keepalive else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(interval).await;
        if is_active() {
            match tokio::time::timeout(timeout, pings.ping(Ping::opaque())).await {
                Ok(Ok(_)) => {}
                // The driver reports an error of the connection itself.
                Ok(Err(_)) => return std::future::pending().await,
                Err(_) => return,
            }
        }
    }
}

impl Connection {
    pub(super) fn calls_open(&self) -> usize {
        self.calls_open.load(Ordering::Relaxed)
    }

    /// Whether it takes no more calls: after its end, and after a GOAWAY.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// The same of one whose peer may have said GOAWAY unseen, because nobody asked it for a stream since.
    pub(super) fn takes_calls(&self) -> bool {
        !self.is_closed() && self.sender().is_some()
    }

    /// Whether another call may be opened now.
    pub(super) fn has_room(&self) -> bool {
        !self.is_closed() && self.calls_open() < self.sender.current_max_send_streams()
    }

    /// Tells the pool how it ended, once it is over and its calls have looked: a reply that was read together with the
    /// end is one.
    ///
    /// Whoever changes something of this looks after that, so that the last of them sees it all.
    fn settle(self: &Arc<Self>, pool: &Arc<Pool>) {
        fence(Ordering::SeqCst);
        let Some(error) = self.over.get() else { return };
        let ended = match self.is_proven.load(Ordering::Relaxed) {
            true => Ended::Proven,
            false if self.calls_open() == 0 => Ended::Unproven,
            false => return,
        };
        if !self.is_settled.swap(true, Ordering::Relaxed) {
            pool.ended(self, ended, error.as_deref());
            self.settled.notify_one();
        }
    }

    /// A handle for one more call; `None`, from now on, when the connection takes no more.
    pub(super) fn sender(&self) -> Option<SendRequest<Bytes>> {
        // A clone has no memory of streams that wait to be opened, which would make h2 refuse.
        let mut sender = self.sender.clone();
        match sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(_)) => {
                self.is_closed.store(true, Ordering::Relaxed);
                None
            }
            Poll::Ready(Ok(())) | Poll::Pending => Some(sender),
        }
    }
}

impl Lease {
    pub(super) fn authority(&self) -> &Authority {
        self.pool.authority()
    }

    pub(super) fn address(&self) -> &Address {
        &self.pool.endpoint().address
    }

    /// Called with the pool's state locked, so that counting and checking are one step.
    pub(super) fn new(connection: Arc<Connection>, sender: SendRequest<Bytes>, pool: Arc<Pool>) -> Self {
        connection.calls_open.fetch_add(1, Ordering::Relaxed);
        Self { connection, sender, pool }
    }

    pub(super) fn send_request(
        &mut self,
        head: Request<()>,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.sender.send_request(head, false)
    }

    /// How often the connection has written; what is handed to it after this is not among it.
    pub(super) fn writes(&self) -> u64 {
        self.connection.writes.load(Ordering::Relaxed)
    }

    /// Notes that the backend has answered on this connection.
    pub(super) fn prove(&self) {
        if !self.connection.is_proven.swap(true, Ordering::Relaxed) {
            self.pool.proven();
            self.connection.settle(&self.pool);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Before a look at the queue, whatever is loaded there.
        self.connection.calls_open.fetch_sub(1, Ordering::SeqCst);
        if self.connection.is_closed.load(Ordering::SeqCst) {
            self.connection.settle(&self.pool);
        }
        self.pool.released();
    }
}
