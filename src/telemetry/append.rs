//! A file that is only appended to; whoever rotates it moves it away, and no signal is needed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file that grows by whole lines.
#[derive(Debug)]
pub(super) struct AppendedFile {
    path: PathBuf,
    file: Option<File>,
}

impl AppendedFile {
    /// Opened with the first line.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends lines; what is half there after a failure is ended by the next opening.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let file = match self.file.take().filter(|file| is_at(file, &self.path)) {
            Some(file) => file,
            None => open(&self.path)?,
        };
        let mut file = file;
        file.write_all(lines)?;
        self.file = Some(file);
        Ok(())
    }

    /// What was appended survives the loss of power when this returns.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let synced = self.file.as_ref().map_or(Ok(()), File::sync_data);
        if synced.is_err() {
            self.file = None;
        }
        synced
    }
}

/// Whether `path` still names this file.
fn is_at(file: &File, path: &Path) -> bool {
    let same = |file: std::fs::Metadata| {
        let named = std::fs::metadata(path).ok()?;
        Some((file.dev(), file.ino()) == (named.dev(), named.ino()))
    };
    file.metadata().ok().and_then(same).unwrap_or(false)
}

/// Opens for appending, on a line of its own: a crash or a full disk may have left half a line.
fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    if file.metadata()?.is_file() && file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, between: impl FnOnce(&Path), expected: &str) {
        let path = std::env::temp_dir().join(format!("transom-appended-{name}-{}", std::process::id()));
        let moved = path.with_extension("1");
        let _ = std::fs::remove_file(&path);
        let mut file = AppendedFile::new(path.clone());
        file.append(b"1\n2\n").expect("writable");
        between(&path);
        file.append(b"3\n").expect("writable");
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), expected, "{name}");
        for path in [path, moved] {
            let _ = std::fs::remove_file(path);
        }
    }

    #[test]
    fn file_that_moves_away_is_begun_anew() {
        check("stays", |_| {}, "1\n2\n3\n");
        check("moved", |path| std::fs::rename(path, path.with_extension("1")).expect("a rename"), "3\n");
        check("removed", |path| std::fs::remove_file(path).expect("a removal"), "3\n");
        check("emptied", |path| drop(File::create(path).expect("writable")), "3\n");
    }

    #[test]
    fn half_a_line_is_ended_first() {
        let path = std::env::temp_dir().join(format!("transom-appended-half-{}", std::process::id()));
        std::fs::write(&path, "1\n{\"i").expect("writable");
        AppendedFile::new(path.clone()).append(b"2\n").expect("writable");
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), "1\n{\"i\n2\n");
        std::fs::remove_file(path).expect("a removal");
    }

    #[test]
    fn disk_that_is_full_is_asked_again() {
        let Ok(full) = std::fs::canonicalize("/dev/full") else { return };
        let mut file = AppendedFile::new(full);
        for _ in 0..2 {
            assert!(file.append(b"1\n").is_err());
        }
    }
}
