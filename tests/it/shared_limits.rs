//! Limits over Redis at the real doors of several gateways: exact, cheap, and no outage when the store is one.

use std::time::{Duration, Instant};

use crate::limits::{KEYS, at_once, gateway, get, sample, verdict};
use crate::support::backend::Backend;
use crate::support::http as client;
use crate::support::redis::Redis;
use crate::support::{Gateway, eventually, figure, soon};

/// A gateway whose limits are in `redis`, with these keys of the store and of the limit. The machine of the tests may
/// be busy, so the timeout is wide where it is not what is tested.
async fn shared(redis: &Redis, backend: &Backend, store: &str, limit: &str) -> Gateway {
    let stores = format!("stores: {{ shared: {{ redis: \"redis://127.0.0.1:{}\", {store} }} }}", redis.port);
    let policy = format!("edge: {{ rate: {{ by: ip, store: shared, {limit} }} }}");
    let gateway = gateway(backend, &stores, &[&policy]).await;
    // Whatever the first calls met: the workers are connected.
    eventually("the store is asked", async || {
        get(&gateway, &[]).await;
        sample(&gateway, "transom_limit_store_questions_total").await
            > sample(&gateway, "transom_limit_store_failures_total").await
    })
    .await;
    gateway
}

#[tokio::test]
async fn two_hundred_calls_at_once_at_three_gateways_take_exactly_the_burst() {
    let Some(redis) = Redis::start() else { return };
    let backend = Backend::echo().await;
    let start = || shared(&redis, &backend, "timeout: 5s, nodes: 3", "limit: 10/h, burst: 20");
    let gateways = [start().await, start().await, start().await];
    redis.query::<()>(&["FLUSHALL"]);
    // A refusal that was remembered from before is over.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let before = backend.calls();
    let (passed, refused) = at_once(&[&gateways[0], &gateways[1], &gateways[2]], 200).await;
    assert_eq!((passed, refused.len(), backend.calls() - before), (20, 180, 20));
    for answer in refused {
        assert_eq!(verdict(&answer), (429, "RATE_LIMITED".to_owned()));
        assert_eq!(answer.header("ratelimit-policy"), Some("\"edge\";q=20;w=7200"));
        assert!(answer.header("ratelimit").is_some_and(|told| told.starts_with("\"edge\";r=0;t=3")));
    }
}

#[tokio::test]
async fn below_the_limit_a_fifth_of_the_calls_or_less_asks_the_store() {
    let Some(redis) = Redis::start() else { return };
    let backend = Backend::echo().await;
    let start = || shared(&redis, &backend, "timeout: 5s", "limit: 2000/s, burst: 1000");
    let gateways = [start().await, start().await, start().await];
    let (calls_before, started) = (redis.calls(), Instant::now());
    let mut clients = tokio::task::JoinSet::new();
    for gateway in &gateways {
        let mut sender = client::connect_h2(gateway.address).await;
        clients.spawn(async move {
            let mut replies = tokio::task::JoinSet::new();
            let mut ticks = tokio::time::interval(Duration::from_millis(5));
            while started.elapsed() < Duration::from_secs(3) {
                ticks.tick().await;
                for _ in 0..2 {
                    let reply = sender.send_request(client::empty("/v1/items/7"));
                    replies.spawn(async move { client::read(reply.await.expect("a reply")).await.status });
                }
            }
            let statuses = replies.join_all().await;
            (statuses.len(), statuses.iter().filter(|status| **status == 200).count())
        });
    }
    let counts = clients.join_all().await;
    let (sent, passed) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    let calls = redis.calls() - calls_before;
    let share = calls as f64 / sent as f64;
    figure(format_args!("{sent} calls, {passed} passed, {calls} store calls: {share:.3} a call"));
    assert_eq!(passed, sent);
    assert!(share <= 0.2, "{share}");
}

#[tokio::test]
async fn without_the_store_nobody_sees_an_error_and_it_is_used_again_within_two_seconds() {
    let Some(mut redis) = Redis::start() else { return };
    let backend = Backend::echo().await;
    let gateway = shared(&redis, &backend, "timeout: 200ms, nodes: 2", "limit: 19/s, burst: 1000").await;
    redis.stop();
    let mut statuses = std::collections::BTreeMap::new();
    let stopped = Instant::now();
    while stopped.elapsed() < Duration::from_secs(2) {
        *statuses.entry(get(&gateway, &[]).await.status.as_u16()).or_insert(0_u32) += 1;
    }
    figure(format_args!("without the store for 2 s: {statuses:?}"));
    assert!(statuses.keys().all(|status| *status < 500), "{statuses:?}");
    // Half of the burst, for a node of two, and what 9 a second add to it.
    assert!(statuses.get(&200).is_some_and(|passed| *passed <= 500 + 30), "{statuses:?}");
    redis.run();
    let returned = Instant::now();
    eventually("the store is used again", async || {
        get(&gateway, &[]).await;
        // The heartbeat beside the calls counts too, but not limits.
        !redis.query::<Vec<String>>(&["KEYS", "transom:{edge:*}:0"]).is_empty()
    })
    .await;
    let again = returned.elapsed();
    figure(format_args!("used again {again:?} after its return"));
    assert!(again < Duration::from_secs(2), "{again:?}");
}

