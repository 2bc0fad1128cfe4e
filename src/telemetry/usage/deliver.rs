//! From the spool to the sink: in order, batch by batch, until the sink has each.
//!
//! ```text
//! taken ─▶ released     not now ─▶ the same batch after a delay     never ─▶ halves ─▶ one event ─▶ put aside
//! ```
//!
//! An event that the sink will never take must not hold up those behind it; a sink that takes nothing at
//! all, because its address is another's, must not cost a single event. So an event is put aside only
//! when it was refused alone and the sink has taken others of the same batch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::collect::Failures;
use super::file_sink::FileSink;
use super::http_sink::HttpSink;
#[cfg(feature = "kafka")]
use super::kafka::KafkaSink;
use super::spool::{Batch, Spool};
use super::{SinkConfig, UsageError};
use crate::policy::backoff::Backoff;
use crate::telemetry::WorkerMetrics;

/// How long the end waits for the sink.
pub(super) const LAST_DELIVERY: Duration = Duration::from_secs(5);

const DELAY_MIN: Duration = Duration::from_millis(200);
const DELAY_MAX: Duration = Duration::from_secs(30);
/// A sink that asks for more patience than this is asked again all the same.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
const ROUND: Duration = Duration::from_millis(50);
/// A sink that refused so many events one by one, and took none, is not asked for the rest of the batch.
const REFUSED_ALONE_MAX: usize = 64;

/// Whoever takes events.
pub(super) trait Takes {
    /// Offers events; when this returns, the sink answers for them.
    async fn take(&mut self, events: &[&[u8]]) -> Result<(), Refusal>;
}

/// Where events go.
pub(super) enum Sink {
    File(FileSink),
    Http(HttpSink),
    #[cfg(feature = "kafka")]
    Kafka(Box<KafkaSink>),
}

/// Why a sink did not take events.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It may take them later.
    NotNow { reason: String, retry_after: Option<Duration> },
    /// It will not take them as they are.
    Never { reason: String },
}

impl Refusal {
    pub(super) fn not_now(reason: impl ToString) -> Self {
        Self::NotNow { reason: reason.to_string(), retry_after: None }
    }
}

impl Sink {
    pub(super) fn new(config: SinkConfig) -> Result<Self, UsageError> {
        match config {
            SinkConfig::File(path) => Ok(Self::File(FileSink::new(path))),
            SinkConfig::Http { url, token } => HttpSink::new(url, token).map(Self::Http),
            #[cfg(feature = "kafka")]
            SinkConfig::Kafka(config) => Ok(Self::Kafka(Box::new(KafkaSink::new(config)?))),
            #[cfg(not(feature = "kafka"))]
            SinkConfig::Kafka(_) => Err(UsageError::Kafka("this build has none".to_owned())),
        }
    }
}

impl Takes for Sink {
    async fn take(&mut self, events: &[&[u8]]) -> Result<(), Refusal> {
        match self {
            Self::File(file) => file.take(events),
            Self::Http(http) => http.take(events).await,
            #[cfg(feature = "kafka")]
            Self::Kafka(kafka) => kafka.take(events).await,
        }
    }
}

/// Brings what is in the spool to the sink.
pub(super) struct Delivery<S> {
    sink: S,
    spool: Arc<Mutex<Spool>>,
    metrics: Arc<WorkerMetrics>,
    backoff: Backoff,
    not_before: Option<Instant>,
    failures: Failures,
}

impl<S: Takes> Delivery<S> {
    pub(super) fn new(sink: S, spool: Arc<Mutex<Spool>>, metrics: Arc<WorkerMetrics>) -> Self {
        let backoff = Backoff::new(DELAY_MIN, DELAY_MAX);
        Self { sink, spool, metrics, backoff, not_before: None, failures: Failures::default() }
    }

