//! From the file's `allow` and `scopes` to what each rule grants.

use std::collections::BTreeSet;

use super::expressions::{Expressions, Known, NOBODY_ASKED};
use super::snapshot::finding;
use crate::config::Config;
use crate::config::effective::Effective;
use crate::config::finding::Finding;
use crate::stage::authorize::{Authorization, Grant};

/// What every rule grants, or every finding about its conditions.
pub(super) fn build(
    config: &Config,
    effective: &[Effective<'_>],
    expressions: &Expressions<'_>,
) -> Result<Authorization, Vec<Finding>> {
    let mut findings = Vec::new();
    let rules = (0..).zip(effective).map(|(index, effective)| {
        // What is not shown is not called, and may have no path.
        if effective.rule.is_some_and(|rule| !rule.expose) {
            return Grant::default();
        }
        grant(config, effective, &expressions.of_rule(index, effective), &mut findings)
    });
    let rules: Box<[Grant]> = rules.collect();
    // Rules under the same policy find the same.
    let mut told = BTreeSet::new();
    findings.retain(|finding| told.insert((finding.position, finding.message.clone())));
    if findings.is_empty() { Ok(Authorization { rules }) } else { Err(findings) }
}

/// What one rule grants.
fn grant(
    config: &Config,
    effective: &Effective<'_>,
    known: &Known<'_>,
    findings: &mut Vec<Finding>,
) -> Grant {
    let mut conditions = Vec::new();
    for (written, _) in effective.all_of(|clauses| clauses.condition.as_ref()) {
        conditions.extend(known.compile(written, findings));
    }
    let mut scopes = BTreeSet::new();
    for (written, _) in effective.all_of(|clauses| clauses.scopes.as_ref()) {
        if known.asks_nobody {
            let message = format!("no scope is ever granted: {NOBODY_ASKED}");
            findings.push(finding(config, Some(written.position), message));
        }
        scopes.extend(written.names.iter().map(|name| Box::from(name.as_str())));
    }
    Grant::new(scopes.into_iter().collect(), conditions)
}
