//! The gRPC client: outcomes, bounds, connections, cancellation.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use h2::Reason;
use h2::server::SendResponse;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use transom::status::{Code, Status};
use transom::telemetry::Metrics;
use transom::upstream::{RequestMessages, Upstream};

use crate::support::backend::framed;
use crate::support::raw::{
    Backend, GRPC, Serve, collect, config, head, headers, read_all, reply, request, serve, serve_connection,
    upstream,
};
use crate::support::{PATIENCE, soon};

#[tokio::test]
async fn head_message_and_trailers_go_both_ways() {
    let backend = Backend::start(serve(|mut request, respond| async move {
        let headers = request.headers();
        for (name, value) in [
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", concat!("transom/", env!("CARGO_PKG_VERSION"))),
            ("x-mine", "1"),
        ] {
            assert_eq!(headers.get(name).map(|value| value.as_bytes()), Some(value.as_bytes()), "{name}");
        }
        // What has passed since the call began is taken off.
        let left_ms: u32 = headers["grpc-timeout"]
            .to_str()
            .ok()
            .and_then(|text| text.strip_suffix('m')?.parse().ok())
            .expect("milliseconds");
        assert!((1_000..=5_000).contains(&left_ms), "{left_ms}");
        assert_eq!(headers.len(), 5);
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri().path(), "/pkg.Service/Method");
        assert_eq!(request.uri().scheme_str(), Some("http"));
        let body = read_all(request.body_mut()).await;
        reply(respond, [&body[..], &body[..]].concat().into(), &[("grpc-status", "0"), ("x-trailer", "t")]);
    }))
    .await;
    let mut call = request(b"hello");
    call.timeout = Some(Duration::from_secs(5));
    call.metadata = headers(&[("x-mine", "1"), ("user-agent", "curl"), ("grpc-timeout", "1H"), ("te", "x")]);
    let reply = backend.upstream().call(call).await;
    assert_eq!(reply.as_ref().expect("a reply").metadata.len(), 0);
    let (messages, outcome) = soon(collect(reply)).await;
    assert_eq!(messages, [&b"hello"[..], b"hello"]);
    assert_eq!(outcome, Ok(headers(&[("x-trailer", "t")])));
}

/// What a backend does with a call, and what becomes of it.
#[tokio::test]
async fn outcomes() {
    async fn check(
        name: &str,
        answer: impl Fn(SendResponse<Bytes>) + Send + Sync + 'static,
        expected: (usize, Code, &str),
    ) {
        let answer = Arc::new(answer);
        let backend = Backend::start(serve(move |mut request, respond| {
            let answer = Arc::clone(&answer);
            async move {
                read_all(request.body_mut()).await;
                answer(respond);
            }
        }))
        .await;
        let upstream = backend.upstream();
        let (messages, outcome) = soon(collect(upstream.call(request(b"")).await)).await;
        let outcome = outcome.expect_err(name);
        assert_eq!((messages.len(), outcome.code, &*outcome.message), expected, "{name}");
    }
    let refuse = |fields: &'static [(&str, &str)], number: u16| {
        move |mut respond: SendResponse<Bytes>| {
            let mut head = head(fields);
            *head.status_mut() = http::StatusCode::from_u16(number).expect("a number");
            respond.send_response(head, true).expect("open");
        }
    };
    let data = |data: &'static [u8], trailers: &'static [(&str, &str)]| {
        move |respond: SendResponse<Bytes>| reply(respond, Bytes::from_static(data), trailers)
    };
    let reset = |reason: Reason| move |mut respond: SendResponse<Bytes>| respond.send_reset(reason);

    const REFUSAL: &[(&str, &str)] =
        &[("content-type", "application/grpc"), ("grpc-status", "5"), ("grpc-message", "no%20book")];
    check("trailers-only", refuse(REFUSAL, 200), (0, Code::NotFound, "no book")).await;
    check("trailers-only, 503", refuse(REFUSAL, 503), (0, Code::NotFound, "no book")).await;
    let what = "the backend answered with HTTP 503 and not with gRPC";
    check("plain 503", refuse(&[("content-type", "text/html")], 503), (0, Code::Unavailable, what)).await;
    let what = "the backend answered with HTTP 404 and not with gRPC";
    check("plain 404", refuse(GRPC, 404), (0, Code::Unimplemented, what)).await;
    let what = "the backend answered with HTTP 200 and not with gRPC";
    check("plain 200", refuse(&[], 200), (0, Code::Unknown, what)).await;
    let what = "the backend ended the call without a status";
    check("head only", refuse(GRPC, 200), (0, Code::Unknown, what)).await;
    check("trailers without status", data(b"\0\0\0\0\0", &[("x", "y")]), (1, Code::Unknown, what)).await;
    check("late error", data(b"\0\0\0\0\0", &[("grpc-status", "9")]), (1, Code::FailedPrecondition, ""))
        .await;
    let what = "the backend ended the call within a message";
    check("cut message", data(b"\0\0\0\0\x02a", &[("grpc-status", "0")]), (0, Code::Internal, what)).await;
    check("cut, but with a reason", data(b"\0\0", &[("grpc-status", "8")]), (0, Code::ResourceExhausted, ""))
        .await;
    let what = "the backend sent a compressed message, though no encoding was offered";
    check("compressed", data(b"\x01\0\0\0\0", &[("grpc-status", "0")]), (0, Code::Internal, what)).await;
    let what = "the backend's message has 4294967295 bytes, more than the 16777216 allowed";
    check("lying length", data(b"\0\xff\xff\xff\xff", &[]), (0, Code::ResourceExhausted, what)).await;
    let no_trailers = |mut respond: SendResponse<Bytes>| {
        let mut body = respond.send_response(head(GRPC), false).expect("open");
        body.send_data(Bytes::from_static(b"\0\0\0\0\0"), true).expect("open");
    };
    let what = "the backend ended the call without trailers";
    check("no trailers", no_trailers, (1, Code::Internal, what)).await;
    let what = "the backend reset the stream (REFUSED_STREAM)";
    check("refused", reset(Reason::REFUSED_STREAM), (0, Code::Unavailable, what)).await;
    let what = "the backend reset the stream (CANCEL)";
    check("cancelled", reset(Reason::CANCEL), (0, Code::Cancelled, what)).await;
    let late_reset = |mut respond: SendResponse<Bytes>| {
        let mut body = respond.send_response(head(GRPC), false).expect("open");
        body.send_reset(Reason::ENHANCE_YOUR_CALM);
    };
    let what = "the backend reset the stream (ENHANCE_YOUR_CALM)";
    check("reset after the head", late_reset, (0, Code::ResourceExhausted, what)).await;
}

