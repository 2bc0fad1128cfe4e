//! Endpoints from etcd, a real one: registered and removed, by lease too, over TLS, and while etcd is away.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use transom::upstream::discovery::etcd::{EtcdSettings, EtcdTls, probe};

use super::{Found, Load, call, is_clean, meets, page, seen, start};
use crate::support::backend::framed;
use crate::support::raw::{self, Mortal};
use crate::support::tls::Authority;
use crate::support::{Directory, eventually, figure, http as door, require, soon};

/// A member of its own cluster, spoken to by the JSON that it takes on the port of its clients.
struct Etcd {
    process: Child,
    address: SocketAddr,
    arguments: Vec<String>,
    _directory: Directory,
    /// Of root, once there are passwords.
    token: Option<String>,
}

impl Etcd {
    /// `None` where there is no etcd.
    async fn start(directory: Directory, address: SocketAddr, more: &[&str]) -> Option<Self> {
        if !require("etcd", Command::new("etcd").arg("--version")) {
            return None;
        }
        let (client, peer) = (format!("http://{address}"), format!("http://{}", free()));
        let urls = |url: &str| more.first().map_or(url.to_owned(), |other| format!("{url},{other}"));
        let arguments = [
            ["--data-dir".to_owned(), directory.path().join("data").display().to_string()],
            ["--listen-client-urls".to_owned(), urls(&client)],
            ["--advertise-client-urls".to_owned(), client.clone()],
            ["--listen-peer-urls".to_owned(), peer.clone()],
            ["--initial-advertise-peer-urls".to_owned(), peer.clone()],
            ["--initial-cluster".to_owned(), format!("default={peer}")],
        ];
        let arguments = arguments.into_iter().flatten();
        let arguments: Vec<_> = arguments.chain(more.iter().skip(1).map(ToString::to_string)).collect();
        let process = run(&arguments);
        let etcd = Self { process, address, arguments, _directory: directory, token: None };
        etcd.is_healthy().await;
        Some(etcd)
    }

    fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again with what it has stored.
    async fn run(&mut self) {
        self.process = run(&self.arguments);
        self.is_healthy().await;
    }

    async fn is_healthy(&self) {
        eventually("etcd is healthy", async || {
            let Ok(stream) = tokio::net::TcpStream::connect(self.address).await else { return false };
            drop(stream);
            door::send(self.address, door::request("GET", "/health"), "").await.status == 200
        })
        .await;
    }

