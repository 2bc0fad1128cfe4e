//! Streams at the real door: framings, errors before and after the first message, pace, both directions.

use std::time::Duration;

use ::http::HeaderMap;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Frame;
use serde_json::{Value, json};

use crate::support::backend::{Backend, channel, framed, messages, nothing, respond, status};
use crate::support::{Gateway, http, soon};

const WATCH: &str = "/v1/items/7:watch";

fn item(name: &str) -> Bytes {
    let mut wire = vec![0x0a, u8::try_from(name.len()).expect("short")];
    wire.extend_from_slice(name.as_bytes());
    wire.into()
}

/// A backend whose stream has `count` items and ends with the code `code`.
async fn streaming(count: usize, code: u32) -> Backend {
    Backend::start(move |_| {
        let items: Vec<_> = (0..count).map(|n| item(&n.to_string())).collect();
        std::future::ready(respond(HeaderMap::new(), messages(&items, status(code, "broken"))))
    })
    .await
}

async fn watch(backend: &Backend, accept: &str) -> http::Answer {
    let gateway = Gateway::door(backend, &[]).await;
    http::send(gateway.address, http::request("GET", WATCH).header("accept", accept), "").await
}

#[tokio::test]
async fn accept_chooses_the_framing() {
    let three = streaming(3, 0).await;
    let none = streaming(0, 0).await;
    let case = async |accept: &str, content_type: &str, of_three: &str, of_none: &str| {
        for (backend, expected) in [(&three, of_three), (&none, of_none)] {
            let answer = watch(backend, accept).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("content-type")),
                (200, Some(content_type)),
                "{accept}"
            );
            assert_eq!(answer.text(), expected, "{accept}");
            assert!(answer.is_complete, "{accept}");
        }
    };
    let lines = "{\"name\":\"0\"}\n{\"name\":\"1\"}\n{\"name\":\"2\"}\n";
    case("*/*", "application/x-ndjson", lines, "").await;
    case("application/x-ndjson", "application/x-ndjson", lines, "").await;
    case("application/json", "application/json", r#"[{"name":"0"},{"name":"1"},{"name":"2"}]"#, "[]").await;
    let events = "data: {\"name\":\"0\"}\n\ndata: {\"name\":\"1\"}\n\ndata: {\"name\":\"2\"}\n\n";
    case("text/event-stream", "text/event-stream", events, "").await;
}

#[tokio::test]
async fn early_error_has_its_own_status() {
    for accept in ["*/*", "application/json", "text/event-stream"] {
        let answer = watch(&streaming(0, 5).await, accept).await;
        assert_eq!(answer.status, 404, "{accept}");
        assert_eq!(answer.json(), json!({"code": 5, "message": "broken", "details": []}), "{accept}");
    }
    let malformed = async |accept: &str| {
        let backend = Backend::start(async |_| {
            respond(HeaderMap::new(), messages(&[Bytes::from_static(b"\xff")], status(0, "")))
        })
        .await;
        watch(&backend, accept).await
    };
    for accept in ["*/*", "application/json"] {
        let answer = malformed(accept).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["code"]),
            (500, &json!(13)),
            "a first message that is none"
        );
    }
    let refusing = Backend::start(async |_| respond(status(7, "no"), nothing())).await;
    assert_eq!(watch(&refusing, "*/*").await.status, 403, "trailers alone");
}

#[tokio::test]
async fn late_error_is_told_and_the_end_is_not_clean() {
    let error = r#"{"error":{"code":13,"message":"broken","details":[]}}"#;
    let case = async |accept: &str, expected: String| {
        let answer = watch(&streaming(1, 13).await, accept).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, expected.as_str()), "{accept}");
        assert!(!answer.is_complete, "{accept}: a client must not take the part for the whole");
    };
    case("*/*", format!("{{\"name\":\"0\"}}\n{error}\n")).await;
    case("application/json", format!("[{{\"name\":\"0\"}},{error}]")).await;
    let event = r#"{"code":13,"message":"broken","details":[]}"#;
    case("text/event-stream", format!("data: {{\"name\":\"0\"}}\n\nevent: error\ndata: {event}\n\n")).await;
}

