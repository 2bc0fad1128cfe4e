//! From the configuration and what it leads to, to a [`Snapshot`]: all findings at once.

use std::fmt::Display;
use std::sync::Arc;

use http::Extensions;
use tokio::runtime::Handle;

use super::backend_tls::Handles;
use super::contents::{self, Contents};
use super::expressions::Expressions;
use super::{
    access, auth, authorization, backend_tls, cache, clusters, fallback, limits, meter, openapi, pages,
    protection, rollout, surfaces,
};
use crate::config::Config;
use crate::config::effective::Effective;
use crate::config::finding::{Finding, Position, Severity};
use crate::config::listeners::Public;
use crate::policy::client_address::{AddressHeader, TrustedProxies};
use crate::policy::metadata::MetadataPolicy;
use crate::route::{BindingOptions, Rules};
use crate::schema::Schema;
use crate::snapshot::{Bounds, Snapshot, Surfaces};
use crate::source::SourceError;
use crate::stage::cache::Caching;
use crate::stage::limit::Limits;
use crate::telemetry::Metrics;
use crate::upstream::Mirrors;
use crate::validate::Validation;

/// What is learned under one configuration and goes on under the next.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) auth: auth::Kept,
    pub(super) lists: access::Kept,
}

impl Kept {
    pub(super) fn new(background: &Handle, metrics: &Arc<Metrics>) -> Self {
        Self { auth: auth::Kept::new(background, metrics), lists: access::Kept::default() }
    }

    /// As much again, to be changed by a configuration that may yet be refused.
    pub(super) fn draft(&self) -> Self {
        Self { auth: self.auth.draft(), lists: self.lists.clone() }
    }
}

/// What a snapshot stands on and does not own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ground<'g> {
    pub(super) background: &'g Handle,
    pub(super) metrics: &'g Metrics,
    pub(super) kept: &'g Kept,
    pub(super) workers: usize,
    /// The one before it, and its configuration: what stays the same in name and shape goes on.
    pub(super) previous: Option<(&'g Config, &'g Snapshot)>,
}

/// Derives a snapshot, and says what was left out although it stands.
pub(super) fn build(
    config: &Config,
    contents: &Contents,
    ground: Ground<'_>,
) -> Result<(Snapshot, Vec<Finding>), Vec<Finding>> {
    let told = |errors: Vec<SourceError>| -> Vec<Finding> {
        errors.iter().map(|error| contents::located(config, error, finding)).collect()
    };
    let schema = contents.sources.load().map_err(told)?;
    let rules = Rules {
        unannotated: config.routes.unannotated,
        conflicts: config.routes.conflicts,
        service_config: contents.service_config.clone(),
        path_segments_max: config.listeners.largest(|public| public.limits.path_segments_max),
        binding: binding_options(config),
    };
    let effective = Effective::all(config);
    let (surfaces, mut warnings) = surfaces::build(config, &effective, &schema, &rules)?;
    let pages = pages::Pages::new(config);
    warnings.extend(pages.iter().flat_map(|pages| pages.shadowed(config, &surfaces)));
    warnings.extend(protection::doubtful(config, &effective, &surfaces));
    warnings.extend(fallback::doubtful(config, &effective, &surfaces));
    warnings.extend(rollout::left_out(config, &effective, &surfaces));
    let validation = validation(config, &effective, &schema, &surfaces)?;
    let before = ground.previous.and_then(|(config, before)| Some((config, before.live.get()?)));
    let (tls, of_tls) = backend_tls::build(config, ground.background, before)?;
    warnings.extend(of_tls);
    let mut live = live(config, &effective, &schema, &surfaces, tls, ground)?;
    pages.map(|pages| live.insert(Arc::new(pages)));
    live.insert(meter::Routes::new(&ground.metrics.stats, &surfaces));
    let snapshot = Snapshot {
        schema,
        surfaces,
        rules: surfaces::rules(config, &effective),
        json: config.json,
        validation,
        binding: rules.binding,
        metadata: MetadataPolicy {
            forward: config.headers.forward.clone(),
            back: config.headers.back.clone(),
        },
        listeners: listeners(config, ground.previous.map(|(config, _)| config)),
        proxies: config.listeners.publics().map(proxies).collect(),
        strip: auth::strip(config),
        bounds: bounds(config),
        live,
    };
    Ok((snapshot, warnings))
}

