//! `transom demo` as a process of its own: what everybody sees first, on ports from the system.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::soon;

/// The three services and the gateway in front of them; they end with the test.
pub(crate) struct Demo {
    process: Child,
    /// The URLs that it prints, by the first word of their lines.
    urls: HashMap<String, String>,
}

impl Demo {
    pub(crate) async fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_transom"))
            .args(["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log", "warn"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the demo starts");
        let stdout = process.stdout.take().expect("a piped stdout");
        let urls = tokio::task::spawn_blocking(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            // To the end: whoever prints into a closed pipe fails.
            let lines = lines.take_while(|line| !line.starts_with("Ctrl-C"));
            let url = |line: String| {
                let mut words = line.split_whitespace();
                Some((words.next()?.to_owned(), words.find(|word| word.contains("://"))?.to_owned()))
            };
            // Of the lines that begin with `curl` the last one counts, and nobody asks for it.
            lines.filter_map(url).collect()
        });
        let urls = soon(urls).await.expect("the reading thread lives");
        Self { process, urls }
    }

    /// Where clients connect, as a URL without a path.
    pub(crate) fn gateway(&self) -> &str {
        self.url("gateway")
    }

    /// The library behind it.
    pub(crate) fn library(&self) -> &str {
        self.url("library")
    }

    fn url(&self, name: &str) -> &str {
        self.urls.get(name).unwrap_or_else(|| panic!("the demo prints where `{name}` is: {:?}", self.urls))
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([name, &self.process.id().to_string()]).status();
        assert!(kill.expect("`kill` runs").success());
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
