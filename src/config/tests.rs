//! What the file accepts and refuses: one short case a fact.
//! The refusals stand in `tests/cases/config-refused.txt`: YAML, then each finding behind `=> `.

use std::path::Path;
use std::time::Duration;

use http::{HeaderName, Method, Uri};

use super::access::{self, AccessList, Cidr};
use super::descriptors::Source;
use super::endpoints::{self, Discovered, Endpoint, Endpoints};
use super::finding::Position;
use super::listeners::{CertificateFiles, ClientCertificates, Limits, ProxyProtocol, Tls};
use super::routes::{Conflicts, OnConflict, ServiceConfig, UnboundBody, UnknownQuery};
use super::*;
use crate::codec::options::{Defaults, Enums, Int64, Names, Unknown};
use crate::policy::balance::{Balance, HashKey};
use crate::policy::geo::Country;

/// Parses `text`, completed behind its end with what every file must have.
fn parse(text: &str) -> Result<Config, Vec<Finding>> {
    let mut whole = text.to_owned();
    for (key, line) in [
        ("version:", "version: 1"),
        ("descriptors:", "descriptors: [{ file: api.binpb }]"),
        ("services:", "services: { api: { endpoints: { static: [\"http://127.0.0.1:50051\"] } } }"),
    ] {
        if !text.contains(key) {
            whole.push('\n');
            whole.push_str(line);
        }
    }
    Config::parse(&whole, Path::new("etc/t.yaml"), Elsewhere::default())
}

/// The value that `read` finds in an accepted file.
fn accepted<T: PartialEq + std::fmt::Debug>(text: &str, read: impl Fn(Config) -> T, expected: T) {
    match parse(text) {
        Ok(config) => assert_eq!(read(config), expected, "{text}"),
        Err(findings) => panic!("{text}\nis refused: {}", finding::lines(&findings)),
    }
}

#[test]
fn refusals_name_every_place() {
    let cases = include_str!("../../tests/cases/config-refused.txt");
    let mut count = 0;
    // The first block explains the format.
    for case in cases.split("\n\n").skip(1) {
        let (expected, text): (Vec<_>, Vec<_>) = case
            .trim()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .partition(|line| line.starts_with("=> "));
        let text = text.join("\n");
        let findings = match parse(&text) {
            Ok(config) => panic!("{text}\nis accepted: {config:?}"),
            Err(findings) => findings,
        };
        let shown: Vec<_> =
            findings.iter().map(|one| one.to_string().replacen("etc/t.yaml:", "=> ", 1)).collect();
        assert_eq!(shown, expected, "{text}");
        count += 1;
    }
    assert!(count >= 120, "{count} cases were read");
}

#[test]
fn routes_of_documents_are_bounded() {
    let file = |count: usize| {
        let route = |number| format!("{{ get: /v1/r{number}, query: \"{{ a }}\" }}");
        let routes: Vec<_> = (0..count).map(route).collect();
        let graphql = format!("graphql: {{ routes: [{}] }}", routes.join(", "));
        format!("surfaces: {{ web: {{ protocols: [rest, graphql], {graphql} }} }}")
    };
    let read = |config: Config| config.surfaces.first().map(|surface| surface.graphql.routes.len());
    accepted(&file(1000), read, Some(1000));
    let refused = parse(&file(1001)).expect_err("one too many");
    assert!(finding::lines(&refused).contains("1001 routes, at most 1000 are allowed"), "{refused:?}");
}

