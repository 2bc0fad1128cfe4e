//! The protobuf wire format: a bounds-checked [`Reader`] and the `put_*` functions that write it.
//!
//! Shared by both directions of the codec and by `route`, which writes captures around a body. The
//! reader borrows, copies nothing and never trusts a length; groups nest at most
//! [`GROUP_DEPTH_MAX`] deep. Lengths of nested messages are written by reserving one byte
//! ([`begin_len`]) and making room when it was not enough ([`end_len`]): messages of less
//! than 128 bytes, which are most, then cost no second pass.

use crate::schema::plan::wire::{EGROUP, I32, I64, LEN, SGROUP, VARINT};

/// How deep groups may nest in bytes that are skipped.
pub const GROUP_DEPTH_MAX: u16 = 100;

/// The largest field number (protobuf.dev, "Assigning Field Numbers").
pub const FIELD_NUMBER_MAX: u32 = (1 << 29) - 1;

/// Reads wire bytes from the front.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

/// Why bytes are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("the message ends in the middle of a value")]
    Truncated,
    #[error("a varint is longer than 64 bits")]
    VarintTooLong,
    #[error("field number {0} is outside 1 to 536870911")]
    FieldNumber(u64),
    #[error("wire type {0} does not exist")]
    WireType(u32),
    #[error("a group ends that did not begin")]
    EndGroup,
    #[error("groups nest deeper than {GROUP_DEPTH_MAX}")]
    TooDeep,
}

impl<'a> Reader<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read yet.
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// A field number from 1 to [`FIELD_NUMBER_MAX`] and a wire type from 0 to 5.
    #[inline]
    pub fn tag(&mut self) -> Result<(u32, u32), WireError> {
        let tag = self.varint()?;
        let (number, wire_type) = (tag >> 3, (tag & 7) as u32);
        match u32::try_from(number) {
            Ok(number @ 1..=FIELD_NUMBER_MAX) if wire_type <= I32 => Ok((number, wire_type)),
            Ok(1..=FIELD_NUMBER_MAX) => Err(WireError::WireType(wire_type)),
            _ => Err(WireError::FieldNumber(number)),
        }
    }

    /// Reads the tag `tag` (of one or two bytes) if that is what comes next; else reads nothing.
    #[inline]
    pub fn take_tag(&mut self, tag: u32) -> bool {
        match self.rest {
            [byte, rest @ ..] if u32::from(*byte) == tag && tag < 0x80 => {
                self.rest = rest;
                true
            }
            [low, high, rest @ ..]
                if *low >= 0x80 && *high < 0x80 && u32::from(*high) << 7 | u32::from(low & 0x7f) == tag =>
            {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    #[inline]
    pub fn varint(&mut self) -> Result<u64, WireError> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            [low, high, rest @ ..] if *high < 0x80 => {
                self.rest = rest;
                Ok(u64::from(low & 0x7f) | u64::from(*high) << 7)
            }
            _ => {
                // Not `&mut self`: what is never lent out stays in registers.
                let (value, rest) = long_varint(self.rest)?;
                self.rest = rest;
                Ok(value)
            }
        }
    }

    #[inline]
    pub fn fixed32(&mut self) -> Result<u32, WireError> {
        let (value, rest) = self.rest.split_first_chunk().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*value))
    }

    #[inline]
    pub fn fixed64(&mut self) -> Result<u64, WireError> {
        let (value, rest) = self.rest.split_first_chunk().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*value))
    }

    /// A length and that many bytes.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let len = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
        let (value, rest) = self.rest.split_at_checked(len).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(value)
    }

    /// The content of the group `number`, whose start tag has been read; reads its end tag too.
    pub fn group(&mut self, number: u32) -> Result<&'a [u8], WireError> {
        let whole = self.rest;
        let mut open = smallvec::SmallVec::<[u32; 8]>::new();
        loop {
            let content_len = whole.len() - self.rest.len();
            let (inner, wire_type) = self.tag()?;
            match wire_type {
                SGROUP if open.len() + 1 >= usize::from(GROUP_DEPTH_MAX) => return Err(WireError::TooDeep),
                SGROUP => open.push(inner),
                EGROUP if inner != open.last().copied().unwrap_or(number) => return Err(WireError::EndGroup),
                EGROUP => {
                    if open.pop().is_none() {
                        return Ok(&whole[..content_len]);
                    }
                }
                _ => self.skip(inner, wire_type)?,
            }
        }
    }

    /// Passes over the value of a field whose tag has been read.
    #[inline]
    pub fn skip(&mut self, number: u32, wire_type: u32) -> Result<(), WireError> {
        match wire_type {
            VARINT => self.varint().map(drop),
            I64 => self.fixed64().map(drop),
            LEN => self.bytes().map(drop),
            I32 => self.fixed32().map(drop),
            SGROUP => self.group(number).map(drop),
            EGROUP => Err(WireError::EndGroup),
            _ => Err(WireError::WireType(wire_type)),
        }
    }
}

