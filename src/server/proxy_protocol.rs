//! The PROXY protocol, versions 1 and 2: for whom a balancer opened the connection.
//!
//! ```text
//! v1 = "PROXY " ("TCP4" | "TCP6") SP source SP destination SP port SP port CRLF
//!    | "PROXY UNKNOWN" *any CRLF                                      107 octets at most
//! v2 = signature (96) version (4) command (4) family (8) length (16) addresses and TLVs (length octets)
//! ```
//!
//! <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>. Pure: bytes in, verdict out. Nothing is guessed:
//! what is not exactly one of these is refused, because a client that can write the preamble can be anyone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use memchr::memmem;

const V1_START: &[u8] = b"PROXY ";
/// The longest line, CRLF included (section 2.1).
const V1_BYTES_MAX: usize = 107;

const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEAD_BYTES: usize = 16;

/// Bytes of the longest preamble there can be.
#[cfg(test)]
const BYTES_MAX: usize = V2_HEAD_BYTES + u16::MAX as usize;

/// What the beginning of a connection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preamble {
    /// So far so good; all of it belongs to the preamble.
    Incomplete,
    /// The preamble is so many bytes long.
    Complete {
        bytes: usize,
        /// The client; `None` when the balancer speaks for itself, such as for a health check.
        source: Option<SocketAddr>,
    },
}

/// No preamble, or one that is not well-formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads the preamble at the beginning of `bytes`.
pub(super) fn parse(bytes: &[u8]) -> Result<Preamble, Malformed> {
    let shared = bytes.len().min(V2_SIGNATURE.len());
    if bytes.get(..shared) == V2_SIGNATURE.get(..shared) { parse_v2(bytes) } else { parse_v1(bytes) }
}

fn parse_v1(bytes: &[u8]) -> Result<Preamble, Malformed> {
    let shared = bytes.len().min(V1_START.len());
    if bytes.get(..shared) != V1_START.get(..shared) {
        return Err(Malformed);
    }
    let within = bytes.get(..V1_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = memmem::find(within, b"\r\n") else {
        return if bytes.len() < V1_BYTES_MAX { Ok(Preamble::Incomplete) } else { Err(Malformed) };
    };
    let line = within.get(V1_START.len()..end).and_then(|line| std::str::from_utf8(line).ok());
    let source = v1_source(line.ok_or(Malformed)?)?;
    Ok(Preamble::Complete { bytes: end + 2, source })
}

/// What follows `PROXY `.
fn v1_source(line: &str) -> Result<Option<SocketAddr>, Malformed> {
    let mut words = line.split(' ');
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(None);
    }
    let (Some(source), Some(destination), Some(source_port), Some(destination_port), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Malformed);
    };
    let address = |text: &str| match family {
        Some("TCP4") => text.parse().map(IpAddr::V4).map_err(|_| Malformed),
        Some("TCP6") => text.parse().map(IpAddr::V6).map_err(|_| Malformed),
        _ => Err(Malformed),
    };
    address(destination)?;
    v1_port(destination_port)?;
    Ok(Some(SocketAddr::new(address(source)?, v1_port(source_port)?)))
}

/// Decimal digits without a leading zero.
fn v1_port(text: &str) -> Result<u16, Malformed> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain).ok_or(Malformed)
}

fn parse_v2(bytes: &[u8]) -> Result<Preamble, Malformed> {
    let Some((head, rest)) = bytes.split_first_chunk::<V2_HEAD_BYTES>() else {
        return Ok(Preamble::Incomplete);
    };
    let [.., version_command, family, length_high, length_low] = *head;
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    let is_local = match version_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed),
    };
    let addresses = rest.get(..rest.len().min(length)).unwrap_or_default();
    let source = if is_local { None } else { v2_source(family, length, addresses)? };
    if rest.len() < length {
        return Ok(Preamble::Incomplete);
    }
    Ok(Preamble::Complete { bytes: V2_HEAD_BYTES + length, source })
}

/// The source among the addresses, as soon as it is there; the TLVs behind them are skipped.
fn v2_source(family: u8, length: usize, addresses: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    match family {
        // AF_UNSPEC and AF_UNIX have no address that means anything here.
        0x00 => Ok(None),
        0x31 if length >= 216 => Ok(None),
        0x11 if length >= 12 => Ok(v2_address::<4>(addresses, 8)
            .map(|(octets, port)| SocketAddr::new(Ipv4Addr::from(octets).into(), port))),
        0x21 if length >= 36 => Ok(v2_address::<16>(addresses, 32)
            .map(|(octets, port)| SocketAddr::new(Ipv6Addr::from(octets).into(), port))),
        // Datagrams do not come over TCP.
        _ => Err(Malformed),
    }
}