    async fn ask(&self, path: &str, body: Value) -> Value {
        let mut request = door::request("POST", path);
        if let Some(token) = &self.token {
            request = request.header("authorization", token);
        }
        let answer = soon(door::send(self.address, request, body.to_string())).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    async fn put(&self, key: &str, value: &str) -> Value {
        self.ask("/v3/kv/put", json!({ "key": encoded(key), "value": encoded(value) })).await
    }

    /// Puts it until a lease ends that is its own, whose number this is.
    async fn put_leased(&self, key: &str, value: &str, seconds: u64) -> Value {
        let lease = self.ask("/v3/lease/grant", json!({ "TTL": seconds })).await["ID"].clone();
        let leased = json!({ "key": encoded(key), "value": encoded(value), "lease": lease });
        self.ask("/v3/kv/put", leased).await;
        lease
    }

    async fn delete(&self, key: &str) {
        self.ask("/v3/kv/deleterange", json!({ "key": encoded(key) })).await;
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(arguments: &[String]) -> Child {
    let mut command = Command::new("etcd");
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("etcd starts")
}

/// etcd cannot tell which port the system chose: one that was free a moment ago.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

fn encoded(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

/// As etcd's own library for Go registers an endpoint.
fn registered(backend: &Mortal) -> String {
    json!({ "Op": 0, "Addr": backend.address.to_string(), "Metadata": { "weight": 1 } }).to_string()
}

#[tokio::test]
async fn endpoints_are_registered_and_removed_while_etcd_comes_and_goes() {
    let (a, b, c) = (start('a').await, start('b').await, start('c').await);
    let Some(mut etcd) = Etcd::start(Directory::new("etcd"), free(), &[]).await else { return };
    let found =
        Found::start(&format!("etcd: {{ urls: [\"http://{}\"], prefix: door/ }}", etcd.address)).await;
    let gateway = &found.gateway;
    assert_eq!(call(gateway).await, "NO_ENDPOINTS");
    assert_eq!(page(gateway, "/readyz").await.status, 503);
    etcd.put("door/a", &registered(&a)).await;
    etcd.put("door/b", &b.address.to_string()).await;
    etcd.put("doors/c", &registered(&c)).await;
    meets(gateway, "ab").await;
    assert_eq!(page(gateway, "/readyz").await.status, 200);

    let load = Load::start(gateway).await;
    etcd.delete("door/a").await;
    meets(gateway, "b").await;
    let lease = etcd.put_leased("door/c", &registered(&c), 3600).await;
    meets(gateway, "bc").await;
    etcd.ask("/v3/lease/revoke", json!({ "ID": lease })).await;
    meets(gateway, "b").await;
    etcd.put("door/x", "nonsense").await;
    eventually("it is left out", async || seen(gateway).await["left_out"] == 1).await;
    etcd.put_leased("door/x", &registered(&a), 1).await;
    eventually("the lease ends", async || {
        let range = json!({ "key": encoded("door/x"), "count_only": true });
        etcd.ask("/v3/kv/range", range).await.get("count").is_none()
    })
    .await;
    meets(gateway, "b").await;

    etcd.stop();
    eventually("etcd is missed", async || seen(gateway).await["failure"].is_string()).await;
    meets(gateway, "b").await;
    etcd.run().await;
    eventually("it is found again", async || seen(gateway).await["failure"].is_null()).await;
    meets(gateway, "b").await;
    // What is compacted is nobody's to watch: the range before the watch is read anew each time.
    let put = etcd.put("door/c", &registered(&c)).await;
    etcd.ask("/v3/kv/compaction", json!({ "revision": put["header"]["revision"] })).await;
    meets(gateway, "bc").await;
    etcd.stop();
    etcd.run().await;
    etcd.delete("door/b").await;
    etcd.put("door/a", &registered(&a)).await;
    meets(gateway, "ac").await;
    let tally = load.end().await;
    figure(format_args!("calls while endpoints came and went and etcd was stopped twice: {tally:?}"));
    assert!(is_clean(&tally), "{tally:?}");
}

#[tokio::test]
async fn etcd_is_reached_over_tls_with_a_certificate_and_a_password() {
    let a = start('a').await;
    let directory = Directory::new("etcd-tls");
    let authority = Authority::new("etcd");
    let (server, client) = (authority.host(&["127.0.0.1"]), authority.client("spiffe://test/gateway"));
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("the directory is ours");
        path.display().to_string()
    };
    let ca = file("ca.pem", &authority.pem);
    let (cert, key) = (file("cert.pem", &server.chain), file("key.pem", &server.key));
    let (own_cert, own_key) = (file("own.pem", &client.chain), file("own-key.pem", &client.key));
    let password = file("password", "hunter2\n");
    let (plain, secured) = (free(), free());
    let listens = format!("https://{secured}");
    let more = [
        listens.as_str(),
        "--cert-file",
        &cert,
        "--key-file",
        &key,
        "--client-cert-auth",
        "--trusted-ca-file",
        &ca,
    ];
    let Some(mut etcd) = Etcd::start(directory, plain, &more).await else { return };
    etcd.put("door/a", &registered(&a)).await;
    for (user, word) in [("root", "secret"), ("gateway", "hunter2")] {
        etcd.ask("/v3/auth/user/add", json!({ "name": user, "password": word })).await;
        etcd.ask("/v3/auth/role/add", json!({ "name": user })).await;
        etcd.ask("/v3/auth/user/grant", json!({ "user": user, "role": user })).await;
    }
    let permission = json!({ "permType": "READ", "key": encoded("door/"), "range_end": encoded("door0") });
    etcd.ask("/v3/auth/role/grant", json!({ "name": "gateway", "perm": permission })).await;
    etcd.ask("/v3/auth/enable", json!({})).await;
    let login = json!({ "name": "root", "password": "secret" });
    etcd.token = etcd.ask("/v3/auth/authenticate", login).await["token"].as_str().map(str::to_owned);
    // Nobody listens where the first member is said to be.
    let source = |user: &str| {
        format!(
            "etcd: {{ urls: [\"https://{}\", \"https://{secured}\"], prefix: door/, ca: {ca:?}, cert: {own_cert:?}, \
             key: {own_key:?}, user: {user}, password: \"file:{password}\" }}",
            free()
        )
    };
    let found = Found::start(&source("gateway")).await;
    meets(&found.gateway, "a").await;
    let b = start('b').await;
    etcd.put("door/b", &registered(&b)).await;
    meets(&found.gateway, "ab").await;
    // Who is refused has found out nothing.
    found.reload(&source("nobody"), "").await;
    eventually("the password is refused", async || {
        let failure = seen(&found.gateway).await["failure"].as_str().unwrap_or_default().to_owned();
        failure.contains("authentication failed")
    })
    .await;
    meets(&found.gateway, "ab").await;
    let shown = page(&found.gateway, "/config").await;
    assert!(!shown.text().contains("hunter2"), "{}", shown.text());
}

/// A field of bytes: its number, its length, the bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut wire = vec![number << 3 | 2];
    prost::encode_length_delimiter(bytes.len(), &mut wire).expect("a Vec has room");
    wire.extend_from_slice(bytes);
    wire
}

/// An etcd of so many keys, whose values have so many bytes, at the wire: a real one takes minutes to be filled.
async fn stuffed(keys: usize, value_bytes: usize) -> raw::Backend {
    // RangeResponse { header = 1, kvs = 2 }, ResponseHeader { revision = 3 }, KeyValue { key = 1, value = 5 }.
    let mut response = field(1, &[3 << 3, 1]);
    for key in 0..keys {
        let endpoint =
            format!("{{\"Op\":0,\"Addr\":\"10.0.0.1:{}\",\"Metadata\":{{\"note\":\"\"}}}}", 1 + key);
        let padding = "x".repeat(value_bytes - endpoint.len());
        let value = endpoint.replace("\"\"", &format!("\"{padding}\""));
        let key = field(1, format!("p/{key}").as_bytes());
        response.extend(field(2, &[key, field(5, value.as_bytes())].concat()));
    }
    let response = framed(&response);
    raw::Backend::start(raw::serve(move |request, respond| {
        let response = response.clone();
        async move {
            assert_eq!(request.uri().path(), "/etcdserverpb.KV/Range");
            raw::reply(respond, response, &[("grpc-status", "0")]);
        }
    }))
    .await
}

#[tokio::test]
async fn ten_thousand_keys_may_have_long_values() {
    for (keys, value_bytes, is_read) in [(10_000, 430, true), (10_000, 1600, true), (10_000, 1700, false)] {
        let etcd = stuffed(keys, value_bytes).await;
        let settings = EtcdSettings {
            urls: vec![format!("http://{}", etcd.address).parse().expect("a URL")],
            prefix: "p/".into(),
            login: None,
            tls: EtcdTls::default(),
        };
        let found = probe(&settings).await;
        match is_read {
            true => assert_eq!(found, Ok(keys), "{value_bytes}"),
            false => assert!(found.as_ref().is_err_and(|reason| reason.contains("16777216")), "{found:?}"),
        }
    }
}
