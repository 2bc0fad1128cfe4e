//! The spool from its oldest event on: whole lines of JSON; whatever else a crash left is passed over.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::de::IgnoredAny;

use super::{Place, segment_path};

/// Bytes that are read at once. An event is far smaller, so that each batch has one at least.
const BATCH_BYTES: usize = 512 << 10;
const BATCH_EVENTS: usize = 1000;

/// Some events of the spool, and the place behind them.
#[derive(Debug, Default)]
pub(in super::super) struct Batch {
    text: Vec<u8>,
    lines: Vec<Range<usize>>,
    pub(in super::super) end: Place,
    /// Torn lines that were passed over.
    pub(in super::super) torn: u64,
}

impl Batch {
    /// The events, each with its newline.
    pub(in super::super) fn lines(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.lines.iter().map(|range| &self.text[range.clone()])
    }

    pub(in super::super) fn len(&self) -> usize {
        self.lines.len()
    }
}

/// Where reading is.
#[derive(Debug)]
pub(super) struct Reader {
    place: Place,
    /// Numbers of the segments that exist, in order; the first is the one that is read.
    segments: VecDeque<u64>,
    file: Option<(u64, File)>,
}

impl Reader {
    pub(super) fn new(place: Place, segments: impl Iterator<Item = u64>) -> Self {
        Self { place, segments: segments.collect(), file: None }
    }

    /// A segment is there from now on.
    pub(super) fn add(&mut self, number: u64) {
        self.segments.push_back(number);
    }

    /// The next batch; `open` is the segment that is still written to, and how much of it is whole.
    ///
    /// A batch without events says that there was nothing but torn lines, and where they end.
    pub(super) fn read(&mut self, directory: &Path, open: Option<(u64, u64)>) -> io::Result<Option<Batch>> {
        let (mut place, mut torn) = (self.place, 0);
        while let Some(number) = self.segments.iter().copied().find(|number| *number >= place.segment) {
            if number > place.segment {
                place = Place { segment: number, offset: 0 };
            }
            let written = open.filter(|(open, _)| *open == number).map(|(_, length)| length);
            let Some(file) = self.open(directory, number)? else {
                place = Place { segment: number + 1, offset: 0 };
                continue;
            };
            let length = written.map_or_else(|| file.metadata().map(|metadata| metadata.len()), Ok)?;
            let mut batch = read_batch(file, place, length, written.is_none())?;
            torn += batch.torn;
            if batch.len() > 0 {
                batch.torn = torn;
                return Ok(Some(batch));
            }
            if batch.end == place {
                break;
            }
            place = batch.end;
        }
        Ok((place != self.place).then(|| Batch { end: place, torn, ..Batch::default() }))
    }

    /// Moves on to `place`; returns the segments that lie wholly before it.
    pub(super) fn advance(&mut self, place: Place) -> Vec<u64> {
        self.place = place;
        let done = self.segments.partition_point(|number| *number < place.segment);
        self.segments.drain(..done).collect()
    }

    /// The file of a segment; `None` where somebody has removed it.
    fn open(&mut self, directory: &Path, number: u64) -> io::Result<Option<&File>> {
        if self.file.as_ref().is_none_or(|(open, _)| *open != number) {
            match File::open(segment_path(directory, number)) {
                Ok(file) => self.file = Some((number, file)),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(self.file.as_ref().map(|(_, file)| file))
    }
}

/// The events from `place` on, as many as fit. Behind the last of a sealed segment is the next segment.
fn read_batch(file: &File, place: Place, length: u64, is_sealed: bool) -> io::Result<Batch> {
    let left = usize::try_from(length.saturating_sub(place.offset)).unwrap_or(usize::MAX);
    let mut text = vec![0; left.min(BATCH_BYTES)];
    file.read_exact_at(&mut text, place.offset)?;
    let mut batch = Batch::default();
    let mut at = 0;
    while batch.lines.len() < BATCH_EVENTS
        && let Some(length) = text[at..].iter().position(|byte| *byte == b'\n')
    {
        let line = at..at + length + 1;
        at = line.end;
        // A file that was not synced may have zeros where events should be.
        if serde_json::from_slice::<IgnoredAny>(&text[line.clone()]).is_ok() {
            batch.lines.push(line);
        } else {
            batch.torn += 1;
        }
    }
    if at == 0 && !text.is_empty() && (is_sealed || text.len() == BATCH_BYTES) {
        // Not one newline in all of it: the end of a torn segment, or no events at all.
        batch.torn += 1;
        at = text.len();
    }
    let offset = place.offset + at as u64;
    let is_over = is_sealed && offset >= length;
    batch.end =
        if is_over { Place { segment: place.segment + 1, offset: 0 } } else { Place { offset, ..place } };
    batch.text = text;
    Ok(batch)
}
