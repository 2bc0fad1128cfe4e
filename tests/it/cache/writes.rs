//! Writes at the door: what they forget, and what is on its way meanwhile.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::door::Told;
use super::together::{PLAIN, get, inside};
use crate::support::backend::{Backend, messages, respond, status};
use crate::support::http::Answer;
use crate::support::redis::Redis;
use crate::support::{Gateway, eventually, http as client, soon};

async fn ask(gateway: &Gateway, verb: &str, path: &str, body: &'static str) -> Answer {
    let request = client::request(verb, path).header("content-type", "application/json");
    soon(client::send(gateway.address, request, body)).await
}

fn is_hit(answer: &Answer) -> bool {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("cache-status").is_some_and(|status| status.starts_with("transom; hit"))
}

#[tokio::test]
async fn every_verb_that_may_change_something_forgets_the_reply_of_its_path() {
    let told = Told::start().await;
    told.says_headers(&[("cache-control", "max-age=60")]);
    let surfaces = "
surfaces:
  read: { rules: [{ match: door.v1.Door.Get, cache: { ttl: origin } }] }
  write: { rules: [{ match: [door.v1.Door.Update, door.v1.Door.Delete] }] }
  other: { hosts: [other.test], rules: [{ match: door.v1.Door.* }] }
";
    let gateway = Gateway::configured(&told.backend, "", "", surfaces).await;
    let check = async |verb: &str, body: &'static str, number: u16, is_kept: bool| {
        ask(&gateway, "GET", "/v1/items/7", "").await;
        assert!(is_hit(&ask(&gateway, "GET", "/v1/items/7", "").await), "{verb}");
        assert_eq!(ask(&gateway, verb, "/v1/items/7", body).await.status, number, "{verb}");
        assert_eq!(is_hit(&ask(&gateway, "GET", "/v1/items/7", "").await), is_kept, "{verb}");
    };
    check("PATCH", "{\"count\": 1}", 200, false).await;
    check("PUT", "{\"count\": 1}", 200, false).await;
    check("DELETE", "", 200, false).await;
    // Refused before any backend hears of it.
    check("PATCH", "{\"count\": \"many\"}", 400, true).await;
    check("POST", "{}", 405, true).await;
    // At another host it is another resource.
    let elsewhere = client::request("DELETE", "/v1/items/7").header("host", "other.test");
    assert_eq!(soon(client::send(gateway.address, elsewhere, "")).await.status, 200);
    assert!(is_hit(&ask(&gateway, "GET", "/v1/items/7", "").await));
}

/// A backend that answers reads when the test lets it, and writes at once.
async fn holding() -> (Backend, Arc<Semaphore>) {
    let turns = Arc::new(Semaphore::new(0));
    let gate = turns.clone();
    let backend = Backend::start(move |request| {
        let gate = gate.clone();
        let is_read = request.uri().path().ends_with("/Get");
        async move {
            if is_read {
                gate.acquire().await.expect("an open gate").forget();
            }
            let headers = [("cache-control", "max-age=60")];
            let headers = headers.map(|(name, value)| {
                (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
            });
            let item = bytes::Bytes::from_static(&[0x10, 1]);
            respond(headers.into_iter().collect(), messages(&[item], status(0, "")))
        }
    });
    (backend.await, turns)
}

#[tokio::test]
async fn what_was_asked_for_before_a_write_is_not_kept_after_it() {
    let (backend, turns) = holding().await;
    let surfaces = "surfaces: { web: { rules: [{ match: door.v1.Door.Get, cache: { ttl: origin } }, \
                    { match: door.v1.* }] } }";
    let gateway = Gateway::configured(&backend, "", "", surfaces).await;
    let mut before = JoinSet::new();
    get(&gateway, &mut before, 10, PLAIN);
    inside(&gateway, 10.0).await;
    eventually("a read", async || backend.calls() == 1).await;
    assert_eq!(ask(&gateway, "DELETE", "/v1/items/70", "").await.status, 200);
    assert_eq!(ask(&gateway, "DELETE", "/v1/items/7", "").await.status, 200);
    // Who reads after the write waits for nothing that was read before it.
    let mut after = JoinSet::new();
    get(&gateway, &mut after, 10, PLAIN);
    inside(&gateway, 20.0).await;
    turns.add_permits(1);
    assert!(soon(before.join_all()).await.iter().all(|answer| answer.status == 200));
    eventually("another read", async || backend.calls() == 4).await;
    turns.add_permits(100);
    let answers = soon(after.join_all()).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert!(is_hit(&ask(&gateway, "GET", "/v1/items/7", "").await));
    assert_eq!(backend.calls(), 4);
}

#[tokio::test]
async fn a_write_at_one_gateway_is_heard_of_by_all() {
    let Some(redis) = Redis::start() else { return };
    let told = Told::start().await;
    let port = redis.port;
    let sections = format!(
        "stores: {{ shared: {{ redis: \"redis://127.0.0.1:{port}\", timeout: 1s }} }}\n\
         surfaces: {{ web: {{ rules: [{{ match: door.v1.Door.Get, cache: {{ ttl: 300s, store: shared }} }}, \
         {{ match: door.v1.* }}] }} }}\n"
    );
    let one = Gateway::configured(&told.backend, "", "", &sections).await;
    let two = Gateway::configured(&told.backend, "", "", &sections).await;
    let mut next = 0;
    eventually("replies are shared", async || {
        next += 1;
        let path = format!("/v1/items/shared-{next}");
        ask(&one, "GET", &path, "").await;
        is_hit(&ask(&two, "GET", &path, "").await)
    })
    .await;
    for path in ["/v1/items/71", "/v1/items/72", "/v1/items/73"] {
        told.begin();
        assert_eq!(ask(&one, "GET", path, "").await.json()["count"], 1);
        assert_eq!(ask(&two, "GET", path, "").await.json()["count"], 1);
        assert_eq!(ask(&one, "DELETE", path, "").await.status, 200);
        // This node knows at once, neither by its memory nor by the store.
        assert!(!is_hit(&ask(&one, "GET", path, "").await), "{path}");
        let has_heard = async || ask(&two, "GET", path, "").await.json()["count"].as_u64() > Some(1);
        eventually("the other one has heard", has_heard).await;
    }
}
