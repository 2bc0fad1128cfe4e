//! Limits at the real door, counted in memory: exact bursts, windows, costs, subjects, what clients are told.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Frame;

use crate::support::backend::{Backend, framed, nothing, status};
use crate::support::http::{self as client, Answer};
use crate::support::{Gateway, eventually, soon};

/// A gateway in front of `backend` whose only surface has these policies, in this order.
pub(crate) async fn gateway(backend: &Backend, rest: &str, policies: &[&str]) -> Gateway {
    let names: Vec<_> = policies.iter().filter_map(|policy| policy.split(':').next()).collect();
    let policies = policies.iter().map(|policy| format!("  {policy}\n")).collect::<String>();
    let names = names.join(", ");
    let rest = format!("{rest}\npolicies:\n{policies}surfaces: {{ web: {{ policies: [{names}] }} }}\n");
    Gateway::configured(backend, "", "", &rest).await
}

/// A way to say who is calling that nobody uses.
pub(crate) const KEYS: &str = "auth: { keys: { api_key: {} } }";

pub(crate) async fn get(gateway: &Gateway, headers: &[(&str, &str)]) -> Answer {
    let request = headers
        .iter()
        .fold(client::request("GET", "/v1/items/7"), |request, (name, value)| request.header(*name, *value));
    soon(client::send(gateway.address, request, "")).await
}

/// The HTTP number, and the reason of a refusal.
pub(crate) fn verdict(answer: &Answer) -> (u16, String) {
    let reason = || answer.json()["details"][0]["reason"].as_str().unwrap_or_default().to_owned();
    (answer.status.as_u16(), if answer.status == 200 { String::new() } else { reason() })
}

/// Sends `count` calls at once; how many pass, and the answers of those that do not.
pub(crate) async fn at_once(gateways: &[&Gateway], count: usize) -> (usize, Vec<Answer>) {
    let mut calls = tokio::task::JoinSet::new();
    for index in 0..count {
        let address = gateways[index % gateways.len()].address;
        calls.spawn(async move { client::send(address, client::request("GET", "/v1/items/7"), "").await });
    }
    let answers = soon(calls.join_all()).await;
    let (passed, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    (passed.len(), refused)
}

/// The value of one sample of `/metrics`.
pub(crate) async fn sample(gateway: &Gateway, name: &str) -> f64 {
    let answer = client::send(gateway.admin, client::request("GET", "/metrics"), "").await;
    let line = answer.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().expect("a number")
}

#[tokio::test]
async fn two_hundred_calls_at_once_take_exactly_the_burst() {
    let backend = Backend::echo().await;
    let gateway = gateway(&backend, "", &["edge: { rate: { by: ip, limit: 10/h, burst: 20 } }"]).await;
    let (passed, refused) = at_once(&[&gateway], 200).await;
    assert_eq!((passed, refused.len()), (20, 180));
    assert_eq!(backend.calls(), 20);
    for answer in refused {
        assert_eq!(verdict(&answer), (429, "RATE_LIMITED".to_owned()));
        assert_eq!(answer.header("ratelimit-policy"), Some("\"edge\";q=20;w=7200"));
        let retry_s: u64 = answer.header("retry-after").expect("a wait").parse().expect("seconds");
        assert!((300..=360).contains(&retry_s), "{retry_s}");
        assert_eq!(answer.header("ratelimit"), Some(format!("\"edge\";r=0;t={retry_s}").as_str()));
        assert_eq!(answer.json()["code"], 8);
    }
    let refused = r#"transom_refused_total{stage="limit",reason="RATE_LIMITED"}"#;
    assert!((sample(&gateway, refused).await - 180.0).abs() < 0.5);
}

#[tokio::test]
async fn after_the_wait_that_is_told_a_call_passes() {
    let backend = Backend::echo().await;
    let gateway = gateway(&backend, "", &["edge: { rate: { by: ip, limit: 1/s } }"]).await;
    assert_eq!(get(&gateway, &[]).await.status, 200);
    let refused = get(&gateway, &[]).await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(get(&gateway, &[]).await.status, 200);
}

#[tokio::test]
async fn clients_are_told_of_the_tightest_limit_and_never_of_a_quiet_one() {
    let backend = Backend::echo().await;
    let policies = [
        "wide: { rate: { by: ip, limit: 100/h } }",
        "tight: { rate: [{ by: ip, limit: 50/h, burst: 3 }, { by: ip, quota: 40/day }] }",
        "hidden: { rate: { by: ip, limit: 2/h, quiet: true } }",
    ];
    let gateway = gateway(&backend, "", &policies).await;
    for left in [2, 1] {
        let answer = get(&gateway, &[]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-policy"), Some("\"tight\";q=3;w=216"));
        let told = answer.header("ratelimit").expect("a standing");
        assert!(told.starts_with(&format!("\"tight\";r={left};t=")), "{told}");
        assert_eq!(answer.headers.get_all("ratelimit").iter().count(), 1);
    }
    let refused = get(&gateway, &[]).await;
    assert_eq!(verdict(&refused), (429, "RATE_LIMITED".to_owned()));
    assert_eq!(refused.header("ratelimit"), None);
    assert!(refused.header("retry-after").is_some());
}

