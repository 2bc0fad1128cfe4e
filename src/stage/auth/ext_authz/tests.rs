//! What is made of answers, good, odd and hostile.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, Uri};
use prost_types::value::Kind;
use serde_json::json;

use super::answer::read;
use super::proto::envoy::service::auth::v3::check_response::HttpResponse;
use super::proto::envoy::service::auth::v3::{
    CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption, HttpStatus, OkHttpResponse,
};
use super::proto::google::rpc::Status;
use super::{ExtAuthzSettings, Refusal};
use crate::policy::identity::{Consumer, Proven};
use crate::stage::auth::provider::Denial;

fn status(code: i32) -> Option<Status> {
    Some(Status { code, ..Status::default() })
}

fn header(name: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption { header: Some(HeaderValue { key: name.into(), value: value.into() }), append: None }
}

fn ok(headers: Vec<HeaderValueOption>) -> CheckResponse {
    let ok = OkHttpResponse { headers, ..OkHttpResponse::default() };
    CheckResponse {
        status: status(0),
        http_response: Some(HttpResponse::OkResponse(ok)),
        dynamic_metadata: None,
    }
}

fn denied(code: i32, headers: Vec<HeaderValueOption>, body: &str) -> CheckResponse {
    let denied = DeniedHttpResponse { status: Some(HttpStatus { code }), headers, body: body.into() };
    let http_response = Some(HttpResponse::DeniedResponse(denied));
    CheckResponse { status: status(7), http_response, dynamic_metadata: None }
}

fn proven(answer: CheckResponse) -> Proven {
    let acme = Arc::new(Consumer { name: "acme".into(), plan: None });
    let settings = ExtAuthzSettings {
        url: Uri::from_static("http://authz.test"),
        timeout: Duration::from_secs(1),
        allow_on_error: false,
        consumer_header: Some(HeaderName::from_static("x-consumer")),
        consumers: Arc::new(HashMap::from([("acme".into(), acme)])),
    };
    read(answer).expect("an answer that allows").prove(&settings)
}

fn denial(answer: CheckResponse) -> Denial {
    match read(answer) {
        Err(Refusal::Denied(denial)) => *denial,
        other => panic!("no denial: {other:?}"),
    }
}

#[test]
fn only_a_clear_yes_allows() {
    let both = |code| CheckResponse { status: status(code), ..denied(403, vec![], "") };
    assert!(read(ok(vec![])).is_ok());
    assert!(read(CheckResponse { status: None, ..ok(vec![]) }).is_ok());
    assert!(read(CheckResponse { status: status(0), ..CheckResponse::default() }).is_ok());
    assert!(matches!(read(CheckResponse::default()), Err(Refusal::Unavailable(_))));
    assert!(matches!(read(both(0)), Err(Refusal::Denied(_))));
    assert!(matches!(read(CheckResponse { status: status(7), ..ok(vec![]) }), Err(Refusal::Denied(_))));
    let bare = CheckResponse { status: status(16), ..CheckResponse::default() };
    assert_eq!(denial(bare).status, StatusCode::FORBIDDEN);
}

#[test]
fn denials_have_a_number_that_denies() {
    let check = |code: i32, expected: u16| {
        assert_eq!(denial(denied(code, vec![], "")).status.as_u16(), expected, "{code}");
    };
    for kept in [302, 400, 401, 403, 404, 429] {
        check(kept, u16::try_from(kept).expect("a small number"));
    }
    for odd in [0, 100, 200, 204, 299, 600, 1000, -1, i32::MAX] {
        check(odd, 403);
    }
    for down in [500, 503, 599] {
        assert!(matches!(read(denied(down, vec![], "")), Err(Refusal::Unavailable(_))), "{down}");
    }
}

