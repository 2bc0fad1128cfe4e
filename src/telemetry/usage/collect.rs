//! From the workers' queues to the spool: ten times a second, and once more at the end.
//!
//! A minute that is not over is on disk too, as the events that it would become: a process that dies
//! loses the tenth of a second that its queues held and, of a rollup, a second more; a machine that loses
//! power loses a second. What the disk refuses stays in memory and is offered again, and until then the
//! queues fill.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::event::Speaker;
use super::record::Record;
use super::rollup::Rollup;
use super::spool::Spool;
use super::{Mode, Queues};
use crate::telemetry::WorkerMetrics;
use crate::telemetry::timestamp::Timestamp;

const ROUND: Duration = Duration::from_millis(100);
const SYNC: Duration = Duration::from_secs(1);
/// Writing an unfinished minute takes at most one part in so many of the thread's time.
const UNFINISHED_SHARE: u32 = 20;

/// Turns records into events in the spool.
pub(super) struct Collector {
    speaker: Speaker,
    queues: Queues,
    spool: Arc<Mutex<Spool>>,
    metrics: Arc<WorkerMetrics>,
    events: Events,
    /// Emptied and given back to the queues.
    records: Vec<Record>,
    lines: Vec<u8>,
    lost_before: u64,
    failures: Failures,
}

/// What becomes an event.
enum Events {
    Calls { sequence: u64 },
    Minutes { rollup: Rollup, is_kept: bool },
}

/// When things are due.
struct Due {
    sync: Instant,
    unfinished: Instant,
}

/// Says that something fails once a minute, however often it does.
#[derive(Debug, Default)]
pub(super) struct Failures(Option<Instant>);

impl Failures {
    pub(super) fn tell(&mut self, now: Instant, say: impl FnOnce()) {
        if self.0.is_none_or(|last| now.duration_since(last) >= Duration::from_secs(60)) {
            self.0 = Some(now);
            say();
        }
    }

    pub(super) fn forget(&mut self) -> bool {
        self.0.take().is_some()
    }
}

impl Collector {
    pub(super) fn new(
        mode: Mode,
        speaker: Speaker,
        queues: Queues,
        spool: Arc<Mutex<Spool>>,
        metrics: Arc<WorkerMetrics>,
    ) -> Self {
        let events = match mode {
            Mode::Call => Events::Calls { sequence: 0 },
            Mode::Rollup => Events::Minutes { rollup: Rollup::default(), is_kept: true },
        };
        let (records, lines, failures) = (Vec::new(), Vec::new(), Failures::default());
        Self { speaker, queues, spool, metrics, events, records, lines, lost_before: 0, failures }
    }

    /// Collects until `stop` says so, then a last time.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        self.take_over_unfinished();
        let mut due = Due { sync: Instant::now() + SYNC, unfinished: Instant::now() + SYNC };
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_last = tokio::select! {
                _ = rounds.tick() => false,
                // The sender is gone only with its owner, which says so first.
                _ = stop.wait_for(|stop| *stop) => true,
            };
            self.round(&mut due, is_last);
            if is_last {
                return;
            }
        }
    }

    /// What an earlier process knew of the minute in which it ended.
    fn take_over_unfinished(&mut self) {
        let lines = self.lock().unfinished();
        self.lines = lines;
        self.write();
        self.synced();
    }

    fn round(&mut self, due: &mut Due, is_last: bool) {
        if !self.lock().is_behind() {
            self.collect(is_last);
        }
        self.write();
        let now = Instant::now();
        if is_last || now >= due.sync {
            due.sync = now + SYNC;
            self.synced();
        }
        if now >= due.unfinished && !is_last {
            // First what it replaces.
            self.synced();
            self.keep_unfinished();
            due.unfinished = now + SYNC.max(now.elapsed() * UNFINISHED_SHARE);
        }
        self.metrics.usage_spool_bytes.set(self.lock().bytes());
    }

    /// Takes all queues and turns what they had into lines.
    fn collect(&mut self, is_last: bool) {
        let queues: Vec<_> = self.queues.lock().iter().map(Arc::clone).collect();
        let mut lost = 0;
        for queue in queues {
            queue.take(&mut self.records);
            lost += queue.lost();
            self.metrics.usage_records.add(self.records.len() as u64);
            for record in self.records.drain(..) {
                self.events.add(&record, &self.speaker, &mut self.lines);
            }
        }
        self.metrics.usage_lost_queue.add(lost - std::mem::replace(&mut self.lost_before, lost));
        self.events.end(is_last, &self.speaker, &mut self.lines);
    }

    fn write(&mut self) {
        let mut spool = self.spool.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lost = 0;
        for line in self.lines.split_inclusive(|byte| *byte == b'\n') {
            lost += u64::from(!spool.push(line));
        }
        self.lines.clear();
        let written = spool.write();
        drop(spool);
        if lost > 0 {
            self.metrics.usage_lost_spool.add(lost);
            self.failures.tell(Instant::now(), || tracing::error!(events = lost, "the usage spool is full"));
        }
        match written {
            Ok(()) if lost == 0 => {
                if self.failures.forget() {
                    tracing::info!("the usage spool is written again");
                }
            }
            Ok(()) => {}
            Err(error) => self.tell(&error),
        }
    }

    fn synced(&mut self) {
        let synced = self.lock().sync();
        if let Err(error) = synced {
            self.tell(&error);
        }
        // The minute is in the spool: what was kept of it must not become a second event under its id
        // with another sum.
        let is_over = matches!(&self.events, Events::Minutes { rollup, is_kept: true } if rollup.is_empty());
        if is_over && !self.lock().is_behind() {
            self.keep_unfinished();
        }
    }

    fn keep_unfinished(&mut self) {
        let Events::Minutes { rollup, is_kept } = &mut self.events else { return };
        let mut lines = Vec::new();
        rollup.write(&self.speaker, &mut lines);
        *is_kept = !lines.is_empty();
        let kept = self.lock().keep_unfinished(&lines);
        if let Err(error) = kept {
            self.tell(&error);
        }
    }

    fn tell(&mut self, error: &std::io::Error) {
        self.failures.tell(
            Instant::now(),
            || tracing::error!(%error, "the usage spool cannot be written; trying again"),
        );
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events {
    fn add(&mut self, record: &Record, speaker: &Speaker, out: &mut Vec<u8>) {
        match self {
            Self::Calls { sequence } => {
                speaker.call(out, *sequence, record);
                *sequence += 1;
            }
            Self::Minutes { rollup, .. } => rollup.add(record, speaker, out),
        }
    }

    /// Writes the minutes that are over; at the last round, the one that is not, too.
    fn end(&mut self, is_last: bool, speaker: &Speaker, out: &mut Vec<u8>) {
        if let Self::Minutes { rollup, .. } = self {
            let minute = if is_last { u64::MAX } else { Timestamp::now().minute() };
            rollup.end_before(minute, speaker, out);
        }
    }
}
