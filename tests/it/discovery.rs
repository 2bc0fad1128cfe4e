//! Endpoints that come and go without the configuration, at the real door: each source with its own file below.
//!
//! Every backend answers with its own name, so that a reply tells where its call went.

mod consul;
mod dns;
mod etcd;
mod file;
mod k8s;
mod stand_in;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::support::backend::framed;
use crate::support::raw::{Mortal, reply, serve};
use crate::support::{Directory, Gateway, eventually, http as door, soon};

/// Answers every call with `Item { name }`.
async fn start(name: char) -> Mortal {
    start_at(SocketAddr::from(([127, 0, 0, 1], 0)), name).await
}

async fn start_at(address: SocketAddr, name: char) -> Mortal {
    let serve = serve(move |_request, respond| async move {
        let item = Bytes::from(vec![0x0a, 1, u8::try_from(name).expect("ASCII")]);
        reply(respond, framed(&item), &[("grpc-status", "0")]);
    });
    Mortal::start(address, serve).await
}

/// The name that a reply has, or the reason of its failure.
fn outcome(answer: &door::Answer) -> String {
    let json = answer.json();
    let reason = || json["details"][0]["reason"].as_str().unwrap_or("no reason").to_owned();
    json["name"].as_str().map_or_else(reason, str::to_owned)
}

async fn call(gateway: &Gateway) -> String {
    outcome(&soon(door::send(gateway.address, door::request("GET", "/v1/items/7"), "")).await)
}

/// Calls until all of these were met and no others, and so many endpoints are listed: some calls alone may well miss
/// an endpoint that is still there.
async fn meets(gateway: &Gateway, names: &str) {
    eventually(&format!("calls go to `{names}` alone"), async || {
        let listed = seen(gateway).await["endpoints"].as_u64();
        if listed.is_some_and(|count| count != names.len() as u64) {
            return false;
        }
        let mut met = BTreeMap::<String, usize>::new();
        for _ in 0..4 * names.len() {
            *met.entry(call(gateway).await).or_default() += 1;
        }
        met.keys().map(String::as_str).collect::<String>() == names
    })
    .await;
}

/// A gateway whose only service is found, with a directory for what it is found by.
struct Found {
    gateway: Gateway,
    directory: Directory,
}

impl Found {
    /// `source` is what stands in `endpoints`; `DIR` in it is the directory.
    async fn start(source: &str) -> Self {
        let directory = Directory::new("discovery");
        let file = directory.path().join("transom.yaml");
        write(&file, &configuration(&directory, source, ""));
        let gateway = Gateway::start(&["--config", file.to_str().expect("a path in UTF-8")]).await;
        Self { gateway, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Loads another configuration, which must succeed.
    async fn reload(&self, source: &str, service: &str) -> serde_json::Value {
        write(&self.path("transom.yaml"), &configuration(&self.directory, source, service));
        let answer = door::send(self.gateway.admin, door::request("POST", "/config/reload"), "");
        let answer = soon(answer).await;
        assert_eq!(answer.json()["result"], "applied", "{}", answer.text());
        answer.json()
    }
}

fn configuration(directory: &Directory, source: &str, service: &str) -> String {
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/door.proto");
    let source = source.replace("DIR", directory.path().to_str().expect("a path in UTF-8"));
    let balance = if service.contains("balance:") { "" } else { "balance: round-robin, " };
    format!(
        "version: 1\nreload: {{ watch: false }}\ndescriptors: [{{ proto: {proto:?} }}]\n\
         services: {{ door: {{ {balance}endpoints: {{ {source} }}, {service} }} }}\n"
    )
}

/// By a rename, so that nobody reads half of it.
fn write(path: &Path, text: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, text).expect("the directory is writable");
    std::fs::rename(&next, path).expect("the directory is ours");
}

async fn page(gateway: &Gateway, path: &str) -> door::Answer {
    soon(door::send(gateway.admin, door::request("GET", path), "")).await
}

/// The search for the endpoints of the only service, as `/stats` shows it.
async fn seen(gateway: &Gateway) -> serde_json::Value {
    page(gateway, "/stats").await.json()["discovery"]["door"].clone()
}

/// Calls without end over connections of both workers, until it is asked what they came to.
struct Load {
    ends: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<BTreeMap<String, usize>>>,
}

impl Load {
    async fn start(gateway: &Gateway) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let (mut sender, ends) = (door::connect_h2(gateway.address).await, Arc::clone(&ends));
            tasks.push(tokio::spawn(async move {
                let mut tally = BTreeMap::new();
                while !ends.load(Ordering::Relaxed) {
                    let response = soon(sender.send_request(door::empty("/v1/items/7"))).await;
                    let answer = soon(door::read(response.expect("a reply"))).await;
                    *tally.entry(outcome(&answer)).or_default() += 1;
                }
                tally
            }));
        }
        Self { ends, tasks }
    }

    /// Where all of the calls went.
    async fn end(self) -> BTreeMap<String, usize> {
        self.ends.store(true, Ordering::Relaxed);
        let mut sum = BTreeMap::new();
        for task in self.tasks {
            for (name, count) in soon(task).await.expect("no panic") {
                *sum.entry(name).or_default() += count;
            }
        }
        sum
    }
}

/// Whether all of these calls went to endpoints, whichever.
fn is_clean(tally: &BTreeMap<String, usize>) -> bool {
    tally.keys().all(|name| name.len() == 1)
}

#[tokio::test]
async fn check_asks_every_source_and_explain_names_it() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let nobody = nobody.expect("a free port");
    let directory = Directory::new("sources");
    let file = directory.path().join("transom.yaml");
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_transom"));
        command.args(arguments).args(["-c", "transom.yaml"]).current_dir(directory.path());
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("the thread lives");
        let output = output.expect("the binary runs");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let dns = format!("dns: {{ srv: _grpc._tcp.api.test, resolvers: [\"{nobody}\"] }}");
    let etcd = format!("etcd: {{ urls: [\"http://{nobody}\"], prefix: orders/ }}");
    let consul = format!("consul: {{ service: orders, address: \"http://{nobody}\" }}");
    let k8s = format!("k8s: {{ service: \"shop/orders:grpc\", server: \"http://{nobody}\" }}");
    for (source, named, reason) in [
        ("file: none.yaml", "file none.yaml", "No such file"),
        (&dns, "DNS, SRV of _grpc._tcp.api.test", ""),
        (&etcd, "etcd, keys under orders/", "Connection refused"),
        (&consul, "Consul, instances of orders", "Connection refused"),
        (&k8s, "Kubernetes, slices of shop/orders", "Connection refused"),
    ] {
        write(&file, &configuration(&directory, source, ""));
        let (code, printed) = run(&["explain", "/v1/items/7"]).await;
        assert_eq!(code, Some(0));
        let line = printed.lines().find(|line| line.contains("endpoints by")).unwrap_or_default();
        assert!(line.contains(named) && line.ends_with("transom.yaml:4"), "{source}: {printed}");
        assert_eq!(run(&["check"]).await, (Some(0), "transom.yaml: no findings\n".to_owned()), "{source}");
        let (code, printed) = run(&["check", "--online"]).await;
        assert_eq!((code, printed.lines().count()), (Some(1), 1), "{source}: {printed}");
        let place = "transom.yaml:4:";
        assert!(
            printed.starts_with(place) && printed.contains("`door`: its endpoints are not found"),
            "{printed}"
        );
        assert!(printed.contains(reason), "{source}: {printed}");
    }
}
