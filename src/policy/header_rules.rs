//! Rules on header values and HTTP methods: `deny.headers: { user-agent: "*bot*" }`.
//!
//! ```text
//! Glob = { literal | "*" }        "*" is any bytes, none included; everything else stands for itself
//! ```
//!
//! A glob covers the whole value, in any case of ASCII letters, and takes time linear in it: no pattern of an
//! operator and no header of a client can make it dwell. A header that is not there matches the empty glob
//! and no other: `""` refuses clients without a `user-agent`, and `*` those that have one.

use http::header::{HeaderMap, HeaderName};
use memchr::memmem::Finder;
use smallvec::SmallVec;

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
#[error("a glob has at most {GLOB_BYTES_MAX} bytes")]
pub struct GlobTooLong;

/// Globs by the header whose values they judge.
#[derive(Clone, Debug, Default)]
pub struct HeaderRules(Box<[(HeaderName, Box<[Glob]>)]>);

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
        let lower = text.to_ascii_lowercase();
        let mut parts = lower.split('*').map(str::as_bytes);
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

    /// Whether `value`, in lower case, is what the pattern describes.
    fn matches_lower(&self, value: &[u8]) -> bool {
        let Some(Rest { middle, suffix }) = &self.rest else { return *value == *self.prefix };
        let inner = value.strip_prefix(&*self.prefix).and_then(|behind| behind.strip_suffix(&**suffix));
        let Some(mut inner) = inner else { return false };
        // The first place where a part fits leaves the most to those behind it: no step is ever taken back.
        middle.iter().all(|part| {
            let found = part.find(inner).and_then(|at| inner.get(at + part.needle().len()..));
            found.map(|behind| inner = behind).is_some()
        })
    }

    fn is_empty(&self) -> bool {
        self.prefix.is_empty() && self.rest.is_none()
    }
}

impl HeaderRules {
    pub fn new(rules: impl IntoIterator<Item = (HeaderName, Vec<Glob>)>) -> Self {
        Self(rules.into_iter().map(|(name, globs)| (name, globs.into_boxed_slice())).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first header with a value that one of its globs matches: reason enough to refuse.
    pub fn first_match(&self, headers: &HeaderMap) -> Option<&HeaderName> {
        let found = self.0.iter().find(|(name, globs)| {
            let mut values = headers.get_all(name).iter().peekable();
            match values.peek() {
                None => globs.iter().any(Glob::is_empty),
                Some(_) => values.any(|value| any_matches(globs, value.as_bytes())),
            }
        });
        found.map(|(name, _)| name)
    }

    /// The first header that is missing, or has a value that none of its globs matches.
    pub fn first_mismatch(&self, headers: &HeaderMap) -> Option<&HeaderName> {
        let found = self.0.iter().find(|(name, globs)| {
            let mut values = headers.get_all(name).iter().peekable();
            match values.peek() {
                None => !globs.iter().any(Glob::is_empty),
                // A second value must not slip through beside a good one: backends differ in which they read.
                Some(_) => !values.all(|value| any_matches(globs, value.as_bytes())),
            }
        });
        found.map(|(name, _)| name)
    }
}

fn any_matches(globs: &[Glob], value: &[u8]) -> bool {
    let mut lower = SmallVec::<[u8; 256]>::from_slice(value);
    lower.make_ascii_lowercase();
    globs.iter().any(|glob| glob.matches_lower(&lower))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn glob(text: &str) -> Glob {
        Glob::parse(text).expect("a glob")
    }

    fn matches(pattern: &str, value: &str) -> bool {
        any_matches(&[glob(pattern)], value.as_bytes())
    }

    #[test]
    fn globs_cover_the_whole_value() {
        let check = |pattern: &str, accepted: &[&str], refused: &[&str]| {
            accepted.iter().for_each(|value| assert!(matches(pattern, value), "`{pattern}` of `{value}`"));
            refused.iter().for_each(|value| assert!(!matches(pattern, value), "`{pattern}` of `{value}`"));
        };
        check("bot", &["bot", "BOT"], &["", "a bot", "bots", "bo"]);
        check("BoT", &["bot"], &["b"]);
        check("", &[""], &["a", " "]);
        check("*", &["", "a", "*"], &[]);
        check("**", &["", "a"], &[]);
        check("*bot*", &["bot", "GoogleBot/2.1", "a bot b"], &["", "b ot", "bo"]);
        check("bot*", &["bot", "bot/2"], &["a bot"]);
        check("*bot", &["bot", "my-bot"], &["bot/2"]);
        check("a*b", &["ab", "aab", "a b", "abab"], &["a", "b", "aba", "ba"]);
        check("a*a", &["aa", "aba"], &["a", ""]);
        check("a*b*c", &["abc", "axbxc", "abbcc", "acbc"], &["acb", "ac", "abcd"]);
        check("*ab*ab*", &["abab", "xabxabx"], &["ab", "aba", "abxa"]);
        check("a**b", &["ab", "axb"], &["a"]);
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

    /// Both judgements of `user-agent` and `x-b`, of headers that each have one line.
    #[track_caller]
    fn judged(
        rules: &[(&'static str, &[&str])],
        headers: &[(&'static str, &str)],
        expected: [Option<&str>; 2],
    ) {
        let rules = HeaderRules::new(rules.iter().map(|(name, globs)| {
            (HeaderName::from_static(name), globs.iter().map(|text| glob(text)).collect())
        }));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        let found = [rules.first_match(&map), rules.first_mismatch(&map)];
        assert_eq!(found.map(|name| name.map(HeaderName::as_str)), expected, "{headers:?}");
    }

    #[test]
    fn one_value_that_matches_denies_and_one_that_does_not_is_not_allowed() {
        let agent = Some("user-agent");
        judged(&[], &[("user-agent", "x")], [None, None]);
        judged(&[("user-agent", &["*bot*"])], &[("user-agent", "bot")], [agent, None]);
        judged(&[("user-agent", &["*bot*"])], &[("user-agent", "curl")], [None, agent]);
        judged(&[("user-agent", &["*bot*", "curl*"])], &[("user-agent", "curl/8")], [agent, None]);
        let twice = [("user-agent", "curl"), ("user-agent", "bot")];
        judged(&[("user-agent", &["*bot*"])], &twice, [agent, agent]);
        judged(&[("user-agent", &["*"]), ("x-b", &["1"])], &[("x-b", "1")], [Some("x-b"), agent]);
    }

    #[test]
    fn a_missing_header_matches_the_empty_glob_only() {
        let b = Some("x-b");
        judged(&[("x-b", &[""])], &[], [b, None]);
        judged(&[("x-b", &["*"])], &[], [None, b]);
        judged(&[("x-b", &["", "1"])], &[], [b, None]);
        judged(&[("x-b", &["1"])], &[("x-c", "1")], [None, b]);
        // An empty value is a value.
        judged(&[("x-b", &[""])], &[("x-b", "")], [b, None]);
        judged(&[("x-b", &["*"])], &[("x-b", "")], [b, None]);
    }
}
