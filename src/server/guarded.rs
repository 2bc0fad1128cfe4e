//! The socket under hyper: replays what was sniffed, and shows a guard every byte first.
//!
//! Bytes go straight into hyper's buffer and are judged there; those from a refused line on are taken
//! out again, so that hyper never completes a head that is refused. When hyper lets go of the
//! connection, the socket comes home to the [`Watch`], for last words that hyper does not know.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::body::BrokenBody;
use super::frame_guard::FrameGuard;
use super::head_guard::{HeadGuard, Phase};
use super::refusal::Refusal;
use super::socket::Socket;
use super::watch::Watch;

#[derive(Debug)]
pub(super) struct Guarded {
    /// Gone only on drop.
    socket: Option<Socket>,
    replay: Bytes,
    guard: Guard,
    refused: Option<(Phase, Refusal)>,
    watch: Arc<Watch>,
}

/// Who judges the bytes: HTTP/2 has no shapes that two parsers read differently, only too much of something.
#[derive(Debug)]
pub(super) enum Guard {
    Head(HeadGuard),
    Frames(FrameGuard),
}

impl Guarded {
    pub(super) fn new(socket: Socket, replay: Bytes, guard: Guard, watch: Arc<Watch>) -> Self {
        Self { socket: Some(socket), replay, guard, refused: None, watch }
    }

    fn socket(&mut self) -> Pin<&mut Socket> {
        Pin::new(self.socket.as_mut().expect("taken only on drop"))
    }

    /// What is read of a connection whose bytes are refused from here on.
    fn poll_refused(&self, phase: Phase, refusal: Refusal) -> Poll<io::Result<()>> {
        match phase {
            // A call is reading its body: let the body fail with the reason.
            Phase::Body => Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, BrokenBody(refusal)))),
            // The connection's task ends the connection once earlier calls are done.
            Phase::Head | Phase::BetweenMessages => Poll::Pending,
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some((phase, refusal)) = this.refused {
            return this.poll_refused(phase, refusal);
        }
        let before = buf.filled().len();
        if this.replay.is_empty() {
            ready!(this.socket().poll_read(cx, buf))?;
        } else {
            let count = this.replay.len().min(buf.remaining());
            buf.put_slice(this.replay.get(..count).unwrap_or_default());
            this.replay.advance(count);
        }
        let bytes = buf.filled().get(before..).unwrap_or_default();
        let guard = match &mut this.guard {
            Guard::Head(guard) => guard,
            Guard::Frames(guard) => {
                if guard.scan(bytes, Instant::now, || this.watch.has_replied()).is_ok() {
                    return Poll::Ready(Ok(()));
                }
                // The connection's task looks for this next, and ends the connection.
                this.watch.flooded();
                buf.set_filled(before);
                return Poll::Pending;
            }
        };
        let Err(refused) = guard.scan(bytes) else {
            this.watch.phase_is(guard.phase());
            return Poll::Ready(Ok(()));
        };
        let phase = guard.phase();
        this.refused = Some((phase, refused.refusal));
        if phase != Phase::Body {
            this.watch.refuse(refused.refusal);
        }
        buf.set_filled(before + refused.at);
        if refused.at > 0 { Poll::Ready(Ok(())) } else { this.poll_refused(phase, refused.refusal) }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.socket().poll_write(cx, buf);
        self.watch.write_blocked(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.socket().poll_write_vectored(cx, bufs);
        self.watch.write_blocked(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.socket().poll_flush(cx);
        // TLS holds records back that the client has made no room for.
        self.watch.write_blocked(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_shutdown(cx)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            self.watch.bring_home(socket);
        }
    }
}
