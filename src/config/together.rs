//! What only shows when sections are read together: limits that never count, stores slower than calls, attempts
//! that have no time, caches that would show one caller's reply to another.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Config;
use super::auth::Combination;
use super::cache::{LARGEST_SHARE, Partition};
use super::effective::Effective;
use super::finding::{Position, Report};
use super::rate::{Allowance, By};
use super::stores::StoreKind;
use super::value::show_duration;
use crate::policy::balance::HashKey;

/// Checks every rule of every surface.
pub(super) fn check(config: &Config, report: &mut Report) {
    // A policy's limits are judged once for all rules that use them.
    let mut limits = BTreeMap::new();
    let mut retries = BTreeMap::new();
    let mut caches = BTreeMap::new();
    let mut sides = BTreeMap::new();
    for effective in Effective::all(config) {
        if effective.rule.is_none_or(|rule| rule.expose) {
            gather(config, &effective, &mut limits);
            hasten(config, &effective, &mut retries);
            caches.extend(cache(config, &effective));
            sides.extend(sticky(&effective));
            sides.extend(mirror(config, &effective));
        }
    }
    for (position, message) in retries.into_iter().chain(caches).chain(sides) {
        report.add(position, message);
    }
    for (position, limit) in limits {
        if limit.counts_consumers && !limit.is_asked {
            report.add(position, "consumers are counted where nobody is asked who is calling: add `auth`");
        }
        if limit.is_slow {
            report.add(position, "the store may take longer than the whole call");
        }
    }
}

/// What is wrong with who keeps a side under one rule.
fn sticky(effective: &Effective<'_>) -> Option<(Position, String)> {
    let sticky = effective.rule?.sticky.as_ref().filter(|one| matches!(one.key, HashKey::Claim(_)))?;
    let auth = effective.single(|clauses| clauses.auth.as_ref());
    let is_asked = auth.is_some_and(|(demand, _)| demand.combination != Combination::None);
    let message = "claims tell callers apart where nobody is asked who is calling: add `auth`";
    (!is_asked).then(|| (sticky.position, message.to_owned()))
}

/// What is wrong with the copies of one rule's calls.
fn mirror(config: &Config, effective: &Effective<'_>) -> Option<(Position, String)> {
    let mirror = effective.rule?.mirror.as_ref()?;
    let is_it = config.service(&mirror.service).is_some_and(|index| effective.services(config) == [index]);
    let message = format!("`{}` gets these calls anyway: name another service", mirror.service.name);
    is_it.then_some((mirror.position, message))
}

/// What is wrong with the cache of one rule.
fn cache(config: &Config, effective: &Effective<'_>) -> Option<(Position, String)> {
    let (cache, _) =
        effective.single(|clauses| clauses.cache.as_ref()).filter(|(cache, _)| !cache.is_none)?;
    let auth = effective.single(|clauses| clauses.auth.as_ref());
    let is_asked = auth.is_some_and(|(demand, _)| demand.combination != Combination::None);
    let names_max = config.cache.vary_names_max;
    let message = if cache.partition == Partition::Consumer && !is_asked {
        "consumers have replies of their own where nobody is asked who is calling: add `auth`".to_owned()
    } else if cache.partition == Partition::None && is_asked && !cache.public {
        "who calls here is asked for a credential: write `partition: consumer`, or `public: true` if \
         replies are the same for all"
            .to_owned()
    } else if cache.max_bytes > config.cache.bytes_max / LARGEST_SHARE {
        format!("`max_bytes` is more than a sixteenth of the {} bytes of `cache`", config.cache.bytes_max)
    } else if cache.vary.len() > names_max {
        format!("`vary` has more than the {names_max} names that `cache` allows")
    } else {
        return None;
    };
    Some((cache.position, message))
}

/// What is known of the limit at one place.
#[derive(Default)]
struct Seen {
    counts_consumers: bool,
    /// Under some rule, somebody is asked who is calling.
    is_asked: bool,
    /// Under some rule, the store may take longer than the call.
    is_slow: bool,
}

fn gather(config: &Config, effective: &Effective<'_>, limits: &mut BTreeMap<Position, Seen>) {
    let auth = effective.single(|clauses| clauses.auth.as_ref());
    let is_asked = auth.is_some_and(|(demand, _)| demand.combination != Combination::None);
    let services = effective.services(config);
    let services = services.iter().filter_map(|index| config.services.get(*index));
    let timeout = services.map(|service| effective.timeout(service)).min();
    for rate in effective.all_of(|clauses| clauses.rate.as_ref()).into_iter().flat_map(|(rates, _)| rates) {
        let store =
            rate.store.as_ref().and_then(|named| config.stores.iter().find(|store| store.name == named.name));
        let seen = limits.entry(rate.position).or_default();
        seen.counts_consumers =
            rate.by.contains(&By::Consumer) || matches!(rate.allowance, Allowance::Plan { .. });
        seen.is_asked |= is_asked;
        if let Some(StoreKind::Redis(redis)) = store.map(|store| &store.kind) {
            seen.is_slow |= timeout.is_some_and(|timeout| redis.timeout >= timeout);
        }
    }
}

/// Attempts that together take longer than the call may: the last of them would be cut short, or never made.
fn hasten(config: &Config, effective: &Effective<'_>, retries: &mut BTreeMap<Position, String>) {
    for service in effective.services(config).into_iter().filter_map(|index| config.services.get(index)) {
        let Some(retry) = effective.retry(service) else { continue };
        let (attempts, timeout) = (retry.rules.attempts_max, effective.timeout(service));
        let too_long = |per_try: &Duration| per_try.saturating_mul(attempts) > timeout;
        if let Some(per_try) = retry.rules.per_try.filter(too_long) {
            let (per_try, timeout) = (show_duration(per_try), show_duration(timeout));
            let message =
                format!("{attempts} attempts of {per_try} each take longer than the {timeout} of the call");
            retries.insert(retry.position, message);
        }
    }
}
