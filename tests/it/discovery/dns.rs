//! Endpoints by DNS, as Debian's dnsmasq serves it: names and services that change, a server that goes away.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use transom::upstream::discovery::dns::{self, DnsSettings, Question};

use super::{Found, Load, call, is_clean, meets, seen, start_at};
use crate::support::raw::Mortal;
use crate::support::{Directory, eventually, figure, require};

/// Where Debian has it; not every user's path leads there.
const DNSMASQ: &str = "/usr/sbin/dnsmasq";

/// dnsmasq for the zone `test.`, with a file of hosts; it ends with the test.
struct Dnsmasq {
    process: Child,
    port: u16,
    directory: Directory,
    options: Vec<String>,
}

impl Dnsmasq {
    /// `None` where there is no dnsmasq.
    async fn start(hosts: &str, options: &[&str]) -> Option<Self> {
        if !require("dnsmasq", Command::new(DNSMASQ).arg("--version")) {
            return None;
        }
        let directory = Directory::new("dnsmasq");
        std::fs::write(directory.path().join("hosts"), hosts).expect("the directory is ours");
        let options: Vec<_> = options.iter().map(ToString::to_string).collect();
        loop {
            // Below those that the system gives to whoever asks: it must be free again after a restart.
            let port = 10_000 + (RandomState::new().hash_one(0) % 20_000) as u16;
            if let Some(process) = serve(port, &directory, &options).await {
                return Some(Self { process, port, directory, options });
            }
        }
    }

    /// Other hosts from now on.
    fn hosts(&self, hosts: &str) {
        std::fs::write(self.directory.path().join("hosts"), hosts).expect("the directory is ours");
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-HUP", &pid]).status().expect("`kill` runs");
        assert!(sent.success());
    }

    fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// The same server again, with other hosts.
    async fn restart(&mut self, hosts: &str, options: &[&str]) {
        self.stop();
        std::fs::write(self.directory.path().join("hosts"), hosts).expect("the directory is ours");
        self.options = options.iter().map(ToString::to_string).collect();
        let mut process = None;
        eventually("its port is free again", async || {
            process = serve(self.port, &self.directory, &self.options).await;
            process.is_some()
        })
        .await;
        self.process = process.expect("it serves");
    }

    /// What the key `dns` says beside the question.
    fn asked(&self, ttl: &str) -> String {
        format!("resolvers: [\"127.0.0.1:{}\"], ttl: {ttl}", self.port)
    }
}

/// The process, once it answers; `None`: it has not got the port.
async fn serve(port: u16, directory: &Directory, options: &[String]) -> Option<Child> {
    let hosts: PathBuf = directory.path().join("hosts");
    let mut process = Command::new(DNSMASQ)
        .args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--local=/test/", "--user=root"])
        .args(["--conf-file=/dev/null", "--pid-file=", "--bind-interfaces", "--listen-address=127.0.0.1"])
        .arg(format!("--port={port}"))
        .arg(format!("--addn-hosts={}", hosts.display()))
        .args(options)
        .stderr(Stdio::null())
        .spawn()
        .expect("dnsmasq starts");
    let settings = DnsSettings {
        question: Question::Addresses { host: "none.test".into(), port: 1 },
        resolvers: vec![SocketAddr::from(([127, 0, 0, 1], port))],
        ttl: Duration::ZERO..=Duration::ZERO,
    };
    let mut is_gone = false;
    eventually("dnsmasq answers or ends", async || {
        is_gone = process.try_wait().expect("a child of this process").is_some();
        is_gone || dns::probe(&settings).await.is_ok()
    })
    .await;
    // Who answers there may be another one that has the port.
    tokio::time::sleep(Duration::from_millis(50)).await;
    is_gone |= process.try_wait().expect("a child of this process").is_some();
    (!is_gone).then_some(process)
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Backends `a`, `b` and `c` at `127.N.0.1` to `127.N.0.3`, all with one port: a name has no more than one.
async fn on_one_port(network: u8) -> (u16, [Mortal; 3]) {
    let address =
        |host: u8, port: u16| SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(127, network, 0, host), port));
    let port = loop {
        let first = TcpListener::bind(address(1, 0)).expect("a free port");
        let port = first.local_addr().expect("bound").port();
        if [2, 3].into_iter().all(|host| TcpListener::bind(address(host, port)).is_ok()) {
            break port;
        }
    };
    (
        port,
        [
            start_at(address(1, port), 'a').await,
            start_at(address(2, port), 'b').await,
            start_at(address(3, port), 'c').await,
        ],
    )
}

