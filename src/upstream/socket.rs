//! What h2 stands on: a socket that counts its writes, or TLS over one.
//!
//! A call whose connection died before another byte left was provably never sent. So the bytes are counted below
//! TLS: what waits in its buffers has not left, and what TLS writes by itself only makes a call count as sent.
//! Which of both it is, is a branch at each read and write: nothing is boxed for those without TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What a peer may have sent before its last word.
const READS_MAX: usize = 16;

/// A way to a backend.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(CountedSocket),
    Tls(Box<TlsStream<CountedSocket>>),
}

/// A [`TcpStream`] that counts its writes.
#[derive(Debug)]
pub(super) struct CountedSocket {
    socket: TcpStream,
    writes: Arc<AtomicU64>,
}

impl CountedSocket {
    pub(super) fn new(socket: TcpStream, writes: Arc<AtomicU64>) -> Self {
        Self { socket, writes }
    }

    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
        written
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(stream) => {
                let written = Pin::new(&mut **stream).poll_write(cx, buf);
                or_last_word(written, stream, cx)
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => {
                let written = Pin::new(&mut **stream).poll_write_vectored(cx, bufs);
                or_last_word(written, stream, cx)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => {
                let flushed = Pin::new(&mut **stream).poll_flush(cx);
                or_last_word(flushed, stream, cx)
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A write, or why a peer that takes nothing more has gone: an alert that came before its end says more than a broken
/// pipe. A socket that is broken can be read to its end, so that who waits for it does not wait long.
fn or_last_word<T>(
    written: Poll<io::Result<T>>,
    stream: &mut TlsStream<CountedSocket>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<T>> {
    let error = match written {
        Poll::Ready(Err(error)) if is_broken(&error) => error,
        other => return other,
    };
    let mut scratch = [0; 1024];
    for _ in 0..READS_MAX {
        let mut buf = ReadBuf::new(&mut scratch);
        match Pin::new(&mut *stream).poll_read(cx, &mut buf) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
            Poll::Ready(Err(alert)) if !is_broken(&alert) => return Poll::Ready(Err(alert)),
            Poll::Ready(_) => break,
        }
    }
    Poll::Ready(Err(error))
}

fn is_broken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl AsyncRead for CountedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for CountedSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
