//! What each service needs to reach its backends by TLS: its files, read again when they change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::runtime::Handle;

use super::certificates::expiring;
use super::snapshot;
use crate::config::Config;
use crate::config::finding::{Finding, Position};
use crate::config::services::{self, Service};
use crate::policy::pem::{Pem, PemError};
use crate::source::watched::Watched;
use crate::upstream::{Backends, CurrentTls, Tls, TlsError, TlsHandle, TlsMaterial};

/// One for each service, in the order of the file; `None` where nothing speaks TLS.
pub(super) type Handles = Vec<Option<TlsHandle>>;

/// One for each service with an endpoint that speaks TLS, in the order of the file, and what is likely a mistake.
/// That of a service which has said the same of it `before` goes on.
pub(super) fn build(
    config: &Config,
    runtime: &Handle,
    before: Option<(&Config, &Backends)>,
) -> Result<(Handles, Vec<Finding>), Vec<Finding>> {
    if !config.has_secrets {
        return Ok((config.services.iter().map(|_| None).collect(), Vec::new()));
    }
    let now_unix_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now_unix_s = i64::try_from(now_unix_s.as_secs()).unwrap_or(i64::MAX);
    let (mut findings, mut warnings) = (Vec::new(), Vec::new());
    let handle = |service: &Service| {
        if !service.speaks_tls() {
            return None;
        }
        let tls = service.tls.clone().unwrap_or_default();
        let known = before.and_then(|(config, backends)| known(config, backends, service));
        let watched = known.map_or_else(|| watch(&tls, runtime).map(|watched| TlsHandle(watched)), Ok);
        match watched {
            Ok(handle) => {
                if let (Some(pair), Some(until)) = (&tls.certificate, handle.0.current().shown_until_unix_s())
                {
                    let position = place(config, service, "cert");
                    let file = pair.chain.display().to_string();
                    warnings.extend(expiring(config, position, &file, until, now_unix_s));
                }
                Some(handle)
            }
            Err(Fault { key, reason }) => {
                findings.push(snapshot::finding(config, place(config, service, key), reason));
                None
            }
        }
    };
    let handles = config.services.iter().map(handle).collect();
    if findings.is_empty() { Ok((handles, warnings)) } else { Err(findings) }
}

/// Reads the files once.
///
/// # Errors
///
/// What is wrong, in words.
pub(super) fn read(tls: &services::Tls) -> Result<Tls, String> {
    Files::of(tls).read().map_err(|fault| fault.reason)
}

/// What is wrong with the value of a key.
struct Fault {
    key: &'static str,
    reason: String,
}

/// The files of a service, and what each is for.
#[derive(Clone, Debug)]
struct Files {
    named: Vec<(&'static str, PathBuf)>,
    server_name: Option<String>,
}

impl Files {
    fn of(tls: &services::Tls) -> Self {
        let named = tls.files().map(|(key, path)| (key, path.clone())).collect();
        Self { named, server_name: tls.server_name.clone() }
    }

    fn read(&self) -> Result<Tls, Fault> {
        let read = |(key, path): &(&'static str, PathBuf)| {
            let reason = |error| format!("`{}`: {error}", path.display());
            std::fs::read(path).map_err(|error| Fault { key, reason: reason(error) })
        };
        self.parse(&self.named.iter().map(read).collect::<Result<Vec<_>, _>>()?)
    }

    fn parse(&self, contents: &[Vec<u8>]) -> Result<Tls, Fault> {
        let names: Vec<_> = self.named.iter().map(|(_, path)| path.display().to_string()).collect();
        let text = |wanted: &str| {
            let place = self.named.iter().position(|(key, _)| *key == wanted)?;
            Some(Pem { name: names.get(place)?, text: contents.get(place)? })
        };
        let material = TlsMaterial {
            authorities: text("ca"),
            certificate: text("cert").zip(text("key")),
            server_name: self.server_name.as_deref(),
        };
        Tls::new(&material).map_err(|error| Fault { key: key_of(&error), reason: error.to_string() })
    }
}

fn watch(tls: &services::Tls, runtime: &Handle) -> Result<Arc<Watched<Tls>>, Fault> {
    let files = Files::of(tls);
    // Told by its key, as what is watched cannot.
    files.read()?;
    let paths = files.named.iter().map(|(_, path)| path.clone()).collect();
    Watched::new(paths, runtime, move |contents| files.parse(&contents).map_err(|fault| fault.reason))
        .map_err(|reason| Fault { key: "", reason })
}

/// The TLS of a service that says the same of it as before, wherever in the file.
fn known(config: &Config, Backends(backends): &Backends, service: &Service) -> Option<TlsHandle> {
    let without_place = |service: &Service| {
        service.tls.clone().map(|tls| services::Tls { position: None, ..tls }).unwrap_or_default()
    };
    let mut before = config.services.iter().zip(&**backends);
    let is_same = |(before, _): &(&Service, _)| {
        before.name == service.name && without_place(before) == without_place(service)
    };
    before.find(is_same)?.1.cluster().config().tls.clone()
}

/// The key whose value an error is about.
fn key_of(error: &TlsError) -> &'static str {
    match error {
        TlsError::Certificate(PemError::Key(_) | PemError::Mismatch { .. }) => "key",
        TlsError::Certificate(_) => "cert",
        TlsError::ServerName(_) => "server_name",
        TlsError::Authorities(_) | TlsError::System(_) => "ca",
    }
}

/// Where the file has a key of a service's TLS, or what is nearest above.
fn place(config: &Config, service: &Service, key: &str) -> Option<Position> {
    config.place(&["services", &service.name, "tls", key])
}

impl CurrentTls for Watched<Tls> {
    fn current(&self) -> Arc<Tls> {
        Watched::current(self)
    }
}
