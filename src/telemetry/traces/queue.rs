//! One worker's spans on their way to the thread that exports.
//!
//! They stand one after the other in one buffer, which the thread takes when there is a batch, and leaves the one
//! before in its place: what is written and sent by then is still in the processor's cache, and a span costs its
//! bytes and no allocation.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::Notify;

use super::lock;
use crate::telemetry::WorkerMetrics;

/// Spans of one request to the collector. With so many the thread is woken before its time.
pub(super) const BATCH_MAX: usize = 512;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Queue {
    written: Mutex<Written>,
    spans_max: usize,
    metrics: Arc<WorkerMetrics>,
    is_batch: Arc<Notify>,
}

/// Spans as they go over the wire, each without its length.
#[derive(Debug, Default)]
pub(super) struct Written {
    bytes: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl Queue {
    /// For so many spans; `is_batch` is told when there are enough to be sent.
    pub(super) fn new(spans_max: usize, metrics: Arc<WorkerMetrics>, is_batch: Arc<Notify>) -> Self {
        Self { written: Mutex::default(), spans_max, metrics, is_batch }
    }

    /// Leaves the spans of a call; those that find no room are dropped and counted.
    pub(super) fn push(&self, write: impl FnOnce(&mut Written)) {
        let mut written = lock(&self.written);
        let before = written.ends.len();
        write(&mut written);
        let dropped = written.ends.len().saturating_sub(self.spans_max);
        if dropped > 0 {
            written.truncate(self.spans_max);
            self.metrics.trace_spans_dropped.add(dropped as u64);
        }
        let is_batch = before < BATCH_MAX && written.ends.len() >= BATCH_MAX;
        drop(written);
        if is_batch {
            self.is_batch.notify_one();
        }
    }

    /// All that were left since the last time. `spare` takes the place of the buffer that they stood in, and the
    /// buffer its, emptied.
    pub(super) fn take(&self, spare: &mut Written) -> Vec<Bytes> {
        std::mem::swap(&mut *lock(&self.written), spare);
        let (bytes, mut begun) = (Bytes::copy_from_slice(&spare.bytes), 0);
        let span = |end| bytes.slice(std::mem::replace(&mut begun, end)..end);
        let spans = spare.ends.drain(..).map(span).collect();
        spare.bytes.clear();
        spans
    }
}

impl Written {
    /// Appends a span.
    pub(super) fn span(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    fn truncate(&mut self, spans: usize) {
        self.ends.truncate(spans);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::telemetry::Metrics;

    fn queue(spans_max: usize, metrics: &Metrics) -> Queue {
        Queue::new(spans_max, metrics.worker(), Arc::default())
    }

    fn push(queue: &Queue, spans: &[&str]) {
        queue.push(|written| {
            spans.iter().for_each(|span| written.span(|out| out.extend_from_slice(span.as_bytes())));
        });
    }

    fn take(queue: &Queue) -> Vec<Bytes> {
        queue.take(&mut Written::default())
    }

    #[test]
    fn spans_are_taken_as_they_were_written() {
        let metrics = Metrics::new();
        let queue = queue(10, &metrics);
        push(&queue, &["a", "", "bcd"]);
        push(&queue, &["e"]);
        let mut spare = Written::default();
        assert_eq!(queue.take(&mut spare), ["a", "", "bcd", "e"]);
        assert!(queue.take(&mut spare).is_empty());
        push(&queue, &["f"]);
        assert_eq!(queue.take(&mut spare), ["f"]);
        assert!(spare.bytes.is_empty() && spare.bytes.capacity() > 0, "kept for the next spans");
    }

    #[test]
    fn spans_without_room_are_dropped_and_counted() {
        let metrics = Metrics::new();
        let queue = queue(3, &metrics);
        let dropped = || metrics.sum(|w| w.trace_spans_dropped.value());
        push(&queue, &["a", "b"]);
        assert_eq!(dropped(), 0);
        push(&queue, &["c", "d"]);
        assert_eq!((dropped(), take(&queue)), (1, ["a", "b", "c"].map(Bytes::from).to_vec()));
        push(&queue, &["e", "f", "g"]);
        assert_eq!((dropped(), take(&queue).len()), (1, 3), "at the bound");
        push(&queue, &["h", "i", "j", "k"]);
        assert_eq!((dropped(), take(&queue).len()), (2, 3));
    }

    #[test]
    fn a_batch_is_told_once() {
        let metrics = Metrics::new();
        let queue = queue(2 * BATCH_MAX, &metrics);
        let is_told = || {
            let mut context = Context::from_waker(Waker::noop());
            pin!(queue.is_batch.notified()).poll(&mut context) == Poll::Ready(())
        };
        (1..BATCH_MAX).for_each(|_| push(&queue, &["a"]));
        assert!(!is_told());
        push(&queue, &["a"]);
        assert!(is_told());
        push(&queue, &["a"]);
        assert!(!is_told(), "the thread knows");
    }
}
