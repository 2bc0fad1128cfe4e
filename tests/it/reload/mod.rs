//! Reloads at the real doors: what begins them, what they change, what they leave alone, how they are refused.

mod listeners;
mod load;
mod losses;
mod refresh;
mod watch;

use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::Notify;

use crate::limits::{get, sample, verdict};
use crate::support::backend::{Backend, messages, respond, status};
use crate::support::http::{self as client, Answer};
use crate::support::{Directory, Gateway, eventually, soon};

/// A gateway with a configuration file that the test may change.
pub(crate) struct Reloading {
    pub(crate) gateway: Gateway,
    directory: Directory,
    backend: String,
}

impl Reloading {
    /// In front of `backend`, with these sections and those that they leave out.
    pub(crate) async fn start(backend: &Backend, sections: &str) -> Self {
        let directory = Directory::new("reload");
        let file = directory.path().join("transom.yaml");
        write(&directory, "transom.yaml", &text(&backend.url(), sections));
        let gateway = Gateway::start(&["--config", file.to_str().expect("a path in UTF-8")]).await;
        Self { gateway, directory, backend: backend.url() }
    }

    /// Puts other sections in the file, in one step.
    pub(crate) fn write(&self, sections: &str) {
        self.write_whole(&text(&self.backend, sections));
    }

    pub(crate) fn write_whole(&self, text: &str) {
        write(&self.directory, "transom.yaml", text);
    }

    /// `POST /config/reload`.
    pub(crate) async fn post(&self) -> Answer {
        soon(client::send(self.gateway.admin, client::request("POST", "/config/reload"), "")).await
    }

    /// Puts other sections in the file and has them loaded, which must succeed.
    pub(crate) async fn apply(&self, sections: &str) -> Value {
        self.write(sections);
        let answer = self.post().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["result"], "applied", "{}", answer.text());
        answer.json()
    }

    pub(crate) async fn page(&self, path: &str) -> Answer {
        soon(client::send(self.gateway.admin, client::request("GET", path), "")).await
    }

    /// The number of a call.
    async fn get(&self, path: &str) -> u16 {
        soon(client::send(self.gateway.address, client::request("GET", path), "")).await.status.as_u16()
    }

    async fn sample(&self, name: &str) -> u64 {
        sample(&self.gateway, name).await as u64
    }
}

fn text(backend: &str, sections: &str) -> String {
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/door.proto");
    let mut text = "version: 1\n".to_owned();
    if !sections.contains("reload:") {
        // What asks is the test alone.
        text.push_str("reload: { watch: false }\n");
    }
    if !sections.contains("descriptors:") {
        text.push_str(&format!("descriptors: [{{ proto: {proto:?} }}]\n"));
    }
    if !sections.contains("services:") {
        text.push_str(&format!("services: {{ door: {{ endpoints: {{ static: [{backend:?}] }} }} }}\n"));
    }
    text + sections
}

/// By a rename, so that nobody reads half of it.
fn write(directory: &Directory, name: &str, text: &str) {
    let next = directory.path().join(format!("{name}.next"));
    std::fs::write(&next, text).expect("the directory is writable");
    std::fs::rename(&next, directory.path().join(name)).expect("the directory is ours");
}

const HIDDEN: &str = "surfaces: { web: { rules: [{ match: \"door.v1.Door.Create\" }] } }";
const SHOWN: &str = "surfaces: { web: {} }";

#[tokio::test]
async fn each_trigger_loads_the_file_again() {
    let backend = Backend::echo().await;
    let reloading = Reloading::start(&backend, HIDDEN).await;
    assert_eq!(reloading.get("/v1/items/7").await, 404);
    reloading.apply(SHOWN).await;
    assert_eq!(reloading.get("/v1/items/7").await, 200);
    reloading.write(HIDDEN);
    reloading.gateway.hang_up();
    eventually("the signal is heard", async || reloading.sample("transom_config_generation").await == 3)
        .await;
    assert_eq!(reloading.get("/v1/items/7").await, 404);
    assert_eq!(reloading.page("/config").await.json()["generation"], 3);
    assert_eq!(reloading.page("/stats").await.json()["generation"], 3);
    assert!(reloading.page("/config").await.json()["surfaces"]["web"]["rules"].is_array());
}

