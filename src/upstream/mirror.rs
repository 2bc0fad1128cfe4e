//! Copies of calls, sent to another service by a task of their own.
//!
//! ```text
//! copy ─▶ room? ─▶ a task: one attempt ─▶ reply, read to its end and thrown away ─▶ counted
//!           └ none ─▶ dropped, counted
//! ```
//!
//! Nothing of a copy comes back to the call: it is no part of the breaker, the retries and the load of any service, and
//! nobody waits for it, not even the end of the process: the task goes with its worker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderName, HeaderValue};

use super::request::{GrpcRequest, RequestMessages};
use super::{Upstream, passage};
use crate::policy::metadata::MIRRORED;
use crate::policy::mirror::{Budget, MirrorSettings, Place};
use crate::status::{Code, Status};
use crate::telemetry::MirrorCounts;

/// The part of [`Snapshot::live`](crate::snapshot::Snapshot::live) that says which calls are copied.
#[derive(Debug, Default)]
pub struct Mirrors {
    /// By [`Binding::rule`](crate::route::Binding::rule).
    pub rules: Box<[Option<Arc<Mirror>>]>,
    /// By the name of the service; the next snapshot goes on with them.
    pub budgets: BTreeMap<Box<str>, Arc<Budget>>,
}

/// The copies of one rule's calls.
#[derive(Debug)]
pub struct Mirror {
    /// The index of the service that gets them.
    pub service: usize,
    pub settings: MirrorSettings,
    pub budget: Arc<Budget>,
    pub counts: Arc<MirrorCounts>,
}

impl Mirror {
    /// Whether a unary call to a service is copied. The one that gets the copies has it already.
    pub fn wants(&self, service: usize, is_read_only: bool) -> bool {
        let may = service != self.service && (is_read_only || self.settings.writes);
        may && (self.settings.share_percent >= 100 || self.settings.draws(passage::random()))
    }

    /// Sends a copy, or drops it where there is no room.
    pub fn send(self: Arc<Self>, upstream: Upstream, mut request: GrpcRequest) {
        let RequestMessages::One(frame) = &request.messages else { return };
        let place = match self.budget.enter(frame.len(), &self.settings) {
            Ok(place) => place,
            Err(full) => return self.counts.dropped(full),
        };
        request.metadata.insert(HeaderName::from_static(MIRRORED), HeaderValue::from_static("true"));
        let copy = Copy { mirror: self, begun: Instant::now(), code: Code::Cancelled, _place: place };
        tokio::spawn(copy.travel(upstream, request));
    }
}

/// A copy on its way; counted when it is dropped, whether it has ended or not.
struct Copy {
    mirror: Arc<Mirror>,
    begun: Instant,
    code: Code,
    _place: Place,
}

impl Copy {
    async fn travel(mut self, upstream: Upstream, request: GrpcRequest) {
        self.code = outcome(&upstream, request).await.err().map_or(Code::Ok, |status| status.code);
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.mirror.counts.ended(self.code, self.begun.elapsed());
    }
}

/// Past the protection of the service: what a copy meets is not to refuse the service's own calls.
async fn outcome(upstream: &Upstream, request: GrpcRequest) -> Result<(), Status> {
    let mut reply = upstream.attempt(request).await.map_err(|failure| failure.status)?;
    // The service bounds each message, and a unary call has one: what follows it is not waited for.
    if reply.messages.next().await.transpose()?.is_some() {
        match reply.messages.next().await.transpose()? {
            None => {}
            Some(_) => {
                return Err(super::protocol_error("the backend answered a unary call with two messages"));
            }
        }
    }
    Ok(())
}
