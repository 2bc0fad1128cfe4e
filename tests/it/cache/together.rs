//! Many clients at once: one fetch for all of them, and what becomes of them when it fails.

use http::HeaderMap;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::metrics::{scrape, value};
use crate::support::backend::{Backend, messages, nothing, respond, status};
use crate::support::http::Answer;
use crate::support::{Gateway, eventually, http as client, soon};

/// A backend that answers when the test lets it.
pub(super) struct Held {
    pub(super) backend: Backend,
    pub(super) turns: Arc<Semaphore>,
}

impl Held {
    /// Answers with a code, and this metadata where it is OK.
    pub(super) async fn start(code: u32, metadata: &'static [(&'static str, &'static str)]) -> Self {
        let turns = Arc::new(Semaphore::new(0));
        let gate = turns.clone();
        let backend = Backend::start(move |_| {
            let gate = gate.clone();
            async move {
                gate.acquire().await.expect("an open gate").forget();
                let headers: HeaderMap = metadata
                    .iter()
                    .map(|(name, value)| {
                        (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
                    })
                    .collect();
                if code == 0 {
                    respond(headers, messages(&[bytes::Bytes::from_static(&[0x10, 1])], status(0, "")))
                } else {
                    respond(status(code, "held"), nothing())
                }
            }
        });
        Self { backend: backend.await, turns }
    }

    async fn gateway(&self) -> Gateway {
        let surface = "surfaces: { web: { rules: [{ match: door.v1.Door.Get, cache: { ttl: origin } }] } }";
        Gateway::configured(&self.backend, "", "", surface).await
    }

    /// Waits until so many calls have come in all.
    pub(super) async fn called(&self, count: usize) {
        eventually("calls of the backend", async || self.backend.calls() >= count).await;
    }
}

pub(super) fn get(
    gateway: &Gateway,
    calls: &mut JoinSet<Answer>,
    count: usize,
    header: (&'static str, &'static str),
) {
    for _ in 0..count {
        let address = gateway.address;
        let request = client::request("GET", "/v1/items/7").header(header.0, header.1);
        calls.spawn(async move { soon(client::send(address, request, "")).await });
    }
}

/// Waits until so many calls are in the gateway.
pub(super) async fn inside(gateway: &Gateway, count: f64) {
    eventually("calls in the gateway", async || {
        value(&scrape(gateway).await, "transom_http_calls_open") == Some(count)
    })
    .await;
}

pub(super) const PLAIN: (&str, &str) = ("x-plain", "1");

#[tokio::test]
async fn a_hundred_cold_reads_at_once_cost_one_call() {
    let held = Held::start(0, &[("cache-control", "max-age=60")]).await;
    let gateway = held.gateway().await;
    let mut calls = JoinSet::new();
    get(&gateway, &mut calls, 100, PLAIN);
    inside(&gateway, 100.0).await;
    held.turns.add_permits(100);
    let answers = soon(calls.join_all()).await;
    let told =
        |status: &str| answers.iter().filter(|answer| answer.header("cache-status") == Some(status)).count();
    assert_eq!(told("transom; fwd=uri-miss; stored"), 1);
    assert_eq!(told("transom; fwd=uri-miss; collapsed"), 99);
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.text() == "{\"count\":1}"));
    assert_eq!(held.backend.calls(), 1);
    let tags: Vec<_> = answers.iter().map(|answer| answer.header("etag")).collect();
    assert!(tags.iter().all(|tag| tag.is_some() && *tag == tags[0]), "{tags:?}");
}

#[tokio::test]
async fn a_client_that_goes_away_hands_its_fetch_over() {
    let held = Held::start(0, &[("cache-control", "max-age=60")]).await;
    let gateway = held.gateway().await;
    let mut leader = JoinSet::new();
    get(&gateway, &mut leader, 1, PLAIN);
    held.called(1).await;
    let mut calls = JoinSet::new();
    get(&gateway, &mut calls, 20, PLAIN);
    inside(&gateway, 21.0).await;
    leader.shutdown().await;
    held.called(2).await;
    held.turns.add_permits(100);
    let answers = soon(calls.join_all()).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(held.backend.calls(), 2);
}

