//! A subscription: one call to a method that streams, and its messages as results.
//!
//! ```text
//! first poll ─▶ stages ─▶ call ─▶ message ─ projection ─▶ {"data":…}     one result a message
//!                  └─ refused ──────┴─ the backend's status ─▶ {"errors":[…]}, the last result
//! ```
//!
//! Nothing is called before somebody asks for the first result, and no message is taken before its result is asked
//! for: who reads slowly slows the backend. Dropping it cancels the call.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::Sleep;
use tower::ServiceExt;

use super::Worker;
use super::graphql::projector;
use super::meter::Tally;
use crate::call::{Failure, Messages, Notes, Piece, Reply, ReplyBody};
use crate::frontend::Exchange;
use crate::frontend::graphql::{self as http_graphql, Opening};
use crate::graphql::plan::{Operation, RootField, RootSource};
use crate::route::Binding;
use crate::snapshot::{Graphql, Limits, Snapshot};
use crate::status::{Code, Status};

/// A call that is on its way through the stages.
type Opened = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send>>;

/// See the module's documentation; each item is the JSON of a response.
pub(super) struct Subscription {
    snapshot: Arc<Snapshot>,
    /// Of one root field.
    operation: Operation,
    state: State,
    /// Of the call; gone with its end.
    tally: Option<Tally>,
    notes: Arc<Notes>,
    limits: Limits,
    /// How long it outlives the credential that it was opened with.
    leeway: Duration,
    /// When the credential, and so the subscription, ends.
    expiry: Option<Pin<Box<Sleep>>>,
}

enum State {
    /// The arguments make no request: this is all there is to tell.
    Wrong(Status),
    Calling(Opened),
    Running(Messages),
    Ended,
}

impl Worker {
    /// A subscription whose call goes through the stages when its first result is asked for.
    pub(super) fn subscription(
        &self,
        exchange: &Exchange,
        tally: &Tally,
        graphql: &Graphql,
        opening: &Opening,
        operation: Operation,
    ) -> Subscription {
        let notes = Arc::<Notes>::default();
        let mut below = None;
        let state = match source(graphql, &operation) {
            Ok((binding, request)) => {
                notes.read_bytes(request.len() as u64);
                let mut tally = tally.below(exchange, binding, &notes);
                let mut call = opening.call(exchange, binding, request, Arc::clone(&notes));
                tally.opened(&mut call);
                below = Some(tally);
                State::Calling(Box::pin(self.stages.clone().oneshot(call)))
            }
            Err(status) => State::Wrong(status),
        };
        Subscription {
            snapshot: Arc::clone(&exchange.snapshot),
            operation,
            state,
            tally: below,
            notes,
            limits: graphql.limits.clone(),
            leeway: graphql.subscriptions.leeway,
            expiry: None,
        }
    }
}

/// Which call an operation of one root field is.
fn source<'g>(graphql: &'g Graphql, operation: &Operation) -> Result<(&'g Arc<Binding>, Bytes), Status> {
    match operation.roots.first().map(|field| &field.source) {
        Some(RootSource::Call { method, request }) => match graphql.bindings.get(*method) {
            Some(binding) => Ok((binding, request.clone())),
            None => Err(Status::gateway(Code::Internal, "the plan is of another schema")),
        },
        Some(RootSource::Wrong(status)) => Err(status.clone()),
        Some(RootSource::Text(_)) | None => {
            Err(Status::gateway(Code::Internal, "a subscription without a call"))
        }
    }
}

impl Subscription {
    /// The stages have let it in, and the backend has begun to answer.
    fn begin(&mut self, outcome: Result<Reply, Failure>) -> Result<(), Status> {
        let outcome = match &mut self.tally {
            Some(tally) => tally.judged(outcome),
            None => outcome,
        };
        match outcome {
            Ok(Reply { body: ReplyBody::WireStream(messages), .. }) => self.state = State::Running(messages),
            Ok(_) => return Err(Status::gateway(Code::Internal, "the reply is no stream of messages")),
            Err(failure) => return Err(failure.status),
        }
        Ok(())
    }

    /// Whether its credential has ended. Whose it is is known once the stages have found out.
    fn is_expired(&mut self, cx: &mut Context<'_>) -> bool {
        if !matches!(self.state, State::Calling(_) | State::Running(_)) {
            return false;
        }
        if self.expiry.is_none()
            && let Some(expires) = self.notes.identity().and_then(|identity| identity.expires)
        {
            let expires = Duration::from_secs(expires).saturating_add(self.leeway);
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.expiry = Some(Box::pin(tokio::time::sleep(expires.saturating_sub(now))));
        }
        self.expiry.as_mut().is_some_and(|expiry| expiry.as_mut().poll(cx).is_ready())
    }

    fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        loop {
            let status = match &mut self.state {
                State::Ended => return Poll::Ready(None),
                State::Wrong(status) => status.clone(),
                State::Calling(call) => {
                    let outcome = ready!(call.as_mut().poll(cx));
                    match self.begin(outcome) {
                        Ok(()) => continue,
                        Err(status) => status,
                    }
                }
                State::Running(messages) => match ready!(messages.as_mut().poll_next(cx)) {
                    Some(Ok(Piece::Message(message))) => return Poll::Ready(Some(self.result(&message))),
                    Some(Ok(Piece::Trailers(_))) | None => {
                        self.end(Ok(()));
                        continue;
                    }
                    Some(Err(status)) => status,
                },
            };
            return Poll::Ready(Some(self.fail(&status)));
        }
    }

    /// The result of one message.
    fn result(&mut self, message: &Bytes) -> Vec<u8> {
        if let Some(tally) = &mut self.tally {
            tally.passed(message.len());
        }
        let Snapshot { schema, json, .. } = &*self.snapshot;
        let mut projector = projector(&self.snapshot, &self.limits, &self.operation);
        projector.out().extend_from_slice(http_graphql::DATA);
        for RootField { root, .. } in &self.operation.roots {
            projector.begin(root, b'{');
            projector.reply(root, message);
        }
        projector.out().push(b'}');
        let (mut out, errors) = projector.finish();
        http_graphql::end(&mut out, &errors, schema, json);
        out
    }

    /// The last result of one that does not end well.
    fn fail(&mut self, status: &Status) -> Vec<u8> {
        self.end(Err(status));
        match self.operation.roots.first() {
            Some(RootField { root, .. }) => {
                let Snapshot { schema, json, .. } = &*self.snapshot;
                http_graphql::failure(root, schema, json, status)
            }
            None => Vec::new(),
        }
    }

    fn end(&mut self, outcome: Result<(), &Status>) {
        // The call is given up here, and not when the client has read the end.
        self.state = State::Ended;
        if let Some(tally) = self.tally.take() {
            tally.end_stream(outcome);
        }
    }
}

impl Stream for Subscription {
    type Item = Vec<u8>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        let this = self.get_mut();
        // Looked at on either side: a backend that never pauses must not outrun the clock, nor one that is silent
        // keep it from being set.
        if this.is_expired(cx) {
            return Poll::Ready(Some(this.fail(&expired())));
        }
        let result = this.poll_result(cx);
        if result.is_pending() && this.is_expired(cx) {
            return Poll::Ready(Some(this.fail(&expired())));
        }
        result
    }
}

fn expired() -> Status {
    let message = "the credential of this subscription has expired";
    Status::client(Code::Unauthenticated, message).with_reason("SUBSCRIPTION_EXPIRED")
}
