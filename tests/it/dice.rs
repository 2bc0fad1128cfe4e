//! Where generators take their choices from: a seed, or the bytes of a fuzzer.
//!
//! A failing case is told by its seed alone, so nothing is persisted. When a fuzzer's bytes have run
//! out every throw is 0, and 0 is the plainest choice of every generator: generation ends.

/// A source of choices.
pub(crate) struct Dice<'a> {
    source: Source<'a>,
}

enum Source<'a> {
    Seed(u64),
    Bytes(&'a [u8]),
}

impl<'a> Dice<'a> {
    pub(crate) fn seeded(seed: u64) -> Self {
        // Neighbouring seeds must not give neighbouring sequences.
        Self { source: Source::Seed(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ 0x9e37_79b9) }
    }

    pub(crate) fn of_bytes(bytes: &'a [u8]) -> Self {
        Self { source: Source::Bytes(bytes) }
    }

    /// Any number.
    pub(crate) fn word(&mut self) -> u64 {
        match &mut self.source {
            Source::Seed(state) => {
                // SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators).
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut word = *state;
                word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
                word ^ word >> 31
            }
            Source::Bytes(bytes) => {
                let (taken, rest) = bytes.split_at(bytes.len().min(8));
                *bytes = rest;
                taken.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
            }
        }
    }

    /// A number from 0 to `bound - 1`; of a fuzzer's bytes it takes one.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let word = match &mut self.source {
            Source::Bytes(bytes) if bound <= 256 => match bytes.split_first() {
                Some((&byte, rest)) => {
                    *bytes = rest;
                    u64::from(byte)
                }
                None => 0,
            },
            _ => self.word(),
        };
        (word % bound as u64) as usize
    }

    /// True in one of `n` cases.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    pub(crate) fn pick<'t, T>(&mut self, choices: &'t [T]) -> &'t T {
        &choices[self.below(choices.len())]
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
