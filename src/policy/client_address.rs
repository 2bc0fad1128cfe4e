//! Who is calling: the socket's peer, or whom a chain of trusted proxies vouches for.
//!
//! ```text
//! X-Forwarded-For: spoofed, 203.0.113.9, 10.0.0.7     socket: 10.0.0.8     trusted: 10.0.0.0/8
//!                           ^ the client <- trusted <- trusted
//! ```
//!
//! Every proxy appends whom it saw, so only what stands to the right of the first stranger was written by
//! somebody trusted: the walk goes from right to left and ends at that stranger. An entry that is no address
//! ends it too, one hop before. What stands further left is whatever the client liked to write; it is
//! neither read nor forwarded. Addresses are canonical before anything compares them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt::Write;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::networks::Networks;

/// Proxies in front of one another. The walk ends behind so many.
pub const HOPS_MAX: usize = 32;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Which peers of a listener may speak for others, and in which header they do.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    pub networks: Networks,
    pub header: AddressHeader,
}

/// The one header in which proxies name addresses. All others are ignored: a proxy that writes one of them
/// lets the client's own through in the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AddressHeader {
    /// A list to which every proxy appends.
    #[default]
    XForwardedFor,
    /// RFC 7239: the same, with names.
    Forwarded,
    /// One address, which the proxy overwrites: `x-real-ip`, `cf-connecting-ip` and the like.
    Single(HeaderName),
}

/// What is known of a client, from the socket and from proxies that are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Canonical.
    pub address: IpAddr,
    /// The vouched-for part of the chain with the peer at its end, if the peer is a trusted proxy.
    pub chain: Option<HeaderValue>,
    /// `http` or `https`, if a trusted proxy names it.
    pub scheme: Option<&'static str>,
    /// The host that the client asked for, if a trusted proxy names it.
    pub host: Option<HeaderValue>,
}

/// The client's address: `peer`, or the first stranger of the chain if `peer` is trusted.
pub fn resolve(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> IpAddr {
    trusted.origin(peer, headers).address
}

impl AddressHeader {
    /// The form of the header of this name.
    pub fn named(name: HeaderName) -> Self {
        match name.as_str() {
            "x-forwarded-for" => Self::XForwardedFor,
            "forwarded" => Self::Forwarded,
            _ => Self::Single(name),
        }
    }
}

impl TrustedProxies {
    /// Whether the headers of a peer at this address are believed.
    pub fn contains(&self, peer: IpAddr) -> bool {
        !self.networks.is_empty() && self.networks.contains(peer.to_canonical())
    }

    /// What is known of the client behind `peer`.
    pub fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> Origin {
        let peer = peer.to_canonical();
        if !self.contains(peer) {
            return Origin { address: peer, chain: None, scheme: None, host: None };
        }
        let hops = self.hops(headers);
        let address = hops.last().copied().unwrap_or(peer);
        Origin {
            address,
            chain: Some(chain(&hops, peer)),
            scheme: scheme(headers),
            host: single(headers, &X_FORWARDED_HOST).filter(|host| is_host(host)).cloned(),
        }
    }

    /// The hops before the peer, nearest first: trusted ones, and at the end the client.
    fn hops(&self, headers: &HeaderMap) -> SmallVec<[IpAddr; 4]> {
        match &self.header {
            AddressHeader::XForwardedFor => {
                let lines = headers.get_all(&X_FORWARDED_FOR).iter().rev();
                self.walk(lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')).map(node))
            }
            AddressHeader::Forwarded => {
                let lines = headers.get_all(http::header::FORWARDED).iter().rev();
                self.walk(lines.flat_map(|line| ElementsReversed(Some(line.as_bytes()))).map(forwarded_for))
            }
            // Twice means that the proxy appended to what the client had sent: neither is the proxy's word.
            AddressHeader::Single(name) => {
                self.walk(single(headers, name).into_iter().map(|value| node(value.as_bytes())))
            }
        }
    }

    fn walk(&self, entries: impl Iterator<Item = Entry>) -> SmallVec<[IpAddr; 4]> {
        let mut hops = SmallVec::new();
        for entry in entries.take(HOPS_MAX) {
            match entry {
                // RFC 9110, section 5.6.1.2: empty elements of a list do not count.
                Entry::Empty => {}
                Entry::Unknown => break,
                Entry::Address(address) => {
                    hops.push(address);
                    if !self.networks.contains(address) {
                        break;
                    }
                }
            }
        }
        hops
    }
}

/// One hop as a proxy wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Empty,
    Address(IpAddr),
    /// `unknown`, an obfuscated name, or no address at all.
    Unknown,
}

/// `203.0.113.9`, `203.0.113.9:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`, each also quoted.
fn node(text: &[u8]) -> Entry {
    let text = trimmed(text);
    if text.is_empty() {
        return Entry::Empty;
    }
    let unquoted = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text);
    match std::str::from_utf8(unquoted).ok().and_then(node_address) {
        Some(address) => Entry::Address(address.to_canonical()),
        None => Entry::Unknown,
    }
}

