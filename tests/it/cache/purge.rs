//! `POST /cache/purge`: what goes, what stays, what is refused, and what is told of it.

use super::door::Told;
use crate::metrics::{scrape, value};
use crate::support::http::Answer;
use crate::support::{Directory, Gateway, http as client, soon};

const SURFACES: &str = "
surfaces:
  web: { hosts: [web.test], rules: [{ match: door.v1.Door.Get, cache: { ttl: 60s } }, { match: door.v1.Door.* }] }
  app: { hosts: [app.test], rules: [{ match: door.v1.Door.Get, cache: { ttl: 60s } }] }
";

/// What a request is answered by: the backend, or not.
async fn is_hit(gateway: &Gateway, host: &str, path: &str) -> bool {
    let request = client::request("GET", path).header("host", host);
    let answer = soon(client::send(gateway.address, request, "")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("cache-status").is_some_and(|status| status.starts_with("transom; hit"))
}

async fn purge(gateway: &Gateway, body: &str) -> Answer {
    soon(client::send(gateway.admin, client::request("POST", "/cache/purge"), body.to_owned())).await
}

/// Replies that are kept, with their tags.
const KEPT: [(&str, &str, &str); 4] = [
    ("web.test", "/v1/items/1", "one, all"),
    ("web.test", "/v1/items/2", "two, all"),
    ("web.test", "/v1/items/%310", "ten"),
    ("app.test", "/v1/items/1", "one"),
];

#[tokio::test]
async fn a_purge_forgets_what_it_names_and_says_how_much() {
    let told = Told::start().await;
    let directory = Directory::new("purge");
    let file = directory.path().join("audit.log");
    let observe = format!("observe: {{ audit: {{ file: {file:?} }} }}\n{SURFACES}");
    let gateway = Gateway::configured(&told.backend, "", "", &observe).await;
    let mut purged = 0;
    let mut check = async |body: &str, left: [bool; 4]| {
        for (host, path, tags) in KEPT {
            told.says_headers(&[("x-cache-tags", tags)]);
            is_hit(&gateway, host, path).await;
        }
        let answer = purge(&gateway, body).await;
        let count = left.iter().filter(|is_left| !**is_left).count();
        assert_eq!(
            (answer.status.as_u16(), answer.text()),
            (200, &*format!("{{\"purged\":{count}}}\n")),
            "{body}"
        );
        for ((host, path, tags), is_left) in KEPT.into_iter().zip(left) {
            told.says_headers(&[("x-cache-tags", tags)]);
            assert_eq!(is_hit(&gateway, host, path).await, is_left, "{body}: {host}{path}");
        }
        purged += count;
    };
    check(r#"{ "tags": ["one"] }"#, [false, true, true, false]).await;
    check(r#"{ "tags": ["two", "ten", "none"] }"#, [true, false, false, true]).await;
    check(r#"{ "tags": ["One"] }"#, [true; 4]).await;
    check(r#"{ "surface": "web" }"#, [false, false, false, true]).await;
    check(r#"{ "surface": "app", "tags": ["all"] }"#, [true; 4]).await;
    check(r#"{ "path": "/v1/items/1" }"#, [false, true, false, false]).await;
    check(r#"{ "path": "/v1/items/1%30" }"#, [true, true, false, true]).await;
    check(r#"{ "path": "/v1/items/1", "surface": "web", "tags": ["one"] }"#, [false, true, true, true]).await;
    check(r#"{ "method": "door.v1.Door.Get" }"#, [false; 4]).await;
    check(r#"{ "all": true }"#, [false; 4]).await;
    let metrics = scrape(&gateway).await;
    assert_eq!(value(&metrics, "transom_cache_purged_total"), Some(purged as f64));
    let statistics = soon(client::send(gateway.admin, client::request("GET", "/stats"), "")).await;
    assert_eq!(statistics.json()["cache"]["purged"], purged);
    let log = std::fs::read_to_string(&file).expect("a log");
    let entries = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let purges: Vec<_> = entries.filter(|entry| entry["event"] == "cache.purged").collect();
    assert_eq!(purges.len(), 10);
    assert_eq!(
        purges[0]["data"],
        serde_json::json!({ "purge": { "tags": ["one"] }, "count": 2, "stores": {} })
    );
    assert_eq!(purges[0]["actor"], "admin from 127.0.0.1");
}

#[tokio::test]
async fn what_is_not_understood_purges_nothing() {
    let told = Told::start().await;
    let gateway = Gateway::configured(&told.backend, "", "", SURFACES).await;
    is_hit(&gateway, "web.test", "/v1/items/1").await;
    let check = async |body: &str, number: u16, expected: &str| {
        let answer = purge(&gateway, body).await;
        let shown: String = body.chars().take(80).collect();
        assert_eq!(answer.status, number, "{shown}: {}", answer.text());
        assert!(answer.text().contains(expected), "{shown}: {}", answer.text());
    };
    check("", 400, "EOF while parsing").await;
    check("all", 400, "expected JSON such as").await;
    check("[]", 400, "expected some of").await;
    check("{}", 400, "expected some of").await;
    check(r#"{ "all": false }"#, 400, "stands alone").await;
    check(r#"{ "all": true, "tags": ["a"] }"#, 400, "stands alone").await;
    check(r#"{ "tag": ["a"] }"#, 400, "unknown field `tag`").await;
    check(r#"{ "tags": "a" }"#, 400, "expected a sequence").await;
    check(r#"{ "tags": ["a"], "tags": ["b"] }"#, 400, "duplicate field `tags`").await;
    check(r#"{ "tags": [] }"#, 400, "expected 1 to 256").await;
    let tags = |count: usize| serde_json::json!({ "tags": vec!["a"; count] }).to_string();
    check(&tags(256), 200, "\"purged\":0").await;
    check(&tags(257), 400, "`tags` has 257").await;
    check(r#"{ "surface": "wbe" }"#, 400, "there is no surface `wbe`").await;
    check(r#"{ "method": "door.v1.Door.Gte" }"#, 400, "no surface shows a method `door.v1.Door.Gte`").await;
    check(r#"{ "path": "v1/items" }"#, 400, "begins with").await;
    let path = |bytes: usize| format!(r#"{{"path":"/{}"}}"#, "a".repeat(bytes - 12));
    check(&path(64 << 10), 200, "\"purged\":0").await;
    check(&path((64 << 10) + 1), 413, "more than 65536 bytes").await;
    let get = soon(client::send(gateway.admin, client::request("GET", "/cache/purge"), "")).await;
    assert_eq!(get.status, 405);
    assert!(is_hit(&gateway, "web.test", "/v1/items/1").await);
}

#[tokio::test]
async fn without_a_cache_there_is_nothing_to_purge() {
    let told = Told::start().await;
    let gateway = Gateway::configured(&told.backend, "", "", "surfaces: { web: {} }").await;
    let answer = purge(&gateway, r#"{ "all": true }"#).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "{\"purged\":0}\n"));
}
