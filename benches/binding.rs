//! What binding costs: a request's captures, query and body as the bytes of one message.
//!
//! The body is small, for its JSON is the codec's affair; what is measured is everything around it.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use transom::codec::options::JsonOptions;
use transom::route::rule::HttpRule;
use transom::route::service_config::SelectedRules;
use transom::route::{BindingOptions, Match, Request, RequestBody, Rules, build};
use transom::schema::{self, Input, Schema};

const SOURCE: &str = "syntax = 'proto3'; package bench;
    message Book { string name = 1; string title = 2; int32 pages = 3; }
    message Request {
        string parent = 1; int32 page_size = 2; string page_token = 3; repeated string tags = 4; Book book = 5;
    }
    service Service { rpc Method(Request) returns (Book); }";

fn bindings(criterion: &mut Criterion) {
    let schema = schema();
    let mut group = criterion.benchmark_group("assemble");
    for (name, rule, path, query, body) in [
        ("a capture", rule("GET", "/v1/{parent=shelves/*}/books", ""), "/v1/shelves/7/books", None, ""),
        (
            "a capture and a page",
            rule("GET", "/v1/{parent=shelves/*}/books", ""),
            "/v1/shelves/7/books",
            Some("pageSize=50&pageToken=abcdef"),
            "",
        ),
        (
            "eight parameters",
            rule("GET", "/v1/books", ""),
            "/v1/books",
            Some("parent=a+b&page_size=1&tags=a&tags=b&tags=c&book.name=x&book.title=y%20z&book.pages=3"),
            "",
        ),
        (
            "a nested capture in a body",
            rule("POST", "/v1/{book.name=books/*}", "book"),
            "/v1/books/7",
            None,
            r#"{"title":"t","pages":3}"#,
        ),
    ] {
        let rules = Rules {
            service_config: vec![SelectedRules {
                selector: "bench.Service.Method".into(),
                rules: vec![rule.clone()],
            }],
            ..Rules::default()
        };
        let (tree, _) = build(&schema, &rules).expect("valid rules");
        let (json, options) = (JsonOptions::default(), BindingOptions::default());
        group.bench_function(name, |bencher| {
            let mut out = Vec::new();
            bencher.iter(|| {
                let Match::Found { binding, captures } = tree.find(&rule.verb, black_box(path)) else {
                    panic!("{path} is no route")
                };
                out.clear();
                let request =
                    Request { captures: &captures, query, body: RequestBody::Json(body.as_bytes()) };
                binding.assemble(&schema, &json, &options, request, &mut out).expect("a good request");
                black_box(&out);
            });
        });
    }
    group.finish();
}

fn rule(verb: &str, template: &str, body: &str) -> HttpRule {
    HttpRule { verb: verb.into(), template: template.into(), body: body.into(), ..HttpRule::default() }
}

fn schema() -> Schema {
    let file = protox::file::File::from_source("bench.proto", SOURCE).expect("valid source");
    let set = prost_types::FileDescriptorSet { file: vec![file.file_descriptor_proto().clone()] };
    let bytes = prost::Message::encode_to_vec(&set).into();
    schema::load(&[Input { name: "bench".into(), bytes }]).expect("a valid set")
}

criterion_group!(benches, bindings);
criterion_main!(benches);