#[tokio::test]
async fn a_name_is_followed_by_its_ttl_and_kept_while_nobody_answers() {
    let hosts =
        |last: &[u8]| -> String { last.iter().map(|host| format!("127.21.0.{host} api.test\n")).collect() };
    let Some(mut dnsmasq) = Dnsmasq::start(&hosts(&[1]), &["--local-ttl=1"]).await else { return };
    let (port, _backends) = on_one_port(21).await;
    // That changes are seen soon is the TTL's work.
    let asked = dnsmasq.asked("100ms..1h");
    let found = Found::start(&format!("dns: {{ name: \"api.test:{port}\", {asked} }}")).await;
    let gateway = &found.gateway;
    meets(gateway, "a").await;
    let load = Load::start(gateway).await;
    for (last, names) in [(&[1, 2][..], "ab"), (&[2, 3], "bc"), (&[3, 1, 2], "abc")] {
        dnsmasq.hosts(&hosts(last));
        meets(gateway, names).await;
    }
    dnsmasq.stop();
    eventually("nobody answers", async || seen(gateway).await["failure"].is_string()).await;
    meets(gateway, "abc").await;
    // Without a TTL the floor holds.
    dnsmasq.restart(&hosts(&[3]), &["--local-ttl=0"]).await;
    meets(gateway, "c").await;
    // That the name is gone is an answer, and one that is not believed at once.
    dnsmasq.hosts("");
    eventually("the name is gone", async || seen(gateway).await["is_doubted"] == true).await;
    assert_eq!(call(gateway).await, "c");
    dnsmasq.hosts(&hosts(&[2]));
    meets(gateway, "b").await;
    let tally = load.end().await;
    figure(format_args!("calls while a name changed five times and its server was away once: {tally:?}"));
    assert!(is_clean(&tally), "{tally:?}");
}

#[tokio::test]
async fn a_ttl_is_held_within_its_bounds() {
    let Some(dnsmasq) = Dnsmasq::start("127.22.0.1 api.test\n", &["--local-ttl=3600"]).await else { return };
    let (port, _backends) = on_one_port(22).await;
    let asked = dnsmasq.asked("100ms..500ms");
    let found = Found::start(&format!("dns: {{ name: \"api.test.:{port}\", {asked} }}")).await;
    meets(&found.gateway, "a").await;
    dnsmasq.hosts("127.22.0.3 api.test\n");
    meets(&found.gateway, "c").await;
}

#[tokio::test]
async fn servers_of_a_service_have_ports_weights_and_priorities() {
    let (a, b, c) = (start_at(ANY, 'a').await, start_at(ANY, 'b').await, start_at(ANY, 'c').await);
    let record = |backend: &Mortal, target: &str, priority: u16, weight: u16| {
        let port = backend.address.port();
        format!("--srv-host=_grpc._tcp.api.test,{target}.test,{port},{priority},{weight}")
    };
    let records = [record(&a, "one", 10, 3), record(&b, "one", 10, 1), record(&c, "two", 20, 1)];
    let records = records.each_ref().map(String::as_str);
    let both = "127.0.0.1 one.test\n127.0.0.1 two.test\n";
    let Some(mut dnsmasq) = Dnsmasq::start(both, &records).await else { return };
    let asked = dnsmasq.asked("100ms..1s");
    let found = Found::start(&format!("dns: {{ srv: _grpc._tcp.api.test, {asked} }}")).await;
    let gateway = &found.gateway;
    meets(gateway, "ab").await;
    found.reload(&format!("dns: {{ srv: _grpc._tcp.api.test, {asked} }}"), "balance: weighted").await;
    let mut calls_of_a = 0;
    for _ in 0..200 {
        calls_of_a += usize::from(call(gateway).await == "a");
    }
    figure(format_args!("200 calls by weights 3 and 1: {calls_of_a} to `a`"));
    assert!(calls_of_a.abs_diff(150) <= 8, "{calls_of_a}");
    // Where the first priority is nowhere, the second is used.
    dnsmasq.hosts("127.0.0.1 two.test\n");
    meets(gateway, "c").await;
    dnsmasq.restart(both, &[&record(&b, "two", 5, 0)]).await;
    meets(gateway, "b").await;
}

const ANY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
