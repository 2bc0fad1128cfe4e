//! `auth.NAME.jwt`: whose tokens are believed, and by which keys.
//!
//! ```yaml
//! auth:
//!   corp:
//!     jwt: { issuer: "https://id.shop.example", audiences: [shop-api], algorithms: [RS256, ES256] }
//! ```
//!
//! Issuer and audiences have no default: a token for somebody else is the commonest hole in gateways. Nor may
//! one provider take a secret and public keys: then the public key might be taken for the secret.

use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::{Algorithm, AlgorithmFamily};

use super::finding::{Position, Report};
use super::revoked::{self, Revoked};
use super::secret;
use super::section::Section;
use super::value::{self, KIB};
use super::yaml::{Node, Value};
use crate::policy::secret::Secret;
use crate::policy::web_address::{WebAddress, WebAddressError};

/// Tokens of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// The `iss` of every token, and where its keys are found unless `keys` says otherwise.
    pub issuer: String,
    /// A token must be for one of these.
    pub audiences: Vec<String>,
    /// Default: every asymmetric one.
    pub algorithms: Vec<Algorithm>,
    pub keys: Keys,
    /// Certificates that the issuer's must descend from. Default: the system's.
    pub ca: Option<PathBuf>,
    /// How far the issuer's clock may be off. Default 30 s.
    pub skew: Duration,
    /// From `iat` to `exp`. Default: no bound.
    pub max_lifetime: Option<Duration>,
    /// The type that tokens must have. Default: none, `JWT` or `at+jwt`.
    pub typ: Option<String>,
    /// The longest between two fetches of keys. Default 10 min.
    pub refresh: Duration,
    /// The least between two fetches for unknown keys. Default 10 s.
    pub refetch: Duration,
    /// How long keys serve while the issuer is down. Default 24 h.
    pub max_stale: Duration,
    /// Bytes of a token. Default 8 KiB.
    pub token_bytes_max: usize,
    /// Tokens and subjects that are believed no longer.
    pub revoked: Option<Revoked>,
}

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// `{issuer}/.well-known/openid-configuration`; `None` where the issuer is no URL, which is a finding.
    Discovery(Option<WebAddress>),
    Url(WebAddress),
    File(PathBuf),
    Secret(Secret),
}

/// Of RFC 7518, section 3.1, as far as they are asymmetric and served.
const ASYMMETRIC: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];
const SYMMETRIC: [(&str, Algorithm); 3] =
    [("HS256", Algorithm::HS256), ("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)];

const SKEW_MAX: Duration = Duration::from_secs(600);
const LIFETIMES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(366 * 24 * 3600);
const REFRESHES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(24 * 3600);
const REFETCHES: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
const STALES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(30 * 24 * 3600);

impl Default for Jwt {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audiences: Vec::new(),
            algorithms: ASYMMETRIC.map(|(_, algorithm)| algorithm).to_vec(),
            keys: Keys::Discovery(None),
            ca: None,
            skew: Duration::from_secs(30),
            max_lifetime: None,
            typ: None,
            refresh: Duration::from_secs(600),
            refetch: Duration::from_secs(10),
            max_stale: Duration::from_secs(24 * 3600),
            token_bytes_max: 8 * KIB,
            revoked: None,
        }
    }
}

impl Jwt {
    /// Reads the section of the provider `name`.
    pub(super) fn read(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let mut jwt = Self::default();
        let (mut jwks, mut own_secret, mut issuer) = (None, None, None);
        let mut section = Section::open(node, format!("auth.{name}.jwt"), report)?;
        section.read("issuer", &mut issuer, |node, report| {
            Some(Some((value::text(node, report)?, node.position)))
        });
        section.read("audiences", &mut jwt.audiences, audiences);
        section.read("algorithms", &mut jwt.algorithms, algorithms);
        section.read("jwks", &mut jwks, |node, report| key_set(node, report).map(Some));
        section.read("secret", &mut own_secret, |node, report| secret::read(node, report).map(Some));
        section.read("ca", &mut jwt.ca, |node, report| value::file(node, report).map(Some));
        section.read("skew", &mut jwt.skew, value::duration(Duration::ZERO..=SKEW_MAX));
        section.read("max_lifetime", &mut jwt.max_lifetime, |node, report| {
            value::duration(LIFETIMES)(node, report).map(Some)
        });
        section.read("typ", &mut jwt.typ, |node, report| value::text(node, report).map(typ).map(Some));
        section.read("refresh", &mut jwt.refresh, value::duration(REFRESHES));
        section.read("refetch", &mut jwt.refetch, value::duration(REFETCHES));
        section.read("max_stale", &mut jwt.max_stale, value::duration(STALES));
        section.read("token", &mut jwt.token_bytes_max, value::bytes(256..=64 * KIB));
        section.read("revoked", &mut jwt.revoked, revoked::of("jwt", name));
        section.require("issuer", "write the `iss` of its tokens");
        section.require("audiences", "write the `aud` that tokens for you have");
        let is_symmetric = jwt.algorithms.iter().any(|one| one.family() == AlgorithmFamily::Hmac);
        judge_sources(&mut section, is_symmetric, matches!(jwks, Some(Keys::File(_))));
        section.close(&[]);
        if jwt.max_stale < 2 * jwt.refresh {
            report.add(node.position, "`max_stale` must be twice `refresh` or more, or good keys go between");
        }
        if let Some(secret) = &own_secret {
            check_length(node, secret, &jwt.algorithms, report);
        }
        jwt.keys = match (own_secret.map(Keys::Secret).or(jwks), &issuer) {
            (Some(keys), _) => keys,
            (None, Some((issuer, position))) if !is_symmetric => {
                Keys::Discovery(discovery(issuer, *position, report))
            }
            (None, _) => Keys::Discovery(None),
        };
        jwt.issuer = issuer.map(|(issuer, _)| issuer).unwrap_or_default();
        Some(jwt)
    }
}

