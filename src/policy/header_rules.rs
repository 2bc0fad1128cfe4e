//! Rules on header values: `deny.headers: { user-agent: "*bot*" }`.
//!
//! Values are compared in any case of ASCII letters. A header that is not there matches the empty glob and no
//! other: `""` refuses clients without a `user-agent`, and `*` those that have one.

use http::header::{HeaderMap, HeaderName};
use smallvec::SmallVec;

use super::glob::{Glob, GlobTooLong};

/// Globs by the header whose values they judge.
#[derive(Clone, Debug, Default)]
pub struct HeaderRules(Box<[(HeaderName, Box<[Glob]>)]>);

impl HeaderRules {
    /// Reads the globs of each header.
    ///
    /// # Errors
    ///
    /// One of them is too long.
    pub fn parse<'t>(
        rules: impl IntoIterator<Item = (HeaderName, &'t [String])>,
    ) -> Result<Self, GlobTooLong> {
        let glob = |text: &String| Glob::parse(&text.to_ascii_lowercase());
        let rule = |(name, texts): (HeaderName, &'t [String])| {
            Ok((name, texts.iter().map(glob).collect::<Result<_, _>>()?))
        };
        rules.into_iter().map(rule).collect::<Result<_, _>>().map(Self)
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
    globs.iter().any(|glob| glob.matches(&lower))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// Both judgements of `user-agent` and `x-b`, of headers that each have one line.
    #[track_caller]
    fn judged(
        rules: &[(&'static str, &[&str])],
        headers: &[(&'static str, &str)],
        expected: [Option<&str>; 2],
    ) {
        let texts = |globs: &[&str]| globs.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let rules: Vec<_> =
            rules.iter().map(|(name, globs)| (HeaderName::from_static(name), texts(globs))).collect();
        let rules = rules.iter().map(|(name, globs)| (name.clone(), globs.as_slice()));
        let rules = HeaderRules::parse(rules).expect("globs");
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
        judged(&[("user-agent", &["*Bot*"])], &[("user-agent", "GoogleBOT/2")], [agent, None]);
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
