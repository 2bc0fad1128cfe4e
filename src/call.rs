//! What travels between the rooms: [`Call`] inwards from a frontend, [`Reply`] back.
//!
//! Neutral ground: http and bytes, no runtime. A frontend (room 4) opens a `Call` from a request's head; the
//! body stays unread in its [`Payload`] until the transcoder (room 6) pulls it, after the stages
//! have judged the head. The one `Arc<Snapshot>` taken for the request travels in the call, so that a
//! reload never changes a request in flight.

use core::net::IpAddr;
use std::borrow::Cow;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_core::Stream;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use http_body::{Body, Frame, SizeHint};

use crate::policy::balance::{HashKey, hash};
use crate::policy::certificate::ClientCertificate;
use crate::policy::claims;
use crate::policy::client_address::Origin;
use crate::policy::cookie;
use crate::policy::geo::Place;
use crate::policy::identity::Identity;
use crate::policy::limit::{Limited, Tightest};
use crate::policy::limit_header;
use crate::policy::trail::Trail;
use crate::route::{self, Binding, Captures};
use crate::snapshot::Snapshot;
use crate::status::Status;

/// One request on its way to a backend.
pub struct Call {
    pub snapshot: Arc<Snapshot>,
    /// The route that matched: method, message types, how the request binds.
    pub binding: Arc<Binding>,
    /// gRPC metadata for the backend, already filtered by the metadata policy.
    pub metadata: HeaderMap,
    /// When the client's patience ends: the least of its own wish and the gateway's bound.
    pub deadline: Option<Instant>,
    /// What the stages judge by.
    pub head: Arc<Head>,
    /// Who is calling; nobody knows before the stage that authenticates has found out.
    pub identity: Option<Arc<Identity>>,
    pub notes: Arc<Notes>,
    /// Where it writes down its way; `None`: nobody will read it.
    pub trail: Option<Arc<Trail>>,
    /// What limits have taken for it so far, where more of them follow.
    pub limited: Option<Box<Limited>>,
    /// What is held for it until its reply has ended.
    pub held: Vec<Box<dyn Send>>,
    /// The index of the service that is called: that of its rule, until a side has been chosen.
    pub service: usize,
    pub payload: Payload,
}

/// The head of a request, as the client sent it, and where it came from.
#[derive(Debug)]
pub struct Head {
    pub method: Method,
    pub uri: Uri,
    pub version: Version,
    pub headers: HeaderMap,
    pub client: Client,
    /// Echoed in every response, forwarded in every call.
    pub request_id: HeaderValue,
    /// When it came.
    pub started: Instant,
    /// What chance has drawn for who has no cookie yet: once, however many calls the request makes.
    pub drawn: OnceLock<[u64; 2]>,
}

/// Where a request comes from.
#[derive(Clone, Debug)]
pub struct Client {
    /// The other end of the socket, an IPv4 address as such.
    pub peer: IpAddr,
    /// The client as trusted proxies tell of it, otherwise the peer: the one address of every list, limit
    /// and log.
    pub address: IpAddr,
    /// The address, then those of the trusted proxies on its way, for backends.
    pub chain: HeaderValue,
    /// `http` or `https`, as the client spoke to the first trusted proxy.
    pub scheme: &'static str,
    /// The host that a trusted proxy says the client asked for. Backends are told; surfaces are chosen by the
    /// request's own.
    pub host: Option<HeaderValue>,
    /// The holder of the certificate that the peer has shown and that was verified.
    pub certificate: Option<Arc<ClientCertificate>>,
}

impl Client {
    /// A client at `address`, of whom the connection to `peer` tells.
    pub fn new(peer: IpAddr, address: IpAddr, scheme: &'static str) -> Self {
        let chain = HeaderValue::try_from(address.to_string()).expect("an address is printable ASCII");
        Self { peer, address, chain, scheme, host: None, certificate: None }
    }

    /// What a trusted proxy tells, in the place of what the socket does.
    pub fn told(mut self, origin: Origin) -> Self {
        self.address = origin.address;
        self.chain = origin.chain.unwrap_or(self.chain);
        self.scheme = origin.scheme.unwrap_or(self.scheme);
        self.host = origin.host;
        self
    }
}

/// What a call leaves on its way for room 8 and for telemetry, beside its outcome.
#[derive(Debug, Default)]
pub struct Notes {
    told: Mutex<Told>,
    identity: OnceLock<Arc<Identity>>,
    refused_by: OnceLock<&'static str>,
    bytes_read: AtomicU64,
    messages_sent: AtomicU64,
    place: OnceLock<Place>,
    cost: AtomicU64,
    cache: OnceLock<&'static str>,
    fallback: OnceLock<&'static str>,
}