/// Keys have one source, and what concerns another is a mistake.
fn judge_sources(section: &mut Section<'_>, is_symmetric: bool, is_file: bool) {
    if is_symmetric {
        section.require("secret", "HMAC needs one that both sides know");
        section.forbid("jwks", "published keys are not for HMAC: name other algorithms, or `secret`");
    } else {
        section.forbid("secret", "only HMAC has one: name `HS256` in `algorithms`, or take it away");
    }
    if is_symmetric || is_file {
        for key in ["refresh", "refetch", "max_stale", "ca"] {
            section.forbid(key, "nothing is fetched for this provider");
        }
    }
}

/// The issuer as the place where its keys are found.
fn discovery(issuer: &str, position: Position, report: &mut Report) -> Option<WebAddress> {
    let advice = "or name its keys by `jwks`";
    WebAddress::parse(issuer)
        .map_err(|reason| report.add(position, format!("{}, {advice}", unless_secret(issuer, reason))))
        .ok()
}

/// One text or several, none of them empty.
pub(super) fn audiences(node: &Node, report: &mut Report) -> Option<Vec<String>> {
    match &node.value {
        Value::Text(_) => value::text(node, report).map(|one| vec![one]),
        Value::List(items) if items.is_empty() => {
            value::refuse(node, report, "expected at least one audience")
        }
        _ => value::list(value::text)(node, report),
    }
}

fn algorithms(node: &Node, report: &mut Report) -> Option<Vec<Algorithm>> {
    let all: Vec<_> = ASYMMETRIC.into_iter().chain(SYMMETRIC).collect();
    let none = |node: &Node| matches!(&node.value, Value::Text(text) if text.eq_ignore_ascii_case("none"));
    let one = |node: &Node, report: &mut Report| {
        if none(node) {
            return value::refuse(node, report, "tokens without a signature are never accepted");
        }
        value::choice(&all)(node, report)
    };
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        return value::refuse(node, report, "expected at least one algorithm such as `RS256`");
    }
    let algorithms = value::list(one)(node, report)?;
    let count = algorithms.iter().filter(|one| one.family() == AlgorithmFamily::Hmac).count();
    if count > 0 && count < algorithms.len() {
        let message = "HMAC beside public keys lets everyone who reads the keys sign: write two providers";
        return value::refuse(node, report, message);
    }
    Some(algorithms)
}

/// `https://…` or `file:PATH`.
fn key_set(node: &Node, report: &mut Report) -> Option<Keys> {
    let text = value::text(node, report)?;
    if text.starts_with("file:") {
        return value::file(node, report).map(Keys::File);
    }
    web_address(node, report).map(Keys::Url)
}

/// A URL that the gateway may call.
pub(super) fn web_address(node: &Node, report: &mut Report) -> Option<WebAddress> {
    let text = value::text(node, report)?;
    match WebAddress::parse(&text) {
        Ok(address) => Some(address),
        Err(reason) => value::refuse(node, report, unless_secret(&text, reason)),
    }
}

/// What is wrong with a URL, which is repeated unless there may be a password in it.
fn unless_secret(text: &str, reason: WebAddressError) -> String {
    if text.contains('@') { reason.to_string() } else { format!("`{text}`: {reason}") }
}

/// As headers of tokens are compared: lower case, without the `application/` that may be left out.
fn typ(text: String) -> String {
    let text = text.to_ascii_lowercase();
    text.strip_prefix("application/").map(str::to_owned).unwrap_or(text)
}

