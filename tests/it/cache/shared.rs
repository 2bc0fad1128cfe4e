//! Replies that two gateways share in a store: one call for both, purges of both, and a store that is away.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::task::JoinSet;

use super::door::Told;
use super::together::{Held, PLAIN, get, inside};
use crate::support::backend::Backend;
use crate::support::http::Answer;
use crate::support::redis::Redis;
use crate::support::{Gateway, eventually, http as client, soon};

/// Two gateways with one store and one backend.
struct Pair {
    gateways: [Gateway; 2],
    next: AtomicU32,
}

fn sections(redis: &Redis, rest: &str, cache: &str) -> String {
    let port = redis.port;
    format!(
        "stores: {{ shared: {{ redis: \"redis://127.0.0.1:{port}\", timeout: 1s }} }}\n{rest}\n\
         surfaces: {{ web: {{ rules: [{{ match: door.v1.Door.Get, {cache} }}] }} }}\n"
    )
}

const KEPT: &str = "cache: { ttl: 300s, store: shared }";

impl Pair {
    async fn start(redis: &Redis, backend: &Backend) -> Self {
        Self::configured(backend, [&sections(redis, "", KEPT); 2]).await
    }

    async fn configured(backend: &Backend, sections: [&str; 2]) -> Self {
        let [one, two] = sections.map(|sections| Gateway::configured(backend, "", "", sections));
        Self { gateways: [one.await, two.await], next: AtomicU32::new(1000) }
    }

    async fn ask(&self, gateway: usize, path: &str) -> Answer {
        self.ask_as(gateway, path, ("x-plain", "1")).await
    }

    async fn ask_as(&self, gateway: usize, path: &str, header: (&str, &str)) -> Answer {
        let request = client::request("GET", path).header(header.0, header.1);
        let answer = soon(client::send(self.gateways[gateway].address, request, "")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    /// Waits until what the first keeps the second finds, in both directions.
    async fn share(&self) {
        for (from, to) in [(0, 1), (1, 0)] {
            eventually("a reply that is shared", async || {
                let path = format!("/v1/items/{}", self.next.fetch_add(1, Ordering::Relaxed));
                self.ask(from, &path).await;
                is_from_store(&self.ask(to, &path).await)
            })
            .await;
        }
    }
}

fn status(answer: &Answer) -> &str {
    answer.header("cache-status").unwrap_or_default()
}

fn is_from_store(answer: &Answer) -> bool {
    status(answer).starts_with("transom; hit; ttl=") && status(answer).ends_with("; detail=store")
}

#[tokio::test]
async fn two_gateways_ask_the_backend_once() {
    let Some(redis) = Redis::start() else { return };
    let held = Held::start(0, &[("cache-control", "max-age=300"), ("x-shown", "1")]).await;
    held.turns.add_permits(1000);
    let pair = Pair::start(&redis, &held.backend).await;
    pair.share().await;
    held.turns.forget_permits(10_000);
    let before = held.backend.calls();
    let mut calls = JoinSet::new();
    for gateway in &pair.gateways {
        get(gateway, &mut calls, 20, PLAIN);
    }
    for gateway in &pair.gateways {
        inside(gateway, 20.0).await;
    }
    held.called(before + 1).await;
    held.turns.add_permits(1);
    let answers = soon(calls.join_all()).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.text() == "{\"count\":1}"));
    assert!(answers.iter().all(|answer| answer.header("etag") == answers[0].header("etag")), "{answers:?}");
    assert_eq!(held.backend.calls(), before + 1);
    let told = |end: &str| answers.iter().filter(|answer| status(answer).ends_with(end)).count();
    assert_eq!((told("stored"), told("detail=store"), told("collapsed")), (1, 1, 38));
    // From now on each has it in its own memory.
    for gateway in [0, 1] {
        assert!(status(&pair.ask(gateway, "/v1/items/7").await).starts_with("transom; hit; ttl="));
    }
    assert_eq!(held.backend.calls(), before + 1);
}

