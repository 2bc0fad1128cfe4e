//! GraphQL over Server-Sent Events at the real door: subscriptions, and operations of one result.

use std::time::Duration;

use ::http::{HeaderMap, Response};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::backend::{Backend, framed, messages, nothing, respond, status};
use crate::support::token::{secret, signed};
use crate::support::{Directory, Gateway, eventually, http, soon};

/// Tick { topic = 1, number = 2 }.
pub(crate) fn tick(topic: &str, number: u8) -> Bytes {
    let mut wire = vec![0x0a, u8::try_from(topic.len()).expect("short")];
    wire.extend_from_slice(topic.as_bytes());
    wire.extend([0x10, number]);
    wire.into()
}

/// A feed that answers every call, streaming or not, with these ticks and this status.
pub(crate) async fn feed(ticks: Vec<Bytes>, code: u32) -> Backend {
    Backend::start(move |request: ::http::Request<Incoming>| {
        let is_stream = request.uri().path().ends_with("/Watch");
        let ticks = if is_stream { ticks.clone() } else { vec![tick("one", 7)] };
        let trailers = if is_stream { status(code, "over") } else { status(0, "") };
        std::future::ready(respond(HeaderMap::new(), messages(&ticks, trailers)))
    })
    .await
}

/// A gateway before a feed; `surface` and `rest` are further keys of its file.
pub(crate) async fn gateway(backend: &Backend, surface: &str, rest: &str) -> Gateway {
    let directory = Directory::new("graphql-events");
    let file = directory.path().join("transom.yaml");
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/feed.proto");
    let url = backend.url();
    let text = format!(
        "version: 1\ndescriptors: [{{ proto: {proto:?} }}]\n\
         services: {{ feed: {{ endpoints: {{ static: [{url:?}] }} }} }}\n\
         surfaces: {{ web: {{ protocols: [graphql], {surface} }} }}\n{rest}\n"
    );
    std::fs::write(&file, text).expect("a configuration file");
    Gateway::start(&["--config", file.to_str().expect("a path in UTF-8")]).await
}

const WATCH: &str = r#"subscription { watch(topic: "a") { topic n: number } }"#;

fn post() -> ::http::request::Builder {
    http::request("POST", "/graphql")
        .header("content-type", "application/json")
        .header("accept", "text/event-stream")
}

fn body(document: &str) -> String {
    json!({ "query": document }).to_string()
}

/// The events of a whole response, comments left out: name and data.
fn events(text: &str) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    for block in text.split_terminator("\n\n").filter(|block| !block.starts_with(':')) {
        let lines: Vec<_> = block.lines().collect();
        let [name, data] = lines.as_slice() else { panic!("two lines: {block:?}") };
        let name = name.strip_prefix("event: ").expect("a name");
        let data = data.strip_prefix("data:").expect("data").trim_start();
        let data = if data.is_empty() { Value::Null } else { serde_json::from_str(data).expect("JSON") };
        events.push((name.to_owned(), data));
    }
    events
}

/// The results of a document, which must end with `complete`.
async fn results(gateway: &Gateway, document: &str) -> Vec<Value> {
    let answer = http::send(gateway.address, post(), body(document)).await;
    let content_type = answer.header("content-type");
    assert_eq!((answer.status.as_u16(), content_type), (200, Some("text/event-stream")), "{document}");
    assert!(answer.is_complete, "{document}");
    let mut events = events(answer.text());
    assert_eq!(events.pop(), Some(("complete".to_owned(), Value::Null)), "{document}: {}", answer.text());
    assert!(events.iter().all(|(name, _)| name == "next"), "{document}: {}", answer.text());
    events.into_iter().map(|(_, data)| data).collect()
}

fn failed(code: &str, message: &str) -> Value {
    json!({ "errors": [{
        "message": message, "path": ["watch"], "locations": [{ "line": 1, "column": 16 }],
        "extensions": { "code": code },
    }] })
}

