//! The time of attempts: what the backend is told of it, and what bounds a stream.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::{HeaderMap, Request};
use tokio::sync::mpsc;
use transom::telemetry::Metrics;
use transom::upstream::Upstream;

use crate::support::backend::{Backend, channel, framed, messages, respond, status};
use crate::support::raw::{self, collect, reply, request, serve};
use crate::support::{Gateway, http, soon};

/// A `grpc-timeout`.
fn told(headers: &::http::HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().expect("ASCII");
    let (digits, unit) = text.split_at(text.len() - 1);
    let value: u64 = digits.parse().expect("a number");
    Some(match unit {
        "n" => Duration::from_nanos(value),
        "u" => Duration::from_micros(value),
        "m" => Duration::from_millis(value),
        "S" => Duration::from_secs(value),
        unit => panic!("{value} {unit}"),
    })
}

const TIMEOUT: Duration = Duration::from_secs(20);

/// How long something is held up: not waited for, but what is measured.
const DELAY: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_place_that_comes_late_is_taken_off_the_time_of_the_call() {
    let (open, mut opened) = mpsc::unbounded_channel();
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(1);
    let serve = serve(move |request, respond| {
        let _ = open.send((told(request.headers()), respond));
        async {}
    });
    let backend = raw::Backend::start_with(builder, serve).await;
    let metrics = Metrics::new();
    let mut config = backend.config();
    config.connections_max = 1;
    let upstream = Upstream::new(config.cluster(), metrics.worker());
    let call = |timeout| {
        let upstream = upstream.clone();
        let mut call = request(b"");
        call.timeout = timeout;
        tokio::spawn(async move { collect(upstream.call(call).await).await.1 })
    };
    // The first teaches the connection the peer's limit, the second holds its only place.
    for timeout in [None, Some(TIMEOUT)] {
        let answered = call(timeout);
        let (told, respond) = soon(opened.recv()).await.expect("a call");
        assert_eq!(told.is_some(), timeout.is_some());
        assert!(told.is_none_or(|told| told <= TIMEOUT && told > TIMEOUT / 2), "{told:?}");
        reply(respond, framed(b""), &[("grpc-status", "0")]);
        soon(answered).await.expect("no panic").expect("answered");
    }
    let holding = call(None);
    let (_, held) = soon(opened.recv()).await.expect("a call");
    let waiting = call(Some(TIMEOUT));
    while metrics.sum(|worker| worker.upstream_calls_open.value()) < 2 {
        tokio::task::yield_now().await;
    }
    let queued = Instant::now();
    tokio::time::sleep(DELAY).await;
    let waited = queued.elapsed();
    reply(held, framed(b""), &[("grpc-status", "0")]);
    let (told, respond) = soon(opened.recv()).await.expect("the call that waited");
    let told = told.expect("a timeout");
    // Long timeouts are told in whole milliseconds, rounded up.
    assert!(told < TIMEOUT - waited + Duration::from_millis(1), "{told:?} after {waited:?}");
    reply(respond, framed(b""), &[("grpc-status", "0")]);
    for call in [holding, waiting] {
        soon(call).await.expect("no panic").expect("answered");
    }
}

/// A backend whose streams are fed by the test, and what their calls were told of their time.
async fn fed() -> (Backend, mpsc::UnboundedReceiver<(Option<Duration>, mpsc::Sender<Frame<Bytes>>)>) {
    let (open, opened) = mpsc::unbounded_channel();
    let backend = Backend::start(move |request: Request<Incoming>| {
        let (feed, body) = channel();
        let _ = open.send((told(request.headers()), feed));
        std::future::ready(respond(HeaderMap::new(), body))
    })
    .await;
    (backend, opened)
}

const ITEM: &[u8] = b"\x0a\x01x";

#[tokio::test]
async fn the_time_of_an_attempt_does_not_end_a_stream() {
    const PER_TRY: Duration = Duration::from_millis(500);
    let (backend, mut opened) = fed().await;
    let service = "retry: { per_try: 500ms, on: [deadline-exceeded, unavailable] }, \
                   breaker: { consecutive: 1, open: 1h..1h }, endpoint_breaker: { consecutive: 1, open: 1h..1h }";
    let gateway = Gateway::configured(&backend, "", service, "").await;
    // The second has a deadline of its own, which is what its backend is told.
    for timeout in [None, Some(20)] {
        let mut request = http::request("GET", "/v1/items/7:watch");
        if let Some(timeout) = timeout {
            request = request.header("x-request-timeout", timeout.to_string());
        }
        let address = gateway.address;
        let response = tokio::spawn(async move { http::open(address, request, "").await });
        let (told, feed) = soon(opened.recv()).await.expect("a call");
        assert_eq!(told.is_some(), timeout.is_some(), "{told:?}");
        assert!(told.is_none_or(|told| told > 20 * PER_TRY), "{told:?}");
        let mut line = String::new();
        // One that is quiet from the beginning is as good as one that falls silent.
        tokio::time::sleep(3 * PER_TRY).await;
        feed.send(Frame::data(framed(ITEM))).await.expect("the stream is open");
        let mut body = soon(response).await.expect("no panic").into_body();
        for _ in 0..2 {
            while !line.ends_with('\n') {
                let frame = soon(body.frame()).await.expect("a message").expect("the stream is open");
                line.push_str(std::str::from_utf8(&frame.into_data().unwrap_or_default()).expect("JSON"));
            }
            assert_eq!(std::mem::take(&mut line), "{\"name\":\"x\"}\n");
            tokio::time::sleep(3 * PER_TRY).await;
            feed.send(Frame::data(framed(ITEM))).await.expect("the stream is open");
        }
        feed.send(Frame::trailers(status(0, ""))).await.expect("the stream is open");
        let rest = soon(body.collect()).await.expect("a clean end").to_bytes();
        assert_eq!(rest, "{\"name\":\"x\"}\n");
    }
    assert_eq!(backend.calls(), 2);
}

#[tokio::test]
async fn the_time_of_an_attempt_bounds_the_way_to_the_head_of_a_stream() {
    let calls = AtomicUsize::new(0);
    let backend = Backend::start(move |_| {
        let is_first = calls.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if is_first {
                std::future::pending::<()>().await;
            }
            respond(HeaderMap::new(), messages(&[Bytes::from_static(ITEM)], status(0, "")))
        }
    })
    .await;
    let service = "retry: { on: [deadline-exceeded], per_try: 200ms, backoff: 1ms }";
    let gateway = Gateway::configured(&backend, "", service, "").await;
    let answer = soon(http::send(gateway.address, http::request("GET", "/v1/items/7:watch"), "")).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "{\"name\":\"x\"}\n"));
    assert_eq!(backend.calls(), 2);
}