fn v2_address<const N: usize>(addresses: &[u8], port_at: usize) -> Option<([u8; N], u16)> {
    let octets = addresses.first_chunk::<N>()?;
    let port = addresses.get(port_at..)?.first_chunk::<2>()?;
    Some((*octets, u16::from_be_bytes(*port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(version_command: u8, family: u8, length: u16, payload: &[u8]) -> Vec<u8> {
        let [high, low] = length.to_be_bytes();
        [&V2_SIGNATURE[..], &[version_command, family, high, low], payload].concat()
    }

    /// `bytes` make a preamble that names `source`; no beginning of it is one, whatever follows changes nothing.
    #[track_caller]
    fn check(bytes: &[u8], source: Option<&str>) {
        let expected =
            Preamble::Complete { bytes: bytes.len(), source: source.map(|text| text.parse().expect("one")) };
        assert_eq!(parse(bytes), Ok(expected), "{bytes:?}");
        assert_eq!(parse(&[bytes, b"\r\nGET"].concat()), Ok(expected), "{bytes:?}");
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Ok(Preamble::Incomplete), "{bytes:?} cut at {end}");
        }
    }

    #[track_caller]
    fn refused(bytes: &[u8]) {
        assert_eq!(parse(bytes), Err(Malformed), "{bytes:?}");
    }

    #[test]
    fn version_1_names_the_client() {
        check(b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", Some("192.0.2.1:56324"));
        check(b"PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", Some("255.255.255.255:65535"));
        check(b"PROXY TCP6 2001:db8::1 ::1 1 443\r\n", Some("[2001:db8::1]:1"));
        check(b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 443\r\n", Some("[::ffff:192.0.2.1]:1"));
        check(b"PROXY UNKNOWN\r\n", None);
        check(b"PROXY UNKNOWN ffff::1 whatever 0 99999\r\n", None);
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_BYTES_MAX - 16));
        assert_eq!(longest.len(), V1_BYTES_MAX);
        check(longest.as_bytes(), None);
    }

    #[test]
    fn version_1_is_read_strictly() {
        for line in [
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 1\r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.2 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 \r\n",
            "PROXY  TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
            "PROXY TCP4 2001:db8::1 ::1 1 443\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.2 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 nobody 56324 443\r\n",
            "PROXY TCP4 192.0.2.256 198.51.100.2 56324 443\r\n",
            "PROXY TCP4 192.0.2.01 198.51.100.2 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 056 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 +56 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 -1 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 \r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.2 56324 443\r\n",
            "PROXY tcp4 192.0.2.1 198.51.100.2 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n\r\n",
            "PROXY TCP4 192.0.2.1\t198.51.100.2 56324 443\r\n",
            "PROXY \r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY\r\n",
            "proxy TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
            "GET / HTTP/1.1\r\n",
            "\x16\x03\x01",
            " PROXY",
        ] {
            refused(line.as_bytes());
        }
        refused(b"PROXY TCP4 \xff \xff 1 1\r\n");
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(V1_BYTES_MAX - 14));
        assert_eq!(endless.len(), V1_BYTES_MAX);
        refused(endless.as_bytes());
        assert_eq!(parse(&endless.as_bytes()[1..]), Err(Malformed));
        assert_eq!(parse(&endless.as_bytes()[..V1_BYTES_MAX - 1]), Ok(Preamble::Incomplete));
        refused(format!("{endless}\r\n").as_bytes());
    }

    const IPV4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 1, 187];

    #[test]
    fn version_2_names_the_client() {
        check(&v2(0x21, 0x11, 12, IPV4), Some("192.0.2.1:56324"));
        let ipv6 = [&[0x20, 1, 0x0d, 0xb8], &[0; 11][..], &[1], &[0; 16], &[0, 7, 1, 187]].concat();
        check(&v2(0x21, 0x21, 36, &ipv6), Some("[2001:db8::1]:7"));
        // TLVs are skipped, well-formed or not.
        check(&v2(0x21, 0x11, 15, &[IPV4, &[4, 0xff, 0xff]].concat()), Some("192.0.2.1:56324"));
        let tlvs = vec![0xee; usize::from(u16::MAX) - IPV4.len()];
        let longest = v2(0x21, 0x11, u16::MAX, &[IPV4, &tlvs].concat());
        assert_eq!(longest.len(), BYTES_MAX);
        assert_eq!(
            parse(&longest),
            Ok(Preamble::Complete {
                bytes: BYTES_MAX,
                source: Some("192.0.2.1:56324".parse().expect("one"))
            })
        );
        assert_eq!(parse(&longest[..BYTES_MAX - 1]), Ok(Preamble::Incomplete));
    }

    #[test]
    fn version_2_may_speak_for_the_balancer_itself() {
        check(&v2(0x20, 0x00, 0, &[]), None);
        check(&v2(0x20, 0x11, 12, IPV4), None);
        check(&v2(0x20, 0xff, 3, &[1, 2, 3]), None);
        check(&v2(0x21, 0x00, 0, &[]), None);
        check(&v2(0x21, 0x00, 2, &[1, 2]), None);
        check(&v2(0x21, 0x31, 216, &[b'/'; 216]), None);
    }

    #[test]
    fn version_2_is_read_strictly() {
        for (version_command, family, length) in [
            (0x11, 0x11, 12),
            (0x31, 0x11, 12),
            (0x01, 0x11, 12),
            (0x22, 0x11, 12),
            (0x2f, 0x11, 12),
            (0x21, 0x12, 12),
            (0x21, 0x22, 36),
            (0x21, 0x10, 12),
            (0x21, 0x41, 36),
            (0x21, 0xff, 12),
            (0x21, 0x11, 11),
            (0x21, 0x11, 0),
            (0x21, 0x21, 35),
            (0x21, 0x31, 215),
        ] {
            // At once: no byte of the payload is waited for.
            refused(&v2(version_command, family, length, &[]));
            refused(&v2(version_command, family, length, IPV4));
        }
        let mut other = v2(0x21, 0x11, 12, IPV4);
        other[11] = b'\r';
        refused(&other);
        refused(b"\r\n\r\nGET");
    }
}
