//! `services.NAME.endpoints`: where the servers of a service are.
//!
//! ```yaml
//! endpoints: { static: ["http://10.0.0.1:50051", { url: "http://10.0.0.2:50051", weight: 3, zone: b }] }
//! endpoints: { file: orders.yaml, empty_after: 1m }
//! endpoints: { dns: "orders.prod.svc:50051" }
//! endpoints: { etcd: { urls: ["http://10.0.0.5:2379"], prefix: services/orders/ } }
//! endpoints: { consul: orders }
//! endpoints: { k8s: "shop/orders:grpc" }
//! ```

mod consul;
mod dns;
mod etcd;
mod k8s;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use serde_json::{Value as Json, json};

use super::finding::{Finding, Report, is_fatal};
use super::section::Section;
use super::services::backend;
use super::value;
use super::yaml::{self, Node, Value};
use crate::policy::balance::ENDPOINTS_MAX;

pub use consul::{Consistency, Consul};
pub use dns::{Dns, Question};
pub use etcd::Etcd;
pub use k8s::{K8s, K8sPort, K8sService};

/// Where the endpoints of a service come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// These, at least one.
    Static(Vec<Endpoint>),
    /// Those that a source tells.
    Discovered(Discovered),
}

/// Endpoints that come and go without the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    pub source: Source,
    /// How long a source must tell no endpoint at all before it is believed. Default 30 s.
    pub empty_after: Duration,
}

/// Who tells them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A list as `static` has it, read again when it changes.
    File(PathBuf),
    /// The addresses of a name, or the servers of a service.
    Dns(Dns),
    /// The keys under a prefix, one for each.
    Etcd(Etcd),
    /// The healthy instances of a service that Consul knows.
    Consul(Box<Consul>),
    /// The EndpointSlices of a service in Kubernetes.
    K8s(Box<K8s>),
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://host:port`: gRPC over HTTP/2 without TLS; `https://host:port` with it.
    pub url: Uri,
    /// Against the others'. Default 1.
    pub weight: u32,
    /// Where it is, in the words of the top-level `zone`. Default: as near as any.
    pub zone: Option<String>,
}

/// What the file format has and this version does not serve.
const LATER: &[&str] = &["xds"];

/// The keys of sources, in the order of the documentation.
const SOURCES: [&str; 6] = ["static", "file", "dns", "etcd", "consul", "k8s"];

const EMPTY_AFTER: Duration = Duration::from_secs(30);
const EMPTY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

pub const WEIGHT_MAX: u32 = 1000;

impl Endpoints {
    /// A single server.
    pub fn one(url: Uri) -> Self {
        Self::Static(vec![Endpoint::new(url)])
    }

    /// Those that are known without asking anybody.
    pub fn fixed(&self) -> &[Endpoint] {
        match self {
            Self::Static(endpoints) => endpoints,
            Self::Discovered(_) => &[],
        }
    }

    pub(super) fn read(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let (mut fixed, mut source, mut empty_after) = (None, None, EMPTY_AFTER);
        let mut section = Section::open(node, format!("services.{name}.endpoints"), report)?;
        section.read("static", &mut fixed, |node, report| read_list(name, node, report).map(Some));
        section.read("file", &mut source, |node, report| {
            value::path(node, report).map(|path| Some(Source::File(path)))
        });
        section.read("dns", &mut source, |node, report| {
            Dns::read(name, node, report).map(|dns| Some(Source::Dns(dns)))
        });
        section.read("etcd", &mut source, |node, report| {
            Etcd::read(name, node, report).map(|etcd| Some(Source::Etcd(etcd)))
        });
        section.read("consul", &mut source, |node, report| {
            Consul::read(name, node, report).map(|consul| Some(Source::Consul(Box::new(consul))))
        });
        section.read("k8s", &mut source, |node, report| {
            K8s::read(name, node, report).map(|k8s| Some(Source::K8s(Box::new(k8s))))
        });
        section.read("empty_after", &mut empty_after, value::duration(Duration::ZERO..=EMPTY_AFTER_MAX));
        let named: Vec<_> = SOURCES.iter().filter(|key| section.has(key)).collect();
        if let [first, second, ..] = named[..] {
            section.forbid(second, &format!("endpoints have one source, and `{first}` is one"));
        }
        if named.is_empty() && !LATER.iter().any(|key| section.has(key)) {
            section.refuse("nothing says where they are: write `static: [\"http://host:port\"]`");
        }
        if section.has("static") {
            section.forbid("empty_after", "a list that is fixed never becomes empty");
        }
        section.close(LATER);
        let discovered = |source| Self::Discovered(Discovered { source, empty_after });
        fixed.map(Self::Static).or(source.map(discovered))
    }
}

