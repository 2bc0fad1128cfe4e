//! `auth`: who may say who is calling, by name; and the `auth:` key of policies and rules, which asks them.
//!
//! ```yaml
//! auth:
//!   partner: { api_key: { header: x-api-key } }
//!   mesh: { mtls: { names: ["spiffe://shop.example/*"] }, forward: { san: x-workload } }
//!   opa: { ext_authz: { url: "http://127.0.0.1:9191" }, forward: { sub: x-user-id } }
//! ```
//!
//! An entry has exactly one kind. What its `forward:` table writes is taken from every client, on every
//! route, so that the table has names that clients have no use for.

use std::time::Duration;

use http::{HeaderName, Uri};

use super::auth_introspect::Introspect;
use super::auth_jwt::Jwt;
use super::finding::{Position, Report};
use super::revoked::{self, Revoked};
use super::section::{Section, listed};
use super::surfaces::Named;
use super::value;
use super::yaml::{Key, Node, Value};
use crate::policy::claims::Forward;
use crate::policy::glob::Glob;
use crate::policy::metadata;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    pub name: String,
    pub position: Position,
    pub kind: Kind,
    /// Claims that become metadata.
    pub forward: Forward,
    /// Whether the backend is given the credential too. Default false.
    pub pass_token: bool,
    /// What challenges call the place. Default `transom`.
    pub realm: String,
}

/// What kind of credential an entry judges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    ApiKey(ApiKey),
    Mtls(Mtls),
    ExtAuthz(ExtAuthz),
    Jwt(Box<Jwt>),
    Introspect(Box<Introspect>),
}

/// Keys of consumers, in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Default `x-api-key`.
    pub header: HeaderName,
    /// Keys and consumers that are believed no longer.
    pub revoked: Option<Revoked>,
}

/// Certificates of clients, which the listener has verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mtls {
    /// Which name of a certificate is the subject. Default: the first of URI, DNS name and e-mail address.
    pub san: San,
    /// Names, or patterns with one `*` for any text; one of them must match. Default: every name.
    pub names: Vec<String>,
}

/// Names of certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum San {
    Any,
    Uri,
    Dns,
    Email,
}

/// A service that speaks Envoy's external authorization protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtAuthz {
    /// `http://host:port`.
    pub url: Uri,
    /// Default 200 ms; past it 503.
    pub timeout: Duration,
    /// Whether calls go on when the service does not answer. Default no.
    pub allow_on_error: bool,
    /// The header of its answers that names the consumer. Default: none.
    pub consumer_header: Option<HeaderName>,
}

/// What a policy or a rule asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    pub position: Position,
    pub combination: Combination,
    pub providers: Vec<Named>,
}

/// How the providers of a demand go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combination {
    /// Nobody is asked.
    None,
    /// One of them, or the first of several whose credential is present.
    Any,
    /// The same, and nobody where no credential is present.
    Optional,
    All,
}

/// The kinds, as keys.
const KINDS: [&str; 5] = ["jwt", "introspect", "api_key", "mtls", "ext_authz"];

const NAME_BYTES_MAX: usize = 64;
const REALM_BYTES_MAX: usize = 128;
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(10);

/// The entries by name.
pub(super) fn read(node: &Node, report: &mut Report) -> Option<Vec<Provider>> {
    value::by_name("auth", Provider::read)(node, report)
}

impl Provider {
    fn read(key: &Key, node: &Node, report: &mut Report) -> Option<Self> {
        let name = key.name.as_str();
        check_name(key, report);
        let (mut kind, mut forward) = (None, Forward::default());
        let (mut pass_token, mut realm) = (false, "transom".to_owned());
        let mut section = Section::open(node, format!("auth.{name}"), report)?;
        section.read("jwt", &mut kind, |node, report| {
            Some(Some(Kind::Jwt(Box::new(Jwt::read(name, node, report)?))))
        });
        section.read("introspect", &mut kind, |node, report| {
            Some(Some(Kind::Introspect(Box::new(Introspect::read(name, node, report)?))))
        });
        section.read("api_key", &mut kind, |node, report| {
            Some(Some(Kind::ApiKey(ApiKey::read(name, node, report)?)))
        });
        section
            .read("mtls", &mut kind, |node, report| Some(Some(Kind::Mtls(Mtls::read(name, node, report)?))));
        section.read("ext_authz", &mut kind, |node, report| {
            Some(Some(Kind::ExtAuthz(ExtAuthz::read(name, node, report)?)))
        });
        section.read("forward", &mut forward, |node, report| read_forward(name, node, report));
        section.read("pass_token", &mut pass_token, value::boolean);
        section.read("realm", &mut realm, read_realm);
        let count = KINDS.iter().filter(|kind| section.has(kind)).count();
        section.close(&[]);
        match count {
            0 => report.add(node.position, format!("`auth.{name}` has no kind: write {}", listed(&KINDS))),
            1 => {}
            _ => report.add(node.position, format!("`auth.{name}` has {count} kinds, and may have one")),
        }
        Some(Self { name: name.to_owned(), position: key.position, kind: kind?, forward, pass_token, realm })
    }
}

