//! Preflights and replies: what a browser is told, one line a case.

use super::*;

/// Rules by their words: origins, then `credentials`, `any-header`, `private`, `+method M`, `+header H`.
fn cors(words: &str) -> Cors {
    let mut rules = CorsRules::default();
    let mut words = words.split_whitespace();
    while let Some(word) = words.next() {
        match word {
            "credentials" => rules.credentials = true,
            "any-header" => rules.any_header = true,
            "private" => rules.private_network = true,
            "+method" => rules.methods.push(words.next().expect("M").parse().expect("a method")),
            "+header" => rules.headers.push(words.next().expect("H").parse().expect("a header")),
            origin => rules.origins.push(Origin::parse(origin).expect("an origin")),
        }
    }
    Cors::new(rules, [HeaderName::from_static("x-read")], [HeaderName::from_static("x-written")])
        .expect("rules that hold together")
}

/// `name: value` lines.
fn headers(lines: &str) -> HeaderMap {
    lines
        .split(';')
        .filter_map(|line| line.trim().split_once(':'))
        .map(|(name, value)| {
            let value = HeaderValue::from_str(value.trim()).expect("a value");
            (HeaderName::from_bytes(name.as_bytes()).expect("a name"), value)
        })
        .collect()
}

/// The reply's headers but `Vary`, without their common beginning, sorted.
fn told(response: &HeaderMap) -> String {
    let mut lines: Vec<_> = response
        .iter()
        .filter(|(name, _)| *name != header::VARY)
        .map(|(name, value)| {
            let name = name.as_str().strip_prefix("access-control-").expect("one of Fetch's own");
            format!("{}: {}", name.strip_prefix("allow-").unwrap_or(name), value.to_str().expect("ASCII"))
        })
        .collect();
    lines.sort();
    lines.join("; ")
}

const SHOP: &str = "https://shop.example";

fn preflight(rules: &str, request: &str, allow: &str, expected: &str) {
    let mut response = HeaderMap::new();
    let origin = if request.contains("origin:") { String::new() } else { format!("origin: {SHOP}; ") };
    let request = headers(
        &format!("{origin}{request}")
            .replace("method:", "access-control-request-method:")
            .replace("headers:", "access-control-request-headers:"),
    );
    let granted = cors(rules).preflight(&request, allow, &mut response);
    assert_eq!(told(&response), expected, "{rules} | {request:?}");
    assert_eq!(granted, !expected.is_empty(), "{rules} | {request:?}");
    let vary: Vec<_> = response.get_all(header::VARY).iter().collect();
    assert_eq!(
        vary,
        ["Access-Control-Request-Method", "Access-Control-Request-Headers", "Origin"],
        "{rules} | {request:?}"
    );
}

#[test]
fn preflights_grant_the_methods_of_the_routes() {
    let check = |rules: &str, asked: &str, allow: &str, methods: &str| {
        let expected = format!("max-age: 600; methods: {methods}; origin: {SHOP}");
        preflight(&format!("{SHOP} {rules}"), &format!("method: {asked}"), allow, &expected);
    };
    check("", "GET", "GET, HEAD", "GET, HEAD");
    check("", "PUT", "GET, HEAD", "GET, HEAD");
    check("", "PUT", "GET, HEAD, PUT", "GET, HEAD, PUT");
    check("", "patch", "PATCH", "PATCH");
    check("", "PURGE", "*", "PURGE");
    check("", "PURGE", "*, GET", "PURGE, GET");
    check("", "a b", "*, GET", "GET");
    check("+method GET", "PUT", "GET, HEAD, PUT", "GET");
    check("+method GET +method PUT", "PUT", "GET, HEAD, PUT", "GET, PUT");
    check("+method DELETE", "DELETE", "*", "DELETE");
    check("+method DELETE", "PUT", "*", "");
}

#[test]
fn preflights_grant_the_headers_that_are_read() {
    let check = |rules: &str, asked: &str, granted: &str| {
        let granted = if granted.is_empty() { String::new() } else { format!("headers: {granted}; ") };
        let expected = format!("{granted}max-age: 600; methods: POST; origin: {SHOP}");
        preflight(&format!("{SHOP} {rules}"), &format!("method: POST; headers: {asked}"), "POST", &expected);
    };
    check("", "", "");
    check("", "content-type", "content-type");
    check("", "authorization,content-type", "authorization, content-type");
    check("", "authorization , content-type", "authorization, content-type");
    check("", "Authorization", "Authorization");
    check("", "content-type; headers: authorization", "content-type, authorization");
    check("", "x-other", "");
    check("", "x-other,content-type", "content-type");
    check("", "x-read", "x-read");
    check(
        "",
        "connect-protocol-version,x-grpc-web,x-user-agent,grpc-timeout",
        "connect-protocol-version, x-grpc-web, x-user-agent, grpc-timeout",
    );
    check("", "content-encoding", "content-encoding");
    check("", "cookie", "");
    check("", "*", "");
    check("", "grpc-metadata-tenant", "grpc-metadata-tenant");
    check("", "grpc-metadata-te", "");
    check("", "grpc-metadata-", "");
    check("", "grpc-status", "");
    check("+header x-app", "x-app,x-other", "x-app");
    check("any-header", "x-app,x-other", "x-app, x-other");
    check("any-header", "x app,,x-other,x(y)", "x-other");
}

