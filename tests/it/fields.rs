//! Field masks at the real door: one backend, two surfaces, of which one shows less. The backend sends every
//! message back.

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::support::backend::{Backend, messages, respond, status};
use crate::support::{Gateway, http as client, refusals};

const SURFACES: &str = r#"
policies:
  public: { fields: [-size, "-parent.size, -children.size", -items_by_name.size, -data] }
surfaces:
  whole:
    hosts: [whole.test]
  masked:
    hosts: [masked.test]
    policies: [public]
    rules:
      - { match: [door.v1.Door.Create, door.v1.Door.Chat, door.v1.Door.Names, door.v1.Door.Raw] }
      - { match: door.v1.Door.Update, fields: "item.name" }
  narrow:
    hosts: [narrow.test]
    fields: name
    rules: [{ match: door.v1.Door.Create }]
"#;

async fn gateway(backend: &Backend) -> Gateway {
    let url = backend.url();
    Gateway::with_file(&format!("services: {{ door: {{ endpoints: {{ static: [{url:?}] }} }} }}{SURFACES}"))
        .await
}

#[tokio::test]
async fn a_surface_shows_what_its_mask_leaves() {
    let backend = Backend::echo().await;
    let gateway = gateway(&backend).await;
    let check = async |host: &str, verb: &str, path: &str, body: &Value, expected: &Value| {
        let request = client::request(verb, path).header("host", host);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = client::send(gateway.address, request, body).await;
        assert_eq!(answer.status, 200, "{host} {verb} {path}: {}", answer.text());
        assert_eq!(answer.json(), *expected, "{host} {verb} {path}");
    };
    let item = json!({
        "name": "a", "size": "1", "data": "AA==", "tags": ["t"],
        "parent": {"name": "b", "size": "2", "parent": {"size": "3"}},
        "children": [{"name": "c", "size": "4"}, {"size": "5"}],
        "itemsByName": {"k": {"name": "d", "size": "6"}},
    });
    check("whole.test", "POST", "/v1/items", &item, &item).await;
    let shown = json!({
        "name": "a", "tags": ["t"],
        "parent": {"name": "b", "parent": {"size": "3"}},
        "children": [{"name": "c"}, {}],
        "itemsByName": {"k": {"name": "d"}},
    });
    check("masked.test", "POST", "/v1/items", &item, &shown).await;
    check("masked.test", "POST", "/v1/items", &json!({"size": "1"}), &json!({})).await;
    check("narrow.test", "POST", "/v1/items", &item, &json!({"name": "a"})).await;
    // A rule's own mask takes the place of its policies'.
    let update = json!({"item": {"name": "items/1", "size": "1"}, "allowMissing": true});
    check("whole.test", "PATCH", "/v1/whole", &update, &update).await;
    check("masked.test", "PATCH", "/v1/whole", &update, &json!({"item": {"name": "items/1"}})).await;
    // Of a reply that is one field, what the mask of the whole message leaves; of a hidden one its default.
    let names = "?parent.name=p&parent.size=7&size=8&tags=x";
    check(
        "whole.test",
        "GET",
        &format!("/v1/parent{names}"),
        &Value::Null,
        &json!({"name": "p", "size": "7"}),
    )
    .await;
    check("masked.test", "GET", &format!("/v1/parent{names}"), &Value::Null, &json!({"name": "p"})).await;
    check("masked.test", "GET", &format!("/v1/names{names}"), &Value::Null, &json!(["x"])).await;
    check("whole.test", "GET", &format!("/v1/size{names}"), &Value::Null, &json!("8")).await;
    check("masked.test", "GET", &format!("/v1/size{names}"), &Value::Null, &json!("0")).await;
}

#[tokio::test]
async fn every_message_of_a_stream_is_masked() {
    let backend = Backend::echo().await;
    let gateway = gateway(&backend).await;
    let body = "{\"name\":\"a\",\"size\":\"1\"}\n{\"size\":\"2\"}\n{\"name\":\"b\",\"children\":[{\"size\":\"3\"}]}\n";
    let check = async |host: &str, expected: &str| {
        let request = client::request("POST", "/v1/chat")
            .header("host", host)
            .header("content-type", "application/x-ndjson");
        let answer = client::send(gateway.address, request, body).await;
        assert_eq!(answer.text(), expected, "{host}");
    };
    check("whole.test", body).await;
    check("masked.test", "{\"name\":\"a\"}\n{}\n{\"name\":\"b\",\"children\":[{}]}\n").await;
}

