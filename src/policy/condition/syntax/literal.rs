//! Texts and bytes in quotes: `'a'`, `"a"`, `'''a'''`, `r'\d'`, `b'\xff'`.

use super::super::error::Problem;
use super::Literal;

/// The text or bytes that `source` begins with, and their length; `None` if it begins with neither.
///
/// An error names its place within `source`.
pub(super) fn text(source: &str) -> Result<Option<(Literal, usize)>, (usize, Problem)> {
    let Some(Opening { is_bytes, is_raw, quote, start }) = opening(source) else { return Ok(None) };
    let mut out = Vec::new();
    let mut at = start;
    loop {
        let rest = &source[at..];
        if rest.starts_with(quote) {
            at += quote.len();
            break;
        }
        let Some(character) = rest.chars().next() else { return Err((0, Problem::Unterminated)) };
        match character {
            '\n' | '\r' if quote.len() == 1 => return Err((0, Problem::Unterminated)),
            '\\' if !is_raw => {
                let length = escape(rest, is_bytes, &mut out).map_err(|problem| (at, problem))?;
                at += length;
            }
            _ => {
                out.extend_from_slice(&rest.as_bytes()[..character.len_utf8()]);
                at += character.len_utf8();
            }
        }
    }
    if is_bytes {
        return Ok(Some((Literal::Bytes(out.into()), at)));
    }
    let text = String::from_utf8(out).expect("only whole characters were appended");
    Ok(Some((Literal::Text(text.into()), at)))
}

struct Opening {
    is_bytes: bool,
    is_raw: bool,
    quote: &'static str,
    start: usize,
}

fn opening(source: &str) -> Option<Opening> {
    let marks = source.bytes().take_while(|byte| matches!(byte, b'r' | b'R' | b'b' | b'B')).count();
    let (is_bytes, is_raw) = match source[..marks].to_ascii_lowercase().as_str() {
        "" => (false, false),
        "r" => (false, true),
        "b" => (true, false),
        "br" | "rb" => (true, true),
        _ => return None,
    };
    let quotes = ["\"\"\"", "'''", "\"", "'"];
    let quote = quotes.into_iter().find(|quote| source[marks..].starts_with(quote))?;
    Some(Opening { is_bytes, is_raw, quote, start: marks + quote.len() })
}

/// Appends what a backslash and the characters behind it stand for; gives the length of both.
fn escape(rest: &str, is_bytes: bool, out: &mut Vec<u8>) -> Result<usize, Problem> {
    let Some(mark) = rest[1..].chars().next() else { return Err(Problem::Unterminated) };
    let plain = match mark {
        'a' => Some(0x07),
        'b' => Some(0x08),
        'f' => Some(0x0c),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(0x0b),
        '\\' => Some(b'\\'),
        '?' => Some(b'?'),
        '\'' => Some(b'\''),
        '"' => Some(b'"'),
        '`' => Some(b'`'),
        _ => None,
    };
    if let Some(byte) = plain {
        out.push(byte);
        return Ok(2);
    }
    let (start, digits, radix) = match mark {
        'x' | 'X' => (2, 2, 16),
        'u' if !is_bytes => (2, 4, 16),
        'U' if !is_bytes => (2, 8, 16),
        '0'..='3' => (1, 3, 8),
        _ => return Err(Problem::Escape(format!("\\{mark}"))),
    };
    let refused = || Problem::Escape(rest.chars().take(start + digits).collect());
    let text = rest.get(start..start + digits).ok_or_else(refused)?;
    let number = match text.chars().all(|character| character.is_digit(radix)) {
        true => u32::from_str_radix(text, radix).map_err(|_| refused())?,
        false => return Err(refused()),
    };
    // In bytes an escape is an octet, in a text a code point.
    if is_bytes {
        out.push(u8::try_from(number).map_err(|_| refused())?);
    } else {
        let character = char::from_u32(number).ok_or_else(refused)?;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(start + digits)
}
