//! `plans`: what consumers may take, by name.
//!
//! ```yaml
//! plans:
//!   free: { rate: 10/s, burst: 20, quota: 10000/month }
//!   pro: { rate: 200/s, burst: 400, quota: 5000000/month, over_quota: bill }
//! ```
//!
//! A consumer has a plan; `rate: { by: consumer, limit: plan }` in a policy makes it count.

use super::finding::{Position, Report};
use super::rate::{self, Draft, Numbers};
use super::section::Section;
use super::value;
use super::yaml::{Key, Node};

/// What its consumers may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub name: String,
    /// Where the file names it.
    pub position: Position,
    pub numbers: Numbers,
}

/// The plans by name.
pub(super) fn read(node: &Node, report: &mut Report) -> Option<Vec<Plan>> {
    value::by_name("plans", read_one)(node, report)
}

fn read_one(key: &Key, node: &Node, report: &mut Report) -> Option<Plan> {
    let name = &key.name;
    let mut section = Section::open(node, format!("plans.{name}"), report)?;
    let mut draft = Draft::default();
    section.read("rate", &mut draft.rate, |node, report| rate::rate(node, report).map(Some));
    section.read("burst", &mut draft.burst, rate::burst);
    section.read("quota", &mut draft.quota, |node, report| rate::quota(node, report).map(Some));
    section.read("over_quota", &mut draft.over, value::choice(&rate::OVER_QUOTA));
    let has_some = section.has("rate") || section.has("quota");
    section.close(&[]);
    if !has_some {
        report.add(key.position, format!("the plan `{name}` allows everything: expected `rate` or `quota`"));
    }
    let numbers = draft.finish(node.position, report);
    Some(Plan { name: name.clone(), position: key.position, numbers })
}
