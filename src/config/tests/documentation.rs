//! `docs/configuration.md` has every key, no other key, and the defaults that hold.

use std::collections::BTreeSet;

use super::*;

const PAGE: &str = include_str!("../../../docs/configuration.md");

/// The files whose sections read keys.
const READERS: &[&str] = &[
    include_str!("../mod.rs"),
    include_str!("../access.rs"),
    include_str!("../access_log.rs"),
    include_str!("../cache.rs"),
    include_str!("../listeners.rs"),
    include_str!("../listeners/limits.rs"),
    include_str!("../listeners/tls.rs"),
    include_str!("../descriptors.rs"),
    include_str!("../services.rs"),
    include_str!("../services/tls.rs"),
    include_str!("../endpoints.rs"),
    include_str!("../endpoints/consul.rs"),
    include_str!("../endpoints/dns.rs"),
    include_str!("../endpoints/etcd.rs"),
    include_str!("../endpoints/k8s.rs"),
    include_str!("../balance.rs"),
    include_str!("../rollout.rs"),
    include_str!("../mirror.rs"),
    include_str!("../routes.rs"),
    include_str!("../json.rs"),
    include_str!("../validation.rs"),
    include_str!("../headers.rs"),
    include_str!("../observe.rs"),
    include_str!("../openapi.rs"),
    include_str!("../reload.rs"),
    include_str!("../auth.rs"),
    include_str!("../auth_jwt.rs"),
    include_str!("../auth_introspect.rs"),
    include_str!("../consumers.rs"),
    include_str!("../stores.rs"),
    include_str!("../plans.rs"),
    include_str!("../rate.rs"),
    include_str!("../revoked.rs"),
    include_str!("../cost.rs"),
    include_str!("../policies.rs"),
    include_str!("../protection.rs"),
    include_str!("../outlier.rs"),
    include_str!("../health.rs"),
    include_str!("../fallback.rs"),
    include_str!("../surfaces.rs"),
    include_str!("../graphql.rs"),
    include_str!("../subscriptions.rs"),
    include_str!("../links.rs"),
    include_str!("../aggregates.rs"),
    include_str!("../cors.rs"),
    include_str!("../compression.rs"),
    include_str!("../deprecated.rs"),
    include_str!("../traces.rs"),
];

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    let read: BTreeSet<String> = READERS.iter().flat_map(|source| keys_read(source)).collect();
    let documented: BTreeSet<String> = rows().map(|(key, _)| key.to_owned()).collect();
    assert_eq!(read, documented);
}

#[test]
fn documented_defaults_are_what_holds_without_the_key() {
    let mut count = 0;
    for (key, default) in rows() {
        let Some(default) = default.strip_prefix('`').and_then(|text| text.strip_suffix('`')) else {
            continue;
        };
        let absent = without_key(key);
        let [written, absent] =
            [with_key(key, default).as_str(), absent.as_str()].map(parse).map(without_places);
        assert_eq!(written, absent, "{key}");
        count += 1;
    }
    assert!(count > 40, "{count} defaults were read");
}

#[test]
fn documented_examples_are_accepted() {
    let examples: Vec<_> =
        PAGE.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        accepted(example, |config| config.services.is_empty(), false);
    }
}

/// `| `key` | default | …` → `(key, default)`.
fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    PAGE.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let key = cells.next()?.strip_suffix('`')?;
        Some((key, cells.next()?.trim()))
    })
}

/// The paths of the keys that a source file reads: each `read("key"` belongs to the `Section::open` above it,
/// or to all of those that follow each other there.
fn keys_read(source: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut paths = vec![String::new()];
    let mut is_read = true;
    let mut rest = source;
    while let Some(at) = rest.find(['S', '.']) {
        rest = &rest[at..];
        if let Some(call) = rest.strip_prefix("Section::open(") {
            if std::mem::take(&mut is_read) {
                paths.clear();
            }
            // `allow` has the keys of `deny`, `revoked` the same for every kind of provider, `retry` of a rule
            // those of a service, and the breaker of an endpoint those of its service's.
            let path = quoted(call).replace("{name}", "NAME").replace("{side}", "deny");
            let path = path.replace("{kind}", "jwt").replace("{owner}", "services.NAME");
            if path.contains("{breaker}") {
                paths.push(path.replace("{breaker}", "endpoint_breaker"));
            }
            paths.push(path.replace("{breaker}", "breaker"));
        } else if let Some(call) = rest.strip_prefix(".read(") {
            is_read = true;
            if call.trim_start().starts_with('"') {
                let key = quoted(call);
                keys.extend(
                    paths
                        .iter()
                        .map(|path| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }),
                );
            }
        }
        rest = &rest[1..];
    }
    keys
}

