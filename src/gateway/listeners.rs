//! The listeners with what their files hold: certificates, keys, authorities, read again when they change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::runtime::Handle;

use super::{certificates, settings, snapshot};
use crate::config::Config;
use crate::config::finding::Finding;
use crate::config::listeners::{self, ClientCertificates};
use crate::policy::pem::Pem;
use crate::server::{CurrentTls, ServerConfig, Tickets, Tls, TlsHandle, TlsMaterial};
use crate::source::watched::Watched;

/// The server's settings, and what is likely a mistake; the files are watched on `runtime`. The TLS of listeners
/// that have said the same of it `before` goes on, and so do the tickets of its clients.
pub(super) fn server(
    config: &Config,
    runtime: &Handle,
    before: Option<(&Config, &ServerConfig)>,
) -> Result<(ServerConfig, Vec<Finding>), Vec<Finding>> {
    let mut server = settings::server(config);
    if !config.has_secrets {
        return Ok((server, Vec::new()));
    }
    let now_unix_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now_unix_s = i64::try_from(now_unix_s.as_secs()).unwrap_or(i64::MAX);
    let (mut findings, mut warnings) = (Vec::new(), Vec::new());
    let mut secured = |name: &str, tls: &Option<listeners::Tls>| {
        let tls = tls.as_ref()?;
        let known = before.and_then(|(config, server)| known(config, server, name, tls));
        match known.map_or_else(|| watch(tls, runtime).map(|watched| TlsHandle(watched)), Ok) {
            Ok(handle) => {
                let (current, position) = (handle.0.current(), tls.position);
                let certificates = current.certificates();
                warnings.extend(certificates::warnings(config, name, position, certificates, now_unix_s));
                Some(handle)
            }
            Err(reason) => {
                findings.push(snapshot::finding(config, Some(tls.position), reason));
                None
            }
        }
    };
    for (listener, public) in server.listeners.iter_mut().zip(config.listeners.publics()) {
        listener.tls = secured(&public.name, &public.tls);
    }
    if let Some(admin) = &mut server.admin {
        admin.tls = secured("admin", &config.listeners.admin.tls);
    }
    if findings.is_empty() { Ok((server, warnings)) } else { Err(findings) }
}

/// The TLS of a listener that says the same of it as before, wherever in the file.
fn known(config: &Config, server: &ServerConfig, name: &str, tls: &listeners::Tls) -> Option<TlsHandle> {
    let is_same = |known: &Option<listeners::Tls>| {
        known.as_ref().is_some_and(|known| listeners::Tls { position: tls.position, ..known.clone() } == *tls)
    };
    if name == "admin" {
        let handle = server.admin.as_ref().and_then(|admin| admin.tls.clone());
        return handle.filter(|_| is_same(&config.listeners.admin.tls));
    }
    let mut publics = server.listeners.iter().zip(config.listeners.publics());
    let (listener, _) = publics.find(|(_, public)| *public.name == *name && is_same(&public.tls))?;
    listener.tls.clone()
}

fn watch(tls: &listeners::Tls, runtime: &Handle) -> Result<Arc<Watched<Tls>>, String> {
    let tickets = Tickets::new().map_err(|error| error.to_string())?;
    let pairs = tls.certificates.iter().flat_map(|pair| [&pair.chain, &pair.key]);
    let paths: Vec<PathBuf> = pairs.chain(&tls.client_ca).cloned().collect();
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let has_authorities = tls.client_ca.is_some();
    let is_required = tls.client_certificates == ClientCertificates::Require;
    Watched::new(paths, runtime, move |contents| {
        let mut texts = names.iter().zip(&contents).map(|(name, text)| Pem { name, text });
        let client_authorities = if has_authorities { texts.next_back() } else { None };
        let mut certificates = Vec::new();
        while let (Some(chain), Some(key)) = (texts.next(), texts.next()) {
            certificates.push((chain, key));
        }
        let material =
            TlsMaterial { certificates, client_authorities, is_client_certificate_required: is_required };
        Tls::new(&material, &tickets).map_err(|error| error.to_string())
    })
}

impl CurrentTls for Watched<Tls> {
    fn current(&self) -> Arc<Tls> {
        Watched::current(self)
    }
}
