//! The listener, byte by byte: bounds, smuggling shapes, HTTP/1.1 and h2c on one port, the drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use transom::server::{
    AdminConfig, Handler, HandlerWorker, LimitedBody, Operations, Peer, Running, ServerConfig, ServerLimits,
    WorkerContext, start,
};
use transom::status::Status;
use transom::telemetry::Metrics;

use crate::support::soon;

/// More than the system buffers for one connection.
pub(crate) const LARGE_BYTES: usize = 32 << 20;

/// `/hang` waits to be released, `/peer` says who calls, `/ignore` and `/large` answer without reading, anything else is read to its end.
struct Echo {
    started: mpsc::UnboundedSender<()>,
    dropped: mpsc::UnboundedSender<()>,
    release: Arc<Notify>,
}

struct EchoWorker(Arc<Echo>);

struct EchoHandler(Arc<Echo>);

type EchoBody = UnsyncBoxBody<Bytes, Status>;

impl Handler for EchoHandler {
    type Worker = EchoWorker;

    fn worker(&self, _context: &WorkerContext) -> EchoWorker {
        EchoWorker(Arc::clone(&self.0))
    }
}

struct OnDrop(mpsc::UnboundedSender<()>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// Short to wait for, long enough to send something before, on a busy machine too.
pub(crate) const BRIEF: Duration = Duration::from_millis(400);

fn full(status: u16, text: String) -> Response<EchoBody> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {});
    let mut response = Response::new(UnsyncBoxBody::new(body));
    *response.status_mut() = StatusCode::from_u16(status).expect("a number");
    response
}

impl HandlerWorker for EchoWorker {
    type Body = EchoBody;

    async fn call(&self, request: Request<LimitedBody>, peer: &Peer) -> Response<EchoBody> {
        let _on_drop = OnDrop(self.0.dropped.clone());
        match request.uri().path() {
            "/hang" => {
                let _ = self.0.started.send(());
                self.0.release.notified().await;
                full(200, "released".to_owned())
            }
            "/peer" => full(200, format!("{} {} {}", peer.scheme, peer.address, peer.listener)),
            "/ignore" => full(200, String::new()),
            "/large" => full(200, "x".repeat(LARGE_BYTES)),
            "/stream" => Response::new(UnsyncBoxBody::new(request.into_body())),
            _ => match request.into_body().collect().await {
                Ok(body) => full(200, body.to_bytes().len().to_string()),
                Err(status) => full(status.http_number(), status.message.into_owned()),
            },
        }
    }
}

pub(crate) struct Fixture {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) started: mpsc::UnboundedReceiver<()>,
    pub(crate) dropped: mpsc::UnboundedReceiver<()>,
    pub(crate) release: Arc<Notify>,
}

pub(crate) fn fixture(adjust: impl FnOnce(&mut ServerConfig)) -> Fixture {
    let mut config = ServerConfig::new("127.0.0.1:0".parse().expect("an address"));
    config.workers = 2;
    adjust(&mut config);
    let (started_tx, started) = mpsc::unbounded_channel();
    let (dropped_tx, dropped) = mpsc::unbounded_channel();
    let release = Arc::new(Notify::new());
    let echo = Echo { started: started_tx, dropped: dropped_tx, release: Arc::clone(&release) };
    let metrics = Metrics::new();
    let running =
        start(config, Arc::new(EchoHandler(Arc::new(echo))), Arc::clone(&metrics), Operations::default())
            .expect("a free port");
    Fixture { address: running.addresses[0].address, running, metrics, started, dropped, release }
}

pub(crate) fn limited(adjust: impl FnOnce(&mut ServerLimits)) -> Fixture {
    fixture(|config| adjust(&mut config.listeners[0].limits))
}

/// Waits until this many replies with this number have ended.
pub(crate) async fn replies(fixture: &Fixture, number: u16, count: u64) {
    let line = format!("transom_http_replies_total{{code=\"{number}\"}} {count}\n");
    crate::support::eventually(&line, async || fixture.metrics.render().contains(&line)).await;
}

/// Sends `request` and reads until the server closes.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    socket.write_all(request).await.expect("it reads");
    read_to_end(&mut socket).await
}

pub(crate) async fn read_to_end(socket: &mut (impl AsyncRead + Unpin)) -> String {
    let mut reply = Vec::new();
    soon(socket.read_to_end(&mut reply)).await.expect("closed, not reset");
    String::from_utf8(reply).expect("text")
}

