//! JSON strings and numbers: the leaves of the output.
//!
//! Escaped is what RFC 8259, section 7, demands, `"`, `\` and U+0000 to U+001F, and nothing else: since
//! ECMAScript 2019 even U+2028 and U+2029 may stand in a script's string, and `<` matters only where
//! JSON is pasted into HTML, which is the paster's to escape.

use super::error::Fault;

/// Writes `text` as a JSON string. All of it must be UTF-8: JSON has no way to carry anything else.
#[inline]
pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) -> Result<(), Fault> {
    out.push(b'"');
    let (plain, rest) = text.split_at(run::<true>(text));
    out.extend_from_slice(plain);
    if !rest.is_empty() {
        escaped(out, rest)?;
    }
    out.push(b'"');
    Ok(())
}

/// Writes a floating-point number's text: shortest round-tripping, without the `.0` of an integral one.
///
/// Not a number and the infinities are strings (ProtoJSON).
pub(super) fn float<F: Float>(out: &mut Vec<u8>, value: F) {
    if let Some(name) = value.name() {
        out.extend_from_slice(name);
        return;
    }
    let mut buffer = zmij::Buffer::new();
    let digits = buffer.format_finite(value).as_bytes();
    out.extend_from_slice(digits.strip_suffix(b".0").unwrap_or(digits));
}

#[inline]
pub(super) fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[inline]
pub(super) fn quoted_integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.push(b'"');
    integer(out, value);
    out.push(b'"');
}

#[inline]
pub(super) fn boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// What [`float`] asks of `f32` and `f64`.
pub(super) trait Float: zmij::Float {
    /// The JSON string of a value that is no JSON number.
    fn name(self) -> Option<&'static [u8]>;
}

impl Float for f64 {
    #[inline]
    fn name(self) -> Option<&'static [u8]> {
        if self.is_finite() {
            None
        } else if self.is_nan() {
            Some(b"\"NaN\"")
        } else if self > 0.0 {
            Some(b"\"Infinity\"")
        } else {
            Some(b"\"-Infinity\"")
        }
    }
}

impl Float for f32 {
    #[inline]
    fn name(self) -> Option<&'static [u8]> {
        f64::from(self).name()
    }
}

/// The part of a string from its first byte that is not plain ASCII.
#[cold]
fn escaped(out: &mut Vec<u8>, text: &[u8]) -> Result<(), Fault> {
    let mut rest = std::str::from_utf8(text).map_err(|_| Fault::Utf8)?.as_bytes();
    loop {
        let (plain, special) = rest.split_at(run::<false>(rest));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { return Ok(()) };
        escape(out, byte);
        rest = after;
    }
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
        if !is_plain::<ASCII>(block) {
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

/// Whether none of these bytes is special.
#[inline]
fn is_plain<const ASCII: bool>(block: &[u8; 32]) -> bool {
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
            assert_eq!(string(&mut Vec::new(), text), Err(Fault::Utf8), "{text:x?}");
        }
    }

    #[test]
    fn floats_are_shortest_and_name_what_json_cannot() {
        fn check(value: f64, json: &str) {
            let mut out = Vec::new();
            float(&mut out, value);
            assert_eq!(String::from_utf8_lossy(&out), json);
            if value.is_finite() {
                assert_eq!(json.parse::<f64>().map(f64::to_bits), Ok(value.to_bits()));
            }
        }
        check(0.0, "0");
        check(-0.0, "-0");
        check(1.0, "1");
        check(-1.5, "-1.5");
        check(0.1, "0.1");
        check(100.0, "100");
        check(1e15, "1000000000000000");
        check(f64::MAX, "1.7976931348623157e+308");
        check(f64::MIN_POSITIVE, "2.2250738585072014e-308");
        check(5e-324, "5e-324");
        check(f64::NAN, "\"NaN\"");
        check(f64::INFINITY, "\"Infinity\"");
        check(f64::NEG_INFINITY, "\"-Infinity\"");
        let mut out = Vec::new();
        float(&mut out, 0.1f32);
        out.push(b' ');
        float(&mut out, f32::MAX);
        out.push(b' ');
        float(&mut out, f32::INFINITY);
        assert_eq!(out, b"0.1 3.4028235e+38 \"Infinity\"");
    }
}