impl Provider {
    /// Where its revocations are.
    pub fn revoked(&self) -> Option<&Revoked> {
        match &self.kind {
            Kind::ApiKey(api_key) => api_key.revoked.as_ref(),
            Kind::Jwt(jwt) => jwt.revoked.as_ref(),
            Kind::Introspect(introspect) => introspect.revoked.as_ref(),
            Kind::Mtls(_) | Kind::ExtAuthz(_) => None,
        }
    }
}

impl ApiKey {
    fn read(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let mut api_key = Self { header: HeaderName::from_static("x-api-key"), revoked: None };
        let mut section = Section::open(node, format!("auth.{name}.api_key"), report)?;
        section.read("header", &mut api_key.header, credential_header);
        section.read("revoked", &mut api_key.revoked, revoked::of("api_key", name));
        section.close(&["query", "cookie"]);
        Some(api_key)
    }
}

impl Mtls {
    fn read(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        const SANS: [(&str, San); 4] =
            [("any", San::Any), ("uri", San::Uri), ("dns", San::Dns), ("email", San::Email)];
        let mut mtls = Self { san: San::Any, names: Vec::new() };
        let mut section = Section::open(node, format!("auth.{name}.mtls"), report)?;
        section.read("san", &mut mtls.san, value::choice(&SANS));
        section.read("names", &mut mtls.names, |node, report| {
            let names = value::list(pattern)(node, report)?;
            match &node.value {
                Value::List(items) if items.is_empty() => {
                    value::refuse(node, report, "an empty list would refuse every certificate")
                }
                _ => Some(names),
            }
        });
        section.close(&[]);
        Some(mtls)
    }
}

impl ExtAuthz {
    fn read(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let (mut url, mut timeout) = (None, Duration::from_millis(200));
        let (mut allow_on_error, mut consumer_header) = (false, None);
        let mut section = Section::open(node, format!("auth.{name}.ext_authz"), report)?;
        section.read("url", &mut url, service_url);
        section.read("timeout", &mut timeout, value::duration(TIMEOUTS));
        section.read("on_error", &mut allow_on_error, value::choice(&[("deny", false), ("allow", true)]));
        section.read("consumer_header", &mut consumer_header, |node, report| {
            header_name(node, report).map(Some)
        });
        section.require("url", "write where the service is, such as `http://127.0.0.1:9191`");
        section.close(&[]);
        Some(Self { url: url?, timeout, allow_on_error, consumer_header })
    }
}

impl Demand {
    /// `NAME`, `none`, `{ any: […] }` or `{ all: […] }`.
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Option<Self>> {
        let demand =
            |combination, providers| Some(Some(Self { position: node.position, combination, providers }));
        match &node.value {
            Value::Text(text) if text == "none" => demand(Combination::None, Vec::new()),
            Value::Text(text) if !text.is_empty() => {
                let named = Named { name: text.clone(), position: Some(node.position) };
                demand(Combination::Any, vec![named])
            }
            Value::Map(entries) => match entries.as_slice() {
                [(key, list)] if key.name == "any" => {
                    let mut providers = names(list, report)?;
                    let is_optional = providers.last().is_some_and(|last| last.name == "none");
                    if is_optional {
                        providers.pop();
                    }
                    check_names(list, &mut providers, report)?;
                    demand(if is_optional { Combination::Optional } else { Combination::Any }, providers)
                }
                [(key, list)] if key.name == "all" => {
                    let mut providers = names(list, report)?;
                    check_names(list, &mut providers, report)?;
                    demand(Combination::All, providers)
                }
                _ => value::expected(node, report, EXPECTED),
            },
            _ => value::expected(node, report, EXPECTED),
        }
    }
}

