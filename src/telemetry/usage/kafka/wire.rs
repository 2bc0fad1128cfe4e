//! The requests that a producer needs, and their answers, as bytes.
//!
//! ```text
//! Frame   = length(4) (key(2) version(2) correlation(4) client:String Body | correlation(4) Body)
//! String  = length(2) UTF-8          Bytes = length(4) …          Array = count(4) …          -1: none
//! ```
//!
//! The versions are the oldest that brokers of today take (KIP-896), without the compact encoding of later
//! ones: every broker from Kafka 1.0 to 4 speaks them, and nobody has to ask which. An answer is a
//! stranger's: whatever its counts say, no more is allocated than it has bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::deliver::Refusal;
use super::records::wire_length;

pub(super) const MESSAGE_TOO_LARGE: i16 = 10;
pub(super) const RECORD_LIST_TOO_LARGE: i16 = 18;
pub(super) const INVALID_RECORD: i16 = 87;

/// What brokers write in their logs.
const CLIENT: &str = "transom";

/// A request whose correlation id is yet to be told.
pub(super) struct Request {
    key: i16,
    version: i16,
    body: Vec<u8>,
}

impl Request {
    pub(super) fn frame(&self, correlation: i32) -> Vec<u8> {
        let mut frame = Vec::with_capacity(self.body.len() + 32);
        put_i32(&mut frame, wire_length(2 + 2 + 4 + 2 + CLIENT.len() + self.body.len()));
        put_i16(&mut frame, self.key);
        put_i16(&mut frame, self.version);
        put_i32(&mut frame, correlation);
        put_text(&mut frame, CLIENT);
        frame.extend_from_slice(&self.body);
        frame
    }
}

/// Who the brokers are and who leads the partitions of one topic.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    /// Host and port by number.
    pub(super) brokers: BTreeMap<i32, (String, u16)>,
    /// Zero, or why there is no such topic.
    pub(super) code: i16,
    /// By partition; -1 for none.
    pub(super) leaders: BTreeMap<i32, i32>,
}

/// Asks about one topic, which is not created: a name with a typing error must not swallow bills.
pub(super) fn metadata(topic: &str) -> Request {
    let mut body = Vec::new();
    put_i32(&mut body, 1);
    put_text(&mut body, topic);
    body.push(0);
    Request { key: 3, version: 4, body }
}

/// The answer to [`metadata`].
pub(super) fn read_metadata(answer: &[u8]) -> Result<Metadata, Malformed> {
    let mut reader = Reader(answer);
    let mut metadata = Metadata::default();
    let _throttle = reader.i32()?;
    for _ in 0..reader.count()? {
        let (node, host) = (reader.i32()?, reader.text()?.ok_or(Malformed)?.to_owned());
        let port = u16::try_from(reader.i32()?).map_err(|_| Malformed)?;
        let _rack = reader.text()?;
        metadata.brokers.insert(node, (host, port));
    }
    let _cluster = reader.text()?;
    let _controller = reader.i32()?;
    for _ in 0..reader.count()? {
        metadata.code = reader.i16()?;
        let _name = reader.text()?;
        let _is_internal = reader.take(1)?;
        for _ in 0..reader.count()? {
            let _code = reader.i16()?;
            let (partition, leader) = (reader.i32()?, reader.i32()?);
            for _ in 0..2 {
                let replicas = reader.count()?;
                reader.take(replicas.checked_mul(4).ok_or(Malformed)?)?;
            }
            metadata.leaders.insert(partition, leader);
        }
    }
    Ok(metadata)
}

/// Batches for one leader.
pub(super) struct Produce {
    timeout: Duration,
    partitions: Vec<u8>,
    count: i32,
}

impl Produce {
    /// The leader gives its replicas so much time.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, partitions: Vec::new(), count: 0 }
    }

    pub(super) fn push(&mut self, partition: i32, batch: &[u8]) {
        put_i32(&mut self.partitions, partition);
        put_i32(&mut self.partitions, wire_length(batch.len()));
        self.partitions.extend_from_slice(batch);
        self.count += 1;
    }

    pub(super) fn finish(self, topic: &str) -> Request {
        let mut body = Vec::with_capacity(self.partitions.len() + topic.len() + 32);
        // In no transaction; written by all replicas in sync.
        put_i16(&mut body, -1);
        put_i16(&mut body, -1);
        put_i32(&mut body, i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX));
        put_i32(&mut body, 1);
        put_text(&mut body, topic);
        put_i32(&mut body, self.count);
        body.extend_from_slice(&self.partitions);
        Request { key: 0, version: 3, body }
    }
}

/// The answer to a [`Produce`]: error codes by partition.
pub(super) fn written(answer: &[u8]) -> Result<BTreeMap<i32, i16>, Malformed> {
    let mut reader = Reader(answer);
    let mut written = BTreeMap::new();
    for _ in 0..reader.count()? {
        let _topic = reader.text()?;
        for _ in 0..reader.count()? {
            written.insert(reader.i32()?, reader.i16()?);
            let (_offset, _time) = (reader.take(8)?, reader.take(8)?);
        }
    }
    Ok(written)
}

/// Says that a login by SASL/PLAIN follows.
pub(super) fn sasl_plain() -> Request {
    let mut body = Vec::new();
    put_text(&mut body, "PLAIN");
    Request { key: 17, version: 1, body }
}

