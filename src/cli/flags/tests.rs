//! What flags say alone, and over a file.

use std::path::Path;

use clap::Parser;

use super::*;
use crate::codec::options::JsonOptions;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    flags: ServeFlags,
    #[command(flatten)]
    log: LogFlag,
}

fn parse(line: &str) -> Result<Line, clap::Error> {
    Line::try_parse_from(std::iter::once("transom").chain(line.split_whitespace()))
}

fn config(line: &str) -> Config {
    let flags = parse(line).unwrap_or_else(|error| panic!("{line}: {error}")).flags;
    flags.config().unwrap_or_else(|error| panic!("{line}: {error}"))
}

const BASE: &str = "--descriptors a.binpb --upstream http://b:1";

fn uri(text: &'static str) -> Uri {
    Uri::from_static(text)
}

#[test]
fn flags_alone_are_a_whole_configuration() {
    let expected = Config {
        descriptors: vec![Descriptors { source: Source::File("a.binpb".into()), position: None }],
        services: vec![Service::new("upstream", uri("http://b:1"))],
        ..Config::default()
    };
    assert_eq!(config(BASE), expected);
}

#[test]
fn each_flag_has_its_effect() {
    fn check<T: PartialEq + std::fmt::Debug>(flag: &str, read: fn(Config) -> T, expected: T) {
        assert_eq!(read(config(&format!("{BASE} {flag}"))), expected, "{flag}");
    }
    check("--listen 0.0.0.0:80", |config| config.listeners.public.bind.to_string(), "0.0.0.0:80".into());
    check("--admin [::1]:1", |config| config.listeners.admin.bind.to_string(), "[::1]:1".into());
    check("--workers 3", |config| config.workers, Some(3));
    check("--json-names proto", |config| config.json.names, Names::Proto);
    check("--json-enums number", |config| config.json.enums, Enums::Number);
    check("--json-defaults emit", |config| config.json.defaults, Defaults::Emit);
    check("--unknown-fields ignore", |config| config.json.unknown, Unknown::Ignore);
    check("--unannotated", |config| config.routes.unannotated, true);
    check("--conflicts first", |config| config.routes.conflicts, Conflicts::First);
    check("", |config| config.json, JsonOptions::default());
}

#[test]
fn sources_are_joined() {
    let check = |line: &str, expected: &[Source]| {
        let config = config(&format!("--upstream http://b:1 {line}"));
        let sources: Vec<_> = config.descriptors.into_iter().map(|one| one.source).collect();
        assert_eq!(sources, expected, "{line}");
    };
    let proto = |path: &str| Source::Proto { path: path.into(), includes: vec![] };
    check("--proto p", &[proto("p")]);
    check("--reflect http://c:1", &[Source::Reflect { uri: uri("http://c:1"), refresh: None, tls: None }]);
    check(
        "--descriptors src --proto a --descriptors b --proto c",
        &[Source::Directory("src".into()), Source::File("b".into()), proto("a"), proto("c")],
    );
}

#[test]
fn a_reflecting_backend_is_the_upstream_unless_another_is_named() {
    let endpoint = |line: &str| config(line).services.remove(0).endpoints;
    assert_eq!(endpoint("--reflect http://b:1"), Endpoints::one(uri("http://b:1")));
    assert_eq!(endpoint("--reflect http://b:1 --upstream http://c:2"), Endpoints::one(uri("http://c:2")));
}

#[test]
fn flags_win_over_the_file() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/flags.yaml");
    let line = |flags: &str| config(&format!("-c {} {flags}", file.display()));
    let whole = line("");
    assert_eq!(whole.services[0].endpoints, Endpoints::one(uri("http://127.0.0.1:50051")));
    assert_eq!(whole.json.names, Names::Proto);
    assert!(whole.routes.unannotated);
    let merged = line("--descriptors b --upstream http://b:1 --json-names json --listen 127.0.0.1:1");
    assert_eq!(merged.descriptors, [Descriptors { source: Source::File("b".into()), position: None }]);
    let service = Service { endpoints: Endpoints::one(uri("http://b:1")), ..whole.services[0].clone() };
    assert_eq!(merged.services, [service], "the file's bounds are kept");
    assert_eq!(merged.json.names, Names::Json);
    assert_eq!(merged.listeners.public.bind.to_string(), "127.0.0.1:1");
    assert!(merged.routes.unannotated);
}

#[test]
fn what_is_missing_is_told_at_once() {
    let error = parse("").expect("no flag is required").flags.config().expect_err("nothing to serve");
    assert_eq!(
        error.to_string(),
        "nothing to serve: name --descriptors, --proto, --reflect, or a file with -c\n\
         no backend: name --upstream, or a file with -c"
    );
    let sources = parse("--proto a").expect("it is a flag").flags.sources;
    assert!(sources.config().is_ok(), "routes need no backend");
}

#[test]
fn wrong_values_are_refused_by_the_parser() {
    let check = |line: &str| assert!(parse(line).is_err(), "{line}");
    check("--upstream b:1");
    check("--upstream ftp://b:1");
    check("--reflect http://b/path");
    check("--listen localhost");
    check("--admin 0.0.0.0:9901");
    check("--workers 0");
    check("--workers 1025");
    check("--json-names snake");
    check("--json-enums value");
    check("--json-defaults all");
    check("--unknown-fields drop");
    check("--conflicts last");
    check("--log loud");
    check("stray");
}

#[test]
fn the_log_has_five_levels() {
    for (word, level) in LEVELS {
        assert_eq!(parse(&format!("--log {word}")).expect("a level").log.log, level);
    }
    assert_eq!(parse("").expect("nothing").log.log, LevelFilter::INFO);
}
