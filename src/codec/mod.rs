//! The direct JSON ↔ wire transcoder: bytes in, bytes out, no message tree.
//!
//! May import `schema` and `status`.

pub mod base64;
pub mod mask;
pub mod options;
pub mod records;
pub mod time;
pub mod wire;
