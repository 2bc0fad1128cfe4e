//! A page in Chromium, served from another origin over TLS, calls the API with credentials: what a browser
//! lets through, and what it refuses.
//!
//! The page runs the calls it is told and posts what it saw to the server that it came from. Names are
//! mapped to the loopback by the browser itself, so that origins and cookies are as on the web.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::support::backend::{Backend, messages, respond, status};
use crate::support::chromium::{self, Chromium};
use crate::support::tls::{Authority, Issued, acceptor};
use crate::support::{Directory, Gateway, soon};

/// Runs each call in turn; `null` instead of a status is what a page sees of a call that the browser refused.
const PAGE: &str = r#"<!doctype html><script>
(async () => {
  const results = [];
  for (const [url, options] of CALLS) {
    try {
      const reply = await fetch(url, options);
      const seen = {};
      for (const name of ["x-request-id", "x-shop", "grpc-metadata-hidden", "retry-after"])
        seen[name] = reply.headers.has(name);
      results.push({ status: reply.status, seen, body: await reply.json() });
    } catch (error) {
      results.push({ status: null, error: error.name });
    }
  }
  await fetch("/results", { method: "POST", body: JSON.stringify(results) });
})();
</script>"#;

/// Serves the page and takes its results, on every name.
struct Pages {
    port: u16,
    calls: Arc<Mutex<Value>>,
    results: mpsc::Receiver<Value>,
}

impl Pages {
    async fn start(issued: &Issued) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let calls = Arc::new(Mutex::new(Value::Null));
        let (sender, results) = mpsc::channel(1);
        tokio::spawn(serve(listener, acceptor(issued), calls.clone(), sender));
        Self { port, calls, results }
    }

    /// Opens the page of an origin in a browser and waits for what it saw of these calls.
    async fn run(&mut self, host: &str, calls: Value) -> Vec<Value> {
        *self.calls.lock().expect("one test") = calls;
        // The authority is the test's own; names lead to this machine.
        let names = "--host-resolver-rules=MAP *.test 127.0.0.1";
        let url = format!("https://{host}:{}/", self.port);
        let _browser = Chromium::start(&["--ignore-certificate-errors", names, &url]);
        let results = soon(self.results.recv()).await.expect("the server lives");
        results.as_array().expect("a list").clone()
    }
}

