//! How a node asks a shared store less often than its clients ask it: by taking units in advance.
//!
//! ```text
//!          ┌ units left, lease alive ─▶ spend, no question asked
//! a call ──┼ refused before, not yet time ─▶ refuse, no question asked
//!          ├ somebody is asking for more than himself ─▶ wait for that answer, and look again
//!          └ otherwise ─▶ ask for more than this call costs, as fast as calls come
//! ```
//!
//! What a lease holds was debited at the store before it is spent, so that no node ever admits more than the
//! limit. It may admit less: a lease ends after 100 ms, and what was not spent is lost to a rate. It is not
//! lost to a quota: the node keeps it and asks for so much less the next time.

use super::limit::Limit;

/// What a node knows of one key.
#[derive(Clone, Debug, Default)]
pub struct Lease {
    /// Debited at the store, not spent.
    left: u64,
    until_ns: u64,
    refused: Option<Refused>,
    demand: Demand,
    /// A question for more than one call is under way.
    is_asking: bool,
    /// Questions without an answer so far: who waited for one of them has none either.
    failures: u32,
}

/// An answer that is remembered.
#[derive(Clone, Copy, Debug)]
struct Refused {
    cost: u64,
    /// When to ask again.
    recheck_ns: u64,
    /// What the client is told.
    retry_ns: u64,
}

/// How many units are asked of this node, as a moving average.
#[derive(Clone, Copy, Debug, Default)]
struct Demand {
    per_second: f64,
    begin_ns: u64,
    units: u64,
}

/// What to do with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Admitted.
    Spend,
    /// Refused for this long.
    Refuse { retry_ns: u64 },
    /// Ask the store.
    Ask(Question),
    /// Somebody is asking: what comes back may be enough. `failures` is [`Lease::failures`] of now.
    Wait { failures: u32 },
}

/// What to ask the store, and to be handed back with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Units that are welcome; those of the call are needed.
    pub most: u64,
    /// Units that the quotas of the key were charged for, that are unspent and the store's again.
    pub back: u64,
    /// Asks for more than itself, and is the only one at this time that does.
    is_leader: bool,
}

/// How long units may be held, and over how long the demand is averaged.
const LEASE_NS: u64 = 100_000_000;

/// A refusal is not remembered for longer: a quota may be raised, or given back to.
const REMEMBERED_NS_MAX: u64 = 1_000_000_000;

/// A key that is leased is not asked for again at once, when the next single unit is there.
const REST_NS: u64 = 10_000_000;

/// Below this rate every call is asked for: there is little to save, and nothing to lose.
const EXACT_BELOW_PER_SECOND: f64 = 20.0;

/// Of a quota that is nearly spent only so small a part is taken in advance.
const QUOTA_SHARE: u64 = 20;

impl Question {
    /// Asks for one call and nothing beside it.
    pub fn alone(cost: u64) -> Self {
        Self { most: cost, back: 0, is_leader: false }
    }
}

impl Lease {
    /// What to do with a call of `cost` units; `most` is [`most`] of its limits.
    pub fn step(&mut self, now_ns: u64, cost: u64, most: u64) -> Step {
        self.demand.add(now_ns, cost);
        self.step_again(now_ns, cost, most)
    }

    /// What to do with a call that has waited.
    pub fn step_again(&mut self, now_ns: u64, cost: u64, most: u64) -> Step {
        if let Some(refused) = self.refused {
            if now_ns >= refused.recheck_ns {
                self.refused = None;
            } else if cost >= refused.cost {
                return Step::Refuse { retry_ns: refused.retry_ns.saturating_sub(now_ns) };
            }
        }
        if now_ns < self.until_ns && cost <= self.left {
            self.left -= cost;
            return Step::Spend;
        }
        if most <= cost {
            // One unit for one call: there is nothing to wait for.
            let back = std::mem::take(&mut self.left);
            return Step::Ask(Question { back, ..Question::alone(cost) });
        }
        if self.is_asking {
            return Step::Wait { failures: self.failures };
        }
        let wanted = (self.demand.estimate() * (LEASE_NS as f64 / 1e9) / 2.0) as u64;
        self.is_asking = true;
        let back = std::mem::take(&mut self.left);
        Step::Ask(Question { most: wanted.min(most).max(cost), back, is_leader: true })
    }

    /// The store debited `granted` units, of which the call takes `cost`.
    pub fn granted(&mut self, now_ns: u64, question: Question, granted: u64, cost: u64) {
        self.answered(question);
        let rest = granted.saturating_sub(cost);
        self.left += rest;
        if rest > 0 {
            self.until_ns = now_ns + LEASE_NS;
        }
    }

