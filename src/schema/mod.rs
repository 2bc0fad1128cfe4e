//! What exists: descriptor bytes become a [`Schema`], the type system every other room reads.
//!
//! ```text
//! bytes → load (all problems at once) → lower editions → prost-reflect pool → Schema → MessagePlan (lazily)
//! ```
//!
//! May import `status` only. prost-reflect stays the authority on descriptors (names, options, comments);
//! a [`MessagePlan`](plan::MessagePlan) is the compiled form of one message type, made on its first use,
//! and is all that the codec ever looks at.

pub mod plan;

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use prost_reflect::{DescriptorPool, EnumDescriptor, MessageDescriptor};

use plan::{EnumId, EnumPlan, MessageId, MessagePlan};

/// A descriptor pool and the plans compiled from it. Immutable; shared by `Arc` in a snapshot.
#[derive(Debug)]
pub struct Schema {
    pool: DescriptorPool,
    traits: Traits,
    messages: Vec<MessageDescriptor>,
    enums: Vec<EnumDescriptor>,
    message_ids: HashMap<Box<str>, MessageId>,
    enum_ids: HashMap<Box<str>, EnumId>,
    message_plans: Box<[OnceLock<Box<MessagePlan>>]>,
    enum_plans: Box<[OnceLock<Box<EnumPlan>>]>,
}

/// What editions can say and the lowered proto2/proto3 forms cannot: exceptions by full name.
///
/// Lowering fills this; it is empty for a pool of proto2 and proto3 files alone. Where a name is
/// absent, the syntax of the (lowered) file decides.
#[derive(Clone, Debug, Default)]
pub struct Traits {
    /// Fields with implicit presence in a file lowered to proto2.
    pub implicit: HashSet<Box<str>>,
    /// Enums that are open although their (lowered) file is proto2.
    pub open_enums: HashSet<Box<str>>,
    /// Enums that are closed although their (lowered) file is proto3.
    pub closed_enums: HashSet<Box<str>>,
    /// String fields whose UTF-8 validation is the reverse of their syntax's.
    pub utf8_flipped: HashSet<Box<str>>,
}

impl Schema {
    /// Indexes a pool. Cheap beside building the pool: no plan is compiled yet.
    pub fn new(pool: DescriptorPool, traits: Traits) -> Self {
        let messages: Vec<_> = pool.all_messages().collect();
        let enums: Vec<_> = pool.all_enums().collect();
        let message_ids =
            messages.iter().zip(0..).map(|(m, id)| (m.full_name().into(), MessageId(id))).collect();
        let enum_ids = enums.iter().zip(0..).map(|(e, id)| (e.full_name().into(), EnumId(id))).collect();
        let message_plans = messages.iter().map(|_| OnceLock::new()).collect();
        let enum_plans = enums.iter().map(|_| OnceLock::new()).collect();
        Self { pool, traits, messages, enums, message_ids, enum_ids, message_plans, enum_plans }
    }

    pub fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    pub fn traits(&self) -> &Traits {
        &self.traits
    }

    /// The message type called `full_name` (no leading dot).
    pub fn message_id(&self, full_name: &str) -> Option<MessageId> {
        self.message_ids.get(full_name).copied()
    }

    pub fn enum_id(&self, full_name: &str) -> Option<EnumId> {
        self.enum_ids.get(full_name).copied()
    }

    /// The plan of a message type, compiled on first use.
    #[inline]
    pub fn message(&self, id: MessageId) -> &MessagePlan {
        let slot = &self.message_plans[id.0 as usize];
        match slot.get() {
            Some(plan) => plan,
            None => slot.get_or_init(|| Box::new(MessagePlan::compile(self, id))),
        }
    }

    /// The plan of an enum type, compiled on first use.
    #[inline]
    pub fn enumeration(&self, id: EnumId) -> &EnumPlan {
        let slot = &self.enum_plans[id.0 as usize];
        match slot.get() {
            Some(plan) => plan,
            None => slot.get_or_init(|| Box::new(EnumPlan::compile(self, id))),
        }
    }

    /// The descriptor that a plan was compiled from.
    pub fn descriptor(&self, id: MessageId) -> &MessageDescriptor {
        &self.messages[id.0 as usize]
    }

    pub fn enum_descriptor(&self, id: EnumId) -> &EnumDescriptor {
        &self.enums[id.0 as usize]
    }
}
