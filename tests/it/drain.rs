//! The way out under load: whoever was promised an answer gets it, whatever the client was doing just then.
//!
//! The number of calls a second is small here, for a machine that runs other tests meanwhile; `TRANSOM_DRAIN_CALLS`
//! is for a run of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::server::{Fixture, exchange, fixture, read_reply, read_to_end};
use crate::support::backend::{Backend, Body, channel, framed, messages, respond, status};
use crate::support::{Gateway, eventually, figure, http, soon};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// One worker whose connections are asked to end, and wait `patience` for a last request.
async fn ending(patience: Duration, clients: impl AsyncFnOnce(SocketAddr)) -> Fixture {
    let fixture = fixture(|config| {
        config.workers = 1;
        config.listeners[0].limits.last_request_timeout = patience;
    });
    clients(fixture.address).await;
    fixture.running.shutdown().start().await;
    fixture
}

#[tokio::test]
async fn a_last_request_is_answered_and_closes_its_connection() {
    let mut clients = Vec::new();
    // Longer than a test may take: no connection ends for another reason than its last reply.
    let fixture = ending(Duration::from_secs(3600), async |address| {
        // Silent, in the middle of its first head, and after a reply.
        for said in [&b""[..], b"GET / HT", GET] {
            let mut client = TcpStream::connect(address).await.expect("it listens");
            client.write_all(said).await.expect("open");
            if said == GET {
                read_reply(&mut client, "\r\n\r\n0").await;
            }
            clients.push((client, if said == GET { GET } else { &GET[said.len()..] }));
        }
    })
    .await;
    for (client, rest) in &mut clients {
        client.write_all(rest).await.expect("open");
        let reply = read_to_end(client).await;
        assert!(reply.starts_with("HTTP/1.1 200 ") && reply.contains("connection: close\r\n"), "{reply}");
    }
    soon(fixture.running.stop()).await;
}

#[tokio::test]
async fn nobody_is_reset_who_was_not_accepted_yet() {
    let mut clients = Vec::new();
    let fixture = ending(Duration::from_secs(3600), async |address| {
        for _ in 0..100 {
            let mut client = TcpStream::connect(address).await.expect("the backlog takes it");
            client.write_all(GET).await.expect("open");
            clients.push(client);
        }
    })
    .await;
    for client in &mut clients {
        let reply = read_reply(client, "\r\n\r\n0").await;
        assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    }
    drop(clients);
    soon(fixture.running.stop()).await;
}

#[tokio::test]
async fn a_connection_without_a_last_request_ends() {
    let mut clients = Vec::new();
    let fixture = ending(Duration::from_millis(50), async |address| {
        for said in [&b""[..], GET] {
            let mut client = TcpStream::connect(address).await.expect("it listens");
            client.write_all(said).await.expect("open");
            if said == GET {
                read_reply(&mut client, "\r\n\r\n0").await;
            }
            clients.push(client);
        }
    })
    .await;
    for client in &mut clients {
        assert_eq!(read_to_end(client).await, "");
    }
    soon(fixture.running.stop()).await;
}

