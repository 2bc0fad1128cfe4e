//! Room 6: the innermost service. A [`Call`] becomes gRPC messages, the backend's messages a [`Reply`].
//!
//! ```text
//! body → assemble (captures + query + JSON) → gRPC frames → upstream → messages → JSON
//! ```
//!
//! A call whose request is in wire form already is only framed, and its reply stays as it comes.
//!
//! Unary and streaming part ways here, once. The body is pulled here and nowhere earlier, so that
//! whatever the stages refuse costs no reading.

mod http_body;
mod message;
mod streaming;
mod unary;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tower::Service;

use crate::call::{Call, Failure, Reply};
use crate::policy::balance::Balance;
use crate::policy::verdict::patience;
use crate::route::Binding;
use crate::snapshot::Snapshot;
use crate::upstream::{Backends, Mirror, Mirrors, Terms, Upstream, Worker};

pub use message::VALIDATION;
pub use unary::{Rendered, rendered};

/// Carries the calls of one worker to the backends of their snapshots.
#[derive(Clone)]
pub struct Transcoder {
    worker: Arc<Worker>,
}

impl Transcoder {
    pub fn new(worker: Worker) -> Self {
        Self { worker: Arc::new(worker) }
    }
}

impl Service<Call> for Transcoder {
    type Response = Reply;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let backend = call.snapshot.live.get::<Backends>().and_then(|backends| backends.get(call.service));
        let backend = backend.expect("a rule leads to a service of its snapshot");
        let upstream = backend.upstream(&self.worker).clone();
        if let Some(trail) = &call.trail {
            trail.admitted(Instant::now(), upstream.service());
        }
        if call.binding.client_streaming || call.binding.server_streaming {
            Box::pin(streaming::transcode(upstream, call))
        } else {
            let mirror = mirror(&call, &self.worker);
            Box::pin(unary::transcode(upstream, call, mirror))
        }
    }
}

/// Where a copy of a call goes, its hash there, and who sends it.
type Mirroring = (Upstream, Option<u64>, Arc<Mirror>);

/// Who gets a copy of a unary call, if anybody does.
fn mirror(call: &Call, worker: &Worker) -> Option<Mirroring> {
    let mirrors = call.snapshot.live.get::<Arc<Mirrors>>()?;
    let mirror = mirrors.rules.get(usize::try_from(call.binding.rule).ok()?)?.as_ref()?;
    if !mirror.wants(call.service, call.binding.is_read_only()) {
        return None;
    }
    let backend = call.snapshot.live.get::<Backends>().and_then(|backends| backends.get(mirror.service))?;
    let upstream = backend.upstream(worker).clone();
    let key = key(&upstream, call);
    Some((upstream, key, Arc::clone(mirror)))
}

/// The hash of what keeps calls together at one endpoint, where the service deals them by that.
fn key(upstream: &Upstream, call: &Call) -> Option<u64> {
    match &upstream.cluster().config().balance {
        Balance::Hash(key) => call.hash_of(key),
        _ => None,
    }
}

/// What the rule of a call says of it to the protection of its service.
fn terms(snapshot: &Snapshot, binding: &Binding, service: usize) -> Terms {
    let rule = snapshot.rule(binding);
    let destination = rule.destinations.of(service);
    let is_stream = binding.client_streaming || binding.server_streaming;
    Terms {
        retry: destination.retry.clone(),
        is_idempotent: binding.is_idempotent,
        priority: (!is_stream).then_some(rule.priority),
        patience: patience(destination.timeout),
        server_streaming: binding.server_streaming,
        is_copy: false,
    }
}
