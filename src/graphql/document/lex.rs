//! The text of a document as tokens (GraphQL, section 2.1).
//!
//! ```text
//! Token   = Punctuator | Name | Int | Float | String | BlockString
//! ignored = BOM | blank | line end | "," | "#" to the end of the line
//! ```
//!
//! A token is made when the parser asks for it, and counted: a document of too many is refused before it is read
//! to its end.

use super::problem::{Code, Location, Problem};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'t> {
    /// One of `! $ & ( ) : = @ [ ] { | }`.
    Punctuator(u8),
    /// `...`
    Spread,
    Name(&'t str),
    Int(&'t str),
    Float(&'t str),
    /// Without quotes and escapes.
    String(Box<str>),
    End,
}

pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    line: u32,
    /// The last place in the line whose column was asked for, in bytes, and that column: a line of any length is
    /// counted once.
    known: usize,
    column: u32,
    tokens: usize,
    tokens_max: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str, tokens_max: usize) -> Self {
        // A byte order mark at the very beginning is no character of the first line.
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { text, at, line: 1, known: at, column: 1, tokens: 0, tokens_max }
    }

    /// The next token, and where it begins.
    pub(super) fn token(&mut self) -> Result<(Token<'t>, Location), Problem> {
        self.skip_ignored();
        let location = self.location();
        let Some(first) = self.peek() else { return Ok((Token::End, location)) };
        self.tokens += 1;
        if self.tokens > self.tokens_max {
            let message = format!("the document has more than {} tokens", self.tokens_max);
            return Err(Problem::new(Code::TooManyTokens, message, location));
        }
        let token = match first {
            b'!' | b'$' | b'&' | b'(' | b')' | b':' | b'=' | b'@' | b'[' | b']' | b'{' | b'|' | b'}' => {
                self.at += 1;
                Token::Punctuator(first)
            }
            b'.' if self.rest().starts_with("...") => {
                self.at += 3;
                Token::Spread
            }
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => Token::Name(self.name()),
            b'-' | b'0'..=b'9' => self.number(location)?,
            b'"' if self.rest().starts_with("\"\"\"") => Token::String(self.block_string(location)?),
            b'"' => Token::String(self.string(location)?),
            _ => {
                let char = self.rest().chars().next().unwrap_or_default();
                return Err(syntax(format!("unexpected character `{}`", char.escape_debug()), location));
            }
        };
        Ok((token, location))
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Where the lexer is.
    fn location(&mut self) -> Location {
        let between = self.text.get(self.known..self.at).unwrap_or_default();
        let columns = u32::try_from(between.chars().count()).unwrap_or(u32::MAX);
        self.column = self.column.saturating_add(columns);
        self.known = self.at;
        Location { line: self.line, column: self.column }
    }

    fn skip_ignored(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b',' => self.at += 1,
                b'\n' | b'\r' => self.end_line(),
                b'#' => {
                    let rest = self.rest();
                    self.at += rest.find(['\n', '\r']).unwrap_or(rest.len());
                }
                _ if self.rest().starts_with('\u{feff}') => self.at += '\u{feff}'.len_utf8(),
                _ => return,
            }
        }
    }

    /// Steps over a line end: LF, CR, or CR LF.
    fn end_line(&mut self) {
        self.at += if self.rest().starts_with("\r\n") { 2 } else { 1 };
        self.line = self.line.saturating_add(1);
        self.known = self.at;
        self.column = 1;
    }

    fn name(&mut self) -> &'t str {
        let rest = self.rest();
        let is_name = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
        let length = rest.bytes().position(|byte| !is_name(byte)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// Digits without a leading zero, then a fraction and an exponent; neither `.` nor a name may follow.
    fn number(&mut self, location: Location) -> Result<Token<'t>, Problem> {
        let rest = self.rest();
        let mut scan = Scan { bytes: rest.as_bytes(), at: 0 };
        scan.take(|byte| byte == b'-');
        let wrong = || syntax("a number that is none".to_owned(), location);
        if scan.take(|byte| byte == b'0') {
            if scan.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                return Err(wrong());
            }
        } else if scan.digits() == 0 {
            return Err(wrong());
        }
        let mut is_float = false;
        if scan.take(|byte| byte == b'.') {
            is_float = true;
            if scan.digits() == 0 {
                return Err(wrong());
            }
        }
        if scan.take(|byte| matches!(byte, b'e' | b'E')) {
            is_float = true;
            scan.take(|byte| matches!(byte, b'+' | b'-'));
            if scan.digits() == 0 {
                return Err(wrong());
            }
        }
        if scan.peek().is_some_and(|byte| matches!(byte, b'.' | b'_') || byte.is_ascii_alphabetic()) {
            return Err(wrong());
        }
        self.at += scan.at;
        let text = rest.get(..scan.at).unwrap_or_default();
        Ok(if is_float { Token::Float(text) } else { Token::Int(text) })
    }

    fn string(&mut self, location: Location) -> Result<Box<str>, Problem> {
        let mut chars = self.rest().char_indices();
        chars.next();
        let mut value = String::new();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    self.at += at + 1;
                    return Ok(value.into());
                }
                '\n' | '\r' => break,
                '\\' => match escape(&mut chars) {
                    Some(char) => value.push(char),
                    None => return Err(syntax("a string with an escape that is none".to_owned(), location)),
                },
                char => value.push(char),
            }
        }
        Err(syntax("a string without an end".to_owned(), location))
    }

    fn block_string(&mut self, location: Location) -> Result<Box<str>, Problem> {
        self.at += 3;
        let mut raw = String::new();
        loop {
            let rest = self.rest();
            if rest.starts_with("\\\"\"\"") {
                raw.push_str("\"\"\"");
                self.at += 4;
            } else if rest.starts_with("\"\"\"") {
                self.at += 3;
                return Ok(dedent(&raw).into());
            } else {
                match rest.chars().next() {
                    None => return Err(syntax("a block string without an end".to_owned(), location)),
                    Some('\n' | '\r') => {
                        raw.push('\n');
                        self.end_line();
                    }
                    Some(char) => {
                        raw.push(char);
                        self.at += char.len_utf8();
                    }
                }
            }
        }
    }
}