/// What the client is told beside the reply.
#[derive(Debug, Default)]
struct Told {
    headers: Vec<(HeaderName, HeaderValue)>,
    tightest: Option<Tightest>,
}

/// What the request message is made of.
pub enum Payload {
    /// What the client sent, unread: the transcoder binds it to the request message.
    Http { captures: Captures, body: ClientBody },
    /// The request message itself. The reply stays in wire form, too.
    Wire(Bytes),
}

/// What comes back from a backend, in the payload format that the call asks for, not yet framed for its protocol.
pub struct Reply {
    /// The backend's response metadata, unfiltered.
    pub metadata: HeaderMap,
    pub body: ReplyBody,
}

/// A call that failed, and what the backend said beside its status.
#[derive(Clone, Debug)]
pub struct Failure {
    pub status: Status,
    /// The backend's metadata, leading and trailing, unfiltered; `None` when there is none.
    pub metadata: Option<Box<HeaderMap>>,
}

impl Call {
    /// The hash of what tells it from the calls of others; `None` where it has nothing of the kind.
    pub fn hash_of(&self, key: &HashKey) -> Option<u64> {
        match key {
            HashKey::Header(name) => self.head.headers.get(name).map(|value| hash(value.as_bytes())),
            HashKey::Consumer => Some(match &self.identity {
                Some(identity) => match &identity.consumer {
                    Some(consumer) => hash(consumer.name.as_bytes()),
                    // Subjects of two providers are two people, whatever they are called.
                    None => {
                        hash(identity.provider.as_bytes()) ^ hash(identity.subject.as_bytes()).rotate_left(1)
                    }
                },
                None => hash_of_address(self.head.client.address),
            }),
            HashKey::Claim(path) => {
                let value = claims::find(&self.identity.as_ref()?.claims, path).and_then(claims::scalar)?;
                Some(hash(value.as_bytes()))
            }
            HashKey::Cookie(name) => cookie::find(&self.head.headers, name).map(hash),
            HashKey::Address => Some(hash_of_address(self.head.client.address)),
        }
    }

    /// The decoded text of a field of the request message, as path or query have it, or would.
    pub fn field_text(&self, field: &str) -> Option<Cow<'_, str>> {
        let Self { snapshot, binding, payload, .. } = self;
        match payload {
            Payload::Http { captures, .. } => {
                let head = route::Head { captures, query: self.query() };
                binding.field_text(&snapshot.schema, &snapshot.binding, snapshot.json.depth_max, head, field)
            }
            Payload::Wire(message) => binding.wire_text(&snapshot.schema, message, field),
        }
    }

    /// Bytes that are looked through for it.
    pub fn field_bytes(&self, field: &str) -> usize {
        match (&self.payload, self.binding.source(&self.snapshot.schema, field)) {
            (Payload::Wire(message), _) => message.len(),
            (Payload::Http { .. }, Some(route::Source::Query)) => self.query().len(),
            (Payload::Http { .. }, Some(route::Source::Path) | None) => 0,
        }
    }

    fn query(&self) -> &str {
        self.head.uri.query().unwrap_or_default()
    }
}

fn hash_of_address(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => hash(&address.octets()),
        // RFC 6177, section 2: an end site has at least a /64, among whose addresses its devices change.
        IpAddr::V6(address) => hash(address.octets().first_chunk::<8>().expect("16 octets")),
    }
}

impl Payload {
    /// Whether there is a body that nobody has read.
    pub fn has_body(&self) -> bool {
        match self {
            Self::Http { body, .. } => !body.is_empty(),
            Self::Wire(_) => false,
        }
    }
}

impl Head {
    /// The head of a request that came when it `started`.
    pub fn new(parts: Parts, client: Client, request_id: HeaderValue, started: Instant) -> Self {
        let Parts { method, uri, version, headers, .. } = parts;
        Self { method, uri, version, headers, client, request_id, started, drawn: OnceLock::new() }
    }

    /// The same with other headers.
    pub fn with_headers(&self, headers: HeaderMap) -> Self {
        Self {
            method: self.method.clone(),
            uri: self.uri.clone(),
            version: self.version,
            headers,
            client: self.client.clone(),
            request_id: self.request_id.clone(),
            started: self.started,
            drawn: OnceLock::new(),
        }
    }

    /// The host that the request names, as it names it; see [`host`].
    pub fn host(&self) -> Option<&str> {
        host(&self.uri, &self.headers)
    }
}

/// RFC 9112, section 3.2.2, and RFC 9113, section 8.3.1: the target's own authority goes before `Host`.
pub fn host<'h>(uri: &'h Uri, headers: &'h HeaderMap) -> Option<&'h str> {
    let field = || headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    uri.authority().map(Authority::as_str).or_else(field)
}

