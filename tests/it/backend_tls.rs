//! TLS to backends at the real doors: who is believed, what is shown, which name is asked for, and what operators
//! and clients are told when it does not come to a connection.

use std::convert::Infallible;
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::support::backend::{Backend, messages, respond, status};
use crate::support::tls::{Authority, Issued};
use crate::support::{Directory, Gateway, eventually, http};

/// A backend that speaks TLS, whose certificates can be changed while it serves.
struct Secured {
    address: SocketAddr,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    /// Ends the connections of before, each with its last call.
    generation: watch::Sender<u32>,
    seen: Arc<Seen>,
}

/// What came to it.
#[derive(Default)]
struct Seen {
    calls: AtomicUsize,
    /// The `:authority` of the last call, and the certificate of its connection.
    authority: Mutex<Option<String>>,
    certificate: Mutex<Option<CertificateDer<'static>>>,
}

impl Secured {
    async fn start(config: ServerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let config = Arc::new(Mutex::new(Arc::new(config)));
        let (generation, ends) = watch::channel(0);
        let seen = Arc::new(Seen::default());
        tokio::spawn(accept(listener, config.clone(), ends, seen.clone()));
        Self { address, config, generation, seen }
    }

    fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    fn change(&self, config: ServerConfig) {
        *self.config.lock().expect("no panic") = Arc::new(config);
        self.generation.send_modify(|generation| *generation += 1);
    }
}