/// Reads a file that lists endpoints as `static` does; it may list none.
///
/// # Errors
///
/// Every finding, each with its place.
pub fn read_file(path: &Path, text: &str) -> Result<Vec<Endpoint>, Vec<Finding>> {
    let mut report = Report::new(path);
    let endpoints = match yaml::parse(text) {
        Ok(Node { value: Value::Null, .. }) => Some(Vec::new()),
        Ok(Node { value: Value::List(items), .. }) if items.is_empty() => Some(Vec::new()),
        Ok(node) => read_list("NAME", &node, &mut report),
        Err((position, message)) => {
            report.add(position, message);
            None
        }
    };
    let findings = report.into_findings();
    endpoints.filter(|_| !is_fatal(&findings)).ok_or(findings)
}

impl Source {
    /// Whether it is asked with a password or a token.
    pub fn has_secrets(&self) -> bool {
        match self {
            Self::File(_) | Self::Dns(_) => false,
            Self::Etcd(etcd) => etcd.login.is_some(),
            Self::Consul(consul) => consul.token.is_some(),
            Self::K8s(k8s) => k8s.token.is_some() || k8s.server.is_none(),
        }
    }
}

impl fmt::Display for Source {
    /// In words, for operators.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Dns(Dns { question: Question::Host { host, port }, .. }) => {
                write!(f, "DNS, addresses of {host}, port {port}")
            }
            Self::Dns(Dns { question: Question::Srv(name), .. }) => write!(f, "DNS, SRV of {name}"),
            Self::Etcd(etcd) => write!(f, "etcd, keys under {}", etcd.prefix),
            Self::Consul(consul) => write!(f, "Consul, instances of {}", consul.service),
            Self::K8s(k8s) => {
                write!(f, "Kubernetes, slices of {}/{}", k8s.service.namespace, k8s.service.name)
            }
        }
    }
}

impl Endpoint {
    pub fn new(url: Uri) -> Self {
        Self { url, weight: 1, zone: None }
    }

    /// Whether it is reached by TLS.
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == Some(&Scheme::HTTPS)
    }

    pub(super) fn shown(&self) -> Json {
        let url = self.url.to_string();
        match (self.weight, &self.zone) {
            (1, None) => json!(url),
            (weight, None) => json!({ "url": url, "weight": weight }),
            (weight, Some(zone)) => json!({ "url": url, "weight": weight, "zone": zone }),
        }
    }

    fn read(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let of_text = |node: &Node, report: &mut Report| backend(node, report).map(Self::new);
        value::text_or_mapping(node, report, of_text, |node, report| Self::read_section(name, node, report))
    }

    fn read_section(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let mut url = None;
        let mut endpoint = Self::new(Uri::default());
        let mut section = Section::open(node, format!("services.{name}.endpoints.static[]"), report)?;
        section.read("url", &mut url, |node, report| backend(node, report).map(Some));
        section.read("weight", &mut endpoint.weight, value::integer(1..=WEIGHT_MAX));
        section.read("zone", &mut endpoint.zone, |node, report| value::text(node, report).map(Some));
        section.require("url", "write `url: \"http://host:port\"`");
        section.close(&[]);
        endpoint.url = url?;
        Some(endpoint)
    }
}

/// `http://host` or `https://host`, with or without a port: who is asked for endpoints.
fn registry_url(node: &Node, example: &str, report: &mut Report) -> Option<Uri> {
    let text = value::text(node, report)?;
    let is_whole = |url: &Uri| {
        let authority = url.authority().map_or("", http::uri::Authority::as_str);
        let port = authority.strip_prefix(url.host().unwrap_or_default()).unwrap_or_default();
        let is_port = port.is_empty() || url.port_u16().is_some_and(|port| port != 0);
        let is_known = matches!(url.scheme_str(), Some("http" | "https"));
        is_known && is_port && !authority.starts_with(':') && url.path() == "/" && url.query().is_none()
    };
    if text.contains('@') {
        // It is not repeated: findings are logged, and shown to others.
        return value::refuse(node, report, "a URL with a user name is not accepted");
    }
    match text.parse().ok().filter(is_whole) {
        Some(url) => Some(url),
        None => value::expected(node, report, &format!("a URL such as `{example}`")),
    }
}

/// A list of at least one, each address once.
fn read_list(name: &str, node: &Node, report: &mut Report) -> Option<Vec<Endpoint>> {
    let Value::List(items) = &node.value else {
        let expected = "a list of URLs such as `http://127.0.0.1:50051`";
        if let Value::Unwritten = node.value {
            value::list(|node, report| Endpoint::read(name, node, report))(node, report);
            return None;
        }
        return value::expected(node, report, expected);
    };
    if items.is_empty() {
        return value::refuse(node, report, "expected at least one endpoint, found none");
    }
    if items.len() > ENDPOINTS_MAX {
        let message = format!("{} endpoints are more than the {ENDPOINTS_MAX} allowed", items.len());
        return value::refuse(node, report, message);
    }
    let mut endpoints: Vec<Endpoint> = Vec::with_capacity(items.len());
    for item in items {
        let Some(endpoint) = Endpoint::read(name, item, report) else { continue };
        if endpoints.iter().any(|other| other.url == endpoint.url) {
            report.add(item.position, format!("`{}` is given twice: write a weight", endpoint.url));
        }
        endpoints.push(endpoint);
    }
    (endpoints.len() == items.len()).then_some(endpoints)
}
