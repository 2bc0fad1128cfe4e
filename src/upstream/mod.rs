//! Room 7: the gRPC client that calls the backend.
//!
//! One [`Upstream`] lives on each worker thread and owns its connections, so that no lock is ever
//! contended; all of it is `Send` nevertheless. It stands on the `h2` crate itself and not on hyper's
//! client above it: hyper spawns a task and two channels per call, hides the peer's stream limit and
//! folds the RST_STREAM code away, and all three matter here.
//!
//! ```text
//! call → Pool::acquire (a connection with a free stream, or the queue) → HEADERS + DATA
//!      → reply head → GrpcMessages: DATA pulled only when asked → trailers ⇒ Status
//! ```
//!
//! Dropping the future or the reply resets the stream with CANCEL. What a client may read in an
//! error never holds an address; those go to the log.

mod base64;
mod connection;
mod frame;
mod pool;
mod reply;
mod request;
mod status;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};
use tokio::time::{Instant, Sleep};

use crate::status::{Code, Status};
use crate::telemetry::WorkerMetrics;

pub use frame::put_frame;
pub use reply::{GrpcMessages, GrpcReply};
pub use request::{GrpcRequest, RequestMessages, RequestStream};

use pool::Pool;
use request::OpenCall;

/// A backend as one worker thread sees it.
#[derive(Debug, Clone)]
pub struct Upstream {
    pool: Arc<Pool>,
}

/// Where the backend is and every bound of the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamConfig {
    pub authority: Authority,
    pub message_bytes_to_backend_max: usize,
    pub message_bytes_from_backend_max: usize,
    /// Size of a reply's header list (RFC 9113, section 6.5.2).
    pub header_bytes_max: u32,
    pub connections_max: usize,
    /// Calls that wait for a connection or a free stream; one more is refused.
    pub queue_calls_max: usize,
    pub connect_timeout: Duration,
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    pub stream_window_bytes: u32,
    pub connection_window_bytes: u32,
    /// PING while calls are open. Off by default: grpc-go answers a PING every 30 s on a quiet stream
    /// with GOAWAY `too_many_pings`. A peer that vanished is found by `TCP_USER_TIMEOUT` regardless.
    pub keepalive: Option<Duration>,
    /// How long a PING, or sent bytes at the TCP level, may stay unanswered.
    pub keepalive_timeout: Duration,
}

/// An upstream URL that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UpstreamUrlError {
    #[error("`{0}`: not a URL; expected `http://HOST:PORT`")]
    NotAUrl(String),
    #[error("`{0}`: TLS to a backend is not supported yet; use `http://`")]
    Tls(String),
    #[error("`{0}`: scheme `{1}` is unknown; use `http://`")]
    Scheme(String, String),
    #[error("`{0}`: expected only a host and a port after the scheme")]
    Path(String),
    #[error("`{0}`: user names and passwords have no place in a backend's URL")]
    UserInfo(String),
}

/// A call that got no reply.
#[derive(Debug)]
pub struct Failure {
    pub status: Status,
    /// The backend provably never worked on the call, so another attempt is safe.
    pub is_unsent: bool,
}

impl Upstream {
    /// Connects lazily: with the first call.
    pub fn new(config: UpstreamConfig, metrics: Arc<WorkerMetrics>) -> Self {
        Self { pool: Pool::new(config, metrics) }
    }

    /// Starts a call; the reply's head is there when this returns.
    ///
    /// A backend that refuses in its head (`Trailers-Only`) is an `Ok` reply whose first message is
    /// the error: its metadata is worth having.
    ///
    /// # Errors
    /// The backend cannot be reached, reset the stream, answered something that is not gRPC, or did
    /// not answer within the timeout.
    pub async fn call(&self, request: GrpcRequest) -> Result<GrpcReply, Status> {
        self.attempt(request).await.map_err(|failure| failure.status)
    }

    /// Like [`call`](Self::call), and tells whether a failed call may safely be sent again.
    ///
    /// # Errors
    /// As `call`.
    pub async fn attempt(&self, request: GrpcRequest) -> Result<GrpcReply, Failure> {
        let mut guard = OpenCall::new(Arc::clone(self.pool.metrics()));
        let mut deadline = request.timeout.map(Deadline::after);
        let result = match &mut deadline {
            None => self.open(request).await,
            Some(deadline) => {
                let mut opening = pin!(self.open(request));
                std::future::poll_fn(|cx| match opening.as_mut().poll(cx) {
                    Poll::Ready(result) => Poll::Ready(result),
                    Poll::Pending => deadline.poll(cx).map(|status| Err(Failure::sent(status))),
                })
                .await
            }
        };
        match result {
            Ok(opened) => Ok(GrpcReply::new(opened, deadline, guard, self.pool.config())),
            Err(failure) => {
                guard.finish(failure.status.code);
                Err(failure)
            }
        }
    }