#[test]
fn listeners_are_read() {
    accepted("", |config| config.listeners, Listeners::default());
    accepted("listeners:", |config| config.listeners, Listeners::default());
    let public = |text: &str, expected: &str| {
        let text = format!("listeners: {{ public: {{ bind: \"{text}\" }} }}");
        accepted(&text, |config| config.listeners.public.bind.to_string(), expected.to_owned());
    };
    public("127.0.0.1:0", "127.0.0.1:0");
    public("0.0.0.0:80", "0.0.0.0:80");
    public("[::]:8443", "[::]:8443");
    let admin = |text: &str, expected: &str| {
        let text = format!("listeners: {{ admin: {{ {text} }} }}");
        accepted(&text, |config| config.listeners.admin.bind.to_string(), expected.to_owned());
    };
    admin("role: admin", "127.0.0.1:9901");
    admin("bind: \"127.0.0.2:1\", role: admin", "127.0.0.2:1");
    admin("bind: \"[::1]:1\"", "[::1]:1");
    admin("bind: \"0.0.0.0:1\", unauthenticated: true", "0.0.0.0:1");
    admin("bind: \"0.0.0.0:1\", token: env:CARGO_PKG_NAME", "0.0.0.0:1");
    admin("bind: \"0.0.0.0:1\", tls: { cert: file:a, key: file:b, client_ca: file:c }", "0.0.0.0:1");
    let drain = |text: &str, millis: u64| {
        let text = format!("listeners: {{ public: {{ drain: {text} }} }}");
        accepted(&text, |config| config.listeners.public.drain, Duration::from_millis(millis));
    };
    drain("0s", 0);
    drain("1h", 3_600_000);
    let names = |text: &str, expected: &[&str]| {
        let read = |config: Config| {
            config.listeners.publics().map(|public| public.name.to_string()).collect::<Vec<_>>()
        };
        accepted(text, read, expected.iter().map(ToString::to_string).collect());
    };
    names("listeners: { admin: {} }", &["public"]);
    names("listeners: { web: { bind: \"127.0.0.1:1\" } }", &["web"]);
    names(
        "listeners: { web: { bind: \"127.0.0.1:1\", role: public }, admin: {}, public: {} }",
        &["web", "public"],
    );
    let trusted =
        "listeners: { public: { trusted_proxies: [10.0.0.0/8, \"::ffff:10.0.0.1\", \"fd00::/8\"] } }";
    let networks = ["10.0.0.0/8", "10.0.0.1/32", "fd00::/8"].map(str::to_owned);
    accepted(
        trusted,
        |config| config.listeners.public.trusted_proxies.iter().map(ToString::to_string).collect(),
        networks.to_vec(),
    );
    let text = "listeners: { public: { proxy_protocol: { from: [10.0.0.0/8, 192.0.2.1] } } }";
    let networks = ["10.0.0.0/8", "192.0.2.1/32"].map(|network| network.parse().expect("a network"));
    accepted(
        text,
        |config| config.listeners.public.proxy_protocol,
        Some(ProxyProtocol { from: networks.into() }),
    );
    let text = "listeners: { public: { drain_grace: 5s } }";
    accepted(text, |config| config.listeners.public.drain_grace, Duration::from_secs(5));
}

#[test]
fn tls_is_read() {
    let tls = |text: &str, certificates: &[(&str, &str)], ca: Option<&str>, choice| {
        let pair = |(chain, key): &(&str, &str)| CertificateFiles { chain: chain.into(), key: key.into() };
        let expected = Tls {
            certificates: certificates.iter().map(pair).collect(),
            client_ca: ca.map(Into::into),
            client_certificates: choice,
            position: Position { line: 1, column: 29 },
        };
        let text = format!("listeners: {{ public: {{ tls: {{ {text} }} }} }}");
        accepted(&text, |config| config.listeners.public.tls, Some(expected));
    };
    let one = [("etc/a.crt", "/a.key")];
    tls("cert: file:a.crt, key: file:/a.key", &one, None, ClientCertificates::Require);
    tls(
        "certificates: [{ cert: file:a.crt, key: file:/a.key }, { cert: file:b, key: file:c }]",
        &[one[0], ("etc/b", "etc/c")],
        None,
        ClientCertificates::Require,
    );
    tls(
        "cert: file:a.crt, key: file:/a.key, client_ca: file:ca",
        &one,
        Some("etc/ca"),
        ClientCertificates::Require,
    );
    tls(
        "cert: file:a.crt, key: file:/a.key, client_ca: file:ca, client_certificates: optional",
        &one,
        Some("etc/ca"),
        ClientCertificates::Optional,
    );
}

