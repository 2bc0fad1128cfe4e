//! Events on disk until a sink has taken them: at least once, the oldest first, within a bound.
//!
//! ```text
//! DIR/lock                          held while a process uses the directory
//! DIR/00000000000000000007.events   events, one a line; numbers only rise
//! DIR/cursor                        "7 1234\n": everything before this place has been taken
//! DIR/rejected.events               events that the sink will never take
//! ```
//!
//! A process never appends to a segment of an earlier one, so that a tail that a crash tore off ends its
//! segment: [`reader`] leaves out what is no whole line of JSON. Appending writes to the system at once,
//! which survives the end of the process; [`Spool::sync`], once a second, is what survives the end of the
//! machine. Losing the cursor only makes events go out again, under the same id.

mod reader;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub(super) use reader::Batch;
use reader::Reader;

/// Where one segment ends and the next begins: a sixteenth of the whole, so that what is taken soon makes
/// room for what comes.
const SEGMENTS: u64 = 16;
const SEGMENT_BYTES_MAX: u64 = 16 << 20;

/// Bytes of rejected events that are kept for people to look at.
const REJECTED_BYTES_MAX: u64 = 4 << 20;

/// A directory of events.
#[derive(Debug)]
pub(super) struct Spool {
    directory: PathBuf,
    bytes_max: u64,
    /// Of whole segments that still have events, the one written to included.
    bytes: u64,
    writer: Segment,
    /// What the system has not taken yet.
    unwritten: Vec<u8>,
    is_synced: bool,
    reader: Reader,
    _lock: File,
}

/// The segment that is written to; its file exists from its first event on.
#[derive(Debug)]
struct Segment {
    number: u64,
    length: u64,
    file: Option<File>,
}

/// A place in the spool, before which everything has been taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    segment: u64,
    offset: u64,
}

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("`{0}`: another process uses this spool")]
    InUse(String),
    #[error("`{0}`: {1}")]
    Io(String, io::Error),
}

impl Spool {
    /// Opens a directory, which is made if there is none, with what earlier processes left in it.
    ///
    /// # Errors
    ///
    /// See [`SpoolError`].
    pub(super) fn open(directory: &Path, bytes_max: u64) -> Result<Self, SpoolError> {
        let shown = || directory.display().to_string();
        let io = |error| SpoolError::Io(shown(), error);
        fs::create_dir_all(directory).map_err(io)?;
        let lock = File::create(directory.join("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(SpoolError::InUse(shown())),
            Err(fs::TryLockError::Error(error)) => return Err(io(error)),
        }
        let segments = segments(directory).map_err(io)?;
        let cursor = read_cursor(directory);
        // Above the cursor too: its segment may be gone.
        let last = segments.last().map_or(0, |(number, _)| *number).max(cursor.segment);
        let mut spool = Self {
            directory: directory.to_owned(),
            bytes_max,
            bytes: segments.iter().map(|(_, length)| length).sum(),
            writer: Segment { number: last + 1, length: 0, file: None },
            unwritten: Vec::new(),
            is_synced: true,
            reader: Reader::new(cursor, segments.into_iter().map(|(number, _)| number)),
            _lock: lock,
        };
        spool.release(cursor).map_err(io)?;
        Ok(spool)
    }

    /// Bytes of events that are kept.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes + self.unwritten.len() as u64
    }

    /// Takes one event with its newline; `false` when there is no room: those before it stay.
    pub(super) fn push(&mut self, line: &[u8]) -> bool {
        let fits = self.bytes() + line.len() as u64 <= self.bytes_max;
        if fits {
            self.unwritten.extend_from_slice(line);
        }
        fits
    }

