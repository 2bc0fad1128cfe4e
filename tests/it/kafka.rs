//! Usage to a Kafka that is not ours: every call's record is there, whatever the brokers do in between.

mod broker;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::tls::Authority;
use crate::support::{Directory, Gateway, eventually, http as client};
use broker::{Cluster, Relay, Way, librdkafka_logs_in};

fn usage(directory: &Directory, topic: &str, more: &str) -> String {
    let spool = directory.path().join("spool");
    format!("observe: {{ usage: {{ kafka: {topic:?}, spool: {spool:?}, node: edge-7 {more} }} }}")
}

async fn call(gateway: &Gateway, count: usize) {
    for index in 0..count {
        let request = client::request("GET", &format!("/v1/items/{index}"));
        assert_eq!(client::send(gateway.address, request, "").await.status, 200);
    }
}

/// The events by id. One that came twice must be the same event in the same partition.
fn events(records: &[Value]) -> BTreeMap<String, Value> {
    let mut events = BTreeMap::new();
    for record in records {
        let id = record["key"].as_str().expect("an id").to_owned();
        let told = (record["partition"].clone(), record["value"].clone());
        let before = events.insert(id, told.clone());
        assert!(before.is_none_or(|before| before == told), "{record}");
    }
    events
        .into_iter()
        .map(|(id, (_, value))| (id, serde_json::from_str(value.as_str().expect("text")).expect("an event")))
        .collect()
}

async fn has(cluster: &Cluster, count: usize) -> BTreeMap<String, Value> {
    eventually(&format!("{count} events"), async || events(&cluster.records()).len() >= count).await;
    let events = events(&cluster.records());
    assert_eq!(events.len(), count, "{events:#?}");
    events
}

async fn sample(gateway: &Gateway, name: &str) -> u64 {
    let metrics = client::send(gateway.admin, client::request("GET", "/metrics"), "").await;
    let text = metrics.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
}

#[tokio::test]
async fn each_call_becomes_a_record() {
    let Some(cluster) = Cluster::start(2) else { return };
    let (backend, directory) = (Backend::echo().await, Directory::new("kafka"));
    let usage = usage(&directory, &format!("{}/usage", cluster.servers), "");
    let gateway = Gateway::configured(&backend, "", "", &usage).await;
    call(&gateway, 100).await;
    for (id, event) in has(&cluster, 100).await {
        assert!(id.starts_with("edge-7."), "{id}");
        assert_eq!((&event["id"], &event["specversion"]), (&json!(id), &json!("1.0")), "{event}");
        assert_eq!(event["data"]["method"], "door.v1.Door.Get");
    }
    let records = cluster.records();
    for record in &records {
        let content_type = json!({ "content-type": "application/cloudevents+json; charset=UTF-8" });
        assert_eq!(record["headers"], content_type);
        assert_eq!(record["partition"], record["chosen"], "{record}");
        assert!(record["timestamp"].as_u64().is_some_and(|millis| millis > 1_700_000_000_000), "{record}");
    }
    let partitions: std::collections::BTreeSet<_> =
        records.iter().filter_map(|record| record["partition"].as_u64()).collect();
    assert_eq!(partitions, (0..4).collect(), "all partitions, and so both brokers");
    assert_eq!(sample(&gateway, "transom_usage_delivered_total").await, 100);
    assert_eq!(sample(&gateway, "transom_usage_delivery_failures_total").await, 0);
}

#[tokio::test]
async fn broker_that_hangs_is_passed_over() {
    let Some(cluster) = Cluster::start(1) else { return };
    let (backend, directory) = (Backend::echo().await, Directory::new("kafka"));
    // The system takes its connections, and nobody answers.
    let hung = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = hung.local_addr().expect("a bound address");
    let usage = usage(&directory, &format!("{address},{}/usage", cluster.servers), "");
    let gateway = Gateway::configured(&backend, "", "", &usage).await;
    call(&gateway, 5).await;
    has(&cluster, 5).await;
    assert_eq!(sample(&gateway, "transom_usage_delivery_failures_total").await, 0);
}

#[tokio::test]
async fn broker_that_is_down_costs_no_event() {
    let Some(first) = Cluster::start(1) else { return };
    let (backend, directory, relay) = (Backend::echo().await, Directory::new("kafka"), Relay::start().await);
    let usage = usage(&directory, &format!("{}/usage", relay.address), "");
    let gateway = Gateway::configured(&backend, "", "", &usage).await;
    // Away from the start.
    call(&gateway, 10).await;
    let failures = async || sample(&gateway, "transom_usage_delivery_failures_total").await;
    eventually("two failures", async || failures().await >= 2).await;
    // It writes, and nobody hears of it: the next attempt brings duplicates.
    relay.turn(Way::Deaf(first.servers.clone()));
    has(&first, 10).await;
    eventually("duplicates", async || first.records().len() >= 20).await;
    relay.turn(Way::To(first.servers.clone()));
    eventually("the spool is empty", async || sample(&gateway, "transom_usage_delivered_total").await == 10)
        .await;
    call(&gateway, 10).await;
    let mut all = has(&first, 20).await;
    // Killed; what comes back is another one, elsewhere.
    drop(first);
    relay.turn(Way::Away);
    let before = failures().await;
    call(&gateway, 10).await;
    eventually("a failure", async || failures().await > before).await;
    let second = Cluster::start(1).expect("it has started before");
    relay.turn(Way::To(second.servers.clone()));
    all.append(&mut has(&second, 10).await);
    assert_eq!(all.len(), 30);
    for lost in ["transom_usage_lost_queue_total", "transom_usage_lost_spool_total"] {
        assert_eq!(sample(&gateway, lost).await, 0, "{lost}");
    }
}

#[tokio::test]
async fn brokers_are_trusted_and_logged_in_to() {
    let Some(cluster) = Cluster::start(1) else { return };
    let (backend, directory) = (Backend::echo().await, Directory::new("kafka"));
    let (ours, other) = (Authority::new("ours"), Authority::new("another"));
    let password = env!("CARGO_PKG_NAME");
    let relay = Relay::guarded(&ours.host(&["localhost"]), concat!("\0edge\0", env!("CARGO_PKG_NAME"))).await;
    relay.turn(Way::To(cluster.servers.clone()));
    let [ours, other] = [("ours", &ours), ("other", &other)].map(|(name, authority)| {
        let path = directory.path().join(name);
        std::fs::write(&path, &authority.pem).expect("writable");
        path
    });
    for (ca, user, expected) in [(&other, "edge", false), (&ours, "edgy", false), (&ours, "edge", true)] {
        let (address, path) = (relay.address.clone(), ca.clone());
        let probe = move || librdkafka_logs_in(&address, &path, user, password);
        let is_in = tokio::task::spawn_blocking(probe).await.expect("no panic");
        assert_eq!(is_in, expected, "librdkafka, {user}");
        let more = format!(", ca: {ca:?}, user: {user}, password: env:CARGO_PKG_NAME");
        let usage = usage(&directory, &format!("kafkas://{}/usage", relay.address), &more);
        let gateway = Gateway::configured(&backend, "", "", &usage).await;
        call(&gateway, 5).await;
        if expected {
            // Those that the others left in the spool too.
            has(&cluster, 15).await;
            continue;
        }
        eventually("a failure", async || {
            sample(&gateway, "transom_usage_delivery_failures_total").await >= 1
                && sample(&gateway, "transom_usage_records_total").await == 5
        })
        .await;
        assert_eq!(cluster.records().len(), 0);
    }
}
