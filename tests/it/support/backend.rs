//! A gRPC backend in this process that answers as each test tells it, well or badly.
//!
//! It speaks HTTP/2 by hyper and knows no types: a test sees the very bytes that the gateway sent and
//! decides the very bytes that go back, which a real gRPC server would not let it do.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// The body of a backend's response.
pub(crate) type Body = BoxBody<Bytes, Infallible>;
type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A running backend; it ends with the test's runtime.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    calls: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Backend {
    /// Starts a backend that answers every call with `answer`.
    pub(crate) async fn start<A, F>(answer: A) -> Self
    where
        A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), answer).await
    }

    /// [`start`](Self::start), at an address where nobody listens.
    pub(crate) async fn start_at<A, F>(address: SocketAddr, answer: A) -> Self
    where
        A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.expect("a free address");
        let address = listener.local_addr().expect("a bound address");
        let calls = Arc::new(AtomicUsize::new(0));
        let answer: Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync> =
            Arc::new(move |request| Box::pin(answer(request)));
        let connections = Arc::new(AtomicUsize::new(0));
        tokio::spawn(accept(listener, answer, calls.clone(), connections.clone()));
        Self { address, calls, connections }
    }

    /// A backend that answers one call with what the test sends, frame by frame.
    pub(crate) async fn fed() -> (Self, mpsc::Sender<Frame<Bytes>>) {
        let (sender, body) = channel();
        let body = std::sync::Mutex::new(Some(body));
        let backend = Self::start(move |_| {
            let body = body.lock().expect("one test").take().expect("one call");
            std::future::ready(respond(HeaderMap::new(), body))
        })
        .await;
        (backend, sender)
    }

    /// A backend that sends every request message back, one by one, with the metadata it came with.
    pub(crate) async fn echo() -> Self {
        Self::start(|request| async move {
            let mut metadata = HeaderMap::new();
            for (name, value) in request.headers() {
                let name = HeaderName::try_from(format!("seen-{name}")).expect("a longer name");
                metadata.append(name, value.clone());
            }
            let (sender, body) = channel();
            tokio::spawn(async move {
                let mut body = request.into_body();
                while let Some(Ok(frame)) = body.frame().await {
                    if let Ok(data) = frame.into_data() {
                        let _ = sender.send(Frame::data(data)).await;
                    }
                }
                let _ = sender.send(Frame::trailers(status(0, ""))).await;
            });
            respond(metadata, body)
        })
        .await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections have been opened.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many calls have come.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

async fn accept(
    listener: TcpListener,
    answer: Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>,
    calls: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        connections.fetch_add(1, Ordering::SeqCst);
        let (answer, calls) = (answer.clone(), calls.clone());
        let service = service_fn(move |request| {
            calls.fetch_add(1, Ordering::SeqCst);
            let answer = answer(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        tokio::spawn(
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service),
        );
    }
}

/// A 200 with gRPC's content type.
pub(crate) fn respond(metadata: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.headers_mut() = metadata;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

/// These messages, then these trailers.
pub(crate) fn messages(messages: &[Bytes], trailers: HeaderMap) -> Body {
    let mut frames: Vec<_> = messages.iter().map(|message| Ok(Frame::data(framed(message)))).collect();
    frames.push(Ok(Frame::trailers(trailers)));
    BodyExt::boxed(StreamBody::new(tokio_stream::iter(frames)))
}

/// No body at all: what headers say is everything.
pub(crate) fn nothing() -> Body {
    BodyExt::boxed(http_body_util::Empty::new())
}

/// A body that the test writes frame by frame.
pub(crate) fn channel() -> (mpsc::Sender<Frame<Bytes>>, Body) {
    let (sender, receiver) = mpsc::channel(1);
    let frames = tokio_stream::StreamExt::map(tokio_stream::wrappers::ReceiverStream::new(receiver), Ok);
    (sender, BodyExt::boxed(StreamBody::new(frames)))
}

/// gRPC's trailers.
pub(crate) fn status(code: u32, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.into());
    if !message.is_empty() {
        trailers.insert("grpc-message", message.parse().expect("a header value"));
    }
    trailers
}

/// gRPC's prefix before a message.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a small message"));
    frame.put_slice(message);
    frame.freeze()
}
