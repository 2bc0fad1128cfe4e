//! Keys of the configuration that other tests set in the program itself: through the real binary each reaches
//! its place, what is at a limit passes, one more is refused.

use std::time::{Duration, Instant};

use h2::server::SendResponse;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::server::{BRIEF, exchange};
use crate::support::backend::{Backend, messages, respond, status};
use crate::support::{Directory, Gateway, http, raw, soon};

/// Far below every default, far above every time set here.
const EARLY: Duration = Duration::from_secs(8);

async fn limited(limits: &str) -> (Backend, Gateway) {
    let backend = Backend::echo().await;
    let gateway = Gateway::configured(&backend, &format!("limits: {{ {limits} }}"), "", "").await;
    (backend, gateway)
}

#[tokio::test]
async fn request_heads() {
    let (_backend, gateway) = limited("url: 256B, headers: 1KiB, header_count: 10").await;
    let check = async |line: usize, value: usize, count: usize, expected: &str| {
        let name = "x".repeat(line - "GET /v1/items/ HTTP/1.1".len());
        let more = "x: y\r\n".repeat(count - 3);
        let value = "v".repeat(value - "host: a\r\nconnection: close\r\nlong: \r\n".len() - more.len());
        let request = format!(
            "GET /v1/items/{name} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{more}long: {value}\r\n\r\n"
        );
        let reply = exchange(gateway.address, request.as_bytes()).await;
        assert_eq!(reply.get(9..12), Some(expected), "{line} {count}: {reply}");
    };
    check(256, 1024, 10, "200").await;
    check(257, 1024, 10, "414").await;
    check(256, 1025, 10, "431").await;
    check(256, 1024, 11, "431").await;
}

#[tokio::test]
async fn slow_clients() {
    let brief = format!("{}ms", BRIEF.as_millis());
    let check = async |limits: &str, request: &str, expected: &str| {
        let (_backend, gateway) = limited(limits).await;
        let started = Instant::now();
        let reply = exchange(gateway.address, request.as_bytes()).await;
        assert_eq!(reply.get(9..12), Some(expected), "{limits}: {reply}");
        assert!(started.elapsed() < EARLY, "{limits}: {:?}", started.elapsed());
    };
    check(&format!("header_timeout: {brief}"), "GET / HTTP/1.1\r\nhost:", "408").await;
    check(&format!("idle: {brief}"), "GET /v1/items/7 HTTP/1.1\r\nhost: a\r\n\r\n", "200").await;
    let stalled = "POST /v1/items HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{";
    check(&format!("body_rate_window: {brief}, body_rate: 100B/s"), stalled, "408").await;
}

#[tokio::test]
async fn connections() {
    let (_backend, gateway) = limited("connections: 1").await;
    let request = b"GET /v1/items/7 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    // One after the other, whichever thread the system gives them to.
    for _ in 0..8 {
        assert!(exchange(gateway.address, request).await.starts_with("HTTP/1.1 200 "));
    }
    let first = held(&gateway).await;
    let mut second = TcpStream::connect(gateway.address).await.expect("the system takes it");
    second.write_all(request).await.expect("open");
    assert!(tokio::time::timeout(Duration::from_millis(50), second.read(&mut [0])).await.is_err());
    drop(first);
    assert_ne!(soon(second.read(&mut [0])).await.expect("served in its turn"), 0);
}

#[tokio::test]
async fn connections_of_one_address() {
    let (_backend, gateway) = limited("connections_per_address: 2").await;
    let _open = (held(&gateway).await, held(&gateway).await);
    let mut third = TcpStream::connect(gateway.address).await.expect("the system takes it");
    assert_eq!(soon(third.read(&mut [0])).await.expect("closed"), 0);
}

