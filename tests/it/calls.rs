//! Unary calls at the real door: statuses, metadata, trailers, deadlines, raw bodies, methods.

use ::http::{HeaderMap, HeaderValue, Response};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::backend::{self, Backend, messages, nothing, respond, status};
use crate::support::{Gateway, eventually, http, soon};

/// `Item { name = "x" }`.
const ITEM: Bytes = Bytes::from_static(b"\x0a\x01x");

/// The number and the body for a backend that answers `GET /v1/items/7` with `response`.
async fn answer_to(response: impl Fn() -> Response<backend::Body> + Send + Sync + 'static) -> http::Answer {
    let backend = Backend::start(move |_| std::future::ready(response())).await;
    let gateway = Gateway::door(&backend, &[]).await;
    http::send(gateway.address, http::request("GET", "/v1/items/7"), "").await
}

fn trailers_only(trailers: HeaderMap) -> Response<backend::Body> {
    respond(trailers, nothing())
}

#[tokio::test]
async fn each_code_has_its_number() {
    let backend = Backend::start(async |request| {
        let code = request.headers()["code"].to_str().ok().and_then(|code| code.parse().ok()).unwrap_or(0);
        trailers_only(status(code, "because%20%E2%98%83 50%"))
    })
    .await;
    let gateway = Gateway::door(&backend, &[]).await;
    let numbers = [499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];
    for (code, number) in (1..).zip(numbers).chain([(17, 500), (99, 500)]) {
        let request = http::request("GET", "/v1/items/7").header("grpc-metadata-code", code.to_string());
        let answer = http::send(gateway.address, request, "").await;
        assert_eq!(answer.status.as_u16(), number, "code {code}");
        let code = if code > 16 { 2 } else { code };
        assert_eq!(answer.json(), json!({"code": code, "message": "because ☃ 50%", "details": []}));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.header("x-request-id").is_some());
    }
}

#[tokio::test]
async fn details_are_typed_json() {
    // google.rpc.Status { code: 3, message: "no", details: [BadRequest, Item, unknown, RetryInfo 1.5 s] }.
    let any = |name: &str, value: &[u8]| {
        let url = format!("type.googleapis.com/{name}");
        let mut any = vec![0x0a, u8::try_from(url.len()).expect("short")];
        any.extend_from_slice(url.as_bytes());
        any.extend_from_slice(&[0x12, u8::try_from(value.len()).expect("short")]);
        any.extend_from_slice(value);
        any
    };
    let details = [
        any("google.rpc.BadRequest", b"\x0a\x06\x0a\x01a\x12\x01b"),
        any("door.v1.Item", b"\x0a\x01x"),
        any("none.Such", b"\x01\x02"),
        any("door.v1.Item", b"\xff"),
        any("google.rpc.RetryInfo", b"\x0a\x08\x08\x01\x10\x80\xca\xb5\xee\x01"),
    ];
    let mut wire = b"\x08\x05\x12\x02no".to_vec();
    for detail in details {
        wire.extend_from_slice(&[0x1a, u8::try_from(detail.len()).expect("short")]);
        wire.extend_from_slice(&detail);
    }
    let padded = base64(&wire);
    for text in [padded.clone(), padded.trim_end_matches('=').to_owned()] {
        let answer = answer_to(move || {
            let mut trailers = status(14, "no");
            trailers.insert("grpc-status-details-bin", HeaderValue::from_str(&text).expect("base64"));
            respond(HeaderMap::new(), messages(&[], trailers))
        })
        .await;
        assert_eq!(answer.status, 503, "grpc-status decides over the code in the details");
        assert_eq!(answer.header("retry-after"), Some("2"));
        assert_eq!(
            answer.json(),
            json!({"code": 14, "message": "no", "details": [
                {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": "a", "description": "b"}]},
                {"@type": "type.googleapis.com/door.v1.Item", "name": "x"},
                {"@type": "type.googleapis.com/none.Such", "value": "AQI="},
                {"@type": "type.googleapis.com/door.v1.Item", "value": "/w=="},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.500s"},
            ]})
        );
    }
}

fn base64(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    transom::codec::base64::encode(bytes, &mut out);
    String::from_utf8(out).expect("base64 is ASCII")
}

#[tokio::test]
async fn backends_that_break_the_rules_are_internal_errors() {
    let case = async |response: fn() -> Response<backend::Body>, number: u16, code: u64, words: &str| {
        let answer = answer_to(response).await;
        let text = answer.text();
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["code"]),
            (number, &json!(code)),
            "{words}: {text}"
        );
        assert!(text.contains(words), "{words}: {text}");
    };
    case(|| respond(HeaderMap::new(), messages(&[], status(0, ""))), 500, 13, "without a message").await;
    case(|| respond(HeaderMap::new(), messages(&[ITEM, ITEM], status(0, ""))), 500, 13, "two messages").await;
    case(|| respond(HeaderMap::new(), messages(&[ITEM], HeaderMap::new())), 500, 2, "status").await;
    case(|| respond(HeaderMap::new(), messages(&[Bytes::from_static(b"\xff")], status(0, ""))), 500, 13, "")
        .await;
    case(|| trailers_only(status(0, "")), 500, 13, "without a message").await;
    let plain = |number: u16| {
        let mut response = Response::new(nothing());
        *response.status_mut() = ::http::StatusCode::from_u16(number).expect("a number");
        response
    };
    for (number, code, expected) in [
        (400, 13, 500),
        (401, 16, 401),
        (403, 7, 403),
        (404, 12, 501),
        (429, 14, 503),
        (502, 14, 503),
        (418, 2, 500),
    ] {
        let answer = answer_to(move || plain(number)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["code"].clone()),
            (expected, json!(code)),
            "HTTP {number}"
        );
    }
    let html = answer_to(|| Response::new(nothing())).await;
    assert_eq!(html.json()["code"], json!(2), "200 without gRPC's content type: {}", html.text());
}

