//! Writes: a call that may have changed something makes old what was kept for its path (RFC 9111, section 4.4).
//!
//! ```text
//! unsafe verb, and a GET of the same path would be kept ─▶ inner service ─┬─ Reply ─▶ forgotten, in memory and stores
//!                                                                         └─ Failure ─▶ nothing
//! ```
//!
//! The path is compared without escapes and without its query: which of its queries a write concerns nobody says.
//! What is being fetched meanwhile is not kept. Operations of GraphQL have no path of their own and forget nothing.

use std::sync::Arc;

use super::memory::{Purge, Target};
use super::{Cache, Caching, Shared, entry};
use crate::call::{self, Call, Payload};

/// What is to be forgotten once a call has succeeded.
pub(super) struct Write {
    cache: Arc<Cache>,
    targets: Vec<Target>,
    stores: Vec<Arc<Shared>>,
}

impl Write {
    /// `None` where the call changes nothing, or nothing is kept for its path.
    pub(super) fn of(call: &Call) -> Option<Self> {
        // Deviates: to HTTP a POST is a write in any case; one whose method is declared to change nothing is none here.
        let is_write = !call.head.method.is_safe() && !call.binding.is_read_only();
        if !is_write || matches!(call.payload, Payload::Wire(_)) {
            return None;
        }
        let caching = call.snapshot.live.get::<Arc<Caching>>()?;
        let path = call.head.uri.path();
        let host = call::host(&call.head.uri, &call.head.headers).unwrap_or_default();
        let (mut targets, mut stores) = (Vec::new(), Vec::new());
        // What reads a path and what writes it may be two surfaces of one host.
        for (surface, rule) in call.snapshot.surfaces.reading(host, path) {
            match rule.map(|rule| caching.rule(rule)) {
                Some(None) => continue,
                Some(Some(rule)) => stores.extend(rule.store.clone()),
                // A document opens several calls, each under a rule of its own.
                None => stores.extend(caching.stores.values().cloned()),
            }
            let path = entry::decoded(path).into_owned();
            targets.push(Target { surface: surface.name.to_string(), path });
        }
        (!targets.is_empty()).then(|| Self { cache: Arc::clone(&caching.cache), targets, stores })
    }

    /// The call has succeeded; nobody has been told yet.
    pub(super) fn succeed(self) {
        // First, so that nothing old comes back out of a store.
        for (store, target) in
            self.stores.iter().flat_map(|store| self.targets.iter().map(move |one| (store, one)))
        {
            store.written(target);
        }
        self.cache.memory.purge(&Purge { targets: Some(self.targets), ..Purge::default() });
    }
}
