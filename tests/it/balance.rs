//! Several endpoints of one service, at the real door: how they share the calls, and what one that fails costs.
//!
//! Each backend answers with its own name, so that every reply tells where the call went.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::backend::framed;
use crate::support::raw::{Mortal, Serve, reply, serve};
use crate::support::{Gateway, eventually, figure, http as door, soon};

/// Answers every call with `Item { name }` after so long.
fn named(name: char, delay: Duration) -> Serve {
    serve(move |_request, respond| async move {
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let item = Bytes::from(vec![0x0a, 1, u8::try_from(name).expect("ASCII")]);
        reply(respond, framed(&item), &[("grpc-status", "0")]);
    })
}

async fn start(name: char) -> Mortal {
    start_at(SocketAddr::from(([127, 0, 0, 1], 0)), name).await
}

async fn start_at(address: SocketAddr, name: char) -> Mortal {
    Mortal::start(address, named(name, Duration::ZERO)).await
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("bound")
}

/// A gateway before these endpoints, with more keys of their service.
async fn before(endpoints: &[SocketAddr], service: &str) -> Gateway {
    let urls: Vec<_> = endpoints.iter().map(|address| format!("\"http://{address}\"")).collect();
    before_list(&urls.join(", "), service).await
}

async fn before_list(endpoints: &str, service: &str) -> Gateway {
    let endpoints = format!("endpoints: {{ static: [{endpoints}] }}");
    Gateway::with_file(&format!("services: {{ door: {{ {endpoints}, {service} }} }}")).await
}

/// Where calls went: the name that each reply has, or the reason of its failure.
type Tally = BTreeMap<String, usize>;

fn outcome(answer: &door::Answer) -> String {
    let json = answer.json();
    let reason = || json["details"][0]["reason"].as_str().unwrap_or("no reason").to_owned();
    json["name"].as_str().map_or_else(reason, str::to_owned)
}

/// So many calls over one connection, so many of them at once.
async fn calls(gateway: &Gateway, count: usize, at_once: usize) -> Tally {
    let sender = door::connect_h2(gateway.address).await;
    let left = Arc::new(AtomicUsize::new(count));
    let mut tasks = JoinSet::new();
    for _ in 0..at_once {
        let (mut sender, left) = (sender.clone(), left.clone());
        tasks.spawn(async move {
            let mut tally = Tally::new();
            while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                let response = soon(sender.send_request(door::empty("/v1/items/7"))).await;
                let answer = soon(door::read(response.expect("a reply"))).await;
                *tally.entry(outcome(&answer)).or_default() += 1;
            }
            tally
        });
    }
    let mut sum = Tally::new();
    while let Some(tally) = tasks.join_next().await {
        for (name, count) in tally.expect("no panic") {
            *sum.entry(name).or_default() += count;
        }
    }
    sum
}

async fn get(gateway: &Gateway, headers: &[(&str, &str)]) -> door::Answer {
    let request = door::request("GET", "/v1/items/7");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    soon(door::send(gateway.address, request, "")).await
}

#[track_caller]
fn within(tally: &Tally, expected: &[(&str, usize)], tolerance: usize) {
    let names: Vec<_> = expected.iter().map(|(name, _)| *name).collect();
    assert!(tally.keys().eq(names.iter()), "{tally:?}");
    for (name, expected) in expected {
        assert!(tally[*name].abs_diff(*expected) <= tolerance, "{name}: not {expected} in {tally:?}");
    }
}

