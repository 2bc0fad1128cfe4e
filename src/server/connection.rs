//! One client connection, from its first byte of HTTP to its close.
//!
//! ```text
//! sniff or ─┬─ HTTP/2 ─────▶ frame guard ─▶ hyper http2 ─┬─▶ closed
//! ALPN      │                        └─ flood ────────────┼─▶ GOAWAY, linger, close
//!           └─ HTTP/1.1 ───▶ head guard ──▶ hyper http1 ──┼─▶ 101: taken over
//!                                 └─ refusal, 408 ────────┴─▶ JSON reply, linger, close
//! ```
//!
//! hyper's own header timeout would count idle time too and closes without a reply, so the clock is
//! kept here.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Sleep};

use super::HandlerWorker;
use super::call::{ConnectionContext, answer};
use super::frame_guard::FrameGuard;
use super::guarded::{Guard, Guarded};
use super::head_guard::{HeadGuard, Phase};
use super::limits::ServerLimits;
use super::opening::HttpVersion;
use super::refusal::Refusal;
use super::socket::Socket;
use super::takeover::Tunnel;
use super::watch::Watch;

/// RFC 9113, section 3.4.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long, and for how many bytes, a closing connection still reads, so that the client gets to
/// read our last reply before a TCP reset destroys it (RFC 9112, section 9.6). Many clients write their
/// whole body first, so the bytes are several times the usual bound of a body.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 16 << 20;

/// Stream 0, no last stream named, ENHANCE_YOUR_CALM (RFC 9113, sections 6.8 and 7).
const CALM: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 11];

/// How long an idle HTTP/2 client may take to answer GOAWAY.
const GOAWAY_PATIENCE: Duration = Duration::from_secs(5);

/// Serves `socket` until it ends.
pub(super) async fn serve<W: HandlerWorker>(
    mut socket: Socket,
    version: HttpVersion,
    context: Arc<ConnectionContext<W>>,
) {
    let watch = Arc::clone(&context.watch);
    let (version, sniffed) = match version {
        HttpVersion::Unknown => {
            let sniff = watch.unless_stopped(context.limits.last_request_timeout, sniff(&mut socket));
            let sniffed = tokio::time::timeout(context.limits.header_timeout, sniff).await;
            let Ok(Some(Ok(Some(sniffed)))) = sniffed else { return };
            let is_http2 = sniffed.starts_with(H2_PREFACE);
            (if is_http2 { HttpVersion::Http2 } else { HttpVersion::Http1 }, sniffed)
        }
        known => (known, Bytes::new()),
    };
    // Reading on after the last words is only for those who may not have read them.
    let last_words = if version == HttpVersion::Http2 {
        match serve_http2(socket, sniffed, Arc::clone(&context)).await {
            End::Flooding => Some(CALM.to_vec()),
            // If this was an error, the GOAWAY is hyper's.
            End::Done => Some(Vec::new()),
            End::Stalled => return watch.take_socket().map_or((), Socket::reset),
            End::Idle | End::Refused(_) | End::TakenOver => None,
        }
    } else {
        match serve_http1(socket, sniffed, Arc::clone(&context)).await {
            End::Refused(refusal) => Some(refused(refusal, &context)),
            End::Idle if watch.phase() == Phase::Head => Some(refused(Refusal::HeadTimeout, &context)),
            End::TakenOver => Some(Vec::new()),
            // The reply is out and the rest of the request's body is not wanted.
            End::Done if watch.phase() == Phase::Body => Some(Vec::new()),
            End::Stalled => return watch.take_socket().map_or((), Socket::reset),
            End::Done | End::Idle | End::Flooding => None,
        }
    };
    match (last_words, watch.take_socket()) {
        (Some(last_words), Some(mut socket)) => leave(&mut socket, &last_words).await,
        // RFC 8446, section 6.1: an end without `close_notify` looks like one that somebody else has cut.
        (None, Some(mut socket)) if socket.is_tls() => {
            let _ = tokio::time::timeout(LINGER, socket.shutdown()).await;
        }
        _ => {}
    }
}

/// Writes the last words to a client that may not be reading, and gives it a while to read them.
pub(super) async fn leave(socket: &mut Socket, last_words: &[u8]) {
    let _ = tokio::time::timeout(LINGER, close(socket, last_words)).await;
}

async fn serve_http2<W: HandlerWorker>(
    socket: Socket,
    sniffed: Bytes,
    context: Arc<ConnectionContext<W>>,
) -> End {
    let (watch, limits) = (Arc::clone(&context.watch), Arc::clone(&context.limits));
    watch.speaks_http2();
    let guard = Guard::Frames(FrameGuard::new(&limits, H2_PREFACE.len(), Instant::now()));
    let io = TokioIo::new(Guarded::new(socket, sniffed, guard, Arc::clone(&watch)));
    let service = service_fn(move |request| answer(Arc::clone(&context), request));
    let mut connection = pin!(http2_builder(&limits).serve_connection(io, service));
    let end = drive(connection.as_mut(), &watch, &limits).await;
    if let End::Idle = end {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(GOAWAY_PATIENCE, connection).await;
    }
    end
}

async fn serve_http1<W: HandlerWorker>(
    socket: Socket,
    sniffed: Bytes,
    context: Arc<ConnectionContext<W>>,
) -> End {
    let (watch, limits) = (Arc::clone(&context.watch), Arc::clone(&context.limits));
    let guard = Guard::Head(HeadGuard::new(&limits));
    let io = TokioIo::new(Guarded::new(socket, sniffed, guard, Arc::clone(&watch)));
    let service = service_fn(move |request| answer(Arc::clone(&context), request));
    let end = {
        let connection = pin!(http1_builder(&limits).serve_connection(io, service));
        drive(connection, &watch, &limits).await
    };
    // hyper has let go of a connection that has switched protocols.
    if let End::Done = end
        && let Some((takeover, socket)) = watch.take_over()
    {
        takeover.run(Tunnel::new(socket, Arc::clone(&watch), limits.send_timeout)).await;
        return End::TakenOver;
    }
    end
}

