//! From the file's providers, consumers and demands to the stage that authenticates.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use super::revocations::Revocations;
use super::snapshot::finding;
use super::tokens::Tokens;
use crate::config::auth::{Combination as FileCombination, Demand, Kind, Provider as FileProvider, San};
use crate::config::consumers::{Consumer as FileConsumer, Origin, Plan as FilePlan};
use crate::config::effective::Effective;
use crate::config::finding::Finding;
use crate::config::{Config, surfaces::Named};
use crate::policy::api_key::{KeyGrant, KeyHash, KeyUsage, Keys};
use crate::policy::glob::Glob;
use crate::policy::identity::{ClaimConsumers, Consumer, Plan, Profile};
use crate::policy::strip::Strip;
use crate::stage::auth::api_key::ApiKeys;
use crate::stage::auth::certificate::{CertificateSettings, Certificates, NameKind};
use crate::stage::auth::ext_authz::{ExtAuthz, ExtAuthzSettings};
use crate::stage::auth::provider::Provider;
use crate::stage::auth::{Auth, Combination, Requirement};
use crate::telemetry::Metrics;

/// What authentication knows and keeps while configurations come and go.
#[derive(Debug)]
pub(super) struct Kept {
    keys: Mutex<HashMap<KeyHash, Arc<KeyUsage>>>,
    pub(super) tokens: Tokens,
    pub(super) revocations: Revocations,
}

/// The consumers of the file, as providers find them.
struct Consumers {
    /// Those that are no claim's, by name.
    written: Arc<HashMap<Box<str>, Arc<Consumer>>>,
    grants: Vec<KeyGrant>,
    certificates: HashMap<Box<str>, Arc<Consumer>>,
}

