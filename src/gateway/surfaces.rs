//! From the configuration's surfaces to the snapshot's: who shows which methods, by which rule.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};

use super::aggregates;
use super::cache;
use super::fields::Masks;
use super::graphql;
use super::rollout;
use super::snapshot::{finding, warning};
use crate::config::Config;
use crate::config::auth::Kind;
use crate::config::effective::Effective;
use crate::config::finding::Finding;
use crate::config::surfaces::{self as file, Host, Named};
use crate::policy::cors::{Cors, CorsRules};
use crate::policy::deprecation::Notice;
use crate::policy::glob::Glob;
use crate::route::{self, Conflicts, Exposed, RouteTree, Rules};
use crate::schema::Schema;
use crate::snapshot::{HostPattern, Rule, Snapshot, Surface, Surfaces};
use crate::stage::Notices;

/// The surfaces with their routes, and what was left out although they stand.
pub(super) fn build(
    config: &Config,
    effective: &[Effective<'_>],
    schema: &Schema,
    routes: &Rules,
) -> Result<(Surfaces, Vec<Finding>), Vec<Finding>> {
    let mut findings = Vec::new();
    let mut left_out = BTreeSet::new();
    let mut masks = Masks::new(schema);
    let mut surfaces = Vec::with_capacity(config.surfaces.len());
    for (index, surface) in config.surfaces.iter().enumerate() {
        let shown = Shown::new(surface, effective, index);
        let mut methods = Vec::new();
        let aggregates = aggregates::rules(surface);
        let built = route::build_shown(schema, routes, &aggregates, |method| {
            let rule = shown.select(method.full_name())?;
            let effective = effective.get(usize::try_from(rule).ok()?)?;
            let selection = effective.fields().and_then(|fields| masks.selection(fields, method));
            let shown = route::Shown { rule, selection };
            methods.push(Exposed { method: method.clone(), shown: shown.clone() });
            Some(shown)
        });
        match built {
            Ok((tree, warnings)) => {
                left_out.extend(warnings.iter().map(ToString::to_string));
                let graphql = surface.graphql();
                let graphql = graphql.map(|file| {
                    let (graphql, faults) = graphql::build(config, file, schema, &methods, &tree);
                    findings.extend(faults);
                    graphql
                });
                // Clients that speak no REST find no path of it.
                let tree =
                    if surface.speaks_rest() { tree } else { RouteTree::empty(routes.path_segments_max) };
                surfaces.push(Surface {
                    graphql,
                    name: surface.name.as_str().into(),
                    listener: surface.listener.as_ref().and_then(|named| listener(config, &named.name)),
                    hosts: surface.hosts.iter().map(host).collect(),
                    cors: surface.cors.as_ref().map(|rules| cors(config, rules)),
                    compression: surface.compression.clone(),
                    trusts_traceparent: surface.trusts_traceparent,
                    routes: tree,
                    methods: methods.into(),
                });
            }
            Err(errors) => {
                findings.extend(errors.iter().map(|error| {
                    aggregates::misplaced(config, surface, error)
                        .unwrap_or_else(|| finding(config, surface.position, error))
                }));
            }
        }
        findings
            .extend(shown.unmatched().map(|(position, message)| finding(config, Some(position), message)));
    }
    findings.extend(masks.findings(config, effective, &surfaces));
    if config.routes.conflicts == Conflicts::Refuse {
        findings.extend(clashes(config, effective, &surfaces));
    }
    // Surfaces that show the same method say the same of it.
    let mut told = BTreeSet::new();
    findings.retain(|finding| told.insert((finding.position, finding.message.clone())));
    if findings.is_empty() {
        let warnings = left_out.into_iter().map(|message| warning(config, None, message)).collect();
        Ok((Surfaces::new(surfaces), warnings))
    } else {
        Err(findings)
    }
}

/// Requests that two surfaces would both answer: the first would, and the second have a route that nobody reaches.
fn clashes(config: &Config, effective: &[Effective<'_>], surfaces: &[Surface]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, second) in surfaces.iter().enumerate() {
        for first in surfaces[..index].iter().filter(|first| meet(first, second)) {
            let surface = config.surfaces.get(index).and_then(|one| one.position);
            if let (Some(one), Some(other)) = (&first.graphql, &second.graphql)
                && one.path == other.path
            {
                let message = format!(
                    "`{}` and `{}` both answer GraphQL at `{}` on the same host",
                    first.name, second.name, one.path
                );
                findings.push(finding(config, surface, message));
            }
            let taken: HashSet<_> = first.routes.places().collect();
            let Some(twice) = second.routes.places().find(|place| taken.contains(place)) else { continue };
            let (verb, template) = twice;
            let message = format!(
                "`{}` and `{}` both answer `{verb} {template}` on the same host",
                first.name, second.name
            );
            let mut bindings = second.routes.bindings();
            let rule = bindings.find(|one| (&*one.verb, &*one.template) == twice).map(|one| one.rule);
            let rule = rule.and_then(|rule| effective.get(usize::try_from(rule).ok()?)?.rule);
            findings.push(finding(config, rule.map(|rule| rule.position).or(surface), message));
        }
    }
    findings
}

/// Whether some request is for either of two surfaces.
fn meet(first: &Surface, second: &Surface) -> bool {
    let listeners =
        first.listener.is_none() || second.listener.is_none() || first.listener == second.listener;
    let everywhere = first.hosts.is_empty() && second.hosts.is_empty();
    listeners && (everywhere || first.hosts.iter().any(|host| second.hosts.contains(host)))
}

/// What holds under each rule, in the order of [`Effective::all`].
pub(super) fn rules(config: &Config, effective: &[Effective<'_>]) -> Box<[Rule]> {
    let rule = |effective: &Effective<'_>| Rule {
        destinations: rollout::destinations(config, effective),
        split: rollout::split(config, effective),
        priority: effective.rule.map(|rule| rule.priority).unwrap_or_default(),
        is_cached: cache::clause(effective).is_some(),
        is_validated: effective.validates(),
    };
    effective.iter().map(rule).collect()
}

/// Which methods a surface shows, while its routes are built.
struct Shown<'c> {
    surface: &'c file::Surface,
    /// The patterns of its rules.
    globs: Vec<Vec<Glob>>,
    /// The index of the surface's first rule among those of all.
    first: u32,
    /// Patterns that have matched some method: by rule and place in the rule.
    matched: RefCell<BTreeSet<(usize, usize)>>,
}

