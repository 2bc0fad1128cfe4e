//! Who may be picked: the members that are reachable and well, those of our own zone before the others.
//!
//! ```text
//! all ─ refusing ones left out ─ unreachable ones left out ─┬ half of all are well ─▶ the well ones ─▶ own zone
//!                                                           │                       first, others by its lack
//!                                                           └ fewer: panic ─▶ the reachable ones of any zone
//! ```
//!
//! When most are unwell, the verdict on them is likelier wrong than right, and the few that are left would go
//! under. What cannot be reached is no matter of opinion: it is left out as long as anything can be. What refuses is
//! left out whatever the others are: of nothing but refusing members, nobody is picked.

use std::time::Duration;

use super::tier::{Slot, Tier};

/// Below this share of members that are usable, all that can be reached are used.
const PANIC_SHARE: f32 = 0.5;

/// The own zone takes all calls while this share of it is usable; below, others take over in proportion.
const ZONE_SHARE: f32 = 0.7;

/// A member that comes, or comes back, begins with this share of its weight.
const RAMP_MIN: f32 = 0.1;

/// One member, as of now.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// The hash of its name.
    pub hash: u64,
    /// As it counts now; above zero.
    pub weight: f32,
    /// Whether it is where we are; true for all where zones are not told.
    pub is_near: bool,
    pub standing: Standing,
}

/// What is known of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Usable,
    /// It can be reached and does not do its work: ejected, or unhealthy by its own word.
    Unwell,
    /// Nothing can be sent there.
    Unreachable,
    /// Nothing is to be sent there: its breaker is open.
    Refusing,
}

/// Who may be picked until a member changes.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    near: Tier,
    far: Tier,
    /// Of 2³², how much `near` takes.
    near_share: u64,
    is_panic: bool,
}

impl Roster {
    /// From the members in the order of their places.
    pub fn new(members: &[Member]) -> Self {
        let count_of = |standing| members.iter().filter(|member| member.standing == standing).count();
        let [usable, unreachable, refusing] =
            [Standing::Usable, Standing::Unreachable, Standing::Refusing].map(count_of);
        let tier = |takes: &dyn Fn(&Member) -> bool| {
            let taken = members.iter().enumerate().filter(|(_, member)| takes(member));
            Tier::new(
                taken
                    .map(|(place, member)| Slot { member: place, hash: member.hash, weight: member.weight })
                    .collect(),
            )
        };
        let whole = |near: Tier, is_panic| Self { near, far: Tier::default(), near_share: 1 << 32, is_panic };
        if unreachable + refusing == members.len() {
            // A call must meet some refusal, or find that one of them is back.
            return whole(tier(&|member| member.standing == Standing::Unreachable), false);
        }
        if (usable as f32) < PANIC_SHARE * members.len() as f32 {
            let is_left_out =
                |member: &Member| matches!(member.standing, Standing::Unreachable | Standing::Refusing);
            return whole(tier(&|member| !is_left_out(member)), true);
        }
        let is_usable = |member: &Member| member.standing == Standing::Usable;
        let near = tier(&|member| is_usable(member) && member.is_near);
        let far = tier(&|member| is_usable(member) && !member.is_near);
        if far.slots().is_empty() {
            return whole(near, false);
        }
        let near_count = members.iter().filter(|member| member.is_near).count();
        let share = if near_count == 0 {
            0.0
        } else {
            (near.slots().len() as f64 / near_count as f64 / f64::from(ZONE_SHARE)).min(1.0)
        };
        Self { near, far, near_share: (share * (1_u64 << 32) as f64) as u64, is_panic: false }
    }

    /// The members among which a call is dealt; `draw` is uniform over all of `u32`.
    pub fn tier(&self, draw: u32) -> &Tier {
        if u64::from(draw) < self.near_share { &self.near } else { &self.far }
    }

    /// The same without some of the members, who are told by their places; none are left out where nobody would stay.
    #[must_use]
    pub fn without(&self, is_left_out: impl Fn(usize) -> bool) -> Self {
        let kept = |tier: &Tier| {
            let slots = tier.slots().iter().filter(|slot| !is_left_out(slot.member));
            Tier::new(slots.copied().collect())
        };
        let (near, far) = (kept(&self.near), kept(&self.far));
        let near_share = match (near.slots().is_empty(), far.slots().is_empty()) {
            (true, true) => return self.clone(),
            (true, false) => 0,
            (false, true) => 1 << 32,
            (false, false) => self.near_share,
        };
        Self { near, far, near_share, is_panic: self.is_panic }
    }

    /// Whether so few members are usable that all are used.
    pub fn is_panic(&self) -> bool {
        self.is_panic
    }
}

/// The share of its weight that counts for a member that has been there for `age`.
pub fn ramp(age: Duration, slow_start: Duration) -> f32 {
    if age >= slow_start { 1.0 } else { (age.as_secs_f32() / slow_start.as_secs_f32()).max(RAMP_MIN) }
}
