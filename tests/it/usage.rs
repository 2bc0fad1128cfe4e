//! Usage at the real doors: calls in, CloudEvents out, whatever the sink and the process do in between.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::backend::{Backend, framed, messages, respond, status};
use crate::support::{Directory, Gateway, eventually, http as client};

/// An address that takes batches, and answers as each test says.
#[derive(Clone)]
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    answer: Arc<AtomicU16>,
    requests: Arc<Mutex<Vec<HeaderMap>>>,
    events: Arc<Mutex<Vec<Value>>>,
}

impl Sink {
    pub(crate) async fn start(answer: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let sink = Self {
            address: listener.local_addr().expect("a bound address"),
            answer: Arc::new(AtomicU16::new(answer)),
            requests: Arc::default(),
            events: Arc::default(),
        };
        tokio::spawn(sink.clone().accept(listener));
        sink
    }

    async fn accept(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let sink = self.clone();
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let sink = sink.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.expect("a whole body").to_bytes();
                    Ok::<_, Infallible>(sink.take(head.headers, &body))
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    }

    fn take(&self, headers: HeaderMap, body: &[u8]) -> Response<Empty<Bytes>> {
        self.requests.lock().expect("no panic").push(headers);
        let number = self.answer.load(Ordering::SeqCst);
        // A sink that answers 500 may well have taken what it was sent.
        if number == 204 || number == 500 {
            let batch: Vec<Value> = serde_json::from_slice(body).expect("an array of events");
            self.events.lock().expect("no panic").extend(batch);
        }
        Response::builder().status(number).body(Empty::new()).expect("a response")
    }

    fn answer(&self, number: u16) {
        self.answer.store(number, Ordering::SeqCst);
    }

    fn requests(&self) -> usize {
        self.requests.lock().expect("no panic").len()
    }

    /// The events by id; the same id must stand for the same event.
    pub(crate) fn events(&self) -> BTreeMap<String, Value> {
        let mut events = BTreeMap::new();
        for event in self.events.lock().expect("no panic").iter() {
            let id = event["id"].as_str().expect("an id").to_owned();
            let before = events.insert(id, event.clone());
            assert!(before.is_none_or(|before| before == *event), "{event}");
        }
        events
    }

    async fn has(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} events"), async || self.events().len() >= count).await;
        let events: Vec<_> = self.events().into_values().collect();
        assert_eq!(events.len(), count, "{events:#?}");
        events
    }

    fn usage(&self, directory: &Directory, more: &str) -> String {
        let (url, spool) = (format!("http://{}/events", self.address), directory.path().join("spool"));
        format!("observe: {{ usage: {{ http: {url:?}, spool: {spool:?}{more} }} }}")
    }
}

async fn call(gateway: &Gateway, method: &str, target: &str, body: &str) -> u16 {
    let request = client::request(method, target).header("content-type", "application/json");
    client::send(gateway.address, request, body.to_owned()).await.status.as_u16()
}

/// What an event says of a call: code, HTTP number, bytes in and out, messages.
fn told(event: &Value) -> (String, [u64; 4]) {
    let data = &event["data"];
    let number = |name: &str| data[name].as_u64().unwrap_or_else(|| panic!("{name} in {event}"));
    let method = data["method"].as_str().expect("a method").trim_start_matches("door.v1.Door.");
    let code = data["code"].as_str().expect("a code");
    (
        format!("{method} {code}"),
        [number("http"), number("bytes_in"), number("bytes_out"), number("messages")],
    )
}

