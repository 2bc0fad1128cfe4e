//! Faults to survive, at the real door: backends that die, lie or speak something else; no descriptor left.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::graphql_sockets::Socket;
use crate::support::backend::framed;
use crate::support::raw::{Backend, GRPC, Mortal, Serve, head, reply, serve};
use crate::support::{Gateway, eventually, figure, http as door, soon};

/// `Item { name = "x" }`.
const ITEM: &[u8] = b"\x0a\x01x";

async fn before(address: SocketAddr) -> Gateway {
    let url = format!("http://{address}");
    Gateway::start(&["--proto", "tests/data/door.proto", "--upstream", &url]).await
}

async fn get(gateway: &Gateway, target: &str) -> door::Answer {
    soon(door::send(gateway.address, door::request("GET", target), "")).await
}

/// `GET` is answered, the stream of `Watch` has one item and no end, `Delete` is never answered.
fn library(arrivals: mpsc::UnboundedSender<()>) -> Serve {
    serve(move |request: Request<RecvStream>, mut respond: SendResponse<Bytes>| {
        let arrivals = arrivals.clone();
        async move {
            match request.uri().path() {
                "/door.v1.Door/Watch" => {
                    let mut body = respond.send_response(head(GRPC), false).expect("open");
                    body.send_data(framed(ITEM), false).expect("open");
                    let _ = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
                }
                "/door.v1.Door/Delete" => {
                    let _ = arrivals.send(());
                    let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
                }
                _ => reply(respond, framed(ITEM), &[("grpc-status", "0")]),
            }
        }
    })
}

#[tokio::test]
async fn a_killed_backend_is_told_and_found_again() {
    let (arrivals, mut arrived) = mpsc::unbounded_channel();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let backend = Mortal::start(any, library(arrivals.clone())).await;
    let gateway = before(backend.address).await;
    assert_eq!(get(&gateway, "/v1/items/7").await.status, 200);
    let stream = soon(door::open(gateway.address, door::request("GET", "/v1/items/7:watch"), "")).await;
    let address = gateway.address;
    let unary = tokio::spawn(door::send(address, door::request("DELETE", "/v1/items/7"), ""));
    soon(arrived.recv()).await.expect("a call");

    let backend_address = backend.kill().await;
    let answer = soon(unary).await.expect("no panic");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["message"], "the connection to the backend was lost");
    assert_eq!(answer.json()["details"][0]["reason"], "BACKEND_CONNECTION_LOST");
    let answer = soon(door::read(stream)).await;
    let lines: Vec<_> = answer.text().lines().collect();
    assert_eq!(lines[0], r#"{"name":"x"}"#);
    assert!(lines[1].starts_with(r#"{"error":{"code":14,"#) && !answer.is_complete, "{lines:?}");
    let answer = get(&gateway, "/v1/items/7").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (503, &json!(14)));

    let _backend = Mortal::start(backend_address, library(arrivals)).await;
    eventually("served again", async || get(&gateway, "/v1/items/7").await.status == 200).await;
    for _ in 0..20 {
        assert_eq!(get(&gateway, "/v1/items/7").await.status, 200);
    }
}

#[tokio::test]
async fn a_reset_within_a_message_costs_one_call() {
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let serve = serve(move |_request, mut respond: SendResponse<Bytes>| {
        let is_first = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        async move {
            if !is_first {
                return reply(respond, framed(ITEM), &[("grpc-status", "0")]);
            }
            let mut body = respond.send_response(head(GRPC), false).expect("open");
            // Says ten bytes and sends two.
            body.send_data(Bytes::from_static(b"\0\0\0\0\x0a\x0a\x08"), false).expect("open");
            body.send_reset(Reason::INTERNAL_ERROR);
        }
    });
    let backend = Mortal::start(SocketAddr::from(([127, 0, 0, 1], 0)), serve).await;
    let gateway = before(backend.address).await;
    let answer = get(&gateway, "/v1/items/7").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (500, &json!(13)));
    assert_eq!(get(&gateway, "/v1/items/7").await.status, 200);
}

#[tokio::test]
async fn a_backend_of_another_protocol_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let gateway = before(listener.local_addr().expect("bound")).await;
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await;
        }
    });
    let answer = get(&gateway, "/v1/items/7").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (503, &json!(14)));
}

/// Sends a request on a connection that stays open, and reads until the reply ends as it should.
async fn ask(socket: &mut TcpStream, target: &str, end: &str) -> String {
    let accept = "application/openmetrics-text, */*";
    let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\naccept: {accept}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("open");
    let mut reply = String::new();
    let mut buffer = [0; 4096];
    while !reply.contains(end) {
        let count = soon(socket.read(&mut buffer)).await.expect("open");
        assert!(count > 0, "closed after {reply:?}");
        reply.push_str(std::str::from_utf8(&buffer[..count]).expect("text"));
    }
    reply
}

