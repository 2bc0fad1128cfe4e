//! From the file's `to`, `when` and `sticky` to where the calls of each rule go.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::expressions::{Expressions, Known};
use crate::config::Config;
use crate::config::effective::Effective;
use crate::config::finding::Finding;
use crate::config::rollout::{Case as Written, Share, Sticky as WrittenSticky};
use crate::policy::balance::HashKey;
use crate::policy::rollout::{Case, FreshCookie, Side, Split, Sticky};
use crate::snapshot::{Destination, Destinations};
use crate::stage::rollout::{Cases, Routing};

/// The cases of every rule, or every finding about their conditions.
pub(super) fn build(
    config: &Config,
    effective: &[Effective<'_>],
    expressions: &Expressions<'_>,
) -> Result<Routing, Vec<Finding>> {
    let mut findings = Vec::new();
    let rules = (0..).zip(effective).map(|(index, effective)| {
        // What is not shown is not called, and may have no path.
        let Some(rule) = effective.rule.filter(|rule| rule.expose && !rule.when.is_empty()) else {
            return Cases::default();
        };
        let known = expressions.of_rule(index, effective);
        Cases::new(
            rule.when.iter().filter_map(|case| compiled(config, case, &known, &mut findings)).collect(),
        )
    });
    let rules = rules.collect();
    let mut told = BTreeSet::new();
    findings.retain(|finding| told.insert((finding.position, finding.message.clone())));
    if findings.is_empty() { Ok(Routing { rules }) } else { Err(findings) }
}

fn compiled(
    config: &Config,
    written: &Written,
    known: &Known<'_>,
    findings: &mut Vec<Finding>,
) -> Option<Case> {
    let condition = known.compile(&written.condition, findings)?;
    Some(Case { condition, service: config.service(&written.service)? })
}

/// The services that the calls of a rule may go to, each with what holds there.
pub(super) fn destinations(config: &Config, effective: &Effective<'_>) -> Destinations {
    let destination = |index: usize| {
        let service = config.services.get(index)?;
        Some(Destination {
            service: index,
            name: service.name.as_str().into(),
            timeout: effective.timeout(service),
            stream_idle: service.stream_idle_timeout,
            retry: effective.retry(service).map(|retry| Arc::new(retry.rules.clone())),
        })
    };
    // A method that is not shown leads nowhere, and so may a rule that hides it.
    Destinations::new(effective.services(config).into_iter().filter_map(destination).collect())
}

/// The services among which the calls of a rule are shared; `None` where it names one.
pub(super) fn split(config: &Config, effective: &Effective<'_>) -> Option<Arc<Split>> {
    let shares = effective.shares();
    let side = |share: &Share| {
        let service = config.service(&share.service)?;
        Some(Side { service, name: share.service.name.as_str().into(), weight: share.weight })
    };
    let sticky = effective.rule.and_then(|rule| rule.sticky.as_ref()).map(sticky);
    (shares.len() > 1).then(|| Arc::new(Split::new(shares.iter().filter_map(side).collect(), sticky)))
}

fn sticky(written: &WrittenSticky) -> Sticky {
    let cookie = match (&written.key, written.max_age) {
        (HashKey::Cookie(name), Some(max_age)) => {
            Some(FreshCookie { name: name.clone(), max_age_s: max_age.as_secs() })
        }
        _ => None,
    };
    Sticky { key: written.key.clone(), cookie }
}
