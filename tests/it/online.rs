//! `transom check --online`: what answers has no finding, and what does not has one where the file names it.

use std::net::SocketAddr;
use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic_health::ServingStatus;

use crate::support::Directory;
use crate::support::backend::Backend;
use crate::support::raw::{GRPC, Mortal, head, serve};
use crate::support::redis::Redis;

/// Pages that are the same for everyone; it ends with the test.
struct Pages {
    address: String,
    task: JoinHandle<()>,
}

impl Pages {
    /// Answers `GET /keys` with a key set, the discovery document with itself, and anything else with 405.
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("a bound address"));
        let issuer = address.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                assert!(!head.to_ascii_lowercase().contains("\r\nauthorization:"), "{head}");
                let discovery = format!("{{\"issuer\":\"{issuer}\",\"jwks_uri\":\"{issuer}/keys\"}}");
                let (status, body) = match head.split(" HTTP").next().unwrap_or_default() {
                    "GET /keys" => (200, KEYS.to_owned()),
                    "GET /.well-known/openid-configuration" => (200, discovery),
                    "GET /wrong" => (200, "{}".to_owned()),
                    asked => {
                        // HTTP/2 begins with `PRI *`.
                        assert!(asked.starts_with("HEAD ") || asked == "PRI *", "{asked}");
                        (405, String::new())
                    }
                };
                let length = body.len();
                let text = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                let _ = stream.write_all(text.as_bytes()).await;
            }
        });
        Self { address, task }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// RFC 7515, appendix A.3.
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

/// What is named by network, by its line in the file.
#[derive(Clone)]
struct Named {
    backend: String,
    issuer: String,
    keys: String,
    introspect: String,
    ext_authz: String,
    redis: String,
    sink: String,
}

impl Named {
    fn file(&self, directory: &Directory) -> String {
        let Self { backend, issuer, keys, introspect, ext_authz, redis, sink } = self;
        let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/door.proto");
        let spool = directory.path().join("spool");
        format!(
            r#"version: 1
descriptors: [{{ proto: {proto:?} }}]
services:
  door: {{ endpoints: {{ static: ["{backend}"] }} }}
auth:
  discovered: {{ jwt: {{ issuer: "{issuer}", audiences: [a] }} }}
  named: {{ jwt: {{ issuer: i, audiences: [a], jwks: "{keys}" }} }}
  old: {{ introspect: {{ url: "{introspect}", client: a, secret: env:CARGO_PKG_NAME }} }}
  opa: {{ ext_authz: {{ url: "{ext_authz}" }} }}
stores:
  shared: {{ redis: "{redis}", password: env:STORE_PASSWORD }}
observe: {{ usage: {{ http: "{sink}", spool: {spool:?} }} }}
policies: {{ p: {{ auth: {{ any: [discovered, named, old, opa] }}, rate: {{ by: ip, limit: 1/s, store: shared }} }} }}
surfaces: {{ s: {{ policies: [p] }} }}
"#
        )
    }

    /// Exit code and what was printed.
    async fn check(&self, more: &[&str]) -> (i32, String) {
        let directory = Directory::new("online");
        let file = directory.path().join("t.yaml");
        std::fs::write(&file, self.file(&directory)).expect("writable");
        let mut command = Command::new(env!("CARGO_BIN_EXE_transom"));
        command.args(["check", "--online", "-c", "t.yaml"]).args(more).current_dir(directory.path());
        command.env("CARGO_PKG_NAME", "secret").env("STORE_PASSWORD", "secret");
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("the thread lives");
        let output = output.expect("the binary runs");
        (output.status.code().expect("it ends"), String::from_utf8(output.stdout).expect("text"))
    }
}