#[tokio::test]
async fn absent_backend_is_unavailable_and_is_found_when_it_comes() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    drop(listener);
    let url = format!("http://{address}");
    let gateway = Gateway::start(&["--proto", "tests/data/door.proto", "--upstream", &url]).await;
    let answer = http::send(gateway.address, http::request("GET", "/v1/items/7"), "").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (503, &json!(14)), "{}", answer.text());
    assert_eq!(answer.json()["details"][0]["reason"], "BACKEND_UNREACHABLE");
    assert!(!answer.text().contains("127.0.0.1"), "an address for everyone: {}", answer.text());
    let _backend =
        Backend::start_at(address, async |_| respond(HeaderMap::new(), messages(&[ITEM], status(0, ""))))
            .await;
    eventually("the backend is found", async || {
        http::send(gateway.address, http::request("GET", "/v1/items/7"), "").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn metadata_crosses_by_the_policy() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    let request = http::request("GET", "/v1/items/7")
        .header("authorization", "Bearer t")
        .header("accept-language", "de")
        .header("user-agent", "test/1")
        .header("traceparent", "00-1-2-01")
        .header("x-request-id", "abc")
        .header("x-forwarded-for", "203.0.113.7")
        .header("cookie", "a=b")
        .header("x-other", "1")
        .header("grpc-metadata-tenant", "t1")
        .header("grpc-metadata-key-bin", "AQI=")
        .header("grpc-metadata-grpc-status", "0")
        .header("grpc-metadata-te", "gzip")
        .header("grpc-metadata-x-forwarded-for", "203.0.113.7")
        .header("grpc-encoding", "gzip")
        .header("x-envoy-internal", "true");
    let answer = http::send(gateway.address, request, "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = |name: &str| answer.header(&format!("grpc-metadata-seen-{name}"));
    assert_eq!(seen("authorization"), Some("Bearer t"));
    assert_eq!(seen("accept-language"), Some("de"));
    assert_eq!(seen("x-forwarded-user-agent"), Some("test/1"));
    assert_eq!(seen("traceparent"), Some("00-1-2-01"));
    assert_eq!(seen("x-request-id"), Some("abc"));
    assert_eq!(seen("x-forwarded-for"), Some("127.0.0.1"), "the socket's peer, not what the client says");
    assert_eq!(seen("x-forwarded-host"), Some("gateway.test"));
    assert_eq!(seen("x-forwarded-proto"), Some("http"));
    assert_eq!(seen("tenant"), Some("t1"));
    assert_eq!(seen("key-bin"), Some("AQI="));
    assert_eq!(seen("te"), Some("trailers"), "gRPC's own");
    assert_eq!(seen("content-type"), Some("application/grpc"));
    assert!(seen("user-agent").is_some_and(|agent| agent.starts_with("transom/")));
    for name in ["cookie", "x-other", "grpc-status", "grpc-encoding", "x-envoy-internal", "host"] {
        assert_eq!(seen(name), None, "{name}");
    }
    assert_eq!(answer.header("x-request-id"), Some("abc"));
}

#[tokio::test]
async fn reply_metadata_comes_back_by_the_policy() {
    let answer = answer_to(|| {
        let mut metadata = HeaderMap::new();
        for (name, value) in [
            ("etag", "\"1\""),
            ("cache-control", "no-store"),
            ("location", "/v1/items/8"),
            ("set-cookie", "a=b"),
            ("x-http-code", "201"),
            ("tenant", "t1"),
            ("grpc-encoding", "identity"),
        ] {
            metadata.insert(name, HeaderValue::from_static(value));
        }
        metadata.insert("bad", HeaderValue::from_bytes(b"\xff").expect("opaque bytes"));
        respond(metadata, messages(&[ITEM], status(0, "")))
    })
    .await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("etag"), Some("\"1\""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("location"), Some("/v1/items/8"));
    assert_eq!(answer.header("set-cookie"), Some("a=b"));
    assert_eq!(answer.header("grpc-metadata-tenant"), Some("t1"));
    for name in [
        "x-http-code",
        "grpc-metadata-x-http-code",
        "grpc-encoding",
        "grpc-metadata-grpc-encoding",
        "bad",
        "grpc-metadata-bad",
    ] {
        assert!(!answer.headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn metadata_of_a_failed_call_comes_back_too() {
    let metadata = || {
        let mut metadata = HeaderMap::new();
        metadata.insert("tenant", HeaderValue::from_static("t1"));
        metadata.insert("cache-control", HeaderValue::from_static("no-store"));
        metadata.insert("x-http-code", HeaderValue::from_static("201"));
        metadata
    };
    let trailing = || {
        let mut trailers = status(5, "no");
        trailers.insert("spent", HeaderValue::from_static("3ms"));
        trailers.insert("tenant", HeaderValue::from_static("t2"));
        trailers
    };
    let check = async |response: &(dyn Fn() -> Response<backend::Body> + Send + Sync), target: &str| {
        let response = response();
        let response = std::sync::Mutex::new(Some(response));
        let backend = Backend::start(move |_| {
            std::future::ready(response.lock().expect("one test").take().expect("one call"))
        })
        .await;
        let gateway = Gateway::door(&backend, &[]).await;
        let answer = http::send(gateway.address, http::request("GET", target), "").await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (404, &json!(5)), "{target}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("grpc-metadata-x-http-code"), None);
        assert_eq!(answer.header("grpc-metadata-grpc-status"), None);
        let tenants = answer.headers.get_all("grpc-metadata-tenant");
        let tenants: Vec<_> = tenants.iter().map(HeaderValue::as_bytes).collect();
        (answer.header("grpc-metadata-spent").map(str::to_owned), tenants.concat())
    };
    for target in ["/v1/items/7", "/v1/items/7:watch"] {
        let late = || respond(metadata(), messages(&[], trailing()));
        assert_eq!(check(&late, target).await, (Some("3ms".to_owned()), b"t1t2".to_vec()));
        let early = || {
            let mut both = metadata();
            both.extend(status(5, "no"));
            trailers_only(both)
        };
        assert_eq!(check(&early, target).await, (None, b"t1".to_vec()));
    }
}

#[tokio::test]
async fn headers_of_a_proxy_are_not_metadata() {
    let answer = answer_to(|| {
        let mut response = Response::new(nothing());
        *response.status_mut() = ::http::StatusCode::BAD_GATEWAY;
        response.headers_mut().insert("via", HeaderValue::from_static("1.1 inside.example"));
        response.headers_mut().insert("set-cookie", HeaderValue::from_static("proxy=10.0.0.1"));
        response
    })
    .await;
    assert_eq!(answer.status, 503);
    assert_eq!((answer.header("grpc-metadata-via"), answer.header("set-cookie")), (None, None));
}

#[tokio::test]
async fn status_chosen_by_the_backend_stays_a_success() {
    for (chosen, number) in [("204", 204), ("302", 302), ("199", 200), ("404", 200), ("500", 200), ("x", 200)]
    {
        let answer = answer_to(move || {
            let metadata = HeaderMap::from_iter([(
                "x-http-code".parse().expect("a name"),
                HeaderValue::from_static(chosen),
            )]);
            respond(metadata, messages(&[ITEM], status(0, "")))
        })
        .await;
        assert_eq!(answer.status.as_u16(), number, "x-http-code: {chosen}");
        assert_eq!(answer.body.is_empty(), number == 204, "x-http-code: {chosen}");
    }
}

#[tokio::test]
async fn trailers_come_to_those_who_ask() {
    let backend = Backend::start(async |_| {
        let mut trailers = status(0, "");
        trailers.insert("spent", HeaderValue::from_static("3ms"));
        respond(HeaderMap::new(), messages(&[ITEM], trailers))
    })
    .await;
    let gateway = Gateway::door(&backend, &[]).await;
    let asking = http::request("GET", "/v1/items/7").header("te", "trailers");
    let answer = http::send_h2(gateway.address, asking, "").await;
    assert_eq!(answer.json(), json!({"name": "x"}));
    assert_eq!(answer.trailers.get("grpc-metadata-spent").map(HeaderValue::as_bytes), Some(&b"3ms"[..]));
    let answer = http::send_h2(gateway.address, http::request("GET", "/v1/items/7"), "").await;
    assert!(answer.trailers.is_empty());
    let asking = http::request("GET", "/v1/items/7:watch").header("te", "trailers");
    let answer = http::send_h2(gateway.address, asking, "").await;
    assert_eq!(answer.text(), "{\"name\":\"x\"}\n");
    assert_eq!(answer.trailers.get("grpc-metadata-spent").map(HeaderValue::as_bytes), Some(&b"3ms"[..]));
    let echo = Backend::echo().await;
    let gateway = Gateway::door(&echo, &[]).await;
    let asking = http::request("GET", "/v1/items/7").header("te", "trailers");
    let answer = http::send(gateway.address, asking, "").await;
    assert_eq!(answer.headers.get("trailer"), None, "there are none but gRPC's own");
}

#[tokio::test]
async fn deadlines_reach_the_backend_and_end_the_call() {
    let (dropped, mut gone) = tokio::sync::mpsc::unbounded_channel();
    let backend = Backend::start(move |request| {
        let dropped = dropped.clone();
        async move {
            let timeout = request.headers().get("grpc-timeout").cloned();
            let guard = Guard(Some(move || dropped.send(timeout).expect("the test waits")));
            std::future::pending::<()>().await;
            drop(guard);
            unreachable!("a backend that never answers")
        }
    })
    .await;
    let gateway = Gateway::door(&backend, &[]).await;
    for (header, value) in
        [("grpc-timeout", "500m"), ("x-request-timeout", "0.5"), ("connect-timeout-ms", "500")]
    {
        let answer =
            http::send(gateway.address, http::request("GET", "/v1/items/7").header(header, value), "").await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["code"]),
            (504, &json!(4)),
            "{header}: {}",
            answer.text()
        );
        let timeout = gone.recv().await.flatten().expect("the backend was told");
        let timeout = timeout.to_str().expect("ASCII");
        let (amount, unit) = timeout.split_at(timeout.len() - 1);
        let amount: u64 = amount.parse().unwrap_or_else(|_| panic!("{timeout}"));
        let nanos = if unit == "u" { amount * 1000 } else { amount };
        assert!((1..=500_000_000).contains(&nanos), "{header}: {timeout}");
    }
    let calls = backend.calls();
    for target in ["/v1/items/7", "/v1/items/7:watch"] {
        let hopeless = http::request("GET", target).header("grpc-timeout", "0m");
        let answer = http::send(gateway.address, hopeless, "").await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (504, &json!(4)), "{target}");
    }
    assert_eq!(backend.calls(), calls, "no call is made that cannot be answered in time");
    let answer =
        http::send(gateway.address, http::request("GET", "/v1/items/7").header("grpc-timeout", "soon"), "")
            .await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("`grpc-timeout`"), "{}", answer.text());
}

#[tokio::test]
async fn client_that_leaves_cancels_the_call() {
    let (dropped, mut gone) = tokio::sync::mpsc::unbounded_channel();
    let (arrived, mut came) = tokio::sync::mpsc::unbounded_channel();
    let backend = Backend::start(move |_| {
        let (dropped, arrived) = (dropped.clone(), arrived.clone());
        async move {
            let _guard = Guard(Some(move || dropped.send(()).expect("the test waits")));
            arrived.send(()).expect("the test waits");
            std::future::pending().await
        }
    })
    .await;
    let gateway = Gateway::door(&backend, &[]).await;
    let client = tokio::spawn(http::send(gateway.address, http::request("GET", "/v1/items/7"), ""));
    came.recv().await.expect("the call arrives");
    client.abort();
    soon(gone.recv()).await.expect("the backend's call ends with its client's");
}

/// Runs its closure when it is dropped.
struct Guard<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for Guard<F> {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}

#[tokio::test]
async fn raw_bodies_pass_both_ways() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    let request = http::request("POST", "/v1/files/a.bin").header("content-type", "image/png");
    let answer = http::send(gateway.address, request, &b"\x00\xff{"[..]).await;
    assert_eq!(
        answer.json(),
        json!({"name": "a.bin", "file": {"contentType": "image/png", "data": "AP97"}}),
        "what HttpBody takes is not read as JSON"
    );
    // HttpBody { content_type: "text/csv", data: "a,b" }.
    let backend = Backend::start(async |_| {
        let wire = Bytes::from_static(b"\x0a\x08text/csv\x12\x03a,b");
        respond(HeaderMap::new(), messages(&[wire], status(0, "")))
    })
    .await;
    let gateway = Gateway::door(&backend, &[]).await;
    let answer = http::send(gateway.address, http::request("GET", "/v1/files/x"), "").await;
    assert_eq!((answer.header("content-type"), answer.text()), (Some("text/csv"), "a,b"));
}

