//! JSON strings.
//!
//! Most are short and plain ASCII, which is neither to be checked as UTF-8 nor escaped: those are tested
//! and written in two halves of constant size that overlap in the middle, without a call or a loop.
//!
//! Escaped is what RFC 8259, section 7, demands, `"`, `\` and U+0000 to U+001F, and nothing else: since
//! ECMAScript 2019 even U+2028 and U+2029 may stand in a script's string, and `<` matters only where
//! JSON is pasted into HTML, which is the paster's to escape.

use super::error::{Fault, Result};

/// Writes `text` as a JSON string. All of it must be UTF-8: JSON has no way to carry anything else.
#[inline(always)]
pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) -> Result<()> {
    let written = match text.len() {
        16..=32 => put_halves(out, text, is_plain::<true, 16>),
        8..16 => put_halves(out, text, |half| special::<true>(u64::from_le_bytes(*half)) == 0),
        4..8 => put_halves(out, text, |half: &[u8; 4]| special::<true>(filled_up(half)) == 0),
        _ => false,
    };
    if written { Ok(()) } else { any_string(out, text) }
}

/// Appends the first `len` bytes of a block, whose constant size makes that a few instructions.
#[inline(always)]
pub(super) fn put_block<const N: usize>(out: &mut Vec<u8>, block: &[u8; N], len: usize) {
    let end = out.len() + len;
    out.extend_from_slice(block);
    out.truncate(end);
}

/// Writes a string of `N` to `2 * N` (at most 32) bytes, quotes included, if both halves are plain.
#[inline(never)]
fn put_halves<const N: usize>(out: &mut Vec<u8>, text: &[u8], is_plain: impl Fn(&[u8; N]) -> bool) -> bool {
    let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) else { return false };
    if !is_plain(first) || !is_plain(last) {
        return false;
    }
    let end = out.len() + text.len() + 2;
    out.extend_from_slice(&[b'"'; 34]);
    if let Some(place) = out.last_chunk_mut::<34>() {
        place[1..N + 1].copy_from_slice(first);
        place[text.len() + 1 - N..text.len() + 1].copy_from_slice(last);
        place[text.len() + 1] = b'"';
    }
    out.truncate(end);
    true
}

