//! The access log: a line of JSON for each call, or for a share of them.
//!
//! ```text
//! worker ─ Lines (a buffer of records) ─▶ "transom-access-log" thread ─▶ stdout, or a file
//! ```
//!
//! The thread writes ten times a second, and when a worker has so many records that more would not stay in the
//! processor's cache until they are written. A worker leaves its records in memory of its own and never waits:
//! where there is no room one is dropped and counted. They hold on to nothing of their calls, so that a bound on
//! their bytes bounds everything. Which calls are told of is decided by the call alone, see
//! [`sampling`](crate::policy::sampling).

mod entry;
mod records;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::WorkerMetrics;
use super::append::AppendedFile;
use super::priority;
use crate::policy::sampling::{Point, Share};
use entry::{Clock, Scratch};
use records::Records;

pub use entry::{Entry, Facts, Texts};

/// How often lines are written, however few.
const ROUND: Duration = Duration::from_millis(100);
/// Of one worker's records: with so many the thread is woken before its time.
const ROUND_BYTES: usize = 64 << 10;
/// Lines that are written at once, in bytes: what a pipe holds on Linux.
const WRITTEN_BYTES: usize = 64 << 10;
/// At the end, for an output that takes nothing.
const LAST_ROUND_MAX: Duration = Duration::from_secs(5);
/// A failure that lasts is said again after this.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// What is logged, and where.
pub struct AccessLogConfig {
    pub to: Target,
    /// Of calls that went well.
    pub ok: Share,
    /// Of all others.
    pub errors: Share,
    /// Of each worker's records that are not written yet.
    pub buffer_bytes_max: usize,
}

/// Where lines go.
pub enum Target {
    Stream(Box<dyn Write + Send>),
    /// Begun anew when it has been moved away.
    File(PathBuf),
}

/// The thread that writes. Dropping it writes what there is.
#[derive(Debug)]
pub struct AccessLog {
    lines: Arc<Mutex<Vec<Arc<Lines>>>>,
    ok: Share,
    errors: Share,
    buffer_bytes_max: usize,
    writer: Thread,
    /// Asks the thread for its last round.
    is_stopping: Arc<AtomicBool>,
    stopped: Mutex<Receiver<()>>,
}

/// One worker's lines on their way to the thread that writes.
#[derive(Debug)]
pub struct Lines {
    records: Mutex<Records>,
    bytes_max: usize,
    ok: Share,
    errors: Share,
    metrics: Arc<WorkerMetrics>,
    writer: Thread,
}

/// A [`Target`] at work.
enum Output {
    Stream(Box<dyn Write + Send>),
    File(AppendedFile),
}

/// What the thread does.
struct Writer {
    output: Output,
    lines: Arc<Mutex<Vec<Arc<Lines>>>>,
    metrics: Arc<WorkerMetrics>,
    /// Emptied and given to a worker.
    emptied: Records,
    /// Whole lines that are not written yet.
    text: Vec<u8>,
    scratch: Scratch,
    told: Option<Instant>,
}

impl AccessLog {
    /// Starts the thread; a file is opened, and made if there is none, before this returns.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or the thread not be started.
    pub fn start(config: AccessLogConfig, metrics: Arc<WorkerMetrics>) -> io::Result<Self> {
        let AccessLogConfig { to, ok, errors, buffer_bytes_max } = config;
        let lines = Arc::<Mutex<Vec<Arc<Lines>>>>::default();
        let is_stopping = Arc::<AtomicBool>::default();
        let (ended, stopped) = channel();
        let mut output = Output::from(to);
        output.write(b"")?;
        let mut writer = Writer {
            output,
            lines: Arc::clone(&lines),
            metrics,
            emptied: Records::default(),
            text: Vec::new(),
            scratch: Scratch::default(),
            told: None,
        };
        let stopping = Arc::clone(&is_stopping);
        let thread = std::thread::Builder::new().name("transom-access-log".to_owned()).spawn(move || {
            priority::step_back();
            writer.run(&stopping);
            drop(ended);
        })?;
        Ok(Self {
            lines,
            ok,
            errors,
            buffer_bytes_max,
            writer: thread.thread().clone(),
            is_stopping,
            stopped: Mutex::new(stopped),
        })
    }

