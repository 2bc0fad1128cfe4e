//! A certified OpenID provider, `oidc-provider` of npm, and the gateway that believes its tokens.
//!
//! `openid_provider.mjs` is the provider: it rotates its keys, goes down and comes back as it is told.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use serde_json::Value;

use crate::support::backend::Backend;
use crate::support::http::{self as client, Answer};
use crate::support::{Directory, Gateway, eventually, missing, require};

/// The provider as a process of its own; it ends with the test.
struct OpenId {
    process: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    issuer: String,
    directory: Directory,
}

impl OpenId {
    /// Starts the provider, where Node.js and the package are there.
    fn start() -> Option<Self> {
        if !require("node", Command::new("node").arg("--version")) {
            return None;
        }
        let packages = packages();
        if !packages.join("node_modules/oidc-provider").exists() {
            missing(format_args!("`oidc-provider` is not installed in `{}`", packages.display()));
            return None;
        }
        let mut process = Command::new("node")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/openid_provider.mjs"))
            .arg(packages)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts");
        let (stdin, stdout) = process.stdin.take().zip(process.stdout.take()).expect("piped");
        let mut stdout = BufReader::new(stdout);
        let hello = line(&mut stdout);
        let directory = Directory::new("openid");
        let secret = directory.path().join("secret");
        std::fs::write(&secret, text(&hello, "secret")).expect("writable");
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("the file is ours");
        let issuer = text(&hello, "issuer");
        Some(Self { process, pipes: Mutex::new((stdin, stdout)), issuer, directory })
    }

    /// Has the provider do something and waits until it is done.
    fn tell(&self, command: &str) -> Value {
        let (stdin, stdout) = &mut *self.pipes.lock().expect("one test");
        writeln!(stdin, "{command}").expect("the provider lives");
        let answer = line(stdout);
        assert_eq!(answer.get("error"), None, "{command}");
        answer
    }

    fn token(&self, kind: &str) -> String {
        text(&self.tell(&format!("token {kind}")), "token")
    }

    fn count(&self, place: &str) -> u64 {
        self.tell("counts")[place].as_u64().expect("a number")
    }

    /// A gateway that asks this provider, and sends every call to a backend that says what it saw.
    async fn gateway(&self, backend: &Backend, jwt: &str, introspect: &str) -> Gateway {
        let issuer = &self.issuer;
        let secret = self.directory.path().join("secret");
        let secret = secret.display();
        let rest = format!(
            r#"
auth:
  corp:
    jwt: {{ issuer: "{issuer}", audiences: [shop-api], refetch: 1s, {jwt} }}
    forward: {{ sub: x-user-id, scope: x-scopes }}
  old:
    introspect: {{ url: "{issuer}/token/introspection", client: edge, secret: "file:{secret}", {introspect} }}
    forward: {{ client_id: x-client-id }}
policies: {{ signed-in: {{ auth: {{ any: [corp, old] }} }} }}
surfaces: {{ web: {{ policies: [signed-in] }} }}
"#
        );
        Gateway::configured(backend, "", "", &rest).await
    }
}

impl Drop for OpenId {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where `.ci/run` installs what the tests need of npm.
fn packages() -> PathBuf {
    std::env::var_os("TRANSOM_NPM")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/npm"), PathBuf::from)
}

fn line(stdout: &mut impl BufRead) -> Value {
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line of the provider");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {answer}")).to_owned()
}

async fn call(gateway: &Gateway, token: &str) -> Answer {
    client::send(gateway.address, request(token), "").await
}

fn request(token: &str) -> http::request::Builder {
    client::request("GET", "/v1/items/7").header("authorization", format!("Bearer {token}"))
}

/// So many calls at once.
async fn calls(gateway: &Gateway, token: &str, count: usize) -> Vec<Answer> {
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..count {
        let request = request(token);
        calls.spawn(client::send(gateway.address, request, ""));
    }
    calls.join_all().await
}

/// The answer is the backend's.
async fn passes(gateway: &Gateway, token: &str) -> Answer {
    let answer = call(gateway, token).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

async fn is_refused(gateway: &Gateway, token: &str) {
    let answer = call(gateway, token).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(answer.json()["details"][0]["reason"], "TOKEN_INVALID");
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\""), "{challenge}");
}

