//! Several GraphQL requests in one array, where that is switched on.

use serde_json::{Value, json};

use crate::graphql_http::{gateway, library, post};
use crate::support::http as client;

#[tokio::test]
async fn batches_are_answered_in_order() {
    let backend = library().await;
    let gateway = gateway(&backend, "graphql: { batch: 3, limits: { cost: 6 } }", "").await;
    let send = async |requests: Value| client::send(gateway.address, post(), requests.to_string()).await;
    let get = |name: &str| json!({ "query": format!("{{ getBook(name: \"{name}\") {{ title }} }}") });
    let title = json!({ "data": { "getBook": { "title": "Dune" } } });
    // What is wrong with one is told in its place.
    let answer = send(json!([get("1"), { "query": "{ no }" }, get("2")])).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!((&told[0], &told[2]), (&title, &title));
    assert_eq!(told[1]["errors"][0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED");
    assert_eq!(backend.calls(), 2);
    // A call and a book each: as much as the bound, and more.
    assert_eq!(send(json!([get("1"), get("2"), get("3")])).await.json(), json!([title, title, title]));
    let two = json!({ "query": "{ a: getBook(name: \"1\") { title } b: getBook(name: \"2\") { title } }" });
    let refused = send(json!([get("1"), get("2"), two])).await.json();
    assert_eq!(refused["errors"][0]["extensions"]["code"], "COST_LIMIT", "{refused}");
    assert_eq!(backend.calls(), 5);
    // One more than there may be, and none.
    let refused = send(json!([get("1"), get("2"), get("3"), get("4")])).await;
    assert_eq!(refused.json()["errors"][0]["extensions"]["reason"], "BATCH_LIMIT", "{}", refused.text());
    assert_eq!(send(json!([])).await.status, 400);
    let create = |title: &str| json!({ "query": format!("mutation {{ createBook(book: {{ title: \"{title}\" }}) {{ title }} }}") });
    let created = send(json!([create("A"), create("B")])).await.json();
    assert_eq!(created[0]["data"]["createBook"]["title"], "A", "{created}");
    assert_eq!(created[1]["data"]["createBook"]["title"], "B", "{created}");
    let request = post().header("accept", "text/event-stream");
    let refused = client::send(gateway.address, request, json!([get("1")]).to_string()).await;
    assert_eq!(refused.status, 406, "{}", refused.text());
}

#[tokio::test]
async fn batches_are_off_and_each_request_is_debited() {
    let backend = library().await;
    let off = gateway(&backend, "", "").await;
    let one = json!([{ "query": "{ getBook(name: \"1\") { title } }" }]).to_string();
    let refused = client::send(off.address, post(), one.clone()).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!(refused.json()["errors"][0]["extensions"]["reason"], "BATCH_DISABLED");
    assert_eq!(backend.calls(), 0);
    let rest = "policies: { few: { rate: { by: ip, limit: 2/h } } }";
    let on = gateway(&backend, "graphql: { batch: 3 }, policies: [few]", rest).await;
    let get = json!({ "query": "{ getBook(name: \"1\") { title } }" });
    let told = client::send(on.address, post(), json!([get, get, get]).to_string()).await.json();
    let results = told.as_array().expect("an array");
    let refused = results.iter().filter(|one| one["errors"][0]["extensions"]["reason"] == "RATE_LIMITED");
    assert_eq!((results.len(), refused.count(), backend.calls()), (3, 1, 2), "{told}");
}
