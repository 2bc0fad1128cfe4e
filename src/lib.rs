//! Transom puts gRPC services on the public web, from their descriptors.
//!
//! One request walks eight rooms in a straight line; the modules below stand in the order in which it
//! meets them:
//!
//! ```text
//! 1 server::accept → 2 frontend::classify → 3 Snapshot, RouteTree::find → 4 Frontend::open ⇒ Call
//! → 5 stages → 6 Transcoder (plans + codec ⇒ gRPC frames) → 7 Upstream ⇒ Reply
//! → 8 Frontend::respond ⇒ HTTP response
//! ```
//!
//! Rooms 1 to 3 refuse what is not well-formed. The body is read in room 6, after the stages have judged
//! the head, and never becomes a message tree: JSON is read once and written as wire bytes, and back.
//! Every failure anywhere is a [`status::Status`]; only room 8 renders it. ARCHITECTURE.md tells the rest,
//! and `tests/tidy.rs` holds who may import whom.

// Before a request: flags and files become a gateway.
pub mod cli;
pub mod config;
pub mod gateway;

// The shell around the rooms.
pub mod server;
pub mod source;
pub mod store;
pub mod telemetry;

// The rooms, as a request sees them.
pub mod frontend;
pub mod snapshot;

pub mod call;
pub mod stage;
pub mod transcode;
pub mod upstream;

// Pure: bytes in, bytes out.
pub mod codec;
pub mod graphql;
pub mod openapi;
pub mod policy;
pub mod route;
pub mod schema;
pub mod status;
pub mod validate;

/// A backend to try things with.
pub mod demo;
