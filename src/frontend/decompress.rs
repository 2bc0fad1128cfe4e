//! Request bodies in a content coding, decoded piece by piece as they are read.
//!
//! ```text
//! body → piece of input → decoder → at most 16 KiB of output at a time → whoever reads the body
//! ```
//!
//! A few bytes can stand for many, so two bounds hold on what comes out: that of the body, as for any
//! other, and so many times what has come in. No more than a piece is ever in memory, whatever a
//! body claims to be; windows that no HTTP body needs are refused (RFC 9659: 8 MiB).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::DParameter;
use compression_codecs::{BrotliDecoder, DecodeV2, GzipDecoder, ZstdDecoder};
use http::HeaderMap;
use http::header::ACCEPT_ENCODING;
use http_body::{Body, Frame};

use super::Exchange;
use crate::call::{BoundedBody, ClientBody};
use crate::policy::coding::{self, Coding, Received};
use crate::status::{Code, Status};

/// The body of a request as it was before any coding.
///
/// # Errors
///
/// 415 for what cannot be undone, with what can (RFC 9110, section 15.5.16).
pub(super) fn decoded(
    exchange: &Exchange,
    request: &HeaderMap,
    body: ClientBody,
) -> Result<ClientBody, Status> {
    match Received::of(request) {
        Received::In(coding) if !body.is_empty() => {
            let ratio_max = exchange.snapshot.bounds.decompression_ratio_max;
            let bounds = DecodedBounds { bytes_max: body.bytes_max(), ratio_max };
            Ok(ClientBody::new(DecodedBody::new(body, coding, bounds)))
        }
        Received::Plain | Received::In(_) => Ok(body),
        Received::Unsupported => {
            exchange.notes.reply_header(ACCEPT_ENCODING, coding::ACCEPTED.clone());
            Err(Status::client(Code::InvalidArgument, "the body's content coding is not supported")
                .with_http(415)
                .with_reason("UNSUPPORTED_CONTENT_ENCODING"))
        }
    }
}

/// The body behind a content coding.
struct DecodedBody {
    body: ClientBody,
    bounds: DecodedBounds,
    decoder: Box<dyn DecodeV2 + Send>,
    coding: Coding,
    /// What has come and is not decoded yet.
    input: Bytes,
    /// Where a piece is made.
    output: Box<[u8]>,
    state: State,
    bytes_in: u64,
    bytes_out: u64,
}

/// How much may come out of a coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DecodedBounds {
    bytes_max: u64,
    /// Output bytes for each byte of input, once [`RATIO_FREE_BYTES`] are out.
    ratio_max: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between two members, or before the first; the coding may end here, if it has begun.
    Between {
        has_begun: bool,
    },
    Inside,
    Ended,
}

/// So much is harmless, whatever it was decoded from: short bodies of blanks or zeros are no attack.
const RATIO_FREE_BYTES: u64 = 64 << 10;

/// Output that is made at once.
const PIECE_BYTES: usize = 16 << 10;

/// RFC 9659, section 3: no more is needed, and nobody must provide more.
const ZSTD_WINDOW_BITS: u32 = 23;

impl DecodedBody {
    fn new(body: ClientBody, coding: Coding, bounds: DecodedBounds) -> Self {
        let decoder: Box<dyn DecodeV2 + Send> = match coding {
            Coding::Gzip => Box::new(GzipDecoder::new()),
            Coding::Brotli => Box::new(BrotliDecoder::new()),
            Coding::Zstd => {
                Box::new(ZstdDecoder::new_with_params(&[DParameter::window_log_max(ZSTD_WINDOW_BITS)]))
            }
        };
        let state = State::Between { has_begun: false };
        let output = vec![0; PIECE_BYTES].into();
        Self { body, bounds, decoder, coding, input: Bytes::new(), output, state, bytes_in: 0, bytes_out: 0 }
    }