#[tokio::test]
async fn what_does_not_answer_is_a_finding_at_its_place() {
    let Some(redis) = Redis::start() else { return };
    redis.query::<()>(&["CONFIG", "SET", "requirepass", "secret"]);
    let (backend, pages) = (Backend::echo().await, Pages::open().await);
    let up = Named {
        backend: backend.url(),
        issuer: pages.address.clone(),
        keys: format!("{}/keys", pages.address),
        introspect: format!("{}/introspect", pages.address),
        ext_authz: backend.url(),
        redis: format!("redis://127.0.0.1:{}", redis.port),
        sink: format!("{}/events", pages.address),
    };
    let (code, printed) = up.check(&["--strict"]).await;
    assert_eq!((code, printed.as_str()), (0, "t.yaml: no findings\n"));
    assert_eq!(backend.calls(), 0);
    let keys: Vec<String> = redis.query_as("secret", &["KEYS", "*"]);
    assert_eq!(keys, Vec::<String>::new(), "a check writes nothing");
    let refused = "Connection refused";
    let check = async |change: fn(&mut Named, &str), value: &str, expected: &str, words: &str| {
        let mut named = up.clone();
        change(&mut named, value);
        let (code, printed) = named.check(&[]).await;
        assert_eq!((code, printed.lines().count()), (1, 1), "{printed}");
        assert!(printed.starts_with(expected) && printed.contains(words), "{expected} {words}: {printed}");
    };
    let (nobody, wrong) = ("http://127.0.0.1:1", format!("{}/wrong", pages.address));
    type Change = fn(&mut Named, &str);
    let backend: Change = |named, url| named.backend = url.to_owned();
    check(backend, nobody, "t.yaml:4:33: `door`: cannot connect to `http://127.0.0.1:1", refused).await;
    check(backend, &pages.address, "t.yaml:4:33: `door`: ", "it does not speak HTTP/2").await;
    check(backend, "http://nowhere.invalid:1", "t.yaml:4:33: `door`: ", "`nowhere.invalid` is not found")
        .await;
    let issuer: Change = |named, url| named.issuer = url.to_owned();
    check(issuer, nobody, "t.yaml:6:32: `auth.discovered`: its keys cannot be fetched", refused).await;
    let keys: Change = |named, url| named.keys = url.to_owned();
    check(keys, nobody, "t.yaml:7:52: `auth.named`: its keys cannot be fetched", refused).await;
    check(keys, &wrong, "t.yaml:7:52: `auth.named`: its keys cannot be fetched", "").await;
    let introspect: Change = |named, url| named.introspect = url.to_owned();
    check(introspect, nobody, "t.yaml:8:29: `auth.old`: its endpoint does not answer", refused).await;
    let ext_authz: Change = |named, url| named.ext_authz = url.to_owned();
    check(ext_authz, nobody, "t.yaml:9:28: `auth.opa`: cannot connect to", refused).await;
    let store: Change = |named, url| named.redis = url.to_owned();
    check(store, "redis://127.0.0.1:1", "t.yaml:11:20: `stores.shared`: no answer to PING", refused).await;
    let sink: Change = |named, url| named.sink = url.to_owned();
    check(sink, nobody, "t.yaml:12:27: `observe.usage`: its address does not answer", refused).await;
    redis.query_as::<()>("secret", &["CONFIG", "SET", "requirepass", "another"]);
    check(store, &up.redis, "t.yaml:11:20: `stores.shared`: no answer to PING", "").await;
    // Nothing but that there is somebody: no secret is looked for.
    let (code, printed) = up.check(&["--no-secrets"]).await;
    assert_eq!((code, printed.as_str()), (0, "t.yaml: no findings\n"));
}

#[tokio::test]
async fn an_endpoint_that_would_count_as_unwell_is_a_finding() {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("shop", ServingStatus::Serving).await;
    reporter.set_service_status("closed", ServingStatus::NotServing).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let server = Server::builder().add_service(service);
    let server = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    // Whoever has no health service counts as well while it answers.
    let plain = Mortal::start(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        serve(|_, mut respond| async move {
            let unimplemented = [GRPC[0], ("grpc-status", "12")];
            respond.send_response(head(&unimplemented), true).expect("open");
        }),
    )
    .await;
    let check = async |address: SocketAddr, health: &str| {
        let directory = Directory::new("online");
        let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/door.proto");
        let text = format!(
            "version: 1\ndescriptors: [{{ proto: {proto:?} }}]\nservices:\n  door:\n    \
             endpoints: {{ static: [\"http://{address}\"] }}\n    health: {health}\n"
        );
        std::fs::write(directory.path().join("t.yaml"), text).expect("writable");
        let mut command = Command::new(env!("CARGO_BIN_EXE_transom"));
        command.args(["check", "--online", "-c", "t.yaml"]).current_dir(directory.path());
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("the thread lives");
        String::from_utf8(output.expect("the binary runs").stdout).expect("text")
    };
    let none = "t.yaml: no findings\n";
    for health in ["{ grpc: shop }", "{}", "{ grpc: \"\", timeout: 5s }"] {
        assert_eq!(check(address, health).await, none, "{health}");
    }
    assert_eq!(check(plain.address, "{ grpc: shop }").await, none);
    for (name, place, reason) in
        [("shpo", "6:21", "it knows no such name (NOT_FOUND)"), ("closed", "6:21", "NOT_SERVING")]
    {
        let printed = check(address, &format!("{{ grpc: {name} }}")).await;
        let expected =
            format!("t.yaml:{place}: `door`: `http://{address}/` is not well by the name `{name}`: {reason}");
        assert!(printed.starts_with(&expected), "{printed}");
        assert_eq!(printed.lines().count(), 1, "{printed}");
    }
    server.abort();
    // Nobody is asked for its health who is not there: one finding, where the endpoint stands.
    let gone = plain.kill().await;
    let printed = check(gone, "{}").await;
    assert!(printed.starts_with("t.yaml:5:27: `door`: cannot connect to"), "{printed}");
    assert_eq!(printed.lines().count(), 1, "{printed}");
}

#[tokio::test]
async fn all_are_asked_at_once_and_none_for_long() {
    // Connections are taken, and nothing is ever said.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = silent.local_addr().expect("a bound address");
    let url = format!("http://{address}");
    let named = Named {
        backend: url.clone(),
        issuer: url.clone(),
        keys: url.clone(),
        introspect: url.clone(),
        ext_authz: url.clone(),
        redis: format!("redis://{address}"),
        sink: url,
    };
    let started = std::time::Instant::now();
    let (code, printed) = named.check(&["--format", "json"]).await;
    let elapsed = started.elapsed();
    assert_eq!(code, 1);
    let findings: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    let lines: Vec<_> =
        findings.as_array().into_iter().flatten().map(|finding| finding["line"].as_u64()).collect();
    assert_eq!(lines, [4, 6, 7, 8, 9, 11, 12].map(Some), "{printed}");
    assert!(elapsed.as_secs() < 20, "{elapsed:?}");
}