#[tokio::test]
async fn a_reply_from_the_store_is_what_the_backend_said_and_as_old() {
    let Some(redis) = Redis::start() else { return };
    let told = Told::start().await;
    told.says_headers(&[
        ("cache-control", "max-age=300"),
        ("age", "40"),
        ("etag", "\"a\""),
        ("vary", "accept-language"),
        ("grpc-metadata-x", "1"),
    ]);
    let pair = Pair::start(&redis, &told.backend).await;
    pair.share().await;
    let [first, second] = [pair.ask(0, "/v1/items/7").await, pair.ask(1, "/v1/items/7").await];
    assert!(is_from_store(&second), "{second:?}");
    let told_by = |answer: &Answer| {
        let mut headers = answer.headers.clone();
        ["cache-status", "age", "date", "x-request-id"].iter().for_each(|name| drop(headers.remove(*name)));
        (headers, answer.text().to_owned())
    };
    assert_eq!(told_by(&first), told_by(&second));
    let age = second.header("age").and_then(|age| age.parse::<u64>().ok()).expect("an age");
    assert!((40..100).contains(&age), "{age}");
    // Another language is another reply.
    let other = pair.ask_as(1, "/v1/items/7", ("accept-language", "de")).await;
    assert!(status(&other).contains("fwd="), "{other:?}");
    assert_ne!(other.text(), second.text());
}

