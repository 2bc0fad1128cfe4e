//! Services that share the calls of a rule, at the real door: how many each gets, and who keeps a side.

use std::collections::BTreeMap;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Request};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::backend::{Backend, messages, respond, status};
use crate::support::{Directory, Gateway, figure, http, refusals, token};

/// A backend that tells its name with every reply.
async fn side(name: &'static str) -> Backend {
    Backend::start(move |_: Request<hyper::body::Incoming>| async move {
        let mut metadata = HeaderMap::new();
        metadata.insert("side", HeaderValue::from_static(name));
        respond(metadata, messages(&[bytes::Bytes::new()], status(0, "")))
    })
    .await
}

/// A gateway whose rule has these keys.
async fn before(old: &Backend, new: &Backend, rule: &str) -> Gateway {
    with_services((old, ""), (new, ""), rule).await
}

/// The same, with keys of the services.
async fn with_services(old: (&Backend, &str), new: (&Backend, &str), rule: &str) -> Gateway {
    let services = services(old, new);
    let surfaces = format!("surfaces: {{ web: {{ rules: [{{ match: door.v1.Door.*, {rule} }}] }} }}\n");
    Gateway::with_file(&format!("{services}{surfaces}")).await
}

fn services((old, of_old): (&Backend, &str), (new, of_new): (&Backend, &str)) -> String {
    let (old, new) = (old.url(), new.url());
    format!(
        "services:\n  old: {{ endpoints: {{ static: [{old:?}] }}, {of_old} }}\n  \
         new: {{ endpoints: {{ static: [{new:?}] }}, {of_new} }}\n"
    )
}

/// The side that answers this caller.
async fn answered(gateway: std::net::SocketAddr, user: Option<&str>) -> String {
    let mut request = http::request("GET", "/v1/items/1");
    if let Some(user) = user {
        request = request.header("x-user", user);
    }
    let answer = http::send(gateway, request, "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("grpc-metadata-side").expect("a name").to_owned()
}

/// The sides of some callers.
async fn sides(gateway: &Gateway) -> BTreeMap<u32, String> {
    let mut sides = BTreeMap::new();
    for number in 0..60 {
        sides.insert(number, answered(gateway.address, Some(&format!("user-{number}"))).await);
    }
    sides
}

#[tokio::test]
async fn calls_are_shared_by_weight() {
    let (old, new) = (side("old").await, side("new").await);
    let gateway = before(&old, &new, "to: { old: 80, new: 20 }").await;
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let address = gateway.address;
        callers.spawn(async move {
            for _ in 0..250 {
                answered(address, None).await;
            }
        });
    }
    callers.join_all().await;
    figure(format_args!("of 2000 calls at 80 to 20: {} to {}", old.calls(), new.calls()));
    assert_eq!(old.calls() + new.calls(), 2000);
    assert!(new.calls().abs_diff(400) <= 40, "{} of 2000", new.calls());
}

#[tokio::test]
async fn sticky_callers_keep_their_side_across_processes() {
    let (old, new) = (side("old").await, side("new").await);
    let rule = "to: { old: 50, new: 50 }, sticky: { header: x-user }";
    let first = before(&old, &new, rule).await;
    let before_it = sides(&first).await;
    assert_eq!(sides(&first).await, before_it);
    let count = before_it.values().filter(|side| *side == "new").count();
    assert!((10..50).contains(&count), "{count} of 60");
    // Another process, with its services the other way round.
    drop(first);
    let other = "to: { new: 50, old: 50 }, sticky: { header: x-user }";
    assert_eq!(sides(&before(&old, &new, other).await).await, before_it);
    // Who is new already stays so, when there is more of it.
    let more = sides(&before(&old, &new, "to: { old: 20, new: 80 }, sticky: { header: x-user }").await).await;
    assert!(before_it.iter().all(|(user, side)| side == "old" || more[user] == "new"), "{more:?}");
    assert!(more.values().filter(|side| *side == "new").count() > count);
}

