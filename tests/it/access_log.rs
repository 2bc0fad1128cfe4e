//! The access log at the real doors: a line for each call, whatever became of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::metrics::{scrape, value};
use crate::support::backend::{Backend, messages, nothing, respond, status};
use crate::support::{Directory, Gateway, eventually, http as client, soon};

const PAGE: &str = include_str!("../../docs/telemetry.md");

/// A gateway that logs into a file of this test.
struct Logging {
    gateway: Gateway,
    file: PathBuf,
    _directory: Directory,
}

impl Logging {
    /// With these further keys of the access log, and these sections.
    async fn start(backend: &Backend, keys: &str, rest: &str) -> Self {
        let directory = Directory::new("access-log");
        let file = directory.path().join("access.log");
        let to = format!("file:{}", file.display());
        let observe = format!("observe: {{ access_log: {{ to: {to:?}{keys} }} }}\n{rest}");
        let gateway = Gateway::configured(backend, "", "", &observe).await;
        Self { gateway, file, _directory: directory }
    }

    async fn call(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> u16 {
        let mut request = client::request(method, target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        client::send(self.gateway.address, request, body.to_owned()).await.status.as_u16()
    }

    fn lines(&self) -> Vec<Value> {
        lines(&self.file)
    }

    /// So many lines, and no more by now.
    async fn has(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} lines"), async || self.lines().len() >= count).await;
        let lines = self.lines();
        assert_eq!(lines.len(), count, "{lines:#?}");
        lines
    }
}

pub(crate) fn lines(file: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The members that the page documents, in its order.
fn documented() -> Vec<&'static str> {
    let table = PAGE.split("| member | meaning |").nth(1).expect("a table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.split('`').nth(1).expect("a member")).collect()
}

#[tokio::test]
async fn a_line_has_every_member_that_is_documented_and_no_other() {
    let backend = Backend::echo().await;
    let logging = Logging::start(&backend, "", "").await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let headers = [
        ("x-request-id", "r-1"),
        ("user-agent", "it/1"),
        ("traceparent", trace),
        ("content-type", "application/json"),
    ];
    let body = r#"{"name":"items/7"}"#;
    assert_eq!(logging.call("POST", "/v1/items", &headers, body).await, 200);
    assert_eq!(logging.call("GET", "/v1/items/7?count=3&size=7", &[], "").await, 200);
    let lines = logging.has(2).await;
    for line in &lines {
        let members: Vec<_> = line.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut documented = documented();
        // The reader of JSON sorts them; the order is that of the text.
        documented.sort_unstable();
        assert_eq!(members, documented, "{line}");
    }
    let text = std::fs::read_to_string(&logging.file).expect("readable");
    let mut rest = text.lines().next().expect("a line");
    for member in documented() {
        let at = rest.find(&format!("\"{member}\":")).unwrap_or_else(|| panic!("{member} out of order"));
        rest = &rest[at..];
    }
    // Workers write one after the other, and not in the order of their calls.
    let of = |verb: &str| lines.iter().find(|line| line["verb"] == verb).expect("a line");
    let line = of("POST");
    for (member, expected) in [
        ("request_id", json!("r-1")),
        ("trace_id", json!("4bf92f3577b34da6a3ce929d0e0e4736")),
        ("listener", json!("public")),
        ("surface", json!("default")),
        ("client", json!("127.0.0.1")),
        ("user_agent", json!("it/1")),
        ("protocol", json!("HTTP/1.1")),
        ("verb", json!("POST")),
        ("host", json!("gateway.test")),
        ("path", json!("/v1/items")),
        ("query", Value::Null),
        ("template", json!("/v1/items")),
        ("method", json!("door.v1.Door.Create")),
        ("consumer", Value::Null),
        ("http", json!(200)),
        ("code", json!("OK")),
        ("reason", Value::Null),
        ("refused_by", Value::Null),
        ("bytes_in", json!(body.len())),
        ("bytes_out", json!(body.len())),
        ("messages", json!(1)),
        ("service", json!("door")),
        ("endpoint", json!(backend.address.to_string())),
        ("attempts", json!(1)),
        ("cache", Value::Null),
        ("limit_left", Value::Null),
    ] {
        assert_eq!(line[member], expected, "{member}");
    }
    let us = |member: &str| line[member].as_u64().unwrap_or_else(|| panic!("{member}: {line}"));
    assert!(us("stages_us") <= us("duration_us") && us("backend_us") <= us("duration_us"), "{line}");
    let get = of("GET");
    assert_eq!(
        (&get["query"], &get["template"]),
        (&json!("count=***&size=***"), &json!("/v1/{name=items/*}"))
    );
    assert_eq!(get["trace_id"], Value::Null);
}

/// What a line says of the end of a call.
fn told(line: &Value) -> String {
    let text = |member: &str| line[member].as_str().unwrap_or("-").to_owned();
    let (verb, path) = (text("verb"), text("path"));
    let (code, reason, stage) = (text("code"), text("reason"), text("refused_by"));
    format!("{verb} {path} {} {code} {reason} {stage} {}", line["http"], line["messages"])
}

#[tokio::test]
async fn calls_are_logged_whatever_becomes_of_them() {
    let backend = Backend::start(|request| async move {
        let path = request.uri().path().to_owned();
        match path.rsplit('/').next() {
            // Two messages, and then a failure.
            Some("Watch") => {
                respond(HeaderMap::new(), messages(&[Bytes::new(), Bytes::new()], status(13, "lost")))
            }
            Some("Delete") => respond(status(5, "gone"), nothing()),
            _ => respond(HeaderMap::new(), messages(&[Bytes::new()], status(0, ""))),
        }
    })
    .await;
    let rest = r#"
policies: { edge: { rate: { by: ip, limit: 2/h } } }
surfaces:
  web: { hosts: [gateway.test], policies: [], rules: [
    { match: door.v1.Door.Names, policies: [edge] }, { match: door.v1.Door.Create, deny: { methods: [POST] } },
    { match: door.v1.Door.* } ] }
"#;
    let logging = Logging::start(&backend, "", rest).await;
    let call = async |verb: &str, target: &str, headers: &[(&str, &str)], expected: u16| {
        assert_eq!(logging.call(verb, target, headers, "").await, expected, "{verb} {target}");
    };
    call("GET", "/v1/items/1", &[], 200).await;
    call("HEAD", "/v1/items/1", &[], 200).await;
    call("GET", "/v1/items/1?nope=1", &[], 400).await;
    call("GET", "/nowhere", &[], 404).await;
    call("PUT", "/v1/names", &[], 405).await;
    call("GET", "/elsewhere", &[("host", "other.test")], 404).await;
    call("DELETE", "/v1/items/1", &[], 404).await;
    call("POST", "/v1/items", &[], 403).await;
    for expected in [200, 200, 429] {
        call("GET", "/v1/names", &[], expected).await;
    }
    // Broken off after its head: the client sees 200 and no good end.
    let request = client::request("GET", "/v1/items/1:watch");
    let reply = client::open(logging.gateway.address, request, "").await;
    assert_eq!((reply.status().as_u16(), reply.into_body().collect().await.is_ok()), (200, false));
    let lines = logging.has(12).await;
    let mut said: Vec<_> = lines.iter().map(told).collect();
    said.sort();
    assert_eq!(
        said,
        [
            "DELETE /v1/items/1 404 NOT_FOUND - - 0",
            "GET /elsewhere 404 NOT_FOUND HOST_NOT_SERVED - 0",
            "GET /nowhere 404 NOT_FOUND ROUTE_NOT_FOUND - 0",
            "GET /v1/items/1 200 OK - - 1",
            "GET /v1/items/1 400 INVALID_ARGUMENT INVALID_FIELD - 0",
            "GET /v1/items/1:watch 200 INTERNAL - - 2",
            "GET /v1/names 200 OK - - 1",
            "GET /v1/names 200 OK - - 1",
            "GET /v1/names 429 RESOURCE_EXHAUSTED RATE_LIMITED limit 0",
            "HEAD /v1/items/1 200 OK - - 1",
            "POST /v1/items 403 PERMISSION_DENIED METHOD_DENIED access 0",
            "PUT /v1/names 405 UNIMPLEMENTED METHOD_NOT_ALLOWED - 0",
        ]
    );
    let of = |path: &str, member: &str| -> Vec<Value> {
        lines.iter().filter(|line| line["path"] == path).map(|line| line[member].clone()).collect()
    };
    let mut left: Vec<_> = of("/v1/names", "limit_left").iter().map(Value::to_string).collect();
    left.sort();
    assert_eq!(left, ["0", "0", "1", "null"]);
    assert_eq!(
        (of("/elsewhere", "surface"), of("/nowhere", "surface")),
        (vec![Value::Null], vec![json!("web")])
    );
    assert_eq!(of("/v1/items", "attempts"), [json!(0)]);
    assert_eq!(of("/v1/items", "endpoint"), [Value::Null]);
}

#[tokio::test]
async fn a_client_that_goes_away_is_499() {
    let (backend, _sender) = Backend::fed().await;
    let logging = Logging::start(&backend, "", "").await;
    let request = client::request("GET", "/v1/items/1");
    let address = logging.gateway.address;
    let asking = tokio::spawn(async move { client::send(address, request, "").await });
    eventually("the backend is asked", async || backend.calls() == 1).await;
    asking.abort();
    let line = &logging.has(1).await[0];
    assert_eq!(
        (&line["http"], &line["code"], &line["attempts"]),
        (&json!(499), &json!("CANCELLED"), &json!(1))
    );
}

#[tokio::test]
async fn samples_are_the_same_on_every_node() {
    let backend = Backend::echo().await;
    let keys = ", sample: { ok: 30%, errors: 100% }";
    let (one, other) = (Logging::start(&backend, keys, "").await, Logging::start(&backend, keys, "").await);
    for logging in [&one, &other] {
        for number in 0..60 {
            let id = format!("r-{number}");
            let target = if number % 6 == 0 { "/nowhere" } else { "/v1/items/1" };
            logging.call("GET", target, &[("x-request-id", &id)], "").await;
        }
        // A call is counted when its line has been decided on.
        eventually("all calls have ended", async || {
            value(&scrape(&logging.gateway).await, "transom_http_duration_seconds_count") == Some(60.0)
        })
        .await;
        let lines = value(&scrape(&logging.gateway).await, "transom_access_log_lines_total");
        logging.has(lines.expect("a counter") as usize).await;
    }
    let ids = |logging: &Logging| -> BTreeMap<String, u64> {
        let told = |line: &Value| (line["request_id"].to_string(), line["http"].as_u64().expect("a number"));
        logging.lines().iter().map(told).collect()
    };
    assert_eq!(ids(&one), ids(&other));
    let errors = ids(&one).values().filter(|number| **number == 404).count();
    let ok = ids(&one).len() - errors;
    assert!(errors == 10 && (1..50).contains(&ok), "{errors} errors and {ok} others");
}

#[tokio::test]
async fn a_file_that_moves_away_is_begun_anew() {
    let backend = Backend::echo().await;
    let logging = Logging::start(&backend, "", "").await;
    assert_eq!(logging.call("GET", "/v1/items/1", &[], "").await, 200);
    logging.has(1).await;
    let moved = logging.file.with_extension("log.1");
    std::fs::rename(&logging.file, &moved).expect("a rename");
    assert_eq!(logging.call("GET", "/v1/items/2", &[], "").await, 200);
    assert_eq!(logging.has(1).await[0]["path"], "/v1/items/2");
    assert_eq!(lines(&moved).len(), 1);
}

#[tokio::test]
async fn lines_that_wait_are_written_when_the_gateway_ends() {
    let backend = Backend::echo().await;
    let mut logging = Logging::start(&backend, "", "").await;
    for _ in 0..20 {
        assert_eq!(logging.call("GET", "/v1/items/1", &[], "").await, 200);
    }
    logging.gateway.terminate();
    assert_eq!(soon(logging.gateway.exit_code()).await, Some(0));
    assert_eq!(logging.lines().len(), 20);
}

#[tokio::test]
async fn standard_output_has_lines_after_the_addresses() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let backend = Backend::echo().await;
    let directory = Directory::new("access-log");
    let file = directory.path().join("transom.yaml");
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/door.proto");
    let text = format!(
        "version: 1\ndescriptors: [{{ proto: {proto:?} }}]\n\
         listeners: {{ public: {{ bind: \"127.0.0.1:0\" }}, admin: {{ bind: \"127.0.0.1:0\" }} }}\n\
         services: {{ door: {{ endpoints: {{ static: [{:?}] }} }} }}\nobserve: {{ access_log: {{}} }}\n",
        backend.url()
    );
    std::fs::write(&file, text).expect("a configuration file");
    let mut process = Command::new(env!("CARGO_BIN_EXE_transom"))
        .args(["serve", "--workers", "1", "--log", "warn", "--config"])
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the gateway starts");
    let mut output = BufReader::new(process.stdout.take().expect("a piped stdout")).lines();
    let serving = output.next().expect("a line").expect("readable");
    let address = serving.rsplit_once("//").expect("an address").1.parse().expect("an address");
    let request = client::request("GET", "/v1/items/1");
    assert_eq!(client::send(address, request, "").await.status, 200);
    let log = tokio::task::spawn_blocking(move || {
        output.find_map(|line| line.ok().filter(|line| line.starts_with('{')))
    });
    let log = soon(log).await.expect("the reading thread lives").expect("a line of the log");
    process.kill().expect("it runs");
    process.wait().expect("a child of this process");
    let log: Value = serde_json::from_str(&log).expect("JSON");
    assert_eq!(log["path"], "/v1/items/1");
}
