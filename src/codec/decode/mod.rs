//! JSON → wire: one walk over the text, led by the plan, that appends protobuf bytes as it goes.
//!
//! ```text
//! text → scan (tokens) → object (members, lists, maps) → value (leaves) ⎫
//!                                      ↑ well_known, any, dynamic       ⎬→ wire bytes
//! capture, query parameter → text ────────────────────────────────────── ⎭
//! ```
//!
//! The surprise: nothing is collected. A nested message's length is patched in when it closes
//! (`wire::begin_len`), a field left out of the output is truncated away, and what must be known of
//! the whole (names seen, oneofs set, map keys) is a bit set or a list of offsets. After an error
//! `out` holds a part of the message.

mod any;
mod dynamic;
mod error;
mod leaf_paths;
mod map;
mod number;
mod object;
mod required;
mod scan;
mod string;
mod text;
mod value;
mod well_known;

#[cfg(test)]
mod tests;

pub use leaf_paths::leaf_paths;
pub use required::check_required;
pub use text::{TextError, text_to_wire};

use super::options::JsonOptions;
use crate::schema::Schema;
use crate::schema::plan::{FieldPlan, MessageId};
use crate::status::Status;
use scan::Scanner;

/// Appends the message of type `message` that `json` describes.
///
/// # Errors
///
/// `INVALID_ARGUMENT` naming the JSON path, and the line and column where the text is not JSON.
pub fn json_to_wire(
    schema: &Schema,
    message: MessageId,
    options: &JsonOptions,
    json: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Status> {
    decode(schema, options, json, out, |decoder| decoder.message(schema.message(message)))
}

/// Appends the value that `json` describes as `field` of its parent, tag included.
///
/// `null` is an absent field and appends nothing (but for the types that have a value for it).
///
/// # Errors
///
/// As for [`json_to_wire`]; paths begin with the field's JSON name.
pub fn field_to_wire(
    schema: &Schema,
    field: &FieldPlan,
    options: &JsonOptions,
    json: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Status> {
    decode(schema, options, json, out, |decoder| {
        decoder.field(field).map(drop).map_err(|failure| failure.in_field(field))
    })
}

fn decode<'a>(
    schema: &'a Schema,
    options: &'a JsonOptions,
    json: &'a [u8],
    out: &'a mut Vec<u8>,
    read: impl FnOnce(&mut Decoder<'a>) -> error::Result<()>,
) -> Result<(), Status> {
    // The wire is nearly always shorter than the text.
    out.reserve(json.len());
    Scanner::new(json, options.depth_max)
        .and_then(|scan| {
            let mut decoder = Decoder { schema, options, scan, out, look_ahead: any::look_ahead_max(json) };
            read(&mut decoder)?;
            decoder.scan.end()
        })
        .map_err(|failure| failure.into_status(json))
}

/// One text on its way to the wire.
struct Decoder<'a> {
    schema: &'a Schema,
    options: &'a JsonOptions,
    scan: Scanner<'a>,
    out: &'a mut Vec<u8>,
    /// How many more bytes may be read twice in search of an `@type`.
    look_ahead: usize,
}
