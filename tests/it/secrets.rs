//! No secret shows: each is planted with a mark, everything is provoked, and every output is searched.
//!
//! A secret of the configuration is a row of [`Planted::new`]; one that a client sends, of [`credentials`];
//! what makes the gateway speak, of [`provoke`]. Whatever the gateway says anywhere goes to [`Outputs`]. Who is calling, and what counts
//! calls, is in [`identities`].

mod identities;

use std::path::Path;
use std::process::Command;

use ::http::{HeaderMap, request::Builder};

use crate::support::backend::{Backend, nothing, respond};
use crate::support::tls::Authority;
use crate::support::{Directory, Gateway, eventually, http as client};

/// Where a secret stands, so that a finding says which one it is.
fn mark(place: &str) -> String {
    format!("Zx9{place}Q7wMARKk3")
}

/// What the gateway has said, and where.
#[derive(Default)]
struct Outputs(Vec<(String, String)>);

impl Outputs {
    fn add(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.0.push((place.into(), text.into()));
    }

    fn answer(&mut self, place: &str, answer: &client::Answer) {
        let headers = format!("{:?}", answer.headers);
        self.add(place, format!("{} {headers}\n{}", answer.status, String::from_utf8_lossy(&answer.body)));
    }

    /// Every file below a directory.
    fn files(&mut self, directory: &Path) {
        for entry in std::fs::read_dir(directory).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                self.files(&path);
            } else {
                let bytes = std::fs::read(&path).expect("readable");
                self.add(path.display().to_string(), String::from_utf8_lossy(&bytes));
            }
        }
    }

    /// What operators print of the configuration.
    fn command(&mut self, arguments: &[&str]) {
        let output = Command::new(env!("CARGO_BIN_EXE_transom")).args(arguments).output();
        let output = output.expect("the binary runs");
        let said = [output.stdout, output.stderr].concat();
        self.add(format!("transom {}", arguments[0]), String::from_utf8_lossy(&said));
    }

    /// The searcher is not blind: what may be seen is found there.
    fn have(&self, visible: &str, place: &str) {
        let mut here = self.0.iter().filter(|(name, _)| name.ends_with(place));
        assert!(here.any(|(_, text)| text.contains(visible)), "{visible} is not in {place}");
    }

    fn have_none_of(&self, needles: &[String]) {
        let mut found = Vec::new();
        for (place, text) in &self.0 {
            let lines = text.lines().filter(|line| needles.iter().any(|needle| line.contains(needle)));
            found.extend(lines.map(|line| format!("{place}: {line:.300}")));
        }
        assert!(found.is_empty(), "{} lines show a secret:\n{}", found.len(), found.join("\n"));
    }
}

/// A configuration with a secret wherever one can stand.
struct Planted {
    directory: Directory,
    /// What must not show.
    needles: Vec<String>,
}

impl Planted {
    fn new() -> Self {
        let directory = Directory::new("secrets");
        for folder in ["secrets", "out"] {
            std::fs::create_dir(directory.path().join(folder)).expect("writable");
        }
        let mut planted = Self { directory, needles: Vec::new() };
        for place in ["admin-token", "usage-token"] {
            planted.secret(place, &mark(place));
            planted.needles.push(mark(place));
        }
        let issued = Authority::new("authority").host(&["gateway.test"]);
        planted.secret("tls.crt", &issued.chain);
        planted.secret("tls.key", &issued.key);
        planted.needles.extend(issued.key.lines().filter(|line| !line.contains("-----")).map(str::to_owned));
        planted
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join("secrets").join(name).display().to_string()
    }

    /// As the configuration names a secret.
    fn reference(&self, name: &str) -> String {
        format!("file:{}", self.file(name))
    }

    fn out(&self, name: &str) -> String {
        self.directory.path().join("out").join(name).display().to_string()
    }

    /// Writes a file that only its owner reads.
    fn secret(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.file(name);
        std::fs::write(&path, text).expect("writable");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("ours");
    }