#[tokio::test]
async fn refused_file_changes_nothing_and_says_where() {
    let backend = Backend::echo().await;
    let reloading = Reloading::start(&backend, SHOWN).await;
    let seconds = reloading.sample("transom_config_last_reload_timestamp_seconds").await;
    reloading.write("surfaces: { web: { polices: [] } }");
    let answer = reloading.post().await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    let answer = answer.json();
    assert_eq!((&answer["result"], &answer["generation"]), (&"rejected".into(), &1.into()));
    let finding = &answer["findings"][0];
    assert_eq!((&finding["line"], &finding["column"]), (&5.into(), &20.into()), "{answer:#}");
    assert!(finding["file"].as_str().is_some_and(|file| file.ends_with("transom.yaml")));
    assert!(finding["message"].as_str().is_some_and(|text| text.contains("polices")), "{answer:#}");
    for (name, value) in [
        ("transom_config_reload_total{result=\"rejected\"}", 1),
        ("transom_config_reload_total{result=\"applied\"}", 0),
        ("transom_config_last_reload_successful", 0),
        ("transom_config_generation", 1),
    ] {
        assert_eq!(reloading.sample(name).await, value, "{name}");
    }
    assert!(reloading.sample("transom_config_last_reload_timestamp_seconds").await >= seconds);
    assert_eq!(reloading.page("/readyz").await.status, 200);
    assert_eq!(reloading.get("/v1/items/7").await, 200);
    // What is broken is mended: the file is as it was, and nothing is different.
    reloading.write(SHOWN);
    let answer = reloading.post().await;
    assert_eq!((answer.status.as_u16(), &answer.json()["result"]), (200, &"unchanged".into()));
    assert_eq!(reloading.sample("transom_config_reload_total{result=\"unchanged\"}").await, 1);
    assert_eq!(reloading.sample("transom_config_last_reload_successful").await, 1);
    assert_eq!(reloading.sample("transom_config_generation").await, 1);
}

#[tokio::test]
async fn what_cannot_be_built_is_refused_at_its_line() {
    let backend = Backend::echo().await;
    let reloading = Reloading::start(&backend, SHOWN).await;
    let check = async |sections: &str, line: u64, message: &str| {
        reloading.write(sections);
        let answer = reloading.post().await;
        assert_eq!(answer.status, 422, "{sections}: {}", answer.text());
        let finding = &answer.json()["findings"][0];
        assert_eq!(finding["line"], line, "{sections}: {finding}");
        assert!(finding["message"].as_str().is_some_and(|text| text.contains(message)), "{finding}");
        assert_eq!(reloading.get("/v1/items/7").await, 200, "{sections}");
    };
    check("descriptors: [{ file: no-such-set.binpb }]\n", 4, "No such file").await;
    check("surfaces: { web: { rules: [{ match: \"no.such.*\" }] } }", 5, "matches no method").await;
    check(
        "policies: { a: { deny: { cidr_file: no-such-list } } }\nsurfaces: { web: { policies: [a] } }",
        5,
        "",
    )
    .await;
    check("versions: 2", 5, "").await;
    check("surfaces: { web: {}", 5, "").await;
    assert_eq!(reloading.sample("transom_config_reload_total{result=\"rejected\"}").await, 5);
    // The file is away for a moment.
    reloading.write_whole("");
    assert_eq!(reloading.post().await.status, 422);
}

