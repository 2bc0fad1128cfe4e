//! One connection for each worker, opened on its first call: a connection belongs to the runtime that reads it.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use tonic::transport::{Channel, Endpoint};

/// The connections of all workers to one endpoint.
#[derive(Debug)]
pub(super) struct WorkerChannels(Arc<Endpoint>);

thread_local! {
    /// Those of this worker. Few: one for each service that is asked, and those of snapshots that are ending.
    static CHANNELS: RefCell<Vec<(Weak<Endpoint>, Channel)>> = const { RefCell::new(Vec::new()) };
}

impl WorkerChannels {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self(Arc::new(endpoint))
    }

    /// The connection of this worker; must be called on its runtime.
    pub(super) fn of_this_worker(&self) -> Channel {
        CHANNELS.with_borrow_mut(|channels| {
            let is_ours = |owner: &Weak<Endpoint>| std::ptr::eq(owner.as_ptr(), Arc::as_ptr(&self.0));
            if let Some((_, channel)) = channels.iter().find(|(owner, _)| is_ours(owner)) {
                return channel.clone();
            }
            channels.retain(|(owner, _)| owner.strong_count() > 0);
            let channel = self.0.connect_lazy();
            channels.push((Arc::downgrade(&self.0), channel.clone()));
            channel
        })
    }
}
