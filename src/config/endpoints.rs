//! `services.NAME.endpoints`: where the servers of a service are.
//!
//! ```yaml
//! endpoints: { static: ["http://10.0.0.1:50051", { url: "http://10.0.0.2:50051", weight: 3, zone: b }] }
//! ```

use http::Uri;
use serde_json::{Value as Json, json};

use super::finding::Report;
use super::section::Section;
use super::services::backend;
use super::value;
use super::yaml::{Node, Value};

/// Where the endpoints of a service come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// These, at least one.
    Static(Vec<Endpoint>),
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://host:port`: gRPC over HTTP/2 without TLS.
    pub url: Uri,
    /// Against the others'. Default 1.
    pub weight: u32,
    /// Where it is, in the words of the top-level `zone`. Default: as near as any.
    pub zone: Option<String>,
}

/// What the file format has and this version does not serve.
const LATER: &[&str] = &["dns", "k8s", "consul", "etcd", "xds"];

/// More than one service has; each is looked at when one of them fails.
pub const ENDPOINTS_MAX: usize = 1000;

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
        }
    }

    pub(super) fn read(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let mut fixed = None;
        let mut section = Section::open(node, format!("services.{name}.endpoints"), report)?;
        section.read("static", &mut fixed, |node, report| read_list(name, node, report).map(Some));
        if !LATER.iter().any(|key| section.has(key)) {
            section.require("static", "write `static: [\"http://host:port\"]`");
        }
        section.close(LATER);
        fixed.map(Self::Static)
    }
}

impl Endpoint {
    pub fn new(url: Uri) -> Self {
        Self { url, weight: 1, zone: None }
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
        match &node.value {
            Value::Map(_) => Self::read_section(name, node, report),
            Value::Unwritten => {
                value::text(node, report);
                Self::read_section(name, node, report)
            }
            _ => backend(node, report).map(Self::new),
        }
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
