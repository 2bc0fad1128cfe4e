//! From the file's `cache` to what each rule keeps: bounds, terms, and a number that says how replies look.
//!
//! The cache outlives a reload that leaves its bounds as they are. Replies that another set of descriptors, other
//! choices of JSON, another mask or another service have made are not found any more, and make room in their time.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::snapshot::finding;
use crate::config::Config;
use crate::config::cache::{self as file, Partition};
use crate::config::effective::{Effective, Origin};
use crate::config::finding::Finding;
use crate::policy::caching::Terms;
use crate::route::Binding;
use crate::schema::Schema;
use crate::snapshot::Surfaces;
use crate::stage::cache::{Bounds, Cache, Caching, Rule};
use crate::telemetry::cache::CacheMetrics;

/// What every rule keeps; `None` where none keeps anything.
pub(super) fn build(
    config: &Config,
    effective: &[Effective<'_>],
    schema: &Schema,
    shown: &Surfaces,
    metrics: &CacheMetrics,
    previous: Option<&Caching>,
) -> Result<Option<Caching>, Vec<Finding>> {
    if effective.iter().all(|effective| clause(effective).is_none()) {
        return Ok(None);
    }
    let findings = misplaced(config, effective, shown);
    if !findings.is_empty() {
        return Err(findings);
    }
    let bounds = bounds(&config.cache);
    let kept = previous.map(|previous| &previous.cache).filter(|cache| *cache.memory().bounds() == bounds);
    let cache = kept.cloned().unwrap_or_else(|| Arc::new(Cache::new(bounds, metrics.totals.clone())));
    let mut looks = DefaultHasher::new();
    schema.pool().encode_to_vec().hash(&mut looks);
    format!("{:?}", config.json).hash(&mut looks);
    let rule = |effective: &Effective<'_>| {
        let clause = clause(effective)?;
        Some(Arc::new(rule(config, effective, clause, looks.clone(), metrics)))
    };
    Ok(Some(Caching { cache, rules: effective.iter().map(rule).collect() }))
}

/// What is said of the replies under a rule; `None` where none is kept.
pub(super) fn clause<'c>(effective: &Effective<'c>) -> Option<&'c file::Cache> {
    let (clause, _) = effective.single(|clauses| clauses.cache.as_ref())?;
    let is_shown = effective.rule.is_none_or(|rule| rule.expose);
    (is_shown && !clause.is_none).then_some(clause)
}

fn bounds(bounds: &file::Bounds) -> Bounds {
    Bounds {
        bytes_max: bounds.bytes_max,
        key_bytes_max: bounds.key_bytes_max,
        variants_max: bounds.variants_max,
        vary_names_max: bounds.vary_names_max,
        refreshes_max: bounds.refreshes_max,
    }
}

fn rule(
    config: &Config,
    effective: &Effective<'_>,
    clause: &file::Cache,
    mut looks: DefaultHasher,
    metrics: &CacheMetrics,
) -> Rule {
    let surface: Arc<str> = effective.surface.name.as_str().into();
    if let Some(service) = effective.service(config).and_then(|index| config.services.get(index)) {
        service.name.hash(&mut looks);
    }
    if let Some(fields) = effective.fields() {
        format!("{:?}", fields.mask).hash(&mut looks);
    }
    let by_consumer = clause.partition == Partition::Consumer;
    Rule {
        generation: looks.finish(),
        terms: Terms {
            ttl: clause.ttl,
            stale_while_revalidate: clause.stale_while_revalidate,
            stale_if_error: clause.stale_if_error,
            shares: clause.public || by_consumer,
        },
        vary: clause.vary.clone().into(),
        by_consumer,
        entry_bytes_max: clause.max_bytes,
        counts: metrics.surface(&surface),
        surface,
    }
}

/// Caches of methods that change something, or that answer with a stream.
///
/// What a rule says itself is meant for each of its methods; what a policy says, for those that it fits.
fn misplaced(config: &Config, effective: &[Effective<'_>], shown: &Surfaces) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut useful = BTreeSet::new();
    for (index, effective) in (0_u32..).zip(effective) {
        let Some(clause) = clause(effective) else { continue };
        let bindings = || {
            let all = shown.all().iter().flat_map(|surface| surface.routes.bindings());
            all.filter(move |binding| binding.rule == index)
        };
        let methods: BTreeSet<&str> = bindings().map(|binding| &*binding.method).collect();
        let kept: BTreeSet<&str> =
            bindings().filter(|binding| is_kept(binding)).map(|binding| &*binding.method).collect();
        if !kept.is_empty() {
            useful.insert(clause.position);
        }
        let is_own = effective
            .single(|clauses| clauses.cache.as_ref())
            .is_some_and(|(_, origin)| origin == Origin::Rule);
        if let Some(method) = methods.difference(&kept).next().filter(|_| is_own) {
            let message = format!(
                "`{method}` is no method whose replies can be kept: it is neither reached by GET nor \
                 `NO_SIDE_EFFECTS`, or it streams"
            );
            findings.push(finding(config, Some(clause.position), message));
        }
    }
    let idle = effective.iter().filter_map(clause).map(|clause| clause.position);
    let idle: BTreeSet<_> = idle.filter(|position| !useful.contains(position)).collect();
    let told: BTreeSet<_> = findings.iter().filter_map(|finding| finding.position).collect();
    for position in idle.difference(&told) {
        let message = "no method under this policy is reached by GET or `NO_SIDE_EFFECTS`, and answers with one message";
        findings.push(finding(config, Some(*position), message));
    }
    findings
}

fn is_kept(binding: &Binding) -> bool {
    binding.is_read_only() && !binding.client_streaming && !binding.server_streaming
}
