//! Files that are watched for a change by someone who reads them himself.
//!
//! ```text
//! twice a second: stat (follows symlinks) ─ as seen ─▶ nothing
//!                                         └ other ──▶ the same twice, 300 ms apart ─▶ changed
//! ```
//!
//! As [`watched`](super::watched) polls, and for the same reasons. A directory counts as changed when something in
//! it comes, goes or is renamed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::watched::{Fingerprint, INTERVAL};

/// How long files must stay as they are before somebody reads them: who writes several files, or one in pieces, is
/// not done in between.
const SETTLED: Duration = Duration::from_millis(if cfg!(test) { 30 } else { 300 });

/// Files that never stay as they are get read nevertheless.
const SETTLING_MAX: usize = 10;

/// What is watched in addition is not looked at.
const FILES_MAX: usize = 10_000;

/// Files as they were seen.
#[derive(Clone, Debug, Default)]
pub struct Changes(BTreeMap<PathBuf, Seen>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Nothing is there.
    Absent,
    As(Fingerprint),
    /// It has changed while it was read for the first time: nobody knows which of both was read.
    Moving,
}

impl Changes {
    /// The files as they are now.
    pub fn of(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(paths.into_iter().take(FILES_MAX).map(|path| (path.clone(), Seen::now(&path))).collect())
    }

    /// Looks again at the same files.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::of(self.0.keys().cloned())
    }

    /// Looks again at the same files, but for `unread` ones: what has changed of these is yet to be told.
    #[must_use]
    pub fn again_but(&self, unread: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut again = self.again();
        for path in unread {
            if let Some(seen) = self.0.get(&path) {
                again.0.insert(path, *seen);
            }
        }
        again
    }

    /// As these were seen before somebody has begun to read, at `begun`; of others that have been read since then, as
    /// they are now.
    #[must_use]
    pub fn with(mut self, paths: impl IntoIterator<Item = PathBuf>, begun: SystemTime) -> Self {
        let mut followed = BTreeMap::new();
        for path in paths.into_iter().take(FILES_MAX) {
            // One that is named twice is as it was seen the first time.
            let Entry::Vacant(place) = followed.entry(path) else { continue };
            let seen = self.0.remove(place.key()).unwrap_or_else(|| match Seen::now(place.key()) {
                Seen::As(now) if now.is_modified_since(begun) => Seen::Moving,
                seen => seen,
            });
            place.insert(seen);
        }
        Self(followed)
    }

    /// Waits until a file is other than it was seen, and then as it is for a while. Without files, for ever.
    pub async fn changed(&self) {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(INTERVAL).await;
            let mut now = self.look().await;
            if now.0 == self.0 {
                continue;
            }
            for _ in 0..SETTLING_MAX {
                tokio::time::sleep(SETTLED).await;
                let before = std::mem::replace(&mut now, self.look().await);
                if before.0 == now.0 {
                    break;
                }
            }
            if now.0 != self.0 {
                return;
            }
        }
    }

    /// On a thread that may wait for a network share.
    async fn look(&self) -> Self {
        let seen = self.clone();
        // Nothing in it panics; a runtime that ends has nobody who waits.
        tokio::task::spawn_blocking(move || seen.again()).await.unwrap_or_else(|_| self.clone())
    }
}

impl Seen {
    fn now(path: &std::path::Path) -> Self {
        Fingerprint::of(path).map_or(Self::Absent, Self::As)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    async fn soon(future: impl Future<Output = ()>) {
        tokio::time::timeout(Duration::from_secs(60), future).await.expect("in time");
    }

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("transom-changes-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("the directory can be made");
        path
    }

    fn write(path: &Path, text: &str) {
        std::fs::write(path, text).expect("writable");
    }

    #[tokio::test]
    async fn files_directories_and_links_change() {
        let directory = directory("kinds");
        let file = directory.join("file");
        write(&file, "1");
        let changes = Changes::of([file.clone()]);
        write(&file, "22");
        soon(changes.changed()).await;
        // Gone, and back.
        let changes = changes.again();
        std::fs::remove_file(&file).expect("ours");
        soon(changes.changed()).await;
        let changes = Changes::of([directory.clone()]);
        write(&file, "333");
        soon(changes.changed()).await;
        // As ConfigMaps do: a link to a directory, replaced by a rename.
        for (name, text) in [("a", "1"), ("b", "2")] {
            std::fs::create_dir(directory.join(name)).expect("ours");
            write(&directory.join(name).join("file"), text);
        }
        std::os::unix::fs::symlink("a", directory.join("data")).expect("ours");
        let changes = Changes::of([directory.join("data").join("file")]);
        std::os::unix::fs::symlink("b", directory.join("next")).expect("ours");
        std::fs::rename(directory.join("next"), directory.join("data")).expect("ours");
        soon(changes.changed()).await;
        std::fs::remove_dir_all(&directory).expect("ours");
    }

    #[tokio::test]
    async fn file_that_changes_while_it_is_first_read_is_read_again() {
        let directory = directory("moving");
        let (known, other) = (directory.join("known"), directory.join("other"));
        write(&known, "1");
        let begun = SystemTime::now();
        let before = Changes::of([known.clone()]);
        write(&known, "22");
        write(&other, "1");
        let both = before.clone().with([known.clone(), other.clone()], begun);
        soon(both.changed()).await;
        soon(before.with([known], begun).changed()).await;
        soon(Changes::default().with([other.clone()], begun).changed()).await;
        let quiet = Changes::default().with([other], SystemTime::now() + Duration::from_secs(1));
        assert!(tokio::time::timeout(Duration::from_millis(200), quiet.changed()).await.is_err());
        std::fs::remove_dir_all(&directory).expect("ours");
    }

    #[tokio::test]
    async fn what_was_not_read_is_yet_to_change() {
        let directory = directory("unread");
        let (config, set) = (directory.join("config"), directory.join("set"));
        let both = [config.clone(), set.clone()];
        both.iter().for_each(|path| write(path, "1"));
        let before = Changes::of(both.clone());
        both.iter().for_each(|path| write(path, "22"));
        let begun = SystemTime::now();
        // Somebody has read the set alone, and then names what he follows, some of it twice.
        let named = || both.iter().chain(&both).cloned();
        let followed = before.again_but([config.clone()]).with(named(), begun);
        soon(followed.changed()).await;
        let read = before.again().with(named(), begun);
        assert!(tokio::time::timeout(Duration::from_millis(200), read.changed()).await.is_err());
        std::fs::remove_dir_all(&directory).expect("ours");
    }
}
