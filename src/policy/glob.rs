//! Patterns of text: what operators write for names of methods, of certificates, and for header values.
//!
//! ```text
//! Glob = { literal | "*" }        "*" is any bytes, none included; everything else stands for itself
//! ```
//!
//! A glob covers the whole value and takes time linear in it: no pattern of an operator and no value of a client
//! can make it dwell.

use memchr::memmem::Finder;

/// Bytes of a glob.
pub const GLOB_BYTES_MAX: usize = 512;

/// A pattern with `*`.
#[derive(Clone, Debug)]
pub struct Glob {
    /// What the value begins with.
    prefix: Box<[u8]>,
    /// What it has further on, in this order; `None` without any `*`: the prefix is the whole value.
    rest: Option<Rest>,
}

#[derive(Clone, Debug)]
struct Rest {
    middle: Box<[Finder<'static>]>,
    suffix: Box<[u8]>,
}

/// Why a text is no glob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pattern has at most {GLOB_BYTES_MAX} bytes")]
pub struct GlobTooLong;

impl Glob {
    /// Reads a pattern; every text within the bound is one.
    ///
    /// # Errors
    ///
    /// See [`GlobTooLong`].
    pub fn parse(text: &str) -> Result<Self, GlobTooLong> {
        if text.len() > GLOB_BYTES_MAX {
            return Err(GlobTooLong);
        }
        let mut parts = text.split('*').map(str::as_bytes);
        let prefix = parts.next().unwrap_or_default().into();
        let rest = parts.next_back().map(|suffix| Rest {
            // Stars side by side are one.
            middle: parts
                .filter(|part| !part.is_empty())
                .map(|part| Finder::new(part).into_owned())
                .collect(),
            suffix: suffix.into(),
        });
        Ok(Self { prefix, rest })
    }

    /// Whether `value` is what the pattern describes.
    pub fn matches(&self, value: &[u8]) -> bool {
        let Some(Rest { middle, suffix }) = &self.rest else { return *value == *self.prefix };
        let inner = value.strip_prefix(&*self.prefix).and_then(|behind| behind.strip_suffix(&**suffix));
        let Some(mut inner) = inner else { return false };
        // The first place where a part fits leaves the most to those behind it: no step is ever taken back.
        middle.iter().all(|part| {
            let found = part.find(inner).and_then(|at| inner.get(at + part.needle().len()..));
            found.map(|behind| inner = behind).is_some()
        })
    }

    /// Whether it is the pattern of the empty value and no other.
    pub fn is_empty(&self) -> bool {
        self.prefix.is_empty() && self.rest.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, value: &str) -> bool {
        Glob::parse(pattern).expect("a glob").matches(value.as_bytes())
    }

    #[test]
    fn globs_cover_the_whole_value() {
        let check = |pattern: &str, accepted: &[&str], refused: &[&str]| {
            accepted.iter().for_each(|value| assert!(matches(pattern, value), "`{pattern}` of `{value}`"));
            refused.iter().for_each(|value| assert!(!matches(pattern, value), "`{pattern}` of `{value}`"));
        };
        check("bot", &["bot"], &["", "a bot", "bots", "bo", "BOT"]);
        check("", &[""], &["a", " "]);
        check("*", &["", "a", "*"], &[]);
        check("**", &["", "a"], &[]);
        check("*bot*", &["bot", "googlebot/2.1", "a bot b"], &["", "b ot", "bo"]);
        check("bot*", &["bot", "bot/2"], &["a bot"]);
        check("*bot", &["bot", "my-bot"], &["bot/2"]);
        check("a*b", &["ab", "aab", "a b", "abab"], &["a", "b", "aba", "ba"]);
        check("a*a", &["aa", "aba"], &["a", ""]);
        check("a*b*c", &["abc", "axbxc", "abbcc", "acbc"], &["acb", "ac", "abcd"]);
        check("*ab*ab*", &["abab", "xabxabx"], &["ab", "aba", "abxa"]);
        check("a**b", &["ab", "axb"], &["a"]);
        // Names of methods, of certificates.
        check("a.B.*", &["a.B.C"], &["a.BB.C"]);
        check("a.*", &["a.b.C.D"], &["a"]);
        check("a.B.Get*", &["a.B.GetX", "a.B.Get"], &["a.B.ListX"]);
        check("a.*.C", &["a.B.C"], &["a.C"]);
        check("spiffe://a/*", &["spiffe://a/b/c"], &["spiffe://a.evil/b"]);
        // A question mark is one: referers have them.
        check("https://x/?q=*", &["https://x/?q=1"], &["https://x/aq=1"]);
        check("[ab]", &["[ab]"], &["a"]);
        check("*é*", &["café"], &["CAFÉ", "cafe"]);
    }

    #[test]
    fn globs_agree_with_a_search_that_tries_everything() {
        fn naive(pattern: &[u8], value: &[u8]) -> bool {
            match (pattern.split_first(), value.split_first()) {
                (None, _) => value.is_empty(),
                (Some((b'*', rest)), _) => {
                    naive(rest, value)
                        || value.split_first().is_some_and(|(_, behind)| naive(pattern, behind))
                }
                (Some((wanted, rest)), Some((found, behind))) => wanted == found && naive(rest, behind),
                (Some(_), None) => false,
            }
        }
        let text = |mut number: u32, letters: &[char]| {
            let mut text = String::new();
            while number > 0 {
                let (quotient, digit) = (number / 4, usize::try_from(number % 4).expect("a digit"));
                text.extend(letters.get(digit));
                number = quotient;
            }
            text
        };
        let mut count = 0;
        for pattern in (0..4096).map(|number| text(number, &['a', 'b', '*'])) {
            for value in (0..256).map(|number| text(number, &['a', 'b'])) {
                let expected = naive(pattern.as_bytes(), value.as_bytes());
                assert_eq!(matches(&pattern, &value), expected, "`{pattern}` of `{value}`");
                count += usize::from(expected);
            }
        }
        assert!(count > 10_000, "{count} matches");
    }

    #[test]
    fn globs_are_bounded() {
        assert!(Glob::parse(&"*".repeat(GLOB_BYTES_MAX)).is_ok());
        assert_eq!(Glob::parse(&"*".repeat(GLOB_BYTES_MAX + 1)).expect_err("too long"), GlobTooLong);
    }
}
