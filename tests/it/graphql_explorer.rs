//! The explorer in Chromium: a query and a subscription in the page, and no request that leaves the machine.

use ::http::HeaderMap;
use serde_json::json;

use crate::graphql_events::{gateway, tick};
use crate::support::backend::{Backend, messages, respond, status};
use crate::support::chromium::{self, Page};
use crate::support::http;

/// Writes a document and runs it as a reader would: from the keyboard.
async fn run(page: &mut Page, document: &str, variables: &str) {
    let set = |id: &str, text: &str| {
        format!(
            "{{ const field = document.getElementById({}); field.value = {}; \
                 field.dispatchEvent(new Event('input', {{ bubbles: true }})); field.focus(); }}",
            json!(id),
            json!(text)
        )
    };
    page.evaluate(&set("variables", variables)).await;
    page.evaluate(&set("document", document)).await;
    for kind in ["keyDown", "keyUp"] {
        let key = json!({ "type": kind, "key": "Enter", "code": "Enter", "modifiers": 2,
                          "windowsVirtualKeyCode": 13 });
        page.tell("Input.dispatchKeyEvent", key).await;
    }
}

const RESULTS: &str = "document.getElementById('results').textContent";
const STATUS: &str = "document.getElementById('status').textContent";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_explorer_runs_a_query_and_a_subscription_and_asks_nobody_else() {
    if !chromium::is_there() {
        return;
    }
    let backend = Backend::start(async |request: ::http::Request<hyper::body::Incoming>| {
        let is_stream = request.uri().path().ends_with("/Watch");
        let ticks = if is_stream { vec![tick("a", 1), tick("a", 2)] } else { vec![tick("one", 7)] };
        respond(HeaderMap::new(), messages(&ticks, status(0, "")))
    })
    .await;
    let gateway = gateway(&backend, "graphql: { explorer: true }", "").await;
    let origin = format!("http://{}", gateway.address);
    let mut browser = Page::open().await;
    browser.navigate(&format!("{origin}/graphql")).await;
    browser
        .shows("document.getElementById('schema')?.textContent ?? ''", "watch(topic: String!): Tick")
        .await;

    run(&mut browser, "query Q($t: String!) { latest(topic: $t) { topic number } }", r#"{ "t": "a" }"#).await;
    browser.shows(RESULTS, "\"topic\": \"one\"").await;
    browser.shows(STATUS, "200 in").await;

    run(&mut browser, r#"subscription { watch(topic: "a") { number } }"#, "").await;
    browser.shows(STATUS, "complete, 2 results").await;
    browser.shows(RESULTS, "\"number\": \"2\"").await;

    run(&mut browser, "{ nothing }", "").await;
    browser.shows(RESULTS, "GRAPHQL_VALIDATION_FAILED").await;

    // The schema is read by its links.
    browser.evaluate("[...document.querySelectorAll('#schema button')].find((one) => one.textContent === 'Tick').click()").await;
    browser.shows("document.getElementById('schema').textContent", "previous: Tick").await;

    let elsewhere = browser.asked_elsewhere(&origin);
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    let script = format!("{origin}/graphql?explorer.js");
    assert!(browser.requested.contains(&script), "{:?}", browser.requested);
    assert!(browser.complaints.iter().all(|said| said.contains("400")), "{:#?}", browser.complaints);
}

#[tokio::test]
async fn the_explorer_can_be_switched_off_and_is_by_default() {
    let backend = Backend::start(async |_| respond(HeaderMap::new(), messages(&[], status(0, "")))).await;
    let off = gateway(&backend, "", "").await;
    let html = || http::request("GET", "/graphql").header("accept", "text/html");
    assert_eq!(http::send(off.address, html(), "").await.status, 406);
    let on = gateway(&backend, "graphql: { explorer: true }", "").await;
    let answer = http::send(on.address, html(), "").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let etag = answer.header("etag").expect("a tag").to_owned();
    let again = http::send(on.address, html().header("if-none-match", etag), "").await;
    assert_eq!((again.status.as_u16(), again.text()), (304, ""));
    let head = http::request("HEAD", "/graphql").header("accept", "text/html");
    assert_eq!(http::send(on.address, head, "").await.status, 200);
}