async fn is_unavailable(gateway: &Gateway, token: &str) {
    let answer = call(gateway, token).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.json()["details"][0]["reason"], "AUTH_BACKEND_DOWN");
    assert_eq!(answer.header("www-authenticate"), None);
}

#[tokio::test]
async fn tokens_of_both_grants_are_believed() {
    let Some(provider) = OpenId::start() else { return };
    let backend = Backend::echo().await;
    let gateway = provider.gateway(&backend, "", "").await;
    let seen =
        |answer: &Answer, name: &str| answer.header(&format!("grpc-metadata-seen-{name}")).map(str::to_owned);
    for kind in ["jwt", "ec"] {
        let answer = passes(&gateway, &provider.token(kind)).await;
        assert_eq!(seen(&answer, "x-user-id").as_deref(), Some("edge"), "{kind}");
        assert_eq!(seen(&answer, "x-scopes").as_deref(), Some("orders.read"), "{kind}");
        assert_eq!(seen(&answer, "authorization"), None, "{kind}");
    }
    let by_code = text(&provider.tell("code"), "token");
    let answer = passes(&gateway, &by_code).await;
    assert_eq!(seen(&answer, "x-user-id").as_deref(), Some("alice"));
    let answer = passes(&gateway, &provider.token("opaque")).await;
    assert_eq!(seen(&answer, "x-client-id").as_deref(), Some("edge"));
    // What the client says of itself goes nowhere.
    let spoofed = request(&by_code).header("x-user-id", "root");
    let answer = client::send(gateway.address, spoofed, "").await;
    assert_eq!(seen(&answer, "x-user-id").as_deref(), Some("alice"));
    assert_eq!(provider.count("keys"), 1);
}

#[tokio::test]
async fn changed_tokens_are_refused_before_the_backend() {
    let Some(provider) = OpenId::start() else { return };
    let backend = Backend::echo().await;
    let gateway = provider.gateway(&backend, "", "").await;
    let (token, ec) = (provider.token("jwt"), provider.token("ec"));
    let parts = |token: &str| -> [String; 3] {
        let parts: Vec<_> = token.split('.').map(str::to_owned).collect();
        parts.try_into().expect("three parts")
    };
    let ([header, claims, signature], [ec_header, _, ec_signature]) = (parts(&token), parts(&ec));
    for changed in [
        format!("{header}.{claims}.{ec_signature}"),
        format!("{ec_header}.{claims}.{signature}"),
        format!("{header}.{claims}."),
        format!("{header}.{claims}"),
        // {"alg":"none"}
        format!("eyJhbGciOiJub25lIn0.{claims}.{signature}"),
        "not-a-token-of-this-provider".to_owned(),
    ] {
        is_refused(&gateway, &changed).await;
    }
    let answer = client::send(gateway.address, client::request("GET", "/v1/items/7"), "").await;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(backend.calls(), 0);
    passes(&gateway, &token).await;
}

#[tokio::test]
async fn keys_rotate_while_calls_are_served() {
    let Some(provider) = OpenId::start() else { return };
    let backend = Backend::echo().await;
    let gateway = provider.gateway(&backend, "", "").await;
    let old = provider.token("jwt");
    passes(&gateway, &old).await;
    assert_eq!(provider.count("keys"), 1);
    provider.tell("rotate");
    let new = provider.token("jwt");
    // Within `refetch` of the fetch before the key is not known yet; the fetch is planned.
    eventually("the new key is found", async || call(&gateway, &new).await.status == 200).await;
    assert_eq!(provider.count("keys"), 2);
    passes(&gateway, &old).await;
    // However many come with a new key, there is one fetch.
    provider.tell("rotate");
    let newest = provider.token("jwt");
    let all_pass = async || {
        let answers = calls(&gateway, &newest, 20).await;
        answers.iter().all(|answer| answer.status == 200)
    };
    eventually("the newest key is found", all_pass).await;
    assert_eq!(provider.count("keys"), 3);
    passes(&gateway, &old).await;
    // Keys that are taken back are believed no longer, as soon as that is known.
    provider.tell("rotate");
    provider.tell("retire");
    let last = provider.token("jwt");
    eventually("the last key is found", async || call(&gateway, &last).await.status == 200).await;
    for token in [old, new, newest] {
        is_refused(&gateway, &token).await;
    }
}

