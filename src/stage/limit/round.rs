//! One call before all limits of one place: what is asked, what was taken, what goes back.
//!
//! ```text
//! slots ─▶ look in memory ─▶ leases, shared stores ─▶ debit in memory ─▶ pass
//!   └────────────┴──────────────────┴──────────────────────┴─▶ refuse: all that was taken goes back
//! ```

mod together;

use std::sync::Arc;

use smallvec::SmallVec;

use super::bucket::{Allowance, Allowed, Bucket, Mode, OnStoreError, Store};
use super::cost::{Cost, Costs};
use super::refusal::{Reason, Refusal};
use super::subject::{self, Words};
use super::{Limiter, Limits};
use crate::call::{Call, Notes};
use crate::policy::limit::{Demand, Kind, Limit, Limited, Now, Standing, Tightest};
use crate::store::clock;
use crate::store::key::Subject;
use crate::store::memory::{Asked, Few, MemoryStore};
use crate::store::redis::{Asking, Begun, Group, Paid, StoreError, Verdict};

pub(in crate::stage) use together::Debit;
pub use together::Order;

/// See the module's documentation.
pub(super) struct Round {
    items: SmallVec<[Item; 2]>,
    now: Now,
}

/// Whether the call has its answer.
pub(super) enum Progress {
    Passed,
    /// A store has to be asked.
    Asking,
}

/// One bucket, and the subject of it that the call belongs to.
struct Item {
    bucket: Arc<Bucket>,
    /// What the call costs under this bucket.
    cost: u64,
    /// Places that it takes among the calls at once.
    places: u32,
    limits: Arc<[Allowed]>,
    words: Words,
    subject: Subject,
    standings: Few<Standing>,
    states: Few<u64>,
    source: Source,
    asking: Option<Box<Asking>>,
}

/// Where an item's units were taken.
enum Source {
    Nowhere,
    Memory,
    Lease,
    Store(Box<Paid>),
    /// This node's share, while the store does not answer.
    Fallback {
        nodes: u32,
    },
}

impl Round {
    /// Whom the buckets count when they count this call, and for how much.
    pub(super) fn of(
        limiter: &Limiter,
        limits: &Limits,
        buckets: &[Arc<Bucket>],
        call: &Call,
    ) -> Result<Self, Refusal> {
        let (mut items, mut costs) = (SmallVec::new(), Costs::default());
        for bucket in buckets {
            items.extend(Item::of(limiter, limits, bucket, call, &mut costs)?);
        }
        Ok(Self { items, now: clock::now() })
    }

    /// Does everything that needs no answer of a store.
    pub(super) fn start(
        &mut self,
        limiter: &Arc<Limiter>,
        limits: &Limits,
        call: &mut Call,
    ) -> Result<Progress, Refusal> {
        self.enter(limiter, limits, &mut call.held)?;
        self.begin_all(limiter)
    }

    /// Does everything that needs no answer of a store, but for the places.
    fn begin_all(&mut self, limiter: &Arc<Limiter>) -> Result<Progress, Refusal> {
        for item in self.items.iter_mut().filter(|item| item.bucket.mode == Mode::Shadow) {
            item.shadow(limiter, self.now);
        }
        self.items.retain(|item| item.bucket.mode == Mode::Enforce);
        if self.items.iter().all(|item| item.memory().is_some()) {
            return self.debit(limiter).map(|()| Progress::Passed);
        }
        self.judge_memory(false)?;
        for index in 0..self.items.len() {
            if let Err(refusal) = self.begin(limiter, index) {
                self.give_back(limiter);
                return Err(refusal);
            }
        }
        if self.items.iter().any(|item| item.asking.is_some()) {
            return Ok(Progress::Asking);
        }
        self.debit(limiter).map(|()| Progress::Passed)
    }

    /// Asks the stores, and debits what is in memory.
    pub(super) async fn ask(&mut self, limiter: &Limiter) -> Result<(), Refusal> {
        for index in 0..self.items.len() {
            if let Err(refusal) = self.ask_one(limiter, index).await {
                self.give_back(limiter);
                return Err(refusal);
            }
        }
        self.now = clock::now();
        self.debit(limiter)
    }

