//! Tokens and subjects that are believed no longer, whatever their signature says.
//!
//! ```text
//! File = { Line "\n" }        Line = [ ("jti" | "sub") Blank Value ] [ "#" comment ]
//! ```
//!
//! The set is asked after the verdict, so that a line takes effect at once and nothing is verified again.

use std::any::Any;
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use crate::policy::identity::Identity;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Revoked {
    lists: ArcSwap<Lists>,
    /// What gives the lists, for as long as they are wanted.
    feed: OnceLock<Arc<dyn Any + Send + Sync>>,
}

/// The content of a file of revocations.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lists {
    tokens: HashSet<Box<str>>,
    subjects: HashSet<Box<str>>,
}

/// A line that says nothing known; the whole file is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected `jti VALUE` or `sub VALUE`")]
pub struct RevokedError {
    pub line: usize,
}

impl Revoked {
    /// Puts other lists in the place of those before.
    pub fn replace(&self, lists: Lists) {
        self.lists.store(lists.into());
    }

    /// Holds what gives the lists, so that both live as long.
    pub fn feed(&self, feed: Arc<dyn Any + Send + Sync>) {
        let _ = self.feed.set(feed);
    }

    pub(in crate::stage::auth) fn has(&self, identity: &Identity) -> bool {
        let lists = self.lists.load();
        !lists.subjects.is_empty() && lists.subjects.contains(&*identity.subject)
            || !lists.tokens.is_empty() && lists.tokens.contains(&*identity.credential)
    }
}

impl Lists {
    /// # Errors
    ///
    /// The first line that is not understood.
    pub fn parse(text: &str) -> Result<Self, RevokedError> {
        let mut lists = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.split_once(" #").map_or(line, |(line, _)| line).trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let known = line.split_once([' ', '\t']).and_then(|(kind, value)| {
                let set = match kind {
                    "jti" => &mut lists.tokens,
                    "sub" => &mut lists.subjects,
                    _ => return None,
                };
                set.insert(value.trim_start().into());
                Some(())
            });
            known.ok_or(RevokedError { line: index + 1 })?;
        }
        Ok(lists)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::identity::{Profile, Proven};

    #[test]
    fn lines_are_tokens_or_subjects() {
        let check = |text: &str, expected: Result<(usize, usize), usize>| {
            let found = Lists::parse(text).map(|lists| (lists.tokens.len(), lists.subjects.len()));
            assert_eq!(found, expected.map_err(|line| RevokedError { line }), "{text}");
        };
        check("", Ok((0, 0)));
        check("# none\n\n", Ok((0, 0)));
        check("jti a\nsub b # left\nsub  c d\r\n", Ok((1, 2)));
        check("jti a\njti", Err(2));
        check("kid a", Err(1));
        check("a", Err(1));
    }

    #[test]
    fn a_line_names_its_own_kind() {
        let revoked = Revoked::default();
        let has = |subject: &str, credential: &str| {
            let proven =
                Proven { subject: subject.into(), credential: credential.into(), ..Proven::default() };
            revoked.has(&Profile::new("corp").identify(proven))
        };
        assert!(!has("", ""));
        revoked.replace(Lists::parse("jti a\nsub b").expect("good lines"));
        assert!(has("x", "a") && has("b", "x"));
        assert!(!has("a", "b") && !has("", ""));
    }
}