#[tokio::test]
async fn late_error_resets_the_stream_of_http2() {
    let backend = streaming(1, 13).await;
    let gateway = Gateway::door(&backend, &[]).await;
    let request = http::request("GET", WATCH).header("accept", "application/json");
    let answer = http::send_h2(gateway.address, request, "").await;
    let error = r#"{"error":{"code":13,"message":"broken","details":[]}}"#;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, &*format!("[{{\"name\":\"0\"}},{error}]")));
    assert!(!answer.is_complete);
}

#[tokio::test]
async fn deadline_ends_a_stream_by_an_error() {
    let (backend, sender) = Backend::fed().await;
    let gateway = Gateway::door(&backend, &[]).await;
    let message = sender.send(Frame::data(framed(&item("a"))));
    let request = http::request("GET", WATCH).header("x-request-timeout", "0.2");
    let (answer, sent) = tokio::join!(http::send(gateway.address, request, ""), message);
    sent.expect("the backend's stream is open");
    let lines: Vec<Value> =
        answer.text().lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert_eq!((lines.len(), &lines[1]["error"]["code"]), (2, &json!(4)), "{}", answer.text());
    assert!(!answer.is_complete);
}

#[tokio::test]
async fn each_message_is_sent_when_it_comes() {
    let (backend, sender) = Backend::fed().await;
    let gateway = Gateway::door(&backend, &[]).await;
    let first = sender.send(Frame::data(framed(&item("a"))));
    let (response, sent) = tokio::join!(http::open(gateway.address, http::request("GET", WATCH), ""), first);
    sent.expect("the backend's stream is open");
    let mut body = response.into_body();
    for name in ["b", "c"] {
        let line = body.frame().await.expect("a line").expect("an open body").into_data().expect("data");
        assert!(line.ends_with(b"\n"));
        sender.send(Frame::data(framed(&item(name)))).await.expect("the backend's stream is open");
    }
    drop(body);
    // The client's leaving closes the backend's stream.
    soon(sender.closed()).await;
}

#[tokio::test]
async fn slow_reader_slows_the_backend() {
    let (backend, sender) = Backend::fed().await;
    let gateway = Gateway::door(&backend, &[]).await;
    let message = framed(&item(&"x".repeat(120)));
    let feeding = tokio::spawn(async move {
        let mut bytes = 0;
        // Buffers and windows along the way hold some megabytes; 64 MiB would be no pacing at all.
        while bytes < 64 << 20 {
            let chunk = Bytes::from(message.repeat(128));
            let length = chunk.len();
            match tokio::time::timeout(Duration::from_millis(500), sender.send(Frame::data(chunk))).await {
                Ok(Ok(())) => bytes += length,
                _ => break,
            }
        }
        bytes
    });
    let response = http::open(gateway.address, http::request("GET", WATCH), "").await;
    let bytes = feeding.await.expect("the feeding task ends");
    assert!(bytes < 32 << 20, "{bytes} bytes went out to a client that reads nothing");
    drop(response);
}

#[tokio::test]
async fn records_become_messages() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    let chat = async |body: &str| {
        let request = http::request("POST", "/v1/chat").header("content-type", "application/x-ndjson");
        http::send(gateway.address, request, body.to_owned()).await
    };
    let lines = |answer: &http::Answer| -> Vec<Value> {
        answer.text().lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    };
    let answer = chat("{\"name\":\"a\"}\n{\"name\":\"b\"}\n").await;
    assert_eq!(lines(&answer), [json!({"name": "a"}), json!({"name": "b"})]);
    let answer = chat("{\"name\":\"a\"}{\"count\":1}  {}").await;
    assert_eq!(lines(&answer), [json!({"name": "a"}), json!({"count": 1}), json!({})]);
    let answer = chat("").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
    let answer = chat("{\"nope\":1}").await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("`nope`"), "the cause, not the reset: {}", answer.text());
    let answer = chat("{\"name\":\"a\"}\n{\"count\":\"x\"}\n").await;
    assert!(answer.text().contains("`count`"), "{}", answer.text());
}

