//! The time of attempts: what the backend is told of it.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use transom::telemetry::Metrics;
use transom::upstream::Upstream;

use crate::support::backend::framed;
use crate::support::raw::{self, collect, reply, request, serve};
use crate::support::soon;

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
    assert!(told <= TIMEOUT - waited, "{told:?} after {waited:?}");
    reply(respond, framed(b""), &[("grpc-status", "0")]);
    for call in [holding, waiting] {
        soon(call).await.expect("no panic").expect("answered");
    }
}
