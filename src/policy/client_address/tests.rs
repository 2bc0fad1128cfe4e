//! Chains of every kind: who the client is, and what the backend is told.

use super::*;

/// The proxies that the cases trust; the peer is 10.0.0.1 unless a case says otherwise.
const TRUSTED: &str = "10.0.0.0/8\n192.0.2.7\n2001:db8:f::/48";

fn proxies(header: &str) -> TrustedProxies {
    let header = HeaderName::try_from(header).expect("a header name");
    TrustedProxies {
        networks: Networks::parse(TRUSTED).expect("networks"),
        header: AddressHeader::named(header),
    }
}

/// Lines of headers, as they stand in a request.
fn headers(lines: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').expect("a header");
        let value = HeaderValue::from_bytes(value.trim().as_bytes()).expect("a value");
        headers.append(HeaderName::try_from(name).expect("a name"), value);
    }
    headers
}

fn origin(header: &str, peer: &str, lines: &str) -> Origin {
    proxies(header).origin(peer.parse().expect("an address"), &headers(lines))
}

/// Each line of `X-Forwarded-For` is one line of the case.
#[track_caller]
fn xff(chain: &str, expected: &str) {
    let lines: String = chain.split('\n').map(|line| format!("x-forwarded-for: {line}\n")).collect();
    let address = origin("x-forwarded-for", "10.0.0.1", &lines).address;
    assert_eq!(address.to_string(), expected, "{chain:?}");
}

#[test]
fn the_walk_ends_at_the_first_stranger_from_the_right() {
    xff("203.0.113.9", "203.0.113.9");
    xff("203.0.113.9, 10.0.0.2", "203.0.113.9");
    xff("203.0.113.9,10.0.0.2", "203.0.113.9");
    xff("203.0.113.9 ,\t10.0.0.2", "203.0.113.9");
    xff("203.0.113.9, 10.0.0.3, 192.0.2.7, 10.0.0.2", "203.0.113.9");
    xff("1.1.1.1, 203.0.113.9", "203.0.113.9");
    xff("1.1.1.1, 203.0.113.9, 10.0.0.2", "203.0.113.9");
    xff("10.9.9.9, 203.0.113.9, 10.0.0.2", "203.0.113.9");
    xff("127.0.0.1, 203.0.113.9", "203.0.113.9");
    xff("192.0.2.8, 192.0.2.7", "192.0.2.8");
    xff("203.0.113.9, 2001:db8:f::1", "203.0.113.9");
    xff("2001:db8:e::1, 2001:db8:f::1", "2001:db8:e::1");
    // All are trusted: the farthest of them is who calls.
    xff("10.0.0.2", "10.0.0.2");
    xff("10.0.0.3, 10.0.0.2", "10.0.0.3");
    // Nobody but the proxy: it calls for itself.
    xff("", "10.0.0.1");
    assert_eq!(origin("x-forwarded-for", "10.0.0.1", "").address.to_string(), "10.0.0.1");
}

#[test]
fn several_lines_are_one_list_in_their_order() {
    xff("203.0.113.9\n10.0.0.2", "203.0.113.9");
    xff("1.1.1.1\n203.0.113.9", "203.0.113.9");
    xff("1.1.1.1, 203.0.113.9\n10.0.0.3, 10.0.0.2", "203.0.113.9");
    xff("203.0.113.9\n\n10.0.0.2", "203.0.113.9");
    xff("203.0.113.9,\n,10.0.0.2", "203.0.113.9");
    xff("10.0.0.2\n1.1.1.1", "1.1.1.1");
}

#[test]
fn empty_entries_do_not_count() {
    xff(",", "10.0.0.1");
    xff(", ,", "10.0.0.1");
    xff(", 203.0.113.9", "203.0.113.9");
    xff("203.0.113.9, , 10.0.0.2", "203.0.113.9");
    xff("203.0.113.9,", "203.0.113.9");
}

