//! Which replies are compressed, one line a case.

use super::*;

fn headers(lines: &str) -> HeaderMap {
    lines
        .split(';')
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(name, value)| {
            let value = HeaderValue::from_str(value).expect("a value");
            (header::HeaderName::from_bytes(name.as_bytes()).expect("a name"), value)
        })
        .collect()
}

const JSON: &str = "content-type: application/json";

/// Whether a reply is compressed for a client that takes gzip, and whether it varies by that.
fn check(
    rules: &Compression,
    request: &str,
    status: u16,
    reply: &str,
    extent: Extent,
    expected: (bool, bool),
) {
    let offer = rules.offer(&headers(&format!("accept-encoding: gzip;{request}")));
    let mut written = headers(reply);
    let status = StatusCode::from_u16(status).expect("a status");
    let coding = offer.choose(status, &mut written, extent);
    let varies = written.get_all(header::VARY).iter().any(|value| value == "Accept-Encoding");
    assert_eq!((coding.is_some(), varies), expected, "{rules:?} | {request} | {status} {reply} {extent:?}");
    assert!(coding.is_none() || written[header::CONTENT_ENCODING] == "gzip", "{reply}");
}

const YES: (bool, bool) = (true, true);
const VARIES: (bool, bool) = (false, true);
const NO: (bool, bool) = (false, false);

#[test]
fn replies_are_compressed_from_the_bound_on() {
    let at = |bytes_min, bytes, expected| {
        let rules = Compression { bytes_min, ..Compression::default() };
        check(&rules, "", 200, JSON, Extent::Bytes(bytes), expected);
    };
    at(1024, 1023, NO);
    at(1024, 1024, YES);
    at(1024, u64::MAX, YES);
    at(0, 0, YES);
    at(10_000, 9_999, NO);
    at(10_000, 10_000, YES);
}

#[test]
fn types_that_gain_nothing_are_left_alone() {
    let of = |content_type: &str, expected| {
        let reply =
            if content_type.is_empty() { String::new() } else { format!("content-type: {content_type}") };
        check(&Compression::default(), "", 200, &reply, Extent::Bytes(5000), expected);
    };
    of("application/json", YES);
    of("Application/JSON", YES);
    of("application/problem+json", YES);
    of("application/x-ndjson", YES);
    of("application/openapi+yaml", NO);
    of("application/yaml", YES);
    of("application/atom+xml", YES);
    of("application/proto", YES);
    of("application/wasm", YES);
    of("text/html", YES);
    of("text/plain", YES);
    of("text/csv", YES);
    of("image/svg+xml", YES);
    of("text/event-stream", NO);
    of("TEXT/Event-Stream", NO);
    of("image/png", NO);
    of("image/webp", NO);
    of("video/mp4", NO);
    of("application/zip", NO);
    of("application/pdf", NO);
    of("application/octet-stream", NO);
    of("application/grpc", NO);
    of("application/grpc-web+proto", NO);
    of("application/grpc-web+json", NO);
    of("application/connect+json", NO);
    of("application/connect+proto", NO);
    of("json", NO);
    of("", NO);
}

#[test]
fn heads_that_forbid_it_are_obeyed() {
    let head = |status, more: &str, expected| {
        check(&Compression::default(), "", status, &format!("{JSON};{more}"), Extent::Bytes(5000), expected);
    };
    head(200, "", YES);
    head(201, "", YES);
    head(400, "", YES);
    head(503, "", YES);
    head(204, "", NO);
    head(205, "", NO);
    head(206, "", NO);
    head(304, "", NO);
    head(200, "content-encoding: br", NO);
    head(200, "content-encoding: identity", NO);
    head(200, "content-range: bytes 0-1/2", NO);
    head(200, "set-cookie: a=b", NO);
    head(200, "cache-control: no-transform", NO);
    head(200, "cache-control: max-age=1, No-Transform", NO);
    head(200, "cache-control: no-store", YES);
    head(200, "cache-control: private=\"no-transform-x\"", YES);
}

#[test]
fn replies_to_what_browsers_send_by_themselves_stay_plain() {
    let with = |with_credentials, request: &str, expected| {
        let rules = Compression { with_credentials, ..Compression::default() };
        check(&rules, request, 200, JSON, Extent::Bytes(5000), expected);
    };
    with(false, "", YES);
    with(false, "authorization: Bearer x", YES);
    with(false, "x-api-key: x", YES);
    with(false, "cookie: a=b", VARIES);
    with(false, "authorization: Basic x", VARIES);
    with(false, "authorization: DIGEST x", VARIES);
    with(false, "authorization: negotiate x", VARIES);
    with(false, "authorization: NTLM", VARIES);
    with(false, "authorization: Basics x", YES);
    with(true, "cookie: a=b", YES);
    with(true, "authorization: Basic x", YES);
}

#[test]
fn streams_are_compressed_where_that_is_asked_for() {
    let stream = |streams, content_type: &str, expected| {
        let rules = Compression { streams, ..Compression::default() };
        check(&rules, "", 200, &format!("content-type: {content_type}"), Extent::Stream, expected);
    };
    stream(false, "application/x-ndjson", NO);
    stream(true, "application/x-ndjson", YES);
    stream(true, "application/json", YES);
    stream(true, "text/event-stream", NO);
    stream(true, "application/connect+json", NO);
}

#[test]
fn nothing_is_offered_where_it_is_off() {
    let rules = Compression { codings: Vec::new(), ..Compression::default() };
    check(&rules, "", 200, JSON, Extent::Bytes(5000), NO);
}

#[test]
fn headers_of_the_plain_body_do_not_stay() {
    let check = |reply: &str, expected: &str| {
        let rules = Compression::default();
        let mut written = headers(&format!("{JSON};{reply}"));
        let offer = rules.offer(&headers("accept-encoding: zstd"));
        let chosen = offer.choose(StatusCode::OK, &mut written, Extent::Bytes(5000));
        assert_eq!(chosen, Some((Coding::Zstd, Effort::Fast)));
        let mut added = headers(&format!("{JSON};content-encoding: zstd;{expected}"));
        let vary = if added.contains_key(header::VARY) { "" } else { "Accept-Encoding" };
        if !vary.is_empty() {
            added.insert(header::VARY, HeaderValue::from_static(vary));
        }
        assert_eq!(written, added, "{reply}");
    };
    check("", "");
    check("content-length: 5000", "");
    check("accept-ranges: bytes", "");
    check("etag: \"a\"", "etag: W/\"a\"");
    check("etag: W/\"a\"", "etag: W/\"a\"");
    check("vary: *", "vary: *");
    check("vary: accept-encoding", "vary: accept-encoding");
}
