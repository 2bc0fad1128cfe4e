//! A plain HTTP client for the tests: one connection a request, nothing hidden.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
    /// Whether the body ended as HTTP says it should.
    pub(crate) is_complete: bool,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body in UTF-8")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header in ASCII"))
    }
}

/// The builder of a request to a door of the gateway.
pub(crate) fn request(method: &str, target: &str) -> http::request::Builder {
    Request::builder().method(method).uri(target)
}

/// Sends a request over HTTP/1.1 and reads the whole response.
pub(crate) async fn send(
    address: SocketAddr,
    request: http::request::Builder,
    body: impl Into<Bytes>,
) -> Answer {
    read(open(address, request, body).await).await
}

/// Sends a request over HTTP/1.1; the body of the response is still to be read.
pub(crate) async fn open(
    address: SocketAddr,
    request: http::request::Builder,
    body: impl Into<Bytes>,
) -> Response<Incoming> {
    let stream = TcpStream::connect(address).await.expect("the listener accepts");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    let mut request = request.body(Full::new(body.into())).expect("a well-formed request");
    request.headers_mut().entry("host").or_insert(http::HeaderValue::from_static("gateway.test"));
    sender.send_request(request).await.expect("a response head")
}

/// Sends bytes as they are and reads until the gateway closes: for what no client would send.
pub(crate) async fn send_raw(address: SocketAddr, request: &[u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(address).await.expect("the listener accepts");
    stream.write_all(request).await.expect("an open connection");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer and a close");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends a request over HTTP/2 without TLS and reads the whole response.
pub(crate) async fn send_h2(
    address: SocketAddr,
    request: http::request::Builder,
    body: impl Into<Bytes>,
) -> Answer {
    let body = BodyExt::boxed(Full::new(body.into()));
    read(open_h2(address, request, body).await).await
}

/// Opens a request over HTTP/2 whose body is still being written.
pub(crate) async fn open_h2(
    address: SocketAddr,
    request: http::request::Builder,
    body: super::backend::Body,
) -> Response<Incoming> {
    let mut sender = connect_h2(address).await;
    let mut request = request.body(body).expect("a well-formed request");
    let target = format!("http://gateway.test{}", request.uri());
    *request.uri_mut() = target.parse().expect("a target");
    sender.send_request(request).await.expect("a response head")
}

/// A connection over HTTP/2 without TLS.
pub(crate) async fn connect_h2(
    address: SocketAddr,
) -> hyper::client::conn::http2::SendRequest<super::backend::Body> {
    let stream = TcpStream::connect(address).await.expect("the listener accepts");
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("a handshake");
    tokio::spawn(connection);
    sender
}

/// A connection over HTTP/1.1 that is kept.
pub(crate) async fn connect_h1(
    address: SocketAddr,
) -> hyper::client::conn::http1::SendRequest<super::backend::Body> {
    let stream = TcpStream::connect(address).await.expect("the listener accepts");
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    sender
}

/// A GET for a connection over HTTP/2.
pub(crate) fn empty(target: &str) -> Request<super::backend::Body> {
    let request = Request::get(format!("http://gateway.test{target}"));
    request.body(super::backend::nothing()).expect("a well-formed request")
}

/// Reads what is left of a response.
pub(crate) async fn read(response: Response<Incoming>) -> Answer {
    let (head, mut body) = response.into_parts();
    let mut answer = Answer {
        status: head.status,
        headers: head.headers,
        body: Bytes::new(),
        trailers: HeaderMap::new(),
        is_complete: true,
    };
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => bytes.extend_from_slice(&data),
            Ok(Err(frame)) => answer.trailers = frame.into_trailers().unwrap_or_default(),
            Err(_) => {
                answer.is_complete = false;
                break;
            }
        }
    }
    answer.body = bytes.freeze();
    answer
}

/// Reads `count` lines of a body that may never end.
pub(crate) async fn lines(response: Response<Incoming>, count: usize) -> Vec<String> {
    let mut body = response.into_body();
    let mut text = String::new();
    while text.matches('\n').count() < count {
        let frame = tokio::time::timeout(Duration::from_secs(30), body.frame()).await;
        let Some(frame) = frame.unwrap_or_else(|_| panic!("{count} lines expected, {text:?} came")) else {
            break;
        };
        let Ok(data) = frame.expect("an open body").into_data() else { continue };
        text.push_str(std::str::from_utf8(&data).expect("lines in UTF-8"));
    }
    text.lines().take(count).map(str::to_owned).collect()
}
