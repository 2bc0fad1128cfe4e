//! The name of a cell: 128 bits of a hash that nobody outside can aim at.
//!
//! Two SipHashes under keys of their own, drawn when the process starts. That two subjects share a cell by
//! accident takes some 10¹⁹ of them; that they do so by intent takes the keys. Two bits tell the kind of
//! limit, so that a store knows when a cell may be forgotten.

use std::fmt;
use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};

use crate::policy::limit::Kind;
use crate::policy::quota::Period;

/// Names one cell of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    high: u64,
    low: u64,
}

/// Names the cells of one subject in one policy, of which there is one a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    high: u64,
    low: u64,
}

/// Makes keys; the same in the whole process, another in every process.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    high: RandomState,
    low: RandomState,
}

/// The words that a key is made of, hashed as they come.
#[derive(Clone)]
pub struct KeyBuilder {
    high: DefaultHasher,
    low: DefaultHasher,
}

const KIND_MASK: u64 = 0b11;

/// Odd, so that multiples differ; the golden ratio's digits, so that they differ widely.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Keys {
    /// Begins a key.
    pub fn begin(&self) -> KeyBuilder {
        KeyBuilder { high: self.high.build_hasher(), low: self.low.build_hasher() }
    }
}

impl KeyBuilder {
    /// Adds a word. Its length is part of it, so that `ab`, `c` is not `a`, `bc`.
    pub fn word(&mut self, word: &[u8]) {
        for hasher in [&mut self.high, &mut self.low] {
            hasher.write_usize(word.len());
            hasher.write(word);
        }
    }

    pub fn finish(&self) -> Subject {
        Subject { high: self.high.finish(), low: self.low.finish() }
    }
}

/// The state of the hashes would tell their keys.
impl fmt::Debug for KeyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyBuilder")
    }
}

impl Subject {
    /// The cell of the limit with this number.
    pub fn cell(&self, number: usize, kind: Kind) -> Key {
        let kind = match kind {
            Kind::Rate => 0,
            Kind::Quota(Period::Day) => 1,
            Kind::Quota(Period::Month) => 2,
        };
        let high = self.high.wrapping_add((number as u64).wrapping_mul(STEP));
        Key { high, low: self.low & !KIND_MASK | kind }
    }
}

impl Key {
    pub(super) fn kind(&self) -> Kind {
        match self.low & KIND_MASK {
            0 => Kind::Rate,
            1 => Kind::Quota(Period::Day),
            _ => Kind::Quota(Period::Month),
        }
    }

    /// Which of `count` shards holds it, `count` a power of two: the same for all cells of a subject.
    pub fn shard(&self, count: usize) -> usize {
        (self.low >> 2) as usize & (count - 1)
    }
}

/// A key is hashed already: half of it is the hash.
impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.high);
    }
}

/// The hasher of what is hashed already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only keys are hashed here, and they write one u64");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_words_their_ends_numbers_and_kinds() {
        let keys = Keys::default();
        let key = |words: &[&str], number, kind| {
            let mut builder = keys.begin();
            words.iter().for_each(|word| builder.word(word.as_bytes()));
            builder.finish().cell(number, kind)
        };
        let one = key(&["ab", "c"], 0, Kind::Rate);
        assert_eq!(key(&["ab", "c"], 0, Kind::Rate), one);
        assert_ne!(key(&["a", "bc"], 0, Kind::Rate), one);
        assert_ne!(key(&["ab", "c"], 1, Kind::Rate), one);
        for kind in [Kind::Rate, Kind::Quota(Period::Day), Kind::Quota(Period::Month)] {
            assert_eq!(key(&["ab"], 0, kind).kind(), kind);
        }
        let other = Keys::default();
        let mut builder = other.begin();
        ["ab", "c"].iter().for_each(|word| builder.word(word.as_bytes()));
        assert_ne!(builder.finish().cell(0, Kind::Rate), one);
    }
}
