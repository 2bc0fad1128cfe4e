//! Rate limits, quotas and bounds on calls in flight, by address, header, method, consumer or plan.
//!
//! ```text
//! by address: ip, header, method ─▶ authentication ─▶ by identity: consumer, plan
//! ```
//!
//! Two judges of one kind. What the first debited is given back when the second refuses, so that all limits of
//! a call are debited together or not at all; a call that fails authentication stays debited, which is what
//! makes guessing slow. The calls that one request opens are debited as one (`round/together.rs`). Limits in memory
//! are debited as one; before they are, the shared ones are asked, and these get back what they gave when the memory
//! has refused meanwhile.

mod bucket;
mod cost;
mod refusal;
mod round;
mod slots;
mod subject;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::judge::{Judge, Judgement};
use crate::call::{Call, Failure, Notes};
use crate::snapshot::Snapshot;
use crate::store::key::Keys;
use crate::store::memory::MemoryStore;
use crate::store::redis::{Link, RedisStore};
use crate::telemetry::WorkerMetrics;

pub use bucket::{Allowance, Allowed, Bucket, By, Mode, OnStoreError, Plan, Store};
pub use cost::Cost;
pub use round::Order;
pub use slots::Slots;
pub use subject::Cells;

pub(super) use refusal::Refusal;
pub(super) use round::Debit;

use round::{Progress, Round};

/// All limits of a snapshot.
#[derive(Debug)]
pub struct Limits {
    pub keys: Keys,
    pub slots: Arc<Slots>,
    /// By `Binding::rule`.
    pub rules: Box<[RuleLimits]>,
    pub plans: HashMap<Arc<str>, Plan>,
    /// By name; the next snapshot goes on with those that stay the same.
    pub stores: HashMap<Arc<str>, Store>,
    /// The store of limits that name none.
    pub default_store: Arc<MemoryStore>,
}

impl Limits {
    /// Has shared stores count this node among those that share them.
    pub fn be_counted(&self) {
        for store in self.stores.values() {
            if let Store::Shared(store) = store {
                store.be_counted();
            }
        }
    }
}

/// The limits of one rule.
#[derive(Debug, Default)]
pub struct RuleLimits {
    pub by_address: Box<[Arc<Bucket>]>,
    pub by_identity: Box<[Arc<Bucket>]>,
}

/// The judge before authentication.
#[derive(Clone, Debug)]
pub struct ByAddress(pub Arc<Limiter>);

/// The judge behind authentication.
#[derive(Clone, Debug)]
pub struct ByIdentity(pub Arc<Limiter>);

/// What the judges of one worker share.
#[derive(Debug)]
pub struct Limiter {
    metrics: Arc<WorkerMetrics>,
    /// The worker's own connections.
    links: Mutex<Vec<(Weak<RedisStore>, Arc<Link>)>>,
}

/// Which of the two judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Address,
    Identity,
}

impl Judge for ByAddress {
    const NAME: &'static str = "limit";

    fn judge(&self, call: Call) -> Judgement {
        self.0.judge(call, Place::Address)
    }
}

impl Judge for ByIdentity {
    const NAME: &'static str = "limit";

    fn judge(&self, call: Call) -> Judgement {
        self.0.judge(call, Place::Identity)
    }
}

impl Limiter {
    pub fn new(metrics: Arc<WorkerMetrics>) -> Arc<Self> {
        Arc::new(Self { metrics, links: Mutex::default() })
    }

    fn judge(self: &Arc<Self>, mut call: Call, place: Place) -> Judgement {
        let snapshot = call.snapshot.clone();
        let Some((limits, rule)) = limits_of(&snapshot, &call) else { return Judgement::Silent(call) };
        let buckets = rule.at(place);
        if buckets.is_empty() {
            return Judgement::Silent(call);
        }
        let mut round = match Round::of(self, limits, buckets, &call) {
            Ok(round) => round,
            Err(refusal) => return Judgement::Refuse(self.refuse(&mut call, place, &refusal)),
        };
        match round.start(self, limits, &mut call) {
            Ok(Progress::Passed) => {
                round.pass(&mut call, place == Place::Address && !rule.by_identity.is_empty());
                Judgement::Pass(call)
            }
            Ok(Progress::Asking) => Judgement::Later(Box::pin(self.clone().ask(call, place, round))),
            Err(refusal) => Judgement::Refuse(self.refuse(&mut call, place, &refusal)),
        }
    }

    /// Goes on with what only a store can say.
    async fn ask(self: Arc<Self>, mut call: Call, place: Place, mut round: Round) -> Result<Call, Failure> {
        match round.ask(&self).await {
            Ok(()) => {
                let snapshot = call.snapshot.clone();
                let goes_on =
                    limits_of(&snapshot, &call).is_some_and(|(_, rule)| !rule.by_identity.is_empty());
                round.pass(&mut call, place == Place::Address && goes_on);
                Ok(call)
            }
            Err(refusal) => Err(self.refuse(&mut call, place, &refusal)),
        }
    }

    /// Gives back what the judge before authentication took, and tells the client when to come again.
    fn refuse(&self, call: &mut Call, place: Place, refusal: &Refusal) -> Failure {
        let snapshot = call.snapshot.clone();
        let before = call.limited.as_ref().filter(|_| place == Place::Identity);
        if let (Some(limited), Some((limits, rule))) = (before, limits_of(&snapshot, call)) {
            Round::give_back_earlier(self, limits, &rule.by_address, call, &limited.states);
        }
        call.notes.stands_at(refusal.tightest.clone());
        refusal.status().into()
    }

    /// The failure of calls that their limits refuse together.
    pub(super) fn refuse_all(notes: &Notes, refusal: &Refusal) -> Failure {
        notes.stands_at(refusal.tightest.clone());
        refusal.status().into()
    }

    /// The worker's own connection to a store.
    fn link(&self, store: &Arc<RedisStore>) -> Arc<Link> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, link)) = links.iter().find(|(known, _)| known.as_ptr() == Arc::as_ptr(store)) {
            return link.clone();
        }
        // Those of stores that a reload has done away with.
        links.retain(|(known, _)| known.strong_count() > 0);
        let link = store.link();
        links.push((Arc::downgrade(store), link.clone()));
        link
    }
}

impl RuleLimits {
    fn at(&self, place: Place) -> &[Arc<Bucket>] {
        match place {
            Place::Address => &self.by_address,
            Place::Identity => &self.by_identity,
        }
    }
}

/// The limits of a call's rule, if there are any.
fn limits_of<'s>(snapshot: &'s Snapshot, call: &Call) -> Option<(&'s Limits, &'s RuleLimits)> {
    let limits = snapshot.live.get::<Arc<Limits>>()?;
    let rule = limits.rules.get(usize::try_from(call.binding.rule).ok()?)?;
    Some((limits, rule))
}
