//! Bodies in a coding, cut anyhow: what comes out, and what is refused.

use std::collections::VecDeque;
use std::io::Write;
use std::task::Waker;

use flate2::write::GzEncoder;

use super::*;

/// A body that comes in these pieces.
struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

impl BoundedBody for Pieces {
    fn lift_bounds(self: Pin<&mut Self>) {}

    fn bytes_max(&self) -> u64 {
        u64::MAX
    }
}

const WIDE: DecodedBounds = DecodedBounds { bytes_max: u64::MAX, ratio_max: u64::MAX };

/// Decodes a body that comes in pieces of so many bytes.
fn decode(coding: Coding, data: &[u8], size: usize, bounds: DecodedBounds) -> Result<Vec<u8>, Status> {
    let pieces = data.chunks(size).map(Bytes::copy_from_slice).collect();
    let mut body = std::pin::pin!(DecodedBody::new(ClientBody::new(Pieces(pieces)), coding, bounds));
    let mut whole = Vec::new();
    loop {
        match body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => panic!("the pieces are there"),
            Poll::Ready(None) => return Ok(whole),
            Poll::Ready(Some(Err(status))) => return Err(status),
            Poll::Ready(Some(Ok(frame))) => {
                let data = frame.into_data().expect("data");
                assert!(!data.is_empty() && data.len() <= PIECE_BYTES);
                whole.extend_from_slice(&data);
            }
        }
    }
}

fn encode(coding: Coding, data: &[u8]) -> Vec<u8> {
    use compression_codecs::brotli::params::EncoderParams;
    use compression_codecs::core::Level;
    use compression_codecs::{BrotliEncoder, EncodeV2, ZstdEncoder};
    let mut encoder: Box<dyn EncodeV2> = match coding {
        Coding::Gzip => return gzip(data),
        Coding::Brotli => Box::new(BrotliEncoder::new(EncoderParams::default().quality(Level::Precise(5)))),
        Coding::Zstd => Box::new(ZstdEncoder::new(3)),
    };
    let mut buffer = vec![0; data.len() + 1024];
    let mut out = WriteBuffer::new_initialized(&mut buffer);
    let mut data = PartialBuffer::new(data);
    while !data.unwritten().is_empty() {
        encoder.encode(&mut data, &mut out).expect("room enough");
    }
    while !encoder.finish(&mut out).expect("room enough") {}
    out.written().to_vec()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

/// Gzip with a comment, so that it has just so many bytes (RFC 1952, section 2.3.1).
fn gzip_of_size(data: &[u8], size: usize) -> Vec<u8> {
    let build = |comment: Vec<u8>| {
        let builder = flate2::GzBuilder::new().comment(comment);
        let mut encoder = builder.write(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).expect("memory");
        encoder.finish().expect("memory")
    };
    let bare = build(Vec::new()).len();
    let whole = build(vec![b'x'; size.checked_sub(bare).expect("a size beyond that of the bare body")]);
    assert_eq!(whole.len(), size);
    whole
}

fn texts() -> Vec<Vec<u8>> {
    let mixed: Vec<u8> =
        (0..200_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 27) as u8).collect();
    let sizes = [1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES, 200_000];
    let mut texts = vec![Vec::new(), b"{}".to_vec()];
    texts.extend(sizes.map(|size| vec![b'a'; size]));
    texts.extend(sizes.map(|size| mixed[..size].to_vec()));
    texts
}

#[test]
fn bodies_come_out_however_they_are_cut() {
    for coding in Coding::ALL {
        for text in texts() {
            let data = encode(coding, &text);
            for size in [1, 1000, usize::MAX] {
                let decoded = decode(coding, &data, size, WIDE);
                assert!(decoded.as_ref() == Ok(&text), "{coding:?} {} {size}: {decoded:.80?}", text.len());
            }
        }
    }
}

fn reason(outcome: Result<Vec<u8>, Status>) -> (u16, String) {
    let status = outcome.expect_err("a refusal");
    let info = status.details.iter().find(|detail| detail.type_url.ends_with("ErrorInfo")).expect("a reason");
    // ErrorInfo { string reason = 1 }: a tag, a length, the text.
    let length = usize::from(info.value[1]);
    (status.http_number(), String::from_utf8_lossy(&info.value[2..2 + length]).into_owned())
}

#[test]
fn bodies_that_end_early_are_refused() {
    for coding in Coding::ALL {
        for text in [&b""[..], b"{}", &[b'a'; 70_000]] {
            let data = encode(coding, text);
            for end in (0..data.len()).rev().take(40) {
                for size in [1, usize::MAX] {
                    let refused = reason(decode(coding, &data[..end], size, WIDE));
                    assert_eq!(refused, (400, "BAD_CONTENT_ENCODING".to_owned()), "{coding:?} {end} {size}");
                }
            }
        }
    }
}