    /// A fresh buffer, for one worker thread.
    pub fn lines(&self, metrics: &Arc<WorkerMetrics>) -> Arc<Lines> {
        let lines = Arc::new(Lines {
            records: Mutex::default(),
            bytes_max: self.buffer_bytes_max,
            ok: self.ok,
            errors: self.errors,
            metrics: Arc::clone(metrics),
            writer: self.writer.clone(),
        });
        lock(&self.lines).push(Arc::clone(&lines));
        lines
    }
}

impl Lines {
    /// Whether a call at this point among all is told of.
    pub fn wants(&self, is_error: bool, point: impl FnOnce() -> Point) -> bool {
        let share = if is_error { self.errors } else { self.ok };
        share == Share::ALL || share.includes(point())
    }

    /// Leaves a record; one that finds no room is dropped and counted.
    pub fn push(&self, entry: &Entry<'_>) {
        let mut records = lock(&self.records);
        let before = records.bytes();
        let is_left = records.push(entry, self.bytes_max);
        let enough = ROUND_BYTES.min(self.bytes_max / 2);
        let is_enough = before < enough && records.bytes() >= enough;
        drop(records);
        if is_left {
            self.metrics.access_log_lines.add(1);
        } else {
            self.metrics.access_log_dropped.add(1);
        }
        if is_enough {
            self.writer.unpark();
        }
    }
}

impl Writer {
    fn run(&mut self, is_stopping: &AtomicBool) {
        loop {
            std::thread::park_timeout(ROUND);
            let is_last = is_stopping.load(Ordering::Acquire);
            self.round();
            if is_last {
                break;
            }
        }
    }

    fn round(&mut self) {
        let all = lock(&self.lines).clone();
        let mut records = std::mem::take(&mut self.emptied);
        for lines in all {
            std::mem::swap(&mut *lock(&lines.records), &mut records);
            let clock = Clock::now();
            for entry in records.entries() {
                entry.write(&mut self.text, &clock, &mut self.scratch);
                if self.text.len() >= WRITTEN_BYTES {
                    self.write();
                }
            }
            records.clear();
        }
        self.emptied = records;
        if !self.text.is_empty() {
            self.write();
        }
    }

    fn write(&mut self) {
        match self.output.write(&self.text) {
            Ok(()) => {
                if self.told.take().is_some() {
                    tracing::info!("the access log is written again");
                }
            }
            Err(error) => {
                let lost = memchr::memchr_iter(b'\n', &self.text).count();
                self.metrics.access_log_dropped.add(lost as u64);
                if self.told.is_none_or(|told| told.elapsed() >= TOLD_AGAIN) {
                    self.told = Some(Instant::now());
                    tracing::error!(%error, lost, "the access log cannot be written");
                }
            }
        }
        self.text.clear();
    }
}

impl From<Target> for Output {
    fn from(target: Target) -> Self {
        match target {
            Target::Stream(stream) => Self::Stream(stream),
            Target::File(path) => Self::File(AppendedFile::new(path)),
        }
    }
}