#[tokio::test]
async fn without_the_store_a_limit_allows_or_denies_as_it_says() {
    for (mode, expected, reason) in [("allow", 200, ""), ("deny", 503, "RATE_STORE_DOWN")] {
        let Some(mut redis) = Redis::start() else { return };
        let backend = Backend::echo().await;
        let limit = format!("limit: 5/h, on_store_error: {mode}");
        let gateway = shared(&redis, &backend, "timeout: 5s", &limit).await;
        redis.stop();
        // What is remembered of a refusal outlives the store for a second.
        eventually("the store is missed", async || get(&gateway, &[]).await.status == expected).await;
        for _ in 0..20 {
            let answer = get(&gateway, &[]).await;
            assert_eq!(verdict(&answer), (expected, reason.to_owned()), "{mode}");
            assert_eq!(answer.header("retry-after"), (expected == 503).then_some("1"));
        }
    }
}

#[tokio::test]
async fn a_store_that_is_silent_costs_no_more_than_its_timeout() {
    let Some(redis) = Redis::start() else { return };
    let backend = Backend::echo().await;
    let gateway = shared(&redis, &backend, "timeout: 100ms, nodes: 1", "limit: 19/s, burst: 1000").await;
    redis.pause();
    let mut slowest = Duration::ZERO;
    let paused = Instant::now();
    for _ in 0..200 {
        let started = Instant::now();
        let answer = get(&gateway, &[]).await;
        assert!(answer.status == 200 || answer.status == 429, "{}", answer.status);
        slowest = slowest.max(started.elapsed());
    }
    figure(format_args!("200 calls in {:?}, the slowest {slowest:?}", paused.elapsed()));
    // Five a worker and one a second wait at all.
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    redis.resume();
    let resumed = Instant::now();
    let failures = async || {
        sample(&gateway, "transom_limit_store_questions_total").await
            - sample(&gateway, "transom_limit_store_failures_total").await
    };
    let before = failures().await;
    eventually("the store is used again", async || {
        get(&gateway, &[]).await;
        failures().await > before
    })
    .await;
    let again = resumed.elapsed();
    figure(format_args!("used again {again:?} after it went on"));
    assert!(again < Duration::from_secs(2), "{again:?}");
}

#[tokio::test]
async fn local_and_shared_limits_are_debited_together_or_not_at_all() {
    let Some(redis) = Redis::start() else { return };
    let backend = Backend::echo().await;
    let stores = format!(
        "{KEYS}\nstores: {{ shared: {{ redis: \"redis://127.0.0.1:{}\", timeout: 5s }} }}",
        redis.port
    );
    let policies = [
        "shared: { rate: { by: [ip, header x-a], limit: 2/h, store: shared } }",
        "local: { rate: { by: [ip, header x-b], limit: 1/h } }",
        "behind: { auth: { any: [keys, none] }, rate: { by: [consumer, header x-c], limit: 1/h } }",
    ];
    let gateway = gateway(&backend, &stores, &policies).await;
    let check = async |a: &str, b: &str, c: &str, refused_by: Option<&str>| {
        let answer = soon(get(&gateway, &[("x-a", a), ("x-b", b), ("x-c", c)])).await;
        let policy = answer.header("ratelimit-policy").unwrap_or_default();
        let name = policy.split('"').nth(1).filter(|_| answer.status == 429);
        assert_eq!(name, refused_by, "{a} {b} {c}: {}", answer.status);
    };
    check("1", "1", "1", None).await;
    // The local one refuses before the shared one is asked.
    check("1", "1", "2", Some("local")).await;
    // The one behind authentication refuses, and the two before it get back what they gave.
    check("1", "2", "1", Some("behind")).await;
    eventually("the shared unit is back", async || {
        let units: Vec<String> = redis.query(&["KEYS", "transom:{shared:*}:0"]);
        let life_ms: i64 = redis.query(&["PTTL", &units[0]]);
        life_ms <= 1_800_001
    })
    .await;
    check("1", "2", "2", None).await;
    check("1", "3", "3", Some("shared")).await;
    check("2", "3", "3", None).await;
}
