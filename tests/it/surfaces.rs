//! Surfaces at the real door: hosts, rules, services, what is not shown.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::support::backend::{Backend, messages, respond, status};
use crate::support::{Gateway, http as client};

const SURFACES: &str = r#"
surfaces:
  web:
    hosts: [api.test, "*.web.test"]
    rules:
      - { match: door.v1.Door.Get, to: door, timeout: 200ms }
      - { match: [door.v1.Door.Delete, door.v1.Door.Create], to: other }
      - { match: door.v1.*, expose: false }
  old:
    hosts: [api.test]
    rules: [{ match: [door.v1.Door.Chat, door.v1.Door.Update], to: other }]
"#;

/// Answers with an item of this name.
async fn named(name: &'static str) -> Backend {
    Backend::start(async move |_| {
        let item = [&[0x0a, u8::try_from(name.len()).expect("short")], name.as_bytes()].concat();
        respond(HeaderMap::new(), messages(&[Bytes::from(item.clone())], status(0, "")))
    })
    .await
}

async fn gateway(door: &Backend, other: &Backend) -> Gateway {
    let (door, other) = (door.url(), other.url());
    let services = format!(
        "services:\n  door: {{ endpoints: {{ static: [{door:?}] }} }}\n  other: {{ endpoints: {{ static: [{other:?}] }} }}"
    );
    Gateway::with_file(&format!("{services}{SURFACES}")).await
}

#[tokio::test]
async fn host_and_rule_choose_the_service() {
    let (door, other) = (named("door").await, named("other").await);
    let gateway = gateway(&door, &other).await;
    let check = async |host: &str, verb: &str, path: &str, expected: &str| {
        let request = client::request(verb, path).header("host", host);
        let body = if verb == "POST" { "{}" } else { "" };
        let answer = client::send(gateway.address, request, body).await;
        let body = answer.json();
        let reason = || body["details"][0]["reason"].as_str().map(str::to_owned);
        let shown = body["name"].as_str().map(str::to_owned).or_else(reason);
        assert_eq!(shown.as_deref(), Some(expected), "{host} {verb} {path}: {body}");
    };
    check("api.test", "GET", "/v1/items/7", "door").await;
    check("API.test:80", "GET", "/v1/items/7", "door").await;
    check("a.b.web.test", "GET", "/v1/items/7", "door").await;
    check("api.test", "DELETE", "/v1/items/7", "other").await;
    // The first surface of the host does not show it, the second does.
    check("api.test", "POST", "/v1/chat", "other").await;
    check("x.web.test", "POST", "/v1/chat", "ROUTE_NOT_FOUND").await;
    check("x.web.test", "PATCH", "/v1/items/7", "METHOD_NOT_ALLOWED").await;
    check("web.test", "GET", "/v1/items/7", "HOST_NOT_SERVED").await;
    check("api.test", "GET", "/v1/nothing/here", "ROUTE_NOT_FOUND").await;
}

#[tokio::test]
async fn a_rule_shortens_the_time_of_its_service() {
    let door = Backend::start(async |_| std::future::pending().await).await;
    let other = named("other").await;
    let gateway = gateway(&door, &other).await;
    let started = std::time::Instant::now();
    let request = client::request("GET", "/v1/items/7").header("host", "api.test");
    let answer = client::send(gateway.address, request, "").await;
    assert_eq!(answer.status, 504);
    assert!(started.elapsed() < Duration::from_secs(10), "the service's own bound is 30 s");
}
