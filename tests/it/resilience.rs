//! Backends that fail, at the real door: breakers, retries within a budget, load that is shed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ::http::{HeaderMap, Request, Response};
use h2::Reason;
use hyper::body::Incoming;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::support::backend::{Backend, Body, messages, nothing, respond, status};
use crate::support::{Gateway, eventually, figure, http, raw, soon};

/// `Trailers-Only`: the head is the end.
fn refusal(code: u32, more: &[(&'static str, &str)]) -> Response<Body> {
    let mut metadata = status(code, "no");
    for (name, value) in more {
        metadata.insert(*name, value.parse().expect("a header value"));
    }
    respond(metadata, nothing())
}

fn answer() -> Response<Body> {
    respond(HeaderMap::new(), messages(&[bytes::Bytes::from_static(b"\x0a\x01x")], status(0, "")))
}

/// A backend that refuses every call so.
async fn refusing(code: u32, more: &'static [(&'static str, &'static str)]) -> Backend {
    Backend::start(move |_| std::future::ready(refusal(code, more))).await
}

async fn get(gateway: &Gateway) -> http::Answer {
    soon(http::send(gateway.address, http::request("GET", "/v1/items/7"), "")).await
}

async fn post(gateway: &Gateway, target: &str) -> http::Answer {
    let request = http::request("POST", target).header("content-type", "application/json");
    soon(http::send(gateway.address, request, "{}")).await
}

/// The number, and the reason that the gateway gives for it.
fn outcome(answer: &http::Answer) -> (u16, String) {
    let reason = (answer.status != 200).then(|| answer.json()["details"][0]["reason"].clone());
    let reason = reason.and_then(|reason| reason.as_str().map(str::to_owned));
    (answer.status.as_u16(), reason.unwrap_or_default())
}

async fn page(gateway: &Gateway, path: &str) -> String {
    soon(http::send(gateway.admin, http::request("GET", path), "")).await.text().to_owned()
}

#[track_caller]
fn has_line(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "no `{line}` in:\n{text}");
}

fn is_open(answer: &http::Answer) -> bool {
    outcome(answer) == (503, "BREAKER_OPEN".to_owned())
}

#[tokio::test]
async fn the_breaker_opens_on_a_dead_backend_and_closes_when_it_is_back() {
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a free port");
    let gateway = Gateway::in_front_of(free, "", "breaker: { consecutive: 3, open: 200ms..400ms }", "").await;
    for _ in 0..3 {
        assert_eq!(outcome(&get(&gateway).await), (503, "BACKEND_UNREACHABLE".to_owned()));
    }
    let refused = get(&gateway).await;
    assert!(is_open(&refused), "{}", refused.text());
    assert_eq!(refused.header("retry-after"), Some("1"));
    let metrics = page(&gateway, "/metrics").await;
    has_line(&metrics, "transom_breaker_openings_total{service=\"door\",reason=\"consecutive\"} 1");
    assert!(
        metrics.contains("transom_refused_total{stage=\"breaker\",reason=\"BREAKER_OPEN\"} "),
        "{metrics}"
    );
    let stats: serde_json::Value = serde_json::from_str(&page(&gateway, "/stats").await).expect("JSON");
    assert_eq!(stats["services"]["door"]["breaker"]["reason"], "3 failures in a row", "{stats}");

    // Nobody is there yet: each probe fails, and the breaker opens again.
    eventually("a probe has failed", async || {
        get(&gateway).await;
        page(&gateway, "/metrics").await.lines().any(|line| {
            line.starts_with("transom_breaker_openings_total{service=\"door\",reason=\"probe\"}")
                && !line.ends_with(" 0")
        })
    })
    .await;
    let _backend = Backend::start_at(free, |_| std::future::ready(answer())).await;
    eventually("served again", async || get(&gateway).await.status == 200).await;
    has_line(&page(&gateway, "/metrics").await, "transom_breaker_state{service=\"door\"} 0");
    for _ in 0..20 {
        assert_eq!(get(&gateway).await.status, 200);
    }
}

#[tokio::test]
async fn half_open_lets_exactly_one_of_fifty_through() {
    let is_failing = Arc::new(AtomicBool::new(true));
    let release = Arc::new(Semaphore::new(0));
    let backend = Backend::start({
        let (is_failing, release) = (Arc::clone(&is_failing), Arc::clone(&release));
        move |_| {
            let (is_failing, release) = (Arc::clone(&is_failing), Arc::clone(&release));
            async move {
                if is_failing.load(Ordering::SeqCst) {
                    return refusal(14, &[]);
                }
                release.acquire().await.expect("the test lives").forget();
                answer()
            }
        }
    })
    .await;
    let service = "breaker: { consecutive: 3, open: 200ms..200ms }, retry: { backoff: 1ms }";
    let gateway = Gateway::configured(&backend, "", service, "").await;
    eventually("open", async || is_open(&get(&gateway).await)).await;
    is_failing.store(false, Ordering::SeqCst);
    let before = backend.calls();

    let mut probing = JoinSet::new();
    let mut refusals = 0;
    // Fifty at a time come while it is open, when it may be tried, and while the probe is out.
    while backend.calls() == before {
        for _ in 0..50 {
            probing.spawn(http::send(gateway.address, http::request("GET", "/v1/items/7"), ""));
        }
        while probing.len() > 1 {
            let answer = soon(probing.join_next()).await.expect("more than one").expect("no panic");
            assert!(is_open(&answer), "{}", answer.text());
            refusals += 1;
        }
        // The last is refused as well, or it is the probe, which may still be on its way.
        tokio::select! {
            () = eventually("the probe", async || backend.calls() > before) => {}
            last = probing.join_next() => {
                let last = last.expect("the last").expect("no panic");
                assert!(is_open(&last), "{}", last.text());
            }
        }
    }
    assert_eq!(backend.calls() - before, 1);
    for _ in 0..50 {
        probing.spawn(http::send(gateway.address, http::request("GET", "/v1/items/7"), ""));
    }
    while probing.len() > 1 {
        let answer = soon(probing.join_next()).await.expect("more than one").expect("no panic");
        assert!(is_open(&answer), "{}", answer.text());
        refusals += 1;
    }
    assert_eq!(backend.calls() - before, 1, "one probe, however many come");
    has_line(&page(&gateway, "/metrics").await, "transom_breaker_state{service=\"door\"} 1");
    figure(format_args!("{refusals} calls refused while one probe was out"));
    release.add_permits(1000);
    let probe = soon(probing.join_next()).await.expect("the probe").expect("no panic");
    assert_eq!(probe.status, 200);
    assert_eq!(get(&gateway).await.status, 200);
}

#[tokio::test]
async fn a_probe_whose_client_leaves_is_no_verdict() {
    let is_failing = Arc::new(AtomicBool::new(true));
    let hangs = Arc::new(AtomicBool::new(false));
    let arrived = Arc::new(Notify::new());
    let backend = Backend::start({
        let shared = (Arc::clone(&is_failing), Arc::clone(&hangs), Arc::clone(&arrived));
        move |_| {
            let (is_failing, hangs, arrived) = shared.clone();
            async move {
                if is_failing.load(Ordering::SeqCst) {
                    return refusal(14, &[]);
                }
                if hangs.load(Ordering::SeqCst) {
                    arrived.notify_one();
                    std::future::pending::<()>().await;
                }
                answer()
            }
        }
    })
    .await;
    let gateway =
        Gateway::configured(&backend, "", "breaker: { consecutive: 3, open: 100ms..100ms }", "").await;
    eventually("open", async || is_open(&get(&gateway).await)).await;
    is_failing.store(false, Ordering::SeqCst);
    hangs.store(true, Ordering::SeqCst);
    let probe = tokio::spawn({
        let address = gateway.address;
        async move {
            loop {
                http::send(address, http::request("GET", "/v1/items/7"), "").await;
            }
        }
    });
    soon(arrived.notified()).await;
    assert!(is_open(&get(&gateway).await));
    hangs.store(false, Ordering::SeqCst);
    probe.abort();
    eventually("another call is the probe", async || get(&gateway).await.status == 200).await;
}

#[tokio::test]
async fn a_storm_of_retries_is_bounded_by_the_budget() {
    let backend = refusing(14, &[]).await;
    let gateway = Gateway::configured(&backend, "", "retry: { budget: 20%, backoff: 1ms }", "").await;
    let mut calls = JoinSet::new();
    for index in 0..200 {
        if index >= 20 {
            calls.join_next().await;
        }
        let address = gateway.address;
        calls.spawn(async move {
            let answer = soon(http::send(address, http::request("GET", "/v1/items/7"), "")).await;
            assert_eq!(answer.status, 503);
        });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("answered");
    }
    figure(format_args!("{} backend calls for 200 failing GETs at 20 %", backend.calls()));
    assert!((230..=245).contains(&backend.calls()), "{} backend calls", backend.calls());
    let metrics = page(&gateway, "/metrics").await;
    let retries = backend.calls() - 200;
    has_line(
        &metrics,
        &format!("transom_retries_total{{service=\"door\",reason=\"unavailable\"}} {retries}"),
    );
    let refused = format!("transom_retry_budget_exhausted_total{{service=\"door\"}} {}", 200 - retries);
    has_line(&metrics, &refused);
}

/// A backend that refuses the first attempts and answers the rest, and notes what it was told of earlier ones.
async fn flaky(
    refusals: usize,
    more: &'static [(&'static str, &'static str)],
) -> (Backend, Arc<std::sync::Mutex<Vec<String>>>) {
    let calls = AtomicUsize::new(0);
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let backend = Backend::start(move |request: Request<Incoming>| {
        let previous = request.headers().get("grpc-previous-rpc-attempts");
        let previous = previous.map_or("none", |value| value.to_str().expect("ASCII")).to_owned();
        told.lock().expect("no panic").push(previous);
        let is_refused = calls.fetch_add(1, Ordering::SeqCst) < refusals;
        std::future::ready(if is_refused { refusal(14, more) } else { answer() })
    })
    .await;
    (backend, seen)
}

#[tokio::test]
async fn what_may_run_twice_is_repeated_and_nothing_else() {
    let cases = [
        ("GET", "/v1/items/7", 1, 200, vec!["none", "1"]),
        ("GET", "/v1/items/7", 2, 200, vec!["none", "1", "2"]),
        ("GET", "/v1/items/7", 9, 503, vec!["none", "1", "2"]),
        ("POST", "/v1/items", 1, 503, vec!["none"]),
        ("PATCH", "/v1/whole", 1, 503, vec!["none"]),
        ("DELETE", "/v1/items/7", 1, 503, vec!["none"]),
        // Without side effects, by its `idempotency_level`.
        ("POST", "/v1/previews/a", 1, 200, vec!["none", "1"]),
    ];
    for (verb, target, refusals, number, previous) in cases {
        let (backend, seen) = flaky(refusals, &[]).await;
        let gateway = Gateway::configured(&backend, "", "retry: { attempts: 3, backoff: 1ms }", "").await;
        let request = http::request(verb, target).header("content-type", "application/json");
        let body = if ["GET", "DELETE"].contains(&verb) { "" } else { "{}" };
        // What a client says of its own attempts is not the backend's affair.
        let request = request.header("grpc-previous-rpc-attempts", "7");
        let answer = soon(http::send(gateway.address, request, body)).await;
        assert_eq!(answer.status, number, "{verb} {target}: {}", answer.text());
        assert_eq!(*seen.lock().expect("no panic"), previous, "{verb} {target}");
    }
}

#[tokio::test]
async fn what_never_left_is_repeated_whatever_it_is() {
    // The first attempt is refused and, unseen, once more; the second is the call's only retry.
    for (refusals, number, calls_expected) in [(2, 200, 3), (3, 503, 3)] {
        let calls = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&calls);
        let serve = raw::serve(move |_request, mut respond| {
            let call = seen.fetch_add(1, Ordering::SeqCst);
            async move {
                if call < refusals {
                    respond.send_reset(Reason::REFUSED_STREAM);
                } else {
                    raw::reply(
                        respond,
                        crate::support::backend::framed(b"\x0a\x01x"),
                        &[("grpc-status", "0")],
                    );
                }
            }
        });
        let backend = raw::Backend::start(serve).await;
        let gateway =
            Gateway::in_front_of(backend.address, "", "retry: { on: connect, backoff: 1ms }", "").await;
        assert_eq!(post(&gateway, "/v1/items").await.status, number, "{refusals}");
        assert_eq!(calls.load(Ordering::SeqCst), calls_expected, "{refusals}");
    }
}

