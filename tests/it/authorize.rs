//! Conditions and scopes at the real door: what is allowed, what is refused and in which words.

use bytes::Bytes;
use http::HeaderMap;

use crate::support::backend::{Backend, messages, respond, status};
use crate::support::{Gateway, http as client, refusals};

async fn backend() -> Backend {
    Backend::start(async |_| {
        respond(HeaderMap::new(), messages(&[Bytes::from_static(b"\x0a\x01a")], status(0, "")))
    })
    .await
}

const RULES: &str = r#"
policies:
  office: { allow: 'inNetwork(request.address, ["127.0.0.0/8", "::1"])' }
  beta: { allow: '"x-beta" in request.headers && request.headers["x-beta"] in ["1", "2"]' }
  weekday: { allow: "request.time > timestamp('2026-01-01T00:00:00Z')" }
surfaces:
  web:
    policies: [office, beta, weekday]
    rules:
      - match: door.v1.Door.Delete
        allow: >-
          request.message.name.startsWith("items/") &&
          request.message.name != "items/7"
      - match: door.v1.Door.Names
        allow: int(request.headers["x-level"]) / int(request.headers["x-by"]) > 1
      - match: door.v1.Door.Watch
        policies: []
      - match: door.v1.*
        to: door
"#;

#[tokio::test]
async fn calls_are_allowed_by_condition() {
    let backend = backend().await;
    let gateway = Gateway::configured(&backend, "", "", RULES).await;
    let check = async |verb: &str, path: &str, headers: &[(&str, &str)], expected: u16| {
        let request =
            headers.iter().fold(client::request(verb, path), |r, (name, value)| r.header(*name, *value));
        let answer = client::send(gateway.address, request, "").await;
        let shown = answer.json();
        assert_eq!(answer.status.as_u16(), expected, "{verb} {path} {headers:?}: {shown}");
        if expected == 403 {
            assert_eq!(shown["details"][0]["reason"], "FORBIDDEN", "{shown}");
            assert_eq!(shown["message"], "the call is not allowed", "{shown}");
            assert_eq!(shown["code"], 7, "{shown}");
        }
    };
    // Of policies, all conditions hold.
    check("GET", "/v1/items/7", &[("x-beta", "1")], 200).await;
    check("GET", "/v1/items/7", &[("X-Beta", "2")], 200).await;
    check("GET", "/v1/items/7", &[("x-beta", "3")], 403).await;
    check("GET", "/v1/items/7", &[("x-beta", "1"), ("x-beta", "2")], 403).await;
    check("GET", "/v1/items/7", &[], 403).await;
    // A rule's own takes their place, and sees what the path captures, decoded.
    check("DELETE", "/v1/items/8", &[], 200).await;
    check("DELETE", "/v1/items/7", &[], 403).await;
    check("DELETE", "/v1/items/%37", &[], 403).await;
    // What has no value does not hold.
    check("GET", "/v1/names", &[("x-level", "4"), ("x-by", "2")], 200).await;
    check("GET", "/v1/names", &[("x-level", "4"), ("x-by", "0")], 403).await;
    check("GET", "/v1/names", &[("x-level", "-9223372036854775808"), ("x-by", "-1")], 403).await;
    check("GET", "/v1/names", &[("x-level", "4")], 403).await;
    check("GET", "/v1/names", &[("x-level", "four"), ("x-by", "2")], 403).await;
    check("GET", "/v1/items/7:watch", &[], 200).await;

    let metrics = client::send(gateway.admin, client::request("GET", "/metrics"), "").await;
    let metrics = metrics.text();
    for line in [
        "transom_permissions_total{result=\"allowed\"} 4",
        "transom_permissions_total{result=\"condition\"} 5",
        "transom_permissions_total{result=\"failed\"} 4",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn conditions_judge_what_the_backend_is_sent() {
    let backend = backend().await;
    let rules = r#"
routes: { ignored_query: [utm] }
surfaces:
  web:
    rules:
      - match: door.v1.Door.Get
        allow: request.message.name == "items/7" && request.message.count <= 10
      - match: door.v1.Door.Names
        allow: request.message.parent.size == 5 && request.message.color == 1 && request.message.note != "no"
"#;
    let gateway = Gateway::configured(&backend, "", "", rules).await;
    let check = async |path: &str, expected: u16| {
        let answer = client::send(gateway.address, client::request("GET", path), "").await;
        assert_eq!(answer.status.as_u16(), expected, "{path}: {}", answer.text());
    };
    // What the query leaves out is zero.
    check("/v1/items/7", 200).await;
    check("/v1/items/7?count=10", 200).await;
    check("/v1/items/7?count=11", 403).await;
    check("/v1/items/7?%63ount=11", 403).await;
    check("/v1/items/7?count=1%31", 403).await;
    check("/v1/items/7?count=many", 403).await;
    check("/v1/items/8?count=1", 403).await;
    // Whatever one of two values says, none is sent.
    check("/v1/items/7?count=1&count=11", 400).await;
    check("/v1/items/7?count=11&count=1", 403).await;
    check("/v1/items/7?count=1&name=items/8", 400).await;
    // A binding whose path has other fields takes this one from the query.
    check("/v1/by-parent/a?name=items/7", 200).await;
    check("/v1/by-parent/a?name=items/8", 403).await;
    check("/v1/by-parent/a", 403).await;
    check("/v1/names?parent.size=5&color=COLOR_RED", 200).await;
    check("/v1/names?parent.size=5&color=1&utm=x&note=yes", 200).await;
    check("/v1/names?parent.size=5&color=1&note=no", 403).await;
    check("/v1/names?parent[size]=5&color=1", 403).await;
    check("/v1/names?color=1", 403).await;
    check("/v1/names?utm=1&&&parent.size=+5", 403).await;
}

#[tokio::test]
async fn who_calls_decides() {
    let random: Vec<u8> = (0..=255).collect();
    let key = transom::policy::api_key::generate(&random).expect("enough bytes");
    let hash = transom::policy::api_key::KeyHash::of(&key);
    let backend = backend().await;
    let rules = format!(
        r#"
auth: {{ partner: {{ api_key: {{}} }} }}
consumers: {{ acme: {{ keys: ["{hash}"] }} }}
surfaces:
  web:
    rules:
      - {{ match: door.v1.Door.Get, auth: partner, scopes: [items.write, items.read] }}
      - {{ match: door.v1.Door.Delete, auth: partner, allow: 'consumer.name == "acme" && claims.scope == []' }}
      - {{ match: door.v1.Door.Names, auth: partner, allow: 'consumer.name == "other"' }}
      - match: door.v1.Door.Watch
        auth: {{ any: [partner, none] }}
        allow: '"x-open" in request.headers || identity.provider == "partner"'
"#
    );
    let gateway = Gateway::configured(&backend, "", "", &rules).await;
    let check = async |verb: &str, path: &str, headers: &[(&str, &str)], expected: (u16, &str, &str)| {
        let request =
            headers.iter().fold(client::request(verb, path), |r, (name, value)| r.header(*name, *value));
        let answer = client::send(gateway.address, request, "").await;
        let status = answer.status.as_u16();
        let shown = if status == 200 { serde_json::Value::Null } else { answer.json() };
        let reason = shown["details"][0]["reason"].as_str().unwrap_or_default();
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert_eq!((status, reason, challenge), expected, "{verb} {path} {headers:?}: {shown}");
    };
    let key = ("x-api-key", key.as_str());
    let challenge = "ApiKey realm=\"transom\"";
    let scopes = "Bearer error=\"insufficient_scope\", scope=\"items.read items.write\"";
    check("GET", "/v1/items/7", &[], (401, "UNAUTHENTICATED", challenge)).await;
    check("GET", "/v1/items/7", &[key], (403, "FORBIDDEN", scopes)).await;
    check("DELETE", "/v1/items/7", &[key], (200, "", "")).await;
    check("GET", "/v1/names", &[key], (403, "FORBIDDEN", "")).await;
    // Nobody's call is told to say who calls where that may help, and goes on where it need not.
    check("GET", "/v1/items/7:watch", &[], (401, "UNAUTHENTICATED", challenge)).await;
    check("GET", "/v1/items/7:watch", &[("x-open", "1")], (200, "", "")).await;
    check("GET", "/v1/items/7:watch", &[key], (200, "", "")).await;
}

/// What is found in a file with these sections, with places in it.
async fn check(sections: &str, expected: &[&str]) {
    assert_eq!(refusals(sections).await, expected, "{sections}");
}

#[tokio::test]
async fn conditions_are_checked_where_they_stand() {
    let rule = |rpc: &str, condition: &str| {
        format!("surfaces:\n  web:\n    rules:\n      - {{ match: {rpc}, allow: {condition} }}\n")
    };
    check(&rule("door.v1.Door.Delete", "request.message.name == 'a'"), &[]).await;
    check(
        &rule("door.v1.Door.Update", "request.message.item.name == 'a'"),
        &["7:67: `item.name` is neither captured by `/v1/whole` of `door.v1.Door.Update` \
         nor one of its query: the body is unread when calls are judged"],
    )
    .await;
    // Beside a body that is one field, the others come by the query; as a body, none.
    check(&rule("door.v1.Door.Upload", "request.message.name == 'a'"), &[]).await;
    check(
        &rule("door.v1.Door.Update", "request.message.allow_missing"),
        &["7:62: `allow_missing` is neither captured by `/v1/whole` of `door.v1.Door.Update` \
         nor one of its query: the body is unread when calls are judged"],
    )
    .await;
    check(
        &rule("door.v1.Door.Delete", "\"request.message.nam == 'a' || claim.a\""),
        &[
            "7:63: `door.v1.Item`, the request of `door.v1.Door.Delete`, has no field `nam`",
            "7:77: unknown name `claim`: did you mean `claims`?",
        ],
    )
    .await;
    check(
        &rule("door.v1.Door.Delete", "request.message.parent.tags == 'a'"),
        &["7:69: `parent.tags` is repeated: name a single value in it"],
    )
    .await;
    check(
        &rule("door.v1.Door.Delete", "request.message.parent == 'a'"),
        &["7:62: `parent` is a message: name a single value in it"],
    )
    .await;
    // One finding, however many rules the policy holds for.
    check(
        "policies:\n  p:\n    allow: |\n      request.method == \"GET\" &&\n        request.asn == 1\n\
         surfaces:\n  web:\n    policies: [p]\n    rules: [{ match: door.v1.Door.Get }, { match: door.v1.* }]\n",
        &["8:17: `request.asn` needs `geo.asn_file`"],
    )
    .await;
    // Where nobody authenticates, nobody is anybody.
    check(
        "surfaces:\n  web:\n    rules:\n      - { match: door.v1.Door.Get, allow: claims.admin, scopes: [a] }\n\
         \x20     - { match: door.v1.*, auth: none, allow: identity.subject == 'a' }\n",
        &[
            "7:43: `claims` is never there: nobody authenticates here, for no `auth` asks for it",
            "7:65: no scope is ever granted: nobody authenticates here, for no `auth` asks for it",
            "8:48: `identity.subject` is never there: nobody authenticates here, for no `auth` asks for it",
        ],
    )
    .await;
    // What is not shown has no path.
    check(
        "surfaces:\n  web:\n    rules:\n      - { match: door.v1.Door.Delete, expose: false, allow: request.message.name == 'a' }\n\
         \x20     - { match: door.v1.* }\n",
        &[],
    )
    .await;
}

#[tokio::test]
async fn costs_are_checked_where_they_stand() {
    let cost = |rpc: &str, cost: &str| {
        format!("surfaces:\n  web:\n    rules:\n      - {{ match: {rpc}, cost: {cost} }}\n")
    };
    check(&cost("door.v1.Door.Names", "request.message.count / 10 + 1"), &[]).await;
    check(
        &cost("door.v1.Door.*", "request.message.count / 10 + 1"),
        &["7:56: `count` is neither captured by `/v1/chat` of `door.v1.Door.Chat` nor one of its query: \
         the body is unread when calls are judged"],
    )
    .await;
    check(
        &cost("door.v1.Door.Names", "request.message.name"),
        &["7:60: expected a whole number as the outcome, found string"],
    )
    .await;
    check(
        "surfaces:\n  web:\n    rules:\n      - { match: door.v1.Door.Get, allow: claim.b,\n          \
         rate: { by: ip, limit: 9/s, cost: 1 + claim.a } }\n",
        &[
            "8:49: unknown name `claim`: did you mean `claims`?",
            "7:43: unknown name `claim`: did you mean `claims`?",
        ],
    )
    .await;
    // Before authentication nobody knows who calls.
    let by = |by: &str, auth: &str| {
        format!(
            "auth: {{ k: {{ api_key: {{}} }} }}\npolicies: {{ p: {{ rate: {{ by: {by}, limit: 9/s }} }} }}\n\
             surfaces:\n  web:\n    policies: [p]\n    rules:\n      - {{ match: door.v1.*, \
             cost: size(claims), auth: {auth} }}\n"
        )
    };
    check(&by("consumer", "k"), &[]).await;
    check(
        &by("ip", "k"),
        &["10:35: `claims` is not known yet to a limit by address, header or method: \
         give that one a `cost` of its own"],
    )
    .await;
    check(
        &by("ip", "none"),
        &["10:35: `claims` is never there: nobody authenticates here, for no `auth` asks for it"],
    )
    .await;
}
