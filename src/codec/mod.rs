//! The direct JSON ↔ wire transcoder: bytes in, bytes out, no message tree.
//!
//! May import `schema` and `status`.

pub mod base64;
mod decode;
mod encode;
mod mask;
pub mod options;
pub mod records;
pub mod selection;
pub(crate) mod time;
pub mod view;
pub mod wire;
mod wire_text;

pub use decode::{TextError, check_required, field_to_wire, json_to_wire, leaf_paths, text_to_wire};
pub use encode::{MapKey, field_to_json, json, selected_to_json, wire_to_json};
pub use wire_text::wire_to_text;
