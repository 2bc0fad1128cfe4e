//! Expressions against what they check as, evaluate to and may cost, from `tests/cases/`.

mod checked;
mod evaluated;
mod oracle;

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value as Json, json};

use super::{
    CaptureError, CaptureKind, CaptureTypes, Captured, Condition, ConditionError, Expression, Outcome,
    RequestTypes, Subject,
};
use crate::policy::identity::{Consumer, Identity, Profile, Proven};

/// Fields as a path of the library could capture them.
struct Library;

impl CaptureTypes for Library {
    fn capture(&self, field: &str) -> Result<CaptureKind, CaptureError> {
        Ok(match field {
            "book.name" => CaptureKind::Text,
            "shelf" => CaptureKind::Int,
            "count" => CaptureKind::Uint,
            "score" => CaptureKind::Double,
            "done" => CaptureKind::Bool,
            "token" => CaptureKind::Bytes,
            "at" => CaptureKind::Timestamp,
            "query.text" => CaptureKind::Text,
            "query.int" => CaptureKind::Int,
            "query.uint" => CaptureKind::Uint,
            "query.double" => CaptureKind::Double,
            "query.bool" => CaptureKind::Bool,
            "query.data" => CaptureKind::Bytes,
            "query.at" => CaptureKind::Timestamp,
            "query.kind" => CaptureKind::Enum([].into()),
            "kind" => CaptureKind::Enum([("NOVEL".into(), 1), ("ESSAY".into(), 2)].into()),
            "book" => return Err(CaptureError::NoValue { field: field.into(), is: "a message" }),
            "title" => {
                let (template, rpc) = ("/v1/{book.name=*}".into(), "t.Library.Get".into());
                return Err(CaptureError::NotCaptured { field: field.into(), template, rpc });
            }
            "page" => {
                return Err(CaptureError::Differs {
                    field: field.into(),
                    rpc: "t.Library.Get".into(),
                    left: "int".into(),
                    other: "t.Library.List".into(),
                    right: "string".into(),
                });
            }
            _ => {
                let (message, rpc) = ("t.GetRequest".into(), "t.Library.Get".into());
                return Err(CaptureError::UnknownField { message, rpc, field: field.into() });
            }
        })
    }
}

struct Path;

impl Captured for Path {
    fn text(&self, field: &str) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(match field {
            "book.name" => "dune",
            "shelf" => "7",
            "count" => "-1",
            "score" => "1.5",
            "done" => "true",
            "token" => "AQ",
            "at" => "2026-01-01T00:00:00Z",
            "kind" => "NOVEL",
            _ => return None,
        }))
    }

    fn bytes(&self, _field: &str) -> usize {
        0
    }
}

/// What a case's request is made of.
struct Request {
    identity: Option<Identity>,
    headers: HeaderMap,
}

impl Request {
    fn new(identity: Option<Identity>, headers: &[(&'static str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            (HeaderName::from_static(name), value)
        });
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        Self { identity, headers: map }
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            identity: self.identity.as_ref(),
            method: "GET",
            path: "/v1/books/dune",
            host: Some("API.shop.example:8443"),
            rpc: "t.Library.Get",
            headers: &self.headers,
            address: [10, 1, 2, 3].into(),
            scheme: "https",
            country: Some("DE"),
            asn: None,
            // 2026-07-04T12:34:56.789Z, a Saturday.
            now: 1_783_168_496_789_000_000,
            captured: &Path,
        }
    }
}

/// What [`alice`]'s token holds.
fn claims() -> Json {
    json!({
        "sub": "alice", "tenant": "acme", "admin": true, "banned": false, "level": 3, "score": 2.5,
        "big": 18_446_744_073_709_551_615_u64, "min": i64::MIN, "nothing": null, "zero": 0,
        "groups": ["staff", "authors"], "mixed": [1, "a", null, { "k": [1] }], "empty": [],
        "address": { "city": "Bonn", "zip": "53111", "geo": { "lat": 50.7 } },
        "https://shop.example/tenant": "acme", "email": "Alice@Shop.Example", "roles": "admin editor",
        "iat": 1_783_166_400, "exp": "2027-01-01T00:00:00Z", "scope": "orders.read books.write",
        "numbers": [3, 1, 2], "doubles": [1.5, 2.0], "name": "Ünïcode", "ip": "192.0.2.7", "b64": "AQI=",
        "pairs": [[1, 2], [3, 4]], "same": { "a": 1, "b": [2] }, "other": { "b": [2], "a": 1 },
    })
}

fn alice() -> Identity {
    let Json::Object(claims) = claims() else { unreachable!("written as an object") };
    let consumer = Consumer { name: "corp:acme".into(), plan: Some("pro".into()) };
    let proven = Proven {
        subject: "alice".into(),
        claims: claims.into(),
        scopes: ["orders.read", "books.write"].map(Box::from).into(),
        credential: "t-1".into(),
        consumer: Some(consumer.into()),
        ..Proven::default()
    };
    Identity::clone(&Profile::new("corp").identify(proven))
}

fn compile<T: Outcome>(text: &str) -> Result<Expression<T>, Vec<ConditionError>> {
    Expression::compile(text, &RequestTypes { has_country: true, has_asn: true, captures: &Library })
}

/// `text => outcome` in blocks: an expression of one line or more, then what becomes of it.
fn cases(text: &'static str) -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    let text = text.split_once("\n\n").expect("a header").1;
    text.split("\n\n").map(|block| {
        let (expression, outcome) = block.split_once("\n=> ").expect("an expression and its outcome");
        (expression, outcome.trim_end().split("\n=> ").collect())
    })
}

#[test]
fn an_expression_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Condition>();
}
