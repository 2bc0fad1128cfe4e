//! `stores`: where limits are counted.
//!
//! ```yaml
//! stores:
//!   shared: { redis: "rediss://valkey.prod:6379", password: env:VALKEY_PASSWORD, timeout: 20ms }
//!   small: { memory: { keys: 10000 } }
//! ```
//!
//! A limit that names no store is counted in the memory of each node, where there is room for a million keys.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use super::finding::{Position, Report};
use super::secret;
use super::section::Section;
use super::value;
use super::yaml::{Key, Node};
use crate::policy::secret::Secret;

/// One store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    pub name: String,
    /// Where the file names it.
    pub position: Position,
    pub kind: StoreKind,
}

/// Where a store keeps what it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// In the memory of each node; at most so many keys.
    Memory {
        keys_max: usize,
    },
    Redis(Box<Redis>),
}

/// A Redis or Valkey, or a cluster behind one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    pub host: String,
    pub port: u16,
    /// `rediss`: by TLS.
    pub tls: bool,
    pub database: u32,
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// Certificates to trust instead of the system's.
    pub ca: Option<(PathBuf, Position)>,
    /// For one question. Default 20 ms.
    pub timeout: Duration,
    /// Before every key. Default `transom`.
    pub prefix: String,
    /// How many nodes share the limits. Default: as many as say so in the store.
    pub nodes: Option<u32>,
}

const PORT: u16 = 6379;

/// From the time of a round trip to what a client still waits for.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(5);

/// The stores by name.
pub(super) fn read(node: &Node, report: &mut Report) -> Option<Vec<Store>> {
    value::by_name("stores", read_one)(node, report)
}

fn read_one(key: &Key, node: &Node, report: &mut Report) -> Option<Store> {
    let name = &key.name;
    let (mut keys_max, mut url) = (None, None);
    let mut redis = Redis {
        host: String::new(),
        port: PORT,
        tls: false,
        database: 0,
        user: None,
        password: None,
        ca: None,
        timeout: Duration::from_millis(20),
        prefix: "transom".to_owned(),
        nodes: None,
    };
    let mut section = Section::open(node, format!("stores.{name}"), report)?;
    section.read("redis", &mut url, |node, report| address(node, report).map(Some));
    section.read("user", &mut redis.user, |node, report| value::text(node, report).map(Some));
    section.read("password", &mut redis.password, |node, report| secret::read(node, report).map(Some));
    section.read("ca", &mut redis.ca, |node, report| {
        value::path(node, report).map(|path| Some((path, node.position)))
    });
    section.read("timeout", &mut redis.timeout, value::duration(TIMEOUTS));
    section.read("prefix", &mut redis.prefix, prefix);
    section
        .read("nodes", &mut redis.nodes, |node, report| value::integer(1..=10_000)(node, report).map(Some));
    section.read("memory", &mut keys_max, |node, report| Memory::read(node, report).map(Some));
    let of_redis = ["redis", "user", "password", "ca", "timeout", "prefix", "nodes"];
    let has_redis = of_redis.into_iter().any(|key| section.has(key));
    let (has_url, has_memory) = (section.has("redis"), section.has("memory"));
    section.close(&[]);
    if has_memory == has_redis || has_redis && !has_url {
        report.add(key.position, format!("`stores.{name}`: expected either `redis` or `memory`"));
    }
    let position = key.position;
    let kind = match (keys_max, url) {
        (Some(Memory { keys_max }), _) => StoreKind::Memory { keys_max },
        (None, Some(Address { host, port, tls, database })) => {
            StoreKind::Redis(Box::new(Redis { host, port, tls, database, ..redis }))
        }
        (None, None) => return None,
    };
    Some(Store { name: name.clone(), position, kind })
}

/// The bounds of a store in memory.
struct Memory {
    keys_max: usize,
}

impl Memory {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut memory = Self { keys_max: 1_000_000 };
        let mut section = Section::open(node, "stores.NAME.memory", report)?;
        section.read("keys", &mut memory.keys_max, value::integer(1000..=100_000_000));
        section.close(&[]);
        Some(memory)
    }
}

/// Where a Redis is.
struct Address {
    host: String,
    port: u16,
    tls: bool,
    database: u32,
}

/// `redis://host:port/database`; `rediss` is by TLS.
fn address(node: &Node, report: &mut Report) -> Option<Address> {
    const EXPECTED: &str = "a URL such as `redis://127.0.0.1:6379` or `rediss://valkey.prod:6379/2`";
    if let super::yaml::Value::Unwritten = node.value {
        return value::expected(node, report, EXPECTED);
    }
    let text = value::text(node, report)?;
    // Never repeated: there may be a password in it, and `redis://me:secret` is one that lost its host.
    let unexpected = |report: &mut Report| value::refuse(node, report, format!("expected {EXPECTED}"));
    if text.contains('@') {
        return value::refuse(
            node,
            report,
            "a URL of a store has no user: write `user` and `password: env:NAME`",
        );
    }
    let Ok(uri) = text.parse::<Uri>() else { return unexpected(report) };
    let tls = match uri.scheme_str() {
        Some("redis") => false,
        Some("rediss") => true,
        _ => return unexpected(report),
    };
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    // Of a port that is none, such as 99999, the URI says that there is none.
    let has_port = authority.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
    let is_port_valid = uri.port_u16().map_or(!has_port, |port| port != 0);
    let database = match uri.path() {
        "" | "/" => Some(0),
        path => path.strip_prefix('/').and_then(|number| number.parse().ok()),
    };
    match database {
        Some(database) if !host.is_empty() && is_port_valid && uri.query().is_none() => {
            Some(Address { host, port: uri.port_u16().unwrap_or(PORT), tls, database })
        }
        _ => unexpected(report),
    }
}

/// What may stand before a key: nothing that a cluster reads as part of its own.
fn prefix(node: &Node, report: &mut Report) -> Option<String> {
    let text = value::text(node, report)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if text.len() <= 64 && text.bytes().all(is_plain) {
        return Some(text);
    }
    value::expected(node, report, "up to 64 letters, digits, `-`, `_`, `.` or `:`")
}
