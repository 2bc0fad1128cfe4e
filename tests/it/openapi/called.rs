//! schemathesis (PyPI) calls the demo and etcd by the documents that surfaces serve, with all of its checks:
//! every operation, with data that the document allows and with data that it does not.
//!
//! `called.py` has what it is told of the services. A run is bounded by its examples and has one seed, so that
//! it is the same calls each time.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::etcd::Etcd;
use crate::support::demo::Demo;
use crate::support::{Directory, Gateway, require, shared};

const SEED: &str = "6";

fn has_schemathesis() -> bool {
    require("schemathesis", super::python().args(["-m", "schemathesis.cli", "--version"]))
}

/// Fails with what schemathesis prints, unless it finds nothing in so many calls.
async fn check(url: &str, examples: u32, excluded: &[&str], calls_min: u32) {
    let directory = Directory::new("schemathesis");
    let mut command = super::python();
    command
        .args(["-m", "schemathesis.cli", "--config-file", "/dev/null", "run"])
        .arg(format!("{url}/openapi.json"))
        .args(["--checks", "all", "--seed", SEED, "--max-examples", &examples.to_string()])
        // One thread: of several, which comes first would be by chance. Time says nothing on a busy machine.
        .args(["--workers", "1", "--suppress-health-check", "all", "--request-timeout", "60"])
        .args(["--continue-on-failure", "--generation-database", "none"])
        .env("SCHEMATHESIS_HOOKS", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/openapi/called.py"))
        .env("PYTHONIOENCODING", "utf-8")
        .env("NO_COLOR", "1")
        .current_dir(directory.path())
        .stdin(Stdio::null());
    for operation in excluded {
        command.args(["--exclude-operation-id", operation]);
    }
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("the thread lives");
    let output = output.expect("python runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    // `  872 generated, 872 passed`
    let generated = text.lines().find_map(|line| line.trim().split_once(" generated")?.0.parse::<u32>().ok());
    assert!(generated.is_some_and(|count| count >= calls_min), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_nothing_at_the_demo() {
    if !has_schemathesis() {
        return;
    }
    let demo = Demo::start().await;
    check(demo.gateway(), 15, &[], 1000).await;
}

#[tokio::test]
async fn schemathesis_finds_nothing_at_etcd() {
    if !has_schemathesis() || !require("etcd", Command::new("etcd").arg("--version")) {
        return;
    }
    let Some(set) = shared("descriptors/etcd-3.4.binpb") else { return };
    let etcd = Etcd::start().await;
    let directory = Directory::new("etcd-openapi");
    let file = directory.path().join("transom.yaml");
    // `Lock` and `Campaign` wait until it is their turn. Any other call may take as long as a busy machine needs.
    let text = format!(
        "version: 1
descriptors: [{{ file: {set:?} }}]
routes: {{ conflicts: first }}
services: {{ etcd: {{ endpoints: {{ static: [\"http://{}\"] }}, timeout: 60s }} }}
surfaces:
  web:
    openapi: {{}}
    rules:
      - {{ match: [v3lockpb.Lock.Lock, v3electionpb.Election.Campaign], timeout: 200ms }}
      - {{ match: \"*\" }}
",
        etcd.address
    );
    std::fs::write(&file, text).expect("a configuration file");
    let gateway = Gateway::start(&["--config", file.to_str().expect("a path in UTF-8")]).await;
    // Streams that do not end by themselves; `etcd.rs` watches.
    check(&format!("http://{}", gateway.address), 5, &["Watch_Watch", "Election_Observe"], 1500).await;
}
