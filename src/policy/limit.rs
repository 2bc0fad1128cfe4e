//! One limit, whatever its kind, and several of them for one request: together or not at all.
//!
//! A [`Limit`] is a rate or a quota; the state of either is a cell of eight bytes, 0 for a key never seen.
//! Who keeps the cells is not said here: `store` brings them, locked, to [`take_all`].

use std::sync::Arc;

use http::HeaderValue;
use smallvec::SmallVec;

use super::bucket::{Rate, Verdict};
use super::quota::{OverQuota, Period, Quota};

/// What a key may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    Rate(Rate),
    Quota(Quota),
}

/// What a cell of a kind means, without the numbers of its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Rate,
    Quota(Period),
}

/// A moment on both clocks: rates run on the one that is never set, quotas on the calendar's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since an origin of the process, which is well above 0.
    pub ns: u64,
    pub unix_s: u64,
}

/// What a key has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Units that would pass now.
    pub remaining: u64,
    /// Until all of them are back: the bucket full, the next window begun.
    pub reset_ns: u64,
}

/// Why a request does not pass its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which of the limits: the one that takes longest to have room.
    pub index: usize,
    /// Until every one of them has; `None` when it costs more than that limit can ever hold.
    pub retry_ns: Option<u64>,
}

/// What the limits before authentication leave for those behind it.
#[derive(Clone, Debug, Default)]
pub struct Limited {
    /// The state of each limit right after its debit, to give it back by.
    pub states: SmallVec<[u64; 4]>,
}

/// The limit that a client is told of: the one with the least units left.
#[derive(Clone, Debug)]
pub struct Tightest {
    pub shown: Arc<Shown>,
    pub standing: Standing,
}

/// How a limit is named to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// A string as RFC 9651 has them, quotes included.
    pub name: Box<str>,
    /// `RateLimit-Policy`: it, and what it allows.
    pub policy: HeaderValue,
}

/// One limit that a request asks, and for how much.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    pub limit: Limit,
    pub cost: u64,
}

impl Limit {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Rate(_) => Kind::Rate,
            Self::Quota(quota) => Kind::Quota(quota.period()),
        }
    }

    /// The most units that pass at once, or in one window.
    pub fn capacity(&self) -> u64 {
        match self {
            Self::Rate(rate) => rate.burst(),
            Self::Quota(quota) => quota.units(),
        }
    }

    /// What one of `nodes` may admit when they cannot ask each other.
    pub fn share(&self, nodes: u32) -> Self {
        match self {
            Self::Rate(rate) => Self::Rate(rate.share(nodes)),
            Self::Quota(quota) => Self::Quota(quota.share(nodes)),
        }
    }

    /// Whether a request is ever refused for it.
    pub fn refuses(&self) -> bool {
        !matches!(self, Self::Quota(quota) if quota.over() == OverQuota::Bill)
    }

    /// See [`Rate::take`] and [`Quota::take`].
    pub fn take(&self, cell: u64, now: Now, cost: u64) -> Verdict {
        match self {
            Self::Rate(rate) => rate.take(cell, now.ns, cost),
            Self::Quota(quota) => quota.take(cell, now.unix_s, cost),
        }
    }

    /// The state after `cost` units, taken with the state `taken`, are given back.
    pub fn give_back(&self, cell: u64, taken: u64, now: Now, cost: u64) -> u64 {
        match self {
            Self::Rate(rate) => rate.give_back(cell, taken, now.ns, cost),
            Self::Quota(quota) => quota.give_back(cell, taken, cost),
        }
    }

    /// What a cell says to its holder.
    pub fn standing(&self, cell: u64, now: Now) -> Standing {
        match self {
            Self::Rate(rate) => {
                Standing { remaining: rate.remaining(cell, now.ns), reset_ns: cell.saturating_sub(now.ns) }
            }
            Self::Quota(quota) => Standing {
                remaining: quota.remaining(cell, now.unix_s),
                reset_ns: (quota.period().window(now.unix_s).end_unix_s - now.unix_s)
                    .saturating_mul(1_000_000_000),
            },
        }
    }
}

