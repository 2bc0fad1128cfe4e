//! Rules of `buf.validate` at the real doors: what breaks one never reaches the backend, and the reply says which.

use serde_json::{Value, json};

use crate::metrics::{scrape, value};
use crate::support::backend::Backend;
use crate::support::{Directory, Gateway, eventually, http as client};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A gateway for `tests/data/rules.proto` and a backend that sends every message back.
async fn doors(sections: &str) -> (Backend, Gateway) {
    let backend = Backend::echo().await;
    let directory = Directory::new("rules");
    let file = directory.path().join("transom.yaml");
    let url = backend.url();
    let text = format!(
        "version: 1\n\
         descriptors: [{{ proto: {ROOT}/tests/data/rules.proto, includes: [{ROOT}/tests/data, {ROOT}/tests/protos] }}]\n\
         services: {{ orders: {{ endpoints: {{ static: [{url:?}] }} }} }}\n{sections}\n"
    );
    std::fs::write(&file, text).expect("a configuration file");
    let gateway = Gateway::start(&["--config", file.to_str().expect("a path in UTF-8")]).await;
    (backend, gateway)
}

/// The violations of a refusal: field and rule.
fn violations(status: &Value) -> Vec<(String, String)> {
    let details = status["details"].as_array().expect("details");
    let broken = details.iter().find(|one| one["fieldViolations"].is_array()).expect("a BadRequest");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let broken = broken["fieldViolations"].as_array().expect("violations").iter();
    broken.map(|one| (text(&one["field"]), text(&one["reason"]))).collect()
}

async fn post(gateway: &Gateway, path: &str, body: &str) -> client::Answer {
    let request = client::request("POST", path).header("content-type", "application/json");
    client::send(gateway.address, request, body.to_owned()).await
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(field, rule)| ((*field).to_owned(), (*rule).to_owned())).collect()
}

#[tokio::test]
async fn a_request_that_breaks_rules_is_refused_with_all_of_them() {
    let (backend, gateway) = doors("").await;
    let check = async |path: &str, body: Value, expected: &[(&str, &str)]| {
        let answer = post(&gateway, path, &body.to_string()).await;
        assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text());
        let status = answer.json();
        assert_eq!(status["code"], 3, "{status}");
        assert_eq!(status["details"][1]["reason"], "RULES_BROKEN", "{status}");
        assert_eq!(violations(&status), pairs(expected), "{path} {body}");
    };
    let items = json!([{"name": "a", "price": 1}]);
    check("/v1/shops/abc/orders", json!({"limit": 5}), &[("items", "repeated.min_items")]).await;
    // What the path captures counts as what the body says.
    check(
        "/v1/shops/a1/orders",
        json!({"items": items, "limit": 5}),
        &[("shop", "string.min_len"), ("shop", "string.pattern")],
    )
    .await;
    let body = json!({
        "items": [{"price": 2}, {"name": "b", "labels": {"a b c": "x"}}],
        "limit": 1, "contactMail": "nobody"
    });
    check(
        "/v1/shops/abc/orders",
        body,
        &[
            ("", "order.total"),
            ("items[0].name", "required"),
            ("items[1].price", "int64.gt"),
            ("items[1].labels[\"a b c\"]", "string.max_len"),
            ("contactMail", "string.email"),
        ],
    )
    .await;
    let answer = client::send(gateway.address, client::request("GET", "/v1/orders/7?depth=9"), "").await;
    assert_eq!(violations(&answer.json()), pairs(&[("id", "string.uuid"), ("depth", "int32.lte")]));
    assert_eq!(backend.calls(), 0, "nothing is sent");

    let body = json!({"items": items, "limit": 5});
    let answer = post(&gateway, "/v1/shops/abc/orders", &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = post(&gateway, "/v1/notes", "{}").await;
    assert_eq!((answer.status.as_u16(), backend.calls()), (200, 2), "{}", answer.text());
}

