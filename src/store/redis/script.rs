//! The scripts that run in the store, what they are given and what they answer.

use std::sync::LazyLock;

use redis::{Script, ScriptInvocation};

use super::StoreError;
use crate::policy::lease::Question;
use crate::policy::limit::Limit;
use crate::policy::quota::{OverQuota, QUOTA_UNITS_MAX, Quota};
use crate::store::memory::Few;

static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("take.lua")));
static GIVE_BACK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("give_back.lua")));
static NODES: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("nodes.lua")));

/// The scripts count in tenths of a microsecond.
const TICK_NS: u64 = 100;

/// What the store said of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) left: u64,
    pub(super) full_in_ns: u64,
    /// When a rate is full again, by the store's clock; the end of a quota's window in seconds since 1970.
    pub(super) state: u64,
}

/// The answer to [`take`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// 0 when refused.
    pub(super) granted: u64,
    pub(super) wait_ns: u64,
    pub(super) told: Few<Told>,
}

/// Asks for `cost` units at least; `known` is what the store said last of each limit.
pub(super) fn take(
    tag: &str,
    limits: &[Limit],
    known: &[Told],
    cost: u64,
    question: Question,
    unix_s: u64,
) -> ScriptInvocation<'static> {
    let mut script = TAKE.prepare_invoke();
    script.arg(cost).arg(question.most);
    for (index, limit) in limits.iter().enumerate() {
        script.key(key(tag, index));
        match limit {
            Limit::Rate(rate) => {
                script.arg(0).arg(rate.interval_ns().div_ceil(TICK_NS)).arg(rate.burst());
            }
            Limit::Quota(quota) => {
                let back_end = known.get(index).map_or(0, |told| told.state);
                script.arg(1).arg(units(quota)).arg(question.back).arg(back_end);
                // The store's clock decides, and it need not agree on the day.
                let window = quota.period().window(unix_s);
                let next = quota.period().window(window.end_unix_s);
                script.arg(window.start_unix_s).arg(window.end_unix_s).arg(next.end_unix_s);
            }
        }
    }
    script
}

/// What is billed is never refused.
fn units(quota: &Quota) -> u64 {
    match quota.over() {
        OverQuota::Deny => quota.units(),
        OverQuota::Bill => QUOTA_UNITS_MAX,
    }
}

/// Gives `units` back to `limits`, of which the taking had left `states`.
pub(super) fn give_back(
    tag: &str,
    limits: &[Limit],
    states: &[u64],
    units: u64,
) -> ScriptInvocation<'static> {
    let mut script = GIVE_BACK.prepare_invoke();
    script.arg(units);
    for (index, (limit, state)) in limits.iter().zip(states).enumerate() {
        let interval = match limit {
            Limit::Rate(rate) => rate.interval_ns().div_ceil(TICK_NS),
            Limit::Quota(_) => 0,
        };
        script.key(key(tag, index)).arg(interval).arg(*state);
    }
    script
}

/// Says that `node` lives, and asks how many do.
pub(super) fn nodes(prefix: &str, node: &str, believed_s: u64) -> ScriptInvocation<'static> {
    let mut script = NODES.prepare_invoke();
    script.key(format!("{prefix}:nodes")).arg(node).arg(believed_s);
    script
}

/// One key a limit; what is between the braces decides the place in a cluster.
fn key(tag: &str, index: usize) -> String {
    format!("{tag}:{index}")
}

impl Answer {
    pub(super) fn read(numbers: &[i64], limits: &[Limit]) -> Result<Self, StoreError> {
        let unexpected = || StoreError::Failed("an answer of another form".to_owned());
        let numbers: Option<Vec<u64>> = numbers.iter().map(|number| u64::try_from(*number).ok()).collect();
        let numbers = numbers.ok_or_else(unexpected)?;
        let [granted, wait_us, rest @ ..] = numbers.as_slice() else { return Err(unexpected()) };
        let (told, []) = rest.as_chunks::<3>() else { return Err(unexpected()) };
        if told.len() != limits.len() {
            return Err(unexpected());
        }
        let told = told.iter().zip(limits).map(|([left, full_us, state], limit)| Told {
            left: left_of(limit, *left),
            full_in_ns: full_us.saturating_mul(1000),
            state: *state,
        });
        Ok(Self { granted: *granted, wait_ns: wait_us.saturating_mul(1000), told: told.collect() })
    }
}

/// Of a quota that is billed the store knows only how far it is from the end of numbers.
fn left_of(limit: &Limit, left: u64) -> u64 {
    match limit {
        Limit::Quota(quota) => left.saturating_sub(self::units(quota) - quota.units()),
        Limit::Rate(_) => left,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::bucket::Rate;

    #[test]
    fn answers_of_another_form_are_failures() {
        let limits = [Limit::Rate(Rate::new(10, Duration::from_secs(1), 20).expect("a rate"))];
        let check = |numbers: &[i64], expected: Option<(u64, u64)>| {
            let answer = Answer::read(numbers, &limits).ok();
            assert_eq!(answer.map(|answer| (answer.granted, answer.wait_ns)), expected, "{numbers:?}");
        };
        check(&[3, 0, 17, 300_000, 5], Some((3, 0)));
        check(&[0, 7, 0, 300_000, 5], Some((0, 7000)));
        check(&[3, 0], None);
        check(&[3], None);
        check(&[], None);
        check(&[3, 0, 17, 300_000], None);
        check(&[3, 0, 17, 300_000, 5, 1, 1, 1], None);
        check(&[-1, 0, 17, 300_000, 5], None);
    }
}