    /// Whether the system has yet to take something, because it refused it before.
    pub(super) fn is_behind(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Gives to the system what was pushed. What it refuses is kept for the next time.
    ///
    /// # Errors
    ///
    /// The system's: a full disk, for one.
    pub(super) fn write(&mut self) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let file = match &mut self.writer.file {
            Some(file) => file,
            empty => {
                let path = segment_path(&self.directory, self.writer.number);
                let file = empty.insert(OpenOptions::new().append(true).create(true).open(path)?);
                self.reader.add(self.writer.number);
                // Without this a machine that loses power may lose the name of the file.
                File::open(&self.directory)?.sync_all()?;
                file
            }
        };
        if let Err(error) = file.write_all(&self.unwritten) {
            // A part of it may be there. If it cannot be taken back, it is the torn tail of a segment.
            if file.set_len(self.writer.length).is_err() {
                self.seal();
            }
            return Err(error);
        }
        let written = self.unwritten.len() as u64;
        self.unwritten.clear();
        self.writer.length += written;
        self.bytes += written;
        self.is_synced = false;
        if self.writer.length >= (self.bytes_max / SEGMENTS).min(SEGMENT_BYTES_MAX) {
            self.sync()?;
            self.seal();
        }
        Ok(())
    }

    /// Makes what was written survive the loss of power.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if let Some(file) = self.writer.file.as_ref().filter(|_| !self.is_synced) {
            file.sync_data()?;
            self.is_synced = true;
        }
        Ok(())
    }

    fn seal(&mut self) {
        self.writer = Segment { number: self.writer.number + 1, length: 0, file: None };
        self.is_synced = true;
    }

    /// The next events after those of the last [`Self::release`]; the same again if nothing was released.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn read(&mut self) -> io::Result<Option<Batch>> {
        let open = self.writer.file.is_some().then_some((self.writer.number, self.writer.length));
        self.reader.read(&self.directory, open)
    }

    /// Forgets everything before `place`: a sink has it.
    ///
    /// # Errors
    ///
    /// The system's; then events go out again after a restart.
    pub(super) fn release(&mut self, place: Place) -> io::Result<()> {
        for number in self.reader.advance(place) {
            let path = segment_path(&self.directory, number);
            let length = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            fs::remove_file(path)?;
            self.bytes = self.bytes.saturating_sub(length);
        }
        // By renaming, so that a crash leaves the old cursor or the new one.
        let fresh = self.directory.join("cursor.new");
        fs::write(&fresh, format!("{} {}\n", place.segment, place.offset))?;
        fs::rename(fresh, self.directory.join("cursor"))
    }

    /// Puts aside an event that the sink will never take.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn reject(&self, line: &[u8]) -> io::Result<()> {
        let path = self.directory.join("rejected.events");
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        if file.metadata()?.len() + line.len() as u64 > REJECTED_BYTES_MAX {
            return Ok(());
        }
        file.write_all(line)
    }

    /// Replaces the events of the minute that is not over, which [`Self::unfinished`] gives back after a crash.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn keep_unfinished(&self, lines: &[u8]) -> io::Result<()> {
        let path = self.directory.join("unfinished");
        if lines.is_empty() {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let fresh = self.directory.join("unfinished.new");
        fs::write(&fresh, lines)?;
        fs::rename(fresh, path)
    }

    /// What an earlier process has left of a minute that it did not see the end of.
    pub(super) fn unfinished(&self) -> Vec<u8> {
        fs::read(self.directory.join("unfinished")).unwrap_or_default()
    }
}

/// The segments of a directory with their lengths, in order.
fn segments(directory: &Path) -> io::Result<Vec<(u64, u64)>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".events")?.parse().ok());
        if let Some(number) = number {
            segments.push((number, entry.metadata()?.len()));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}.events"))
}

/// The cursor; the very beginning where there is none, or none that can be read.
fn read_cursor(directory: &Path) -> Place {
    let text = fs::read_to_string(directory.join("cursor")).unwrap_or_default();
    let numbers = text.trim_end().split_once(' ').map(|(segment, offset)| (segment.parse(), offset.parse()));
    match numbers {
        Some((Ok(segment), Ok(offset))) => Place { segment, offset },
        _ => Place::default(),
    }
}

#[cfg(test)]
mod tests;