#[tokio::test]
async fn what_one_limit_refuses_is_not_debited_from_another() {
    let backend = Backend::echo().await;
    // `consumer` stands for the address here, and puts the limit behind authentication.
    let policies = [
        "edge: { rate: { by: ip, limit: 3/h } }",
        "tenant: { auth: { any: [keys, none] }, rate: { by: [consumer, header x-tenant], limit: 1/h } }",
    ];
    let gateway = gateway(&backend, KEYS, &policies).await;
    assert_eq!(get(&gateway, &[("x-tenant", "1")]).await.status, 200);
    for _ in 0..10 {
        let refused = get(&gateway, &[("x-tenant", "1")]).await;
        assert_eq!(refused.header("ratelimit-policy"), Some("\"tenant\";q=1;w=3600"));
        assert_eq!(verdict(&refused), (429, "RATE_LIMITED".to_owned()));
    }
    for tenant in ["2", "3"] {
        assert_eq!(get(&gateway, &[("x-tenant", tenant)]).await.status, 200, "{tenant}");
    }
    let refused = get(&gateway, &[("x-tenant", "4")]).await;
    assert_eq!(refused.header("ratelimit-policy"), Some("\"edge\";q=3;w=3600"));
    assert_eq!(backend.calls(), 3);
}

#[tokio::test]
async fn a_quota_is_told_by_its_own_name() {
    let backend = Backend::echo().await;
    let policy = "plan: { rate: { by: ip, limit: 100/s, burst: 2, quota: 2/day } }";
    let gateway = gateway(&backend, "", &[policy]).await;
    for _ in 0..2 {
        eventually("a unit", async || get(&gateway, &[]).await.status == 200).await;
    }
    eventually("the rate is back", async || {
        let refused = get(&gateway, &[]).await;
        let is_quota = verdict(&refused) == (429, "QUOTA_EXCEEDED".to_owned());
        assert!(!is_quota || refused.header("ratelimit-policy") == Some("\"plan-day\";q=2;w=86400"));
        is_quota
    })
    .await;
}