#[tokio::test]
async fn replies_that_are_not_kept_hold_nobody_up() {
    let held = Held::start(0, &[("cache-control", "no-store")]).await;
    let gateway = held.gateway().await;
    let mut calls = JoinSet::new();
    get(&gateway, &mut calls, 20, PLAIN);
    inside(&gateway, 20.0).await;
    held.called(1).await;
    assert_eq!(held.backend.calls(), 1);
    held.turns.add_permits(1);
    // Once the first has its reply, all others ask at the same time.
    held.called(20).await;
    held.turns.add_permits(100);
    assert!(soon(calls.join_all()).await.iter().all(|answer| answer.status == 200));
    // It is remembered: nobody waits for the first of the next ones.
    held.turns.forget_permits(1000);
    let mut calls = JoinSet::new();
    get(&gateway, &mut calls, 20, PLAIN);
    held.called(40).await;
    held.turns.add_permits(100);
    assert!(soon(calls.join_all()).await.iter().all(|answer| answer.status == 200));
    assert_eq!(held.backend.calls(), 40);
}

#[tokio::test]
async fn a_failing_backend_is_asked_three_times_for_all_who_wait() {
    let held = Held::start(14, &[]).await;
    let gateway = held.gateway().await;
    let mut calls = JoinSet::new();
    get(&gateway, &mut calls, 50, PLAIN);
    inside(&gateway, 50.0).await;
    held.turns.add_permits(100);
    let answers = soon(calls.join_all()).await;
    assert!(answers.iter().all(|answer| answer.status == 503));
    assert_eq!(held.backend.calls(), 3);
}

#[tokio::test]
async fn whoever_waits_does_so_until_its_own_deadline() {
    let held = Held::start(0, &[("cache-control", "max-age=60")]).await;
    let gateway = held.gateway().await;
    let mut leader = JoinSet::new();
    get(&gateway, &mut leader, 1, PLAIN);
    held.called(1).await;
    let mut calls = JoinSet::new();
    get(&gateway, &mut calls, 5, ("grpc-timeout", "50m"));
    for answer in soon(calls.join_all()).await {
        assert_eq!(answer.status, 504);
        assert_eq!(answer.json()["details"][0]["reason"], "CACHE_FILL_TOO_SLOW");
    }
    held.turns.add_permits(1);
    assert_eq!(soon(leader.join_all()).await[0].status, 200);
    assert_eq!(held.backend.calls(), 1);
}

#[tokio::test]
async fn requests_that_differ_in_what_the_rule_names_wait_for_none_of_the_others() {
    let held = Held::start(0, &[("cache-control", "max-age=60")]).await;
    let surface =
        "surfaces: { web: { rules: [{ match: door.v1.Door.Get, cache: { vary: [accept-language] } }] } }";
    let gateway = Gateway::configured(&held.backend, "", "", surface).await;
    let mut calls = JoinSet::new();
    get(&gateway, &mut calls, 10, ("accept-language", "de"));
    get(&gateway, &mut calls, 10, ("accept-language", "en"));
    inside(&gateway, 20.0).await;
    held.called(2).await;
    held.turns.add_permits(2);
    assert!(soon(calls.join_all()).await.iter().all(|answer| answer.status == 200));
    assert_eq!(held.backend.calls(), 2);
}

#[tokio::test]
async fn clients_in_a_hurry_say_nothing_about_the_backend() {
    let held = Held::start(0, &[("cache-control", "max-age=60")]).await;
    let gateway = held.gateway().await;
    let mut hurried = JoinSet::new();
    for timeout in ["500m", "700m", "900m"] {
        get(&gateway, &mut hurried, 1, ("grpc-timeout", timeout));
    }
    held.called(1).await;
    // Whoever has time waits behind them, and asks when it comes to its turn.
    let mut patient = JoinSet::new();
    get(&gateway, &mut patient, 10, PLAIN);
    assert!(soon(hurried.join_all()).await.iter().all(|answer| answer.status == 504));
    held.turns.add_permits(100);
    assert!(soon(patient.join_all()).await.iter().all(|answer| answer.status == 200));
}