/// Calls `visit` with each length-delimited value of the field `number`, in order.
///
/// # Errors
///
/// What is wrong with the message, or what `visit` finds.
pub fn each_len<'w>(
    message: &'w [u8],
    number: u32,
    mut visit: impl FnMut(&'w [u8]) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let mut reader = Reader::new(message);
    while !reader.is_empty() {
        match reader.tag()? {
            (found, LEN) if found == number => visit(reader.bytes()?)?,
            (found, wire_type) => reader.skip(found, wire_type)?,
        }
    }
    Ok(())
}

/// A varint of more than two bytes, or one that is cut off, and what follows it.
#[inline(never)]
fn long_varint(bytes: &[u8]) -> Result<(u64, &[u8]), WireError> {
    if let [a, b, c @ ..0x80, rest @ ..] = bytes {
        return Ok((u64::from(a & 0x7f) | u64::from(b & 0x7f) << 7 | u64::from(*c) << 14, rest));
    }
    if let Some(word) = bytes.first_chunk() {
        // The first byte without its high bit ends the value: what is above it is another's.
        let word = u64::from_le_bytes(*word);
        let end = !word & 0x8080_8080_8080_8080;
        if end != 0 {
            let rest = &bytes[end.trailing_zeros() as usize / 8 + 1..];
            return Ok((join_sevens(word & (end ^ (end - 1))), rest));
        }
    }
    longest_varint(bytes)
}

/// A varint of more than eight bytes, or near the end of the message.
#[inline(never)]
fn longest_varint(bytes: &[u8]) -> Result<(u64, &[u8]), WireError> {
    let mut value = 0;
    let mut rest = bytes;
    for shift in (0..64).step_by(7) {
        let [byte, later @ ..] = rest else { return Err(WireError::Truncated) };
        rest = later;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            // The tenth byte holds the 64th bit and nothing else.
            return if shift == 63 && *byte > 1 { Err(WireError::VarintTooLong) } else { Ok((value, rest)) };
        }
    }
    Err(WireError::VarintTooLong)
}

/// Joins the lower seven bits of all eight bytes: by twos, then fours, then eights.
#[inline]
const fn join_sevens(word: u64) -> u64 {
    let sevens = word & 0x7f7f_7f7f_7f7f_7f7f;
    let twos = sevens & 0x007f_007f_007f_007f | (sevens & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = twos & 0x0000_3fff_0000_3fff | (twos & 0x3fff_0000_3fff_0000) >> 2;
    fours & 0x0fff_ffff | (fours & 0x0fff_ffff_0000_0000) >> 4
}

/// The tag of a field: its number and wire type in one.
#[inline]
pub const fn tag(number: u32, wire_type: u32) -> u32 {
    number << 3 | wire_type
}

#[inline]
pub fn put_varint(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.push(value as u8);
    } else {
        put_long_varint(out, value);
    }
}