    /// The store refused `cost` units for `retry_ns`.
    pub fn refused(&mut self, now_ns: u64, question: Question, retry_ns: u64, cost: u64) {
        self.answered(question);
        // A refusal debits nothing, so that nothing was given back either.
        self.left += question.back;
        // Of a bucket that is drawn on by leases several units are worth waiting for: it keeps them meanwhile.
        let retry_ns = if question.most > cost { retry_ns.max(REST_NS) } else { retry_ns };
        self.refused = Some(Refused {
            cost,
            recheck_ns: now_ns.saturating_add(retry_ns.min(REMEMBERED_NS_MAX)),
            retry_ns: now_ns.saturating_add(retry_ns),
        });
    }

    /// No answer came. What was to be given back may have been: it is forgotten.
    pub fn failed(&mut self, question: Question) {
        self.answered(question);
        self.failures = self.failures.wrapping_add(1);
    }

    /// Whoever asked has gone away: who waited for the answer asks.
    pub fn abandoned(&mut self, question: Question) {
        self.answered(question);
    }

    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// A call that was admitted is refused elsewhere: its units serve the next one, if a lease is alive.
    pub fn give_back(&mut self, now_ns: u64, cost: u64) -> bool {
        let is_alive = now_ns < self.until_ns;
        if is_alive {
            self.left += cost;
        }
        is_alive
    }

    /// Whether the lease is over and nothing is worth remembering; what is left belongs to the quotas.
    pub fn is_idle(&self, now_ns: u64) -> bool {
        let is_refusing = self.refused.is_some_and(|refused| now_ns < refused.recheck_ns);
        !self.is_asking && !is_refusing && now_ns >= self.demand.begin_ns.saturating_add(10 * LEASE_NS)
    }

    /// Units that were debited and not spent.
    pub fn left(&self) -> u64 {
        self.left
    }

    fn answered(&mut self, question: Question) {
        if question.is_leader {
            self.is_asking = false;
        }
    }
}

impl Demand {
    fn add(&mut self, now_ns: u64, units: u64) {
        let elapsed_ns = now_ns.saturating_sub(self.begin_ns);
        if elapsed_ns >= LEASE_NS {
            let latest = self.units as f64 * 1e9 / elapsed_ns as f64;
            // After a pause the past says nothing.
            let is_pause = elapsed_ns > 10 * LEASE_NS;
            self.per_second = if is_pause { latest } else { f64::midpoint(self.per_second, latest) };
            (self.begin_ns, self.units) = (now_ns, 0);
        }
        self.units = self.units.saturating_add(units);
    }

    /// At least what has come already in this tenth of a second.
    fn estimate(&self) -> f64 {
        self.per_second.max(self.units as f64 * 1e9 / LEASE_NS as f64)
    }
}

