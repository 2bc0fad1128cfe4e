//! The gateway as a process: ready when it says so, and gone only when its calls are.

use std::process::Command;
use std::time::Duration;

use ::http::HeaderMap;
use bytes::Bytes;
use tokio::sync::Notify;

use crate::support::backend::{Backend, messages, respond, status};
use crate::support::{Gateway, eventually, http};

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
    let ready = async || {
        let stream = tokio::net::TcpStream::connect(gateway.admin).await;
        match stream {
            Ok(_) => http::send(gateway.admin, http::request("GET", "/readyz"), "").await.status.as_u16(),
            Err(_) => 0,
        }
    };
    assert_eq!(ready().await, 200);
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
    let kill =
        Command::new("kill").args(["-TERM", &gateway.pid().to_string()]).status().expect("`kill` runs");
    assert!(kill.success());
    eventually("the end is announced", async || ready().await == 503).await;
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
    let ended = tokio::time::timeout(Duration::from_secs(10), gateway.exit_code()).await;
    assert_eq!(ended.expect("the process ends with its last call"), Some(0));
}
