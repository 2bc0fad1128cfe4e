//! What the tests at the real doors share: a running gateway, a client, programs and files from outside.

pub(crate) mod backend;
pub(crate) mod bombs;
pub(crate) mod chromium;
pub(crate) mod demo;
pub(crate) mod http;
pub(crate) mod mmdb;
pub(crate) mod raw;
pub(crate) mod redis;
pub(crate) mod tls;
pub(crate) mod token;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use transom::config::finding::Finding;
use transom::config::{Config, Elsewhere};

/// `1` where every program must be there: then what is missing fails instead of being skipped.
const REQUIRE_TOOLS: &str = "TRANSOM_REQUIRE_TOOLS";

/// Whether a program that a test needs can be run; says so when the test is skipped for lack of it.
pub(crate) fn require(program: &str, probe: &mut Command) -> bool {
    let found =
        probe.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !found {
        missing(format_args!("`{program}` cannot be run on this machine"));
    }
    found
}

/// A program is missing: the test fails where it is required, and is skipped elsewhere.
pub(crate) fn missing(reason: impl std::fmt::Display) {
    assert!(!requires_tools(), "required by {REQUIRE_TOOLS}: {reason}");
    skipped(reason);
}

pub(crate) fn requires_tools() -> bool {
    std::env::var_os(REQUIRE_TOOLS).is_some_and(|value| value == "1")
}

/// A file of the folder of shared inputs beside the repository; says so when there is none.
pub(crate) fn shared(file: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(file);
    if path.exists() {
        return Some(path);
    }
    skipped(format_args!("`../shared/{file}` does not exist beside the repository"));
    None
}

/// Tells a figure that a test has measured, whether it passes or not.
pub(crate) fn figure(text: impl std::fmt::Display) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "figure: {test}: {text}");
}

/// Says that a test is left out. Not by `eprintln!`, which is shown only when a test fails.
fn skipped(reason: impl std::fmt::Display) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {reason}");
}

/// `transom serve` as a process of its own, on ports from the system; it ends with the test.
pub(crate) struct Gateway {
    /// The first public listener.
    pub(crate) address: SocketAddr,
    /// All of them, by the names that the gateway prints.
    pub(crate) addresses: Vec<(String, SocketAddr)>,
    pub(crate) admin: SocketAddr,
    process: Child,
}

impl Gateway {
    /// Starts `transom serve` with `arguments` and waits until it listens.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_transom")), "warn", arguments).await
    }

    /// [`start`](Self::start), with everything that is logged in `log`.
    pub(crate) async fn start_logging(log: std::fs::File, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_transom"));
        command.stderr(log);
        Self::spawn(command, "debug", arguments).await
    }

    /// [`start`](Self::start), in an environment with this variable.
    pub(crate) async fn start_with_variable(variable: (&str, PathBuf), arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_transom"));
        command.env(variable.0, variable.1);
        Self::spawn(command, "warn", arguments).await
    }

    /// [`start`](Self::start), in a process that may have so many files and sockets open.
    pub(crate) async fn start_with_descriptors(count: usize, arguments: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -n {count} && exec \"$0\" \"$@\"");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_transom")]);
        Self::spawn(shell, "warn", arguments).await
    }

    async fn spawn(mut command: Command, level: &str, arguments: &[&str]) -> Self {
        command.args(["serve", "--admin", "127.0.0.1:0", "--workers", "2", "--log", level]);
        if !arguments.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut process = command
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the gateway starts");
        let stdout = process.stdout.take().expect("a piped stdout");
        let addresses = tokio::task::spawn_blocking(move || {
            let mut addresses = Vec::new();
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Some((name, url)) = line.split_once(' ') else { continue };
                let Some((_, address)) = url.rsplit_once("://") else { continue };
                addresses.push((name.to_owned(), address.trim().parse().expect("an address")));
                if name == "admin" {
                    break;
                }
            }
            addresses
        });
        let mut addresses: Vec<(String, SocketAddr)> = addresses.await.expect("the reading thread lives");
        let (_, admin) = addresses.pop().expect("the gateway prints where it listens");
        let (_, address) = *addresses.first().expect("the gateway has a public listener");
        Self { address, addresses, admin, process }
    }

    /// In front of `backend`, with the routes of `tests/data/door.proto`.
    pub(crate) async fn door(backend: &backend::Backend, arguments: &[&str]) -> Self {
        let url = backend.url();
        let sources = ["--proto", "tests/data/door.proto", "--upstream", url.as_str()];
        Self::start(&[&sources, arguments].concat()).await
    }

    /// As [`door`](Self::door), by a configuration file with these keys of the public listener and of the
    /// service, and these sections.
    pub(crate) async fn configured(
        backend: &backend::Backend,
        public: &str,
        service: &str,
        rest: &str,
    ) -> Self {
        Self::in_front_of(backend.address, public, service, rest).await
    }

    /// As [`configured`](Self::configured), whatever listens at `backend`.
    pub(crate) async fn in_front_of(backend: SocketAddr, public: &str, service: &str, rest: &str) -> Self {
        let url = format!("http://{backend}");
        Self::with_file(&format!(
            "listeners: {{ public: {{ {public} }} }}\n\
             services: {{ door: {{ endpoints: {{ static: [{url:?}] }}, {service} }} }}\n\
             {rest}\n"
        ))
        .await
    }

    /// With the routes of `tests/data/door.proto` and a configuration file of these sections.
    pub(crate) async fn with_file(sections: &str) -> Self {
        let directory = Directory::new("configuration");
        let file = directory.path().join("transom.yaml");
        let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/door.proto");
        let text = format!("version: 1\ndescriptors: [{{ proto: {proto:?} }}]\n{sections}");
        std::fs::write(&file, text).expect("a configuration file");
        Self::start(&["--config", file.to_str().expect("a path in UTF-8")]).await
    }

    /// Waits for the end of the process.
    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        loop {
            if let Some(status) = self.process.try_wait().expect("a child of this process") {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// SIGHUP.
    pub(crate) fn hang_up(&self) {
        self.signal("HUP");
    }

    /// Memory of the process, as the system counts it.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("a process that runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let kill = Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("`kill` runs");
        assert!(kill.success());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Longer than anything a passing test waits for, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that must come.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

/// Why a file with these sections is refused: `line:column: message`, counted from the head that all have.
pub(crate) async fn refusals(sections: &str) -> Vec<String> {
    let head = "version: 1\ndescriptors: [{ proto: tests/data/door.proto }]\n\
                services: { door: { endpoints: { static: [\"http://127.0.0.1:1\"] } } }\n";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("transom.yaml");
    let findings = match Config::parse(&format!("{head}{sections}"), &file, Elsewhere::default()) {
        Ok(config) => transom::gateway::Gateway::build(&config).await.err().unwrap_or_default(),
        Err(findings) => findings,
    };
    let shown = |finding: &Finding| {
        let position = finding.position.expect("a place");
        format!("{}:{}: {}", position.line, position.column, finding.message)
    };
    findings.iter().map(shown).collect()
}

/// Polls until `condition` holds; fails the test when [`PATIENCE`] ends.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let limit = tokio::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < limit, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A directory of this test alone, gone with it.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique =
            format!("transom-{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path).expect("a directory for the test");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