    /// Delivers until `all` says that nothing more comes, and then what there is, if the sink takes it.
    pub(super) async fn run(mut self, mut all: watch::Receiver<bool>) {
        loop {
            if *all.borrow() {
                let _ = tokio::time::timeout(LAST_DELIVERY, self.deliver_all()).await;
                return;
            }
            if !self.is_waiting(Instant::now()) {
                self.deliver_all().await;
            }
            // The sender is gone only after it has sent the end.
            let _ = tokio::time::timeout(ROUND, all.wait_for(|all| *all)).await;
        }
    }

    fn is_waiting(&self, now: Instant) -> bool {
        self.backoff.is_waiting(now) || self.not_before.is_some_and(|moment| now < moment)
    }

    /// Delivers until the spool is empty or the sink refuses.
    async fn deliver_all(&mut self) {
        loop {
            let read = self.spool().read();
            let batch = match read {
                Ok(Some(batch)) => batch,
                Ok(None) => return,
                Err(error) => return self.failed(&Refusal::not_now(error), "the usage spool cannot be read"),
            };
            if batch.torn > 0 {
                tracing::warn!(lines = batch.torn, "passed over torn lines of the usage spool");
            }
            match self.deliver(&batch).await {
                Ok(rejected) => self.delivered(&batch, rejected),
                Err(refusal) => return self.failed(&refusal, "the usage sink does not take events"),
            }
        }
    }

    /// Offers a batch, and in halves what is refused for good; returns what is to be put aside.
    async fn deliver<'b>(&mut self, batch: &'b Batch) -> Result<Vec<&'b [u8]>, Refusal> {
        let lines: Vec<_> = batch.lines().collect();
        let mut rejected = Vec::new();
        let mut taken = 0;
        let mut open = vec![&lines[..]];
        while let Some(events) = open.pop().filter(|events| !events.is_empty()) {
            match self.sink.take(events).await {
                Ok(()) => taken += events.len(),
                Err(Refusal::Never { .. }) if events.len() > 1 => {
                    let (first, second) = events.split_at(events.len() / 2);
                    open.extend([second, first]);
                }
                Err(Refusal::Never { reason }) => {
                    rejected.extend(events);
                    if taken == 0 && (rejected.len() >= REFUSED_ALONE_MAX || open.is_empty()) {
                        return Err(Refusal::Never { reason });
                    }
                }
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(rejected)
    }

    fn delivered(&mut self, batch: &Batch, rejected: Vec<&[u8]>) {
        if !rejected.is_empty() {
            tracing::error!(events = rejected.len(), "the usage sink refuses events; see `rejected.events`");
        }
        let mut written = Ok(());
        for event in &rejected {
            written = written.and(self.spool().reject(event));
        }
        let released = self.spool().release(batch.end);
        self.metrics.usage_rejected.add(rejected.len() as u64);
        self.metrics.usage_delivered.add((batch.len() - rejected.len()) as u64);
        self.backoff.succeeded();
        self.not_before = None;
        match written.and(released) {
            Ok(()) if self.failures.forget() => tracing::info!("the usage sink takes events again"),
            Ok(()) => {}
            Err(error) => {
                self.failures.tell(Instant::now(), || {
                    tracing::error!(%error, "the usage spool cannot note what was delivered");
                });
            }
        }
    }

    fn failed(&mut self, refusal: &Refusal, what: &'static str) {
        let now = Instant::now();
        self.metrics.usage_delivery_failures.add(1);
        self.backoff.failed(now, jitter(now));
        let (reason, retry_after) = match refusal {
            Refusal::NotNow { reason, retry_after } => (reason, *retry_after),
            // All of the batch: the sink, not the events. As rarely as possible.
            Refusal::Never { reason } => (reason, Some(DELAY_MAX)),
        };
        self.not_before = retry_after.map(|delay| now + delay.min(RETRY_AFTER_MAX));
        self.failures.tell(now, || tracing::error!(%reason, "{what}; trying again"));
    }

    fn spool(&self) -> MutexGuard<'_, Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Different for every gateway and every failure; nothing depends on its quality.
fn jitter(now: Instant) -> u32 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(now) >> 32) as u32
}

#[cfg(test)]
mod tests;