#[tokio::test]
async fn pushback_is_obeyed() {
    let service = "retry: { backoff: 1ms }";
    for (pushback, number, calls) in [
        (&[("grpc-retry-pushback-ms", "-1")], 503, 1),
        (&[("grpc-retry-pushback-ms", "soon")], 503, 1),
        (&[("grpc-retry-pushback-ms", "0")], 200, 2),
        // Longer than the call may take.
        (&[("grpc-retry-pushback-ms", "3600000")], 503, 1),
    ] {
        let (backend, _) = flaky(1, pushback).await;
        let gateway = Gateway::configured(&backend, "", service, "").await;
        assert_eq!(get(&gateway).await.status, number, "{pushback:?}");
        assert_eq!(backend.calls(), calls, "{pushback:?}");
    }
    let (backend, _) = flaky(1, &[("grpc-retry-pushback-ms", "300")]).await;
    let gateway = Gateway::configured(&backend, "", service, "").await;
    let started = Instant::now();
    assert_eq!(get(&gateway).await.status, 200);
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
}

#[tokio::test]
async fn attempts_have_their_own_time_within_that_of_the_call() {
    let calls = AtomicUsize::new(0);
    let backend = Backend::start(move |_| {
        let is_first = calls.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if is_first {
                std::future::pending::<()>().await;
            }
            answer()
        }
    })
    .await;
    let service = "timeout: 20s, retry: { on: [deadline-exceeded], per_try: 200ms, backoff: 1ms }";
    let gateway = Gateway::configured(&backend, "", service, "").await;
    assert_eq!(get(&gateway).await.status, 200);
    assert_eq!(backend.calls(), 2);
}