/// The most units that one of `nodes` may take in advance from limits with so many `left`; 1 is none.
pub fn most(limits: impl IntoIterator<Item = (Limit, u64)>, nodes: u32) -> u64 {
    let nodes = u64::from(nodes.max(1));
    let mut most = u64::MAX;
    for (limit, left) in limits {
        most = most.min(match limit {
            Limit::Rate(rate) if rate.per_second() < EXACT_BELOW_PER_SECOND => 1,
            Limit::Rate(rate) => rate.burst() / (2 * nodes),
            Limit::Quota(quota) => left.min(quota.units()) / (QUOTA_SHARE * nodes),
        });
    }
    most.max(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::bucket::Rate;
    use crate::policy::quota::{OverQuota, Period, Quota};

    const MS: u64 = 1_000_000;
    const START: u64 = 1_000_000 * MS;

    fn ask(step: Step) -> Question {
        match step {
            Step::Ask(question) => question,
            other => panic!("{other:?}"),
        }
    }

    /// One call a millisecond for a second, all admitted by the store; how often it is asked.
    fn asked_in_a_second(most: u64, grant: impl Fn(u64) -> u64) -> usize {
        let mut lease = Lease::default();
        let mut count = 0;
        for at in 0..1000 {
            let now = START + at * MS;
            if let Step::Ask(question) = lease.step(now, 1, most) {
                count += 1;
                lease.granted(now, question, grant(question.most), 1);
            }
        }
        count
    }

    #[test]
    fn a_busy_key_asks_seldom_and_an_exact_one_always() {
        assert!(asked_in_a_second(500, |most| most) < 40);
        assert_eq!(asked_in_a_second(1, |most| most), 1000);
        // The store grants what there is, which may be less.
        assert!((100..500).contains(&asked_in_a_second(500, |most| most.min(5))));
    }

    #[test]
    fn units_last_a_tenth_of_a_second() {
        let mut lease = Lease::default();
        let question = ask(lease.step(START, 1, 100));
        lease.granted(START, question, 3, 1);
        assert_eq!(lease.step(START + 99 * MS, 1, 100), Step::Spend);
        assert_eq!(ask(lease.step(START + 100 * MS, 1, 100)).back, 1);
        assert_eq!(lease.left(), 0);
    }

    #[test]
    fn what_costs_more_than_is_left_asks() {
        let mut lease = Lease::default();
        let question = ask(lease.step(START, 1, 100));
        lease.granted(START, question, 3, 1);
        assert_eq!(ask(lease.step(START, 5, 100)), Question { most: 5, back: 2, is_leader: true });
    }

    #[test]
    fn one_call_at_a_time_asks_and_the_others_wait() {
        let mut lease = Lease::default();
        for _ in 0..50 {
            let question = ask(lease.step(START, 1, 1));
            lease.granted(START, question, 1, 1);
        }
        let leader = ask(lease.step(START, 1, 100));
        assert!(leader.most > 1);
        assert_eq!(lease.step(START, 1, 100), Step::Wait { failures: 0 });
        // For what nobody takes in advance nobody waits.
        let other = ask(lease.step(START, 1, 1));
        assert_eq!(other.most, 1);
        lease.granted(START, other, 1, 1);
        assert_eq!(lease.step(START, 1, 100), Step::Wait { failures: 0 });
        lease.granted(START, leader, 2, 1);
        assert_eq!(lease.step_again(START, 1, 100), Step::Spend);
        let next = ask(lease.step_again(START, 1, 100));
        lease.failed(next);
        assert_eq!(lease.failures(), 1);
        let last = ask(lease.step_again(START, 1, 100));
        lease.abandoned(last);
        assert_eq!(lease.failures(), 1);
        assert!(ask(lease.step_again(START, 1, 100)).most > 1);
    }

    #[test]
    fn refusals_are_remembered_until_their_time() {
        let mut lease = Lease::default();
        let question = ask(lease.step(START, 2, 1));
        lease.refused(START, question, 50 * MS, 2);
        assert_eq!(lease.step(START + 20 * MS, 2, 1), Step::Refuse { retry_ns: 30 * MS });
        // Less may fit.
        assert!(matches!(lease.step(START + 20 * MS, 1, 1), Step::Ask(_)));
        assert!(matches!(lease.step(START + 50 * MS, 2, 1), Step::Ask(_)));
        // A long one is told in full and asked again every second.
        let question = ask(lease.step(START + 60 * MS, 2, 1));
        lease.refused(START, question, 3_600_000 * MS, 2);
        assert_eq!(lease.step(START + 999 * MS, 2, 1), Step::Refuse { retry_ns: 3_599_001 * MS });
        assert!(matches!(lease.step(START + 1000 * MS, 2, 1), Step::Ask(_)));
    }

    #[test]
    fn an_empty_bucket_that_is_leased_is_let_fill() {
        let mut lease = Lease::default();
        for _ in 0..50 {
            let question = ask(lease.step(START, 1, 1));
            lease.granted(START, question, 1, 1);
        }
        let question = ask(lease.step(START, 1, 100));
        lease.refused(START, question, MS, 1);
        assert_eq!(lease.step(START + MS, 1, 100), Step::Refuse { retry_ns: 9 * MS });
        assert!(matches!(lease.step(START + 10 * MS, 1, 100), Step::Ask(_)));
    }

    #[test]
    fn keys_that_nobody_uses_are_idle() {
        let mut lease = Lease::default();
        let question = ask(lease.step(START, 1, 100));
        assert!(!lease.is_idle(START + 1000 * MS));
        lease.granted(START, question, 3, 1);
        assert!(!lease.is_idle(START + 999 * MS));
        assert!(lease.is_idle(START + 1000 * MS));
        assert_eq!(lease.left(), 2);
    }

    #[test]
    fn units_of_a_call_that_is_refused_elsewhere_serve_the_next() {
        let mut lease = Lease::default();
        let question = ask(lease.step(START, 1, 100));
        lease.granted(START, question, 2, 1);
        assert!(lease.give_back(START, 1));
        assert_eq!(lease.left(), 2);
        assert!(!lease.give_back(START + 100 * MS, 1));
    }

    #[test]
    fn slow_limits_and_small_rests_are_exact() {
        let rate = |units, burst| {
            let rate = Rate::new(units, Duration::from_secs(1), burst).expect("a rate");
            (Limit::Rate(rate), 0)
        };
        let quota = |left| {
            let quota = Quota::new(10_000, Period::Month, OverQuota::Deny).expect("a quota");
            (Limit::Quota(quota), left)
        };
        assert_eq!(most([rate(19, 100)], 1), 1);
        assert_eq!(most([rate(20, 100)], 1), 50);
        assert_eq!(most([rate(1000, 100)], 4), 12);
        assert_eq!(most([rate(1000, 1)], 4), 1);
        assert_eq!(most([rate(1000, 100), rate(10, 10)], 1), 1);
        assert_eq!(most([rate(1000, 1000), quota(10_000)], 1), 500);
        assert_eq!(most([rate(1000, 1000), quota(100)], 1), 5);
        assert_eq!(most([quota(19)], 1), 1);
    }
}
