//! Chromium: started in one place, and told by the DevTools protocol what to show and what to do.
//!
//! Names lead nowhere but where a test has them lead: whatever a page asks of others fails, and is seen.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_sink::Sink;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_stream::StreamExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Directory, eventually, http, require, soon};

/// So often a page is asked whether it shows something: a browser beside a compiler takes its time.
const LOOKS_MAX: usize = 2400;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Whether there is a browser on this machine.
pub(crate) fn is_there() -> bool {
    require("chromium", Command::new("chromium").arg("--version"))
}

/// A browser that ends with its test.
pub(crate) struct Chromium {
    process: Child,
    profile: Directory,
}

impl Chromium {
    /// Starts it with the arguments of this test beside those that all have.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let profile = Directory::new("chromium");
        let process = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-extensions", "--hide-scrollbars"])
            .args(["--disable-background-networking", "--disable-component-update"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromium starts");
        Self { process, profile }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A page that is told what to do.
pub(crate) struct Page {
    _browser: Chromium,
    socket: WebSocketStream<TcpStream>,
    last_id: u64,
    /// What has been asked for, by pages and by their sockets.
    pub(crate) requested: BTreeSet<String>,
    /// What the consoles have said in anger, violations of the Content Security Policy among it.
    pub(crate) complaints: Vec<String>,
}

impl Page {
    /// An empty page of a browser of its own, which knows no name.
    pub(crate) async fn open() -> Self {
        let nowhere = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1";
        let browser = Chromium::start(&[nowhere, "--remote-debugging-port=0", "about:blank"]);
        let file = browser.profile.path().join("DevToolsActivePort");
        let port = || std::fs::read_to_string(&file).ok()?.lines().next()?.parse::<u16>().ok();
        eventually("the browser listens", async || port().is_some()).await;
        let address = ([127, 0, 0, 1], port().expect("it listens")).into();
        let mut target = None;
        eventually("there is a page", async || {
            let request = http::request("GET", "/json/list").header("host", "127.0.0.1");
            let pages = http::send(address, request, "").await.json();
            let page = pages.as_array().and_then(|pages| pages.iter().find(|page| page["type"] == "page"));
            target = page.and_then(|page| page["webSocketDebuggerUrl"].as_str().map(str::to_owned));
            target.is_some()
        })
        .await;
        let target = target.expect("a page");
        let socket = connect(address, target.splitn(4, '/').nth(3).expect("a path")).await;
        let (requested, complaints) = (BTreeSet::new(), Vec::new());
        let mut page = Self { _browser: browser, socket, last_id: 0, requested, complaints };
        for domain in ["Network", "Log", "Runtime", "Audits", "Page"] {
            page.tell(&format!("{domain}.enable"), json!({})).await;
        }
        page.tell("Emulation.setFocusEmulationEnabled", json!({ "enabled": true })).await;
        page
    }

    pub(crate) async fn navigate(&mut self, url: &str) {
        self.tell("Page.navigate", json!({ "url": url })).await;
    }

    /// Has the browser do something, and waits for what it says of it.
    pub(crate) async fn tell(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let message = json!({ "id": self.last_id, "method": method, "params": parameters });
        let mut socket = std::pin::Pin::new(&mut self.socket);
        soon(std::future::poll_fn(|cx| socket.as_mut().poll_ready(cx))).await.expect("an open socket");
        socket.as_mut().start_send(Message::text(message.to_string())).expect("an open socket");
        soon(std::future::poll_fn(|cx| socket.as_mut().poll_flush(cx))).await.expect("an open socket");
        loop {
            let message = soon(self.socket.next()).await.expect("a message").expect("an open socket");
            let Message::Text(text) = message else { continue };
            let said: Value = serde_json::from_str(&text).expect("JSON");
            if said["id"] == self.last_id {
                assert!(said.get("error").is_none(), "{method}: {said}");
                return said["result"].clone();
            }
            self.note(&said);
        }
    }

    fn note(&mut self, said: &Value) {
        let told = &said["params"];
        let asked = match said["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => &told["request"]["url"],
            "Network.webSocketCreated" => &told["url"],
            _ => &Value::Null,
        };
        self.requested.extend(asked.as_str().map(str::to_owned));
        let is_complaint = match said["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => true,
            "Runtime.consoleAPICalled" => told["type"] == "error",
            "Log.entryAdded" => told["entry"]["level"] == "error",
            "Audits.issueAdded" => told["issue"]["code"] == "ContentSecurityPolicyIssue",
            _ => false,
        };
        if is_complaint {
            self.complaints.push(told.to_string());
        }
    }

    /// The value of an expression in the page.
    pub(crate) async fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true });
        self.tell("Runtime.evaluate", parameters).await["result"]["value"].clone()
    }

    /// Waits until an expression is a text that has this in it, and gives all of it.
    pub(crate) async fn shows(&mut self, expression: &str, expected: &str) -> String {
        let mut last = Value::Null;
        for _ in 0..LOOKS_MAX {
            last = self.evaluate(expression).await;
            if let Some(text) = last.as_str().filter(|text| text.contains(expected)) {
                return text.to_owned();
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        panic!("{expression}: {last} does not have {expected}: {:?}", self.complaints);
    }

    /// Waits until there is such an element, and has the page do this with it: at once, before it is drawn anew.
    pub(crate) async fn with(&mut self, selector: &str, script: &str) -> Value {
        let selector = json!(selector);
        let expression = format!(
            "(() => {{ const element = document.querySelector({selector}); \
             return element && {{ done: {script} }}; }})()"
        );
        for _ in 0..LOOKS_MAX {
            let value = self.evaluate(&expression).await;
            if value.is_object() {
                return value["done"].clone();
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        panic!("never there: {selector}: {:?}", self.complaints);
    }

    /// Writes what the page looks like into a folder.
    pub(crate) async fn photograph(&mut self, folder: &Path, name: &str) {
        let taken = self.tell("Page.captureScreenshot", json!({ "format": "png" })).await;
        let picture = STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("base64");
        std::fs::write(folder.join(name), picture).expect("the folder is writable");
    }

    /// What was asked of anybody but `origin`.
    pub(crate) fn asked_elsewhere(&self, origin: &str) -> Vec<&String> {
        let http = format!("{origin}/");
        let socket = http.replacen("http", "ws", 1);
        let is_ours = |url: &str| [&http, &socket, "data:", "about:"].iter().any(|own| url.starts_with(*own));
        self.requested.iter().filter(|url| !is_ours(url)).collect()
    }
}

/// A WebSocket to what the browser calls a target.
async fn connect(address: std::net::SocketAddr, path: &str) -> WebSocketStream<TcpStream> {
    let mut stream = TcpStream::connect(address).await.expect("the browser listens");
    let head = format!(
        "GET /{path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("an open connection");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(soon(stream.read_u8()).await.expect("the end of a head"));
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    WebSocketStream::from_raw_socket(stream, Role::Client, None).await
}