/// Reads one reply with a `content-length`, or the head alone.
pub(crate) async fn read_reply(socket: &mut TcpStream, end: &str) -> String {
    let mut reply = String::new();
    let mut buffer = [0; 4096];
    while !reply.ends_with(end) {
        let count = soon(socket.read(&mut buffer)).await.expect("open");
        assert!(count > 0, "closed after {reply:?}");
        reply.push_str(std::str::from_utf8(&buffer[..count]).expect("text"));
    }
    reply
}

async fn h2(address: SocketAddr) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
    let socket = TcpStream::connect(address).await.expect("it listens");
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
            .await
            .expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://gateway{path}")).body(Full::default()).expect("a request")
}

#[tokio::test]
async fn both_versions_on_one_port() {
    let fixture = limited(|_| {});
    let mut socket = TcpStream::connect(fixture.address).await.expect("it listens");
    for _ in 0..3 {
        socket
            .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello")
            .await
            .expect("open");
        let reply = read_reply(&mut socket, "\r\n\r\n5").await;
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    }
    let mut sender = h2(fixture.address).await;
    for _ in 0..3 {
        let reply = soon(sender.send_request(get("/"))).await.expect("answered");
        assert_eq!(reply.status(), 200);
        assert_eq!(soon(reply.into_body().collect()).await.expect("a body").to_bytes(), "0");
    }
    soon(fixture.running.stop()).await;
    assert_eq!(fixture.metrics.sum(|worker| worker.connections.value()), 2);
    assert_eq!(fixture.metrics.sum(|worker| worker.connections_open.value()), 0);
    assert_eq!(fixture.metrics.sum(|worker| worker.calls_open.value()), 0);
    assert!(fixture.metrics.render().contains("transom_http_replies_total{code=\"200\"} 6"));
}

#[tokio::test]
async fn refused_heads_get_json_and_a_close() {
    let fixture = limited(|limits| {
        limits.url_bytes_max = 100;
        limits.header_bytes_max = 200;
        limits.header_count_max = 5;
    });
    let check = async |request: &str, number: u16, reason: &str| {
        // First alone, then behind a good request on the same connection.
        let good = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        for request in [request.to_owned(), format!("{good}{request}")] {
            let reply = exchange(fixture.address, request.as_bytes()).await;
            let refusal = reply.rsplit("HTTP/1.1 ").next().unwrap_or_default();
            assert!(refusal.starts_with(&number.to_string()), "{request:?}: {reply}");
            assert!(refusal.contains("connection: close\r\n"), "{request:?}: {reply}");
            assert!(refusal.contains("\r\nx-request-id: "), "{request:?}: {reply}");
            assert!(refusal.contains(&format!("\"reason\":\"{reason}\"")), "{request:?}: {reply}");
        }
    };
    let bad = "MALFORMED_REQUEST";
    check(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        bad,
    )
    .await;
    check("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc", 400, bad).await;
    check("GET / HTTP/1.1\nhost: a\n\n", 400, bad).await;
    check("GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n", 400, bad).await;
    check("GET / HTTP/1.1\r\nhost : a\r\n\r\n", 400, bad).await;
    check("GET / HTTP/1.1\r\n\r\n", 400, bad).await;
    check("nonsense\r\n\r\n", 400, bad).await;
    check(&format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(100 - 13)), 414, "URI_TOO_LONG").await;
    check(&format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", "a".repeat(201 - 8)), 431, "HEADERS_TOO_LARGE")
        .await;
    check(&format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(5)), 431, "HEADERS_TOO_LARGE")
        .await;
}

#[tokio::test]
async fn malformed_chunks_fail_the_call() {
    let fixture = limited(|_| {});
    for body in ["3;ext\r\nabc\r\n0\r\n\r\n", "3\nabc\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n", "g\r\n"] {
        let request = format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}");
        let reply = exchange(fixture.address, request.as_bytes()).await;
        assert!(reply.starts_with("HTTP/1.1 400 "), "{body:?}: {reply}");
    }
}

