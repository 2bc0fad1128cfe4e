//! Compressed bodies: a whole reply in one step, a stream with a flush behind each of its messages.
//!
//! The whole of a reply is at hand nearly always, so it is compressed before its head is sent, and has a
//! `Content-Length`. Levels are the lowest that still gain: more effort costs several times the work for a few
//! percent. Windows are bounded, because a stream holds its compressor for as long as it lasts.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::flate::params::FlateEncoderParams;
use compression_codecs::zstd::params::CParameter;
use compression_codecs::{BrotliEncoder, EncodeV2, GzipEncoder, ZstdEncoder};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame};

use crate::call::ResponseBody;
use crate::policy::coding::Coding;
use crate::policy::compression::{Effort, Extent, Offer};
use crate::status::{Code, Status};

/// Compresses a reply, if it is worth it and the client takes it.
pub(super) fn compress(offer: Offer, response: &mut Response<ResponseBody>) {
    if response.status() == StatusCode::NOT_MODIFIED {
        // RFC 9110, section 15.4.5: it says what the reply in its place would vary in.
        return offer.vary(response.headers_mut());
    }
    let (offer, extent) = match response.body() {
        // A reply to HEAD varies as that to GET does.
        ResponseBody::Empty => match content_length(response.headers()) {
            Some(bytes) => (offer.plain(), Extent::Bytes(bytes)),
            None => return,
        },
        ResponseBody::Full { data, .. } => (offer, Extent::Bytes(data.len() as u64)),
        ResponseBody::Stream(_) => (offer, Extent::Stream),
    };
    let status = response.status();
    let Some((coding, effort)) = offer.choose(status, response.headers_mut(), extent) else { return };
    let body = std::mem::replace(response.body_mut(), ResponseBody::Empty);
    *response.body_mut() = match body {
        ResponseBody::Empty => ResponseBody::Empty,
        ResponseBody::Full { data, trailers } => match Encoder::new(coding, effort).whole(&data) {
            Ok(data) => ResponseBody::Full { data, trailers },
            Err(_) => {
                // Out of memory, most likely; the plain reply is there already.
                response.headers_mut().remove(CONTENT_ENCODING);
                ResponseBody::Full { data, trailers }
            }
        },
        ResponseBody::Stream(body) => {
            let encoder = Encoder::new(coding, effort);
            ResponseBody::Stream(Box::pin(CompressedStream { body, encoder: Some(encoder), trailers: None }))
        }
    };
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A stream's frames, each compressed and flushed: what the backend has sent, the client can read.
struct CompressedStream {
    body: Pin<Box<dyn Body<Data = Bytes, Error = Status> + Send>>,
    /// Gone once the coding has its end.
    encoder: Option<Encoder>,
    /// They follow the end of the coding.
    trailers: Option<HeaderMap>,
}

impl Body for CompressedStream {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let Some(encoder) = &mut this.encoder else {
            return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        };
        let frame = match ready!(this.body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            // What broke off has no proper end in its coding either.
            Some(Err(status)) => return Poll::Ready(Some(Err(status))),
            None => Frame::trailers(HeaderMap::new()),
        };
        let data = match frame.into_data() {
            Ok(data) => encoder.piece(&data),
            Err(frame) => {
                this.trailers = frame.into_trailers().ok().filter(|trailers| !trailers.is_empty());
                let end = encoder.end();
                this.encoder = None;
                end
            }
        };
        Poll::Ready(Some(data.map(Frame::data).map_err(|_| failed())))
    }
}

fn failed() -> Status {
    Status::gateway(Code::Internal, "the reply cannot be compressed").with_reason("COMPRESSION_FAILED")
}

/// A compressor in the middle of its work.
struct Encoder(Box<dyn EncodeV2 + Send>);

/// 128 KiB: as far back as a compressor looks.
const WINDOW_BITS: u8 = 17;

impl Encoder {
    fn new(coding: Coding, effort: Effort) -> Self {
        let level = |fast: u8, small: u8| if effort == Effort::Fast { fast } else { small };
        Self(match coding {
            Coding::Gzip => {
                let level = flate2::Compression::new(level(1, 6).into());
                Box::new(GzipEncoder::new(FlateEncoderParams::from(level)))
            }
            Coding::Brotli => {
                let quality = Level::Precise(level(1, 4).into());
                let parameters = EncoderParams::default().quality(quality).window_size(WINDOW_BITS.into());
                Box::new(BrotliEncoder::new(parameters))
            }
            Coding::Zstd => {
                let window = CParameter::window_log(WINDOW_BITS.into());
                Box::new(ZstdEncoder::new_with_params(level(1, 6).into(), &[window]))
            }
        })
    }

    /// All of `data`, from beginning to end.
    fn whole(mut self, data: &[u8]) -> io::Result<Bytes> {
        let mut out = Output::new(data.len() / 3);
        self.take(data, &mut out)?;
        while !out.with_room(|room| self.0.finish(room))? {}
        Ok(out.into_bytes())
    }

    /// A part of a stream, ready to be read by itself.
    fn piece(&mut self, data: &[u8]) -> io::Result<Bytes> {
        let mut out = Output::new(data.len() / 3);
        self.take(data, &mut out)?;
        while !out.with_room(|room| self.0.flush(room))? {}
        Ok(out.into_bytes())
    }

    fn end(&mut self) -> io::Result<Bytes> {
        let mut out = Output::new(0);
        while !out.with_room(|room| self.0.finish(room))? {}
        Ok(out.into_bytes())
    }

    fn take(&mut self, data: &[u8], out: &mut Output) -> io::Result<()> {
        let mut data = PartialBuffer::new(data);
        while !data.unwritten().is_empty() {
            out.with_room(|room| self.0.encode(&mut data, room))?;
        }
        Ok(())
    }
}

/// Bytes as they are written, with room for more.
struct Output {
    bytes: Vec<u8>,
    written: usize,
}

/// No step of a compressor is offered less.
const ROOM_BYTES: usize = 512;

impl Output {
    fn new(expected: usize) -> Self {
        Self { bytes: vec![0; expected + ROOM_BYTES], written: 0 }
    }

    fn with_room<T>(&mut self, step: impl FnOnce(&mut WriteBuffer<'_>) -> T) -> T {
        if self.bytes.len() - self.written < ROOM_BYTES {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        let mut room = WriteBuffer::new_initialized(&mut self.bytes[self.written..]);
        let outcome = step(&mut room);
        self.written += room.written_len();
        outcome
    }

    fn into_bytes(mut self) -> Bytes {
        self.bytes.truncate(self.written);
        self.bytes.into()
    }
}

#[cfg(test)]
mod tests;
