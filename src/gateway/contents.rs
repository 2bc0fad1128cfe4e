//! What the configuration leads to and is read once for each time that it is loaded: descriptors, service configs.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

use super::documents;
use super::snapshot::{finding, warning};
use crate::config::Config;
use crate::config::auth::Kind;
use crate::config::descriptors::{self, Descriptors};
use crate::config::finding::Finding;
use crate::config::stores::StoreKind;
use crate::config::surfaces::Surface;
use crate::route::service_config::{self, SelectedRules};
use crate::source::{self, ReflectionTls, Source, SourceError};

/// Everything that a snapshot is derived from, beside the configuration itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    pub(super) sources: source::Contents,
    pub(super) service_config: Vec<SelectedRules>,
    /// Of all of it, certificates of authorities included, in hexadecimal.
    pub(super) digest: String,
    /// What could not be read, where what was read before stands in.
    pub(super) warnings: Vec<Finding>,
}

/// Reads whatever `config` names; backends that cannot be asked for their descriptors are taken at what they said
/// `before`.
pub(super) async fn read(config: &Config, before: &Contents) -> Result<Contents, Vec<Finding>> {
    let mut findings = Vec::new();
    let mut digest = Context::new(&SHA256);
    let service_config = read_service_config(config, &mut digest, &mut findings);
    // One that cannot be read is told by whoever needs it.
    authorities(config)
        .filter_map(|path| std::fs::read(path).ok())
        .for_each(|bytes| update(&mut digest, &bytes));
    let documents = config.surfaces.iter().filter_map(Surface::graphql).flat_map(documents::files);
    documents.filter_map(|path| std::fs::read(path).ok()).for_each(|bytes| update(&mut digest, &bytes));
    let sources: Vec<_> = config.descriptors.iter().map(|named| source(config, named)).collect();
    match source::read(&sources, &before.sources).await {
        Ok(sources) if findings.is_empty() => {
            sources.bytes().for_each(|bytes| update(&mut digest, bytes));
            let digest = digest.finish().as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            let outdated = sources.outdated.iter();
            let warnings = outdated.map(|error| {
                located(config, error, |config, position, error| {
                    warning(config, position, format_args!("{error}; what it said before goes on"))
                })
            });
            let warnings = warnings.collect();
            Ok(Contents { sources, service_config, digest, warnings })
        }
        Ok(_) => Err(findings),
        Err(errors) => {
            findings.extend(errors.iter().map(|error| located(config, error, finding)));
            Err(findings)
        }
    }
}

/// What is to be looked at for changes: all that is read with the configuration, whether it was there or not.
pub(super) fn files(config: &Config, contents: &Contents) -> Vec<PathBuf> {
    let descriptors = config.descriptors.iter().filter_map(|named| match &named.source {
        descriptors::Source::File(path)
        | descriptors::Source::Directory(path)
        | descriptors::Source::Proto { path, .. } => Some(path.clone()),
        descriptors::Source::Reflect { .. } | descriptors::Source::Embedded { .. } => None,
    });
    let service_configs = config.routes.service_config.iter().map(|named| named.file.clone());
    let authorities = authorities(config).map(Path::to_owned);
    let read = contents.sources.files.iter().cloned();
    let secrets = config.secret_files.iter().cloned();
    let documents = config.surfaces.iter().filter_map(Surface::graphql).flat_map(documents::files);
    descriptors
        .chain(service_configs)
        .chain(authorities)
        .chain(secrets)
        .chain(documents)
        .chain(read)
        .collect()
}

/// A problem of a source, at the place of the source.
pub(super) fn located<'e>(
    config: &Config,
    error: &'e SourceError,
    tell: impl Fn(&Config, Option<crate::config::finding::Position>, &'e SourceError) -> Finding,
) -> Finding {
    let named = error.source_index.and_then(|index| config.descriptors.get(index));
    tell(config, named.and_then(|named| named.position), error)
}

/// With its length, so that what moves from one file to the next is a difference.
fn update(digest: &mut Context, bytes: &[u8]) {
    digest.update(&(bytes.len() as u64).to_be_bytes());
    digest.update(bytes);
}

/// Files of certificates that are read with the configuration, and not watched on their own.
fn authorities(config: &Config) -> impl Iterator<Item = &Path> {
    let of_providers = config.auth.iter().filter_map(|provider| match &provider.kind {
        Kind::Jwt(jwt) => jwt.ca.as_deref(),
        Kind::Introspect(introspect) => introspect.ca.as_deref(),
        Kind::ApiKey(_) | Kind::Mtls(_) | Kind::ExtAuthz(_) => None,
    });
    let of_stores = config.stores.iter().filter_map(|store| match &store.kind {
        StoreKind::Redis(redis) => redis.ca.as_ref().map(|(path, _)| path.as_path()),
        StoreKind::Memory { .. } => None,
    });
    of_providers.chain(of_stores)
}

fn source(config: &Config, named: &Descriptors) -> Source {
    match &named.source {
        descriptors::Source::File(path) | descriptors::Source::Directory(path) => {
            Source::Sets(vec![path.clone()])
        }
        descriptors::Source::Proto { path, includes } => {
            Source::Protos { paths: vec![path.clone()], includes: includes.clone() }
        }
        descriptors::Source::Reflect { uri, tls, .. } => {
            let tls = tls.clone().unwrap_or_default();
            // Where keys are elsewhere, nothing is shown.
            let certificate = tls.certificate.filter(|_| config.has_secrets);
            let certificate = certificate.map(|pair| (pair.chain, pair.key));
            let tls = ReflectionTls { ca: tls.ca, certificate, server_name: tls.server_name };
            Source::Reflection { url: uri.to_string(), tls }
        }
        descriptors::Source::Embedded { name, set } => Source::Embedded { name, set },
    }
}

fn read_service_config(
    config: &Config,
    digest: &mut Context,
    findings: &mut Vec<Finding>,
) -> Vec<SelectedRules> {
    let mut selected = Vec::new();
    for named in &config.routes.service_config {
        let file = named.file.display();
        match std::fs::read_to_string(&named.file) {
            Ok(text) => {
                update(digest, text.as_bytes());
                match service_config::parse(&text) {
                    Ok(rules) => selected.extend(rules),
                    Err(errors) => findings.extend(
                        errors
                            .iter()
                            .map(|error| finding(config, named.position, format_args!("`{file}`: {error}"))),
                    ),
                }
            }
            Err(error) => findings.push(finding(config, named.position, format_args!("`{file}`: {error}"))),
        }
    }
    selected
}
