//! What most stages are: a judge of a call's head, and the service around it.
//!
//! ```text
//! Call ─▶ judge ─┬─ Pass, Silent ──────────▶ inner service
//!                ├─ Later ─▶ (a store, a key) ─┬▶ inner service
//!                └─ Refuse ────────────────────┴▶ Failure
//! ```
//!
//! A judge that knows its verdict at once costs no allocation and no extra poll; only one that has to ask
//! somebody boxes a future. The clock is read for a call whose trace is sampled, and for no other.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use pin_project_lite::pin_project;
use tower::Service;

use crate::call::{Call, Failure, Notes};
use crate::policy::trail::{self, Trail};

/// Judges calls by their heads.
pub trait Judge {
    /// The stage's name in logs and metrics.
    const NAME: &'static str;

    fn judge(&self, call: Call) -> Judgement;
}

/// What becomes of a call.
pub enum Judgement {
    Pass(Call),
    /// The stage has nothing to say of such calls: no span tells that it let this one through.
    Silent(Call),
    Refuse(Failure),
    /// Somebody has to be asked.
    Later(Pin<Box<dyn Future<Output = Result<Call, Failure>> + Send>>),
}

/// A judge before a service.
#[derive(Clone)]
pub struct Judged<J, S> {
    judge: J,
    inner: S,
}

impl<J, S> Judged<J, S> {
    pub fn new(judge: J, inner: S) -> Self {
        Self { judge, inner }
    }
}

impl<J: Judge, S: Service<Call, Error = Failure> + Clone> Service<Call> for Judged<J, S> {
    type Response = S::Response;
    type Error = Failure;
    type Future = Judging<S, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let hearing = Hearing::begin(&call);
        match self.judge.judge(call) {
            Judgement::Pass(call) => {
                hearing.end::<J>(false);
                Judging::Passed { call: self.inner.call(call) }
            }
            Judgement::Silent(call) => Judging::Passed { call: self.inner.call(call) },
            Judgement::Refuse(failure) => {
                hearing.end::<J>(true);
                Judging::Refused { failure: Some(failure) }
            }
            Judgement::Later(verdict) => {
                // The inner service is ready, so it is this one that goes along (tower's rule for clones).
                let clone = self.inner.clone();
                let inner = std::mem::replace(&mut self.inner, clone);
                let verdict = Box::pin(async move {
                    let verdict = verdict.await;
                    hearing.end::<J>(verdict.is_err());
                    verdict
                });
                Judging::Waiting { verdict, inner }
            }
        }
    }
}

/// A judge at work on one call.
struct Hearing {
    notes: Arc<Notes>,
    /// Where the trace of the call is sampled.
    sampled: Option<(Instant, Arc<Trail>)>,
}

impl Hearing {
    fn begin(call: &Call) -> Self {
        let sampled = call.trail.as_ref().filter(|trail| trail.sampled().is_some());
        Self {
            notes: Arc::clone(&call.notes),
            sampled: sampled.map(|trail| (Instant::now(), Arc::clone(trail))),
        }
    }

    fn end<J: Judge>(self, is_refused: bool) {
        if is_refused {
            self.notes.refused_by(J::NAME);
        }
        if let Some((begun, trail)) = self.sampled {
            trail.judged(trail::Stage { name: J::NAME, begun, ended: Instant::now() });
        }
    }
}

pin_project! {
    /// A call before a judge, and behind it.
    #[project = JudgingProjection]
    pub enum Judging<S, F> {
        Refused { failure: Option<Failure> },
        Waiting { verdict: Pin<Box<dyn Future<Output = Result<Call, Failure>> + Send>>, inner: S },
        Passed { #[pin] call: F },
    }
}

impl<S, F> Future for Judging<S, F>
where
    S: Service<Call, Error = Failure, Future = F>,
    F: Future<Output = Result<S::Response, Failure>>,
{
    type Output = Result<S::Response, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let call = match self.as_mut().project() {
                JudgingProjection::Passed { call } => return call.poll(cx),
                JudgingProjection::Refused { failure } => {
                    return Poll::Ready(Err(failure.take().expect("a call is refused once")));
                }
                JudgingProjection::Waiting { verdict, inner } => {
                    let call = ready!(verdict.as_mut().poll(cx))?;
                    inner.call(call)
                }
            };
            self.set(Self::Passed { call });
        }
    }
}