#[test]
fn malformed_bodies_are_refused() {
    let check = |coding, data: &[u8]| {
        for size in [1, usize::MAX] {
            let refused = reason(decode(coding, data, size, WIDE));
            assert_eq!(refused, (400, "BAD_CONTENT_ENCODING".to_owned()), "{coding:?} {data:?}");
        }
    };
    for coding in [Coding::Gzip, Coding::Zstd] {
        check(coding, b"{\"name\":\"plain\"}");
        check(coding, &[encode(coding, b"{}"), b"x".to_vec()].concat());
    }
    check(Coding::Brotli, &[0xff; 20]);
    check(Coding::Brotli, &[encode(Coding::Brotli, b"{}"), b"x".to_vec()].concat());
    check(Coding::Gzip, &encode(Coding::Zstd, b"{}"));
    check(Coding::Zstd, &gzip(b"{}"));
    // The sum of the content is wrong, then its length.
    let whole = gzip(b"{}");
    for place in [whole.len() - 8, whole.len() - 1] {
        let mut wrong = whole.clone();
        wrong[place] ^= 1;
        check(Coding::Gzip, &wrong);
    }
}

#[test]
fn members_stand_for_their_content_joined() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        let data = [encode(coding, b"[1,"), encode(coding, b""), encode(coding, b"2]")].concat();
        for size in [1, 5, usize::MAX] {
            assert_eq!(decode(coding, &data, size, WIDE), Ok(b"[1,2]".to_vec()), "{coding:?} {size}");
        }
    }
}

#[test]
fn zstd_windows_beyond_8_mib_are_refused() {
    // RFC 8878, section 3.1.1: magic, a descriptor without content size, the window, an empty last block.
    let frame = |window: u8| [0x28, 0xb5, 0x2f, 0xfd, 0x00, window, 0x01, 0x00, 0x00];
    // The exponent is in the upper five bits, on top of 10: 13 is 8 MiB.
    assert_eq!(decode(Coding::Zstd, &frame(13 << 3), 1, WIDE), Ok(Vec::new()));
    assert_eq!(reason(decode(Coding::Zstd, &frame((13 << 3) + 1), 1, WIDE)).0, 400);
    assert_eq!(reason(decode(Coding::Zstd, &frame(21 << 3), 1, WIDE)).0, 400);
}

#[test]
fn what_comes_out_is_bounded() {
    for coding in Coding::ALL {
        for bytes in [10, 100_000] {
            let data = encode(coding, &vec![b'a'; bytes]);
            let at = |bytes_max| {
                decode(coding, &data, usize::MAX, DecodedBounds { bytes_max, ..WIDE })
                    .map(|whole| whole.len())
            };
            assert_eq!(at(bytes as u64), Ok(bytes), "{coding:?}");
            let refused = at(bytes as u64 - 1).map(|_| Vec::new());
            assert_eq!(reason(refused), (413, "BODY_TOO_LARGE".to_owned()), "{coding:?}");
        }
    }
}

#[test]
fn what_comes_out_is_bounded_by_what_went_in() {
    let bounds = DecodedBounds { ratio_max: 100, ..WIDE };
    let at = |bytes, size| decode(Coding::Gzip, &gzip_of_size(&vec![b'a'; bytes], size), usize::MAX, bounds);
    assert_eq!(at(100_000, 1000).map(|whole| whole.len()), Ok(100_000));
    assert_eq!(reason(at(100_001, 1000)), (413, "DECOMPRESSION_RATIO".to_owned()));
    assert_eq!(at(100_001, 1001).map(|whole| whole.len()), Ok(100_001));
    // What is short is harmless.
    let free = usize::try_from(RATIO_FREE_BYTES).expect("a small number");
    let bare = |bytes| decode(Coding::Gzip, &gzip(&vec![b'a'; bytes]), usize::MAX, bounds);
    assert_eq!(bare(free).map(|whole| whole.len()), Ok(free));
    assert_eq!(reason(bare(free + 1)), (413, "DECOMPRESSION_RATIO".to_owned()));
    // A bomb of a gigabyte stops after its first pieces.
    for coding in [Coding::Brotli, Coding::Zstd] {
        assert_eq!(
            reason(decode(coding, &encode(coding, &vec![0; 8 << 20]), 10, bounds)).0,
            413,
            "{coding:?}"
        );
    }
}