#[tokio::test]
async fn clients_are_sent_away_during_the_grace_and_still_served() {
    let fixture = fixture(|config| config.drain_grace = Duration::from_secs(3600));
    let mut kept = TcpStream::connect(fixture.address).await.expect("it listens");
    kept.write_all(GET).await.expect("open");
    assert!(!read_reply(&mut kept, "\r\n\r\n0").await.contains("connection: close"));
    fixture.running.shutdown().announce();
    eventually("new connections are for one reply", async || {
        exchange(fixture.address, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.contains("connection: close")
    })
    .await;
    eventually("the other worker knows", async || {
        let mut client = TcpStream::connect(fixture.address).await.expect("it listens");
        client.write_all(GET).await.expect("open");
        read_reply(&mut client, "\r\n\r\n0").await.contains("connection: close")
    })
    .await;
}

/// Messages of a streamed reply, one each 10 ms.
const STREAMED: usize = 10;

/// Answers unary calls at once and streams slowly.
async fn library() -> Backend {
    Backend::start(async |request| {
        let item = Bytes::from_static(b"\x0a\x01x");
        if !request.uri().path().ends_with("/Watch") {
            return respond(Default::default(), messages(&[item], status(0, "")));
        }
        let (sender, body) = channel();
        tokio::spawn(async move {
            for _ in 0..STREAMED {
                sleep(Duration::from_millis(10)).await;
                let _ = sender.send(Frame::data(framed(&item))).await;
            }
            let _ = sender.send(Frame::trailers(status(0, ""))).await;
        });
        respond(Default::default(), body)
    })
    .await
}

/// How a client calls.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Http1,
    Http2,
    /// A streamed reply over HTTP/1.1.
    Stream,
    /// Many streams at once on a connection over HTTP/2; of these the replies of one message.
    Many,
    /// And those that are streamed.
    ManyStreamed,
}

/// So many streams at once.
const MANY: usize = 20;

/// What all clients count.
#[derive(Debug, Default)]
struct Tally {
    is_over: AtomicBool,
    answered: AtomicUsize,
    lost: Mutex<BTreeMap<String, usize>>,
}

impl Tally {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn lost(&self, kind: Kind, how: String) {
        *self.lost.lock().expect("no panic").entry(format!("{kind:?}: {how}")).or_default() += 1;
    }

    async fn count(&self, kind: Kind, response: ::http::Response<Incoming>) {
        let number = response.status().as_u16();
        match response.into_body().collect().await.map(http_body_util::Collected::to_bytes) {
            Ok(_) if number != 200 => self.lost(kind, number.to_string()),
            Ok(body) => {
                let lines = body.iter().filter(|byte| **byte == b'\n').count();
                if let Kind::Stream | Kind::ManyStreamed = kind
                    && lines != STREAMED
                {
                    return self.lost(kind, format!("{lines} messages"));
                }
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self.lost(kind, format!("in the body: {error:?}")),
        }
    }
}

/// Calls in turn, each on the connection of the one before while it is good for another; over when nobody listens.
async fn call(address: SocketAddr, kind: Kind, every: Duration, tally: Arc<Tally>) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !tally.is_over() {
        let Ok(stream) = TcpStream::connect(address).await else { return };
        match kind {
            Kind::Http2 | Kind::Many | Kind::ManyStreamed => {
                let handshake =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
                let Ok((mut sender, connection)) = handshake.await else { continue };
                tokio::spawn(connection);
                while !tally.is_over() && sender.ready().await.is_ok() {
                    ticks.tick().await;
                    let mut streams = JoinSet::new();
                    let kinds = match kind {
                        Kind::Http2 => vec![kind],
                        _ => [Kind::Many, Kind::ManyStreamed].repeat(MANY / 2),
                    };
                    for kind in kinds {
                        streams.spawn(open_stream(sender.clone(), kind, Arc::clone(&tally)));
                    }
                    if streams.join_all().await.contains(&false) {
                        break;
                    }
                }
            }
            Kind::Http1 | Kind::Stream => {
                let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
                let Ok((mut sender, connection)) = handshake.await else { continue };
                tokio::spawn(connection);
                let target = if let Kind::Stream = kind { "/v1/items/7:watch" } else { "/v1/items/7" };
                while !tally.is_over() && sender.ready().await.is_ok() {
                    ticks.tick().await;
                    let mut request = http::empty(target);
                    request.headers_mut().insert("host", ::http::HeaderValue::from_static("gateway.test"));
                    match sender.try_send_request(request).await {
                        Ok(response) => tally.count(kind, response).await,
                        // Given back: it was never sent.
                        Err(error) if error.message().is_some() => break,
                        Err(error) => tally.lost(kind, format!("{:?}", error.error())),
                    }
                }
            }
        }
    }
}

