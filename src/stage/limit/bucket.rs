//! What the configuration says of a limit, as the stage has it.

use std::sync::Arc;

use http::HeaderName;

use super::cost::Cost;
use super::subject::Cells;
use crate::policy::limit::{Limit, Shown};
use crate::store::memory::MemoryStore;
use crate::store::redis::RedisStore;

/// The limits of one policy on one kind of subject. The policy's name is the bucket: rules that share the policy
/// share what it counts.
#[derive(Debug)]
pub struct Bucket {
    pub name: Arc<str>,
    /// Its place among the buckets of this name.
    pub number: u16,
    /// What tells subjects apart; all of it together.
    pub by: Box<[By]>,
    /// Where it is counted within a store.
    pub cells: Cells,
    pub allowance: Allowance,
    /// Units that a call takes of each limit.
    pub cost: Cost,
    pub store: Store,
    pub on_store_error: OnStoreError,
    pub mode: Mode,
    /// Clients are not told of it, except when they are refused.
    pub quiet: bool,
    /// Calls of a subject at once, on this node.
    pub concurrency: Option<u32>,
}

/// What tells subjects apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// The client's address; of IPv6 the first 64 bits, because a client has all of the others.
    Address,
    /// The values of a header; those without it are one subject.
    Header(HeaderName),
    /// The gRPC method.
    Method,
    /// The consumer; without one the identity, and without that the address.
    Consumer,
}

/// How much.
#[derive(Debug)]
pub enum Allowance {
    Fixed(Plan),
    /// The plan of the consumer, or this one for identities without; nobody without an identity is limited.
    OfPlan {
        otherwise: Option<Arc<str>>,
    },
}

/// Limits that go together.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub limits: Arc<[Allowed]>,
}

/// One limit, and how it is shown.
#[derive(Clone, Debug)]
pub struct Allowed {
    pub limit: Limit,
    pub shown: Arc<Shown>,
}

/// Where is counted.
#[derive(Clone, Debug)]
pub enum Store {
    Memory(Arc<MemoryStore>),
    Shared(Arc<RedisStore>),
}

/// What becomes of a call when the shared store does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnStoreError {
    /// Counted here, by this node's share of the limit.
    #[default]
    Local,
    Allow,
    /// 503.
    Deny,
}

/// What a limit does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    #[default]
    Enforce,
    /// Counts, and refuses nobody: to learn what a limit would do.
    Shadow,
}
