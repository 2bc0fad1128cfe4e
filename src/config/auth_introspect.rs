//! `auth.NAME.introspect`: who is asked about opaque tokens (RFC 7662).
//!
//! ```yaml
//! auth:
//!   legacy:
//!     introspect: { url: "https://old.shop.example/introspect", client: edge, secret: file:/run/secrets/old }
//! ```

use std::path::PathBuf;
use std::time::Duration;

use super::auth_jwt::{audiences, web_address};
use super::finding::Report;
use super::revoked::{self, Revoked};
use super::secret;
use super::section::Section;
use super::value::{self, KIB};
use super::yaml::Node;
use crate::policy::secret::Secret;
use crate::policy::web_address::WebAddress;

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspect {
    pub url: WebAddress,
    /// Who the gateway is to the endpoint.
    pub client: String,
    pub secret: Secret,
    /// How long an active token is believed without asking again. Default 30 s.
    pub cache: Duration,
    /// How long the endpoint may take. Default 2 s; past it 503.
    pub timeout: Duration,
    /// The `iss` of replies that have one. Default: any.
    pub issuer: Option<String>,
    /// One of these must be in the `aud` of replies that have one. Default: any.
    pub audiences: Vec<String>,
    /// Certificates that the endpoint's must descend from. Default: the system's.
    pub ca: Option<PathBuf>,
    /// How far the endpoint's clock may be off. Default 30 s.
    pub skew: Duration,
    /// Bytes of a token. Default 8 KiB.
    pub token_bytes_max: usize,
    /// Tokens and subjects that are believed no longer.
    pub revoked: Option<Revoked>,
}

/// A token that was revoked at its issuer passes for as long.
const CACHE_MAX: Duration = Duration::from_secs(300);
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(30);
const SKEW_MAX: Duration = Duration::from_secs(600);

impl Introspect {
    /// Reads the section of the provider `name`.
    pub(super) fn read(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let (mut url, mut client, mut own_secret) = (None, None, None);
        let (mut cache, mut timeout, mut skew) =
            (Duration::from_secs(30), Duration::from_secs(2), Duration::from_secs(30));
        let (mut issuer, mut audience, mut ca, mut own_revoked) = (None, Vec::new(), None, None);
        let mut token_bytes_max = 8 * KIB;
        let mut section = Section::open(node, format!("auth.{name}.introspect"), report)?;
        section.read("url", &mut url, |node, report| web_address(node, report).map(Some));
        section.read("client", &mut client, |node, report| value::text(node, report).map(Some));
        section.read("secret", &mut own_secret, |node, report| secret::read(node, report).map(Some));
        section.read("cache", &mut cache, value::duration(Duration::ZERO..=CACHE_MAX));
        section.read("timeout", &mut timeout, value::duration(TIMEOUTS));
        section.read("issuer", &mut issuer, |node, report| value::text(node, report).map(Some));
        section.read("audiences", &mut audience, audiences);
        section.read("ca", &mut ca, |node, report| value::file(node, report).map(Some));
        section.read("skew", &mut skew, value::duration(Duration::ZERO..=SKEW_MAX));
        section.read("token", &mut token_bytes_max, value::bytes(16..=64 * KIB));
        section.read("revoked", &mut own_revoked, revoked::of("introspect", name));
        section.require("url", "write the endpoint, such as `https://id.example/introspect`");
        section.require("client", "write the name by which the endpoint knows the gateway");
        section.require("secret", "write where it is: `env:NAME` or `file:PATH`");
        section.close(&[]);
        Some(Self {
            url: url?,
            client: client?,
            secret: own_secret?,
            cache,
            timeout,
            issuer,
            audiences: audience,
            ca,
            skew,
            token_bytes_max,
            revoked: own_revoked,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::yaml;
    use super::*;

    fn read(text: &str) -> (Option<Introspect>, Vec<String>) {
        let mut report = Report::new(Path::new("etc/t.yaml"));
        let node = yaml::parse(text).expect("YAML");
        let introspect = Introspect::read("old", &node, &mut report);
        let findings = report.into_findings();
        (introspect, findings.into_iter().map(|finding| finding.message).collect())
    }

    #[test]
    fn an_endpoint_needs_its_credentials() {
        let good = "url: \"https://a.example\", client: edge, secret: env:CARGO_PKG_NAME";
        let (introspect, findings) = read(&format!("{{ {good} }}"));
        let introspect = introspect.unwrap_or_else(|| panic!("{findings:?}"));
        assert_eq!((introspect.cache, introspect.timeout), (Duration::from_secs(30), Duration::from_secs(2)));
        let check = |text: &str, expected: &str| {
            let (_, findings) = read(text);
            assert!(findings.iter().any(|finding| finding.contains(expected)), "{text}: {findings:?}");
        };
        for key in ["url", "client", "secret"] {
            check("{}", &format!("`auth.old.introspect.{key}` is missing"));
        }
        check("{ url: \"http://a.example\" }", "leaves this machine unencrypted");
        check("{ secret: hunter2 }", "never in this file");
        check(&format!("{{ {good}, cache: 6m }}"), "is not between 0s and 5m");
    }
}
