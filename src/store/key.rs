//! The name of a cell: 128 bits of a hash that nobody outside can aim at.
//!
//! Two SipHashes under keys of their own, drawn when the process starts. That two subjects share a cell by
//! accident takes some 10¹⁹ of them; that they do so by intent takes the keys. Two bits tell the kind of
//! limit, so that a store knows when a cell may be forgotten.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::policy::limit::Kind;
use crate::policy::quota::Period;

/// Names one cell of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
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
#[derive(Clone, Debug)]
pub struct KeyBuilder<H> {
    high: H,
    low: H,
}

const KIND_MASK: u64 = 0b11;

impl Keys {
    /// Begins a key.
    pub fn begin(&self) -> KeyBuilder<impl Hasher + Clone + use<>> {
        KeyBuilder { high: self.high.build_hasher(), low: self.low.build_hasher() }
    }
}

impl<H: Hasher + Clone> KeyBuilder<H> {
    /// Adds a word. Its length is part of it, so that `ab`, `c` is not `a`, `bc`.
    pub fn word(&mut self, word: &[u8]) {
        for hasher in [&mut self.high, &mut self.low] {
            hasher.write_usize(word.len());
            hasher.write(word);
        }
    }

    /// The key of the cell with this number among those of the same words.
    pub fn finish(&self, number: u16, kind: Kind) -> Key {
        let [high, low] = [&self.high, &self.low].map(|hasher| {
            let mut hasher = hasher.clone();
            hasher.write_u16(number);
            hasher.finish()
        });
        let kind = match kind {
            Kind::Rate => 0,
            Kind::Quota(Period::Day) => 1,
            Kind::Quota(Period::Month) => 2,
        };
        Key { high, low: low & !KIND_MASK | kind }
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

    /// Which of `count` shards holds it, `count` a power of two.
    pub(super) fn shard(&self, count: usize) -> usize {
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
            builder.finish(number, kind)
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
        assert_ne!(builder.finish(0, Kind::Rate), one);
    }
}
