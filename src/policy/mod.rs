//! What is decided about a call, as small pure machines: `now`, headers and numbers go in, verdicts come out.
//!
//! May import `status` only, beside std and the `http` vocabulary.

pub mod backoff;
pub mod deadline;
pub mod metadata;
pub mod request_id;
pub mod secret;
