//! Authorization: whether a call is allowed, by the scopes and the conditions of its rule.
//!
//! ```text
//! scopes ─ one not granted ─▶ 403 FORBIDDEN, Bearer error="insufficient_scope", scope="…"
//!    │
//! conditions ─ one false, or without a value ─▶ 403 FORBIDDEN
//!    │
//!    └─▶ the call goes on          nobody's call, where somebody's might be allowed ─▶ 401 as by `auth`
//! ```
//!
//! All scopes must be granted and all conditions hold. A condition that fails does not hold; why is for the log
//! and the metrics, never for the client. A rule that asks for nothing costs a look into a table, and what a
//! condition does not mention is not even looked at.

use std::sync::Arc;

use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;

use super::auth::Auth;
use super::facts::Facts;
use super::judge::{Judge, Judgement};
use crate::call::{Call, Failure};
use crate::policy::condition::{Condition, Variable};
use crate::status::{Code, Status};
use crate::telemetry::{Permission, WorkerMetrics};

/// What a snapshot allows, by [`Binding::rule`](crate::route::Binding::rule).
#[derive(Debug, Default)]
pub struct Authorization {
    pub rules: Box<[Grant]>,
}

/// What one rule asks of those who call.
#[derive(Debug, Default)]
pub struct Grant {
    scopes: Box<[Box<str>]>,
    /// What is told to whom a scope was not granted; RFC 6750, section 3.1.
    challenge: Option<HeaderValue>,
    conditions: Box<[Condition]>,
    /// Whether a condition asks for the time.
    needs_time: bool,
}

/// The stage: a judge by the [`Authorization`] of the call's snapshot. Without one, everything is allowed.
#[derive(Clone, Debug)]
pub struct Authorize {
    metrics: Arc<WorkerMetrics>,
}

impl Judge for Authorize {
    const NAME: &'static str = "authorize";

    fn judge(&self, call: Call) -> Judgement {
        let Some(authorization) = call.snapshot.live.get::<Arc<Authorization>>() else {
            return Judgement::Silent(call);
        };
        let index = usize::try_from(call.binding.rule).unwrap_or(usize::MAX);
        let Some(grant) = authorization.rules.get(index) else {
            let lost = Status::gateway(Code::Internal, "nobody knows what this method allows");
            return Judgement::Refuse(lost.with_reason("INTERNAL").into());
        };
        if grant.asks_nothing() {
            return Judgement::Silent(call);
        }
        let permission = grant.judge(&call);
        self.metrics.authorized(permission);
        let failure = match permission {
            Permission::Allowed => return Judgement::Pass(call),
            Permission::Anonymous => self.demand(&call),
            Permission::Scope => {
                if let Some(challenge) = &grant.challenge {
                    call.notes.reply_header(WWW_AUTHENTICATE, challenge.clone());
                }
                forbidden("a scope that this method needs was not granted")
            }
            Permission::Condition | Permission::Failed => forbidden("the call is not allowed"),
        };
        Judgement::Refuse(failure)
    }
}

impl Authorize {
    pub fn new(metrics: Arc<WorkerMetrics>) -> Self {
        Self { metrics }
    }

    /// Somebody must say who is calling: in the words of the stage that would have asked.
    fn demand(&self, call: &Call) -> Failure {
        match call.snapshot.live.get::<Arc<Auth>>() {
            Some(auth) => auth.demand(call, &self.metrics),
            None => Auth::default().demand(call, &self.metrics),
        }
    }
}

impl Grant {
    /// What asks for all of `scopes` and for all of `conditions`.
    pub fn new(scopes: Vec<Box<str>>, conditions: Vec<Condition>) -> Self {
        let challenge = (!scopes.is_empty()).then(|| {
            let text = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", scopes.join(" "));
            HeaderValue::try_from(text).expect("scopes are printable, and have no quotes")
        });
        let needs_time = conditions.iter().any(|condition| condition.mentions(Variable::Time));
        Self { scopes: scopes.into(), challenge, conditions: conditions.into(), needs_time }
    }

    fn asks_nothing(&self) -> bool {
        self.scopes.is_empty() && self.conditions.is_empty()
    }

    fn judge(&self, call: &Call) -> Permission {
        let identity = call.identity.as_deref();
        if !self.scopes.is_empty() {
            let Some(identity) = identity else { return Permission::Anonymous };
            if !self.scopes.iter().all(|scope| identity.scopes.contains(scope)) {
                return Permission::Scope;
            }
        }
        let facts = Facts::of(call, self.needs_time);
        let subject = facts.subject();
        for condition in &self.conditions {
            let permission = match condition.evaluate(&subject) {
                Ok(true) => continue,
                Ok(false) => Permission::Condition,
                Err(error) => {
                    let method = &*call.binding.method;
                    tracing::debug!(method, %error, "a condition has no value for a call");
                    Permission::Failed
                }
            };
            let needs_somebody = identity.is_none() && condition.identity_variable().is_some();
            return if needs_somebody { Permission::Anonymous } else { permission };
        }
        Permission::Allowed
    }
}

fn forbidden(message: &'static str) -> Failure {
    Status::client(Code::PermissionDenied, message).with_reason("FORBIDDEN").into()
}
