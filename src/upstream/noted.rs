//! An attempt as the trail of its call has it, where somebody reads that: begun at an endpoint, ended with a code.

use std::sync::Arc;
use std::time::Instant;

use super::endpoint::Endpoint;
use crate::policy::trail::Trail;
use crate::status::{Code, Status};

/// See the module's documentation; one that nobody ends was given up.
#[derive(Debug, Default)]
pub(super) struct Noted(Option<(Arc<Trail>, usize)>);

impl Noted {
    pub(super) fn begin(trail: Option<&Arc<Trail>>, endpoint: &Endpoint) -> Self {
        let begin = |trail: &Arc<Trail>| {
            let number = trail.begin(endpoint.address.authority.clone(), Instant::now());
            (Arc::clone(trail), number)
        };
        Self(trail.map(begin))
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