    /// Opens a connection now instead of with the first call.
    ///
    /// # Errors
    /// `UNAVAILABLE` when none can be opened.
    pub async fn warm(&self) -> Result<(), Status> {
        self.pool.acquire().await.map(drop).map_err(|failure| failure.status)
    }

    async fn open(&self, request: GrpcRequest) -> Result<request::Opened, Failure> {
        if let RequestMessages::One(frame) = &request.messages {
            frame::check_bound(frame, self.pool.config().message_bytes_to_backend_max)
                .map_err(Failure::unsent)?;
        }
        let lease = self.pool.acquire().await?;
        request::open(request, lease, self.pool.config()).await
    }
}

impl UpstreamConfig {
    pub fn new(authority: Authority) -> Self {
        Self {
            authority,
            message_bytes_to_backend_max: 4 << 20,
            message_bytes_from_backend_max: 16 << 20,
            header_bytes_max: 64 << 10,
            connections_max: 4,
            queue_calls_max: 1024,
            connect_timeout: Duration::from_secs(5),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
            stream_window_bytes: 1 << 20,
            connection_window_bytes: 4 << 20,
            keepalive: None,
            keepalive_timeout: Duration::from_secs(20),
        }
    }

    /// Reads `http://HOST[:PORT]`; the port is 80 when absent, as in any URL.
    ///
    /// # Errors
    /// Anything else, `https` included, with the reason.
    pub fn parse(url: &str) -> Result<Self, UpstreamUrlError> {
        let uri: Uri = url.parse().map_err(|_| UpstreamUrlError::NotAUrl(url.to_owned()))?;
        let parts = uri.into_parts();
        match &parts.scheme {
            Some(scheme) if *scheme == Scheme::HTTP => {}
            Some(scheme) if *scheme == Scheme::HTTPS => return Err(UpstreamUrlError::Tls(url.to_owned())),
            Some(scheme) => return Err(UpstreamUrlError::Scheme(url.to_owned(), scheme.to_string())),
            None => return Err(UpstreamUrlError::NotAUrl(url.to_owned())),
        }
        let authority = parts.authority.ok_or_else(|| UpstreamUrlError::NotAUrl(url.to_owned()))?;
        if authority.as_str().contains('@') {
            return Err(UpstreamUrlError::UserInfo(url.to_owned()));
        }
        // `http://:80` and `http://host:99999` parse as an authority.
        let has_port = authority.as_str().len() > authority.host().len();
        if authority.host().is_empty() || (has_port && authority.port_u16().is_none()) {
            return Err(UpstreamUrlError::NotAUrl(url.to_owned()));
        }
        match parts.path_and_query {
            Some(path) if path != "/" => Err(UpstreamUrlError::Path(url.to_owned())),
            _ => Ok(Self::new(authority)),
        }
    }
}

impl Failure {
    fn sent(status: Status) -> Self {
        Self { status, is_unsent: false }
    }

    fn unsent(status: Status) -> Self {
        Self { status, is_unsent: true }
    }
}

/// The moment a call is given up, whatever the backend does with its `grpc-timeout`.
#[derive(Debug)]
struct Deadline(Pin<Box<Sleep>>);

impl Deadline {
    fn after(timeout: Duration) -> Self {
        // A timeout beyond what the clock can express is no timeout: a century is.
        let far = Duration::from_secs(100 * 365 * 86_400);
        Self(Box::pin(tokio::time::sleep_until(Instant::now() + timeout.min(far))))
    }

    fn poll(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Status> {
        self.0
            .as_mut()
            .poll(cx)
            .map(|()| Status::backend(Code::DeadlineExceeded, "the backend did not answer in time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        #[track_caller]
        fn check(url: &str, expected: Result<&str, &str>) {
            let parsed = UpstreamConfig::parse(url);
            let parsed = parsed.map(|config| config.authority.to_string()).map_err(|error| error.to_string());
            match (&parsed, expected) {
                (Ok(authority), Ok(expected)) => assert_eq!(authority, expected),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                _ => panic!("{url}: {parsed:?}"),
            }
        }
        check("http://127.0.0.1:2379", Ok("127.0.0.1:2379"));
        check("http://backend", Ok("backend"));
        check("http://[::1]:80/", Ok("[::1]:80"));
        check("https://backend", Err("TLS to a backend is not supported yet"));
        check("grpc://backend", Err("scheme `grpc` is unknown"));
        check("backend:80", Err("expected `http://HOST:PORT`"));
        check("http://", Err("expected `http://HOST:PORT`"));
        check("http://host:99999", Err("expected `http://HOST:PORT`"));
        check("", Err("not a URL"));
        check("http://backend/path", Err("only a host and a port"));
        check("http://u:p@backend", Err("user names"));
    }
}