#[test]
fn an_entry_that_is_no_address_ends_the_walk_one_hop_before() {
    xff("unknown", "10.0.0.1");
    xff("203.0.113.9, unknown", "10.0.0.1");
    xff("203.0.113.9, unknown, 10.0.0.2", "10.0.0.2");
    xff("203.0.113.9, _hidden, 10.0.0.3, 10.0.0.2", "10.0.0.3");
    xff("203.0.113.9, localhost, 10.0.0.2", "10.0.0.2");
    xff("203.0.113.9 10.0.0.2", "10.0.0.1");
    xff("203.0.113.9; 10.0.0.2", "10.0.0.1");
    xff("203.0.113.9, 10.0.0.256", "10.0.0.1");
    xff("203.0.113.9, 010.0.0.2", "10.0.0.1");
    xff("203.0.113.9, 10.0.0", "10.0.0.1");
    xff("203.0.113.9, 0x0a.0.0.2", "10.0.0.1");
    xff("203.0.113.9, 167772162", "10.0.0.1");
    xff("203.0.113.9, 10.0.0.2/32", "10.0.0.1");
    xff("203.0.113.9, fe80::1%eth0", "10.0.0.1");
    xff("203.0.113.9, 10.0.0.2\u{e9}", "10.0.0.1");
    xff("203.0.113.9, for=10.0.0.2", "10.0.0.1");
    // What stands to the left of the first stranger is not read at all.
    xff("unknown, 203.0.113.9", "203.0.113.9");
    xff("\"\"\", [, 203.0.113.9, 10.0.0.2", "203.0.113.9");
}

#[test]
fn ports_brackets_and_quotes_are_understood() {
    xff("203.0.113.9:4711", "203.0.113.9");
    xff("203.0.113.9:4711, 10.0.0.2:80", "203.0.113.9");
    xff("203.0.113.9:_port", "203.0.113.9");
    xff("[2001:db8:e::1]", "2001:db8:e::1");
    xff("[2001:db8:e::1]:443", "2001:db8:e::1");
    xff("\"[2001:db8:e::1]:443\"", "2001:db8:e::1");
    xff("\"203.0.113.9\", \"10.0.0.2\"", "203.0.113.9");
    xff("2001:DB8:E:0::1", "2001:db8:e::1");
    // Without brackets the last group is part of the address.
    xff("2001:db8:e::1:443", "2001:db8:e::1:443");
    // And what only looks like them is not.
    xff("203.0.113.9:", "10.0.0.1");
    xff("203.0.113.9:65536", "10.0.0.1");
    xff("203.0.113.9:000080", "10.0.0.1");
    xff("203.0.113.9:+80", "10.0.0.1");
    xff("203.0.113.9:_", "10.0.0.1");
    xff("[203.0.113.9]", "10.0.0.1");
    xff("[2001:db8:e::1", "10.0.0.1");
    xff("2001:db8:e::1]", "10.0.0.1");
    xff("[2001:db8:e::1]443", "10.0.0.1");
    xff("[]", "10.0.0.1");
    xff("\"203.0.113.9", "10.0.0.1");
    xff("'203.0.113.9'", "10.0.0.1");
}

#[test]
fn mapped_addresses_are_the_ones_they_map() {
    xff("203.0.113.9, ::ffff:10.0.0.2", "203.0.113.9");
    xff("::ffff:203.0.113.9", "203.0.113.9");
    xff("[::ffff:cb00:7109]:80", "203.0.113.9");
    let lines = "x-forwarded-for: 203.0.113.9";
    assert_eq!(origin("x-forwarded-for", "::ffff:10.0.0.1", lines).address.to_string(), "203.0.113.9");
    assert_eq!(origin("x-forwarded-for", "::ffff:11.0.0.1", lines).address.to_string(), "11.0.0.1");
    // IPv4-compatible addresses are not.
    assert_eq!(origin("x-forwarded-for", "::10.0.0.1", lines).address.to_string(), "::a00:1");
}

#[test]
fn a_peer_that_is_not_trusted_speaks_for_nobody() {
    let lines = "x-forwarded-for: 203.0.113.9\nx-real-ip: 203.0.113.9\nforwarded: for=203.0.113.9\n\
                 x-forwarded-proto: https\nx-forwarded-host: shop.example";
    for header in ["x-forwarded-for", "forwarded", "x-real-ip"] {
        for peer in ["11.0.0.1", "192.0.2.8", "2001:db8:e::1", "127.0.0.1"] {
            let expected =
                Origin { address: peer.parse().expect("an address"), chain: None, scheme: None, host: None };
            assert_eq!(origin(header, peer, lines), expected, "{header} of {peer}");
        }
    }
    let nobody = TrustedProxies::default();
    assert_eq!(
        resolve("10.0.0.1".parse().expect("an address"), &headers(lines), &nobody).to_string(),
        "10.0.0.1"
    );
}

