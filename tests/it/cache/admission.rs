//! The cache beside what else judges and dresses a reply: credentials, limits, CORS, compression.

use super::door::Told;
use crate::limits::verdict;
use crate::metrics::{scrape, value};
use crate::support::http::Answer;
use crate::support::{Gateway, http as client, soon};

const KEY_ONE_A: &str = "the-key-called-one-a-of-the-test";
const KEY_ONE_B: &str = "the-key-called-one-b-of-the-test";
const KEY_TWO_A: &str = "the-key-called-two-a-of-the-test";

/// Two consumers, with the SHA-256 of these keys.
const KEYS: &str = "
auth: { keys: { api_key: { header: x-key } } }
consumers:
  one:
    keys:
      - sha256:084a6b7b69d10e9e049e7c61432463a9cae743c528ee152877e21f6970503bae
      - sha256:989048f400a1ac88a7e1ef9ccf15add65e1b7d3d76c4598e155e7d05ff3cc06c
  two: { keys: [sha256:72b13c5e6db6f4f46c62a3f5806cdeffa19897963eb319b0f3aea2c136d5e745] }
";

async fn get(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = headers
        .iter()
        .fold(client::request("GET", path), |request, (name, value)| request.header(*name, *value));
    soon(client::send(gateway.address, request, "")).await
}

/// What the cache did, and the backend's call that made the reply.
fn told(answer: &Answer) -> (String, u64) {
    (status(answer).to_owned(), answer.json()["count"].as_u64().unwrap_or_default())
}

/// `Cache-Status`, without what depends on the time.
fn status(answer: &Answer) -> &str {
    let status = answer.header("cache-status").unwrap_or_default();
    status.split_once("; ttl=").map_or(status, |(status, _)| status)
}

#[tokio::test]
async fn consumers_share_no_reply_and_the_keys_of_one_do() {
    let backend = Told::start().await;
    let rules = "surfaces: { web: { rules: [{ match: door.v1.Door.Get, auth: { any: [keys, none] }, \
                 cache: { ttl: 60s, partition: consumer } }] } }";
    let gateway = Gateway::configured(&backend.backend, "", "", &format!("{KEYS}{rules}")).await;
    let check = async |headers: &[(&str, &str)], expected: (&str, u64)| {
        let answer = get(&gateway, "/v1/items/7", headers).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(told(&answer), (format!("transom; {}", expected.0), expected.1), "{headers:?}");
    };
    check(&[("x-key", KEY_ONE_A)], ("fwd=uri-miss; stored", 1)).await;
    check(&[("x-key", KEY_ONE_A)], ("hit", 1)).await;
    check(&[("x-key", KEY_ONE_B)], ("hit", 1)).await;
    check(&[("x-key", KEY_TWO_A)], ("fwd=uri-miss; stored", 2)).await;
    check(&[("x-key", KEY_TWO_A)], ("hit", 2)).await;
    check(&[], ("fwd=uri-miss; stored", 3)).await;
    check(&[], ("hit", 3)).await;
    // The backend may know whom the gateway does not.
    check(&[("authorization", "Basic YTph")], ("fwd=uri-miss; stored", 4)).await;
    check(&[("authorization", "Basic Yjpi")], ("fwd=uri-miss; stored", 5)).await;
    check(&[("authorization", "Basic YTph")], ("hit", 4)).await;
    // By whatever header it comes, and beside whatever the gateway has judged.
    let [alice, bob] = ["Bearer alice", "Bearer bob"].map(|token| ("grpc-metadata-authorization", token));
    check(&[alice], ("fwd=uri-miss; stored", 6)).await;
    check(&[bob], ("fwd=uri-miss; stored", 7)).await;
    check(&[alice], ("hit", 6)).await;
    check(&[("x-key", KEY_ONE_A), alice], ("fwd=uri-miss; stored", 8)).await;
    check(&[("x-key", KEY_ONE_B), bob], ("fwd=uri-miss; stored", 9)).await;
    check(&[("x-key", KEY_ONE_B), alice], ("hit", 8)).await;
    check(&[("x-key", KEY_ONE_A)], ("hit", 1)).await;
    check(&[("x-key", KEY_ONE_A), ("authorization", "Basic YTph")], ("fwd=uri-miss; stored", 10)).await;
    check(&[], ("hit", 3)).await;
    let refused = get(&gateway, "/v1/items/7", &[("x-key", "nobody's")]).await;
    assert_eq!(verdict(&refused), (401, "API_KEY_INVALID".to_owned()));
}

#[tokio::test]
async fn credentials_that_are_forwarded_by_other_names_are_part_of_the_key() {
    let backend = Told::start().await;
    let sections = "headers: { forward: [cookie, x-api-key] }\n\
                    surfaces: { web: { rules: [{ match: door.v1.Door.Get, cache: { ttl: 60s } }] } }";
    let gateway = Gateway::configured(&backend.backend, "", "", sections).await;
    let check = async |header: (&str, &str), expected: (&str, u64)| {
        let answer = get(&gateway, "/v1/items/7", &[header]).await;
        assert_eq!(told(&answer), (format!("transom; {}", expected.0), expected.1), "{header:?}");
    };
    check(("cookie", "session=alice"), ("fwd=uri-miss; stored", 1)).await;
    check(("cookie", "session=bob"), ("fwd=uri-miss; stored", 2)).await;
    check(("x-api-key", "alice"), ("fwd=uri-miss; stored", 3)).await;
    check(("x-api-key", "bob"), ("fwd=uri-miss; stored", 4)).await;
    check(("x-plain", "1"), ("fwd=uri-miss; stored", 5)).await;
    check(("cookie", "session=alice"), ("hit", 1)).await;
    check(("grpc-metadata-cookie", "session=alice"), ("hit", 1)).await;
    check(("x-api-key", "bob"), ("hit", 4)).await;
}

