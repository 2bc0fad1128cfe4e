//! The pieces of JSON that another writer needs: strings and numbers as the codec writes them.

use super::{number, text};

pub use number::{Float, Integer};

/// A string that is not UTF-8, which JSON has no way to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("string is not valid UTF-8")]
pub struct NotUtf8;

/// Writes `text` as a JSON string.
///
/// # Errors
///
/// It is not UTF-8; part of it may have been written.
#[inline(always)]
pub fn string(out: &mut Vec<u8>, text: &[u8]) -> Result<(), NotUtf8> {
    text::string(out, text).map_err(|_| NotUtf8)
}

/// Writes an integer as a JSON number.
#[inline]
pub fn integer(out: &mut Vec<u8>, value: impl Integer) {
    number::integer(out, value);
}

/// Writes an integer as a JSON string.
#[inline]
pub fn quoted_integer(out: &mut Vec<u8>, value: impl Integer) {
    number::quoted_integer(out, value);
}

/// Writes a floating-point number, as short as it can be; those that are not finite as the strings of ProtoJSON.
#[inline]
pub fn float(out: &mut Vec<u8>, value: impl Float) {
    number::float(out, value);
}

/// Appends the first `len` bytes of a block, whose constant size makes that a few instructions.
#[inline(always)]
pub fn put_block<const N: usize>(out: &mut Vec<u8>, block: &[u8; N], len: usize) {
    text::put_block(out, block, len);
}
