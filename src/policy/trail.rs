//! What a call leaves on its way, for the access log and for traces: when the stages had let it through, each
//! attempt at an endpoint, and, of a call whose trace is sampled, its time at each stage.
//!
//! Made only where somebody will read it. Whoever handles the call writes here, one after the other, so that no
//! lock is ever waited for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::uri::Authority;
use smallvec::SmallVec;

use super::trace_context::TraceContext;
use crate::status::Code;

/// Attempts that are kept; of more, the last takes the place of the one before.
const ATTEMPTS_MAX: usize = 16;
/// There are not as many stages.
const STAGES_MAX: usize = 16;

/// See the module's documentation.
#[derive(Debug)]
pub struct Trail {
    begun: Instant,
    sampled: Option<TraceContext>,
    steps: Mutex<Steps>,
}

/// What the call has come through so far.
#[derive(Debug, Default)]
pub struct Steps {
    /// How long the stages took to let it through, and the service that they have let it through to.
    pub admitted: Option<(Duration, Arc<str>)>,
    /// How many attempts there were.
    pub attempts: usize,
    pub kept: SmallVec<[Attempt; 1]>,
    pub stages: Vec<Stage>,
}

/// One attempt at one endpoint.
#[derive(Debug)]
pub struct Attempt {
    /// From 0.
    pub number: usize,
    pub endpoint: Authority,
    pub begun: Instant,
    /// When its reply ended or failed, and how.
    pub ended: Option<(Instant, Code)>,
}

/// A call's time at one stage.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    pub name: &'static str,
    pub begun: Instant,
    pub ended: Instant,
}

impl Trail {
    /// Of a call that begins; `sampled` is its span, if its trace is sampled.
    pub fn new(begun: Instant, sampled: Option<TraceContext>) -> Self {
        Self { begun, sampled, steps: Mutex::default() }
    }

    /// The call's span; `None`: nobody looks at its trace.
    pub fn sampled(&self) -> Option<&TraceContext> {
        self.sampled.as_ref()
    }

    /// What it has come through so far; it goes no further while that is looked at.
    pub fn steps(&self) -> MutexGuard<'_, Steps> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stage has judged.
    pub fn judged(&self, stage: Stage) {
        let mut steps = self.steps();
        let room = STAGES_MAX - steps.stages.len();
        if room > 0 {
            // Most calls come through most of them.
            steps.stages.reserve_exact(room);
            steps.stages.push(stage);
        }
    }

    /// The stages have let the call through, to a service of this name; only the first word counts.
    pub fn admitted(&self, now: Instant, service: &Arc<str>) {
        let passed = || (now.saturating_duration_since(self.begun), Arc::clone(service));
        self.steps().admitted.get_or_insert_with(passed);
    }

    /// An attempt begins; gives its number, from 0.
    pub fn begin(&self, endpoint: Authority, now: Instant) -> usize {
        let mut steps = self.steps();
        let number = steps.attempts;
        steps.attempts += 1;
        if steps.kept.len() == ATTEMPTS_MAX {
            steps.kept.pop();
        }
        steps.kept.push(Attempt { number, endpoint, begun: now, ended: None });
        number
    }

    /// An attempt has ended: the last one, because there is no other before that.
    pub fn end(&self, number: usize, code: Code, now: Instant) {
        let mut steps = self.steps();
        let is_last = number + 1 == steps.attempts;
        if let Some(attempt) = steps.kept.last_mut().filter(|_| is_last) {
            attempt.ended = Some((now, code));
        }
    }
}

impl Steps {
    /// From the first attempt to the end of the last reply; to `now`, where that is still to come.
    pub fn in_backends(&self, now: Instant) -> Option<Duration> {
        let (first, last) = (self.kept.first()?, self.kept.last()?);
        Some(last.ended.map_or(now, |(ended, _)| ended).saturating_duration_since(first.begun))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_let_through_once() {
        let start = Instant::now();
        let trail = Trail::new(start, None);
        let (first, second) = (Arc::from("orders"), Arc::from("orders-next"));
        assert_eq!(trail.steps().admitted, None);
        trail.admitted(start + Duration::from_millis(3), &first);
        trail.admitted(start + Duration::from_millis(9), &second);
        assert_eq!(trail.steps().admitted, Some((Duration::from_millis(3), first)));
    }

    #[test]
    fn attempts_are_kept_up_to_a_bound_and_counted_beyond() {
        let start = Instant::now();
        let trail = Trail::new(start, None);
        let at = |ms: usize| start + Duration::from_millis(ms as u64);
        assert_eq!(trail.steps().in_backends(at(9)), None);
        for number in 0..ATTEMPTS_MAX + 2 {
            let endpoint = format!("b{number}:1").parse().expect("an authority");
            assert_eq!(trail.begin(endpoint, at(number)), number);
            assert_eq!(trail.steps().in_backends(at(number + 1)), Some(at(number + 1) - start));
            trail.end(number, Code::Ok, at(number + 1));
        }
        let steps = trail.steps();
        assert_eq!((steps.attempts, steps.kept.len()), (ATTEMPTS_MAX + 2, ATTEMPTS_MAX));
        assert_eq!(steps.kept.last().map(|last| last.endpoint.as_str()), Some("b17:1"));
        assert_eq!(steps.in_backends(at(99)), Some(at(ATTEMPTS_MAX + 2) - start), "its reply has ended");
    }
}
