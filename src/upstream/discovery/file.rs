//! Endpoints from a file that somebody else writes, read again whenever it changes.
//!
//! What the file looks like is the configuration's affair, so that its reader is an argument. A file that is gone or
//! broken has told nothing.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};

use super::Feed;
use crate::source::changes::Changes;
use crate::upstream::EndpointSpec;

/// Which file is read, and how.
#[derive(Clone)]
pub struct FileSettings {
    pub path: PathBuf,
    /// Gives the endpoints of a file's text, or what is wrong with it, each with its place.
    pub parse: fn(&Path, &str) -> Result<Vec<EndpointSpec>, String>,
}

/// A list of as many endpoints as are ever used is far smaller.
const FILE_BYTES_MAX: u64 = 4 << 20;

pub(super) async fn run(settings: &FileSettings, feed: &Feed) -> Result<Infallible, String> {
    loop {
        let settings = settings.clone();
        // The files may be on a share that is slow.
        let job = tokio::task::spawn_blocking(move || {
            // Before reading: what changes in between is then seen as a change.
            let changes = Changes::of([settings.path.clone()]);
            (changes, settings.read())
        });
        let (changes, list) = job.await.map_err(|error| error.to_string())?;
        match list {
            Ok(specs) => feed.list(specs, 0),
            Err(reason) => feed.failed(&reason),
        }
        changes.changed().await;
    }
}

impl FileSettings {
    /// The endpoints that the file has now.
    ///
    /// # Errors
    ///
    /// In words, with the path: it cannot be read, or what is wrong in which lines.
    pub fn read(&self) -> Result<Vec<EndpointSpec>, String> {
        let failed = |error: std::io::Error| format!("`{}`: {error}", self.path.display());
        let bytes = std::fs::metadata(&self.path).map_err(failed)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(format!("`{}`: larger than {FILE_BYTES_MAX} bytes", self.path.display()));
        }
        let text = std::fs::read_to_string(&self.path).map_err(failed)?;
        (self.parse)(&self.path, &text)
    }
}

impl PartialEq for FileSettings {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl fmt::Debug for FileSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileSettings({:?})", self.path)
    }
}
