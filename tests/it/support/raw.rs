//! A backend below gRPC: HTTP/2 frames, sent and left out as a case says, and calls of the upstream to it.
//!
//! [`backend`](super::backend) speaks HTTP/2 well by itself; here resets, windows and the end of a connection
//! are in the hands of the test.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use transom::status::Status;
use transom::telemetry::WorkerMetrics;
use transom::upstream::{GrpcReply, GrpcRequest, RequestMessages, Terms, Upstream, UpstreamConfig};

use super::backend::framed;

/// Answers one request.
pub(crate) type Serve = Arc<
    dyn Fn(Request<RecvStream>, SendResponse<Bytes>) -> Pin<Box<dyn Future<Output = ()> + Send>>
        + Send
        + Sync,
>;

pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
}

pub(crate) fn serve<F>(
    serve: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static,
) -> Serve
where
    F: Future<Output = ()> + Send + 'static,
{
    Arc::new(move |request, respond| Box::pin(serve(request, respond)))
}

impl Backend {
    pub(crate) async fn start(serve: Serve) -> Self {
        Self::start_with(h2::server::Builder::new(), serve).await
    }

    pub(crate) async fn start_with(builder: h2::server::Builder, serve: Serve) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve_connection(builder.clone(), socket, Arc::clone(&serve)));
            }
        });
        Self { address, connections }
    }

    pub(crate) fn config(&self) -> UpstreamConfig {
        config(self.address)
    }

    pub(crate) fn upstream(&self) -> Upstream {
        upstream(self.config())
    }
}

pub(crate) async fn serve_connection(builder: h2::server::Builder, socket: TcpStream, serve: Serve) {
    let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(serve(request, respond));
    }
}

pub(crate) fn config(address: SocketAddr) -> UpstreamConfig {
    UpstreamConfig::new(address.to_string().parse().expect("an authority"))
}

pub(crate) fn upstream(config: UpstreamConfig) -> Upstream {
    Upstream::new(config, Arc::new(WorkerMetrics::default()))
}

pub(crate) fn request(message: &[u8]) -> GrpcRequest {
    GrpcRequest {
        terms: Terms::default(),
        path: "/pkg.Service/Method".parse().expect("a path"),
        metadata: HeaderMap::new(),
        timeout: None,
        messages: RequestMessages::One(framed(message)),
    }
}

pub(crate) fn head(fields: &[(&str, &str)]) -> Response<()> {
    let mut response = Response::new(());
    *response.headers_mut() = headers(fields);
    response
}

pub(crate) fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"))
    };
    fields.iter().map(field).collect()
}

pub(crate) const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc")];

/// Head, one DATA, trailers.
pub(crate) fn reply(mut respond: SendResponse<Bytes>, data: Bytes, trailers: &[(&str, &str)]) {
    let mut body = respond.send_response(head(GRPC), false).expect("open");
    body.send_data(data, false).expect("open");
    body.send_trailers(headers(trailers)).expect("open");
}

pub(crate) async fn read_all(body: &mut RecvStream) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(Ok(chunk)) = body.data().await {
        body.flow_control().release_capacity(chunk.len()).expect("received");
        out.extend_from_slice(&chunk);
    }
    out
}

/// All messages, then the outcome.
pub(crate) async fn collect(reply: Result<GrpcReply, Status>) -> (Vec<Bytes>, Result<HeaderMap, Status>) {
    let mut reply = match reply {
        Ok(reply) => reply,
        Err(status) => return (Vec::new(), Err(status)),
    };
    let mut messages = Vec::new();
    while let Some(item) = reply.messages.next().await {
        match item {
            Ok(message) => messages.push(message),
            Err(status) => return (messages, Err(status)),
        }
    }
    (messages, Ok(reply.messages.trailers()))
}
