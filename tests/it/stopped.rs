//! A backend that is stopped as a process, its sockets open: told soon, nothing piles up, found again.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::metrics::{scrape, value};
use crate::support::{Directory, Gateway, eventually, figure, http, soon};

/// How long the backend stands still.
const STOPPED: Duration = Duration::from_secs(10);

/// `transom demo`, of which only the library behind it is called.
struct Library {
    process: Child,
    url: String,
}

impl Library {
    async fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_transom"))
            .args(["demo", "--listen", "127.0.0.1:0", "--log", "warn"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the demo starts");
        let stdout = process.stdout.take().expect("a piped stdout");
        let url = tokio::task::spawn_blocking(move || {
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            let line = lines.find(|line| line.starts_with("library service"));
            let url = line.and_then(|line| line.split_whitespace().nth(2).map(str::to_owned));
            // Whoever prints into a closed pipe fails.
            lines.by_ref().take_while(|line| !line.starts_with("Ctrl-C")).for_each(drop);
            url
        });
        let url = soon(url).await.expect("the reading thread lives").expect("the demo prints where it is");
        Self { process, url }
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([name, &self.process.id().to_string()]).status();
        assert!(kill.expect("`kill` runs").success());
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_stopped_backend_is_refused_soon_and_found_again() {
    let library = Library::start().await;
    let directory = Directory::new("stopped");
    let file = directory.path().join("transom.yaml");
    let url = &library.url;
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

    library.signal("-STOP");
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

    library.signal("-CONT");
    eventually("served again", async || soon(get()).await.status == 200).await;
    for _ in 0..20 {
        assert_eq!(soon(get()).await.status, 200);
    }
}
