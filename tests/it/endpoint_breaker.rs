//! The breaker of each endpoint, at the real door: one that fails is left alone and tried by a single call, and where
//! all of them fail nobody is called.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

use crate::outlier::{Endpoint, HANGS, before, calls, get, in_front_of, states};
use crate::reload::Reloading;
use crate::support::backend::{Backend, messages, nothing, respond, status};
use crate::support::{Gateway, eventually, figure, http as door, soon};

async fn page(gateway: &Gateway, path: &str) -> String {
    soon(door::send(gateway.admin, door::request("GET", path), "")).await.text().to_owned()
}

async fn sample(gateway: &Gateway, series: &str) -> u64 {
    let metrics = page(gateway, "/metrics").await;
    let found = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no `{series}` in:\n{metrics}"))
}

async fn openings(gateway: &Gateway, reason: &str) -> u64 {
    let series = format!("transom_endpoint_breaker_openings_total{{service=\"door\",reason=\"{reason}\"}}");
    sample(gateway, &series).await
}

async fn state(gateway: &Gateway, endpoint: &Endpoint) -> u64 {
    let endpoint = endpoint.backend.address;
    let series = format!("transom_endpoint_breaker_state{{service=\"door\",endpoint=\"http://{endpoint}\"}}");
    sample(gateway, &series).await
}

/// Sends one call; the seconds of `retry-after` where all breakers refuse it.
async fn refused(gateway: &Gateway) -> Option<u64> {
    let answer = soon(door::send(gateway.address, door::request("GET", "/v1/items/7"), "")).await;
    let is_open = answer.status == 503 && answer.json()["details"][0]["reason"] == "BREAKER_OPEN";
    is_open.then(|| answer.header("retry-after").and_then(|seconds| seconds.parse().ok()).expect("seconds"))
}

#[tokio::test]
async fn the_breaker_of_the_one_that_fails_opens_and_no_client_notices_after_that() {
    for status in [2, 13, 14, 15] {
        let (gateway, [a, b, c]) = before([0, status, 0], "endpoint_breaker: { open: 1h..1h }").await;
        let tally = calls(&gateway, 300).await;
        figure(format_args!("300 calls, one of three answers {status}: {tally:?}"));
        assert_eq!((b.calls(), a.calls() + c.calls()), (5, 295), "{tally:?}");
        assert_eq!(tally["a"] + tally["c"], 295);
        assert_eq!(states(&gateway).await, ["usable", "open", "usable"]);
        assert_eq!([state(&gateway, &a).await, state(&gateway, &b).await], [0, 2]);
        assert_eq!(openings(&gateway, "consecutive").await, 1);
        let stats: serde_json::Value = serde_json::from_str(&page(&gateway, "/stats").await).expect("JSON");
        assert_eq!(stats["endpoints"]["door"][1]["breaker"]["reason"], "5 failures in a row", "{stats}");
    }
}

#[tokio::test]
async fn half_open_lets_one_of_fifty_through_and_the_others_go_elsewhere() {
    let service = "timeout: 1h\n    endpoint_breaker: { consecutive: 3, open: 200ms..200ms }";
    let (gateway, [a, b, c]) = before([0, 14, 0], service).await;
    eventually("it opens", async || {
        get(&gateway).await;
        openings(&gateway, "consecutive").await == 1
    })
    .await;
    b.status.store(HANGS, Ordering::SeqCst);
    let failed = b.calls();
    let probe = tokio::spawn({
        let address = gateway.address;
        async move {
            loop {
                door::send(address, door::request("GET", "/v1/items/7"), "").await;
            }
        }
    });
    eventually("the probe is out", async || b.calls() > failed).await;
    let (before_a, before_c) = (a.calls(), c.calls());
    let mut others = JoinSet::new();
    for _ in 0..50 {
        others.spawn(door::send(gateway.address, door::request("GET", "/v1/items/7"), ""));
    }
    while let Some(answer) = soon(others.join_next()).await {
        assert_eq!(answer.expect("no panic").status, 200);
    }
    assert_eq!(b.calls() - failed, 1, "one probe, however many come");
    assert_eq!(a.calls() - before_a + c.calls() - before_c, 50);
    assert_eq!(state(&gateway, &b).await, 1);
    assert_eq!(states(&gateway).await, ["usable", "open", "usable"]);

    // A probe whose client leaves is no verdict: another call is the probe.
    b.status.store(0, Ordering::SeqCst);
    probe.abort();
    eventually("it answers again", async || get(&gateway).await == "b").await;
    eventually("it is closed", async || state(&gateway, &b).await == 0).await;
    assert_eq!(states(&gateway).await, ["usable"; 3]);
    assert_eq!(calls(&gateway, 30).await["b"], 10);
}

#[tokio::test]
async fn a_retry_makes_up_for_the_failures_and_for_the_probes() {
    let retry = "retry: { on: unavailable, attempts: 2, budget: 100%, backoff: 1ms }";
    let service = format!("endpoint_breaker: {{ consecutive: 2, open: 100ms..100ms }}\n    {retry}");
    let (gateway, [_a, b, _c]) = before([0, 14, 0], &service).await;
    let mut served = 0;
    eventually("three probes have failed", async || {
        served += calls(&gateway, 10).await.iter().filter(|(name, _)| *name != "503").count();
        openings(&gateway, "probe").await >= 3
    })
    .await;
    let tally = calls(&gateway, 100).await;
    figure(format_args!("100 calls while probes fail: {tally:?}"));
    assert_eq!(tally.get("503"), None);
    let seen = b.seen.lock().expect("no panic");
    let ids: BTreeSet<_> = seen.iter().map(HeaderValue::as_bytes).collect();
    assert_eq!(ids.len(), seen.len(), "a call came twice");
}