#[tokio::test]
async fn subjects_are_counted_apart() {
    let backend = Backend::echo().await;
    let check = async |by: &str, first: (&str, &str, &str), second: (&str, &str, &str), is_same: bool| {
        let policy = format!("edge: {{ rate: {{ by: {by}, limit: 1/h }} }}");
        let gateway = gateway(&backend, "", &[&policy]).await;
        let send = async |(method, header, value): (&str, &str, &str)| {
            let request = client::request(method, "/v1/items/7").header(header, value);
            soon(client::send(gateway.address, request, "")).await.status
        };
        assert_eq!(send(first).await, 200, "{by}");
        assert_eq!(send(second).await, if is_same { 429 } else { 200 }, "{by} {first:?} {second:?}");
    };
    let (get, delete) = (("GET", "x-a", "1"), ("DELETE", "x-a", "1"));
    check("ip", get, delete, true).await;
    check("method", get, delete, false).await;
    check("method", get, get, true).await;
    check("[ip, method]", get, delete, false).await;
    check("header x-a", get, delete, true).await;
    check("header x-a", get, ("GET", "x-a", "2"), false).await;
    check("[header x-a, header x-b]", get, ("GET", "x-b", "1"), false).await;
    // Nobody gets a bucket of his own by leaving the header out.
    check("header x-c", get, ("GET", "x-a", "2"), true).await;
}

#[tokio::test]
async fn a_policy_is_one_bucket_and_a_rule_may_cost_more() {
    let backend = Backend::echo().await;
    let rest = "policies: { edge: { rate: { by: ip, limit: 10/h } } }\n\
        surfaces:\n  web:\n    policies: [edge]\n    rules:\n      \
        - { match: door.v1.Door.Delete, cost: 4 }\n      \
        - { match: door.v1.Door.Names, rate: { by: ip, limit: 1/h } }\n      - { match: door.v1.* }\n";
    let gateway = Gateway::configured(&backend, "", "", rest).await;
    let send = async |method: &str, path: &str| {
        let answer = soon(client::send(gateway.address, client::request(method, path), "")).await;
        (answer.status.as_u16(), answer.header("ratelimit").unwrap_or_default().to_owned())
    };
    let check = |answer: (u16, String), status: u16, standing: &str| {
        assert!(answer.0 == status && answer.1.starts_with(standing), "{answer:?}, not {status} {standing}");
    };
    check(send("DELETE", "/v1/items/7").await, 200, "\"edge\";r=6;");
    check(send("GET", "/v1/items/7").await, 200, "\"edge\";r=5;");
    check(send("DELETE", "/v1/items/7").await, 200, "\"edge\";r=1;");
    check(send("DELETE", "/v1/items/7").await, 429, "\"edge\";r=1;t=");
    check(send("GET", "/v1/items/7").await, 200, "\"edge\";r=0;");
    check(send("GET", "/v1/items/7").await, 429, "\"edge\";r=0;");
    // What the rule says itself takes the place of the policy's, in a bucket of its own.
    check(send("GET", "/v1/names").await, 200, "\"web/door.v1.Door.Names\";r=0;");
    check(send("GET", "/v1/names").await, 429, "\"web/door.v1.Door.Names\";r=0;");
}

const COUNTED: &str = r#"
policies:
  edge: { rate: { by: ip, limit: 10/h, burst: 20 } }
  try: { rate: { by: ip, limit: 10/h, burst: 20, mode: shadow } }
  daily: { rate: { by: header x-day, quota: 30/day, over_quota: bill } }
surfaces:
  web:
    policies: [edge]
    rules:
      - { match: door.v1.Door.Names, cost: request.message.count / 10 + 1 }
      - { match: door.v1.Door.Download, policies: [try], cost: request.message.count }
      - { match: door.v1.Door.Get, policies: [daily], cost: 'int(request.headers["x-units"])' }
      - match: door.v1.Door.Watch
        rate: { by: ip, limit: 1/h, burst: 5, cost: 'request.message.count' }
"#;

