//! Backends that refuse what they are sent, all the time: calls are made again within bounds, and none runs twice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use h2::Reason;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::metrics::{scrape, value};
use crate::support::backend::framed;
use crate::support::raw::{Backend, serve};
use crate::support::{Gateway, figure, http, soon};

async fn before(endpoints: &[SocketAddr], service: &str) -> Gateway {
    let urls: Vec<_> = endpoints.iter().map(|address| format!("\"http://{address}\"")).collect();
    let endpoints = format!("endpoints: {{ static: [{}] }}", urls.join(", "));
    Gateway::with_file(&format!("services: {{ door: {{ {endpoints}, {service} }} }}")).await
}

async fn post(address: SocketAddr, name: &str) -> http::Answer {
    let request = http::request("POST", "/v1/items").header("content-type", "application/json");
    soon(http::send(address, request, format!("{{\"name\":\"{name}\"}}"))).await
}

/// gRFC A6: what reached a server is sent again unseen once a call; anything beyond is a retry like any other.
#[tokio::test]
async fn refused_calls_are_sent_once_more_and_then_within_the_budget() {
    const CALLS: usize = 200;
    for attempts in [2, 5] {
        let seen = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&seen);
        let refuse = serve(move |_request, mut respond| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move { respond.send_reset(Reason::REFUSED_STREAM) }
        });
        let mut backends = Vec::new();
        for _ in 0..3 {
            backends.push(Backend::start(Arc::clone(&refuse)).await.address);
        }
        let retry = format!("retry: {{ budget: 20%, attempts: {attempts}, backoff: 1ms }}");
        let gateway = before(&backends, &retry).await;
        for call in 0..CALLS {
            let answer = match call % 2 {
                0 => post(gateway.address, "a").await,
                _ => soon(http::send(gateway.address, http::request("GET", "/v1/items/7"), "")).await,
            };
            assert_eq!(answer.status, 503);
        }
        let seen = seen.load(Ordering::SeqCst);
        figure(format_args!("{CALLS} calls of {attempts} attempts, all refused: {seen} streams"));
        // Each twice, and a fifth of them once more; a budget reaches back ten seconds, however slow the machine.
        assert!((2 * CALLS + 10..=445).contains(&seen), "{seen} streams");
    }
}

/// What backends of [`cut_short`] have done, by message.
#[derive(Default)]
struct Ledger {
    runs: Mutex<BTreeMap<Vec<u8>, usize>>,
    refused: AtomicUsize,
    connections: AtomicUsize,
}

#[tokio::test]
async fn a_storm_of_abrupt_goaways_runs_no_call_twice() {
    const STORM: usize = 500;
    const EACH: usize = 20;
    let ledger = Arc::new(Ledger::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let kept = Arc::clone(&ledger);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            kept.connections.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(cut_short(EACH, socket, Arc::clone(&kept)));
        }
    });
    let retry = "retry: { on: [connect, unavailable], attempts: 5, budget: 100%, backoff: 1ms }";
    let gateway = before(&[address], retry).await;
    let left = Arc::new(AtomicUsize::new(STORM));
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (left, address) = (Arc::clone(&left), gateway.address);
        clients.spawn(async move {
            let mut answers = Vec::new();
            while let Ok(call) =
                left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            {
                // One length, so that the message is what it looks like.
                let name = format!("{call:04}");
                answers.push((post(address, &name).await, name));
            }
            answers
        });
    }
    let mut served = 0;
    while let Some(answers) = soon(clients.join_next()).await {
        for (answer, name) in answers.expect("no panic") {
            let message = [b"\x0a\x04", name.as_bytes()].concat();
            let runs = ledger.runs.lock().expect("no panic").get(&message).copied().unwrap_or(0);
            if answer.status == 200 {
                served += 1;
                assert_eq!(runs, 1, "{name}");
            } else {
                let told = answer.json();
                assert_eq!(told["details"][0]["reason"], "BACKEND_CONNECTION_LOST", "{told}");
                assert_eq!(runs, 0, "a call that failed has run: {name}");
            }
        }
    }
    let (refused, connections) =
        (ledger.refused.load(Ordering::Relaxed), ledger.connections.load(Ordering::Relaxed));
    figure(format_args!(
        "{STORM} POSTs, GOAWAY in the middle of {EACH}: {served} served, {refused} streams cut, \
         {connections} connections"
    ));
    assert!(refused >= STORM / EACH / 2, "{refused} streams cut");
    // A call is lost only where six connections in a row end under it.
    assert!(served > STORM * 9 / 10, "{served} served");
}