#[test]
fn limits_are_read_at_both_ends_of_their_range() {
    fn limit<T: PartialEq + std::fmt::Debug>(text: &str, read: fn(Limits) -> T, expected: T) {
        let text = format!("listeners: {{ public: {{ limits: {{ {text} }} }} }}");
        accepted(&text, |config| read(config.listeners.public.limits), expected);
    }
    let (blink, hour) = (Duration::from_millis(10), Duration::from_secs(3600));
    limit("url: 256B", |limits| limits.url_bytes_max, 256);
    limit("url: 1MiB", |limits| limits.url_bytes_max, 1 << 20);
    limit("url: 8192", |limits| limits.url_bytes_max, 8192);
    limit("headers: 1KiB", |limits| limits.header_bytes_max, 1 << 10);
    limit("headers: 1MiB", |limits| limits.header_bytes_max, 1 << 20);
    limit("header_count: 10", |limits| limits.header_count_max, 10);
    limit("header_count: 1000", |limits| limits.header_count_max, 1000);
    limit("body: 0B", |limits| limits.body_bytes_max, 0);
    limit("body: 1GiB", |limits| limits.body_bytes_max, 1 << 30);
    limit("query_parameters: 1", |limits| limits.query_parameters_max, 1);
    limit("query_parameters: 10000", |limits| limits.query_parameters_max, 10_000);
    limit("path_segments: 1", |limits| limits.path_segments_max, 1);
    limit("path_segments: 1000", |limits| limits.path_segments_max, 1000);
    limit("handshake_timeout: 10ms", |limits| limits.handshake_timeout, blink);
    limit("header_timeout: 10ms", |limits| limits.header_timeout, blink);
    limit("header_timeout: 60m", |limits| limits.header_timeout, hour);
    limit("body_rate: 0B/s", |limits| limits.body_rate_min, 0);
    limit("body_rate: 1MiB/s", |limits| limits.body_rate_min, 1 << 20);
    limit("body_rate_window: 10ms", |limits| limits.body_rate_window, blink);
    limit("body_rate_window: 1h", |limits| limits.body_rate_window, hour);
    limit("idle: 10ms", |limits| limits.idle_timeout, blink);
    limit("idle: 1h", |limits| limits.idle_timeout, hour);
    limit("last_request: 10ms", |limits| limits.last_request_timeout, blink);
    limit("last_request: 1h", |limits| limits.last_request_timeout, hour);
    limit("streams: 1", |limits| limits.streams_max, 1);
    limit("streams: 100000", |limits| limits.streams_max, 100_000);
    limit("stream_window: 64KiB", |limits| limits.stream_window_bytes, 64 << 10);
    limit("connection_window: 1GiB", |limits| limits.connection_window_bytes, 1 << 30);
    limit("resets: 1", |limits| limits.resets_max, 1);
    limit("settings: 1", |limits| limits.settings_max, 1);
    limit("pings: 100000", |limits| limits.pings_max, 100_000);
    limit("send_timeout: 10ms", |limits| limits.send_timeout, blink);
    limit("connections: 1", |limits| limits.connections_max, 1);
    limit("connections_per_address: 1", |limits| limits.connections_per_address_max, 1);
    limit("calls: 10000000", |limits| limits.calls_max, 10_000_000);
}

#[test]
fn descriptors_are_read_relative_to_the_file() {
    let source = |text: &str, expected: Source| {
        let read = |config: Config| config.descriptors.into_iter().map(|one| one.source).collect();
        accepted(&format!("descriptors: [{{ {text} }}]"), read, vec![expected]);
    };
    source("file: a.binpb", Source::File("etc/a.binpb".into()));
    source("file: /a.binpb", Source::File("/a.binpb".into()));
    source("directory: sets", Source::Directory("etc/sets".into()));
    source("proto: a.proto", Source::Proto { path: "etc/a.proto".into(), includes: vec![] });
    source(
        "proto: p, includes: [q, /r]",
        Source::Proto { path: "etc/p".into(), includes: vec!["etc/q".into(), "/r".into()] },
    );
    source(
        "reflect: \"http://b:1\"",
        Source::Reflect { uri: Uri::from_static("http://b:1"), refresh: None, tls: None },
    );
    accepted("descriptors: [{ file: a }, { file: b }]", |config| config.descriptors.len(), 2);
}

