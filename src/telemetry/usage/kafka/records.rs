//! Events as the records of one partition: a record batch, format 2.
//!
//! ```text
//! Batch  = baseOffset(8) length(4) leaderEpoch(4) magic=2(1) crc32c(4)
//!          attributes(2) lastOffsetDelta(4) time(8) timeMax(8) producer(8) epoch(2) sequence(4) count(4) Record*
//! Record = length attributes(1) timeDelta offsetDelta key value headers      numbers and lengths as zigzag varints
//! ```
//!
//! The time of a record is when it is sent and not when the call was: retention counts from it, and events
//! that waited in the spool for longer than a topic keeps its records would be gone on arrival.

use std::borrow::Cow;

use super::super::deliver::Refusal;
use super::wire::put_i32;
use crate::telemetry::timestamp::Timestamp;

/// CloudEvents Kafka Protocol Binding, section 3.3: structured content mode. The same for every record.
const CONTENT_TYPE: (&[u8], &[u8]) = (b"content-type", b"application/cloudevents+json; charset=UTF-8");

/// Bytes before the first that the checksum covers.
const UNCHECKED: usize = 21;

/// The key of an event: its id.
pub(super) fn key(event: &[u8]) -> Result<Cow<'_, str>, Refusal> {
    #[derive(serde::Deserialize)]
    struct Head<'e> {
        #[serde(borrow)]
        id: Cow<'e, str>,
    }
    match serde_json::from_slice(event) {
        Ok(Head { id }) => Ok(id),
        Err(error) => Err(Refusal::Never { reason: format!("no event with an id: {error}") }),
    }
}

/// The partition of a key among `count`, as the clients of Kafka itself choose it.
pub(super) fn partition(key: &str, count: usize) -> i32 {
    let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    i32::try_from((murmur2(key.as_bytes()) & 0x7fff_ffff) % count).expect("31 bits")
}

/// Records for one partition.
pub(super) struct Batch {
    now: Timestamp,
    records: Vec<u8>,
    count: i32,
}

impl Batch {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { now, records: Vec::new(), count: 0 }
    }

    pub(super) fn push(&mut self, key: &[u8], event: &[u8]) {
        let (name, content_type) = CONTENT_TYPE;
        let mut record = Vec::with_capacity(event.len() + key.len() + 80);
        record.push(0);
        put_varint(&mut record, 0);
        put_varint(&mut record, i64::from(self.count));
        for field in [key, event] {
            put_field(&mut record, field);
        }
        put_varint(&mut record, 1);
        for field in [name, content_type] {
            put_field(&mut record, field);
        }
        put_field(&mut self.records, &record);
        self.count += 1;
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let mut batch = Vec::with_capacity(self.records.len() + 61);
        batch.extend([0; 8]);
        put_i32(&mut batch, wire_length(self.records.len() + 61 - 12));
        batch.extend((-1_i32).to_be_bytes());
        batch.push(2);
        batch.extend([0; 4]);
        debug_assert_eq!(batch.len(), UNCHECKED);
        batch.extend([0; 2]);
        put_i32(&mut batch, self.count - 1);
        batch.extend(self.now.0.to_be_bytes());
        batch.extend(self.now.0.to_be_bytes());
        // No producer of Kafka's own: its numbers end with the process, and duplicates are known by id.
        batch.extend((-1_i64).to_be_bytes());
        batch.extend((-1_i16).to_be_bytes());
        put_i32(&mut batch, -1);
        put_i32(&mut batch, self.count);
        batch.extend(self.records);
        let checksum = crc32c(&batch[UNCHECKED..]);
        batch[UNCHECKED - 4..UNCHECKED].copy_from_slice(&checksum.to_be_bytes());
        batch
    }
}

/// A batch of the spool has half a megabyte.
pub(super) fn wire_length(length: usize) -> i32 {
    i32::try_from(length).expect("far less than 2 GiB")
}

fn put_field(out: &mut Vec<u8>, field: &[u8]) {
    put_varint(out, i64::from(wire_length(field.len())));
    out.extend_from_slice(field);
}

/// Zigzag, then seven bits a byte, the lowest first.
fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

/// CRC-32C (Castagnoli), RFC 3720, appendix B.4.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut crc = index as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
                bit += 1;
            }
            table[index] = crc;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        (crc >> 8) ^ TABLE[usize::from(low ^ byte)]
    })
}

/// `MurmurHash2` with Kafka's seed.
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let (words, rest) = bytes.as_chunks::<4>();
    let mut hash = words.iter().fold(0x9747_b28c ^ length, |hash, word| {
        let word = u32::from_le_bytes(*word).wrapping_mul(M);
        hash.wrapping_mul(M) ^ (word ^ (word >> 24)).wrapping_mul(M)
    });
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| (tail << 8) | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ids() {
        let check = |event: &str, expected: Option<&str>| {
            assert_eq!(key(event.as_bytes()).ok().as_deref(), expected, "{event}");
        };
        check(r#"{"specversion":"1.0","id":"edge-1.b0.7","data":{"id":5}}"#, Some("edge-1.b0.7"));
        check(r#"{"id":"\u00e4"}"#, Some("ä"));
        check("{}", None);
        check(r#"{"id":7}"#, None);
        check("", None);
    }

    #[test]
    fn partitions_are_those_of_other_clients() {
        // The values of Kafka's own test of its hash.
        for (key, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key}");
        }
        assert_eq!(partition("abc", 1), 0);
        assert_eq!(partition("abc", 10), 7);
        // The sign is cut off and not turned.
        assert_eq!(partition("21", 10), (-973_932_308 & 0x7fff_ffff) % 10);
    }

    #[test]
    fn numbers_are_zigzag_varints() {
        let check = |value: i64, expected: &[u8]| {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out, expected, "{value}");
        };
        check(0, &[0]);
        check(-1, &[1]);
        check(63, &[0x7e]);
        check(64, &[0x80, 1]);
        check(300, &[0xd8, 4]);
    }

    #[test]
    fn checksum_is_the_one_of_the_standard() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[]), 0);
    }

    #[test]
    fn batch_tells_its_length_and_count() {
        let mut batch = Batch::new(Timestamp(1_700_000_000_123));
        batch.push(b"a", b"{}");
        batch.push(b"b", b"{}");
        let bytes = batch.finish();
        assert_eq!(bytes[8..12], wire_length(bytes.len() - 12).to_be_bytes());
        assert_eq!((bytes[16], &bytes[23..27], &bytes[57..61]), (2, &[0, 0, 0, 1][..], &[0, 0, 0, 2][..]));
        assert_eq!(bytes[27..35], 1_700_000_000_123_i64.to_be_bytes());
        // The second record: its length in two bytes, no attributes, no later, one further.
        let half = (bytes.len() - 61) / 2;
        assert_eq!(bytes[61 + half..][2..5], [0, 0, 2]);
    }
}
