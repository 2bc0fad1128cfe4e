//! Copies of calls, at the real door: who gets them, how many there are at once, and that nobody else notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{HeaderMap, Request};
use tokio::sync::{Semaphore, mpsc};

use crate::support::backend::{Backend, messages, respond, status};
use crate::support::{Gateway, eventually, http, soon};

/// What a backend was sent: path, marker, message.
type Seen = (String, Option<String>, Bytes);

/// A backend that answers, and tells what it was sent.
async fn telling() -> (Backend, mpsc::UnboundedReceiver<Seen>) {
    let (sender, seen) = mpsc::unbounded_channel();
    let backend = Backend::start(move |request: Request<Incoming>| {
        let sender = sender.clone();
        async move {
            let (head, body) = request.into_parts();
            let marker =
                head.headers.get("transom-mirrored").map(|value| value.to_str().expect("ASCII").to_owned());
            let body = body.collect().await.expect("a message").to_bytes();
            let _ = sender.send((head.uri.path().to_owned(), marker, body));
            answer()
        }
    })
    .await;
    (backend, seen)
}

fn answer() -> hyper::Response<crate::support::backend::Body> {
    respond(HeaderMap::new(), messages(&[Bytes::from_static(b"\x0a\x01a")], status(0, "")))
}

/// A gateway before a service and its mirror, with these keys of the rule.
async fn mirroring(main: &str, mirror: &str, rule: &str) -> Gateway {
    mirroring_to(main, &[mirror], "", rule).await
}

/// The same with a mirror of these endpoints and keys.
async fn mirroring_to(main: &str, mirrors: &[&str], keys: &str, rule: &str) -> Gateway {
    Gateway::with_file(&format!(
        "listeners: {{ public: {{ drain: 1h }} }}\n\
         services:\n  main: {{ endpoints: {{ static: [{main:?}] }}, breaker: {{ consecutive: 3 }}, timeout: 1h }}\n  \
         next: {{ endpoints: {{ static: {mirrors:?} }}, breaker: {{ consecutive: 3 }}, {keys} }}\n\
         policies: {{ kept: {{ cache: {{ ttl: 60s }} }} }}\n\
         surfaces: {{ web: {{ rules: [{{ match: door.v1.Door.*, {rule} }}] }} }}\n"
    ))
    .await
}

async fn get(gateway: &Gateway) -> (u16, String) {
    let answer = http::send(gateway.address, http::request("GET", "/v1/items/1"), "").await;
    (answer.status.as_u16(), answer.text().to_owned())
}

/// A sample of the gateway's metrics, 0 where there is none.
async fn metric(gateway: &Gateway, series: &str) -> u64 {
    let answer = http::send(gateway.admin, http::request("GET", "/metrics"), "").await;
    let line = answer.text().lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().expect("a number"))
}

#[tokio::test]
async fn a_mirror_gets_what_the_service_gets_and_a_mark() {
    let ((main, mut of_main), (next, mut of_next)) = (telling().await, telling().await);
    let gateway = mirroring(&main.url(), &next.url(), "to: main, mirror: next").await;
    for number in 0..20 {
        let request = http::request("GET", &format!("/v1/items/{number}?count={number}"))
            // No client can say of its call that it is a copy.
            .header("grpc-metadata-transom-mirrored", "true");
        assert_eq!(http::send(gateway.address, request, "").await.status, 200);
        let (path, marker, message) = soon(of_main.recv()).await.expect("a call");
        assert_eq!((path.as_str(), marker), ("/door.v1.Door/Get", None));
        let copy = soon(of_next.recv()).await.expect("a copy");
        assert_eq!(copy, (path, Some("true".to_owned()), message));
    }
    eventually("copies are counted", async || {
        metric(&gateway, "transom_mirror_calls_total{service=\"next\",code=\"OK\"}").await == 20
    })
    .await;
    assert_eq!(metric(&gateway, "transom_mirror_duration_seconds_count{service=\"next\"}").await, 20);
    assert_eq!((main.calls(), next.calls()), (20, 20));
}