#[test]
fn services_are_read() {
    let service = |text: &str, expected: Service| {
        let text = format!("services: {{ api: {{ endpoints: {{ static: [\"http://b:1\"] }}{text} }} }}");
        let expected = Service { position: Some(Position { line: 1, column: 18 }), ..expected };
        accepted(&text, |config| config.services, vec![expected]);
    };
    let api = || Service::new("api", Uri::from_static("http://b:1"));
    service("", api());
    service(", balance: weighted", Service { balance: Balance::Weighted, ..api() });
    let hash = |key| Service { balance: Balance::Hash(key), ..api() };
    service(", balance: { hash: consumer }", hash(HashKey::Consumer));
    service(", balance: { hash: address }", hash(HashKey::Address));
    service(
        ", balance: { hash: { header: X-User } }",
        hash(HashKey::Header(HeaderName::from_static("x-user"))),
    );
    service(", slow_start: 0s", Service { slow_start: Duration::ZERO, ..api() });
    service(", timeout: 2s", Service { timeout: Duration::from_secs(2), ..api() });
    service(", timeout: 24h", Service { timeout: Duration::from_secs(86_400), ..api() });
    service(", stream_idle: 10ms", Service { stream_idle_timeout: Duration::from_millis(10), ..api() });
    service(", connect_timeout: 1s", Service { connect_timeout: Duration::from_secs(1), ..api() });
    service(", request_message: 1KiB", Service { request_message_bytes_max: 1 << 10, ..api() });
    service(", response_message: 1GiB", Service { response_message_bytes_max: 1 << 30, ..api() });
    service(", response_headers: 1MiB", Service { response_header_bytes_max: 1 << 20, ..api() });
    service(", connections: 1", Service { connections_max: 1, ..api() });
    service(", queue: 1", Service { queue_calls_max: 1, ..api() });
    service(", keepalive: 10s", Service { keepalive: Some(Duration::from_secs(10)), ..api() });
    service(", keepalive_timeout: 1s", Service { keepalive_timeout: Duration::from_secs(1), ..api() });
    let endpoint = |text: &str| {
        let text = format!("services: {{ api: {{ endpoints: {{ static: [\"{text}\"] }} }} }}");
        accepted(&text, |config| config.services.len(), 1);
    };
    endpoint("http://backend");
    endpoint("http://backend:65535/");
    endpoint("http://[::1]:50051");
    let endpoints = "[\"http://b:1\", { url: \"http://c:1\", weight: 3, zone: z }]";
    let url = Uri::from_static;
    accepted(
        &format!("services: {{ api: {{ endpoints: {{ static: {endpoints} }} }} }}"),
        |mut config| config.services.remove(0).endpoints,
        Endpoints::Static(vec![
            Endpoint::new(url("http://b:1")),
            Endpoint { url: url("http://c:1"), weight: 3, zone: Some("z".to_owned()) },
        ]),
    );
    accepted("zone: a", |config| config.zone, Some("a".to_owned()));
    accepted("zone: env:CARGO_PKG_NAME", |config| config.zone, Some("transom".to_owned()));
}

#[test]
fn sources_of_endpoints_are_read() {
    let file = |more: &str, seconds: u64| {
        let empty_after = Duration::from_secs(seconds);
        accepted(
            &format!("services: {{ api: {{ endpoints: {{ file: b.yaml{more} }} }} }}"),
            |mut config| config.services.remove(0).endpoints,
            Endpoints::Discovered(Discovered {
                source: endpoints::Source::File("etc/b.yaml".into()),
                empty_after,
            }),
        );
    };
    file("", 30);
    file(", empty_after: 0s", 0);
    file(", empty_after: 24h", 86_400);
    let dns = |text: &str, question: endpoints::Question, resolvers: &[&str], ttl_s: [u64; 2]| {
        let [least, most] = ttl_s.map(Duration::from_secs);
        let resolvers = resolvers.iter().map(|resolver| resolver.parse().expect("an address")).collect();
        let source = endpoints::Source::Dns(endpoints::Dns { question, resolvers, ttl: least..=most });
        accepted(
            &format!("services: {{ api: {{ endpoints: {{ dns: {text} }} }} }}"),
            |mut config| config.services.remove(0).endpoints,
            Endpoints::Discovered(Discovered { source, empty_after: Duration::from_secs(30) }),
        );
    };
    let host = |host: &str| endpoints::Question::Host { host: host.to_owned(), port: 50051 };
    dns("\"orders.prod.svc:50051\"", host("orders.prod.svc"), &[], [5, 300]);
    dns("{ name: \"orders.:50051\", ttl: 1s..2s }", host("orders."), &[], [1, 2]);
    dns(
        "{ srv: _grpc._tcp.orders.example, resolvers: [10.0.0.2, \"[::1]:5353\"] }",
        endpoints::Question::Srv("_grpc._tcp.orders.example".to_owned()),
        &["10.0.0.2:53", "[::1]:5353"],
        [5, 300],
    );
}