/// One call on a connection over HTTP/2; whether that may be good for another.
async fn open_stream(mut sender: SendRequest<Body>, kind: Kind, tally: Arc<Tally>) -> bool {
    let target = if let Kind::ManyStreamed = kind { "/v1/items/7:watch" } else { "/v1/items/7" };
    match sender.try_send_request(http::empty(target)).await {
        Ok(response) => {
            tally.count(kind, response).await;
            return true;
        }
        Err(error) if error.message().is_some() || was_not_begun(error.error()) => {}
        Err(error) => tally.lost(kind, format!("{:?}", error.error())),
    }
    false
}

/// Whether a call met a GOAWAY that says it was not begun (RFC 9113, section 6.8), for the client to call elsewhere.
fn was_not_begun(error: &hyper::Error) -> bool {
    let error = std::error::Error::source(error).and_then(|error| error.downcast_ref::<h2::Error>());
    error.is_some_and(|error| {
        error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
    })
}

/// Clients of every kind at `address`, with so many calls a second together.
fn load(address: SocketAddr, tally: &Arc<Tally>) -> JoinSet<()> {
    let calls = std::env::var("TRANSOM_DRAIN_CALLS").ok().and_then(|text| text.parse().ok()).unwrap_or(200.0);
    let kinds = [Kind::Http1, Kind::Http2, Kind::Stream, Kind::Http1, Kind::Http2, Kind::Http1];
    let each = 2 * kinds.len();
    let every = Duration::from_secs_f64(each as f64 / calls);
    let one_by_one = kinds.iter().cycle().take(each).map(|kind| (*kind, every));
    // As many calls come at once as others make in turn.
    let at_once = [(Kind::Many, every * 4); 2];
    let clients = one_by_one.chain(at_once);
    clients.map(|(kind, every)| call(address, kind, every, Arc::clone(tally))).collect()
}

fn settle(what: &str, tally: &Tally) {
    let lost = tally.lost.lock().expect("no panic");
    let answered = tally.answered.load(Ordering::Relaxed);
    figure(format_args!("{what}: {answered} answered, {} lost", lost.values().sum::<usize>()));
    assert!(lost.is_empty(), "{lost:?}");
}

async fn answered(tally: &Tally, more: usize) {
    let goal = tally.answered.load(Ordering::Relaxed) + more;
    eventually("calls are answered", async || tally.answered.load(Ordering::Relaxed) >= goal).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_loses_nothing() {
    let backend = library().await;
    for grace in ["0s", "200ms"] {
        let public = format!("drain_grace: {grace}");
        let mut gateway = Gateway::configured(&backend, &public, "", "").await;
        let tally = Arc::new(Tally::default());
        let mut clients = load(gateway.address, &tally);
        answered(&tally, 200).await;
        gateway.terminate();
        while soon(clients.join_next()).await.is_some() {}
        assert_eq!(soon(gateway.exit_code()).await, Some(0));
        settle(&format!("SIGTERM with a grace of {grace}"), &tally);
    }
}

/// Two processes share a port while one takes the place of the other, as in an update without a balancer in front.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_process_takes_over_the_port_and_loses_nothing() {
    let backend = library().await;
    let mut gateway = Gateway::door(&backend, &[]).await;
    let address = gateway.address;
    let tally = Arc::new(Tally::default());
    let mut clients = load(address, &tally);
    for _ in 0..3 {
        answered(&tally, 100).await;
        let next = Gateway::door(&backend, &["--listen", &address.to_string()]).await;
        let mut previous = std::mem::replace(&mut gateway, next);
        previous.terminate();
        assert_eq!(soon(previous.exit_code()).await, Some(0));
    }
    answered(&tally, 100).await;
    assert_eq!(clients.try_join_next().map(|_| "a client met a closed port"), None);
    tally.is_over.store(true, Ordering::Relaxed);
    while soon(clients.join_next()).await.is_some() {}
    settle("three processes in turn on one port", &tally);
}
