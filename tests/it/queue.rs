//! Calls that wait for a stream to the backend: in which order they are served, by what, and which do not wait.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::HeaderMap;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use transom::status::{Code, Status};
use transom::telemetry::{Metrics, WorkerMetrics};
use transom::upstream::{Cluster, Upstream, UpstreamConfig};

use crate::support::backend::framed;
use crate::support::raw::{
    Backend, Serve, collect, config, endpoint, read_all, reply, request, serve, serve_connection, upstream,
};
use crate::support::{PATIENCE, soon};

/// What a call has sent, and how it is answered.
type Arrival = (Vec<u8>, SendResponse<Bytes>);

/// Tells every call that comes, and answers none.
fn telling(arrivals: mpsc::UnboundedSender<Arrival>) -> Serve {
    serve(move |mut request, respond| {
        let arrivals = arrivals.clone();
        async move {
            let body = read_all(request.body_mut()).await;
            let _ = arrivals.send((body, respond));
        }
    })
}

fn answering() -> Serve {
    serve(|_request, respond| async move { reply(respond, framed(b""), &[("grpc-status", "0")]) })
}

type Outcome = Result<HeaderMap, Status>;

type Call = Pin<Box<dyn Future<Output = Outcome> + Send>>;

fn call(upstream: &Upstream, message: &'static [u8]) -> Call {
    let upstream = upstream.clone();
    Box::pin(async move { collect(upstream.call(request(message)).await).await.1 })
}

/// Goes as far as it goes at once, which must not be the end.
async fn begin(call: &mut Call) {
    std::future::poll_fn(|cx| {
        assert!(call.as_mut().poll(cx).is_pending(), "nobody answers");
        Poll::Ready(())
    })
    .await;
}

/// Goes until it is with the backend, where it stays.
async fn reaches(call: &mut Call, arrived: &mut mpsc::UnboundedReceiver<Arrival>) -> Arrival {
    tokio::select! {
        outcome = call => panic!("nobody answers: {outcome:?}"),
        arrival = soon(arrived.recv()) => arrival.expect("a call"),
    }
}

/// One connection of one stream, which the backend has told, and whatever arrives there.
async fn narrow() -> (Upstream, mpsc::UnboundedReceiver<Arrival>) {
    let (arrivals, mut arrived) = mpsc::unbounded_channel();
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(1);
    let backend = Backend::start_with(builder, telling(arrivals)).await;
    let mut config = backend.config();
    config.connections_max = 1;
    let upstream = upstream(config);
    let first = tokio::spawn(call(&upstream, b"first"));
    arrives(&mut arrived, b"first").await;
    soon(first).await.expect("no panic").expect("answered");
    (upstream, arrived)
}

/// The next call is this one, and is answered.
async fn arrives(arrived: &mut mpsc::UnboundedReceiver<Arrival>, message: &[u8]) {
    let (seen, respond) = soon(arrived.recv()).await.expect("a call");
    assert_eq!(seen, framed(message), "{}", seen.escape_ascii());
    reply(respond, framed(b""), &[("grpc-status", "0")]);
}

#[tokio::test]
async fn who_waits_is_served_before_who_comes() {
    let (upstream, mut arrived) = narrow().await;
    let [mut a, mut b, mut c] = [b"a", b"b", b"c"].map(|message| call(&upstream, message));
    let _unanswered = reaches(&mut a, &mut arrived).await;
    begin(&mut b).await;
    drop(a);
    begin(&mut c).await;
    let calls = [b, c].map(tokio::spawn);
    arrives(&mut arrived, b"b").await;
    arrives(&mut arrived, b"c").await;
    for call in calls {
        soon(call).await.expect("no panic").expect("answered");
    }
}

#[tokio::test]
async fn who_gives_up_is_passed_over() {
    for is_handed in [false, true] {
        let (upstream, mut arrived) = narrow().await;
        let [mut a, mut b, mut c] = [b"a", b"b", b"c"].map(|message| call(&upstream, message));
        let _unanswered = reaches(&mut a, &mut arrived).await;
        begin(&mut b).await;
        begin(&mut c).await;
        // What has been handed to a call that goes before it looks is handed on.
        let order = if is_handed { [a, b] } else { [b, a] };
        drop(order);
        let c = tokio::spawn(c);
        arrives(&mut arrived, b"c").await;
        soon(c).await.expect("no panic").expect("answered");
    }
}

