//! Authentication: who is calling, by the credential that the request carries.
//!
//! ```text
//! rule → Requirement ─▶ which credential decides? ─┬─ one ─▶ verify ─┬─▶ Identity: metadata, notes, call
//!                                                  ├─ none, and one is needed ─┴─▶ 401, 503, or as told
//!                                                  └─ none, and none is needed ──▶ the call goes on
//! ```
//!
//! The first credential that is *present* decides, so that a bad one never falls through to another
//! provider: `requirement`. [`provider`] is what every way of authenticating has in common, one file or
//! folder each; `refusal` has the words for clients.

pub mod api_key;
pub mod certificate;
pub mod ext_authz;
pub mod introspect;
pub mod jwt;
mod object;
pub mod provider;
mod refusal;
mod requirement;
pub mod revoked;
mod verdicts;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::judge::{Judge, Judgement};
use crate::call::{Call, Failure};
use crate::policy::api_key::KeyStatistic;
use crate::policy::identity::Identity;
use crate::status::{Code, Status};
use crate::telemetry::{AuthVerdict, WorkerMetrics};

use provider::{Presence, Provider, Scheme};
use refusal::Reason;
use requirement::Outcome;

pub use requirement::{Combination, Requirement};

/// What a snapshot demands of its calls.
#[derive(Debug, Default)]
pub struct Auth {
    /// Every provider of the configuration, also those that no rule asks for.
    pub providers: Box<[Arc<dyn Provider>]>,
    /// By [`Binding::rule`](crate::route::Binding::rule).
    pub requirements: Box<[Arc<Requirement>]>,
}

/// The stage: a judge by the [`Auth`] of the call's snapshot. Without one, nobody is asked.
#[derive(Clone, Debug)]
pub struct Authenticate {
    metrics: Arc<WorkerMetrics>,
}

impl Judge for Authenticate {
    const NAME: &'static str = "auth";

    fn judge(&self, mut call: Call) -> Judgement {
        let snapshot = call.snapshot.clone();
        let Some(auth) = snapshot.live.get::<Arc<Auth>>() else { return Judgement::Silent(call) };
        let index = usize::try_from(call.binding.rule).unwrap_or(usize::MAX);
        let Some(requirement) = auth.requirements.get(index) else {
            let lost = Status::gateway(Code::Internal, "nobody knows what this method requires");
            return Judgement::Refuse(lost.with_reason("INTERNAL").into());
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        match requirement.judge(&call.head, now) {
            Outcome::Open => {
                auth.withhold_unasked(&mut call);
                Judgement::Silent(call)
            }
            Outcome::Anonymous => {
                self.metrics.authenticated(AuthVerdict::Anonymous);
                requirement.withhold(&mut call, None);
                Judgement::Pass(call)
            }
            Outcome::Identified { identity, decider } => {
                Judgement::Pass(admit(call, requirement, &identity, decider, &self.metrics))
            }
            Outcome::Refused(reason) => Judgement::Refuse(refuse(&call, requirement, &reason, &self.metrics)),
            Outcome::Later { verdict, decider } => {
                let (requirement, metrics) = (requirement.clone(), self.metrics.clone());
                Judgement::Later(Box::pin(async move {
                    match verdict.await {
                        Ok(identity) => Ok(admit(call, &requirement, &identity, decider, &metrics)),
                        Err(reason) => Err(refuse(&call, &requirement, &reason, &metrics)),
                    }
                }))
            }
        }
    }
}

impl Authenticate {
    pub fn new(metrics: Arc<WorkerMetrics>) -> Self {
        Self { metrics }
    }
}

impl Auth {
    /// The refusal of a call that goes on as nobody's, and that only somebody may make.
    pub(super) fn demand(&self, call: &Call, metrics: &WorkerMetrics) -> Failure {
        let index = usize::try_from(call.binding.rule).unwrap_or(usize::MAX);
        match self.requirements.get(index) {
            Some(requirement) => refuse(call, requirement, &Reason::missing(), metrics),
            None => Reason::missing().status(&refusal::Challenges::new(&[])).into(),
        }
    }

    /// What operators see of all keys, in no order; keys that several providers take stand here once.
    pub fn keys(&self) -> Vec<KeyStatistic> {
        let mut keys: Vec<_> = self.providers.iter().flat_map(|provider| provider.keys()).collect();
        let mut seen = HashSet::new();
        keys.retain(|key| seen.insert(key.hash));
        keys
    }

    /// Where nobody is asked, a credential of the gateway's own is still none of the backend's affair.
    /// `Authorization` in another scheme, as for a backend that checks passwords, goes on.
    fn withhold_unasked(&self, call: &mut Call) {
        for provider in &self.providers {
            let Some(carrier) = provider.carrier().filter(|carrier| call.metadata.contains_key(*carrier))
            else {
                continue;
            };
            let is_ours =
                provider.scheme() != Scheme::External && provider.present(&call.head) != Presence::Absent;
            if is_ours && !provider.profile().pass_token {
                call.metadata.remove(carrier);
            }
        }
    }
}

/// The call goes on as that of `identity`.
fn admit(
    mut call: Call,
    requirement: &Requirement,
    identity: &Arc<Identity>,
    decider: usize,
    metrics: &WorkerMetrics,
) -> Call {
    metrics.authenticated(AuthVerdict::Accepted);
    requirement.withhold(&mut call, Some(decider));
    for name in &identity.withheld {
        call.metadata.remove(name);
    }
    for (name, value) in &identity.forward {
        call.metadata.insert(name.clone(), value.clone());
    }
    call.notes.identified(identity.clone());
    call.identity = Some(identity.clone());
    call
}

/// The call ends here.
fn refuse(call: &Call, requirement: &Requirement, reason: &Reason, metrics: &WorkerMetrics) -> Failure {
    metrics.authenticated(reason.verdict());
    let provider = requirement.name_of(reason.decider);
    tracing::debug!(provider, reason = reason.word(), "a call is not authenticated");
    for (name, value) in reason.headers(&requirement.challenges) {
        call.notes.reply_header(name, value);
    }
    reason.status(&requirement.challenges).into()
}
