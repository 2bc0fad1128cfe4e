//! etcd behind Transom beside etcd behind its own generated gateway (grpc-gateway 1.x), call by call.
//!
//! Two fresh servers get the same calls in the same order, so that revisions agree: one through Transom, the
//! other through the gateway that etcd serves on its client port. Every reply must be the same JSON, except
//! for the differences below, each of which a step of the table has to claim:
//!
//! * **streams** are plain NDJSON here; grpc-gateway wraps each message in `{"result": …}`;
//! * **errors** are `google.rpc.Status` here; grpc-gateway 1.x writes `{"error", "message", "code"}`;
//! * **`FAILED_PRECONDITION`** is 400 by `google/rpc/code.proto`; grpc-gateway 1.x says 412;
//! * **strictness**: unknown fields, repeated names, two members of a oneof and trailing data are refused with
//!   their place; what ProtoJSON allows (base64 without padding, `1e0` for 1) is read;
//! * **unknown routes** are a 404 in the error format, there plain text.
//!
//! Values that belong to one server alone (identifiers, sizes, hashes, remaining seconds) are erased first.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{self, http};

/// How Transom's reply to a step relates to that of etcd's own gateway.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// 200 and the same JSON.
    Same,
    /// The same gRPC code, message and HTTP number.
    SameError,
    /// The same gRPC code and message; 400 instead of 412.
    Precondition,
    /// Refused by both before any call, each in its own words.
    BothRefuse,
    /// etcd's gateway lets it pass; Transom refuses with `INVALID_ARGUMENT` and these words.
    Stricter(&'static str),
    /// ProtoJSON allows it, and Transom answers; etcd's gateway refuses.
    Laxer,
    /// 404 with a body in the error format instead of plain text.
    NoRoute,
}
use Outcome::*;