#[tokio::test]
async fn a_purge_at_one_gateway_is_one_at_all() {
    let Some(redis) = Redis::start() else { return };
    let told = Told::start().await;
    told.says_headers(&[("x-cache-tags", "one")]);
    let pair = Pair::start(&redis, &told.backend).await;
    pair.share().await;
    let purges = [r#"{"tags":["one"]}"#, r#"{"path":"/v1/items/72"}"#, r#"{"all":true}"#];
    for (path, body) in ["/v1/items/71", "/v1/items/72", "/v1/items/73"].into_iter().zip(purges) {
        told.begin();
        assert_eq!(pair.ask(0, path).await.json()["count"], 1);
        assert_eq!(pair.ask(1, path).await.json()["count"], 1);
        let purge = client::request("POST", "/cache/purge");
        let purged = soon(client::send(pair.gateways[0].admin, purge, body)).await;
        assert_eq!(purged.status, 200, "{}", purged.text());
        assert_eq!(purged.json()["stores"], serde_json::json!({ "shared": "told" }), "{body}");
        // The second call of the backend: neither memory nor the store has the first reply any more.
        let has_heard = async || pair.ask(1, path).await.json()["count"] == 2;
        eventually("the other one has heard", has_heard).await;
        assert_eq!(pair.ask(0, path).await.json()["count"], 2, "{body}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_a_miss_and_used_again_when_it_is_back() {
    let Some(mut redis) = Redis::start() else { return };
    let told = Told::start().await;
    let pair = Pair::start(&redis, &told.backend).await;
    pair.share().await;
    pair.ask(0, "/v1/items/1").await;
    redis.stop();
    for path in ["/v1/items/1", "/v1/items/2", "/v1/items/3"] {
        for gateway in [0, 1, 0, 1] {
            pair.ask(gateway, path).await;
        }
    }
    assert!(status(&pair.ask(0, "/v1/items/1").await).contains("hit"));
    let purge = client::request("POST", "/cache/purge");
    let purged = soon(client::send(pair.gateways[0].admin, purge, r#"{"all":true}"#)).await;
    assert_eq!(purged.status, 503, "{}", purged.text());
    assert!(purged.json()["purged"].as_u64() >= Some(3), "{}", purged.text());
    assert!(
        purged.json()["stores"]["shared"].as_str().is_some_and(|told| told != "told"),
        "{}",
        purged.text()
    );
    redis.run();
    pair.share().await;
    // It accepts and says nothing.
    redis.pause();
    for path in ["/v1/items/4", "/v1/items/5"] {
        pair.ask(0, path).await;
    }
    redis.resume();
    pair.share().await;
}

/// Two consumers, with the SHA-256 of `the-key-called-one-a-of-the-test` and `the-key-called-two-a-of-the-test`.
const KEYS: &str = "
auth: { keys: { api_key: { header: x-key } } }
consumers:
  one: { keys: [sha256:084a6b7b69d10e9e049e7c61432463a9cae743c528ee152877e21f6970503bae] }
  two: { keys: [sha256:72b13c5e6db6f4f46c62a3f5806cdeffa19897963eb319b0f3aea2c136d5e745] }
";

#[tokio::test]
async fn two_users_share_nothing_in_the_store() {
    let Some(redis) = Redis::start() else { return };
    let told = Told::start().await;
    let cache = "auth: { any: [keys, none] }, cache: { ttl: 300s, partition: consumer, store: shared }";
    let pair = Pair::configured(&told.backend, [&sections(&redis, KEYS, cache); 2]).await;
    pair.share().await;
    told.begin();
    let one = ("x-key", "the-key-called-one-a-of-the-test");
    let two = ("x-key", "the-key-called-two-a-of-the-test");
    let count = async |gateway: usize, header: (&str, &str)| {
        pair.ask_as(gateway, "/v1/items/7", header).await.json()["count"].as_u64()
    };
    assert_eq!(count(0, one).await, Some(1));
    assert_eq!(count(1, two).await, Some(2));
    assert_eq!(count(1, one).await, Some(1));
    assert_eq!(count(0, two).await, Some(2));
    assert_eq!(count(0, ("authorization", "Basic YTph")).await, Some(3));
    assert_eq!(count(1, ("authorization", "Basic Yjpi")).await, Some(4));
    assert_eq!(count(1, ("x-plain", "1")).await, Some(5));
}

#[tokio::test]
async fn bytes_that_are_no_reply_are_a_miss() {
    let Some(redis) = Redis::start() else { return };
    let told = Told::start().await;
    let pair = Pair::start(&redis, &told.backend).await;
    pair.share().await;
    let check = async |path: &str, spoil: &dyn Fn(&str)| {
        redis.query::<()>(&["FLUSHALL"]);
        pair.ask(0, path).await;
        // Whoever writes gives its right back with that.
        let written = async || {
            let keys: Vec<String> = redis.query(&["KEYS", "transom:cache:*"]);
            keys.len() == 1 && keys[0].ends_with('}')
        };
        eventually("the reply is written", written).await;
        let keys: Vec<String> = redis.query(&["KEYS", "transom:cache:*"]);
        spoil(&keys[0]);
        let answer = pair.ask(1, path).await;
        assert!(status(&answer).contains("fwd=uri-miss"), "{path}: {answer:?}");
        eventually("the next reply is written", written).await;
    };
    let run = |words: &[&str]| drop(redis.query::<redis::Value>(words));
    check("/v1/items/1", &|key| run(&["SETRANGE", key, "0", "\u{2}"])).await;
    check("/v1/items/2", &|key| run(&["SETRANGE", key, "8", "damaged"])).await;
    check("/v1/items/3", &|key| run(&["SETRANGE", key, "60", "damaged"])).await;
    check("/v1/items/4", &|key| run(&["SET", key, "", "PX", "60000"])).await;
    check("/v1/items/5", &|key| run(&["SET", key, "\u{1}", "PX", "60000"])).await;
    check("/v1/items/6", &|key| run(&["SETRANGE", key, "2000000", "long"])).await;
    check("/v1/items/7", &|key| run(&["DEL", key])).await;
    check("/v1/items/8", &|key| {
        run(&["DEL", key]);
        run(&["LPUSH", key, "a list"]);
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_writes_json_otherwise_finds_nothing() {
    let Some(redis) = Redis::start() else { return };
    let told = Told::start().await;
    let (plain, other) = (sections(&redis, "", KEPT), sections(&redis, "json: { enums: number }", KEPT));
    let pair = Pair::configured(&told.backend, [&plain, &other]).await;
    let same = Pair::configured(&told.backend, [&plain, &plain]).await;
    same.share().await;
    told.begin();
    let first = pair.ask(0, "/v1/items/7").await;
    assert!(is_from_store(&same.ask(0, "/v1/items/7").await), "{first:?}");
    let second = pair.ask(1, "/v1/items/7").await;
    assert!(status(&second).contains("fwd=uri-miss"), "{second:?}");
    assert_ne!(first.text(), second.text());
}

/// Hits, misses and failures of stores, as `/stats` has them and as `/metrics` does, which must not differ.
async fn counted(gateway: &Gateway) -> [u64; 3] {
    let page = async |path: &str| soon(client::send(gateway.admin, client::request("GET", path), "")).await;
    let stores = page("/stats").await.json()["cache"]["stores"].clone();
    let metrics = page("/metrics").await;
    ["hits", "misses", "failures"].map(|name| {
        let series = format!("transom_cache_store_{name}_total ");
        let value = metrics.text().lines().find_map(|line| line.strip_prefix(&*series));
        assert_eq!(value, Some(&*stores[name].to_string()), "{name}");
        stores[name].as_u64().expect("a number")
    })
}

#[tokio::test]
async fn what_a_store_answers_is_counted() {
    let Some(redis) = Redis::start() else { return };
    let told = Told::start().await;
    let pair = Pair::start(&redis, &told.backend).await;
    pair.share().await;
    let before = counted(&pair.gateways[1]).await;
    let mut asked = 0;
    eventually("a reply out of the store", async || {
        asked += 1;
        let path = format!("/v1/items/shared-{asked}");
        pair.ask(0, &path).await;
        is_from_store(&pair.ask(1, &path).await)
    })
    .await;
    let found = counted(&pair.gateways[1]).await;
    assert_eq!(found[0] - before[0], 1);
    // Nobody asks the store for what is in memory.
    pair.ask(1, &format!("/v1/items/shared-{asked}")).await;
    assert_eq!(counted(&pair.gateways[1]).await, found);
    let mut grows = async |place: usize| {
        let before = counted(&pair.gateways[1]).await[place];
        eventually("it is counted", async || {
            asked += 1;
            pair.ask(1, &format!("/v1/items/alone-{asked}")).await;
            counted(&pair.gateways[1]).await[place] > before
        })
        .await;
    };
    grows(1).await;
    redis.pause();
    grows(2).await;
    redis.resume();
}

#[tokio::test]
async fn one_purge_too_many_for_a_store_is_one_of_everything() {
    const PURGES: &str = "{transom:cache}:purges";
    let Some(redis) = Redis::start() else { return };
    let told = Told::start().await;
    let pair = Pair::start(&redis, &told.backend).await;
    pair.share().await;
    // All but one of those that a store remembers.
    let fill = "for number = 1, 4095 do \
                redis.call('ZADD', KEYS[1], 9999999999, number .. ':{\"tags\":[\"none\"]}') end";
    redis.query::<()>(&["EVAL", fill, "1", PURGES]);
    let purge = async || {
        let request = client::request("POST", "/cache/purge");
        let purged = soon(client::send(pair.gateways[0].admin, request, r#"{"tags":["none"]}"#)).await;
        assert_eq!(purged.status, 200, "{}", purged.text());
        redis.query::<Vec<String>>(&["ZRANGE", PURGES, "0", "-1"])
    };
    assert_eq!(purge().await.len(), 4096);
    told.begin();
    assert_eq!(pair.ask(1, "/v1/items/7").await.json()["count"], 1);
    let left = purge().await;
    assert!(left.len() == 1 && !left[0].contains("none"), "{left:?}");
    let is_gone = async || pair.ask(1, "/v1/items/7").await.json()["count"] != 1;
    eventually("what no purge named is purged", is_gone).await;
}