#[tokio::test]
async fn an_expression_says_what_a_call_costs() {
    let backend = Backend::echo().await;
    let gateway = Gateway::configured(&backend, "", "", COUNTED).await;
    let check = async |path: &str, headers: &[(&str, &str)], expected: (u16, &str), standing: &str| {
        let request =
            headers.iter().fold(client::request("GET", path), |r, (name, value)| r.header(*name, *value));
        let answer = soon(client::send(gateway.address, request, "")).await;
        let (status, reason) = verdict(&answer);
        assert_eq!((status, reason.as_str()), expected, "{path}");
        let told = answer.header("ratelimit").unwrap_or_default();
        assert!(told.starts_with(standing), "{path}: {told}, not {standing}");
        answer
    };
    let (passed, too_high, unknown) = ((200, ""), (400, "COST_TOO_HIGH"), (400, "COST_UNKNOWN"));
    // The page that is asked for drains the bucket.
    check("/v1/names", &[], passed, "\"edge\";r=19;").await;
    check("/v1/names?count=9", &[], passed, "\"edge\";r=18;").await;
    check("/v1/names?count=50", &[], passed, "\"edge\";r=12;").await;
    // What fits later waits, and takes nothing; what never fits is told so.
    let refused = check("/v1/names?count=150", &[], (429, "RATE_LIMITED"), "\"edge\";r=12;").await;
    let retry_s: u64 = refused.header("retry-after").expect("a wait").parse().expect("seconds");
    assert!((1400..=1440).contains(&retry_s), "four units of six minutes, not {retry_s} s");
    check("/v1/names?count=190", &[], (429, "RATE_LIMITED"), "\"edge\";r=12;").await;
    let refused = check("/v1/names?count=200", &[], too_high, "\"edge\";r=12;").await;
    assert_eq!(refused.header("retry-after"), None);
    assert_eq!(refused.json()["code"], 3);
    check("/v1/names?count=2147483647", &[], too_high, "\"edge\";r=12;").await;
    // Nothing goes for free: less than one is one, and what has no value does not pass.
    check("/v1/names?count=-5", &[], passed, "\"edge\";r=11;").await;
    check("/v1/names?count=-30", &[], unknown, "").await;
    check("/v1/names?count=x", &[], unknown, "").await;
    check("/v1/names?count=99999999999999999999", &[], unknown, "").await;
    check("/v1/names?count=100", &[], passed, "\"edge\";r=0;").await;
    // A limit's own expression.
    check("/v1/items/7:watch?count=5", &[], passed, "\"web/door.v1.Door.Watch\";r=0;").await;
    check("/v1/items/7:watch?count=6", &[], too_high, "\"web/door.v1.Door.Watch\";r=").await;
    // A quota that is never refused takes any cost.
    let units = |units| [("x-day", "a"), ("x-units", units)];
    check("/v1/items/7", &units("20"), passed, "\"daily-day\";r=10;").await;
    check("/v1/items/7", &units("50"), passed, "\"daily-day\";r=0;").await;
    check("/v1/items/7", &units("many"), unknown, "").await;
    check("/v1/items/7", &[], unknown, "").await;
    // A shadow refuses nobody for what it cannot tell.
    for query in ["", "?count=21", "?count=x", "?count=-1"] {
        soon(client::send(gateway.address, client::request("GET", &format!("/v1/files/a{query}")), "")).await;
    }
    assert!((sample(&gateway, "transom_limits_shadowed_total").await - 3.0).abs() < 0.5);
    let of = |reason: &str| format!("transom_refused_total{{stage=\"limit\",reason=\"{reason}\"}}");
    assert!((sample(&gateway, &of("COST_UNKNOWN")).await - 5.0).abs() < 0.5);
    assert!((sample(&gateway, &of("COST_TOO_HIGH")).await - 3.0).abs() < 0.5);
}