async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    calls: Arc<Mutex<Value>>,
    results: mpsc::Sender<Value>,
) {
    loop {
        let (stream, _) = listener.accept().await.expect("a listener");
        let (acceptor, calls, results) = (acceptor.clone(), calls.clone(), results.clone());
        tokio::spawn(async move {
            // A browser opens connections that it then does not use.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let answer = service_fn(|request: Request<Incoming>| {
                let (calls, results) = (calls.clone(), results.clone());
                async move {
                    let is_results = request.uri().path() == "/results";
                    let body = request.into_body().collect().await?.to_bytes();
                    if is_results {
                        let seen = serde_json::from_slice(&body).expect("the page's JSON");
                        let _ = results.send(seen).await;
                    }
                    let page = PAGE.replace("CALLS", &calls.lock().expect("one test").to_string());
                    let reply = Response::builder().header("content-type", "text/html");
                    Ok::<_, hyper::Error>(reply.body(Full::new(Bytes::from(page))).expect("a reply"))
                }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

/// What the backend was told of each call, in the order of arrival.
type Heard = Arc<Mutex<Vec<[Option<String>; 4]>>>;

/// Sets a cookie, and keeps path, cookie, authorization and tenant of each call.
async fn backend(heard: Heard) -> Backend {
    Backend::start(move |request: Request<Incoming>| {
        let told =
            |name: &str| request.headers().get(name).map(|value| value.to_str().expect("ASCII").to_owned());
        let path = Some(request.uri().path().to_owned());
        heard.lock().expect("one test").push([path, told("cookie"), told("authorization"), told("x-tenant")]);
        let metadata = [
            ("set-cookie", "session=s3cret; Path=/; Secure; HttpOnly; SameSite=None"),
            ("x-shop", "open"),
            ("hidden", "h"),
        ];
        let metadata: HeaderMap = metadata
            .map(|(name, value)| {
                (name.parse::<http::HeaderName>().expect("a name"), value.parse().expect("a value"))
            })
            .into_iter()
            .collect();
        // An item of the name `n`, which is also an update without an item: field 1.
        let item =
            if request.uri().path().ends_with("/Update") { &b"\x0a\x03\x0a\x01n"[..] } else { b"\x0a\x01n" };
        std::future::ready(respond(metadata, messages(&[Bytes::from_static(item)], status(0, ""))))
    })
    .await
}

/// The API; `directory` is that of its certificate.
async fn gateway(backend: &Backend, issued: &Issued, directory: &Directory, origin: &str) -> Gateway {
    let [chain, key] = [("tls.crt", &issued.chain), ("tls.key", &issued.key)].map(|(name, text)| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a directory of ours");
        format!("file:{}", path.display())
    });
    let surfaces = format!(
        "headers: {{ forward: [cookie, x-tenant], back: [x-shop] }}\n\
         surfaces: {{ web: {{ hosts: [api.shop.test], cors: {{ origins: [{origin:?}], credentials: true }} }} }}"
    );
    Gateway::configured(backend, &format!("tls: {{ cert: {chain:?}, key: {key:?} }}"), "", &surfaces).await
}

/// The calls of both pages.
fn calls(api: &str) -> Value {
    let json = "application/json";
    json!([
        [format!("{api}/v1/items/7"), { "credentials": "include" }],
        [format!("{api}/v1/items/7"), {
            "method": "PATCH", "credentials": "include", "body": "{}",
            "headers": { "content-type": json, "authorization": "Bearer token", "x-tenant": "acme" },
        }],
        [format!("{api}/v1/items/7"), { "method": "DELETE", "credentials": "omit" }],
        [format!("{api}/v1/nothing/here"), { "credentials": "include" }],
        // Refused for every page: a header that nobody reads, and a method that the path has not.
        [format!("{api}/v1/items/7"), { "credentials": "include", "headers": { "x-other": "a" } }],
        [format!("{api}/v1/items"), { "method": "PUT", "credentials": "include" }],
    ])
}

fn statuses(results: &[Value]) -> Vec<Option<u64>> {
    results.iter().map(|result| result["status"].as_u64()).collect()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_lets_listed_origins_call_with_credentials() {
    if !chromium::is_there() {
        return;
    }
    let issued = Authority::new("browser").host(&["shop.test", "evil.test", "api.shop.test"]);
    let mut pages = Pages::start(&issued).await;
    let heard = Heard::default();
    let backend = backend(heard.clone()).await;
    let (directory, origin) = (Directory::new("browser-tls"), format!("https://shop.test:{}", pages.port));
    let gateway = gateway(&backend, &issued, &directory, &origin).await;
    let api = format!("https://api.shop.test:{}", gateway.address.port());

    let results = pages.run("shop.test", calls(&api)).await;
    assert_eq!(statuses(&results), [Some(200), Some(200), Some(200), Some(404), None, None], "{results:#?}");
    assert_eq!(results[0]["body"], json!({ "name": "n" }));
    let seen =
        json!({ "x-request-id": true, "x-shop": true, "grpc-metadata-hidden": false, "retry-after": false });
    assert_eq!(results[0]["seen"], seen);
    assert_eq!(results[3]["body"]["details"][0]["reason"], "ROUTE_NOT_FOUND");
    let path = |method: &str| some(&format!("/door.v1.Door/{method}"));
    let expected = [
        [path("Get"), None, None, None],
        [path("Update"), some("session=s3cret"), some("Bearer token"), some("acme")],
        [path("Delete"), None, None, None],
    ];
    assert_eq!(std::mem::take(&mut *heard.lock().expect("one test")), expected);

    let results = pages.run("evil.test", calls(&api)).await;
    assert_eq!(statuses(&results), [None; 6], "{results:#?}");
    assert!(results.iter().all(|result| result["error"] == "TypeError"), "{results:#?}");
    // What needs no preflight is sent, as any program could; the page never reads the reply. What does, is not.
    let heard = std::mem::take(&mut *heard.lock().expect("one test"));
    assert!(heard.iter().all(|call| call[0] == path("Get")), "{heard:?}");
}
