//! What a call costs: a number, or what an expression makes of the call.
//!
//! No call goes for free by mistake: an outcome under 1 counts as 1, for whole numbers are rounded down when they
//! are divided; a negative one, and an expression that has no value, leave the cost unknown and the call refused.

use std::sync::Arc;

use crate::call::Call;
use crate::policy::condition::{Count, Variable};
use crate::stage::facts::Facts;

/// Units that a call takes of each limit of a bucket.
#[derive(Clone, Debug)]
pub enum Cost {
    Units(u64),
    /// From 1 to [`COUNT_MAX`](crate::policy::condition::COUNT_MAX).
    Counted(Arc<Count>),
}

/// What the expressions said of one call: those that buckets share are evaluated once.
#[derive(Default)]
pub(super) struct Costs {
    last: Option<(Arc<Count>, Option<u64>)>,
}

impl Costs {
    /// `None`: nobody can tell.
    pub(super) fn of(&mut self, cost: &Cost, call: &Call) -> Option<u64> {
        let count = match cost {
            Cost::Units(units) => return Some(*units),
            Cost::Counted(count) => count,
        };
        match &self.last {
            Some((known, units)) if Arc::ptr_eq(known, count) => *units,
            _ => {
                let units = evaluate(count, call);
                self.last = Some((count.clone(), units));
                units
            }
        }
    }
}

fn evaluate(count: &Count, call: &Call) -> Option<u64> {
    let facts = Facts::of(call, count.mentions(Variable::Time));
    match count.evaluate(&facts.subject()) {
        Ok(units) => Some(units.max(1)),
        Err(error) => {
            let method = &*call.binding.method;
            tracing::debug!(method, %error, "a cost has no value for a call");
            None
        }
    }
}
