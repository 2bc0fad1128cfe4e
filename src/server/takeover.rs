//! A connection that stops to speak HTTP: whoever has answered `101 Switching Protocols` takes its socket over.
//!
//! It stays the connection's task, so that its place among the listener's connections, and what the drain waits for,
//! last until it ends. A client must not speak the new protocol before it has the answer (RFC 6455, section 4.1): what
//! came too early is gone with hyper's buffer.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::socket::Socket;
use super::watch::Watch;

/// Serves the connection after HTTP: an extension of the response that says so.
#[derive(Clone)]
pub struct Takeover(Arc<Mutex<Option<Serve>>>);

type Serve = Box<dyn FnOnce(Tunnel) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A socket between the client and who has taken it over.
pub struct Tunnel {
    /// Gone only on drop.
    socket: Option<Socket>,
    watch: Arc<Watch>,
    send_timeout: Duration,
}

impl Takeover {
    pub fn new<F: Future<Output = ()> + Send + 'static>(
        serve: impl FnOnce(Tunnel) -> F + Send + 'static,
    ) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(|tunnel| Box::pin(serve(tunnel)))))))
    }

    pub(super) async fn run(self, tunnel: Tunnel) {
        let serve = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(serve) = serve {
            serve(tunnel).await;
        }
    }
}

impl fmt::Debug for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Takeover")
    }
}

impl Tunnel {
    pub(super) fn new(socket: Socket, watch: Arc<Watch>, send_timeout: Duration) -> Self {
        Self { socket: Some(socket), watch, send_timeout }
    }

    /// How long a client may take nothing of what is ready for it.
    pub fn send_timeout(&self) -> Duration {
        self.send_timeout
    }

    /// Ready when the connection is asked to end; only one task may ask.
    pub fn poll_stopping(&self, cx: &mut Context<'_>) -> Poll<()> {
        // First the waker, then the look: whoever stops in between wakes.
        self.watch.register(cx.waker());
        if self.watch.is_stopping() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn socket(&mut self) -> Pin<&mut Socket> {
        Pin::new(self.socket.as_mut().expect("taken only on drop"))
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            self.watch.bring_home(socket);
        }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.socket().poll_read(cx, buf)
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.socket().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_shutdown(cx)
    }
}
