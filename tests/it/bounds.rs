//! Bounds at the real door, each by its key of the configuration: what is at the limit passes, one more is refused.

use std::time::Duration;

use ::http::HeaderMap;
use hyper::body::Frame;
use serde_json::json;

use crate::support::backend::{Backend, channel, framed, respond};
use crate::support::{Gateway, http};

/// The number and the message for `POST /v1/items`.
async fn post(gateway: &Gateway, body: &str) -> (u16, String) {
    let request = http::request("POST", "/v1/items").header("content-type", "application/json");
    outcome(&http::send(gateway.address, request, body.to_owned()).await)
}

async fn get(gateway: &Gateway, target: &str) -> (u16, String) {
    outcome(&http::send(gateway.address, http::request("GET", target), "").await)
}

fn outcome(answer: &http::Answer) -> (u16, String) {
    let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
    (answer.status.as_u16(), message)
}

#[tokio::test]
async fn body_bytes() {
    let backend = Backend::echo().await;
    let gateway = Gateway::configured(&backend, "limits: { body: 16B }", "", "").await;
    assert_eq!(post(&gateway, r#"{"name":"12345"}"#).await, (200, String::new()));
    let (number, message) = post(&gateway, r#"{"name":"123456"}"#).await;
    assert_eq!((number, message.as_str()), (413, "the request body has more than 16 bytes"));
}

#[tokio::test]
async fn record_bytes() {
    let backend = Backend::echo().await;
    let gateway = Gateway::configured(&backend, "limits: { body: 16B }", "", "").await;
    let chat = async |body: &'static str| {
        let request = http::request("POST", "/v1/chat").header("content-type", "application/x-ndjson");
        http::send(gateway.address, request, body).await
    };
    // A stream has no length of its own, only its records have.
    let answer = chat("{\"name\":\"12345\"}\n{\"name\":\"12345\"}\n").await;
    assert_eq!((answer.status.as_u16(), answer.text().lines().count()), (200, 2), "{}", answer.text());
    let answer = chat("{\"name\":\"123456\"}\n").await;
    assert_eq!(outcome(&answer), (413, "a JSON record is longer than 16 bytes".to_owned()));
}

#[tokio::test]
async fn query_parameters_and_path_segments() {
    let backend = Backend::echo().await;
    let gateway =
        Gateway::configured(&backend, "limits: { query_parameters: 2, path_segments: 4 }", "", "").await;
    assert_eq!(get(&gateway, "/v1/items/7?tags=a&tags=b").await.0, 200);
    assert_eq!(get(&gateway, "/v1/items/7?tags=a&tags=b&tags=c").await.0, 400);
    assert_eq!(get(&gateway, "/v1/deep/a/b").await.0, 200);
    assert_eq!(get(&gateway, "/v1/deep/a/b/c").await.0, 400);
}

#[tokio::test]
async fn json_depth() {
    let backend = Backend::echo().await;
    let gateway = Gateway::configured(&backend, "", "", "json: { depth: 3 }").await;
    assert_eq!(post(&gateway, r#"{"parent":{"parent":{}}}"#).await.0, 200);
    let (number, message) = post(&gateway, r#"{"parent":{"parent":{"parent":{}}}}"#).await;
    assert_eq!(number, 400);
    assert!(message.contains("nested deeper than 3"), "{message}");
}

/// JSON of `depth` levels, and the levels of the message it stands for are no fewer.
fn nested(depth: usize, open: &str, core: &str, close: &str) -> String {
    format!("{}{core}{}", open.repeat(depth), close.repeat(depth))
}

#[tokio::test]
async fn what_is_deep_enough_to_enter_can_come_back() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    let any = r#"{"@type":"x/google.protobuf.Any","value":"#;
    let item = r#"{"@type":"x/door.v1.Item","any":"#;
    let cases: [(&str, &dyn Fn(usize) -> String); 7] = [
        ("messages", &|depth| nested(depth - 1, r#"{"parent":"#, "{}", "}")),
        ("repeated", &|depth| {
            format!(r#"{{"children":[{}]}}"#, nested(depth - 3, r#"{"parent":"#, "{}", "}"))
        }),
        ("maps", &|depth| {
            format!(r#"{{"itemsByName":{{"a":{}}}}}"#, nested(depth - 3, r#"{"parent":"#, "{}", "}"))
        }),
        ("Struct", &|depth| format!(r#"{{"extra":{}}}"#, nested(depth - 2, r#"{"a":"#, "{}", "}"))),
        ("Value", &|depth| format!(r#"{{"value":{}}}"#, nested(depth - 2, "[", "[]", "]"))),
        ("Any", &|depth| format!(r#"{{"any":{}}}"#, nested(depth - 2, any, "{}", "}"))),
        ("Any of messages", &|depth| format!(r#"{{"any":{}}}"#, nested(depth - 2, item, "{}", "}"))),
    ];
    for (what, body) in cases {
        for depth in [99, 100] {
            assert_eq!(post(&gateway, &body(depth)).await, (200, String::new()), "{what}: {depth}");
        }
        let (number, message) = post(&gateway, &body(101)).await;
        assert_eq!((number, message.contains("nested deeper than 100")), (400, true), "{what}: {message}");
    }
}

#[tokio::test]
async fn reply_depth() {
    let reply = async |depth: usize| {
        let mut wire = Vec::new();
        for _ in 1..depth {
            let mut outer = vec![0x52];
            let mut length = wire.len();
            while length >= 0x80 {
                outer.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
                length >>= 7;
            }
            outer.push(u8::try_from(length).expect("seven bits"));
            outer.extend_from_slice(&wire);
            wire = outer;
        }
        let wire = bytes::Bytes::from(wire);
        let backend = Backend::start(move |_| {
            let trailers = crate::support::backend::status(0, "");
            let body = crate::support::backend::messages(std::slice::from_ref(&wire), trailers);
            std::future::ready(respond(HeaderMap::new(), body))
        })
        .await;
        let gateway = Gateway::door(&backend, &[]).await;
        get(&gateway, "/v1/items/7").await
    };
    assert_eq!(reply(100).await, (200, String::new()));
    let (number, message) = reply(101).await;
    assert_eq!((number, message.contains("nested deeper than 100")), (500, true), "{message}");
}

#[tokio::test]
async fn query_depth() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    let target = |depth: usize| format!("/v1/items/7?{}count=1", "parent.".repeat(depth - 1));
    assert_eq!(get(&gateway, &target(100)).await, (200, String::new()));
    assert_eq!(get(&gateway, &target(101)).await.0, 400);
}

#[tokio::test]
async fn message_bytes() {
    let backend = Backend::echo().await;
    // `Item.name` of 1021 bytes is a message of 1024.
    let body = |length| format!(r#"{{"name":"{}"}}"#, "x".repeat(length));
    let to_backend = Gateway::configured(&backend, "", "request_message: 1KiB", "").await;
    assert_eq!(post(&to_backend, &body(1021)).await.0, 200);
    let (number, message) = post(&to_backend, &body(1022)).await;
    assert_eq!((number, message.contains("1024")), (429, true), "{message}");
    let from_backend = Gateway::configured(&backend, "", "response_message: 1KiB", "").await;
    assert_eq!(post(&from_backend, &body(1021)).await.0, 200);
    let (number, message) = post(&from_backend, &body(1022)).await;
    assert_eq!((number, message.contains("1024")), (429, true), "{message}");
}

#[tokio::test]
async fn whole_request() {
    let backend = Backend::start(async |_| std::future::pending().await).await;
    let gateway = Gateway::configured(&backend, "", "timeout: 300ms", "").await;
    let (number, message) = get(&gateway, "/v1/items/7").await;
    assert_eq!((number, message.as_str()), (504, "the backend did not answer in time"));
    let patient = http::request("GET", "/v1/items/7").header("grpc-timeout", "1H");
    let answer = http::send(gateway.address, patient, "").await;
    assert_eq!(answer.status, 504, "a client may ask for less, not for more");
}

#[tokio::test]
async fn request_that_is_never_complete() {
    let backend = Backend::echo().await;
    let gateway = Gateway::configured(&backend, "", "timeout: 50ms", "").await;
    let (sender, body) = channel();
    let request = http::request("POST", "/v1/items").header("content-type", "application/json");
    let answer = http::read(http::open_h2(gateway.address, request, body).await).await;
    assert_eq!(outcome(&answer).0, 504);
    assert_eq!(answer.json()["details"][0]["reason"], json!("REQUEST_TOO_SLOW"));
    assert_eq!(backend.calls(), 0);
    drop(sender);
}

#[tokio::test]
async fn calls_in_flight() {
    let (arrived, mut came) = tokio::sync::mpsc::unbounded_channel();
    let backend = Backend::start(move |_| {
        arrived.send(()).expect("the test waits");
        std::future::pending()
    })
    .await;
    let gateway = Gateway::configured(&backend, "limits: { calls: 2 }", "", "").await;
    let open = || tokio::spawn(http::send(gateway.address, http::request("GET", "/v1/items/7"), ""));
    let (first, second) = (open(), open());
    for _ in 0..2 {
        came.recv().await.expect("a call arrives");
    }
    let refused = http::send(gateway.address, http::request("GET", "/v1/items/7"), "").await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.json()["details"][0]["reason"], json!("OVERLOADED"));
    let metrics = http::send(gateway.admin, http::request("GET", "/metrics"), "").await.text().to_owned();
    let counted = "transom_refused_total{stage=\"in_flight\",reason=\"OVERLOADED\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    first.abort();
    crate::support::eventually("the slot of a client that left is free", async || {
        let next = tokio::spawn(http::send(gateway.address, http::request("GET", "/v1/items/7"), ""));
        let is_admitted = tokio::time::timeout(Duration::from_millis(500), came.recv()).await.is_ok();
        next.abort();
        is_admitted
    })
    .await;
    second.abort();
}

#[tokio::test]
async fn backend_that_never_begins_a_stream() {
    let backend = Backend::start(async |request| {
        let _ = http_body_util::BodyExt::collect(request.into_body()).await;
        std::future::pending().await
    })
    .await;
    let gateway = Gateway::configured(&backend, "", "stream_idle: 100ms", "").await;
    let requests = [
        (http::request("GET", "/v1/items/7:watch"), ""),
        (http::request("POST", "/v1/items/7:collect"), "{}"),
        (http::request("POST", "/v1/files/a:parts"), "a"),
    ];
    for (request, body) in requests {
        let answer = tokio::time::timeout(Duration::from_secs(5), http::send(gateway.address, request, body));
        let answer = answer.await.expect("an answer");
        assert_eq!(outcome(&answer).0, 504, "{}", answer.text());
        assert_eq!(answer.json()["details"][0]["reason"], json!("STREAM_IDLE"));
    }
}

#[tokio::test]
async fn idle_stream() {
    let (backend, sender) = Backend::fed().await;
    let gateway = Gateway::configured(&backend, "", "stream_idle: 500ms", "").await;
    let message = sender.send(Frame::data(framed(b"\x0a\x01x")));
    let call = http::send(gateway.address, http::request("GET", "/v1/items/7:watch"), "");
    let (answer, sent) = tokio::join!(call, message);
    sent.expect("the backend's stream is open");
    let lines: Vec<_> = answer.text().lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, r#"{"name":"x"}"#));
    assert!(lines[1].starts_with(r#"{"error":{"code":4,"#), "{}", lines[1]);
    assert!(!answer.is_complete);
}