    /// Decodes what is at hand; an empty piece means that more is needed.
    fn decode(&mut self) -> Result<Bytes, Status> {
        let mut written = 0;
        while written < PIECE_BYTES {
            if let State::Between { has_begun } = self.state {
                if self.input.is_empty() {
                    break;
                }
                if has_begun {
                    self.next_member()?;
                }
                self.state = State::Inside;
            }
            let before = (self.input.len(), written);
            let is_end = self.step(&mut written).map_err(|_| malformed("the request body is malformed"))?;
            if is_end {
                self.state = State::Between { has_begun: true };
            } else if before == (self.input.len(), written) {
                break;
            }
        }
        if written == 0 && !self.input.is_empty() {
            return Err(malformed("the request body is malformed"));
        }
        self.bytes_out += written as u64;
        self.check_bounds()?;
        Ok(Bytes::copy_from_slice(&self.output[..written]))
    }

    /// One step of the decoder; says whether a member has ended.
    fn step(&mut self, written: &mut usize) -> io::Result<bool> {
        let mut out = WriteBuffer::new_initialized(&mut self.output[*written..]);
        // Where nothing comes in, something may still have to come out; gzip asks for that by another name.
        let is_end = if self.input.is_empty() && self.coding == Coding::Gzip {
            self.decoder.flush(&mut out).map(|_| false)?
        } else {
            let mut input = PartialBuffer::new(&self.input[..]);
            let is_end = self.decoder.decode(&mut input, &mut out)?;
            let consumed = input.written_len();
            self.input.advance(consumed);
            is_end
        };
        *written += out.written_len();
        Ok(is_end)
    }

    /// RFC 1952, section 2.2, and RFC 8878, section 3: members follow each other, and stand for their content
    /// joined. Brotli has no such thing.
    fn next_member(&mut self) -> Result<(), Status> {
        if self.coding == Coding::Brotli {
            return Err(malformed("the request body goes on behind the end of its coding"));
        }
        self.decoder.reinit().map_err(|_| malformed("the request body is malformed"))
    }

    fn check_bounds(&self) -> Result<(), Status> {
        let too_large = |message: String| Status::client(Code::ResourceExhausted, message).with_http(413);
        let DecodedBounds { bytes_max, ratio_max } = self.bounds;
        if self.bytes_out > bytes_max {
            let message = format!("the request body has more than {bytes_max} bytes when decoded");
            return Err(too_large(message).with_reason("BODY_TOO_LARGE"));
        }
        if self.bytes_out > RATIO_FREE_BYTES && self.bytes_out > self.bytes_in.saturating_mul(ratio_max) {
            let message = format!("the request body is more than {ratio_max} times as large when decoded");
            return Err(too_large(message).with_reason("DECOMPRESSION_RATIO"));
        }
        Ok(())
    }
}

fn malformed(message: &'static str) -> Status {
    Status::client(Code::InvalidArgument, message).with_reason("BAD_CONTENT_ENCODING")
}

impl Body for DecodedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        while this.state != State::Ended {
            match this.decode() {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Err(status) => {
                    this.state = State::Ended;
                    return Poll::Ready(Some(Err(status)));
                }
            }
            let outcome = match ready!(this.body.poll_data(cx)) {
                Ok(Some(data)) => {
                    this.bytes_in += data.len() as u64;
                    this.input = data;
                    continue;
                }
                Ok(None) if this.state == (State::Between { has_begun: true }) => None,
                Ok(None) => Some(Err(malformed("the request body ends before its coding does"))),
                Err(status) => Some(Err(status)),
            };
            this.state = State::Ended;
            return Poll::Ready(outcome);
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Ended
    }
}

impl BoundedBody for DecodedBody {
    fn lift_bounds(self: Pin<&mut Self>) {
        let this = self.get_mut();
        this.bounds.bytes_max = u64::MAX;
        this.body.lift_bounds();
    }

    fn bytes_max(&self) -> u64 {
        self.bounds.bytes_max
    }
}

#[cfg(test)]
mod tests;
