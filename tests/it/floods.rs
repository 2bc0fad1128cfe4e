//! What one client may do to its connection: HTTP/2 frames by the hundred, replies that it never reads.
//!
//! The client is raw, frame by frame: a library would refuse to send half of this.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::server::{LARGE_BYTES, limited, replies};
use crate::support::Gateway;
use crate::support::backend::Backend;
use crate::support::soon;

// RFC 9113, sections 6 and 7.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u32 = 11;
const CANCEL: [u8; 4] = [0, 0, 0, 8];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// HPACK of `method` (by its index in the static table) `http://a` and a path.
fn block(method: u8, path: &str) -> Vec<u8> {
    let mut block = vec![0x80 | method, 0x86, 0x41, 1, b'a', 0x44];
    block.push(u8::try_from(path.len()).expect("a short path"));
    block.extend(path.as_bytes());
    block
}

const GET: u8 = 2;
const POST: u8 = 3;

fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(GET, path))
}

/// A connection of which every byte is the test's.
struct Raw {
    socket: TcpStream,
}

impl Raw {
    /// Preface and SETTINGS; `settings` are pairs of two and four bytes.
    async fn open(address: SocketAddr, settings: &[u8]) -> Self {
        let socket = TcpStream::connect(address).await.expect("it listens");
        let mut raw = Self { socket };
        raw.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, settings)].concat())
            .await;
        raw
    }

    async fn send(&mut self, bytes: &[u8]) {
        soon(self.socket.write_all(bytes)).await.expect("it reads");
    }

    /// The next frame: kind, flags, stream, payload; `None` when the connection has ended.
    async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        soon(self.socket.read_exact(&mut head)).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        soon(self.socket.read_exact(&mut payload)).await.ok()?;
        Some((kind, flags, u32::from_be_bytes(stream), payload))
    }

    /// Reads up to the end of the reply on `stream`, or to a GOAWAY, whose error code is the error.
    async fn outcome(&mut self, stream: u32) -> Result<(), u32> {
        while let Some((kind, flags, id, payload)) = self.next().await {
            if kind == GOAWAY {
                let code = payload.get(4..8).and_then(|code| code.try_into().ok());
                return Err(u32::from_be_bytes(code.expect("a whole GOAWAY")));
            }
            if id == stream && matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
                return Ok(());
            }
        }
        panic!("the connection ended without a word");
    }
}

/// What becomes of a `GET` on stream 1001 after `frames`.
async fn after(limits: impl FnOnce(&mut transom::server::ServerLimits), frames: &[u8]) -> Result<(), u32> {
    let fixture = limited(limits);
    let mut raw = Raw::open(fixture.address, &[]).await;
    raw.send(&[frames, &get(1001, "/")].concat()).await;
    raw.outcome(1001).await
}