impl Output {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.write_all(lines).and_then(|()| stream.flush()),
            Self::File(file) => file.append(lines).map_err(|error| {
                io::Error::new(error.kind(), format!("`{}`: {error}", file.path().display()))
            }),
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Release);
        self.writer.unpark();
        // Nothing is ever sent: this ends with the thread, or leaves it where the output takes nothing.
        if lock(&self.stopped).recv_timeout(LAST_ROUND_MAX) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the access log is not written to its end: nobody takes its lines");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::telemetry::Metrics;
    use entry::tests::entry;

    /// What was written, and whether writing fails.
    #[derive(Clone, Default)]
    struct Sheet {
        text: Arc<Mutex<Vec<u8>>>,
        is_full: Arc<AtomicBool>,
    }

    impl Write for Sheet {
        fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
            if self.is_full.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            lock(&self.text).extend_from_slice(lines);
            Ok(lines.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start(sheet: &Sheet, buffer_bytes_max: usize, metrics: &Metrics) -> AccessLog {
        let to = Target::Stream(Box::new(sheet.clone()));
        let config = AccessLogConfig { to, ok: Share::ALL, errors: Share::ALL, buffer_bytes_max };
        AccessLog::start(config, metrics.worker()).expect("a thread")
    }

    fn counts(metrics: &Metrics) -> [u64; 2] {
        [metrics.sum(|w| w.access_log_lines.value()), metrics.sum(|w| w.access_log_dropped.value())]
    }

    #[test]
    fn lines_of_all_workers_are_written_at_the_latest_at_the_end() {
        let (sheet, metrics) = (Sheet::default(), Metrics::new());
        let log = start(&sheet, 1 << 20, &metrics);
        let workers = [log.lines(&metrics.worker()), log.lines(&metrics.worker())];
        for _ in 0..100 {
            workers.iter().for_each(|lines| lines.push(&entry()));
        }
        drop(log);
        let text = lock(&sheet.text).clone();
        assert_eq!(
            text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"}\n")).count(),
            200
        );
        assert_eq!(counts(&metrics), [200, 0]);
    }

    #[test]
    fn a_line_without_room_is_dropped_and_counted() {
        let metrics = Metrics::new();
        let mut one = Records::default();
        assert!(one.push(&entry(), usize::MAX));
        // No thread: nobody makes room.
        let lines = |bytes_max| Lines {
            records: Mutex::default(),
            bytes_max,
            ok: Share::ALL,
            errors: Share::ALL,
            metrics: metrics.worker(),
            writer: std::thread::current(),
        };
        let (fits, short) = (lines(2 * one.bytes()), lines(2 * one.bytes() - 1));
        for _ in 0..2 {
            fits.push(&entry());
            short.push(&entry());
        }
        assert_eq!(counts(&metrics), [3, 1]);
        fits.push(&entry());
        assert_eq!(counts(&metrics), [3, 2]);
    }

    #[test]
    fn many_lines_wake_the_thread_before_its_round() {
        let metrics = Metrics::new();
        let lines = Lines {
            records: Mutex::default(),
            bytes_max: 2 * ROUND_BYTES,
            ok: Share::ALL,
            errors: Share::ALL,
            metrics: metrics.worker(),
            writer: std::thread::current(),
        };
        while lock(&lines.records).bytes() < ROUND_BYTES {
            lines.push(&entry());
        }
        // Whoever was woken does not park.
        let (begun, round) = (Instant::now(), Duration::from_secs(600));
        std::thread::park_timeout(round);
        assert!(begun.elapsed() < round);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let (sheet, metrics) = (Sheet::default(), Metrics::new());
        let log = start(&sheet, 1 << 20, &metrics);
        sheet.is_full.store(true, Ordering::SeqCst);
        let lines = log.lines(&metrics.worker());
        (0..3).for_each(|_| lines.push(&entry()));
        drop(log);
        assert_eq!(counts(&metrics), [3, 3]);
        assert!(lock(&sheet.text).is_empty());
    }

    #[test]
    fn shares_are_by_outcome() {
        let metrics = Metrics::new();
        let none = Share::millionths(0);
        let lines = Lines {
            records: Mutex::default(),
            bytes_max: 1,
            ok: none,
            errors: Share::ALL,
            metrics: metrics.worker(),
            writer: std::thread::current(),
        };
        let point = || Point::of_name(b"r-1");
        assert_eq!([false, true].map(|is_error| lines.wants(is_error, point)), [false, true]);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_told_at_once() {
        let to = Target::File("/nowhere/at/all".into());
        let config = AccessLogConfig { to, ok: Share::ALL, errors: Share::ALL, buffer_bytes_max: 1 };
        let error = AccessLog::start(config, Metrics::new().worker()).expect_err("no such directory");
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
