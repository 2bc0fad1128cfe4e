//! `breaker`, `endpoint_breaker`, `retry` and `shed` of a service, and `retry` of a rule: what keeps a failing backend from harm.
//!
//! ```yaml
//! breaker: { consecutive: 5, error_rate: 50%, window: 10s, min_requests: 20, open: 5s..60s }
//! retry: { on: [connect, unavailable], attempts: 2, budget: 20% }
//! shed: { min: 20, max: 1000 }
//! ```
//!
//! Each is off without its key, and has every default with an empty one.

use std::time::Duration;

use super::finding::{Position, Report};
use super::section::Section;
use super::value::{self, MIB};
use super::yaml::Node;
use crate::policy::breaker::BreakerSettings;
use crate::policy::concurrency::ConcurrencySettings;
use crate::policy::retry::{Condition, RetryRules};

/// Which calls are made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    pub rules: RetryRules,
    /// Of a hundred calls of the service, so many may be made again. Default 20 %.
    pub budget_percent: u32,
    /// Where the file says it.
    pub position: Position,
}

/// The share of calls that may be made again, where the service does not say it.
pub const BUDGET_PERCENT: u32 = 20;

/// gRFC A6 bounds `maxAttempts` so.
const ATTEMPTS_MAX: u32 = 5;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Reads `breaker` or `endpoint_breaker`: one machine, of the service or of each of its endpoints.
pub(super) fn breaker(breaker: &str, node: &Node, report: &mut Report) -> Option<BreakerSettings> {
    let mut settings = BreakerSettings::default();
    let mut open = settings.open_min..=settings.open_max;
    let mut section = Section::open(node, format!("services.NAME.{breaker}"), report)?;
    section.read("consecutive", &mut settings.consecutive, value::integer(1..=1_000_000));
    section.read("error_rate", &mut settings.error_percent, value::percent(1..=100));
    section.read("window", &mut settings.window, value::duration(S..=HOUR));
    section.read("min_requests", &mut settings.requests_min, value::integer(1..=1_000_000));
    section.read("open", &mut open, value::durations(100 * MS..=HOUR));
    section.close(&[]);
    (settings.open_min, settings.open_max) = open.into_inner();
    Some(settings)
}

/// Reads `shed`.
pub(super) fn shed(node: &Node, report: &mut Report) -> Option<ConcurrencySettings> {
    let mut settings = ConcurrencySettings::default();
    let mut section = Section::open(node, "services.NAME.shed", report)?;
    section.read("min", &mut settings.limit_min, value::integer(1..=1_000_000));
    section.read("max", &mut settings.limit_max, value::integer(1..=1_000_000));
    section.read("tolerance", &mut settings.tolerance_percent, value::percent(100..=1000));
    section.read("smoothing", &mut settings.smoothing_percent, value::percent(1..=100));
    if settings.limit_min > settings.limit_max {
        section.refuse("`min` is more than `max`");
    }
    section.close(&[]);
    Some(settings)
}

impl Retry {
    /// Reads `retry` of a service, which has the budget of all its calls.
    pub(super) fn of_service(node: &Node, report: &mut Report) -> Option<Self> {
        Self::read("services.NAME", node, report)
    }

    /// Reads `retry` of a rule.
    pub(super) fn of_rule(node: &Node, report: &mut Report) -> Option<Self> {
        Self::read(RULE, node, report)
    }

    fn read(owner: &'static str, node: &Node, report: &mut Report) -> Option<Self> {
        let mut rules = RetryRules::default();
        let mut backoff = rules.backoff_min..=rules.backoff_max;
        let mut budget_percent = BUDGET_PERCENT;
        let mut section = Section::open(node, format!("{owner}.retry"), report)?;
        section.read("on", &mut rules.on, value::one_or_more("condition", value::choice(&Condition::ALL)));
        section.read("attempts", &mut rules.attempts_max, value::integer(1..=ATTEMPTS_MAX));
        section.read("per_try", &mut rules.per_try, |node, report| {
            value::duration(10 * MS..=HOUR)(node, report).map(Some)
        });
        section.read("backoff", &mut backoff, value::durations(MS..=60 * S));
        section.read("buffer", &mut rules.replay_bytes_max, value::bytes(0..=64 * MIB));
        if owner != RULE {
            section.read("budget", &mut budget_percent, value::percent(0..=100));
        }
        section.close(&[]);
        (rules.backoff_min, rules.backoff_max) = backoff.into_inner();
        Some(Self { rules, budget_percent, position: node.position })
    }
}

const RULE: &str = "surfaces.NAME.rules[]";
