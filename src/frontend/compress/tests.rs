//! What is compressed can be read again by the decoders of others, whole and piece by piece.

use std::io::Read;

use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};

use super::*;
use crate::policy::compression::Compression;

/// Undoes a coding as far as its bytes go.
fn decoded(coding: Coding, data: &[u8]) -> Vec<u8> {
    use compression_codecs::{BrotliDecoder, DecodeV2, GzipDecoder, ZstdDecoder};
    let mut decoder: Box<dyn DecodeV2> = match coding {
        Coding::Gzip => Box::new(GzipDecoder::new()),
        Coding::Brotli => Box::new(BrotliDecoder::new()),
        Coding::Zstd => Box::new(ZstdDecoder::new()),
    };
    let mut buffer = vec![0; 1 << 20];
    let mut out = WriteBuffer::new_initialized(&mut buffer);
    let mut data = PartialBuffer::new(data);
    while !data.unwritten().is_empty() {
        decoder.decode(&mut data, &mut out).expect("a well-formed coding");
    }
    decoder.flush(&mut out).expect("a well-formed coding");
    out.written().to_vec()
}

/// JSON as replies have it, neither all alike nor all different.
fn json(bytes: usize) -> Vec<u8> {
    let mut text = String::from("[");
    let mut state = 1_u64;
    while text.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{{\"name\":\"shelves/{}\",\"title\":\"{:x}\"}},", state % 50, state >> 33));
    }
    text.truncate(bytes);
    text.into_bytes()
}

fn each(mut check: impl FnMut(Coding, Effort)) {
    for coding in Coding::ALL {
        for effort in [Effort::Fast, Effort::Small] {
            check(coding, effort);
        }
    }
}

#[test]
fn whole_bodies_come_back() {
    each(|coding, effort| {
        for bytes in [0, 1, 100, 1024, 70_000, 900_000] {
            let data = json(bytes);
            let coded = Encoder::new(coding, effort).whole(&data).expect("compressed");
            assert_eq!(decoded(coding, &coded), data, "{coding:?} {effort:?} {bytes}");
            assert!(
                bytes < 1024 || coded.len() < bytes / 2,
                "{coding:?} {effort:?} {bytes}: {}",
                coded.len()
            );
        }
        let noise: Vec<_> =
            (0..100_000_u32).map(|index| index.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let coded = Encoder::new(coding, effort).whole(&noise).expect("compressed");
        assert_eq!(decoded(coding, &coded), noise, "{coding:?} {effort:?}");
    });
    let coded = Encoder::new(Coding::Gzip, Effort::Fast).whole(b"abc").expect("compressed");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&coded[..]).read_to_string(&mut text).expect("the gzip of others");
    assert_eq!(text, "abc");
}

#[test]
fn each_piece_of_a_stream_can_be_read_at_once() {
    each(|coding, effort| {
        let mut encoder = Encoder::new(coding, effort);
        let (mut plain, mut coded) = (Vec::new(), Vec::new());
        for bytes in [10, 1, 5000, 0, 300, 100_000, 7] {
            plain.extend_from_slice(&json(bytes));
            coded.extend_from_slice(&encoder.piece(&json(bytes)).expect("compressed"));
            assert_eq!(decoded(coding, &coded).len(), plain.len(), "{coding:?} {effort:?} {bytes}");
        }
        coded.extend_from_slice(&encoder.end().expect("compressed"));
        assert_eq!(decoded(coding, &coded), plain, "{coding:?} {effort:?}");
    });
}

/// A body of given frames.
struct Frames(Vec<Result<Frame<Bytes>, Status>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frames = &mut self.0;
        Poll::Ready((!frames.is_empty()).then(|| frames.remove(0)))
    }
}

fn streamed(frames: Vec<Result<Frame<Bytes>, Status>>) -> (Vec<u8>, Option<HeaderMap>, Option<Status>) {
    let rules = Compression { streams: true, ..Compression::default() };
    let request = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("br"))]);
    let mut response = Response::new(ResponseBody::Stream(Box::pin(Frames(frames))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    compress(rules.offer(&request), &mut response);
    assert_eq!(response.headers()[CONTENT_ENCODING], "br");
    let mut body = std::pin::pin!(response.into_body());
    let (mut data, mut trailers) = (Vec::new(), None);
    loop {
        match body.as_mut().poll_frame(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Pending => panic!("the frames are there"),
            Poll::Ready(None) => return (decoded(Coding::Brotli, &data), trailers, None),
            Poll::Ready(Some(Err(status))) => {
                return (decoded(Coding::Brotli, &data), trailers, Some(status));
            }
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(bytes) => data.extend_from_slice(&bytes),
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
        }
    }
}

#[test]
fn streams_keep_their_trailers_and_their_failures() {
    let data = |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
    let trailers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("x"))]);
    assert_eq!(streamed(vec![data("a\n"), data("b\n")]), (b"a\nb\n".to_vec(), None, None));
    assert_eq!(streamed(vec![]), (b"".to_vec(), None, None));
    let with_trailers = vec![data("a\n"), Ok(Frame::trailers(trailers.clone()))];
    assert_eq!(streamed(with_trailers), (b"a\n".to_vec(), Some(trailers), None));
    let status = Status::gateway(Code::Internal, "broken");
    assert_eq!(streamed(vec![data("a\n"), Err(status.clone())]), (b"a\n".to_vec(), None, Some(status)));
}
