//! `services`: the backends, each with its endpoints.
//!
//! One alone serves every gRPC service of the descriptor set; of several, the rules of the surfaces choose.

mod tls;

use std::time::Duration;

use http::Uri;
use http::uri::Scheme;

use super::balance;
use super::endpoints::{Endpoint, Endpoints};
use super::finding::{Position, Report};
use super::health;
use super::outlier;
use super::protection::{self, Retry};
use super::section::Section;
use super::value::{self, GIB, KIB, MIB};
use super::yaml::{Node, Value};
use crate::policy::balance::Balance;
use crate::policy::breaker::BreakerSettings;
use crate::policy::concurrency::ConcurrencySettings;
use crate::policy::health::HealthSettings;
use crate::policy::outlier::OutlierSettings;

pub use tls::Tls;

/// One backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name in the file, in logs and in metrics.
    pub name: String,
    /// Where it is.
    pub endpoints: Endpoints,
    /// How its endpoints share the calls. Default `p2c-ewma`.
    pub balance: Balance,
    /// In so long, a new endpoint takes its whole share. Default 10 s.
    pub slow_start: Duration,
    /// A unary call from its first byte to its last. Default 30 s; past it 504.
    pub timeout: Duration,
    /// A stream without a message. Default 5 min; past it `DEADLINE_EXCEEDED`.
    pub stream_idle_timeout: Duration,
    /// To open a connection. Default 5 s.
    pub connect_timeout: Duration,
    /// Bytes of a message to the backend. Default 4 MiB; past it `RESOURCE_EXHAUSTED`.
    pub request_message_bytes_max: usize,
    /// Bytes of a message from the backend. Default 16 MiB; past it `RESOURCE_EXHAUSTED`.
    pub response_message_bytes_max: usize,
    /// Bytes of a reply's headers, names and values. Default 64 KiB.
    pub response_header_bytes_max: u32,
    /// Connections of one worker to the backend. Default 4; more open when the streams of one run out.
    pub connections_max: usize,
    /// Calls of one worker that wait for a stream, or for the first connection. Default 1024; past it 503.
    pub queue_calls_max: usize,
    /// PING this often while calls are open. Default never: some servers take it for abuse.
    pub keepalive: Option<Duration>,
    /// How long a PING, or sent bytes, may stay unanswered. Default 20 s.
    pub keepalive_timeout: Duration,
    /// When it is left alone because it fails. Default never.
    pub breaker: Option<BreakerSettings>,
    /// When one of its endpoints is left alone because it fails. Default never.
    pub endpoint_breaker: Option<BreakerSettings>,
    /// When one of its endpoints is left out because it fails. Default never.
    pub outlier: Option<OutlierSettings>,
    /// How its endpoints are asked whether they work. Default never.
    pub health: Option<HealthSettings>,
    /// Which calls are made again. Default none, but for those that provably never left.
    pub retry: Option<Retry>,
    /// When calls are refused because it has enough. Default never.
    pub shed: Option<ConcurrencySettings>,
    /// How it is reached by TLS. Default: where an endpoint is `https://`, by whom the system believes.
    pub tls: Option<Tls>,
    /// Where the file names it.
    pub position: Option<Position>,
}

const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);
/// More often is abuse to every server: grpc-go's own floor for clients.
const KEEPALIVE_MIN: Duration = Duration::from_secs(10);
const TIMEOUT_MIN: Duration = Duration::from_millis(10);
const SLOW_START_MAX: Duration = Duration::from_secs(3600);

impl Service {
    /// A backend with one endpoint and every default.
    pub fn new(name: impl Into<String>, url: Uri) -> Self {
        Self {
            name: name.into(),
            endpoints: Endpoints::one(url),
            balance: Balance::default(),
            slow_start: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            stream_idle_timeout: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(5),
            request_message_bytes_max: 4 * MIB,
            response_message_bytes_max: 16 * MIB,
            response_header_bytes_max: 64 << 10,
            connections_max: 4,
            queue_calls_max: 1024,
            keepalive: None,
            keepalive_timeout: Duration::from_secs(20),
            breaker: None,
            endpoint_breaker: None,
            outlier: None,
            health: None,
            retry: None,
            shed: None,
            tls: None,
            position: None,
        }
    }

