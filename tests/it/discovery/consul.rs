//! Endpoints from Consul. No Consul runs here: a stand-in in this process speaks what its documentation says of
//! blocking queries on `/v1/health/service/NAME`, and misbehaves where a test wants it to.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request};
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::stand_in::{StandIn, response};
use super::{Found, Load, call, is_clean, meets, page, seen, start, write};
use crate::support::raw::Mortal;
use crate::support::tls::{self, Authority};
use crate::support::{eventually, figure};

/// Stands in for an agent: a query with an index is answered when there is a greater one, when what was known of
/// indices is void, or when its time is over.
struct Agent {
    http: StandIn,
    state: Arc<watch::Sender<State>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Clone)]
struct State {
    index: i64,
    status: u16,
    body: String,
    /// Whether it makes nobody wait.
    is_hasty: bool,
}

struct Asked {
    query: String,
    headers: HeaderMap,
}

impl Agent {
    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let state = State { index: 1, status: 200, body: "[]".to_owned(), is_hasty: false };
        let state = Arc::new(watch::Sender::new(state));
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let answer = {
            let (state, asked) = (Arc::clone(&state), Arc::clone(&asked));
            move |request: Request<Incoming>| {
                assert_eq!(request.uri().path(), "/v1/health/service/orders");
                let query = request.uri().query().unwrap_or_default().to_owned();
                let index = parameter(&query, "index").map_or(0, |text| text.parse().expect("a number"));
                let wait = parameter(&query, "wait").and_then(|text| text.strip_suffix("ms")?.parse().ok());
                let wait = Duration::from_millis(wait.unwrap_or_default());
                let mut told = state.subscribe();
                let begun = told.borrow_and_update().index;
                asked.lock().expect("no panic").push(Asked { query, headers: request.headers().clone() });
                async move {
                    let is_over =
                        |state: &State| state.is_hasty || state.index > index || state.index != begun;
                    if index > 0 {
                        let _ = tokio::time::timeout(wait, told.wait_for(is_over)).await;
                    }
                    let State { index, status, body, .. } = told.borrow().clone();
                    let mut response = response(status, body).expect("a response");
                    response.headers_mut().insert("x-consul-index", index.into());
                    response
                }
            }
        };
        Self { http: StandIn::start(tls, answer).await, state, asked }
    }

    /// From now on, with this index.
    fn list(&self, index: i64, backends: &[&Mortal]) {
        self.state
            .send_modify(|state| (state.index, state.status, state.body) = (index, 200, list(backends)));
    }

    /// From now on, with an index that is one greater.
    fn answer(&self, status: u16, body: &str) {
        self.state.send_modify(|state| {
            (state.index, state.status, state.body) = (state.index + 1, status, body.to_owned());
        });
    }

    fn queries(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").iter().map(|asked| asked.query.clone()).collect()
    }

    /// Waits until somebody waits for a greater one.
    async fn is_asked_with(&self, index: &str) {
        eventually(&format!("it is asked with {index}"), async || {
            self.queries().last().is_some_and(|query| parameter(query, "index") == Some(index))
        })
        .await;
    }

    fn source(&self) -> String {
        format!("consul: {{ service: orders, address: \"http://{}\" }}", self.http.address)
    }
}

fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// One of the instances has its address from its node.
fn list(backends: &[&Mortal]) -> String {
    let entries = backends.iter().enumerate().map(|(index, backend)| {
        let (node, service) = if index == 0 { ("127.0.0.1", "") } else { ("192.0.2.1", "127.0.0.1") };
        json!({
            "Node": { "Node": "n", "Address": node, "Meta": null },
            "Service": { "ID": index, "Address": service, "Port": backend.address.port(),
                         "Weights": { "Passing": 1, "Warning": 1 } },
            "Checks": [],
        })
    });
    serde_json::Value::from_iter(entries).to_string()
}

/// Waits until the search has failed for a reason that contains this.
async fn fails(found: &Found, reason: &str) {
    eventually(&format!("`{reason}`"), async || {
        seen(&found.gateway).await["failure"].as_str().is_some_and(|failure| failure.contains(reason))
    })
    .await;
}

