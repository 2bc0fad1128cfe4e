//! `/metrics` at the real door: exact counts of a few calls, and names as OpenMetrics wants them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::backend::Backend;
use crate::support::{Gateway, eventually, http, soon};

/// What Prometheus 2 asks for.
const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

pub(crate) async fn scrape(gateway: &Gateway) -> String {
    let request = http::request("GET", "/metrics").header("accept", PROMETHEUS);
    let answer = http::send(gateway.admin, request, "").await;
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    answer.text().to_owned()
}

/// The value of one sample.
pub(crate) fn value(metrics: &str, sample: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a number"))
}

async fn becomes(gateway: &Gateway, sample: &str, expected: f64) {
    // A call is counted when its reply has gone, which may be after the client has it.
    eventually(&format!("{sample} {expected}"), async || {
        value(&scrape(gateway).await, sample) == Some(expected)
    })
    .await;
}

#[tokio::test]
async fn every_reply_counts_once() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    for (method, target, number) in [
        ("GET", "/v1/items/7", 200),
        ("GET", "/v1/items/8", 200),
        ("GET", "/v1/items/7:watch", 200),
        ("GET", "/nowhere", 404),
        ("PUT", "/v1/names", 405),
        ("GET", "/v1/items/7?nope=1", 400),
    ] {
        let request = http::request(method, target).header("grpc-metadata-te", "x");
        assert_eq!(http::send(gateway.address, request, "").await.status.as_u16(), number, "{target}");
    }
    // A head that never becomes a request.
    let mut socket = TcpStream::connect(gateway.address).await.expect("it listens");
    socket.write_all(b"nonsense\r\n\r\n").await.expect("open");
    let mut reply = String::new();
    soon(socket.read_to_string(&mut reply)).await.expect("closed");
    assert!(reply.starts_with("HTTP/1.1 400 ") && reply.contains("x-request-id: "), "{reply}");

    for (sample, expected) in [
        ("transom_http_replies_total{code=\"200\"}", 3.0),
        ("transom_http_replies_total{code=\"400\"}", 2.0),
        ("transom_http_replies_total{code=\"404\"}", 1.0),
        ("transom_http_replies_total{code=\"405\"}", 1.0),
        ("transom_http_duration_seconds_count", 7.0),
        ("transom_http_duration_seconds_bucket{le=\"+Inf\"}", 7.0),
        ("transom_http_connections_total", 7.0),
        ("transom_http_connections_open", 0.0),
        ("transom_http_calls_open", 0.0),
        ("transom_upstream_calls_total{code=\"OK\"}", 3.0),
        ("transom_upstream_calls_open", 0.0),
        // Of the calls that found a route: where none is found, nothing is forwarded.
        ("transom_headers_dropped_total", 4.0),
    ] {
        becomes(&gateway, sample, expected).await;
    }
    let metrics = scrape(&gateway).await;
    assert!(value(&metrics, "transom_http_duration_seconds_sum").is_some_and(|sum| sum > 0.0), "{metrics}");
}

#[tokio::test]
async fn names_follow_openmetrics() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    assert_eq!(http::send(gateway.address, http::request("GET", "/v1/items/7"), "").await.status, 200);
    becomes(&gateway, "transom_http_replies_total{code=\"200\"}", 1.0).await;
    let metrics = scrape(&gateway).await;
    let (mut family, mut kind) = ("", "");
    for line in metrics.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            (family, kind) = declared.split_once(' ').expect("a name and a type");
            assert!(metrics.contains(&format!("# HELP {family} ")), "{line}");
        }
        if line.starts_with('#') {
            continue;
        }
        let name = line.split([' ', '{']).next().expect("a name");
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("`{name}` is not of `{family}`"));
        let expected: &[&str] = match kind {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_count", "_sum"],
            _ => panic!("{line}: a {kind}"),
        };
        assert!(name.starts_with("transom_") && expected.contains(&suffix), "{line}");
        // Labels with few values, whatever clients send.
        let labels = ["code", "le", "surface", "stage", "service", "result", "reason"];
        let label = line.split_once('{').and_then(|(_, rest)| rest.split_once('=')).map(|(label, _)| label);
        assert!(label.is_none_or(|label| labels.contains(&label)), "{line}");
    }
    assert!(metrics.contains("# UNIT transom_http_duration_seconds seconds\n"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"));
}
