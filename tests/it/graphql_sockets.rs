//! GraphQL over WebSocket at the real door: the protocol's order, its close codes, its bounds; and the clients of npm.

use std::path::{Path, PathBuf};
use std::process::Command;

use ::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use futures_sink::Sink;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Sender;
use tokio_stream::StreamExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::graphql_events::{assert_slowed, feed, gateway, tick};
use crate::support::backend::{Backend, framed, messages, nothing, respond, status};
use crate::support::token::{secret, signed};
use crate::support::{Directory, Gateway, eventually, missing, require, soon};

const WATCH: &str = r#"subscription { watch(topic: "a") { topic n: number } }"#;

/// The answer to a handshake with these header lines, and the socket behind it.
async fn handshake(gateway: &Gateway, lines: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(gateway.address).await.expect("the listener accepts");
    let head = format!(
        "GET /graphql HTTP/1.1\r\nhost: {}\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n{lines}\r\n",
        gateway.address
    );
    stream.write_all(head.as_bytes()).await.expect("an open connection");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(soon(stream.read_u8()).await.expect("the end of a head"));
    }
    (String::from_utf8(answer).expect("ASCII"), stream)
}

const KEY: &str = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n";
const PROTOCOL: &str = "sec-websocket-protocol: graphql-ws, graphql-transport-ws\r\n";

