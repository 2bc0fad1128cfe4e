//! The docs page in Chromium: an operation is tried as a person would, on a wide and on a narrow screen, and nothing
//! is asked of anybody but the gateway.
//!
//! `page.mjs` drives the browser; its pictures are in `target/tmp`, for whoever wants to see them.

use std::process::Command;

use serde_json::Value;

use super::demo;
use crate::support::{Directory, require};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_is_tried_in_a_browser() {
    if !require("node", Command::new("node").arg("--version"))
        || !require("chromium", Command::new("chromium").arg("--version"))
    {
        return;
    }
    let (_library, gateway) = demo().await;
    let origin = format!("http://{}", gateway.address);
    let profile = Directory::new("docs-page");
    let mut node = Command::new("node");
    node.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/openapi/page.mjs"))
        .arg(format!("{origin}/docs"))
        .arg(profile.path())
        .arg(env!("CARGO_TARGET_TMPDIR"));
    let output = tokio::task::spawn_blocking(move || node.output()).await.expect("the thread lives");
    let output = output.expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");

    for (screen, width) in [("wide", 1280), ("narrow", 390)] {
        let seen = &told[screen];
        assert_eq!((&seen["title"], &seen["operations"]), (&"library.v1".into(), &16.into()), "{screen}");
        assert_eq!((&seen["status"], &seen["width"]), (&"200".into(), &width.into()), "{screen}: {seen}");
        let reply: Value = serde_json::from_str(seen["reply"].as_str().expect("text")).expect("JSON");
        assert_eq!(reply["title"], "Twenty Thousand Leagues Under the Seas", "{screen}");
    }
    let asked = told["asked"].as_array().expect("a list");
    let is_ours = |url: &&Value| {
        let url = url.as_str().unwrap_or_default();
        url.starts_with(&format!("{origin}/")) || url.starts_with("data:")
    };
    let others: Vec<_> = asked.iter().filter(|url| !is_ours(url)).collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(asked.contains(&Value::from(format!("{origin}/v1/shelves/1/books/1"))), "{asked:?}");
    assert_eq!(told["complaints"], Value::Array(Vec::new()));
}
