//! Bounds of the cache at the door, each at the limit and one past it; what a reload leaves of them.

use tokio::task::JoinSet;

use super::door::Told;
use super::together::{Held, PLAIN, get};
use crate::metrics::{scrape, value};
use crate::reload::Reloading;
use crate::support::{Gateway, eventually, http as client, soon};

fn surface(cache: &str) -> String {
    format!(
        "{cache}\nsurfaces: {{ web: {{ rules: [{{ match: door.v1.Door.Get, cache: {{ ttl: 60s }} }}] }} }}"
    )
}

#[tokio::test]
async fn a_key_that_is_too_long_is_not_looked_up() {
    let told = Told::start().await;
    // The bytes of the longest query that is looked up, where keys may have so many.
    let longest = async |key_bytes: usize| {
        let gateway =
            Gateway::configured(&told.backend, "", "", &surface(&format!("cache: {{ key: {key_bytes}B }}")))
                .await;
        let mut longest = 0;
        for bytes in 1..200 {
            told.begin();
            let path = format!("/v1/items/7?{}", "&".repeat(bytes));
            let answer = soon(client::send(gateway.address, client::request("GET", &path), "")).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            match answer.header("cache-status") {
                Some("transom; fwd=uri-miss; stored") => longest = bytes,
                Some("transom; fwd=bypass") => break,
                other => panic!("{bytes}: {other:?}"),
            }
        }
        longest
    };
    let at_256 = longest(256).await;
    assert!((1..198).contains(&at_256), "{at_256}");
    assert_eq!(longest(257).await, at_256 + 1);
}

#[tokio::test]
async fn refreshes_at_once_are_bounded() {
    // Stale as soon as it comes.
    let held = Held::start(0, &[("cache-control", "max-age=0, stale-while-revalidate=300")]).await;
    let gateway = Gateway::configured(&held.backend, "", "", &surface("cache: { refreshes: 2 }")).await;
    let ask = async |item: usize| {
        let request = client::request("GET", &format!("/v1/items/{item}"));
        let answer = soon(client::send(gateway.address, request, "")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("cache-status").is_some_and(|status| status.starts_with("transom; hit"))
    };
    held.turns.add_permits(3);
    for item in 1..=3 {
        assert!(!ask(item).await);
    }
    for item in [1, 1, 2, 2, 3, 3] {
        assert!(ask(item).await);
    }
    held.called(5).await;
    assert!(ask(3).await);
    assert_eq!(held.backend.calls(), 5, "two are fetched, once each");
    // Once they have come there is a place for the third.
    held.turns.add_permits(100);
    eventually("the third is fetched", async || {
        ask(3).await;
        held.backend.calls() > 5
    })
    .await;
}

#[tokio::test]
async fn a_reload_that_changes_the_bounds_counts_what_it_drops() {
    let held = Held::start(0, &[("cache-control", "max-age=60")]).await;
    held.turns.add_permits(1000);
    let reloading = Reloading::start(&held.backend, &surface("cache: { bytes: 64MiB }")).await;
    let gauge = async |name: &str| value(&scrape(&reloading.gateway).await, name);
    let mut calls = JoinSet::new();
    get(&reloading.gateway, &mut calls, 1, PLAIN);
    soon(calls.join_all()).await;
    assert_eq!(gauge("transom_cache_entries").await, Some(1.0));
    reloading.apply(&surface("cache: { bytes: 32MiB }")).await;
    eventually("the old replies are gone", async || {
        gauge("transom_cache_entries").await == Some(0.0) && gauge("transom_cache_bytes").await == Some(0.0)
    })
    .await;
}
