//! Names that lead nowhere, and names that nothing leads to.
//!
//! A dangling name is a finding at the place that uses it, with the nearest name that exists. A name that
//! nothing uses is a warning at its own place: it is most likely a misspelling somewhere else.

use std::collections::BTreeSet;

use super::Config;
use super::auth::Kind as ProviderKind;
use super::cache::Cache;
use super::consumers::{Consumer, Origin, Plan};
use super::effective::Effective;
use super::finding::Report;
use super::rate::{Allowance, Rate};
use super::revoked::Revoked;
use super::section::listed;
use super::stores::StoreKind;
use super::surfaces::Named;
use super::yaml::Node;
use crate::policy::nearest::nearest;

/// One kind of thing that has names.
struct Kind<'c> {
    /// `policy`, as messages say it.
    what: &'static str,
    names: Vec<&'c str>,
    used: BTreeSet<&'c str>,
}

/// Checks every name of the file.
///
/// Those of `root` count, too: a thing that was refused is there nevertheless.
pub(super) fn check(config: &Config, root: &Node, report: &mut Report) {
    listeners(config, report);
    policies(config, root, report);
    services(config, root, report);
    providers(config, root, report);
    consumers(config, root, report);
    stores(config, root, report);
    plans(config, root, report);
}

fn listeners(config: &Config, report: &mut Report) {
    let mut kind = Kind::new("listener", config.listeners.publics().map(|public| &*public.name));
    config
        .surfaces
        .iter()
        .filter_map(|surface| surface.listener.as_ref())
        .for_each(|named| kind.uses(named, report));
}

fn policies(config: &Config, root: &Node, report: &mut Report) {
    let mut kind = Kind::new(
        "policy",
        written(root, "policies").chain(config.policies.iter().map(|policy| policy.name.as_str())),
    );
    for surface in &config.surfaces {
        let of_rules = surface.rules.iter().filter_map(|rule| rule.policies.as_ref()).flatten();
        for named in surface.policies.iter().chain(of_rules) {
            kind.uses(named, report);
        }
    }
    for policy in &config.policies {
        if !kind.used.contains(policy.name.as_str()) {
            report.warn(policy.position, format!("no surface uses the policy `{}`", policy.name));
        }
    }
}

fn services(config: &Config, root: &Node, report: &mut Report) {
    let mut kind = Kind::new(
        "service",
        written(root, "services").chain(config.services.iter().map(|service| service.name.as_str())),
    );
    let is_choice = kind.names.len() > 1;
    for surface in &config.surfaces {
        if is_choice && surface.rules.is_empty() {
            let position = surface.position.or(config.services.get(1).and_then(|second| second.position));
            let message = format!(
                "there are several services: write rules with `to:` in the surface `{}`",
                surface.name
            );
            position.into_iter().for_each(|position| report.add(position, message.as_str()));
        }
        for rule in &surface.rules {
            let of_cases = rule.when.iter().map(|case| &case.service);
            let of_mirror = rule.mirror.iter().map(|mirror| &mirror.service);
            let named = rule.to.iter().map(|share| &share.service).chain(of_cases).chain(of_mirror);
            named.for_each(|named| kind.uses(named, report));
            if rule.to.is_empty() && is_choice && rule.expose {
                let expected = listed(&kind.names);
                report.add(rule.position, format!("`to` is missing: expected {expected}"));
            }
        }
    }
    if is_choice && config.surfaces.iter().any(|surface| !surface.rules.is_empty()) {
        for service in &config.services {
            if let (false, Some(position)) = (kind.used.contains(service.name.as_str()), service.position) {
                report.warn(position, format!("no rule leads to the service `{}`", service.name));
            }
        }
    }
}

fn providers(config: &Config, root: &Node, report: &mut Report) {
    let mut kind = Kind::new(
        "provider",
        written(root, "auth").chain(config.auth.iter().map(|provider| provider.name.as_str())),
    );
    let of_rules = config.surfaces.iter().flat_map(|surface| &surface.rules).map(|rule| &rule.clauses);
    let of_policies = config.policies.iter().map(|policy| &policy.clauses);
    for demand in of_policies.chain(of_rules).filter_map(|clauses| clauses.auth.as_ref()) {
        demand.providers.iter().for_each(|named| kind.uses(named, report));
    }
    for provider in &config.auth {
        if !kind.used.contains(provider.name.as_str()) {
            report.warn(provider.position, format!("nobody asks the provider `{}`", provider.name));
        }
    }
    if config.auth.is_empty() {
        return;
    }
    // What is open to everyone is said to be so: a name that is forgotten must not open a door.
    for effective in Effective::all(config) {
        let is_shown = effective.rule.is_none_or(|rule| rule.expose);
        let position = effective.rule.map(|rule| rule.position).or(effective.surface.position);
        if is_shown && effective.single(|clauses| clauses.auth.as_ref()).is_none() {
            let surface = &effective.surface.name;
            let message = format!(
                "nobody is asked who is calling here, on the surface `{surface}`: name a provider, or write `auth: none`"
            );
            let position = position.unwrap_or(config.auth[0].position);
            report.add(position, message);
        }
    }
}

