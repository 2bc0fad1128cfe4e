//! `services.NAME.endpoints.consul`: endpoints that Consul knows as the healthy instances of a service.
//!
//! ```yaml
//! endpoints: { consul: orders }
//! endpoints: { consul: { service: orders, tags: [v2], address: "https://consul.prod:8501", token: env:CONSUL_TOKEN } }
//! ```

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use super::registry_url;
use crate::config::finding::Report;
use crate::config::section::Section;
use crate::config::yaml::Node;
use crate::config::{secret, value};
use crate::policy::secret::Secret;
use crate::policy::web_address::{WebAddress, WebAddressError};

/// Which instances are endpoints, and how Consul is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consul {
    pub service: String,
    /// An agent or a server. Default `http://127.0.0.1:8500`.
    pub address: Uri,
    /// Instances have all of these. Default: none is needed.
    pub tags: Vec<String>,
    /// Default: that of the agent.
    pub datacenter: Option<String>,
    /// Default: that of the token.
    pub namespace: Option<String>,
    pub token: Option<Secret>,
    /// Who among the servers may answer. Default: the leader.
    pub consistency: Consistency,
    /// How long an answer may wait for a change. Default 1 min.
    pub wait: Duration,
    /// The key of the metadata that says where an instance is. Default `zone`.
    pub zone: String,
    /// Authorities to trust, PEM. Default: those of the system.
    pub ca: Option<PathBuf>,
}

/// Who may answer, in Consul's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    Default,
    Consistent,
    Stale,
}

const ADDRESS: &str = "http://127.0.0.1:8500";
const CONSISTENCIES: &[(&str, Consistency)] = &[
    ("default", Consistency::Default),
    ("consistent", Consistency::Consistent),
    ("stale", Consistency::Stale),
];

/// Consul itself waits for ten minutes at most.
const WAITS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

const NAME_BYTES_MAX: usize = 128;
const TAGS_MAX: usize = 16;

impl Consul {
    pub(super) fn read(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let of_text = |node: &Node, report: &mut Report| service(node, report).map(Self::new);
        value::text_or_mapping(node, report, of_text, |node, report| Self::read_section(name, node, report))
    }

    fn new(service: String) -> Self {
        Self {
            service,
            address: Uri::from_static(ADDRESS),
            tags: Vec::new(),
            datacenter: None,
            namespace: None,
            token: None,
            consistency: Consistency::Default,
            wait: Duration::from_secs(60),
            zone: "zone".to_owned(),
            ca: None,
        }
    }

    fn read_section(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let mut consul = Self::new(String::new());
        let mut section = Section::open(node, format!("services.{name}.endpoints.consul"), report)?;
        section.read("service", &mut consul.service, service);
        section.read("address", &mut consul.address, |node, report| registry_url(node, ADDRESS, report));
        section.read("tags", &mut consul.tags, tags);
        section
            .read("datacenter", &mut consul.datacenter, |node, report| value::text(node, report).map(Some));
        section.read("namespace", &mut consul.namespace, |node, report| value::text(node, report).map(Some));
        let address = &consul.address;
        section.read("token", &mut consul.token, |node, report| {
            if let Err(reason @ WebAddressError::Unencrypted) = WebAddress::parse(&address.to_string()) {
                report.warn(node.position, format!("`{address}`: the token goes there too, and {reason}"));
            }
            secret::read(node, report).map(Some)
        });
        section.read("consistency", &mut consul.consistency, value::choice(CONSISTENCIES));
        section.read("wait", &mut consul.wait, value::duration(WAITS));
        section.read("zone", &mut consul.zone, value::text);
        section.read("ca", &mut consul.ca, |node, report| value::path(node, report).map(Some));
        section.require("service", "write the name of the service in Consul");
        if consul.address.scheme_str() == Some("http") {
            section.forbid("ca", "the address does not begin with `https`");
        }
        section.close(&[]);
        (!consul.service.is_empty()).then_some(consul)
    }
}

/// As Consul advises for names: what can stand in one label of a path.
fn service(node: &Node, report: &mut Report) -> Option<String> {
    let text = value::text(node, report)?;
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = text.len() <= NAME_BYTES_MAX
        && text.bytes().all(is_part)
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if is_name {
        return Some(text);
    }
    value::expected(node, report, "the name of a service: up to 128 letters, digits, `-`, `_` or `.`")
}

fn tags(node: &Node, report: &mut Report) -> Option<Vec<String>> {
    let tags = value::one_or_more("tag", value::text)(node, report)?;
    if tags.len() > TAGS_MAX {
        let message = format!("{} tags are more than the {TAGS_MAX} allowed", tags.len());
        return value::refuse(node, report, message);
    }
    Some(tags)
}
