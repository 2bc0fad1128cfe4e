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
