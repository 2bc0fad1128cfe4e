//! Listeners that come, move, change their rules and go while the gateway serves.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Reloading;
use crate::support::backend::Backend;
use crate::support::http as client;
use crate::support::tls::Authority;
use crate::support::{Directory, eventually, soon};

/// An address that was free a moment ago.
async fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("an address")
}

/// The number of a call; 0 where nobody listens, or not for long.
async fn get(address: SocketAddr) -> u16 {
    let reply = async {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(b"GET /v1/items/7 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await?;
        let mut reply = String::new();
        socket.read_to_string(&mut reply).await?;
        std::io::Result::Ok(reply)
    };
    let reply = soon(reply).await.unwrap_or_default();
    reply.split(' ').nth(1).map_or(0, |number| number.parse().expect("a number"))
}

#[tokio::test]
async fn listeners_come_move_and_go() {
    let backend = Backend::echo().await;
    let reloading = Reloading::start(&backend, "listeners: { public: {} }").await;
    let (first, second) = (free().await, free().await);
    let with = |address: SocketAddr, more: &str| {
        format!(
            "listeners: {{ public: {{}}, web: {{ bind: \"{address}\"{more} }} }}\nsurfaces: {{ api: {{ listener: web }} }}"
        )
    };
    reloading.apply(&with(first, "")).await;
    eventually("the new listener serves", async || get(first).await == 200).await;
    assert_eq!(get(reloading.gateway.address).await, 404, "the surface is of the new listener alone");
    let idle = TcpStream::connect(first).await.expect("it listens");
    reloading.apply(&with(second, "")).await;
    eventually("the listener has moved", async || get(second).await == 200).await;
    eventually("its old address is closed", async || get(first).await == 0).await;
    eventually("its old connections end", async || matches!(idle.try_read(&mut [0; 8]), Ok(0))).await;
    // Under the same address by another name: the new socket is there before the old one goes.
    let renamed = with(second, "").replace("web", "site");
    reloading.apply(&renamed).await;
    assert_eq!(get(second).await, 200);
    reloading.apply("listeners: { public: {} }").await;
    eventually("the listener is gone", async || get(second).await == 0).await;
    assert_eq!(get(reloading.gateway.address).await, 200);
}

#[tokio::test]
async fn address_that_is_taken_refuses_the_reload() {
    let backend = Backend::echo().await;
    let reloading = Reloading::start(&backend, "listeners: { public: {} }").await;
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = taken.local_addr().expect("an address");
    reloading.write(&format!(
        "listeners:\n  public: {{}}\n  web: {{ bind: \"{address}\" }}\njson: {{ names: proto }}"
    ));
    let answer = reloading.post().await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    let finding = &answer.json()["findings"][0];
    assert_eq!((&finding["line"], &finding["column"]), (&7.into(), &16.into()), "{finding}");
    assert!(finding["message"].as_str().is_some_and(|text| text.contains("cannot listen")), "{finding}");
    assert_eq!(reloading.page("/config").await.json()["json"]["names"], "json");
}

#[tokio::test]
async fn limits_hold_for_connections_that_begin_after_the_reload() {
    let backend = Backend::echo().await;
    let reloading = Reloading::start(&backend, "listeners: { public: {} }").await;
    let long = format!("/v1/items/{}", "a".repeat(2000));
    let number = async || {
        let request = client::request("GET", &long);
        soon(client::send(reloading.gateway.address, request, "")).await.status.as_u16()
    };
    assert_eq!(number().await, 200);
    reloading.apply("listeners: { public: { limits: { url: 1KiB } } }").await;
    assert_eq!(number().await, 414);
    reloading.apply("listeners: { public: { limits: { url: 8KiB, body: 1KiB } } }").await;
    assert_eq!(number().await, 200);
    let body = format!("{{\"name\":\"{}\"}}", "a".repeat(2000));
    let request = client::request("POST", "/v1/items").header("content-type", "application/json");
    assert_eq!(soon(client::send(reloading.gateway.address, request, body)).await.status, 413);
}

#[tokio::test]
async fn operators_show_another_token_after_the_reload() {
    let backend = Backend::echo().await;
    let reloading = Reloading::start(&backend, "listeners: { public: {} }").await;
    let secret = reloading.directory.path().join("token");
    std::fs::write(&secret, "first\n").expect("writable");
    reloading.apply(&format!("listeners: {{ admin: {{ token: \"file:{}\" }} }}", secret.display())).await;
    assert_eq!(reloading.page("/config").await.status, 401);
    assert_eq!(reloading.post().await.status, 401);
    let post = async |token: &str| {
        let request =
            client::request("POST", "/config/reload").header("authorization", format!("Bearer {token}"));
        soon(client::send(reloading.gateway.admin, request, "")).await
    };
    // The file alone is different, not what names it.
    std::fs::write(&secret, "second\n").expect("writable");
    let answer = post("first").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["result"]), (200, &"applied".into()));
    assert_eq!(post("first").await.status, 401);
    assert_eq!(post("second").await.json()["result"], "unchanged");
}

#[tokio::test]
async fn ends_of_certificates_are_those_of_the_listeners_that_hold() {
    let (backend, files, authority) =
        (Backend::echo().await, Directory::new("tls"), Authority::new("authority"));
    let pair = |name: &str, year: i32| {
        let issued = authority.host_until(&["shop.test"], year);
        let [chain, key] = [("pem", &issued.chain), ("key", &issued.key)].map(|(kind, text)| {
            let path = files.path().join(format!("{name}.{kind}"));
            std::fs::write(&path, text).expect("the directory is writable");
            format!("{:?}", format!("file:{}", path.display()))
        });
        format!("tls: {{ certificates: [{{ cert: {chain}, key: {key} }}] }}")
    };
    let (first, second) = (pair("first", 2090), pair("second", 2100));
    let with = |web: &str| format!("listeners: {{ public: {{}}, web: {{ bind: \"127.0.0.1:0\", {web} }} }}");
    let reloading = Reloading::start(&backend, &with(&first)).await;
    let ends = async || {
        let metrics = reloading.page("/metrics").await.text().to_owned();
        let samples = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("transom_certificate_expiry_timestamp_seconds"));
        samples.map(str::to_owned).collect::<Vec<_>>()
    };
    let of = |end: u64| vec![format!("{{listener=\"web\",name=\"shop.test\"}} {end}")];
    assert_eq!(ends().await, of(3_786_912_000));
    // Refused for another reason: what would have been shown is never served.
    reloading.write(&format!("{}\nsurfaces: {{ web: {{ polices: [] }} }}", with(&second)));
    assert_eq!(reloading.post().await.status, 422);
    assert_eq!(ends().await, of(3_786_912_000));
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = taken.local_addr().expect("an address");
    reloading.write(
        &with(&second).replace("public: {}", &format!("public: {{}}, api: {{ bind: \"{address}\" }}")),
    );
    assert_eq!(reloading.post().await.status, 422, "refused after everything was read");
    assert_eq!(ends().await, of(3_786_912_000));
    reloading.apply(&with(&second)).await;
    assert_eq!(ends().await, of(4_102_444_800));
    reloading.apply(&with("")).await;
    assert_eq!(ends().await, Vec::<String>::new(), "without TLS nothing ends");
}
