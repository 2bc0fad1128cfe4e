//! Texts that follow a well-known form: addresses of mail and of the network, names of hosts, URIs.
//!
//! Each is what protovalidate's documentation says of it: mail as HTML's `<input type=email>` takes it, URIs by RFC 3986,
//! zones of IPv6 addresses by RFC 6874, no leading zeros in numbers.

use core::net::{Ipv4Addr, Ipv6Addr};

/// Which IP addresses are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ip {
    Any,
    V4,
    V6,
}

/// HTML, "valid e-mail address": wider and narrower than RFC 5322, as people write addresses.
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let is_local = |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
    !local.is_empty() && local.bytes().all(is_local) && domain.split('.').all(is_label)
}

/// RFC 1034, section 3.5, with digits in front as RFC 1123 has it; the last label is no number.
pub fn is_hostname(text: &str) -> bool {
    if text.len() > 253 {
        return false;
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    let last = text.rsplit('.').next().unwrap_or_default();
    text.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// An address; one of IPv6 may have a zone.
pub fn is_ip(text: &str, version: Ip) -> bool {
    let is_v4 = || version != Ip::V6 && text.parse::<Ipv4Addr>().is_ok();
    let is_v6 = || version != Ip::V4 && is_ipv6(text);
    is_v4() || is_v6()
}

fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    zone != Some("") && address.parse::<Ipv6Addr>().is_ok()
}

/// An address and the length of its prefix; behind that there are only zeros where it `is_strict`.
pub fn is_ip_prefix(text: &str, version: Ip, is_strict: bool) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let Some(length) = decimal(length) else { return false };
    let rest = |bits: u128, size: u32| length <= size && (!is_strict || bits & !prefix(length, size) == 0);
    match (address.parse::<Ipv4Addr>(), address.parse::<Ipv6Addr>()) {
        (Ok(address), _) if version != Ip::V6 => rest(u32::from(address).into(), 32),
        (_, Ok(address)) if version != Ip::V4 => rest(address.into(), 128),
        _ => false,
    }
}

/// The upper `length` of `size` bits.
fn prefix(length: u32, size: u32) -> u128 {
    let low = u128::MAX.checked_shr(128 - (size - length)).unwrap_or(0);
    !low
}

/// A whole number without leading zeros.
fn decimal(text: &str) -> Option<u32> {
    let is_plain = text == "0" || !text.starts_with('0');
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain && is_number)
}

/// A name or an address, and a port; IPv6 stands in brackets.
pub fn is_host_and_port(text: &str, needs_port: bool) -> bool {
    let is_port = |port: &str| decimal(port).is_some_and(|port| port <= u16::MAX.into());
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, behind)) = rest.rsplit_once(']') else { return false };
        return is_ipv6(address)
            && match behind.strip_prefix(':') {
                Some(port) => is_port(port),
                None => behind.is_empty() && !needs_port,
            };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_there = port.map_or(!needs_port, is_port);
    is_there && (is_hostname(host) || is_ip(host, Ip::V4))
}

/// RFC 3986, section 3: with a scheme.
pub fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme && is_hierarchy(rest, false)
}

/// RFC 3986, section 4.1: a URI, or what is relative to one.
pub fn is_uri_reference(text: &str) -> bool {
    is_uri(text) || is_hierarchy(text, true)
}

/// What stands behind the scheme; without one, the first segment of a path has no colon.
fn is_hierarchy(text: &str, is_relative: bool) -> bool {
    let (text, fragment) = cut(text, '#');
    let (text, query) = cut(text, '?');
    let is_query = |text: &str| holds(text, |byte| is_path(byte) || byte == b'?');
    if !fragment.is_none_or(is_query) || !query.is_none_or(is_query) {
        return false;
    }
    if let Some(rest) = text.strip_prefix("//") {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        return is_authority(authority) && holds(path, is_path);
    }
    let first = text.split('/').next().unwrap_or_default();
    holds(text, is_path) && !(is_relative && first.contains(':'))
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, behind)| (before, Some(behind)))
}

fn is_authority(text: &str) -> bool {
    let (user, host) = text.split_once('@').map_or((None, text), |(user, host)| (Some(user), host));
    if !user.is_none_or(|user| holds(user, |byte| is_name(byte) || byte == b':')) {
        return false;
    }
    // The grammar has no largest one.
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(rest) = host.strip_prefix('[') {
        let Some((literal, behind)) = rest.split_once(']') else { return false };
        return is_ip_literal(literal)
            && (behind.is_empty() || behind.strip_prefix(':').is_some_and(is_port));
    }
    let (name, port) = cut(host, ':');
    port.is_none_or(is_port) && holds(name, is_name) && is_text_when_decoded(name)
}

/// `IPv6address`, one with a zone behind `%25`, or `IPvFuture`.
fn is_ip_literal(text: &str) -> bool {
    if let Some(future) = text.strip_prefix(['v', 'V']) {
        let Some((version, address)) = future.split_once('.') else { return false };
        let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_address = |byte: u8| is_unreserved(byte) || is_delimiter(byte) || byte == b':';
        return is_version && !address.is_empty() && address.bytes().all(is_address);
    }
    match text.split_once("%25") {
        Some((address, zone)) => {
            address.parse::<Ipv6Addr>().is_ok()
                && !zone.is_empty()
                && holds(zone, is_unreserved)
                && is_text_when_decoded(zone)
        }
        None => text.parse::<Ipv6Addr>().is_ok(),
    }
}

/// Whether a text is made of what is allowed and of escapes.
fn holds(text: &str, is_allowed: impl Fn(u8) -> bool) -> bool {
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = match (byte, behind) {
            (b'%', [high, low, behind @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => behind,
            _ if is_allowed(byte) => behind,
            _ => return false,
        };
    }
    true
}

/// RFC 3986, section 3.2.2: the escapes of a registered name are UTF-8.
fn is_text_when_decoded(text: &str) -> bool {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut decoded, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if let (b'%', [high, low, behind @ ..]) = (byte, behind)
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            decoded.push(high << 4 | low);
            rest = behind;
        } else {
            decoded.push(byte);
        }
    }
    std::str::from_utf8(&decoded).is_ok()
}

fn is_path(byte: u8) -> bool {
    is_name(byte) || b":@/".contains(&byte)
}

fn is_name(byte: u8) -> bool {
    is_unreserved(byte) || is_delimiter(byte)
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn is_delimiter(byte: u8) -> bool {
    b"!$&'()*+,;=".contains(&byte)
}
