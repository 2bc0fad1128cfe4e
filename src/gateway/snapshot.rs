//! From the configuration to a [`Snapshot`]: sources are read, the rest is derived, all findings at once.

use std::fmt::Display;
use std::sync::Arc;

use http::Extensions;
use tokio::runtime::Handle;

use super::expressions::Expressions;
use super::{access, auth, authorization, clusters, limits, meter, protection, surfaces};
use crate::config::Config;
use crate::config::descriptors::{self, Descriptors};
use crate::config::effective::Effective;
use crate::config::finding::{Finding, Position, Severity};
use crate::config::listeners::Public;
use crate::policy::client_address::{AddressHeader, TrustedProxies};
use crate::policy::metadata::MetadataPolicy;
use crate::policy::protection::Protections;
use crate::route::service_config::{self, SelectedRules};
use crate::route::{BindingOptions, Rules};
use crate::schema::Schema;
use crate::snapshot::{Bounds, Snapshot, Surfaces};
use crate::source::{self, Source};
use crate::stage::limit::Limits;
use crate::telemetry::Metrics;

/// What a snapshot stands on and does not own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ground<'g> {
    pub(super) background: &'g Handle,
    pub(super) metrics: &'g Metrics,
    pub(super) kept: &'g auth::Kept,
    pub(super) workers: usize,
    /// The one before it: what stays the same in name and shape goes on.
    pub(super) previous: Option<&'g Snapshot>,
}

/// Derives a snapshot, and says what was left out although it stands.
pub(super) async fn build(
    config: &Config,
    ground: Ground<'_>,
) -> Result<(Snapshot, Vec<Finding>), Vec<Finding>> {
    let mut findings = Vec::new();
    let service_config = read_service_config(config, &mut findings);
    let schema = read_sources(config, &mut findings).await;
    let Some(schema) = schema.filter(|_| findings.is_empty()) else { return Err(findings) };
    let rules = Rules {
        unannotated: config.routes.unannotated,
        conflicts: config.routes.conflicts,
        service_config,
        path_segments_max: config.listeners.largest(|public| public.limits.path_segments_max),
        binding: binding_options(config),
    };
    let effective = Effective::all(config);
    let (surfaces, mut warnings) = surfaces::build(config, &effective, &schema, &rules)?;
    warnings.extend(protection::doubtful(config, &effective, &surfaces));
    let mut live = live(config, &effective, &schema, &surfaces, ground)?;
    if let Some(Protections(protections)) = live.get() {
        ground.metrics.stats.services.observe(Arc::clone(protections));
    }
    live.insert(meter::Routes::new(&ground.metrics.stats, &surfaces));
    let snapshot = Snapshot {
        schema,
        surfaces,
        rules: surfaces::rules(config, &effective),
        json: config.json,
        binding: rules.binding,
        metadata: MetadataPolicy {
            forward: config.headers.forward.clone(),
            back: config.headers.back.clone(),
        },
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
    Ground { background, kept, workers, previous, .. }: Ground<'_>,
) -> Result<Extensions, Vec<Finding>> {
    let mut live = Extensions::new();
    let expressions = Expressions { config, schema, surfaces: shown };
    let previous = previous.map(|previous| &previous.live);
    let limits = previous.and_then(|previous| previous.get::<Arc<Limits>>()).map(|limits| &**limits);
    let limits = limits::build(config, effective, &expressions, background, limits);
    let authorization = authorization::build(config, effective, &expressions);
    let (limits, authorization) = match (limits, authorization) {
        (Ok(limits), Ok(authorization)) => (limits, authorization),
        (limits, authorization) => {
            let findings = [limits.err(), authorization.err()];
            return Err(findings.into_iter().flatten().flatten().collect());
        }
    };
    live.insert(Arc::new(limits));
    live.insert(Arc::new(authorization));
    let protections = protection::build(config, effective, workers, previous.and_then(Extensions::get));
    live.insert(clusters::build(config, &protections, workers, previous.and_then(Extensions::get)));
    live.insert(protections);
    surfaces::notices(effective).map(|notices| live.insert(notices));
    live.insert(access::build(config, effective, background)?);
    if let Some(auth) = auth::build(config, effective, kept)? {
        live.insert(Arc::new(auth));
    }
    Ok(live)
}

fn proxies(public: &Public) -> TrustedProxies {
    TrustedProxies {
        networks: public.trusted_proxies.iter().copied().collect(),
        header: AddressHeader::named(public.address_header.clone()),
    }
}

async fn read_sources(config: &Config, findings: &mut Vec<Finding>) -> Option<Schema> {
    let sources: Vec<_> = config.descriptors.iter().map(source).collect();
    let errors = match source::load(&sources).await {
        Ok(schema) => return Some(schema),
        Err(errors) => errors,
    };
    findings.extend(errors.iter().map(|error| {
        let named = error.source_index.and_then(|index| config.descriptors.get(index));
        finding(config, named.and_then(|named| named.position), error)
    }));
    None
}

fn source(named: &Descriptors) -> Source {
    match &named.source {
        descriptors::Source::File(path) | descriptors::Source::Directory(path) => {
            Source::Sets(vec![path.clone()])
        }
        descriptors::Source::Proto { path, includes } => {
            Source::Protos { paths: vec![path.clone()], includes: includes.clone() }
        }
        descriptors::Source::Reflect(uri) => Source::Reflection { url: uri.to_string() },
        descriptors::Source::Embedded { name, set } => Source::Embedded { name, set },
    }
}

fn read_service_config(config: &Config, findings: &mut Vec<Finding>) -> Vec<SelectedRules> {
    let mut selected = Vec::new();
    for named in &config.routes.service_config {
        let file = named.file.display();
        match std::fs::read_to_string(&named.file) {
            Ok(text) => match service_config::parse(&text) {
                Ok(rules) => selected.extend(rules),
                Err(errors) => findings.extend(
                    errors
                        .iter()
                        .map(|error| finding(config, named.position, format_args!("`{file}`: {error}"))),
                ),
            },
            Err(error) => findings.push(finding(config, named.position, format_args!("`{file}`: {error}"))),
        }
    }
    selected
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