#[tokio::test]
async fn calls_in_flight_end_on_the_snapshot_with_which_they_began() {
    static ANSWER: Notify = Notify::const_new();
    let backend = Backend::start(async |request| {
        if request.uri().path().ends_with("/Watch") {
            let (sender, body) = crate::support::backend::channel();
            tokio::spawn(async move {
                for name in [b"\x0a\x01a", b"\x0a\x01b"] {
                    let frame = crate::support::backend::framed(name);
                    let _ = sender.send(hyper::body::Frame::data(frame)).await;
                    ANSWER.notified().await;
                }
                let _ = sender.send(hyper::body::Frame::trailers(status(0, ""))).await;
            });
            return respond(http::HeaderMap::new(), body);
        }
        ANSWER.notified().await;
        respond(http::HeaderMap::new(), messages(&[bytes::Bytes::from_static(b"\x0a\x01x")], status(0, "")))
    })
    .await;
    let reloading = Reloading::start(&backend, "json: { names: json }").await;
    let address = reloading.gateway.address;
    let unary =
        tokio::spawn(async move { client::send(address, client::request("GET", "/v1/items/7"), "").await });
    let stream = soon(client::open(address, client::request("GET", "/v1/items/7:watch"), "")).await;
    let mut stream = stream.into_body();
    let first = soon(stream.frame()).await.expect("a frame").expect("good").into_data().expect("data");
    assert_eq!(first, "{\"name\":\"a\"}\n");
    eventually("both calls are in flight", async || backend.calls() == 2).await;
    // Neither the routes nor the service of the calls in flight are there any more.
    let other = Backend::echo().await;
    let url = other.url();
    reloading
        .apply(&format!("{HIDDEN}\nservices: {{ other: {{ endpoints: {{ static: [{url:?}] }} }} }}\n"))
        .await;
    assert_eq!(reloading.get("/v1/items/7").await, 404);
    eventually("the calls end", async || {
        ANSWER.notify_one();
        unary.is_finished()
    })
    .await;
    let answer = unary.await.expect("the client lives");
    assert_eq!((answer.status.as_u16(), answer.text()), (200, r#"{"name":"x"}"#));
    let rest = async {
        let mut rest = Vec::new();
        while let Some(frame) = stream.frame().await {
            rest.extend(frame.expect("good").into_data().ok());
            ANSWER.notify_one();
        }
        rest.concat()
    };
    assert_eq!(soon(rest).await, b"{\"name\":\"b\"}\n");
    eventually("the old service's connections are closed", async || {
        reloading.sample("transom_upstream_connections_open").await == 0
    })
    .await;
}

#[tokio::test]
async fn buckets_stay_as_they_are() {
    let backend = Backend::echo().await;
    let limited = |more: &str| {
        format!(
            "policies: {{ edge: {{ rate: {{ by: ip, limit: 2/h }}{more} }} }}\nsurfaces: {{ web: {{ policies: [edge] }} }}\n"
        )
    };
    let reloading = Reloading::start(&backend, &limited("")).await;
    for _ in 0..2 {
        assert_eq!(get(&reloading.gateway, &[]).await.status, 200);
    }
    assert_eq!(verdict(&get(&reloading.gateway, &[]).await).0, 429);
    reloading.apply(&limited(", deny: { cidr: [192.0.2.1] }")).await;
    assert_eq!(verdict(&get(&reloading.gateway, &[]).await).0, 429, "still drained");
    let counted = reloading.page("/stats").await.json();
    assert_eq!(counted["surfaces"]["web"]["total"]["calls"], 4, "{counted:#}");
}

#[tokio::test]
async fn connections_to_a_backend_that_stays_are_not_opened_again() {
    let (backend, other) = (Backend::echo().await, Backend::echo().await);
    let reloading = Reloading::start(&backend, HIDDEN).await;
    let call = async || {
        let request = client::request("POST", "/v1/items");
        let answer = soon(client::send(reloading.gateway.address, request, "{}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    for round in 0..20 {
        call().await;
        reloading.apply(&format!("{HIDDEN}\njson: {{ names: {} }}", ["proto", "json"][round % 2])).await;
    }
    let (connections, calls) = (backend.connections(), backend.calls());
    assert!(connections <= 2, "one for each worker, not {connections}");
    // Another backend under the same name, and another setting of the same backend.
    let service = |url: &str, more: &str| {
        format!("{HIDDEN}\nservices: {{ door: {{ endpoints: {{ static: [{url:?}] }}{more} }} }}")
    };
    reloading.apply(&service(&other.url(), "")).await;
    call().await;
    assert_eq!((backend.calls(), other.calls()), (calls, 1));
    reloading.apply(&service(&other.url(), ", connect_timeout: 1s")).await;
    call().await;
    assert_eq!((other.calls(), other.connections()), (2, 2));
    eventually("connections that nobody needs are closed", async || {
        reloading.sample("transom_upstream_connections_open").await == 1
    })
    .await;
}

#[tokio::test]
async fn keys_that_need_a_restart_are_told_and_held_back() {
    let backend = Backend::echo().await;
    let reloading = Reloading::start(&backend, SHOWN).await;
    let file = reloading.directory.path().join("audit.log");
    let held = format!("{SHOWN}\nobserve: {{ audit: {{ file: {file:?} }} }}");
    reloading.write(&held);
    let answer = reloading.post().await.json();
    assert_eq!(answer["result"], "unchanged", "{answer:#}");
    let warning = &answer["warnings"][0];
    assert_eq!(warning["message"], "`observe.audit` holds after a restart");
    assert_eq!((&warning["line"], &warning["severity"]), (&6.into(), &"warning".into()));
    // Whatever else is different holds, and the page shows what does.
    let answer = reloading.apply(&format!("{held}\njson: {{ names: proto }}")).await;
    assert_eq!(answer["warnings"][0]["message"], "`observe.audit` holds after a restart");
    let shown = reloading.page("/config").await.json();
    assert_eq!((&shown["json"]["names"], shown["observe"].get("audit")), (&"proto".into(), None));
}

#[tokio::test]
async fn audit_log_tells_who_reloaded_what() {
    let backend = Backend::echo().await;
    let directory = Directory::new("reload-audit");
    let log = directory.path().join("audit.log");
    let sections = |more: &str| format!("observe: {{ audit: {{ file: {log:?} }} }}\n{more}");
    let reloading = Reloading::start(&backend, &sections(SHOWN)).await;
    reloading.apply(&sections(HIDDEN)).await;
    reloading.write(&sections("surfaces: []"));
    assert_eq!(reloading.post().await.status, 422);
    let text = std::fs::read_to_string(&log).expect("a log");
    let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let events: Vec<_> = entries.iter().map(|entry| (&entry["event"], &entry["actor"])).collect();
    let (loaded, refused, admin) =
        ("config.loaded".into(), "config.refused".into(), "admin from 127.0.0.1".into());
    assert_eq!(events, [(&loaded, &"start".into()), (&loaded, &admin), (&refused, &admin)]);
    let changes = entries[1]["data"]["changes"].as_array().expect("changes");
    assert_eq!((changes.len(), &changes[0]["name"]), (1, &"surfaces.web".into()));
    assert_ne!(changes[0]["before"], changes[0]["after"]);
    assert!(entries[2]["data"]["findings"][0].as_str().is_some_and(|line| line.contains("transom.yaml:6:")));
}

#[tokio::test]
async fn gateway_of_flags_loads_its_descriptors_again() {
    let backend = Backend::echo().await;
    let directory = Directory::new("reload-flags");
    let proto = |path: &str| {
        format!(
            "syntax = \"proto3\"; package a; import \"google/api/annotations.proto\";\nmessage M {{}}\n\
             service S {{ rpc Get(M) returns (M) {{ option (google.api.http) = {{ get: \"{path}\" }}; }} }}\n"
        )
    };
    write(&directory, "a.proto", &proto("/v1/a"));
    let file = directory.path().join("a.proto");
    let url = backend.url();
    let arguments = ["--proto", file.to_str().expect("UTF-8"), "--upstream", &url];
    let gateway = Gateway::start(&arguments).await;
    let get =
        async |path: &str| soon(client::send(gateway.address, client::request("GET", path), "")).await.status;
    assert_eq!((get("/v1/a").await, get("/v1/b").await), (http::StatusCode::OK, http::StatusCode::NOT_FOUND));
    write(&directory, "a.proto", &proto("/v1/b"));
    gateway.hang_up();
    eventually("the descriptors are loaded", async || get("/v1/b").await == 200).await;
    assert_eq!(get("/v1/a").await, 404);
}

#[tokio::test]
async fn requests_at_once_share_a_reload() {
    let backend = Backend::echo().await;
    let reloading = Reloading::start(&backend, HIDDEN).await;
    reloading.write(SHOWN);
    let admin = reloading.gateway.admin;
    let mut posts = tokio::task::JoinSet::new();
    for _ in 0..10 {
        posts.spawn(async move { client::send(admin, client::request("POST", "/config/reload"), "").await });
    }
    let answers = soon(posts.join_all()).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let applied = answers.iter().filter(|answer| answer.json()["result"] == "applied").count();
    assert!(applied >= 1);
    assert_eq!(reloading.sample("transom_config_generation").await, 2);
    assert_eq!(reloading.get("/v1/items/7").await, 200);
}

#[tokio::test]
async fn secrets_are_in_no_answer() {
    let backend = Backend::echo().await;
    let reloading = Reloading::start(&backend, SHOWN).await;
    let secret = reloading.directory.path().join("secret");
    std::fs::write(&secret, "hunter2".repeat(8)).expect("writable");
    let jwt = format!("secret: \"file:{}\"", secret.display());
    let sections = format!(
        "auth: {{ corp: {{ jwt: {{ issuer: \"https://id.example\", audiences: [api], algorithms: [HS256], {jwt} }} }} }}\n\
         policies: {{ open: {{ auth: none }} }}\nsurfaces: {{ web: {{ policies: [open] }} }}\n"
    );
    let answer = reloading.apply(&sections).await.to_string();
    let page = reloading.page("/config").await;
    for text in [answer.as_str(), page.text()] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    reloading.write("listeners: { admin: { token: hunter2 } }");
    let answer = reloading.post().await;
    assert_eq!(answer.status, 422);
    assert!(!answer.text().contains("hunter2"), "{}", answer.text());
}
