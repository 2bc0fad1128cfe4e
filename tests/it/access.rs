//! Who may come in, at the real door: client addresses behind proxies, lists, headers, methods, places.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::metrics::{scrape, value};
use crate::support::backend::Backend;
use crate::support::{Directory, Gateway, eventually, http, mmdb};

/// The tests' own address is a trusted proxy, and so is 10.0.0.0/8.
const BEHIND_PROXIES: &str = "trusted_proxies: [127.0.0.1, 10.0.0.0/8, \"fd00::/8\"]";

/// A gateway behind proxies whose only surface has this policy.
async fn guarded(backend: &Backend, policy: &str, rest: &str) -> Gateway {
    let rest = format!("policies: {{ p: {{ {policy} }} }}\nsurfaces: {{ s: {{ policies: [p] }} }}\n{rest}");
    Gateway::configured(backend, BEHIND_PROXIES, "", &rest).await
}

/// The HTTP number, and the reason of a refusal.
async fn outcome(gateway: &Gateway, verb: &str, headers: &[(&str, &str)]) -> (u16, Option<String>) {
    let mut request = http::request(verb, "/v1/items/7");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = http::send(gateway.address, request, "").await;
    let reason = (answer.status != 200)
        .then(|| answer.json()["details"][0]["reason"].as_str().expect("a reason").to_owned());
    (answer.status.as_u16(), reason)
}

/// Whether the gateway lets a client at `address` in; if not, for which reason.
async fn reason(gateway: &Gateway, address: &str) -> Option<String> {
    match outcome(gateway, "GET", &[("x-forwarded-for", address)]).await {
        (200, None) => None,
        (403, Some(reason)) => Some(reason),
        other => panic!("{address}: {other:?}"),
    }
}

#[track_caller]
fn write(path: &Path, content: impl AsRef<[u8]>) {
    // Beside the file and then in its place, as careful writers do.
    let next = path.with_extension("next");
    fs::write(&next, content).expect("the directory is ours");
    fs::rename(&next, path).expect("the directory is ours");
}

#[tokio::test]
async fn backends_are_told_the_client_that_trusted_proxies_vouch_for() {
    let backend = Backend::echo().await;
    let trusting = Gateway::configured(&backend, BEHIND_PROXIES, "", "").await;
    let plain = Gateway::door(&backend, &[]).await;
    let forged = "forwarded: for=9.9.9.9\nx-real-ip: 9.9.9.9\nx-forwarded-for: 127.0.0.1, 203.0.113.9, 10.0.0.7\n\
                  x-forwarded-proto: https\nx-forwarded-host: shop.example";
    for (gateway, chain, scheme, host) in [
        (&trusting, "203.0.113.9, 10.0.0.7, 127.0.0.1", "https", "shop.example"),
        (&plain, "127.0.0.1", "http", "gateway.test"),
    ] {
        let mut request = http::request("GET", "/v1/items/7");
        for (name, value) in forged.lines().filter_map(|line| line.split_once(": ")) {
            request = request.header(name, value);
        }
        let answer = http::send(gateway.address, request, "").await;
        let seen = |name: &str| answer.header(&format!("grpc-metadata-seen-{name}"));
        assert_eq!(seen("x-forwarded-for"), Some(chain));
        assert_eq!(seen("x-forwarded-proto"), Some(scheme));
        assert_eq!(seen("x-forwarded-host"), Some(host));
        assert_eq!((seen("forwarded"), seen("x-real-ip")), (None, None));
    }
}

#[tokio::test]
async fn a_chain_from_a_stranger_opens_nothing() {
    let backend = Backend::echo().await;
    let rest = "policies: { p: { allow: { cidr: [10.0.0.0/8] } } }\nsurfaces: { s: { policies: [p] } }";
    let gateway = Gateway::configured(&backend, "trusted_proxies: [192.0.2.1]", "", rest).await;
    for header in ["x-forwarded-for", "x-real-ip", "forwarded", "x-client-ip", "true-client-ip"] {
        let value = if header == "forwarded" { "for=10.0.0.1" } else { "10.0.0.1" };
        let denied = (403, Some("IP_DENIED".to_owned()));
        assert_eq!(outcome(&gateway, "GET", &[(header, value)]).await, denied, "{header}");
    }
    assert_eq!(backend.calls(), 0);
}

