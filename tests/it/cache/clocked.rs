//! Every case through frontend and stages, with a backend that is a script and a clock that the case moves.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::BodyExt;
use tower::{Service, ServiceExt};
use transom::call::{Call, Client, ClientBody, Failure, Head, Reply, ReplyBody};
use transom::config::{Config, Elsewhere};
use transom::frontend::{self, Exchange, Opened};
use transom::gateway::Gateway;
use transom::snapshot::Snapshot;
use transom::stage::cache::{Bounds, Cache, Caching};
use transom::stage::{self, Calls, Stages};
use transom::status::{Code, Status};
use transom::telemetry::Metrics;

use super::case::{self, Asks, Door, Says};

thread_local! {
    static NOW: Cell<Instant> = Cell::new(Instant::now());
}

/// It stands still until the test moves it.
fn clock() -> Instant {
    NOW.get()
}

/// A backend that says what it is told to, and counts how often.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<(Says, u32)>>);

impl Service<Call> for Script {
    type Response = Reply;
    type Error = Failure;
    type Future = std::future::Ready<Result<Reply, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let mut script = self.0.lock().expect("one thread");
        script.1 += 1;
        let (says, count) = &*script;
        std::future::ready(if says.code == 0 {
            let json = Bytes::from(format!("{{\"count\":{count}}}"));
            let metadata = says.metadata.clone();
            let trailers = HeaderMap::new();
            let body = if call.binding.raw_response {
                let content_type = Some(HeaderValue::from_static("text/plain"));
                ReplyBody::Raw { content_type, body: json, trailers }
            } else {
                ReplyBody::Unary { json, trailers }
            };
            Ok(Reply { metadata, body })
        } else {
            Err(Status::backend(Code::from_number(says.code.into()), "as the script says").into())
        })
    }
}

struct Clocked {
    snapshot: Arc<Snapshot>,
    rules: Vec<&'static str>,
    stages: Stages<Script>,
    script: Script,
}

impl Clocked {
    async fn new(rules: Vec<&'static str>) -> Self {
        let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/door.proto");
        let text = format!(
            "version: 1\ndescriptors: [{{ proto: {proto:?} }}]\n\
             services: {{ door: {{ endpoints: {{ static: [\"http://127.0.0.1:1\"] }} }} }}\n{}",
            case::surfaces(&rules)
        );
        let config =
            Config::parse(&text, Path::new("cache.yaml"), Elsewhere::default()).expect("a good file");
        let snapshot = Gateway::build(&config).await.expect("a good gateway").snapshot();
        let mut snapshot = Arc::try_unwrap(snapshot).expect("the gateway is gone");
        let rules_of_stage = snapshot.live.get::<Arc<Caching>>().expect("a cache").rules.clone();
        let cache = Arc::new(Cache::with_clock(Bounds::default(), Arc::default(), clock));
        snapshot.live.insert(Arc::new(Caching { cache, rules: rules_of_stage, stores: HashMap::new() }));
        let script = Script::default();
        let metrics = Metrics::new();
        let (stages, _) = stage::stack(script.clone(), &Calls::default(), &metrics.worker());
        Self { snapshot: Arc::new(snapshot), rules, stages, script }
    }
}

impl Door for Clocked {
    const SLACK_S: i64 = 0;

    fn says(&mut self, says: Says) {
        self.script.0.lock().expect("one thread").0 = says;
    }

    async fn ask(&mut self, case: usize, rule: &str, asks: &Asks) -> (u16, HeaderMap, Vec<u8>) {
        NOW.set(NOW.get() + Duration::from_secs(asks.after_s));
        let host = self.rules.iter().position(|one| *one == rule).expect("a rule of all");
        let path = if asks.query.starts_with('/') { String::new() } else { format!("/v1/items/{case}") };
        let mut request = Request::new(());
        *request.method_mut() = asks.verb.parse().expect("a verb");
        *request.uri_mut() = format!("{path}{}", asks.query).parse().expect("a target");
        *request.headers_mut() = asks.headers.clone();
        request.headers_mut().insert("host", format!("c{host}").parse().expect("a host"));
        let (parts, ()) = request.into_parts();
        let address = IpAddr::from([127, 0, 0, 1]);
        let client = Client::new(address, address, "http");
        let head = Arc::new(Head::new(parts, client, HeaderValue::from_static("1"), Instant::now()));
        let frontend = frontend::classify(&head);
        let mut exchange = Exchange::new(self.snapshot.clone(), head, 0);
        let outcome = match frontend.open(&mut exchange, ClientBody::empty()) {
            Ok(Opened::Call(call)) => self.stages.clone().oneshot(call).await,
            Ok(Opened::Aggregate(_)) => unreachable!("no case has a document"),
            Err(status) => Err(status.into()),
        };
        let (head, body) = frontend::respond(frontend, &mut exchange, outcome).into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        // What is done in the background is done before the next step.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        (head.status.as_u16(), head.headers, body.to_vec())
    }
}

#[tokio::test]
async fn every_case_holds_while_time_passes() {
    let cases = case::all();
    assert!(cases.len() >= 80, "{} cases", cases.len());
    let mut door = Clocked::new(case::rules(&cases)).await;
    for (index, case) in cases.iter().enumerate() {
        door.script.0.lock().expect("one thread").1 = 0;
        case.run(index, &mut door).await;
    }
}
