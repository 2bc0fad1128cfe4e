//! Active health checks, at the real door: who says that it does not serve gets no calls, and who hangs neither.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use transom::policy::health::HealthSettings;
use transom::upstream::{Cluster, UpstreamConfig};

use crate::support::backend::framed;
use crate::support::raw::{Backend, GRPC, Mortal, Serve, endpoint, head, reply, serve};
use crate::support::{Gateway, eventually, http as door, soon};

/// Answers no check.
const HANGS: i32 = -1;

/// A backend that answers calls with its name, has no Watch, and answers checks so; `None`: it has no Check either.
fn checked(name: char, status: Option<(Arc<AtomicI32>, Arc<AtomicUsize>)>) -> Serve {
    let item = framed(&[0x0a, 1, u8::try_from(name).expect("ASCII")]);
    serve(move |request, mut respond| {
        let (status, item) = (status.clone(), item.clone());
        async move {
            let unimplemented = [GRPC[0], ("grpc-status", "12")];
            match (request.uri().path(), status) {
                ("/grpc.health.v1.Health/Check", Some((status, asked))) => {
                    asked.fetch_add(1, Ordering::SeqCst);
                    match status.load(Ordering::SeqCst) {
                        HANGS => std::future::pending().await,
                        status => {
                            let status = u8::try_from(status).expect("small");
                            reply(respond, framed(&[0x08, status]), &[("grpc-status", "0")]);
                        }
                    }
                }
                (path, _) if path.starts_with("/grpc.health") => {
                    respond.send_response(head(&unimplemented), true).expect("open");
                }
                _ => reply(respond, item, &[("grpc-status", "0")]),
            }
        }
    })
}

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

async fn before(endpoints: &[SocketAddr], health: &str) -> Gateway {
    let urls: Vec<_> = endpoints.iter().map(|address| format!("\"http://{address}\"")).collect();
    Gateway::with_file(&format!(
        "services:\n  door:\n    endpoints: {{ static: [{}] }}\n    balance: round-robin\n    slow_start: 0s\n    \
         health: {{ every: 100ms, {health} }}\n",
        urls.join(", ")
    ))
    .await
}

async fn get(gateway: &Gateway) -> String {
    let answer = soon(door::send(gateway.address, door::request("GET", "/v1/items/7"), "")).await;
    answer.json()["name"].as_str().map_or_else(|| answer.status.as_u16().to_string(), str::to_owned)
}

/// Who answers so many calls.
async fn names(gateway: &Gateway, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(get(gateway).await);
    }
    names.sort_unstable();
    names.dedup();
    names
}

async fn state(gateway: &Gateway, place: usize) -> String {
    let stats = soon(door::send(gateway.admin, door::request("GET", "/stats"), "")).await.json();
    stats["endpoints"]["door"][place]["state"].as_str().expect("a state").to_owned()
}

async fn becomes(gateway: &Gateway, place: usize, expected: &str) {
    eventually(expected, async || state(gateway, place).await == expected).await;
}

#[tokio::test]
async fn a_watched_server_is_believed_at_once() {
    let (reporter, service) = tonic_health::server::health_reporter();
    let listener = TcpListener::bind(any()).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let server = Server::builder().add_service(service);
    let server = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    reporter.set_service_status("shop", ServingStatus::NotServing).await;
    // The first has no health service at all, and counts as well.
    let plain = Mortal::start(any(), checked('a', None)).await;
    // Were it a matter of counting, nothing would ever change.
    let health = "grpc: shop, timeout: 30s, unhealthy: 1000, healthy: 1000";
    let gateway = before(&[plain.address, address], health).await;

    becomes(&gateway, 1, "unwell").await;
    assert_eq!(names(&gateway, 10).await, ["a"]);
    let metrics = soon(door::send(gateway.admin, door::request("GET", "/metrics"), "")).await;
    let line = "transom_upstream_endpoints{service=\"door\",state=\"unwell\"} 1";
    assert!(metrics.text().lines().any(|found| found == line), "{}", metrics.text());

    reporter.set_service_status("shop", ServingStatus::Serving).await;
    becomes(&gateway, 1, "usable").await;
    // It serves nothing but its health.
    assert_eq!(names(&gateway, 10).await, ["501", "a"]);
    reporter.set_service_status("shop", ServingStatus::NotServing).await;
    becomes(&gateway, 1, "unwell").await;
    assert_eq!(names(&gateway, 10).await, ["a"]);
    assert_eq!(state(&gateway, 0).await, "usable");
    server.abort();
}