impl Notes {
    /// Has the client's reply carry a header, whether the call succeeds or not.
    pub fn reply_header(&self, name: HeaderName, value: HeaderValue) {
        self.told().headers.push((name, value));
    }

    /// The headers so far, those of the limits included; room 8 takes them.
    pub fn take_reply_headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let mut told = self.told();
        let limits = told.tightest.as_ref().map(limit_header::headers);
        std::mem::take(&mut told.headers).into_iter().chain(limits.into_iter().flatten())
    }

    /// Has the client's reply carry what that of another call would under a name, each value once.
    pub fn reply_header_of(&self, other: &Self, name: &HeaderName) {
        let found: Vec<_> = other.told().headers.iter().filter(|(own, _)| own == name).cloned().collect();
        let mut told = self.told();
        for header in found {
            if !told.headers.contains(&header) {
                told.headers.push(header);
            }
        }
    }

    /// Keeps who is calling; the first word counts.
    pub fn identified(&self, identity: Arc<Identity>) {
        // A second identity of one call is the combination's own affair.
        let _ = self.identity.set(identity);
    }

    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.get()
    }

    /// Keeps where the client is, as the files say that know it.
    pub fn located(&self, place: Place) {
        let _ = self.place.set(place);
    }

    /// Where the client is; nothing is known of it where no file is configured.
    pub fn place(&self) -> Place {
        self.place.get().copied().unwrap_or_default()
    }

    /// Keeps which stage refused the call.
    pub fn refused_by(&self, stage: &'static str) {
        let _ = self.refused_by.set(stage);
    }

    pub fn refusing_stage(&self) -> Option<&'static str> {
        self.refused_by.get().copied()
    }

    /// Notes units that the call takes of a limit; of several, the most counts.
    pub fn costs(&self, units: u64) {
        if units > 1 {
            self.cost.fetch_max(units, Ordering::Relaxed);
        }
    }

    /// Units that the call takes of its limits; 1 where none has said more.
    pub fn cost(&self) -> u64 {
        self.cost.load(Ordering::Relaxed).max(1)
    }

    /// Keeps what the cache of replies did, where a rule has one.
    pub fn cached(&self, result: &'static str) {
        let _ = self.cache.set(result);
    }

    pub fn cache_result(&self) -> Option<&'static str> {
        self.cache.get().copied()
    }

    /// Keeps why the call got the static reply of its rule.
    pub fn fell_back(&self, reason: &'static str) {
        let _ = self.fallback.set(reason);
    }

    pub fn fallback(&self) -> Option<&'static str> {
        self.fallback.get().copied()
    }

    /// Keeps the limit that the client is told of, if it is told of any; the last word counts.
    pub fn stands_at(&self, tightest: Option<Tightest>) {
        self.told().tightest = tightest;
    }

    /// What is left of the limit that the client is told of.
    pub fn limit_left(&self) -> Option<u64> {
        self.told().tightest.as_ref().map(|tightest| tightest.standing.remaining)
    }

    /// Notes bytes of the request's body.
    pub fn read_bytes(&self, count: u64) {
        self.bytes_read.fetch_add(count, Ordering::Relaxed);
    }

    /// Bytes of the request's body that were read.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Notes a message of the reply.
    pub fn sent_message(&self) {
        self.messages_sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages of the reply so far.
    pub fn messages_sent(&self) -> u64 {
        self.messages_sent.load(Ordering::Relaxed)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self { status, metadata: None }
    }
}

impl Failure {
    /// A failure told by the backend. Nothing of it has gone to the client, so its trailers are headers too.
    pub fn told(status: Status, mut metadata: HeaderMap, trailers: &HeaderMap) -> Self {
        for (name, value) in trailers {
            metadata.append(name, value.clone());
        }
        Self { status, metadata: (!metadata.is_empty()).then(|| Box::new(metadata)) }
    }
}

impl Reply {
    /// Wraps the messages of a streamed reply, for what must last as long as they do.
    pub fn map_messages(mut self, wrap: impl FnOnce(Messages) -> Messages) -> Self {
        self.body = match self.body {
            ReplyBody::Stream(messages) => ReplyBody::Stream(wrap(messages)),
            ReplyBody::WireStream(messages) => ReplyBody::WireStream(wrap(messages)),
            ReplyBody::RawStream { content_type, messages } => {
                ReplyBody::RawStream { content_type, messages: wrap(messages) }
            }
            unary => unary,
        };
        self
    }
}