#[tokio::test]
async fn tiny_records_are_no_flood() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    let request = http::request("POST", "/v1/chat").header("content-type", "application/x-ndjson");
    let answer = http::send(gateway.address, request, "{}\n".repeat(20_000)).await;
    assert_eq!((answer.status.as_u16(), answer.text().lines().count()), (200, 20_000));
    assert!(answer.is_complete);
}

#[tokio::test]
async fn tiny_messages_that_nobody_reads_end_no_other_call() {
    let backend = Backend::start(async |request| {
        let count = if request.uri().path().ends_with("Watch") { 40_000 } else { 1 };
        respond(HeaderMap::new(), messages(&vec![item(""); count], status(0, "")))
    })
    .await;
    let gateway = Gateway::door(&backend, &[]).await;
    let stream = http::open(gateway.address, http::request("GET", WATCH), "").await;
    for _ in 0..50 {
        let answer = http::send(gateway.address, http::request("GET", "/v1/items/7"), "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let answer = http::read(stream).await;
    assert!(answer.is_complete);
    assert_eq!(answer.text().lines().count(), 40_000);
}

#[tokio::test]
async fn captures_bind_in_the_first_message() {
    let backend = Backend::start(async |request| {
        let body = request.into_body().collect().await.expect("a whole request").to_bytes();
        // Two frames: the first with the capture. The reply is `Item { data = <all frames> }`.
        let mut wire = vec![0x32, u8::try_from(body.len()).expect("short")];
        wire.extend_from_slice(&body);
        respond(HeaderMap::new(), messages(&[wire.into()], status(0, "")))
    })
    .await;
    let gateway = Gateway::door(&backend, &[]).await;
    let request = http::request("POST", "/v1/items/7:collect").header("content-type", "application/json");
    let answer = http::send(gateway.address, request, "{\"count\":1}{\"count\":2}").await;
    // 00 00000b 0a07"items/7" 1001 | 00 00000002 1002, the fields of the first in either order.
    let data = answer.json()["data"].as_str().expect("the frames").to_owned();
    let first = [framed(b"\x0a\x07items/7\x10\x01"), framed(b"\x10\x01\x0a\x07items/7")];
    let second = framed(b"\x10\x02");
    let expected = first.map(|first| base64([&first[..], &second[..]].concat().as_slice()));
    assert!(expected.contains(&data), "{data} is none of {expected:?}");
}

#[tokio::test]
async fn captures_reach_the_backend_without_a_body() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    for head in ["", "content-length: 0\r\n", "transfer-encoding: chunked\r\n"] {
        let body = if head.contains("chunked") { "0\r\n\r\n" } else { "" };
        let request =
            format!("GET /v1/items/7:poll HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{head}\r\n{body}");
        let answer = http::send_raw(gateway.address, request.as_bytes()).await;
        assert!(answer.contains(r#"{"name":"items/7"}"#), "{head}: {answer}");
    }
    let request = http::request("GET", "/v1/items/7:poll").header("content-type", "application/json");
    let answer = http::send(gateway.address, request, "{}").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &json!(3)), "{}", answer.text());
}

#[tokio::test]
async fn upload_is_a_message_a_piece() {
    let (came, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    // The reply is `Item { data = <all frames> }`.
    let backend = Backend::start(move |request| {
        let came = came.clone();
        async move {
            let (mut body, mut frames) = (request.into_body(), Vec::new());
            while let Some(Ok(frame)) = body.frame().await {
                frames.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                let _ = came.send(());
            }
            let wire = [&[0x32, u8::try_from(frames.len()).expect("short")], &frames[..]].concat();
            respond(HeaderMap::new(), messages(&[wire.into()], status(0, "")))
        }
    })
    .await;
    let gateway = Gateway::door(&backend, &[]).await;
    let mut upload = async |pieces: &'static [&'static [u8]]| {
        let (sender, body) = channel();
        let request = http::request("POST", "/v1/files/a:parts").header("content-type", "x/y");
        let arrived = &mut arrived;
        let feeding = async move {
            for piece in pieces {
                sender.send(Frame::data(Bytes::from_static(piece))).await.expect("an open request");
                // A piece that is still on its way would be joined with the next one.
                arrived.recv().await.expect("the backend reads");
            }
        };
        let (response, ()) = tokio::join!(http::open_h2(gateway.address, request, body), feeding);
        http::read(response).await.json()["data"].as_str().expect("the frames").to_owned()
    };
    // UploadRequest { name: "a", file: { content_type: "x/y", data } }; the name only in the first.
    let first = framed(b"\x12\x08\x0a\x03x/y\x12\x01\x00\x0a\x01a");
    let second = framed(b"\x12\x09\x0a\x03x/y\x12\x02{}");
    assert_eq!(upload(&[b"\x00", b"{}"]).await, base64(&[&first[..], &second[..]].concat()));
    let empty = framed(b"\x12\x05\x0a\x03x/y\x0a\x01a");
    assert_eq!(upload(&[]).await, base64(&empty), "an empty file is a file");
}

fn base64(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    transom::codec::base64::encode(bytes, &mut out);
    String::from_utf8(out).expect("base64 is ASCII")
}

#[tokio::test]
async fn bidirectional_stream_is_full_duplex() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &[]).await;
    let (sender, body) = channel();
    let request = http::request("POST", "/v1/chat").header("content-type", "application/json");
    let response = http::open_h2(gateway.address, request, body);
    let send = async |text: &'static str| sender.send(Frame::data(Bytes::from_static(text.as_bytes()))).await;
    let (mut response, sent) = tokio::join!(response, send("{\"name\":\"a\"}\n"));
    sent.expect("an open request");
    for (next, expected) in [("{\"name\":\"b\"}\n", "{\"name\":\"a\"}\n"), ("{\"na", "{\"name\":\"b\"}\n")] {
        let line = response.frame().await.expect("a line").expect("an open body").into_data().expect("data");
        assert_eq!(line, expected);
        send(next).await.expect("an open request");
    }
    send("me\":\"c\"}").await.expect("an open request");
    drop(sender);
    let rest = response.into_body().collect().await.expect("a clean end").to_bytes();
    assert_eq!(rest, "{\"name\":\"c\"}\n");
}

