//! What was found about a token, remembered for a while: a verified signature need not be verified again.
//!
//! The key is the SHA-256 of the token with the generation of the keys that judged it, so that no token is
//! kept in memory and no verdict outlives its keys. The table has fixed sets of a few places, each under
//! its own lock: bounded without bookkeeping, and two requests seldom meet. A refusal never takes the place of an
//! accepted token, so that a stranger who sends rubbish cannot make the gateway forget its clients.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

use crate::policy::identity::Identity;

use super::provider::Refusal;

const SETS: usize = 1024;
const PLACES: usize = 8;

/// The SHA-256 of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Digest([u8; 32]);

/// What a token was found to be.
pub(super) type Finding = Result<Arc<Identity>, Refusal>;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Verdicts {
    sets: Box<[Mutex<Vec<Remembered>>]>,
}

#[derive(Debug)]
struct Remembered {
    digest: Digest,
    generation: u64,
    /// From this second on it is forgotten.
    until_s: u64,
    finding: Finding,
}

impl Digest {
    pub(super) fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }

    fn set(&self) -> usize {
        usize::from(u16::from_le_bytes([self.0[0], self.0[1]])) % SETS
    }
}

impl Verdicts {
    pub(super) fn new() -> Self {
        Self { sets: (0..SETS).map(|_| Mutex::default()).collect() }
    }

    /// What was found about this token under these keys, if it still holds.
    pub(super) fn recall(&self, digest: &Digest, generation: u64, now_s: u64) -> Option<Finding> {
        let set = self.set(digest).lock().unwrap_or_else(PoisonError::into_inner);
        set.iter()
            .find(|entry| entry.digest == *digest)
            .filter(|entry| entry.generation == generation && now_s < entry.until_s)
            .map(|entry| entry.finding.clone())
    }

    /// Remembers a finding until the second `until_s`, if there is a place for it.
    pub(super) fn remember(
        &self,
        digest: Digest,
        generation: u64,
        until_s: u64,
        finding: Finding,
        now_s: u64,
    ) {
        let entry = Remembered { digest, generation, until_s, finding };
        let mut set = self.set(&digest).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = set.iter().position(|other| other.digest == digest) {
            set[place] = entry;
        } else if set.len() < PLACES {
            set.push(entry);
        } else if let Some(place) = victim(&set, generation, now_s, entry.finding.is_ok()) {
            set[place] = entry;
        }
    }

    fn set(&self, digest: &Digest) -> &Mutex<Vec<Remembered>> {
        &self.sets[digest.set()]
    }
}

/// Whose place is taken: what is over first, then a refusal, then the accepted token that ends soonest.
fn victim(set: &[Remembered], generation: u64, now_s: u64, is_accepted: bool) -> Option<usize> {
    let rank = |entry: &Remembered| match entry {
        entry if entry.until_s <= now_s || entry.generation != generation => (0, 0),
        Remembered { finding: Err(_), .. } => (1, entry.until_s),
        Remembered { finding: Ok(_), .. } => (2, entry.until_s),
    };
    let (place, (class, _)) =
        set.iter().map(rank).enumerate().min_by_key(|(_, rank)| *rank).expect("a full set has places");
    (class < 2 || is_accepted).then_some(place)
}

#[cfg(test)]
mod tests {
    use crate::policy::identity::{Profile, Proven};

    use super::*;

    const REFUSED: Refusal = Refusal::Invalid("forged");

    fn accepted() -> Arc<Identity> {
        Profile::new("corp").identify(Proven::default())
    }

    /// A digest of the first set.
    fn digest_of_one_set(number: u8) -> Digest {
        let mut bytes = [0; 32];
        bytes[31] = number;
        Digest(bytes)
    }

    #[test]
    fn verdicts_hold_until_their_time_under_their_keys() {
        let verdicts = Verdicts::new();
        let digest = Digest::of("token");
        verdicts.remember(digest, 1, 100, Ok(accepted()), 0);
        assert!(verdicts.recall(&digest, 1, 99).is_some());
        assert!(verdicts.recall(&digest, 1, 100).is_none());
        assert!(verdicts.recall(&digest, 2, 99).is_none());
        assert!(verdicts.recall(&Digest::of("token "), 1, 99).is_none());
        verdicts.remember(digest, 2, 100, Err(REFUSED), 0);
        assert_eq!(verdicts.recall(&digest, 2, 99), Some(Err(REFUSED)));
    }

    #[test]
    fn refusals_never_take_the_place_of_accepted_tokens() {
        let verdicts = Verdicts::new();
        for number in 0..8 {
            verdicts.remember(digest_of_one_set(number), 1, 100, Ok(accepted()), 0);
        }
        verdicts.remember(digest_of_one_set(8), 1, 200, Err(REFUSED), 0);
        assert!(verdicts.recall(&digest_of_one_set(8), 1, 0).is_none());
        assert!((0..8).all(|number| verdicts.recall(&digest_of_one_set(number), 1, 0).is_some()));
        // One that is over gives way.
        verdicts.remember(digest_of_one_set(8), 1, 200, Err(REFUSED), 100);
        assert!(verdicts.recall(&digest_of_one_set(8), 1, 100).is_some());
    }

    #[test]
    fn a_full_set_forgets_refusals_first() {
        let verdicts = Verdicts::new();
        for number in 0..8 {
            let finding = if number == 5 { Err(REFUSED) } else { Ok(accepted()) };
            verdicts.remember(digest_of_one_set(number), 1, 100 + u64::from(number), finding, 0);
        }
        verdicts.remember(digest_of_one_set(8), 1, 100, Ok(accepted()), 0);
        assert!(verdicts.recall(&digest_of_one_set(5), 1, 0).is_none());
        verdicts.remember(digest_of_one_set(9), 1, 500, Ok(accepted()), 0);
        assert!(verdicts.recall(&digest_of_one_set(0), 1, 0).is_none());
        assert_eq!(verdicts.sets.iter().map(|set| set.lock().expect("ours").len()).max(), Some(PLACES));
    }
}
