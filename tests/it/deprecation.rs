//! Deprecation at the real door.

use serde_json::json;

use crate::support::backend::Backend;
use crate::support::{Gateway, eventually, http as client};

#[tokio::test]
async fn replies_say_what_is_deprecated_and_410_what_is_gone() {
    let backend = Backend::echo().await;
    let surfaces = r#"
surfaces:
  old:
    deprecated: { since: 2026-09-01, sunset: 2099-03-01, link: "https://shop.example/migrate" }
    rules:
      - { match: door.v1.Door.Delete, deprecated: { since: 2020-01-01, sunset: 2020-06-01 } }
      - { match: door.v1.Door.*Watch, deprecated: { since: 2030-01-01 } }
      - { match: door.v1.* }
"#;
    let gateway = Gateway::configured(&backend, "", "", surfaces).await;
    let check = async |verb: &str, path: &str, expected: (u16, &str, Option<&str>, Option<&str>)| {
        let answer = client::send(gateway.address, client::request(verb, path), "").await;
        let told = (
            answer.status.as_u16(),
            answer.header("deprecation").unwrap_or_default(),
            answer.header("sunset"),
            answer.header("link"),
        );
        assert_eq!(told, expected, "{verb} {path}");
        answer
    };
    let sunset = Some("Sun, 01 Mar 2099 00:00:00 GMT");
    let link = Some("<https://shop.example/migrate>; rel=\"deprecation\"; type=\"text/html\"");
    check("GET", "/v1/items/7", (200, "@1788220800", sunset, link)).await;
    check("GET", "/v1/items/7:watch", (200, "@1893456000", None, None)).await;
    let gone = (410, "@1577836800", Some("Mon, 01 Jun 2020 00:00:00 GMT"), None);
    let answer = check("DELETE", "/v1/items/7", gone).await;
    assert_eq!(answer.json()["details"][0]["reason"], "SUNSET");
    // A path that is not there is no rule's.
    check("GET", "/v1/nothing/here", (404, "", None, None)).await;
}

#[tokio::test]
async fn statistics_tell_which_consumers_call_what_is_deprecated() {
    const KEY: &str = "transom_MO9z8Gqn_tDSSgV5Co7eOFX5EyKKbDztF7rdXvIVQ_011FVp";
    let hash = "sha256:dcfe8e53052cbcfd88fabf75bb28e2d1034b1eb34d7148bf68cb815c35ac9d1a";
    let backend = Backend::echo().await;
    let rest = format!(
        "auth: {{ keys: {{ api_key: {{}} }} }}\n\
         consumers: {{ acme: {{ keys: [\"{hash}\"] }} }}\n\
         policies: {{ guarded: {{ auth: keys }} }}\n\
         surfaces: {{ web: {{ policies: [guarded], graphql: {{}}, protocols: [rest, graphql], rules: [\n  \
           {{ match: door.v1.Door.Get, deprecated: {{ since: 2026-01-01, sunset: 2099-01-01 }} }},\n  \
           {{ match: door.v1.Door.Delete, deprecated: {{ since: 2020-01-01, sunset: 2020-06-01 }} }},\n  \
           {{ match: door.v1.* }} ] }} }}\n"
    );
    let gateway = Gateway::configured(&backend, "", "", &rest).await;
    let call = async |verb: &str, path: &str, body: &'static str| {
        let request = client::request(verb, path).header("x-api-key", KEY);
        let request = request.header("content-type", "application/json");
        client::send(gateway.address, request, body).await.status.as_u16()
    };
    let stats = async || {
        let answer = client::send(gateway.admin, client::request("GET", "/stats"), "").await;
        answer.json()
    };
    // Neither what is not deprecated nor what is gone: who calls that is not known.
    assert_eq!((call("POST", "/v1/items", "{}").await, call("DELETE", "/v1/items/1", "").await), (200, 410));
    eventually("both are counted", async || stats().await["methods"]["door.v1.Door.Delete"].is_object())
        .await;
    let told = stats().await;
    assert_eq!((&told["deprecated"], &told["refused"]["deprecated"]["SUNSET"]), (&json!({}), &json!(1)));
    assert_eq!(call("GET", "/v1/items/1", "").await, 200);
    assert_eq!(call("POST", "/graphql", r#"{"query":"{get(name:\"a\"){name}}"}"#).await, 200);
    let calls = async || stats().await["deprecated"]["web"]["acme"]["calls"].as_u64();
    eventually("the consumer is told", async || calls().await == Some(2)).await;
    let last = stats().await["deprecated"]["web"]["acme"]["last"].clone();
    assert!(last.as_str().is_some_and(|last| last.starts_with("20")), "{last}");
}
