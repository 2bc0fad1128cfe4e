//! Faults over real processes: backends that are killed while they serve, and such that reset and leave all the time.
//!
//! A backend is this binary once more, told by its environment to be one. It ends with its standard input, so none
//! outlives the test, however that ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::metrics::{scrape, value};
use crate::support::backend::{Backend, channel, framed, messages, respond, status};
use crate::support::raw::{self, reply, serve};
use crate::support::{Gateway, eventually, figure, http, soon};

/// Where the backend listens.
const LISTEN: &str = "TRANSOM_TEST_BACKEND";

#[test]
#[ignore = "a process of the tests beside it"]
fn a_backend_of_its_own() {
    let Ok(address) = std::env::var(LISTEN) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let backend = Backend::start_at(address.parse().expect("an address"), answer).await;
        writeln!(std::io::stdout(), "\nlistening {}", backend.address).expect("the test reads");
        let parent = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        let _ = parent.await;
    });
}

/// Answers at once; streams without an end.
async fn answer(request: ::http::Request<Incoming>) -> ::http::Response<crate::support::backend::Body> {
    let item = Bytes::from_static(b"\x0a\x01x");
    if !request.uri().path().ends_with("/Watch") {
        return respond(Default::default(), messages(&[item], status(0, "")));
    }
    let (sender, body) = channel();
    tokio::spawn(async move {
        while sender.send(Frame::data(framed(&item))).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    respond(Default::default(), body)
}

/// [`a_backend_of_its_own`].
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    async fn start_at(address: SocketAddr) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["killed::a_backend_of_its_own", "--exact", "--ignored", "--nocapture"])
            .env(LISTEN, address.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary runs");
        let stdout = child.stdout.take().expect("a piped stdout");
        let address = tokio::task::spawn_blocking(move || {
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            let address = lines.find_map(|line| line.strip_prefix("listening ")?.parse().ok());
            address.expect("the backend prints where it is")
        });
        Self { address: soon(address).await.expect("the reading thread lives"), child }
    }

    /// SIGKILL; nobody listens at the address when this returns.
    fn kill(mut self) -> SocketAddr {
        self.end();
        self.address
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

async fn before(endpoints: &[SocketAddr], service: &str) -> Gateway {
    let urls: Vec<_> = endpoints.iter().map(|address| format!("\"http://{address}\"")).collect();
    let endpoints = format!("endpoints: {{ static: [{}] }}", urls.join(", "));
    Gateway::with_file(&format!("services: {{ door: {{ {endpoints}, {service} }} }}")).await
}

async fn get(address: SocketAddr) -> http::Answer {
    soon(http::send(address, http::request("GET", "/v1/items/7"), "")).await
}

/// How calls ended: their numbers, with the reason of a refusal.
type Tally = BTreeMap<String, usize>;

fn outcome(answer: &http::Answer) -> String {
    let reason = &answer.json()["details"][0]["reason"];
    let number = answer.status.as_u16();
    reason.as_str().map_or_else(|| number.to_string(), |reason| format!("{number} {reason}"))
}

/// So many calls, so many of them at once, over HTTP/1.1 and HTTP/2 in turn.
async fn calls(gateway: &Gateway, count: usize, at_once: usize) -> Tally {
    let address = gateway.address;
    let left = Arc::new(AtomicUsize::new(count));
    let mut clients = JoinSet::new();
    for client in 0..at_once {
        let left = Arc::clone(&left);
        clients.spawn(async move {
            let mut tally = Tally::new();
            let mut connection = if client % 2 == 0 { Some(http::connect_h2(address).await) } else { None };
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
            {
                let answer = match &mut connection {
                    Some(sender) => {
                        let response = soon(sender.send_request(http::empty("/v1/items/7"))).await;
                        http::read(response.expect("the gateway answers")).await
                    }
                    None => get(address).await,
                };
                *tally.entry(outcome(&answer)).or_default() += 1;
            }
            tally
        });
    }
    let mut whole = Tally::new();
    while let Some(tally) = soon(clients.join_next()).await {
        for (outcome, count) in tally.expect("no panic") {
            *whole.entry(outcome).or_default() += count;
        }
    }
    whole
}

async fn sample(gateway: &Gateway, name: &str) -> f64 {
    value(&scrape(gateway).await, name).unwrap_or_else(|| panic!("no {name}"))
}

#[tokio::test]
async fn streams_of_a_killed_backend_end_with_an_error_and_the_next_call_finds_it_again() {
    const STREAMS: usize = 20;
    let backend = Process::start().await;
    let gateway = before(&[backend.address], "").await;
    let mut streams = JoinSet::new();
    let (has_begun, mut begun) = tokio::sync::mpsc::channel::<()>(1);
    for index in 0..STREAMS {
        let has_begun = has_begun.clone();
        let address = gateway.address;
        streams.spawn(async move {
            let request = http::request("GET", "/v1/items/7:watch");
            let response = match index % 2 {
                0 => http::open(address, request, "").await,
                _ => http::open_h2(address, request, crate::support::backend::nothing()).await,
            };
            let mut body = response.into_body();
            let mut text = String::new();
            let mut has_begun = Some(has_begun);
            loop {
                match body.frame().await {
                    Some(Ok(frame)) => {
                        let data = frame.into_data().unwrap_or_default();
                        text.push_str(std::str::from_utf8(&data).expect("JSON"));
                        drop(has_begun.take());
                    }
                    Some(Err(_)) => return (text, false),
                    None => return (text, true),
                }
            }
        });
    }
    drop(has_begun);
    assert_eq!(soon(begun.recv()).await, None, "each has dropped its end at its first message");
    let address = backend.kill();
    let killed = Instant::now();
    while let Some(ended) = soon(streams.join_next()).await {
        let (text, is_clean) = ended.expect("no panic");
        let last = text.lines().last().unwrap_or_default();
        assert!(last.contains("\"error\":{\"code\":14"), "{last}");
        assert!(!is_clean, "a client must not take the part for the whole");
    }
    figure(format_args!("{STREAMS} streams told of the backend's end {:?} after SIGKILL", killed.elapsed()));
    assert_eq!(outcome(&get(gateway.address).await), "503 BACKEND_UNREACHABLE");
    eventually("no call is there any more", async || {
        sample(&gateway, "transom_upstream_calls_open").await == 0.0
    })
    .await;
    let _backend = Process::start_at(address).await;
    eventually("the backend is found again", async || get(gateway.address).await.status == 200).await;
}

#[tokio::test]
async fn one_of_three_killed_costs_no_call_that_may_run_twice() {
    let (a, b, c) = tokio::join!(Process::start(), Process::start(), Process::start());
    let gateway = Arc::new(
        before(&[a.address, b.address, c.address], "retry: {}, slow_start: 0s, balance: round-robin").await,
    );
    let load = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { calls(&gateway, 2000, 8).await }
    });
    let endpoint = |address| {
        format!("transom_upstream_endpoint_calls_total{{service=\"door\",endpoint=\"http://{address}\"}}")
    };
    let is_used = async || sample(&gateway, &endpoint(c.address)).await > 50.0;
    eventually("calls go to the third", is_used).await;
    let address = c.kill();
    let tally = load.await.expect("no panic");
    figure(format_args!("2000 GETs, one of three backends killed among them: {tally:?}"));
    assert_eq!(tally, Tally::from([("200".to_owned(), 2000)]));
    let before = sample(&gateway, &endpoint(address)).await;
    let _c = Process::start_at(address).await;
    eventually("the third serves again", async || {
        get(gateway.address).await;
        sample(&gateway, &endpoint(address)).await > before
    })
    .await;
}

