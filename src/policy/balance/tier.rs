//! Members among which a call is dealt, and the ways to pick one.
//!
//! - [`two_choices`](Tier::two_choices): the cheaper of two drawn at random. Looking at all of them would send
//!   every worker to the same one; two are enough to find those that are not slow.
//! - [`in_turn`](Tier::in_turn): a static stride. Turn `t` belongs to member `t mod n` in round `t div n`, which
//!   takes it when its weight has filled up once more since the round before, else the next turn decides. There is
//!   no state but the number of the turn, so all workers together deal exactly.
//! - [`by_hash`](Tier::by_hash): rendezvous. Each member draws a number from the key; the highest has it. When a
//!   member leaves, only its own keys move, exactly; nothing has to be built, and a thousand members cost two
//!   microseconds, where a table of them (Maglev) moves others too and takes milliseconds to build.

use super::latency::Cost;
use super::mix;

/// One that may be picked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slot {
    /// Its place among the members.
    pub member: usize,
    /// The hash of its name, which is the same in every process.
    pub hash: u64,
    /// Above zero.
    pub weight: f32,
}

/// Members in the order of their places.
#[derive(Clone, Debug, Default)]
pub struct Tier {
    slots: Box<[Slot]>,
    /// The weights, the largest of them [`STRIDE_MAX`].
    strides: Box<[u32]>,
    is_even: bool,
}

const STRIDE_MAX: u32 = u16::MAX as u32;

impl Tier {
    pub fn new(slots: Vec<Slot>) -> Self {
        let heaviest = slots.iter().map(|slot| slot.weight).fold(0.0, f32::max);
        // The lightest too has its turn some day. The cast saturates.
        let stride =
            |slot: &Slot| ((slot.weight / heaviest * STRIDE_MAX as f32).round() as u32).clamp(1, STRIDE_MAX);
        let strides: Box<[u32]> = slots.iter().map(stride).collect();
        let is_even = strides.iter().all(|stride| *stride == STRIDE_MAX);
        Self { slots: slots.into(), strides, is_even }
    }

    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The cheaper of two by `cost`, against which its weight counts; `random` is uniform over all of `u64`.
    pub fn two_choices(&self, random: u64, cost: impl Fn(usize) -> Cost) -> Option<usize> {
        let count = self.slots.len();
        if count < 2 {
            return self.slots.first().map(|slot| slot.member);
        }
        let first = below(random >> 32, count);
        // The second is drawn from the others.
        let second = below(random & u64::from(u32::MAX), count - 1);
        let second = second + usize::from(second >= first);
        let (first, second) = (self.slots.get(first)?, self.slots.get(second)?);
        let is_second = cost(second.member).is_below(second.weight, &cost(first.member), first.weight);
        Some(if is_second { second.member } else { first.member })
    }

    /// Whose turn it is; `next` gives the number of a turn that nobody else has.
    pub fn in_turn(&self, mut next: impl FnMut() -> u64) -> Option<usize> {
        let count = self.slots.len() as u64;
        if count == 0 {
            return None;
        }
        let mut turn = next();
        if !self.is_even {
            // One of them takes every turn, so that a round finds one; other workers may have taken it.
            let mut tries = 4 * count;
            while tries > 0 && !self.takes(turn % count, turn / count) {
                turn = next();
                tries -= 1;
            }
        }
        self.slots.get(index(turn % count)).map(|slot| slot.member)
    }

    /// Whether a member's weight has filled up once more in `round`. Each begins elsewhere, so that the light
    /// ones do not come all at once.
    fn takes(&self, slot: u64, round: u64) -> bool {
        let Some(stride) = self.strides.get(index(slot)).copied().map(u64::from) else { return false };
        let most = u64::from(STRIDE_MAX);
        let start = slot.wrapping_mul(most / 2);
        (stride.wrapping_mul(round).wrapping_add(start)) % most >= most - stride
    }

    /// The member that a key belongs to.
    pub fn by_hash(&self, key: u64) -> Option<usize> {
        let draw = |slot: &Slot| mix(key ^ slot.hash);
        if self.is_even {
            return self.slots.iter().max_by_key(|slot| draw(slot)).map(|slot| slot.member);
        }
        // Each waits an exponential time of its weight; the first is drawn in proportion to the weights.
        let wait = |slot: &Slot| {
            let uniform = ((draw(slot) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            -uniform.ln() / f64::from(slot.weight)
        };
        self.slots.iter().min_by(|one, two| wait(one).total_cmp(&wait(two))).map(|slot| slot.member)
    }
}

/// A number below `count` from 32 random bits.
fn below(random: u64, count: usize) -> usize {
    index(random.wrapping_mul(count as u64) >> 32)
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
