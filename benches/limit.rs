//! What a limit costs a call that passes it: the whole judge, clocks and headers included.

use std::hint::black_box;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Request};
use transom::call::{Call, Client, ClientBody, Head, Notes, Payload};
use transom::config::{Config, Elsewhere};
use transom::gateway::Gateway;
use transom::route::Match;
use transom::snapshot::Snapshot;
use transom::stage::judge::{Judge, Judgement};
use transom::stage::limit::{ByAddress, Limiter};
use transom::telemetry::Metrics;

/// Wide enough for every call of the benchmark.
const WIDE: &str = "limit: 1000000/s, burst: 100000000";

fn limits(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let judge = ByAddress(Limiter::new(Metrics::new().worker()));
    let mut group = criterion.benchmark_group("limit");
    for (name, rates) in [
        ("none", String::new()),
        ("one", format!("rate: {{ by: ip, {WIDE} }}")),
        ("one, quiet", format!("rate: {{ by: ip, {WIDE}, quiet: true }}")),
        ("a rate and a quota", format!("rate: {{ by: ip, {WIDE}, quota: 1000000000000/day }}")),
        ("two subjects", format!("rate: [{{ by: ip, {WIDE} }}, {{ by: method, {WIDE} }}]")),
    ] {
        let gateway = runtime.block_on(gateway(&rates));
        let mut passing = Some(call(gateway.snapshot(), IpAddr::from([192, 0, 2, 1])));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let call = pass(&judge, passing.take().expect("the call that passed"));
                call.notes.take_reply_headers().for_each(|header| drop(black_box(header)));
                passing = Some(call);
            });
        });
    }
    let gateway = runtime.block_on(gateway(&format!("rate: {{ by: ip, {WIDE} }}")));
    let mut count = 0_u32;
    group.bench_function("a new address", |bencher| {
        let fresh = || {
            count += 1;
            call(gateway.snapshot(), IpAddr::from(count.to_be_bytes()))
        };
        bencher.iter_batched(fresh, |call| pass(&judge, call), BatchSize::SmallInput);
    });
    group.finish();
}

fn pass(judge: &ByAddress, call: Call) -> Call {
    match judge.judge(call) {
        Judgement::Pass(call) => call,
        _ => panic!("the limit is wide and in memory"),
    }
}

async fn gateway(rates: &str) -> Gateway {
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/door.proto");
    let text = format!(
        "version: 1\n\
         descriptors: [{{ proto: {proto:?} }}]\n\
         services: {{ door: {{ endpoints: {{ static: [\"http://127.0.0.1:1\"] }} }} }}\n\
         policies: {{ edge: {{ {rates} }} }}\n\
         surfaces: {{ web: {{ policies: [edge] }} }}\n"
    );
    let config = Config::parse(&text, Path::new("limit.yaml"), Elsewhere::default()).expect("a good file");
    Gateway::build(&config).await.expect("a good gateway")
}

fn call(snapshot: Arc<Snapshot>, address: IpAddr) -> Call {
    let Ok((_, Match::Found { binding, captures })) =
        snapshot.surfaces.find(0, "gateway.test", "GET", "/v1/items/7")
    else {
        panic!("a route")
    };
    let (binding, captures) = (binding.clone(), captures);
    let (parts, ()) = Request::get("/v1/items/7").body(()).expect("a request").into_parts();
    let client = Client::new(address, address, "http");
    let head = Head::new(parts, client, HeaderValue::from_static("r-1"), std::time::Instant::now());
    Call {
        service: 0,
        binding,
        metadata: HeaderMap::new(),
        deadline: None,
        head: Arc::new(head),
        identity: None,
        notes: Arc::new(Notes::default()),
        trail: None,
        limited: None,
        held: Vec::new(),
        payload: Payload::Http { captures, body: ClientBody::empty() },
        snapshot: snapshot.clone(),
    }
}

criterion_group!(benches, limits);
criterion_main!(benches);
