//! Rooms 1 and 8, the outside of them: listeners, connections, their bounds, the drain, the admin port.
//!
//! ```text
//! start ─▶ worker threads (one current-thread runtime each, SO_REUSEPORT) ─▶ accept
//!   ─▶ connection (HTTP/1.1 or h2c by its first bytes) ─▶ LimitedBody ─▶ HandlerWorker::call
//! ```
//!
//! The gateway is a [`Handler`]: each worker thread makes its own [`HandlerWorker`], which owns what
//! that thread owns (its upstream connections). Nothing here knows of gRPC or JSON schemas.

mod accept;
mod admin;
mod body;
mod call;
mod connection;
mod door;
mod drain;
mod frame_guard;
mod guarded;
mod head_guard;
mod limits;
mod listeners;
mod opening;
mod operations;
mod proxy_protocol;
mod refusal;
mod running;
mod socket;
mod takeover;
mod tls;
mod turn_away;
mod watch;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use ipnet::IpNet;

use door::DoorRules;

use crate::policy::certificate::ClientCertificate;
use crate::policy::request_id::RequestIds;
use crate::policy::secret::Secret;
use crate::status::Status;
use crate::telemetry::WorkerMetrics;

pub use body::LimitedBody;
pub use limits::ServerLimits;
pub use listeners::{Bound, Listeners};
pub use operations::{ConfigPage, Lacking, Operations, Purge, Purged, Reload, Reloaded};
pub use running::{ListenerAddress, Running, Shutdown, StartError, start};
pub use takeover::{Takeover, Tunnel};
pub use tls::{CurrentTls, Shown, Tickets, Tls, TlsError, TlsMaterial};

/// What serves the requests of all listeners.
pub trait Handler: Send + Sync + 'static {
    type Worker: HandlerWorker;

    /// Makes the state of one worker thread; called on that thread, inside its runtime.
    fn worker(&self, context: &WorkerContext) -> Self::Worker;
}

/// What serves the requests of one worker thread.
pub trait HandlerWorker: Send + Sync + 'static {
    type Body: Body<Data = Bytes, Error = Status> + Send + 'static;

    /// Answers one request; dropped when the client goes away.
    fn call(
        &self,
        request: Request<LimitedBody>,
        peer: &Peer,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// The thread a [`HandlerWorker`] is made for.
#[derive(Clone, Debug)]
pub struct WorkerContext {
    /// From 0 to the number of workers less one.
    pub index: usize,
    pub metrics: Arc<WorkerMetrics>,
    /// The source of the names of this thread's requests.
    pub request_ids: Arc<RequestIds>,
}

/// Who is at the other end of the connection, and at which door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client's address, or that of the last proxy before us.
    pub address: SocketAddr,
    /// The address without its port, as every call of the connection tells it.
    pub text: HeaderValue,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The name of the listener.
    pub listener: Arc<str>,
    /// The holder of the certificate that the client has shown and that was verified.
    pub certificate: Option<Arc<ClientCertificate>>,
}

impl Peer {
    fn new(address: SocketAddr, rules: &DoorRules) -> Self {
        // An IPv4 client of an IPv6 socket is the same client.
        let text = HeaderValue::try_from(address.ip().to_canonical().to_string());
        let text = text.expect("an address is printable ASCII");
        // Every call counts its references, and those to the rules' own would travel between the workers' cores.
        let listener = Arc::from(&*rules.name);
        Self { address, text, scheme: rules.scheme(), listener, certificate: None }
    }
}

/// Where to listen, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Public listeners.
    pub listeners: Vec<ListenerConfig>,
    /// `/healthz`, `/readyz`, `/metrics`.
    pub admin: Option<AdminConfig>,
    pub workers: usize,
    /// Between the announcement on `/readyz` and the moment accepting stops.
    pub drain_grace: Duration,
    /// For calls in flight after that; then they are cut off.
    pub drain_timeout: Duration,
}

/// One public listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// In logs and in [`Running::addresses`].
    pub name: Arc<str>,
    /// Port 0 asks the system for one.
    pub bind: SocketAddr,
    pub limits: ServerLimits,
    /// The networks of the balancers, when all connections begin with a preamble of the PROXY protocol.
    pub proxy_protocol: Option<Vec<IpNet>>,
    pub tls: Option<TlsHandle>,
}

/// The listener of operators and probes. Probes are asked for nothing but what the handshake asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Port 0 asks the system for one.
    pub bind: SocketAddr,
    /// What operators must show as a bearer token.
    pub token: Option<Secret>,
    pub tls: Option<TlsHandle>,
    /// Whether operators must show a client certificate, even if the handshake goes without.
    pub needs_certificate: bool,
}

/// The TLS of a listener, whatever it is at the moment; equal to itself alone.
#[derive(Clone, Debug)]
pub struct TlsHandle(pub Arc<dyn CurrentTls>);

impl PartialEq for TlsHandle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TlsHandle {}

impl ServerConfig {
    /// One public listener, a worker for each core.
    pub fn new(bind: SocketAddr) -> Self {
        Self {
            listeners: vec![ListenerConfig::new("public", bind)],
            admin: None,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            drain_grace: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl AdminConfig {
    /// A listener that asks for nothing.
    pub fn new(bind: SocketAddr) -> Self {
        Self { bind, token: None, tls: None, needs_certificate: false }
    }
}

impl ListenerConfig {
    /// A listener with every default.
    pub fn new(name: impl Into<Arc<str>>, bind: SocketAddr) -> Self {
        Self { name: name.into(), bind, limits: ServerLimits::default(), proxy_protocol: None, tls: None }
    }
}