#[tokio::test]
async fn instances_come_and_go_under_load_whatever_the_agent_does() {
    let backends = [start('a').await, start('b').await, start('c').await];
    let [a, b, c] = &backends;
    let agent = Agent::start(None).await;
    agent.list(7, &[a]);
    let found = Found::start(&agent.source()).await;
    let gateway = &found.gateway;
    meets(gateway, "a").await;
    assert_eq!(page(gateway, "/readyz").await.status, 200);
    let load = Load::start(gateway).await;
    agent.list(8, &[a, b]);
    meets(gateway, "ab").await;
    agent.list(12, &[b, c]);
    meets(gateway, "bc").await;
    agent.is_asked_with("12").await;
    // Restored from an older state: its indices are others.
    agent.list(3, &[c]);
    meets(gateway, "c").await;
    agent.list(4, &[a, c]);
    meets(gateway, "ac").await;
    agent.answer(500, "No cluster leader\n");
    fails(&found, "the answer is 500: No cluster leader").await;
    agent.answer(403, "rpc error: Permission denied");
    fails(&found, "the answer is 403: rpc error: Permission denied").await;
    agent.answer(404, "");
    fails(&found, "the answer is 404").await;
    agent.answer(200, "<html>");
    fails(&found, "no list of instances").await;
    meets(gateway, "ac").await;
    agent.list(20, &[b, c]);
    meets(gateway, "bc").await;
    agent.http.cut();
    agent.list(21, &[b]);
    meets(gateway, "b").await;
    agent.list(22, &[b, c]);
    meets(gateway, "bc").await;
    agent.http.leave();
    eventually("it is missed", async || seen(gateway).await["failure"].is_string()).await;
    meets(gateway, "bc").await;
    agent.list(2, &[a, b]);
    agent.http.come_back();
    meets(gateway, "ab").await;
    agent.answer(200, "[]");
    eventually("it is doubted", async || seen(gateway).await["is_doubted"] == true).await;
    meets(gateway, "ab").await;
    agent.answer(200, &list(&[a, b, c]));
    meets(gateway, "abc").await;
    let tally = load.end().await;
    figure(format_args!("calls while Consul's stand-in changed, failed and was away: {tally:?}"));
    assert!(is_clean(&tally), "{tally:?}");
    // It was asked by index, and anew when that went back.
    let queries = agent.queries();
    assert_eq!(queries[0], "passing=true");
    assert_eq!(queries[1], "passing=true&index=7&wait=60000ms");
    let back = queries.iter().position(|query| parameter(query, "index") == Some("12")).expect("asked");
    assert_eq!(queries[back + 1], "passing=true", "{queries:?}");
    assert_eq!(parameter(&queries[back + 2], "index"), Some("3"), "{queries:?}");
}

#[tokio::test]
async fn an_agent_that_makes_nobody_wait_is_asked_slowly() {
    let a = start('a').await;
    let agent = Agent::start(None).await;
    agent.list(0, &[&a]);
    let begun = Instant::now();
    let found = Found::start(&agent.source()).await;
    meets(&found.gateway, "a").await;
    // An index of none is taken for one, which blocks.
    eventually("it is asked again", async || agent.queries().len() == 2).await;
    assert_eq!(parameter(&agent.queries()[1], "index"), Some("1"));
    agent.state.send_modify(|state| (state.index, state.is_hasty) = (5, true));
    eventually("it is asked over and over", async || agent.queries().len() >= 12).await;
    // Ten times at once, and then once a second.
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    meets(&found.gateway, "a").await;
}

#[tokio::test]
async fn instances_are_asked_for_by_tls_with_a_token() {
    let a = start('a').await;
    let (authority, other) = (Authority::new("registry"), Authority::new("other"));
    let agent = Agent::start(Some(tls::acceptor(&authority.host(&["localhost"])))).await;
    agent.list(7, &[&a]);
    let port = agent.http.address.port();
    let found = Found::start(&format!(
        "consul: {{ service: orders, address: \"https://localhost:{port}\", ca: DIR/ca.pem, tags: [v2, eu],\
         datacenter: dc1, namespace: shop, consistency: stale, token: env:CARGO_PKG_NAME }}"
    ))
    .await;
    fails(&found, "No such file").await;
    write(&found.path("ca.pem"), "none");
    fails(&found, "no certificate in PEM form").await;
    write(&found.path("ca.pem"), &other.pem);
    fails(&found, "cannot connect").await;
    assert_eq!(agent.queries(), Vec::<String>::new());
    write(&found.path("ca.pem"), &authority.pem);
    meets(&found.gateway, "a").await;
    let asked = agent.asked.lock().expect("no panic");
    assert_eq!(asked[0].query, "passing=true&tag=v2&tag=eu&dc=dc1&ns=shop&stale");
    assert_eq!(asked[0].headers["x-consul-token"], "transom");
}

#[tokio::test]
async fn an_answer_is_eight_mebibytes_at_most() {
    let a = start('a').await;
    let agent = Agent::start(None).await;
    let found = Found::start(&agent.source()).await;
    let padded = |bytes: usize| {
        let list = list(&[&a]);
        format!("{}{list}", " ".repeat(bytes - list.len()))
    };
    agent.answer(200, &padded((8 << 20) + 1));
    fails(&found, "more than 8388608 bytes").await;
    assert_eq!(call(&found.gateway).await, "NO_ENDPOINTS");
    agent.answer(200, &padded(8 << 20));
    meets(&found.gateway, "a").await;
}