/// A socket whose handshake is done.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn open(gateway: &Gateway) -> Self {
        Self::open_with(gateway, "").await
    }

    async fn open_with(gateway: &Gateway, lines: &str) -> Self {
        let (head, stream) = handshake(gateway, &format!("{KEY}{PROTOCOL}{lines}")).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let config = WebSocketConfig::default();
        Self(WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await)
    }

    /// With its connection acknowledged.
    pub(crate) async fn begun(gateway: &Gateway) -> Self {
        let mut socket = Self::open(gateway).await;
        socket.say(json!({ "type": "connection_init" })).await;
        assert_eq!(socket.next().await, json!({ "type": "connection_ack" }));
        socket
    }

    async fn send(&mut self, message: Message) {
        use std::future::poll_fn;
        use std::pin::Pin;
        soon(poll_fn(|cx| Pin::new(&mut self.0).poll_ready(cx))).await.expect("an open socket");
        Pin::new(&mut self.0).start_send(message).expect("an open socket");
        soon(poll_fn(|cx| Pin::new(&mut self.0).poll_flush(cx))).await.expect("an open socket");
    }

    async fn say(&mut self, message: Value) {
        self.send(Message::text(message.to_string())).await;
    }

    pub(crate) async fn subscribe(&mut self, id: &str, document: &str) {
        self.say(json!({ "type": "subscribe", "id": id, "payload": { "query": document } })).await;
    }

    /// The next message, pings left out.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match soon(self.0.next()).await.expect("a message").expect("an open socket") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Code and reason of the close that comes next.
    async fn closed(&mut self) -> (u16, String) {
        loop {
            match soon(self.0.next()).await.expect("a close").expect("a close") {
                Message::Close(Some(frame)) => return (frame.code.into(), frame.reason.to_string()),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn next(id: &str, number: u8) -> Value {
    let watch = json!({ "topic": "a", "n": number.to_string() });
    json!({ "id": id, "type": "next", "payload": { "data": { "watch": watch } } })
}

#[tokio::test]
async fn an_operation_has_its_results_and_its_end() {
    let backend = feed(vec![tick("a", 1), tick("a", 2)], 0).await;
    let gateway = gateway(&backend, "", "").await;
    let mut socket = Socket::begun(&gateway).await;
    socket.subscribe("1", WATCH).await;
    for expected in [next("1", 1), next("1", 2), json!({ "id": "1", "type": "complete" })] {
        assert_eq!(socket.next().await, expected);
    }
    // An id is free again once its operation has ended.
    socket.subscribe("1", r#"{ latest(topic: "a") { number } }"#).await;
    let latest = json!({ "data": { "latest": { "number": "7" } } });
    assert_eq!(socket.next().await, json!({ "id": "1", "type": "next", "payload": latest }));
    assert_eq!(socket.next().await, json!({ "id": "1", "type": "complete" }));
    socket.subscribe("2", r#"mutation { push(topic: "a") { topic } }"#).await;
    let push = json!({ "data": { "push": { "topic": "one" } } });
    assert_eq!(socket.next().await, json!({ "id": "2", "type": "next", "payload": push }));
    assert_eq!(socket.next().await, json!({ "id": "2", "type": "complete" }));
    socket.subscribe("3", "{ nothing }").await;
    let refused = socket.next().await;
    assert_eq!((&refused["id"], &refused["type"]), (&json!("3"), &json!("error")), "{refused}");
    assert_eq!(refused["payload"][0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED", "{refused}");
    socket.say(json!({ "type": "ping", "payload": {} })).await;
    assert_eq!(socket.next().await, json!({ "type": "pong" }));
    socket.say(json!({ "type": "pong" })).await;
    socket.send(Message::Close(None)).await;
    assert!(matches!(soon(socket.0.next()).await, Some(Ok(Message::Close(_))) | None));
}

#[tokio::test]
async fn a_status_is_told_before_the_end() {
    let backend = feed(vec![], 5).await;
    let gateway = gateway(&backend, "", "").await;
    let mut socket = Socket::begun(&gateway).await;
    socket.subscribe("1", WATCH).await;
    let failed = socket.next().await;
    assert_eq!(failed["type"], "next");
    assert_eq!(failed["payload"]["errors"][0]["extensions"]["code"], "NOT_FOUND", "{failed}");
    assert_eq!(socket.next().await, json!({ "id": "1", "type": "complete" }));
}

#[tokio::test]
async fn what_the_protocol_forbids_closes_the_socket() {
    let backend = feed(vec![], 0).await;
    let surface = "graphql: { limits: { document: 1KiB, variables: 0B }, \
                   subscriptions: { websocket: { init_timeout: 60s } } }";
    let gateway = gateway(&backend, surface, "").await;
    let init = json!({ "type": "connection_init" });
    let check = async |said: &[Message], code: u16, reason: &str| {
        let mut socket = Socket::open(&gateway).await;
        for message in said {
            socket.send(message.clone()).await;
        }
        loop {
            match soon(socket.0.next()).await.expect("a close").expect("a close") {
                Message::Close(Some(frame)) => {
                    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (code, reason));
                    break;
                }
                Message::Text(_) | Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
        // The close is answered, and then the gateway ends the connection.
        assert!(!matches!(soon(socket.0.next()).await, Some(Ok(_))));
    };
    let text = |value: &Value| Message::text(value.to_string());
    let subscribe = json!({ "type": "subscribe", "id": "1", "payload": { "query": WATCH } });
    let init = text(&init);
    check(&[Message::text("hello")], 4400, "Invalid message: a message must be a JSON object").await;
    check(&[Message::binary(vec![1])], 4400, "Invalid message: a message must be text").await;
    check(&[text(&subscribe)], 4401, "Unauthorized").await;
    let bad = json!({ "type": "connection_init", "payload": { "Authorization": ["a"] } });
    check(&[text(&bad)], 4403, "Forbidden: `authorization` must be a text").await;
    check(&[init.clone(), init.clone()], 4429, "Too many initialisation requests").await;
    let text = |length: usize| Message::text("x".repeat(length));
    check(&[text(17 << 10)], 4400, "Invalid message: a message must be a JSON object").await;
    // One byte past document, variables and what stands around them.
    check(&[text((17 << 10) + 1)], 1009, "the message is too large").await;
    assert_eq!(backend.calls(), 0);
}

#[tokio::test]
async fn an_id_is_that_of_one_operation_at_once() {
    let (backend, _sender) = Backend::fed().await;
    let gateway = gateway(&backend, "", "").await;
    let mut socket = Socket::begun(&gateway).await;
    socket.subscribe("a", WATCH).await;
    socket.subscribe("a", WATCH).await;
    assert_eq!(socket.closed().await, (4409, "Subscriber for a already exists".to_owned()));
}

#[tokio::test]
async fn who_does_not_begin_is_closed() {
    let backend = feed(vec![], 0).await;
    let check = async |websocket: &str, code: u16, reason: &str| {
        let surface = format!("graphql: {{ subscriptions: {{ websocket: {{ {websocket} }} }} }}");
        let gateway = gateway(&backend, &surface, "").await;
        let mut silent = Socket::open(&gateway).await;
        assert_eq!(silent.closed().await, (code, reason.to_owned()));
    };
    check("init_timeout: 50ms", 4408, "Connection initialisation timeout").await;
    check("init_timeout: 60s, idle: 200ms", 1000, "idle").await;
}

#[tokio::test]
async fn operations_and_sockets_are_bounded() {
    let backend = Backend::start(async |_| {
        // A call that nobody answers.
        std::future::pending::<()>().await;
        respond(status(0, ""), nothing())
    })
    .await;
    let surface = "graphql: { subscriptions: { websocket: { connections: 2, operations: 2 } } }";
    let gateway = gateway(&backend, surface, "").await;
    let mut first = Socket::begun(&gateway).await;
    for id in ["1", "2", "3"] {
        first.subscribe(id, WATCH).await;
    }
    let refused = first.next().await;
    assert_eq!((&refused["id"], &refused["type"]), (&json!("3"), &json!("error")), "{refused}");
    assert_eq!(refused["payload"][0]["extensions"]["reason"], "TOO_MANY_OPERATIONS", "{refused}");
    let second = Socket::begun(&gateway).await;
    let lines = format!("{KEY}{PROTOCOL}");
    let (head, _) = handshake(&gateway, &lines).await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    drop(second);
    eventually("a place is free", async || handshake(&gateway, &lines).await.0.starts_with("HTTP/1.1 101 "))
        .await;
}

/// A socket with one operation, and who feeds its backend.
async fn watching(surface: &str) -> (Gateway, Socket, Sender<Frame<Bytes>>) {
    let (backend, sender) = Backend::fed().await;
    let gateway = gateway(&backend, surface, "").await;
    let mut socket = Socket::begun(&gateway).await;
    socket.subscribe("1", WATCH).await;
    soon(sender.send(Frame::data(framed(&tick("a", 1))))).await.expect("an open stream");
    assert_eq!(socket.next().await, next("1", 1));
    (gateway, socket, sender)
}

#[tokio::test]
async fn who_leaves_cancels_the_call() {
    let (_gateway, socket, sender) = watching("").await;
    drop(socket);
    soon(sender.closed()).await;
    let (_gateway, mut socket, sender) = watching("").await;
    socket.say(json!({ "type": "complete", "id": "1" })).await;
    soon(sender.closed()).await;
    // The socket goes on, and says nothing more of that operation.
    socket.say(json!({ "type": "ping" })).await;
    assert_eq!(socket.next().await, json!({ "type": "pong" }));
}

#[tokio::test]
async fn a_slow_reader_slows_the_backend() {
    let (_gateway, socket, sender) = watching("").await;
    assert_slowed(&sender).await;
    drop(socket);
}

#[tokio::test]
async fn a_client_that_is_gone_is_noticed() {
    let (_gateway, socket, sender) = watching("graphql: { subscriptions: { keep_alive: 3s } }").await;
    // The connection stays open, and nobody answers its pings.
    soon(sender.closed()).await;
    drop(socket);
}

#[tokio::test]
async fn the_drain_says_that_it_goes_away() {
    let (gateway, mut socket, sender) = watching("").await;
    gateway.terminate();
    assert_eq!(socket.closed().await, (1001, "the gateway is going away".to_owned()));
    soon(sender.closed()).await;
    let mut gateway = gateway;
    assert_eq!(soon(gateway.exit_code()).await, Some(0));
}

#[tokio::test]
async fn a_handshake_is_judged() {
    let backend = feed(vec![], 0).await;
    let surface = "cors: { origins: [\"https://shop.test\"] }";
    let gateway = gateway(&backend, surface, "").await;
    let check = async |lines: &str, number: &str, expected: &str| {
        let (head, _stream) = handshake(&gateway, lines).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {number} ")), "{lines}: {head}");
        assert!(head.contains(expected), "{lines}: {head}");
    };
    let good = format!("{KEY}{PROTOCOL}");
    let protocol = "sec-websocket-protocol: graphql-transport-ws\r\n";
    check(&good, "101", protocol).await;
    // The example of RFC 6455, section 1.3.
    check(&good, "101", "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n").await;
    check("sec-websocket-key: short\r\nsec-websocket-version: 13\r\n", "400", "").await;
    check("sec-websocket-version: 13\r\n", "400", "").await;
    check(
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 8\r\n",
        "426",
        "sec-websocket-version: 13\r\n",
    )
    .await;
    check(&format!("{good}origin: https://shop.test\r\n"), "101", protocol).await;
    check(&format!("{good}origin: http://{}\r\n", gateway.address), "101", protocol).await;
    check(&format!("{good}origin: https://{}\r\n", gateway.address), "403", "").await;
    check(&format!("{good}origin: https://evil.test\r\n"), "403", "").await;
    check(&format!("{good}origin: null\r\n"), "403", "").await;
    check(&format!("{good}origin: https://shop.test\r\norigin: https://evil.test\r\n"), "403", "").await;
    // Another protocol is told so in the way of this one.
    let (head, stream) = handshake(&gateway, &format!("{KEY}sec-websocket-protocol: graphql-ws\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 101 ") && !head.contains("sec-websocket-protocol"), "{head}");
    let mut socket = Socket(WebSocketStream::from_raw_socket(stream, Role::Client, None).await);
    assert_eq!(socket.closed().await, (4406, "Subprotocol not acceptable".to_owned()));
}

#[tokio::test]
async fn a_credential_comes_with_the_init() {
    let directory = Directory::new("graphql-sockets-jwt");
    let secret = secret(&directory);
    let rest = format!(
        "auth: {{ corp: {{ jwt: {{ issuer: us, audiences: [web], algorithms: [HS256], secret: \"file:{}\" }} }} }}",
        secret.display()
    );
    let backend = feed(vec![tick("a", 1)], 0).await;
    let gateway = gateway(&backend, "rules: [{ match: feed.v1.Feed.*, auth: corp }]", &rest).await;
    let mut stranger = Socket::begun(&gateway).await;
    stranger.subscribe("1", WATCH).await;
    let refused = stranger.next().await;
    assert_eq!(refused["payload"]["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{refused}");
    assert_eq!(backend.calls(), 0);
    let token = signed(&json!({ "iss": "us", "aud": "web", "sub": "ann", "exp": 4_000_000_000_u64 }));
    let mut known = Socket::open(&gateway).await;
    let payload = json!({ "Authorization": format!("Bearer {token}"), "other": 1 });
    known.say(json!({ "type": "connection_init", "payload": payload })).await;
    assert_eq!(known.next().await, json!({ "type": "connection_ack" }));
    known.subscribe("1", WATCH).await;
    assert_eq!(known.next().await, next("1", 1));
    // A program may send it with the handshake.
    let mut program = Socket::open_with(&gateway, &format!("authorization: Bearer {token}\r\n")).await;
    program.say(json!({ "type": "connection_init" })).await;
    assert_eq!(program.next().await, json!({ "type": "connection_ack" }));
    program.subscribe("1", WATCH).await;
    assert_eq!(program.next().await, next("1", 1));
}

/// Where `.ci/run` installs what the tests need of npm.
fn npm() -> PathBuf {
    std::env::var_os("TRANSOM_NPM")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/npm"), PathBuf::from)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_npm_are_served() {
    let modules = npm();
    if !require("node", Command::new("node").arg("--version")) {
        return;
    }
    if !modules.join("node_modules/graphql-ws").exists() {
        missing(format_args!("no graphql-ws in {}: `.ci/run` installs it", modules.display()));
        return;
    }
    // Of the topic `none` there is nothing.
    let backend = Backend::start(async |request: ::http::Request<hyper::body::Incoming>| {
        use http_body_util::BodyExt;
        let is_stream = request.uri().path().ends_with("/Watch");
        let message = request.into_body().collect().await.expect("a whole request").to_bytes();
        if message.ends_with(b"none") {
            let mut headers = status(5, "no such topic");
            headers.insert("content-type", HeaderValue::from_static("application/grpc"));
            return respond(headers, nothing());
        }
        let ticks =
            if is_stream { vec![tick("a", 1), tick("a", 2), tick("a", 3)] } else { vec![tick("one", 7)] };
        respond(HeaderMap::new(), messages(&ticks, status(0, "")))
    })
    .await;
    let gateway = gateway(&backend, "", "").await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/graphql_clients.mjs");
    let url = format!("http://{}/graphql", gateway.address);
    let output =
        tokio::task::spawn_blocking(move || Command::new("node").arg(script).arg(&modules).arg(url).output());
    let output = output.await.expect("a thread").expect("node runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(told.lines().count(), 21, "{told}");
}
