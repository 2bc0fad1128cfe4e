//! TLS at a listener, by rustls: which certificate a client is shown, and which it must show itself.
//!
//! ```text
//! PEM ─▶ Tls (immutable) ─▶ one handshake a connection ─▶ ALPN, the client's certificate
//!        └─ replaced as a whole when a file changes: [`CurrentTls`]
//! ```
//!
//! Sessions are resumed by tickets, whose keys rotate and which all workers share. A ticket carries the client's
//! certificate as it was once verified, so tickets do not outlive a change of what clients must show.

mod hosts;

use std::fmt::Debug;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use crate::policy::certificate::not_after_unix_s;
use crate::policy::pem::{Pem, PemError};
use hosts::Hosts;

/// The protocols of the listeners, the better one first (RFC 7301).
const ALPN: [&[u8]; 2] = [H2, b"http/1.1"];
pub(super) const H2: &[u8] = b"h2";

/// How a listener speaks TLS until its files change.
#[derive(Clone, Debug)]
pub struct Tls {
    pub(super) config: Arc<ServerConfig>,
    certificates: Arc<[Shown]>,
}

/// What a certificate of the listener says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The text it came from.
    pub file: String,
    /// The hosts it is for, in lower case; `*.example.com` is for one label more.
    pub hosts: Vec<String>,
    /// The last second in which it is good, in seconds since 1970.
    pub not_after_unix_s: i64,
}

/// Where a listener finds its [`Tls`] for the next connection.
pub trait CurrentTls: Debug + Send + Sync {
    /// That of now.
    fn current(&self) -> Arc<Tls>;
}

/// What [`Tls::new`] reads.
#[derive(Debug)]
pub struct TlsMaterial<'m> {
    /// Certificates with those between them and their authority, and their keys. The first is for clients that
    /// name no host, or one that none is for.
    pub certificates: Vec<(Pem<'m>, Pem<'m>)>,
    /// Whose client certificates are believed; without, nobody is asked for one.
    pub client_authorities: Option<Pem<'m>>,
    /// Whether there is no handshake without a client certificate.
    pub is_client_certificate_required: bool,
}

/// The keys of session tickets of one listener: they rotate every six hours.
#[derive(Clone, Debug)]
pub struct Tickets(Arc<dyn ProducesTickets>);

/// Why there is no [`Tls`].
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(transparent)]
    Pem(#[from] PemError),
    #[error("`{0}`: {1}")]
    Authorities(String, rustls::server::VerifierBuilderError),
    #[error("no session tickets: {0}")]
    Tickets(rustls::Error),
}

impl Tls {
    /// Reads certificates and keys.
    ///
    /// # Errors
    ///
    /// The first text that is not what it should be, by name.
    pub fn new(material: &TlsMaterial<'_>, tickets: &Tickets) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut hosts = Hosts::default();
        let mut shown = Vec::new();
        for (chain, key) in &material.certificates {
            let certified = chain.certified(*key, &provider)?;
            let leaf = certified.cert.first().expect("a pair has a certificate");
            let names = hosts::names(leaf);
            let not_after_unix_s = not_after_unix_s(leaf);
            hosts.insert(&names, Arc::new(certified));
            shown.push(Shown { file: chain.name.to_owned(), hosts: names, not_after_unix_s });
        }
        // TLS 1.2 and 1.3 are all that rustls speaks.
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for every version");
        let builder = match material.client_authorities {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(pem.authorities()?), provider);
                let verifier = if material.is_client_certificate_required {
                    verifier
                } else {
                    verifier.allow_unauthenticated()
                };
                let refused = |error| TlsError::Authorities(pem.name.to_owned(), error);
                builder.with_client_cert_verifier(verifier.build().map_err(refused)?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(Certificates(hosts)));
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
        config.ticketer = match material.client_authorities {
            None => Arc::clone(&tickets.0),
            Some(_) => Tickets::new()?.0,
        };
        Ok(Self { config: Arc::new(config), certificates: shown.into() })
    }

    /// The certificates that clients may be shown.
    pub fn certificates(&self) -> &[Shown] {
        &self.certificates
    }
}

impl Tickets {
    /// Fresh keys.
    ///
    /// # Errors
    ///
    /// The system has no random bytes.
    pub fn new() -> Result<Self, TlsError> {
        aws_lc_rs::Ticketer::new().map(Self).map_err(TlsError::Tickets)
    }
}

/// The certificates of a listener, chosen by the host that the client names (SNI, RFC 6066).
#[derive(Debug)]
struct Certificates(Hosts<CertifiedKey>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_usable =
            |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(hello.signature_schemes()).is_some();
        self.0.find(hello.server_name()).find(is_usable).map(Arc::clone)
    }
}
