//! A request's body with its bounds: size and least speed.
//!
//! The error is a [`Status`], so that whoever reads a body can hand it on as the call's outcome. The
//! clock runs only while somebody waits for the client: a slow backend is not the client's fault.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::limits::ServerLimits;
use super::refusal::Refusal;
use crate::status::{Code, Status};

/// The body of a request.
#[derive(Debug)]
pub struct LimitedBody {
    incoming: Incoming,
    bytes_max: u64,
    bytes: u64,
    rate: Option<Rate>,
}

/// Measures the speed over the time spent waiting.
#[derive(Debug)]
struct Rate {
    bytes_min: u64,
    window: Duration,
    waited: Duration,
    waiting_since: Option<Instant>,
    bytes: u64,
    timer: Option<Pin<Box<Sleep>>>,
}

impl LimitedBody {
    pub(super) fn new(incoming: Incoming, limits: &ServerLimits) -> Self {
        let window = limits.body_rate_window;
        let bytes_min = bytes_in(limits.body_rate_min, window);
        let rate =
            Rate { bytes_min, window, waited: Duration::ZERO, waiting_since: None, bytes: 0, timer: None };
        Self { incoming, bytes_max: limits.body_bytes_max, bytes: 0, rate: Some(rate) }
    }

    /// Replaces the listener's bound by that of a route; for a stream, `u64::MAX`.
    pub fn set_bytes_max(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
    }

    /// The bound that holds.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Lets the client be as slow as it likes: a stream may rest between messages.
    pub fn allow_slow(&mut self) {
        self.rate = None;
    }

    fn too_large(&self) -> Status {
        let what = format!("the request body has more than {} bytes", self.bytes_max);
        Status::client(Code::ResourceExhausted, what).with_reason("BODY_TOO_LARGE").with_http(413)
    }
}

impl Body for LimitedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        // The announced size is judged before a byte is read.
        if this.incoming.size_hint().lower() > this.bytes_max.saturating_sub(this.bytes) {
            return Poll::Ready(Some(Err(this.too_large())));
        }
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let count = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.bytes += count;
                if let Some(rate) = &mut this.rate {
                    rate.received(count);
                }
                if this.bytes > this.bytes_max {
                    return Poll::Ready(Some(Err(this.too_large())));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(broken(&error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => match &mut this.rate {
                Some(rate) => rate.poll_too_slow(cx).map(|()| Some(Err(too_slow()))),
                None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Rate {
    fn received(&mut self, bytes: u64) {
        self.bytes += bytes;
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
            self.timer = None;
        }
    }

    /// Ready when the client has been too slow for a whole window.
    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.waiting_since.is_none() {
                if self.waited >= self.window {
                    if self.bytes < self.bytes_min {
                        return Poll::Ready(());
                    }
                    (self.waited, self.bytes) = (Duration::ZERO, 0);
                }
                self.waiting_since = Some(Instant::now());
            }
            let left = self.window.saturating_sub(self.waited);
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(left)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
            self.waiting_since = None;
            self.waited = self.window;
        }
    }
}

/// What a client sends in `window` at that speed: any speed asks for a byte at least, none for nothing.
fn bytes_in(bytes_per_second: u64, window: Duration) -> u64 {
    let bytes = window.as_millis().saturating_mul(bytes_per_second.into()).div_ceil(1000);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn too_slow() -> Status {
    Status::client(Code::DeadlineExceeded, "the request body arrives too slowly")
        .with_reason("BODY_TOO_SLOW")
        .with_http(408)
}

/// The body ended before its time, or its chunks are malformed.
fn broken(error: &hyper::Error) -> Status {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref())
            && let Some(BrokenBody(refusal)) = refused.downcast_ref()
        {
            return refusal.status();
        }
        source = cause.source();
    }
    Status::client(Code::Cancelled, "the request body ended early").with_reason("BODY_INCOMPLETE")
}

/// How the guard tells, through hyper, why it stopped a body.
#[derive(Debug, thiserror::Error)]
#[error("malformed body")]
pub(super) struct BrokenBody(pub(super) Refusal);
