//! Requests that are wrong, at the real door: each gets its number, its code and words that name the place.
//!
//! None of them reaches the backend, and none of them costs the next request anything.

use crate::support::backend::Backend;
use crate::support::{Gateway, http};

const JSON: &str = "application/json";

/// Method, target, content type, body; HTTP number, gRPC code, what the message says.
type Case<'a> = (&'a str, &'a str, &'a str, &'a str, u16, u64, &'a str);

/// JSON that does not parse, or parses to something else than the message; what the refusal says.
const BODIES: &[(&str, &str)] = &[
    ("{", "line 1 column 2"),
    ("}", "line 1 column 1"),
    ("[]", "object"),
    ("null", "object"),
    ("true", "object"),
    ("\"x\"", "object"),
    ("{}{}", "column 3"),
    ("{} x", "column 4"),
    ("{},", "column 3"),
    ("{\n\"name\":}", "line 2 column 8"),
    ("{\"name\" \"x\"}", "column 9"),
    ("{name:\"x\"}", "column 2"),
    ("{'name':\"x\"}", "column 2"),
    ("{\"name\":\"x\",}", "column 13"),
    ("{,}", "column 2"),
    ("{\"name\":\"x\"", "column 12"),
    ("{\"name\":\"x", "column"),
    ("{\"name", "column"),
    ("\u{feff}{}", "column 1"),
    ("{\"name\":\"a\nb\"}", "control character"),
    ("{\"name\":\"a\tb\"}", "control character"),
    (r#"{"name":"\x"}"#, "escape"),
    (r#"{"name":"\u12"}"#, "hexadecimal"),
    (r#"{"name":"\ud83e"}"#, "surrogate"),
    (r#"{"name":"\udd80"}"#, "surrogate"),
    (r#"{"name":"\ud83ex"}"#, "surrogate"),
    (r#"{"name":"\ud83e\u0041"}"#, "surrogate"),
    (r#"{"name":1}"#, "`name`"),
    (r#"{"name":true}"#, "`name`"),
    (r#"{"name":["x"]}"#, "`name`"),
    (r#"{"name":{}}"#, "`name`"),
    (r#"{"nope":1}"#, "`nope`"),
    (r#"{"Name":"x"}"#, "`Name`"),
    (r#"{"name":"x","name":"x"}"#, "`name`"),
    (r#"{"parent":{"nope":1}}"#, "`parent.nope`"),
    (r#"{"children":[{},{"count":"x"}]}"#, "`children[1].count`"),
    (r#"{"left":"a","right":1}"#, "oneof"),
    (r#"{"count":2147483648}"#, "`count`"),
    (r#"{"count":-2147483649}"#, "`count`"),
    (r#"{"count":1.5}"#, "`count`"),
    (r#"{"count":1e-1}"#, "`count`"),
    (r#"{"count":"1.5"}"#, "`count`"),
    (r#"{"count":""}"#, "`count`"),
    (r#"{"count":" 1"}"#, "`count`"),
    (r#"{"count":"0x10"}"#, "`count`"),
    (r#"{"count":01}"#, "column"),
    (r#"{"count":+1}"#, "column"),
    (r#"{"count":.5}"#, "column"),
    (r#"{"count":1.}"#, "column"),
    (r#"{"count":1e}"#, "column"),
    (r#"{"count":-}"#, "column"),
    (r#"{"count":1e999999}"#, "`count`"),
    (r#"{"count":true}"#, "`count`"),
    (r#"{"count":[1]}"#, "`count`"),
    (r#"{"size":9223372036854775808}"#, "`size`"),
    (r#"{"size":"-9223372036854775809"}"#, "`size`"),
    (r#"{"big":18446744073709551616}"#, "`big`"),
    (r#"{"big":-1}"#, "`big`"),
    (r#"{"right":-1}"#, "`right`"),
    (r#"{"right":4294967296}"#, "`right`"),
    (r#"{"weight":1e400}"#, "`weight`"),
    (r#"{"weight":NaN}"#, "column"),
    (r#"{"weight":Infinity}"#, "column"),
    (r#"{"weight":"nan"}"#, "`weight`"),
    (r#"{"weight":"+Infinity"}"#, "`weight`"),
    (r#"{"weight":""}"#, "`weight`"),
    (r#"{"ratio":3.5e38}"#, "`ratio`"),
    (r#"{"done":1}"#, "`done`"),
    (r#"{"done":"true"}"#, "`done`"),
    (r#"{"done":True}"#, "column"),
    (r#"{"data":"!"}"#, "`data`"),
    (r#"{"data":"A"}"#, "`data`"),
    (r#"{"data":"AA=A"}"#, "`data`"),
    (r#"{"data":1}"#, "`data`"),
    (r#"{"color":"RED"}"#, "`color`"),
    (r#"{"color":1.5}"#, "`color`"),
    (r#"{"color":2147483648}"#, "`color`"),
    (r#"{"color":[]}"#, "`color`"),
    (r#"{"tags":"a"}"#, "`tags`"),
    (r#"{"tags":[1]}"#, "`tags[0]`"),
    (r#"{"tags":["a",null]}"#, "`tags[1]`"),
    (r#"{"tags":["a""b"]}"#, "column"),
    (r#"{"tags":["a",]}"#, "column"),
    (r#"{"tags":{"a":1}}"#, "`tags`"),
    (r#"{"labels":[]}"#, "`labels`"),
    (r#"{"labels":{"a":"x"}}"#, "`labels"),
    (r#"{"labels":{"a":null}}"#, "`labels"),
    (r#"{"labels":{"a":1,"a":2}}"#, "`labels"),
    (r#"{"parent":[]}"#, "`parent`"),
    (r#"{"parent":"x"}"#, "`parent`"),
    (r#"{"time":"2026-11-21"}"#, "`time`"),
    (r#"{"time":"2026-02-30T00:00:00Z"}"#, "`time`"),
    (r#"{"time":"2026-11-21T00:00:00"}"#, "`time`"),
    (r#"{"time":"0000-01-01T00:00:00Z"}"#, "`time`"),
    (r#"{"time":"2026-11-21T00:00:00.0000000001Z"}"#, "`time`"),
    (r#"{"time":1}"#, "`time`"),
    (r#"{"age":"1"}"#, "`age`"),
    (r#"{"age":"315576000001s"}"#, "`age`"),
    (r#"{"age":"1.0000000001s"}"#, "`age`"),
    (r#"{"mask":"a_b"}"#, "`mask`"),
    (r#"{"note":1}"#, "`note`"),
    (r#"{"extra":[]}"#, "`extra`"),
    (r#"{"extra":{"a":1,"a":2}}"#, "`extra"),
    (r#"{"any":{"name":"x"}}"#, "`any`"),
    (r#"{"any":{"@type":"type.googleapis.com/none.Such"}}"#, "`any"),
    (r#"{"any":{"@type":"door.v1.Item","nope":1}}"#, "`any"),
    (r#"{"any":{"@type":7}}"#, "`any"),
];

/// Bodies too long to be written down.
fn long_bodies() -> [(String, &'static str); 6] {
    [
        (format!("{{\"{}\":1}}", "x".repeat(1_000_000)), "`xxx"),
        (format!("{{\"labels\":{{\"{}\":true}}}}", "x".repeat(1_000_000)), "`labels"),
        (format!(r#"{{"count":{}}}"#, "9".repeat(100_000)), "`count`"),
        (format!("{}{}", r#"{"parent":"#.repeat(100), "{}"), "nested deeper than 100"),
        (format!("{{\"value\":{}", "[".repeat(100_000)), "nested deeper than 100"),
        (format!("{{\"extra\":{}", "{\"a\":".repeat(100_000)), "nested deeper than 100"),
    ]
}

/// Paths that are none, and parameters that do not bind; what the refusal says.
const TARGETS: &[(&str, &str)] = &[
    ("/v1/items/%00", "NUL"),
    ("/v1/items/%", "hexadecimal"),
    ("/v1/items/%2", "hexadecimal"),
    ("/v1/items/%zz", "hexadecimal"),
    ("/v1/items/%ff", "UTF-8"),
    ("/v1/items/%c0%af", "UTF-8"),
    ("/v1/items/7?nope=1", "`nope`"),
    ("/v1/items/7?parent.nope=1", "`parent.nope`"),
    ("/v1/items/7?count=x", "`count`"),
    ("/v1/items/7?count=", "`count`"),
    ("/v1/items/7?count", "`count`"),
    ("/v1/items/7?count=1.0", "`count`"),
    ("/v1/items/7?count=2147483648", "`count`"),
    ("/v1/items/7?count=1&count=2", "`count`"),
    ("/v1/items/7?done=1", "`done`"),
    ("/v1/items/7?done=TRUE", "`done`"),
    ("/v1/items/7?weight=x", "`weight`"),
    ("/v1/items/7?weight=1e400", "`weight`"),
    ("/v1/items/7?color=RED", "`color`"),
    ("/v1/items/7?data=!", "`data`"),
    ("/v1/items/7?time=now", "`time`"),
    ("/v1/items/7?age=1", "`age`"),
    ("/v1/items/7?parent=x", "`parent`"),
    ("/v1/items/7?children=x", "`children`"),
    ("/v1/items/7?children.name=x", "`children"),
    ("/v1/items/7?name.x=1", "`name"),
    ("/v1/items/7?labels[a]=x", "`labels"),
    ("/v1/items/7?labels[a]=1&labels[a]=2", "`labels"),
    ("/v1/items/7?labels[a=1", "`labels"),
    ("/v1/items/7?name=items/8", "`name`"),
    ("/v1/items/7?left=a&right=1", "oneof"),
    ("/v1/items/7?tags=%ff", "UTF-8"),
    ("/v1/items/7?tags=%f", "hexadecimal"),
    ("/v1/items/7?=1", "query"),
    ("/v1/items/7?tags=a&tags=%c0%af", "UTF-8"),
    ("/v1/items/7?count=%2B5", "`count`"),
    ("/v1/items/7?count=+5", "`count`"),
    ("/v1/items/7?count=%D9%A3", "`count`"),
    ("/v1/items/7?count=0x1", "`count`"),
    ("/v1/items/7?count=1_000", "`count`"),
    ("/v1/items/7?size=9223372036854775808", "`size`"),
    ("/v1/items/7?big=-1", "`big`"),
    ("/v1/items/7?weight=inf", "`weight`"),
    ("/v1/items/7?ratio=3.5e38", "`ratio`"),
    ("/v1/items/7?ratio=", "`ratio`"),
    ("/v1/items/7?data=+/8=", "`data`"),
    ("/v1/items/7?colors=RED", "`colors`"),
    ("/v1/items/7?colors=2147483648", "`colors`"),
    ("/v1/items/7?numbers=1,2", "`numbers`"),
    ("/v1/items/7?flags[TRUE]=x", "`flags[TRUE]`"),
    ("/v1/items/7?flags[1]=x", "`flags[1]`"),
    ("/v1/items/7?labels[a]=1.5", "`labels[a]`"),
    ("/v1/items/7?labels=1", "`labels[key]`"),
    ("/v1/items/7?colorsById[x]=1", "`colorsById[x]`"),
    ("/v1/items/7?colorsById[1]=1&colorsById[01]=2", "`colorsById"),
    ("/v1/items/7?itemsByName[a].count=1", "`itemsByName"),
    ("/v1/items/7?extra={}", "`extra`"),
    ("/v1/items/7?any=x", "`any`"),
    ("/v1/items/7?left=a&left=a", "`left`"),
    ("/v1/items/7?note=a&note=a", "`note`"),
    ("/v1/items/7?mask=a,,b", "`mask`"),
    ("/v1/left/a?right=1", "oneof"),
    ("/v1/left/a?left=b", "`left`"),
];

/// What has a number of its own, or needs a method of its own.
const OTHERS: &[Case<'_>] = &[
    ("GET", "/", "", "", 404, 5, "no route"),
    ("GET", "/v1", "", "", 404, 5, "no route"),
    ("GET", "/v1/items/7/", "", "", 404, 5, "no route"),
    ("GET", "/v1//7", "", "", 404, 5, "no route"),
    ("GET", "//v1/items/7", "", "", 404, 5, "no route"),
    ("GET", "/v1/items/../items/7", "", "", 404, 5, "no route"),
    ("GET", "/V1/items/7", "", "", 404, 5, "no route"),
    ("POST", "/door.v1.Door/Plain", JSON, "{}", 404, 5, "no route"),
    ("POST", "/v1/items/7", JSON, "{}", 405, 12, "GET"),
    ("GET", "/v1/chat", "", "", 405, 12, "POST"),
    ("BREW", "/v1/items/7", "", "", 405, 12, "GET"),
    ("POST", "/v1/items?count=1", JSON, "{}", 400, 3, "`count`"),
    ("PUT", "/v1/items/7?item.count=1", JSON, "{}", 400, 3, "`item"),
    ("PUT", "/v1/items/7", JSON, r#"{"name":"items/8"}"#, 400, 3, "`item.name`"),
    ("PUT", "/v1/items/7", JSON, r#"{"count":"x"}"#, 400, 3, "`item.count`"),
    ("PUT", "/v1/items/7", JSON, "[1]", 400, 3, "`item`"),
    ("PATCH", "/v1/items/7", JSON, r#"{"nope":1}"#, 400, 3, "`item.nope`"),
    ("PATCH", "/v1/items/7", JSON, r#"{"parent":{"nope":1}}"#, 400, 3, "`item.parent.nope`"),
    ("PATCH", "/v1/items/7", JSON, r#"{"left":"a","right":1}"#, 400, 3, "oneof"),
    ("PATCH", "/v1/items/7?update_mask=a&updateMask=b", JSON, "{}", 400, 3, "`updateMask`"),
    ("PATCH", "/v1/whole?update_mask=a", JSON, "{}", 400, 3, "`update_mask`"),
    ("DELETE", "/v1/items/7", JSON, "{}", 400, 3, "body"),
    ("OPTIONS", "/nowhere", "", "", 404, 5, "no route"),
    ("OPTIONS", "/v1/items/%00", "", "", 400, 3, "NUL"),
    ("POST", "/v1/items/7:watch", "", "", 405, 12, "GET"),
    ("purge", "/v1/items/7:purge", "", "", 405, 12, "PURGE"),
    ("GET", "/v1/items/7", JSON, r#"{"count":1}"#, 400, 3, "body"),
    ("POST", "/v1/items", "text/plain", "{}", 415, 3, "application/json"),
    ("POST", "/v1/items", "application/x-www-form-urlencoded", "a=1", 415, 3, "application/json"),
    ("POST", "/v1/items", "application/json; charset=latin1", "{}", 415, 3, "application/json"),
];

#[tokio::test]
async fn malformed_requests_are_refused_by_name() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    let too_large = " ".repeat((4 << 20) + 1);
    let long = long_bodies();
    let long = long.iter().map(|(body, message)| (body.as_str(), *message));
    let bodies = BODIES.iter().copied().chain(long);
    let posts = bodies.map(|(body, message)| ("POST", "/v1/items", JSON, body, 400, 3, message));
    let gets = TARGETS.iter().map(|(target, message)| ("GET", *target, "", "", 400, 3, *message));
    let too_large = [("POST", "/v1/items", JSON, too_large.as_str(), 413, 8, "4194304")];
    let mut failures = Vec::new();
    for case in posts.chain(gets).chain(OTHERS.iter().copied()).chain(too_large) {
        failures.extend(check(&gateway, case).await.err());
    }
    assert!(failures.is_empty(), "{} cases:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(backend.calls(), 0, "the backend saw none of them");
    let answer = http::send(gateway.address, http::request("GET", "/v1/items/7"), "").await;
    assert_eq!(answer.status, 200, "the gateway still serves: {}", answer.text());
}

/// What is not as the case says.
async fn check(
    gateway: &Gateway,
    (method, target, content_type, body, number, code, message): Case<'_>,
) -> Result<(), String> {
    let mut request = http::request(method, target);
    if !content_type.is_empty() {
        request = request.header("content-type", content_type);
    }
    let answer = http::send(gateway.address, request, body.to_owned()).await;
    let status = answer.json();
    let said = status["message"].as_str().unwrap_or_default();
    let is_short = answer.body.len() < 2000;
    if answer.status.as_u16() == number && status["code"] == code && said.contains(message) && is_short {
        return Ok(());
    }
    let shown: String = body.chars().take(60).collect();
    Err(format!(
        "{method} {target} {shown}\n  expected {number} {code} {message}\n  found {} {status}",
        answer.status
    ))
}

/// What has a rule is reached by its rule alone.
#[tokio::test]
async fn annotated_methods_have_no_second_path() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &["--unannotated"]).await;
    for (target, number) in
        [("/door.v1.Door/Plain", 200), ("/door.v1.Door/Get", 404), ("/door.v1.Door/Watch", 404)]
    {
        let request = http::request("POST", target).header("content-type", JSON);
        assert_eq!(http::send(gateway.address, request, "{}").await.status, number, "{target}");
    }
}

/// Text that is not UTF-8 has no place in a Rust string, hence a table of its own.
#[tokio::test]
async fn bodies_that_are_not_utf8_are_refused() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    let cases: &[&[u8]] = &[
        b"{\"name\":\"\xff\"}",
        b"{\"name\":\"\xc0\xaf\"}",
        b"{\"name\":\"\xed\xa0\x80\"}",
        b"{\"name\":\"\xf4\x90\x80\x80\"}",
        b"{\"name\":\"\xf0\x9f\xa6\"}",
        b"{\"\xff\":1}",
        b"\xff\xfe{}",
        b"{\"extra\":{\"\x80\":1}}",
    ];
    for body in cases {
        let request = http::request("POST", "/v1/items").header("content-type", JSON);
        let answer = http::send(gateway.address, request, *body).await;
        assert_eq!(answer.status, 400, "{body:?}: {}", answer.text());
        assert!(answer.text().contains("UTF-8"), "{body:?}: {}", answer.text());
    }
    assert_eq!(backend.calls(), 0);
}
