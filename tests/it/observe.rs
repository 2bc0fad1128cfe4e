//! `/stats`, `/config` and the audit log at the real doors.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::{Directory, Gateway, eventually, http as client};

async fn page(gateway: &Gateway, target: &str, accept: &str) -> client::Answer {
    client::send(gateway.admin, client::request("GET", target).header("accept", accept), "").await
}

#[tokio::test]
async fn statistics_are_for_programs_and_for_people() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    for target in ["/v1/items/1", "/v1/items/2", "/v1/items/3?nope=1"] {
        client::send(gateway.address, client::request("GET", target), "").await;
    }
    eventually("three calls are counted", async || {
        page(&gateway, "/stats", "*/*").await.json()["methods"]["door.v1.Door.Get"]["total"]["calls"] == 3
    })
    .await;
    let stats = page(&gateway, "/stats", "application/json").await;
    assert_eq!(stats.header("content-type"), Some("application/json"));
    let stats = stats.json();
    let lately = &stats["surfaces"]["default"]["lately"];
    assert_eq!(lately["codes"], json!({ "INVALID_ARGUMENT": 1, "OK": 2 }));
    let latency = &lately["latency_ms"];
    assert!(latency["p50"].as_f64().is_some_and(|p50| Some(p50) <= latency["p99"].as_f64()), "{latency}");
    let table = page(&gateway, "/stats", "text/plain").await;
    assert_eq!(table.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(table.text().contains("\ndoor.v1.Door.Get "), "{}", table.text());
    let html = page(&gateway, "/stats", "text/html,application/xhtml+xml,*/*;q=0.8").await;
    assert!(html.text().starts_with("<!doctype html>"), "{}", html.text());
}

#[tokio::test]
async fn configuration_is_shown_as_it_holds() {
    let backend = Backend::echo().await;
    let usage = Directory::new("usage");
    let file = usage.path().join("usage.ndjson");
    let observe = format!("observe: {{ usage: {{ file: {file:?}, mode: rollup }} }}");
    let gateway = Gateway::configured(&backend, "drain: 7s", "timeout: 3s", &observe).await;
    let config = page(&gateway, "/config", "*/*").await.json();
    let at = |pointer: &str| config.pointer(pointer).unwrap_or(&Value::Null).clone();
    assert_eq!(at("/listeners/public/drain"), "7s");
    assert_eq!(at("/listeners/public/limits/headers"), "32KiB", "a default");
    assert_eq!(at("/listeners/public/bind"), "127.0.0.1:0", "a flag, as it was given");
    assert_eq!(at("/services/door/timeout"), "3s");
    assert_eq!(at("/observe/usage/mode"), "rollup");
}

#[tokio::test]
async fn audit_log_tells_what_changed_and_shows_tampering() {
    let backend = Backend::echo().await;
    let directory = Directory::new("audit");
    let file = directory.path().join("audit.log");
    let observe = format!("observe: {{ audit: {{ file: {file:?} }} }}");
    drop(Gateway::configured(&backend, "", "", &observe).await);
    drop(Gateway::configured(&backend, "", "timeout: 3s", &observe).await);
    let text = std::fs::read_to_string(&file).expect("a log");
    let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(entries.len(), 2, "{text}");
    let changed = |entry: &Value| -> Vec<String> {
        let changes = entry["data"]["changes"].as_array().expect("changes");
        changes.iter().map(|change| change["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert!(changed(&entries[0]).contains(&"services.door".to_owned()), "{text}");
    // Two backends' addresses may differ, nothing else does.
    assert_eq!(changed(&entries[1]), ["services.door"]);
    let verify = || {
        let output = Command::new(env!("CARGO_BIN_EXE_transom"))
            .args(["audit", "verify"])
            .arg(&file)
            .output()
            .expect("the binary runs");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let (code, output) = verify();
    assert_eq!((code, output.lines().next()), (Some(0), Some("2 lines, 0 torn")));
    std::fs::write(&file, text.replacen("services.door", "services.gate", 1)).expect("writable");
    let (code, output) = verify();
    assert_eq!(code, Some(1));
    assert!(output.contains("line 2: the line before it is not the one that it follows"), "{output}");
    std::fs::remove_file(&file).expect("ours");
    assert_eq!(verify().0, Some(2));
}