/// A connection that has served a request and stays open.
async fn held(gateway: &Gateway) -> TcpStream {
    let mut socket = TcpStream::connect(gateway.address).await.expect("it listens");
    socket.write_all(b"GET /v1/items/7 HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("open");
    assert_ne!(soon(socket.read(&mut [0])).await.expect("open"), 0);
    socket
}

#[tokio::test]
async fn http2_settings() {
    let limits = "streams: 7, stream_window: 128KiB, connection_window: 512KiB, headers: 2KiB";
    let (_backend, gateway) = limited(limits).await;
    let mut socket = TcpStream::connect(gateway.address).await.expect("it listens");
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("open");
    let (mut settings, mut window) = (Vec::new(), 0);
    while settings.is_empty() || window == 0 {
        // RFC 9113, section 4.1: length, type, flags, stream.
        let mut head = [0; 9];
        soon(socket.read_exact(&mut head)).await.expect("a frame");
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        soon(socket.read_exact(&mut payload)).await.expect("its payload");
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        match (head[3], head[4]) {
            (4, 0) => {
                settings = payload.chunks(6).map(|one| (number(&one[..2]), number(&one[2..]))).collect()
            }
            (8, _) => window = 65_535 + number(&payload),
            _ => {}
        }
    }
    // RFC 9113, section 6.5.2: streams at once, window of a stream, size of a head.
    for setting in [(3, 7), (4, 128 << 10), (6, 2 << 10)] {
        assert!(settings.contains(&setting), "{setting:?} is not in {settings:?}");
    }
    assert_eq!(window, 512 << 10);
}

#[tokio::test]
async fn rapid_resets() {
    let backend = Backend::start(async |_| std::future::pending().await).await;
    let gateway = Gateway::configured(&backend, "limits: { resets: 10 }", "", "").await;
    let socket = TcpStream::connect(gateway.address).await.expect("it listens");
    let (mut sender, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    for index in 0..11 {
        sender = soon(sender.ready()).await.expect("open until the last");
        let request = ::http::Request::get("http://gateway/v1/items/7").body(()).expect("a request");
        let (response, mut body) = sender.send_request(request, true).expect("open");
        crate::support::eventually("the call is there", async || backend.calls() > index).await;
        body.send_reset(h2::Reason::CANCEL);
        drop(response);
    }
    let _ = soon(connection).await.expect("closed");
}

#[tokio::test]
async fn connections_and_queue_of_a_backend() {
    // How many calls reach a backend that allows one stream a connection, before one is refused.
    let check = async |service: &str, calls: usize, reached: usize| {
        let (arrived, mut came) = mpsc::unbounded_channel::<SendResponse<_>>();
        let mut builder = h2::server::Builder::new();
        builder.max_concurrent_streams(1);
        let backend = raw::Backend::start_with(
            builder,
            raw::serve(move |_, respond| {
                let _ = arrived.send(respond);
                std::future::pending()
            }),
        )
        .await;
        let gateway = Gateway::in_front_of(backend.address, "", service, "").await;
        // One connection, so that one worker has all the calls.
        let client = http::connect_h2(gateway.address).await;
        let mut open = tokio::task::JoinSet::new();
        let mut held = Vec::new();
        for index in 0..calls {
            let mut client = client.clone();
            open.spawn(async move { client.send_request(http::empty("/v1/items/7")).await });
            if index < reached {
                held.push(soon(came.recv()).await.expect("a call arrives"));
            }
        }
        let refused = soon(open.join_next()).await.expect("a call").expect("no panic").expect("a head");
        assert_eq!(refused.status(), 503, "{service}");
        assert!(came.try_recv().is_err(), "{service}");
        assert_eq!(open.len(), calls - 1, "{service}");
    };
    check("connections: 1, queue: 1", 3, 1).await;
    check("connections: 1, queue: 2", 4, 1).await;
    check("connections: 2, queue: 1", 4, 2).await;
}

#[tokio::test]
async fn headers_of_a_reply() {
    let backend = Backend::start(async |request: ::http::Request<_>| {
        let length = request.headers()["x-length"].to_str().expect("ASCII").parse().expect("a number");
        let mut metadata = ::http::HeaderMap::new();
        metadata.insert("x", "y".repeat(length).parse().expect("a value"));
        respond(metadata, messages(&[], status(0, "")))
    })
    .await;
    let gateway =
        Gateway::configured(&backend, "", "response_headers: 1KiB", "headers: { forward: [x-length] }").await;
    let get = async |length: usize| {
        let request = http::request("GET", "/v1/items/7:watch").header("x-length", length.to_string());
        http::send(gateway.address, request, "").await.status.as_u16()
    };
    // RFC 9113, section 6.5.2: every header counts its name, its value and 32 bytes.
    let others: usize = ["content-type", "application/grpc", ":status", "200"].iter().map(|s| s.len()).sum();
    let date = "date".len() + "Sun, 06 Nov 1994 08:49:37 GMT".len();
    let exact = 1024 - 4 * 32 - others - date - "x".len();
    assert_eq!(get(exact).await, 200);
    assert_ne!(get(exact + 1).await, 200);
}

#[tokio::test]
async fn routes_and_json() {
    let backend = Backend::echo().await;
    let directory = Directory::new("service-config");
    let rules = directory.path().join("rules.yaml");
    let rule = |path| format!("http:\n  rules:\n    - {{ selector: door.v1.Door.Plain, get: \"{path}\" }}\n");
    std::fs::write(&rules, rule("/v1/plain/{name}")).expect("a file");
    let rival = directory.path().join("rival.yaml");
    std::fs::write(&rival, rule("/v1/{name=items/*}")).expect("a file");
    let service_config = format!("routes: {{ service_config: {rules:?} }}");
    let first = format!("routes: {{ service_config: [{rival:?}], conflicts: first }}");
    let by_default = Gateway::configured(&backend, "", "", "").await;
    // The key; the request; the number without it; what the reply has in it with it.
    let cases: &[(&str, &str, &str, &str, u16, &str)] = &[
        (
            "routes: { unannotated: true }",
            "POST",
            "/door.v1.Door/Plain",
            r#"{"count":3}"#,
            404,
            r#"{"count":3}"#,
        ),
        ("routes: { unknown_query: ignore }", "GET", "/v1/items/7?nope=1", "", 400, "items/7"),
        ("routes: { ignored_query: [alt] }", "GET", "/v1/items/7?alt=1", "", 400, "items/7"),
        ("routes: { ignored_query: [alt] }", "GET", "/v1/items/7?alt=1&nope=1", "", 400, "`nope`"),
        ("routes: { on_conflict: capture }", "PUT", "/v1/items/7", r#"{"name":"items/8"}"#, 400, "items/7"),
        (
            "routes: { unbound_body: ignore }",
            "DELETE",
            "/v1/items/7",
            r#"{"count":1}"#,
            400,
            r#"{"name":"items/7"}"#,
        ),
        (&service_config, "GET", "/v1/plain/x", "", 404, r#"{"name":"x"}"#),
        (&first, "GET", "/v1/items/7", "", 200, "items/7"),
        (
            "json: { names: proto }",
            "PUT",
            "/v1/items/7?allow_missing=true",
            "{}",
            200,
            r#""allow_missing":true"#,
        ),
        ("json: { enums: number }", "GET", "/v1/items/7?color=COLOR_RED", "", 200, r#""color":1"#),
        ("json: { defaults: emit }", "GET", "/v1/items/7", "", 200, r#""done":false"#),
        ("json: { int64: number }", "GET", "/v1/items/7?size=5", "", 200, r#""size":5"#),
        ("json: { unknown_fields: ignore }", "POST", "/v1/items", r#"{"nope":1}"#, 400, "{}"),
    ];
    for (key, method, target, body, without, part) in cases {
        let send = async |gateway: &Gateway| {
            let request = http::request(method, target).header("content-type", "application/json");
            http::send(gateway.address, request, *body).await
        };
        let answer = send(&by_default).await;
        assert_eq!(answer.status.as_u16(), *without, "without {key}: {}", answer.text());
        let answer = send(&Gateway::configured(&backend, "", "", key).await).await;
        assert!(answer.text().contains(part), "{key}: {}", answer.text());
        assert!(*without != 200 || !send(&by_default).await.text().contains(part) || *key == first, "{key}");
    }
}

#[tokio::test]
async fn headers() {
    let backend = Backend::echo().await;
    let check = async |rest: &str, expected: Option<&str>| {
        let gateway = Gateway::configured(&backend, "", "", rest).await;
        let request = http::request("GET", "/v1/items/7").header("x-tenant", "a");
        let answer = http::send(gateway.address, request, "").await;
        let names = ["seen-x-tenant", "grpc-metadata-seen-x-tenant"];
        assert_eq!(names.into_iter().find(|name| answer.header(name) == Some("a")), expected, "{rest}");
    };
    check("", None).await;
    check("headers: { forward: [x-tenant] }", Some("grpc-metadata-seen-x-tenant")).await;
    check("headers: { forward: [x-tenant], back: [seen-x-tenant] }", Some("seen-x-tenant")).await;
}
