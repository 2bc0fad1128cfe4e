//! `services.NAME.endpoints.k8s`: endpoints that Kubernetes knows as the EndpointSlices of a service.
//!
//! ```yaml
//! endpoints: { k8s: "shop/orders:grpc" }
//! endpoints: { k8s: { service: "shop/orders:50051", server: "https://10.0.0.1:6443", token: kube/token, ca: kube/ca.crt } }
//! ```

use std::path::PathBuf;

use http::Uri;

use super::registry_url;
use crate::config::finding::Report;
use crate::config::section::Section;
use crate::config::value;
use crate::config::yaml::Node;
use crate::policy::web_address::{WebAddress, WebAddressError};

/// Whose slices are watched, and how the API server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct K8s {
    pub service: K8sService,
    /// Default: that of the cluster in which the gateway runs.
    pub server: Option<Uri>,
    /// A file that holds the token. Default: that of the pod, where the server is that of the cluster.
    pub token: Option<PathBuf>,
    /// Authorities to trust, PEM. Default: the cluster's, where the server is that of the cluster, else the system's.
    pub ca: Option<PathBuf>,
}

/// `NAMESPACE/SERVICE:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct K8sService {
    pub namespace: String,
    pub name: String,
    pub port: K8sPort,
}

/// A port by its name in the service, or by the number at which pods listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum K8sPort {
    Name(String),
    Number(u16),
}

const EXPECTED: &str = "`NAMESPACE/SERVICE:PORT` such as `shop/orders:grpc` or `shop/orders:50051`";

/// RFC 1123, section 2.1: names in Kubernetes are labels of hosts.
const NAME_BYTES_MAX: usize = 63;

impl K8s {
    pub(super) fn read(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let of_text = |node: &Node, report: &mut Report| {
            service(node, report).map(|service| Self { service, server: None, token: None, ca: None })
        };
        value::text_or_mapping(node, report, of_text, |node, report| Self::read_section(name, node, report))
    }

    fn read_section(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let (mut named, mut server, mut token, mut ca) = (None, None, None, None);
        let mut section = Section::open(node, format!("services.{name}.endpoints.k8s"), report)?;
        section.read("service", &mut named, |node, report| service(node, report).map(Some));
        section.read("server", &mut server, |node, report| {
            registry_url(node, "https://10.0.0.1:6443", report).map(Some)
        });
        let unencrypted = server.as_ref().map(Uri::to_string).and_then(|url| {
            WebAddress::parse(&url).err().filter(|reason| *reason == WebAddressError::Unencrypted)
        });
        section.read("token", &mut token, |node, report| {
            if let Some(reason) = unencrypted {
                report.warn(node.position, format!("the token goes to the server, and {reason}"));
            }
            value::path(node, report).map(Some)
        });
        section.read("ca", &mut ca, |node, report| value::path(node, report).map(Some));
        section.require("service", "write `service: \"NAMESPACE/SERVICE:PORT\"`");
        if server.as_ref().is_some_and(|server: &Uri| server.scheme_str() == Some("http")) {
            section.forbid("ca", "the server does not begin with `https`");
        }
        section.close(&[]);
        Some(Self { service: named?, server, token, ca })
    }
}

fn service(node: &Node, report: &mut Report) -> Option<K8sService> {
    let text = value::text(node, report)?;
    match parse(&text) {
        Some(service) => Some(service),
        None => value::expected(node, report, EXPECTED),
    }
}

fn parse(text: &str) -> Option<K8sService> {
    let (namespace, rest) = text.split_once('/')?;
    let (name, port) = rest.split_once(':')?;
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = if is_number {
        K8sPort::Number(port.parse().ok().filter(|port| *port != 0)?)
    } else {
        K8sPort::Name(port.to_owned())
    };
    let is_port =
        matches!(&port, K8sPort::Number(_)) || matches!(&port, K8sPort::Name(name) if is_name(name));
    (is_name(namespace) && is_name(name) && is_port).then(|| K8sService {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        port,
    })
}

fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(is_part)
        && !text.starts_with('-')
        && !text.ends_with('-')
}
