//! A Redis of the test's own, on a port from the system; it ends with the test.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running `redis-server`.
pub(crate) struct Redis {
    pub(crate) port: u16,
    process: Option<Child>,
}

impl Redis {
    /// Starts one; `None`, and the test is skipped, where there is no `redis-server`.
    pub(crate) fn start() -> Option<Self> {
        if !super::require("redis-server", Command::new("redis-server").arg("--version")) {
            return None;
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        drop(listener);
        let mut redis = Self { port, process: None };
        redis.run();
        Some(redis)
    }

    /// Starts it again after [`stop`](Self::stop), with nothing in it.
    pub(crate) fn run(&mut self) {
        let port = self.port.to_string();
        let quiet = ["--save", "", "--appendonly", "no", "--loglevel", "warning"];
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port])
            .args(quiet)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        self.process = Some(process);
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.connect().is_none() {
            assert!(Instant::now() < deadline, "redis-server does not answer on port {port}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it: its port is free, and what was in it is gone.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// It keeps its connections and answers nothing any more.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.process.as_ref().expect("a running server").id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill runs").success());
    }

    /// Runs a command and gives its answer.
    pub(crate) fn query<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut self.connect().expect("a running server")).expect("an answer")
    }

    /// As [`query`](Self::query), of a server that wants this password.
    pub(crate) fn query_as<T: redis::FromRedisValue>(&self, password: &str, words: &[&str]) -> T {
        let client = redis::Client::open(format!("redis://:{password}@127.0.0.1:{}/", self.port));
        let mut connection = client.expect("a URL").get_connection().expect("a running server");
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection).expect("an answer")
    }

    /// How often scripts were called since the start.
    pub(crate) fn calls(&self) -> u64 {
        let text: String = self.query(&["INFO", "commandstats"]);
        let line = text.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
    }

    fn connect(&self) -> Option<redis::Connection> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/", self.port)).expect("a URL");
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(1)).ok()?;
        redis::cmd("PING").query::<String>(&mut connection).ok()?;
        Some(connection)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
