//! `services.NAME.endpoints.dns`: endpoints by the addresses of a name, or by SRV records.
//!
//! ```yaml
//! endpoints: { dns: "orders.prod.svc:50051" }
//! endpoints: { dns: { srv: _grpc._tcp.orders.example, resolvers: ["10.0.0.2:53"], ttl: 5s..1m } }
//! ```

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::finding::Report;
use crate::config::section::Section;
use crate::config::value;
use crate::config::yaml::{Node, Value};

/// What is resolved, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    pub question: Question,
    /// Whom to ask. None: the resolvers of the system.
    pub resolvers: Vec<SocketAddr>,
    /// What a TTL is held within. Default 5 s to 5 min.
    pub ttl: RangeInclusive<Duration>,
}

/// The name that is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// All addresses of a host, with this port.
    Host { host: String, port: u16 },
    /// The servers that SRV records name.
    Srv(String),
}

const TTL: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(300);
const TTL_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(24 * 3600);

/// RFC 1035, section 2.3.4: names of 253 characters, in labels of 63.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

const RESOLVERS_MAX: usize = 16;

const HOST_EXPECTED: &str = "a name and a port such as `orders.prod.svc:50051`";

impl Dns {
    pub(super) fn read(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let of_text = |node: &Node, report: &mut Report| {
            host(node, report).map(|question| Self { question, resolvers: Vec::new(), ttl: TTL })
        };
        value::text_or_mapping(node, report, of_text, |node, report| Self::read_section(name, node, report))
    }

    fn read_section(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let (mut question, mut resolvers, mut ttl) = (None, Vec::new(), TTL);
        let mut section = Section::open(node, format!("services.{name}.endpoints.dns"), report)?;
        section.read("name", &mut question, |node, report| host(node, report).map(Some));
        section.read("srv", &mut question, |node, report| srv(node, report).map(Some));
        section.read("resolvers", &mut resolvers, read_resolvers);
        section.read("ttl", &mut ttl, value::durations(TTL_BOUNDS));
        match (section.has("name"), section.has("srv")) {
            (true, true) => section.forbid("srv", "a SRV record names hosts and ports: leave `name` out"),
            (false, false) => {
                section.refuse("nothing says what to resolve: write `name: \"host:port\"` or `srv`")
            }
            _ => {}
        }
        section.close(&[]);
        Some(Self { question: question?, resolvers, ttl })
    }
}

fn host(node: &Node, report: &mut Report) -> Option<Question> {
    let text = value::text(node, report)?;
    if text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok() {
        return value::refuse(node, report, format!("`{text}` is an address: write it in `static`"));
    }
    if text.contains("://") {
        return value::expected(node, report, HOST_EXPECTED);
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return value::refuse(node, report, format!("`{text}` has no port: expected {HOST_EXPECTED}"));
    };
    match port.parse::<u16>() {
        Ok(port) if port != 0 && is_name(host) => Some(Question::Host { host: host.to_owned(), port }),
        _ => value::expected(node, report, HOST_EXPECTED),
    }
}

fn srv(node: &Node, report: &mut Report) -> Option<Question> {
    let text = value::text(node, report)?;
    if let Some((name, _)) = text.rsplit_once(':') {
        let message = format!("a SRV record says the port itself: write `{name}`");
        return value::refuse(node, report, message);
    }
    if !is_name(&text) {
        return value::expected(node, report, "a name such as `_grpc._tcp.orders.example`");
    }
    Some(Question::Srv(text))
}

fn is_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(is_part);
    name.len() <= NAME_BYTES_MAX && name.split('.').all(is_label)
}

fn read_resolvers(node: &Node, report: &mut Report) -> Option<Vec<SocketAddr>> {
    match &node.value {
        Value::List(items) if items.is_empty() => {
            value::refuse(node, report, "expected at least one resolver, found none")
        }
        Value::List(items) if items.len() > RESOLVERS_MAX => {
            value::refuse(node, report, format!("{} are more than the {RESOLVERS_MAX} allowed", items.len()))
        }
        _ => value::list(resolver)(node, report),
    }
}

/// An address, with a port where that is not 53.
fn resolver(node: &Node, report: &mut Report) -> Option<SocketAddr> {
    let text = value::text(node, report)?;
    let bare = || text.parse().ok().map(|address: IpAddr| SocketAddr::new(address, 53));
    match text.parse().ok().or_else(bare) {
        Some(address) if address.port() != 0 => Some(address),
        _ => value::expected(node, report, "the address of a resolver such as `10.0.0.2:53`"),
    }
}
