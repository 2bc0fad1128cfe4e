//! Room 5 for calls that one request opens together: each is judged like any other, and they are debited as one.
//!
//! ```text
//! access → deprecation, each ─▶ limits by address, all ─▶ authentication → authorization, each
//!   ─▶ limits by identity, all ═▶ admitted; rollout → … → in flight, each when its turn comes
//! ```
//!
//! A call that a stage refuses costs its limits by address alone, and its neighbours go on. What limits refuse, they
//! refuse whole: nothing is debited, and nobody is called. Calls of which nothing is known beforehand, as those of
//! links, are admitted when they are, level by level.

use std::future::{Ready, poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tower::{Service, ServiceExt};

use super::Stage;
use super::access::Doorkeeper;
use super::auth::Authenticate;
use super::authorize::Authorize;
use super::deprecated::Deprecated;
use super::judge::Judged;
use super::limit::{Debit, Limiter, Order, Place, Refusal};
use crate::call::{Call, Failure, Notes, Reply};
use crate::policy::trail::{self, Trail};
use crate::telemetry::WorkerMetrics;

/// The stages of calls that are opened together; `S` is what follows their limits.
#[derive(Clone)]
pub struct Together<S> {
    entrance: Judged<Doorkeeper, Judged<Deprecated, Admitted>>,
    identification: Judged<Authenticate, Judged<Authorize, Admitted>>,
    limiter: Arc<Limiter>,
    inner: S,
}

/// One of the calls, and how much its cost weighs.
pub struct Member {
    pub call: Call,
    /// 1: what its rule says that a call costs.
    pub weight: u64,
}

/// What became of calls before their limits.
pub struct Admission {
    /// In their order: those that may go on, and why the others may not.
    pub calls: Vec<Result<Call, Failure>>,
    /// Their places among the calls at once.
    pub held: Vec<Box<dyn Send>>,
}

/// A call on its way, with its weight.
type Going = (Result<Call, Failure>, u64);

impl<S: Stage + Clone> Together<S> {
    pub(super) fn new(limiter: Arc<Limiter>, inner: S, metrics: &Arc<WorkerMetrics>) -> Self {
        let authorize = Judged::new(Authorize::new(metrics.clone()), Admitted);
        Self {
            entrance: Judged::new(Doorkeeper, Judged::new(Deprecated, Admitted)),
            identification: Judged::new(Authenticate::new(metrics.clone()), authorize),
            limiter,
            inner,
        }
    }

    /// Judges calls of one request up to their limits, and debits those together; `notes` and `trail` are the request's.
    ///
    /// # Errors
    ///
    /// The limits'. Whether the request is refused with them is for the caller to say.
    pub async fn admit(
        &self,
        members: Vec<Member>,
        order: Order,
        notes: &Arc<Notes>,
        trail: Option<&Trail>,
    ) -> Result<Admission, Failure> {
        let begun = Instant::now();
        let outcome = self.judge(members, order, notes).await;
        if let Some(trail) = trail.filter(|trail| trail.sampled().is_some()) {
            trail.judged(trail::Stage { name: "admission", begun, ended: Instant::now() });
        }
        outcome
    }

    async fn judge(
        &self,
        members: Vec<Member>,
        order: Order,
        notes: &Arc<Notes>,
    ) -> Result<Admission, Failure> {
        let calls = members.into_iter().map(|member| (Ok(member.call), member.weight)).collect();
        let calls = each(&self.entrance, calls).await;
        let debit = Debit::begin(&self.limiter, Place::Address, going(&calls), order);
        let by_address = match self.finish(debit).await {
            Ok(debit) => debit,
            Err(refusal) => return Err(Limiter::refuse_all(notes, &refusal)),
        };
        by_address.tell(notes);
        let calls = each(&self.identification, calls).await;
        if let Some(identity) = going(&calls).find_map(|(call, _)| call.identity.as_ref()) {
            notes.identified(Arc::clone(identity));
        }
        let debit = Debit::begin(&self.limiter, Place::Identity, going(&calls), order);
        let by_identity = match self.finish(debit).await {
            Ok(debit) => debit,
            Err(refusal) => {
                by_address.give_back(&self.limiter);
                return Err(Limiter::refuse_all(notes, &refusal));
            }
        };
        by_identity.tell(notes);
        let mut held = by_address.held;
        held.extend(by_identity.held);
        Ok(Admission { calls: calls.into_iter().map(|(call, _)| call).collect(), held })
    }

    async fn finish(&self, debit: Result<Debit, Refusal>) -> Result<Debit, Refusal> {
        debit?.finish(&self.limiter).await
    }

    /// Runs a call that has been admitted.
    ///
    /// # Errors
    ///
    /// Those of the stages that follow, and the backend's.
    pub async fn run(&self, call: Call) -> Result<Reply, Failure> {
        self.inner.clone().oneshot(call).await
    }
}

fn going(calls: &[Going]) -> impl Iterator<Item = (&Call, u64)> {
    calls.iter().filter_map(|(call, weight)| Some((call.as_ref().ok()?, *weight)))
}

/// Has each call judged that has not been refused.
async fn each<S>(service: &S, calls: Vec<Going>) -> Vec<Going>
where
    S: Service<Call, Response = Call, Error = Failure> + Clone,
{
    let judged = calls.into_iter().map(|(call, weight)| {
        let service = service.clone();
        Box::pin(async move {
            match call {
                Ok(call) => (service.oneshot(call).await, weight),
                Err(failure) => (Err(failure), weight),
            }
        })
    });
    let at_once = judged.len();
    all(judged.collect(), at_once).await
}

/// Runs futures at once, but no more than `at_once`, on this thread; there are few.
pub async fn all<F: Future + Unpin>(futures: Vec<F>, at_once: usize) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Some(future), None)).collect();
    poll_fn(|cx| {
        let mut pending_count = 0;
        for (future, output) in &mut running {
            let Some(pending) = future else { continue };
            if pending_count >= at_once {
                break;
            }
            match Pin::new(pending).poll(cx) {
                Poll::Ready(done) => {
                    *output = Some(done);
                    *future = None;
                }
                Poll::Pending => pending_count += 1,
            }
        }
        if pending_count == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}

/// Behind the last judge: hands the call back.
#[derive(Clone, Copy)]
struct Admitted;

impl Service<Call> for Admitted {
    type Response = Call;
    type Error = Failure;
    type Future = Ready<Result<Call, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        ready(Ok(call))
    }
}