#[tokio::test]
async fn raw_bodies_are_whole_messages_and_fields() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    for (target, content_type, body) in [
        ("/v1/raw", Some("image/png"), &b"\x00\xff{"[..]),
        ("/v1/raw", Some("application/json"), b"not {JSON"),
        ("/v1/raw", Some("text/plain"), b""),
        ("/v1/raw", None, b"abc"),
        ("/v1/raw", None, b""),
        ("/v1/previews/x", Some("image/png"), b"\x00\xff{"),
        ("/v1/previews/x", None, b""),
    ] {
        let mut request = http::request("POST", target);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let answer = http::send(gateway.address, request, body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type"), &answer.body[..]),
            (200, content_type, body),
            "{target}"
        );
    }
    let answer = http::send(gateway.address, http::request("POST", "/v1/raw?data=AA=="), "x").await;
    assert_eq!(answer.status, 400, "the body is all there is: {}", answer.text());
}

#[tokio::test]
async fn content_type_that_is_no_header_is_left_out() {
    for wire in
        [&b"\x12\x01a"[..], b"\x0a\x00\x12\x01a", b"\x0a\x04a\r\nb\x12\x01a", b"\x0a\x02\xc3\xa4\x12\x01a"]
    {
        let backend = Backend::start(move |_| {
            std::future::ready(respond(
                HeaderMap::new(),
                messages(&[Bytes::from_static(wire)], status(0, "")),
            ))
        })
        .await;
        let gateway = Gateway::door(&backend, &[]).await;
        let answer = http::send(gateway.address, http::request("GET", "/v1/files/x"), "").await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "a"), "{wire:?}");
        assert_eq!(answer.headers.get("content-type"), None, "{wire:?}");
    }
}

