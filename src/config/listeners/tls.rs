//! `listeners.NAME.tls`: certificates and keys by file, and whose client certificates are believed.
//!
//! Files are named here and opened by the gateway, which reads them again whenever they change.

use std::path::PathBuf;

use crate::config::finding::{Position, Report};
use crate::config::secret;
use crate::config::section::Section;
use crate::config::value;
use crate::config::yaml::Node;

/// How a listener speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// At least one; the first is for clients that name no host, or one that none is for.
    pub certificates: Vec<CertificateFiles>,
    /// The authorities whose client certificates are believed. Default none: nobody is asked for one.
    pub client_ca: Option<PathBuf>,
    /// With `client_ca`. Default `require`.
    pub client_certificates: ClientCertificates,
    /// Where the file names it.
    pub position: Position,
}

/// A certificate and its key, both in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate of the host, and those between it and its authority.
    pub chain: PathBuf,
    pub key: PathBuf,
}

/// What becomes of a client without a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// There is no handshake without one.
    #[default]
    Require,
    /// It is served; a certificate that is shown must be good.
    Optional,
}

const CLIENT_CERTIFICATES: [(&str, ClientCertificates); 2] =
    [("require", ClientCertificates::Require), ("optional", ClientCertificates::Optional)];

/// More hosts than one configuration has.
const CERTIFICATES_MAX: usize = 1000;

impl Tls {
    pub(super) fn read(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let mut tls = Self {
            certificates: Vec::new(),
            client_ca: None,
            client_certificates: ClientCertificates::default(),
            position: node.position,
        };
        let mut only = CertificateFiles::default();
        let mut section = Section::open(node, format!("listeners.{name}.tls"), report)?;
        section.read("cert", &mut only.chain, file);
        section.read("key", &mut only.key, key);
        section.read("certificates", &mut tls.certificates, |node, report| {
            read_certificates(name, node, report)
        });
        section.read("client_ca", &mut tls.client_ca, |node, report| file(node, report).map(Some));
        let mut client_certificates = None;
        section.read("client_certificates", &mut client_certificates, |node, report| {
            value::choice(&CLIENT_CERTIFICATES)(node, report).map(Some)
        });
        if !section.has("certificates") {
            section.require("cert", "write `cert: file:PATH`, and `key` beside it");
            section.require("key", "write `key: file:PATH`");
            tls.certificates.push(only);
        } else if section.has("cert") || section.has("key") {
            section.refuse("expected either `cert` and `key`, or `certificates`, found both");
        }
        if client_certificates.is_some() && !section.has("client_ca") {
            section.refuse("`client_certificates` needs `client_ca`: whose certificates are believed");
        }
        section.close(&[]);
        tls.client_certificates = client_certificates.unwrap_or_default();
        Some(tls)
    }
}

fn read_certificates(name: &str, node: &Node, report: &mut Report) -> Option<Vec<CertificateFiles>> {
    let pairs = value::list(|node, report| read_pair(name, node, report))(node, report)?;
    if pairs.is_empty() || pairs.len() > CERTIFICATES_MAX {
        let message = format!("expected 1 to {CERTIFICATES_MAX} certificates, found {}", pairs.len());
        return value::refuse(node, report, message);
    }
    Some(pairs)
}

fn read_pair(name: &str, node: &Node, report: &mut Report) -> Option<CertificateFiles> {
    let mut pair = CertificateFiles::default();
    let mut section = Section::open(node, format!("listeners.{name}.tls.certificates[]"), report)?;
    section.read("cert", &mut pair.chain, file);
    section.read("key", &mut pair.key, key);
    section.require("cert", "write `cert: file:PATH`");
    section.require("key", "write `key: file:PATH`");
    section.close(&[]);
    Some(pair)
}

/// `file:PATH`, as secrets are written; relative to the directory of the configuration file.
pub(in crate::config) fn file(node: &Node, report: &mut Report) -> Option<PathBuf> {
    let text = value::text(node, report)?;
    match text.strip_prefix("file:") {
        Some(path) if !path.is_empty() => Some(report.path(path)),
        // The value is not repeated: it may be the key itself.
        _ => {
            value::refuse(node, report, "expected `file:` and a path: the file is read again when it changes")
        }
    }
}

/// As [`file`], and nobody else's to read.
pub(in crate::config) fn key(node: &Node, report: &mut Report) -> Option<PathBuf> {
    let path = file(node, report)?;
    if secret::is_readable_by_all(&path) {
        report.warn(node.position, format!("`{}` may be read by every user of the system", path.display()));
    }
    Some(path)
}
