//! An attempt as the trail of its call has it, where somebody reads that: begun at an endpoint, ended with a code.
//!
//! In a trace that is sampled each attempt is a span of its own, and the backend's span is under that.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;
use http::uri::Authority;

use crate::policy::trace_context::TRACEPARENT;
use crate::policy::trail::Trail;
use crate::status::{Code, Status};

/// See the module's documentation; one that nobody ends was given up.
#[derive(Debug, Default)]
pub(super) struct Noted(Option<(Arc<Trail>, usize)>);

impl Noted {
    /// `metadata` tells the backend.
    pub(super) fn begin(
        trail: &Arc<Trail>,
        endpoint: &Authority,
        now: Instant,
        metadata: &mut HeaderMap,
    ) -> Self {
        let number = trail.begin(endpoint.clone(), now);
        if let Some(span) = trail.sampled() {
            metadata.insert(TRACEPARENT, span.attempt(number).into());
        }
        Self(Some((Arc::clone(trail), number)))
    }

    /// Only the first word counts.
    pub(super) fn end(&mut self, outcome: Result<(), &Status>) {
        self.finish(outcome.map_or_else(|status| status.code, |()| Code::Ok));
    }

    fn finish(&mut self, code: Code) {
        if let Some((trail, number)) = self.0.take() {
            trail.end(number, code, Instant::now());
        }
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.finish(Code::Cancelled);
    }
}
