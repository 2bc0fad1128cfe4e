//! JSON strings: plain runs found eight bytes at a time, escapes resolved (RFC 8259, section 7).
//!
//! The text is known to be UTF-8, and quotes, backslashes and control characters are never part of a
//! longer character: a run between them can be copied as it is. Lone surrogates are refused, since no
//! UTF-8 stands for them.

use std::borrow::Cow;

use super::error::{Failure, Result};
use super::scan::Scanner;

/// What stood between two quotes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Run<'a> {
    /// The whole string, closing quote consumed.
    Whole(&'a [u8]),
    /// Up to the first escape, which comes next.
    Escaped(&'a [u8]),
}

impl<'a> Scanner<'a> {
    /// Consumes a string up to its end or its first escape.
    #[inline]
    pub(super) fn string_run(&mut self, expected: &'static str) -> Result<Run<'a>> {
        if self.peek() != b'"' {
            return Err(Failure::at(self.at, expected));
        }
        self.at += 1;
        self.run()
    }

    /// Consumes a string; its content, copied only if there are escapes.
    #[inline]
    pub(super) fn string(&mut self, expected: &'static str) -> Result<Cow<'a, [u8]>> {
        match self.string_run(expected)? {
            Run::Whole(content) => Ok(Cow::Borrowed(content)),
            Run::Escaped(head) => {
                let mut content = Vec::new();
                self.put_escaped(head, &mut content)?;
                Ok(Cow::Owned(content))
            }
        }
    }

    /// Consumes what follows `head`, the result of [`Self::string_run`]; appends all of the string.
    pub(super) fn put_escaped(&mut self, head: &[u8], out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(head);
        loop {
            self.put_escape(out)?;
            match self.run()? {
                Run::Whole(tail) => {
                    out.extend_from_slice(tail);
                    return Ok(());
                }
                Run::Escaped(run) => out.extend_from_slice(run),
            }
        }
    }

    /// Consumes a string, checking its escapes.
    pub(super) fn skip_string(&mut self) -> Result<()> {
        match self.string_run("expected a string")? {
            Run::Whole(_) => Ok(()),
            Run::Escaped(_) => self.put_escaped(&[], &mut Vec::new()),
        }
    }

    #[inline]
    fn run(&mut self) -> Result<Run<'a>> {
        let rest = self.rest();
        let len = plain_len(rest);
        self.at += len;
        match rest.get(len) {
            Some(b'"') => {
                self.at += 1;
                Ok(Run::Whole(&rest[..len]))
            }
            Some(b'\\') => Ok(Run::Escaped(&rest[..len])),
            Some(_) => Err(Failure::at(self.at, "a control character in a string must be escaped")),
            None => Err(Failure::at(self.at, "a string without its closing `\"`")),
        }
    }

    /// Consumes one escape, whose `\` comes next.
    fn put_escape(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let start = self.at;
        let byte = match self.rest().get(1) {
            Some(b'u') => {
                let character = self.unicode_escape()?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            Some(&byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            _ => return Err(Failure::at(start, "no such escape in a string")),
        };
        out.push(byte);
        self.at += 2;
        Ok(())
    }

    /// Consumes `\uXXXX`, or two of them for a character beyond U+FFFF.
    fn unicode_escape(&mut self) -> Result<char> {
        let start = self.at;
        let first = self.code_unit()?;
        let code = match first {
            0xd800..=0xdbff => match self.code_unit() {
                Ok(second @ 0xdc00..=0xdfff) => 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                _ => return Err(Failure::at(start, "a lone surrogate in a string")),
            },
            _ => first,
        };
        char::from_u32(code).ok_or_else(|| Failure::at(start, "a lone surrogate in a string"))
    }

    fn code_unit(&mut self) -> Result<u32> {
        let [b'\\', b'u', digits @ ..] = self.rest() else {
            return Err(Failure::at(self.at, "expected `\\u`"));
        };
        let unit = digits.first_chunk::<4>().and_then(|digits| {
            digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
        });
        match unit {
            Some(unit) => {
                self.at += 6;
                Ok(unit)
            }
            None => Err(Failure::at(self.at, "expected four hexadecimal digits after `\\u`")),
        }
    }
}

/// How many bytes stand before the first quote, backslash or control character.
#[inline]
fn plain_len(bytes: &[u8]) -> usize {
    let mut len = 0;
    let mut rest = bytes;
    while let Some((word, tail)) = rest.split_first_chunk() {
        let special = specials(u64::from_le_bytes(*word));
        if special != 0 {
            return len + (special.trailing_zeros() / 8) as usize;
        }
        len += 8;
        rest = tail;
    }
    let is_special = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
    len + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// Sets the top bit of the first byte that is special (and perhaps of later ones that are not).
#[inline]
const fn specials(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // With bit 1 flipped, the quote (0x22) is 0x20 and so comes right after the control
    // characters; the space goes to 0x22. One comparison finds both.
    let flipped = word ^ (ONES * 0x02);
    let quote_or_control = flipped.wrapping_sub(ONES * 0x21) & !flipped;
    let other = word ^ (ONES * b'\\' as u64);
    let backslash = other.wrapping_sub(ONES) & !other;
    (quote_or_control | backslash) & (ONES * 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_runs_end_at_every_special_byte() {
        for byte in 0..=255u8 {
            for place in 0..20 {
                let mut bytes = [b'~'; 20];
                bytes[place] = byte;
                let special = byte < 0x20 || byte == b'"' || byte == b'\\';
                assert_eq!(plain_len(&bytes), if special { place } else { 20 }, "{byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn strings_resolve_to_their_content() {
        #[track_caller]
        fn check(json: &str, expected: Option<&str>) {
            let mut scanner = Scanner::new(json.as_bytes(), 1).expect("the case is UTF-8");
            let mut skipper = scanner;
            let content = scanner.string("expected a string").ok();
            let complete = content.filter(|_| scanner.at == json.len());
            assert_eq!(complete.as_deref(), expected.map(str::as_bytes), "{json}");
            let skipped = skipper.skip_string().is_ok() && skipper.at == json.len();
            assert_eq!(skipped, expected.is_some(), "{json}");
        }
        check(r#""""#, Some(""));
        check(r#""abc""#, Some("abc"));
        check(r#""häß€😀""#, Some("häß€😀"));
        check(r#""\"\\\/\b\f\n\r\t""#, Some("\"\\/\u{8}\u{c}\n\r\t"));
        check(r#""abcdefghi\njklmnopqrs\t""#, Some("abcdefghi\njklmnopqrs\t"));
        check(r#""\u0041\u00e9\u20AC""#, Some("Aé€"));
        check(r#""\u0000""#, Some("\0"));
        check(r#""\uD83D\uDE00""#, Some("😀"));
        check(r#""\uFFFF""#, Some("\u{ffff}"));
        check("\"\u{7f}\"", Some("\u{7f}"));
        check(r#""\uD83D""#, None);
        check(r#""\uD83Dx""#, None);
        check(r#""\uD83D\n""#, None);
        check(r#""\uD83D\uD83D""#, None);
        check(r#""\uDE00""#, None);
        check(r#""\uDE00\uD83D""#, None);
        check(r#""\u004""#, None);
        check(r#""\u+041""#, None);
        check(r#""\U0041""#, None);
        check(r#""\x41""#, None);
        check(r#""\'""#, None);
        check(r#""\"#, None);
        check(r#""abc"#, None);
        check(r#"""#, None);
        check("\"\n\"", None);
        check("\"\0\"", None);
        check("'abc'", None);
        check("abc", None);
    }
}
