//! `rate` of a policy or a rule, one or a list: how much each subject may take.
//!
//! ```yaml
//! rate: { by: ip, limit: 50/s, burst: 100 }
//! rate:
//!   - { by: consumer, limit: plan, store: shared }
//!   - { by: [header x-tenant, method], limit: 600/m, quota: 10000/day, concurrency: 20 }
//! ```
//!
//! ```text
//! Rate = Digits "/" ("s" | "m" | "h")      Quota = Digits "/" ("day" | "month")
//! ```
//!
//! A rate refills all the time; a quota comes back as a whole when the next day or month of UTC begins. That is
//! why they have keys of their own.

use std::time::Duration;

use http::HeaderName;

use super::cost::Cost;
use super::finding::{Position, Report};
use super::section::Section;
use super::surfaces::{Named, named};
use super::value;
use super::yaml::{Node, Value};
use crate::policy::bucket;
use crate::policy::quota::{OverQuota, Period, QUOTA_UNITS_MAX, Quota};

/// What each subject may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    pub position: Position,
    /// What tells subjects apart; all of it together.
    pub by: Vec<By>,
    pub allowance: Allowance,
    /// Units that a call takes. Default: the rule's `cost`, or 1.
    pub cost: Option<Cost>,
    /// Calls of a subject at once, on one node. Default: any number.
    pub concurrency: Option<u32>,
    pub mode: Mode,
    /// Clients are not told where they stand, except when they are refused. Default false.
    pub quiet: bool,
    /// Where is counted. Default: the memory of each node.
    pub store: Option<Named>,
    /// When the shared store does not answer. Default: each node counts its share.
    pub on_store_error: OnStoreError,
}

/// What tells subjects apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    Ip,
    Header(HeaderName),
    Consumer,
    Method,
}

/// How much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowance {
    Own(Numbers),
    /// What the plan of the consumer allows; `otherwise` names the plan of those without one.
    Plan {
        otherwise: Option<Named>,
    },
}

/// A rate, a quota, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    pub rate: Option<bucket::Rate>,
    pub quota: Option<Quota>,
}

/// What a limit does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Enforce,
    Shadow,
}

/// What becomes of a call when the shared store does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStoreError {
    #[default]
    Local,
    Allow,
    Deny,
}

const BURST_MAX: u64 = 1_000_000_000;

const MODES: [(&str, Mode); 2] = [("enforce", Mode::Enforce), ("shadow", Mode::Shadow)];
const ON_STORE_ERROR: [(&str, OnStoreError); 3] =
    [("local", OnStoreError::Local), ("allow", OnStoreError::Allow), ("deny", OnStoreError::Deny)];
pub(super) const OVER_QUOTA: [(&str, OverQuota); 2] = [("deny", OverQuota::Deny), ("bill", OverQuota::Bill)];

/// So many units each period.
#[derive(Clone, Copy)]
pub(super) struct Units {
    units: u64,
    period: Duration,
}

/// What is written for `limit`.
#[derive(Clone, Copy)]
enum Written {
    Plan,
    Units(Units),
}

impl Rate {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut rate = Self {
            position: node.position,
            by: Vec::new(),
            allowance: Allowance::Own(Numbers::default()),
            cost: None,
            concurrency: None,
            mode: Mode::default(),
            quiet: false,
            store: None,
            on_store_error: OnStoreError::default(),
        };
        let (mut limit, mut numbers, mut otherwise) = (None, Draft::default(), None);
        let mut section = Section::open(node, "policies.NAME.rate", report)?;
        section.read("by", &mut rate.by, value::one_or_more("key", by));
        section.read("limit", &mut limit, |node, report| limit_or_plan(node, report).map(Some));
        section.read("burst", &mut numbers.burst, burst);
        section.read("quota", &mut numbers.quota, |node, report| quota(node, report).map(Some));
        section.read("over_quota", &mut numbers.over, value::choice(&OVER_QUOTA));
        section.read("default_plan", &mut otherwise, |node, report| named(node, report).map(Some));
        section.read("cost", &mut rate.cost, |node, report| Cost::read(node, report).map(Some));
        section.read("concurrency", &mut rate.concurrency, |node, report| {
            value::integer(1..=10_000_000)(node, report).map(Some)
        });
        section.read("mode", &mut rate.mode, value::choice(&MODES));
        section.read("quiet", &mut rate.quiet, value::boolean);
        section.read("store", &mut rate.store, |node, report| named(node, report).map(Some));
        section.read("on_store_error", &mut rate.on_store_error, value::choice(&ON_STORE_ERROR));
        section.require("by", "say whom to count: `ip`, `consumer`, `method` or `header NAME`");
        let is_plan = matches!(limit, Some(Written::Plan));
        let has_some = ["limit", "quota", "concurrency"].into_iter().any(|key| section.has(key));
        let has_numbers = ["burst", "quota", "over_quota"].into_iter().any(|key| section.has(key));
        section.close(&[]);
        if let Some(Written::Units(units)) = limit {
            numbers.rate = Some(units);
        }
        if is_plan && has_numbers {
            report.add(
                node.position,
                "`limit: plan` takes `burst` and `quota` from the plan: remove them here",
            );
        }
        if otherwise.is_some() && !is_plan {
            report.add(node.position, "`default_plan` says something only beside `limit: plan`");
        }
        if !has_some {
            report.add(node.position, "expected at least one of `limit`, `quota` and `concurrency`");
        }
        let numbers = numbers.finish(node.position, report);
        rate.allowance = if is_plan { Allowance::Plan { otherwise } } else { Allowance::Own(numbers) };
        (!rate.by.is_empty()).then_some(rate)
    }
}