#[test]
fn routes_are_read() {
    let routes = |text: &str, expected: Routes| {
        accepted(&format!("routes: {{ {text} }}"), |config| config.routes, expected);
    };
    let config = |file: &str, column| ServiceConfig {
        file: file.into(),
        position: Some(Position { line: 1, column }),
    };
    routes("", Routes::default());
    routes("unannotated: true", Routes { unannotated: true, ..Routes::default() });
    routes("conflicts: refuse", Routes::default());
    routes("conflicts: first", Routes { conflicts: Conflicts::First, ..Routes::default() });
    routes(
        "service_config: a.yaml",
        Routes { service_config: vec![config("etc/a.yaml", 27)], ..Routes::default() },
    );
    routes(
        "service_config: [a, b]",
        Routes { service_config: vec![config("etc/a", 28), config("etc/b", 31)], ..Routes::default() },
    );
    routes("unknown_query: ignore", Routes { unknown_query: UnknownQuery::Ignore, ..Routes::default() });
    routes(
        "ignored_query: [alt, key]",
        Routes { ignored_query: vec!["alt".into(), "key".into()], ..Routes::default() },
    );
    routes("on_conflict: capture", Routes { on_conflict: OnConflict::Capture, ..Routes::default() });
    routes("unbound_body: ignore", Routes { unbound_body: UnboundBody::Ignore, ..Routes::default() });
}

#[test]
fn json_is_read() {
    let json = |text: &str, expected: JsonOptions| {
        accepted(&format!("json: {{ {text} }}"), |config| config.json, expected);
    };
    let default = JsonOptions::default;
    json("names: json, enums: name, defaults: omit, int64: string, unknown_fields: reject", default());
    json("names: proto", JsonOptions { names: Names::Proto, ..default() });
    json("enums: number", JsonOptions { enums: Enums::Number, ..default() });
    json("defaults: emit", JsonOptions { defaults: Defaults::Emit, ..default() });
    json("int64: number", JsonOptions { int64: Int64::Number, ..default() });
    json("unknown_fields: ignore", JsonOptions { unknown: Unknown::Ignore, ..default() });
    json("depth: 1", JsonOptions { depth_max: 1, ..default() });
    json("depth: 500", JsonOptions { depth_max: 500, ..default() });
}

#[test]
fn headers_and_workers_are_read() {
    let headers = |text: &str, expected: [&[&str]; 2]| {
        let names = |names: &[HeaderName]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let read = |config: Config| [names(&config.headers.forward), names(&config.headers.back)];
        let expected = expected.map(|names| names.iter().map(ToString::to_string).collect());
        accepted(&format!("headers: {{ {text} }}"), read, expected);
    };
    headers("forward: [Cookie, x-tenant]", [&["cookie", "x-tenant"], &[]]);
    headers(
        "back: [etag, content-disposition, content-language]",
        [&[], &["etag", "content-disposition", "content-language"]],
    );
    accepted("workers: 1", |config| config.workers, Some(1));
    accepted("workers: 1024", |config| config.workers, Some(WORKERS_MAX));
}