    fn configuration(&self, backend: &Backend) -> String {
        let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/door.proto");
        format!(
            "version: 1\n\
             listeners:\n  \
               public: {{}}\n  \
               secured: {{ bind: \"127.0.0.1:0\", tls: {{ cert: {crt:?}, key: {key:?} }} }}\n  \
               admin: {{ token: {admin:?} }}\n\
             descriptors: [{{ proto: {proto:?} }}]\n\
             services: {{ door: {{ endpoints: {{ static: [{backend:?}] }} }} }}\n\
             observe:\n  \
               usage: {{ http: \"http://127.0.0.1:1/events\", token: {usage:?}, spool: {spool:?} }}\n  \
               audit: {{ file: {audit:?} }}\n",
            crt = self.reference("tls.crt"),
            key = self.reference("tls.key"),
            admin = self.reference("admin-token"),
            usage = self.reference("usage-token"),
            backend = backend.url(),
            spool = self.out("spool"),
            audit = self.out("audit.log"),
        )
    }
}

/// Requests that show a secret, each in another place, and what must not show of them.
fn credentials(method: &str, target: &str) -> Vec<(Builder, Vec<String>)> {
    let plain = |header: &str, before: &str, place: &str, after: &str| {
        let value = format!("{before}{}{after}", mark(place));
        (client::request(method, target).header(header, value), vec![mark(place)])
    };
    let basic = base64(format!("user:{}", mark("basic")).as_bytes());
    let joint = if target.contains('?') { '&' } else { '?' };
    let query = |name: &str| {
        let place = format!("query-{name}");
        let target = format!("{target}{joint}{name}={}", mark(&place));
        (client::request(method, &target), vec![mark(&place)])
    };
    vec![
        plain("authorization", "Bearer ", "bearer", ""),
        plain("authorization", "Bearer eyJhbGciOiJSUzI1NiJ9.", "jwt", ".AAAA"),
        plain("authorization", "", "bare", ""),
        plain("authorization", "Bearer transom_k1_", "key", "_00000000"),
        plain("proxy-authorization", "Basic ", "proxy", ""),
        plain("cookie", "session=", "cookie", "; a=b"),
        plain("x-api-key", "", "api-key", ""),
        plain("grpc-metadata-authorization", "Bearer ", "metadata", ""),
        (
            client::request(method, target).header("authorization", format!("Basic {basic}")),
            vec![basic.clone()],
        ),
        query("key"),
        query("access_token"),
        query("name"),
    ]
}

/// The same request once more: builders are for one.
fn credentials_again(request: &Builder) -> Builder {
    let mut again = client::request(request.method_ref().expect("well-formed").as_str(), "/")
        .uri(request.uri_ref().expect("well-formed").clone());
    for (name, value) in request.headers_ref().expect("well-formed") {
        again = again.header(name, value);
    }
    again
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |chunk: &[u8]| -> String {
        let number = chunk.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        let number = number << (8 * (3 - chunk.len()));
        let digit = |at: usize| char::from(DIGITS[(number >> (18 - 6 * at)) as usize & 63]);
        (0..4).map(|at| if at <= chunk.len() { digit(at) } else { '=' }).collect()
    };
    bytes.chunks(3).map(digits).collect()
}

