//! A backend that is stopped as a process, its sockets open: told soon, nothing piles up, found again.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::metrics::{scrape, value};
use crate::support::demo::Demo;
use crate::support::{Directory, Gateway, eventually, figure, http, soon};

/// How long the backend stands still.
const STOPPED: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_stopped_backend_is_refused_soon_and_found_again() {
    // Of which only the library is called.
    let demo = Demo::start().await;
    let directory = Directory::new("stopped");
    let file = directory.path().join("transom.yaml");
    let url = demo.library();
    let text = format!(
        "version: 1\n\
         descriptors: [{{ reflect: {url:?} }}]\n\
         services:\n  library:\n    endpoints: {{ static: [{url:?}] }}\n    timeout: 500ms\n    \
         breaker: {{ consecutive: 3, open: 1s..2s }}\n"
    );
    std::fs::write(&file, text).expect("a configuration file");
    let gateway = Gateway::start(&["--config", file.to_str().expect("a path in UTF-8")]).await;
    let address = gateway.address;
    let get = move || http::send(address, http::request("GET", "/v1/shelves/1/books/1"), "");
    assert_eq!(soon(get()).await.status, 200);

    demo.signal("-STOP");
    let stopped = Instant::now();
    for _ in 0..3 {
        assert_eq!(soon(get()).await.status, 504);
    }
    let (mut refused, mut late) = (0, 0);
    // Not as fast as can be: each call has a connection of its own, and a client has only so many ports.
    let mut rounds = tokio::time::interval(Duration::from_millis(250));
    while stopped.elapsed() < STOPPED {
        rounds.tick().await;
        let mut calls = JoinSet::new();
        for _ in 0..200 {
            calls.spawn(get());
        }
        while let Some(answer) = soon(calls.join_next()).await {
            let answer = answer.expect("no panic");
            match answer.status.as_u16() {
                503 if answer.text().contains("BREAKER_OPEN") => refused += 1,
                // Probes.
                504 => late += 1,
                other => panic!("{other}: {}", answer.text()),
            }
        }
    }
    figure(format_args!("{refused} calls refused and {late} late in {:?} since SIGSTOP", stopped.elapsed()));
    assert!(late <= 20, "{late} calls have waited");
    assert!(refused >= 200 - late, "{refused} calls were refused");
    // But for a probe.
    let open = async || value(&scrape(&gateway).await, "transom_upstream_calls_open").expect("a gauge");
    eventually("no call is there any more", async || open().await <= 1.0).await;

    demo.signal("-CONT");
    eventually("served again", async || soon(get()).await.status == 200).await;
    for _ in 0..20 {
        assert_eq!(soon(get()).await.status, 200);
    }
}
