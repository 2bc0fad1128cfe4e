//! Base64 as ProtoJSON has it: written in the standard alphabet with padding, read in either alphabet,
//! with or without padding.
//!
//! As in Google's own parsers, the two alphabets may be mixed and the unused bits of the last
//! character may be anything (the conformance suite's `Base64Url` case has them set).

/// The text is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not base64")]
pub struct Base64Error;

/// Appends `bytes` as text in the standard alphabet, padded.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    let symbol = |bits: u32| STANDARD[(bits & 63) as usize];
    let (triples, tail) = bytes.as_chunks::<3>();
    let mut quads = out[start..].as_chunks_mut::<4>().0.iter_mut();
    for (&[a, b, c], quad) in triples.iter().zip(&mut quads) {
        let bits = u32::from_be_bytes([0, a, b, c]);
        *quad = [symbol(bits >> 18), symbol(bits >> 12), symbol(bits >> 6), symbol(bits)];
    }
    if let Some(quad) = quads.next() {
        let bits =
            u32::from_be_bytes([0, tail.first().copied().unwrap_or(0), tail.get(1).copied().unwrap_or(0), 0]);
        quad[0] = symbol(bits >> 18);
        quad[1] = symbol(bits >> 12);
        if tail.len() == 2 {
            quad[2] = symbol(bits >> 6);
        }
    }
}

/// Appends the bytes that `text` stands for. After an error, `out` holds some of them.
pub fn decode(text: &[u8], out: &mut Vec<u8>) -> Result<(), Base64Error> {
    let text = unpadded(text)?;
    let quads = text.chunks_exact(4);
    let tail = quads.remainder();
    let start = out.len();
    out.resize(start + text.len() / 4 * 3, 0);
    let mut invalid = 0;
    for (quad, triple) in quads.zip(out[start..].chunks_exact_mut(3)) {
        let [a, b, c, d] = [value(quad[0]), value(quad[1]), value(quad[2]), value(quad[3])];
        invalid |= a | b | c | d;
        let bits = u32::from(a) << 18 | u32::from(b) << 12 | u32::from(c) << 6 | u32::from(d);
        triple.copy_from_slice(&bits.to_be_bytes()[1..]);
    }
    match *tail {
        [] => {}
        [a, b] => {
            let [a, b] = [value(a), value(b)];
            invalid |= a | b;
            out.push(a << 2 | b >> 4);
        }
        [a, b, c] => {
            let [a, b, c] = [value(a), value(b), value(c)];
            invalid |= a | b | c;
            out.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2]);
        }
        // One character alone holds six bits: no byte.
        _ => return Err(Base64Error),
    }
    if invalid & INVALID == 0 { Ok(()) } else { Err(Base64Error) }
}

/// Removes the padding, which must be complete if there is any.
fn unpadded(text: &[u8]) -> Result<&[u8], Base64Error> {
    match text {
        [.., b'='] if !text.len().is_multiple_of(4) => Err(Base64Error),
        [rest @ .., b'=', b'='] | [rest @ .., b'='] => Ok(rest),
        _ => Ok(text),
    }
}

fn value(symbol: u8) -> u8 {
    VALUES[usize::from(symbol)]
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Set in the value of what is no symbol.
const INVALID: u8 = 0x80;

const VALUES: [u8; 256] = {
    let mut values = [INVALID; 256];
    let mut index = 0;
    while index < 64 {
        values[STANDARD[index] as usize] = index as u8;
        index += 1;
    }
    values[b'-' as usize] = 62;
    values[b'_' as usize] = 63;
    values
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stand_for_bytes() {
        #[track_caller]
        fn check(text: &str, expected: Option<&[u8]>) {
            let mut out = b"kept".to_vec();
            let decoded = decode(text.as_bytes(), &mut out).is_ok().then(|| &out[4..]);
            assert_eq!(decoded, expected, "{text}");
        }
        check("", Some(b""));
        check("QQ==", Some(b"A"));
        check("QQ", Some(b"A"));
        check("QUI=", Some(b"AB"));
        check("QUI", Some(b"AB"));
        check("QUJD", Some(b"ABC"));
        check("QUJDRA", Some(b"ABCD"));
        check("+/+/", Some(b"\xfb\xff\xbf"));
        check("-_-_", Some(b"\xfb\xff\xbf"));
        check("-_", Some(b"\xfb"));
        check("Q", None);
        check("QUJDR", None);
        check("QQ=", None);
        check("QUJD=", None);
        check("QUJD==", None);
        check("Q===", None);
        check("====", None);
        check("Q=Q=", None);
        check("QUJ=RA==", None);
        check("QU JD", None);
        check("QUJ*", None);
        check("Q*", None);
        check("é===", None);
    }

    #[test]
    fn what_is_written_reads_back() {
        let bytes: Vec<u8> = (0..=255).rev().chain(0..=255).collect();
        for len in 0..bytes.len() {
            let (mut text, mut back) = (b"{".to_vec(), Vec::new());
            encode(&bytes[..len], &mut text);
            assert_eq!(text.len() % 4, 1);
            decode(&text[1..], &mut back).expect("what encode writes is base64");
            assert_eq!(back, bytes[..len]);
        }
        let mut text = Vec::new();
        encode(b"\xfb\xff\xbf\xfb", &mut text);
        assert_eq!(text, b"+/+/+w==");
    }
}