#[tokio::test]
async fn deny_beats_allow_and_all_others_stay_out() {
    let backend = Backend::echo().await;
    let policy = "deny: { cidr: [203.0.113.0/24, \"2001:db8:bad::/48\", 198.51.100.7] }, \
                  allow: { cidr: [203.0.113.9, 198.51.100.0/24, \"2001:db8::/32\"] }";
    let gateway = guarded(&backend, policy, "").await;
    let check = async |chain: &str, admitted: bool| {
        let expected = (!admitted).then(|| "IP_DENIED".to_owned());
        assert_eq!(reason(&gateway, chain).await, expected, "{chain}");
    };
    check("198.51.100.1", true).await;
    check("198.51.100.7", false).await;
    // Allowed by a narrower network, and denied all the same.
    check("203.0.113.9", false).await;
    check("192.0.2.1", false).await;
    check("2001:db8:1::1", true).await;
    check("2001:db8:bad::1", false).await;
    check("::ffff:198.51.100.1", true).await;
    check("::ffff:198.51.100.7", false).await;
    check("198.51.100.1, 10.1.2.3, fd00::1", true).await;
    check("198.51.100.1, 192.0.2.1, 10.1.2.3", false).await;
    check("198.51.100.1, unknown", false).await;
    assert_eq!(backend.calls(), 4);
    let metrics = scrape(&gateway).await;
    let refused = value(&metrics, "transom_refused_total{stage=\"access\",reason=\"IP_DENIED\"}");
    assert_eq!(refused, Some(7.0), "{metrics}");
}