#[tokio::test]
async fn events_and_statistics_have_what_calls_cost() {
    let (backend, sink, directory) = (Backend::echo().await, Sink::start(204).await, Directory::new("usage"));
    let rules = r#"
auth: { partner: { api_key: {} } }
consumers: { acme: { keys: ["sha256:dcfe8e53052cbcfd88fabf75bb28e2d1034b1eb34d7148bf68cb815c35ac9d1a"] } }
policies:
  edge: { rate: [{ by: ip, limit: 100/h, cost: 2 }, { by: method, limit: 90000/h }] }
  own: { rate: { by: consumer, limit: 5000/h } }
surfaces:
  web:
    policies: [edge]
    rules:
      - { match: door.v1.Door.Names, policies: [edge, own], auth: partner, cost: request.message.count / 10 + 1 }
      - { match: door.v1.Door.Watch, policies: [], auth: none, cost: 9 }
      - { match: door.v1.Door.*, auth: none }
"#;
    let rest = format!("{}{rules}", sink.usage(&directory, ""));
    let gateway = Gateway::configured(&backend, "", "", &rest).await;
    let get = async |target: &str, expected: u16| {
        let key = ("x-api-key", "transom_MO9z8Gqn_tDSSgV5Co7eOFX5EyKKbDztF7rdXvIVQ_011FVp");
        let request = client::request("GET", target).header(key.0, key.1);
        assert_eq!(client::send(gateway.address, request, "").await.status, expected, "{target}");
    };
    get("/v1/items/7", 200).await;
    get("/v1/names?count=60", 200).await;
    get("/v1/names", 200).await;
    // Where nothing counts a call, it is one; what goes wrong behind the limits stays paid.
    get("/v1/items/7:watch", 200).await;
    get("/v1/names?count=30&nope=1", 400).await;
    let mut costs: Vec<_> = sink
        .has(5)
        .await
        .iter()
        .map(|event| {
            let (name, _) = told(event);
            (name, event["data"]["cost"].as_u64().expect("a number"))
        })
        .collect();
    costs.sort();
    let expected =
        [("Get OK", 2), ("Names INVALID_ARGUMENT", 4), ("Names OK", 2), ("Names OK", 7), ("Watch OK", 1)];
    assert_eq!(costs, expected.map(|(name, cost)| (name.to_owned(), cost)));
    // A refused one takes nothing.
    get("/v1/names?count=99990", 400).await;
    let refused = sink.has(6).await;
    assert!(
        refused.iter().any(|event| event["data"]["http"] == 400 && event["data"]["cost"] == 0),
        "{refused:?}"
    );
    let stats = client::send(gateway.admin, client::request("GET", "/stats"), "").await.json();
    assert_eq!(stats["consumers"]["acme"]["total"]["cost"], 13, "{stats}");
}