/// Writes a string of any length and content.
#[inline(never)]
fn any_string(out: &mut Vec<u8>, text: &[u8]) -> Result<()> {
    let plain = match text.last_chunk::<32>() {
        Some(last) => is_plain::<true, 32>(last) && text.as_chunks().0.iter().all(is_plain::<true, 32>),
        None => run::<true>(text) == text.len(),
    };
    if !plain {
        return escaped(out, text);
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
    Ok(())
}

/// Writes a string, quotes included, in which something is not plain.
#[inline(never)]
fn escaped(out: &mut Vec<u8>, text: &[u8]) -> Result<()> {
    out.push(b'"');
    let mut rest = text;
    // As long as it is ASCII, it is UTF-8.
    while let (plain, [byte @ ..0x80, after @ ..]) = rest.split_at(run::<true>(rest)) {
        out.extend_from_slice(plain);
        escape(out, *byte);
        rest = after;
    }
    let mut rest = std::str::from_utf8(rest).map_err(|_| Fault::Utf8)?.as_bytes();
    while let (plain, [byte, after @ ..]) = rest.split_at(run::<false>(rest)) {
        out.extend_from_slice(plain);
        escape(out, *byte);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
    Ok(())
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        control => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let digit = |nibble: u8| HEX[usize::from(nibble & 0xf)];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(control >> 4), digit(control)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Length of the prefix that goes to the output as it is. With `ASCII`, it ends at the first
/// byte beyond ASCII too, because from there on UTF-8 must be checked.
#[inline]
fn run<const ASCII: bool>(text: &[u8]) -> usize {
    let mut length = 0;
    // Blocks that a compiler can test with a few vector instructions, then words.
    for block in text.as_chunks::<32>().0 {
        if !is_plain::<ASCII, 32>(block) {
            break;
        }
        length += 32;
    }
    let rest = text.get(length..).unwrap_or_default();
    let lane = |found: u64| (found.trailing_zeros() / 8) as usize;
    for word in rest.as_chunks::<8>().0 {
        let found = special::<ASCII>(u64::from_le_bytes(*word));
        if found != 0 {
            return length + lane(found);
        }
        length += 8;
    }
    // What is left, as the end of a word whose beginning is known to be plain, or filled up with spaces.
    let (found, start) = match text.last_chunk::<8>() {
        Some(word) => (special::<ASCII>(u64::from_le_bytes(*word)), text.len() - 8),
        None => (special::<ASCII>(filled_up(text)), 0),
    };
    if found != 0 { start + lane(found) } else { text.len() }
}

/// Whether none of these bytes is special: a few vector instructions.
#[inline(always)]
fn is_plain<const ASCII: bool, const N: usize>(block: &[u8; N]) -> bool {
    let special = |byte: u8| {
        let control = if ASCII { byte.cast_signed() < 0x20 } else { byte < 0x20 };
        control | (byte == b'"') | (byte == b'\\')
    };
    !block.iter().fold(false, |found, byte| found | special(*byte))
}

/// Less than eight bytes as a word, the rest of which is spaces.
///
/// Two loads that overlap say the same where they do.
#[inline]
fn filled_up(text: &[u8]) -> u64 {
    let spaces = (u64::MAX / 255 * u64::from(b' ')) << (8 * text.len());
    let bytes = match (text.first_chunk::<4>(), text.last_chunk::<4>(), text) {
        (Some(first), Some(last), _) => {
            let last = u64::from(u32::from_le_bytes(*last)) << (8 * (text.len() - 4));
            u64::from(u32::from_le_bytes(*first)) | last
        }
        (_, _, [a, b, c]) => u64::from_le_bytes([*a, *b, *c, 0, 0, 0, 0, 0]),
        (_, _, [a, b]) => u64::from_le_bytes([*a, *b, 0, 0, 0, 0, 0, 0]),
        (_, _, [a]) => u64::from(*a),
        _ => 0,
    };
    bytes | spaces
}

/// High bits of the lanes that hold `"`, `\`, a control character or, with `ASCII`, a byte beyond it.
///
/// Each test sets the high bit of the lanes it finds. A borrow can only make lanes above a true find
/// look found too, and the lowest decides.
#[inline]
fn special<const ASCII: bool>(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let found = (word.wrapping_sub(ONES * 0x20) & !word)
        | (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash);
    if ASCII { (found | word) & HIGH } else { found & HIGH }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, json: &str) {
        let mut out = Vec::new();
        string(&mut out, text.as_bytes()).expect("UTF-8");
        assert_eq!(String::from_utf8_lossy(&out), json);
    }

    #[test]
    fn strings_escape_what_rfc_8259_demands_and_no_more() {
        check("", r#""""#);
        check("plain", r#""plain""#);
        check("\"", r#""\"""#);
        check("\\", r#""\\""#);
        check("/<>&'\u{7f}", "\"/<>&'\u{7f}\"");
        check("\u{0}\u{1}\u{1f}", r#""\u0000\u0001\u001f""#);
        check("\u{8}\t\n\u{c}\r", r#""\b\t\n\f\r""#);
        check("\u{2028}\u{2029}\u{feff}", "\"\u{2028}\u{2029}\u{feff}\"");
        check("zwölf \"Boxkämpfer\" jagen\n", r#""zwölf \"Boxkämpfer\" jagen\n""#);
        check("𝄞 and 漢字 in one long enough text\\", r#""𝄞 and 漢字 in one long enough text\\""#);
    }

    #[test]
    fn every_byte_is_found_at_every_place() {
        for length in 1..26 {
            for place in 0..length {
                for byte in 0..=255u8 {
                    let mut text = vec![b'a'; length];
                    text[place] = byte;
                    let escaped = byte < 0x20 || byte == b'"' || byte == b'\\';
                    assert_eq!(run::<false>(&text), if escaped { place } else { length });
                    assert_eq!(run::<true>(&text), if escaped || byte > 0x7f { place } else { length });
                }
            }
        }
    }

    #[test]
    fn strings_agree_with_serde_json() {
        let alphabet: Vec<char> = (0..0x100).filter_map(char::from_u32).chain("漢字𝄞".chars()).collect();
        for start in 0..alphabet.len() {
            let text: String = alphabet.iter().cycle().skip(start).step_by(7).take(40).collect();
            check(&text, &serde_json::to_string(&text).expect("a string serializes"));
        }
    }

    #[test]
    fn strings_that_are_not_utf8_are_refused() {
        for text in [&b"\x80"[..], b"ab\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"plain plain \xf8"] {
            assert_eq!(string(&mut Vec::new(), text), Err(Fault::Utf8.into()), "{text:x?}");
        }
    }
}
