//! Room 6: the innermost service. A [`Call`] becomes gRPC messages, the backend's messages a [`Reply`].
//!
//! ```text
//! body → assemble (captures + query + JSON) → gRPC frames → upstream → messages → JSON
//! ```
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

use tower::Service;

use crate::call::{Call, Failure, Reply};
use crate::upstream::Upstream;

/// Carries calls to a worker's upstreams.
#[derive(Clone)]
pub struct Transcoder {
    /// One a service, in the order of the snapshot's.
    upstreams: Arc<[Upstream]>,
}

impl Transcoder {
    pub fn new(upstreams: Arc<[Upstream]>) -> Self {
        Self { upstreams }
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
        let service = call.snapshot.rule(&call.binding).service;
        let upstream = self.upstreams.get(service).expect("a rule leads to a service of its gateway").clone();
        if call.binding.client_streaming || call.binding.server_streaming {
            Box::pin(streaming::transcode(upstream, call))
        } else {
            Box::pin(unary::transcode(upstream, call))
        }
    }
}