/// RFC 4616, section 2: no other identity, then name and password, each behind a NUL.
pub(super) fn sasl_login(user: &str, password: &str) -> Request {
    let message = format!("\0{user}\0{password}");
    let mut body = Vec::with_capacity(message.len() + 4);
    put_i32(&mut body, wire_length(message.len()));
    body.extend_from_slice(message.as_bytes());
    Request { key: 36, version: 0, body }
}

/// What the answers to [`sasl_plain`] and [`sasl_login`] begin with. What follows is for people, and may
/// repeat what was sent.
pub(super) fn read_code(answer: &[u8]) -> Result<i16, Malformed> {
    Reader(answer).i16()
}

/// An error code as Kafka's documentation names it.
pub(super) fn code_name(code: i16) -> String {
    let name = match code {
        3 => "UNKNOWN_TOPIC_OR_PARTITION",
        5 => "LEADER_NOT_AVAILABLE",
        6 => "NOT_LEADER_OR_FOLLOWER",
        7 => "REQUEST_TIMED_OUT",
        MESSAGE_TOO_LARGE => "MESSAGE_TOO_LARGE",
        17 => "INVALID_TOPIC_EXCEPTION",
        RECORD_LIST_TOO_LARGE => "RECORD_LIST_TOO_LARGE",
        19 => "NOT_ENOUGH_REPLICAS",
        20 => "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        29 => "TOPIC_AUTHORIZATION_FAILED",
        31 => "CLUSTER_AUTHORIZATION_FAILED",
        33 => "UNSUPPORTED_SASL_MECHANISM",
        34 => "ILLEGAL_SASL_STATE",
        58 => "SASL_AUTHENTICATION_FAILED",
        INVALID_RECORD => "INVALID_RECORD",
        _ => return format!("error {code}"),
    };
    format!("{name} ({code})")
}

pub(super) fn put_i16(out: &mut Vec<u8>, number: i16) {
    out.extend(number.to_be_bytes());
}

pub(super) fn put_i32(out: &mut Vec<u8>, number: i32) {
    out.extend(number.to_be_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_i16(out, i16::try_from(text.len()).expect("names of topics and of us are short"));
    out.extend_from_slice(text.as_bytes());
}

/// An answer that is not what was asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not answer as a Kafka broker does")]
pub(super) struct Malformed;

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::not_now(malformed)
    }
}

/// What of an answer has not been read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        self.take(2)?.try_into().map(i16::from_be_bytes).map_err(|_| Malformed)
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        self.take(4)?.try_into().map(i32::from_be_bytes).map_err(|_| Malformed)
    }

    /// Of an array; none is empty.
    fn count(&mut self) -> Result<usize, Malformed> {
        match self.i32()? {
            -1 => Ok(0),
            count => usize::try_from(count).map_err(|_| Malformed),
        }
    }

    fn text(&mut self) -> Result<Option<&'a str>, Malformed> {
        match self.i16()? {
            -1 => Ok(None),
            length => {
                let bytes = self.take(usize::try_from(length).map_err(|_| Malformed)?)?;
                std::str::from_utf8(bytes).map(Some).map_err(|_| Malformed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two brokers, and a topic of two partitions of which one has no leader.
    fn answer() -> Vec<u8> {
        let mut out = vec![0; 4];
        put_i32(&mut out, 2);
        for (node, host, port) in [(1, "a", 9092), (2, "b.test", 9093)] {
            put_i32(&mut out, node);
            put_text(&mut out, host);
            put_i32(&mut out, port);
            put_i16(&mut out, -1);
        }
        put_text(&mut out, "cluster");
        put_i32(&mut out, 1);
        put_i32(&mut out, 1);
        put_i16(&mut out, 0);
        put_text(&mut out, "usage");
        out.push(0);
        put_i32(&mut out, 2);
        for (code, partition, leader) in [(0, 0, 2), (5, 1, -1)] {
            put_i16(&mut out, code);
            put_i32(&mut out, partition);
            put_i32(&mut out, leader);
            for _ in 0..2 {
                put_i32(&mut out, 1);
                put_i32(&mut out, 2);
            }
        }
        out
    }

    #[test]
    fn leaders_are_read() {
        let metadata = read_metadata(&answer()).expect("an answer");
        assert_eq!(metadata.code, 0);
        assert_eq!(metadata.leaders, BTreeMap::from([(0, 2), (1, -1)]));
        let brokers = BTreeMap::from([(1, ("a".to_owned(), 9092)), (2, ("b.test".to_owned(), 9093))]);
        assert_eq!(metadata.brokers, brokers);
    }

    #[test]
    fn answer_that_ends_early_is_malformed() {
        let whole = answer();
        for length in 0..whole.len() {
            assert_eq!(read_metadata(&whole[..length]), Err(Malformed), "{length} bytes");
        }
    }

    #[test]
    fn any_byte_may_be_wrong() {
        let whole = answer();
        for at in 0..whole.len() {
            for byte in [0, 0x7f, 0x80, 0xff] {
                let mut wrong = whole.clone();
                wrong[at] = byte;
                // Neither panics nor takes the memory that a wrong count asks for.
                let _ = (read_metadata(&wrong), written(&wrong));
            }
        }
        assert_eq!(written(&[0x7f, 0xff, 0xff, 0xff]), Err(Malformed));
    }

    #[test]
    fn frame_has_the_length_of_what_follows() {
        let frame = metadata("usage").frame(7);
        assert_eq!(frame[..4], wire_length(frame.len() - 4).to_be_bytes());
        assert_eq!(frame[4..12], [0, 3, 0, 4, 0, 0, 0, 7]);
    }
}
