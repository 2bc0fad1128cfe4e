//! Room 3: the [`Snapshot`], everything that configuration and descriptors together say, frozen.
//!
//! A request takes one `Arc<Snapshot>` from the [`Catalog`] and keeps it to its end: a reload never
//! changes a request in flight. Building a snapshot is the composition root's affair; installing one is a
//! single store. May import whatever is pure.

mod compare;
mod destinations;
mod graphql;
mod surfaces;

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::Extensions;

use crate::codec::options::JsonOptions;
use crate::policy::client_address::TrustedProxies;
use crate::policy::concurrency::Priority;
use crate::policy::metadata::MetadataPolicy;
use crate::policy::rollout::Split;
use crate::policy::strip::Strip;
use crate::route::{Binding, BindingOptions};
use crate::schema::Schema;
use crate::validate::Validation;

pub use compare::{LOSSES_MAX, Losses, Shown, compare};
pub use destinations::{Destination, Destinations};
pub use graphql::{Graphql, Limits, Subscriptions, WebSockets};
pub use surfaces::{HostPattern, NoSurface, Surface, Surfaces};

/// What exists and how it is served. Immutable.
#[derive(Debug)]
pub struct Snapshot {
    pub schema: Schema,
    pub surfaces: Surfaces,
    /// What holds for some methods of a surface; [`Binding::rule`] is the index.
    pub rules: Box<[Rule]>,
    pub json: JsonOptions,
    /// What requests are held to.
    pub validation: Validation,
    pub binding: BindingOptions,
    pub metadata: MetadataPolicy,
    /// The places of the public listeners by name; some by the name that they had before, too.
    pub listeners: Box<[(Arc<str>, usize)]>,
    /// Whose word about clients is believed, by the place of the listener.
    pub proxies: Box<[TrustedProxies]>,
    /// What clients may not send, because identities are written so.
    pub strip: Strip,
    pub bounds: Bounds,
    /// What the stages hold for this snapshot: tables by rule, lists, keys. Each owner has a type of its own
    /// here; what outlives a snapshot stands behind an `Arc` in it.
    pub live: Extensions,
}

/// What holds for the methods of one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub destinations: Destinations,
    /// How one of them is chosen, where there are several.
    pub split: Option<Arc<Split>>,
    /// Which calls are shed first.
    pub priority: Priority,
    /// Whether replies may be kept.
    pub is_cached: bool,
    /// Whether requests are held to the rules of their descriptors.
    pub is_validated: bool,
}

/// Bounds on one call that do not depend on its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// A request body, or one record of a streamed one.
    pub body_bytes_max: usize,
    /// How many times as large a request body may be when it is decoded.
    pub decompression_ratio_max: u64,
    /// Broken rules that one refusal tells.
    pub violations_max: usize,
    /// Steps that the expressions of a request's rules may take together.
    pub rule_steps_max: usize,
    /// Calls in flight, in the whole process.
    pub calls_max: usize,
}

impl Snapshot {
    /// What clients see of it.
    pub const fn shown(&self) -> Shown<'_> {
        Shown { schema: &self.schema, surfaces: &self.surfaces, json: &self.json }
    }

    /// The place of a listener; none that there is for one which this snapshot does not know.
    pub fn listener(&self, name: &str) -> usize {
        // There are few, and most often one.
        let found = self.listeners.iter().find(|(listener, _)| **listener == *name);
        found.map_or(usize::MAX, |(_, place)| *place)
    }

    /// What holds for the method of a binding.
    pub fn rule(&self, binding: &Binding) -> &Rule {
        let index = usize::try_from(binding.rule).unwrap_or(usize::MAX);
        self.rules.get(index).expect("the routes were built with the rules of their snapshot")
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            body_bytes_max: 4 << 20,
            decompression_ratio_max: 100,
            violations_max: 100,
            rule_steps_max: 200_000,
            calls_max: 10_000,
        }
    }
}

/// The current snapshot.
#[derive(Debug)]
pub struct Catalog(ArcSwap<Snapshot>);

impl Catalog {
    pub fn new(snapshot: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(snapshot))
    }

    /// The snapshot for a request that begins now.
    pub fn current(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// Makes `snapshot` the one for every request from now on.
    pub fn install(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }
}
