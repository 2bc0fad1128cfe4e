//! Endpoints from Kubernetes. No Kubernetes runs here: a stand-in in this process speaks what "Kubernetes API Concepts"
//! says of lists and watches of EndpointSlices, with versions, bookmarks and 410, and misbehaves where a test wants it
//! to.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::stand_in::{Body, StandIn, response};
use super::{Found, Load, configuration, is_clean, meets, seen, start, write};
use crate::support::raw::Mortal;
use crate::support::tls::{Authority, acceptor};
use crate::support::{Directory, eventually, figure, soon};

const PATH: &str = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";

/// Stands in for an API server, by TLS.
struct Server {
    http: StandIn,
    authority: Authority,
    state: Arc<watch::Sender<State>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Clone)]
struct State {
    version: u64,
    slices: BTreeMap<String, Value>,
    /// What watches are told, after which version.
    log: Vec<(u64, String)>,
    /// Watches cannot go on from an older version.
    oldest: u64,
    /// How they hear of it: 410 at once, or in an event.
    is_gone_told: bool,
    tokens: &'static [&'static str],
    /// Watches of before end when another begins.
    epoch: u64,
    /// What every request is answered with instead.
    refusal: Option<u16>,
}

struct Asked {
    query: String,
    headers: HeaderMap,
}

impl Server {
    async fn start() -> Self {
        let authority = Authority::new("kubernetes");
        let tls = acceptor(&authority.host(&["localhost", "127.0.0.1"]));
        let state = Arc::new(watch::Sender::new(State {
            version: 100,
            slices: BTreeMap::new(),
            log: Vec::new(),
            oldest: 0,
            is_gone_told: false,
            tokens: &["first"],
            epoch: 0,
            refusal: None,
        }));
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let answer = {
            let (state, asked) = (Arc::clone(&state), Arc::clone(&asked));
            move |request: Request<Incoming>| {
                assert_eq!(request.uri().path(), PATH);
                let query = request.uri().query().unwrap_or_default().to_owned();
                let headers = request.headers().clone();
                let response = reply(state.subscribe(), &query, &headers);
                asked.lock().expect("no panic").push(Asked { query, headers });
                std::future::ready(response)
            }
        };
        Self { http: StandIn::start(Some(tls), answer).await, authority, state, asked }
    }

    /// A slice with this backend, told to who watches.
    fn put(&self, name: &str, backend: &Mortal) {
        self.state.send_modify(|state| state.put(name, backend));
    }

    fn delete(&self, name: &str) {
        self.state.send_modify(|state| {
            let mut slice = state.slices.remove(name).expect("a slice");
            state.version += 1;
            slice["metadata"]["resourceVersion"] = json!(state.version.to_string());
            state.tell("DELETED", &slice);
        });
    }

    /// Says that nothing has happened until a later version.
    fn bookmark(&self) -> u64 {
        self.state.send_modify(|state| {
            state.version += 10;
            let version = state.version.to_string();
            state.tell(
                "BOOKMARK",
                &json!({ "kind": "EndpointSlice", "metadata": { "resourceVersion": version } }),
            );
        });
        self.state.borrow().version
    }

    /// Changes a slice behind the back of who watches, and forgets how.
    fn put_and_forget(&self, name: &str, backend: &Mortal, is_gone_told: bool) {
        self.state.send_if_modified(|state| {
            state.put(name, backend);
            (state.oldest, state.is_gone_told) = (state.version, is_gone_told);
            // Nobody is woken: the watch hears of it no more.
            false
        });
        self.http.cut();
    }

    /// Ends every watch as its time would, when everything is told.
    fn end_watches(&self) {
        self.state.send_modify(|state| state.epoch += 1);
    }

    /// The versions that watches went on from.
    fn watches(&self) -> Vec<u64> {
        let asked = self.asked.lock().expect("no panic");
        let version = |asked: &Asked| parameter(&asked.query, "resourceVersion")?.parse().ok();
        asked.iter().filter_map(version).collect()
    }

    fn lists(&self) -> usize {
        let asked = self.asked.lock().expect("no panic");
        asked.iter().filter(|asked| parameter(&asked.query, "watch").is_none()).count()
    }

    /// A gateway that has what it needs to ask; at first it has not.
    async fn found(&self) -> Found {
        let found = Found::start(&format!(
            "k8s: {{ service: \"shop/orders:grpc\", server: \"https://localhost:{}\", token: DIR/token, ca: DIR/ca.pem }}",
            self.http.address.port()
        ))
        .await;
        write(&found.path("token"), "first\n");
        write(&found.path("ca.pem"), &self.authority.pem);
        found
    }
}

