//! Whether a backend is there and speaks HTTP/2, asked without a call: connect, preface, PING, end.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use h2::Ping;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::endpoint::Address;
use super::tls::Tls;

/// Resolves the host, connects to one of its addresses and waits for the answer to a PING; without a bound in time.
/// An address with TLS is only believed by `tls`.
///
/// # Errors
///
/// In words, for operators.
pub async fn probe(address: &Address, tls: Option<&Tls>) -> Result<(), String> {
    let host = address.host();
    let addresses = tokio::net::lookup_host((host, address.port())).await;
    let addresses: Vec<_> = addresses.map_err(|error| format!("`{host}` is not found: {error}"))?.collect();
    let socket = TcpStream::connect(addresses.as_slice()).await.map_err(|error| error.to_string())?;
    let spoken = match tls.filter(|_| address.is_tls) {
        Some(tls) => {
            speaks_http2(tls.connect(address, socket).await.map_err(|error| error.to_string())?).await
        }
        None => speaks_http2(socket).await,
    };
    spoken.map_err(|reason| format!("it does not speak HTTP/2: {reason}"))
}

async fn speaks_http2(socket: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), String> {
    let (sender, mut connection) = h2::client::handshake(socket).await.map_err(|error| error.to_string())?;
    let mut pings = connection.ping_pong().expect("taken once");
    let mut answer = pin!(pings.ping(Ping::opaque()));
    let mut connection = pin!(connection);
    // Whoever answers a PING has read the preface, and sent its own.
    let answered = poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            let reason = ended.err().map_or_else(|| "it closes the connection".to_owned(), |e| e.to_string());
            return Poll::Ready(Err(reason));
        }
        answer.as_mut().poll(cx).map(|answer| answer.map(drop).map_err(|error| error.to_string()))
    });
    let answered = answered.await;
    drop(sender);
    answered
}
