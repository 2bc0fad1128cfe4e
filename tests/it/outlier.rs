//! One endpoint of several that is reached and fails its calls, at the real door: it is left out, and comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use http::HeaderValue;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::backend::framed;
use crate::support::raw::{Mortal, head, reply, serve};
use crate::support::{Gateway, eventually, figure, http as door, soon};

/// A backend that answers with its name, or as it is told.
pub(crate) struct Endpoint {
    pub(crate) backend: Mortal,
    /// The `grpc-status` that every call has, or [`HANGS`].
    pub(crate) status: Arc<AtomicU32>,
    /// The ids of the requests that came.
    pub(crate) seen: Arc<Mutex<Vec<HeaderValue>>>,
}

pub(crate) const HANGS: u32 = u32::MAX;

impl Endpoint {
    async fn start(name: char, status: u32) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::on(TcpListener::bind(any).await.expect("a free port"), name, status)
    }

    pub(crate) fn on(listener: TcpListener, name: char, status: u32) -> Self {
        let status = Arc::new(AtomicU32::new(status));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let item = bytes::Bytes::from(vec![0x0a, 1, u8::try_from(name).expect("ASCII")]);
        let (told, noted) = (Arc::clone(&status), Arc::clone(&seen));
        let serve = serve(move |request, mut respond| {
            noted.lock().expect("no panic").extend(request.headers().get("x-request-id").cloned());
            let (status, item) = (told.load(Ordering::SeqCst), item.clone());
            async move {
                match status {
                    0 => reply(respond, framed(&item), &[("grpc-status", "0")]),
                    HANGS => std::future::pending().await,
                    status => {
                        let status = status.to_string();
                        let fields = [("content-type", "application/grpc"), ("grpc-status", &*status)];
                        respond.send_response(head(&fields), true).expect("open");
                    }
                }
            }
        });
        Self { backend: Mortal::on(listener, serve), status, seen }
    }

    pub(crate) fn calls(&self) -> usize {
        self.seen.lock().expect("no panic").len()
    }
}

/// Endpoints `a`, `b`, `c`, … with these answers, in turn, and a gateway before them.
pub(crate) async fn before<const N: usize>(statuses: [u32; N], service: &str) -> (Gateway, [Endpoint; N]) {
    let mut endpoints = Vec::new();
    for (name, status) in ('a'..).zip(statuses) {
        endpoints.push(Endpoint::start(name, status).await);
    }
    let addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.backend.address).collect();
    let endpoints = endpoints.try_into().ok().expect("as many as statuses");
    (in_front_of(&addresses, service).await, endpoints)
}

/// A gateway before what listens there, in turn.
pub(crate) async fn in_front_of(addresses: &[SocketAddr], service: &str) -> Gateway {
    let urls: Vec<_> = addresses.iter().map(|address| format!("\"http://{address}\"")).collect();
    let in_turn = if service.contains("balance:") { "" } else { "balance: round-robin\n    " };
    let file = format!(
        "services:\n  door:\n    endpoints: {{ static: [{}] }}\n    slow_start: 0s\n    \
         {in_turn}{service}\n",
        urls.join(", ")
    );
    Gateway::with_file(&file).await
}

/// The name in the reply, or the HTTP number.
pub(crate) async fn get(gateway: &Gateway) -> String {
    let answer = soon(door::send(gateway.address, door::request("GET", "/v1/items/7"), "")).await;
    answer.json()["name"].as_str().map_or_else(|| answer.status.as_u16().to_string(), str::to_owned)
}

pub(crate) async fn calls(gateway: &Gateway, count: usize) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for _ in 0..count {
        *tally.entry(get(gateway).await).or_default() += 1;
    }
    tally
}

pub(crate) async fn states(gateway: &Gateway) -> Vec<String> {
    let stats = soon(door::send(gateway.admin, door::request("GET", "/stats"), "")).await.json();
    let endpoints = stats["endpoints"]["door"].as_array().expect("a list");
    endpoints.iter().filter_map(|endpoint| Value::as_str(&endpoint["state"]).map(str::to_owned)).collect()
}

async fn ejections(gateway: &Gateway, reason: &str) -> usize {
    let metrics = soon(door::send(gateway.admin, door::request("GET", "/metrics"), "")).await;
    let series = format!("transom_outlier_ejections_total{{service=\"door\",reason=\"{reason}\"}} ");
    let found = metrics.text().lines().find_map(|line| line.strip_prefix(&*series));
    found.and_then(|count| count.parse().ok()).expect("a series")
}

#[tokio::test]
async fn a_failing_endpoint_gets_the_calls_that_convict_it() {
    for status in [2, 13, 14, 15] {
        let (gateway, [a, b, c]) = before([0, status, 0], "outlier: {}").await;
        let tally = calls(&gateway, 300).await;
        figure(format_args!("300 calls, one of three answers {status}: {tally:?}"));
        assert_eq!(b.calls(), 5, "{tally:?}");
        assert_eq!(a.calls() + c.calls(), 295);
        assert_eq!(tally["a"] + tally["c"], 295);
        assert_eq!(states(&gateway).await, ["usable", "ejected", "usable"]);
        assert_eq!(ejections(&gateway, "consecutive").await, 1);
    }
}