#[tokio::test]
async fn message_bounds_are_exact() {
    let backend = Backend::start(serve(|mut request, respond| async move {
        let body = read_all(request.body_mut()).await;
        reply(respond, body.into(), &[("grpc-status", "0")]);
    }))
    .await;
    let mut config = backend.config();
    config.message_bytes_to_backend_max = 100_000;
    let to_backend = upstream(config.clone());
    let (messages, outcome) = soon(collect(to_backend.call(request(&[7; 100_000])).await)).await;
    assert_eq!((messages[0].len(), outcome.is_ok()), (100_000, true));
    let (_, outcome) = soon(collect(to_backend.call(request(&[7; 100_001])).await)).await;
    assert_eq!(outcome.expect_err("over the bound").code, Code::ResourceExhausted);

    config.message_bytes_from_backend_max = 50_000;
    let from_backend = upstream(config);
    let (messages, outcome) = soon(collect(from_backend.call(request(&[7; 50_000])).await)).await;
    assert_eq!((messages[0].len(), outcome.is_ok()), (50_000, true));
    let (_, outcome) = soon(collect(from_backend.call(request(&[7; 50_001])).await)).await;
    assert_eq!(outcome.expect_err("over the bound").code, Code::ResourceExhausted);
}

#[tokio::test]
async fn a_message_larger_than_the_windows_passes() {
    let backend = Backend::start(serve(|mut request, respond| async move {
        let body = read_all(request.body_mut()).await;
        reply(respond, body.into(), &[("grpc-status", "0")]);
    }))
    .await;
    let mut config = backend.config();
    config.stream_window_bytes = 65_535;
    config.connection_window_bytes = 65_535;
    let message = vec![7; 3 << 20];
    let (messages, outcome) = soon(collect(upstream(config).call(request(&message)).await)).await;
    assert_eq!((messages[0].len(), outcome.is_ok()), (message.len(), true));
}