#[tokio::test]
async fn without_descriptors_accepting_pauses_and_recovers() {
    const DESCRIPTORS: usize = 48;
    let (arrivals, _arrived) = mpsc::unbounded_channel();
    let backend = Mortal::start(SocketAddr::from(([127, 0, 0, 1], 0)), library(arrivals)).await;
    let url = format!("http://{}", backend.address);
    let arguments = ["--proto", "tests/data/door.proto", "--upstream", &url];
    let gateway = Gateway::start_with_descriptors(DESCRIPTORS, &arguments).await;
    let mut admin = TcpStream::connect(gateway.admin).await.expect("it listens");
    let mut failures = async || {
        let metrics = ask(&mut admin, "/metrics", "# EOF\n").await;
        let failures =
            metrics.lines().find_map(|line| line.strip_prefix("transom_http_accept_failures_total "));
        failures.expect("a sample").trim().parse::<u64>().expect("a number")
    };
    assert_eq!(failures().await, 0);
    let mut live = TcpStream::connect(gateway.address).await.expect("it listens");
    assert!(ask(&mut live, "/v1/items/7", r#"{"name":"x"}"#).await.starts_with("HTTP/1.1 200 "));

    let mut idle = Vec::new();
    for _ in 0..2 * DESCRIPTORS {
        idle.push(TcpStream::connect(gateway.address).await.expect("the backlog takes it"));
    }
    eventually("no descriptor is left", async || failures().await > 0).await;
    let (start, before) = (std::time::Instant::now(), failures().await);
    for _ in 0..20 {
        assert!(ask(&mut live, "/v1/items/7", r#"{"name":"x"}"#).await.starts_with("HTTP/1.1 200 "));
    }
    // Two workers try ten times a second each; without a pause, it would be a hundred thousand times.
    let tries = failures().await - before;
    assert!(tries as f64 <= 4.0 + 20.0 * start.elapsed().as_secs_f64(), "{tries}");

    drop(idle);
    for _ in 0..10 {
        assert_eq!(get(&gateway, "/v1/items/7").await.status, 200);
    }
}

/// The ways to call that a client can leave: over HTTP/1.1 the connection ends with its call, as with a WebSocket; over
/// HTTP/2 the call alone.
#[derive(Clone, Copy, Debug)]
enum Way {
    Http1(&'static str),
    Http2(&'static str),
    GraphQl,
    Events,
    WebSocket,
}

impl Way {
    const ALL: [Self; 7] = [
        Self::Http1("/v1/items/7"),
        Self::Http2("/v1/items/7"),
        Self::Http1("/v1/items/7:watch"),
        Self::Http2("/v1/items/7:watch"),
        Self::GraphQl,
        Self::Events,
        Self::WebSocket,
    ];

    /// A call of which nobody knows the end; whoever drops it leaves.
    async fn call(self, gateway: &Gateway) -> JoinHandle<()> {
        const WATCH: &str = "subscription { watch { name } }";
        let address = gateway.address;
        let post = |accept: &str, document: &str| {
            let request = door::request("POST", "/graphql").header("accept", accept);
            let request = request.header("content-type", "application/json");
            door::send(address, request, json!({ "query": document }).to_string())
        };
        match self {
            Self::Http1(target) => spawn(door::send(address, door::request("GET", target), "")),
            Self::Http2(target) => {
                let mut shared = door::connect_h2(address).await;
                spawn(async move { shared.send_request(door::empty(target)).await })
            }
            Self::GraphQl => spawn(post("application/json", "{ get { name } }")),
            Self::Events => spawn(post("text/event-stream", WATCH)),
            Self::WebSocket => {
                let mut socket = Socket::begun(gateway).await;
                socket.subscribe("1", WATCH).await;
                spawn(async move { socket.next().await })
            }
        }
    }
}

fn spawn<T: Send>(call: impl Future<Output = T> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(async move { drop(call.await) })
}

/// A client that leaves, however it called, is a call less at the backend: told, not found out by its deadline.
#[tokio::test]
async fn leaving_clients_cancel_their_calls_at_the_backend() {
    const ROUNDS: usize = 4 * Way::ALL.len();
    let (arrivals, mut arrived) = mpsc::unbounded_channel();
    let (cancellations, mut cancelled) = mpsc::unbounded_channel();
    let backend = Backend::start(serve(move |_request: Request<RecvStream>, mut respond| {
        let (arrivals, cancellations) = (arrivals.clone(), cancellations.clone());
        async move {
            let _ = arrivals.send(());
            let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            let _ = cancellations.send((Instant::now(), reason.ok()));
        }
    }))
    .await;
    let surface = "surfaces: { web: { protocols: [rest, graphql] } }";
    let gateway = Gateway::in_front_of(backend.address, "", "", surface).await;
    let mut took = Vec::new();
    for way in Way::ALL.into_iter().cycle().take(ROUNDS) {
        let call = way.call(&gateway).await;
        soon(arrived.recv()).await.expect("a call");
        let left = Instant::now();
        call.abort();
        let (told, reason) = soon(cancelled.recv()).await.expect("a reset");
        assert_eq!(reason, Some(Reason::CANCEL), "{way:?}");
        took.push(told.saturating_duration_since(left));
    }
    took.sort_unstable();
    let (median, longest) = (took[ROUNDS / 2], took[ROUNDS - 1]);
    figure(format_args!("{ROUNDS} clients left: the backend was told after {median:?}, at most {longest:?}"));
    assert!(median <= Duration::from_millis(50), "{median:?}");
}
