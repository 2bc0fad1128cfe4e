//! HTTP caching as a shared cache does it: what may be stored, how long it is fresh, when stale will do.
//!
//! ```text
//! reply ─ storable? ─▶ Freshness ─ age, request ─▶ Verdict: Fresh, Tolerated, Revalidating, Stale, Unwanted
//! ```
//!
//! RFC 9111 (storing and freshness), RFC 5861 (stale replies), RFC 9110, section 13 (conditional requests). Nothing
//! is guessed: a reply that does not say how long it lives, where no rule says it either, is not stored. The surprise:
//! gRPC knows no 304, so that a reply which must be asked about before each use (`no-cache`) is not stored at all.

mod control;
mod freshness;
mod validators;

pub use control::{ReplyControl, RequestControl};
pub use freshness::{Asked, Freshness, Received, Terms, Verdict, storable};
pub use validators::unmodified;

#[cfg(test)]
mod tests;
