//! `/metrics` as others read it: promtool, and a scraper of a gateway that very many clients call.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use transom::policy::api_key::{KeyHash, RANDOM_BYTES, generate};
use transom::policy::balance::mix;

use crate::metrics::value;
use crate::support::backend::{Backend, messages, respond, status};
use crate::support::{Gateway, eventually, figure, http as client, require, soon};

/// As a tool asks that asks for nothing in particular.
async fn scrape(gateway: &Gateway) -> String {
    let answer = client::send(gateway.admin, client::request("GET", "/metrics"), "").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    answer.text().to_owned()
}

fn promtool() -> Command {
    Command::new(std::env::var_os("TRANSOM_PROMTOOL").unwrap_or_else(|| "promtool".into()))
}

/// What promtool finds fault with.
fn findings(metrics: &str) -> String {
    let mut check = promtool()
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut stdin = check.stdin.take().expect("a piped stdin");
    stdin.write_all(metrics.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = check.wait_with_output().expect("promtool ends");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success() || !text.is_empty(), "{:?}", output.status);
    text
}

#[tokio::test]
async fn promtool_finds_no_fault() {
    if !require("promtool", promtool().arg("--version")) {
        return;
    }
    assert!(findings("a_total 1\n").contains("no help text"), "promtool finds faults");
    let backend = Backend::echo().await;
    let rest = "
auth: { partner: { api_key: {} } }
policies: { edge: { rate: { by: ip, limit: 3/h } } }
surfaces: { web: { policies: [], rules: [
  { match: door.v1.Door.Get, policies: [edge], auth: none },
  { match: door.v1.Door.Names, cache: { ttl: 1m }, auth: none },
  { match: door.v1.Door.Create, auth: partner }, { match: door.v1.Door.*, auth: none } ] } }
";
    let gateway = Gateway::configured(&backend, "", "breaker: {}, retry: {}, shed: {}", rest).await;
    for (method, target, expected) in [
        ("GET", "/v1/items/1", 200),
        ("GET", "/v1/items/1?nope=1", 400),
        ("GET", "/v1/items/1", 200),
        ("GET", "/v1/items/1", 429),
        ("GET", "/v1/items/1:watch", 200),
        ("GET", "/v1/names", 200),
        ("GET", "/v1/names", 200),
        ("GET", "/v1/files/1", 200),
        ("POST", "/v1/items", 401),
        ("PUT", "/v1/names", 405),
        ("GET", "/nowhere", 404),
    ] {
        let answer = client::send(gateway.address, client::request(method, target), "").await;
        assert_eq!(answer.status.as_u16(), expected, "{method} {target}");
    }
    eventually("every call is counted", async || {
        value(&scrape(&gateway).await, "transom_http_duration_seconds_count") == Some(11.0)
    })
    .await;
    let metrics = scrape(&gateway).await;
    assert_eq!(findings(&metrics), "", "{metrics}");
}

const CONSUMERS: usize = 10_000;
const PATHS: usize = 100_000;

/// However many have called.
const SCRAPE_MAX: Duration = Duration::from_millis(100);

#[tokio::test]
async fn very_many_consumers_and_paths_are_few_series() {
    let keys: Vec<_> = (0..CONSUMERS as u64)
        .map(|number| {
            // Any bytes, as long as they differ.
            let random: Vec<u8> =
                (0..RANDOM_BYTES as u64 / 8).flat_map(|part| mix(number << 8 | part).to_be_bytes()).collect();
            generate(&random).expect("enough bytes")
        })
        .collect();
    let mut rest = "auth: { partner: { api_key: {} } }\nconsumers:\n".to_owned();
    for (number, key) in keys.iter().enumerate() {
        writeln!(rest, "  c{number}: {{ keys: [\"{}\"] }}", KeyHash::of(key)).expect("memory");
    }
    // One half is let through to the backend, the other is counted before it.
    rest.push_str(
        "surfaces: { web: { rules: [{ match: door.v1.Door.Get, auth: partner, allow: '\"x-admit\" in request.headers' }] } }\n",
    );
    // In one piece: thousands of calls in turn wait for no acknowledgement of TCP in the middle of a reply.
    let backend =
        Backend::start(|_| async { respond(HeaderMap::new(), messages(&[Bytes::new()], status(0, ""))) })
            .await;
    let gateway = Gateway::configured(&backend, "", "", &rest).await;
    let paths = PATHS - CONSUMERS;
    let by_consumers = keys.iter().enumerate().map(|(number, key)| {
        let admit = if number % 2 == 0 { "x-admit: 1\r\n" } else { "" };
        (format!("/v1/items/{number}"), format!("x-api-key: {key}\r\n{admit}"))
    });
    let others = (0..paths).map(|number| (format!("/path/{number}"), String::new()));
    let requests = by_consumers
        .chain(others)
        .map(|(path, headers)| format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n"));
    send_all(&gateway, requests.collect()).await;
    eventually("every call is counted", async || {
        value(&scrape(&gateway).await, "transom_http_duration_seconds_count") == Some(PATHS as f64)
    })
    .await;
    let metrics = scrape(&gateway).await;
    // The best of some: what else the machine does meanwhile is not what is promised.
    let mut took = Duration::MAX;
    for _ in 0..10 {
        let before = Instant::now();
        scrape(&gateway).await;
        took = took.min(before.elapsed());
    }
    for (sample, expected) in [
        ("transom_http_replies_total{code=\"200\"}", CONSUMERS / 2),
        ("transom_http_replies_total{code=\"403\"}", CONSUMERS / 2),
        ("transom_http_replies_total{code=\"404\"}", paths),
        ("transom_refused_total{stage=\"authorize\",reason=\"FORBIDDEN\"}", CONSUMERS / 2),
    ] {
        assert_eq!(value(&metrics, sample), Some(expected as f64), "{sample}");
    }
    let series = metrics.lines().filter(|line| !line.starts_with('#')).count();
    figure(format_args!(
        "{CONSUMERS} consumers, {PATHS} paths: {series} series, scraped in {took:?} (debug)"
    ));
    assert_eq!(backend.calls(), CONSUMERS / 2);
    assert!(series < 2000, "{series} series");
    assert!(took <= SCRAPE_MAX, "{took:?}");
    assert!(!metrics.contains("c9999") && !metrics.contains("/path/"), "what clients choose is no label");
}

/// Sends requests on one connection without waiting, and reads all replies.
async fn send_all(gateway: &Gateway, requests: Vec<String>) {
    let count = requests.len();
    let socket = TcpStream::connect(gateway.address).await.expect("it listens");
    let (mut receiving, mut sending) = socket.into_split();
    let sent = tokio::spawn(async move {
        for some in requests.chunks(256) {
            sending.write_all(some.concat().as_bytes()).await.expect("open");
        }
        sending
    });
    let mut replies = 0;
    let mut buffer = vec![0; 1 << 16];
    let mut held = 0;
    while replies < count {
        let read = soon(receiving.read(&mut buffer[held..])).await.expect("open");
        assert!(read > 0, "closed after {replies} replies");
        let filled = held + read;
        let head = b"HTTP/1.1 ";
        replies += buffer[..filled].windows(head.len()).filter(|window| *window == head).count();
        // The beginning of a head may be at the end.
        let rest = filled.min(head.len() - 1);
        buffer.copy_within(filled - rest..filled, 0);
        held = rest;
    }
    drop(sent.await.expect("all sent"));
}
