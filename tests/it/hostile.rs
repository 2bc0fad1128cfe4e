//! Requests that are well-formed and still careless or hostile: odd bodies, injected headers, endless names.

use serde_json::json;

use crate::support::backend::Backend;
use crate::support::{Gateway, http};

#[tokio::test]
async fn targets_that_are_none_are_refused_in_json() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    for target in [
        "/v1/items/7#",
        "/v1/items/7#/../8",
        "/v1/items/7?count=1#a",
        "/v1/items/7 8",
        "/v1/items/7?note=a b",
        "/v1/items/7?note=\"<>",
        "v1/items/7",
        "?count=1",
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let answer = http::send_raw(gateway.address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{target}: {answer}");
        assert!(answer.contains("\r\n\r\n{\"code\":3,"), "{target}: {answer}");
    }
    assert_eq!(backend.calls(), 0);
}

#[tokio::test]
async fn empty_bodies_are_none() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    let case = async |head: &str, number: &str| {
        let request = format!(
            "{head}host: a\r\nconnection: close\r\n\r\n{}",
            if head.contains("chunked") { "0\r\n\r\n" } else { "" }
        );
        let answer = http::send_raw(gateway.address, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {number} ")), "{head:?}: {answer}");
    };
    for verb in ["GET", "DELETE"] {
        case(&format!("{verb} /v1/items/7 HTTP/1.1\r\ncontent-length: 0\r\n"), "200").await;
        case(&format!("{verb} /v1/items/7 HTTP/1.1\r\ntransfer-encoding: chunked\r\n"), "200").await;
    }
    case("POST /v1/items HTTP/1.1\r\ntransfer-encoding: chunked\r\n", "200").await;
    case("PATCH /v1/items/7 HTTP/1.1\r\ntransfer-encoding: chunked\r\n", "200").await;
    let ignoring = Gateway::configured(&backend, "", "", "routes: { unbound_body: ignore }").await;
    let request = http::request("DELETE", "/v1/items/7").header("content-type", "text/plain");
    assert_eq!(http::send(ignoring.address, request, "why not").await.status, 200);
}

#[tokio::test]
async fn continue_is_said_only_to_bodies_that_are_read() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    let expecting = |target: &str, length: usize| {
        format!(
            "POST {target} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
             expect: 100-continue\r\nconnection: close\r\n\r\n"
        )
    };
    let answer = http::send_raw(gateway.address, (expecting("/v1/items", 2) + "{}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 100 "), "{answer}");
    assert!(answer.contains("HTTP/1.1 200 "), "{answer}");
    // No byte of these bodies is sent.
    for (target, length, number) in
        [("/v1/items", (4 << 20) + 1, 413), ("/nowhere", 2, 404), ("/v1/items?a=b", 1 << 40, 413)]
    {
        let answer = http::send_raw(gateway.address, expecting(target, length).as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {number} ")), "{answer}");
    }
}

#[tokio::test]
async fn request_ids_are_echoed_or_made() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    let chosen = async |target: &str, given: &str| {
        let answer =
            http::send(gateway.address, http::request("GET", target).header("x-request-id", given), "").await;
        let id = answer.header("x-request-id").expect("every reply has one").to_owned();
        if answer.status == 200 {
            assert_eq!(answer.header("grpc-metadata-seen-x-request-id"), Some(&*id));
        }
        id
    };
    for target in ["/v1/items/7", "/nowhere", "/v1/items/7?nope=1"] {
        assert_eq!(chosen(target, "abc").await, "abc");
        assert_eq!(chosen(target, &"x".repeat(128)).await, "x".repeat(128));
        for unfit in [&"x".repeat(129), "a b", ""] {
            let id = chosen(target, unfit).await;
            assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{unfit:?}: {id}");
        }
    }
}

