//! [`Scanner`]: tokens of a JSON text, found byte by byte on demand.
//!
//! ```text
//! bytes, known to be UTF-8 → peek the next token's first byte → the caller decides what may stand there
//! ```
//!
//! Nothing is tokenized ahead: a message knows what comes next and asks for it. The end of the text
//! peeks as the byte 0, which begins no token, so that no caller has to care about it. Strings
//! are in `string`, numbers in `number`.

use super::error::{Failure, Result};
use super::number;

#[derive(Clone, Copy, Debug)]
pub(super) struct Scanner<'a> {
    pub(super) json: &'a [u8],
    pub(super) at: usize,
    /// How many more objects and arrays may open.
    depth_left: u16,
    depth_max: u16,
}

impl<'a> Scanner<'a> {
    /// Checks that the text is UTF-8, once for all the strings in it.
    pub(super) fn new(json: &'a [u8], depth_max: u16) -> Result<Self> {
        match std::str::from_utf8(json) {
            Ok(_) => Ok(Self { json, at: 0, depth_left: depth_max, depth_max }),
            Err(error) => Err(Failure::at(error.valid_up_to(), "invalid UTF-8")),
        }
    }

    /// The first byte of the next token, not consumed; 0 at the end.
    #[inline]
    pub(super) fn peek(&mut self) -> u8 {
        match self.json.get(self.at) {
            Some(&byte) if byte > b' ' => byte,
            _ => self.peek_past_space(),
        }
    }

    fn peek_past_space(&mut self) -> u8 {
        while let Some(&byte) = self.json.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return byte;
            }
            self.at += 1;
        }
        0
    }

    /// What has not been consumed.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.json.get(self.at..).unwrap_or_default()
    }

    /// Consumes the next token if it is this punctuation.
    #[inline]
    pub(super) fn eat(&mut self, punctuation: u8) -> bool {
        if self.peek() != punctuation {
            return false;
        }
        self.at += 1;
        true
    }

    /// Consumes `{` or `[` and goes one level deeper.
    #[inline]
    pub(super) fn open(&mut self, bracket: u8, expected: &'static str) -> Result<()> {
        if self.peek() != bracket {
            return Err(Failure::at(self.at, expected));
        }
        match self.depth_left.checked_sub(1) {
            Some(left) => self.depth_left = left,
            None => return Err(Failure::at(self.at, format!("nested deeper than {}", self.depth_max))),
        }
        self.at += 1;
        Ok(())
    }

    /// Consumes `bracket` if it closes the level just opened: for the empty object or array.
    #[inline]
    pub(super) fn closes_at_once(&mut self, bracket: u8) -> bool {
        if !self.eat(bracket) {
            return false;
        }
        self.depth_left += 1;
        true
    }

    /// Consumes `,` (true: another member follows) or `bracket` (false: one level up again).
    #[inline]
    pub(super) fn another(&mut self, bracket: u8) -> Result<bool> {
        let byte = self.peek();
        if byte == b',' {
            self.at += 1;
            Ok(true)
        } else if byte == bracket {
            self.at += 1;
            self.depth_left += 1;
            Ok(false)
        } else if bracket == b'}' {
            Err(Failure::at(self.at, "expected `,` or `}`"))
        } else {
            Err(Failure::at(self.at, "expected `,` or `]`"))
        }
    }

    #[inline]
    pub(super) fn colon(&mut self) -> Result<()> {
        if self.peek() != b':' {
            return Err(Failure::at(self.at, "expected `:`"));
        }
        self.at += 1;
        Ok(())
    }

    /// Consumes `null`, whose `n` was peeked.
    pub(super) fn null(&mut self) -> Result<()> {
        self.literal(b"null")
    }

    /// Consumes `true` or `false`.
    pub(super) fn boolean(&mut self) -> Result<bool> {
        match self.peek() {
            b't' => self.literal(b"true").map(|()| true),
            b'f' => self.literal(b"false").map(|()| false),
            _ => Err(Failure::at(self.at, "expected `true` or `false`")),
        }
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<()> {
        if !self.rest().starts_with(word) {
            return Err(Failure::at(self.at, "expected a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Consumes a number, checked against the grammar; its text.
    pub(super) fn number(&mut self) -> Result<&'a [u8]> {
        self.peek();
        let rest = self.rest();
        match number::token_len(rest) {
            0 => Err(Failure::at(self.at, "expected a number")),
            len => {
                self.at += len;
                Ok(&rest[..len])
            }
        }
    }

    /// Consumes any one value, as strictly as if it were read.
    pub(super) fn skip(&mut self) -> Result<()> {
        match self.peek() {
            b'"' => self.skip_string(),
            b'{' => {
                self.open(b'{', "expected `{`")?;
                if self.closes_at_once(b'}') {
                    return Ok(());
                }
                loop {
                    self.skip_name()?;
                    self.skip()?;
                    if !self.another(b'}')? {
                        return Ok(());
                    }
                }
            }
            b'[' => {
                self.open(b'[', "expected `[`")?;
                if self.closes_at_once(b']') {
                    return Ok(());
                }
                loop {
                    self.skip()?;
                    if !self.another(b']')? {
                        return Ok(());
                    }
                }
            }
            b'n' => self.null(),
            b't' | b'f' => self.boolean().map(drop),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            _ => Err(Failure::at(self.at, "expected a value")),
        }
    }

    fn skip_name(&mut self) -> Result<()> {
        if self.peek() != b'"' {
            return Err(Failure::at(self.at, "expected a name in quotes"));
        }
        self.skip_string()?;
        self.colon()
    }

    /// Nothing but space may follow the value.
    pub(super) fn end(&mut self) -> Result<()> {
        self.peek();
        if self.at < self.json.len() {
            return Err(Failure::at(self.at, "expected the end of the text"));
        }
        Ok(())
    }
}