#[test]
fn only_the_named_header_is_read() {
    let check = |header: &str, lines: &str, expected: &str| {
        assert_eq!(origin(header, "10.0.0.1", lines).address.to_string(), expected, "{header}: {lines}");
    };
    let all =
        "x-forwarded-for: 1.1.1.1\nforwarded: for=2.2.2.2\nx-real-ip: 3.3.3.3\ncf-connecting-ip: 4.4.4.4";
    check("x-forwarded-for", all, "1.1.1.1");
    check("forwarded", all, "2.2.2.2");
    check("x-real-ip", all, "3.3.3.3");
    check("cf-connecting-ip", all, "4.4.4.4");
    check("true-client-ip", all, "10.0.0.1");
    check("x-real-ip", "x-real-ip: 3.3.3.3:80", "3.3.3.3");
    check("x-real-ip", "x-real-ip: ::ffff:3.3.3.3", "3.3.3.3");
    // One address is one address, and said once.
    check("x-real-ip", "x-real-ip: 3.3.3.3, 4.4.4.4", "10.0.0.1");
    check("x-real-ip", "x-real-ip: 3.3.3.3\nx-real-ip: 3.3.3.3", "10.0.0.1");
    check("x-real-ip", "x-real-ip: unknown", "10.0.0.1");
}

#[test]
fn forwarded_elements_are_read_from_the_right() {
    let check = |value: &str, expected: &str| {
        let lines: String = value.split('\n').map(|line| format!("forwarded: {line}\n")).collect();
        assert_eq!(origin("forwarded", "10.0.0.1", &lines).address.to_string(), expected, "{value}");
    };
    check("for=203.0.113.9", "203.0.113.9");
    check("For=203.0.113.9;proto=http;by=10.0.0.1", "203.0.113.9");
    check("by=10.0.0.1;FOR=\"203.0.113.9:47011\"", "203.0.113.9");
    check("for=203.0.113.9, for=10.0.0.2", "203.0.113.9");
    check("for=203.0.113.9\nfor=10.0.0.2;by=10.0.0.1", "203.0.113.9");
    check("for=1.1.1.1, for=203.0.113.9", "203.0.113.9");
    check("for=\"[2001:db8:e::17]:4711\"", "2001:db8:e::17");
    check("for=\"[2001:db8:e::17]\", for=\"[2001:db8:f::1]\"", "2001:db8:e::17");
    check("for=\"_gazonk\"", "10.0.0.1");
    check("for=unknown", "10.0.0.1");
    check("for=203.0.113.9, for=_hidden, for=10.0.0.2", "10.0.0.2");
    check("for=203.0.113.9, proto=https", "10.0.0.1");
    check("for=203.0.113.9;for=10.0.0.2", "10.0.0.1");
    check("203.0.113.9", "10.0.0.1");
    check("for=", "10.0.0.1");
    check(", for=203.0.113.9,", "203.0.113.9");
    // Commas, semicolons and quotes within quotes separate nothing.
    check("for=203.0.113.9;host=\"a,b;c\"", "203.0.113.9");
    check("for=203.0.113.9;host=\"a\\\",b\", for=10.0.0.2", "203.0.113.9");
    check("host=\"for=1.1.1.1;\";for=203.0.113.9", "203.0.113.9");
    // A quote that the client left open does not reach what a proxy appends.
    check("for=\"1.1.1.1, for=203.0.113.9", "203.0.113.9");
    check("for=\"1.1.1.1\\\nfor=203.0.113.9", "203.0.113.9");
    check("for=1.1.1.1, for=\"203.0.113.9, for=10.0.0.2", "10.0.0.2");
}

#[test]
fn hops_are_bounded() {
    let chain = |hops: usize| {
        let proxies = (0..hops).map(|hop| format!(", 10.1.0.{hop}"));
        format!("203.0.113.9{}", proxies.collect::<String>())
    };
    xff(&chain(HOPS_MAX - 1), "203.0.113.9");
    xff(&chain(HOPS_MAX), "10.1.0.0");
    xff(&chain(HOPS_MAX + 1), "10.1.0.1");
    xff(&format!("203.0.113.9{}", ",".repeat(HOPS_MAX - 1)), "203.0.113.9");
    xff(&format!("203.0.113.9{}", ",".repeat(HOPS_MAX)), "10.0.0.1");
}