#[tokio::test]
async fn a_request_longer_than_the_buffer_is_sent_once() {
    // Of 1024 bytes, 19 are the prefix, the name, the content type, and the tags and lengths of all of them.
    for (data_bytes, calls) in [(1005, 2), (1006, 1)] {
        let (backend, _) = flaky(1, &[]).await;
        let gateway = Gateway::configured(&backend, "", "retry: { buffer: 1KiB, backoff: 1ms }", "").await;
        let request = http::request("POST", "/v1/previews/a").header("content-type", "a/b");
        soon(http::send(gateway.address, request, "x".repeat(data_bytes))).await;
        assert_eq!(backend.calls(), calls, "{data_bytes}");
    }
}

#[tokio::test]
async fn faults_of_clients_never_open_the_breaker() {
    for code in [3, 5, 6, 7, 9, 10, 11, 12, 16] {
        let backend = refusing(code, &[]).await;
        let gateway =
            Gateway::configured(&backend, "", "breaker: { consecutive: 2, min_requests: 2 }", "").await;
        for _ in 0..10 {
            assert!(!is_open(&get(&gateway).await), "{code}");
        }
        assert_eq!(backend.calls(), 10, "{code}");
    }
}

/// The gateway takes larger headers than most servers of gRPC do, which answer for themselves then.
#[tokio::test]
async fn headers_that_are_too_large_for_the_backend_are_the_clients_fault() {
    // hyper's own bound, 16 KiB, as every backend in Rust has it.
    let backend = Backend::start(|_| std::future::ready(answer())).await;
    let service = "breaker: { consecutive: 2, open: 1h..1h }, \
                   endpoint_breaker: { consecutive: 2, open: 1h..1h }, outlier: { consecutive: 1 }, \
                   retry: { on: [connect, unavailable, unknown, internal], backoff: 1ms }";
    let gateway = Gateway::configured(&backend, "", service, "").await;
    for bytes in [17 << 10, 17 << 10, 31 << 10] {
        let request = http::request("GET", "/v1/items/7").header("grpc-metadata-x", "x".repeat(bytes));
        let answer = soon(http::send(gateway.address, request, "")).await;
        assert_eq!(outcome(&answer), (431, "BACKEND_REQUEST_TOO_LARGE".to_owned()), "{bytes}");
    }
    assert_eq!((get(&gateway).await.status.as_u16(), backend.calls()), (200, 1));
    let metrics = page(&gateway, "/metrics").await;
    for state in ["open", "ejected"] {
        let line = format!("transom_upstream_endpoints{{service=\"door\",state=\"{state}\"}} 0");
        has_line(&metrics, &line);
    }
}

