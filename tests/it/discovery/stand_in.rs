//! An HTTP/1.1 server in this process that stands in for a registry: what it answers is in the hands of a test, and so
//! is when its connections are cut. Whoever uses it says which documented protocol it speaks.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

pub(super) use crate::support::backend::Body;

pub(super) struct StandIn {
    pub(super) address: SocketAddr,
    presence: watch::Sender<Presence>,
}

#[derive(Clone, Copy, PartialEq)]
enum Presence {
    There,
    Away,
}

impl StandIn {
    /// By TLS with `tls`.
    pub(super) async fn start<F>(
        tls: Option<TlsAcceptor>,
        answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (presence, told) = watch::channel(Presence::There);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut told, tls, answer) = (told.clone(), tls.clone(), answer.clone());
                // It keeps its port while it is away, so that nobody else takes it.
                if *told.borrow_and_update() == Presence::Away {
                    continue;
                }
                tokio::spawn(async move {
                    tokio::select! {
                        () = serve(stream, tls, answer) => {}
                        _ = told.changed() => {}
                    }
                });
            }
        });
        Self { address, presence }
    }

    /// Cuts every connection, and every one that comes.
    pub(super) fn leave(&self) {
        self.presence.send_replace(Presence::Away);
    }

    pub(super) fn come_back(&self) {
        self.presence.send_replace(Presence::There);
    }

    /// Cuts every connection that is open.
    pub(super) fn cut(&self) {
        self.come_back();
    }
}

/// A whole answer.
pub(super) fn response(status: u16, text: impl Into<Bytes>) -> http::Result<Response<Body>> {
    Response::builder().status(status).body(Full::new(text.into()).boxed())
}

async fn serve<F>(
    stream: tokio::net::TcpStream,
    tls: Option<TlsAcceptor>,
    answer: impl Fn(Request<Incoming>) -> F,
) where
    F: Future<Output = Response<Body>>,
{
    let Some(tls) = tls else { return exchange(stream, answer).await };
    // A client that does not trust us ends here.
    if let Ok(stream) = tls.accept(stream).await {
        exchange(stream, answer).await;
    }
}

async fn exchange<F>(stream: impl AsyncRead + AsyncWrite + Unpin, answer: impl Fn(Request<Incoming>) -> F)
where
    F: Future<Output = Response<Body>>,
{
    let service = service_fn(|request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    // Its end is the client's affair, or the test's.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
