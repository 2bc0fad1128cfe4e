//! `listeners`: where clients and operators connect.
//!
//! A mapping of names: `admin` is the operators' listener, every other one is public. The key `role` says the
//! same once more, so that a misspelt `admin` is found instead of serving its address to clients.

mod limits;
mod network;
mod tls;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;

use super::finding::{Position, Report};
use super::secret;
use super::section::Section;
use super::shape::NAME;
use super::value;
use super::yaml::{Key, Node, Value};
use crate::policy::secret::Secret;

pub use limits::Limits;
pub use tls::{CertificateFiles, ClientCertificates, Tls};
pub(super) use tls::{file, key};

/// All listeners; each has a default, so that nothing need be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listeners {
    /// The first public listener of the file.
    pub public: Public,
    /// The others, in the order of the file.
    pub others: Vec<Public>,
    pub admin: Admin,
}

/// A listener that clients reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Public {
    /// Its name in the file, in logs and for surfaces. Default `public`.
    pub name: Arc<str>,
    /// Default `127.0.0.1:8080` for `public`, required of any other; port 0 lets the system choose.
    pub bind: SocketAddr,
    /// Default none: HTTP in plain text.
    pub tls: Option<Tls>,
    /// Who must say whom it speaks for before anything else. Default none.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Whose word about clients is believed. Default nobody's.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they name the client. Default `x-forwarded-for`.
    pub address_header: HeaderName,
    /// How long calls in flight may go on after SIGTERM. Default 30 s; the longest of all listeners holds.
    pub drain: Duration,
    /// Between the 503 of `/readyz` and the moment when accepting stops, for balancers to notice. Default 0 s;
    /// the longest of all listeners holds.
    pub drain_grace: Duration,
    pub limits: Limits,
}

/// The PROXY protocol, versions 1 and 2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Who may connect; each connection must begin with a preamble.
    pub from: Vec<IpNet>,
}

/// The listener that operators and probes reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Default `127.0.0.1:9901`; beyond the loopback only with a token, client certificates, or
    /// `unauthenticated: true`.
    pub bind: SocketAddr,
    /// What operators show as a bearer token. Default none.
    pub token: Option<Secret>,
    /// Default none. With `client_ca`, operators show a certificate.
    pub tls: Option<Tls>,
}