#[tokio::test]
async fn each_call_becomes_an_event() {
    let (backend, sink, directory) = (Backend::echo().await, Sink::start(204).await, Directory::new("usage"));
    let usage = sink.usage(&directory, ", node: edge-7, source: /shop, token: env:CARGO_PKG_VERSION");
    let gateway = Gateway::configured(&backend, "", "", &usage).await;
    let item = r#"{"name":"items/7"}"#;
    assert_eq!(call(&gateway, "GET", "/v1/items/7", "").await, 200);
    assert_eq!(call(&gateway, "POST", "/v1/items", item).await, 200);
    assert_eq!(call(&gateway, "GET", "/v1/items/7:watch", "").await, 200);
    assert_eq!(call(&gateway, "GET", "/v1/items/7?nope=1", "").await, 400);
    assert_eq!(call(&gateway, "HEAD", "/v1/items/7", "").await, 200);
    // Nobody's calls: no route, no method.
    assert_eq!(call(&gateway, "GET", "/nowhere", "").await, 404);
    assert_eq!(call(&gateway, "PUT", "/v1/names", "").await, 405);
    let events = sink.has(5).await;
    let length = item.len() as u64;
    let mut calls: Vec<_> = events.iter().map(told).collect();
    let refused = calls.iter().position(|(name, _)| name == "Get INVALID_ARGUMENT").expect("the 400");
    let (_, [number, _, bytes_out, messages]) = calls.remove(refused);
    assert!((number, messages) == (400, 0) && bytes_out > 50);
    calls.sort();
    assert_eq!(
        calls,
        [
            ("Create OK".to_owned(), [200, length, length, 1]),
            ("Get OK".to_owned(), [200, 0, 0, 1]),
            ("Get OK".to_owned(), [200, 0, length, 1]),
            ("Watch OK".to_owned(), [200, 0, length + 1, 1]),
        ]
    );
    for event in &events {
        assert_eq!((&event["specversion"], &event["source"]), (&json!("1.0"), &json!("/shop")), "{event}");
        assert_eq!(event["type"], "transom.usage.call");
        assert!(event["id"].as_str().is_some_and(|id| id.starts_with("edge-7.")), "{event}");
        assert!(event["data"]["duration_us"].as_u64().is_some_and(|duration| duration > 0), "{event}");
        assert_eq!(event.get("subject"), None);
    }
    let headers = sink.requests.lock().expect("no panic").first().cloned().expect("a request");
    assert_eq!(headers["content-type"], "application/cloudevents-batch+json");
    assert_eq!(headers["authorization"], format!("Bearer {}", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn client_that_goes_away_is_an_event_too() {
    let (backend, feed) = Backend::fed().await;
    let (sink, directory) = (Sink::start(204).await, Directory::new("usage"));
    let gateway = Gateway::configured(&backend, "", "", &sink.usage(&directory, "")).await;
    let open = tokio::spawn(client::open(gateway.address, client::request("GET", "/v1/items/7:watch"), ""));
    feed.send(Frame::data(framed(b"\x0a\x01x"))).await.expect("the gateway reads");
    let response = open.await.expect("a response");
    assert_eq!(client::lines(response, 1).await, [r#"{"name":"x"}"#]);
    // The response is dropped, and with it the connection.
    let events = sink.has(1).await;
    assert_eq!(told(&events[0]), ("Watch CANCELLED".to_owned(), [499, 0, 13, 1]));
}

#[tokio::test]
async fn stream_that_fails_has_the_backends_code() {
    let backend = Backend::start(async |_| {
        respond(HeaderMap::new(), messages(&[Bytes::from_static(b"\x0a\x01x")], status(10, "no")))
    })
    .await;
    let (sink, directory) = (Sink::start(204).await, Directory::new("usage"));
    let gateway = Gateway::configured(&backend, "", "", &sink.usage(&directory, "")).await;
    let request = client::request("GET", "/v1/items/7:watch");
    assert!(!client::send(gateway.address, request, "").await.is_complete);
    let (name, [number, _, _, messages]) = told(&sink.has(1).await[0]);
    assert_eq!((name.as_str(), number, messages), ("Watch ABORTED", 200, 1));
}

#[tokio::test]
async fn sink_that_is_down_costs_no_event() {
    let (backend, directory) = (Backend::echo().await, Directory::new("usage"));
    // It takes what it is sent and says that it has failed: the next attempt brings duplicates.
    let sink = Sink::start(500).await;
    let gateway = Gateway::configured(&backend, "", "", &sink.usage(&directory, "")).await;
    for index in 0..20 {
        assert_eq!(call(&gateway, "GET", &format!("/v1/items/{index}"), "").await, 200);
    }
    eventually("the sink refuses twice", async || sink.requests() >= 2).await;
    sink.answer(204);
    sink.has(20).await;
    let metrics = client::send(gateway.admin, client::request("GET", "/metrics"), "").await;
    for sample in ["transom_usage_lost_queue_total 0", "transom_usage_lost_spool_total 0"] {
        assert!(metrics.text().contains(sample), "{}", metrics.text());
    }
    let seen = sink.events.lock().expect("no panic").len();
    assert!(seen > 20, "{seen} events came, and none of them twice");
}

#[tokio::test]
async fn killed_process_loses_nothing_that_was_on_disk() {
    let (backend, directory) = (Backend::echo().await, Directory::new("usage"));
    let sink = Sink::start(503).await;
    for mode in ["call", "rollup"] {
        let usage = sink.usage(&directory, &format!(", mode: {mode}"));
        sink.answer(503);
        let gateway = Gateway::configured(&backend, "", "", &usage).await;
        for index in 0..10 {
            assert_eq!(call(&gateway, "GET", &format!("/v1/items/{index}"), "").await, 200);
        }
        eventually("the records are on disk", async || {
            let metrics = client::send(gateway.admin, client::request("GET", "/metrics"), "").await;
            let unfinished = directory.path().join("spool/unfinished");
            let is_written = mode == "call"
                || std::fs::read_to_string(unfinished).is_ok_and(|text| text.contains("\"calls\":10"));
            metrics.text().contains("transom_usage_records_total 10\n") && is_written
        })
        .await;
        // Killed, not asked to end.
        drop(gateway);
        sink.answer(204);
        let gateway = Gateway::configured(&backend, "", "", &usage).await;
        match mode {
            "call" => assert_eq!(sink.has(10).await.len(), 10),
            _ => {
                let events = sink.has(11).await;
                let rollup = events.iter().find(|event| event["type"] == "transom.usage.rollup");
                assert_eq!(rollup.expect("a rollup")["data"]["calls"], 10);
            }
        }
        drop(gateway);
    }
}

#[tokio::test]
async fn end_writes_the_minute_that_is_not_over() {
    let (backend, sink, directory) = (Backend::echo().await, Sink::start(204).await, Directory::new("usage"));
    let usage = sink.usage(&directory, ", mode: rollup");
    let mut gateway = Gateway::configured(&backend, "", "", &usage).await;
    for target in ["/v1/items/1", "/v1/items/2", "/v1/items/3?nope=1", "/v1/items/4"] {
        call(&gateway, "GET", target, "").await;
    }
    gateway.terminate();
    assert_eq!(gateway.exit_code().await, Some(0));
    // Two, or more if a minute ended in between; never a call too many.
    let events: Vec<_> = sink.events().into_values().collect();
    let calls = |code: &str| -> u64 {
        let of_code = events.iter().filter(|event| event["data"]["code"] == code);
        of_code.map(|event| event["data"]["calls"].as_u64().expect("a number")).sum()
    };
    assert_eq!((calls("OK"), calls("INVALID_ARGUMENT")), (3, 1), "{events:#?}");
}

#[tokio::test]
async fn file_takes_events_and_may_be_moved_away() {
    let (backend, directory) = (Backend::echo().await, Directory::new("usage"));
    let file = directory.path().join("usage.ndjson");
    let usage = format!("observe: {{ usage: {{ file: {file:?} }} }}");
    let gateway = Gateway::configured(&backend, "", "", &usage).await;
    for name in ["usage.1", "usage.2"] {
        assert_eq!(call(&gateway, "GET", "/v1/items/7", "").await, 200);
        eventually("a line is written", async || {
            std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n'))
        })
        .await;
        let text = std::fs::read_to_string(&file).expect("readable");
        let event: Value = serde_json::from_str(&text).expect("one event");
        assert_eq!(event["data"]["method"], "door.v1.Door.Get");
        std::fs::rename(&file, directory.path().join(name)).expect("a rename");
    }
}

#[tokio::test]
async fn calls_are_counted_by_surface_and_method() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    for target in ["/v1/items/1", "/v1/items/2", "/v1/items/3?nope=1", "/nowhere"] {
        call(&gateway, "GET", target, "").await;
    }
    let surface = "default";
    for (code, count) in [("OK", 2), ("INVALID_ARGUMENT", 1)] {
        let sample = format!(
            "transom_calls_total{{surface=\"{surface}\",method=\"door.v1.Door.Get\",code=\"{code}\"}} {count}\n"
        );
        eventually(&sample, async || {
            let metrics = client::send(gateway.admin, client::request("GET", "/metrics"), "").await;
            metrics.text().contains(&sample)
        })
        .await;
    }
}
