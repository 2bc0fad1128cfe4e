//! One operation of a WebSocket: a request of its own, with its own tally, in the snapshot of its moment.
//!
//! ```text
//! begin ─┬─ refused ─▶ errors
//!        ├─ one result ─▶ result ─▶ complete
//!        └─ a subscription ─▶ result* ─▶ complete
//! ```

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::call::{Head, host};
use crate::frontend::Exchange;
use crate::frontend::graphql::{self as http_graphql, Media, Parameters, websocket};
use crate::gateway::Worker;
use crate::gateway::graphql::Answer;
use crate::gateway::meter::Tally;
use crate::gateway::subscription::Subscription;
use crate::snapshot::Subscriptions;
use crate::status::{Code, Status};

/// What a socket's operations have in common.
pub(super) struct Origin {
    pub(super) worker: Worker,
    pub(super) listener: Arc<str>,
    pub(super) handshake: Arc<Head>,
    pub(super) bounds: Subscriptions,
    pub(super) message_bytes_max: usize,
    pub(super) values_max: usize,
}

/// One operation of a socket.
pub(super) enum Operation {
    Beginning(Pin<Box<dyn Future<Output = (Begun, Tally)> + Send>>),
    /// Its results, and the tally of the operation as a whole.
    Running(Box<Subscription>, Option<Tally>),
    Completing,
    Ended,
}

/// What comes of it.
pub(super) enum Begun {
    Whole(Vec<u8>),
    Many(Box<Subscription>),
    Refused(Vec<u8>),
}

/// What an operation says.
pub(super) enum Said {
    Result(Vec<u8>),
    /// The errors for which it is not executed; its end.
    Refused(Vec<u8>),
    Complete,
}

impl Stream for Operation {
    type Item = Said;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Said>> {
        loop {
            match &mut *self {
                Self::Beginning(begin) => {
                    let (begun, mut tally) = ready!(begin.as_mut().poll(cx));
                    match begun {
                        Begun::Many(results) => *self = Self::Running(results, Some(tally)),
                        Begun::Whole(json) => {
                            *self = Self::Completing;
                            tally.passed(json.len());
                            tally.end_stream(Ok(()));
                            return Poll::Ready(Some(Said::Result(json)));
                        }
                        Begun::Refused(errors) => {
                            *self = Self::Ended;
                            tally.end_stream(Ok(()));
                            return Poll::Ready(Some(Said::Refused(errors)));
                        }
                    }
                }
                Self::Running(results, tally) => {
                    if let Some(json) = ready!(Pin::new(&mut **results).poll_next(cx)) {
                        if let Some(tally) = tally {
                            tally.passed(json.len());
                        }
                        return Poll::Ready(Some(Said::Result(json)));
                    }
                    if let Some(tally) = tally.take() {
                        tally.end_stream(Ok(()));
                    }
                    *self = Self::Completing;
                }
                Self::Completing => {
                    *self = Self::Ended;
                    return Poll::Ready(Some(Said::Complete));
                }
                Self::Ended => return Poll::Ready(None),
            }
        }
    }
}

/// Begins an operation, as a request of its own: under the snapshot that holds now.
pub(super) async fn begin(origin: Arc<Origin>, head: Head, parameters: Parameters) -> (Begun, Tally) {
    let worker = &origin.worker;
    let snapshot = worker.catalog.current();
    let listener = snapshot.listener(&origin.listener);
    let head = Arc::new(head);
    let mut exchange = Exchange::new(Arc::clone(&snapshot), Arc::clone(&head), listener);
    let mut tally = worker.meter.begin(&exchange, &origin.listener);
    let name = host(&head.uri, &head.headers).unwrap_or_default().to_owned();
    let Some((surface, graphql)) = snapshot.surfaces.graphql(listener, &name, head.uri.path()) else {
        let status = Status::client(Code::NotFound, "GraphQL is not served here any more");
        let status = status.with_reason("ROUTE_NOT_FOUND");
        tally.refused(&status);
        return (Begun::Refused(http_graphql::error_list(&snapshot.schema, &snapshot.json, &status)), tally);
    };
    websocket::enter_operation(&mut exchange, surface, &head);
    tally.led(&exchange);
    let begun = match worker.operation(&mut exchange, &tally, graphql, (Media::Events, &parameters)).await {
        Ok(Answer::Whole(json)) => Begun::Whole(json),
        Ok(Answer::Results(results)) => Begun::Many(results),
        Err(refusal) => {
            tally.refused(&refusal.status());
            return (Begun::Refused(refusal.errors(&snapshot)), tally);
        }
    };
    tally.succeeded();
    worker.metrics.headers_dropped.add(exchange.dropped_headers as u64);
    (begun, tally)
}
