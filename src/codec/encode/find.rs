//! One field of a reply as bytes, without its plan: what `google.api.HttpBody` is taken apart with.

use std::borrow::Cow;

use crate::codec::wire::{Reader, WireError};
use crate::schema::plan::wire::LEN;
use crate::status::{Code, Status};

/// The last string or bytes value of the field `number`.
///
/// # Errors
///
/// `INTERNAL`, the backend's fault: the bytes are not a message.
pub fn find_bytes(wire: &[u8], number: u32) -> Result<Option<&[u8]>, Status> {
    let mut last = None;
    each(wire, number, |part| last = Some(part)).map_err(status)?;
    Ok(last)
}

/// The message in the field `number`, its parts joined if it came in several.
///
/// # Errors
///
/// As [`find_bytes`].
pub fn find_message(wire: &[u8], number: u32) -> Result<Option<Cow<'_, [u8]>>, Status> {
    let mut whole: Option<Cow<'_, [u8]>> = None;
    each(wire, number, |part| match &mut whole {
        None => whole = Some(Cow::Borrowed(part)),
        Some(whole) => whole.to_mut().extend_from_slice(part),
    })
    .map_err(status)?;
    Ok(whole)
}

fn each<'w>(wire: &'w [u8], number: u32, mut take: impl FnMut(&'w [u8])) -> Result<(), WireError> {
    let mut reader = Reader::new(wire);
    while !reader.is_empty() {
        let (found, wire_type) = reader.tag()?;
        if found == number && wire_type == LEN {
            take(reader.bytes()?);
        } else {
            reader.skip(found, wire_type)?;
        }
    }
    Ok(())
}

fn status(error: WireError) -> Status {
    Status::backend(Code::Internal, format!("the backend's message cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_found() {
        #[track_caller]
        fn check(wire: &[u8], expected: Option<&[u8]>) {
            assert_eq!(find_bytes(wire, 1), Ok(expected), "{wire:x?}");
        }
        check(b"", None);
        check(b"\x12\x01b", None);
        check(b"\x0a\x00", Some(b""));
        check(b"\x12\x01b\x0a\x01a", Some(b"a"));
        check(b"\x0a\x01a\x0a\x01c", Some(b"c"));
        // The same number with another wire type is another field.
        check(b"\x0a\x01a\x08\x05", Some(b"a"));
    }

    #[test]
    fn the_parts_of_a_message_are_joined() {
        #[track_caller]
        fn check(wire: &[u8], expected: Option<&[u8]>) {
            assert_eq!(
                find_message(wire, 1).map(|found| found.map(Cow::into_owned)),
                Ok(expected.map(Vec::from))
            );
        }
        check(b"", None);
        check(b"\x0a\x02\x08\x01", Some(b"\x08\x01"));
        check(b"\x0a\x02\x08\x01\x12\x00\x0a\x02\x10\x02", Some(b"\x08\x01\x10\x02"));
    }

    #[test]
    fn what_is_no_message_is_the_backends_fault() {
        let expected = status(WireError::Truncated);
        assert_eq!(find_bytes(b"\x0a\x05abc", 1), Err(expected.clone()));
        assert_eq!(find_message(b"\x12\x05abc", 1), Err(expected.clone()));
        assert_eq!(
            &*expected.message,
            "the backend's message cannot be read: the message ends in the middle of a value"
        );
    }
}
