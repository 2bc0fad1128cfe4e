//! The static reply of a rule, at the real door: when it is given, how it looks, and what the file may not say.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ::http::{HeaderMap, Response};
use serde_json::json;
use tokio::net::TcpSocket;

use crate::support::backend::{Backend, Body, messages, nothing, respond, status};
use crate::support::http::Answer;
use crate::support::{Directory, Gateway, eventually, http, refusals, soon};

/// A backend that answers with this code, `x` where that is 0, and stale from the beginning.
async fn backend(code: &Arc<AtomicU32>) -> Backend {
    let code = Arc::clone(code);
    Backend::start(move |_| std::future::ready(answer(code.load(Ordering::SeqCst)))).await
}

fn answer(code: u32) -> Response<Body> {
    if code != 0 {
        return respond(status(code, "no"), nothing());
    }
    let mut head = HeaderMap::new();
    head.insert("cache-control", "max-age=1, stale-if-error=600".parse().expect("a value"));
    head.insert("age", "1".parse().expect("a value"));
    respond(head, messages(&[bytes::Bytes::from_static(b"\x0a\x01x")], status(0, "")))
}

fn rules(rules: &str) -> String {
    format!("surfaces: {{ web: {{ rules: [{rules}] }} }}")
}

async fn get(gateway: &Gateway, target: &str) -> Answer {
    soon(http::send(gateway.address, http::request("GET", target), "")).await
}

async fn has_counted(gateway: &Gateway, reason: &str, count: u32) {
    let metrics = soon(http::send(gateway.admin, http::request("GET", "/metrics"), "")).await;
    let line = format!("transom_fallbacks_total{{reason=\"{reason}\"}} {count}");
    assert!(metrics.text().lines().any(|found| found == line), "no `{line}` in:\n{}", metrics.text());
}

#[tokio::test]
async fn a_service_that_cannot_be_called_is_replaced_until_it_can() {
    let code = Arc::new(AtomicU32::new(14));
    let backend = backend(&code).await;
    let rules = rules("{ match: door.v1.Door.Get, fallback: { body: { name: none }, status: 203 } }");
    let service = "breaker: { consecutive: 2, open: 200ms..200ms }";
    let gateway = Gateway::configured(&backend, "", service, &rules).await;
    let mut reasons = Vec::new();
    eventually("the breaker refuses", async || {
        let answer = get(&gateway, "/v1/items/7").await;
        assert_eq!((answer.status.as_u16(), answer.json()), (203, json!({ "name": "none" })));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(
            (answer.header("retry-after"), answer.header("content-type")),
            (None, Some("application/json"))
        );
        reasons.extend(answer.header("transom-fallback").map(str::to_owned));
        reasons.last().is_some_and(|reason| reason == "breaker")
    })
    .await;
    assert_eq!(reasons[..2], ["unavailable", "unavailable"]);
    let answer = soon(http::send(gateway.address, http::request("HEAD", "/v1/items/7"), "")).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (203, ""));
    code.store(0, Ordering::SeqCst);
    eventually("it is called again", async || {
        let answer = get(&gateway, "/v1/items/7").await;
        answer.header("transom-fallback").is_none() && answer.json() == json!({ "name": "x" })
    })
    .await;
    // Other codes are answers.
    for (other, number) in [(5, 404), (8, 429), (4, 504), (13, 500)] {
        code.store(other, Ordering::SeqCst);
        let answer = get(&gateway, "/v1/items/7").await;
        assert_eq!((answer.status.as_u16(), answer.header("transom-fallback")), (number, None), "{other}");
        code.store(0, Ordering::SeqCst);
        get(&gateway, "/v1/items/7").await;
    }
}

#[tokio::test]
async fn nobody_mistakes_it_for_a_reply() {
    let directory = Directory::new("fallback");
    let log = directory.path().join("access.log");
    let rules = rules("{ match: door.v1.Door.Get, fallback: {} }");
    let observe = format!("observe: {{ access_log: {{ to: {:?} }} }}", format!("file:{}", log.display()));
    // A socket that has its port and does not listen: nobody else gets the port.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let address = socket.local_addr().expect("bound");
    let service = "breaker: { consecutive: 1, open: 1h..1h }";
    let gateway = Gateway::in_front_of(address, "", service, &format!("{rules}\n{observe}")).await;
    for reason in ["unavailable", "breaker"] {
        let answer = get(&gateway, "/v1/items/7").await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({})));
        assert_eq!(answer.header("transom-fallback"), Some(reason));
        has_counted(&gateway, reason, 1).await;
        let told = format!("\"fallback\":\"{reason}\"");
        eventually("it is logged", async || {
            std::fs::read_to_string(&log).is_ok_and(|lines| lines.contains(&told))
        })
        .await;
    }
    has_counted(&gateway, "no-endpoints", 0).await;
}

