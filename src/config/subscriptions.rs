//! `surfaces.NAME.graphql.subscriptions`: operations that have many results.
//!
//! ```yaml
//! graphql: { subscriptions: { keep_alive: 15s, leeway: 0s, websocket: { connections: 5000 } } }
//! ```

use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, header};

use super::finding::Report;
use super::section::Section;
use super::value;
use super::yaml::Node;

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriptions {
    /// So often a client without a result is told that the stream is alive. Default 12 s.
    pub keep_alive: Duration,
    /// How long a subscription outlives the credential that it was opened with. Default 60 s.
    pub leeway: Duration,
    pub websocket: WebSockets,
}

/// What sockets may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSockets {
    /// In the whole process; 0 switches them off. Default 1000.
    pub connections_max: usize,
    /// At once on one socket. Default 50.
    pub operations_max: usize,
    /// For the client to send `connection_init`. Default 3 s.
    pub init_timeout: Duration,
    /// How long a socket may be without an operation. Default 5 min.
    pub idle: Duration,
    /// What the payload of `connection_init` may have in the place of headers. Default `authorization`.
    pub headers: Vec<HeaderName>,
}

const KEEP_ALIVES: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);
const INIT_TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
const IDLES: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(86_400);
const LEEWAYS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400);

impl Subscriptions {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut subscriptions = Self::default();
        let mut section = Section::open(node, "surfaces.NAME.graphql.subscriptions", report)?;
        section.read("keep_alive", &mut subscriptions.keep_alive, value::duration(KEEP_ALIVES));
        section.read("leeway", &mut subscriptions.leeway, value::duration(LEEWAYS));
        section.read("websocket", &mut subscriptions.websocket, WebSockets::read);
        section.close(&[]);
        Some(subscriptions)
    }
}

impl WebSockets {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut sockets = Self::default();
        let mut section = Section::open(node, "surfaces.NAME.graphql.subscriptions.websocket", report)?;
        section.read("connections", &mut sockets.connections_max, value::integer(0..=1_000_000));
        section.read("operations", &mut sockets.operations_max, value::integer(1..=1000));
        section.read("init_timeout", &mut sockets.init_timeout, value::duration(INIT_TIMEOUTS));
        section.read("idle", &mut sockets.idle, value::duration(IDLES));
        section.read("headers", &mut sockets.headers, value::list(header_name));
        section.close(&[]);
        Some(sockets)
    }
}

fn header_name(node: &Node, report: &mut Report) -> Option<HeaderName> {
    let text = value::text(node, report)?;
    match HeaderName::try_from(&text) {
        Ok(name) => Some(name),
        Err(_) => value::refuse(node, report, format!("`{text}` is not a header name")),
    }
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(12),
            leeway: Duration::from_secs(60),
            websocket: WebSockets::default(),
        }
    }
}

impl Default for WebSockets {
    fn default() -> Self {
        Self {
            connections_max: 1000,
            operations_max: 50,
            init_timeout: Duration::from_secs(3),
            idle: Duration::from_secs(300),
            headers: vec![header::AUTHORIZATION],
        }
    }
}