#[test]
fn preflights_grant_listed_origins_only() {
    let check = |rules: &str, origins: &str, granted: Option<&str>| {
        let expected = granted.map(|origin| format!("max-age: 600; methods: PUT; origin: {origin}"));
        preflight(rules, &format!("method: PUT; {origins}"), "PUT", &expected.unwrap_or_default());
    };
    check(SHOP, "origin: https://shop.example", Some(SHOP));
    check(SHOP, "origin: https://evil.example", None);
    check(SHOP, "origin: https://shop.example.evil.example", None);
    check(SHOP, "origin: http://shop.example", None);
    check(SHOP, "origin: null", None);
    check(SHOP, "origin:", None);
    check(SHOP, "origin: *", None);
    check(SHOP, "origin: https://shop.example, https://evil.example", None);
    check(SHOP, "origin: https://shop.example; origin: https://shop.example", None);
    check("*", "origin: https://a.example; origin: https://b.example", None);
    check("null", "origin: null", Some("null"));
    check("*", "origin: null", Some("*"));
    check("*", "origin: https://evil.example", Some("*"));
    check("https://a.example https://b.example", "origin: https://b.example", Some("https://b.example"));
    check("https://*.shop.example", "origin: https://a.shop.example", Some("https://a.shop.example"));
    check("https://*.shop.example", "origin: https://shop.example", None);
    check("https://shop.example https://*.shop.example", "origin: https://shop.example", Some(SHOP));
}

#[test]
fn credentials_and_private_networks_are_granted_where_they_are_configured() {
    let asks = "method: PUT; access-control-request-private-network: true";
    let check = |rules: &str, request: &str, expected: &str| preflight(rules, request, "PUT", expected);
    check(SHOP, asks, "max-age: 600; methods: PUT; origin: https://shop.example");
    check(
        &format!("{SHOP} credentials"),
        asks,
        "credentials: true; max-age: 600; methods: PUT; origin: https://shop.example",
    );
    check(
        &format!("{SHOP} private"),
        asks,
        "max-age: 600; methods: PUT; origin: https://shop.example; private-network: true",
    );
    check(
        &format!("{SHOP} private"),
        "method: PUT",
        "max-age: 600; methods: PUT; origin: https://shop.example",
    );
    check("*", asks, "max-age: 600; methods: PUT; origin: *");
}

#[test]
fn replies_say_who_may_read_them() {
    const EXPOSED: &str = "age, allow, cache-status, content-disposition, deprecation, etag, grpc-message, \
        grpc-status, grpc-status-details-bin, link, ratelimit, ratelimit-policy, retry-after, sunset, \
        www-authenticate, x-request-id, x-written";
    let check = |rules: &str, request: &str, granted: Option<&str>| {
        let mut response = headers("vary: accept-language");
        cors(rules).tell(&headers(request), &mut response);
        let vary: Vec<_> = response.get_all(header::VARY).iter().cloned().collect();
        assert_eq!(vary, ["accept-language", "Origin"], "{rules} | {request}");
        let (before, origin) =
            granted.and_then(|granted| granted.rsplit_once("origin: ")).unwrap_or_default();
        let expected = granted.map(|_| format!("{before}expose-headers: {EXPOSED}; origin: {origin}"));
        assert_eq!(told(&response), expected.unwrap_or_default(), "{rules} | {request}");
    };
    check(SHOP, "", None);
    check(SHOP, "accept: a", None);
    check(SHOP, "origin: https://evil.example", None);
    check(SHOP, "origin: null", None);
    check(SHOP, "origin: https://shop.example", Some("origin: https://shop.example"));
    let credentials = format!("{SHOP} credentials");
    check(
        &credentials,
        "origin: https://shop.example",
        Some("credentials: true; origin: https://shop.example"),
    );
    check(&credentials, "origin: https://evil.example", None);
    check("*", "", None);
    check("*", "origin: https://evil.example", Some("origin: *"));
}

#[test]
fn grants_replace_what_a_backend_says() {
    let mut response = headers("access-control-allow-origin: *; access-control-expose-headers: x");
    cors(SHOP).tell(&headers("origin: https://shop.example"), &mut response);
    assert_eq!(response.get_all(header::ACCESS_CONTROL_ALLOW_ORIGIN).iter().collect::<Vec<_>>(), [SHOP]);
}

#[test]
fn preflight_is_an_options_with_both_headers() {
    let check = |method: &str, lines: &str, expected: bool| {
        let method = method.parse().expect("a method");
        assert_eq!(is_preflight(&method, &headers(lines)), expected, "{method} {lines}");
    };
    check("OPTIONS", "origin: a; access-control-request-method: PUT", true);
    check("OPTIONS", "origin: a; access-control-request-method:", true);
    check("OPTIONS", "origin: a", false);
    check("OPTIONS", "access-control-request-method: PUT", false);
    check("OPTIONS", "", false);
    check("GET", "origin: a; access-control-request-method: PUT", false);
    check("options", "origin: a; access-control-request-method: PUT", false);
}

#[test]
fn rules_that_open_the_door_to_every_page_are_refused() {
    let check = |origins: &[Origin], credentials: bool, expected: Option<CorsError>| {
        let rules = CorsRules { origins: origins.to_vec(), credentials, ..CorsRules::default() };
        assert_eq!(Cors::new(rules, [], []).err(), expected, "{origins:?} {credentials}");
    };
    check(&[], false, Some(CorsError::NoOrigin));
    check(&[Origin::Any], false, None);
    check(&[Origin::Any], true, Some(CorsError::AnyWithCredentials));
    check(
        &[Origin::Exact(HeaderValue::from_static(SHOP)), Origin::Any],
        true,
        Some(CorsError::AnyWithCredentials),
    );
    check(&[Origin::Null], false, None);
    check(&[Origin::Null], true, Some(CorsError::NullWithCredentials));
    check(&[Origin::Exact(HeaderValue::from_static(SHOP))], true, None);
}