#[tokio::test]
async fn more_streams_than_were_thought_serve_all_who_wait() {
    const CALLS: u64 = 150;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let metrics = Metrics::new();
    let mut config = config(listener.local_addr().expect("bound"));
    config.connections_max = 1;
    let cluster = config.cluster();
    let upstream = Upstream::new(cluster.clone(), metrics.worker());
    let _calls: Vec<_> = (0..CALLS).map(|_| tokio::spawn(call(&upstream, b""))).collect();
    let (socket, _) = soon(listener.accept()).await.expect("a connection");
    // Without SETTINGS, a hundred streams are all that the backend is known to allow.
    soon(async {
        let opened = || metrics.sum(|worker| worker.upstream_calls_open.value());
        while opened() < CALLS || cluster.seen().endpoints[0].connections == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (arrivals, mut arrived) = mpsc::unbounded_channel();
    tokio::spawn(serve_connection(h2::server::Builder::new(), socket, telling(arrivals)));
    let mut responds = Vec::new();
    for _ in 0..CALLS {
        responds.push(soon(arrived.recv()).await.expect("a call"));
    }
}

#[tokio::test]
async fn a_full_connection_that_takes_no_more_calls_gives_way_to_another() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut config = config(listener.local_addr().expect("bound"));
    config.connections_max = 1;
    let upstream = upstream(config);
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(1);
    let endless = tokio::spawn(call(&upstream, b"endless"));
    let (socket, _) = soon(listener.accept()).await.expect("a connection");
    let mut connection = soon(builder.handshake::<_, Bytes>(socket)).await.expect("HTTP/2");
    let (_request, _respond) = soon(connection.accept()).await.expect("a call").expect("well-formed");
    let mut next = call(&upstream, b"next");
    begin(&mut next).await;
    connection.graceful_shutdown();
    let going = tokio::spawn(async move { while connection.accept().await.is_some() {} });
    let next = tokio::spawn(next);
    let (socket, _) = soon(listener.accept()).await.expect("another connection");
    tokio::spawn(serve_connection(h2::server::Builder::new(), socket, answering()));
    soon(next).await.expect("no panic").expect("answered");
    assert!(!endless.is_finished() && !going.is_finished());
}

/// The reason of an endpoint that was given up at once.
async fn unreachable(upstream: &Upstream) {
    let status = soon(upstream.call(request(b""))).await.expect_err("nobody is there");
    assert_eq!((status.code, status.reason()), (Code::Unavailable, Some("BACKEND_UNREACHABLE")));
}

#[tokio::test]
async fn one_call_waits_for_an_endpoint_that_could_not_be_reached() {
    // It has its port and does not listen: connections are refused.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let mut config = config(socket.local_addr().expect("bound"));
    config.connect_timeout = PATIENCE * 100;
    let address = config.address;
    let upstream = upstream(config);
    unreachable(&upstream).await;
    // Whoever knocks while one is in the queue of the socket is not heard.
    let listener = socket.listen(0).expect("its port");
    let _first = TcpStream::connect(address).await.expect("there is room for one");
    let mut scout = call(&upstream, b"");
    begin(&mut scout).await;
    for _ in 0..50 {
        unreachable(&upstream).await;
    }
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve_connection(h2::server::Builder::new(), socket, answering()));
        }
    });
    soon(scout).await.expect("answered");
    soon(call(&upstream, b"")).await.expect("answered");
}

#[tokio::test]
async fn who_has_a_connection_tried_waits_for_it() {
    let sockets = [(); 2].map(|()| TcpSocket::new_v4().expect("a socket"));
    for socket in &sockets {
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    }
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().expect("bound"));
    // It may be tried again at once, by a probe that the next call begins.
    let none = Duration::ZERO;
    let config = UpstreamConfig { backoff_min: none, backoff_max: none, ..UpstreamConfig::default() };
    let cluster = Cluster::new("api", config, addresses.map(endpoint).into());
    let upstream = Upstream::new(cluster, Arc::new(WorkerMetrics::default()));
    unreachable(&upstream).await;
    for socket in sockets {
        let listener = socket.listen(64).expect("its port");
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve_connection(h2::server::Builder::new(), socket, answering()));
            }
        });
    }
    soon(call(&upstream, b"")).await.expect("answered");
}