struct Scan<'t> {
    bytes: &'t [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, is: impl Fn(u8) -> bool) -> bool {
        let taken = self.peek().is_some_and(is);
        self.at += usize::from(taken);
        taken
    }

    fn digits(&mut self) -> usize {
        let before = self.at;
        while self.take(|byte| byte.is_ascii_digit()) {}
        self.at - before
    }
}

/// What follows a backslash.
fn escape(chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    Some(match chars.next()?.1 {
        '"' => '"',
        '\\' => '\\',
        '/' => '/',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return unicode(chars),
        _ => return None,
    })
}

/// `XXXX`, a pair of surrogates, or `{X…}`.
fn unicode(chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    let (_, first) = chars.next()?;
    if first == '{' {
        return braced(chars);
    }
    let value = quad(first, chars)?;
    if !(0xd800..0xdc00).contains(&value) {
        // The second surrogate alone is no character.
        return char::from_u32(value);
    }
    if chars.next()?.1 != '\\' || chars.next()?.1 != 'u' {
        return None;
    }
    let (_, first) = chars.next()?;
    let low = quad(first, chars)?;
    (0xdc00..0xe000)
        .contains(&low)
        .then(|| char::from_u32(0x1_0000 + ((value - 0xd800) << 10) + (low - 0xdc00)))?
}

fn quad(first: char, chars: &mut std::str::CharIndices<'_>) -> Option<u32> {
    let mut value = first.to_digit(16)?;
    for _ in 0..3 {
        value = value << 4 | chars.next()?.1.to_digit(16)?;
    }
    Some(value)
}

fn braced(chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    let mut value = chars.next()?.1.to_digit(16)?;
    loop {
        match chars.next()?.1 {
            '}' => return char::from_u32(value),
            digit => value = value.checked_mul(16)?.checked_add(digit.to_digit(16)?)?,
        }
    }
}

/// `BlockStringValue` (GraphQL, section 2.9.4): without common indent, and blank lines at either end.
fn dedent(raw: &str) -> String {
    let lines: Vec<&str> = raw.split('\n').collect();
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let is_blank = |line: &str| indent(line) == line.len();
    let common = lines.iter().skip(1).filter(|line| !is_blank(line)).map(|line| indent(line)).min();
    let strip = |(number, line): (usize, &&'_ str)| {
        let cut = if number == 0 { 0 } else { common.unwrap_or(0) };
        line.get(cut..).unwrap_or_default().to_owned()
    };
    let stripped: Vec<String> = lines.iter().enumerate().map(strip).collect();
    let first = stripped.iter().position(|line| !is_blank(line)).unwrap_or(stripped.len());
    let last = stripped.iter().rposition(|line| !is_blank(line)).map_or(first, |last| last + 1);
    stripped.get(first..last).unwrap_or_default().join("\n")
}

pub(super) fn syntax(message: String, location: Location) -> Problem {
    Problem::new(Code::ParseFailed, format!("syntax error: {message}"), location)
}