/// Tells when a call comes, and when its stream is reset.
fn hang(events: mpsc::UnboundedSender<Option<Reason>>, with_head: bool) -> Serve {
    serve(move |_request, mut respond| {
        let events = events.clone();
        async move {
            let _ = events.send(None);
            let reason = if with_head {
                let mut body = respond.send_response(head(GRPC), false).expect("open");
                body.send_data(framed(b"first"), false).expect("open");
                std::future::poll_fn(|cx| body.poll_reset(cx)).await
            } else {
                std::future::poll_fn(|cx| respond.poll_reset(cx)).await
            };
            let _ = events.send(Some(reason.expect("a reset")));
        }
    })
}

#[tokio::test]
async fn dropping_the_call_or_the_reply_resets_the_stream() {
    for with_head in [false, true] {
        let (events, mut seen) = mpsc::unbounded_channel();
        let backend = Backend::start(hang(events, with_head)).await;
        let upstream = backend.upstream();
        if with_head {
            let mut reply = soon(upstream.call(request(b""))).await.expect("a head");
            assert_eq!(soon(reply.messages.next()).await, Some(Ok(Bytes::from_static(b"first"))));
            assert_eq!(soon(seen.recv()).await, Some(None));
            drop(reply);
        } else {
            let call = upstream.call(request(b""));
            tokio::select! {
                reply = call => panic!("nothing is answered: {reply:?}"),
                event = soon(seen.recv()) => assert_eq!(event, Some(None)),
            }
        }
        assert_eq!(soon(seen.recv()).await, Some(Some(Reason::CANCEL)));
    }
}

#[tokio::test]
async fn the_timeout_ends_a_call_that_the_backend_does_not() {
    for with_head in [false, true] {
        let (events, mut seen) = mpsc::unbounded_channel();
        let backend = Backend::start(hang(events, with_head)).await;
        let mut call = request(b"");
        call.timeout = Some(Duration::from_millis(500));
        let (messages, outcome) = soon(collect(backend.upstream().call(call).await)).await;
        assert_eq!(messages.len(), usize::from(with_head));
        assert_eq!(outcome.expect_err("too late").code, Code::DeadlineExceeded);
        assert_eq!(soon(seen.recv()).await, Some(None));
        assert_eq!(soon(seen.recv()).await, Some(Some(Reason::CANCEL)));
    }
}

#[tokio::test]
async fn a_dead_backend_fails_fast_and_is_left_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let metrics = Metrics::new();
    let mut config = config(address);
    config.backoff_min = PATIENCE * 10;
    config.backoff_max = PATIENCE * 10;
    let upstream = Upstream::new(config.cluster(), metrics.worker());
    for _ in 0..50 {
        let status = soon(upstream.call(request(b""))).await.expect_err("nobody listens");
        assert_eq!(status.code, Code::Unavailable);
        assert!(!status.message.contains("127.0.0.1"), "{status}");
    }
    // The first failure is free, the second begins the backoff.
    assert_eq!(metrics.sum(|worker| worker.upstream_connect_failures.value()), 2);
    assert_eq!(metrics.sum(|worker| worker.upstream_calls_open.value()), 0);
}

#[tokio::test]
async fn a_backend_that_is_not_http2_counts_as_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            use tokio::io::AsyncWriteExt;
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await;
        }
    });
    let metrics = Metrics::new();
    let mut config = config(address);
    config.backoff_min = PATIENCE * 10;
    config.backoff_max = PATIENCE * 10;
    let upstream = Upstream::new(config.cluster(), metrics.worker());
    for _ in 0..20 {
        let status = soon(upstream.call(request(b""))).await.expect_err("not gRPC");
        assert_eq!(status.code, Code::Unavailable, "{status}");
    }
    assert_eq!(metrics.sum(|worker| worker.upstream_connect_failures.value()), 2);
}

#[tokio::test]
async fn a_restarted_backend_is_found_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    // Each connection serves one call and is gone.
    let backend = tokio::spawn(async move {
        for _ in 0..3 {
            let (socket, _) = listener.accept().await.expect("a connection");
            let mut connection = h2::server::handshake(socket).await.expect("HTTP/2");
            let (_, respond) = connection.accept().await.expect("a call").expect("well-formed");
            reply(respond, framed(b""), &[("grpc-status", "0")]);
            connection.graceful_shutdown();
            while connection.accept().await.is_some() {}
        }
    });
    let upstream = upstream(config(address));
    for _ in 0..3 {
        let (_, outcome) = soon(async { collect(upstream.call(request(b"")).await).await }).await;
        outcome.expect("answered, whether or not it met the dying connection");
    }
    soon(backend).await.expect("three connections");
}