#[tokio::test]
async fn callers_without_the_key_take_turns_and_weight_0_gets_nobody() {
    let (old, new) = (side("old").await, side("new").await);
    let gateway = before(&old, &new, "to: { old: 50, new: 50 }, sticky: { header: x-user }").await;
    for _ in 0..20 {
        answered(gateway.address, None).await;
    }
    assert_eq!((old.calls(), new.calls()), (10, 10));
    let gateway = before(&old, &new, "to: { old: 100, new: 0 }, sticky: address").await;
    for _ in 0..20 {
        assert_eq!(answered(gateway.address, None).await, "old");
    }
}

#[tokio::test]
async fn each_side_has_its_own_timeout_and_retries() {
    let late = Backend::start(|_| async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        respond(HeaderMap::new(), messages(&[bytes::Bytes::new()], status(0, "")))
    })
    .await;
    let status_by = async |old: &str, new: &str, weights: &str| {
        let rule = format!("to: {{ {weights} }}");
        let gateway = with_services((&late, old), (&late, new), &rule).await;
        http::send(gateway.address, http::request("GET", "/v1/items/1"), "").await.status
    };
    // The first service is the less patient one, and then the more patient one.
    assert_eq!(status_by("timeout: 10ms", "", "old: 0, new: 100").await, 200);
    assert_eq!(status_by("", "timeout: 10ms", "old: 0, new: 100").await, 504);
    assert_eq!(status_by("timeout: 10ms", "", "old: 100, new: 0").await, 504);

    let failing = Backend::start(|_| async { respond(status(14, ""), Empty::new().boxed()) }).await;
    let retry = "retry: { attempts: 2, on: [unavailable] }";
    for (of_old, of_new, expected) in [("", retry, 2), (retry, "", 1)] {
        let before = failing.calls();
        let gateway = with_services((&late, of_old), (&failing, of_new), "to: { old: 0, new: 100 }").await;
        let answer = http::send(gateway.address, http::request("GET", "/v1/items/1"), "").await;
        assert_eq!((answer.status.as_u16(), failing.calls() - before), (503, expected));
    }
}

/// The side that answers a call with these headers.
async fn side_of(gateway: &Gateway, headers: &[(&str, &str)]) -> String {
    let request = http::request("GET", "/v1/items/1");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer = http::send(gateway.address, request, "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("grpc-metadata-side").expect("a name").to_owned()
}

/// A gateway that believes tokens, whose rule has these keys, and a maker of what its clients send.
async fn believing(
    old: &Backend,
    new: &Backend,
    rule: &str,
) -> (Gateway, Directory, impl Fn(Value) -> String) {
    let directory = Directory::new("rollout");
    let secret = format!("file:{}", token::secret(&directory).display());
    let services = services((old, ""), (new, ""));
    let gateway = Gateway::with_file(&format!(
        "{services}auth: {{ corp: {{ jwt: {{ issuer: \"https://id.test\", audiences: [api], algorithms: [HS256], \
         secret: {secret:?} }} }} }}\n\
         surfaces: {{ web: {{ rules: [{{ match: door.v1.Door.*, auth: corp, {rule} }}] }} }}\n"
    ))
    .await;
    let bearer = |claims: Value| {
        let mut all = json!({ "iss": "https://id.test", "aud": "api", "sub": "u", "exp": 4_000_000_000_u64 });
        for (name, value) in claims.as_object().expect("an object") {
            all[name] = value.clone();
        }
        format!("Bearer {}", token::signed(&all))
    };
    (gateway, directory, bearer)
}

async fn failures(gateway: &Gateway) -> String {
    let answer = http::send(gateway.admin, http::request("GET", "/metrics"), "").await;
    let line =
        answer.text().lines().find(|line| line.starts_with("transom_rollout_condition_failures_total "));
    line.and_then(|line| line.split_once(' ')).expect("a count").1.to_owned()
}

#[tokio::test]
async fn headers_choose_a_service_before_weights_do() {
    let (old, new) = (side("old").await, side("new").await);
    let rule = r#"to: { old: 100, new: 0 }, when: [
        { if: 'request.headers["x-beta"] == "0"', to: old },
        { if: 'request.headers["x-beta"] != ""', to: new },
        { if: 'int(request.headers["x-level"]) > 3', to: new }]"#;
    let gateway = before(&old, &new, rule).await;
    for (headers, expected) in [
        (vec![], "old"),
        (vec![("x-beta", "0")], "old"),
        (vec![("x-beta", "1")], "new"),
        (vec![("x-beta", "0"), ("x-level", "4")], "old"),
        (vec![("x-level", "4")], "new"),
        (vec![("x-level", "3")], "old"),
    ] {
        assert_eq!(side_of(&gateway, &headers).await, expected, "{headers:?}");
    }
    // What is not there is no failure; what is no number is one, and takes no call down.
    assert_eq!(failures(&gateway).await, "0");
    assert_eq!(side_of(&gateway, &[("x-level", "high")]).await, "old");
    assert_eq!(failures(&gateway).await, "1");
}

