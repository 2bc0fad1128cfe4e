//! An identity provider for tests: it serves what it is told to, and remembers what it was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use http::HeaderMap;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::policy::web_address::WebAddress;

/// See the module's documentation.
pub(in crate::stage::auth) struct Website {
    pub(in crate::stage::auth) origin: String,
    state: Arc<State>,
    task: AbortHandle,
}

/// What was asked.
#[derive(Clone, Debug)]
pub(in crate::stage::auth) struct Asked {
    pub(in crate::stage::auth) path: String,
    pub(in crate::stage::auth) headers: HeaderMap,
    pub(in crate::stage::auth) body: String,
}

#[derive(Clone, Debug, Default)]
pub(in crate::stage::auth) struct Page {
    pub(in crate::stage::auth) status: u16,
    pub(in crate::stage::auth) headers: Vec<(&'static str, String)>,
    pub(in crate::stage::auth) body: String,
}

struct State {
    pages: Mutex<HashMap<String, Page>>,
    asked: Mutex<Vec<Asked>>,
    answers: watch::Sender<bool>,
}

impl Website {
    pub(in crate::stage::auth) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("bound"));
        let state = Arc::new(State {
            pages: Mutex::default(),
            asked: Mutex::default(),
            answers: watch::Sender::new(true),
        });
        let served = state.clone();
        let router = Router::new().fallback(move |request: Request| answer(served.clone(), request));
        let task = tokio::spawn(async move { axum::serve(listener, router).await }).abort_handle();
        Self { origin, state, task }
    }

    pub(in crate::stage::auth) fn address(&self, path: &str) -> WebAddress {
        WebAddress::parse(&format!("{}{path}", self.origin)).expect("a loopback address")
    }

    /// Serves `body` at `path` from now on.
    pub(in crate::stage::auth) fn put(&self, path: &str, body: impl Into<String>) {
        self.page(path, Page { status: 200, body: body.into(), ..Page::default() });
    }

    pub(in crate::stage::auth) fn page(&self, path: &str, page: Page) {
        self.state.pages.lock().expect("ours").insert(path.to_owned(), page);
    }

    /// Whether replies go out, or wait until they may.
    pub(in crate::stage::auth) fn answers(&self, answers: bool) {
        self.state.answers.send_replace(answers);
    }

    pub(in crate::stage::auth) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().expect("ours").clone()
    }

    /// How often `path` was asked for.
    pub(in crate::stage::auth) fn count(&self, path: &str) -> usize {
        self.asked().iter().filter(|asked| asked.path == path).count()
    }
}

impl Drop for Website {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(state: Arc<State>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("a small body");
    let path = head.uri.path().to_owned();
    let asked = Asked {
        path: path.clone(),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).expect("a form"),
    };
    state.asked.lock().expect("ours").push(asked);
    state.answers.subscribe().wait_for(|answers| *answers).await.expect("the state holds it");
    let page = state.pages.lock().expect("ours").get(&path).cloned();
    let page = page.unwrap_or(Page { status: 404, ..Page::default() });
    let mut response = Response::builder().status(page.status);
    for (name, value) in page.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(page.body)).expect("a response")
}

/// Waits until `is_so`.
pub(in crate::stage::auth) async fn until(is_so: impl Fn() -> bool) {
    tokio::time::timeout(Duration::from_secs(60), async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .expect("it comes to be so");
}