#[tokio::test]
async fn each_message_of_a_stream_is_held_to_its_rules() {
    let (_backend, gateway) = doors("").await;
    let good = json!({"shop": "abc", "items": [{"name": "a", "price": 1}], "limit": 5});
    let answer = post(&gateway, "/v1/orders:import", &format!("{good}\n{{}}\n")).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    let expected =
        pairs(&[("shop", "string.min_len"), ("shop", "string.pattern"), ("items", "repeated.min_items")]);
    assert_eq!(violations(&answer.json()), expected);
    let answer = post(&gateway, "/v1/orders:import", &format!("{good}\n")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn graphql_is_held_to_the_same_rules() {
    let (backend, gateway) = doors("surfaces: { web: { protocols: [graphql] } }").await;
    let query = json!({"query": "{ get(id: \"7\") { shop } }"});
    let answer = post(&gateway, "/graphql", &query.to_string()).await;
    let reply = answer.json();
    let error = &reply["errors"][0];
    assert_eq!(error["extensions"]["code"], "INVALID_ARGUMENT", "{reply}");
    assert_eq!(error["extensions"]["reason"], "RULES_BROKEN", "{reply}");
    assert_eq!(error["message"], "`id`: must be a UUID", "{reply}");
    assert_eq!(backend.calls(), 0);
}

#[tokio::test]
async fn rules_are_asked_where_they_are_wanted() {
    let (backend, gateway) = doors(
        "validation: { violations: 2 }\n\
         surfaces:\n  off: { hosts: [off.test], validation: false }\n  \
         mixed: { hosts: [mixed.test], rules: [{ match: rules.v1.Orders.Get, validation: false }, { match: '*' }] }\n  \
         on: { hosts: [on.test] }",
    )
    .await;
    let get = async |host: &str| {
        let request = client::request("GET", "/v1/orders/7").header("host", host);
        client::send(gateway.address, request, "").await.status.as_u16()
    };
    assert_eq!((get("off.test").await, get("mixed.test").await, get("on.test").await), (200, 200, 400));
    assert_eq!(backend.calls(), 2);
    // As many are told as there may be.
    let request = client::request("POST", "/v1/shops/a1/orders").header("host", "mixed.test");
    let answer = client::send(gateway.address, request, "{}").await;
    assert_eq!(violations(&answer.json()).len(), 2, "{}", answer.text());
}

#[tokio::test]
async fn a_refusal_is_counted_and_told() {
    let directory = Directory::new("validation-log");
    let log = directory.path().join("access.log");
    let observe = format!("observe: {{ access_log: {{ to: {:?} }} }}", format!("file:{}", log.display()));
    let (_backend, gateway) = doors(&observe).await;
    let answer = client::send(gateway.address, client::request("GET", "/v1/orders/7"), "").await;
    assert_eq!(answer.status, 400);
    let method = "method=\"rules.v1.Orders.Get\"";
    eventually("the refusal is counted by its method", async || {
        let metrics = scrape(&gateway).await;
        value(&metrics, "transom_refused_total{stage=\"validation\",reason=\"RULES_BROKEN\"}") == Some(1.0)
            && value(&metrics, &format!("transom_validation_refusals_total{{surface=\"default\",{method}}}"))
                == Some(1.0)
    })
    .await;
    let stats = client::send(gateway.admin, client::request("GET", "/stats"), "").await.json();
    let of_method = &stats["methods"]["rules.v1.Orders.Get"]["total"];
    assert_eq!((&of_method["rules_broken"], &of_method["calls"]), (&json!(1), &json!(1)), "{stats}");
    let line = || serde_json::from_str::<Value>(&std::fs::read_to_string(&log).ok()?).ok();
    eventually("the line is written", async || line().is_some()).await;
    let line = line().expect("it is written");
    assert_eq!(
        (&line["refused_by"], &line["reason"]),
        (&json!("validation"), &json!("RULES_BROKEN")),
        "{line}"
    );
}
