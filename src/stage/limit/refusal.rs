//! Why limits refuse a call, and what the client is told.
//!
//! 429 is for what passes later. A call that costs more than a limit ever allows is the client's to change, and so
//! is one whose cost nobody can tell from what it sent: both are 400, and nothing is debited.

use std::time::Duration;

use super::bucket::Allowed;
use crate::policy::limit::{Limit, Standing, Tightest};
use crate::status::{Code, Status};

/// See the module's documentation.
#[derive(Debug)]
pub(in crate::stage) struct Refusal {
    reason: Reason,
    retry_ns: Option<u64>,
    /// `None` where the limit is quiet, or none of them is to blame.
    pub(super) tightest: Option<Tightest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Rate,
    Quota,
    Concurrency,
    StoreDown,
    NoPlan,
    /// The expression that says what a call costs has no value.
    Cost,
    /// The call costs more than the limit ever allows.
    Never,
}

impl Refusal {
    pub(super) fn new(reason: Reason, retry_ns: Option<u64>) -> Self {
        Self { reason, retry_ns, tightest: None }
    }

    /// `retry_ns`: when the call would pass; `None` if never.
    pub(super) fn by(allowed: &Allowed, is_quiet: bool, standing: Standing, retry_ns: Option<u64>) -> Self {
        let reason = match (allowed.limit, retry_ns) {
            (_, None) => Reason::Never,
            (Limit::Rate(_), _) => Reason::Rate,
            (Limit::Quota(_), _) => Reason::Quota,
        };
        let standing = Standing { reset_ns: retry_ns.unwrap_or(standing.reset_ns), ..standing };
        let tightest = (!is_quiet).then(|| Tightest { shown: allowed.shown.clone(), standing });
        Self { reason, retry_ns, tightest }
    }

    pub(super) fn status(&self) -> Status {
        let (code, reason, message) = match self.reason {
            Reason::Rate => (Code::ResourceExhausted, "RATE_LIMITED", "too many requests"),
            Reason::Quota => (Code::ResourceExhausted, "QUOTA_EXCEEDED", "the quota is used up"),
            Reason::Concurrency => (Code::ResourceExhausted, "CONCURRENCY", "too many calls at once"),
            Reason::StoreDown => (Code::Unavailable, "RATE_STORE_DOWN", "limits cannot be checked"),
            Reason::NoPlan => (Code::PermissionDenied, "NO_PLAN", "the consumer has no plan"),
            Reason::Cost => (Code::InvalidArgument, "COST_UNKNOWN", "nobody can tell what the call costs"),
            Reason::Never => {
                (Code::InvalidArgument, "COST_TOO_HIGH", "the call costs more than its limit ever allows")
            }
        };
        let status = match self.reason {
            Reason::StoreDown => Status::gateway(code, message),
            _ => Status::client(code, message),
        };
        let status = status.with_reason(reason);
        match self.retry_ns {
            Some(retry_ns) => status.with_retry(Duration::from_nanos(retry_ns)),
            None => status,
        }
    }
}