impl Kind {
    /// Whether a cell says no more than none at all, so that forgetting it grants nothing.
    pub fn is_fresh(self, cell: u64, now: Now) -> bool {
        match self {
            Self::Rate => cell <= now.ns,
            Self::Quota(period) => period.is_over(cell, now.unix_s),
        }
    }
}

/// Debits every demand from the cell beside it, or none of them.
///
/// # Errors
///
/// Which limit stands in the way longest, and for how long; the cells are as they were.
pub fn take_all(demands: &[Demand], cells: &mut [u64], now: Now) -> Result<(), Refusal> {
    let mut worst: Option<Refusal> = None;
    for (index, (Demand { limit, cost }, cell)) in demands.iter().zip(cells.iter()).enumerate() {
        let retry_ns = match limit.take(*cell, now, *cost) {
            Verdict::Taken { .. } => continue,
            Verdict::Refused { retry_ns } => Some(retry_ns),
            Verdict::TooLarge => None,
        };
        let longer = worst.is_none_or(|worst| match (worst.retry_ns, retry_ns) {
            (Some(before), Some(retry_ns)) => retry_ns > before,
            (before, _) => before.is_some(),
        });
        if longer {
            worst = Some(Refusal { index, retry_ns });
        }
    }
    if let Some(refusal) = worst {
        return Err(refusal);
    }
    for (Demand { limit, cost }, cell) in demands.iter().zip(cells.iter_mut()) {
        if let Verdict::Taken { cell: after } = limit.take(*cell, now, *cost) {
            *cell = after;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Now = Now { ns: 1_000_000_000_000, unix_s: 1_795_255_200 };

    fn rate(units: u64, period_s: u64, burst: u64) -> Limit {
        Limit::Rate(Rate::new(units, Duration::from_secs(period_s), burst).expect("a rate"))
    }

    fn day(units: u64) -> Limit {
        Limit::Quota(Quota::new(units, Period::Day, OverQuota::Deny).expect("a quota"))
    }

    #[test]
    fn several_limits_are_debited_together_or_not_at_all() {
        let demands = [rate(5, 1, 5), rate(3, 60, 3), day(100)].map(|limit| Demand { limit, cost: 1 });
        let mut cells = [0; 3];
        for _ in 0..3 {
            assert_eq!(take_all(&demands, &mut cells, NOW), Ok(()));
        }
        let before = cells;
        let refusal = Refusal { index: 1, retry_ns: Some(20_000_000_000) };
        assert_eq!(take_all(&demands, &mut cells, NOW), Err(refusal));
        assert_eq!(cells, before);
        let left = |index: usize| demands[index].limit.standing(cells[index], NOW).remaining;
        assert_eq!([left(0), left(1), left(2)], [2, 0, 97]);
    }

    #[test]
    fn the_longest_wait_is_told_and_never_is_longer_than_any() {
        let check = |limits: &[(Limit, u64)], index: usize, retry_s: Option<u64>| {
            let demands: Vec<_> =
                limits.iter().map(|(limit, cost)| Demand { limit: *limit, cost: *cost }).collect();
            let mut cells = vec![0; demands.len()];
            for (cell, demand) in cells.iter_mut().zip(&demands) {
                let full = Demand { cost: demand.limit.capacity(), ..*demand };
                take_all(&[full], std::slice::from_mut(cell), NOW).expect("fits");
            }
            let expected = Err(Refusal { index, retry_ns: retry_s.map(|retry_s| retry_s * 1_000_000_000) });
            assert_eq!(take_all(&demands, &mut cells, NOW), expected);
        };
        check(&[(rate(1, 1, 1), 1), (rate(1, 60, 1), 1)], 1, Some(60));
        check(&[(rate(1, 60, 1), 1), (rate(1, 1, 1), 1)], 0, Some(60));
        check(&[(rate(1, 60, 1), 1), (day(1), 1)], 1, Some(86_400 - NOW.unix_s % 86_400));
        check(&[(rate(1, 60, 1), 2), (day(1), 1)], 0, None);
        check(&[(rate(1, 60, 1), 1), (day(1), 2)], 1, None);
    }
}