const EXPECTED: &str = "the name of a provider, `none`, `{ any: [a, b] }` or `{ all: [a, b] }`";

fn names(node: &Node, report: &mut Report) -> Option<Vec<Named>> {
    value::list(super::surfaces::named)(node, report)
}

fn check_names(node: &Node, providers: &mut Vec<Named>, report: &mut Report) -> Option<()> {
    if providers.is_empty() {
        return value::refuse(
            node,
            report,
            "expected at least one provider; nobody is asked by `auth: none`",
        );
    }
    for (index, named) in providers.iter().enumerate() {
        let position = named.position.unwrap_or(node.position);
        if named.name == "none" {
            report.add(position, "`none` stands last in `any`, or alone: `auth: none`");
        } else if providers[..index].iter().any(|other| other.name == named.name) {
            report.add(position, format!("`{}` is named twice", named.name));
        }
    }
    providers.retain(|named| named.name != "none");
    Some(())
}

/// Names stand in logs and before the `:` of consumers.
fn check_name(key: &Key, report: &mut Report) {
    let name = &key.name;
    let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if ["none", "any", "all"].contains(&name.as_str()) {
        report.add(key.position, format!("`{name}` is a word of the format, not the name of a provider"));
    } else if !is_word || !(1..=NAME_BYTES_MAX).contains(&name.len()) {
        let message =
            format!("`{name}` is no name: use up to {NAME_BYTES_MAX} of `a-z`, `0-9`, `-`, `_`, `.`");
        report.add(key.position, message);
    }
}

/// Claims by dotted path, each with the header that it is written to.
fn read_forward(name: &str, node: &Node, report: &mut Report) -> Option<Forward> {
    let mut forward = Forward::default();
    let mut written: Vec<String> = Vec::new();
    let section = Section::open(node, format!("auth.{name}.forward"), report)?;
    section.read_named(|claim, node, report| {
        let Some(header) = value::text(node, report) else { return };
        let header = header.to_ascii_lowercase();
        if let Err(error) = forward.add(&claim.name, &header) {
            report.add(node.position, error.to_string());
        } else if written.contains(&header) {
            report.add(node.position, format!("`{header}` is written twice, again by `{}`", claim.name));
        }
        written.push(header);
    });
    Some(forward)
}

/// A name, or a pattern of names with one `*`.
fn pattern(node: &Node, report: &mut Report) -> Option<String> {
    let text = value::text(node, report)?;
    if text.matches('*').count() > 1 {
        return value::expected(
            node,
            report,
            "a name with one `*` at most, such as `spiffe://shop.example/*`",
        );
    }
    match Glob::parse(&text) {
        Ok(_) => Some(text),
        Err(error) => value::refuse(node, report, error.to_string()),
    }
}

/// Text in a quoted string (RFC 9110, section 5.6.4), without what would have to be escaped.
fn read_realm(node: &Node, report: &mut Report) -> Option<String> {
    let text = value::text(node, report)?;
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\');
    if is_plain && text.len() <= REALM_BYTES_MAX {
        return Some(text);
    }
    value::expected(node, report, "up to 128 printable ASCII characters without `\"` and `\\`")
}

fn header_name(node: &Node, report: &mut Report) -> Option<HeaderName> {
    let text = value::text(node, report)?;
    match HeaderName::try_from(&text) {
        Ok(name) => Some(name),
        Err(_) => value::refuse(node, report, format!("`{text}` is not a header name")),
    }
}

/// The header of a credential: `Authorization`, or one that nothing else uses.
fn credential_header(node: &Node, report: &mut Report) -> Option<HeaderName> {
    let name = header_name(node, report)?;
    let text = name.as_str();
    match metadata::reserved_identity(text) {
        Some(reason) if text != "authorization" => {
            value::refuse(node, report, format!("`{text}` cannot carry a key: {reason}"))
        }
        _ => Some(name),
    }
}

fn service_url(node: &Node, report: &mut Report) -> Option<Option<Uri>> {
    let text = value::text(node, report)?;
    let uri = text.parse::<Uri>().ok().filter(|uri| {
        uri.scheme_str() == Some("http")
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && matches!(uri.path_and_query().map(|path| path.as_str()), None | Some("/"))
    });
    match uri {
        Some(uri) => Some(Some(uri)),
        None => value::expected(node, report, "`http://host:port` without a path: gRPC without TLS"),
    }
}