#[tokio::test]
async fn all_killed_is_told_at_once_and_nothing_piles_up() {
    const AT_ONCE: usize = 50;
    let backends = tokio::join!(Process::start(), Process::start(), Process::start());
    let backends = [backends.0, backends.1, backends.2];
    let gateway = before(&backends.each_ref().map(|backend| backend.address), "").await;
    assert_eq!(get(gateway.address).await.status, 200);
    drop(backends);
    calls(&gateway, 20, 1).await;
    let started = Instant::now();
    let mut calling = std::pin::pin!(calls(&gateway, 1000, AT_ONCE));
    let mut open_max = 0.0_f64;
    let tally = loop {
        tokio::select! {
            tally = &mut calling => break tally,
            open = sample(&gateway, "transom_upstream_calls_open") => open_max = open_max.max(open),
        }
    };
    let took = started.elapsed();
    figure(format_args!(
        "1000 calls, {AT_ONCE} at once, all backends killed: {tally:?} in {took:?}, {open_max} open at most"
    ));
    assert_eq!(tally, Tally::from([("503 BACKEND_UNREACHABLE".to_owned(), 1000)]));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(open_max <= AT_ONCE as f64, "{open_max}");
    eventually("no call is there any more", async || {
        sample(&gateway, "transom_upstream_calls_open").await == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_storm_of_resets_costs_the_calls_that_are_reset_and_no_connection() {
    const STORM: usize = 2000;
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let backend = raw::Backend::start(serve(move |_request, mut respond| {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            match call % 4 {
                0 => respond.send_reset(Reason::INTERNAL_ERROR),
                1 => respond.send_reset(Reason::ENHANCE_YOUR_CALM),
                2 => respond.send_reset(Reason::CANCEL),
                _ => reply(respond, framed(b"\x0a\x01x"), &[("grpc-status", "0")]),
            }
        }
    }))
    .await;
    let gateway = before(&[backend.address], "").await;
    let tally = calls(&gateway, STORM, 8).await;
    let connections = backend.connections.load(Ordering::Relaxed);
    figure(format_args!("{STORM} calls, 3 of 4 reset: {tally:?} over {connections} connections"));
    assert_eq!((tally.values().sum::<usize>(), seen.load(Ordering::Relaxed)), (STORM, STORM));
    assert_eq!(tally.get("200"), Some(&(STORM / 4)), "{tally:?}");
    assert!(connections <= 2, "one a worker, not {connections}");
}

#[tokio::test]
async fn a_storm_of_goaways_costs_connections_and_no_call() {
    const STORM: usize = 1000;
    const EACH: usize = 5;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (calls_seen, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&calls_seen), Arc::clone(&connections));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            counts.1.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(goaway_after(EACH, socket, Arc::clone(&counts.0)));
        }
    });
    let gateway = before(&[address], "").await;
    let tally = calls(&gateway, STORM, 8).await;
    let (seen, connections) = (calls_seen.load(Ordering::Relaxed), connections.load(Ordering::Relaxed));
    figure(format_args!(
        "{STORM} calls, GOAWAY after {EACH}: {tally:?}, {seen} served, {connections} connections"
    ));
    assert_eq!(tally, Tally::from([("200".to_owned(), STORM)]));
    assert_eq!(seen, STORM, "none is made twice");
    assert!(connections >= STORM / EACH / 8, "{connections}");
}

/// Serves so many calls and says in two steps that it ends (RFC 9113, section 6.8).
async fn goaway_after(count: usize, socket: TcpStream, seen: Arc<AtomicUsize>) {
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    let mut calls = 0;
    while let Some(Ok((_request, respond))) = connection.accept().await {
        seen.fetch_add(1, Ordering::Relaxed);
        reply(respond, framed(b"\x0a\x01x"), &[("grpc-status", "0")]);
        calls += 1;
        if calls == count {
            connection.graceful_shutdown();
        }
    }
}