/// The reply to a head that never became a request, counted like any other.
fn refused<W>(refusal: Refusal, context: &ConnectionContext<W>) -> Vec<u8> {
    context.metrics.replied(refusal.http_number(), context.watch.waited());
    refusal.http1_reply(&context.request_ids.fresh())
}

/// The first bytes: the whole preface of HTTP/2, or enough to know that it is not; `None` at the end.
async fn sniff(socket: &mut Socket) -> io::Result<Option<Bytes>> {
    let mut sniffed = BytesMut::with_capacity(H2_PREFACE.len());
    let mut buffer = [0; H2_PREFACE.len()];
    loop {
        let missing = H2_PREFACE.len() - sniffed.len();
        let count = socket.read(buffer.get_mut(..missing).unwrap_or_default()).await?;
        if count == 0 {
            return Ok(None);
        }
        sniffed.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if !H2_PREFACE.starts_with(&sniffed) || sniffed.len() == H2_PREFACE.len() {
            return Ok(Some(sniffed.freeze()));
        }
    }
}

fn http1_builder(limits: &ServerLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Above the guard's bounds, which answer first and in JSON.
    let head_bytes_max = limits.url_bytes_max + limits.header_bytes_max + (8 << 10);
    builder
        .max_buf_size(head_bytes_max.max(16 << 10))
        .max_headers(limits.header_count_max)
        .header_read_timeout(None)
        .timer(TokioTimer::new());
    builder
}

fn http2_builder(limits: &ServerLimits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams_max)
        .initial_stream_window_size(limits.h2_stream_window_bytes)
        .initial_connection_window_size(limits.h2_connection_window_bytes)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(limits.h2_pending_resets_max)
        .max_local_error_reset_streams(limits.h2_error_resets_max);
    builder
}

/// Why a connection is not driven any further.
enum End {
    Done,
    /// Whoever took the connection over has said its last words.
    TakenOver,
    /// Nothing came for too long; in HTTP/1 perhaps half a head.
    Idle,
    Refused(Refusal),
    /// A reply waits for a client that does not read it.
    Stalled,
    /// More calls are given up (CVE-2023-44487) or frames sent for nothing than by any honest client.
    Flooding,
}

/// A connection of hyper's, of either version.
trait Served: Future<Output = hyper::Result<()>> {
    /// Tells the client that the connection ends.
    fn finish(self: Pin<&mut Self>);
}

impl<S, B> Served for http1::Connection<TokioIo<Guarded>, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// The next reply does. hyper would close an idle connection at once, and lose the request that is on its way;
    /// so the clock ends it, once nothing has come for a while.
    fn finish(self: Pin<&mut Self>) {}
}

impl<S, B> Served for http2::Connection<TokioIo<Guarded>, S, TokioExecutor>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    TokioExecutor: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    /// By the two steps of GOAWAY (RFC 9113, section 6.8).
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

async fn drive(mut connection: Pin<&mut impl Served>, watch: &Watch, limits: &ServerLimits) -> End {
    let mut is_finishing = false;
    let mut clock = Clock::new(watch, limits);
    let mut is_registered = false;
    poll_fn(|cx| {
        if !is_registered {
            is_registered = true;
            watch.register(cx.waker());
        }
        if !is_finishing && watch.is_stopping() {
            is_finishing = true;
            connection.as_mut().finish();
        }
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            if let Err(error) = result {
                tracing::debug!(%error, "client connection ended");
            }
            return Poll::Ready(End::Done);
        }
        if let Some(refusal) = watch.refusal() {
            return Poll::Ready(End::Refused(refusal));
        }
        if watch.is_flooding() {
            return Poll::Ready(End::Flooding);
        }
        clock
            .poll(cx, watch, limits)
            .map(|()| if watch.is_stalled(limits) { End::Stalled } else { End::Idle })
    })
    .await
}

/// Wakes when the client has been silent for too long.
///
/// A timer is moved only when it would ring too late: what a request does to the deadline costs
/// nothing, and a timer that rings too early is set again.
struct Clock {
    timer: Pin<Box<Sleep>>,
}

impl Clock {
    fn new(watch: &Watch, limits: &ServerLimits) -> Self {
        let due = watch.due(limits).unwrap_or_else(|| Instant::now() + limits.idle_timeout);
        Self { timer: Box::pin(tokio::time::sleep_until(due)) }
    }

    fn poll(&mut self, cx: &mut Context<'_>, watch: &Watch, limits: &ServerLimits) -> Poll<()> {
        let due = watch.due(limits);
        if let Some(due) = due.filter(|due| *due < self.timer.deadline()) {
            self.timer.as_mut().reset(due);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            match due {
                Some(due) if due <= now => return Poll::Ready(()),
                Some(due) => self.timer.as_mut().reset(due),
                None => self.timer.as_mut().reset(now + limits.idle_timeout),
            }
        }
        Poll::Pending
    }
}

/// Writes the last words, says that nothing follows, and reads a little so that they arrive.
async fn close(socket: &mut Socket, last_words: &[u8]) -> io::Result<()> {
    socket.write_all(last_words).await?;
    socket.shutdown().await?;
    let mut buffer = [0; 4096];
    let mut bytes = 0;
    while bytes < LINGER_BYTES_MAX {
        match socket.read(&mut buffer).await? {
            0 => return Ok(()),
            count => bytes += count,
        }
    }
    Ok(())
}