/// A connection whose first answer and whose end are read at once has answered all the same: nothing is wrong with the
/// endpoint, and the next call need not wait.
#[tokio::test]
async fn an_answer_that_comes_with_the_end_of_its_connection_proves_the_endpoint() {
    const CALLS: usize = 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(one_answer(socket));
        }
    });
    let gateway = before(&[address], "").await;
    for call in 0..CALLS {
        let answer = soon(http::send(gateway.address, http::request("GET", "/v1/items/7"), "")).await;
        assert_eq!(answer.status, 200, "call {call}: {}", answer.json());
    }
    // Calls that wait for a connection would be sent away by a failure of it.
    let failures = value(&scrape(&gateway).await, "transom_upstream_connect_failures_total");
    assert_eq!(failures, Some(0.0), "of {CALLS}");
}

/// Answers one call and says in the same breath that it was the last.
async fn one_answer(mut socket: TcpStream) -> std::io::Result<()> {
    let mut preface = [0; 24];
    socket.read_exact(&mut preface).await?;
    socket.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    loop {
        match read_frame(&mut socket).await? {
            (SETTINGS, flags, ..) if flags & ACK == 0 => {
                socket.write_all(&frame(SETTINGS, ACK, 0, &[])).await?;
            }
            (DATA, flags, stream, _) if flags & END_STREAM != 0 => {
                let end = frame(GOAWAY, 0, 0, &[stream.to_be_bytes(), [0; 4]].concat());
                // In one segment, as far as it is up to us.
                #[cfg(target_os = "linux")]
                SockRef::from(&socket).set_tcp_cork(true)?;
                socket.write_all(&[answer(stream), end].concat()).await?;
                socket.shutdown().await?;
            }
            // Unread, it would have the system reset the connection.
            _ => {}
        }
    }
}

// RFC 9113, sections 6 and 7.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame");
    [&length.to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Runs so many calls, frame by frame, and then says that the last of them was the last: those that are open above it,
/// the one that has just come whole among them, were not worked on. No library says so of what it has read.
async fn cut_short(count: usize, mut socket: TcpStream, ledger: Arc<Ledger>) -> std::io::Result<()> {
    let mut preface = [0; 24];
    socket.read_exact(&mut preface).await?;
    socket.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let mut last = 0;
    let mut bodies: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    let mut runs = 0;
    loop {
        let (kind, flags, stream, payload) = read_frame(&mut socket).await?;
        match kind {
            SETTINGS if flags & ACK == 0 => socket.write_all(&frame(SETTINGS, ACK, 0, &[])).await?,
            PING if flags & ACK == 0 => socket.write_all(&frame(PING, ACK, 0, &payload)).await?,
            DATA => {
                let body = bodies.entry(stream).or_default();
                body.extend_from_slice(&payload);
                if flags & END_STREAM == 0 {
                    continue;
                }
                if runs == count {
                    break;
                }
                runs += 1;
                last = last.max(stream);
                let message = body.get(5..).expect("a message").to_vec();
                *ledger.runs.lock().expect("no panic").entry(message).or_default() += 1;
                socket.write_all(&answer(stream)).await?;
            }
            _ => {}
        }
    }
    let cut = bodies.keys().filter(|stream| **stream > last).count();
    ledger.refused.fetch_add(cut, Ordering::Relaxed);
    socket.write_all(&frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())).await?;
    socket.shutdown().await?;
    // What comes now is not worked on either; unread, it would have the system reset the connection.
    loop {
        read_frame(&mut socket).await?;
    }
}

async fn read_frame(socket: &mut TcpStream) -> std::io::Result<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    socket.read_exact(&mut head).await?;
    let [a, b, c, kind, flags, stream @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    socket.read_exact(&mut payload).await?;
    Ok((kind, flags, u32::from_be_bytes(stream), payload))
}

/// `:status: 200` and `content-type` by their places in the static table of HPACK, a message, `grpc-status: 0`.
fn answer(stream: u32) -> Vec<u8> {
    let head = [&[0x88, 0x0f, 0x10, 16], &b"application/grpc"[..]].concat();
    let trailers = [&[0, 11], &b"grpc-status"[..], &[1, b'0']].concat();
    [
        frame(HEADERS, END_HEADERS, stream, &head),
        frame(DATA, 0, stream, &framed(b"\x0a\x01x")),
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &trailers),
    ]
    .concat()
}