#[tokio::test]
async fn a_stale_reply_goes_first() {
    let code = Arc::new(AtomicU32::new(0));
    let backend = backend(&code).await;
    let rules =
        rules("{ match: door.v1.Door.Get, cache: { ttl: origin }, fallback: { body: { name: none } } }");
    let gateway =
        Gateway::configured(&backend, "", "breaker: { consecutive: 1, open: 1h..1h }", &rules).await;
    assert_eq!(get(&gateway, "/v1/items/7").await.json(), json!({ "name": "x" }));
    code.store(14, Ordering::SeqCst);
    for _ in 0..3 {
        assert!(get(&gateway, "/v1/items/8").await.header("transom-fallback").is_some());
        let kept = get(&gateway, "/v1/items/7").await;
        assert_eq!((kept.json(), kept.header("transom-fallback")), (json!({ "name": "x" }), None));
        assert!(kept.header("cache-status").is_some_and(|told| told.contains("stale-if-error")));
    }
    // And it is not kept itself.
    code.store(0, Ordering::SeqCst);
    assert_eq!(get(&gateway, "/v1/items/8").await.header("age"), None);
}

#[tokio::test]
async fn without_endpoints_it_says_so() {
    let directory = Directory::new("fallback");
    let list = directory.path().join("none.yaml");
    let gateway = Gateway::with_file(&format!(
        "services: {{ door: {{ endpoints: {{ file: {:?} }} }} }}\n{}\n",
        list.display().to_string(),
        rules("{ match: door.v1.Door.Get, fallback: {} }")
    ))
    .await;
    assert_eq!(get(&gateway, "/v1/items/7").await.header("transom-fallback"), Some("no-endpoints"));
}

#[tokio::test]
async fn it_looks_as_the_reply_of_its_method_does() {
    let code = Arc::new(AtomicU32::new(14));
    let backend = backend(&code).await;
    let rules = rules(
        "{ match: door.v1.Door.Get, fields: \"-size\", \
           fallback: { body: { name: a, size: 7, items_by_name: { k: { count: 1 } } } } }, \
         { match: door.v1.Door.Names, fallback: { body: { tags: [t], size: 9 } } }, \
         { match: door.v1.Door.Download, fallback: { body: { content_type: text/plain, data: aGk= } } }",
    );
    let rest = format!("json: {{ names: proto, int64: number }}\n{rules}");
    let gateway = Gateway::configured(&backend, "", "", &rest).await;
    let masked = json!({ "name": "a", "items_by_name": { "k": { "count": 1 } } });
    assert_eq!(get(&gateway, "/v1/items/7").await.json(), masked);
    // The `response_body` of each binding.
    assert_eq!(get(&gateway, "/v1/names").await.json(), json!(["t"]));
    assert_eq!(get(&gateway, "/v1/size").await.json(), json!(9));
    let raw = get(&gateway, "/v1/files/a").await;
    assert_eq!((raw.header("content-type"), raw.text()), (Some("text/plain"), "hi"));
}

#[tokio::test]
async fn what_does_not_fit_is_a_finding_with_its_place() {
    let check = async |fallback: &str, method: &str, expected: &str| {
        let sections = format!(
            "surfaces:\n  web:\n    rules:\n      - match: door.v1.Door.{method}\n        fallback: {fallback}\n"
        );
        let found = refusals(&sections).await;
        assert_eq!(found, [expected], "{fallback}");
    };
    let get = |column: u32, words: &str| format!("8:{column}: no reply of `door.v1.Door.Get`: {words}");
    check("{ body: { nmae: a } }", "Get", &get(29, "`nmae`: `door.v1.Item` has no such field")).await;
    let count = "`parent.count`: expected an integer";
    check("{ body: { parent: { count: many } } }", "Get", &get(39, count)).await;
    let done = "`children[1].done`: expected `true` or `false`";
    check("{ body: { children: [{}, { done: 1 }] } }", "Get", &get(46, done)).await;
    let update = "8:29: no reply of `door.v1.Door.Update`: `name`: `door.v1.UpdateRequest` has no such field";
    check("{ body: { name: a } }", "Update", update).await;
    let watch = "8:19: `door.v1.Door.Watch` is a stream: there is no one reply in the place of it";
    check("{}", "Watch", watch).await;
    let fields = "8:27: expected the fields of the reply, such as `{ name: shelves/1 }`, found `1`";
    check("{ body: 1 }", "Get", fields).await;
    check("{ status: 204 }", "Get", "8:29: a reply with this number has no body").await;
    check("{ status: 300 }", "Get", "8:29: 300 is not between 200 and 299").await;
}