#[tokio::test]
async fn only_a_deadline_that_gives_time_is_the_backends_to_keep() {
    let backend = Backend::start(async |_| std::future::pending().await).await;
    let gateway =
        Gateway::configured(&backend, "", "timeout: 400ms, breaker: { consecutive: 2, open: 1h }", "").await;
    for _ in 0..5 {
        let hasty = http::request("GET", "/v1/items/7").header("x-request-timeout", "0.05");
        let answer = soon(http::send(gateway.address, hasty, "")).await;
        assert_eq!(answer.status, 504);
    }
    for _ in 0..2 {
        assert_eq!(get(&gateway).await.status, 504);
    }
    assert!(is_open(&get(&gateway).await));
    assert_eq!(backend.calls(), 7);
}

/// What a stalled backend has no room for is told at once, lower priorities first; the rest goes on.
#[tokio::test]
async fn a_stalled_backend_sheds_load_and_nothing_else_waits() {
    let backend = Backend::start(async |_| std::future::pending().await).await;
    let rules = "surfaces: { web: { rules: [\
                 { match: door.v1.Door.Names, priority: low }, { match: door.v1.Door.Download, priority: high }, \
                 { match: door.v1.Door.* }] } }";
    let gateway = Gateway::configured(&backend, "", "shed: { min: 10, max: 10 }", rules).await;
    let mut stalled = JoinSet::new();
    let open = |stalled: &mut JoinSet<http::Answer>, target: &'static str| {
        stalled.spawn(http::send(gateway.address, http::request("GET", target), ""));
    };
    let shed = async |target: &str| {
        let answer = soon(http::send(gateway.address, http::request("GET", target), "")).await;
        assert_eq!(outcome(&answer), (503, "OVERLOADED".to_owned()), "{target}");
        assert_eq!(answer.header("retry-after"), Some("1"));
    };
    // 70 % of ten, 90 %, all.
    for (target, count, filled) in [("/v1/names", 7, 7), ("/v1/items/7", 2, 9), ("/v1/files/a", 1, 10)] {
        for _ in 0..count {
            open(&mut stalled, target);
        }
        eventually("in flight", async || backend.calls() == filled).await;
        shed(target).await;
    }
    let started = Instant::now();
    for _ in 0..50 {
        shed("/v1/items/7").await;
    }
    figure(format_args!("50 calls shed in {:?}, one after the other", started.elapsed()));
    assert_eq!(backend.calls(), 10);
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = soon(http::send(gateway.admin, http::request("GET", path), "")).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let metrics = page(&gateway, "/metrics").await;
    has_line(&metrics, "transom_concurrency_limit{service=\"door\"} 10");
    has_line(&metrics, "transom_concurrency_in_flight{service=\"door\"} 10");
    has_line(&metrics, "transom_shed_total{service=\"door\"} 53");
    // A stream takes no place.
    let stream = tokio::spawn(http::send(gateway.address, http::request("GET", "/v1/items/7:watch"), ""));
    eventually("the stream is open", async || backend.calls() == 11).await;
    stream.abort();
    // Clients that leave give their places back.
    stalled.abort_all();
    eventually("there is room again", async || {
        page(&gateway, "/metrics").await.contains("transom_concurrency_in_flight{service=\"door\"} 0\n")
    })
    .await;
}

