//! What a condition costs a call, and what it costs to check one when it is loaded.

use std::borrow::Cow;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue};
use transom::policy::condition::{Captured, Condition, NoCaptures, RequestTypes, Subject};
use transom::policy::identity::{Identity, Profile, Proven};

const CONDITIONS: &[(&str, &str)] = &[
    ("scope", r#""orders.read" in claims.scope"#),
    ("claim and header", r#"claims.tenant == request.headers["x-tenant"] && claims.level >= 3"#),
    ("network", r#"inNetwork(request.address, ["10.0.0.0/8", "192.0.2.0/24"])"#),
    ("pattern", r#"request.path.matches("^/v1/books/[a-z]+$")"#),
    ("groups", r#"claims.groups.exists(group, group.startsWith("staff-"))"#),
];

struct Nothing;

impl Captured for Nothing {
    fn text(&self, _field: &str) -> Option<Cow<'_, str>> {
        None
    }

    fn bytes(&self, _field: &str) -> usize {
        0
    }
}

fn alice() -> Identity {
    let claims = serde_json::json!({
        "sub": "alice", "tenant": "acme", "level": 4,
        "groups": (0..10).map(|index| format!("group-{index}")).chain(["staff-eu".into()]).collect::<Vec<_>>(),
    });
    let serde_json::Value::Object(claims) = claims else { unreachable!("written as an object") };
    let scopes = ["books.read", "books.write", "orders.read"].map(Box::from).into();
    let proven = Proven { claims: claims.into(), scopes, ..Proven::default() };
    Identity::clone(&Profile::new("corp").identify(proven))
}

fn conditions(criterion: &mut Criterion) {
    let identity = alice();
    let mut headers = HeaderMap::new();
    headers.insert("x-tenant", HeaderValue::from_static("acme"));
    let subject = Subject {
        identity: Some(&identity),
        method: "GET",
        path: "/v1/books/dune",
        host: Some("api.shop.example"),
        rpc: "shop.v1.Books.Get",
        headers: &headers,
        address: [10, 1, 2, 3].into(),
        scheme: "https",
        country: None,
        asn: None,
        now: 0,
        captured: &Nothing,
    };
    let types = RequestTypes { has_country: false, has_asn: false, captures: &NoCaptures };
    for (name, text) in CONDITIONS {
        let condition = Condition::compile(text, &types).expect("a condition");
        assert_eq!(condition.evaluate(&subject), Ok(true), "{name}");
        criterion.bench_function(&format!("evaluate {name}"), |bencher| {
            bencher.iter(|| condition.evaluate(black_box(&subject)));
        });
        criterion.bench_function(&format!("compile {name}"), |bencher| {
            bencher.iter(|| Condition::compile(black_box(text), &types).is_ok());
        });
    }
}

criterion_group!(benches, conditions);
criterion_main!(benches);
