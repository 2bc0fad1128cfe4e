//! Room 5: the stages between a frontend and the transcoder, as tower layers.
//!
//! [`Stages`] is the table: reading order is running order, one name and one file a stage. A stage judges a
//! call by its head; it never reads the body and never sees the client's protocol. What a stage holds
//! for the length of a call, it holds until the last message of a streamed reply.

pub mod access;
pub mod auth;
pub mod authorize;
pub mod cache;
mod deprecated;
mod facts;
pub mod fallback;
mod in_flight;
pub mod judge;
pub mod limit;
pub mod operation;
mod protect;
pub mod rollout;

use std::sync::Arc;

use tower::Service;

use crate::call::{Call, Failure, Reply};
use crate::telemetry::WorkerMetrics;

use access::Doorkeeper;
use auth::Authenticate;
use authorize::Authorize;
use cache::Cached;
use deprecated::Deprecated;
use fallback::FallenBack;
use in_flight::InFlight;
use judge::Judged;
use limit::{ByAddress, ByIdentity, Limiter};
use operation::Together;
use protect::{Breaker, Shed};
use rollout::Rollout;

pub use deprecated::Notices;
pub use in_flight::Calls;

/// The stages around the innermost service, outermost first.
pub type Stages<S> =
    Judged<Doorkeeper, Judged<Deprecated, Judged<ByAddress, Judged<Authenticate, Known<S>>>>>;

/// The stages of a call of which it is known whose it is.
type Known<S> = Judged<Authorize, Judged<ByIdentity, Allowed<S>>>;

/// The stages of a call that its client may make.
pub type Allowed<S> = Judged<Rollout, FallenBack<Cached<Judged<Shed, Judged<Breaker, InFlight<S>>>>>>;

/// Puts the stages around `inner`; `calls` is what all workers count together, `metrics` what one counts. The second
/// is for the calls that one request opens together.
pub fn stack<S>(inner: S, calls: &Calls, metrics: &Arc<WorkerMetrics>) -> (Stages<S>, Together<Allowed<S>>)
where
    S: Stage + Clone + Send + 'static,
    S::Future: Send,
{
    let limiter = Limiter::new(metrics.clone());
    let in_flight = InFlight::new(inner, calls.clone());
    let protected = Judged::new(Shed, Judged::new(Breaker, in_flight));
    let kept = FallenBack::new(Cached::new(protected), metrics.clone());
    let routed = Judged::new(Rollout::new(metrics.clone()), kept);
    let together = Together::new(limiter.clone(), routed.clone(), metrics);
    let by_identity = Judged::new(ByIdentity(limiter.clone()), routed);
    let authorize = Judged::new(Authorize::new(metrics.clone()), by_identity);
    let authenticate = Judged::new(Authenticate::new(metrics.clone()), authorize);
    let deprecated = Judged::new(Deprecated, Judged::new(ByAddress(limiter), authenticate));
    (Judged::new(Doorkeeper, deprecated), together)
}

/// A service that answers calls.
pub trait Stage: Service<Call, Response = Reply, Error = Failure> {}

impl<S: Service<Call, Response = Reply, Error = Failure>> Stage for S {}