#[tokio::test]
async fn round_robin_is_even_over_one_connection_and_over_many() {
    let (a, b, c) = (start('a').await, start('b').await, start('c').await);
    let gateway = before(&[a.address, b.address, c.address], "balance: round-robin").await;
    let even = [("a", 100), ("b", 100), ("c", 100)];
    let tally = calls(&gateway, 300, 10).await;
    figure(format_args!("300 calls over one connection: {tally:?}"));
    within(&tally, &even, 3);
    // Each connection meets one worker or the other.
    let mut tally = Tally::new();
    for _ in 0..300 {
        *tally.entry(outcome(&get(&gateway, &[]).await)).or_default() += 1;
    }
    within(&tally, &even, 3);
    let seen = &statistics(&gateway).await["endpoints"]["door"][1];
    assert_eq!((&seen["calls"], &seen["in_flight"]), (&json!(200), &json!(0)));
    assert_eq!(
        (&seen["address"], &seen["state"]),
        (&json!(format!("http://{}", b.address)), &json!("usable"))
    );
    let request = door::request("GET", "/stats").header("accept", "text/plain");
    let text = soon(door::send(gateway.admin, request, "")).await;
    assert!(text.text().lines().any(|line| line.starts_with("door ") && line.contains(" usable ")));
}

async fn statistics(gateway: &Gateway) -> serde_json::Value {
    soon(door::send(gateway.admin, door::request("GET", "/stats"), "")).await.json()
}

#[tokio::test]
async fn weights_are_kept() {
    let (a, b) = (start('a').await, start('b').await);
    let endpoints = format!(
        "{{ url: \"http://{}\", weight: 80 }}, {{ url: \"http://{}\", weight: 20 }}",
        a.address, b.address
    );
    let gateway = before_list(&endpoints, "balance: weighted").await;
    let tally = calls(&gateway, 1000, 10).await;
    figure(format_args!("1000 calls by 80 and 20: {tally:?}"));
    within(&tally, &[("a", 800), ("b", 200)], 20);
}

#[tokio::test]
async fn a_slow_endpoint_gets_few_calls() {
    let (a, b) = (start('a').await, start('b').await);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let slow = Mortal::start(any, named('s', Duration::from_millis(50))).await;
    let gateway = before(&[a.address, slow.address, b.address], "").await;
    let tally = calls(&gateway, 1000, 4).await;
    figure(format_args!("1000 calls, `s` answers in 50 ms: {tally:?}"));
    assert!(tally.get("s").copied().unwrap_or(0) < 150, "{tally:?}");
    assert_eq!(tally.values().sum::<usize>(), 1000);
    assert!(tally["a"] > 200 && tally["b"] > 200, "{tally:?}");
}

#[tokio::test]
async fn an_endpoint_that_refuses_connections_costs_no_call() {
    for balance in ["p2c-ewma", "least-requests", "round-robin", "weighted", "{ hash: { header: x-user } }"] {
        let (a, b) = (start('a').await, start('b').await);
        let gateway = before(&[a.address, nobody().await, b.address], &format!("balance: {balance}")).await;
        let tally = calls(&gateway, 300, 10).await;
        assert_eq!(tally.values().sum::<usize>(), 300, "{balance}");
        assert!(tally.keys().eq(["a", "b"]), "{balance}: {tally:?}");
    }
}

#[tokio::test]
async fn without_any_endpoint_calls_fail_fast() {
    let gateway = before(&[nobody().await, nobody().await, nobody().await], "").await;
    let tally = calls(&gateway, 300, 10).await;
    assert_eq!(tally, Tally::from([("BACKEND_UNREACHABLE".to_owned(), 300)]));
}

#[tokio::test]
async fn a_killed_endpoint_costs_only_what_was_sent_there_and_comes_back() {
    const AT_ONCE: usize = 8;
    let (a, b, c) = (start('a').await, start('b').await, start('c').await);
    let gateway = before(&[a.address, b.address, c.address], "balance: round-robin, slow_start: 0s").await;
    let gateway = Arc::new(gateway);
    let load = tokio::spawn({
        let gateway = gateway.clone();
        async move { calls(&gateway, 3000, AT_ONCE).await }
    });
    eventually("calls are answered", async || endpoint_calls(&gateway).await > 300).await;
    let address = c.kill().await;
    let tally = soon(load).await.expect("no panic");
    figure(format_args!("3000 calls, {AT_ONCE} at once, `c` killed among them: {tally:?}"));
    let failed: usize = tally.iter().filter(|(name, _)| name.len() > 1).map(|(_, count)| count).sum();
    assert!(failed <= AT_ONCE, "{tally:?}");
    assert!(tally.keys().all(|name| ["a", "b", "c", "BACKEND_CONNECTION_LOST"].contains(&name.as_str())));
    let tally = calls(&gateway, 100, AT_ONCE).await;
    within(&tally, &[("a", 50), ("b", 50)], 3);

    let _c = start_at(address, 'c').await;
    eventually("the third is back", async || outcome(&get(&gateway, &[]).await) == "c").await;
    let tally = calls(&gateway, 300, AT_ONCE).await;
    within(&tally, &[("a", 100), ("b", 100), ("c", 100)], 3);
}

