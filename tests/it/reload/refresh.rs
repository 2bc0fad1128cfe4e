//! Backends that are asked again for their descriptors: what they say anew, and what the file says meanwhile.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tonic::transport::Server;
use tonic_reflection::server::Builder;

use super::{Reloading, write};
use crate::support::backend::Backend;
use crate::support::{Directory, eventually};

const APPLIED: &str = "transom_config_reload_total{result=\"applied\"}";
const REJECTED: &str = "transom_config_reload_total{result=\"rejected\"}";
const UNCHANGED: &str = "transom_config_reload_total{result=\"unchanged\"}";
const SUCCESSFUL: &str = "transom_config_last_reload_successful";

/// A backend that says of itself what the test has it say, and does nothing else.
struct Describing {
    url: String,
    set: Arc<Mutex<Vec<u8>>>,
}

impl Describing {
    /// One with a route for each path.
    async fn start(paths: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let set = Arc::new(Mutex::new(set(paths)));
        let said = Arc::clone(&set);
        tokio::spawn(async move {
            // Who asks again connects again.
            while let Ok((stream, _)) = listener.accept().await {
                let said = said.lock().expect("no panic").clone();
                let reflection = Builder::configure().register_encoded_file_descriptor_set(&said).build_v1();
                let server = Server::builder().add_service(reflection.expect("a valid set"));
                let incoming = tokio_stream::once(std::io::Result::Ok(stream)).chain(tokio_stream::pending());
                tokio::spawn(server.serve_with_incoming(incoming));
            }
        });
        Self { url, set }
    }

    fn say(&self, paths: &[&str]) {
        *self.set.lock().expect("no panic") = set(paths);
    }

    /// Asked once a second.
    fn source(&self) -> String {
        format!("descriptors: [{{ reflect: {:?}, refresh: 1s }}]\n", self.url)
    }
}

/// `a.proto` alone.
struct One(String);

