//! Patterns in RE2's syntax, which is what CEL and protovalidate speak, for the `regex` crate.
//!
//! The two differ where RE2 knows ASCII alone (`\d`, `\w`, `\s`, `\b`), and in brackets, where `[`, `&&`, `--` and `~~`
//! mean something to the crate and nothing to RE2. Everything else is the same, or refused.

use regex::{Regex, RegexBuilder};

/// Bytes of a compiled pattern.
pub const PATTERN_BYTES_MAX: usize = 256 << 10;
/// Levels of groups within one another.
const NESTING_MAX: u32 = 32;

/// Compiles a pattern, which is searched for in time linear in the text.
///
/// # Errors
///
/// What is wrong with it, in a line.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(&translated(pattern))
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX)
        .nest_limit(NESTING_MAX)
        .build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "it is too large when compiled".to_owned(),
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    })
}

fn translated(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut in_brackets = false;
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                let escaped = characters.next();
                match escaped.and_then(|escaped| ascii(escaped, in_brackets)) {
                    Some(class) => out.push_str(class),
                    None => {
                        out.push('\\');
                        out.extend(escaped);
                    }
                }
            }
            '[' if !in_brackets => {
                in_brackets = true;
                out.push('[');
                out.extend(characters.next_if_eq(&'^'));
                // A bracket that closes at once is one of those that are meant.
                if characters.next_if_eq(&']').is_some() {
                    out.push_str(r"\]");
                }
            }
            '[' if characters.peek() == Some(&':') => {
                // `[:alpha:]`, as it stands.
                out.push('[');
                for inner in characters.by_ref() {
                    out.push(inner);
                    if inner == ']' {
                        break;
                    }
                }
            }
            '[' => out.push_str(r"\["),
            ']' => {
                in_brackets = false;
                out.push(']');
            }
            '&' | '-' | '~' if in_brackets && characters.peek() == Some(&character) => {
                characters.next();
                out.extend([character, '\\', character]);
            }
            other => out.push(other),
        }
    }
    out
}

/// What RE2 has for a letter behind a backslash, where the crate has more than ASCII.
fn ascii(letter: char, in_brackets: bool) -> Option<&'static str> {
    Some(match letter {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => r"[\t\n\x0C\r ]",
        'S' => r"[^\t\n\x0C\r ]",
        'b' if !in_brackets => r"(?-u:\b)",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_to_re2() {
        #[track_caller]
        fn check(pattern: &str, matches: &[&str], others: &[&str]) {
            let compiled = compile(pattern).expect(pattern);
            for (text, expected) in
                matches.iter().map(|text| (text, true)).chain(others.iter().map(|text| (text, false)))
            {
                assert_eq!(compiled.is_match(text), expected, "{pattern} on {text:?}");
            }
        }
        check(r"^\d+$", &["0", "42"], &["", "٤", "a"]);
        check(r"^[\d.]$", &["4", "."], &["٤", "d", "\\"]);
        check(r"^[^\w]$", &["-", "ä"], &["a", "_"]);
        check(r"^\W\S\s\D$", &["-a b", "ää\t "], &["aa b", "-a\u{a0}b", "-a 1"]);
        check(r"\bcat\b", &["a cat", "cat", "äcat"], &["cats"]);
        check("^[[]$", &["["], &["]"]);
        check("^[]a]$", &["]", "a"], &["["]);
        check("^[^]a]$", &["[", "b"], &["]", "a"]);
        check("^[[:alpha:]_]+$", &["a_B"], &["1", ":"]);
        check("^[a&&b]$", &["a", "&", "b"], &["c"]);
        check("^[+--]$", &["+", ",", "-"], &["."]);
        check("^[a~~b]$", &["a", "~"], &["c"]);
        check(r"^\[\]\\$", &["[]\\"], &[""]);
        check("a.c", &["xabcx", "aäc"], &["a\nc"]);
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        for pattern in ["(", r"\C", r"(?=a)", r"\1", "a{2000000}", r"\", "[a"] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
    }
}
