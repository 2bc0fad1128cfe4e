//! The gateway as a process: ready when it says so, and gone only when its calls are.

use std::time::{Duration, Instant};

use ::http::HeaderMap;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use transom::demo::Backend as Library;

use crate::support::backend::{Backend, messages, respond, status};
use crate::support::{Gateway, eventually, http, soon};

/// Nothing but an address: types, services and messages are asked from the backend itself.
#[tokio::test]
async fn server_is_served_by_what_it_says_of_itself() {
    let library = Library::start(transom::demo::Library::default()).expect("a free port");
    let url = library.url();
    let gateway = Gateway::start(&["--reflect", &url, "--upstream", &url]).await;
    let answer = http::send(gateway.address, http::request("GET", "/v1/shelves/1/books/1"), "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["name"], "shelves/1/books/1");
    let answer = http::send(gateway.address, http::request("GET", "/v1/shelves/1/books/none"), "").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (404, &5.into()), "{}", answer.text());
}

#[tokio::test]
async fn sigterm_lets_calls_finish() {
    static ARRIVED: Notify = Notify::const_new();
    static ANSWER: Notify = Notify::const_new();
    let backend = Backend::start(async |_| {
        ARRIVED.notify_one();
        ANSWER.notified().await;
        respond(HeaderMap::new(), messages(&[Bytes::from_static(b"\x0a\x01x")], status(0, "")))
    })
    .await;
    let gateway = Gateway::door(&backend, &[]).await;
    assert_eq!(ready(&gateway).await, 200);
    let calls: Vec<_> = (0..2)
        .map(|index| {
            let address = gateway.address;
            tokio::spawn(async move {
                let request = http::request("GET", "/v1/items/7");
                match index {
                    0 => http::send(address, request, "").await,
                    _ => http::send_h2(address, request, "").await,
                }
            })
        })
        .collect();
    ARRIVED.notified().await;
    eventually("both calls are in flight", async || backend.calls() == 2).await;
    gateway.terminate();
    eventually("the end is announced", async || ready(&gateway).await == 503).await;
    eventually("nothing new is accepted", async || {
        tokio::net::TcpStream::connect(gateway.address).await.is_err()
    })
    .await;
    eventually("calls are answered", async || {
        ANSWER.notify_one();
        calls.iter().all(|call| call.is_finished())
    })
    .await;
    for call in calls {
        let answer = call.await.expect("the client lives");
        assert_eq!((answer.status.as_u16(), answer.text()), (200, r#"{"name":"x"}"#));
        assert!(answer.is_complete);
    }
    let mut gateway = gateway;
    // The process ends with its last call.
    assert_eq!(soon(gateway.exit_code()).await, Some(0));
}

/// The number of `/readyz`; 0 where nobody listens.
async fn ready(gateway: &Gateway) -> u16 {
    match tokio::net::TcpStream::connect(gateway.admin).await {
        Ok(_) => http::send(gateway.admin, http::request("GET", "/readyz"), "").await.status.as_u16(),
        Err(_) => 0,
    }
}

#[tokio::test]
async fn calls_that_outlast_the_drain_are_cut_off() {
    let backend = Backend::start(async |_| std::future::pending().await).await;
    let mut gateway = Gateway::configured(&backend, "drain: 100ms", "", "").await;
    let mut client = tokio::net::TcpStream::connect(gateway.address).await.expect("it listens");
    client.write_all(b"GET /v1/items/7 HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("open");
    eventually("the call is in flight", async || backend.calls() == 1).await;
    let started = Instant::now();
    gateway.terminate();
    assert_eq!(soon(gateway.exit_code()).await, Some(0));
    assert!(started.elapsed() < Duration::from_secs(20), "the default of 30 s is not what was written");
    let mut reply = Vec::new();
    let _ = soon(client.read_to_end(&mut reply)).await;
    assert_eq!(reply, b"");
}

#[tokio::test]
async fn the_grace_before_the_drain_still_accepts() {
    let backend = Backend::echo().await;
    let mut gateway = Gateway::configured(&backend, "drain_grace: 1h", "", "").await;
    gateway.terminate();
    eventually("the end is announced", async || ready(&gateway).await == 503).await;
    let answer = http::send(gateway.address, http::request("GET", "/v1/items/7"), "").await;
    assert_eq!(answer.status, 200);
    // A second signal is for those who do not wait.
    gateway.terminate();
    soon(gateway.exit_code()).await;
}
