//! A connection to one broker: frames out, frames in, over TCP or TLS, after a login if there is one.
//!
//! A connection is used by one offer at a time, and dropped with the first fault: the sink opens another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::super::deliver::Refusal;
use super::super::{KafkaLogin, KafkaTls};
use super::wire::{self, Malformed, Request};

/// One broker that is silent must not take the time of the next.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Room for a topic of 50,000 partitions.
const ANSWER_BYTES_MAX: u32 = 4 << 20;

/// Opens connections.
pub(super) struct Connector {
    tls: Option<TlsConnector>,
    login: Option<KafkaLogin>,
}

/// An open connection.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    /// Host and port, for people.
    broker: String,
    correlation: i32,
    used: Instant,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Connector {
    /// # Errors
    ///
    /// No certificate to trust.
    pub(super) fn new(tls: Option<&KafkaTls>, login: Option<KafkaLogin>) -> Result<Self, String> {
        let Some(tls) = tls else { return Ok(Self { tls: None, login }) };
        let roots = match &tls.ca {
            Some(path) => {
                let fault = |reason: &dyn std::fmt::Display| format!("`{}`: {reason}", path.display());
                let text = std::fs::read(path).map_err(|error| fault(&error))?;
                let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
                roots(certificates.map_err(|error| fault(&error))?).map_err(|reason| fault(&reason))
            }
            None => {
                // What of the system's cannot be read is left out, as everywhere; none at all is a fault.
                roots(rustls_native_certs::load_native_certs().certs)
                    .map_err(|reason| format!("the system's certificates: {reason}"))
            }
        }?;
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Some(TlsConnector::from(Arc::new(config))), login })
    }

    /// Opens a connection whose broker knows who we are.
    pub(super) async fn connect(&self, host: &str, port: u16) -> Result<Connection, Refusal> {
        let broker = format!("{host}:{port}");
        let opening = async {
            let stream = self.open(host, port).await.map_err(|error| refusal(&broker, error))?;
            let mut connection =
                Connection { stream, broker: broker.clone(), correlation: 0, used: Instant::now() };
            if let Some(login) = &self.login {
                connection.log_in(login).await?;
            }
            Ok(connection)
        };
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, opening).await;
        opened.unwrap_or_else(|_| Err(refusal(&broker, "no connection in time")))
    }

    async fn open(&self, host: &str, port: u16) -> std::io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }
}

/// Those certificates that can be roots, at least one.
fn roots(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, &'static str> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 { Err("no certificate in it can be trusted") } else { Ok(roots) }
}

impl Connection {
    pub(super) fn idle(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.used)
    }

    pub(super) async fn ask(&mut self, request: &Request) -> Result<Vec<u8>, Refusal> {
        self.send(request).await?;
        self.receive().await
    }

    /// SASL/PLAIN, in requests of Kafka's own (KIP-152).
    async fn log_in(&mut self, login: &KafkaLogin) -> Result<(), Refusal> {
        for request in [wire::sasl_plain(), wire::sasl_login(&login.user, login.password.expose())] {
            match wire::read_code(&self.ask(&request).await?)? {
                0 => {}
                code => return Err(refusal(&self.broker, wire::code_name(code))),
            }
        }
        Ok(())
    }

    /// Sends a request, whose answer is the next to be received.
    pub(super) async fn send(&mut self, request: &Request) -> Result<(), Refusal> {
        self.correlation = self.correlation.wrapping_add(1);
        let frame = request.frame(self.correlation);
        self.write(&frame).await.map_err(|error| refusal(&self.broker, error))
    }

    pub(super) async fn receive(&mut self) -> Result<Vec<u8>, Refusal> {
        self.read().await.map_err(|error| refusal(&self.broker, error))
    }

    async fn write(&mut self, frame: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(frame).await?;
        self.stream.flush().await
    }

    async fn read(&mut self) -> std::io::Result<Vec<u8>> {
        let length = self.stream.read_u32().await?;
        // What speaks another protocol tells an absurd length.
        let body_length = length.checked_sub(4).filter(|_| length <= ANSWER_BYTES_MAX);
        let body_length = body_length.ok_or_else(|| std::io::Error::other(Malformed))?;
        if self.stream.read_i32().await? != self.correlation {
            return Err(std::io::Error::other(Malformed));
        }
        let mut body = Vec::new();
        (&mut self.stream).take(u64::from(body_length)).read_to_end(&mut body).await?;
        if u32::try_from(body.len()) != Ok(body_length) {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.used = Instant::now();
        Ok(body)
    }
}

fn refusal(broker: &str, reason: impl std::fmt::Display) -> Refusal {
    Refusal::not_now(format_args!("{broker}: {reason}"))
}
