//! `services.NAME.tls`, and that of a backend which is asked for its descriptors: who is believed, and what is shown.
//!
//! ```yaml
//! tls: true                                                              # whom the system believes
//! tls: { ca: file:ca.crt, cert: file:edge.crt, key: file:edge.key, server_name: orders.internal }
//! ```
//!
//! Files are named here and opened by the gateway. No key turns verification off.

use std::path::PathBuf;

use crate::config::finding::{Position, Report};
use crate::config::listeners::{CertificateFiles, file, key};
use crate::config::section::Section;
use crate::config::value;
use crate::config::yaml::{Node, Value};

/// How a backend is reached by TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authorities that are believed, instead of the system's.
    pub ca: Option<PathBuf>,
    /// What is shown to a backend that asks who calls. Default: nothing.
    pub certificate: Option<CertificateFiles>,
    /// The name that its certificate must be for, and that calls are addressed to. Default: the endpoint's host.
    pub server_name: Option<String>,
    /// Where the file names it.
    pub position: Option<Position>,
}

impl Tls {
    /// `true`, `false` or a mapping, which may be empty.
    pub(in crate::config) fn read(owner: &str, node: &Node, report: &mut Report) -> Option<Option<Self>> {
        match &node.value {
            Value::Bool(is_on) => {
                return Some(is_on.then(|| Self { position: Some(node.position), ..Self::default() }));
            }
            Value::Unwritten => drop(value::boolean(node, report)),
            _ => {}
        }
        let mut tls = Self { position: Some(node.position), ..Self::default() };
        let mut certificate = CertificateFiles::default();
        let mut section = Section::open(node, format!("{owner}.tls"), report)?;
        section.read("ca", &mut tls.ca, |node, report| file(node, report).map(Some));
        section.read("cert", &mut certificate.chain, file);
        section.read("key", &mut certificate.key, key);
        section.read("server_name", &mut tls.server_name, |node, report| value::text(node, report).map(Some));
        if section.has("cert") || section.has("key") {
            section.require("cert", "write `cert: file:PATH`, the certificate of `key`");
            section.require("key", "write `key: file:PATH`, the key of `cert`");
            tls.certificate = Some(certificate);
        }
        section.close(&[]);
        Some(Some(tls))
    }

    /// Every file that it names, with its key.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let pair = self.certificate.iter().flat_map(|pair| [("cert", &pair.chain), ("key", &pair.key)]);
        self.ca.iter().map(|path| ("ca", path)).chain(pair)
    }
}