fn quoted(text: &str) -> &str {
    text.split('"').nth(1).unwrap_or_default()
}

/// `a.b.c` and a value → `a: { b: { c: value } }`.
fn with_key(key: &str, value: &str) -> String {
    let key = key.replace("listeners.NAME", "listeners.public").replace("NAME", "api");
    if let Some(key) = key.strip_prefix("descriptors[].") {
        return format!("descriptors: [{{ proto: a, {key}: {value} }}]");
    }
    if let Some(key) = key.strip_prefix("services.api.endpoints.static[].") {
        let endpoint = format!("{{ url: \"http://127.0.0.1:50051\", {key}: {value} }}");
        return format!("services: {{ api: {{ endpoints: {{ static: [{endpoint}] }} }} }}");
    }
    if let Some(key) = key.strip_prefix("services.api.endpoints.dns.") {
        return format!(
            "services: {{ api: {{ endpoints: {{ dns: {{ name: \"a:1\", {key}: {value} }} }} }} }}"
        );
    }
    if let Some(key) = key.strip_prefix("services.api.endpoints.consul.") {
        return format!(
            "services: {{ api: {{ endpoints: {{ consul: {{ service: a, {key}: {value} }} }} }} }}"
        );
    }
    if let Some(key) = key.strip_prefix("services.api.endpoints.") {
        return format!("services: {{ api: {{ endpoints: {{ file: a, {key}: {value} }} }} }}");
    }
    if let Some(key) = key.strip_prefix("services.api.") {
        let endpoints = "endpoints: { static: [\"http://127.0.0.1:50051\"] }";
        let (key, value) = match key.split_once('.') {
            Some((section, key)) => (section, format!("{{ {key}: {value} }}")),
            None => (key, value.to_owned()),
        };
        return format!("services: {{ api: {{ {endpoints}, {key}: {value} }} }}");
    }
    if let Some(key) = key.strip_prefix("surfaces.api.cors.") {
        return format!("surfaces: {{ api: {{ cors: {{ origins: [\"*\"], {key}: {value} }} }} }}");
    }
    if let Some(key) = key.strip_prefix("surfaces.api.graphql.links[].batch.") {
        return linking(&format!("{key}: {value}"));
    }
    if let Some(key) = key.strip_prefix("surfaces.api.graphql.routes[].") {
        return routing(&format!("{key}: {value}"));
    }
    if let Some(key) = key.strip_prefix("surfaces.api.graphql.") {
        let graphql = key.rsplit('.').fold(value.to_owned(), |value, key| format!("{{ {key}: {value} }}"));
        return format!("surfaces: {{ api: {{ protocols: [rest, graphql], graphql: {graphql} }} }}");
    }
    if let Some(key) = key.strip_prefix("surfaces.api.rules[].fallback.") {
        return format!("surfaces: {{ api: {{ rules: [{{ match: a, fallback: {{ {key}: {value} }} }}] }} }}");
    }
    if let Some(key) = key.strip_prefix("surfaces.api.rules[].mirror.") {
        return mirroring(&format!("{{ to: b, {key}: {value} }}"));
    }
    if let Some(key) = key.strip_prefix("surfaces.api.rules[].") {
        return format!("surfaces: {{ api: {{ rules: [{{ match: a, {key}: {value} }}] }} }}");
    }
    if let Some(key) = key.strip_prefix("observe.usage.") {
        return format!("observe: {{ usage: {{ file: a, {key}: {value} }} }}");
    }
    if let Some(key) = key.strip_prefix("auth.api.") {
        return match key.split_once('.') {
            Some((kind, key)) => provider(kind, &format!("{key}: {value}")),
            None => format!("{OPEN}auth: {{ api: {{ api_key: {{}}, {key}: {value} }} }}"),
        };
    }
    let parts: Vec<_> = key.split('.').collect();
    format!("{}: {value}{}", parts.join(": { "), " }".repeat(parts.len() - 1))
}

/// What says for every method that nobody is asked who is calling.
const OPEN: &str = "policies: { open: { auth: none } }\nsurfaces: { web: { policies: [open] } }\n";