/// The messages of a reply.
pub enum ReplyBody {
    /// Exactly one message, as JSON.
    Unary { json: Bytes, trailers: HeaderMap },
    /// Any number of messages, each as JSON.
    Stream(Messages),
    /// Exactly one message, as the backend sent it: nothing is hidden of it yet.
    Wire { message: Bytes, trailers: HeaderMap },
    /// Any number of messages, each as the backend sent it.
    WireStream(Messages),
    /// `google.api.HttpBody`: bytes as they are, under the content type that the message names.
    Raw { content_type: Option<HeaderValue>, body: Bytes, trailers: HeaderMap },
    /// A stream of `google.api.HttpBody`: bytes end to end, under the content type of the first.
    RawStream { content_type: Option<HeaderValue>, messages: Messages },
}

/// Messages of a server stream, pulled one at a time: a slow reader slows the backend.
pub type Messages = Pin<Box<dyn Stream<Item = Result<Piece, Status>> + Send>>;

/// One item of a server stream.
pub enum Piece {
    Message(Bytes),
    /// The backend's trailing metadata, unfiltered; nothing comes after it.
    Trailers(HeaderMap),
}

/// A request body that nobody has read yet.
///
/// Size and pace are the concern of the body inside; when one of its bounds is crossed, its error is
/// the `Status` to answer with.
pub struct ClientBody(Option<Pin<Box<dyn BoundedBody>>>);

/// A body that bounds its size and pace as befits one message.
pub trait BoundedBody: Body<Data = Bytes, Error = Status> + Send {
    /// The route takes a stream of messages: from now on each of them is bounded by who reads it.
    fn lift_bounds(self: Pin<&mut Self>);

    /// The most bytes that it gives.
    fn bytes_max(&self) -> u64;
}

impl ClientBody {
    /// Wraps a body; one that is known to be empty costs no allocation.
    pub fn new(body: impl BoundedBody + 'static) -> Self {
        if body.is_end_stream() { Self(None) } else { Self(Some(Box::pin(body))) }
    }

    /// See [`BoundedBody::lift_bounds`].
    pub fn lift_bounds(&mut self) {
        if let Some(body) = &mut self.0 {
            body.as_mut().lift_bounds();
        }
    }

    pub fn empty() -> Self {
        Self(None)
    }

    /// See [`BoundedBody::bytes_max`].
    pub fn bytes_max(&self) -> u64 {
        self.0.as_ref().map_or(0, |body| body.bytes_max())
    }

    /// Whether no byte can come any more.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Reads the whole body. One that came in one piece is not copied.
    ///
    /// # Errors
    ///
    /// The body's own: too large, too slow, broken off.
    pub async fn collect(mut self) -> Result<Bytes, Status> {
        let Some(first) = self.next_data().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.next_data().await? else { return Ok(first) };
        let hint = self.0.as_ref().map_or(0, |body| body.size_hint().lower());
        let rest = usize::try_from(hint).unwrap_or(0).min(READ_AHEAD_BYTES);
        let mut whole = Vec::with_capacity(first.len() + second.len() + rest);
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while let Some(data) = self.next_data().await? {
            whole.extend_from_slice(&data);
        }
        Ok(whole.into())
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    ///
    /// The body's own.
    pub async fn next_data(&mut self) -> Result<Option<Bytes>, Status> {
        std::future::poll_fn(|cx| self.poll_data(cx)).await
    }

    /// See [`Self::next_data`]. Trailers of a request mean nothing here and are passed over.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        loop {
            let Some(body) = &mut self.0 else { return Poll::Ready(Ok(None)) };
            match body.as_mut().poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => self.0 = None,
                Poll::Ready(Some(Err(status))) => {
                    self.0 = None;
                    return Poll::Ready(Err(status));
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Poll::Ready(Ok(Some(data))),
                    Err(_trailers) => {}
                },
            }
        }
    }
}

/// How much of a declared body is reserved before its bytes have come.
const READ_AHEAD_BYTES: usize = 64 << 10;

/// The body of an HTTP response: nothing, one piece, or framed stream messages.
pub enum ResponseBody {
    Empty,
    Full { data: Bytes, trailers: Option<Box<HeaderMap>> },
    Stream(Pin<Box<dyn Body<Data = Bytes, Error = Status> + Send>>),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full { data, .. } if !data.is_empty() => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(data)))))
            }
            Self::Full { trailers, .. } => {
                Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(*trailers))))
            }
            Self::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full { data, trailers } => data.is_empty() && trailers.is_none(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full { data, trailers: None } => SizeHint::with_exact(data.len() as u64),
            // HTTP/1.1 sends trailers only after chunks: a body of known length has none.
            Self::Full { data, .. } => {
                let mut hint = SizeHint::default();
                hint.set_lower(data.len() as u64);
                hint
            }
            Self::Stream(body) => body.size_hint(),
        }
    }
}