#[tokio::test]
async fn bytes_as_they_are_and_details_of_errors_are_not_masked() {
    let backend = Backend::echo().await;
    let gateway = gateway(&backend).await;
    let request =
        client::request("POST", "/v1/raw").header("host", "masked.test").header("content-type", "a/b");
    let answer = client::send(gateway.address, request, "as it is").await;
    assert_eq!((answer.header("content-type"), answer.text()), (Some("a/b"), "as it is"));
    // google.rpc.Status { code: 5, details: [Any { type_url, value: Item { size: 7 } }] }
    let backend = Backend::start(async |_| {
        let mut trailers = status(5, "");
        let details = "CAUaFAoOeC9kb29yLnYxLkl0ZW0SAhgH";
        trailers.insert("grpc-status-details-bin", HeaderValue::from_static(details));
        respond(HeaderMap::new(), messages(&[], trailers))
    })
    .await;
    let gateway = self::gateway(&backend).await;
    let request = client::request("POST", "/v1/items").header("host", "masked.test");
    let answer = client::send(gateway.address, request, "{}").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.json()["details"], json!([{"@type": "x/door.v1.Item", "size": "7"}]));
}

#[tokio::test]
async fn masks_are_checked_where_they_stand() {
    let check = async |sections: &str, expected: &[&str]| {
        assert_eq!(refusals(sections).await, expected, "{sections}");
    };
    let rule = |rpc: &str, fields: &str| {
        format!("surfaces:\n  web:\n    rules:\n      - {{ match: {rpc}, fields: {fields} }}\n")
    };
    let get = "door.v1.Door.Get";
    check(&rule(get, "name"), &[]).await;
    check(&rule(get, "\"-name, -parent.parent.name, -children.tags\""), &[]).await;
    check(&rule(get, "nmae"), &["7:44: `nmae`: `door.v1.Item` has no field `nmae`: did you mean `name`?"])
        .await;
    check(
        &rule(get, "[-name, \"-tags, -parent.chidlren.name\"]"),
        &["7:60: `parent.chidlren.name`: `door.v1.Item` has no field `chidlren`: did you mean `children`?"],
    )
    .await;
    check(&rule(get, "-name.x"), &["7:44: `name.x`: `name` of `door.v1.Item` holds no message"]).await;
    check(&rule(get, "labels.x"), &["7:44: `labels.x`: `labels` of `door.v1.Item` holds no message"]).await;
    check(
        &rule(get, "\"parent.name,time.seconds\""),
        &["7:57: `time.seconds`: `time` of `door.v1.Item` is a `google.protobuf.Timestamp`: it is shown whole or not at all"],
    )
    .await;
    // JSON names are no names of fields: `itemsByName` would hide nothing.
    check(
        &rule(get, "-itemsByName"),
        &["7:44: `itemsByName`: `door.v1.Item` has no field `itemsByName`: did you mean `items_by_name`?"],
    )
    .await;
    // Of many replies, one that has the path is enough; one in which it leads astray is too many.
    check(&rule("door.v1.*", "\"-item.name,-tags\""), &[]).await;
    check(
        &rule("door.v1.*", "-itemm.name"),
        &["7:37: `itemm.name`: no reply here has a field `itemm`: did you mean `item`?"],
    )
    .await;
    check(&rule("door.v1.*", "-name.x"), &["7:37: `name.x`: `name` of `door.v1.Item` holds no message"])
        .await;
    // A policy's mask must fit somewhere under the policy, not under every rule of it.
    let policy = |fields: &str| {
        format!(
            "policies: {{ p: {{ fields: {fields} }} }}\nsurfaces:\n  web:\n    policies: [p]\n    rules:\n      \
             - {{ match: door.v1.Door.Get }}\n      - {{ match: door.v1.Door.Update }}\n"
        )
    };
    check(&policy("-item.size"), &[]).await;
    check(&policy("-size"), &[]).await;
    check(&policy("-sise"), &["4:26: `sise`: no reply here has a field `sise`: did you mean `size`?"]).await;
    // Bytes that go out as they are cannot be masked.
    let raw = "`google.api.HttpBody`, which goes to the client as it is";
    check(&rule("door.v1.Door.Download*", "-data"), &[&format!("7:50: every reply here is a {raw}")]).await;
    check(&rule("[door.v1.Door.Raw, door.v1.Door.Get]", "-data"), &[]).await;
    let preview = "`door.v1.Door.Preview` answers with the bytes of its `file` as they are, of which nothing can be hidden";
    check(&rule("door.v1.Door.Preview", "-file.data"), &[&format!("7:48: {preview}")]).await;
    check(&rule("door.v1.Door.Preview", "name"), &[&format!("7:48: {preview}")]).await;
    check(&rule("door.v1.Door.Preview", "-name"), &[]).await;
    check(&rule("door.v1.Door.Upload", "-file.data"), &[]).await;
    // What is not shown is not masked.
    check("surfaces:\n  web:\n    rules: [{ match: door.v1.Door.Get, expose: false, fields: none }, { match: door.v1.* }]\n", &[]).await;
}