#[tokio::test]
async fn streams_and_what_changes_something_are_not_copied_unless_that_is_said() {
    for (rule, copies) in [("mirror: next", 1), ("mirror: { to: next, writes: true }", 3)] {
        let ((main, _), (next, mut of_next)) = (telling().await, telling().await);
        let gateway = mirroring(&main.url(), &next.url(), &format!("to: main, {rule}")).await;
        for (verb, path, body) in [
            ("POST", "/v1/items", r#"{"name":"a"}"#),
            ("DELETE", "/v1/items/1", ""),
            ("GET", "/v1/items/1:watch", ""),
            ("POST", "/v1/items/1:collect", "{}"),
            ("GET", "/v1/items/1", ""),
        ] {
            assert_eq!(
                http::send(gateway.address, http::request(verb, path), body).await.status,
                200,
                "{path}"
            );
        }
        // A worker sends copies in their order, and another its own: those that come are those that were sent.
        let mut paths = Vec::new();
        for _ in 0..copies {
            paths.push(soon(of_next.recv()).await.expect("a copy").0);
        }
        assert!(paths.iter().any(|path| path == "/door.v1.Door/Get"), "{paths:?}");
        assert_eq!((main.calls(), next.calls()), (5, copies), "{paths:?}");
    }
}

#[tokio::test]
async fn a_mirror_that_fails_changes_nothing() {
    let failing =
        async || Backend::start(async |_| respond(HeaderMap::new(), messages(&[], status(14, "")))).await;
    let broken = async || {
        Backend::start(async |_| {
            respond(HeaderMap::new(), messages(&[Bytes::new(), Bytes::new(), Bytes::new()], status(0, "")))
        })
        .await
    };
    // Ports where nobody listens.
    let free = || std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let sockets = [free(), free()];
    let gone = sockets.each_ref().map(|socket| format!("http://{}", socket.local_addr().expect("bound")));
    drop(sockets);
    let failing = [failing().await, failing().await];
    let broken = [broken().await, broken().await];
    for (what, mirrors, code) in [
        ("failing", failing.each_ref().map(Backend::url), "UNAVAILABLE"),
        ("broken", broken.each_ref().map(Backend::url), "INTERNAL"),
        ("gone", gone, "UNAVAILABLE"),
    ] {
        let (main, _seen) = telling().await;
        let rule = "to: main, mirror: next, retry: { attempts: 3, on: [unavailable, connect] }";
        // Whoever has calls of its own beside the copies is not judged by these.
        let judges = "balance: round-robin, endpoint_breaker: { consecutive: 3, open: 1h..1h }, \
                      outlier: { consecutive: 3, eject: 1h..1h }";
        let gateway = mirroring_to(&main.url(), &mirrors.each_ref().map(String::as_str), judges, rule).await;
        for _ in 0..50 {
            assert_eq!(get(&gateway).await, (200, r#"{"name":"a"}"#.to_owned()), "{what}");
        }
        assert_eq!(main.calls(), 50, "{what}");
        let series = format!("transom_mirror_calls_total{{service=\"next\",code=\"{code}\"}}");
        eventually(what, async || metric(&gateway, &series).await == 50).await;
        for untouched in [
            "transom_breaker_state{service=\"main\"}",
            "transom_breaker_state{service=\"next\"}",
            "transom_breaker_refused_total{service=\"next\"}",
            "transom_retries_total{service=\"next\",reason=\"unavailable\"}",
            "transom_endpoint_breaker_openings_total{service=\"next\",reason=\"consecutive\"}",
            "transom_outlier_ejections_total{service=\"next\",reason=\"consecutive\"}",
        ] {
            assert_eq!(metric(&gateway, untouched).await, 0, "{what}: {untouched}");
        }
    }
    assert_eq!(failing.each_ref().map(Backend::calls), [25; 2], "a copy is sent once");
}

#[tokio::test]
async fn copies_that_hang_are_bounded_and_hold_up_nobody() {
    let (gate, answered) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let hanging = Backend::start({
        let (gate, answered) = (Arc::clone(&gate), Arc::clone(&answered));
        move |_| {
            let (gate, answered) = (Arc::clone(&gate), Arc::clone(&answered));
            async move {
                gate.acquire().await.expect("open").forget();
                answered.fetch_add(1, Ordering::SeqCst);
                answer()
            }
        }
    })
    .await;
    let (main, _seen) = telling().await;
    let rule = "to: main, mirror: { to: next, concurrency: 3 }";
    let mut gateway = mirroring(&main.url(), &hanging.url(), rule).await;
    let dropped = "transom_mirror_dropped_total{service=\"next\",reason=\"concurrency\"}";
    for number in 1..=10 {
        assert_eq!(get(&gateway).await.0, 200);
        // Exactly at the bound nothing is dropped yet.
        assert_eq!(metric(&gateway, dropped).await, u64::saturating_sub(number, 3));
    }
    eventually("three copies hang", async || hanging.calls() == 3).await;
    // One that ends makes room for one.
    gate.add_permits(1);
    let ended = "transom_mirror_calls_total{service=\"next\",code=\"OK\"}";
    eventually("a copy has ended", async || metric(&gateway, ended).await == 1).await;
    assert_eq!((get(&gateway).await.0, get(&gateway).await.0), (200, 200));
    eventually("the next copy", async || hanging.calls() == 4).await;
    assert_eq!(metric(&gateway, dropped).await, 8);
    assert_eq!((main.calls(), answered.load(Ordering::SeqCst)), (12, 1));
    // Three copies hang, for as long as the hour that the call may take: the end of the process does not.
    gateway.terminate();
    assert_eq!(soon(gateway.exit_code()).await, Some(0));
}

#[tokio::test]
async fn requests_that_are_too_large_together_are_not_copied() {
    let ((main, _seen), (next, mut of_next)) = (telling().await, telling().await);
    let rule = "to: main, mirror: { to: next, bytes: 1KiB, writes: true }";
    let gateway = mirroring(&main.url(), &next.url(), rule).await;
    // A frame has 5 bytes, a field of 128 bytes and more 3.
    for (length, is_copied) in [(1024 - 8, true), (1024 - 7, false)] {
        let body = format!(r#"{{"name":"{}"}}"#, "a".repeat(length));
        let answer = http::send(gateway.address, http::request("POST", "/v1/items"), body).await;
        assert_eq!(answer.status, 200);
        let dropped =
            metric(&gateway, "transom_mirror_dropped_total{service=\"next\",reason=\"bytes\"}").await;
        assert_eq!(dropped, u64::from(!is_copied));
        if is_copied {
            assert_eq!(soon(of_next.recv()).await.expect("a copy").2.len(), 1024);
            let ended = "transom_mirror_calls_total{service=\"next\",code=\"OK\"}";
            eventually("the copy has ended", async || metric(&gateway, ended).await == 1).await;
        }
    }
}

#[tokio::test]
async fn only_calls_that_are_made_elsewhere_are_copied() {
    // Of a reply that is kept there is one call.
    let ((main, _seen), (next, mut of_next)) = (telling().await, telling().await);
    let rule = "to: main, mirror: next, policies: [kept]";
    let gateway = mirroring(&main.url(), &next.url(), rule).await;
    for _ in 0..5 {
        assert_eq!(get(&gateway).await.0, 200);
    }
    soon(of_next.recv()).await.expect("a copy");
    assert_eq!((main.calls(), next.calls()), (1, 1));
    // Who gets the copies gets no copy of a call of its own.
    let ((main, mut of_main), (next, mut of_next)) = (telling().await, telling().await);
    let gateway = mirroring(&main.url(), &next.url(), "to: { main: 50, next: 50 }, mirror: next").await;
    let mut copies = 0;
    for _ in 0..20 {
        assert_eq!(get(&gateway).await.0, 200);
        copies += usize::from(soon(of_next.recv()).await.expect("a call or a copy").1.is_some());
    }
    assert_eq!((copies, main.calls(), next.calls()), (10, 10, 20));
    assert!(of_main.recv().await.expect("a call").1.is_none());
}
