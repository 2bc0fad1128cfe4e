//! The chain of an audit log: its hashes, and what a reader can tell of it.

use std::fmt::{self, Write};
use std::io::{self, BufRead};

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::Value;

use super::Digests;

/// The end of a chain so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) number: u64,
    /// SHA-256 of the last line without its newline, in hexadecimal; zeros before the first.
    pub(super) hash: String,
}

impl Default for Link {
    fn default() -> Self {
        Self { number: 0, hash: "0".repeat(64) }
    }
}

impl Link {
    /// The link that a line makes; one that a crash has torn has the number after that `before` it.
    pub(super) fn of(line: &[u8], before: u64) -> Self {
        let number = serde_json::from_slice::<Entry>(line).map_or(before + 1, |entry| entry.number);
        Self { number, hash: hash(line) }
    }
}

#[derive(Deserialize)]
struct Entry {
    number: u64,
    event: String,
    previous: String,
    #[serde(default)]
    data: Value,
}

/// A log whose chain holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub lines: u64,
    /// Lines that a crash has cut off; the next line's hash covers what is left of them.
    pub torn: u64,
    /// The hash that the first line continues: zeros, or the end of the file before this one.
    pub first: String,
    /// The hash of the last line: the next one will have it.
    pub last: String,
}

/// Where a chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Counted from 1.
    pub line: u64,
    pub reason: &'static str,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// What a log says of the last configuration, whether its chain holds or not.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    pub(super) digests: Digests,
    pub(super) last: Link,
    pub(super) broken: Option<Broken>,
}

/// Checks the chain of a whole log.
///
/// # Errors
///
/// The reader's; within, the first line that does not follow from the one before it.
pub fn verify(log: impl BufRead) -> io::Result<Result<Verified, Broken>> {
    let mut verified =
        Verified { lines: 0, torn: 0, first: Link::default().hash, last: Link::default().hash };
    let mut broken = None;
    walk(log, |step| match step {
        Step::Line { hash, previous: None, .. } => {
            verified.lines += 1;
            verified.torn += 1;
            verified.last = hash;
        }
        Step::Line { hash, previous: Some(previous), .. } => {
            if verified.lines == 0 {
                verified.first = previous;
            }
            verified.lines += 1;
            verified.last = hash;
        }
        Step::Broken(found) => broken = broken.take().or(Some(found)),
    })?;
    // Nothing covers a torn last line, and nothing is lost by saying so.
    Ok(broken.map_or(Ok(verified), Err))
}

/// Reads what a log says of configurations.
pub(super) fn replay(log: impl BufRead) -> io::Result<Replayed> {
    let mut replayed = Replayed::default();
    let last = walk(log, |step| match step {
        Step::Line { loaded: Some(data), .. } => {
            for change in data["changes"].as_array().into_iter().flatten() {
                let Some(name) = change["name"].as_str() else { continue };
                match change["after"].as_str() {
                    Some(digest) => replayed.digests.insert(name.to_owned(), digest.to_owned()),
                    None => replayed.digests.remove(name),
                };
            }
        }
        Step::Line { .. } => {}
        Step::Broken(found) => replayed.broken = replayed.broken.take().or(Some(found)),
    })?;
    Ok(Replayed { last, ..replayed })
}

enum Step {
    Line {
        hash: String,
        /// The hash that the line continues; `None` of a torn line.
        previous: Option<String>,
        /// What `config.loaded` says.
        loaded: Option<Value>,
    },
    Broken(Broken),
}

fn walk(mut log: impl BufRead, mut visit: impl FnMut(Step)) -> io::Result<Link> {
    let mut before: Option<Link> = None;
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        if log.read_until(b'\n', &mut line)? == 0 {
            return Ok(before.unwrap_or_default());
        }
        number += 1;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let link = Link::of(text, before.as_ref().map_or(0, |before| before.number));
        match serde_json::from_slice::<Entry>(text) {
            Ok(Entry { number: own, event, previous, data }) => {
                let reason = match &before {
                    Some(before) if before.hash != previous => {
                        Some("the line before it is not the one that it follows")
                    }
                    Some(before) if before.number + 1 != own => Some("its number does not follow"),
                    None if own != 1 && previous == Link::default().hash => {
                        Some("its number does not follow")
                    }
                    _ => None,
                };
                if let Some(reason) = reason {
                    visit(Step::Broken(Broken { line: number, reason }));
                }
                let loaded = (event == super::LOADED).then_some(data);
                visit(Step::Line { hash: link.hash.clone(), previous: Some(previous), loaded });
            }
            Err(_) => visit(Step::Line { hash: link.hash.clone(), previous: None, loaded: None }),
        }
        before = Some(link);
    }
}

fn hash(line: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in digest(&SHA256, line).as_ref() {
        write!(text, "{byte:02x}").expect("a String takes every byte");
    }
    text
}
