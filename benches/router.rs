//! Route lookup with 1, 100 and all bindings of the public Google APIs.
//!
//! The last needs their descriptor set at `../shared/descriptors/googleapis.binpb.gz` and is left out, with
//! a word, where that is absent. Building that tree is measured too, by itself.

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use transom::route::rule::HttpRule;
use transom::route::service_config::SelectedRules;
use transom::route::{Binding, Conflicts, Match, RouteTree, Rules, build};
use transom::schema::{self, Input, Schema};

/// From the package's directory, where cargo runs benches.
const GOOGLEAPIS: &str = "../shared/descriptors/googleapis.binpb.gz";

fn lookups(criterion: &mut Criterion) {
    let schema = small();
    let mut group = criterion.benchmark_group("find");
    for count in [1, 100] {
        let tree = tree(&schema, &rules(count));
        group.bench_function(format!("{count} bindings"), |bencher| {
            let path = format!("/v1/projects/p-1/kind{}/some-identifier", count / 2);
            bencher.iter(|| found(&tree, "GET", black_box(&path)));
        });
    }
    let Some(schema) = googleapis() else {
        eprintln!("{GOOGLEAPIS} is absent: nothing is measured with it");
        return;
    };
    let rules = Rules { conflicts: Conflicts::First, ..Rules::default() };
    let tree = tree(&schema, &rules);
    let paths: Vec<_> = tree.bindings().map(|binding| (&*binding.verb, example(binding))).collect();
    group.throughput(Throughput::Elements(paths.len() as u64));
    group.bench_function(format!("each of {} bindings", paths.len()), |bencher| {
        bencher.iter(|| paths.iter().for_each(|(verb, path)| found(&tree, verb, black_box(path))));
    });
    group.bench_function("a path that has no route", |bencher| {
        bencher.iter(|| tree.find("GET", black_box("/v1/projects/p/locations/l/nothing/n/here")));
    });
    group.finish();
    criterion.bench_function("build googleapis", |bencher| bencher.iter(|| build(&schema, &rules)));
}

/// A service of one method.
fn small() -> Schema {
    const SOURCE: &str = "syntax = 'proto3'; package bench; message Request { string name = 1; }
        service Service { rpc Method(Request) returns (Request); }";
    let file = protox::file::File::from_source("bench.proto", SOURCE).expect("valid source");
    let set = prost_types::FileDescriptorSet { file: vec![file.file_descriptor_proto().clone()] };
    let bytes = prost::Message::encode_to_vec(&set).into();
    schema::load(&[Input { name: "bench".into(), bytes }]).expect("a valid set")
}

/// So many routes of one method, which is as good as any for lookups.
fn rules(count: usize) -> Rules {
    let rule = |number| HttpRule {
        verb: "GET".into(),
        template: format!("/v1/{{name=projects/*/kind{number}/*}}"),
        ..HttpRule::default()
    };
    let rules = (0..count).map(rule).collect();
    Rules {
        service_config: vec![SelectedRules { selector: "bench.Service.Method".into(), rules }],
        ..Rules::default()
    }
}

fn tree(schema: &Schema, rules: &Rules) -> RouteTree {
    build(schema, rules).expect("valid rules").0
}

fn found(tree: &RouteTree, verb: &str, path: &str) {
    match tree.find(verb, path) {
        Match::Found { .. } => {}
        other => panic!("{verb} {path}: {other:?}"),
    }
}

/// A path that the binding matches: its template with every wildcard replaced.
fn example(binding: &Arc<Binding>) -> String {
    let mut path = String::new();
    for part in binding.template.replace('}', "").split('/').skip(1) {
        let part = part.rsplit_once(['{', '=']).map_or(part, |(_, part)| part);
        write!(path, "/{part}").expect("a string takes all");
    }
    path
}

fn googleapis() -> Option<Schema> {
    let bytes = std::fs::read(GOOGLEAPIS).ok()?.into();
    Some(schema::load(&[Input { name: "googleapis".into(), bytes }]).expect("a valid set"))
}

criterion_group!(benches, lookups);
criterion_main!(benches);