#[test]
fn access_lists_are_read() {
    let list = |text: &str, expected: AccessList| {
        let text = format!(
            "geo: {{ file: c, asn_file: /a }}\npolicies: {{ p: {{ deny: {{ {text} }} }} }}\n\
             surfaces: {{ s: {{ policies: [p] }} }}"
        );
        accepted(&text, |config| config.policies[0].clauses.deny.clone(), Some(expected));
    };
    let position = Position { line: 2, column: 24 };
    let network = |text: &str| text.parse().expect("a network");
    let none = || AccessList { position, ..AccessList::default() };
    let inline = |networks: &[&str]| Some(Cidr::Inline(networks.iter().map(|text| network(text)).collect()));
    list("cidr: 10.1.2.3", AccessList { cidr: inline(&["10.1.2.3/32"]), ..none() });
    let cidr = inline(&["10.0.0.0/8", "fd00::/8"]);
    list("cidr: [\"::ffff:10.0.0.0/104\", \"fd00::/8\"]", AccessList { cidr, ..none() });
    let cidr = Some(Cidr::File { path: "etc/d.txt".into(), position: Position { line: 2, column: 32 } });
    list("cidr: file:d.txt", AccessList { cidr, ..none() });
    let country = |text: &str| Country::parse(text).expect("a country");
    list(
        "countries: [NO, KP], unknown: deny",
        AccessList {
            countries: vec![country("NO"), country("KP")],
            unknown: Some(access::Unknown::Deny),
            ..none()
        },
    );
    list(
        "asn: [64500, AS4294967295], unknown: allow",
        AccessList { asn: vec![64_500, u32::MAX], unknown: Some(access::Unknown::Allow), ..none() },
    );
    list(
        "methods: [TRACE, PURGE]",
        AccessList {
            methods: vec![Method::TRACE, Method::from_bytes(b"PURGE").expect("a method")],
            ..none()
        },
    );
    list(
        "headers: { User-Agent: [\"*bot*\", \"\"], x-a: \"1\" }",
        AccessList {
            headers: vec![
                (HeaderName::from_static("user-agent"), vec!["*bot*".into(), String::new()]),
                (HeaderName::from_static("x-a"), vec!["1".into()]),
            ],
            ..none()
        },
    );
}

#[test]
fn hostile_yaml_is_refused() {
    let check = |text: &str| assert_eq!(parse(text).expect_err("must be refused").len(), 1, "{text:.40}");
    check(&"[".repeat(100_000));
    check(&"a: ".repeat(100_000));
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let alias = format!("*a{}, ", level - 1).repeat(10);
        laughs.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
    }
    check(&laughs);
}

#[test]
fn missing_sections_say_what_to_write() {
    let findings =
        Config::parse("", Path::new("t.yaml"), Elsewhere::default()).expect_err("nothing is written");
    let shown: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "t.yaml:1:1: `version` is missing: write `version: 1` first",
            "t.yaml:1:1: `descriptors` is missing: name at least one source, such as `- { file: api.binpb }`",
            "t.yaml:1:1: `services` is missing: name the backend, such as \
             `api: { endpoints: { static: [http://127.0.0.1:50051] } }`",
        ]
    );
}

#[test]
fn the_command_line_may_complete_the_file() {
    let elsewhere = Elsewhere { descriptors: true, services: true, secrets: false };
    let config = Config::parse("version: 1", Path::new("t.yaml"), elsewhere).expect("nothing is missing");
    assert_eq!(config, Config { file: Some("t.yaml".into()), ..Config::default() });
}

#[test]
fn an_unreadable_file_is_not_a_finding() {
    let error = Config::load(Path::new("no/such.yaml"), Elsewhere::default()).expect_err("no such file");
    assert!(matches!(error, LoadError::Unreadable { .. }), "{error}");
    let error =
        Config::load(Path::new(env!("CARGO_MANIFEST_DIR")), Elsewhere::default()).expect_err("a directory");
    assert!(matches!(error, LoadError::Unreadable { .. }), "{error}");
}

#[test]
fn files_are_named_whatever_is_wrong() {
    let text = "version: 2\ndescriptors: [{ proto: a.proto, includes: [b] }]\nlisteners: { admin: { token: \"file:c\" } }\n\
                policies: { p: { deny: { cidr: \"file:/d\" } } }\n\
                observe: { access_log: { file: \"file:log\" }, audit: { file: log } }\nno: key\n";
    let (config, files) = Config::parse_naming(text, Path::new("dir/t.yaml"), Elsewhere::default());
    assert!(config.is_err());
    let mut named: Vec<_> = files.iter().filter_map(|path| path.to_str()).collect();
    named.sort_unstable();
    named.dedup();
    assert_eq!(named, ["/d", "dir/a.proto", "dir/b", "dir/c"], "what is written there is not read");
}

mod documentation;
mod passes;