/// What the stages hold: each owner's tables by rule, made of the file's words here.
fn live(
    config: &Config,
    effective: &[Effective<'_>],
    schema: &Schema,
    shown: &Surfaces,
    tls: Handles,
    Ground { background, metrics, kept, workers, previous }: Ground<'_>,
) -> Result<Extensions, Vec<Finding>> {
    let mut live = Extensions::new();
    let expressions = Expressions { config, schema, surfaces: shown };
    let previous = previous.map(|(_, previous)| &previous.live);
    let limits = previous.and_then(|previous| previous.get::<Arc<Limits>>()).map(|limits| &**limits);
    let limits = limits::build(config, effective, &expressions, background, limits);
    let authorization = authorization::build(config, effective, &expressions);
    let routing = rollout::build(config, effective, &expressions);
    let (limits, authorization, routing) = match (limits, authorization, routing) {
        (Ok(limits), Ok(authorization), Ok(routing)) => (limits, authorization, routing),
        (limits, authorization, routing) => {
            let findings = [limits.err(), authorization.err(), routing.err()];
            return Err(findings.into_iter().flatten().flatten().collect());
        }
    };
    live.insert(Arc::new(routing));
    let mirrors = previous.and_then(|previous| previous.get::<Arc<Mirrors>>()).map(|mirrors| &**mirrors);
    live.insert(Arc::new(rollout::mirrors(config, effective, &metrics.mirrors, mirrors)));
    live.insert(Arc::new(limits));
    live.insert(Arc::new(authorization));
    let protections = protection::build(config, effective, workers, previous.and_then(Extensions::get));
    let backends = clusters::build(config, &protections, tls, workers, previous.and_then(Extensions::get));
    live.insert(backends.outages());
    live.insert(backends);
    live.insert(protections);
    let caching = previous.and_then(|previous| previous.get::<Arc<Caching>>()).map(|caching| &**caching);
    let ground = cache::Ground { background, metrics: &metrics.stats.cache, previous: caching };
    if let Some(caching) = cache::build(config, effective, schema, shown, ground)? {
        live.insert(Arc::new(caching));
    }
    let fallbacks = fallback::build(config, effective, schema, shown)?;
    if !fallbacks.0.is_empty() {
        live.insert(Arc::new(fallbacks));
    }
    live.insert(Arc::new(openapi::build(config, effective)));
    surfaces::notices(effective).map(|notices| live.insert(notices));
    live.insert(access::build(config, effective, background, &kept.lists)?);
    if let Some(auth) = auth::build(config, effective, &kept.auth)? {
        live.insert(Arc::new(auth));
    }
    Ok(live)
}

/// The rules of all requests that somebody is held to.
fn validation(
    config: &Config,
    effective: &[Effective<'_>],
    schema: &Schema,
    surfaces: &Surfaces,
) -> Result<Validation, Vec<Finding>> {
    let methods = surfaces.all().iter().flat_map(|surface| &surface.methods);
    let validated = methods.filter(|exposed| {
        let rule = usize::try_from(exposed.shown.rule).ok().and_then(|rule| effective.get(rule));
        rule.is_some_and(Effective::validates)
    });
    let inputs = validated.filter_map(|exposed| schema.message_id(exposed.method.input().full_name()));
    Validation::compile(schema, inputs)
        .map_err(|errors| errors.iter().map(|error| finding(config, None, error)).collect())
}

/// The places of listeners. Connections know one by the name under which they were accepted: where another listener
/// has its address now, that is whose they are.
fn listeners(config: &Config, previous: Option<&Config>) -> Box<[(Arc<str>, usize)]> {
    let publics = || config.listeners.publics().zip(0..);
    let renamed =
        previous.into_iter().flat_map(|previous| previous.listeners.publics()).filter_map(|before| {
            let is_there = publics().any(|(public, _)| public.name == before.name);
            let heir = publics().find(|(public, _)| public.bind == before.bind && before.bind.port() != 0);
            heir.filter(|_| !is_there).map(|(_, place)| (before.name.clone(), place))
        });
    publics().map(|(public, place)| (public.name.clone(), place)).chain(renamed).collect()
}

fn proxies(public: &Public) -> TrustedProxies {
    TrustedProxies {
        networks: public.trusted_proxies.iter().copied().collect(),
        header: AddressHeader::named(public.address_header.clone()),
    }
}

fn binding_options(config: &Config) -> BindingOptions {
    let routes = &config.routes;
    BindingOptions {
        unknown_query: routes.unknown_query,
        ignored_query: routes.ignored_query.clone(),
        on_conflict: routes.on_conflict,
        unbound_body: routes.unbound_body,
        query_parameters_max: config.listeners.largest(|public| public.limits.query_parameters_max),
    }
}

fn bounds(config: &Config) -> Bounds {
    Bounds {
        body_bytes_max: config.listeners.largest(|public| public.limits.body_bytes_max),
        decompression_ratio_max: config.listeners.largest(|public| public.limits.decompression_ratio_max),
        violations_max: config.validation.violations_max,
        rule_steps_max: config.validation.steps_max,
        calls_max: config.listeners.largest(|public| public.limits.calls_max),
    }
}

pub(super) fn finding(config: &Config, position: Option<Position>, message: impl Display) -> Finding {
    Finding { file: config.file.clone(), position, severity: Severity::Error, message: message.to_string() }
}

pub(super) fn warning(config: &Config, position: Option<Position>, message: impl Display) -> Finding {
    Finding { severity: Severity::Warning, ..finding(config, position, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_keys_the_rooms_have_their_own_defaults() {
        let config = Config::default();
        assert_eq!(bounds(&config), Bounds::default());
        assert_eq!(binding_options(&config), BindingOptions::default());
        assert_eq!(config.listeners.public.limits.path_segments_max, Rules::default().path_segments_max);
    }
}
