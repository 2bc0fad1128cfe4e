//! Room 5: the stages between a frontend and the transcoder, as tower layers.
//!
//! [`Stages`] is the table: reading order is running order, one name and one file a stage. A stage judges a
//! call by its head; it never reads the body and never sees the client's protocol. What a stage holds
//! for the length of a call, it holds until the last message of a streamed reply.

pub mod auth;
mod in_flight;
pub mod judge;

use tower::Service;

use crate::call::{Call, Failure, Reply};

use in_flight::InFlight;

pub use in_flight::Calls;

/// The stages around the innermost service, outermost first.
pub type Stages<S> = InFlight<S>;

/// Puts the stages around `inner`; `calls` is what all workers count together.
pub fn stack<S>(inner: S, calls: &Calls) -> Stages<S> {
    InFlight::new(inner, calls.clone())
}

/// A service that answers calls.
pub trait Stage: Service<Call, Response = Reply, Error = Failure> {}

impl<S: Service<Call, Response = Reply, Error = Failure>> Stage for S {}
