//! Calls that have ended, on their way from a worker to the thread that writes: not as lines yet.
//!
//! ```text
//! texts  r-1publicGET/v1/items/7shop.v1.Items.Get│r-2public…
//! calls  [ facts, lengths of its texts ]          │[ … ]
//! ```
//!
//! A worker copies what it knows and is back at its calls. What a line looks like is the thread's business, which
//! writes hundreds of them one after the other.

use super::entry::{Entry, Facts, Texts};
use crate::telemetry::json::clip;

/// Bytes of a path, of a template and of a query.
const PATH_BYTES_MAX: usize = 1024;
/// Bytes of any other text.
const TEXT_BYTES_MAX: usize = 256;
/// The length of a text that there is not.
const NONE: u16 = u16::MAX;
/// How many texts a call has.
const TEXTS: usize = 14;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Records {
    texts: String,
    calls: Vec<Call>,
}

#[derive(Debug)]
struct Call {
    facts: Facts,
    /// In bytes, in the order of [`all`].
    lengths: [u16; TEXTS],
}

impl Records {
    /// What they take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.texts.len() + size_of_val(&self.calls[..])
    }

    /// Appends a call, its texts clipped, where they take at most so much with it; says whether they do.
    pub(super) fn push(&mut self, entry: &Entry<'_>, bytes_max: usize) -> bool {
        let before = self.texts.len();
        let lengths = all(&entry.texts).map(|(text, clipped)| {
            let Some(text) = text else { return NONE };
            let text = clip(text, clipped);
            self.texts.push_str(text);
            text.len() as u16
        });
        let fits = self.bytes() + size_of::<Call>() <= bytes_max;
        if fits {
            self.calls.push(Call { facts: entry.facts, lengths });
        } else {
            self.texts.truncate(before);
        }
        fits
    }

    /// The calls, as they came.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = self.texts.as_str();
        self.calls.iter().map(move |call| {
            let texts = call.lengths.map(|length| {
                let (text, others) = rest.split_at_checked(usize::from(length)).filter(|_| length != NONE)?;
                rest = others;
                Some(text)
            });
            Entry { texts: of(texts), facts: call.facts }
        })
    }

    pub(super) fn clear(&mut self) {
        self.texts.clear();
        self.calls.clear();
    }
}

/// Each of them with the bytes that are kept of it.
fn all<'c>(texts: &Texts<'c>) -> [(Option<&'c str>, usize); TEXTS] {
    [
        (Some(texts.request_id), TEXT_BYTES_MAX),
        (Some(texts.listener), TEXT_BYTES_MAX),
        (texts.surface, TEXT_BYTES_MAX),
        (texts.user_agent, TEXT_BYTES_MAX),
        (Some(texts.verb), TEXT_BYTES_MAX),
        (texts.host, TEXT_BYTES_MAX),
        (Some(texts.path), PATH_BYTES_MAX),
        (texts.query, PATH_BYTES_MAX),
        (texts.template, PATH_BYTES_MAX),
        (texts.method, TEXT_BYTES_MAX),
        (texts.consumer, TEXT_BYTES_MAX),
        (texts.reason, TEXT_BYTES_MAX),
        (texts.service, TEXT_BYTES_MAX),
        (texts.endpoint, TEXT_BYTES_MAX),
    ]
}

/// What [`all`] was made of.
fn of<'c>(all: [Option<&'c str>; TEXTS]) -> Texts<'c> {
    let [
        request_id,
        listener,
        surface,
        user_agent,
        verb,
        host,
        path,
        query,
        template,
        method,
        consumer,
        reason,
        service,
        endpoint,
    ] = all;
    Texts {
        request_id: request_id.unwrap_or_default(),
        listener: listener.unwrap_or_default(),
        surface,
        user_agent,
        verb: verb.unwrap_or_default(),
        host,
        path: path.unwrap_or_default(),
        query,
        template,
        method,
        consumer,
        reason,
        service,
        endpoint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::access_log::entry::tests::entry;

    /// Each text another one.
    fn named() -> Entry<'static> {
        let texts = of([
            "id", "listener", "surface", "agent", "verb", "host", "path", "query", "template", "method",
            "consumer", "reason", "service", "endpoint",
        ]
        .map(Some));
        Entry { texts, ..entry() }
    }

    #[test]
    fn calls_come_back_as_they_were() {
        let mut records = Records::default();
        let entries = [entry(), named(), Entry { texts: Texts::default(), ..entry() }, named()];
        assert!(entries.iter().all(|entry| records.push(entry, usize::MAX)));
        let told = |entries: Vec<Entry<'_>>| format!("{entries:?}");
        assert_eq!(told(records.entries().collect()), told(entries.to_vec()));
        records.clear();
        assert_eq!((records.entries().count(), records.bytes()), (0, 0));
    }

    #[test]
    fn texts_are_clipped_to_whole_characters() {
        let long = "x".repeat(TEXT_BYTES_MAX - 1) + "é" + &"x".repeat(2000);
        let mut records = Records::default();
        let texts = Texts { path: &long, host: Some(&long), query: Some(&long), ..entry().texts };
        assert!(records.push(&Entry { texts, ..entry() }, usize::MAX));
        let told = records.entries().next().expect("a call").texts;
        let lengths = [told.path.len(), told.host.map_or(0, str::len), told.query.map_or(0, str::len)];
        assert_eq!(lengths, [PATH_BYTES_MAX, TEXT_BYTES_MAX - 1, PATH_BYTES_MAX]);
    }

    #[test]
    fn what_has_no_room_leaves_nothing() {
        let mut records = Records::default();
        assert!(records.push(&named(), usize::MAX));
        let one = records.bytes();
        assert!(!records.push(&named(), 2 * one - 1));
        assert_eq!((records.bytes(), records.entries().count()), (one, 1));
        assert!(records.push(&named(), 2 * one), "at the bound");
        assert!(!records.push(&entry(), 2 * one));
        assert_eq!(records.entries().count(), 2);
    }
}
