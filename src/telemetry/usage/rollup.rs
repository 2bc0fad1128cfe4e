//! A minute's calls added up by who called what and how it ended.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use aws_lc_rs::digest::{self, SHA256};

use super::event::Speaker;
use super::record::Record;
use crate::status::Code;
use crate::telemetry::stats::Outcome;

/// Keys of a minute that are held at once; past it what there is becomes a part of its own, so that no call
/// is missing from the bill.
const KEYS_MAX: usize = if cfg!(test) { 64 } else { 1 << 16 };

/// What the calls of one sum have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) consumer: Option<Arc<str>>,
    pub(super) plan: Option<Arc<str>>,
    pub(super) surface: Arc<str>,
    pub(super) method: Arc<str>,
    pub(super) code: Code,
    pub(super) http_number: u16,
}

/// Calls added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) calls: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) messages: u64,
    pub(super) duration_us: u64,
    pub(super) cost: u64,
}

/// The sums of the minute that is not over yet.
#[derive(Debug, Default)]
pub(super) struct Rollup {
    minute: u64,
    /// How often this minute had more keys than fit.
    part: u32,
    sums: HashMap<Key, Sum>,
}

impl Rollup {
    /// Adds a call; what no longer fits beside it is written to `out` first, as events.
    ///
    /// A minute ends when a record of a later one comes, or by [`Self::end_before`]. A record of an earlier
    /// minute than the one that is open counts where it finds itself: clocks may be set back.
    pub(super) fn add(&mut self, record: &Record, speaker: &Speaker, out: &mut Vec<u8>) {
        self.end_before(record.ended.minute(), speaker, out);
        let key = Key::of(record);
        if self.sums.len() >= KEYS_MAX && !self.sums.contains_key(&key) {
            self.write(speaker, out);
            self.sums.clear();
            self.part += 1;
        }
        self.sums.entry(key).or_default().add(record);
    }