/// What a limit by address took goes back when one behind authentication refuses, at the price of then.
#[tokio::test]
async fn what_an_expression_took_goes_back() {
    let backend = Backend::echo().await;
    let rest = r#"
auth: { partner: { api_key: {} } }
policies:
  edge: { rate: { by: ip, limit: 10/h, burst: 20, cost: request.message.count } }
  own: { rate: { by: consumer, limit: 1/h, burst: 3, cost: request.message.size } }
consumers: { acme: { keys: ["sha256:dcfe8e53052cbcfd88fabf75bb28e2d1034b1eb34d7148bf68cb815c35ac9d1a"] } }
surfaces: { web: { policies: [edge, own], rules: [{ match: door.v1.Door.Names, auth: partner }] } }
"#;
    let gateway = Gateway::configured(&backend, "", "", rest).await;
    let check = async |query: &str, expected: u16, standing: &str| {
        let request = client::request("GET", &format!("/v1/names?{query}"))
            .header("x-api-key", "transom_MO9z8Gqn_tDSSgV5Co7eOFX5EyKKbDztF7rdXvIVQ_011FVp");
        let answer = soon(client::send(gateway.address, request, "")).await;
        let told = answer.header("ratelimit").unwrap_or_default();
        let is_expected = answer.status == expected && told.starts_with(standing);
        assert!(is_expected, "{query}: {} {told}, not {expected} {standing}", answer.status);
    };
    check("count=15&size=1", 200, "\"own\";r=2;").await;
    check("count=5&size=4", 400, "\"own\";r=2;").await;
    check("count=5&size=3", 429, "\"own\";r=2;").await;
    check("count=5&size=2", 200, "\"edge\";r=0;").await;
}

#[tokio::test]
async fn a_shadow_counts_and_lets_pass() {
    let backend = Backend::echo().await;
    let policies = [
        "try: { rate: { by: ip, limit: 1/h, mode: shadow, concurrency: 1 } }",
        "edge: { rate: { by: ip, limit: 100/h } }",
    ];
    let gateway = gateway(&backend, "", &policies).await;
    for left in (95..100).rev() {
        let answer = get(&gateway, &[]).await;
        assert_eq!(answer.status, 200);
        let told = answer.header("ratelimit").expect("a standing");
        assert!(told.starts_with(&format!("\"edge\";r={left};")), "{told}");
    }
    assert!((sample(&gateway, "transom_limits_shadowed_total").await - 4.0).abs() < 0.5);
}