#[tokio::test]
async fn a_server_without_watch_is_asked_every_so_often() {
    let status = Arc::new(AtomicI32::new(1));
    let asked = Arc::new(AtomicUsize::new(0));
    let plain = Mortal::start(any(), checked('a', None)).await;
    let backend = Mortal::start(any(), checked('b', Some((Arc::clone(&status), Arc::clone(&asked))))).await;
    let gateway = before(&[plain.address, backend.address], "timeout: 30s, unhealthy: 2, healthy: 2").await;
    eventually("it is asked", async || asked.load(Ordering::SeqCst) > 2).await;
    assert_eq!(names(&gateway, 10).await, ["a", "b"]);
    // NOT_SERVING, SERVICE_UNKNOWN.
    for bad in [2, 3] {
        let before = asked.load(Ordering::SeqCst);
        status.store(bad, Ordering::SeqCst);
        becomes(&gateway, 1, "unwell").await;
        assert!(asked.load(Ordering::SeqCst) - before >= 2, "once is not enough");
        assert_eq!(names(&gateway, 10).await, ["a"]);
        status.store(1, Ordering::SeqCst);
        becomes(&gateway, 1, "usable").await;
        assert_eq!(names(&gateway, 10).await, ["a", "b"]);
    }
}

#[tokio::test]
async fn an_endpoint_that_hangs_or_is_dead_is_unwell() {
    let status = Arc::new(AtomicI32::new(1));
    let asked = Arc::new(AtomicUsize::new(0));
    let plain = Mortal::start(any(), checked('a', None)).await;
    let serve = checked('b', Some((Arc::clone(&status), asked)));
    let backend = Mortal::start(any(), serve.clone()).await;
    let gateway = before(&[plain.address, backend.address], "timeout: 500ms").await;
    status.store(HANGS, Ordering::SeqCst);
    becomes(&gateway, 1, "unwell").await;
    status.store(1, Ordering::SeqCst);
    becomes(&gateway, 1, "usable").await;
    // No call goes there, and it is found nevertheless.
    let address = backend.kill().await;
    becomes(&gateway, 1, "unwell").await;
    let _backend = Mortal::start(address, serve).await;
    becomes(&gateway, 1, "usable").await;
}

#[tokio::test]
async fn checks_follow_the_list_of_endpoints() {
    let asked = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let start = async |asked: &Arc<AtomicUsize>| {
        Backend::start(checked('a', Some((Arc::new(AtomicI32::new(1)), Arc::clone(asked))))).await
    };
    let [first, second] = [start(&asked[0]).await, start(&asked[1]).await];
    let settings = HealthSettings { every: Duration::from_millis(20), ..HealthSettings::default() };
    let config = UpstreamConfig { health: Some(settings), ..UpstreamConfig::default() };
    let cluster = Cluster::new("api", config.clone(), vec![endpoint(first.address)]);
    cluster.begin_checks(&tokio::runtime::Handle::current());
    // Twice is once.
    cluster.begin_checks(&tokio::runtime::Handle::current());
    let count = |one: usize| asked[one].load(Ordering::SeqCst);
    eventually("the first is asked", async || count(0) > 2).await;
    assert_eq!((count(1), first.connections.load(Ordering::SeqCst)), (0, 1));

    cluster.update(vec![endpoint(second.address)]);
    eventually("the second is asked", async || count(1) > 2).await;
    let before = count(0);
    eventually("the second is asked more", async || count(1) > 6).await;
    assert!(count(0) <= before + 1, "the first is still asked");
    drop(cluster);
    // Another cluster is the clock by which the second would have been asked.
    let before = [count(0), count(1)];
    let cluster = Cluster::new("other", config, vec![endpoint(first.address)]);
    cluster.begin_checks(&tokio::runtime::Handle::current());
    eventually("the first is asked again", async || count(0) > before[0] + 5).await;
    assert!(count(1) <= before[1] + 1, "the second is still asked");
}
