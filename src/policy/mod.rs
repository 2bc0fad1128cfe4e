//! What is decided about a call, as small pure machines: `now`, headers and numbers go in, verdicts come out.
//!
//! May import `status` and the base64 of `codec`, beside std, the `http` vocabulary and
//! crates of plain data.

pub mod api_key;
pub mod backoff;
pub mod balance;
pub mod breaker;
pub mod bucket;
pub mod caching;
pub mod certificate;
pub mod claims;
pub mod client_address;
pub mod coding;
pub mod compression;
pub mod concurrency;
pub mod condition;
pub mod cookie;
pub mod cors;
pub mod deadline;
pub mod deprecation;
pub mod formats;
pub mod geo;
pub mod glob;
pub mod header_rules;
pub mod health;
pub(crate) mod hex;
pub mod host;
pub mod identity;
pub mod lease;
pub mod limit;
pub mod limit_header;
pub mod metadata;
pub mod mirror;
pub mod nearest;
pub mod networks;
pub mod outlier;
pub mod pace;
pub mod pattern;
pub mod pem;
pub mod protection;
pub mod quota;
pub mod request_id;
pub mod retry;
pub mod rollout;
pub mod sampling;
pub mod secret;
pub mod strip;
pub mod striped;
pub mod trace_context;
pub mod trail;
pub mod vary;
pub mod verdict;
pub mod web_address;
pub mod window;