fn consumers(config: &Config, root: &Node, report: &mut Report) {
    let mut kind = Kind::new(
        "provider",
        written(root, "auth").chain(config.auth.iter().map(|provider| provider.name.as_str())),
    );
    let claimed = |name: &str| {
        let is_its = |other: &&Consumer| matches!(&other.origin, Origin::Claim { provider, .. } if provider.name == name);
        config.consumers.iter().find(is_its)
    };
    for consumer in &config.consumers {
        match &consumer.origin {
            Origin::Written => {}
            Origin::Claim { provider, .. } => {
                kind.uses(provider, report);
                if claimed(&provider.name).is_some_and(|first| first.name != consumer.name) {
                    let message =
                        format!("the consumers of `{}` are named by another claim already", provider.name);
                    report.add(consumer.position, message);
                }
            }
            Origin::Value { provider, .. } => {
                kind.uses(provider, report);
                if claimed(&provider.name).is_none() {
                    let name = &provider.name;
                    let message =
                        format!("no claim names the consumers of `{name}`: write `\"{name}:{{CLAIM}}\"` too");
                    report.add(consumer.position, message);
                }
            }
        }
    }
    let has = |is_kind: fn(&ProviderKind) -> bool| config.auth.iter().any(|provider| is_kind(&provider.kind));
    for (is_used, is_asked, what) in [
        (
            config.consumers.iter().find(|one| !one.keys.is_empty()),
            has(|kind| matches!(kind, ProviderKind::ApiKey(_))),
            "keys, and no provider is an `api_key`",
        ),
        (
            config.consumers.iter().find(|one| !one.certificates.is_empty()),
            has(|kind| matches!(kind, ProviderKind::Mtls(_))),
            "certificates, and no provider is an `mtls`",
        ),
    ] {
        if let (Some(consumer), false) = (is_used, is_asked) {
            report.warn(consumer.position, format!("`{}` has {what}", consumer.name));
        }
    }
}

fn stores(config: &Config, root: &Node, report: &mut Report) {
    let mut kind = Kind::new(
        "store",
        written(root, "stores").chain(config.stores.iter().map(|store| store.name.as_str())),
    );
    rates(config).filter_map(|rate| rate.store.as_ref()).for_each(|named| kind.uses(named, report));
    for provider in &config.auth {
        let Some(Revoked::Store(set)) = provider.revoked() else { continue };
        kind.uses(&set.store, report);
        let store = config.stores.iter().find(|store| store.name == set.store.name);
        let is_memory = store.is_some_and(|store| matches!(store.kind, StoreKind::Memory { .. }));
        if let (true, Some(position)) = (is_memory, set.store.position) {
            let name = &set.store.name;
            report.add(position, format!("`{name}` is in memory, and revocations are read from a `redis`"));
        }
    }
    for named in caches(config).filter_map(|cache| cache.store.as_ref()) {
        kind.uses(named, report);
        let store = config.stores.iter().find(|store| store.name == named.name);
        let is_memory = store.is_some_and(|store| matches!(store.kind, StoreKind::Memory { .. }));
        if let (true, Some(position)) = (is_memory, named.position) {
            let name = &named.name;
            report.add(position, format!("`{name}` is in memory, where each node has its replies anyway"));
        }
    }
    for store in &config.stores {
        if !kind.used.contains(store.name.as_str()) {
            report.warn(store.position, format!("nothing uses the store `{}`", store.name));
        }
    }
}

fn plans(config: &Config, root: &Node, report: &mut Report) {
    let mut kind =
        Kind::new("plan", written(root, "plans").chain(config.plans.iter().map(|plan| plan.name.as_str())));
    for rate in rates(config) {
        if let Allowance::Plan { otherwise: Some(named) } = &rate.allowance {
            kind.uses(named, report);
        }
    }
    for consumer in &config.consumers {
        if let Some(Plan::Named(named)) = &consumer.plan {
            kind.uses(named, report);
        }
    }
}

/// What to write in the place of a name that leads nowhere.
pub(super) fn advice(what: &str, name: &str, names: &[&str]) -> String {
    match nearest(name, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => format!("no {what} is defined"),
        None => format!("expected {}", listed(names)),
    }
}

/// The limits of all policies and rules.
fn rates(config: &Config) -> impl Iterator<Item = &Rate> {
    let of_policies = config.policies.iter().map(|policy| &policy.clauses);
    let rules = config.surfaces.iter().flat_map(|surface| &surface.rules);
    of_policies.chain(rules.map(|rule| &rule.clauses)).filter_map(|clauses| clauses.rate.as_ref()).flatten()
}

/// The caches of all policies and rules.
fn caches(config: &Config) -> impl Iterator<Item = &Cache> {
    let of_policies = config.policies.iter().map(|policy| &policy.clauses);
    let rules = config.surfaces.iter().flat_map(|surface| &surface.rules);
    of_policies.chain(rules.map(|rule| &rule.clauses)).filter_map(|clauses| clauses.cache.as_ref())
}

/// The names that a section of the file gives.
fn written<'n>(root: &'n Node, section: &str) -> impl Iterator<Item = &'n str> {
    root.get(section).into_iter().flat_map(Node::keys)
}

impl<'c> Kind<'c> {
    fn new(what: &'static str, names: impl Iterator<Item = &'c str>) -> Self {
        let mut all = Vec::new();
        names.for_each(|name| {
            if !all.contains(&name) {
                all.push(name)
            }
        });
        Self { what, names: all, used: BTreeSet::new() }
    }

    fn uses(&mut self, named: &'c Named, report: &mut Report) {
        let name = named.name.as_str();
        if self.names.contains(&name) {
            self.used.insert(name);
            return;
        }
        let what = self.what;
        let advice = advice(what, name, &self.names);
        if let Some(position) = named.position {
            report.add(position, format!("there is no {what} `{name}`: {advice}"));
        }
    }
}