#[tokio::test]
async fn foreign_any_is_kept() {
    let any = b"\x7a\x0f\x0a\x09x/y.Other\x12\x02\x08\x01";
    let answer =
        answer_to(|| respond(HeaderMap::new(), messages(&[Bytes::from_static(any)], status(0, "")))).await;
    assert_eq!(answer.json(), json!({"any": {"@type": "x/y.Other", "value": "CAE="}}), "in a reply");
    // google.rpc.Status { details: [Any { door.v1.Item { any: as above } }] }.
    let mut wire = vec![0x1a, 48, 0x0a, 27];
    wire.extend_from_slice(b"googleapis.com/door.v1.Item");
    wire.extend_from_slice(&[0x12, 17]);
    wire.extend_from_slice(any);
    let text = base64(&wire);
    let answer = answer_to(move || {
        let mut trailers = status(9, "no");
        trailers.insert("grpc-status-details-bin", HeaderValue::from_str(&text).expect("base64"));
        respond(HeaderMap::new(), messages(&[], trailers))
    })
    .await;
    let expected =
        json!({"@type": "googleapis.com/door.v1.Item", "any": {"@type": "x/y.Other", "value": "CAE="}});
    assert_eq!(answer.json()["details"], json!([expected]), "in an error");
}

#[tokio::test]
async fn methods_follow_http() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    let get = http::send(gateway.address, http::request("GET", "/v1/items/7"), "").await;
    let head = http::send(gateway.address, http::request("HEAD", "/v1/items/7"), "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(get.body.len().to_string().as_str()));
    assert_eq!(head.header("content-type"), Some("application/json"));
    let options = http::send(gateway.address, http::request("OPTIONS", "/v1/items/7"), "").await;
    assert_eq!((options.status.as_u16(), options.body.len()), (204, 0));
    assert_eq!(options.header("allow"), Some("DELETE, GET, HEAD, PATCH, PUT"));
    assert_eq!(options.header("content-type"), None);
    let options = http::send_h2(gateway.address, http::request("OPTIONS", "/v1/items/7"), "").await;
    assert_eq!((options.status.as_u16(), options.body.len()), (204, 0), "{}", options.text());
    let watch = http::send(gateway.address, http::request("HEAD", "/v1/items/7:watch"), "").await;
    assert_eq!((watch.status.as_u16(), watch.body.len()), (200, 0));
    assert_eq!(watch.header("content-type"), Some("application/x-ndjson"));
    let nowhere = http::send(gateway.address, http::request("HEAD", "/nowhere"), "").await;
    assert_eq!((nowhere.status.as_u16(), nowhere.body.len()), (404, 0));
    let post = http::send(gateway.address, http::request("POST", "/v1/items/7"), "").await;
    assert_eq!((post.status.as_u16(), post.header("allow")), (405, Some("DELETE, GET, HEAD, PATCH, PUT")));
    assert_eq!(backend.calls(), 3, "neither OPTIONS nor a refused method is a call");
    let override_method = http::request("GET", "/v1/items/7").header("x-http-method-override", "DELETE");
    let answer = http::send(gateway.address, override_method, "").await;
    assert_eq!(answer.header("grpc-metadata-seen-x-http-method-override"), None);
}

#[tokio::test]
async fn both_versions_of_http_share_the_port() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    let request = || http::request("POST", "/v1/items").header("content-type", "application/json");
    let body = r#"{"name":"x"}"#;
    let first = http::send(gateway.address, request(), body).await;
    let second = http::send_h2(gateway.address, request(), body).await;
    let value: Value = json!({"name": "x"});
    assert_eq!((first.json(), second.json()), (value.clone(), value));
    eventually("calls are counted", async || backend.calls() == 2).await;
}
