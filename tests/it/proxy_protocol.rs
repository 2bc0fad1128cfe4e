//! The PROXY protocol at the real door: who is believed, what is refused, and that nothing is left over.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use transom::server::ServerConfig;

use crate::server::{BRIEF, Fixture, fixture, read_to_end};
use crate::support::tls::{Authority, Client, fixed};
use crate::support::{eventually, soon};

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n";
const REQUEST: &[u8] = b"GET /peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// Version 2: this command and family, and what follows.
fn v2(version_command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[version_command, family][..], &length, payload].concat()
}

const IPV4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 1, 187];

/// A listener behind balancers of `network`.
fn behind(network: &str, adjust: impl FnOnce(&mut ServerConfig)) -> Fixture {
    fixture(|config| {
        config.listeners[0].proxy_protocol = Some(vec![network.parse().expect("a network")]);
        adjust(config);
    })
}

/// What becomes of these bytes, sent piece by piece: all that comes back, and the address that was ours.
async fn send(address: SocketAddr, pieces: &[&[u8]]) -> (String, SocketAddr) {
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    socket.set_nodelay(true).expect("open");
    for piece in pieces {
        if socket.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let own = socket.local_addr().expect("open");
    let mut reply = Vec::new();
    // A connection that is closed on unread bytes is reset.
    let _ = soon(socket.read_to_end(&mut reply)).await;
    (String::from_utf8(reply).expect("text"), own)
}

async fn refused(fixture: &Fixture, count: u64) {
    let refused = || fixture.metrics.sum(|worker| worker.proxy_protocol_refused.value());
    eventually("refused", async || refused() >= count).await;
    assert_eq!(refused(), count);
}

#[tokio::test]
async fn the_client_is_whom_the_balancer_names() {
    let fixture = behind("127.0.0.0/8", |_| {});
    let check = async |preamble: &[u8], expected: Option<&str>| {
        let whole = [preamble, REQUEST].concat();
        let bytes: Vec<_> = whole.chunks(1).collect();
        for pieces in [&[&whole[..]][..], &[preamble, REQUEST], &bytes] {
            let (reply, own) = send(fixture.address, pieces).await;
            let expected = expected.map_or_else(|| own.to_string(), str::to_owned);
            assert!(reply.ends_with(&format!("\r\n\r\nhttp {expected} public")), "{preamble:?}: {reply}");
        }
    };
    check(V1, Some("192.0.2.1:56324")).await;
    check(b"PROXY TCP6 2001:db8::1 ::1 1 443\r\n", Some("[2001:db8::1]:1")).await;
    check(b"PROXY UNKNOWN\r\n", None).await;
    check(&v2(0x21, 0x11, IPV4), Some("192.0.2.1:56324")).await;
    // Longer than what is looked at together.
    check(&v2(0x21, 0x11, &[IPV4, &[4; 2000]].concat()), Some("192.0.2.1:56324")).await;
    check(&v2(0x20, 0x00, &[]), None).await;
    check(&v2(0x20, 0x11, IPV4), None).await;
    refused(&fixture, 0).await;
}

#[tokio::test]
async fn without_a_good_preamble_nobody_is_served() {
    let fixture = behind("127.0.0.1/32", |config| config.listeners[0].limits.header_timeout = BRIEF);
    let mut count = 0;
    for bytes in [
        REQUEST,
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\nGET / HTTP/1.0\r\n\r\n",
        &v2(0x21, 0x12, IPV4),
        &v2(0x21, 0x11, &IPV4[..11]),
        &[b"PROXY UNKNOWN ", &[b'x'; 93][..]].concat(),
        // These never end: the time of a head is theirs, too.
        b"",
        b"PROXY TCP4 192.0.2.1",
        &v2(0x21, 0x11, IPV4)[..20],
    ] {
        assert_eq!(send(fixture.address, &[bytes]).await.0, "", "{bytes:?}");
        count += 1;
        refused(&fixture, count).await;
    }
    // A balancer that is not ours.
    let fixture = behind("10.0.0.0/8", |_| {});
    assert_eq!(send(fixture.address, &[V1, REQUEST]).await.0, "");
    refused(&fixture, 1).await;
}

#[tokio::test]
async fn elsewhere_a_preamble_is_no_request() {
    let fixture = fixture(|_| {});
    let (reply, _) = send(fixture.address, &[V1, REQUEST]).await;
    assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
}

#[tokio::test]
async fn the_bound_of_an_address_is_that_of_the_client() {
    let fixture = behind("127.0.0.1/32", |config| {
        config.listeners[0].limits.connections_per_address_max = 1;
    });
    let open = async |preamble: &str| {
        let mut socket = TcpStream::connect(fixture.address).await.expect("it listens");
        let request = format!("{preamble}\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("open");
        let count = soon(socket.read(&mut [0; 512])).await.unwrap_or_default();
        (count > 0).then_some(socket)
    };
    let first = open("PROXY TCP4 192.0.2.1 198.51.100.2 1 443").await;
    let other = open("PROXY TCP4 192.0.2.2 198.51.100.2 1 443").await;
    assert!(first.is_some() && other.is_some());
    // The same client in the other family's notation.
    assert!(open("PROXY TCP6 ::ffff:192.0.2.1 ::1 2 443").await.is_none());
    assert_eq!(fixture.metrics.sum(|worker| worker.connections_refused.value()), 1);
}

#[tokio::test]
async fn tls_comes_behind_the_preamble() {
    let authority = Authority::new("authority");
    let fixture = behind("127.0.0.1/32", |config| {
        config.listeners[0].tls = Some(fixed(&authority.host(&["gateway.test"])));
    });
    let mut socket = TcpStream::connect(fixture.address).await.expect("it listens");
    socket.write_all(V1).await.expect("open");
    let mut stream = Client::new(&authority).over(socket, "gateway.test").await.expect("a handshake");
    stream.write_all(REQUEST).await.expect("open");
    let reply = read_to_end(&mut stream).await;
    assert!(reply.ends_with("https 192.0.2.1:56324 public"), "{reply}");
}