/// What the stage holds; `None` where nobody is ever asked.
pub(super) fn build(
    config: &Config,
    effective: &[Effective<'_>],
    kept: &Kept,
) -> Result<Option<Auth>, Vec<Finding>> {
    let is_there = |name: &str| config.auth.iter().any(|provider| provider.name == name);
    kept.tokens.keep_only(is_there);
    kept.revocations.keep_only(is_there);
    if config.auth.is_empty() {
        return Ok(None);
    }
    let consumers = Consumers::new(config);
    let (mut providers, mut findings) = (Vec::new(), Vec::new());
    for named in &config.auth {
        match provider(config, named, &consumers, kept) {
            Ok(provider) => providers.push(provider),
            Err(message) => {
                let message = format!("`auth.{}`: {message}", named.name);
                findings.push(finding(config, Some(named.position), message));
            }
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    let requirements = effective.iter().map(|effective| {
        let demand = effective.single(|clauses| clauses.auth.as_ref()).map(|(demand, _)| demand);
        Arc::new(requirement(config, demand, &providers))
    });
    Ok(Some(Auth { requirements: requirements.collect(), providers: providers.into() }))
}

/// What no client may send: everything that any provider writes.
pub(super) fn strip(config: &Config) -> Strip {
    let names: Vec<_> = config.auth.iter().flat_map(|provider| provider.forward.names()).collect();
    Strip::new(&names)
}

fn provider(
    config: &Config,
    named: &FileProvider,
    consumers: &Consumers,
    kept: &Kept,
) -> Result<Arc<dyn Provider>, String> {
    let profile = profile(config, named);
    let revoked = kept.revocations.of(config, named)?;
    Ok(match &named.kind {
        Kind::ApiKey(api_key) => {
            let keys = Keys::new(consumers.grants.iter().cloned(), |hash| kept.usage(hash));
            Arc::new(ApiKeys::new(profile, api_key.header.clone(), keys, revoked))
        }
        Kind::Mtls(mtls) => {
            let settings = CertificateSettings {
                name: match mtls.san {
                    San::Any => NameKind::Any,
                    San::Uri => NameKind::Uri,
                    San::Dns => NameKind::Dns,
                    San::Email => NameKind::Email,
                },
                patterns: mtls.names.iter().map(|name| glob(name)).collect(),
                consumers: consumers.certificates.clone(),
            };
            Arc::new(Certificates::new(profile, settings))
        }
        Kind::ExtAuthz(ext_authz) => {
            let settings = ExtAuthzSettings {
                url: ext_authz.url.clone(),
                timeout: ext_authz.timeout,
                allow_on_error: ext_authz.allow_on_error,
                consumer_header: ext_authz.consumer_header.clone(),
                consumers: consumers.written.clone(),
            };
            Arc::new(ExtAuthz::new(profile, settings))
        }
        Kind::Jwt(jwt) => {
            let is_one_of_several = takes_one_of_several(config);
            Arc::new(kept.tokens.jwt(&named.name, jwt, profile, revoked, is_one_of_several)?)
        }
        Kind::Introspect(introspect) => {
            Arc::new(kept.tokens.introspect(&named.name, introspect, profile, revoked)?)
        }
    })
}

/// Whether bearer tokens may be meant for more than one provider.
fn takes_one_of_several(config: &Config) -> bool {
    let bearers = config.auth.iter().filter(|one| matches!(one.kind, Kind::Jwt(_) | Kind::Introspect(_)));
    bearers.count() > 1
}

fn glob(text: &str) -> Glob {
    Glob::parse(text).expect("the file was read with this pattern")
}

/// What the identities of a provider are given.
fn profile(config: &Config, named: &FileProvider) -> Profile {
    let is_its = |provider: &Named| provider.name == named.name;
    let written = config.consumers.iter().filter_map(|consumer| match &consumer.origin {
        Origin::Value { provider, value } if is_its(provider) => {
            Some((value.as_str().into(), Arc::new(consumer_of(consumer))))
        }
        _ => None,
    });
    let claimed = config.consumers.iter().find_map(|consumer| match &consumer.origin {
        Origin::Claim { provider, claim } if is_its(provider) => Some((claim.as_str(), &consumer.plan)),
        _ => None,
    });
    Profile {
        realm: named.realm.as_str().into(),
        pass_token: named.pass_token,
        forward: named.forward.clone(),
        consumers: claimed.map(|(claim, plan)| ClaimConsumers {
            claim: claim.into(),
            plan: plan_of(plan.as_ref()),
            written: written.collect(),
        }),
        ..Profile::new(&named.name)
    }
}

fn requirement(config: &Config, demand: Option<&Demand>, providers: &[Arc<dyn Provider>]) -> Requirement {
    let Some(demand) = demand else { return Requirement::new(Combination::None, []) };
    let find = |named: &Named| {
        let index = config.auth.iter().position(|provider| provider.name == named.name);
        index.and_then(|index| providers.get(index)).cloned().expect("names of providers were checked")
    };
    let combination = match demand.combination {
        FileCombination::None => Combination::None,
        FileCombination::Any => Combination::Any,
        FileCombination::Optional => Combination::Optional,
        FileCombination::All => Combination::All,
    };
    Requirement::new(combination, demand.providers.iter().map(find).collect::<Vec<_>>())
}

impl Consumers {
    fn new(config: &Config) -> Self {
        let mut consumers =
            Self { written: Arc::default(), grants: Vec::new(), certificates: HashMap::new() };
        let mut by_name = HashMap::new();
        for file in config.consumers.iter().filter(|consumer| consumer.origin == Origin::Written) {
            let consumer = Arc::new(consumer_of(file));
            by_name.insert(file.name.as_str().into(), consumer.clone());
            consumers.grants.extend(file.keys.iter().map(|key| KeyGrant {
                hash: key.hash,
                consumer: consumer.clone(),
                not_before: key.not_before,
                expires: key.expires,
            }));
            let names = file.certificates.iter().map(|named| named.name.as_str().into());
            consumers.certificates.extend(names.map(|name| (name, consumer.clone())));
        }
        consumers.written = Arc::new(by_name);
        consumers
    }
}

fn consumer_of(file: &FileConsumer) -> Consumer {
    let plan = match &file.plan {
        Some(FilePlan::Named(named)) => Some(named.name.as_str().into()),
        Some(FilePlan::Claim(_)) | None => None,
    };
    Consumer { name: file.name.as_str().into(), plan }
}

fn plan_of(plan: Option<&FilePlan>) -> Plan {
    match plan {
        None => Plan::None,
        Some(FilePlan::Named(named)) => Plan::Named(named.name.as_str().into()),
        Some(FilePlan::Claim(claim)) => Plan::Claim { claim: claim.as_str().into() },
    }
}

impl Kept {
    pub(super) fn new(background: &Handle, metrics: &Arc<Metrics>) -> Self {
        Self {
            keys: Mutex::default(),
            tokens: Tokens::new(background, metrics),
            revocations: Revocations::new(background, metrics),
        }
    }

    /// As much again, to be changed by a configuration that may yet be refused.
    pub(super) fn draft(&self) -> Self {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // One here and one in the draft: those that no snapshot holds any more.
        keys.retain(|_, usage| Arc::strong_count(usage) > 2);
        Self { keys: Mutex::new(keys), tokens: self.tokens.draft(), revocations: self.revocations.draft() }
    }

    /// Begins to fetch what calls will need, and shows it among the metrics.
    pub(super) fn begin(&self) {
        self.tokens.begin();
        self.revocations.begin();
    }

    /// What is known of the use of a key.
    fn usage(&self, hash: &KeyHash) -> Arc<KeyUsage> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.entry(*hash).or_default().clone()
    }
}
