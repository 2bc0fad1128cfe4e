//! What the limits of a rule let pass, and when, line by line: the words behind `rate` in `transom explain`.
//!
//! Limits with `limit: plan` have a line for the plan that holds, or for each one that may. The numbers are put
//! into words by [`policy::pace`](crate::policy::pace).

use super::Config;
use super::caller::{Caller, Standing};
use super::consumers::Plan as PlanOf;
use super::cost::Cost;
use super::effective::{Effective, Origin};
use super::finding::Position;
use super::plans::Plan;
use super::rate::{Allowance, By, Mode, Numbers, Rate};
use super::surfaces::Named;
use crate::policy::limit::Limit;
use crate::policy::pace;

/// One line, and where the file says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passes {
    /// What it is about: a limit, 0, or a plan below one, 1.
    pub depth: usize,
    pub text: String,
    pub position: Position,
}

/// What passes under the limits that `origin` says, for `caller` or for anybody.
pub fn passes(
    config: &Config,
    effective: &Effective<'_>,
    origin: Origin<'_>,
    caller: Option<(&Caller<'_>, &Standing)>,
) -> Vec<Passes> {
    let cost = effective.single(|clauses| clauses.cost.as_ref()).map(|(cost, _)| cost);
    let said =
        effective.all_of(|clauses| clauses.rate.as_ref()).into_iter().find(|(_, from)| *from == origin);
    let rates = said.into_iter().flat_map(|(rates, _)| rates);
    let mut lines = Vec::new();
    for rate in rates {
        let cost = rate.cost.as_ref().or(cost);
        Told { config, rate, cost, caller, lines: &mut lines }.tell();
    }
    lines
}

/// What becomes of an identity without a plan.
const NO_PLAN: &str = "403 `NO_PLAN`";

/// One limit that is told.
struct Told<'a> {
    config: &'a Config,
    rate: &'a Rate,
    cost: Option<&'a Cost>,
    caller: Option<(&'a Caller<'a>, &'a Standing)>,
    lines: &'a mut Vec<Passes>,
}

impl Told<'_> {
    fn tell(&mut self) {
        match &self.rate.allowance {
            Allowance::Own(numbers) => {
                let paces = self.paces(*numbers);
                self.line(None, paces, self.rate.position);
            }
            Allowance::Plan { otherwise } => self.tell_plans(otherwise.as_ref()),
        }
    }

    /// The plan that holds, or those that may.
    fn tell_plans(&mut self, otherwise: Option<&Named>) {
        let Some((caller, standing)) = self.caller else {
            self.tell_all("by the plan of the consumer");
            let rest = otherwise.map_or_else(|| NO_PLAN.to_owned(), |named| format!("plan {}", named.name));
            return self.add(1, format!("without one: {rest}"), self.rate.position);
        };
        if let Standing::Nobody { .. } = standing {
            let text = format!("{}: a plan limits nobody who is unknown", self.subject());
            return self.add(0, text, self.rate.position);
        }
        match &caller.entry.plan {
            Some(PlanOf::Named(named)) => self.tell_plan("plan", named),
            Some(PlanOf::Claim(claim)) => {
                self.tell_all(&format!("by the plan that the claim `{claim}` names"));
                let rest = match otherwise {
                    Some(named) => {
                        format!("without the claim: plan {}; any other name: {NO_PLAN}", named.name)
                    }
                    None => format!("without the claim, or any other name: {NO_PLAN}"),
                };
                self.add(1, rest, self.rate.position);
            }
            None => match otherwise {
                Some(named) => self.tell_plan("default_plan", named),
                None => {
                    let text = format!("{}: {NO_PLAN}: `{}` has no plan", self.subject(), caller.name);
                    self.add(0, text, self.rate.position);
                }
            },
        }
    }

    /// All plans, each with its line.
    fn tell_all(&mut self, which: &str) {
        let paces = self.at_the_same_time().into_iter().collect::<Vec<_>>();
        self.line(Some(which), paces, self.rate.position);
        for plan in &self.config.plans {
            let text = format!("plan {}: {}", plan.name, self.of_numbers(plan.numbers).join("; "));
            self.add(1, text, plan.position);
        }
    }

    fn tell_plan(&mut self, key: &str, named: &Named) {
        let is_its = |plan: &&Plan| plan.name == named.name;
        // Names of plans were checked when the file was read.
        let Some(plan) = self.config.plans.iter().find(is_its) else { return };
        let paces = self.paces(plan.numbers);
        self.line(Some(&format!("{key} {}", plan.name)), paces, plan.position);
    }

    /// `each address, with cost 5: 4 at once, then one every 500 ms`.
    fn line(&mut self, which: Option<&str>, mut paces: Vec<String>, position: Position) {
        let mut text = self.subject();
        match self.cost {
            None | Some(Cost::Units(1)) => {}
            Some(Cost::Units(units)) => text.push_str(&format!(", with cost {units}")),
            Some(Cost::Counted(expression)) => text.push_str(&format!(", with cost `{}`", expression.text)),
        }
        if let Some(which) = which {
            text.push_str(&format!(", {which}"));
        }
        if self.rate.mode == Mode::Shadow {
            paces.push("in shadow mode, which refuses nobody".to_owned());
        }
        if !paces.is_empty() {
            text.push_str(&format!(": {}", paces.join("; ")));
        }
        self.add(0, text, position);
    }

    fn add(&mut self, depth: usize, text: String, position: Position) {
        self.lines.push(Passes { depth, text, position });
    }

    /// Who is counted.
    fn subject(&self) -> String {
        let is_nobody = matches!(self.caller, Some((_, Standing::Nobody { .. })));
        let one = |by: &By| match by {
            By::Ip => "address".to_owned(),
            By::Header(name) => format!("value of `{name}`"),
            By::Consumer if is_nobody => "address".to_owned(),
            By::Consumer => "consumer".to_owned(),
            By::Method => "method".to_owned(),
        };
        format!("each {}", self.rate.by.iter().map(one).collect::<Vec<_>>().join(" and "))
    }

    fn paces(&self, numbers: Numbers) -> Vec<String> {
        let mut paces = self.of_numbers(numbers);
        paces.extend(self.at_the_same_time());
        paces
    }

    fn of_numbers(&self, numbers: Numbers) -> Vec<String> {
        let cost = match self.cost {
            None => Some(1),
            Some(Cost::Units(units)) => Some(*units),
            Some(Cost::Counted(_)) => None,
        };
        let limits = numbers.rate.map(Limit::Rate).into_iter().chain(numbers.quota.map(Limit::Quota));
        limits.map(|limit| pace::words(&limit, cost)).collect()
    }

    fn at_the_same_time(&self) -> Option<String> {
        self.rate.concurrency.map(|calls| format!("{calls} at the same time on each node"))
    }
}
