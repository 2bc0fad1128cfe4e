//! Room 3: the [`Snapshot`], everything that configuration and descriptors together say, frozen.
//!
//! A request takes one `Arc<Snapshot>` from the [`Catalog`] and keeps it to its end: a reload never
//! changes a request in flight. Building a snapshot is the composition root's affair; installing one is a
//! single store. May import whatever is pure.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::codec::options::JsonOptions;
use crate::policy::metadata::MetadataPolicy;
use crate::route::{BindingOptions, RouteTree};
use crate::schema::Schema;

/// What exists and how it is served. Immutable.
#[derive(Debug)]
pub struct Snapshot {
    pub schema: Schema,
    pub routes: RouteTree,
    pub json: JsonOptions,
    pub binding: BindingOptions,
    pub metadata: MetadataPolicy,
    pub bounds: Bounds,
}

/// Bounds on one call that do not depend on its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// A unary call as a whole; the client may ask for less, never for more.
    pub timeout: Duration,
    /// How long a stream may go without a message in either direction.
    pub stream_idle: Duration,
    /// A request body, or one record of a streamed one.
    pub body_bytes_max: usize,
    /// Calls in flight, in the whole process.
    pub calls_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            stream_idle: Duration::from_secs(300),
            body_bytes_max: 4 << 20,
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