async fn accept(
    listener: TcpListener,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    ends: watch::Receiver<u32>,
    seen: Arc<Seen>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let config = config.lock().expect("no panic").clone();
        let (seen, mut ends) = (seen.clone(), ends.clone());
        ends.borrow_and_update();
        tokio::spawn(async move {
            let Ok(stream) = TlsAcceptor::from(config).accept(stream).await else { return };
            let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).cloned();
            let service = service_fn(move |request: Request<Incoming>| {
                seen.calls.fetch_add(1, Ordering::SeqCst);
                let authority = request.uri().authority().map(ToString::to_string);
                *seen.authority.lock().expect("no panic") = authority;
                *seen.certificate.lock().expect("no panic") = shown.clone();
                let body = messages(&[bytes::Bytes::new()], status(0, ""));
                async move { Ok::<_, Infallible>(respond(HeaderMap::new(), body)) }
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => return,
                _ = ends.changed() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }
}

/// The files of a gateway, and what it logs.
struct Files(Directory);

impl Files {
    fn new() -> Self {
        Self(Directory::new("backend-tls"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Replaces a file as a whole, as those who renew certificates do, and names it.
    fn write(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let next = self.path("next");
        std::fs::write(&next, text).expect("a directory of ours");
        std::fs::set_permissions(&next, PermissionsExt::from_mode(0o600)).expect("the file is ours");
        std::fs::rename(&next, self.path(name)).expect("a directory of ours");
        format!("file:{}", self.path(name).display())
    }

    /// Keys of `tls`: who is believed.
    fn ca(&self, authority: &Authority) -> String {
        format!("ca: {:?}", self.write("ca.crt", &authority.pem))
    }

    /// Keys of `tls`: what is shown.
    fn pair(&self, issued: &Issued) -> String {
        let (cert, key) = (self.write("edge.crt", &issued.chain), self.write("edge.key", &issued.key));
        format!("cert: {cert:?}, key: {key:?}")
    }

    fn configure(&self, endpoint: &str, service: &str) -> PathBuf {
        let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/door.proto");
        let text = format!(
            "version: 1\ndescriptors: [{{ proto: {proto:?} }}]\n\
             services: {{ door: {{ endpoints: {{ static: [{endpoint:?}] }}, {service} }} }}\n"
        );
        let file = self.path("transom.yaml");
        std::fs::write(&file, text).expect("a directory of ours");
        file
    }

    async fn gateway(&self, endpoint: &str, service: &str) -> Gateway {
        let file = self.configure(endpoint, service);
        let log = File::create(self.path("log")).expect("a directory of ours");
        Gateway::start_logging(log, &["--config", file.to_str().expect("UTF-8")]).await
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).expect("a log")
    }

    /// What `transom check` says, with its exit code.
    fn check(&self, more: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_transom"))
            .args(["check", "-c"])
            .arg(self.path("transom.yaml"))
            .args(more)
            .output()
            .expect("transom runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

async fn get(gateway: &Gateway) -> http::Answer {
    http::send(gateway.address, http::request("GET", "/v1/items/1"), "").await
}

/// The backend is reached, by this name.
async fn reached(backend: &Secured, files: &Files, tls: &str, authority: &str) {
    let gateway = files.gateway(&backend.url(), tls).await;
    let answer = get(&gateway).await;
    assert_eq!(answer.status, 200, "{tls}: {}\n{}", answer.text(), files.log());
    assert_eq!(backend.seen.authority.lock().expect("no panic").as_deref(), Some(authority), "{tls}");
}

/// No call comes to the backend; the log has the endpoint and these words, and the client neither.
async fn refused(endpoint: &str, files: &Files, service: &str, words: &str) {
    let gateway = files.gateway(endpoint, service).await;
    let answer = get(&gateway).await;
    let text = answer.text();
    assert_eq!(answer.status, 503, "{words}: {text}");
    assert!(text.contains("BACKEND_") && !text.contains("127.0.0.1") && !text.contains("TLS"), "{text}");
    let is_told = |log: String| {
        log.lines().any(|line| line.contains(" WARN ") && line.contains(endpoint) && line.contains(words))
    };
    eventually(&format!("{words} in {}", files.log()), async || is_told(files.log())).await;
}

#[tokio::test]
async fn backends_are_believed_by_authority_and_name() {
    let (authority, other) = (Authority::new("authority"), Authority::new("other"));
    let by_address = Secured::start(authority.host(&["127.0.0.1"]).serving(None)).await;
    let by_name = Secured::start(authority.host(&["orders.test"]).serving(None)).await;
    let files = Files::new();
    let ca = files.ca(&authority);
    let address = by_address.address.to_string();
    reached(&by_address, &files, &format!("tls: {{ {ca} }}"), &address).await;
    let named = format!("tls: {{ {ca}, server_name: orders.test }}");
    reached(&by_name, &files, &named, "orders.test").await;
    refused(&by_name.url(), &files, &format!("tls: {{ {ca} }}"), "not valid for name").await;
    let misnamed = format!("tls: {{ {ca}, server_name: other.test }}");
    refused(&by_address.url(), &files, &misnamed, "not valid for name").await;
    let ca = files.ca(&other);
    refused(&by_address.url(), &files, &format!("tls: {{ {ca} }}"), "UnknownIssuer").await;
    let ca = files.ca(&authority);
    let late = Secured::start(authority.expired(&["127.0.0.1"]).serving(None)).await;
    refused(&late.url(), &files, &format!("tls: {{ {ca} }}"), "certificate expired").await;
    assert_eq!(late.seen.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_system_is_believed_where_nothing_is_said() {
    let authority = Authority::new("authority");
    let backend = Secured::start(authority.host(&["127.0.0.1"]).serving(None)).await;
    let files = Files::new();
    files.write("ca.crt", &authority.pem);
    for service in ["", "tls: true", "tls: {}", "tls: false"] {
        let file = files.configure(&backend.url(), service);
        let variable = ("SSL_CERT_FILE", files.path("ca.crt"));
        let arguments = ["--config", file.to_str().expect("UTF-8")];
        let gateway = Gateway::start_with_variable(variable, &arguments).await;
        assert_eq!(get(&gateway).await.status, 200, "{service}");
    }
}

#[tokio::test]
async fn backends_that_ask_are_shown_a_certificate() {
    let (authority, clients, other) =
        (Authority::new("authority"), Authority::new("clients"), Authority::new("other"));
    let backend = Secured::start(authority.host(&["127.0.0.1"]).serving(Some(&clients))).await;
    let files = Files::new();
    let ca = files.ca(&authority);
    let shown = clients.client("spiffe://edge.test/gateway");
    let pair = files.pair(&shown);
    reached(&backend, &files, &format!("tls: {{ {ca}, {pair} }}"), &backend.address.to_string()).await;
    assert!(shown.is(backend.seen.certificate.lock().expect("no panic").as_ref()));
    // TLS 1.3 says so after the handshake: no call must have gone by then.
    refused(&backend.url(), &files, &format!("tls: {{ {ca} }}"), "CertificateRequired").await;
    let pair = files.pair(&other.client("spiffe://edge.test/gateway"));
    refused(&backend.url(), &files, &format!("tls: {{ {ca}, {pair} }}"), "received fatal alert").await;
    assert_eq!(backend.seen.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn both_sides_must_agree_on_tls_and_http2() {
    let authority = Authority::new("authority");
    let files = Files::new();
    let tls = format!("tls: {{ {} }}", files.ca(&authority));
    for protocols in [&["http/1.1"][..], &[]] {
        let mut config = authority.host(&["127.0.0.1"]).serving(None);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let backend = Secured::start(config).await;
        refused(&backend.url(), &files, &tls, "does not offer HTTP/2").await;
    }
    let plain = Backend::echo().await;
    let secured = plain.url().replace("http:", "https:");
    refused(&secured, &files, &tls, "does not speak TLS").await;
    let backend = Secured::start(authority.host(&["127.0.0.1"]).serving(None)).await;
    let plain = backend.url().replace("https:", "http:");
    refused(&plain, &files, "", "does it speak gRPC without TLS?").await;
}

#[tokio::test]
async fn silent_backends_have_the_time_of_a_connection() {
    let authority = Authority::new("authority");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("https://{}", listener.local_addr().expect("a bound address"));
    let files = Files::new();
    let service = format!("tls: {{ {} }}, connect_timeout: 100ms", files.ca(&authority));
    refused(&url, &files, &service, "timed out").await;
}

#[tokio::test]
async fn renewed_certificates_cost_no_call() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = Files::new();
    let both = |first: &Authority, second: &Authority| format!("{}{}", first.pem, second.pem);
    let config = |serving: &Authority, clients: &[&Authority]| {
        serving.host(&["127.0.0.1"]).serving_clients_of(clients)
    };
    let backend = Secured::start(config(&old, &[&old, &new])).await;
    let (before, after) = (old.client("spiffe://a.test/old"), new.client("spiffe://a.test/new"));
    let keys = format!("tls: {{ {}, {} }}", files.ca(&old), files.pair(&before));
    let gateway = files.gateway(&backend.url(), &keys).await;
    assert_eq!(get(&gateway).await.status, 200);

    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (done, answered, address) = (done.clone(), answered.clone(), gateway.address);
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    let answer = http::send(address, http::request("GET", "/v1/items/1"), "").await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let metric = async |name: &str| {
        let page = http::send(gateway.admin, http::request("GET", "/metrics"), "").await;
        let prefix = format!("transom_{name}_total ");
        let value = page.text().lines().find_map(|line| line.strip_prefix(&prefix)?.parse::<u64>().ok());
        value.unwrap_or_else(|| panic!("no {name}"))
    };
    let reads = async || metric("file_reloads").await;
    let first = reads().await;
    files.write("ca.crt", &both(&old, &new));
    eventually("both authorities", async || reads().await > first).await;
    // A key that does not fit changes nothing.
    files.write("edge.key", &after.key);
    eventually("a refusal", async || metric("file_reload_failures").await > 0).await;
    let second = reads().await;
    files.write("edge.crt", &after.chain);
    eventually("the new pair", async || reads().await > second).await;
    let shown = || backend.seen.certificate.lock().expect("no panic").clone();
    assert!(before.is(shown().as_ref()), "open connections stay as they are");
    backend.change(config(&new, &[&new]));
    eventually("connections by the new pair", async || after.is(shown().as_ref())).await;
    let third = reads().await;
    files.write("ca.crt", &new.pem);
    eventually("the new authority alone", async || reads().await > third).await;
    backend.change(config(&new, &[&new]));
    let so_far = answered.load(Ordering::SeqCst);
    eventually("calls after it", async || answered.load(Ordering::SeqCst) > so_far + 20).await;
    done.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.expect("no call failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_finds_what_keeps_backends_from_being_reached() {
    let authority = Authority::new("authority");
    let backend = Secured::start(authority.host(&["127.0.0.1"]).serving(None)).await;
    let files = Files::new();
    let (ca, directory) = (files.ca(&authority), files.0.path().display());
    let pair = files.pair(&authority.host(&["edge.test"]));
    files.write("expired.crt", "");
    let line = "services: { door: { endpoints: { static: [\"https://";
    let case = |service: &str, more: &[&str], place: &str, words: &str| {
        files.configure(&backend.url(), service);
        let (code, told) = files.check(more);
        let column = line.len() + backend.address.to_string().len() + "\"] }, ".len();
        let start = place.find('^').map(|at| column + at + 1);
        let is_told = start.is_none_or(|start| told.contains(&format!("transom.yaml:3:{start}: ")));
        assert!(is_told && told.contains(words), "{service}: {code:?} {told}");
    };
    let none = format!("`{directory}/none`: No such file");
    let at = |key: &str, service: &str| {
        let found = service.find(&format!("{key}: ")).expect("a key") + key.len() + 2;
        " ".repeat(found) + "^"
    };
    for (key, value, words) in [
        ("ca", "none", &*none),
        ("ca", "edge.key", "expected a certificate in PEM, found none"),
        ("cert", "none", &none),
        ("cert", "edge.key", "expected a certificate in PEM, found none"),
        ("key", "none", &none),
        ("key", "ca.crt", "expected a private key in PEM"),
        ("server_name", "a b", "is neither a host name nor an address"),
    ] {
        let file = |name: &str| format!("file:{directory}/{name}");
        let value = if key == "server_name" { value.to_owned() } else { file(value) };
        let mut keys = vec![("ca", file("ca.crt")), ("cert", file("edge.crt")), ("key", file("edge.key"))];
        keys.retain(|(name, _)| *name != key);
        keys.push((key, value));
        let keys: Vec<_> = keys.iter().map(|(key, value)| format!("{key}: {value:?}")).collect();
        let service = format!("tls: {{ {} }}", keys.join(", "));
        case(&service, &[], &at(key, &service), words);
    }
    case(&format!("tls: {{ {ca}, {pair} }}"), &["--strict", "--online"], "", "no findings");
    let expired = authority.expired(&["edge.test"]);
    let service = format!("tls: {{ {ca}, {} }}", files.pair(&expired));
    case(&service, &[], &at("cert", &service), "edge.crt` has expired");
    let service = format!("tls: {{ {ca}, server_name: b.test }}");
    case(&service, &["--online"], "", "certificate not valid for name \"b.test\"");
    case("tls: { ca: file:elsewhere }", &["--no-secrets"], "", "no findings");
}