#[tokio::test]
async fn what_is_the_clients_affair_convicts_nobody() {
    // NOT_FOUND, RESOURCE_EXHAUSTED, UNIMPLEMENTED.
    for status in [5, 8, 12] {
        let (gateway, [_a, b]) = before([0, status], "outlier: { consecutive: 1 }").await;
        calls(&gateway, 40).await;
        assert_eq!(b.calls(), 20);
        assert_eq!(states(&gateway).await, ["usable", "usable"]);
    }
}

#[tokio::test]
async fn an_ejected_endpoint_is_back_when_its_time_is_over() {
    let (gateway, [_a, b, _c]) = before([0, 14, 0], "outlier: { eject: 300ms..300ms }").await;
    eventually("it is ejected", async || {
        get(&gateway).await;
        ejections(&gateway, "consecutive").await > 0
    })
    .await;
    b.status.store(0, Ordering::SeqCst);
    eventually("it answers again", async || get(&gateway).await == "b").await;
    assert_eq!(states(&gateway).await, ["usable"; 3]);
    assert_eq!(calls(&gateway, 30).await["b"], 10);
}

#[tokio::test]
async fn an_endpoint_that_is_back_and_fails_is_out_again_after_one_call() {
    let (gateway, [_a, b, _c]) = before([0, 14, 0], "outlier: { eject: 100ms..100ms }").await;
    eventually("it is out for the third time", async || {
        get(&gateway).await;
        ejections(&gateway, "relapse").await >= 2
    })
    .await;
    assert_eq!(ejections(&gateway, "consecutive").await, 1);
    assert_eq!(b.calls(), 5 + ejections(&gateway, "relapse").await);
}

#[tokio::test]
async fn no_more_than_the_share_is_ejected_and_never_the_last() {
    // One of three is half of them at most; the other goes on failing.
    let (gateway, [a, b, c]) = before([14, 14, 0], "outlier: {}").await;
    calls(&gateway, 100).await;
    assert_eq!(ejections(&gateway, "consecutive").await, 1);
    let (least, most) = (a.calls().min(b.calls()), a.calls().max(b.calls()));
    assert!(least == 5 && most > 40 && c.calls() > 40, "{least} {most} {}", c.calls());

    let (gateway, [a, b]) = before([14, 14], "outlier: { max_ejected: 100% }").await;
    calls(&gateway, 50).await;
    assert_eq!(ejections(&gateway, "consecutive").await, 1);
    assert_eq!((a.calls().min(b.calls()), a.calls() + b.calls()), (5, 50));
    let (gateway, [a]) = before([14], "outlier: { max_ejected: 100% }").await;
    calls(&gateway, 50).await;
    assert_eq!((a.calls(), ejections(&gateway, "consecutive").await), (50, 0));
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_ejected_by_the_deadlines_it_misses() {
    for service in [
        "timeout: 200ms\n    outlier: { consecutive: 3 }",
        "retry: { on: deadline-exceeded, per_try: 200ms }\n    outlier: { consecutive: 3 }",
    ] {
        let (gateway, [_a, b]) = before([0, HANGS], service).await;
        eventually("it is ejected", async || {
            get(&gateway).await;
            ejections(&gateway, "consecutive").await > 0
        })
        .await;
        let convicting = b.calls();
        assert!(convicting <= 3, "{convicting}: {service}");
        calls(&gateway, 20).await;
        assert_eq!(b.calls(), convicting, "{service}");
    }
}

#[tokio::test]
async fn a_deadline_of_the_client_convicts_nobody() {
    let (gateway, [_a, _b]) = before([0, HANGS], "outlier: { consecutive: 1 }").await;
    for _ in 0..6 {
        let request = door::request("GET", "/v1/items/7").header("grpc-timeout", "20m");
        soon(door::send(gateway.address, request, "")).await;
    }
    assert_eq!(ejections(&gateway, "consecutive").await, 0);
    assert_eq!(states(&gateway).await, ["usable", "usable"]);
}

#[tokio::test]
async fn a_retry_goes_to_an_endpoint_that_the_call_has_not_met() {
    for balance in ["p2c-ewma", "least-requests", "weighted", "{ hash: { header: x-user } }"] {
        // Ten retries are what the budget allows in any case.
        for (statuses, count) in [([0, 14, 0], 100), ([14, 0, 14], 5)] {
            let retry = "retry: { on: unavailable, attempts: 3, budget: 100%, backoff: 1ms }";
            let (gateway, endpoints) = before(statuses, &format!("{retry}\n    balance: {balance}")).await;
            let tally = calls(&gateway, count).await;
            figure(format_args!("{count} calls by {balance}, endpoints answer {statuses:?}: {tally:?}"));
            assert_eq!(tally.get("503"), None);
            for endpoint in &endpoints {
                let seen = endpoint.seen.lock().expect("no panic");
                let calls: BTreeSet<_> = seen.iter().map(HeaderValue::as_bytes).collect();
                assert_eq!(calls.len(), seen.len(), "{balance}: a call came twice");
            }
        }
    }
}
