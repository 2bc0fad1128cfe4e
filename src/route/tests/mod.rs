//! Tables of what templates, routes and bindings do, and the schema they are tried on.

mod assembling;
mod building;
mod matching;
mod template;

use std::fmt::Write as _;
use std::sync::OnceLock;

use prost_reflect::DescriptorPool;

use super::rule::HttpRule;
use super::service_config::SelectedRules;
use super::{Conflicts, RouteError, RouteTree, Rules, Warning, build};
use crate::schema::{Schema, Traits};

/// The messages that routes are tried on.
const MESSAGES: &str = include_str!("messages.proto");

/// A schema with the test messages and one service `t.S` of the given method lines.
fn schema(methods: &str) -> Schema {
    let source = format!("{MESSAGES}\nservice S {{ {methods} }}");
    let file = protox::file::File::from_source("t.proto", &source).expect("valid source");
    let mut resolver = protox::file::ChainFileResolver::new();
    resolver.add(Single(file));
    resolver
        .add(protox::file::IncludeFileResolver::new(concat!(env!("CARGO_MANIFEST_DIR"), "/proto").into()));
    resolver.add(protox::file::GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    compiler.open_file("t.proto").expect("valid source");
    let pool = DescriptorPool::decode(&*compiler.encode_file_descriptor_set()).expect("valid set");
    Schema::new(pool, Traits::default())
}

struct Single(protox::file::File);

impl protox::file::FileResolver for Single {
    fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
        if name == "t.proto" { Ok(self.0.clone()) } else { Err(protox::Error::file_not_found(name)) }
    }
}

/// Rules for `t.S.<method>`, each `method VERB template body`, the body being optional.
fn rules(lines: &[&str]) -> Rules {
    let service_config = lines.iter().map(|line| {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let selector = format!("t.S.{}", word());
        let rule = HttpRule { verb: word(), template: word(), body: word(), response_body: word() };
        SelectedRules { selector, rules: vec![rule] }
    });
    // Several rules of one method are additional bindings: the last selector alone would count.
    let mut joined: Vec<SelectedRules> = Vec::new();
    for selected in service_config {
        match joined.iter_mut().find(|other| other.selector == selected.selector) {
            Some(other) => other.rules.extend(selected.rules),
            None => joined.push(selected),
        }
    }
    Rules { service_config: joined, ..Rules::default() }
}

/// The schema of most tables: methods `A` to `H` take and return a `t.Request`.
fn usual() -> &'static Schema {
    static USUAL: OnceLock<Schema> = OnceLock::new();
    USUAL.get_or_init(|| schema(METHODS))
}

/// Routes of the [`usual`] methods.
fn try_build(lines: &[&str], conflicts: Conflicts) -> Result<(RouteTree, Vec<Warning>), Vec<RouteError>> {
    build(usual(), &Rules { conflicts, ..rules(lines) })
}

fn tree(lines: &[&str]) -> RouteTree {
    match try_build(lines, Conflicts::Refuse) {
        Ok((tree, _)) => tree,
        Err(errors) => panic!("{}", listed(&errors)),
    }
}

fn listed<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().fold(String::new(), |mut text, item| {
        writeln!(text, "{item}").expect("a string takes all");
        text
    })
}

const METHODS: &str = "
    rpc A(Request) returns (Request); rpc B(Request) returns (Request); rpc C(Request) returns (Request);
    rpc D(Request) returns (Request); rpc E(Request) returns (Request); rpc F(Request) returns (Request);
    rpc G(Request) returns (Request); rpc H(Request) returns (Request);
    rpc Patched(Patch) returns (Request); rpc Replaced(Replace) returns (Request);
    rpc Raw(google.api.HttpBody) returns (Request);";
