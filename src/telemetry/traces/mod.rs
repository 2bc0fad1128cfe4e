//! Traces: spans of the calls that are sampled, to a collector, by OTLP over gRPC.
//!
//! ```text
//! worker ─ Tracer: samples; spans of a call that has ended ─▶ its queue ─▶ "transom-traces" thread ─▶ collector
//! ```
//!
//! A call that is not sampled has no span anywhere: it costs what its `traceparent` takes. Where a queue is full
//! or the collector takes nothing, spans are dropped and counted, and no call is the worse for it.

mod export;
mod otlp;
mod queue;
mod tracer;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{Notify, watch};
use tonic::transport::Endpoint;

use super::{WorkerMetrics, priority};
use crate::policy::sampling::Share;
use export::Exporter;
use queue::Queue;

pub use tracer::{Seen, Tracer};

/// What is traced, and who is told.
#[derive(Clone, Debug)]
pub struct TracesConfig {
    /// `http://host:port` of a collector.
    pub otlp: String,
    /// Of calls that no sampled trace brings.
    pub share: Share,
    /// `service.name` of the spans.
    pub service: String,
    /// `service.instance.id` of the spans.
    pub node: String,
    /// Of each worker's spans that the collector has not got yet.
    pub queue_spans_max: usize,
}

/// Why nothing can be traced.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    #[error("traces: {0}")]
    Endpoint(#[from] tonic::transport::Error),
    #[error("traces: cannot start: {0}")]
    Thread(#[from] io::Error),
}

/// The thread that exports. Dropping it sends what there is, within five seconds.
#[derive(Debug)]
pub struct Traces {
    queues: Queues,
    is_batch: Arc<Notify>,
    share: Share,
    queue_spans_max: usize,
    stopping: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// The queues of all workers.
type Queues = Arc<Mutex<Vec<Arc<Queue>>>>;

impl Traces {
    /// Starts the thread; the collector is not asked before there are spans.
    ///
    /// # Errors
    ///
    /// See [`TracesError`].
    pub fn start(config: TracesConfig, metrics: Arc<WorkerMetrics>) -> Result<Self, TracesError> {
        let endpoint = Endpoint::from_shared(config.otlp)?;
        let (queues, is_batch) = (Queues::default(), Arc::<Notify>::default());
        let (stopping, stop) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let resource = export::resource(&config.service, &config.node);
        let exporter = {
            // A lazy channel wants to know the runtime that it will live on.
            let _within = runtime.enter();
            Exporter::new(endpoint, resource, Arc::clone(&queues), Arc::clone(&is_batch), metrics)
        };
        let thread = std::thread::Builder::new().name("transom-traces".to_owned());
        let thread = thread.spawn(move || {
            priority::step_back();
            runtime.block_on(exporter.run(stop));
        })?;
        let (share, queue_spans_max) = (config.share, config.queue_spans_max);
        Ok(Self { queues, is_batch, share, queue_spans_max, stopping, thread: Some(thread) })
    }

    /// For one worker thread; `seed` must differ between workers and between processes.
    pub fn tracer(&self, seed: [u64; 2], metrics: &Arc<WorkerMetrics>) -> Arc<Tracer> {
        let is_batch = Arc::clone(&self.is_batch);
        let queue = Arc::new(Queue::new(self.queue_spans_max, Arc::clone(metrics), is_batch));
        lock(&self.queues).push(Arc::clone(&queue));
        Arc::new(Tracer::new(queue, self.share, seed))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        let _ = self.stopping.send(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that exports traces has panicked");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