    /// The call goes on: the client is told where it stands, and so are the limits that follow.
    pub(super) fn pass(self, call: &mut Call, goes_on: bool) {
        let mut states = SmallVec::new();
        for item in &self.items {
            call.notes.costs(item.cost);
            if goes_on {
                states.push(item.source.number());
                states.extend(matches!(item.bucket.cost, Cost::Counted(_)).then_some(item.cost));
                let taken = item.states.iter().copied().chain(std::iter::repeat(0));
                states.extend(taken.take(item.limits.len()));
            }
        }
        self.tell(&call.notes);
        call.limited = goes_on.then(|| Box::new(Limited { states }));
    }

    /// Tells the client of the limit that has the least left: at once, although the next judge may know a tighter one,
    /// because authentication in between may refuse.
    fn tell(&self, notes: &Notes) {
        let (mut least, mut tightest) = (notes.limit_left(), None);
        for item in self.items.iter().filter(|item| !item.bucket.quiet) {
            for (allowed, standing) in item.limits.iter().zip(&item.standings) {
                if least.is_none_or(|least| standing.remaining < least) {
                    (least, tightest) = (Some(standing.remaining), Some((allowed, standing)));
                }
            }
        }
        if let Some((allowed, standing)) = tightest {
            let shown = allowed.shown.clone();
            notes.stands_at(Some(Tightest { shown, standing: *standing }));
        }
    }

    /// Gives back what an earlier round of the same buckets took, by what it left in [`Call::limited`].
    pub(super) fn give_back_earlier(
        limiter: &Limiter,
        limits: &Limits,
        buckets: &[Arc<Bucket>],
        call: &Call,
        states: &[u64],
    ) {
        let mut states = states.iter().copied();
        let now = clock::now();
        for bucket in buckets.iter().filter(|bucket| bucket.mode == Mode::Enforce) {
            let Ok(Some(allowed)) = allowed(limits, bucket, call) else { continue };
            let Some(source) = states.next() else { return };
            // What it was then: by now, an expression may say something else.
            let cost = match bucket.cost {
                Cost::Units(units) => units,
                Cost::Counted(_) => states.next().unwrap_or_default(),
            };
            let mut item = Item::new(bucket, allowed, cost, call);
            item.states = states.by_ref().take(item.limits.len()).collect();
            item.source = match (source, &bucket.store) {
                (1, _) => Source::Memory,
                (2, _) => Source::Lease,
                (3, Store::Shared(store)) => {
                    Source::Store(store.paid(&item.group(&item.rates()), &item.states))
                }
                (4.., _) => Source::Fallback { nodes: u32::try_from(source - 4).unwrap_or(1) },
                _ => Source::Nowhere,
            };
            item.give_back(limiter, now);
        }
    }

    /// A place among the calls at once, for each bucket that bounds them.
    fn enter(
        &self,
        limiter: &Limiter,
        limits: &Limits,
        held: &mut Vec<Box<dyn Send>>,
    ) -> Result<(), Refusal> {
        for item in &self.items {
            let Some(calls_max) = item.bucket.concurrency else { continue };
            let is_enforced = item.bucket.mode == Mode::Enforce;
            if is_enforced && item.places > calls_max {
                return Err(Refusal::new(Reason::Never, None));
            }
            for _ in 0..item.places {
                let (slot, is_within) = limits.slots.enter(item.subject, calls_max);
                if !is_within && is_enforced {
                    return Err(Refusal::new(Reason::Concurrency, Some(1_000_000_000)));
                }
                limiter.metrics.limits_shadowed.add(u64::from(!is_within));
                held.push(Box::new(slot));
            }
        }
        Ok(())
    }

    /// Debits what is in memory; when that refuses, everything goes back.
    fn debit(&mut self, limiter: &Limiter) -> Result<(), Refusal> {
        self.judge_memory(true).inspect_err(|_| self.give_back(limiter))
    }