#[test]
fn denials_carry_what_is_for_clients() {
    let said = denial(denied(
        401,
        vec![
            header("WWW-Authenticate", "Basic"),
            header("location", "/login"),
            header("Set-Cookie", "a=b"),
            header("content-length", "5"),
            header("transfer-encoding", "chunked"),
            header("connection", "close"),
            header("grpc-status", "0"),
            header("x-request-id", "forged"),
            header("access-control-allow-origin", "*"),
            header("bad name", "a"),
            header("x-split", "a\r\nb: c"),
        ],
        "log in first",
    ));
    let mut names: Vec<_> = said.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["location", "set-cookie", "www-authenticate"]);
    assert_eq!(said.message.as_deref(), Some("log in first"));
    for odd in ["", "a\u{1b}[31m", &"x".repeat(1025)] {
        assert_eq!(denial(denied(403, vec![], odd)).message, None, "{odd:.20}");
    }
    let many = (0..65).map(|index| header(&format!("x-{index}"), "a")).collect();
    assert_eq!(denial(denied(403, many, "")).headers, HeaderMap::new());
}

#[test]
fn what_an_answer_says_becomes_claims() {
    let field = |kind: Kind| prost_types::Value { kind: Some(kind) };
    let text = |text: &str| field(Kind::StringValue(text.to_owned()));
    let roles = prost_types::ListValue { values: vec![text("a"), field(Kind::NumberValue(7.0))] };
    let fields = [
        ("sub".to_owned(), text("u1")),
        ("roles".to_owned(), field(Kind::ListValue(roles))),
        ("ratio".to_owned(), field(Kind::NumberValue(0.5))),
        ("odd".to_owned(), field(Kind::NumberValue(f64::NAN))),
        ("none".to_owned(), prost_types::Value { kind: None }),
    ];
    let dynamic_metadata = Some(prost_types::Struct { fields: fields.into_iter().collect() });
    let headers = vec![header("X-Team", "blue"), header("sub", "forged"), header("x-consumer", "acme")];
    let proven = proven(CheckResponse { dynamic_metadata, ..ok(headers) });
    let expected = json!({
        "sub": "u1", "roles": ["a", 7], "ratio": 0.5, "x-team": "blue", "x-consumer": "acme",
    });
    assert_eq!(serde_json::Value::Object((*proven.claims).clone()), expected);
    assert_eq!(&*proven.subject, "u1");
    assert_eq!(proven.consumer.map(|consumer| consumer.name.clone()).as_deref(), Some("acme"));
}

#[test]
fn unknown_consumers_are_none() {
    let unknown = proven(ok(vec![header("x-consumer", "evil")]));
    assert_eq!((unknown.consumer, &*unknown.subject), (None, ""));
    assert_eq!(&*proven(ok(vec![header("x-consumer", "acme")])).subject, "acme");
}

#[test]
fn answers_are_bounded() {
    let many = |count: usize| ok((0..count).map(|index| header(&format!("x-{index}"), "a")).collect());
    assert!(read(many(64)).is_ok());
    assert!(matches!(read(many(65)), Err(Refusal::Unavailable(_))));
    let long = |bytes: usize| ok(vec![header("x-a", &"a".repeat(bytes))]);
    assert!(read(long((16 << 10) - 3)).is_ok());
    assert!(matches!(read(long((16 << 10) - 2)), Err(Refusal::Unavailable(_))));
    let mut deep = prost_types::Value { kind: Some(Kind::BoolValue(true)) };
    for _ in 0..90 {
        deep =
            prost_types::Value { kind: Some(Kind::ListValue(prost_types::ListValue { values: vec![deep] })) };
    }
    let fields = [("deep".to_owned(), deep)].into_iter().collect();
    let answer = CheckResponse { dynamic_metadata: Some(prost_types::Struct { fields }), ..ok(vec![]) };
    assert!(serde_json::to_string(&*proven(answer).claims).expect("JSON").len() < 100);
}

#[test]
fn what_the_gateway_writes_is_not_removed() {
    let remove = ["x-secret", "x-request-id", "grpc-timeout", ":path", "x-forwarded-for", "Authorization"];
    let ok = OkHttpResponse {
        headers: vec![],
        headers_to_remove: remove.iter().map(ToString::to_string).collect(),
    };
    let http_response = Some(HttpResponse::OkResponse(ok));
    let proven = proven(CheckResponse { status: status(0), http_response, dynamic_metadata: None });
    assert_eq!(&*proven.withheld, ["x-secret", "authorization"]);
}