    fn read(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let mut service = Self { position: Some(node.position), ..Self::new(name, Uri::default()) };
        let mut endpoints = None;
        let mut section = Section::open(node, format!("services.{name}"), report)?;
        section
            .read("endpoints", &mut endpoints, |node, report| Endpoints::read(name, node, report).map(Some));
        section.read("balance", &mut service.balance, |node, report| balance::read(name, node, report));
        section.read("slow_start", &mut service.slow_start, value::duration(Duration::ZERO..=SLOW_START_MAX));
        let timeouts = || value::duration(TIMEOUT_MIN..=TIMEOUT_MAX);
        section.read("timeout", &mut service.timeout, timeouts());
        section.read("stream_idle", &mut service.stream_idle_timeout, timeouts());
        section.read("connect_timeout", &mut service.connect_timeout, timeouts());
        section.read("request_message", &mut service.request_message_bytes_max, value::bytes(KIB..=GIB));
        section.read("response_message", &mut service.response_message_bytes_max, value::bytes(KIB..=GIB));
        section.read("response_headers", &mut service.response_header_bytes_max, value::bytes_u32(KIB..=MIB));
        section.read("connections", &mut service.connections_max, value::integer(1..=1024));
        section.read("queue", &mut service.queue_calls_max, value::integer(1..=1_000_000));
        section.read("keepalive", &mut service.keepalive, |node, report| {
            value::duration(KEEPALIVE_MIN..=TIMEOUT_MAX)(node, report).map(Some)
        });
        section.read("keepalive_timeout", &mut service.keepalive_timeout, timeouts());
        section.read("breaker", &mut service.breaker, |node, report| {
            protection::breaker("breaker", node, report).map(Some)
        });
        section.read("endpoint_breaker", &mut service.endpoint_breaker, |node, report| {
            protection::breaker("endpoint_breaker", node, report).map(Some)
        });
        section.read("outlier", &mut service.outlier, |node, report| outlier::read(node, report).map(Some));
        section.read("health", &mut service.health, |node, report| health::read(node, report).map(Some));
        section.read("retry", &mut service.retry, |node, report| Retry::of_service(node, report).map(Some));
        section.read("shed", &mut service.shed, |node, report| protection::shed(node, report).map(Some));
        section.read("tls", &mut service.tls, |node, report| {
            Tls::read(&format!("services.{name}"), node, report)
        });
        section.require("endpoints", "write `endpoints: { static: [\"http://host:port\"] }`");
        section.close(&[]);
        service.endpoints = endpoints?;
        service.agree(report);
        Some(service)
    }

    /// Whether an endpoint of it is reached by TLS.
    pub fn speaks_tls(&self) -> bool {
        self.tls.is_some() || self.endpoints.fixed().iter().any(Endpoint::is_tls)
    }

    /// Who asks for TLS must not get less, because of a scheme that was left as it was.
    fn agree(&self, report: &mut Report) {
        let plain = self.endpoints.fixed().iter().find(|endpoint| !endpoint.is_tls());
        if let (Some(tls), Some(plain)) = (&self.tls, plain) {
            let message = format!("`{}` is without TLS, and `tls` is given: write `https://`", plain.url);
            tls.position.inspect(|position| report.add(*position, message));
        }
    }
}

/// The backends by name.
pub(super) fn read(node: &Node, report: &mut Report) -> Option<Vec<Service>> {
    if matches!(&node.value, Value::Map(entries) if entries.is_empty()) {
        return value::refuse(node, report, "expected at least one service, found none");
    }
    value::by_name("services", |key, node, report| Service::read(&key.name, node, report))(node, report)
}

/// `http://host:port`, where gRPC is spoken over HTTP/2, or `https://host:port` by TLS.
pub(super) fn backend(node: &Node, report: &mut Report) -> Option<Uri> {
    let text = value::text(node, report)?;
    match parse_backend(&text) {
        Ok(uri) => Some(uri),
        // A name and password are not repeated: findings are logged, and shown to others.
        Err(reason) if text.contains('@') => value::refuse(node, report, reason),
        Err(reason) => value::refuse(node, report, format!("`{text}`: {reason}")),
    }
}

/// Reads `http://host:port` or `https://host:port`.
///
/// # Errors
///
/// What is not as it should be, in words.
pub fn parse_backend(text: &str) -> Result<Uri, &'static str> {
    const EXPECTED: &str = "expected a URL such as `http://127.0.0.1:50051`";
    let uri: Uri = text.parse().map_err(|_| EXPECTED)?;
    if uri.scheme() != Some(&Scheme::HTTP) && uri.scheme() != Some(&Scheme::HTTPS) {
        return Err(EXPECTED);
    }
    let authority = uri.authority().ok_or(EXPECTED)?;
    if authority.as_str().contains('@') {
        return Err("a backend has no user name");
    }
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    let port_valid = match port.strip_prefix(':') {
        Some(digits) => digits.parse::<u16>().is_ok_and(|port| port != 0),
        None => port.is_empty(),
    };
    if authority.host().is_empty() || !port_valid {
        return Err(EXPECTED);
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Err("a backend has no path: gRPC names the methods");
    }
    Ok(uri)
}
