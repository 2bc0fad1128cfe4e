//! Files that are read again when they change: lists, certificates, keys.
//!
//! ```text
//! every half second: stat (follows symlinks) ─ unchanged ─▶ nothing
//!                                            └ changed ──▶ settle, read, parse ─┬ good ─▶ one swap
//!                                                                               └ bad ──▶ the old value stays
//! ```
//!
//! Polling sees what notification misses: a ConfigMap whose symlink is swapped, a file on a network share, a file
//! that was away for a moment. A file that is being written is left to settle, because half a list is a good
//! list to its parser. A bad file is told once, not every half second.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use crate::telemetry::{FILES, audit};
use serde_json::json;

/// How often a watched file is looked at.
pub(super) const INTERVAL: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 500 });

/// How long a changed file must stay as it is before it is read, and how often that is waited for: what is
/// written all the time is read as it stands, within a second of its change.
const SETTLED: Duration = Duration::from_millis(if cfg!(test) { 2 } else { 50 });
const SETTLING_MAX: usize = 8;

/// More than the coarsest step of the clock of a file system.
const CLOCK_TICK: Duration = Duration::from_millis(20);

/// Larger files are refused.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The value of a file, as of its last good content.
#[derive(Debug)]
pub struct Watched<T> {
    value: ArcSwap<T>,
    /// Counts good contents; the first is 1.
    generation: AtomicU64,
    /// Contents that were refused, each once.
    failures: AtomicU64,
}

/// What tells two contents apart without reading them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    modified: Option<SystemTime>,
    bytes: u64,
    device: u64,
    inode: u64,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads `paths` now and, on `runtime`, whenever one of them changes, for as long as somebody holds the
    /// result; `parse` gets their contents in order.
    ///
    /// # Errors
    ///
    /// In words with the path: a file cannot be read now, or `parse` refuses the contents.
    pub fn new(
        paths: Vec<PathBuf>,
        runtime: &Handle,
        parse: impl Fn(Vec<Vec<u8>>) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, String> {
        // Before reading: what changes in between is then seen as a change.
        let fingerprints = fingerprints(&paths);
        let value = parse(read(&paths)?)?;
        let watched = Arc::new(Self {
            value: ArcSwap::from_pointee(value),
            generation: AtomicU64::new(1),
            failures: AtomicU64::new(0),
        });
        runtime.spawn(watch(Arc::downgrade(&watched), paths, fingerprints, parse));
        Ok(watched)
    }

    /// The value for who begins now.
    pub fn current(&self) -> Arc<T> {
        self.value.load_full()
    }

    /// As [`current`](Self::current), for a look that ends at once.
    pub fn look<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.value.load())
    }

    /// Rises with every good content.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Contents that were refused since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

async fn watch<T: Send + Sync + 'static>(
    watched: Weak<Watched<T>>,
    paths: Vec<PathBuf>,
    mut seen: Vec<Option<Fingerprint>>,
    parse: impl Fn(Vec<Vec<u8>>) -> Result<T, String> + Send + Sync + 'static,
) {
    let shown = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    let job = Arc::new((paths, parse));
    let paths = &job.0;
    let mut told = None;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(watched) = watched.upgrade() else { return };
        if fingerprints(paths) == seen {
            continue;
        }
        seen = settled(paths).await;
        // A long list takes a while, and others wait on this thread too.
        let job = job.clone();
        let outcome =
            tokio::task::spawn_blocking(move || read(&job.0).and_then(|contents| (job.1)(contents)));
        match outcome.await.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(value) => {
                FILES.reloads.add(1);
                audit::note("file.read", "watch", json!({ "files": shown }));
                watched.value.store(Arc::new(value));
                watched.generation.fetch_add(1, Ordering::Release);
                told = None;
                tracing::info!(files = %shown, "read again");
            }
            Err(reason) if told.as_ref() == Some(&reason) => {}
            Err(reason) => {
                FILES.reload_failures.add(1);
                audit::note("file.refused", "watch", json!({ "files": shown }));
                watched.failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!(files = %shown, %reason, "changed for the worse: the old content stays");
                told = Some(reason);
            }
        }
    }
}

/// Waits until the files stay as they are.
async fn settled(paths: &[PathBuf]) -> Vec<Option<Fingerprint>> {
    let mut now = fingerprints(paths);
    for _ in 0..SETTLING_MAX {
        tokio::time::sleep(SETTLED).await;
        let before = std::mem::replace(&mut now, fingerprints(paths));
        if before == now {
            break;
        }
    }
    now
}

fn fingerprints(paths: &[PathBuf]) -> Vec<Option<Fingerprint>> {
    paths.iter().map(|path| Fingerprint::of(path)).collect()
}

impl Fingerprint {
    /// Of what is there now, behind symlinks.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            modified: metadata.modified().ok(),
            bytes: metadata.len(),
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    /// Whether the content may be younger than a moment that has passed.
    pub(super) fn is_modified_since(&self, moment: SystemTime) -> bool {
        // The system stamps files by a clock that it moves on every few milliseconds.
        let moment = moment.checked_sub(CLOCK_TICK).unwrap_or(moment);
        self.modified.is_some_and(|modified| (moment..=SystemTime::now()).contains(&modified))
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    let read = |path: &PathBuf| read_one(path).map_err(|error| format!("`{}`: {error}", path.display()));
    paths.iter().map(read).collect()
}

fn read_one(path: &Path) -> io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    std::fs::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(contents: Vec<Vec<u8>>) -> Result<u32, String> {
        let text = String::from_utf8(contents.concat()).map_err(|error| error.to_string())?;
        text.trim().parse().map_err(|_| format!("`{}` is no number", text.trim()))
    }

    /// Waits until `is_so`.
    async fn until(is_so: impl Fn() -> bool) {
        tokio::time::timeout(Duration::from_secs(60), async {
            while !is_so() {
                tokio::time::sleep(INTERVAL).await;
            }
        })
        .await
        .expect("it comes to be so");
    }

    #[tokio::test]
    async fn good_contents_are_swapped_in_and_bad_ones_told_once() {
        let directory = std::env::temp_dir().join(format!("transom-watched-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("the directory can be made");
        let path = directory.join("value");
        let write = |name: &str, text: &str| std::fs::write(directory.join(name), text).expect("writable");
        let runtime = Handle::current();
        let missing = Watched::new(vec![path.clone()], &runtime, parse).expect_err("no such file");
        assert!(missing.contains("No such file"), "{missing}");
        write("value", "1");
        let watched = Watched::new(vec![path.clone()], &runtime, parse).expect("a number");
        assert_eq!((watched.look(|value| *value), watched.generation()), (1, 1));
        write("value", "22");
        until(|| watched.look(|value| *value) == 22).await;
        write("value", "three");
        until(|| watched.failures() == 1).await;
        assert_eq!(*watched.current(), 22);
        // A file that is away for a while changes nothing either.
        std::fs::remove_file(&path).expect("the file is ours");
        until(|| watched.failures() == 2).await;
        // A symlink that is swapped, as ConfigMaps are.
        write("a", "4444");
        std::os::unix::fs::symlink(directory.join("a"), &path).expect("the directory is ours");
        until(|| watched.look(|value| *value) == 4444).await;
        write("b", "5555");
        std::os::unix::fs::symlink(directory.join("b"), directory.join("next")).expect("ours");
        std::fs::rename(directory.join("next"), &path).expect("ours");
        until(|| watched.look(|value| *value) == 5555).await;
        std::fs::remove_dir_all(&directory).expect("the directory is ours");
    }
}