    /// Judges the items in memory, store by store, those of one store as one.
    fn judge_memory(&mut self, is_debit: bool) -> Result<(), Refusal> {
        for first in 0..self.items.len() {
            let Some(store) = self.items[first].memory().cloned() else { continue };
            let is_same = |item: &Item| item.memory().is_some_and(|other| Arc::ptr_eq(other, &store));
            if self.items[..first].iter().any(is_same) {
                continue;
            }
            let mut asked: Few<Asked> = Few::new();
            self.items.iter().filter(|item| is_same(item)).for_each(|item| item.ask(1, &mut asked));
            let verdict =
                if is_debit { store.take(&asked, self.now) } else { store.would_take(&asked, self.now) };
            let items = self.items.iter_mut().filter(|item| is_same(item));
            match verdict {
                Ok(taken) if is_debit => {
                    let mut taken = taken.iter();
                    for item in items {
                        for taken in taken.by_ref().take(item.limits.len()) {
                            item.standings.push(taken.standing);
                            item.states.push(taken.cell);
                        }
                        item.source = Source::Memory;
                    }
                }
                Ok(_) => {}
                Err(refusal) => {
                    let standing = store.standing(&asked[refusal.index], self.now);
                    let mut limits = items.flat_map(|item| {
                        let is_quiet = item.bucket.quiet;
                        item.limits.iter().map(move |allowed| (allowed, is_quiet))
                    });
                    let (allowed, is_quiet) =
                        limits.nth(refusal.index).expect("one limit for each that is asked");
                    return Err(Refusal::by(allowed, is_quiet, standing, refusal.retry_ns));
                }
            }
        }
        Ok(())
    }

    /// Takes from the lease of a shared item, or prepares the question.
    fn begin(&mut self, limiter: &Limiter, index: usize) -> Result<(), Refusal> {
        let item = &mut self.items[index];
        let Store::Shared(store) = &item.bucket.store else { return Ok(()) };
        if let Some(allowed) = item.overtaxed() {
            let full = Standing { remaining: allowed.limit.capacity(), reset_ns: 0 };
            return Err(Refusal::by(allowed, item.bucket.quiet, full, None));
        }
        let limits = item.rates();
        match store.begin(&item.group(&limits)) {
            Begun::Taken(standings) => (item.standings, item.source) = (standings, Source::Lease),
            Begun::Refused(refused) => return Err(item.refusal(&refused.standings, refused.retry_ns)),
            Begun::Ask(asking) => {
                limiter.metrics.limit_store_questions.add(1);
                item.asking = Some(asking);
            }
        }
        Ok(())
    }

    async fn ask_one(&mut self, limiter: &Limiter, index: usize) -> Result<(), Refusal> {
        let item = &mut self.items[index];
        let (Some(asking), Store::Shared(store)) = (item.asking.take(), &item.bucket.store) else {
            return Ok(());
        };
        let link = limiter.link(store);
        match asking.ask(&link).await {
            Ok(Verdict::Taken(standings, None)) => {
                (item.standings, item.source) = (standings, Source::Lease);
                Ok(())
            }
            Ok(Verdict::Taken(standings, Some(paid))) => {
                item.states = paid.states().iter().copied().collect();
                (item.standings, item.source) = (standings, Source::Store(paid));
                Ok(())
            }
            Ok(Verdict::Refused(refused)) => Err(item.refusal(&refused.standings, refused.retry_ns)),
            Err(error) => item.without_store(limiter, &error),
        }
    }

    fn give_back(&mut self, limiter: &Limiter) {
        let now = clock::now();
        for item in &mut self.items {
            item.give_back(limiter, now);
        }
    }
}

impl Item {
    /// What a bucket counts when it counts this call; `None` where the call does not concern it.
    fn of(
        limiter: &Limiter,
        limits: &Limits,
        bucket: &Arc<Bucket>,
        call: &Call,
        costs: &mut Costs,
    ) -> Result<Option<Self>, Refusal> {
        let item = allowed(limits, bucket, call).and_then(|allowed| {
            let Some(allowed) = allowed else { return Ok(None) };
            let cost = costs.of(&bucket.cost, call).ok_or(Refusal::new(Reason::Cost, None))?;
            Ok(Some(Self::new(bucket, allowed, cost, call)))
        });
        match item {
            Err(_) if bucket.mode == Mode::Shadow => {
                limiter.metrics.limits_shadowed.add(1);
                Ok(None)
            }
            item => item,
        }
    }

