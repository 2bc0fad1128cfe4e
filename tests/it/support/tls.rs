//! Certificates made for one test, and a client that speaks TLS and tells all that it learned.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use transom::policy::pem::Pem;
use transom::server::{CurrentTls, Tickets, Tls, TlsHandle, TlsMaterial};

/// Signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pub(crate) pem: String,
}

/// A certificate and its key.
pub(crate) struct Issued {
    pub(crate) chain: String,
    pub(crate) key: String,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Self { issuer: Issuer::new(params, key), certificate: der, pem }
    }

    /// For hosts of these names.
    pub(crate) fn host(&self, names: &[&str]) -> Issued {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        self.issue(CertificateParams::new(names).expect("names"))
    }

    /// For hosts of these names, until long ago.
    pub(crate) fn expired(&self, names: &[&str]) -> Issued {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        self.issue(params)
    }

    /// For hosts of these names, until a year begins.
    pub(crate) fn host_until(&self, names: &[&str], year: i32) -> Issued {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        self.issue(params)
    }

    /// For a client with this URI as its name.
    pub(crate) fn client(&self, uri: &str) -> Issued {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    fn issue(&self, params: CertificateParams) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Issued {
            chain: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
        }
    }
}

impl Issued {
    /// Whether it is this one that was shown.
    pub(crate) fn is(&self, shown: Option<&CertificateDer<'_>>) -> bool {
        shown == Some(&self.der)
    }

    /// How a gRPC server shows it, which asks for client certificates of an authority if there is one.
    pub(crate) fn serving(&self, clients: Option<&Authority>) -> ServerConfig {
        self.serving_clients_of(clients.as_slice())
    }

    /// As [`serving`](Self::serving), for clients of any of these authorities.
    pub(crate) fn serving_clients_of(&self, clients: &[&Authority]) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("versions");
        let mut roots = RootCertStore::empty();
        for authority in clients {
            roots.add(authority.certificate.clone()).expect("an authority");
        }
        let builder = if roots.is_empty() {
            builder.with_no_client_auth()
        } else {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("authorities"))
        };
        let key = PrivateKeyDer::Pkcs8(self.key_der.clone().into());
        let mut config = builder.with_single_cert(vec![self.der.clone()], key).expect("a pair");
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }
}

/// A client that believes one authority.
#[derive(Clone)]
pub(crate) struct Client {
    config: ClientConfig,
}

impl Client {
    pub(crate) fn new(authority: &Authority) -> Self {
        Self::build(authority, None)
    }

    /// One that shows a certificate when it is asked for one.
    pub(crate) fn with_certificate(authority: &Authority, certificate: &Issued) -> Self {
        Self::build(authority, Some(certificate))
    }

    fn build(authority: &Authority, certificate: Option<&Issued>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match certificate {
            None => builder.with_no_client_auth(),
            Some(issued) => builder
                .with_client_auth_cert(
                    vec![issued.der.clone()],
                    PrivateKeyDer::Pkcs8(issued.key_der.clone().into()),
                )
                .expect("a pair"),
        };
        Self { config }
    }

    /// Offers these protocols.
    pub(crate) fn offering(mut self, protocols: &[&str]) -> Self {
        self.config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// One whose connections resume each other's sessions.
    pub(crate) fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::new(self.config.clone()))
    }

    /// Connects to `address` and asks for `host`.
    pub(crate) async fn connect(&self, address: SocketAddr, host: &str) -> io::Result<TlsStream<TcpStream>> {
        self.over(TcpStream::connect(address).await.expect("it listens"), host).await
    }

    /// Asks for `host` on a connection that is open.
    pub(crate) async fn over<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        host: &str,
    ) -> io::Result<TlsStream<S>> {
        let host = ServerName::try_from(host.to_owned()).expect("a host");
        super::soon(self.connector().connect(host, stream)).await
    }
}

/// TLS for a server of a test that speaks HTTP/1.1, or no HTTP at all.
pub(crate) fn acceptor(issued: &Issued) -> TlsAcceptor {
    let mut config = issued.serving(None);
    config.alpn_protocols.clear();
    TlsAcceptor::from(Arc::new(config))
}

/// Whether the certificate that was shown is `issued`.
pub(crate) fn shows(stream: &TlsStream<TcpStream>, issued: &Issued) -> bool {
    stream.get_ref().1.peer_certificates().is_some_and(|shown| shown.first() == Some(&issued.der))
}

/// TLS for a listener in this process, which never changes.
pub(crate) fn fixed(certificate: &Issued) -> TlsHandle {
    #[derive(Debug)]
    struct Fixed(Arc<Tls>);
    impl CurrentTls for Fixed {
        fn current(&self) -> Arc<Tls> {
            Arc::clone(&self.0)
        }
    }
    let chain = Pem { name: "chain", text: certificate.chain.as_bytes() };
    let key = Pem { name: "key", text: certificate.key.as_bytes() };
    let material = TlsMaterial {
        certificates: vec![(chain, key)],
        client_authorities: None,
        is_client_certificate_required: false,
    };
    let tls = Tls::new(&material, &Tickets::new().expect("random bytes")).expect("a pair");
    TlsHandle(Arc::new(Fixed(Arc::new(tls))))
}