#[tokio::test]
async fn opaque_tokens_are_asked_for_once_and_revoked() {
    let Some(provider) = OpenId::start() else { return };
    let backend = Backend::echo().await;
    let gateway = provider.gateway(&backend, "", "cache: 30s").await;
    let token = provider.token("opaque");
    let answers = calls(&gateway, &token, 20).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(provider.count("introspection"), 1);
    let strict = provider.gateway(&backend, "", "cache: 0s").await;
    passes(&strict, &token).await;
    provider.tell(&format!("revoke {token}"));
    is_refused(&strict, &token).await;
    // For as long as `cache` says, it passes elsewhere.
    passes(&gateway, &token).await;
}

#[tokio::test]
async fn revoked_subjects_are_refused_at_once() {
    let Some(provider) = OpenId::start() else { return };
    let backend = Backend::echo().await;
    let file = provider.directory.path().join("revoked");
    let write = |text: &str| std::fs::write(&file, text).expect("writable");
    write("# nobody\n");
    let gateway = provider.gateway(&backend, &format!("revoked: \"file:{}\"", file.display()), "").await;
    let token = provider.token("jwt");
    passes(&gateway, &token).await;
    write("sub edge\n");
    eventually("the line takes effect", async || call(&gateway, &token).await.status == 401).await;
    is_refused(&gateway, &token).await;
    // A file that is not understood changes nothing.
    write("sub edge\nuser edge\n");
    eventually("the file is refused", async || {
        let metrics = client::send(gateway.admin, client::request("GET", "/metrics"), "").await;
        metrics.text().contains("transom_file_reload_failures_total 1")
    })
    .await;
    is_refused(&gateway, &token).await;
    write("");
    eventually("the subject is back", async || call(&gateway, &token).await.status == 200).await;
}

#[tokio::test]
async fn metrics_tell_how_keys_are() {
    let Some(provider) = OpenId::start() else { return };
    let backend = Backend::echo().await;
    let gateway = provider.gateway(&backend, "", "").await;
    provider.tell("rotate");
    // Refused within `refetch`, and good after it: the key is unknown in both cases.
    call(&gateway, &provider.token("jwt")).await;
    let metrics = client::send(gateway.admin, client::request("GET", "/metrics"), "").await;
    let text = metrics.text();
    for line in [
        "transom_jwks_ready{provider=\"corp\"} 1",
        "transom_jwks_fetches_total{provider=\"corp\",result=\"failed\"} 0",
        "transom_jwks_unknown_keys_total{provider=\"corp\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn cached_keys_serve_while_the_provider_is_down() {
    let Some(provider) = OpenId::start() else { return };
    let backend = Backend::echo().await;
    let gateway = provider.gateway(&backend, "", "").await;
    let (jwt, unseen) = (provider.token("jwt"), provider.token("ec"));
    let (opaque, unseen_opaque) = (provider.token("opaque"), provider.token("opaque"));
    passes(&gateway, &jwt).await;
    passes(&gateway, &opaque).await;
    provider.tell("down");
    passes(&gateway, &jwt).await;
    passes(&gateway, &unseen).await;
    passes(&gateway, &opaque).await;
    is_unavailable(&gateway, &unseen_opaque).await;
    provider.tell("up");
    passes(&gateway, &unseen_opaque).await;
}

#[tokio::test]
async fn a_gateway_that_starts_without_its_provider_finds_it_later() {
    let Some(provider) = OpenId::start() else { return };
    let backend = Backend::echo().await;
    let token = provider.token("jwt");
    provider.tell("down");
    let gateway = provider.gateway(&backend, "", "").await;
    is_unavailable(&gateway, &token).await;
    let readiness = client::send(gateway.admin, client::request("GET", "/readyz"), "").await;
    assert_eq!(readiness.status, 200);
    provider.tell("up");
    eventually("keys come", async || call(&gateway, &token).await.status == 200).await;
}
