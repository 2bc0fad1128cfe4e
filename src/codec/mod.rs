//! The direct JSON ↔ wire transcoder: bytes in, bytes out, no message tree.
//!
//! May import `schema` and `status`.

pub mod options;
pub mod records;