impl FileResolver for One {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "a.proto" => File::from_source(name, &self.0),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// A set of one service with these paths.
fn set(paths: &[&str]) -> Vec<u8> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(One(super::losses::proto(paths, "string x = 1;")));
    resolver.add(IncludeFileResolver::new(concat!(env!("CARGO_MANIFEST_DIR"), "/proto").into()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file("a.proto").expect("a good text");
    compiler.encode_file_descriptor_set()
}

/// Waits until the backend has been asked so often again, and has said nothing new.
async fn asked_again(reloading: &Reloading, times: u64) {
    let before = reloading.sample(UNCHANGED).await;
    eventually("it is asked again", async || reloading.sample(UNCHANGED).await >= before + times).await;
}

#[tokio::test]
async fn new_route_of_a_backend_is_served() {
    let (backend, describing) = (Backend::echo().await, Describing::start(&["/v1/a"]).await);
    let reloading = Reloading::start(&backend, &describing.source()).await;
    assert_eq!((reloading.get("/v1/a").await, reloading.get("/v1/b").await), (200, 404));
    describing.say(&["/v1/a", "/v1/b"]);
    eventually("the new route serves", async || reloading.get("/v1/b").await == 200).await;
    assert_eq!(reloading.get("/v1/a").await, 200);
    describing.say(&["/v1/b"]);
    eventually("the old route is gone", async || reloading.get("/v1/a").await == 404).await;
    assert_eq!((reloading.sample(APPLIED).await, reloading.sample(REJECTED).await), (2, 0));
}

#[tokio::test]
async fn file_that_changes_between_questions_is_loaded() {
    let (backend, describing) = (Backend::echo().await, Describing::start(&["/v1/a"]).await);
    let sections = |names: &str| {
        format!("reload: {{ watch: true }}\n{}json: {{ names: {names} }}\n", describing.source())
    };
    let reloading = Reloading::start(&backend, &sections("json")).await;
    // Changes take most of a second to be noticed, and the backend is asked each second: of what is written late
    // between two questions, the next one comes first.
    for (generation, names, later_ms) in
        [(2, "proto", 0), (3, "json", 300), (4, "proto", 600), (5, "json", 800)]
    {
        asked_again(&reloading, 1).await;
        tokio::time::sleep(Duration::from_millis(later_ms)).await;
        reloading.write(&sections(names));
        eventually("the file is loaded", async || {
            reloading.sample("transom_config_generation").await == generation
        })
        .await;
        assert_eq!(reloading.page("/config").await.json()["json"]["names"], names);
    }
}

#[tokio::test]
async fn refused_file_is_no_less_refused_when_a_backend_is_asked() {
    let (backend, describing) = (Backend::echo().await, Describing::start(&["/v1/a"]).await);
    let sections = |more: &str| {
        format!("reload: {{ watch: true }}\n{}surfaces: {{ web: {more} }}\n", describing.source())
    };
    let reloading = Reloading::start(&backend, &sections("{}")).await;
    reloading.write(&sections("{ polices: [] }"));
    eventually("the file is refused", async || reloading.sample(REJECTED).await == 1).await;
    asked_again(&reloading, 2).await;
    assert_eq!((reloading.sample(SUCCESSFUL).await, reloading.sample(REJECTED).await), (0, 1));
    // What the backend says is served meanwhile, and mends no file either.
    describing.say(&["/v1/a", "/v1/b"]);
    eventually("the new route serves", async || reloading.get("/v1/b").await == 200).await;
    assert_eq!(reloading.sample(SUCCESSFUL).await, 0);
    reloading.write(&sections("{}"));
    eventually("the file is mended", async || reloading.sample(SUCCESSFUL).await == 1).await;
}

#[tokio::test]
async fn backend_that_takes_something_away_is_refused_and_told_once() {
    let (backend, describing) = (Backend::echo().await, Describing::start(&["/v1/a", "/v1/b"]).await);
    let directory = Directory::new("refresh-audit");
    let log = directory.path().join("audit.log");
    let source = describing.source();
    let sections = format!(
        "reload: {{ watch: false, refuse_breaking: true }}\n{source}observe: {{ audit: {{ file: {log:?} }} }}\n"
    );
    let reloading = Reloading::start(&backend, &sections).await;
    let refused = async |times: u64| {
        eventually("it is refused", async || reloading.sample(REJECTED).await >= times).await;
        let text = std::fs::read_to_string(&log).expect("a log");
        let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        entries.filter(|entry| entry["event"] == "config.refused").count()
    };
    describing.say(&["/v1/a"]);
    assert_eq!(refused(3).await, 1);
    assert_eq!((reloading.sample(SUCCESSFUL).await, reloading.get("/v1/b").await), (0, 200));
    // Something else is.
    describing.say(&["/v1/b"]);
    eventually("that is told", async || refused(1).await == 2).await;
    // What it said before is good, and it is no news that it said something else.
    describing.say(&["/v1/a", "/v1/b"]);
    eventually("it is good again", async || reloading.sample(SUCCESSFUL).await == 1).await;
    let before = reloading.sample(REJECTED).await;
    describing.say(&["/v1/a"]);
    assert_eq!(refused(before + 2).await, 2);
}

#[tokio::test]
async fn what_a_refused_file_lacks_is_waited_for() {
    let backend = Backend::echo().await;
    let directory = Directory::new("awaited");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let jwt = format!(
        "issuer: \"https://id.test\", audiences: [api], algorithms: [HS256], secret: \"file:{}\"",
        path("secret")
    );
    let token = format!(
        "auth: {{ corp: {{ jwt: {{ {jwt} }} }} }}\npolicies: {{ open: {{ auth: none }} }}\nsurfaces: {{ web: {{ policies: [open] }} }}"
    );
    let list = format!(
        "policies: {{ edge: {{ deny: {{ cidr: \"file:{}\" }} }} }}\nsurfaces: {{ web: {{ policies: [edge] }} }}",
        path("list")
    );
    let set = format!("descriptors: [{{ proto: {:?} }}]", path("a.proto"));
    let cases = [
        (token, "secret", "s3cret-s3cret-s3cret-s3cret-s3cret".to_owned()),
        (list, "list", "192.0.2.0/24\n".to_owned()),
        (set, "a.proto", super::losses::proto(&["/v1/a"], "string x = 1;")),
    ];
    let reloading = Reloading::start(&backend, "reload: { watch: true }\n").await;
    for ((generation, rejected), (sections, lacking, text)) in (2..).zip(1..).zip(cases) {
        reloading.write(&format!("reload: {{ watch: true }}\n{sections}\n"));
        eventually("the file is refused", async || reloading.sample(REJECTED).await == rejected).await;
        write(&directory, lacking, &text);
        let served = async || reloading.sample("transom_config_generation").await == generation;
        eventually("what it lacked is there", served).await;
        assert_eq!(reloading.sample(REJECTED).await, rejected, "{lacking}");
    }
}
