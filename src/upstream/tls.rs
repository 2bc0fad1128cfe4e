//! TLS to a backend, by rustls: whose certificates are believed, and which one we show.
//!
//! ```text
//! PEM ─▶ Tls (immutable) ─▶ one handshake a connection ─▶ ALPN `h2` or no connection
//!        └─ replaced as a whole when a file changes: [`CurrentTls`]; open connections stay as they are
//! ```
//!
//! There is no way to believe whoever answers. gRPC is spoken over HTTP/2 alone, and a peer that does not choose it
//! is found out here, in words, instead of by the first call.

use std::fmt::Debug;
use std::io;
use std::sync::{Arc, OnceLock};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, InvalidMessage, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::endpoint::Address;
use crate::policy::certificate::not_after_unix_s;
use crate::policy::pem::{Pem, PemError};

const H2: &[u8] = b"h2";

/// How the endpoints of a service are reached by TLS until its files change.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    shown_until_unix_s: Option<i64>,
}

/// What [`Tls::new`] reads.
#[derive(Debug, Default)]
pub struct TlsMaterial<'m> {
    /// Who is believed; without, those whom the system believes.
    pub authorities: Option<Pem<'m>>,
    /// The certificate that is shown to who asks for one, and its key.
    pub certificate: Option<(Pem<'m>, Pem<'m>)>,
    /// The name that the backend's certificate must be for; without, the endpoint's host.
    pub server_name: Option<&'m str>,
}

/// Where a cluster finds its [`Tls`] for the next connection.
pub trait CurrentTls: Debug + Send + Sync {
    /// That of now.
    fn current(&self) -> Arc<Tls>;
}

/// Shared by those who have the same files.
#[derive(Clone, Debug)]
pub struct TlsHandle(pub Arc<dyn CurrentTls>);

/// Why there is no [`Tls`].
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(transparent)]
    Authorities(PemError),
    #[error(transparent)]
    Certificate(PemError),
    #[error("`{0}` is neither a host name nor an address")]
    ServerName(String),
    #[error("the system has no authorities to believe{0}: name them by `ca`")]
    System(String),
}

impl Tls {
    /// Reads authorities, certificate and key.
    ///
    /// # Errors
    ///
    /// The first text that is not what it should be, by name.
    pub fn new(material: &TlsMaterial<'_>) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = match material.authorities {
            Some(pem) => Arc::new(pem.authorities().map_err(TlsError::Authorities)?),
            None => system()?,
        };
        // TLS 1.2 and 1.3 are all that rustls speaks.
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for every version")
            .with_root_certificates(roots);
        let mut shown_until_unix_s = None;
        let mut config = match material.certificate {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let certified = chain.certified(key, &provider).map_err(TlsError::Certificate)?;
                shown_until_unix_s = certified.cert.first().map(|leaf| not_after_unix_s(leaf));
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
        };
        config.alpn_protocols = vec![H2.to_vec()];
        let server_name = material.server_name.map(server_name).transpose();
        let server_name = server_name.map_err(|name| TlsError::ServerName(name.to_owned()))?;
        Ok(Self { config: Arc::new(config), server_name, shown_until_unix_s })
    }

    /// The last second in which the certificate that is shown is good, in seconds since 1970.
    pub fn shown_until_unix_s(&self) -> Option<i64> {
        self.shown_until_unix_s
    }

    /// Shakes hands with the backend at `address`.
    pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        address: &Address,
        socket: S,
    ) -> io::Result<TlsStream<S>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(address.host()).map_err(|name| {
                io::Error::other(format!("no certificate can be for `{name}`: give a `server_name`"))
            })?,
        };
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(name, socket).await.map_err(told)?;
        match stream.get_ref().1.alpn_protocol() {
            Some(H2) => Ok(stream),
            _ => Err(io::Error::other("TLS: it does not offer HTTP/2 (`h2` by ALPN), which gRPC needs")),
        }
    }
}

/// What was read once, and is not read again.
impl CurrentTls for Tls {
    fn current(&self) -> Arc<Tls> {
        Arc::new(self.clone())
    }
}

impl PartialEq for TlsHandle {
    /// The same files, not the same content.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TlsHandle {}

/// What went wrong, as operators may have caused it.
fn told(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return io::Error::other("TLS: it closes the connection during the handshake; does it speak TLS?");
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            io::Error::other("TLS: it does not speak TLS; is the endpoint `http://`?")
        }
        Some(rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)) => {
            io::Error::other("TLS: it does not offer HTTP/2 (`h2` by ALPN), which gRPC needs")
        }
        Some(error) => io::Error::other(format!("TLS: {error}")),
        None => error,
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, &str> {
    ServerName::try_from(name.to_owned()).map_err(|_| name)
}

/// Whom the system believes, read once: what is installed later counts with the next start.
fn system() -> Result<Arc<RootCertStore>, TlsError> {
    static SYSTEM: OnceLock<Result<Arc<RootCertStore>, String>> = OnceLock::new();
    let read = || {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // Systems have odd ones among them; one good one is enough to go on.
        let (added, _) = roots.add_parsable_certificates(found.certs);
        let reason = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        if added == 0 { Err(reason) } else { Ok(Arc::new(roots)) }
    };
    SYSTEM.get_or_init(read).clone().map_err(TlsError::System)
}