#[tokio::test]
async fn an_open_breaker_is_answered_by_a_stale_reply_where_there_is_one() {
    let is_failing = Arc::new(AtomicBool::new(false));
    let backend = Backend::start({
        let is_failing = Arc::clone(&is_failing);
        move |_| {
            let mut head = HeaderMap::new();
            // Stale when it comes.
            head.insert("cache-control", "max-age=1, stale-if-error=600".parse().expect("a value"));
            head.insert("age", "1".parse().expect("a value"));
            let item = messages(&[bytes::Bytes::from_static(b"\x0a\x01x")], status(0, ""));
            let is_failing = is_failing.load(Ordering::SeqCst);
            std::future::ready(if is_failing { refusal(14, &[]) } else { respond(head, item) })
        }
    })
    .await;
    let surface = "surfaces: { web: { rules: [{ match: door.v1.Door.Get, cache: { ttl: origin } }] } }";
    let gateway =
        Gateway::configured(&backend, "", "breaker: { consecutive: 3, open: 1h..1h }", surface).await;
    assert_eq!(get(&gateway).await.status, 200);
    is_failing.store(true, Ordering::SeqCst);
    eventually("open", async || {
        is_open(&soon(http::send(gateway.address, http::request("GET", "/v1/items/8"), "")).await)
    })
    .await;
    let before = backend.calls();
    for _ in 0..10 {
        let answer = get(&gateway).await;
        let told = answer.header("cache-status").unwrap_or_default();
        assert!(answer.status == 200 && told.contains("stale-if-error"), "{} {told}", answer.status);
    }
    assert_eq!(backend.calls(), before);
}
