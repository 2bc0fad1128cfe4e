//! Text → tokens, one at a time.

use super::super::error::{ConditionError, Problem};
use super::Literal;
use super::literal;

#[derive(Debug)]
pub(super) struct Token<'t> {
    pub offset: usize,
    pub kind: TokenKind<'t>,
}

#[derive(Debug, PartialEq)]
pub(super) enum TokenKind<'t> {
    End,
    Name(&'t str),
    /// Digits of a number that may yet get a sign.
    Int(&'t str),
    Literal(Literal),
    /// `(`, `&&`, `in`, …
    Symbol(&'static str),
}

/// The longer before the shorter.
const SYMBOLS: &[&str] = &[
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "?", ":", "+", "-", "*", "/", "%", "(", ")", "[", "]",
    "{", "}", ",", ".",
];

/// What later editions of the language may need.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// The token at or after `offset`, and where it ends.
pub(super) fn next(text: &str, offset: usize) -> Result<(Token<'_>, usize), ConditionError> {
    let offset = skip(text, offset);
    let rest = &text[offset..];
    let Some(first) = rest.chars().next() else {
        return Ok((Token { offset, kind: TokenKind::End }, offset));
    };
    let made = |kind, length: usize| Ok((Token { offset, kind }, offset + length));
    if let Some((value, length)) = literal::text(rest).map_err(|(at, problem)| problem.at(offset + at))? {
        return made(TokenKind::Literal(value), length);
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let name = prefix(rest, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let kind = match name {
            "true" => TokenKind::Literal(Literal::Bool(true)),
            "false" => TokenKind::Literal(Literal::Bool(false)),
            "null" => TokenKind::Literal(Literal::Null),
            "in" => TokenKind::Symbol("in"),
            _ => TokenKind::Name(name),
        };
        return made(kind, name.len());
    }
    let is_fraction = first == '.' && rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    if first.is_ascii_digit() || is_fraction {
        let (kind, length) = number(rest).map_err(|problem| problem.at(offset))?;
        return made(kind, length);
    }
    match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
        Some(symbol) => made(TokenKind::Symbol(symbol), symbol.len()),
        None => {
            let expected = match first {
                '=' => "`==`",
                '&' => "`&&`",
                '|' => "`||`",
                _ => "an expression",
            };
            Err(Problem::Unexpected { expected, found: format!("`{first}`") }.at(offset))
        }
    }
}

/// Blanks and comments.
fn skip(text: &str, mut offset: usize) -> usize {
    loop {
        let rest = &text[offset..];
        let blank = prefix(rest, |byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c)).len();
        offset += blank;
        if !text[offset..].starts_with("//") {
            return offset;
        }
        offset += text[offset..].find('\n').unwrap_or(text.len() - offset);
    }
}

/// `12`, `0x1f`, `12u`, `1.5`, `.5`, `1e3`; a whole number stays text, for `-9223372036854775808` is one.
fn number(text: &str) -> Result<(TokenKind<'_>, usize), Problem> {
    let refused = |length: usize| Problem::Number(text[..length].to_owned());
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let digits = prefix(hex, |byte| byte.is_ascii_hexdigit());
        let length = 2 + digits.len();
        if digits.is_empty() || has_word(&text[length..], "uU") {
            let word = prefix(&text[length..], |byte| byte.is_ascii_alphanumeric() || byte == b'_');
            return Err(refused(length + word.len()));
        }
        return unsigned_or_int(text, digits, 16, length);
    }
    let whole = prefix(text, |byte| byte.is_ascii_digit()).len();
    let mut length = whole;
    let rest = text.as_bytes();
    if rest.get(length) == Some(&b'.') && rest.get(length + 1).is_some_and(u8::is_ascii_digit) {
        length += 1 + prefix(&text[length + 1..], |byte| byte.is_ascii_digit()).len();
    }
    if matches!(rest.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(rest.get(length + 1), Some(b'+' | b'-')));
        let digits =
            text.get(length + 1 + sign..).map_or(0, |rest| prefix(rest, |b| b.is_ascii_digit()).len());
        if digits == 0 {
            return Err(refused(length + 1));
        }
        length += 1 + sign + digits;
    }
    if has_word(&text[length..], if length == whole { "uU" } else { "" }) {
        let word = prefix(&text[length..], |byte| byte.is_ascii_alphanumeric() || byte == b'_');
        return Err(refused(length + word.len()));
    }
    if length == whole {
        return unsigned_or_int(text, &text[..whole], 10, whole);
    }
    match text[..length].parse::<f64>() {
        Ok(value) if value.is_finite() => Ok((TokenKind::Literal(Literal::Double(value)), length)),
        _ => Err(refused(length)),
    }
}

fn unsigned_or_int<'t>(
    text: &'t str,
    digits: &str,
    radix: u32,
    length: usize,
) -> Result<(TokenKind<'t>, usize), Problem> {
    if !matches!(text.as_bytes().get(length), Some(b'u' | b'U')) {
        return Ok((TokenKind::Int(&text[..length]), length));
    }
    match u64::from_str_radix(digits, radix) {
        Ok(value) => Ok((TokenKind::Literal(Literal::Uint(value)), length + 1)),
        Err(_) => Err(Problem::Number(text[..=length].to_owned())),
    }
}

/// Whether a number runs into letters other than the one suffix it may have.
fn has_word(rest: &str, suffixes: &str) -> bool {
    let mut characters = rest.chars();
    let is_word = |character: Option<char>| character.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    match characters.next() {
        Some(first) if suffixes.contains(first) => is_word(characters.next()),
        first => is_word(first),
    }
}

fn prefix(text: &str, belongs: impl Fn(u8) -> bool) -> &str {
    let end = text.bytes().position(|byte| !belongs(byte)).unwrap_or(text.len());
    &text[..end]
}

/// The value of a whole number's text, with its sign.
pub(super) fn int(text: &str, is_negative: bool) -> Option<i64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    let magnitude = i128::from(u64::from_str_radix(digits, radix).ok()?);
    i64::try_from(if is_negative { -magnitude } else { magnitude }).ok()
}