#[test]
fn backends_read_the_client_at_the_left_end() {
    let check = |header: &str, lines: &str, expected: &str| {
        let chain = origin(header, "10.0.0.1", lines).chain.expect("of a trusted peer");
        assert_eq!(chain, expected, "{lines}");
    };
    let xff = "x-forwarded-for";
    check(xff, "", "10.0.0.1");
    check(xff, "x-forwarded-for: 203.0.113.9", "203.0.113.9, 10.0.0.1");
    check(xff, "x-forwarded-for: 203.0.113.9:80, ::ffff:10.0.0.2", "203.0.113.9, 10.0.0.2, 10.0.0.1");
    // What nobody vouches for stays here.
    check(xff, "x-forwarded-for: 127.0.0.1, 203.0.113.9, 10.0.0.2", "203.0.113.9, 10.0.0.2, 10.0.0.1");
    check(xff, "x-forwarded-for: 203.0.113.9, unknown, 10.0.0.2", "10.0.0.2, 10.0.0.1");
    check("forwarded", "forwarded: for=1.1.1.1, for=\"[2001:db8:e::1]\"", "2001:db8:e::1, 10.0.0.1");
    check("x-real-ip", "x-real-ip: 3.3.3.3\nx-forwarded-for: 1.1.1.1", "3.3.3.3, 10.0.0.1");
}

#[test]
fn scheme_and_host_are_taken_when_there_is_one_of_each() {
    let scheme = |lines: &str, expected: Option<&str>| {
        assert_eq!(origin("x-forwarded-for", "10.0.0.1", lines).scheme, expected, "{lines}");
    };
    scheme("", None);
    scheme("x-forwarded-proto: https", Some("https"));
    scheme("x-forwarded-proto: HTTP", Some("http"));
    scheme("x-forwarded-proto: wss", None);
    scheme("x-forwarded-proto: https, http", None);
    scheme("x-forwarded-proto: https\nx-forwarded-proto: https", None);
    let host = |lines: &str, expected: Option<&str>| {
        let host = origin("x-forwarded-for", "10.0.0.1", lines).host;
        assert_eq!(host.as_ref().map(|host| host.to_str().expect("ASCII")), expected, "{lines}");
    };
    host("", None);
    host("x-forwarded-host: shop.example", Some("shop.example"));
    host("x-forwarded-host: shop.example:8443", Some("shop.example:8443"));
    host("x-forwarded-host: [2001:db8::1]:443", Some("[2001:db8::1]:443"));
    host("x-forwarded-host: a.example, b.example", None);
    host("x-forwarded-host: a.example\nx-forwarded-host: b.example", None);
    host("x-forwarded-host: user@shop.example", None);
    host("x-forwarded-host: shop.example/path", None);
}

/// Bytes that look like chains, from a seed.
fn noise(seed: u64) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "10.0.0.2",
        "203.0.113.9",
        "for=",
        "\"",
        "\\",
        ",",
        ";",
        "[",
        "]",
        ":",
        "::1",
        "unknown",
        " ",
        "=",
        "80",
        "\u{e9}",
    ];
    let mut state = seed;
    let mut bytes = Vec::new();
    for _ in 0..12 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(WORDS[usize::try_from(state >> 60).expect("four bits")].as_bytes());
    }
    bytes
}

#[test]
fn nothing_that_a_client_writes_hides_what_a_proxy_appends() {
    for seed in 0..20_000 {
        for (header, appended) in [("x-forwarded-for", "203.0.113.77"), ("forwarded", "for=203.0.113.77")] {
            let name = HeaderName::from_static(header);
            let appended_here = [noise(seed).as_slice(), b", ", appended.as_bytes()].concat();
            let mut one_line = HeaderMap::new();
            one_line.append(&name, HeaderValue::from_bytes(&appended_here).expect("no control characters"));
            let mut two_lines = HeaderMap::new();
            two_lines.append(&name, HeaderValue::from_bytes(&noise(seed)).expect("no control characters"));
            two_lines.append(&name, HeaderValue::from_static(appended));
            for headers in [one_line, two_lines] {
                let peer = "10.0.0.1".parse().expect("an address");
                let address = resolve(peer, &headers, &proxies(header));
                assert_eq!(address.to_string(), "203.0.113.77", "{headers:?}");
            }
        }
    }
}
