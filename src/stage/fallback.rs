//! The static fallback: a reply of the configuration in the place of a service that cannot be called.
//!
//! ```text
//! Call ─▶ inner stages, the cache first ─┬─ Reply, or a failure that says something of the call ─▶ as it is
//!                                        └─ UNAVAILABLE, and the rule has a fallback ─▶ Reply, marked as one
//! ```
//!
//! It stands before the cache: a stale reply goes first, and nobody keeps this one. A call that was too late has
//! no client left to be told anything, and every other code is an answer.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};
use pin_project_lite::pin_project;
use tower::Service;

use super::Stage;
use crate::call::{Call, Failure, Notes, Reply, ReplyBody};
use crate::status::{Blame, Code, Status};
use crate::telemetry::{Fallback, WorkerMetrics};

/// The part of a snapshot that is about fallbacks: answers by the address of their binding, which it keeps alive.
#[derive(Debug, Default)]
pub struct Fallbacks(pub HashMap<usize, Answer>);

/// A reply that is ready to be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP number, where it is not 200.
    pub number: Option<u16>,
    pub body: Body,
}

/// The message of a reply as its clients read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Json(Bytes),
    /// `google.api.HttpBody`.
    Raw {
        content_type: Option<HeaderValue>,
        data: Bytes,
    },
    /// As a backend would send it, for calls that want it so.
    Wire(Bytes),
}

/// Tells the client that nobody was asked, and why.
const TRANSOM_FALLBACK: HeaderName = HeaderName::from_static("transom-fallback");

/// As a backend chooses its HTTP number.
const HTTP_CODE: HeaderName = HeaderName::from_static("x-http-code");

impl Fallbacks {
    fn of(call: &Call) -> Option<Answer> {
        let fallbacks = call.snapshot.live.get::<Arc<Self>>()?;
        fallbacks.0.get(&Arc::as_ptr(&call.binding).addr()).cloned()
    }
}

impl Answer {
    fn reply(self) -> Reply {
        let (mut metadata, trailers) = (HeaderMap::new(), HeaderMap::new());
        if let Some(number) = self.number {
            metadata.insert(HTTP_CODE, HeaderValue::from(number));
        }
        let body = match self.body {
            Body::Json(json) => ReplyBody::Unary { json, trailers },
            Body::Raw { content_type, data } => ReplyBody::Raw { content_type, body: data, trailers },
            Body::Wire(message) => ReplyBody::Wire { message, trailers },
        };
        Reply { metadata, body }
    }
}

/// Why nobody answers a call; `None` for what is an answer.
fn reason(status: &Status) -> Option<Fallback> {
    if status.code != Code::Unavailable || status.blame == Blame::Client {
        return None;
    }
    Some(match (status.blame, status.reason()) {
        (Blame::Gateway, Some("BREAKER_OPEN")) => Fallback::Breaker,
        (Blame::Gateway, Some("NO_ENDPOINTS")) => Fallback::NoEndpoints,
        _ => Fallback::Unavailable,
    })
}

/// See the module's documentation.
#[derive(Clone)]
pub struct FallenBack<S> {
    inner: S,
    metrics: Arc<WorkerMetrics>,
}

impl<S> FallenBack<S> {
    pub(super) fn new(inner: S, metrics: Arc<WorkerMetrics>) -> Self {
        Self { inner, metrics }
    }
}

impl<S: Stage> Service<Call> for FallenBack<S> {
    type Response = Reply;
    type Error = Failure;
    type Future = FallingBack<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let instead = Fallbacks::of(&call).map(|answer| Instead {
            answer,
            notes: Arc::clone(&call.notes),
            metrics: Arc::clone(&self.metrics),
        });
        FallingBack { call: self.inner.call(call), instead }
    }
}

/// What is said if nobody answers.
struct Instead {
    answer: Answer,
    notes: Arc<Notes>,
    metrics: Arc<WorkerMetrics>,
}

pin_project! {
    /// A call that may yet need its fallback.
    pub struct FallingBack<F> {
        #[pin]
        call: F,
        instead: Option<Instead>,
    }
}

impl<F: Future<Output = Result<Reply, Failure>>> Future for FallingBack<F> {
    type Output = Result<Reply, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = ready!(this.call.poll(cx));
        let Some((Instead { answer, notes, metrics }, reason)) =
            this.instead.take().and_then(|instead| Some((instead, reason(&outcome.as_ref().err()?.status)?)))
        else {
            return Poll::Ready(outcome);
        };
        metrics.fell_back(reason);
        notes.fell_back(reason.name());
        notes.reply_header(TRANSOM_FALLBACK, HeaderValue::from_static(reason.name()));
        // RFC 9111, section 4.2.2: a cache on the way may keep a 200 by heuristics.
        notes.reply_header(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Poll::Ready(Ok(answer.reply()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_answer_is_not_replaced() {
        let check = |status: Status, expected: Option<Fallback>| {
            assert_eq!(reason(&status), expected, "{status}");
        };
        check(Status::breaker_open(std::time::Duration::ZERO), Some(Fallback::Breaker));
        check(Status::overloaded(), Some(Fallback::Unavailable));
        let nowhere = Status::gateway(Code::Unavailable, "").with_reason("NO_ENDPOINTS");
        check(nowhere, Some(Fallback::NoEndpoints));
        check(Status::client(Code::Unavailable, "").with_reason("NOT_CACHED"), None);
        for code in Code::ALL.into_iter().filter(|code| *code != Code::Ok) {
            let expected = (code == Code::Unavailable).then_some(Fallback::Unavailable);
            check(Status::backend(code, ""), expected);
        }
        // What a backend says of its own breaker is no word of ours.
        let theirs = Status::backend(Code::Unavailable, "").with_reason("BREAKER_OPEN");
        check(theirs, Some(Fallback::Unavailable));
    }
}
