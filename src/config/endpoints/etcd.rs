//! `services.NAME.endpoints.etcd`: endpoints that servers register in etcd, a key for each.
//!
//! ```yaml
//! endpoints:
//!   etcd: { urls: ["https://10.0.0.5:2379"], prefix: services/orders/, ca: etcd-ca.pem, user: gateway, password: env:ETCD }
//! ```

use std::path::PathBuf;

use http::Uri;

use crate::config::finding::Report;
use crate::config::section::Section;
use crate::config::yaml::Node;
use crate::config::{secret, value};
use crate::policy::secret::Secret;

/// Which keys are endpoints, and how etcd is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etcd {
    /// Members of the cluster, `http` or `https`, with ports.
    pub urls: Vec<Uri>,
    /// What the keys of the service begin with.
    pub prefix: String,
    /// Name and password.
    pub login: Option<(String, Secret)>,
    /// Authorities to trust, PEM. Default: those of the system.
    pub ca: Option<PathBuf>,
    /// Certificate and key to show, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A cluster of etcd has seven members at most, by the advice of its authors.
const URLS_MAX: usize = 32;

impl Etcd {
    pub(super) fn read(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let (mut urls, mut prefix) = (Vec::new(), String::new());
        let (mut user, mut password) = (None, None);
        let (mut ca, mut cert, mut key) = (None, None, None);
        let mut section = Section::open(node, format!("services.{name}.endpoints.etcd"), report)?;
        section.read("urls", &mut urls, value::one_or_more("URL", url));
        section.read("prefix", &mut prefix, value::text);
        section.read("user", &mut user, |node, report| value::text(node, report).map(Some));
        section.read("password", &mut password, |node, report| secret::read(node, report).map(Some));
        section.read("ca", &mut ca, |node, report| value::path(node, report).map(Some));
        section.read("cert", &mut cert, |node, report| value::path(node, report).map(Some));
        section.read("key", &mut key, |node, report| value::path(node, report).map(Some));
        section.require("urls", "write `urls: [\"http://host:2379\"]`");
        section
            .require("prefix", "write what the keys of the service begin with, such as `services/orders/`");
        for [one, other] in [["user", "password"], ["cert", "key"]] {
            if section.has(one) != section.has(other) {
                section.refuse(&format!("`{one}` and `{other}` go together"));
            }
        }
        let has_tls = ["ca", "cert"].into_iter().find(|key| section.has(key));
        let is_plain = urls.iter().all(|url: &Uri| url.scheme_str() == Some("http"));
        if let Some(key) = has_tls.filter(|_| is_plain && !urls.is_empty()) {
            section.forbid(key, "no URL begins with `https`");
        }
        if urls.len() > URLS_MAX {
            section.refuse(&format!("{} URLs are more than the {URLS_MAX} allowed", urls.len()));
        }
        section.close(&[]);
        let login = user.zip(password);
        (!urls.is_empty() && !prefix.is_empty()).then_some(Self {
            urls,
            prefix,
            login,
            ca,
            identity: cert.zip(key),
        })
    }
}

fn url(node: &Node, report: &mut Report) -> Option<Uri> {
    const EXPECTED: &str = "a URL with a port such as `http://10.0.0.5:2379`";
    let text = value::text(node, report)?;
    if text.contains('@') {
        // It is not repeated: findings are logged, and shown to others.
        return value::refuse(node, report, "name and password are written as `user` and `password`");
    }
    let is_whole = |url: &Uri| {
        let is_known = matches!(url.scheme_str(), Some("http" | "https"));
        let has_host = url.host().is_some_and(|host| !host.is_empty());
        is_known
            && has_host
            && url.port_u16().is_some_and(|port| port != 0)
            && url.path() == "/"
            && url.query().is_none()
    };
    match text.parse().ok().filter(is_whole) {
        Some(url) => Some(url),
        None => value::expected(node, report, EXPECTED),
    }
}
