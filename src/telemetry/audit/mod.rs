//! The audit log: what changed, when and by whom, one JSON object a line, each bound to the one before it.
//!
//! ```text
//! {"number":7,"time":…,"event":"config.loaded","actor":"start","node":…,"data":{…},"previous":"<SHA-256 of line 6>"}
//! ```
//!
//! Whoever changes, removes or inserts a line breaks the chain at the next one, which [`verify`] finds. What a
//! chain cannot show is the loss of its last lines: keep the hash that `verify` prints somewhere else.
//! Changes are rare, so that every entry opens the file anew: a file that is moved away is continued in a
//! new one, and processes that share a file take turns by its lock.

mod chain;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde_json::{Map, Value, json};

use super::timestamp::Timestamp;
use chain::Link;

pub use chain::{Broken, Verified, verify};

/// The log of this process, if it has one.
static CURRENT: OnceLock<Arc<Audit>> = OnceLock::new();

/// The last line of a file is looked for in so many bytes at its end.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// A file that is only ever appended to.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    node: String,
    last: Mutex<Link>,
}

/// Where the log is, and what is loaded.
#[derive(Clone, Debug)]
pub struct AuditConfig {
    pub path: PathBuf,
    /// Names this gateway in every entry.
    pub node: String,
    /// The configuration file, as it was named.
    pub config: Option<String>,
    /// What the configuration has, by name.
    pub digests: Digests,
}

/// Why there is no audit log.
#[derive(Debug, thiserror::Error)]
#[error("audit: `{path}`: {error}")]
pub struct AuditError {
    path: String,
    error: io::Error,
}

/// The event of a configuration that is served; the chain's reader looks for it.
const LOADED: &str = "config.loaded";

/// Names with the digests of what stands under them.
pub type Digests = BTreeMap<String, String>;

/// Writes an entry to the log of this process; without one, nothing.
pub fn note(event: &str, actor: &str, data: Value) {
    if let Some(audit) = CURRENT.get() {
        audit.record(event, actor, data);
    }
}

/// What of a configuration that is served from now on differs from the one before it.
pub fn note_loaded(actor: &str, file: Option<&str>, before: &Digests, after: &Digests) {
    note(LOADED, actor, json!({ "file": file, "changes": changes(before, after) }));
}

impl Audit {
    /// Opens the log, and says in it what of the configuration differs from the last one that it knows.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written.
    pub fn open(config: &AuditConfig) -> Result<Arc<Self>, AuditError> {
        let AuditConfig { path, node, config, digests } = config;
        let failed = |error| AuditError { path: path.display().to_string(), error };
        let known = match File::open(path) {
            Ok(file) => chain::replay(BufReader::new(file)).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => chain::Replayed::default(),
            Err(error) => return Err(failed(error)),
        };
        let last = Mutex::new(known.last);
        let audit = Self { path: path.clone(), node: node.clone(), last };
        if let Some(broken) = &known.broken {
            tracing::error!(%broken, file = %path.display(), "the audit log has been changed");
            audit.append("audit.broken", "start", json!({ "line": broken.line })).map_err(failed)?;
        }
        let data = json!({ "file": config, "changes": changes(&known.digests, digests) });
        audit.append(LOADED, "start", data).map_err(failed)?;
        Ok(Arc::new(audit))
    }

    /// Makes this the log of the process.
    pub fn install(self: Arc<Self>) {
        // A second gateway in one process writes to the log of the first.
        let _ = CURRENT.set(self);
    }

    /// Appends an entry. A disk that refuses is told of, and the work goes on.
    pub fn record(&self, event: &str, actor: &str, data: Value) {
        if let Err(error) = self.append(event, actor, data) {
            tracing::error!(%error, event, file = %self.path.display(), "the audit log cannot be written");
        }
    }

    fn append(&self, event: &str, actor: &str, data: Value) -> io::Result<()> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&self.path)?;
        file.lock()?;
        // What another process has written is before us; an empty file goes on after the one that was here.
        let before = last_line(&mut file)?;
        if let Some(line) = &before {
            let link = Link::of(line.strip_suffix(b"\n").unwrap_or(line), last.number);
            if link.hash != last.hash {
                *last = link;
            }
        }
        let mut entry = Map::new();
        entry.insert("number".into(), (last.number + 1).into());
        entry.insert("time".into(), Timestamp::now().to_string().into());
        entry.insert("event".into(), event.into());
        entry.insert("actor".into(), actor.into());
        entry.insert("node".into(), self.node.as_str().into());
        entry.insert("data".into(), data);
        entry.insert("previous".into(), last.hash.as_str().into());
        let line = serde_json::to_vec(&entry)?;
        // A crash may have left half a line: it is ended, and hashed as it is.
        let torn = before.is_some_and(|line| !line.ends_with(b"\n"));
        let ending: &[u8] = if torn { b"\n" } else { b"" };
        file.write_all(&[ending, &line, b"\n"].concat())?;
        file.sync_data()?;
        *last = Link::of(&line, last.number);
        Ok(())
    }
}

/// The last line of a file, with its newline if it has one; `None` of an empty file.
fn last_line(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut chunk = 4096;
    loop {
        let start = length.saturating_sub(chunk);
        file.seek(SeekFrom::Start(start))?;
        let mut end = Vec::new();
        (&*file).take(length - start).read_to_end(&mut end)?;
        let whole = end.strip_suffix(b"\n").unwrap_or(&end);
        if let Some(newline) = whole.iter().rposition(|byte| *byte == b'\n') {
            return Ok(Some(end.split_off(newline + 1)));
        }
        if start == 0 || chunk >= LINE_BYTES_MAX {
            return Ok((!end.is_empty()).then_some(end));
        }
        chunk *= 16;
    }
}

/// What was added, changed and removed, by name and digest.
fn changes(before: &Digests, after: &Digests) -> Value {
    let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changed = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    changed
        .map(|name| json!({ "name": name, "before": before.get(name), "after": after.get(name) }))
        .collect()
}

#[cfg(test)]
mod tests;
