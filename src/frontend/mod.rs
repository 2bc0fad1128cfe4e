//! Rooms 2, 4 and 8: what protocol a request speaks, what call it opens, how the reply is told.
//!
//! A [`Frontend`] turns a request's head into a [`Call`] without reading its body, and a `Reply` or a
//! `Status` into the response of its own protocol: the only place where failures are rendered. A new
//! protocol of one call is one file and one line in `FRONTENDS`. GraphQL opens several calls at once, so that it is
//! no `Frontend`: [`graphql`] has the parts, and the gateway puts them together. May import what is pure, never `stage`,
//! `upstream` or `transcode`.

mod accept;
mod compress;
mod decompress;
mod edge;
pub mod graphql;
mod render;
mod rest;
mod stream;

use std::sync::Arc;

use http::Response;

use crate::call::{Call, ClientBody, Failure, Head, Notes, Reply, ResponseBody};
use crate::policy::compression::Offer;
use crate::route::{Aggregate, Binding, Captures};
use crate::snapshot::Snapshot;
use crate::status::Status;

use accept::Framing;

/// A protocol that clients speak.
pub trait Frontend: Sync {
    /// Whether this protocol is the one of a request, judged by its head.
    fn claims(&self, head: &Head) -> bool;

    /// Opens a call: routes the request and decides what metadata and deadline go with it.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the head; the body has not been touched.
    fn open(&self, exchange: &mut Exchange, body: ClientBody) -> Result<Opened, Status>;

    /// Tells the outcome of a call, or of the attempt to open one.
    fn respond(&self, exchange: &mut Exchange, outcome: Result<Reply, Failure>) -> Response<ResponseBody>;
}

/// What a request asks for.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub enum Opened {
    Call(Call),
    /// Several calls, by the document at its path.
    Aggregate(Box<Aggregated>),
}

/// A request for what several calls answer together.
pub struct Aggregated {
    pub aggregate: Arc<Aggregate>,
    pub captures: Captures,
    /// As it was before any coding.
    pub body: ClientBody,
}

/// Every protocol, the most particular first: the first that claims a request serves it.
static FRONTENDS: [&dyn Frontend; 1] = [&rest::Rest];

/// Room 2: the frontend that serves a request.
pub fn classify(head: &Head) -> &'static dyn Frontend {
    FRONTENDS
        .into_iter()
        .find(|frontend| frontend.claims(head))
        .expect("REST, the last of the table, claims every request")
}

/// Room 8: the response of a frontend, compressed where its surface offers that and it gains by it.
pub fn respond(
    frontend: &dyn Frontend,
    exchange: &mut Exchange,
    outcome: Result<Reply, Failure>,
) -> Response<ResponseBody> {
    let response = frontend.respond(exchange, outcome);
    offered(exchange, response)
}

/// A response, compressed where its surface offers that and it gains by it.
pub fn offered(exchange: &Exchange, mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    compress::compress(exchange.compression, &mut response);
    response
}

/// What room 8 must still know when the call has come back.
pub struct Exchange {
    pub snapshot: Arc<Snapshot>,
    pub head: Arc<Head>,
    /// The listener by which the request came: its place among the public ones.
    pub listener: usize,
    pub notes: Arc<Notes>,
    /// The name of the surface, once it is found.
    pub surface: Option<Arc<str>>,
    /// Whether the client may say which trace its call belongs to.
    pub trusts_traceparent: bool,
    /// The route, once it is found.
    pub binding: Option<Arc<Binding>>,
    /// Or what stands there in the place of a method.
    pub aggregate: Option<Arc<Aggregate>>,
    /// The client said `TE: trailers`.
    pub wants_trailers: bool,
    /// Chosen when a streaming call is opened.
    pub framing: Framing,
    /// What the surface offers, once it is known.
    pub compression: Offer,
    /// Headers that could not cross, in either direction.
    pub dropped_headers: usize,
}

impl Exchange {
    pub fn new(snapshot: Arc<Snapshot>, head: Arc<Head>, listener: usize) -> Self {
        let te = head.headers.get(http::header::TE).and_then(|value| value.to_str().ok());
        let wants_trailers =
            te.is_some_and(|te| te.split(',').any(|token| token.trim().eq_ignore_ascii_case("trailers")));
        Self {
            snapshot,
            head,
            listener,
            notes: Arc::default(),
            surface: None,
            trusts_traceparent: true,
            binding: None,
            aggregate: None,
            wants_trailers,
            framing: Framing::Ndjson,
            compression: Offer::default(),
            dropped_headers: 0,
        }
    }
}