#[tokio::test]
async fn bodies_are_bounded_before_they_are_read() {
    let fixture = limited(|limits| limits.body_bytes_max = 10);
    let with_length = |length: usize| {
        let body = "x".repeat(length);
        format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    let chunked = |length: usize| {
        let body = "1\r\nx\r\n".repeat(length);
        format!(
            "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{body}0\r\n\r\n"
        )
    };
    for (request, number) in
        [(with_length(10), 200), (with_length(11), 413), (chunked(10), 200), (chunked(11), 413)]
    {
        let reply = exchange(fixture.address, request.as_bytes()).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {number} ")), "{reply}");
    }
    // The announced size alone decides: no byte of this body is ever sent.
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\n";
    assert!(exchange(fixture.address, head.as_bytes()).await.starts_with("HTTP/1.1 413 "));
    let mut sender = h2(fixture.address).await;
    for (length, number) in [(10, 200), (11, 413)] {
        let request =
            Request::post("http://gateway/").body(Full::from(vec![b'x'; length])).expect("a request");
        assert_eq!(soon(sender.send_request(request)).await.expect("answered").status(), number);
    }
}

#[tokio::test]
async fn slow_heads_and_bodies_get_408() {
    let fixture = limited(|limits| {
        limits.body_rate_window = Duration::from_secs(1);
        limits.body_rate_min = 10;
    });
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 20\r\n\r\n";
    let reply = exchange(fixture.address, format!("{head}123456789").as_bytes()).await;
    assert!(reply.starts_with("HTTP/1.1 408 "), "{reply}");
    let fixture = limited(|limits| limits.header_timeout = BRIEF);
    let reply = exchange(fixture.address, b"GET / HTTP/1.1\r\nhost:").await;
    assert!(reply.starts_with("HTTP/1.1 408 ") && reply.contains("HEAD_TIMEOUT"), "{reply}");
    // A connection that never says anything is closed without a word.
    assert_eq!(exchange(fixture.address, b"").await, "");
    // Half a preface of HTTP/2, too.
    assert_eq!(exchange(fixture.address, b"PRI * HTTP").await, "");
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let fixture = limited(|limits| limits.idle_timeout = BRIEF);
    let reply = exchange(fixture.address, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 200 ") && !reply.contains("connection: close"), "{reply}");
    let mut sender = h2(fixture.address).await;
    soon(sender.send_request(get("/"))).await.expect("answered");
    soon(async {
        while sender.ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn http2_heads_are_bounded() {
    let fixture = limited(|limits| {
        limits.url_bytes_max = 100;
        limits.header_count_max = 5;
        limits.header_bytes_max = 4096;
    });
    let mut sender = h2(fixture.address).await;
    for (path_bytes, number) in [(100, 200), (101, 414)] {
        let path = format!("/{}", "x".repeat(path_bytes - 1));
        assert_eq!(soon(sender.send_request(get(&path))).await.expect("answered").status(), number);
    }
    for (count, number) in [(5, 200), (6, 431)] {
        let mut request = get("/");
        for index in 0..count {
            let name = format!("x-{index}").parse::<http::HeaderName>().expect("a name");
            request.headers_mut().insert(name, http::HeaderValue::from_static("y"));
        }
        assert_eq!(soon(sender.send_request(request)).await.expect("answered").status(), number, "{count}");
    }
    let mut request = get("/");
    request.headers_mut().insert("x", "y".repeat(4096).parse().expect("a value"));
    assert_eq!(soon(sender.send_request(request)).await.expect("answered").status(), 431);
}

#[tokio::test]
async fn transfer_encoding_in_http2_resets_the_stream() {
    let fixture = limited(|_| {});
    let socket = TcpStream::connect(fixture.address).await.expect("it listens");
    let (mut sender, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    tokio::spawn(connection);
    for (name, value) in [("transfer-encoding", "chunked"), ("connection", "x"), ("te", "gzip")] {
        let request = Request::get("http://gateway/").header(name, value).body(()).expect("a request");
        match sender.send_request(request, true) {
            // The client library itself knows better than to send this one.
            Err(error) => assert!(error.to_string().contains("malformed headers"), "{error}"),
            Ok((response, _)) => {
                let error = soon(response).await.expect_err(name);
                assert_eq!(error.reason(), Some(h2::Reason::PROTOCOL_ERROR), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_call() {
    let mut fixture = limited(|_| {});
    let mut socket = TcpStream::connect(fixture.address).await.expect("it listens");
    socket.write_all(b"GET /hang HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("open");
    soon(fixture.started.recv()).await.expect("a call");
    drop(socket);
    soon(fixture.dropped.recv()).await.expect("dropped");

    let mut sender = h2(fixture.address).await;
    let call = tokio::spawn(async move {
        let _ = sender.send_request(get("/hang")).await;
    });
    soon(fixture.started.recv()).await.expect("a call");
    call.abort();
    soon(fixture.dropped.recv()).await.expect("dropped");
}

#[tokio::test]
async fn connections_of_one_address_are_bounded() {
    let fixture = limited(|limits| limits.connections_per_address_max = 2);
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(fixture.address).await.expect("it listens");
        socket.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("open");
        read_reply(&mut socket, "\r\n\r\n0").await;
        open.push(socket);
    }
    let mut third = TcpStream::connect(fixture.address).await.expect("it listens");
    assert_eq!(soon(third.read(&mut [0])).await.expect("closed"), 0);
    assert_eq!(fixture.metrics.sum(|worker| worker.connections_refused.value()), 1);
    // One leaves, one may come.
    drop(open.pop());
    soon(async {
        while fixture.metrics.sum(|worker| worker.connections_open.value()) > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let reply = exchange(fixture.address, b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.0 200"), "{reply}");
}

#[tokio::test]
async fn accepting_pauses_at_the_bound_of_all_connections() {
    let fixture = fixture(|config| {
        config.workers = 1;
        config.listeners[0].limits.connections_max = 1;
    });
    let mut first = TcpStream::connect(fixture.address).await.expect("it listens");
    first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("open");
    read_reply(&mut first, "\r\n\r\n0").await;
    let mut second = TcpStream::connect(fixture.address).await.expect("the backlog takes it");
    second.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("open");
    assert!(tokio::time::timeout(Duration::from_millis(50), second.read(&mut [0])).await.is_err());
    drop(first);
    assert!(read_to_end(&mut second).await.starts_with("HTTP/1.0 200"));
}

#[tokio::test]
async fn the_drain_finishes_calls_and_says_so() {
    let mut fixture = fixture(|config| {
        config.workers = 1;
        config.admin = Some(AdminConfig::new("127.0.0.1:0".parse().expect("an address")));
    });
    let admin = fixture.running.admin_address.as_ref().expect("asked for").address;
    let page = async |path: &str| {
        exchange(admin, format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes())
            .await
    };
    assert!(page("/healthz").await.starts_with("HTTP/1.1 200 "));
    assert!(page("/readyz").await.starts_with("HTTP/1.1 200 "));
    assert!(page("/metrics").await.contains("# TYPE transom_http_connections_total counter"));

    let mut h1 = TcpStream::connect(fixture.address).await.expect("it listens");
    h1.write_all(b"GET /hang HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("open");
    soon(fixture.started.recv()).await.expect("a call");
    let mut sender = h2(fixture.address).await;
    let call = tokio::spawn({
        let mut sender = sender.clone();
        async move { sender.send_request(get("/hang")).await.map(|reply| reply.status()) }
    });
    soon(fixture.started.recv()).await.expect("a call");
    let mut idle = TcpStream::connect(fixture.address).await.expect("it listens");
    // Whom nobody has accepted yet is reset when the socket goes.
    let accepted = || fixture.metrics.sum(|worker| worker.connections.value());
    crate::support::eventually("all accepted", async || accepted() == 3).await;

    fixture.running.shutdown().announce();
    assert!(page("/readyz").await.starts_with("HTTP/1.1 503 "));
    assert!(page("/healthz").await.starts_with("HTTP/1.1 200 "));
    let stopping = tokio::spawn(fixture.running.stop());
    assert_eq!(soon(idle.read(&mut [0])).await.expect("closed"), 0);
    // New calls of the old connection are refused once the GOAWAY is there.
    soon(async { while sender.ready().await.is_ok() && sender.send_request(get("/")).await.is_ok() {} })
        .await;
    assert!(TcpStream::connect(fixture.address).await.is_err());
    fixture.release.notify_waiters();
    let reply = read_to_end(&mut h1).await;
    assert!(reply.ends_with("released") && reply.contains("connection: close"), "{reply}");
    assert_eq!(soon(call).await.expect("no panic").expect("answered"), 200);
    soon(stopping).await.expect("no panic");
    assert!(TcpStream::connect(admin).await.is_err());
}

#[tokio::test]
async fn the_drain_does_not_wait_forever() {
    let mut fixture = fixture(|config| config.drain_timeout = Duration::from_millis(50));
    let mut socket = TcpStream::connect(fixture.address).await.expect("it listens");
    socket.write_all(b"GET /hang HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("open");
    soon(fixture.started.recv()).await.expect("a call");
    soon(fixture.running.stop()).await;
    soon(fixture.dropped.recv()).await.expect("dropped");
    assert_eq!(read_to_end(&mut socket).await, "");
}
