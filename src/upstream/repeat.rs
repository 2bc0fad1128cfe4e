//! A whole call: its way through the protection of its service, and as many attempts as its terms allow.
//!
//! ```text
//! Guard::enter ─▶ attempt ─ a reply, or a failure that stands ──────────▶ out
//!                    ▲ └ a failure that may be repeated ─ budget ─ wait ─┐
//!                    └────────────────────────────────────────────────┘
//! ```
//!
//! Only what failed before the head of a reply is repeated, as gRFC A6 has it: a refusal in the head
//! (`Trailers-Only`) is such a failure. Whatever provably never left is sent again below this, and counts here
//! only when that too has failed. Each attempt goes to an endpoint that the call has not met, while there is one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};

use super::deadline::TimeToHead;
use super::passage::{self, Passage};
use super::{Failure, GrpcReply, GrpcRequest, RequestMessages, Tried, Upstream};
use crate::policy::retry::{Condition, Decision, Failed, Pushback, RetryRules};
use crate::status::Status;

const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

impl Upstream {
    /// Starts a call; the reply's head is there when this returns.
    ///
    /// A backend that refuses in its head (`Trailers-Only`) is an `Ok` reply whose first message is
    /// the error: its metadata is worth having.
    ///
    /// # Errors
    ///
    /// The service is not to be called now, cannot be reached, reset the stream, answered something that is not
    /// gRPC, or did not answer within the timeout.
    pub async fn call(&self, request: GrpcRequest) -> Result<GrpcReply, Status> {
        let Some(guard) = &self.guard else {
            return self.attempt(request).await.map_err(|failure| failure.status);
        };
        let mut passage = guard.enter(&request.terms, request.timeout)?;
        match self.repeated(request, &mut passage).await {
            Ok(mut reply) => {
                reply.messages.pass(passage);
                Ok(reply)
            }
            Err(Failure { status, .. }) => {
                passage.finish(Err(&status));
                Err(status)
            }
        }
    }

    /// One attempt, and others after it.
    async fn repeated(&self, request: GrpcRequest, passage: &mut Passage) -> Result<GrpcReply, Failure> {
        let Some(mut call) = Repeatable::new(&request, passage) else { return self.attempt(request).await };
        let mut request = request;
        let mut tried = Tried::default();
        loop {
            let again = call.prepare(&mut request);
            let time = TimeToHead::begin(request.timeout, call.head_timeout());
            let outcome = self.attempt_elsewhere(request, time, &mut tried).await;
            let Some(next) = again.filter(|_| call.attempts < call.rules.attempts_max) else {
                return outcome;
            };
            let Some(after) = call.judge(&outcome, passage) else { return outcome };
            if let Ok(mut reply) = outcome {
                tried.endpoints.extend(reply.messages.endpoint());
                reply.messages.discard();
            }
            passage.repeat();
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            request = next;
        }
    }
}

/// A call that may be made again, and what is known of its attempts.
struct Repeatable {
    rules: Arc<RetryRules>,
    is_idempotent: bool,
    server_streaming: bool,
    /// Of all attempts together.
    timeout: Option<Duration>,
    started: Instant,
    attempts: u32,
    since_pushback: u32,
}

impl Repeatable {
    /// `None`: there is one attempt, whatever comes of it.
    fn new(request: &GrpcRequest, passage: &Passage) -> Option<Self> {
        let rules = request.terms.retry.as_ref()?;
        let budget = passage.guard().protection.retries.as_ref()?;
        let started = passage.entered();
        budget.called(started, passage.guard().thread);
        let RequestMessages::One(frame) = &request.messages else { return None };
        (frame.len() <= rules.replay_bytes_max).then(|| Self {
            rules: Arc::clone(rules),
            is_idempotent: request.terms.is_idempotent,
            server_streaming: request.terms.server_streaming,
            timeout: request.timeout,
            started,
            attempts: 0,
            since_pushback: 0,
        })
    }

    /// Bounds the next attempt, and keeps a copy of the request for one after it.
    fn prepare(&mut self, request: &mut GrpcRequest) -> Option<GrpcRequest> {
        let again = request.replay();
        let per_try = self.rules.per_try.filter(|_| !self.server_streaming);
        request.timeout = self.left().into_iter().chain(per_try).min();
        // Whoever misses the time of one attempt has had what the operator thinks is enough.
        if let Some(per_try) = self.rules.per_try {
            request.terms.patience = request.terms.patience.min(per_try);
        }
        if self.attempts > 0 {
            request.metadata.insert(PREVIOUS_ATTEMPTS, HeaderValue::from(self.attempts));
        }
        self.attempts += 1;
        self.since_pushback += 1;
        again
    }

    /// How long to wait for the next attempt; `None`: what there is stands.
    fn judge(&mut self, outcome: &Result<GrpcReply, Failure>, passage: &Passage) -> Option<Duration> {
        let (status, is_unsent, pushback) = match outcome {
            Ok(reply) => (reply.messages.refusal()?, false, Pushback::read(&reply.metadata)),
            Err(failure) => (&failure.status, failure.is_unsent, None),
        };
        let failed = Failed {
            status,
            is_unsent,
            is_idempotent: self.is_idempotent,
            pushback,
            attempts: self.attempts,
            since_pushback: self.since_pushback,
            left: self.left(),
        };
        let Decision::Retry { condition, after } = self.rules.decide(&failed, passage::random()) else {
            return None;
        };
        if !self.is_granted(condition, passage) {
            return None;
        }
        if pushback.is_some() {
            self.since_pushback = 0;
        }
        Some(after)
    }

    fn is_granted(&self, condition: Condition, passage: &Passage) -> bool {
        let now = Instant::now();
        let protection = &passage.guard().protection;
        let Some(budget) = protection.retries.as_ref().filter(|_| passage.may_repeat(now)) else {
            return false;
        };
        if !budget.take(now) {
            protection.could_not_afford();
            return false;
        }
        protection.retried(condition);
        true
    }

    /// A stream lasts as long as it likes: its attempt has succeeded with the head, and no later failure is repeated.
    fn head_timeout(&self) -> Option<Duration> {
        self.rules.per_try.filter(|_| self.server_streaming)
    }

    fn left(&self) -> Option<Duration> {
        self.timeout.map(|timeout| timeout.saturating_sub(self.started.elapsed()))
    }
}
