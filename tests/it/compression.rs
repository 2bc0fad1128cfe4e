//! Compressed bodies at the real door, both ways.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::HeaderMap;

use crate::support::backend::{Backend, messages, respond, status};
use crate::support::{Gateway, http as client};

/// An item whose name has so many bytes.
fn item(bytes: usize) -> Bytes {
    let mut item = vec![0x0a];
    let mut length = bytes;
    while length >= 0x80 {
        item.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    item.push(u8::try_from(length).expect("seven bits"));
    item.extend(std::iter::repeat_n(b'a', bytes));
    item.into()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn gunzip(data: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(data).read_to_string(&mut text).expect("gzip");
    text
}

/// Answers with an item of as many bytes as the path's last segment says, and this metadata.
async fn sized(metadata: &'static [(&'static str, &'static str)]) -> Backend {
    Backend::start(async move |request: http::Request<hyper::body::Incoming>| {
        use http_body_util::BodyExt;
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        // A frame of five bytes, a tag, a length, then `items/…`.
        let name = String::from_utf8_lossy(&body[7..]).into_owned();
        let bytes = name.rsplit('/').next().and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        let metadata: HeaderMap = metadata
            .iter()
            .map(|(name, value)| {
                (name.parse::<http::HeaderName>().expect("a name"), value.parse().expect("a value"))
            })
            .collect();
        respond(metadata, messages(&[item(bytes)], status(0, "")))
    })
    .await
}

#[tokio::test]
async fn replies_are_compressed_for_clients_that_ask() {
    let backend = sized(&[("etag", "\"a\"")]).await;
    let gateway = Gateway::door(&backend, &[]).await;
    let check = async |bytes: usize, header: (&str, &str), coding: Option<&str>, varies: bool| {
        let target = format!("/v1/items/{bytes}");
        let request = client::request("GET", &target).header(header.0, header.1);
        let request =
            if header.0 == "accept-encoding" { request } else { request.header("accept-encoding", "gzip") };
        let answer = client::send(gateway.address, request, "").await;
        assert_eq!(answer.header("content-encoding"), coding, "{bytes} {header:?}");
        assert_eq!(answer.header("vary"), varies.then_some("Accept-Encoding"), "{bytes} {header:?}");
        assert_eq!(
            answer.header("etag"),
            Some(if coding.is_some() { "W/\"a\"" } else { "\"a\"" }),
            "{bytes} {header:?}"
        );
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
        let expected = format!("{{\"name\":\"{}\"}}", "a".repeat(bytes));
        match coding {
            None => assert_eq!(answer.text(), expected),
            Some("gzip") => assert_eq!(gunzip(&answer.body), expected),
            Some(_) => assert!(answer.body.len() < expected.len() / 10, "{}", answer.body.len()),
        }
    };
    let accept = |value| ("accept-encoding", value);
    check(5000, accept("gzip"), Some("gzip"), true).await;
    check(5000, accept("gzip, deflate, br, zstd"), Some("zstd"), true).await;
    check(5000, accept("gzip, deflate, br"), Some("br"), true).await;
    check(5000, accept("identity"), None, true).await;
    check(5000, accept(""), None, true).await;
    // `{"name":"…"}` is eleven bytes around the name.
    check(1024 - 11, accept("gzip"), Some("gzip"), true).await;
    check(1023 - 11, accept("gzip"), None, false).await;
    check(5000, ("cookie", "a=b"), None, true).await;
    check(5000, ("authorization", "Bearer x"), Some("gzip"), true).await;
}

#[tokio::test]
async fn heads_and_cookies_stay_plain() {
    let backend = sized(&[("set-cookie", "a=b")]).await;
    let gateway = Gateway::door(&backend, &[]).await;
    let request = client::request("GET", "/v1/items/5000").header("accept-encoding", "gzip");
    let answer = client::send(gateway.address, request, "").await;
    assert_eq!((answer.header("content-encoding"), answer.header("vary")), (None, None));
    let backend = sized(&[]).await;
    let gateway = Gateway::door(&backend, &[]).await;
    let request = client::request("HEAD", "/v1/items/5000").header("accept-encoding", "gzip");
    let answer = client::send(gateway.address, request, "").await;
    assert_eq!((answer.header("content-encoding"), answer.header("vary")), (None, Some("Accept-Encoding")));
    assert_eq!(answer.header("content-length"), Some("5011"));
}

#[tokio::test]
async fn streams_are_flushed_message_by_message() {
    let (backend, feed) = Backend::fed().await;
    let surfaces = "surfaces: { web: { compression: { streams: true, algorithms: [gzip] } } }";
    let gateway = Gateway::configured(&backend, "", "", surfaces).await;
    let request = client::request("GET", "/v1/items/7:watch").header("accept-encoding", "gzip");
    let response = tokio::spawn(client::open(gateway.address, request, ""));
    let message = |name: u8| crate::support::backend::framed(&[0x0a, 1, name]);
    feed.send(http_body::Frame::data(message(b'a'))).await.expect("an open call");
    let response = crate::support::soon(response).await.expect("a task");
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let mut body = response.into_body();
    let mut coded = Vec::new();
    let mut next = async |expected: &str| {
        use http_body_util::BodyExt;
        // The coding has not ended: what has come is read as far as it goes.
        while plain(&coded) != expected {
            let frame = crate::support::soon(body.frame()).await.expect("an open body").expect("data");
            coded.extend_from_slice(&frame.into_data().expect("data"));
        }
    };
    next("{\"name\":\"a\"}\n").await;
    feed.send(http_body::Frame::data(message(b'b'))).await.expect("an open call");
    next("{\"name\":\"a\"}\n{\"name\":\"b\"}\n").await;
}

/// What a prefix of a gzip body stands for.
fn plain(coded: &[u8]) -> String {
    let mut text = Vec::new();
    let mut decoder = flate2::write::GzDecoder::new(&mut text);
    let _ = decoder.write_all(coded).and_then(|()| decoder.flush());
    drop(decoder);
    String::from_utf8(text).expect("text")
}

#[tokio::test]
async fn request_bodies_are_decoded() {
    let backend = Backend::echo().await;
    let gateway = Gateway::configured(&backend, "limits: { body: 100KiB }", "", "").await;
    let check = async |coding: &str, body: Vec<u8>, expected: (u16, &str)| {
        let request = client::request("POST", "/v1/items").header("content-encoding", coding);
        let request = request.header("content-type", "application/json");
        let length = body.len();
        let answer = client::send(gateway.address, request, body).await;
        let json = answer.json();
        let shown = json["details"][0]["reason"].as_str().or(json["name"].as_str()).unwrap_or_default();
        assert_eq!((answer.status.as_u16(), shown), expected, "{coding} {length}: {json:.200}");
        answer
    };
    let json = br#"{"name":"n"}"#;
    check("gzip", gzip(json), (200, "n")).await;
    check("x-gzip", gzip(json), (200, "n")).await;
    check("identity", json.to_vec(), (200, "n")).await;
    check("gzip", Vec::new(), (200, "")).await;
    let truncated = gzip(json)[..20].to_vec();
    check("gzip", truncated, (400, "BAD_CONTENT_ENCODING")).await;
    check("gzip", json.to_vec(), (400, "BAD_CONTENT_ENCODING")).await;
    check("zstd", gzip(json), (400, "BAD_CONTENT_ENCODING")).await;
    for unknown in ["deflate", "gzip, gzip", "gzip, br", "exi"] {
        let answer = check(unknown, gzip(json), (415, "UNSUPPORTED_CONTENT_ENCODING")).await;
        assert_eq!(answer.header("accept-encoding"), Some("zstd, br, gzip"), "{unknown}");
    }
    // The bound of the body holds for what comes out.
    let blanks = |bytes: usize| {
        let mut text = json.to_vec();
        text.resize(bytes, b' ');
        // Enough noise in a header of the coding to stay below the bound of the ratio.
        let builder = flate2::GzBuilder::new().extra(vec![b'x'; 2000]);
        let mut encoder = builder.write(Vec::new(), flate2::Compression::best());
        encoder.write_all(&text).expect("memory");
        encoder.finish().expect("memory")
    };
    check("gzip", blanks(100 << 10), (200, "n")).await;
    check("gzip", blanks((100 << 10) + 1), (413, "BODY_TOO_LARGE")).await;
    let mut bomb = json.to_vec();
    bomb.resize(90 << 10, b' ');
    check("gzip", gzip(&bomb), (413, "DECOMPRESSION_RATIO")).await;
}

#[tokio::test]
async fn streamed_bodies_are_decoded_as_they_come() {
    let backend = Backend::echo().await;
    let gateway = Gateway::configured(&backend, "limits: { body: 1KiB }", "", "").await;
    // More than the bound of one record, and than a piece of the decoder.
    let noise = |index: u64| -> String {
        (0..25)
            .map(|part| format!("{:016x}", (index * 25 + part).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .collect()
    };
    let records: String = (0..300).map(|index| format!("{{\"name\":\"{}\"}}\n", noise(index))).collect();
    let request = client::request("POST", "/v1/chat")
        .header("content-encoding", "gzip")
        .header("content-type", "application/x-ndjson");
    let answer = client::send(gateway.address, request, gzip(records.as_bytes())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let end = answer.text().len().saturating_sub(300);
    assert!(answer.is_complete && answer.text() == records, "{}", &answer.text()[end..]);
}