#[tokio::test]
async fn claims_choose_a_service_that_has_no_weight() {
    let (old, new) = (side("old").await, side("new").await);
    let rule = r#"to: old, when: [{ if: '"beta" in claims.groups', to: new }]"#;
    let (gateway, _directory, bearer) = believing(&old, &new, rule).await;
    for (claims, expected) in [
        (json!({}), "old"),
        (json!({ "groups": ["beta", "staff"] }), "new"),
        (json!({ "groups": ["staff"] }), "old"),
        (json!({ "groups": "beta" }), "old"),
    ] {
        let bearer = bearer(claims.clone());
        assert_eq!(side_of(&gateway, &[("authorization", &bearer)]).await, expected, "{claims}");
    }
    assert_eq!(failures(&gateway).await, "1");
}

#[tokio::test]
async fn replies_are_kept_apart_for_services_of_cases() {
    let (old, new) = (side("old").await, side("new").await);
    let rule = r#"to: old, when: [{ if: '"x-beta" in request.headers', to: new }], policies: [kept]"#;
    let services = services((&old, ""), (&new, ""));
    let gateway = Gateway::with_file(&format!(
        "{services}policies: {{ kept: {{ cache: {{ ttl: 60s }} }} }}\n\
         surfaces: {{ web: {{ rules: [{{ match: door.v1.Door.*, {rule} }}] }} }}\n"
    ))
    .await;
    for _ in 0..3 {
        assert_eq!(side_of(&gateway, &[]).await, "old");
        assert_eq!(side_of(&gateway, &[("x-beta", "1")]).await, "new");
    }
    assert_eq!((old.calls(), new.calls()), (1, 1));
}

#[tokio::test]
async fn conditions_are_checked_where_they_stand() {
    let rule = |condition: &str| {
        format!(
            "surfaces: {{ web: {{ rules: [{{ match: door.v1.*, when: [{{ to: door, if: '{condition}' }}] }}] }} }}\n"
        )
    };
    for (condition, expected) in [
        ("request.heders[\"a\"] == \"b\"", "4:80: `request` has no field `heders`"),
        ("request.headers[\"a\"]", "4:"),
        ("request.path == 1", "4:"),
        ("\"beta\" in claims.groups", "4:71: `claims` is never there: "),
    ] {
        let found = refusals(&rule(condition)).await;
        assert!(found.len() == 1 && found[0].starts_with(expected), "{condition}: {found:?}");
    }
}

#[tokio::test]
async fn a_claim_keeps_its_side() {
    let (old, new) = (side("old").await, side("new").await);
    let rule = "to: { old: 50, new: 50 }, sticky: { claim: org.tenant }";
    let (gateway, _directory, bearer) = believing(&old, &new, rule).await;
    let mut found = BTreeMap::new();
    for subject in ["a", "b"] {
        for tenant in 0..20 {
            let bearer = bearer(json!({ "sub": subject, "org": { "tenant": tenant } }));
            let side = side_of(&gateway, &[("authorization", &bearer)]).await;
            assert_eq!(found.entry(tenant).or_insert_with(|| side.clone()), &side, "{tenant}");
        }
    }
    let count = found.values().filter(|side| *side == "new").count();
    assert!((1..20).contains(&count), "{count} of 20");
    // Who has no such claim takes turns.
    let bearer = bearer(json!({}));
    let first = side_of(&gateway, &[("authorization", &bearer)]).await;
    assert_ne!(side_of(&gateway, &[("authorization", &bearer)]).await, first);
}