/// RFC 7518, section 3.2: a key as long as the hash, or longer.
fn check_length(node: &Node, secret: &Secret, algorithms: &[Algorithm], report: &mut Report) {
    let bytes = |algorithm: &Algorithm| match algorithm {
        Algorithm::HS512 => 64,
        Algorithm::HS384 => 48,
        Algorithm::HS256 => 32,
        _ => 0,
    };
    let least = algorithms.iter().map(bytes).max().unwrap_or(0);
    if secret.expose().len() < least {
        report
            .add(node.position, format!("the secret is shorter than the {least} bytes that HMAC needs here"));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::yaml;
    use super::*;

    fn read(text: &str) -> (Option<Jwt>, Vec<String>) {
        let mut report = Report::new(Path::new("etc/t.yaml"));
        let node = yaml::parse(text).expect("YAML");
        let jwt = Jwt::read("corp", &node, &mut report);
        let findings = report.into_findings();
        (jwt, findings.into_iter().map(|finding| finding.message).collect())
    }

    fn accepted(more: &str) -> Jwt {
        let (jwt, findings) =
            read(&format!("{{ issuer: \"https://id.example\", audiences: [api], {more} }}"));
        assert_eq!(findings, Vec::<String>::new(), "{more}");
        jwt.expect("read without findings")
    }

    #[test]
    fn defaults_are_strict() {
        let jwt = accepted("");
        let issuer = WebAddress::parse("https://id.example").expect("a URL");
        assert_eq!(jwt.keys, Keys::Discovery(Some(issuer)));
        assert_eq!(jwt.algorithms.len(), ASYMMETRIC.len());
        assert!(jwt.algorithms.iter().all(|one| one.family() != AlgorithmFamily::Hmac));
        assert_eq!(jwt.token_bytes_max, 8192);
    }

    #[test]
    fn keys_come_from_one_place() {
        assert_eq!(accepted("jwks: file:keys.json").keys, Keys::File("etc/keys.json".into()));
        let url = "http://127.0.0.1:1/keys";
        assert_eq!(
            accepted(&format!("jwks: \"{url}\"")).keys,
            Keys::Url(WebAddress::parse(url).expect("a URL"))
        );
        let (jwt, findings) =
            read("{ issuer: accounts.example, audiences: api, jwks: \"https://a.example\" }");
        assert_eq!((jwt.map(|jwt| jwt.issuer).as_deref(), findings.len()), (Some("accounts.example"), 0));
        assert_eq!(accepted("typ: application/AT+JWT").typ.as_deref(), Some("at+jwt"));
    }

    #[test]
    fn what_is_dangerous_is_refused() {
        let check = |text: &str, expected: &str| {
            let (_, findings) = read(text);
            assert!(findings.iter().any(|finding| finding.contains(expected)), "{text}: {findings:?}");
        };
        check("{}", "`auth.corp.jwt.issuer` is missing");
        check("{}", "`auth.corp.jwt.audiences` is missing");
        let with = |more: &str| format!("{{ issuer: \"https://id.example\", audiences: [api], {more} }}");
        check("{ issuer: \"https://id.example\", audiences: [] }", "expected at least one audience");
        check("{ issuer: \"http://id.example\", audiences: [api] }", "leaves this machine unencrypted");
        check("{ issuer: accounts.example, audiences: [api] }", "or name its keys by `jwks`");
        check(&with("algorithms: [RS256, HS256]"), "HMAC beside public keys");
        check(&with("algorithms: []"), "at least one algorithm");
        check(&with("algorithms: [none]"), "without a signature");
        check(&with("algorithms: [RS265]"), "did you mean `RS256`?");
        check(&with("algorithms: [HS256]"), "`auth.corp.jwt.secret` is missing");
        check(&with("algorithms: [HS256], secret: env:CARGO_PKG_NAME"), "shorter than the 32 bytes");
        check(&with("algorithms: [HS256], secret: env:CARGO_MANIFEST_DIR, jwks: file:a"), "not for HMAC");
        check(&with("secret: env:CARGO_PKG_NAME"), "only HMAC has one");
        check(&with("secret: hunter2"), "never in this file");
        check(&with("jwks: \"http://id.example/keys\""), "leaves this machine unencrypted");
        check(&with("jwks: \"https://u:p@id.example/keys\""), "user name");
        check(&with("jwks: keys.json"), "expected a URL");
        check(&with("jwks: file:a, refresh: 5m"), "nothing is fetched");
        check(&with("refresh: 10m, max_stale: 19m"), "twice `refresh`");
        check(&with("skew: 11m"), "is not between 0s and 10m");
        check(&with("token: 128KiB"), "is not between");
        check(&with("audience: api"), "did you mean `audiences`?");
    }
}