#[tokio::test]
async fn nothing_a_client_says_becomes_another_header() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    let target = "/v1/items/a%0D%0Agrpc-status:%207?tags=%0D%0Ax-evil:%201&labels[%0D%0Ax-evil]=1";
    let answer = http::send(gateway.address, http::request("GET", target), "").await;
    assert_eq!(answer.json()["name"], json!("items/a\r\ngrpc-status: 7"));
    assert!(answer.headers.keys().all(|name| !name.as_str().contains("evil")), "{:?}", answer.headers);
    let head = b"GET /v1/items/7 HTTP/1.1\r\nconnection: close\r\n\
        host: a\xff\r\n\
        grpc-metadata-: empty\r\n\
        GRPC-Metadata-Upper: a\r\n\
        grpc-metadata-upper: b\r\n\
        grpc-metadata-odd-bin: A\r\n\
        grpc-metadata-cut-bin: A=A=\r\n\
        grpc-metadata-two-bin: AQI,AQI=\r\n\
        grpc-metadata-url-bin: -_-_\r\n\
        grpc-metadata-latin: \xe4\r\n\
        grpc-metadata-host: evil\r\n\
        grpc-metadata-connection: x\r\n\
        grpc-metadata-content-length: 7\r\n\r\n";
    let answer = http::send_raw(gateway.address, head).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let mut seen: Vec<_> =
        answer.lines().filter_map(|line| line.strip_prefix("grpc-metadata-seen-")).collect();
    seen.retain(|line| !line.starts_with("grpc-timeout") && !line.starts_with("x-request-id"));
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            "content-type: application/grpc",
            "te: trailers",
            "two-bin: AQI,AQI=",
            "upper: a",
            "upper: b",
            concat!("user-agent: transom/", env!("CARGO_PKG_VERSION")),
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-proto: http",
        ]
    );
    let metrics = http::send(gateway.admin, http::request("GET", "/metrics"), "").await;
    let dropped =
        metrics.text().lines().find(|line| line.contains("headers_dropped") && !line.starts_with('#'));
    assert!(dropped.is_some_and(|line| line.ends_with(" 9")), "{dropped:?}");
}

#[tokio::test]
async fn error_bodies_are_bounded() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    let long = "x".repeat(7000);
    let deep = "parent.".repeat(900);
    for (method, target, body) in [
        ("GET", format!("/v1/items/7?{long}=1"), String::new()),
        ("GET", format!("/v1/items/7?count={long}"), String::new()),
        ("GET", format!("/v1/items/7?labels[{long}]=x"), String::new()),
        ("GET", format!("/v1/items/7?{deep}name=x&{deep}name=y"), String::new()),
        ("GET", format!("/v1/items/7?%{long}=x"), String::new()),
        ("GET", format!("/v1/items/7?color={long}"), String::new()),
        ("GET", format!("/v1/items/7?time={long}"), String::new()),
        ("GET", format!("/v1/items/7/{long}%"), String::new()),
        ("GET", format!("/{long}"), String::new()),
        (&*"X".repeat(20), "/v1/items/7".to_owned(), String::new()),
        ("POST", "/v1/items".to_owned(), format!(r#"{{"color":"{long}{long}"}}"#)),
        ("POST", "/v1/items".to_owned(), format!(r#"{{"any":{{"@type":"{long}/{long}"}}}}"#)),
        ("POST", "/v1/items".to_owned(), format!(r#"{{"extra":{{"{long}":{{"{long}":x}}}}}}"#)),
        (
            "POST",
            "/v1/items".to_owned(),
            format!(r#"{{"itemsByName":{{"{long}":{{"labels":{{"{long}":"x"}}}}}}}}"#),
        ),
        ("POST", "/v1/items".to_owned(), format!(r#"{{"time":"{long}"}}"#)),
        ("POST", "/v1/items".to_owned(), format!(r#"{{"mask":"{long}_"}}"#)),
        ("POST", "/v1/items".to_owned(), format!(r#"{{"count":"{long}"}}"#)),
    ] {
        let request = http::request(method, &target).header("content-type", "application/json");
        let answer = http::send(gateway.address, request, body).await;
        assert!(answer.status.is_client_error(), "{}: {}", answer.status, answer.text());
        assert!(answer.body.len() < 2500, "{} bytes: {}", answer.body.len(), answer.text());
        assert!(answer.json()["details"].is_array(), "{}", answer.text());
    }
    assert_eq!(backend.calls(), 0);
}
