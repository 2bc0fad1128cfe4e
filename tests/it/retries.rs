//! Calls that a second connection saves: what never reached the backend is sent once more, and no more.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use h2::Reason;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use transom::telemetry::Metrics;
use transom::upstream::{RequestMessages, Upstream};

use crate::support::backend::framed;
use crate::support::raw::{Backend, collect, config, reply, request, serve, serve_connection, upstream};
use crate::support::{PATIENCE, soon};
use crate::upstream::Fed;

#[tokio::test]
async fn a_call_that_never_left_is_sent_once_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let upstream = upstream(config(address));
    let (serve_ended, mut served) = mpsc::unbounded_channel();
    let (died, mut deaths) = mpsc::unbounded_channel();
    // Each connection serves one call and dies without a GOAWAY, as with its process.
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let mut connection = h2::server::handshake(socket).await.expect("HTTP/2");
            let (request, respond) = connection.accept().await.expect("a call").expect("well-formed");
            drop(request);
            reply(respond, framed(b""), &[("grpc-status", "0")]);
            // Drives the connection until the reply is out, and then no further.
            let mut flushed = pin!(soon(served.recv()));
            tokio::select! {
                another = connection.accept() => {
                    // The client may end it as well.
                    assert!(!matches!(another, Some(Ok(_))), "one call a connection");
                    flushed.await.expect("the test goes on");
                }
                flushed = &mut flushed => flushed.expect("the test goes on"),
            }
            drop(connection);
            let _ = died.send(());
        }
    });
    for _ in 0..20 {
        let (_, outcome) = soon(async { collect(upstream.call(request(b"")).await).await }).await;
        outcome.expect("answered");
        serve_ended.send(()).expect("the backend lives");
        soon(deaths.recv()).await.expect("a dead connection");
        await_end(address.port());
        // The runtime hears of it together with the next call.
        tokio::task::yield_now().await;
    }
}

/// Waits until the last word of the backend at `port` has come: on a busy machine it may be on its way for a while,
/// and until then nobody can know that a call is not served.
fn await_end(port: u16) {
    const ESTABLISHED: &str = "01";
    let begun = Instant::now();
    let is_open = || {
        // Where the kernel has no such list, nobody waits.
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        sockets.lines().skip(1).any(|socket| {
            let mut columns = socket.split_whitespace().skip(2);
            let (remote, state) = (columns.next().unwrap_or_default(), columns.next());
            remote.ends_with(&format!(":{port:04X}")) && state == Some(ESTABLISHED)
        })
    };
    while is_open() {
        assert!(begun.elapsed() < PATIENCE, "the connection does not end");
        std::thread::yield_now();
    }
}

/// A backend that refuses its first calls.
async fn refusing(refusals: usize) -> (Backend, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&calls);
    let serve = serve(move |_request, mut respond| {
        let call = seen.fetch_add(1, Ordering::SeqCst);
        async move {
            if call < refusals {
                respond.send_reset(Reason::REFUSED_STREAM);
            } else {
                reply(respond, framed(b"served"), &[("grpc-status", "0")]);
            }
        }
    });
    (Backend::start(serve).await, calls)
}

#[tokio::test]
async fn a_refused_call_is_sent_once_more_and_no_more() {
    for (refusals, expected, calls_expected) in [(0, 1, 1), (1, 1, 2), (2, 0, 2)] {
        let (backend, calls) = refusing(refusals).await;
        let metrics = Metrics::new();
        let upstream = Upstream::new(backend.config().cluster(), metrics.worker());
        let (messages, _) = soon(async { collect(upstream.call(request(b"")).await).await }).await;
        assert_eq!((messages.len(), calls.load(Ordering::SeqCst)), (expected, calls_expected));
        let retries = metrics.sum(|worker| worker.upstream_retries.value());
        assert_eq!(retries, u64::from(refusals > 0), "{refusals}");
    }
    // Nobody waits for a copy.
    let (backend, calls) = refusing(1).await;
    let copy = request(b"").copy(None).expect("one message");
    let failure = soon(backend.upstream().attempt(copy)).await.expect_err("refused");
    assert_eq!((failure.is_unsent, calls.load(Ordering::SeqCst)), (true, 1));
    // What has been pulled from a client's stream is gone.
    let (backend, calls) = refusing(1).await;
    let (_feed, fed) = mpsc::unbounded_channel();
    let mut call = request(b"");
    call.messages = RequestMessages::Stream(Box::pin(Fed(fed)));
    let failure = soon(backend.upstream().attempt(call)).await.expect_err("refused");
    assert!(failure.is_unsent);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn good_news_of_one_worker_ends_the_backoff_of_another() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let metrics = Metrics::new();
    let mut config = config(address);
    config.backoff_min = PATIENCE * 10;
    config.backoff_max = PATIENCE * 10;
    let cluster = config.cluster();
    let worker = || Upstream::new(cluster.clone(), metrics.worker());
    let (waiting, other) = (worker(), worker());
    for _ in 0..3 {
        soon(waiting.call(request(b""))).await.expect_err("nobody listens");
    }
    let listener = TcpListener::bind(address).await.expect("still free");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let serve =
                serve(|_, respond| async move { reply(respond, framed(b""), &[("grpc-status", "0")]) });
            tokio::spawn(serve_connection(h2::server::Builder::new(), socket, serve));
        }
    });
    soon(waiting.call(request(b""))).await.expect_err("still backing off");
    for upstream in [&other, &waiting] {
        let (_, outcome) = soon(async { collect(upstream.call(request(b"")).await).await }).await;
        outcome.expect("answered");
    }
}