#[tokio::test]
async fn each_message_is_a_result() {
    let backend = feed(vec![tick("a", 1), Bytes::new()], 0).await;
    let gateway = gateway(&backend, "", "").await;
    assert_eq!(
        results(&gateway, WATCH).await,
        [
            json!({ "data": { "watch": { "topic": "a", "n": "1" } } }),
            json!({ "data": { "watch": { "topic": "", "n": "0" } } }),
        ]
    );
    let document = r#"subscription S { w: watch(topic: "a") { ...T previous { topic } __typename } }
        fragment T on Tick { level }"#;
    let expected = json!({ "level": "LEVEL_UNSPECIFIED", "previous": null, "__typename": "Tick" });
    assert_eq!(results(&gateway, document).await, vec![json!({ "data": { "w": expected } }); 2]);
}

#[tokio::test]
async fn a_value_that_cannot_be_told_is_an_error_of_its_result() {
    let odd = [tick("a", 1).as_ref(), &[0x18, 9]].concat();
    let backend = feed(vec![odd.into(), tick("b", 2)], 0).await;
    let gateway = gateway(&backend, "", "").await;
    let found = results(&gateway, r#"subscription { watch(topic: "a") { level topic } }"#).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0]["data"], json!({ "watch": null }), "{found:?}");
    assert_eq!(found[0]["errors"][0]["path"], json!(["watch", "level"]), "{found:?}");
    assert_eq!(found[1], json!({ "data": { "watch": { "level": "LEVEL_UNSPECIFIED", "topic": "b" } } }));
}

#[tokio::test]
async fn a_status_is_the_last_result() {
    let check = async |ticks: Vec<Bytes>, code: u32, expected: &[Value]| {
        let backend = feed(ticks, code).await;
        assert_eq!(results(&gateway(&backend, "", "").await, WATCH).await, expected);
    };
    check(vec![], 0, &[]).await;
    check(vec![], 5, &[failed("NOT_FOUND", "over")]).await;
    let one = json!({ "data": { "watch": { "topic": "a", "n": "1" } } });
    check(vec![tick("a", 1)], 9, &[one, failed("FAILED_PRECONDITION", "over")]).await;
    let refusing = Backend::start(async |_| respond(status(7, "no"), nothing())).await;
    assert_eq!(results(&gateway(&refusing, "", "").await, WATCH).await, [failed("PERMISSION_DENIED", "no")]);
    let broken = Backend::start(async |_| {
        respond(HeaderMap::new(), messages(&[Bytes::from_static(b"\xff")], status(0, "")))
    })
    .await;
    let found = results(&gateway(&broken, "", "").await, WATCH).await;
    assert_eq!(found[0]["data"], json!({ "watch": null }), "{found:?}");
    assert_eq!(found[0]["errors"][0]["extensions"]["code"], "INTERNAL", "{found:?}");
}

#[tokio::test]
async fn what_is_not_executed_is_told_in_the_stream() {
    let backend = feed(vec![tick("a", 1)], 0).await;
    let gateway = gateway(&backend, "graphql: { limits: { aliases: 0 } }", "").await;
    let check = async |document: &str, code: &str| {
        let found = results(&gateway, document).await;
        assert_eq!(found.len(), 1, "{document}: {found:?}");
        assert_eq!(found[0]["errors"][0]["extensions"]["code"], code, "{document}: {found:?}");
        assert!(found[0].get("data").is_none(), "{document}: {found:?}");
    };
    check("subscription {", "GRAPHQL_PARSE_FAILED").await;
    check("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED").await;
    check(r#"subscription { watch(topic: "a") { topic } b: watch(topic: "b") { topic } }"#, "ALIAS_LIMIT")
        .await;
    check(r#"subscription { watch(topic: "a") @skip(if: false) { topic } }"#, "GRAPHQL_VALIDATION_FAILED")
        .await;
    check("subscription { __typename }", "GRAPHQL_VALIDATION_FAILED").await;
    check("subscription ($t: String!) { watch(topic: $t) { topic } }", "BAD_USER_INPUT").await;
    assert_eq!(backend.calls(), 0);
}

#[tokio::test]
async fn http_refuses_what_is_no_request() {
    let backend = feed(vec![tick("a", 1)], 0).await;
    let gateway = gateway(&backend, "", "").await;
    let check = async |request: ::http::request::Builder, body: &str, number: u16, reason: &str| {
        let answer = http::send(gateway.address, request, body.to_owned()).await;
        assert_eq!(answer.status, number, "{body}: {}", answer.text());
        assert_eq!(answer.json()["errors"][0]["extensions"]["reason"], reason, "{body}");
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    };
    let get = |query: &str| {
        http::request("GET", &format!("/graphql?query={query}")).header("accept", "text/event-stream")
    };
    check(post(), "[", 400, "BAD_REQUEST").await;
    check(post(), "{}", 400, "BAD_REQUEST").await;
    check(get("%7B__typename%7D"), "", 400, "CSRF").await;
    let preflighted = |query: &str| get(query).header("x-requested-with", "test");
    check(preflighted("mutation%7Bpush(topic:%22a%22)%7Btopic%7D%7D"), "", 405, "METHOD_NOT_ALLOWED").await;
    let text = http::request("POST", "/graphql").header("accept", "text/event-stream");
    check(text.header("content-type", "text/plain"), &body(WATCH), 415, "UNSUPPORTED_MEDIA_TYPE").await;
    // Whoever reads one result has no use for a subscription.
    let json = http::request("POST", "/graphql").header("content-type", "application/json");
    check(json, &body(WATCH), 406, "NOT_ACCEPTABLE").await;
    assert_eq!(backend.calls(), 0);
    let query = "subscription%7Bwatch(topic:%22a%22)%7Btopic%7D%7D";
    let answer = http::send(gateway.address, preflighted(query), "").await;
    assert_eq!(events(answer.text())[0].1, json!({ "data": { "watch": { "topic": "a" } } }));
    let head = http::request("HEAD", &format!("/graphql?query={query}"));
    let head = head.header("accept", "text/event-stream").header("x-requested-with", "test");
    assert_eq!(http::send(gateway.address, head, "").await.status, 200);
    assert_eq!(backend.calls(), 1, "nobody reads what HEAD would have");
}

#[tokio::test]
async fn operations_of_one_result_have_one_event() {
    let backend = feed(vec![], 0).await;
    let gateway = gateway(&backend, "", "").await;
    assert_eq!(
        results(&gateway, r#"{ latest(topic: "a") { topic number } }"#).await,
        [json!({ "data": { "latest": { "topic": "one", "number": "7" } } })]
    );
    assert_eq!(
        results(&gateway, r#"mutation { push(topic: "a") { topic } }"#).await,
        [json!({ "data": { "push": { "topic": "one" } } })]
    );
}

/// A subscription whose backend is told what to send, its events as they come.
struct Watching {
    response: Response<Incoming>,
    sender: mpsc::Sender<Frame<Bytes>>,
}

impl Watching {
    async fn start(surface: &str, rest: &str, request: ::http::request::Builder) -> (Gateway, Self) {
        let (backend, sender) = Backend::fed().await;
        let gateway = gateway(&backend, surface, rest).await;
        // The head comes at once, whatever the backend does.
        let response = soon(http::open(gateway.address, request, body(WATCH))).await;
        assert_eq!(response.status(), 200);
        (gateway, Self { response, sender })
    }

    async fn send(&self, message: &[u8]) {
        soon(self.sender.send(Frame::data(framed(message)))).await.expect("the backend's stream is open");
    }

    /// What comes next, comments left out.
    async fn next(&mut self) -> String {
        loop {
            let frame =
                soon(self.response.body_mut().frame()).await.expect("an event").expect("an open body");
            let data = frame.into_data().expect("data");
            if &*data != b":\n\n" {
                return String::from_utf8(data.to_vec()).expect("UTF-8");
            }
        }
    }
}

#[tokio::test]
async fn each_result_is_sent_when_it_comes_and_leaving_cancels_the_call() {
    let (_gateway, mut watching) = Watching::start("", "", post()).await;
    for number in 1..4 {
        watching.send(&tick("a", number)).await;
        let expected = format!(r#"{{"data":{{"watch":{{"topic":"a","n":"{number}"}}}}}}"#);
        assert_eq!(watching.next().await, format!("event: next\ndata: {expected}\n\n"));
    }
    let Watching { response, sender } = watching;
    drop(response);
    soon(sender.closed()).await;
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive() {
    let surface = "graphql: { subscriptions: { keep_alive: 100ms } }";
    let (_gateway, mut watching) = Watching::start(surface, "", post()).await;
    for _ in 0..3 {
        let frame =
            soon(watching.response.body_mut().frame()).await.expect("an event").expect("an open body");
        assert_eq!(frame.into_data().expect("data"), ":\n\n");
    }
    watching.send(&tick("a", 1)).await;
    assert!(watching.next().await.starts_with("event: next\n"));
}

/// Sends to a client that reads nothing until nobody takes more, which is soon.
pub(crate) async fn assert_slowed(sender: &mpsc::Sender<Frame<Bytes>>) {
    let message = framed(&tick(&"x".repeat(100), 1));
    let mut bytes = 0;
    // Buffers and windows along the way hold some megabytes; 64 MiB would be no pacing at all.
    while bytes < 64 << 20 {
        let chunk = Bytes::from(message.repeat(128));
        let length = chunk.len();
        match tokio::time::timeout(Duration::from_millis(500), sender.send(Frame::data(chunk))).await {
            Ok(Ok(())) => bytes += length,
            _ => break,
        }
    }
    assert!(bytes < 32 << 20, "{bytes} bytes went out to a client that reads nothing");
}

#[tokio::test]
async fn a_slow_reader_slows_the_backend() {
    let (_gateway, Watching { response, sender }) = Watching::start("", "", post()).await;
    assert_slowed(&sender).await;
    drop(response);
}

#[tokio::test]
async fn the_stages_judge_who_subscribes() {
    let directory = Directory::new("graphql-events-log");
    let log = directory.path().join("access.log");
    let to = format!("file:{}", log.display());
    let backend = feed(vec![tick("a", 1)], 0).await;
    let rest = format!(
        "policies: {{ few: {{ rate: {{ by: ip, limit: 1/h, burst: 1 }} }} }}\n\
         observe: {{ access_log: {{ to: {to:?} }} }}"
    );
    let gateway = gateway(&backend, "policies: [few]", &rest).await;
    assert_eq!(results(&gateway, WATCH).await.len(), 1);
    let refused = results(&gateway, WATCH).await;
    assert_eq!(refused[0]["errors"][0]["extensions"]["code"], "RESOURCE_EXHAUSTED", "{refused:?}");
    assert_eq!(refused[0]["errors"][0]["path"], json!(["watch"]), "{refused:?}");
    assert_eq!(backend.calls(), 1);
    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.split_inclusive('\n').filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    eventually("four lines", async || lines().len() == 4).await;
    let mut told: Vec<_> =
        lines().iter().map(|line| format!("{} {}", line["method"], line["code"])).collect();
    told.sort();
    let method = "\"feed.v1.Feed.Watch\"";
    assert_eq!(
        told,
        [
            format!("{method} \"OK\""),
            format!("{method} \"RESOURCE_EXHAUSTED\""),
            "null \"OK\"".into(),
            "null \"OK\"".into()
        ]
    );
}

#[tokio::test]
async fn a_subscription_ends_with_its_credential() {
    let directory = Directory::new("graphql-events-jwt");
    let secret = secret(&directory);
    let rest = format!(
        "auth: {{ corp: {{ jwt: {{ issuer: us, audiences: [web], algorithms: [HS256], secret: \"file:{}\", \
         skew: 10m }} }} }}",
        secret.display()
    );
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let token = signed(&json!({ "iss": "us", "aud": "web", "sub": "ann", "exp": now + 2 }));
    let request = post().header("authorization", format!("Bearer {token}"));
    // The token is believed for ten minutes more, so that however late the gateway starts it lets the client in.
    let surface =
        "rules: [{ match: feed.v1.Feed.*, auth: corp }], graphql: { subscriptions: { leeway: 0s } }";
    let (_gateway, mut watching) = Watching::start(surface, &rest, request).await;
    let last = watching.next().await;
    assert!(last.contains("UNAUTHENTICATED") && last.contains("SUBSCRIPTION_EXPIRED"), "{last}");
    assert_eq!(watching.next().await, "event: complete\ndata:\n\n");
}
