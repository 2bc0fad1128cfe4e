//! The explorer in Chromium: a query and a subscription in the page, and no request that leaves the machine.
//!
//! The browser is told by the DevTools protocol what to do, over a WebSocket of its own.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

use ::http::HeaderMap;
use futures_sink::Sink;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_stream::StreamExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::graphql_events::{gateway, tick};
use crate::support::backend::{Backend, messages, respond, status};
use crate::support::{Directory, eventually, http, require, soon};

/// A browser that shows one page and is told what to do.
struct Browser {
    process: Child,
    _profile: Directory,
    socket: WebSocketStream<TcpStream>,
    last_id: u64,
    /// What the page has asked for, and what its console has said.
    requested: BTreeSet<String>,
    complaints: Vec<String>,
}

impl Browser {
    async fn start() -> Self {
        let profile = Directory::new("explorer");
        let process = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args(["--disable-extensions", "--disable-background-networking", "--disable-component-update"])
            // No name leads anywhere.
            .args(["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromium starts");
        let file = profile.path().join("DevToolsActivePort");
        let port = || std::fs::read_to_string(&file).ok()?.lines().next()?.parse::<u16>().ok();
        eventually("the browser listens", async || port().is_some()).await;
        let address = ([127, 0, 0, 1], port().expect("it listens")).into();
        let mut target = None;
        eventually("there is a page", async || {
            let answer =
                http::send(address, http::request("GET", "/json/list").header("host", "127.0.0.1"), "").await;
            let pages = answer.json();
            let page =
                pages.as_array().and_then(|pages| pages.iter().find(|page| page["type"] == "page").cloned());
            target = page.and_then(|page| page["webSocketDebuggerUrl"].as_str().map(str::to_owned));
            target.is_some()
        })
        .await;
        let target = target.expect("a page");
        let path = target.splitn(4, '/').nth(3).expect("a path");
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
        let socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        let (requested, complaints) = (BTreeSet::new(), Vec::new());
        let mut browser = Self { process, _profile: profile, socket, last_id: 0, requested, complaints };
        for domain in ["Network.enable", "Log.enable", "Runtime.enable", "Page.enable"] {
            browser.tell(domain, json!({})).await;
        }
        browser
    }

    /// Has the browser do something, and waits for what it says of it.
    async fn tell(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let message = json!({ "id": self.last_id, "method": method, "params": parameters });
        let mut socket = std::pin::Pin::new(&mut self.socket);
        soon(std::future::poll_fn(|cx| socket.as_mut().poll_ready(cx))).await.expect("an open socket");
        socket.as_mut().start_send(Message::text(message.to_string())).expect("an open socket");
        soon(std::future::poll_fn(|cx| socket.as_mut().poll_flush(cx))).await.expect("an open socket");
        loop {
            let Message::Text(text) =
                soon(self.socket.next()).await.expect("a message").expect("an open socket")
            else {
                continue;
            };
            let said: Value = serde_json::from_str(&text).expect("JSON");
            if said["id"] == self.last_id {
                assert!(said.get("error").is_none(), "{method}: {said}");
                return said["result"].clone();
            }
            match said["method"].as_str() {
                Some("Network.requestWillBeSent") => {
                    let url = said["params"]["request"]["url"].as_str().expect("a URL");
                    self.requested.insert(url.to_owned());
                }
                Some("Log.entryAdded" | "Runtime.exceptionThrown") => self.complaints.push(text.to_string()),
                _ => {}
            }
        }
    }

    /// The value of an expression in the page.
    async fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true });
        self.tell("Runtime.evaluate", parameters).await["result"]["value"].clone()
    }

    /// Waits until an expression has this value.
    async fn shows(&mut self, expression: &str, expected: &str) {
        let mut last = Value::Null;
        for _ in 0..600 {
            last = self.evaluate(expression).await;
            if last.as_str().is_some_and(|text| text.contains(expected)) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{expression}: {last} does not have {expected}: {:?}", self.complaints);
    }

    /// Writes a document and runs it as a reader would: from the keyboard.
    async fn run(&mut self, document: &str, variables: &str) {
        let set = |id: &str, text: &str| {
            format!(
                "{{ const field = document.getElementById({}); field.value = {}; \
                     field.dispatchEvent(new Event('input', {{ bubbles: true }})); field.focus(); }}",
                json!(id),
                json!(text)
            )
        };
        self.evaluate(&set("variables", variables)).await;
        self.evaluate(&set("document", document)).await;
        for kind in ["keyDown", "keyUp"] {
            let key = json!({ "type": kind, "key": "Enter", "code": "Enter", "modifiers": 2,
                              "windowsVirtualKeyCode": 13 });
            self.tell("Input.dispatchKeyEvent", key).await;
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const RESULTS: &str = "document.getElementById('results').textContent";
const STATUS: &str = "document.getElementById('status').textContent";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_explorer_runs_a_query_and_a_subscription_and_asks_nobody_else() {
    if !require("chromium", Command::new("chromium").arg("--version")) {
        return;
    }
    let backend = Backend::start(async |request: ::http::Request<hyper::body::Incoming>| {
        let is_stream = request.uri().path().ends_with("/Watch");
        let ticks = if is_stream { vec![tick("a", 1), tick("a", 2)] } else { vec![tick("one", 7)] };
        respond(HeaderMap::new(), messages(&ticks, status(0, "")))
    })
    .await;
    let gateway = gateway(&backend, "graphql: { explorer: true }", "").await;
    let page = format!("http://{}/graphql", gateway.address);
    let mut browser = Browser::start().await;
    browser.tell("Page.navigate", json!({ "url": page })).await;
    browser
        .shows("document.getElementById('schema')?.textContent ?? ''", "watch(topic: String!): Tick")
        .await;

    browser.run("query Q($t: String!) { latest(topic: $t) { topic number } }", r#"{ "t": "a" }"#).await;
    browser.shows(RESULTS, "\"topic\": \"one\"").await;
    browser.shows(STATUS, "200 in").await;

    browser.run(r#"subscription { watch(topic: "a") { number } }"#, "").await;
    browser.shows(STATUS, "complete, 2 results").await;
    browser.shows(RESULTS, "\"number\": \"2\"").await;

    browser.run("{ nothing }", "").await;
    browser.shows(RESULTS, "GRAPHQL_VALIDATION_FAILED").await;

    // The schema is read by its links.
    browser.evaluate("[...document.querySelectorAll('#schema button')].find((one) => one.textContent === 'Tick').click()").await;
    browser.shows("document.getElementById('schema').textContent", "previous: Tick").await;

    let elsewhere: Vec<_> =
        browser.requested.iter().filter(|url| !url.starts_with(&page) && !url.starts_with("data:")).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    assert!(browser.requested.contains(&format!("{page}?explorer.js")), "{:?}", browser.requested);
    assert!(browser.complaints.iter().all(|said| said.contains("400")), "{:#?}", browser.complaints);
}

#[tokio::test]
async fn the_explorer_can_be_switched_off_and_is_by_default() {
    let backend = Backend::start(async |_| respond(HeaderMap::new(), messages(&[], status(0, "")))).await;
    let off = gateway(&backend, "", "").await;
    let html = || http::request("GET", "/graphql").header("accept", "text/html");
    assert_eq!(http::send(off.address, html(), "").await.status, 406);
    let on = gateway(&backend, "graphql: { explorer: true }", "").await;
    let answer = http::send(on.address, html(), "").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let etag = answer.header("etag").expect("a tag").to_owned();
    let again = http::send(on.address, html().header("if-none-match", etag), "").await;
    assert_eq!((again.status.as_u16(), again.text()), (304, ""));
    let head = http::request("HEAD", "/graphql").header("accept", "text/html");
    assert_eq!(http::send(on.address, head, "").await.status, 200);
}
