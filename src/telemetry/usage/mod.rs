//! Usage: what was called, by whom, and what it took, for those who bill.
//!
//! ```text
//! worker ─ Queue ─▶ "transom-usage" thread: events (a call, or a minute) ─▶ Spool on disk ─▶ a sink
//! ```
//!
//! Never sampled and at least once. A worker leaves a [`Record`] when a reply has ended and never waits;
//! ten times a second the thread takes them, gives them ids and writes them to the spool; the sink
//! gets them from there, again and again until it has them, so that they may arrive twice under one
//! `source` and `id` and never under two. Where there is no room, the oldest stay and the rest is counted.

mod collect;
mod deliver;
mod event;
mod file_sink;
mod http_sink;
#[cfg(feature = "kafka")]
mod kafka;
mod record;
mod rollup;
mod spool;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::WorkerMetrics;
use super::timestamp::Timestamp;
use crate::policy::secret::Secret;
use collect::Collector;
use deliver::{Delivery, Sink};
use event::Speaker;
use spool::Spool;

pub use http_sink::probe;
pub use record::{Queue, Record};
pub use spool::SpoolError;

/// What becomes of records.
#[derive(Clone, Debug)]
pub struct UsageConfig {
    pub mode: Mode,
    pub sink: SinkConfig,
    /// The directory of the events that the sink has not taken.
    pub spool: PathBuf,
    pub spool_bytes_max: u64,
    /// The `source` of every event.
    pub source: String,
    /// Names this gateway among those with the same source.
    pub node: String,
}

/// What one event stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// One call.
    #[default]
    Call,
    /// The calls of a minute with the same consumer, plan, surface, method and outcome.
    Rollup,
}

/// Where events go.
#[derive(Clone, Debug)]
pub enum SinkConfig {
    /// One JSON object a line. A file that is moved away is begun anew.
    File(PathBuf),
    /// `POST` with `application/cloudevents-batch+json`.
    Http { url: String, token: Option<Secret> },
    /// A record for each event, in builds with the feature `kafka`.
    Kafka(KafkaConfig),
}

/// A topic of Kafka.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// Host and port of those to ask first.
    pub brokers: Vec<(String, u16)>,
    pub topic: String,
    pub tls: Option<KafkaTls>,
    pub login: Option<KafkaLogin>,
}

/// How brokers prove who they are.
#[derive(Clone, Debug)]
pub struct KafkaTls {
    /// A PEM file of the certificates to trust instead of the system's.
    pub ca: Option<PathBuf>,
}

/// Who we are to brokers: SASL/PLAIN. Neither has a NUL.
#[derive(Clone, Debug)]
pub struct KafkaLogin {
    pub user: String,
    pub password: Secret,
}

/// Why usage cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    #[error("usage: {0}")]
    Spool(#[from] SpoolError),
    #[error("usage: cannot start: {0}")]
    Thread(#[from] io::Error),
    #[error("usage: {0}")]
    Http(String),
    #[error("usage: Kafka: {0}")]
    Kafka(String),
}

/// The thread that writes. Dropping it writes what there is and waits for that, but only five seconds for
/// the sink: what that does not take is sent after the next start.
#[derive(Debug)]
pub struct Usage {
    queues: Queues,
    stopping: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// The queues of all workers.
#[derive(Clone, Debug, Default)]
struct Queues(Arc<Mutex<Vec<Arc<Queue>>>>);

impl Usage {
    /// Opens the spool and starts the thread.
    ///
    /// # Errors
    ///
    /// See [`UsageError`].
    pub fn start(config: UsageConfig, metrics: Arc<WorkerMetrics>) -> Result<Self, UsageError> {
        let spool = Arc::new(Mutex::new(Spool::open(&config.spool, config.spool_bytes_max)?));
        let sink = Sink::new(config.sink)?;
        let boot = format!("{:x}-{:08x}", Timestamp::now().0, RandomState::new().hash_one(0) >> 32);
        let speaker = Speaker { source: config.source, node: config.node, boot };
        let queues = Queues::default();
        let collector =
            Collector::new(config.mode, speaker, queues.clone(), Arc::clone(&spool), Arc::clone(&metrics));
        let delivery = Delivery::new(sink, spool, metrics);
        let (stopping, stop) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("transom-usage".to_owned()).spawn(move || {
            runtime.block_on(async {
                // In this order: what is collected last is delivered last.
                let (collected, all) = watch::channel(false);
                let collect = async {
                    collector.run(stop).await;
                    let _ = collected.send(true);
                };
                tokio::join!(collect, delivery.run(all));
            });
        })?;
        Ok(Self { queues, stopping, thread: Some(thread) })
    }

    /// A fresh queue, for one worker thread.
    pub fn queue(&self) -> Arc<Queue> {
        let queue = Arc::new(Queue::default());
        self.queues.lock().push(Arc::clone(&queue));
        queue
    }
}

impl Queues {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Queue>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        let _ = self.stopping.send(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the usage thread has panicked");
        }
    }
}