#[tokio::test]
async fn the_only_endpoint_is_refused_with_the_time_to_come_again() {
    let (gateway, [a]) = before([14], "endpoint_breaker: { consecutive: 2, open: 1h..1h }").await;
    assert_eq!(calls(&gateway, 2).await["503"], 2);
    let seconds = refused(&gateway).await.expect("refused");
    assert!((3000..=3600).contains(&seconds), "{seconds}");
    for _ in 0..20 {
        assert!(refused(&gateway).await.is_some());
    }
    assert_eq!(a.calls(), 2);
    assert_eq!(sample(&gateway, "transom_breaker_refused_total{service=\"door\"}").await, 21);
    let metrics = page(&gateway, "/metrics").await;
    assert!(
        metrics.contains("transom_refused_total{stage=\"breaker\",reason=\"BREAKER_OPEN\"} 21"),
        "{metrics}"
    );
}

#[tokio::test]
async fn where_all_are_open_nobody_is_called() {
    let service = "endpoint_breaker: { consecutive: 2, open: 1h..1h }\n    outlier: { consecutive: 2 }";
    let (gateway, endpoints) = before([14, 13, 15], service).await;
    // Ejection spares the last two of three, as panic would call all of them; breakers do neither.
    eventually("all are open", async || refused(&gateway).await.is_some()).await;
    let tally = calls(&gateway, 50).await;
    assert_eq!(tally["503"], 50);
    assert_eq!(endpoints.each_ref().map(Endpoint::calls), [2; 3]);
    assert_eq!(states(&gateway).await, ["open"; 3]);
    assert_eq!(openings(&gateway, "consecutive").await, 3);
}

#[tokio::test]
async fn what_is_the_clients_affair_opens_nothing() {
    // NOT_FOUND, RESOURCE_EXHAUSTED, UNIMPLEMENTED.
    for status in [5, 8, 12] {
        let (gateway, [_a, b]) = before([0, status], "endpoint_breaker: { consecutive: 1 }").await;
        calls(&gateway, 40).await;
        assert_eq!((b.calls(), state(&gateway, &b).await), (20, 0), "{status}");
    }
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_fails_its_calls_and_comes_back() {
    // A socket that has its port and does not listen: nobody else gets the port.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let address = socket.local_addr().expect("bound");
    let service = "endpoint_breaker: { consecutive: 3, open: 200ms..400ms }";
    let gateway = in_front_of(&[address], service).await;
    eventually("it opens", async || refused(&gateway).await.is_some()).await;
    assert_eq!(openings(&gateway, "consecutive").await, 1);
    let back = Endpoint::on(socket.listen(64).expect("its port"), 'a', 0);
    eventually("it answers", async || get(&gateway).await == "a").await;
    assert_eq!((states(&gateway).await, state(&gateway, &back).await), (vec!["usable".to_owned()], 0));
}

#[tokio::test]
async fn a_reload_that_changes_nothing_of_the_service_forgets_nothing() {
    let backend = Backend::start(|_| std::future::ready(respond(status(14, "no"), nothing()))).await;
    let sections = |more: &str| {
        let url = backend.url();
        let breaker = "endpoint_breaker: { consecutive: 2, open: 1h..1h }";
        format!("services: {{ door: {{ endpoints: {{ static: [{url:?}] }}, {breaker} }} }}\n{more}")
    };
    let reloading = Reloading::start(&backend, &sections("surfaces: { web: {} }")).await;
    eventually("it opens", async || refused(&reloading.gateway).await.is_some()).await;
    reloading.apply(&sections("surfaces: { web: { rules: [{ match: \"door.v1.Door.*\" }] } }")).await;
    assert!(refused(&reloading.gateway).await.is_some());
    assert_eq!(backend.calls(), 2);
}

#[tokio::test]
async fn the_endpoints_of_before_a_reload_shut_nobody_out_of_those_in_their_place() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let old = Endpoint::on(listener, 'o', 14);
    let item = || messages(&[Bytes::from_static(b"\x0a\x01n")], status(0, ""));
    let new = Backend::start(move |_| std::future::ready(respond(HeaderMap::new(), item()))).await;
    let sections = |address: SocketAddr| {
        let breaker = "endpoint_breaker: { consecutive: 2, open: 1s..1h }, timeout: 1h";
        format!("services: {{ door: {{ endpoints: {{ static: [\"http://{address}\"] }}, {breaker} }} }}\n")
    };
    let reloading = Reloading::start(&new, &sections(old.backend.address)).await;
    let gateway = &reloading.gateway;
    assert_eq!(calls(gateway, 2).await["503"], 2);
    assert!(refused(gateway).await.is_some());
    old.status.store(HANGS, Ordering::SeqCst);
    let probe = tokio::spawn({
        let address = gateway.address;
        async move {
            loop {
                let answer = door::send(address, door::request("GET", "/v1/items/7"), "").await;
                let reason = answer.json()["details"][0]["reason"].clone();
                if reason != "BREAKER_OPEN" {
                    return reason;
                }
            }
        }
    });
    eventually("the probe is out", async || old.calls() > 2).await;
    reloading.apply(&sections(new.address)).await;
    assert_eq!(get(gateway).await, "n");
    old.backend.kill().await;
    assert_eq!(soon(probe).await.expect("no panic"), "BACKEND_CONNECTION_LOST");
    assert_eq!(get(gateway).await, "n");
}
