//! The backend of `scripts/bench-gateway`: answers at the least cost that HTTP/2 allows.
//!
//! `bench_backend descriptors FILE` writes the descriptor set that both gateways load;
//! `bench_backend body` prints the body of the POST; `bench_backend serve ADDRESS` serves. Replies are
//! encoded once at the start, so that the backend's share of the processor stays small and even.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage};
use tokio::net::TcpListener;

type Error = Box<dyn std::error::Error + Send + Sync>;

const BOOK: &str = r#"{"name":"shelves/1/books/1","title":"The Left Hand of Darkness",
"authors":["Ursula K. Le Guin"],"pageCount":304,"copiesSold":"1250000","rating":4.125,"inPrint":true,
"format":"PAPERBACK","publisher":{"displayName":"Ace Books","foundedYear":1952},
"labels":{"genre":"science-fiction","award":"hugo"}}"#;

/// Brings the body of the POST to about 2 kB.
const BLURB: &str = "Light is the left hand of darkness, and darkness the right hand of light. ";

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).open_file("bench/v1/bench.proto")?;
    match arguments[..] {
        ["descriptors", file] => Ok(std::fs::write(file, compiler.encode_file_descriptor_set())?),
        ["body"] => {
            let blurb = BLURB.repeat(22);
            use std::io::Write;
            Ok(writeln!(std::io::stdout(), "{},\"blurb\":\"{blurb}\"}}", &BOOK[..BOOK.len() - 1])?)
        }
        ["serve", address] => {
            let replies = Replies::encode(&compiler.descriptor_pool())?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(serve(address, Arc::new(replies)))
        }
        _ => Err("expected `descriptors FILE`, `body` or `serve ADDRESS`".into()),
    }
}

struct Replies {
    book: Bytes,
    list: Bytes,
}

impl Replies {
    fn encode(pool: &DescriptorPool) -> Result<Self, Error> {
        let frame = |name: &str, json: &str| -> Result<Bytes, Error> {
            let descriptor = pool.get_message_by_name(name).ok_or("the message is missing")?;
            let mut json = serde_json::Deserializer::from_str(json);
            let message =
                DynamicMessage::deserialize_with_options(descriptor, &mut json, &DeserializeOptions::new())?;
            let wire = message.encode_to_vec();
            let mut frame = vec![0];
            frame.extend_from_slice(&u32::try_from(wire.len())?.to_be_bytes());
            frame.extend_from_slice(&wire);
            Ok(frame.into())
        };
        let books = vec![BOOK; 100].join(",");
        Ok(Self {
            book: frame("bench.v1.Book", BOOK)?,
            list: frame("bench.v1.ListBooksResponse", &format!("{{\"books\":[{books}]}}"))?,
        })
    }
}

async fn serve(address: &str, replies: Arc<Replies>) -> Result<(), Error> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let replies = Arc::clone(&replies);
        let service = service_fn(move |request| answer(request, Arc::clone(&replies)));
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(builder.serve_connection(TokioIo::new(socket), service));
    }
}

async fn answer(request: Request<Incoming>, replies: Arc<Replies>) -> Result<Response<Reply>, Infallible> {
    let data = match request.uri().path() {
        "/bench.v1.Bench/GetBook" => replies.book.clone(),
        "/bench.v1.Bench/ListBooks" => replies.list.clone(),
        _ => request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default(),
    };
    let mut response = Response::new(Reply { data: Some(data), has_trailers: true });
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(response)
}

/// One DATA, then `grpc-status: 0`.
struct Reply {
    data: Option<Bytes>,
    has_trailers: bool,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if !std::mem::take(&mut self.has_trailers) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}