#[tokio::test]
async fn calls_at_once_are_bounded_until_their_body_ends_or_the_client_leaves() {
    let (backend, frames) = Backend::fed().await;
    let gateway = gateway(&backend, "", &["edge: { rate: { by: ip, concurrency: 1 } }"]).await;
    let message = || Frame::data(framed(b""));
    let watch = || client::request("GET", "/v1/items/7:watch");
    let opened = client::open_h2(gateway.address, watch(), nothing());
    let (first, sent) = soon(async { tokio::join!(opened, frames.send(message())) }).await;
    sent.expect("the backend's stream is open");
    assert_eq!(first.status(), 200);
    let refused = get(&gateway, &[]).await;
    assert_eq!(verdict(&refused), (429, "CONCURRENCY".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(backend.calls(), 1);
    // The client goes away in the middle of the reply.
    drop(first);
    eventually("the place is free", async || get(&gateway, &[]).await.status != 429).await;
    drop(frames);

    let (backend, frames) = Backend::fed().await;
    let gateway = gateway_of(&backend).await;
    let opened = client::open_h2(gateway.address, watch(), nothing());
    let (first, sent) = soon(async { tokio::join!(opened, frames.send(message())) }).await;
    sent.expect("the backend's stream is open");
    assert_eq!(verdict(&get(&gateway, &[]).await), (429, "CONCURRENCY".to_owned()));
    let trailers = status(0, "");
    frames.send(Frame::trailers(trailers)).await.expect("an open call");
    soon(first.into_body().collect()).await.expect("a whole body");
    eventually("the place is free", async || get(&gateway, &[]).await.status != 429).await;
}

async fn gateway_of(backend: &Backend) -> Gateway {
    gateway(backend, "", &["edge: { rate: { by: ip, concurrency: 1 } }"]).await
}

#[tokio::test]
async fn a_plan_limits_its_consumers_and_nobody_without_identity() {
    let backend = Backend::echo().await;
    let rest = r#"
auth: { partner: { api_key: {} } }
plans: { small: { rate: 2/h }, large: { rate: 1000/h, quota: 1000/day } }
consumers:
  acme: { plan: small, keys: ["sha256:dcfe8e53052cbcfd88fabf75bb28e2d1034b1eb34d7148bf68cb815c35ac9d1a"] }
  other: { keys: ["sha256:6584388fdb35fdb2bfad842a51580d37197db772aaf4a6ff51b3dcb11fce0920"] }
policies:
  edge: { rate: { by: ip, limit: 100/h, quiet: true } }
  strict: { auth: partner, rate: { by: consumer, limit: plan } }
  kind: { auth: partner, rate: { by: consumer, limit: plan, default_plan: large } }
surfaces:
  web:
    policies: [edge, strict]
    rules:
      - { match: door.v1.Door.Names, auth: none }
      - { match: door.v1.Door.Delete, policies: [edge, kind] }
      - { match: door.v1.* }
"#;
    let (acme, other) = (
        "transom_MO9z8Gqn_tDSSgV5Co7eOFX5EyKKbDztF7rdXvIVQ_011FVp",
        "transom_MGFozsvi_51V7jp7g5Oct3dv28ldh0YaPWAGsUy7s_4OwSgf",
    );
    let gateway = Gateway::configured(&backend, "", "", rest).await;
    let check = async |method: &str, path: &str, key: &str, expected: u16, told: &str| {
        let request = client::request(method, path);
        let request = if key.is_empty() { request } else { request.header("x-api-key", key) };
        let answer = soon(client::send(gateway.address, request, "")).await;
        let standing = answer.header("ratelimit").unwrap_or_default();
        assert_eq!(answer.status.as_u16(), expected, "{method} {path} {key}: {}", answer.text());
        let is_as_told = if told.is_empty() { standing.is_empty() } else { standing.starts_with(told) };
        assert!(is_as_told, "{method} {path} {key}: {standing}");
    };
    for told in ["\"small\";r=1;", "\"small\";r=0;"] {
        check("GET", "/v1/items/7", acme, 200, told).await;
    }
    check("GET", "/v1/items/7", acme, 429, "\"small\";r=0;").await;
    // Without a plan there is no telling how much: nothing.
    check("GET", "/v1/items/7", other, 403, "").await;
    check("DELETE", "/v1/items/7", other, 200, "\"large\";r=999;").await;
    // The other policy is another bucket.
    check("DELETE", "/v1/items/7", acme, 200, "\"small\";r=1;").await;
    // Who is not asked who he is has no plan; the limit by address is his.
    for _ in 0..5 {
        check("GET", "/v1/names", "", 200, "").await;
    }
    // A bad key stays debited from the limit by address.
    check("GET", "/v1/items/7", "wrong", 401, "").await;
}

#[tokio::test]
async fn an_address_is_counted_as_its_holder_has_it() {
    let backend = Backend::echo().await;
    let rest =
        "policies: { edge: { rate: { by: ip, limit: 1/h } } }\nsurfaces: { web: { policies: [edge] } }";
    let gateway = Gateway::configured(&backend, "trusted_proxies: [127.0.0.0/8]", "", rest).await;
    let check = async |address: &str, expected: u16| {
        let answer = get(&gateway, &[("x-forwarded-for", address)]).await;
        assert_eq!(answer.status.as_u16(), expected, "{address}");
    };
    check("192.0.2.1", 200).await;
    check("192.0.2.2", 200).await;
    check("192.0.2.1", 429).await;
    check("::ffff:192.0.2.1", 429).await;
    // Whoever has one address of a /64 has them all.
    check("2001:db8::1", 200).await;
    check("2001:db8::ffff:ffff:ffff:ffff", 429).await;
    check("2001:db8:0:1::1", 200).await;
}