impl Default for Public {
    fn default() -> Self {
        Self {
            name: PUBLIC.into(),
            bind: loopback(8080),
            tls: None,
            proxy_protocol: None,
            trusted_proxies: Vec::new(),
            address_header: HeaderName::from_static("x-forwarded-for"),
            drain: Duration::from_secs(30),
            drain_grace: Duration::ZERO,
            limits: Limits::default(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { bind: loopback(9901), token: None, tls: None }
    }
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// The listener that is there when the file names no public one.
const PUBLIC: &str = "public";

/// Each has a socket a worker.
const LISTENERS_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 64;

/// From a blink, so that tests can wait for it, to an hour.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);

impl Listeners {
    /// The public listeners, in the order of the file.
    pub fn publics(&self) -> impl Iterator<Item = &Public> {
        std::iter::once(&self.public).chain(&self.others)
    }

    /// The largest value among the public listeners, for what holds for the gateway as a whole.
    pub fn largest<T: Ord>(&self, read: impl Fn(&Public) -> T) -> T {
        let first = read(&self.public);
        self.others.iter().map(read).fold(first, T::max)
    }

    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut admin = Admin::default();
        let mut publics = Vec::new();
        let mut addresses = Addresses::default();
        let mut section = Section::open(node, "listeners", report)?;
        section.read("admin", &mut admin, |node, report| {
            let admin = Admin::read(node, report)?;
            addresses.take("admin", admin.bind, node.position, report);
            Some(admin)
        });
        section.read_named(|key, node, report| {
            if let Some(public) = Public::read(key, node, report) {
                addresses.take(&key.name, public.bind, node.position, report);
                publics.push(public);
            }
        });
        if let Some(extra) = publics.get(LISTENERS_MAX) {
            let name = &extra.name;
            report.add(node.position, format!("`{name}`: more than {LISTENERS_MAX} public listeners"));
        }
        let mut publics = publics.into_iter();
        Some(Self { public: publics.next().unwrap_or_default(), others: publics.collect(), admin })
    }
}

/// The addresses given away: the system itself would let several listeners share one.
#[derive(Default)]
struct Addresses(Vec<(SocketAddr, String)>);

impl Addresses {
    fn take(&mut self, name: &str, address: SocketAddr, position: Position, report: &mut Report) {
        let taken = self.0.iter().find(|(other, _)| *other == address && address.port() != 0);
        if let Some((_, other)) = taken {
            report.add(position, format!("`listeners.{name}`: `{address}` is the address of `{other}`, too"));
        }
        self.0.push((address, name.to_owned()));
    }
}

impl Public {
    fn read(key: &Key, node: &Node, report: &mut Report) -> Option<Self> {
        let name = key.name.as_str();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_name) {
            report.add(
                key.position,
                format!(
                    "`{name}`: the name of a listener has 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`"
                ),
            );
        }
        let mut public = Self { name: name.into(), ..Self::default() };
        let mut section = Section::open(node, format!("listeners.{name}"), report)?;
        section.read("role", &mut (), value::choice(&[("public", ())]));
        section.read("bind", &mut public.bind, value::address);
        if name != PUBLIC {
            section.require("bind", "write `bind: \"ADDRESS:PORT\"`");
        }
        section.read("tls", &mut public.tls, |node, report| Tls::read(name, node, report).map(Some));
        section.read("proxy_protocol", &mut public.proxy_protocol, |node, report| {
            ProxyProtocol::read(name, node, report).map(Some)
        });
        section.read("trusted_proxies", &mut public.trusted_proxies, value::list(network::read_trusted));
        section.read("address_header", &mut public.address_header, address_header);
        if !section.has("trusted_proxies") {
            section.forbid("address_header", "without `trusted_proxies` nobody is believed");
        }
        section.read("drain", &mut public.drain, value::duration(Duration::ZERO..=*TIMEOUTS.end()));
        section.read(
            "drain_grace",
            &mut public.drain_grace,
            value::duration(Duration::ZERO..=*TIMEOUTS.end()),
        );
        section.read("limits", &mut public.limits, |node, report| Limits::read(name, node, report));
        section.close(&[]);
        Some(public)
    }
}

/// The header in which proxies name the client: `x-forwarded-for`, `forwarded`, or one that holds one address.
fn address_header(node: &Node, report: &mut Report) -> Option<HeaderName> {
    let text = value::text(node, report)?;
    match HeaderName::try_from(&text) {
        Ok(name) => Some(name),
        Err(_) => value::refuse(node, report, format!("`{text}` is not a header name")),
    }
}

impl ProxyProtocol {
    fn read(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let mut from = Vec::new();
        let mut section = Section::open(node, format!("listeners.{name}.proxy_protocol"), report)?;
        section.read("from", &mut from, |node, report| {
            if matches!(&node.value, Value::List(items) if items.is_empty()) {
                return value::refuse(node, report, "expected at least one network, found none");
            }
            value::list(value::network)(node, report)
        });
        section.require("from", "name the networks of the balancers, such as `[10.0.0.0/8]`");
        section.close(&[]);
        Some(Self { from })
    }
}

impl Admin {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut admin = Self::default();
        let mut section = Section::open(node, "listeners.admin", report)?;
        let mut unauthenticated = false;
        section.read("role", &mut (), value::choice(&[("admin", ())]));
        section.read("unauthenticated", &mut unauthenticated, value::boolean);
        section.read("token", &mut admin.token, |node, report| secret::read(node, report).map(Some));
        section.read("tls", &mut admin.tls, |node, report| {
            // Its keys are documented once, with those of the public listeners.
            let name = if matches!(node.value, Value::Unwritten) { NAME } else { "admin" };
            Tls::read(name, node, report).map(Some)
        });
        let is_certified = admin.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let is_guarded = unauthenticated || section.has("token") || is_certified;
        if unauthenticated {
            section.forbid("token", "`unauthenticated` says that nobody is asked for one");
        }
        section.read("bind", &mut admin.bind, |node, report| admin_address(node, report, is_guarded));
        section.close(&[]);
        Some(admin)
    }
}

/// Metrics and readiness tell a stranger too much, so leaving the loopback is a decision to be written down.
fn admin_address(node: &Node, report: &mut Report, is_guarded: bool) -> Option<SocketAddr> {
    let address = value::address(node, report)?;
    if address.ip().is_loopback() || is_guarded {
        return Some(address);
    }
    value::refuse(
        node,
        report,
        format!(
            "`{address}` is not a loopback address: add a `token`, `tls` with `client_ca`, or \
             `unauthenticated: true` if everyone who reaches it may read it"
        ),
    )
}
