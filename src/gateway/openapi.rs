//! What the documents of surfaces are made of: the file's words about them, and what its policies ask for.

use std::io::{self, Write};
use std::sync::Arc;

use crate::config::Config;
use crate::config::auth::{Combination, Kind};
use crate::config::auth_jwt::Keys;
use crate::config::effective::Effective;
use crate::config::surfaces::Surface;
use crate::openapi::{
    About, Credential, Documents, Format, Scheme, Security, Server, Source, Terms, Version,
};
use crate::snapshot::Snapshot;

/// What documents say beside the routes. Lies in the snapshot.
#[derive(Debug)]
pub(super) struct Described {
    /// By surface.
    abouts: Box<[About]>,
    /// By rule.
    terms: Box<[Terms]>,
}

pub(super) fn build(config: &Config, effective: &[Effective<'_>]) -> Described {
    let schemes: Vec<Scheme> =
        config.auth.iter().filter_map(|provider| scheme(&provider.name, &provider.kind)).collect();
    let abouts = config.surfaces.iter().map(|surface| about(surface, &schemes)).collect();
    let terms = effective.iter().map(|effective| terms(config, effective)).collect();
    Described { abouts, terms }
}

/// Writes the document of the surface at `index`.
///
/// # Errors
///
/// Those of `out`.
pub(super) fn write(
    snapshot: &Snapshot,
    index: usize,
    version: Version,
    format: Format,
    out: impl Write,
) -> io::Result<()> {
    let described = snapshot.live.get::<Arc<Described>>();
    let surface = snapshot.surfaces.all().get(index);
    let (Some(described), Some(surface)) = (described, surface) else { return Ok(()) };
    let Some(about) = described.abouts.get(index) else { return Ok(()) };
    let source = Source {
        schema: &snapshot.schema,
        routes: &surface.routes,
        json: &snapshot.json,
        about,
        terms: &described.terms,
        documents: surface
            .graphql
            .as_ref()
            .map(|graphql| Documents { model: &graphql.model, routes: &graphql.routes }),
    };
    crate::openapi::write(source, version, format, out)
}

fn about(surface: &Surface, schemes: &[Scheme]) -> About {
    let said = surface.openapi.clone().unwrap_or_default();
    let server = |url| Server { url, description: None };
    About {
        title: said.title,
        description: said.description,
        version: said.version,
        servers: said.servers.into_iter().map(server).collect(),
        schemes: schemes.to_vec(),
    }
}

fn scheme(name: &str, kind: &Kind) -> Option<Scheme> {
    let credential = match kind {
        Kind::ApiKey(key) => Credential::ApiKey { header: key.header.as_str().to_owned() },
        Kind::Mtls(_) => Credential::Certificate,
        Kind::Jwt(jwt) => match &jwt.keys {
            Keys::Discovery(Some(_)) => {
                let issuer = jwt.issuer.trim_end_matches('/');
                Credential::OpenIdConnect { url: format!("{issuer}/.well-known/openid-configuration") }
            }
            _ => Credential::Bearer { format: Some("JWT".to_owned()) },
        },
        Kind::Introspect(_) => Credential::Bearer { format: None },
        Kind::ExtAuthz(_) => return None,
    };
    Some(Scheme { name: name.to_owned(), credential })
}

fn terms(config: &Config, effective: &Effective<'_>) -> Terms {
    let rule = effective.rule.and_then(|rule| rule.deprecated.as_ref());
    Terms {
        security: security(config, effective),
        is_limited: !effective.all_of(|clauses| clauses.rate.as_ref()).is_empty(),
        is_deprecated: rule.or(effective.surface.deprecated.as_ref()).is_some(),
    }
}

fn security(config: &Config, effective: &Effective<'_>) -> Security {
    let Some((demand, _)) = effective.single(|clauses| clauses.auth.as_ref()) else { return Security::None };
    let has_scheme = |name: &String| {
        let provider = config.auth.iter().find(|provider| provider.name == *name);
        provider.is_some_and(|provider| scheme(name, &provider.kind).is_some())
    };
    let all: Vec<String> = demand.providers.iter().map(|named| named.name.clone()).collect();
    let known: Vec<String> = all.iter().filter(|name| has_scheme(name)).cloned().collect();
    match demand.combination {
        Combination::None => Security::None,
        Combination::Optional => Security::Optional(known),
        // Who is asked without a scheme may let in whoever shows nothing of the others.
        Combination::Any if known.len() < all.len() => Security::Unknown,
        Combination::All if known.is_empty() => Security::Unknown,
        Combination::Any => Security::Any(known),
        Combination::All => Security::All(known),
    }
}