/// Makes the gateway refuse, fail and serve, with every credential there is.
async fn provoke(gateway: &Gateway, outputs: &mut Outputs) -> Vec<String> {
    let mut needles = Vec::new();
    let secured = gateway.addresses.iter().find(|(name, _)| name == "secured").expect("a listener").1;
    for (method, target, body) in [
        ("GET", "/v1/items/7", ""),
        ("GET", "/v1/items/7?count=x", ""),
        ("GET", "/v1/items/7?nope=1", ""),
        ("GET", "/nowhere", ""),
        ("PUT", "/v1/names", ""),
        ("GET", "/v1/items/%00", ""),
        ("POST", "/v1/items", "{"),
        ("POST", "/v1/items", r#"{"name":5}"#),
        ("GET", "/v1/items/7:watch", ""),
    ] {
        for (request, secrets) in credentials(method, target) {
            needles.extend(secrets);
            let request = request.header("content-type", "application/json");
            let again = credentials_again(&request);
            let answer = client::send(gateway.address, request, body).await;
            outputs.answer(&format!("{method} {target}"), &answer);
            let answer = client::send_h2(gateway.address, again, body).await;
            outputs.answer(&format!("{method} {target} over HTTP/2"), &answer);
        }
    }
    // A deadline, an encoding and a content type that are refused, all with a token.
    for (name, value) in
        [("grpc-timeout", "x"), ("content-encoding", "br2"), ("content-type", "text/plain"), ("te", "x")]
    {
        let token = format!("Bearer {}", mark("refused"));
        let request = client::request("POST", "/v1/items").header("authorization", token).header(name, value);
        outputs.answer(name, &client::send(gateway.address, request, "{}").await);
    }
    needles.push(mark("refused"));
    // Heads that are no HTTP, and plain text where TLS is spoken.
    let raw = format!("GET / HTTP/1.1\r\nhost: a\r\nauthorization : Bearer {}\r\n\r\n", mark("raw"));
    outputs.add("a malformed head", client::send_raw(gateway.address, raw.as_bytes()).await);
    outputs.add("plain text to TLS", client::send_raw(secured, raw.as_bytes()).await);
    needles.push(mark("raw"));
    // The operators' listener, with a wrong token.
    let token = format!("Bearer {}", mark("wrong-admin"));
    let request = client::request("GET", "/config").header("authorization", token);
    outputs.answer("/config with a wrong token", &client::send(gateway.admin, request, "").await);
    needles.push(mark("wrong-admin"));
    needles
}

/// Every page that operators read.
async fn read_pages(gateway: &Gateway, outputs: &mut Outputs) {
    for target in ["/config", "/stats", "/metrics", "/readyz", "/healthz", "/nowhere"] {
        for accept in ["application/json", "text/plain", "text/html"] {
            let token = format!("Bearer {}", mark("admin-token"));
            let request = client::request("GET", target).header("accept", accept);
            let answer = client::send(gateway.admin, request.header("authorization", token), "").await;
            assert_eq!(answer.status == 200, target != "/nowhere", "{target}");
            outputs.answer(&format!("{accept} {target}"), &answer);
        }
    }
}

/// Fails each call, and repeats nothing of it.
async fn failing() -> Backend {
    Backend::start(async |_| {
        let mut metadata = HeaderMap::new();
        metadata.insert("grpc-status", "13".parse().expect("a number"));
        respond(metadata, nothing())
    })
    .await
}

#[tokio::test]
async fn no_output_shows_a_secret() {
    let backend = failing().await;
    let planted = Planted::new();
    let file = planted.directory.path().join("secrets/transom.yaml");
    std::fs::write(&file, planted.configuration(&backend)).expect("writable");
    let log = planted.directory.path().join("out/log");
    let log_file = std::fs::File::create(&log).expect("writable");
    let arguments = ["--config", file.to_str().expect("a path in UTF-8")];
    let mut gateway = Gateway::start_logging(log_file, &arguments).await;
    let mut outputs = Outputs::default();
    let mut needles = provoke(&gateway, &mut outputs).await;
    // The certificate's file becomes one that is refused.
    planted.secret("tls.key", &format!("-----BEGIN PRIVATE KEY-----\n{}\n", mark("tls-key")));
    needles.push(mark("tls-key"));
    let is_logged = |text: &str| std::fs::read_to_string(&log).is_ok_and(|log| log.contains(text));
    eventually("the key is refused", async || is_logged("tls.key")).await;
    eventually("the sink is away", async || is_logged("the usage sink does not take events")).await;
    read_pages(&gateway, &mut outputs).await;
    gateway.terminate();
    gateway.exit_code().await;
    outputs.files(&planted.directory.path().join("out"));
    needles.extend(planted.needles);
    assert!(needles.len() > 20 && outputs.0.len() > 100, "{} {}", needles.len(), outputs.0.len());
    outputs.have_none_of(&needles);
    // What is searched is there: the log has every request, the spool and the audit log have entries.
    for place in ["/out/log", "/out/audit.log", "1.events"] {
        let text = outputs.0.iter().find(|(name, _)| name.ends_with(place)).map(|(_, text)| text.as_str());
        assert!(text.is_some_and(|text| !text.is_empty()), "nothing in {place}");
    }
}

#[test]
fn no_finding_shows_a_secret() {
    let directory = Directory::new("secrets");
    let file = directory.path().join("transom.yaml");
    let short = directory.path().join("short");
    std::fs::write(&short, mark("literal")).expect("writable");
    let mut outputs = Outputs::default();
    for (index, text) in [
        "listeners: { admin: { token: MARK } }",
        "listeners: { admin: { token: [MARK] } }",
        "listeners: { public: { tls: { cert: MARK, key: MARK } } }",
        "observe: { usage: { http: \"https://a\", token: MARK, spool: b } }",
        "observe: { usage: { http: \"https://me:MARK@a/x\", spool: b } }",
        "observe: { usage: { http: \"MARK@a\", spool: b } }",
        "services: { api: { endpoints: { static: [\"http://me:MARK@a:1\"] } } }",
        "descriptors: [{ reflect: \"http://me:MARK@a:1\" }]",
        "stores: { a: { redis: \"redis://me:MARK@a:6379\" } }",
        "stores: { a: { redis: \"rediss://:MARK@a/x\" } }",
        "stores: { a: { redis: \"redis://me:MARK@a b\" } }",
        "stores: { a: { redis: \"redis://me:MARK\" } }",
        "stores: { a: { redis: \"me:MARK@a:6379\" } }",
        "stores: { a: { redis: \"redis://a\", password: MARK } }",
        "stores: { a: { redis: \"redis://a\", password: \"$MARK\" } }",
        "auth: { a: { jwt: { issuer: a, audiences: a, algorithms: [HS256], secret: MARK } } }",
        "auth: { a: { jwt: { issuer: a, audiences: a, algorithms: [HS256], secret: \"file:SHORT\" } } }",
        "auth: { a: { jwt: { issuer: \"https://me:MARK@a\", audiences: a } } }",
        "auth: { a: { jwt: { issuer: \"https://a\", audiences: a, jwks: \"https://me:MARK@a\" } } }",
        "auth: { a: { introspect: { url: \"https://me:MARK@a\", client: a, secret: MARK } } }",
        "auth: { a: { ext_authz: { url: \"http://me:MARK@a:1\" } } }",
        "auth: { a: { ext_authz: { url: \"me:MARK@a:1\" } } }",
        "consumers: { a: { keys: [MARK] } }",
        "consumers: { a: { keys: [{ hash: MARK, expires: 2999-01-01 }] } }",
    ]
    .iter()
    .enumerate()
    {
        let planted = text.replace("MARK", &mark("literal")).replace("SHORT", &short.display().to_string());
        std::fs::write(&file, format!("version: 1\n{planted}\n")).expect("writable");
        for format in ["text", "json", "sarif"] {
            let output = Command::new(env!("CARGO_BIN_EXE_transom"))
                .args(["check", "--format", format, "-c"])
                .arg(&file)
                .output()
                .expect("the binary runs");
            assert_eq!(output.status.code(), Some(1), "{text}");
            let said = [output.stdout, output.stderr].concat();
            outputs.add(format!("case {index}: {text}"), String::from_utf8_lossy(&said));
        }
    }
    outputs.have_none_of(&[mark("literal")]);
}
