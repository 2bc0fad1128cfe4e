//! From an accepted socket to one that speaks HTTP, and to know who is at its other end.
//!
//! ```text
//! accepted ─▶ PROXY preamble? ─▶ a place for the client's address ─▶ TLS handshake? ─▶ opened
//! ```
//!
//! Each step has its own time and none answers what is no HTTP: the connection is closed. One exception: who
//! speaks plain HTTP where TLS is expected is told so.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::door::{Door, DoorRules, Place};
use super::proxy_protocol::{self, Preamble};
use super::refusal::Refusal;
use super::socket::Socket;
use super::tls::{CurrentTls, H2};
use super::watch::Watch;
use super::{Peer, connection};
use crate::policy::certificate::ClientCertificate;
use crate::policy::request_id::RequestIds;
use crate::telemetry::WorkerMetrics;

/// The first byte of a TLS handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// Bytes of a preamble looked at together: nearly all are shorter.
const PREAMBLE_BYTES: usize = 512;

/// A connection that may speak HTTP.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) socket: Socket,
    pub(super) version: HttpVersion,
    pub(super) peer: Peer,
    pub(super) place: Place,
}

/// How it is known which version of HTTP a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpVersion {
    /// By its first bytes.
    Unknown,
    /// By ALPN, or for want of it.
    Http1,
    Http2,
}

/// What opening needs of the worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening<'o> {
    pub(super) door: &'o Arc<Door>,
    pub(super) rules: &'o DoorRules,
    pub(super) watch: &'o Watch,
    pub(super) metrics: &'o WorkerMetrics,
    pub(super) request_ids: &'o RequestIds,
}

impl Opening<'_> {
    /// Opens a connection from `address`; `None` closes it.
    pub(super) async fn open(self, mut tcp: TcpStream, address: SocketAddr) -> Option<Opened> {
        let address = match &self.rules.proxies {
            None => address,
            Some(proxies) if proxies.contains(address.ip().to_canonical()) => {
                Box::pin(self.preamble(&mut tcp)).await?.unwrap_or(address)
            }
            Some(_) => {
                self.metrics.proxy_protocol_refused.add(1);
                return None;
            }
        };
        let Some(place) = Door::admit(self.door, self.rules, address.ip()) else {
            self.metrics.connections_refused.add(1);
            return None;
        };
        let peer = Peer::new(address, self.rules);
        match &self.rules.tls {
            None => Some(Opened { socket: Socket::Tcp(tcp), version: HttpVersion::Unknown, peer, place }),
            Some(tls) => Box::pin(self.handshake(&**tls, tcp, peer, place)).await,
        }
    }

    /// The client that the balancer names, if it names one; `None` closes the connection.
    async fn preamble(self, tcp: &mut TcpStream) -> Option<Option<SocketAddr>> {
        let read = self.unless_stopped(read_preamble(tcp));
        match tokio::time::timeout(self.rules.limits.header_timeout, read).await {
            Ok(Some(Ok(source))) => Some(source),
            Ok(None) => None,
            Ok(Some(Err(_))) | Err(_) => {
                self.metrics.proxy_protocol_refused.add(1);
                None
            }
        }
    }

    async fn unless_stopped<F: Future>(self, future: F) -> Option<F::Output> {
        self.watch.unless_stopped(self.rules.limits.last_request_timeout, future).await
    }

    async fn handshake(
        self,
        tls: &dyn CurrentTls,
        tcp: TcpStream,
        mut peer: Peer,
        place: Place,
    ) -> Option<Opened> {
        let deadline = Instant::now() + self.rules.limits.handshake_timeout;
        let mut first = [0];
        let peeked = timeout_at(deadline, self.unless_stopped(tcp.peek(&mut first))).await;
        // A probe says nothing at all: that is no failure.
        let Ok(Some(Ok(1))) = peeked else { return None };
        if first == [HANDSHAKE] {
            let accept = TlsAcceptor::from(Arc::clone(&tls.current().config)).accept(tcp);
            match timeout_at(deadline, self.unless_stopped(accept)).await {
                Ok(None) => return None,
                Ok(Some(Ok(stream))) => match certificate(&stream) {
                    Ok(certificate) => {
                        peer.certificate = certificate.map(Arc::new);
                        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
                        let version = if is_h2 { HttpVersion::Http2 } else { HttpVersion::Http1 };
                        self.metrics.tls_handshakes.add(1);
                        return Some(Opened { socket: Socket::Tls(Box::new(stream)), version, peer, place });
                    }
                    Err(reason) => tracing::debug!(%reason, "client certificate refused"),
                },
                Ok(Some(Err(error))) => tracing::debug!(%error, "TLS handshake failed"),
                Err(_) => tracing::debug!("TLS handshake timed out"),
            }
        } else if first[0].is_ascii_uppercase() {
            let reply = Refusal::PlainText.http1_reply(&self.request_ids.fresh());
            connection::leave(&mut Socket::Tcp(tcp), &reply).await;
        }
        self.metrics.tls_handshake_failures.add(1);
        None
    }
}

/// The certificate that the client has shown.
fn certificate(stream: &TlsStream<TcpStream>) -> Result<Option<ClientCertificate>, &'static str> {
    let Some([leaf, ..]) = stream.get_ref().1.peer_certificates() else { return Ok(None) };
    let certificate = ClientCertificate::parse(leaf).map_err(|_| "it cannot be read")?;
    // A resumed session brings a certificate that was verified when the session began.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if i64::try_from(now).is_ok_and(|now| now > certificate.not_after_unix_s) {
        return Err("it is over");
    }
    Ok(Some(certificate))
}

/// Reads the preamble and not one byte more.
async fn read_preamble(tcp: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let mut preamble = Vec::with_capacity(PREAMBLE_BYTES);
    let mut seen = [0; PREAMBLE_BYTES];
    loop {
        let count = tcp.peek(&mut seen).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = preamble.len();
        preamble.extend_from_slice(seen.get(..count).unwrap_or_default());
        let parsed = proxy_protocol::parse(&preamble).map_err(|_| malformed())?;
        let (own, source) = match parsed {
            Preamble::Incomplete => (count, None),
            Preamble::Complete { bytes, source } => (bytes.saturating_sub(before), Some(source)),
        };
        tcp.read_exact(seen.get_mut(..own).unwrap_or_default()).await?;
        if let Some(source) = source {
            return Ok(source);
        }
    }
}
