//! Which of several services a call goes to: that of the first case that holds, otherwise by shares of all calls, and
//! the same side for who is to keep it.
//!
//! ```text
//! cases ─▶ a condition holds: its service      false, or without a value: the next one
//! a key ─▶ rendezvous by weight: the same side in every process, and a weight that rises only draws callers to it
//! none  ─▶ each in its turn, as often as its weight says; all workers count together
//! ```

use std::sync::atomic::{AtomicU64, Ordering};

use super::balance::tier::{Slot, Tier};
use super::balance::{HashKey, hash};
use super::condition::{Condition, EvaluationError, Subject};

/// The most that a weight says.
pub const WEIGHT_MAX: u32 = 10_000;

/// The services of a rule and their shares.
#[derive(Debug)]
pub struct Split {
    sides: Box<[Side]>,
    sticky: Option<Sticky>,
    tier: Tier,
    turns: AtomicU64,
}

/// A service and its share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Its index among all services.
    pub service: usize,
    /// By which callers keep to it: an index is another after the next change.
    pub name: Box<str>,
    /// Against the others'; 0: nobody goes there yet.
    pub weight: u32,
}

/// Calls that a service gets before shares count.
#[derive(Debug)]
pub struct Case {
    pub condition: Condition,
    /// Its index among all services.
    pub service: usize,
}

/// The service of the first case that holds for a call; `None`: none does.
///
/// A condition without a value does not hold: whom a rollout cannot place goes where everybody does. What is not
/// there at all is how most calls differ from those that are meant; any other reason is `failed`'s to hear.
pub fn first_case(
    cases: &[Case],
    subject: &Subject<'_>,
    mut failed: impl FnMut(EvaluationError),
) -> Option<usize> {
    let mut holds = |case: &&Case| match case.condition.evaluate(subject) {
        Ok(holds) => holds,
        Err(error) if error.is_absence() => false,
        Err(error) => {
            failed(error);
            false
        }
    };
    cases.iter().find(|case| holds(case)).map(|case| case.service)
}

/// Who keeps a side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// What tells callers apart.
    pub key: HashKey,
    /// The cookie that is given to who has none.
    pub cookie: Option<FreshCookie>,
}

/// A cookie of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreshCookie {
    pub name: Box<str>,
    pub max_age_s: u64,
}

impl Split {
    /// Sides of which at least one has a weight, and who keeps his.
    pub fn new(sides: Vec<Side>, sticky: Option<Sticky>) -> Self {
        let weighty = sides.iter().enumerate().filter(|(_, side)| side.weight > 0);
        let slot = |(member, side): (usize, &Side)| Slot {
            member,
            hash: hash(side.name.as_bytes()),
            // Weights are small enough to be exact.
            weight: side.weight.min(WEIGHT_MAX) as f32,
        };
        let tier = Tier::new(weighty.map(slot).collect());
        Self { sides: sides.into(), sticky, tier, turns: AtomicU64::new(0) }
    }

    pub fn sides(&self) -> &[Side] {
        &self.sides
    }

    /// Who keeps a side.
    pub fn sticky(&self) -> Option<&Sticky> {
        self.sticky.as_ref()
    }

    /// The index of the service for a call with this key, or for the next one without.
    pub fn choose(&self, key: Option<u64>) -> Option<usize> {
        let side = match key {
            Some(key) => self.tier.by_hash(key),
            None => self.tier.in_turn(|| self.turns.fetch_add(1, Ordering::Relaxed)),
        };
        self.sides.get(side?).map(|side| side.service)
    }
}

/// The same sides for the same callers, however many turns have been taken.
impl PartialEq for Split {
    fn eq(&self, other: &Self) -> bool {
        self.sides == other.sides && self.sticky == other.sticky
    }
}