/// A rule with a mirror.
fn mirroring(mirror: &str) -> String {
    let endpoints = "{ endpoints: { static: [\"http://127.0.0.1:50051\"] } }";
    format!(
        "services: {{ a: {endpoints}, b: {endpoints} }}\n\
         surfaces: {{ api: {{ rules: [{{ match: a, to: a, mirror: {mirror} }}] }} }}"
    )
}

/// A link with a batch.
fn linking(more: &str) -> String {
    let batch = format!("{{ call: b, keys: c, items: d, key: e, {more} }}");
    let link = format!("{{ on: a, field: b, from: c, call: d, as: e, batch: {batch} }}");
    format!("surfaces: {{ api: {{ protocols: [rest, graphql], graphql: {{ links: [{link}] }} }} }}")
}

/// A route of a document.
fn routing(more: &str) -> String {
    let route = format!("{{ get: /a, document: b, {more} }}");
    format!("surfaces: {{ api: {{ protocols: [rest, graphql], graphql: {{ routes: [{route}] }} }} }}")
}

/// A provider of a kind with what it must have.
fn provider(kind: &str, more: &str) -> String {
    let required = match kind {
        "jwt" => "issuer: \"https://a.test\", audiences: [b], ",
        "introspect" => "url: \"https://a.test\", client: b, secret: env:CARGO_PKG_NAME, ",
        "ext_authz" => "url: \"http://a.test\", ",
        _ => "",
    };
    format!("{OPEN}auth: {{ api: {{ {kind}: {{ {required}{more} }} }} }}")
}

/// What must stand around a key that is absent.
fn without_key(key: &str) -> String {
    if let Some(key) = key.strip_prefix("auth.NAME.") {
        return provider(key.split_once('.').map_or("api_key", |(kind, _)| kind), "");
    }
    for (prefix, around) in [
        ("descriptors", "descriptors: [{ proto: a }]"),
        ("observe.usage.", "observe: { usage: { file: a } }"),
        ("surfaces.NAME.rules[].fallback.", "surfaces: { api: { rules: [{ match: a, fallback: {} }] } }"),
        ("surfaces.NAME.rules[].mirror.", &*mirroring("{ to: b }")),
        ("surfaces.NAME.rules[].", "surfaces: { api: { rules: [{ match: a }] } }"),
        ("services.NAME.endpoints.dns.", "services: { api: { endpoints: { dns: { name: \"a:1\" } } } }"),
        ("services.NAME.endpoints.consul.", "services: { api: { endpoints: { consul: a } } }"),
        ("services.NAME.endpoints.empty_after", "services: { api: { endpoints: { file: a } } }"),
        ("services.NAME.breaker.", &*with_section("breaker")),
        ("services.NAME.endpoint_breaker.", &*with_section("endpoint_breaker")),
        ("services.NAME.outlier.", &*with_section("outlier")),
        ("services.NAME.health.", &*with_section("health")),
        ("services.NAME.retry.", &*with_section("retry")),
        ("services.NAME.shed.", &*with_section("shed")),
        ("surfaces.NAME.cors.", "surfaces: { api: { cors: { origins: [\"*\"] } } }"),
        ("surfaces.NAME.graphql.links[].batch.", &*linking("")),
        ("surfaces.NAME.graphql.routes[].", &*routing("")),
        ("surfaces.NAME.graphql", "surfaces: { api: { protocols: [rest, graphql] } }"),
        ("surfaces.NAME.", "surfaces: { api: {} }"),
        ("policies.NAME.", "policies: { api: {} }"),
    ] {
        if key.starts_with(prefix) {
            return around.to_owned();
        }
    }
    String::new()
}

/// A service that says a section, and nothing in it.
fn with_section(section: &str) -> String {
    format!(
        "services: {{ api: {{ endpoints: {{ static: [\"http://127.0.0.1:50051\"] }}, {section}: {{}} }} }}"
    )
}

fn without_places(config: Result<Config, Vec<Finding>>) -> Config {
    let mut config = config.unwrap_or_else(|findings| panic!("{}", finding::lines(&findings)));
    let nowhere = Position { line: 0, column: 0 };
    for service in &mut config.services {
        service.position = None;
        service.retry.iter_mut().for_each(|retry| retry.position = nowhere);
    }
    config.policies.iter_mut().for_each(|policy| policy.position = nowhere);
    config.warnings.clear();
    for surface in &mut config.surfaces {
        surface.position = None;
        surface.rules.iter_mut().for_each(|rule| rule.position = nowhere);
    }
    config.descriptors.iter_mut().for_each(|descriptors| descriptors.position = None);
    config
}
