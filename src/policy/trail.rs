//! What a call leaves on its way, for the access log and for traces: when the stages had let it through, each
//! attempt at an endpoint, and, of a call whose trace is sampled, its time at each stage.
//!
//! Made only where somebody will read it. Whoever handles the call writes here, one after the other, so that no
//! lock is ever waited for.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
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
    /// Nanoseconds until the stages had let the call through; 0: not yet.
    admitted_ns: AtomicU64,
    service: OnceLock<Arc<str>>,
    attempts: Mutex<Attempts>,
    sampled: Option<TraceContext>,
    stages: Mutex<Vec<Stage>>,
}

/// The attempts of a call.
#[derive(Debug, Default)]
pub struct Attempts {
    /// How many there were.
    pub count: usize,
    pub kept: SmallVec<[Attempt; 1]>,
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
        let (admitted_ns, service, attempts, stages) = Default::default();
        Self { begun, admitted_ns, service, attempts, sampled, stages }
    }

    /// The call's span; `None`: nobody looks at its trace.
    pub fn sampled(&self) -> Option<&TraceContext> {
        self.sampled.as_ref()
    }

    /// A stage has judged.
    pub fn judged(&self, stage: Stage) {
        let mut stages = lock(&self.stages);
        let room = STAGES_MAX - stages.len();
        if room > 0 {
            // Most calls come through most of them.
            stages.reserve_exact(room);
            stages.push(stage);
        }
    }

    /// The stages that have judged so far; no other does while they are looked at.
    pub fn stages(&self) -> impl Deref<Target = Vec<Stage>> {
        lock(&self.stages)
    }

    /// The stages have let the call through, to a service of this name; only the first word counts.
    pub fn admitted(&self, now: Instant, service: &Arc<str>) {
        if self.service.set(Arc::clone(service)).is_ok() {
            let passed_ns = now.saturating_duration_since(self.begun).as_nanos();
            let passed_ns = u64::try_from(passed_ns).unwrap_or(u64::MAX).max(1);
            self.admitted_ns.store(passed_ns, Ordering::Relaxed);
        }
    }

    /// How long the stages took to let it through; `None`: they have not.
    pub fn admitted_after(&self) -> Option<Duration> {
        Some(self.admitted_ns.load(Ordering::Relaxed)).filter(|ns| *ns != 0).map(Duration::from_nanos)
    }

    /// The service that the stages have let it through to.
    pub fn service(&self) -> Option<&str> {
        self.service.get().map(|name| &**name)
    }

    /// An attempt begins; gives its number, from 0.
    pub fn begin(&self, endpoint: Authority, now: Instant) -> usize {
        let mut attempts = lock(&self.attempts);
        attempts.count += 1;
        if attempts.kept.len() == ATTEMPTS_MAX {
            attempts.kept.pop();
        }
        let number = attempts.count - 1;
        attempts.kept.push(Attempt { number, endpoint, begun: now, ended: None });
        number
    }

    /// An attempt has ended: the last one, because there is no other before that.
    pub fn end(&self, number: usize, code: Code, now: Instant) {
        let mut attempts = lock(&self.attempts);
        let is_last = number + 1 == attempts.count;
        if let Some(attempt) = attempts.kept.last_mut().filter(|_| is_last) {
            attempt.ended = Some((now, code));
        }
    }

    /// The attempts so far; no other begins or ends while they are looked at.
    pub fn attempts(&self) -> impl Deref<Target = Attempts> {
        lock(&self.attempts)
    }
}

impl Attempts {
    /// From the first attempt to the end of the last reply; to `now`, where that is still to come.
    pub fn duration(&self, now: Instant) -> Option<Duration> {
        let (first, last) = (self.kept.first()?, self.kept.last()?);
        Some(last.ended.map_or(now, |(ended, _)| ended).saturating_duration_since(first.begun))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_let_through_once() {
        let start = Instant::now();
        let trail = Trail::new(start, None);
        let (first, second) = (Arc::from("orders"), Arc::from("orders-next"));
        assert_eq!((trail.admitted_after(), trail.service()), (None, None));
        trail.admitted(start + Duration::from_millis(3), &first);
        trail.admitted(start + Duration::from_millis(9), &second);
        assert_eq!(
            (trail.admitted_after(), trail.service()),
            (Some(Duration::from_millis(3)), Some("orders"))
        );
        let trail = Trail::new(start, None);
        trail.admitted(start, &first);
        assert_eq!(trail.admitted_after(), Some(Duration::from_nanos(1)), "at once, and yet through");
    }

    #[test]
    fn attempts_are_kept_up_to_a_bound_and_counted_beyond() {
        let start = Instant::now();
        let trail = Trail::new(start, None);
        let at = |ms: usize| start + Duration::from_millis(ms as u64);
        assert_eq!(trail.attempts().duration(at(9)), None);
        for number in 0..ATTEMPTS_MAX + 2 {
            let endpoint = format!("b{number}:1").parse().expect("an authority");
            assert_eq!(trail.begin(endpoint, at(number)), number);
            assert_eq!(trail.attempts().duration(at(number + 1)), Some(at(number + 1) - start));
            trail.end(number, Code::Ok, at(number + 1));
        }
        let attempts = trail.attempts();
        assert_eq!((attempts.count, attempts.kept.len()), (ATTEMPTS_MAX + 2, ATTEMPTS_MAX));
        assert_eq!(attempts.kept.last().map(|last| last.endpoint.as_str()), Some("b17:1"));
        assert_eq!(attempts.duration(at(99)), Some(at(ATTEMPTS_MAX + 2) - start), "its reply has ended");
    }
}