impl Eq for Split {}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::policy::condition::{Captured, NoCaptures, RequestTypes};

    fn split(weights: &[(&str, u32)]) -> Split {
        let side = |(service, (name, weight)): (usize, &(&str, u32))| Side {
            service,
            name: (*name).into(),
            weight: *weight,
        };
        Split::new(weights.iter().enumerate().map(side).collect(), None)
    }

    fn caller(number: u32) -> Option<u64> {
        Some(hash(format!("caller {number}").as_bytes()))
    }

    #[test]
    fn turns_are_taken_as_often_as_weights_say() {
        let check = |weights: &[(&str, u32)], expected: &[usize]| {
            let split = split(weights);
            let mut counts = vec![0; weights.len()];
            (0..2000).for_each(|_| counts[split.choose(None).expect("a side")] += 1);
            let is_near = |(count, expected): (&usize, &usize)| count.abs_diff(*expected) <= 4;
            assert!(counts.iter().zip(expected).all(is_near), "{weights:?}: {counts:?}");
        };
        check(&[("a", 80), ("b", 20)], &[1600, 400]);
        check(&[("a", 95), ("b", 5)], &[1900, 100]);
        check(&[("a", 1), ("b", 1)], &[1000, 1000]);
        check(&[("a", 1), ("b", 2), ("c", 1)], &[500, 1000, 500]);
        check(&[("a", 0), ("b", 7)], &[0, 2000]);
        check(&[("a", 9999), ("b", 1)], &[2000, 0]);
        assert_eq!(split(&[("a", 0)]).choose(None), None);
    }

    #[test]
    fn callers_keep_their_side_in_about_their_share() {
        let split = split(&[("a", 80), ("b", 20)]);
        let count = (0..10_000).filter(|number| split.choose(caller(*number)) == Some(1)).count();
        assert!((1_800..2_200).contains(&count), "{count}");
    }

    #[test]
    fn sides_are_the_same_in_every_process() {
        let split = split(&[("orders", 95), ("orders-next", 5)]);
        let next: Vec<_> = (0..100).filter(|number| split.choose(caller(*number)) == Some(1)).collect();
        assert_eq!(next, SIDES);
    }

    /// Pinned: who finds another list here moves callers of everybody.
    const SIDES: [u32; 4] = [10, 56, 60, 77];

    #[test]
    fn weights_that_rise_move_only_whom_they_must() {
        let weights = [0, 1, 5, 20, 50, 90, 100];
        for pair in weights.windows(2) {
            let [before, after] = [pair[0], pair[1]].map(|next| split(&[("a", 100 - next), ("b", next)]));
            for number in 0..2000 {
                let sides = [&before, &after].map(|split| split.choose(caller(number)));
                assert!(sides[0] == sides[1] || sides == [Some(0), Some(1)], "{pair:?} {number} {sides:?}");
            }
        }
        // Where another comes, nobody changes between those that are there, whatever their order.
        let [before, after] = [split(&[("a", 3), ("b", 1)]), split(&[("a", 3), ("b", 1), ("c", 1)])];
        for number in 0..2000 {
            let sides = [&before, &after].map(|split| split.choose(caller(number)));
            assert!(sides[0] == sides[1] || sides[1] == Some(2), "{number} {sides:?}");
        }
    }

    /// A head that says nothing of the message.
    struct Nothing;

    impl Captured for Nothing {
        fn text(&self, _field: &str) -> Option<Cow<'_, str>> {
            None
        }

        fn bytes(&self, _field: &str) -> usize {
            0
        }
    }

    #[test]
    fn the_first_case_that_holds_decides() {
        let types = RequestTypes { has_country: false, has_asn: false, captures: &NoCaptures };
        let check = |conditions: &[&str], expected: Option<usize>, failures: usize| {
            let cases: Vec<_> = conditions
                .iter()
                .enumerate()
                .map(|(service, text)| Case {
                    condition: Condition::compile(text, &types).expect("a good condition"),
                    service,
                })
                .collect();
            let mut failed = 0;
            let mut headers = http::HeaderMap::new();
            headers.insert("x-level", http::HeaderValue::from_static("high"));
            let subject = Subject {
                identity: None,
                method: "GET",
                path: "/v1/x",
                host: None,
                rpc: "t.S.M",
                headers: &headers,
                address: [127, 0, 0, 1].into(),
                scheme: "http",
                country: None,
                asn: None,
                now: 0,
                captured: &Nothing,
            };
            assert_eq!(first_case(&cases, &subject, |_| failed += 1), expected, "{conditions:?}");
            assert_eq!(failed, failures, "{conditions:?}");
        };
        check(&[], None, 0);
        check(&["true", "true"], Some(0), 0);
        check(&["false", "request.path == \"/v1/x\"", "true"], Some(1), 0);
        check(&["false", "false"], None, 0);
        // What is not there is no failure; what does not suit is one, and the next case is asked.
        check(&["request.headers[\"x-beta\"] == \"1\"", "claims.beta == true", "true"], Some(2), 0);
        check(&["int(request.headers[\"x-level\"]) > 3", "true"], Some(1), 1);
        check(&["true", "int(request.headers[\"x-level\"]) > 3"], Some(0), 0);
    }
}
