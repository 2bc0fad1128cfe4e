//! Rollout: which of the services of its rule a call goes to, known before anybody asks what that service can take.
//!
//! ```text
//! when ─ the first case that holds ─▶ its service
//!   └─ none ─▶ shares: by key, or in turn
//! ```
//!
//! It refuses nobody. Who keeps a side is known by now: the identity has been found out.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use http::header::SET_COOKIE;

use super::facts::Facts;
use super::judge::{Judge, Judgement};
use crate::call::Call;
use crate::policy::balance::hash;
use crate::policy::condition::Variable;
use crate::policy::cookie;
use crate::policy::rollout::{Case, FreshCookie, first_case};
use crate::telemetry::WorkerMetrics;

/// What a snapshot sends to certain services, by [`Binding::rule`](crate::route::Binding::rule).
#[derive(Debug, Default)]
pub struct Routing {
    pub rules: Box<[Cases]>,
}

/// The cases of one rule.
#[derive(Debug, Default)]
pub struct Cases {
    cases: Box<[Case]>,
    /// Whether a condition asks for the time.
    needs_time: bool,
}

/// Chooses the service.
#[derive(Clone, Debug)]
pub struct Rollout {
    metrics: Arc<WorkerMetrics>,
}

impl Judge for Rollout {
    const NAME: &'static str = "rollout";

    fn judge(&self, mut call: Call) -> Judgement {
        let Some(service) = self.case(&call).or_else(|| share(&call)) else {
            return Judgement::Silent(call);
        };
        lead(&mut call, service);
        Judgement::Pass(call)
    }
}

impl Rollout {
    pub fn new(metrics: Arc<WorkerMetrics>) -> Self {
        Self { metrics }
    }

    /// The service of the case that the call is, if it is one.
    fn case(&self, call: &Call) -> Option<usize> {
        let routing = call.snapshot.live.get::<Arc<Routing>>()?;
        let Cases { cases, needs_time } = routing.rules.get(usize::try_from(call.binding.rule).ok()?)?;
        if cases.is_empty() {
            return None;
        }
        let facts = Facts::of(call, *needs_time);
        first_case(cases, &facts.subject(), |error| {
            let method = &*call.binding.method;
            tracing::debug!(method, %error, "a condition of `when` has no value for a call");
            self.metrics.rollout_condition_failures.add(1);
        })
    }
}

impl Cases {
    pub fn new(cases: Vec<Case>) -> Self {
        let needs_time = cases.iter().any(|case| case.condition.mentions(Variable::Time));
        Self { cases: cases.into(), needs_time }
    }
}

/// The service by the shares of the rule, if it has any.
fn share(call: &Call) -> Option<usize> {
    let split = call.snapshot.rule(&call.binding).split.as_ref()?;
    let key = split.sticky().and_then(|sticky| {
        let given = || sticky.cookie.as_ref().map(|cookie| give(call, cookie));
        call.hash_of(&sticky.key).or_else(given)
    });
    split.choose(key)
}

/// Gives the client a cookie by which it keeps the side of this call; its key.
fn give(call: &Call, cookie: &FreshCookie) -> u64 {
    // No secret: whoever guesses it finds a side, and nothing else.
    let random = || RandomState::new().hash_one(0);
    // All calls of one request are of one caller.
    let value = cookie::fresh(*call.head.drawn.get_or_init(|| [random(), random()]));
    if let Some(set) = cookie::set(&cookie.name, &value, cookie.max_age_s) {
        call.notes.reply_header(SET_COOKIE, set);
    }
    hash(value.as_bytes())
}

/// Sends a call to a service, which may be less patient than others of the rule.
fn lead(call: &mut Call, service: usize) {
    call.service = service;
    if call.binding.client_streaming || call.binding.server_streaming {
        return;
    }
    let timeout = call.snapshot.rule(&call.binding).destinations.of(service).timeout;
    let ends = call.head.started.checked_add(timeout);
    call.deadline = call.deadline.into_iter().chain(ends).min();
}
