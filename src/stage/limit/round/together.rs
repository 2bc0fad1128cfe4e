//! Calls of one request before all limits of one place: what they cost together is debited at once, or nothing is.
//!
//! ```text
//! calls ─▶ items, those of one subject of one bucket made one ─▶ a round like any other
//! ```
//!
//! Calls of several rules may meet in one bucket, that of a policy which the rules share.

use std::sync::Arc;

use super::super::{Limits, Place, limits_of};
use super::{Costs, Item, Limiter, Progress, Refusal, Round};
use crate::call::{Call, Notes};
use crate::store::clock;

/// What calls take together.
pub(in crate::stage) struct Debit {
    round: Round,
    progress: Progress,
    /// Places among the calls at once, until their holder is dropped.
    pub held: Vec<Box<dyn Send>>,
}

/// How calls follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// At once, but never more than so many: they take as many places at most.
    AtOnce(u32),
    /// One after the other: they take one place between them.
    InTurn,
}

impl Debit {
    /// Debits what needs no answer of a store. Each call comes with its weight, which multiplies what its rule says
    /// that it costs.
    pub(in crate::stage) fn begin<'c>(
        limiter: &Arc<Limiter>,
        place: Place,
        calls: impl Iterator<Item = (&'c Call, u64)>,
        order: Order,
    ) -> Result<Self, Refusal> {
        let mut round = Round { items: Default::default(), now: clock::now() };
        let mut limits = None;
        for (call, weight) in calls {
            let Some((all, rule)) = limits_of(&call.snapshot, call) else { continue };
            limits.get_or_insert_with(|| call.snapshot.live.get::<Arc<Limits>>().cloned());
            let mut costs = Costs::default();
            for bucket in rule.at(place) {
                let Some(mut item) = Item::of(limiter, all, bucket, call, &mut costs)? else { continue };
                item.cost = item.cost.saturating_mul(weight);
                call.notes.costs(item.cost);
                round.join(item, order);
            }
        }
        let mut held = Vec::new();
        let progress = match limits.flatten() {
            Some(limits) => {
                round.enter(limiter, &limits, &mut held)?;
                round.begin_all(limiter)?
            }
            None => Progress::Passed,
        };
        Ok(Self { round, progress, held })
    }

    /// Asks the stores that have to be asked.
    pub(in crate::stage) async fn finish(mut self, limiter: &Limiter) -> Result<Self, Refusal> {
        if matches!(self.progress, Progress::Asking) {
            self.round.ask(limiter).await?;
            self.progress = Progress::Passed;
        }
        Ok(self)
    }

    /// Tells the client where it stands.
    pub(in crate::stage) fn tell(&self, notes: &Notes) {
        self.round.tell(notes);
    }

    pub(in crate::stage) fn give_back(mut self, limiter: &Limiter) {
        self.round.give_back(limiter);
    }
}

impl Round {
    /// Adds what one call takes of a subject to what others take of it.
    fn join(&mut self, item: Item, order: Order) {
        let is_same = |known: &&mut Item| known.bucket.name == item.bucket.name && known.words == item.words;
        match self.items.iter_mut().find(is_same) {
            Some(known) => {
                known.cost = known.cost.saturating_add(item.cost);
                if let Order::AtOnce(max) = order {
                    known.places = known.places.saturating_add(1).min(max);
                }
            }
            None => self.items.push(item),
        }
    }
}