    /// Writes the open minute to `out` and closes it, if it is before `minute`.
    pub(super) fn end_before(&mut self, minute: u64, speaker: &Speaker, out: &mut Vec<u8>) {
        if self.minute < minute {
            self.write(speaker, out);
            self.sums.clear();
            (self.minute, self.part) = (minute, 0);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// Writes the events that the open minute would become if it ended now.
    pub(super) fn write(&self, speaker: &Speaker, out: &mut Vec<u8>) {
        for (key, sum) in &self.sums {
            speaker.rollup(out, self.minute, self.part, key, sum);
        }
    }
}

impl Key {
    pub(super) fn of(record: &Record) -> Self {
        Self {
            consumer: record.consumer().cloned(),
            plan: record.plan().cloned(),
            surface: record.route.surface.clone(),
            method: record.route.method.clone(),
            code: record.outcome.code,
            http_number: record.http_number,
        }
    }

    /// The key in 32 hexadecimal digits, the same in every process.
    pub(super) fn digest(&self) -> String {
        let mut context = digest::Context::new(&SHA256);
        let mut put = |part: &str| {
            // The length keeps the parts apart: (ab, c) is not (a, bc).
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        };
        for name in [&self.consumer, &self.plan] {
            put(if name.is_some() { "+" } else { "-" });
            put(name.as_deref().unwrap_or_default());
        }
        put(&self.surface);
        put(&self.method);
        put(self.code.name());
        put(&self.http_number.to_string());
        let mut text = String::with_capacity(32);
        for byte in context.finish().as_ref().iter().take(16) {
            write!(text, "{byte:02x}").expect("a String takes every byte");
        }
        text
    }
}

impl Sum {
    fn add(&mut self, record: &Record) {
        let Outcome { bytes_in, bytes_out, messages, cost, .. } = record.outcome;
        self.calls += 1;
        self.bytes_in = self.bytes_in.saturating_add(bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(bytes_out);
        self.messages = self.messages.saturating_add(messages);
        self.duration_us = self.duration_us.saturating_add(record.duration_us());
        self.cost = self.cost.saturating_add(cost);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::super::record::tests::{identity, record};
    use super::*;
    use crate::telemetry::timestamp::Timestamp;

    fn speaker() -> Speaker {
        Speaker { source: "/transom".into(), node: "n".into(), boot: "b".into() }
    }

    fn events(out: &[u8]) -> Vec<Value> {
        let lines = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).expect("an event is JSON")).collect()
    }

    fn at(minute: u64) -> Record {
        Record { ended: Timestamp::of_minute(minute), ..record() }
    }

    #[test]
    fn calls_of_one_key_and_minute_are_one_event() {
        let (mut rollup, mut out) = (Rollup::default(), Vec::new());
        for _ in 0..3 {
            rollup.add(&at(5), &speaker(), &mut out);
        }
        assert_eq!(out, b"", "the minute is not over");
        let outcome = Outcome { code: Code::NotFound, ..record().outcome };
        rollup.add(&Record { outcome, ..at(5) }, &speaker(), &mut out);
        rollup.add(&at(6), &speaker(), &mut out);
        let calls: BTreeSet<_> = events(&out)
            .iter()
            .map(|event| (event["data"]["code"].to_string(), event["data"]["calls"].to_string()))
            .collect();
        let expected = [("\"NOT_FOUND\"", "1"), ("\"OK\"", "3")];
        assert_eq!(calls, expected.map(|(code, calls)| (code.to_owned(), calls.to_owned())).into());
    }

    #[test]
    fn minute_ends_without_a_call_after_it() {
        let (mut rollup, mut out) = (Rollup::default(), Vec::new());
        rollup.add(&at(5), &speaker(), &mut out);
        rollup.end_before(5, &speaker(), &mut out);
        assert_eq!(out, b"");
        rollup.end_before(6, &speaker(), &mut out);
        assert_eq!(events(&out).len(), 1);
        rollup.end_before(7, &speaker(), &mut out);
        assert_eq!(events(&out).len(), 1, "written once");
    }

    #[test]
    fn late_record_counts_in_the_open_minute() {
        let (mut rollup, mut out) = (Rollup::default(), Vec::new());
        rollup.add(&at(5), &speaker(), &mut out);
        rollup.add(&at(4), &speaker(), &mut out);
        rollup.end_before(6, &speaker(), &mut out);
        assert_eq!(events(&out)[0]["data"]["calls"], 2);
    }

    #[test]
    fn too_many_keys_become_parts_and_no_call_is_lost() {
        let (mut rollup, mut out) = (Rollup::default(), Vec::new());
        for index in 0..KEYS_MAX + 1 {
            let identity = Some(identity(&index.to_string(), None));
            rollup.add(&Record { identity, ..at(5) }, &speaker(), &mut out);
        }
        rollup.add(&Record { identity: Some(identity("0", None)), ..at(5) }, &speaker(), &mut out);
        rollup.end_before(6, &speaker(), &mut out);
        let events = events(&out);
        assert_eq!(events.len(), KEYS_MAX + 2);
        let ids: BTreeSet<_> = events.iter().map(|event| event["id"].to_string()).collect();
        assert_eq!(ids.len(), events.len(), "the same key in two parts has two ids");
    }

    #[test]
    fn digests_tell_keys_apart() {
        let key = Key::of(&record());
        assert_eq!(key.digest(), Key::of(&record()).digest());
        let others = [
            Key { consumer: None, ..key.clone() },
            Key { consumer: Some("".into()), ..key.clone() },
            Key { plan: None, ..key.clone() },
            Key { surface: "webs".into(), method: "hop.v1.Orders.Get".into(), ..key.clone() },
            Key { code: Code::NotFound, ..key.clone() },
            Key { http_number: 201, ..key.clone() },
        ];
        let digests: BTreeSet<_> = others.iter().chain([&key]).map(Key::digest).collect();
        assert_eq!(digests.len(), others.len() + 1);
    }
}
