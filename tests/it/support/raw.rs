//! A backend below gRPC: HTTP/2 frames, sent and left out as a case says, and calls of the upstream to it.
//!
//! [`backend`](super::backend) speaks HTTP/2 well by itself; here resets, windows and the end of a connection
//! are in the hands of the test.

use std::future::Future;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use transom::status::Status;
use transom::telemetry::WorkerMetrics;
use transom::upstream::{
    Address, Cluster, EndpointSpec, GrpcReply, GrpcRequest, RequestMessages, Terms, Upstream, UpstreamConfig,
};

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

    pub(crate) fn config(&self) -> Target {
        config(self.address)
    }

    pub(crate) fn upstream(&self) -> Upstream {
        upstream(self.config())
    }
}

/// A backend that can be killed: its connections are cut and nobody listens any more.
pub(crate) struct Mortal {
    pub(crate) address: SocketAddr,
    life: JoinHandle<()>,
}

impl Mortal {
    pub(crate) async fn start(address: SocketAddr, serve: Serve) -> Self {
        Self::on(TcpListener::bind(address).await.expect("a free address"), serve)
    }

    pub(crate) fn on(listener: TcpListener, serve: Serve) -> Self {
        let address = listener.local_addr().expect("bound");
        let life = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(serve_connection(h2::server::Builder::new(), socket, serve.clone()));
            }
        });
        Self { address, life }
    }

    /// Ends it; nobody listens at the address that it gives back.
    pub(crate) async fn kill(self) -> SocketAddr {
        self.life.abort();
        let _ = self.life.await;
        self.address
    }
}

pub(crate) async fn serve_connection(builder: h2::server::Builder, socket: TcpStream, serve: Serve) {
    let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(serve(request, respond));
    }
}

/// A single endpoint, and how it is called.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    config: UpstreamConfig,
}

impl Target {
    pub(crate) fn cluster(self) -> Arc<Cluster> {
        Cluster::new("api", self.config, vec![endpoint(self.address)])
    }
}

impl Deref for Target {
    type Target = UpstreamConfig;

    fn deref(&self) -> &UpstreamConfig {
        &self.config
    }
}

impl DerefMut for Target {
    fn deref_mut(&mut self) -> &mut UpstreamConfig {
        &mut self.config
    }
}

pub(crate) fn config(address: SocketAddr) -> Target {
    Target { address, config: UpstreamConfig::default() }
}

pub(crate) fn endpoint(address: SocketAddr) -> EndpointSpec {
    EndpointSpec::new(Address::plain(address.to_string().parse().expect("an authority")))
}

pub(crate) fn upstream(target: Target) -> Upstream {
    Upstream::new(target.cluster(), Arc::new(WorkerMetrics::default()))
}

pub(crate) fn request(message: &[u8]) -> GrpcRequest {
    GrpcRequest {
        trail: None,
        terms: Terms::default(),
        path: "/pkg.Service/Method".parse().expect("a path"),
        metadata: HeaderMap::new(),
        key: None,
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