#[tokio::test]
async fn a_refusal_has_the_form_of_every_other() {
    let backend = Backend::echo().await;
    let gateway = guarded(&backend, "deny: { cidr: [203.0.113.0/24] }", "").await;
    let request = http::request("GET", "/v1/items/7").header("x-forwarded-for", "203.0.113.9");
    let answer = http::send(gateway.address, request, "").await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.header("x-request-id").is_some());
    let expected = serde_json::json!({
        "code": 7,
        "message": "this address is not admitted",
        "details": [{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "IP_DENIED", "domain": "transom"
        }],
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(backend.calls(), 0);
}

#[tokio::test]
async fn a_rule_has_lists_of_its_own() {
    let backend = Backend::echo().await;
    let rest = "policies: { p: { deny: { cidr: [203.0.113.9] } }, q: { deny: { methods: [DELETE] } } }\n\
                surfaces: { s: { policies: [p, q], rules: [{ match: door.v1.Door.Get, deny: { cidr: [192.0.2.1] } }, { match: door.* }] } }";
    let gateway = Gateway::configured(&backend, BEHIND_PROXIES, "", rest).await;
    let check = async |verb: &str, address: &str, expected: Option<&str>| {
        let (_, reason) = outcome(&gateway, verb, &[("x-forwarded-for", address)]).await;
        assert_eq!(reason.as_deref(), expected, "{verb} {address}");
    };
    check("GET", "192.0.2.1", Some("IP_DENIED")).await;
    check("GET", "203.0.113.9", None).await;
    // Both policies hold for the rest.
    check("DELETE", "192.0.2.1", Some("METHOD_DENIED")).await;
    check("DELETE", "203.0.113.9", Some("IP_DENIED")).await;
}

#[tokio::test]
async fn a_list_in_a_file_is_read_again_within_a_second_and_never_half() {
    let directory = Directory::new("access");
    let list = directory.path().join("deny.txt");
    write(&list, "# none yet\n192.0.2.1\n");
    let backend = Backend::echo().await;
    let gateway =
        guarded(&backend, &format!("deny: {{ cidr: {:?} }}", format!("file:{}", list.display())), "").await;
    assert_eq!(reason(&gateway, "203.0.113.9").await, None);
    let denied = Some("IP_DENIED".to_owned());
    assert_eq!(reason(&gateway, "192.0.2.1").await, denied);

    let started = Instant::now();
    write(&list, "203.0.113.0/24\n");
    eventually("denied by the new list", async || reason(&gateway, "203.0.113.9").await.is_some()).await;
    // One second is promised; the machine may have other things to do.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(reason(&gateway, "192.0.2.1").await, None);

    let failures = async |expected: f64| {
        let sample = "transom_file_reload_failures_total";
        eventually("counted", async || value(&scrape(&gateway).await, sample) == Some(expected)).await;
    };
    failures(0.0).await;
    write(&list, "192.0.2.1\n203.0.113.300\n");
    failures(1.0).await;
    assert_eq!(reason(&gateway, "203.0.113.9").await, denied);
    assert_eq!(reason(&gateway, "192.0.2.1").await, None);
    fs::remove_file(&list).expect("the file is ours");
    failures(2.0).await;
    assert_eq!(reason(&gateway, "203.0.113.9").await, denied);
    write(&list, "192.0.2.1\n");
    eventually("denied by a good list", async || reason(&gateway, "192.0.2.1").await.is_some()).await;
    assert_eq!(reason(&gateway, "203.0.113.9").await, None);
}

#[tokio::test]
async fn headers_and_methods_are_judged() {
    let backend = Backend::echo().await;
    let policy = "deny: { headers: { user-agent: [\"*bot*\", \"\"], referer: \"*://spam.example/*\" } }, \
                  allow: { methods: [GET, DELETE] }";
    let gateway = guarded(&backend, policy, "").await;
    let check = async |verb: &str, headers: &[(&str, &str)], expected: Option<&str>| {
        let (_, reason) = outcome(&gateway, verb, headers).await;
        assert_eq!(reason.as_deref(), expected, "{verb} {headers:?}");
    };
    let agent = ("user-agent", "curl/8");
    check("GET", &[agent], None).await;
    check("GET", &[("user-agent", "Googlebot/2.1")], Some("HEADER_DENIED")).await;
    check("GET", &[("user-agent", "")], Some("HEADER_DENIED")).await;
    check("GET", &[], Some("HEADER_DENIED")).await;
    check("GET", &[agent, ("user-agent", "x-BOT-x")], Some("HEADER_DENIED")).await;
    check("GET", &[agent, ("referer", "https://spam.example/x")], Some("HEADER_DENIED")).await;
    check("GET", &[agent, ("referer", "https://shop.example/?r=spam.example")], None).await;
    check("DELETE", &[agent], None).await;
    check("PATCH", &[agent], Some("METHOD_DENIED")).await;
    assert_eq!(backend.calls(), 3);
}

#[tokio::test]
async fn places_are_judged_and_the_unknown_as_it_is_said() {
    let directory = Directory::new("geo");
    let (countries, systems) = (directory.path().join("c.mmdb"), directory.path().join("a.mmdb"));
    write(
        &countries,
        mmdb::countries(&[("192.0.2.0/24", "KP"), ("198.51.100.0/24", "NO"), ("2001:db8::/32", "NO")]),
    );
    write(&systems, mmdb::systems(&[("198.51.100.128/25", 64_500), ("192.0.2.0/24", 64_501)]));
    let backend = Backend::echo().await;
    let geo = format!("geo: {{ file: {countries:?}, asn_file: {systems:?} }}");
    let denying = guarded(&backend, "deny: { countries: [KP], unknown: allow }", &geo).await;
    let strict = guarded(&backend, "deny: { countries: [KP], unknown: deny }", &geo).await;
    let only = guarded(&backend, "allow: { countries: [NO], unknown: deny }", &geo).await;
    let lenient = guarded(&backend, "allow: { countries: [NO], unknown: allow }", &geo).await;
    let system = guarded(&backend, "deny: { asn: [64500], unknown: allow }", &geo).await;
    for (address, admitted) in [
        ("192.0.2.1", [false, false, false, false, true]),
        ("198.51.100.1", [true, true, true, true, true]),
        ("198.51.100.200", [true, true, true, true, false]),
        ("203.0.113.1", [true, false, false, true, true]),
        ("2001:db8::1", [true, true, true, true, true]),
        ("2001:db9::1", [true, false, false, true, true]),
    ] {
        let gateways = [&denying, &strict, &only, &lenient, &system];
        for (index, (gateway, admitted)) in gateways.into_iter().zip(admitted).enumerate() {
            let expected = (!admitted).then(|| "GEO_DENIED".to_owned());
            assert_eq!(reason(gateway, address).await, expected, "{address}, gateway {index}");
        }
    }
    // Damaged, the old file stays; another good one takes its place.
    let file = mmdb::countries(&[("192.0.2.0/24", "NO"), ("198.51.100.0/24", "KP")]);
    write(&countries, &file[..file.len() / 2]);
    let sample = "transom_file_reload_failures_total";
    eventually("refused", async || value(&scrape(&denying).await, sample) == Some(1.0)).await;
    assert_eq!(reason(&denying, "192.0.2.1").await.as_deref(), Some("GEO_DENIED"));
    write(&countries, &file);
    eventually("swapped", async || reason(&denying, "192.0.2.1").await.is_none()).await;
    assert_eq!(reason(&denying, "198.51.100.1").await.as_deref(), Some("GEO_DENIED"));
}

#[test]
fn files_that_cannot_be_used_are_findings_at_their_place() {
    let directory = Directory::new("findings");
    let path = |name: &str| directory.path().join(name);
    write(&path("bad.txt"), "10.0.0.0/8\nten\n");
    write(&path("c.mmdb"), "no database");
    write(&path("a.mmdb"), mmdb::countries(&[("192.0.2.0/24", "KP")]));
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/door.proto");
    let text = format!(
        "version: 1\n\
         descriptors: [{{ proto: {proto:?} }}]\n\
         services: {{ door: {{ endpoints: {{ static: [\"http://127.0.0.1:1\"] }} }} }}\n\
         geo: {{ file: c.mmdb, asn_file: a.mmdb }}\n\
         policies: {{ p: {{ deny: {{ cidr: file:bad.txt }}, allow: {{ cidr: file:none.txt }} }} }}\n\
         surfaces: {{ s: {{ policies: [p] }} }}\n"
    );
    write(&path("t.yaml"), text);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_transom"))
        .args(["check", "--config"])
        .arg(path("t.yaml"))
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr);
    for expected in [
        "t.yaml:4:14: `",
        "c.mmdb`: expected a MaxMind DB file: ",
        "t.yaml:4:32: `",
        "a.mmdb`: expected autonomous systems, and no record of this `Test-Country` has one",
        "t.yaml:5:32: `",
        "bad.txt`: line 2: expected a network such as `10.0.0.0/8` or `fd00::/8`, found `ten`",
        "t.yaml:5:63: `",
        "none.txt`: No such file or directory",
    ] {
        assert!(shown.contains(expected), "no `{expected}` in:\n{shown}");
    }
}
