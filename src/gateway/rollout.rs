//! From the file's `to`, `when`, `sticky` and `mirror` to where the calls of each rule go, and their copies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::expressions::{Expressions, Known};
use super::snapshot::warning;
use crate::config::Config;
use crate::config::effective::Effective;
use crate::config::finding::Finding;
use crate::config::rollout::{Case as Written, Share, Sticky as WrittenSticky};
use crate::policy::balance::HashKey;
use crate::policy::mirror::Budget;
use crate::policy::rollout::{Case, FreshCookie, Side, Split, Sticky};
use crate::snapshot::{Destination, Destinations, Surfaces};
use crate::stage::rollout::{Cases, Routing};
use crate::telemetry::MirrorMetrics;
use crate::upstream::{Mirror, Mirrors};

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

/// The copies of every rule's calls. A service's budget goes on from one snapshot to the next.
pub(super) fn mirrors(
    config: &Config,
    effective: &[Effective<'_>],
    metrics: &MirrorMetrics,
    previous: Option<&Mirrors>,
) -> Mirrors {
    let mut budgets: BTreeMap<Box<str>, Arc<Budget>> = BTreeMap::new();
    let mut mirror = |effective: &Effective<'_>| {
        let written = effective.rule?.mirror.as_ref()?;
        let name = written.service.name.as_str();
        let known = || previous.and_then(|previous| previous.budgets.get(name)).cloned().unwrap_or_default();
        Some(Arc::new(Mirror {
            service: config.service(&written.service)?,
            settings: written.settings,
            budget: Arc::clone(budgets.entry(name.into()).or_insert_with(known)),
            counts: metrics.service(name),
        }))
    };
    Mirrors { rules: effective.iter().map(&mut mirror).collect(), budgets }
}

/// Methods of which no copies are sent although their rule has a mirror.
pub(super) fn left_out(config: &Config, effective: &[Effective<'_>], shown: &Surfaces) -> Vec<Finding> {
    let mut left_out = BTreeMap::new();
    for binding in shown.all().iter().flat_map(|surface| surface.routes.bindings()) {
        let rule = usize::try_from(binding.rule).ok().and_then(|index| effective.get(index)?.rule);
        let Some(mirror) = rule.and_then(|rule| rule.mirror.as_ref()) else { continue };
        let method = &*binding.method;
        if binding.client_streaming || binding.server_streaming {
            let message = format!("`{method}` streams: no copies are sent of its calls");
            left_out.entry((mirror.position, "streams")).or_insert(message);
        } else if !binding.is_read_only() && !mirror.says_writes {
            let message = format!(
                "`{method}` changes something: no copies are sent of its calls; write `writes: true` for a \
                 service that may do it twice, or `writes: false`"
            );
            left_out.entry((mirror.position, "writes")).or_insert(message);
        }
    }
    left_out.into_iter().map(|((position, _), message)| warning(config, Some(position), message)).collect()
}
