//! CORS at the real door: preflights before everything else, grants on replies of every kind.

use http::HeaderMap;

use crate::support::backend::{Backend, messages, respond, status};
use crate::support::{Gateway, http as client};

const SHOP: &str = "https://shop.example";

const SURFACES: &str = r#"
headers: { forward: [x-tenant], back: [x-shop] }
surfaces:
  web:
    hosts: [api.test]
    cors: { origins: ["https://shop.example", "https://*.shop.example"], credentials: true, max_age: 5m }
  open: { hosts: [open.test], cors: { origins: ["*"] } }
  closed: { hosts: [closed.test] }
"#;

async fn gateway() -> (Gateway, Backend) {
    let backend = Backend::start(async |_| {
        let metadata = HeaderMap::from_iter([
            ("x-shop".parse().expect("a name"), "a".parse().expect("a value")),
            ("access-control-allow-origin".parse().expect("a name"), "*".parse().expect("a value")),
        ]);
        respond(metadata, messages(&[bytes::Bytes::new()], status(0, "")))
    })
    .await;
    (Gateway::configured(&backend, "", "", SURFACES).await, backend)
}

/// The reply's status and its grant, as short as it can be said.
async fn told(gateway: &Gateway, request: http::request::Builder, body: &'static str) -> String {
    let answer = client::send(gateway.address, request, body).await;
    let mut told = answer.status.as_u16().to_string();
    for name in ["origin", "credentials", "methods", "headers"] {
        if let Some(value) = answer.header(&format!("access-control-allow-{name}")) {
            told.push_str(&format!(" {name}={value}"));
        }
    }
    for (name, short) in [("access-control-max-age", "age"), ("access-control-expose-headers", "exposes")] {
        if let Some(value) = answer.header(name) {
            told.push_str(&format!(" {short}={}", value.replace(", ", ",")));
        }
    }
    told
}

#[tokio::test]
async fn preflights_are_answered_without_the_backend() {
    let (gateway, backend) = gateway().await;
    let check = async |host: &str, path: &str, origin: &str, method: &str, expected: &str| {
        let request = client::request("OPTIONS", path)
            .header("host", host)
            .header("origin", origin)
            .header("access-control-request-method", method)
            .header("access-control-request-headers", "authorization,x-tenant,x-other");
        assert_eq!(told(&gateway, request, "").await, expected, "{host} {path} {origin} {method}");
    };
    let granted = |methods: &str| {
        format!(
            "204 origin={SHOP} credentials=true methods={methods} headers=authorization, x-tenant age=300"
        )
    };
    check("api.test", "/v1/items/7", SHOP, "DELETE", &granted("DELETE, GET, HEAD, PATCH, PUT")).await;
    check("api.test", "/v1/items/7", SHOP, "POST", &granted("DELETE, GET, HEAD, PATCH, PUT")).await;
    check("api.test", "/v1/items/7:purge", SHOP, "PURGE", &granted("DELETE, GET, HEAD, PATCH, PURGE, PUT"))
        .await;
    check("api.test", "/v1/any/7", SHOP, "REPORT", &granted("REPORT")).await;
    check("api.test", "/v1/items/7", "https://evil.example", "DELETE", "403").await;
    check("api.test", "/v1/items/7", "null", "DELETE", "403").await;
    let exposes = "exposes=age,allow,cache-status,content-disposition,deprecation,etag,grpc-message,grpc-status,\
        grpc-status-details-bin,link,ratelimit,ratelimit-policy,retry-after,sunset,www-authenticate,\
        x-request-id,x-shop";
    let not_found = format!("404 origin={SHOP} credentials=true {exposes}");
    check("api.test", "/v1/nothing/here", SHOP, "DELETE", &not_found).await;
    let open = "204 origin=* methods=DELETE, GET, HEAD, PATCH, PUT headers=authorization, x-tenant age=600";
    check("open.test", "/v1/items/7", "https://evil.example", "DELETE", open).await;
    // Without CORS a preflight is an OPTIONS like any other.
    check("closed.test", "/v1/items/7", SHOP, "DELETE", "204").await;
    check("other.test", "/v1/items/7", SHOP, "DELETE", "404").await;
    assert_eq!(backend.calls(), 0);
}

#[tokio::test]
async fn replies_of_every_kind_carry_the_grant() {
    let (gateway, _backend) = gateway().await;
    let check = async |method: &str, path: &str, origin: Option<&str>, expected: (u16, bool)| {
        let mut request = client::request(method, path).header("host", "api.test");
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let answer = client::send(gateway.address, request, "").await;
        let place = format!("{method} {path} {origin:?}: {answer:?}");
        let granted = answer.header("access-control-allow-origin");
        assert_eq!(answer.status.as_u16(), expected.0, "{place}");
        assert_eq!(granted, expected.1.then_some(origin).flatten(), "{place}");
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            expected.1.then_some("true"),
            "{place}"
        );
        let mut vary = answer.headers.get_all("vary").iter();
        assert!(vary.any(|value| value == "Origin"), "{place}");
    };
    let below = Some("https://a.shop.example");
    check("GET", "/v1/items/7", Some(SHOP), (200, true)).await;
    check("GET", "/v1/items/7", below, (200, true)).await;
    check("GET", "/v1/items/7", Some("https://evil.example"), (200, false)).await;
    check("GET", "/v1/items/7", None, (200, false)).await;
    check("HEAD", "/v1/items/7", Some(SHOP), (200, true)).await;
    check("GET", "/v1/nothing/here", Some(SHOP), (404, true)).await;
    check("GET", "/v1/items/7?nothing=1", Some(SHOP), (400, true)).await;
    check("GET", "/v1/%zz", Some(SHOP), (400, true)).await;
    check("POST", "/v1/items/7", Some(SHOP), (405, true)).await;
    check("OPTIONS", "/v1/items/7", Some(SHOP), (204, true)).await;
    check("GET", "/v1/nothing/here", None, (404, false)).await;
}

#[tokio::test]
async fn what_a_backend_says_of_cors_does_not_count() {
    let (gateway, _backend) = gateway().await;
    let request = client::request("GET", "/v1/items/7").header("host", "closed.test").header("origin", SHOP);
    let answer = client::send(gateway.address, request, "").await;
    assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
    assert_eq!(answer.header("vary"), None, "{answer:?}");
    assert_eq!(answer.header("x-shop"), Some("a"), "{answer:?}");
}
