//! What most stages are: a judge of a call's head, and the service around it.
//!
//! ```text
//! Call ─▶ judge ─┬─ Pass ──────────────────▶ inner service
//!                ├─ Later ─▶ (a store, a key) ─┬▶ inner service
//!                └─ Refuse ────────────────────┴▶ Failure
//! ```
//!
//! A judge that knows its verdict at once costs no allocation and no extra poll; only one that has to ask
//! somebody boxes a future.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower::Service;

use super::Stage;
use crate::call::{Call, Failure, Reply};

/// Judges calls by their heads.
pub trait Judge {
    /// The stage's name in logs and metrics.
    const NAME: &'static str;

    fn judge(&self, call: Call) -> Judgement;
}

/// What becomes of a call.
pub enum Judgement {
    Pass(Call),
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

impl<J: Judge, S: Stage + Clone> Service<Call> for Judged<J, S> {
    type Response = Reply;
    type Error = Failure;
    type Future = Judging<S, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let notes = call.notes.clone();
        match self.judge.judge(call) {
            Judgement::Pass(call) => Judging::Passed { call: self.inner.call(call) },
            Judgement::Refuse(failure) => {
                notes.refused_by(J::NAME);
                Judging::Refused { failure: Some(failure) }
            }
            Judgement::Later(verdict) => {
                // The inner service is ready, so it is this one that goes along (tower's rule for clones).
                let clone = self.inner.clone();
                let inner = std::mem::replace(&mut self.inner, clone);
                let verdict = Box::pin(async move {
                    let verdict = verdict.await;
                    if verdict.is_err() {
                        notes.refused_by(J::NAME);
                    }
                    verdict
                });
                Judging::Waiting { verdict, inner }
            }
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
    S: Service<Call, Response = Reply, Error = Failure, Future = F>,
    F: Future<Output = Result<Reply, Failure>>,
{
    type Output = Result<Reply, Failure>;

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