impl<'c> Shown<'c> {
    fn new(surface: &'c file::Surface, effective: &[Effective<'_>], index: usize) -> Self {
        let first = effective.iter().position(|one| one.surface_index == index).unwrap_or(0);
        let first = u32::try_from(first).expect("a file has less than 2³² rules");
        let glob = |pattern: &Named| Glob::parse(&pattern.name).expect("the file was read with this pattern");
        let globs = surface.rules.iter().map(|rule| rule.matches.iter().map(glob).collect()).collect();
        Self { surface, globs, first, matched: RefCell::default() }
    }

    /// The index of the rule that holds for a method; `None` where it is not shown.
    fn select(&self, method: &str) -> Option<u32> {
        if self.surface.rules.is_empty() {
            return Some(self.first);
        }
        let mut chosen = None;
        for (index, (offset, (rule, globs))) in
            (0..).zip(self.surface.rules.iter().zip(&self.globs)).enumerate()
        {
            for (place, glob) in globs.iter().enumerate() {
                if glob.matches(method.as_bytes()) {
                    self.matched.borrow_mut().insert((index, place));
                    chosen = chosen.or(Some((self.first + offset, rule.expose)));
                }
            }
        }
        chosen.and_then(|(index, expose)| expose.then_some(index))
    }

    /// Patterns that match no method of the descriptors.
    fn unmatched(&self) -> impl Iterator<Item = (crate::config::finding::Position, String)> {
        let matched = self.matched.borrow();
        let patterns = self.surface.rules.iter().enumerate().flat_map(|(index, rule)| {
            rule.matches.iter().enumerate().map(move |(place, pattern)| ((index, place), pattern))
        });
        let unmatched: Vec<_> = patterns
            .filter(|(key, _)| !matched.contains(key))
            .filter_map(|(_, pattern)| {
                let message = format!("`{}` matches no method of the descriptors", pattern.name);
                Some((pattern.position?, message))
            })
            .collect();
        unmatched.into_iter()
    }
}

/// CORS of a surface, with the headers that the rest of the file makes the gateway read and write.
fn cors(config: &Config, rules: &CorsRules) -> Cors {
    let headers = &config.headers;
    let keys = config.auth.iter().filter_map(|provider| match &provider.kind {
        Kind::ApiKey(key) => Some(&key.header),
        _ => None,
    });
    let read = headers.forward.iter().chain(keys).cloned();
    Cors::new(rules.clone(), read, headers.back.iter().cloned())
        .expect("the rules were checked when the file was read")
}

/// What is said about calls under each rule; `None` when nothing is deprecated.
pub(super) fn notices(effective: &[Effective<'_>]) -> Option<Notices> {
    let notice = |effective: &Effective<'_>| {
        let own = effective.rule.and_then(|rule| rule.deprecated.as_ref());
        let deprecated = own.or(effective.surface.deprecated.as_ref());
        deprecated.map(|deprecated| Notice::new(&deprecated.deprecation))
    };
    let notices: Box<[_]> = effective.iter().map(notice).collect();
    notices.iter().any(Option::is_some).then_some(Notices(notices))
}

/// What is deprecated of a snapshot, by surface and method.
pub(super) fn deprecated(snapshot: &Snapshot) -> HashSet<(&str, &str)> {
    let Some(Notices(notices)) = snapshot.live.get() else { return HashSet::new() };
    let has_notice = |exposed: &&Exposed| {
        let rule = usize::try_from(exposed.shown.rule).ok().and_then(|rule| notices.get(rule));
        rule.is_some_and(Option::is_some)
    };
    let mut deprecated = HashSet::new();
    for surface in snapshot.surfaces.all() {
        let methods = surface.methods.iter().filter(has_notice);
        deprecated.extend(methods.map(|exposed| (&*surface.name, exposed.method.full_name())));
    }
    deprecated
}

/// The place of a listener among the public ones.
fn listener(config: &Config, name: &str) -> Option<usize> {
    config.listeners.publics().position(|public| *public.name == *name)
}

fn host(host: &Host) -> HostPattern {
    if host.is_wildcard {
        HostPattern::Below(host.name.as_str().into())
    } else {
        HostPattern::Exact(host.name.as_str().into())
    }
}