fn node_address(text: &str) -> Option<IpAddr> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']')?;
        let is_complete = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        return is_complete.then(|| address.parse::<Ipv6Addr>().ok().map(IpAddr::from))?;
    }
    match text.split_once(':') {
        // One colon only: an IPv6 address has two at least.
        Some((address, port)) if !port.contains(':') => {
            is_port(port).then(|| address.parse::<Ipv4Addr>().ok().map(IpAddr::from))?
        }
        _ => text.parse().ok(),
    }
}

/// RFC 7239, section 6: digits, or an obfuscated name that begins with `_`.
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        }
        None => {
            (1..=5).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_digit())
                && text.parse::<u16>().is_ok()
        }
    }
}

/// The address of one `forwarded-element` (RFC 7239, section 4): `for=192.0.2.60;proto=http;by=203.0.113.43`.
fn forwarded_for(element: &[u8]) -> Entry {
    let mut rest = trimmed(element);
    if rest.is_empty() {
        return Entry::Empty;
    }
    let mut found = None;
    loop {
        let (pair, behind) = split_pair(rest);
        if let Some(equals) = pair.iter().position(|byte| *byte == b'=') {
            let (name, value) = (&pair[..equals], &pair[equals + 1..]);
            // Named twice, nobody knows which of them the proxy meant.
            if trimmed(name).eq_ignore_ascii_case(b"for") && found.replace(node(value)).is_some() {
                return Entry::Unknown;
            }
        }
        match behind {
            Some(behind) => rest = behind,
            None => break,
        }
    }
    match found {
        Some(address @ Entry::Address(_)) => address,
        _ => Entry::Unknown,
    }
}

/// Up to the first `;` outside of quotes, and what is behind it.
fn split_pair(element: &[u8]) -> (&[u8], Option<&[u8]>) {
    let (mut quoted, mut escaped) = (false, false);
    for (index, byte) in element.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' if !quoted => return (&element[..index], Some(&element[index + 1..])),
            _ => {}
        }
    }
    (element, None)
}

/// The elements of a list, last first, split at commas outside of quotes.
///
/// Read from the right, so that a quote that a client leaves open cannot swallow what proxies append.
struct ElementsReversed<'h>(Option<&'h [u8]>);

impl<'h> Iterator for ElementsReversed<'h> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        let text = self.0?;
        let mut quoted = false;
        for (index, byte) in text.iter().enumerate().rev() {
            match byte {
                b'"' if !quoted => quoted = true,
                b'"' => quoted = is_escaped(&text[..index]),
                b',' if !quoted => {
                    self.0 = Some(&text[..index]);
                    return Some(&text[index + 1..]);
                }
                _ => {}
            }
        }
        self.0 = None;
        Some(text)
    }
}

/// Whether what stands behind `before` is escaped: an odd number of backslashes.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

fn trimmed(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// The value of a header that is there exactly once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// The client's scheme, if the proxy names just one: of a list nobody knows which of them is the proxy's.
fn scheme(headers: &HeaderMap) -> Option<&'static str> {
    let value = single(headers, &X_FORWARDED_PROTO)?;
    ["https", "http"]
        .into_iter()
        .find(|scheme| trimmed(value.as_bytes()).eq_ignore_ascii_case(scheme.as_bytes()))
}

/// `host` or `host:port`, and no list.
fn is_host(value: &HeaderValue) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]%".contains(byte);
    !value.is_empty() && value.as_bytes().iter().all(is_part)
}

/// `X-Forwarded-For` for the backend: the client first, the peer last.
fn chain(hops: &[IpAddr], peer: IpAddr) -> HeaderValue {
    let mut text = String::with_capacity(16 * (hops.len() + 1));
    for hop in hops.iter().rev() {
        push(&mut text, *hop);
        text.push_str(", ");
    }
    push(&mut text, peer);
    HeaderValue::try_from(text).expect("addresses and commas")
}

/// An address as text: for IPv4, a tenth of the instructions of its `Display`.
fn push(text: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let [first, rest @ ..] = address.octets();
            let mut buffer = itoa::Buffer::new();
            text.push_str(buffer.format(first));
            for octet in rest {
                text.push('.');
                text.push_str(buffer.format(octet));
            }
        }
        IpAddr::V6(address) => write!(text, "{address}").expect("writing to a String does not fail"),
    }
}

#[cfg(test)]
mod tests;