    fn new(bucket: &Arc<Bucket>, allowed: Arc<[Allowed]>, cost: u64, call: &Call) -> Self {
        let words = subject::words(bucket, call);
        let subject = bucket.cells.of(&words);
        Self {
            bucket: bucket.clone(),
            cost,
            places: 1,
            limits: allowed,
            words,
            subject,
            standings: Few::new(),
            states: Few::new(),
            source: Source::Nowhere,
            asking: None,
        }
    }

    /// A limit that never allows as much as this call costs.
    fn overtaxed(&self) -> Option<&Allowed> {
        self.limits.iter().find(|Allowed { limit, .. }| limit.refuses() && self.cost > limit.capacity())
    }

    fn memory(&self) -> Option<&Arc<MemoryStore>> {
        match &self.bucket.store {
            Store::Memory(store) => Some(store),
            Store::Shared(_) => None,
        }
    }

    /// The question to cells in this process, of which each node has a share.
    fn ask(&self, nodes: u32, asked: &mut Few<Asked>) {
        for (index, allowed) in self.limits.iter().enumerate() {
            let (limit, cost) = match nodes {
                1 => (allowed.limit, self.cost),
                _ => {
                    let share = allowed.limit.share(nodes);
                    (share, self.cost.min(share.capacity()))
                }
            };
            asked.push(Asked {
                key: self.subject.cell(index, limit.kind()),
                spill: self.bucket.cells.spill().cell(index, limit.kind()),
                demand: Demand { limit, cost },
            });
        }
    }

    fn rates(&self) -> Few<Limit> {
        self.limits.iter().map(|allowed| allowed.limit).collect()
    }

    fn group<'g>(&'g self, limits: &'g [Limit]) -> Group<'g> {
        Group {
            name: &self.bucket.name,
            words: &self.words,
            key: self.subject.cell(0, Kind::Rate),
            limits,
            cost: self.cost,
        }
    }

    /// Why a shared store refuses: the limit with the least left is to blame.
    fn refusal(&self, standings: &[Standing], retry_ns: u64) -> Refusal {
        let known = self.limits.iter().zip(standings).filter(|(allowed, _)| allowed.limit.refuses());
        let least = known.min_by_key(|(_, standing)| standing.remaining);
        match least.or_else(|| self.limits.first().map(|allowed| (allowed, &EMPTY))) {
            Some((allowed, standing)) => {
                // Answers overtake one another: what was left before is not what was refused.
                let remaining = standing.remaining.min(self.cost.saturating_sub(1));
                let standing = Standing { remaining, ..*standing };
                Refusal::by(allowed, self.bucket.quiet, standing, Some(retry_ns))
            }
            None => Refusal::new(Reason::Rate, Some(retry_ns)),
        }
    }

    /// What `on_store_error` says.
    fn without_store(&mut self, limiter: &Limiter, error: &StoreError) -> Result<(), Refusal> {
        let Store::Shared(store) = &self.bucket.store else { return Ok(()) };
        limiter.metrics.limit_store_failures.add(1);
        if store.is_time_to_tell() {
            let (name, then) = (&*store.settings().name, self.bucket.on_store_error);
            tracing::warn!(store = name, %error, on_store_error = ?then, "a store of limits does not answer");
        }
        match self.bucket.on_store_error {
            OnStoreError::Allow => Ok(()),
            OnStoreError::Deny => Err(Refusal::new(Reason::StoreDown, Some(1_000_000_000))),
            OnStoreError::Local => {
                let (nodes, now) = (store.nodes(), clock::now());
                let mut asked = Few::new();
                self.ask(nodes, &mut asked);
                match store.fall_back().take(&asked, now) {
                    Ok(taken) => {
                        self.standings = taken.iter().map(|taken| taken.standing).collect();
                        self.states = taken.iter().map(|taken| taken.cell).collect();
                        self.source = Source::Fallback { nodes };
                        Ok(())
                    }
                    Err(refusal) => {
                        let standing = store.fall_back().standing(&asked[refusal.index], now);
                        let allowed = &self.limits[refusal.index];
                        Err(Refusal::by(allowed, self.bucket.quiet, standing, refusal.retry_ns))
                    }
                }
            }
        }
    }