const KEYS: &[(&str, &str, Outcome)] = &[
    ("/v3/kv/put", r#"{"key":"YQ==","value":"MQ=="}"#, Same),
    ("/v3/kv/put", r#"{"key":"YQ==","value":"Mw==","prevKv":true}"#, Same),
    ("/v3/kv/put", r#"{"key":"YQ==","value":"Mw==","lease":"99"}"#, SameError),
    ("/v3/kv/put", r#"{"value":"Mw=="}"#, SameError),
    ("/v3/kv/range", r#"{"key":"YQ=="}"#, Same),
    ("/v3/kv/range", r#"{"key":"YQ==","range_end":"eg==","limit":1,"count_only":true}"#, Same),
    (
        "/v3/kv/range",
        r#"{"key":"YQ==","range_end":"eg==","sort_order":"DESCEND","sort_target":"VERSION"}"#,
        Same,
    ),
    ("/v3/kv/range", r#"{"key":"YQ==","range_end":"eg==","sort_order":2,"sortTarget":1,"limit":"3"}"#, Same),
    ("/v3/kv/range", r#"{"key":"YQ==","keys_only":true,"serializable":true}"#, Same),
    ("/v3/kv/range", r#"{"key":"bm9uZQ=="}"#, Same),
    ("/v3/kv/range", r#"{"key":"YQ==","revision":"1000"}"#, SameError),
    ("/v3/kv/range", r#"{"key":"YQ==","revision":1000}"#, SameError),
    ("/v3/kv/range", "", SameError),
    ("/v3/kv/range", "{}", SameError),
    ("/v3/kv/range", r#"{"key":"YQ"}"#, Laxer),
    ("/v3/kv/range", r#"{"key":"YQ==","limit":1e0}"#, Laxer),
    ("/v3/kv/range", r#"{"key":"!!!"}"#, BothRefuse),
    ("/v3/kv/range", r#"{"key":7}"#, BothRefuse),
    ("/v3/kv/range", r#"{"key":"YQ==","limit":"x"}"#, BothRefuse),
    ("/v3/kv/range", r#"{"key":"YQ==","limit":1.5}"#, BothRefuse),
    ("/v3/kv/range", r#"{"key":"YQ==","limit":9223372036854775808}"#, BothRefuse),
    ("/v3/kv/range", r#"{"key":"YQ==","sort_order":"SIDEWAYS"}"#, BothRefuse),
    ("/v3/kv/range", r#"{"key":"YQ=="#, BothRefuse),
    ("/v3/kv/range", "{", BothRefuse),
    ("/v3/kv/range", "[]", BothRefuse),
    ("/v3/kv/range", "nope", BothRefuse),
    ("/v3/kv/range", r#"{"key":"YQ==","nope":1}"#, Stricter("`nope`")),
    ("/v3/kv/range", r#"{"key":"YQ=="} x"#, Stricter("")),
    ("/v3/kv/range", r#"{"key":"YQ==","key":"Yg=="}"#, Stricter("`key`")),
    ("/v3/kv/deleterange", r#"{"key":"bm9uZQ==","prev_kv":true}"#, Same),
    (
        "/v3/kv/txn",
        r#"{"compare":[{"key":"YQ==","target":"VALUE","value":"Mw=="}],
            "success":[{"request_put":{"key":"Yg==","value":"Mg=="}},{"request_range":{"key":"YQ=="}}],
            "failure":[{"request_delete_range":{"key":"YQ=="}}]}"#,
        Same,
    ),
    (
        "/v3/kv/txn",
        r#"{"compare":[{"key":"YQ==","target":"VERSION","result":"GREATER","version":"100"}],
            "success":[{"requestPut":{"key":"Yg==","value":"Mg=="}}],
            "failure":[{"requestDeleteRange":{"key":"Yg==","prevKv":true}}]}"#,
        Same,
    ),
    ("/v3/kv/txn", r#"{"compare":[{"key":"YQ==","result":"NOT_EQUAL","create_revision":"9"}]}"#, Same),
    ("/v3/kv/txn", r#"{"success":[{"request_put":{}}]}"#, SameError),
    (
        "/v3/kv/txn",
        r#"{"success":[{"request_range":{"key":"YQ=="},"request_delete_range":{"key":"bm9uZQ=="}}]}"#,
        Stricter("oneof"),
    ),
    ("/v3/kv/compaction", r#"{"revision":"1000"}"#, SameError),
    ("/v3/kv/compaction", r#"{"revision":"3","physical":true}"#, Same),
    ("/v3/kv/compaction", r#"{"revision":"2"}"#, SameError),
    ("/v3/kv/range", r#"{"key":"YQ==","revision":"2"}"#, SameError),
    ("/v3/nope", "{}", NoRoute),
    ("/v3/kv/range/", "{}", NoRoute),
];

const LEASES: &[(&str, &str, Outcome)] = &[
    ("/v3/lease/grant", r#"{"ID":"7","TTL":"600"}"#, Same),
    ("/v3/lease/grant", r#"{"ID":7,"TTL":600}"#, Precondition),
    ("/v3/lease/grant", r#"{"ID":"8","TTL":"99999999999999"}"#, SameError),
    ("/v3/kv/put", r#"{"key":"bA==","value":"MQ==","lease":"7"}"#, Same),
    ("/v3/lease/timetolive", r#"{"ID":"7","keys":true}"#, Same),
    ("/v3/kv/lease/timetolive", r#"{"ID":"7"}"#, Same),
    ("/v3/lease/timetolive", r#"{"ID":"99"}"#, Same),
    ("/v3/lease/leases", "{}", Same),
    ("/v3/lease/revoke", r#"{"ID":"7"}"#, Same),
    ("/v3/kv/lease/revoke", r#"{"ID":"7"}"#, SameError),
    ("/v3/kv/range", r#"{"key":"bA=="}"#, Same),
];

const MAINTENANCE: &[(&str, &str, Outcome)] = &[
    ("/v3/maintenance/status", "{}", Same),
    ("/v3/maintenance/hash", "{}", Same),
    ("/v3/maintenance/hash", r#"{"revision":"1"}"#, Stricter("`revision`")),
    ("/v3/maintenance/alarm", r#"{"action":"GET"}"#, Same),
    ("/v3/maintenance/alarm", r#"{"action":"ACTIVATE","memberID":"1","alarm":"NOSPACE"}"#, Same),
    ("/v3/maintenance/alarm", r#"{"action":2,"memberID":1,"alarm":1}"#, Same),
    ("/v3/maintenance/alarm", r#"{"action":"NOPE"}"#, BothRefuse),
    ("/v3/maintenance/defragment", "{}", Same),
    ("/v3/maintenance/transfer-leadership", r#"{"targetID":"1"}"#, Precondition),
    ("/v3/cluster/member/list", "{}", Same),
    ("/v3/cluster/member/remove", r#"{"ID":"1"}"#, SameError),
];

const AUTH: &[(&str, &str, Outcome)] = &[
    ("/v3/auth/enable", "{}", Precondition),
    ("/v3/auth/user/add", r#"{"name":"root","password":"secret"}"#, Same),
    ("/v3/auth/user/add", r#"{"name":"root","password":"secret"}"#, Precondition),
    ("/v3/auth/user/add", r#"{"name":""}"#, SameError),
    ("/v3/auth/role/add", r#"{"name":"root"}"#, Same),
    (
        "/v3/auth/role/grant",
        r#"{"name":"root","perm":{"permType":"READWRITE","key":"YQ==","range_end":"eg=="}}"#,
        Same,
    ),
    ("/v3/auth/role/get", r#"{"role":"root"}"#, Same),
    ("/v3/auth/role/get", r#"{"role":"none"}"#, Precondition),
    ("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#, Same),
    ("/v3/auth/user/get", r#"{"name":"root"}"#, Same),
    ("/v3/auth/user/list", "{}", Same),
    ("/v3/auth/enable", "{}", Same),
    ("/v3/kv/put", r#"{"key":"YQ==","value":"MQ=="}"#, SameError),
    ("/v3/auth/authenticate", r#"{"name":"root","password":"wrong"}"#, SameError),
];

const WITH_TOKEN: &[(&str, &str, Outcome)] = &[
    ("/v3/kv/put", r#"{"key":"YQ==","value":"MQ=="}"#, Same),
    ("/v3/auth/role/list", "{}", Same),
    ("/v3/auth/role/revoke", r#"{"role":"root","key":"YQ==","range_end":"eg=="}"#, Same),
    ("/v3/auth/disable", "{}", Same),
];

#[tokio::test]
async fn etcd_answers_as_behind_its_own_gateway() {
    if !support::require("etcd", Command::new("etcd").arg("--version")) {
        return;
    }
    let Some(set) = support::shared("descriptors/etcd-3.4.binpb") else { return };
    let pair = Pair::start(&set).await;
    for steps in [KEYS, LEASES, MAINTENANCE] {
        pair.check_all(steps, None).await;
    }
    pair.check_watch().await;
    pair.check_keep_alive().await;
    pair.check_snapshot().await;
    pair.check_all(AUTH, None).await;
    let tokens = pair.authenticate().await;
    pair.check_all(WITH_TOKEN, Some(&tokens)).await;
}

/// Two servers: one spoken to through Transom, the other through its own gateway.
struct Pair {
    ours: SocketAddr,
    theirs: SocketAddr,
    _gateway: support::Gateway,
    _servers: [Etcd; 2],
}

impl Pair {
    async fn start(set: &Path) -> Self {
        let servers = [Etcd::start().await, Etcd::start().await];
        let gateway = support::Gateway::start(&[
            "--descriptors",
            set.to_str().expect("a path in UTF-8"),
            "--upstream",
            &format!("http://{}", servers[0].address),
            "--json-names",
            "proto",
            // Hash and HashKV claim the same path in etcd's own annotations.
            "--conflicts",
            "first",
        ])
        .await;
        Self { ours: gateway.address, theirs: servers[1].address, _gateway: gateway, _servers: servers }
    }

    async fn check_all(&self, steps: &[(&str, &str, Outcome)], tokens: Option<&[String; 2]>) {
        for (path, body, outcome) in steps {
            let ours = post(self.ours, path, body, tokens.map(|tokens| &*tokens[0])).await;
            let theirs = post(self.theirs, path, body, tokens.map(|tokens| &*tokens[1])).await;
            let step = format!(
                "{path} {body}: {outcome:?}\n  ours   {} {}\n  theirs {} {}",
                ours.status,
                ours.text(),
                theirs.status,
                theirs.text()
            );
            compare(*outcome, &ours, &theirs, &step);
        }
    }

    /// A bidirectional stream: the request body is one record, the reply goes on.
    async fn check_watch(&self) {
        let watch = r#"{"create_request":{"key":"dw==","prev_kv":true}}"#;
        let ours = http::open(self.ours, http::request("POST", "/v3/watch"), watch).await;
        let theirs = http::open(self.theirs, http::request("POST", "/v3/watch"), watch).await;
        assert_eq!(ours.headers()["content-type"], "application/x-ndjson");
        for value in ["MQ==", "Mg=="] {
            let put = format!(r#"{{"key":"dw==","value":"{value}"}}"#);
            post(self.ours, "/v3/kv/put", &put, None).await;
            post(self.theirs, "/v3/kv/put", &put, None).await;
        }
        let (ours, theirs) = (http::lines(ours, 3).await, http::lines(theirs, 3).await);
        assert_eq!(ours.len(), 3);
        compare_lines(&ours, &theirs);
    }

    async fn check_keep_alive(&self) {
        let grant = r#"{"ID":"70","TTL":"600"}"#;
        let keep = r#"{"ID":"70"}"#;
        for address in [self.ours, self.theirs] {
            post(address, "/v3/lease/grant", grant, None).await;
        }
        let ours = post(self.ours, "/v3/lease/keepalive", keep, None).await;
        let theirs = post(self.theirs, "/v3/lease/keepalive", keep, None).await;
        compare_lines(&lines_of(&ours), &lines_of(&theirs));
        // Two records are two messages; each is answered.
        let ours = post(self.ours, "/v3/lease/keepalive", "{\"ID\":\"70\"}\n{\"ID\":\"71\"}", None).await;
        let theirs = post(self.theirs, "/v3/lease/keepalive", "{\"ID\":\"70\"}\n{\"ID\":\"71\"}", None).await;
        assert_eq!(lines_of(&ours).len(), 2);
        compare_lines(&lines_of(&ours), &lines_of(&theirs));
    }

    /// A server stream of some size: every blob of it decodes to the same number of bytes.
    async fn check_snapshot(&self) {
        let bytes = async |address| {
            let answer = post(address, "/v3/maintenance/snapshot", "{}", None).await;
            assert!(answer.is_complete);
            let blobs = lines_of(&answer)
                .iter()
                .map(|line| unwrapped(line)["blob"].as_str().map_or(0, str::len))
                .sum::<usize>();
            assert!(blobs > 20_000, "a snapshot of {blobs} characters");
        };
        bytes(self.ours).await;
        bytes(self.theirs).await;
    }

    async fn authenticate(&self) -> [String; 2] {
        let login = r#"{"name":"root","password":"secret"}"#;
        let mut tokens = [String::new(), String::new()];
        for (token, address) in tokens.iter_mut().zip([self.ours, self.theirs]) {
            let answer = post(address, "/v3/auth/authenticate", login, None).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            *token = answer.json()["token"].as_str().expect("a token").to_owned();
        }
        tokens
    }
}

fn compare(outcome: Outcome, ours: &http::Answer, theirs: &http::Answer, step: &str) {
    match outcome {
        Same => {
            assert_eq!((ours.status.as_u16(), theirs.status.as_u16()), (200, 200), "{step}");
            assert_eq!(erased(ours.json()), erased(theirs.json()), "{step}");
        }
        SameError | Precondition => {
            let expected = if matches!(outcome, Precondition) {
                (400, 412)
            } else {
                (theirs.status.as_u16(), theirs.status.as_u16())
            };
            assert_eq!((ours.status.as_u16(), theirs.status.as_u16()), expected, "{step}");
            assert!(!theirs.status.is_success(), "{step}");
            let (ours, theirs) = (ours.json(), theirs.json());
            assert_eq!((&ours["code"], &ours["message"]), (&theirs["code"], &theirs["message"]), "{step}");
        }
        BothRefuse => {
            assert_eq!((ours.status.as_u16(), theirs.status.as_u16()), (400, 400), "{step}");
            assert_eq!(ours.json()["code"], json!(3), "{step}");
        }
        Stricter(words) => {
            assert_ne!(theirs.json()["message"], ours.json()["message"], "{step}");
            assert_eq!(ours.status.as_u16(), 400, "{step}");
            assert_eq!(ours.json()["code"], json!(3), "{step}");
            assert!(ours.text().contains(words), "{step}");
        }
        Laxer => assert_eq!((ours.status.as_u16(), theirs.status.as_u16()), (200, 400), "{step}"),
        NoRoute => {
            assert_eq!((ours.status.as_u16(), theirs.status.as_u16()), (404, 404), "{step}");
            assert_eq!(ours.json()["code"], json!(5), "{step}");
        }
    }
}

fn compare_lines(ours: &[String], theirs: &[String]) {
    let read =
        |lines: &[String]| -> Vec<Value> { lines.iter().map(|line| erased(unwrapped(line))).collect() };
    assert!(!ours.is_empty() && !ours[0].contains("\"result\""), "{ours:?}");
    assert_eq!(read(ours), read(theirs));
}

fn lines_of(answer: &http::Answer) -> Vec<String> {
    answer.text().lines().map(str::to_owned).collect()
}

/// A line of a stream, out of grpc-gateway's envelope.
fn unwrapped(line: &str) -> Value {
    let mut value: Value = serde_json::from_str(line).expect("a line of JSON");
    value.get_mut("result").map(Value::take).unwrap_or(value)
}

/// The reply without what belongs to one server alone.
fn erased(mut value: Value) -> Value {
    const VOLATILE: &[&str] = &[
        "cluster_id",
        "member_id",
        "raft_term",
        "leader",
        "hash",
        "dbSize",
        "dbSizeInUse",
        "members",
        "raftIndex",
        "raftAppliedIndex",
        "memberID",
    ];
    match &mut value {
        Value::Object(object) => {
            for (name, member) in object.iter_mut() {
                let is_volatile = VOLATILE.contains(&name.as_str());
                *member = if is_volatile { json!("erased") } else { erased(member.take()) };
                // Seconds that are left: the two servers were not asked in the same instant.
                if name == "TTL" && member.as_str().is_some_and(|ttl| ttl == "599") {
                    *member = json!("600");
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = erased(item.take())),
        _ => {}
    }
    value
}

async fn post(address: SocketAddr, path: &str, body: &str, token: Option<&str>) -> http::Answer {
    let mut request = http::request("POST", path).header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    http::send(address, request, body.to_owned()).await
}

/// A server with a directory of its own; both end with the test.
pub(crate) struct Etcd {
    process: Child,
    pub(crate) address: SocketAddr,
    _directory: support::Directory,
}

impl Etcd {
    pub(crate) async fn start() -> Self {
        let directory = support::Directory::new("etcd");
        // etcd cannot tell which port the system chose: two that were free a moment ago.
        let free = || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("a bound address")
        };
        let (address, peer) = (free(), free());
        let (client_url, peer_url) = (format!("http://{address}"), format!("http://{peer}"));
        let process = Command::new("etcd")
            .arg("--data-dir")
            .arg(directory.path())
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("default={peer_url}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd starts");
        let etcd = Self { process, address, _directory: directory };
        support::eventually("etcd is healthy", async || {
            let Ok(stream) = tokio::net::TcpStream::connect(address).await else { return false };
            drop(stream);
            http::send(address, http::request("GET", "/health"), "").await.status == 200
        })
        .await;
        etcd
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