async fn purge(gateway: &Gateway, body: &'static str) {
    let request = client::request("POST", "/cache/purge");
    assert_eq!(soon(client::send(gateway.admin, request, body)).await.status, 200);
}

#[tokio::test]
async fn a_purge_of_something_else_leaves_a_fetch_as_it_is() {
    let held = Held::start(0, &[("cache-control", "max-age=60"), ("x-cache-tags", "own")]).await;
    let gateway = held.gateway().await;
    let mut calls = JoinSet::new();
    get(&gateway, &mut calls, 100, PLAIN);
    inside(&gateway, 100.0).await;
    held.called(1).await;
    purge(&gateway, r#"{ "tags": ["other"] }"#).await;
    purge(&gateway, r#"{ "path": "/v1/items/8" }"#).await;
    held.turns.add_permits(100);
    assert!(soon(calls.join_all()).await.iter().all(|answer| answer.status == 200));
    let mut calls = JoinSet::new();
    get(&gateway, &mut calls, 1, PLAIN);
    let answers = soon(calls.join_all()).await;
    assert!(answers[0].header("cache-status").is_some_and(|status| status.starts_with("transom; hit")));
    assert_eq!(held.backend.calls(), 1);
}

#[tokio::test]
async fn what_is_purged_on_its_way_is_given_to_who_asked_before_and_to_nobody_after() {
    let held = Held::start(0, &[("cache-control", "max-age=60"), ("x-cache-tags", "own")]).await;
    let gateway = held.gateway().await;
    let mut before = JoinSet::new();
    get(&gateway, &mut before, 50, PLAIN);
    inside(&gateway, 50.0).await;
    held.called(1).await;
    purge(&gateway, r#"{ "tags": ["own"] }"#).await;
    let mut after = JoinSet::new();
    get(&gateway, &mut after, 50, PLAIN);
    inside(&gateway, 100.0).await;
    held.turns.add_permits(1);
    let answers = soon(before.join_all()).await;
    let collapsed =
        |answer: &&Answer| answer.header("cache-status") == Some("transom; fwd=uri-miss; collapsed");
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(answers.iter().filter(collapsed).count(), 49);
    // Who came later wants what the backend says now: one call for all of them.
    held.called(2).await;
    held.turns.add_permits(100);
    assert!(soon(after.join_all()).await.iter().all(|answer| answer.status == 200));
    let mut calls = JoinSet::new();
    get(&gateway, &mut calls, 1, PLAIN);
    let answers = soon(calls.join_all()).await;
    assert!(answers[0].header("cache-status").is_some_and(|status| status.starts_with("transom; hit")));
    assert_eq!(held.backend.calls(), 2);
}

#[tokio::test]
async fn what_the_backend_says_of_one_users_failure_no_other_user_reads() {
    let turns = Arc::new(Semaphore::new(0));
    let gate = turns.clone();
    // google.rpc.Status { code: 14, message: "held", details: [Any { type_url: "t/secret" }] }
    const DETAILS: &str = "CA4SBGhlbGQaCgoIdC9zZWNyZXQ";
    let backend = Backend::start(move |_| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.expect("an open gate").forget();
            let mut headers = status(14, "held for somebody");
            headers.insert("grpc-status-details-bin", http::HeaderValue::from_static(DETAILS));
            respond(headers, nothing())
        }
    })
    .await;
    let surface = "surfaces: { web: { rules: [{ match: door.v1.Door.Get, cache: { ttl: origin } }] } }";
    let gateway = Gateway::configured(&backend, "", "", surface).await;
    let mut calls = JoinSet::new();
    for user in ["Basic YTph", "Basic Yjpi", "Basic Yzpj", "Basic ZDpk", "Basic ZTpl", "Basic Zjpm"] {
        get(&gateway, &mut calls, 1, ("authorization", user));
    }
    inside(&gateway, 6.0).await;
    turns.add_permits(100);
    let answers = soon(calls.join_all()).await;
    assert_eq!(backend.calls(), 3);
    assert!(answers.iter().all(|answer| answer.status == 503));
    let told = |text: &str| answers.iter().filter(|answer| answer.text().contains(text)).count();
    assert_eq!((told("secret"), told("held for somebody")), (3, 3), "{answers:?}");
}