#[tokio::test]
async fn other_zones_take_what_is_too_much_for_the_own() {
    for balance in ["p2c-ewma", "round-robin"] {
        let [a, b, c, d] = [start('a').await, start('b').await, start('c').await, start('d').await];
        let endpoint =
            |backend: &Mortal, zone| format!("{{ url: \"http://{}\", zone: {zone} }}", backend.address);
        let endpoints =
            [endpoint(&a, "here"), endpoint(&b, "here"), endpoint(&c, "there"), endpoint(&d, "there")];
        let gateway = Gateway::with_file(&format!(
            "zone: here\nservices: {{ door: {{ endpoints: {{ static: [{}] }}, balance: {balance}, slow_start: 0s }} }}",
            endpoints.join(", ")
        ))
        .await;
        // Which of them is for the balance to say.
        let own =
            async || calls(&gateway, 300, 10).await.keys().all(|name| ["a", "b"].contains(&name.as_str()));
        assert!(own().await);

        let address = b.kill().await;
        let listed = async |state: &str, count: usize| {
            get(&gateway, &[]).await;
            let series = format!("transom_upstream_endpoints{{service=\"door\",state=\"{state}\"}} {count}");
            metrics(&gateway).await.contains(&series)
        };
        eventually("the loss is known", async || listed("unreachable", 1).await).await;
        let tally = calls(&gateway, 2000, 10).await;
        figure(format_args!("2000 calls by {balance}, one of two endpoints of the own zone left: {tally:?}"));
        assert!(tally.keys().all(|name| ["a", "c", "d"].contains(&name.as_str())), "{tally:?}");
        assert!(tally["a"].abs_diff(2000 * 5 / 7) <= 100, "{tally:?}");

        let _b = start_at(address, 'b').await;
        eventually("it is back", async || listed("usable", 4).await).await;
        assert!(own().await);
    }
}

async fn metrics(gateway: &Gateway) -> String {
    let answer = soon(door::send(gateway.admin, door::request("GET", "/metrics"), "")).await;
    answer.text().to_owned()
}

/// Calls to endpoints so far.
async fn endpoint_calls(gateway: &Gateway) -> u64 {
    let metrics = metrics(gateway).await;
    let series = metrics.lines().filter(|line| line.starts_with("transom_upstream_endpoint_calls_total{"));
    series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

#[tokio::test]
async fn calls_of_one_key_stay_at_one_endpoint() {
    let backends = [start('a').await, start('b').await, start('c').await];
    let addresses = backends.each_ref().map(|backend| backend.address);
    let gateway = before(&addresses, "balance: { hash: { header: x-user } }").await;
    let users: Vec<_> = (0..60).map(|user| format!("user-{user}")).collect();
    let homes = async || {
        let mut homes = Vec::new();
        for user in &users {
            homes.push(outcome(&get(&gateway, &[("x-user", user)]).await));
        }
        homes
    };
    let first = homes().await;
    assert_eq!(homes().await, first);
    for name in ["a", "b", "c"] {
        assert!(first.iter().filter(|home| *home == name).count() >= 8, "{first:?}");
    }
    let [_a, b, _c] = backends;
    b.kill().await;
    eventually("the loss is known", async || {
        metrics(&gateway)
            .await
            .contains("transom_upstream_endpoints{service=\"door\",state=\"unreachable\"} 1")
            || {
                homes().await;
                false
            }
    })
    .await;
    for (before, after) in first.iter().zip(homes().await) {
        assert!(after == *before || before == "b", "{before} moved to {after}");
        assert_ne!(after, "b");
    }
}