impl State {
    fn put(&mut self, name: &str, backend: &Mortal) {
        self.version += 1;
        let slice = slice(name, self.version, backend);
        let before = self.slices.insert(name.to_owned(), slice.clone());
        self.tell(if before.is_some() { "MODIFIED" } else { "ADDED" }, &slice);
    }

    fn tell(&mut self, kind: &str, object: &Value) {
        self.log.push((self.version, format!("{}\n", json!({ "type": kind, "object": object }))));
    }
}

/// The endpoints of a slice share its port, and every backend here has its own.
fn slice(name: &str, version: u64, backend: &Mortal) -> Value {
    let (address, port) = (backend.address.ip().to_string(), backend.address.port());
    json!({
        "metadata": { "name": name, "namespace": "shop", "resourceVersion": version.to_string() },
        "addressType": "IPv4",
        "ports": [{ "name": "grpc", "port": port, "protocol": "TCP" }],
        "endpoints": [{ "addresses": [address], "nodeName": "n1", "zone": "a",
                        "conditions": { "ready": true, "serving": true, "terminating": false } }],
    })
}

fn reply(told: watch::Receiver<State>, query: &str, headers: &HeaderMap) -> Response<Body> {
    let state = told.borrow().clone();
    let whole = |status, json: &Value| response(status, format!("{json}\n")).expect("a response");
    assert_eq!(parameter(query, "labelSelector"), Some("kubernetes.io%2Fservice-name%3Dorders"));
    let refusal = |code: u16, message: &str| {
        whole(code, &json!({ "kind": "Status", "status": "Failure", "code": code, "message": message }))
    };
    let token = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if !token.is_some_and(|token| state.tokens.contains(&token)) {
        return refusal(401, "Unauthorized");
    }
    if let Some(code) = state.refusal {
        return refusal(code, "the server is not ready");
    }
    if parameter(query, "watch") != Some("true") {
        let slices: Vec<_> = state.slices.values().collect();
        let version = state.version.to_string();
        return whole(
            200,
            &json!({ "kind": "EndpointSliceList", "metadata": { "resourceVersion": version }, "items": slices }),
        );
    }
    assert_eq!(parameter(query, "allowWatchBookmarks"), Some("true"));
    assert!(
        parameter(query, "timeoutSeconds")
            .is_some_and(|seconds| (240..300).contains(&seconds.parse().expect("a number")))
    );
    let after =
        parameter(query, "resourceVersion").and_then(|version| version.parse().ok()).expect("a version");
    if after < state.oldest {
        let status = json!({ "kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version" });
        return match state.is_gone_told {
            true => whole(200, &json!({ "type": "ERROR", "object": status })),
            false => whole(410, &status),
        };
    }
    let (sender, lines) = mpsc::channel(16);
    tokio::spawn(events(told, after, sender));
    let frames = ReceiverStream::new(lines).map(|line| Ok(Frame::data(line)));
    Response::new(StreamBody::new(frames).boxed())
}

/// What happens after a version, for as long as somebody watches.
async fn events(mut told: watch::Receiver<State>, mut after: u64, sender: mpsc::Sender<Bytes>) {
    let begun = told.borrow().epoch;
    loop {
        let State { log, epoch, .. } = told.borrow_and_update().clone();
        let lines = log.into_iter().skip_while(|(version, _)| *version <= after).collect::<Vec<_>>();
        for (version, line) in lines {
            after = version;
            let _ = sender.send(line.into()).await;
        }
        if epoch != begun {
            return;
        }
        tokio::select! {
            changed = told.changed() => if changed.is_err() { return },
            () = sender.closed() => return,
        }
    }
}

fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// Waits until the search has failed for a reason that contains this.
async fn fails(found: &Found, reason: &str) {
    eventually(&format!("`{reason}`"), async || {
        seen(&found.gateway).await["failure"].as_str().is_some_and(|failure| failure.contains(reason))
    })
    .await;
}