#[tokio::test]
async fn connection_loss_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let upstream = upstream(config(listener.local_addr().expect("bound")));
    let (failure, ()) = tokio::join!(soon(upstream.attempt(request(b""))), async {
        let (socket, _) = listener.accept().await.expect("a connection");
        let mut connection = h2::server::handshake(socket).await.expect("HTTP/2");
        let call = connection.accept().await;
        drop((call, connection));
    });
    let failure = failure.expect_err("lost");
    assert_eq!((failure.status.code, failure.is_unsent), (Code::Unavailable, false));
}

#[tokio::test]
async fn goaway_marks_unprocessed_calls_and_moves_new_ones() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let upstream = upstream(config(listener.local_addr().expect("bound")));
    let (closing, closed) = oneshot::channel();
    let backend = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("a connection");
        let mut first = h2::server::handshake(socket).await.expect("HTTP/2");
        let (_, respond) = first.accept().await.expect("a call").expect("well-formed");
        first.graceful_shutdown();
        // Polls until the client has seen both GOAWAY frames; then one call is still open.
        let driver = tokio::spawn(async move { while first.accept().await.is_some() {} });
        let _ = closing.send(());
        let (socket, _) = listener.accept().await.expect("another connection");
        let second = tokio::spawn(serve_connection(
            h2::server::Builder::new(),
            socket,
            serve(|_, respond| async move { reply(respond, framed(b"new"), &[("grpc-status", "0")]) }),
        ));
        (respond, driver, second)
    });
    let first = tokio::spawn({
        let upstream = upstream.clone();
        async move { collect(upstream.call(request(b"")).await).await }
    });
    soon(closed).await.expect("GOAWAY sent");
    // Until the GOAWAY has arrived, a call may still meet the old connection; then it is sent once more.
    let reply_of_new = soon(upstream.call(request(b""))).await;
    assert_eq!(soon(collect(reply_of_new)).await.0, [&b"new"[..]]);
    let (respond, _driver, _second) = soon(backend).await.expect("no panic");
    reply(respond, framed(b"old"), &[("grpc-status", "0")]);
    let (messages, outcome) = soon(first).await.expect("no panic");
    assert_eq!(messages, [&b"old"[..]]);
    outcome.expect("the old call finishes");
}

/// A backend with a stream limit, whose calls end when told.
async fn gated(streams_max: u32) -> (Backend, mpsc::UnboundedReceiver<SendResponse<Bytes>>) {
    let (open, opened) = mpsc::unbounded_channel();
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(streams_max);
    let serve = serve(move |_request, respond| {
        let open = open.clone();
        async move {
            let _ = open.send(respond);
        }
    });
    (Backend::start_with(builder, serve).await, opened)
}

#[tokio::test]
async fn full_connections_open_more_up_to_the_bound_then_calls_queue() {
    let (backend, mut opened) = gated(2).await;
    let metrics = Metrics::new();
    let mut config = backend.config();
    config.connections_max = 2;
    config.queue_calls_max = 1;
    let upstream = Upstream::new(config.cluster(), metrics.worker());
    let spawn_call = || {
        let upstream = upstream.clone();
        tokio::spawn(async move { collect(upstream.call(request(b"")).await).await.1 })
    };
    // The first call teaches the connection the peer's limit.
    let first = spawn_call();
    reply(soon(opened.recv()).await.expect("a call"), framed(b""), &[("grpc-status", "0")]);
    soon(first).await.expect("no panic").expect("answered");

    let mut calls: Vec<_> = Vec::new();
    let mut responds = Vec::new();
    for _ in 0..4 {
        calls.push(spawn_call());
        responds.push(soon(opened.recv()).await.expect("a call"));
    }
    assert_eq!(backend.connections.load(Ordering::SeqCst), 2);
    // A fifth waits, a sixth finds the queue full.
    let fifth = spawn_call();
    while metrics.sum(|worker| worker.upstream_calls_open.value()) < 5 {
        tokio::task::yield_now().await;
    }
    let sixth = soon(upstream.call(request(b""))).await.expect_err("the queue is full");
    assert_eq!((sixth.code, &*sixth.message), (Code::Unavailable, "too many calls wait for the backend"));
    assert!(opened.try_recv().is_err());
    for respond in responds {
        reply(respond, framed(b""), &[("grpc-status", "0")]);
    }
    reply(soon(opened.recv()).await.expect("the fifth"), framed(b""), &[("grpc-status", "0")]);
    for call in calls.into_iter().chain([fifth]) {
        soon(call).await.expect("no panic").expect("answered");
    }
    assert_eq!(backend.connections.load(Ordering::SeqCst), 2);
    assert_eq!(metrics.sum(|worker| worker.upstream_queue_refused.value()), 1);
    assert_eq!(metrics.sum(|worker| worker.upstream_calls_open.value()), 0);
}