    /// Counts as an enforced limit would, and lets the call pass whatever comes of it.
    fn shadow(&mut self, limiter: &Arc<Limiter>, now: Now) {
        let refused = |limiter: &Limiter| limiter.metrics.limits_shadowed.add(1);
        match &self.bucket.store {
            Store::Memory(store) => {
                let mut asked = Few::new();
                self.ask(1, &mut asked);
                if store.take(&asked, now).is_err() {
                    refused(limiter);
                }
            }
            Store::Shared(_) if self.overtaxed().is_some() => refused(limiter),
            Store::Shared(store) => match store.begin(&self.group(&self.rates())) {
                Begun::Taken(_) => {}
                Begun::Refused(_) => refused(limiter),
                Begun::Ask(asking) => {
                    limiter.metrics.limit_store_questions.add(1);
                    let (link, limiter) = (limiter.link(store), limiter.clone());
                    // Nobody waits for what changes nothing.
                    tokio::spawn(async move {
                        match asking.ask(&link).await {
                            Ok(Verdict::Taken(..)) => {}
                            Ok(Verdict::Refused(_)) => refused(&limiter),
                            Err(_) => limiter.metrics.limit_store_failures.add(1),
                        }
                    });
                }
            },
        }
    }

    fn give_back(&mut self, limiter: &Limiter, now: Now) {
        let source = std::mem::replace(&mut self.source, Source::Nowhere);
        let (store, nodes): (&MemoryStore, u32) = match (&source, &self.bucket.store) {
            (Source::Memory, Store::Memory(store)) => (store, 1),
            (Source::Fallback { nodes }, Store::Shared(store)) => (store.fall_back(), *nodes),
            (Source::Lease, Store::Shared(store)) => {
                store.unspend(self.group(&[]).key, self.cost);
                return;
            }
            (Source::Store(paid), Store::Shared(store)) => {
                store.give_back(&limiter.link(store), paid.clone());
                return;
            }
            _ => return,
        };
        let mut asked = Few::new();
        self.ask(nodes, &mut asked);
        for (asked, taken) in asked.iter().zip(&self.states) {
            store.give_back(asked, *taken, now);
        }
    }
}

/// Nothing left, for how long nobody said.
static EMPTY: Standing = Standing { remaining: 0, reset_ns: 0 };

/// The limits that hold for a call under a bucket; `None` where the bucket does not concern it.
fn allowed(limits: &Limits, bucket: &Bucket, call: &Call) -> Result<Option<Arc<[Allowed]>>, Refusal> {
    let otherwise = match &bucket.allowance {
        Allowance::Fixed(plan) => return Ok(Some(plan.limits.clone())),
        Allowance::OfPlan { otherwise } => otherwise,
    };
    // A rule that asks nobody who they are has no plans; what limits it goes by address.
    let Some(identity) = &call.identity else { return Ok(None) };
    let own = identity.consumer.as_ref().and_then(|consumer| consumer.plan.as_ref());
    match own.or(otherwise.as_ref()).and_then(|name| limits.plans.get(name)) {
        Some(plan) => Ok(Some(plan.limits.clone())),
        None => Err(Refusal::new(Reason::NoPlan, None)),
    }
}

impl Source {
    /// For [`Call::limited`]; [`Round::give_back_earlier`] reads it.
    fn number(&self) -> u64 {
        match self {
            Self::Nowhere => 0,
            Self::Memory => 1,
            Self::Lease => 2,
            Self::Store(_) => 3,
            Self::Fallback { nodes } => 4 + u64::from(*nodes),
        }
    }
}