/// Numbers as they are read, before they are held against each other.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) rate: Option<Units>,
    pub(super) burst: Option<(u64, Position)>,
    pub(super) quota: Option<Units>,
    pub(super) over: OverQuota,
}

impl Draft {
    pub(super) fn finish(self, position: Position, report: &mut Report) -> Numbers {
        let mut numbers = Numbers::default();
        if let Some(Units { units, period }) = self.rate {
            let (burst, position) = self.burst.unwrap_or((units, position));
            numbers.rate = bucket::Rate::new(units, period, burst);
            if numbers.rate.is_none() {
                report.add(position, format!("a burst of {burst} takes more than a year to come back"));
            }
        } else if let Some((_, position)) = self.burst {
            report.add(position, "a burst without a rate never comes back");
        }
        if let Some(Units { units, period }) = self.quota {
            let window = if period == DAY { Period::Day } else { Period::Month };
            numbers.quota = Quota::new(units, window, self.over);
            if let Some(rate) = numbers.rate {
                let reached = rate.burst() as f64 + rate.per_second() * period.as_secs_f64();
                if reached < units as f64 {
                    let message =
                        format!("the rate allows less than the quota of {units} in its whole window");
                    report.warn(position, message);
                }
                if rate.burst() > units {
                    let message = format!("a burst of {} is more than the quota of {units}", rate.burst());
                    report.add(position, message);
                }
            }
        } else if self.over != OverQuota::default() {
            report.add(position, "`over_quota` says something only beside `quota`");
        }
        numbers
    }
}

/// `ip`, `consumer`, `method` or `header NAME`.
fn by(node: &Node, report: &mut Report) -> Option<By> {
    const EXPECTED: &str = "`ip`, `consumer`, `method` or `header NAME`";
    let Value::Text(text) = &node.value else { return value::expected(node, report, EXPECTED) };
    match text.as_str() {
        "ip" => Some(By::Ip),
        "consumer" => Some(By::Consumer),
        "method" => Some(By::Method),
        other => match other.strip_prefix("header ").map(|name| HeaderName::try_from(name.trim())) {
            Some(Ok(name)) => Some(By::Header(name)),
            Some(Err(_)) => value::refuse(node, report, format!("`{other}` does not name a header")),
            None => value::expected(node, report, EXPECTED),
        },
    }
}

fn limit_or_plan(node: &Node, report: &mut Report) -> Option<Written> {
    if let Value::Unwritten = node.value {
        return value::expected(node, report, "`plan`, or a rate such as `10/s`, `600/m` or `1000/h`");
    }
    match &node.value {
        Value::Text(text) if text == "plan" => Some(Written::Plan),
        _ => rate(node, report).map(Written::Units),
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The longest; only its being one counts.
const MONTH: Duration = Duration::from_secs(31 * 24 * 3600);

/// `10/s`.
pub(super) fn rate(node: &Node, report: &mut Report) -> Option<Units> {
    let units =
        [("s", 1), ("m", 60), ("h", 3600)].map(|(unit, period_s)| (unit, Duration::from_secs(period_s)));
    let expected = "a rate such as `10/s`, `600/m` or `1000/h`";
    if let Value::Text(text) = &node.value
        && (text.ends_with("/day") || text.ends_with("/month"))
    {
        return value::refuse(node, report, format!("`{text}` is a quota: write `quota: {text}`"));
    }
    parse(node, report, &units, BURST_MAX, expected)
}

/// `10000/month`.
pub(super) fn quota(node: &Node, report: &mut Report) -> Option<Units> {
    let units = [("day", DAY), ("month", MONTH)];
    parse(node, report, &units, QUOTA_UNITS_MAX, "a quota such as `100/day` or `10000/month`")
}

fn parse(
    node: &Node,
    report: &mut Report,
    periods: &[(&str, Duration)],
    units_max: u64,
    expected: &str,
) -> Option<Units> {
    let parsed = match &node.value {
        Value::Text(text) => text.split_once('/').and_then(|(digits, unit)| {
            let (_, period) = periods.iter().find(|(name, _)| *name == unit)?;
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            Some((is_number.then(|| digits.parse::<u64>().unwrap_or(u64::MAX))?, *period))
        }),
        _ => None,
    };
    match parsed {
        Some((units, period)) if (1..=units_max).contains(&units) => Some(Units { units, period }),
        Some((units, _)) => value::refuse(node, report, format!("{units} is not between 1 and {units_max}")),
        None => value::expected(node, report, expected),
    }
}

pub(super) fn burst(node: &Node, report: &mut Report) -> Option<Option<(u64, Position)>> {
    value::integer(1..=BURST_MAX)(node, report).map(|burst| Some((burst, node.position)))
}