#[tokio::test]
async fn a_cookie_keeps_its_side_and_is_given_where_that_is_said() {
    let (old, new) = (side("old").await, side("new").await);
    let call = async |gateway: &Gateway, cookie: Option<&str>| {
        let request = http::request("GET", "/v1/items/1");
        let request = cookie.into_iter().fold(request, |request, cookie| request.header("cookie", cookie));
        let answer = http::send(gateway.address, request, "").await;
        let side = answer.header("grpc-metadata-side").expect("a name").to_owned();
        (side, answer.header("set-cookie").map(str::to_owned))
    };
    let rule = "to: { old: 50, new: 50 }, sticky: { cookie: session }";
    let gateway = before(&old, &new, rule).await;
    let mut sides = BTreeMap::new();
    for number in (0..20).chain(0..20) {
        let (side, set) = call(&gateway, Some(&format!("a=b; session={number}"))).await;
        assert_eq!((sides.entry(number).or_insert_with(|| side.clone()), set), (&mut side.clone(), None));
    }
    let (first, set) = call(&gateway, None).await;
    assert_eq!(set, None);
    assert_ne!(call(&gateway, None).await.0, first, "who has none takes turns");

    let rule = "to: { old: 50, new: 50 }, sticky: { cookie: __Host-side, max_age: 24h }";
    let gateway = before(&old, &new, rule).await;
    let mut given = std::collections::BTreeSet::new();
    for _ in 0..10 {
        let (side, set) = call(&gateway, None).await;
        let set = set.expect("a cookie");
        let (pair, attributes) = set.split_once("; ").expect("attributes");
        assert_eq!(attributes, "Max-Age=86400; Path=/; HttpOnly; Secure; SameSite=Lax");
        let value = pair.strip_prefix("__Host-side=").expect("its name");
        assert!(value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit()), "{value}");
        assert_eq!(call(&gateway, Some(pair)).await, (side, None));
        given.insert(pair.to_owned());
    }
    assert_eq!(given.len(), 10);
}

#[tokio::test]
async fn calls_of_one_operation_keep_one_side_and_give_one_cookie() {
    let (old, new) = (side("old").await, side("new").await);
    let services = services((&old, ""), (&new, ""));
    let query = |names: [&str; 2]| {
        let [a, b] = names;
        format!("{{ a: get(name: {a:?}) {{ name }} b: get(name: {b:?}) {{ name }} }}")
    };
    let route = format!("{{ get: /v1/two, query: {:?} }}", query(["x", "y"]));
    let sticky = "sticky: { cookie: side, max_age: 1h }";
    let gateway = Gateway::with_file(&format!(
        "{services}surfaces: {{ web: {{ protocols: [rest, graphql], graphql: {{ batch: 10, routes: [{route}] }},\n  \
         rules: [{{ match: door.v1.Door.*, to: {{ old: 50, new: 50 }}, {sticky} }}] }} }}\n"
    ))
    .await;
    let operation = json!({ "query": query(["1", "2"]) });
    let batch = json!([operation, { "query": query(["3", "4"]) }]);
    for (verb, path, body, calls) in [
        ("POST", "/graphql", operation.to_string(), 2),
        ("POST", "/graphql", batch.to_string(), 4),
        ("GET", "/v1/two", String::new(), 2),
    ] {
        let call = async |cookie: Option<&str>| {
            let before = (old.calls(), new.calls());
            let request = http::request(verb, path).header("content-type", "application/json");
            let request =
                cookie.into_iter().fold(request, |request, cookie| request.header("cookie", cookie));
            let answer = http::send(gateway.address, request, body.clone()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let set = answer.headers.get_all("set-cookie").iter();
            let set: Vec<_> = set.map(|one| one.to_str().expect("ASCII").to_owned()).collect();
            ((old.calls() - before.0, new.calls() - before.1), set)
        };
        for _ in 0..10 {
            let (sides, set) = call(None).await;
            assert!(sides == (calls, 0) || sides == (0, calls), "{verb} {path} {body}: {sides:?}");
            let [set] = &set[..] else { panic!("{verb} {path}: {set:?}") };
            let (pair, _) = set.split_once("; ").expect("attributes");
            assert!(pair.starts_with("side="), "{set}");
            // Who sends it back is where it was.
            assert_eq!(call(Some(pair)).await, (sides, vec![]), "{verb} {path}");
        }
    }
}