#[tokio::test]
async fn continuations_are_bounded() {
    let block = block(GET, "/");
    let (first, last) = block.split_at(1);
    let head = |pieces: usize| {
        let pieces = frame(CONTINUATION, 0, 1, &[]).repeat(pieces);
        [frame(HEADERS, END_STREAM, 1, first), pieces, frame(CONTINUATION, END_HEADERS, 1, last)].concat()
    };
    // h2: a quarter more than 32 KiB of headers need in frames of 16 KiB, and five at the least.
    assert_eq!(after(|_| {}, &head(5)).await, Ok(()));
    assert_eq!(after(|_| {}, &head(6)).await, Err(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn settings_are_bounded() {
    // The SETTINGS of the preface is the first.
    let settings = |count| frame(SETTINGS, 0, 0, &[]).repeat(count);
    let bound = |limits: &mut transom::server::ServerLimits| limits.h2_settings_max = 10;
    assert_eq!(after(bound, &settings(9)).await, Ok(()));
    assert_eq!(after(bound, &settings(10)).await, Err(ENHANCE_YOUR_CALM));
    assert_eq!(after(|_| {}, &settings(99)).await, Ok(()));
    assert_eq!(after(|_| {}, &settings(100)).await, Err(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn pings_are_bounded() {
    let pings = |count| frame(PING, 0, 0, &[0; 8]).repeat(count);
    assert_eq!(after(|_| {}, &pings(60)).await, Ok(()));
    assert_eq!(after(|_| {}, &pings(61)).await, Err(ENHANCE_YOUR_CALM));
    assert_eq!(after(|limits| limits.h2_pings_max = 3, &pings(4)).await, Err(ENHANCE_YOUR_CALM));
    // An answer is not a flood: h2 only ignores it.
    assert_eq!(after(|_| {}, &frame(PING, ACK, 0, &[0; 8]).repeat(61)).await, Ok(()));
}

#[tokio::test]
async fn pings_beside_replies_are_measurements() {
    let fixture = limited(|limits| limits.h2_pings_max = 3);
    let mut raw = Raw::open(fixture.address, &[]).await;
    for call in 0..5 {
        let stream = 2 * call + 1;
        raw.send(&[frame(PING, 0, 0, &[0; 8]).repeat(3), get(stream, "/")].concat()).await;
        assert_eq!(raw.outcome(stream).await, Ok(()), "call {call}");
    }
    raw.send(&frame(PING, 0, 0, &[0; 8]).repeat(4)).await;
    assert_eq!(raw.outcome(1001).await, Err(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn empty_data_is_bounded() {
    let post = |count| {
        let head = frame(HEADERS, END_HEADERS, 1, &block(POST, "/"));
        [head, frame(DATA, 0, 1, &[]).repeat(count), frame(DATA, END_STREAM, 1, &[])].concat()
    };
    assert_eq!(after(|_| {}, &post(100)).await, Ok(()));
    assert_eq!(after(|_| {}, &post(101)).await, Err(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn streams_reset_before_they_are_served_are_bounded() {
    let resets = |count: u32| {
        let pair = |n: u32| [get(2 * n + 1, "/"), frame(RST_STREAM, 0, 2 * n + 1, &CANCEL)].concat();
        (0..count).flat_map(pair).collect::<Vec<_>>()
    };
    let bound = |limits: &mut transom::server::ServerLimits| limits.h2_pending_resets_max = 10;
    assert_eq!(after(bound, &resets(10)).await, Ok(()));
    assert_eq!(after(bound, &resets(11)).await, Err(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn calls_given_up_are_bounded() {
    let mut fixture = limited(|limits| limits.h2_cancelled_calls_max = 10);
    let mut raw = Raw::open(fixture.address, &[]).await;
    for stream in (1..).step_by(2).take(11) {
        raw.send(&get(stream, "/hang")).await;
        soon(fixture.started.recv()).await.expect("a call");
        raw.send(&frame(RST_STREAM, 0, stream, &CANCEL)).await;
        soon(fixture.dropped.recv()).await.expect("dropped");
    }
    assert_eq!(raw.outcome(1001).await, Err(ENHANCE_YOUR_CALM));
    // Others are served as before.
    let mut other = Raw::open(fixture.address, &[]).await;
    other.send(&get(1, "/")).await;
    assert_eq!(other.outcome(1).await, Ok(()));
}

#[tokio::test]
async fn bounds_have_keys() {
    let backend = Backend::echo().await;
    let limits = "limits: { settings: 3, pings: 2, send_timeout: 100ms }";
    let gateway = Gateway::configured(&backend, limits, "", "").await;
    let check = async |frames: Vec<u8>, expected: Result<(), u32>| {
        let mut raw = Raw::open(gateway.address, &[]).await;
        raw.send(&[frames, get(1001, "/v1/items/7")].concat()).await;
        assert_eq!(raw.outcome(1001).await, expected);
    };
    check(frame(SETTINGS, 0, 0, &[]).repeat(2), Ok(())).await;
    check(frame(SETTINGS, 0, 0, &[]).repeat(3), Err(ENHANCE_YOUR_CALM)).await;
    check(frame(PING, 0, 0, &[0; 8]).repeat(2), Ok(())).await;
    check(frame(PING, 0, 0, &[0; 8]).repeat(3), Err(ENHANCE_YOUR_CALM)).await;
    // A stream of two items, and a window for less than one.
    let mut raw = Raw::open(gateway.address, &[0, 4, 0, 0, 0, 1]).await;
    let post = frame(HEADERS, END_HEADERS, 1, &block(POST, "/v1/chat"));
    let items = frame(DATA, END_STREAM, 1, b"{\"name\":\"a\"}\n{\"name\":\"b\"}\n");
    raw.send(&[post, items].concat()).await;
    while raw.next().await.is_some() {}
}

#[tokio::test]
async fn a_client_that_does_not_read_is_left() {
    let fixture = limited(|limits| limits.send_timeout = Duration::from_millis(100));
    let mut socket = TcpStream::connect(fixture.address).await.expect("it listens");
    socket.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("open");
    replies(&fixture, 499, 1).await;
    let mut reply = Vec::new();
    // What was on the way arrives; then a reset, because a clean end would promise the rest.
    let error = soon(socket.read_to_end(&mut reply)).await.expect_err("reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(reply.len() < LARGE_BYTES, "{}", reply.len());

    // HTTP/2: the socket is read, yet the stream's window stays shut. SETTINGS_INITIAL_WINDOW_SIZE = 1.
    let mut raw = Raw::open(fixture.address, &[0, 4, 0, 0, 0, 1]).await;
    raw.send(&get(1, "/large")).await;
    replies(&fixture, 499, 2).await;
    while raw.next().await.is_some() {}
    assert_eq!(fixture.metrics.sum(|worker| worker.calls_open.value()), 0);
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_all() {
    let fixture = limited(|limits| {
        limits.idle_timeout = Duration::from_millis(300);
        limits.send_timeout = Duration::from_secs(5);
    });
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(64 << 10).expect("a small buffer");
    let mut socket = soon(socket.connect(fixture.address)).await.expect("it listens");
    socket.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.expect("open");
    let mut bytes = 0;
    let mut buffer = vec![0; 1 << 20];
    for step in 0.. {
        // Four pauses, each longer than an idle connection would live.
        if step % 100 == 0 && step <= 300 {
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        match soon(socket.read(&mut buffer)).await.expect("open") {
            0 => break,
            count => bytes += count,
        }
    }
    assert!(bytes > LARGE_BYTES, "{bytes}");

    let window = |amount: u32| frame(WINDOW_UPDATE, 0, 0, &amount.to_be_bytes());
    let mut raw = Raw::open(fixture.address, &[0, 4, 0x7f, 0xff, 0xff, 0xff]).await;
    raw.send(&get(1, "/large")).await;
    let mut bytes = 0;
    let mut is_paused = false;
    loop {
        let (kind, flags, _, payload) = raw.next().await.expect("open");
        if kind == DATA {
            bytes += payload.len();
            if bytes > LARGE_BYTES / 2 && !is_paused {
                is_paused = true;
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
            if !payload.is_empty() {
                raw.send(&window(u32::try_from(payload.len()).expect("a frame"))).await;
            }
            if flags & END_STREAM != 0 {
                break;
            }
        }
        assert_ne!(kind, GOAWAY, "after {bytes} bytes");
    }
    assert_eq!(bytes, LARGE_BYTES);
}