#[tokio::test]
async fn slices_come_and_go_under_load_whatever_the_server_does() {
    let backends = [start('a').await, start('b').await, start('c').await];
    let [a, b, c] = &backends;
    let server = Server::start().await;
    server.put("orders-1", a);
    let found = server.found().await;
    let gateway = &found.gateway;
    meets(gateway, "a").await;
    let load = Load::start(gateway).await;
    server.put("orders-2", b);
    meets(gateway, "ab").await;
    server.put("orders-2", c);
    meets(gateway, "ac").await;
    server.delete("orders-1");
    meets(gateway, "c").await;
    // Forgotten by the server, once with a status and once in an event.
    for (is_gone_told, backend, names) in [(false, a, "ac"), (true, b, "bc")] {
        let lists = server.lists();
        server.put_and_forget("orders-1", backend, is_gone_told);
        meets(gateway, names).await;
        assert!(server.lists() > lists, "it lists again");
    }
    server.state.send_modify(|state| {
        state.version += 1;
        state.log.push((state.version, "<html>\n".to_owned()));
    });
    server.put("orders-2", a);
    meets(gateway, "ab").await;
    server.state.send_modify(|state| state.refusal = Some(503));
    server.http.cut();
    fails(&found, "the server is not ready").await;
    meets(gateway, "ab").await;
    server.state.send_modify(|state| state.refusal = None);
    server.put("orders-3", c);
    meets(gateway, "abc").await;
    server.http.leave();
    eventually("it is missed", async || seen(gateway).await["failure"].is_string()).await;
    server.delete("orders-3");
    meets(gateway, "abc").await;
    server.http.come_back();
    meets(gateway, "ab").await;
    server.delete("orders-1");
    meets(gateway, "a").await;
    server.delete("orders-2");
    eventually("it is doubted", async || seen(gateway).await["is_doubted"] == true).await;
    meets(gateway, "a").await;
    server.put("orders-4", c);
    meets(gateway, "c").await;
    let tally = load.end().await;
    figure(format_args!("calls while the API server's stand-in changed, failed and was away: {tally:?}"));
    assert!(is_clean(&tally), "{tally:?}");
}

#[tokio::test]
async fn a_watch_goes_on_from_a_bookmark_with_the_token_of_now() {
    let (a, b) = (start('a').await, start('b').await);
    let server = Server::start().await;
    server.put("orders-1", &a);
    let found = server.found().await;
    meets(&found.gateway, "a").await;
    let (lists, failures) = (server.lists(), seen(&found.gateway).await["failures"].clone());
    write(&found.path("token"), "second");
    server.state.send_modify(|state| state.tokens = &["first", "second"]);
    let version = server.bookmark();
    eventually("a watch goes on from the bookmark", async || {
        server.end_watches();
        server.watches().last() == Some(&version)
    })
    .await;
    server.put("orders-2", &b);
    meets(&found.gateway, "ab").await;
    // Nothing was lost, and nothing had to be listed again.
    assert_eq!((server.lists(), &seen(&found.gateway).await["failures"]), (lists, &failures));
    let asked = server.asked.lock().expect("no panic");
    let last = asked.last().expect("it was asked");
    assert_eq!(
        (&last.headers["authorization"], &last.headers["accept"]),
        (&"Bearer second".parse().expect("a value"), &"application/json".parse().expect("a value"))
    );
}

#[tokio::test]
async fn a_pod_finds_its_api_server_and_check_says_what_is_wrong() {
    let a = start('a').await;
    let server = Server::start().await;
    server.put("orders-1", &a);
    let directory = Directory::new("pod");
    let check = async |port: &str, token: &str| {
        let source = format!("k8s: {{ service: \"shop/orders:{port}\", token: token, ca: ca.pem }}");
        write(&directory.path().join("transom.yaml"), &configuration(&directory, &source, ""));
        write(&directory.path().join("token"), token);
        write(&directory.path().join("ca.pem"), &server.authority.pem);
        let mut command = Command::new(env!("CARGO_BIN_EXE_transom"));
        command.args(["check", "--online", "-c", "transom.yaml"]).current_dir(directory.path());
        command.env("KUBERNETES_SERVICE_HOST", "127.0.0.1");
        command.env("KUBERNETES_SERVICE_PORT", server.http.address.port().to_string());
        let output =
            soon(tokio::task::spawn_blocking(move || command.output())).await.expect("the thread lives");
        String::from_utf8(output.expect("the binary runs").stdout).expect("text")
    };
    assert_eq!(check("grpc", "first").await, "transom.yaml: no findings\n");
    let printed = check("grpc", "other").await;
    assert!(printed.contains("the answer is 401") && printed.contains("Unauthorized"), "{printed}");
    let printed = check("http", "first").await;
    let reason = "no port of the pods is called `http`: there are `grpc`";
    assert!(printed.starts_with("transom.yaml:4:") && printed.contains(reason), "{printed}");
}
