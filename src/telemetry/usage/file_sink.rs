//! Events appended to a file, one a line; whoever rotates the file moves it away and needs no signal.

use std::path::PathBuf;

use super::deliver::Refusal;
use crate::telemetry::append::AppendedFile;

/// A file that grows.
pub(super) struct FileSink(AppendedFile);

impl FileSink {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(AppendedFile::new(path))
    }

    /// Appends the events; when this returns, they survive the loss of power.
    pub(super) fn take(&mut self, events: &[&[u8]]) -> Result<(), Refusal> {
        let Self(file) = self;
        let written = file.append(&events.concat()).and_then(|()| file.sync());
        written.map_err(|error| Refusal::not_now(format_args!("`{}`: {error}", file.path().display())))
    }
}
