//! Length-prefixed messages: the five bytes before each gRPC message, put and read.
//!
//! ```text
//! Length-Prefixed-Message → Compressed-Flag (1 byte, 0 or 1)  Message-Length (4 bytes, big endian)  Message
//! ```
//!
//! A message that came in one DATA frame is a slice of it; only one cut in pieces is copied. The buffer
//! for such a one grows with what arrives, never with the length that the backend claims.

use bytes::{Buf, Bytes, BytesMut};

use super::status::protocol_error;
use crate::status::{Code, Status};

/// Bytes before each message.
const PREFIX_BYTES: usize = 5;

/// Appends one frame to `out`: the prefix, and what `message` writes after it.
///
/// # Errors
///
/// What `message` returns.
pub fn put_frame<E>(out: &mut Vec<u8>, message: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    message(out)?;
    // A message over 4 GiB is refused by the bound of the upstream, long before its length wraps.
    let length = u32::try_from(out.len() - start - PREFIX_BYTES).unwrap_or(u32::MAX);
    out[start + 1..start + PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Refuses a framed message over `bytes_max`.
pub(super) fn check_bound(frame: &[u8], bytes_max: usize) -> Result<(), Status> {
    let message_bytes = frame.len().saturating_sub(PREFIX_BYTES);
    if message_bytes <= bytes_max {
        return Ok(());
    }
    Err(Status::client(
        Code::ResourceExhausted,
        format!("the request message has {message_bytes} bytes, more than the {bytes_max} allowed"),
    )
    .with_reason("MESSAGE_TOO_LARGE"))
}

/// Cuts DATA into messages.
#[derive(Debug)]
pub(super) struct Frames {
    bytes_max: usize,
    /// The latest DATA, or what is left of it.
    chunk: Bytes,
    /// The beginning of a frame (prefix included) whose end has not come.
    partial: BytesMut,
}

impl Frames {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, chunk: Bytes::new(), partial: BytesMut::new() }
    }

    /// Adds received bytes; only once [`next`](Self::next) has returned `None`.
    pub(super) fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "chunks are pulled one at a time");
        self.chunk = chunk;
    }

    /// Whether the bytes ended within a frame.
    pub(super) fn is_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// The next whole message; `None` when more bytes are needed.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Status> {
        if self.partial.is_empty() {
            let Some(length) = message_length(&self.chunk, self.bytes_max)? else {
                self.partial.extend_from_slice(&self.chunk);
                self.chunk.clear();
                return Ok(None);
            };
            let frame_bytes = PREFIX_BYTES + length;
            if self.chunk.len() >= frame_bytes {
                let mut frame = self.chunk.split_to(frame_bytes);
                frame.advance(PREFIX_BYTES);
                return Ok(Some(frame));
            }
        } else {
            let missing = PREFIX_BYTES.saturating_sub(self.partial.len());
            self.take(missing);
        }
        let Some(length) = message_length(
            if self.partial.is_empty() { &self.chunk } else { &self.partial },
            self.bytes_max,
        )?
        else {
            return Ok(None);
        };
        self.take(PREFIX_BYTES + length - self.partial.len());
        if self.partial.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        let mut frame = self.partial.split().freeze();
        frame.advance(PREFIX_BYTES);
        Ok(Some(frame))
    }

    /// Moves up to `count` bytes from the chunk to the partial frame.
    fn take(&mut self, count: usize) {
        let taken = self.chunk.split_to(count.min(self.chunk.len()));
        self.partial.extend_from_slice(&taken);
    }
}

/// The length in the prefix at the start of `bytes`; `None` when it is not there whole.
fn message_length(bytes: &[u8], bytes_max: usize) -> Result<Option<usize>, Status> {
    let Some((&[flag, a, b, c, d], _)) = bytes.split_first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    if flag != 0 {
        // No `grpc-accept-encoding` was sent, so a compressed message breaks the protocol.
        let what = "the backend sent a compressed message, though no encoding was offered";
        return Err(protocol_error(what));
    }
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length > bytes_max {
        let what = format!("the backend's message has {length} bytes, more than the {bytes_max} allowed");
        return Err(Status::backend(Code::ResourceExhausted, what).with_reason("MESSAGE_TOO_LARGE"));
    }
    Ok(Some(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(messages: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for message in messages {
            put_frame(&mut out, |out| {
                out.extend_from_slice(message);
                Ok::<_, ()>(())
            })
            .expect("no failure");
        }
        out
    }

    #[test]
    fn any_cut_gives_the_same_messages() {
        let messages: [&[u8]; 5] = [b"", b"a", b"bc", b"", b"0123456789"];
        let wire = framed(&messages);
        for chunk_bytes in 1..=wire.len() {
            let mut frames = Frames::new(10);
            let mut seen = Vec::new();
            for chunk in wire.chunks(chunk_bytes) {
                frames.push(Bytes::copy_from_slice(chunk));
                while let Some(message) = frames.next().expect("well-formed") {
                    seen.push(message);
                }
            }
            assert_eq!(seen, messages, "chunks of {chunk_bytes}");
            assert!(!frames.is_partial());
        }
    }

    #[test]
    fn refusals() {
        #[track_caller]
        fn check(wire: &[u8], code: Code) {
            for cut in 0..=wire.len() {
                let mut frames = Frames::new(4);
                let (head, tail) = wire.split_at(cut);
                frames.push(Bytes::copy_from_slice(head));
                let result = frames.next().and_then(|message| {
                    assert_eq!(message, None);
                    frames.push(Bytes::copy_from_slice(tail));
                    frames.next()
                });
                assert_eq!(result.expect_err("refused").code, code, "cut at {cut}");
            }
        }
        check(&[1, 0, 0, 0, 0], Code::Internal);
        check(&[0, 0, 0, 0, 5], Code::ResourceExhausted);
        check(&[0, 0xff, 0xff, 0xff, 0xff], Code::ResourceExhausted);
    }

    #[test]
    fn the_bound_itself_passes() {
        let mut frames = Frames::new(4);
        frames.push(Bytes::copy_from_slice(&framed(&[b"1234"])));
        assert_eq!(frames.next().expect("in bound"), Some(Bytes::from_static(b"1234")));
        assert!(check_bound(&framed(&[b"1234"]), 4).is_ok());
        assert_eq!(check_bound(&framed(&[b"12345"]), 4).expect_err("over").code, Code::ResourceExhausted);
    }

    #[test]
    fn a_cut_frame_is_partial() {
        for count in 1..6 {
            let mut frames = Frames::new(4);
            frames.push(Bytes::copy_from_slice(&framed(&[b"1"])[..count]));
            assert_eq!(frames.next().expect("well-formed").is_none(), count < 6);
            assert!(frames.is_partial(), "{count}");
        }
    }
}
