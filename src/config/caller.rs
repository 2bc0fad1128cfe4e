//! A consumer as the command line names it: its entry in the file, and by what the providers of a rule know it.
//!
//! `acme` and `corp:gold` stand in the file by their names; `corp:acme` is one of `corp:{tenant}`, by the same rule
//! by which [`policy::identity`](crate::policy::identity) names the consumers of claims.

use super::auth::{Combination, Demand, Kind, Provider};
use super::consumers::{Consumer, Origin};
use super::{Config, names};
use crate::policy::glob::Glob;
use crate::policy::identity::is_name;

/// One consumer of the file.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'c> {
    /// As it is counted.
    pub name: &'c str,
    /// What the file says of it, or of all that its claim names.
    pub entry: &'c Consumer,
}

/// As whom a consumer calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As itself, in one of these ways.
    Known { by: Vec<String> },
    /// As nobody, because of this.
    Nobody { why: String },
    /// Not at all, because of this.
    Refused { why: String },
}

/// The file has no such consumer.
#[derive(Debug, thiserror::Error)]
#[error("there is no consumer `{name}`: {advice}")]
pub struct UnknownConsumer {
    name: String,
    advice: String,
}

impl<'c> Caller<'c> {
    /// Who is counted under a name.
    ///
    /// # Errors
    ///
    /// There is none; with the nearest name that there is, or could be.
    pub fn find(config: &'c Config, name: &'c str) -> Result<Self, UnknownConsumer> {
        let written = || config.consumers.iter().find(|consumer| consumer.name == name);
        let value = name.split_once(':').filter(|(_, value)| is_name(value));
        let claimed = || value.and_then(|(provider, _)| Some(claimed(config, provider)?.0));
        if let Some(entry) = written().or_else(claimed) {
            return Ok(Self { name, entry });
        }
        // Of those that a claim names, the one with this value is meant.
        let candidates: Vec<String> = config
            .consumers
            .iter()
            .map(|consumer| match (&consumer.origin, value) {
                (Origin::Claim { provider, .. }, Some((_, value))) => format!("{}:{value}", provider.name),
                _ => consumer.name.clone(),
            })
            .collect();
        let candidates: Vec<&str> = candidates.iter().map(String::as_str).collect();
        Err(UnknownConsumer { name: name.to_owned(), advice: names::advice("consumer", name, &candidates) })
    }

    /// As whom it calls where `demand` is what `auth` says.
    pub fn standing(&self, config: &Config, demand: Option<&Demand>) -> Standing {
        let asked = demand.filter(|demand| demand.combination != Combination::None);
        let Some(demand) = asked else {
            return Standing::Nobody { why: "nobody is asked who is calling".to_owned() };
        };
        let provider = |name: &str| config.auth.iter().find(|provider| provider.name == name);
        let asked = || demand.providers.iter().filter_map(|named| provider(&named.name));
        let quoted = |providers: &mut dyn Iterator<Item = &Provider>| {
            providers.map(|provider| format!("`{}`", provider.name)).collect::<Vec<_>>().join(" and ")
        };
        let by: Vec<String> = asked()
            .filter_map(|one| {
                let way = self.way(config, one)?;
                let mut others = asked().filter(|other| other.name != one.name);
                let is_alone = demand.combination != Combination::All || demand.providers.len() < 2;
                Some(if is_alone { way } else { format!("{way}, beside {}", quoted(&mut others)) })
            })
            .collect();
        if !by.is_empty() {
            return Standing::Known { by };
        }
        let why = format!("unknown to {}", quoted(&mut asked()));
        match demand.combination {
            Combination::Optional => Standing::Nobody { why },
            _ => Standing::Refused { why },
        }
    }

    /// By what a provider knows it, if it does.
    fn way(&self, config: &Config, provider: &Provider) -> Option<String> {
        let from = &provider.name;
        let (named, value) = match &self.entry.origin {
            Origin::Written => return self.own_way(provider),
            Origin::Claim { provider, .. } | Origin::Value { provider, .. } => {
                (&provider.name, self.name.split_once(':')?.1)
            }
        };
        let (_, claim) = claimed(config, named)?;
        (named == from).then(|| format!("`{from}`, where the claim `{claim}` is `{value}`"))
    }

    /// By a credential of its own, or by its name.
    fn own_way(&self, provider: &Provider) -> Option<String> {
        let from = &provider.name;
        match &provider.kind {
            Kind::ApiKey(_) => (!self.entry.keys.is_empty()).then(|| format!("`{from}`, by its key")),
            Kind::Mtls(mtls) => {
                let is_allowed = |name: &str| {
                    let matches = |pattern: &String| {
                        Glob::parse(pattern).is_ok_and(|pattern| pattern.matches(name.as_bytes()))
                    };
                    mtls.names.is_empty() || mtls.names.iter().any(matches)
                };
                let mut certificates = self.entry.certificates.iter();
                certificates
                    .any(|named| is_allowed(&named.name))
                    .then(|| format!("`{from}`, by its certificate"))
            }
            Kind::ExtAuthz(service) => {
                let header = service.consumer_header.as_ref()?;
                Some(format!("`{from}`, where its answer has `{header}: {}`", self.name))
            }
            Kind::Jwt(_) | Kind::Introspect(_) => None,
        }
    }
}

/// The entry of all consumers that a claim of a provider names, and the claim.
fn claimed<'c>(config: &'c Config, asked: &str) -> Option<(&'c Consumer, &'c str)> {
    config.consumers.iter().find_map(|consumer| match &consumer.origin {
        Origin::Claim { provider, claim } if provider.name == asked => Some((consumer, claim.as_str())),
        _ => None,
    })
}