#[tokio::test]
async fn a_hit_is_authenticated_and_counted_like_any_call() {
    let backend = Told::start().await;
    let rules = "
policies:
  edge: { rate: { by: ip, limit: 1/h, burst: 4 } }
surfaces:
  web:
    policies: [edge]
    rules:
      - { match: door.v1.Door.Get, auth: keys, cache: { ttl: 60s, public: true } }
";
    let gateway = Gateway::configured(&backend.backend, "", "", &format!("{KEYS}{rules}")).await;
    for (call, expected) in [(1, "transom; fwd=uri-miss; stored"), (2, "transom; hit")] {
        let answer = get(&gateway, "/v1/items/7", &[("x-key", KEY_ONE_A)]).await;
        assert_eq!(told(&answer), (expected.to_owned(), 1));
        let left = format!("r={}", 4 - call);
        assert!(answer.header("ratelimit").is_some_and(|told| told.contains(&left)), "{answer:?}");
    }
    let shared = get(&gateway, "/v1/items/7", &[("x-key", KEY_TWO_A)]).await;
    assert_eq!(told(&shared), ("transom; hit".to_owned(), 1));
    let stranger = get(&gateway, "/v1/items/7", &[]).await;
    assert_eq!((verdict(&stranger).0, stranger.header("cache-status")), (401, None));
    let refused = get(&gateway, "/v1/items/7", &[("x-key", KEY_ONE_A)]).await;
    assert_eq!(verdict(&refused), (429, "RATE_LIMITED".to_owned()));
    assert_eq!(backend.backend.calls(), 1);
    let metrics = scrape(&gateway).await;
    for (result, count) in [("hit", 2.0), ("stored", 1.0)] {
        let name = format!("transom_cache_requests_total{{surface=\"web\",result=\"{result}\"}}");
        assert_eq!(value(&metrics, &name), Some(count), "{metrics}");
    }
    assert_eq!(value(&metrics, "transom_cache_entries"), Some(1.0));
    assert!(value(&metrics, "transom_cache_bytes") > Some(500.0));
    let statistics = soon(client::send(gateway.admin, client::request("GET", "/stats"), "")).await;
    assert_eq!(statistics.json()["cache"]["surfaces"]["web"]["hit"], 2);
    assert_eq!(statistics.json()["cache"]["entries"], 1);
}

#[tokio::test]
async fn each_client_gets_its_own_coding_and_origin() {
    let backend = Told::start().await;
    backend.says_headers(&[("cache-control", "max-age=60"), ("x-long", &"long".repeat(100))]);
    let surface = "surfaces: { web: { cors: { origins: [\"https://a.test\", \"https://b.test\"] }, \
                   compression: { min_size: 1B }, rules: [{ match: door.v1.Door.*, cache: { ttl: origin } }] } }";
    let surface = surface.replace("door.v1.Door.*", "door.v1.Door.Get");
    let gateway = Gateway::configured(&backend.backend, "", "", &surface).await;
    let check = async |headers: &[(&str, &str)], expected: [Option<&str>; 4]| {
        let answer = get(&gateway, "/v1/items/7", headers).await;
        let mut vary: Vec<_> =
            answer.headers.get_all("vary").iter().filter_map(|value| value.to_str().ok()).collect();
        vary.sort_unstable();
        assert_eq!(vary, ["Accept-Encoding", "Origin"], "{headers:?}");
        let names = ["content-encoding", "access-control-allow-origin", "etag"];
        let [coding, origin, tag] = names.map(|name| answer.header(name));
        assert_eq!([Some(status(&answer)), coding, origin, tag], expected, "{headers:?}");
    };
    let strong = "\"6aea6dfe6561984cdc5c54ead84d47d2\"";
    let weak = format!("W/{strong}");
    let (miss, hit) = (Some("transom; fwd=uri-miss; stored"), Some("transom; hit"));
    let (a, b) = (Some("https://a.test"), Some("https://b.test"));
    let (strong, weak) = (Some(strong), Some(weak.as_str()));
    check(&[("accept-encoding", "gzip"), ("origin", "https://a.test")], [miss, Some("gzip"), a, weak]).await;
    check(&[("accept-encoding", "br"), ("origin", "https://b.test")], [hit, Some("br"), b, weak]).await;
    check(&[], [hit, None, None, strong]).await;
    // A client that has the coded reply has it under the weak tag, and keeps that.
    let tag = ("if-none-match", weak.expect("a tag"));
    check(&[("accept-encoding", "gzip"), tag], [hit, None, None, weak]).await;
    assert_eq!(backend.backend.calls(), 1);
}

#[tokio::test]
async fn a_reply_that_is_replaced_in_the_background_is_there_soon() {
    let backend = Told::start().await;
    backend.says_headers(&[("cache-control", "max-age=1, stale-while-revalidate=60"), ("age", "1")]);
    let surface = "surfaces: { web: { rules: [{ match: door.v1.Door.Get, cache: { ttl: origin } }] } }";
    let gateway = Gateway::configured(&backend.backend, "", "", surface).await;
    assert_eq!(told(&get(&gateway, "/v1/items/7", &[]).await).1, 1);
    backend.says_headers(&[("cache-control", "max-age=60")]);
    let stale = get(&gateway, "/v1/items/7", &[]).await;
    assert_eq!(told(&stale).1, 1);
    crate::support::eventually("a new reply", async || {
        let (status, call) = told(&get(&gateway, "/v1/items/7", &[]).await);
        assert!(status.starts_with("transom; hit"), "{status}");
        call == 2
    })
    .await;
    assert_eq!(backend.backend.calls(), 2);
}