#[tokio::test]
async fn raw_stream_is_joined_exactly() {
    // HttpBody { content_type: "text/csv", data: "a," }, { data: "b\n" }, { content_type: "x", data: "c" }.
    let parts =
        [&b"\x0a\x08text/csv\x12\x02a,"[..], b"\x12\x02b\n", b"\x0a\x01x\x12\x01c"].map(Bytes::from_static);
    let backend = Backend::start(move |_| {
        std::future::ready(respond(HeaderMap::new(), messages(&parts, status(0, ""))))
    })
    .await;
    let gateway = Gateway::door(&backend, &[]).await;
    let answer = http::send(gateway.address, http::request("GET", "/v1/files/x:parts"), "").await;
    assert_eq!((answer.header("content-type"), answer.text()), (Some("text/csv"), "a,b\nc"));
    assert!(answer.is_complete);
}

#[tokio::test]
async fn raw_stream_that_fails_ends_abnormally() {
    let download = async |parts: &'static [&'static [u8]]| {
        let backend = Backend::start(move |_| {
            let parts: Vec<_> = parts.iter().copied().map(Bytes::from_static).collect();
            std::future::ready(respond(HeaderMap::new(), messages(&parts, status(5, "gone"))))
        })
        .await;
        let gateway = Gateway::door(&backend, &[]).await;
        http::send(gateway.address, http::request("GET", "/v1/files/x:parts"), "").await
    };
    let early = download(&[]).await;
    assert_eq!(
        (early.status.as_u16(), early.json()),
        (404, json!({"code": 5, "message": "gone", "details": []}))
    );
    let late: [&[&[u8]]; 2] = [&[b"\x12\x02a,"], &[b"\x12\x02a,", b"\x12\x05b"]];
    for parts in late {
        let late = download(parts).await;
        assert_eq!((late.status.as_u16(), late.text(), late.is_complete), (200, "a,", false));
    }
    let malformed = download(&[b"\x12\x05b"]).await;
    assert_eq!((malformed.status.as_u16(), &malformed.json()["code"]), (500, &json!(13)));
}