fn put_long_varint(out: &mut Vec<u8>, mut value: u64) {
    let mut bytes = [0; 10];
    let mut len = 0;
    while value >= 0x80 {
        bytes[len] = value as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
    bytes[len] = value as u8;
    out.extend_from_slice(&bytes[..=len]);
}

/// Writes a tag made by [`tag`] or found in a `FieldPlan`.
#[inline]
pub fn put_tag(out: &mut Vec<u8>, tag: u32) {
    put_varint(out, u64::from(tag));
}

/// Writes a tag, a length and the bytes.
#[inline]
pub fn put_len_prefixed(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    put_tag(out, tag);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reserves the length of what is written next; [`end_len`] takes the result.
#[inline]
pub fn begin_len(out: &mut Vec<u8>) -> usize {
    out.push(0);
    out.len()
}

/// Fills in the length of everything written since `start`, the result of [`begin_len`].
#[inline]
pub fn end_len(out: &mut Vec<u8>, start: usize) {
    let len = out.len() - start;
    if len < 0x80 {
        out[start - 1] = len as u8;
    } else {
        end_long_len(out, start, len);
    }
}

fn end_long_len(out: &mut Vec<u8>, start: usize, len: usize) {
    let prefix_len = varint_len(len as u64);
    out.resize(out.len() + prefix_len - 1, 0);
    out.copy_within(start..start + len, start + prefix_len - 1);
    let mut rest = len;
    for byte in &mut out[start - 1..start + prefix_len - 2] {
        *byte = rest as u8 | 0x80;
        rest >>= 7;
    }
    out[start + prefix_len - 2] = rest as u8;
}

/// How many bytes [`put_varint`] writes.
#[inline]
pub const fn varint_len(value: u64) -> usize {
    // Seven bits a byte; zero still takes one.
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// `sint32` on the wire.
#[inline]
pub const fn zigzag32(value: i32) -> u32 {
    (value << 1 ^ value >> 31).cast_unsigned()
}

/// `sint64` on the wire.
#[inline]
pub const fn zigzag64(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

#[inline]
pub const fn unzigzag32(value: u32) -> i32 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[inline]
pub const fn unzigzag64(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_length_delimited_value_is_visited() {
        #[track_caller]
        fn check(message: &[u8], expected: Result<&[&[u8]], WireError>) {
            let mut found = Vec::new();
            let outcome = each_len(message, 1, |value| {
                found.push(value);
                Ok(())
            });
            assert_eq!(outcome.map(|()| &*found), expected, "{message:x?}");
        }
        check(b"", Ok(&[]));
        check(b"\x12\x01b", Ok(&[]));
        check(b"\x0a\x00", Ok(&[b""]));
        check(b"\x0a\x01a\x12\x01b\x0a\x01c", Ok(&[b"a", b"c"]));
        // The same number with another wire type is another field.
        check(b"\x0a\x01a\x08\x05", Ok(&[b"a"]));
        check(b"\x0a\x05abc", Err(WireError::Truncated));
    }

    #[test]
    fn varints_round_trip() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                assert_eq!(out.len(), varint_len(value), "{value}");
                assert_eq!(Reader::new(&out).varint(), Ok(value));
                assert_eq!(Reader::new(&out[..out.len() - 1]).varint(), Err(WireError::Truncated));
                let followed = [&out[..], &[0xff; 8]].concat();
                let mut reader = Reader::new(&followed);
                assert_eq!((reader.varint(), reader.rest().len()), (Ok(value), 8));
                assert_eq!(unzigzag64(zigzag64(value.cast_signed())), value.cast_signed());
                let small = value as u32;
                assert_eq!(unzigzag32(zigzag32(small.cast_signed())), small.cast_signed());
            }
        }
    }

    #[test]
    fn varints_end_at_64_bits() {
        let nine = [0xff; 9];
        let with = |last: &[u8]| Reader::new(&[&nine, last].concat()).varint();
        assert_eq!(with(&[1]), Ok(u64::MAX));
        assert_eq!(with(&[2]), Err(WireError::VarintTooLong));
        assert_eq!(with(&[0x80, 0]), Err(WireError::VarintTooLong));
        // Longer than needed is not wrong.
        assert_eq!(Reader::new(&[0x81, 0x80, 0]).varint(), Ok(1));
    }

    #[test]
    fn tags_are_checked() {
        let tag_of = |value| {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            Reader::new(&out).tag()
        };
        assert_eq!(tag_of(8), Ok((1, 0)));
        assert_eq!(tag_of(5), Err(WireError::FieldNumber(0)));
        assert_eq!(tag_of(u64::from(FIELD_NUMBER_MAX) << 3 | 2), Ok((FIELD_NUMBER_MAX, 2)));
        assert_eq!(tag_of(1 << 32), Err(WireError::FieldNumber(1 << 29)));
        assert_eq!(tag_of(8 | 6), Err(WireError::WireType(6)));
    }

    #[test]
    fn a_tag_is_taken_when_it_is_the_one_that_comes() {
        for number in [1, 15, 16, 127, 2047, 2048, 1 << 14, FIELD_NUMBER_MAX] {
            let expected = tag(number, LEN);
            let mut out = Vec::new();
            put_tag(&mut out, expected);
            let short = out.len() <= 2;
            out.push(7);
            let mut reader = Reader::new(&out);
            assert!(!reader.take_tag(tag(number, I32)) && !reader.take_tag(tag(number ^ 1, LEN)));
            assert_eq!(reader.take_tag(expected), short, "{number}");
            assert_eq!(reader.rest().len(), if short { 1 } else { out.len() });
        }
        assert!(!Reader::new(b"").take_tag(8));
        assert!(!Reader::new(b"\x82").take_tag(130));
    }

    #[test]
    fn values_are_skipped_whole() {
        #[track_caller]
        fn check(bytes: &[u8], expected: Result<usize, WireError>) {
            let mut reader = Reader::new(bytes);
            let skipped = reader.tag().and_then(|(number, wire_type)| reader.skip(number, wire_type));
            assert_eq!(skipped.map(|()| reader.rest().len()), expected, "{bytes:x?}");
        }
        check(b"\x08\x01!", Ok(1));
        check(b"\x09\x01\x02\x03\x04\x05\x06\x07\x08!", Ok(1));
        check(b"\x09\x01\x02\x03\x04\x05\x06\x07", Err(WireError::Truncated));
        check(b"\x0a\x02ab!", Ok(1));
        check(b"\x0a\x03ab", Err(WireError::Truncated));
        check(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", Err(WireError::Truncated));
        check(b"\x0d\x01\x02\x03\x04!", Ok(1));
        check(b"\x0d\x01\x02\x03", Err(WireError::Truncated));
        check(b"\x0b\x10\x01\x0c!", Ok(1));
        check(b"\x0b\x13\x14\x0c!", Ok(1));
        check(b"\x0b\x13\x0c\x14", Err(WireError::EndGroup));
        check(b"\x0b\x10\x01", Err(WireError::Truncated));
        check(b"\x0c", Err(WireError::EndGroup));
        let nested = |depth: usize| [[0x0b].repeat(depth), [0x0c].repeat(depth)].concat();
        check(&nested(100), Ok(0));
        check(&nested(101), Err(WireError::TooDeep));
    }

    #[test]
    fn a_group_is_its_content() {
        let mut reader = Reader::new(b"\x0b\x10\x01\x1b\x1c\x0c!");
        assert_eq!(reader.tag(), Ok((1, SGROUP)));
        assert_eq!(reader.group(1), Ok(&b"\x10\x01\x1b\x1c"[..]));
        assert_eq!(reader.rest(), b"!");
    }

    #[test]
    fn lengths_are_patched_in() {
        for len in [0, 1, 127, 128, 129, 16_383, 16_384, 2_097_151, 2_097_152] {
            let content: Vec<u8> = (0..len).map(|index| index as u8).collect();
            let mut out = b"before".to_vec();
            let start = begin_len(&mut out);
            out.extend_from_slice(&content);
            end_len(&mut out, start);
            let mut reader = Reader::new(&out[6..]);
            assert_eq!(reader.bytes(), Ok(&content[..]), "{len}");
            assert!(reader.is_empty());
        }
    }
}