#[tokio::test]
async fn a_slow_reader_slows_the_backend() {
    let (sent, mut progress) = mpsc::unbounded_channel();
    let backend = Backend::start(serve(move |_request, mut respond| {
        let sent = sent.clone();
        async move {
            let mut body = respond.send_response(head(GRPC), false).expect("open");
            let chunk = framed(&[0; 16_379]);
            for _ in 0..64 {
                body.reserve_capacity(chunk.len());
                while body.capacity() < chunk.len() {
                    std::future::poll_fn(|cx| body.poll_capacity(cx)).await.expect("open").expect("open");
                }
                body.send_data(chunk.clone(), false).expect("open");
                let _ = sent.send(());
            }
            body.send_trailers(headers(&[("grpc-status", "0")])).expect("open");
        }
    }))
    .await;
    let mut config = backend.config();
    config.stream_window_bytes = 65_535;
    let mut reply = soon(upstream(config).call(request(b""))).await.expect("a head");
    // Four frames of 16 KiB do not quite fit the window of 64 KiB less one byte.
    for _ in 0..3 {
        soon(progress.recv()).await.expect("sending");
    }
    // Can only pass too early, never fail too early: what must not come has a while to come.
    assert!(tokio::time::timeout(Duration::from_millis(50), progress.recv()).await.is_err());
    let mut count = 0;
    while let Some(message) = soon(reply.messages.next()).await {
        message.expect("a message");
        count += 1;
    }
    assert_eq!(count, 64);
}

/// A request stream fed by a channel.
pub(crate) struct Fed(pub(crate) mpsc::UnboundedReceiver<Result<Bytes, Status>>);

impl Stream for Fed {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

/// A backend that echoes each DATA at once.
async fn echo() -> Backend {
    Backend::start(serve(|mut request, mut respond| async move {
        let mut body = respond.send_response(head(GRPC), false).expect("open");
        while let Some(Ok(chunk)) = request.body_mut().data().await {
            request.body_mut().flow_control().release_capacity(chunk.len()).expect("received");
            if body.send_data(chunk, false).is_err() {
                return;
            }
        }
        let _ = body.send_trailers(headers(&[("grpc-status", "0")]));
    }))
    .await
}

#[tokio::test]
async fn streams_run_in_both_directions_at_once() {
    let backend = echo().await;
    let (feed, fed) = mpsc::unbounded_channel();
    let mut call = request(b"");
    call.messages = RequestMessages::Stream(Box::pin(Fed(fed)));
    let mut reply = soon(backend.upstream().call(call)).await.expect("a head before any message");
    for text in ["one", "two", "three"] {
        feed.send(Ok(framed(text.as_bytes()))).expect("open");
        assert_eq!(soon(reply.messages.next()).await, Some(Ok(Bytes::from_static(text.as_bytes()))));
    }
    drop(feed);
    assert_eq!(soon(reply.messages.next()).await, None);
}

#[tokio::test]
async fn a_failing_request_stream_is_the_outcome() {
    let backend = echo().await;
    let (feed, fed) = mpsc::unbounded_channel();
    let mut call = request(b"");
    call.messages = RequestMessages::Stream(Box::pin(Fed(fed)));
    let mut reply = soon(backend.upstream().call(call)).await.expect("a head");
    let refusal = Status::client(Code::InvalidArgument, "line 2: not JSON");
    feed.send(Err(refusal.clone())).expect("open");
    assert_eq!(soon(reply.messages.next()).await, Some(Err(refusal)));
    assert_eq!(soon(reply.messages.next()).await, None);
}

#[tokio::test]
async fn the_end_of_the_reply_ends_the_request_stream() {
    let backend = Backend::start(serve(|_request, mut respond| async move {
        let refusal = [("content-type", "application/grpc"), ("grpc-status", "7")];
        respond.send_response(head(&refusal), true).expect("open");
    }))
    .await;
    let (feed, fed) = mpsc::unbounded_channel();
    let mut call = request(b"");
    call.messages = RequestMessages::Stream(Box::pin(Fed(fed)));
    let (_, outcome) = soon(collect(backend.upstream().call(call).await)).await;
    assert_eq!(outcome.expect_err("refused").code, Code::PermissionDenied);
    soon(feed.closed()).await;
}
