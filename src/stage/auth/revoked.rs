//! Credentials and subjects that are believed no longer, whatever their signature or hash says.
//!
//! ```text
//! File = { Line "\n" }        Line = [ Entry ] [ "#" comment ]
//! Entry = ("jti" | "key" | "sub") Blank Value
//! ```
//!
//! The lists are asked after the verdict, so that an entry takes effect at once and nothing is verified again.
//! They come from a file, or from a store that many nodes share; of that one nothing may be known at first, and
//! then nobody is believed: a restart must not undo a revocation.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;

use super::provider::Refusal;
use crate::policy::identity::Identity;

/// A longer entry is not understood: ids and subjects have a few dozen bytes.
pub const ENTRY_BYTES_MAX: usize = 512;

/// An entry holds for so long after its time, in seconds: the greatest `skew` lets a token pass for as long after
/// its end.
pub const GRACE_S: u64 = 600;

/// See the module's documentation.
#[derive(Debug)]
pub struct Revoked {
    /// `None` until somebody has told.
    lists: ArcSwapOption<Lists>,
    /// What gives the lists, for as long as they are wanted.
    feed: OnceLock<Arc<dyn Any + Send + Sync>>,
}

/// What is revoked, each with the second from which on it does not matter any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    tokens: HashMap<Arc<str>, u64>,
    keys: HashMap<Arc<str>, u64>,
    subjects: HashMap<Arc<str>, u64>,
}

/// What the credential of an identity is: an id that a token and a key have in common says nothing of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    Token,
    Key,
}

/// A line that says nothing known; the whole file is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected `jti VALUE`, `key ID` or `sub VALUE`")]
pub struct RevokedError {
    pub line: usize,
}

impl Revoked {
    /// Nobody is believed before the first [`replace`](Self::replace).
    pub fn awaited() -> Self {
        Self { lists: ArcSwapOption::empty(), feed: OnceLock::new() }
    }

    /// Puts other lists in the place of those before.
    pub fn replace(&self, lists: Lists) {
        self.lists.store(Some(lists.into()));
    }

    /// The lists as they are; `None` until somebody has told.
    pub fn current(&self) -> Option<Arc<Lists>> {
        self.lists.load_full()
    }

    /// Holds what gives the lists, so that both live as long.
    pub fn feed(&self, feed: Arc<dyn Any + Send + Sync>) {
        let _ = self.feed.set(feed);
    }

    /// Judges who was believed so far; `now_s` is in seconds since 1970.
    pub(super) fn pass(
        &self,
        identity: Arc<Identity>,
        credential: Credential,
        now_s: u64,
    ) -> Result<Arc<Identity>, Refusal> {
        let lists = self.lists.load();
        match lists.as_ref() {
            None => Err(Refusal::Unavailable("revocations are not known")),
            Some(lists) if lists.has(&identity, credential, now_s) => Err(Refusal::Invalid("revoked")),
            Some(_) => Ok(identity),
        }
    }
}

impl Default for Revoked {
    fn default() -> Self {
        Self { lists: ArcSwapOption::from_pointee(Lists::default()), feed: OnceLock::new() }
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
            if !line.is_empty() && !line.starts_with('#') && !lists.insert(line, u64::MAX) {
                return Err(RevokedError { line: index + 1 });
            }
        }
        Ok(lists)
    }

    /// Notes an entry; `false` if it is not understood.
    pub fn insert(&mut self, entry: &str, until_s: u64) -> bool {
        let place = self.place(entry).map(|(list, value)| list.insert(value.into(), until_s));
        place.is_some()
    }

    /// Takes an entry back.
    pub fn remove(&mut self, entry: &str) {
        if let Some((list, value)) = self.place(entry) {
            list.remove(value);
        }
    }

    /// Forgets what does not matter any more.
    pub fn forget_past(&mut self, now_s: u64) {
        for list in [&mut self.tokens, &mut self.keys, &mut self.subjects] {
            list.retain(|_, until_s| now_s < *until_s);
        }
    }

    /// Whether there is anything that still matters.
    pub fn holds_any(&self, now_s: u64) -> bool {
        [&self.tokens, &self.keys, &self.subjects]
            .into_iter()
            .any(|list| list.values().any(|until_s| now_s < *until_s))
    }

    pub fn len(&self) -> usize {
        self.tokens.len() + self.keys.len() + self.subjects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The list that an entry belongs to, and what stands there.
    fn place<'e>(&mut self, entry: &'e str) -> Option<(&mut HashMap<Arc<str>, u64>, &'e str)> {
        if entry.len() > ENTRY_BYTES_MAX {
            return None;
        }
        let (kind, value) = entry.trim().split_once([' ', '\t'])?;
        let list = match kind {
            "jti" => &mut self.tokens,
            "key" => &mut self.keys,
            "sub" => &mut self.subjects,
            _ => return None,
        };
        Some((list, value.trim_start()))
    }

    fn has(&self, identity: &Identity, credential: Credential, now_s: u64) -> bool {
        let credentials = match credential {
            Credential::Token => &self.tokens,
            Credential::Key => &self.keys,
        };
        let holds = |list: &HashMap<Arc<str>, u64>, name: &str| {
            !list.is_empty() && list.get(name).is_some_and(|until_s| now_s < *until_s)
        };
        holds(&self.subjects, &identity.subject) || holds(credentials, &identity.credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::identity::{Profile, Proven};

    const NOW_S: u64 = 1000;

    fn identity(subject: &str, credential: &str) -> Arc<Identity> {
        let proven = Proven { subject: subject.into(), credential: credential.into(), ..Proven::default() };
        Profile::new("corp").identify(proven)
    }

    #[test]
    fn lines_are_tokens_keys_or_subjects() {
        let check = |text: &str, expected: Result<[usize; 3], usize>| {
            let found =
                Lists::parse(text).map(|lists| [lists.tokens.len(), lists.keys.len(), lists.subjects.len()]);
            assert_eq!(found, expected.map_err(|line| RevokedError { line }), "{text}");
        };
        check("", Ok([0, 0, 0]));
        check("# none\n\n", Ok([0, 0, 0]));
        check("jti a\nsub b # left\nsub  c d\r\nkey k", Ok([1, 1, 2]));
        check("jti a\njti", Err(2));
        check("kid a", Err(1));
        check("a", Err(1));
        let longest = format!("sub {}", "x".repeat(ENTRY_BYTES_MAX - 4));
        check(&longest, Ok([0, 0, 1]));
        check(&format!("{longest}x"), Err(1));
    }

    #[test]
    fn a_line_names_its_own_kind() {
        let check = |lines: &str, credential: Credential, expected: [(&str, &str, bool); 3]| {
            let revoked = Revoked::default();
            revoked.replace(Lists::parse(lines).expect("good lines"));
            for (subject, id, is_revoked) in expected {
                let verdict = revoked.pass(identity(subject, id), credential, NOW_S);
                assert_eq!(
                    verdict.err(),
                    is_revoked.then_some(Refusal::Invalid("revoked")),
                    "{subject} {id}"
                );
            }
        };
        check("", Credential::Token, [("", "", false), ("x", "a", false), ("b", "x", false)]);
        check("jti a\nsub b", Credential::Token, [("x", "a", true), ("b", "x", true), ("a", "b", false)]);
        check(
            "jti a\nkey k\nsub b",
            Credential::Key,
            [("x", "a", false), ("x", "k", true), ("b", "x", true)],
        );
        check("key k", Credential::Token, [("x", "k", false), ("k", "x", false), ("", "", false)]);
    }

    #[test]
    fn an_entry_ends_with_its_time_and_can_be_taken_back() {
        let mut lists = Lists::default();
        assert!(
            lists.insert("jti a", 2000) && lists.insert("sub b", 3000) && lists.insert("key c", u64::MAX)
        );
        assert!(!lists.insert("what", 2000) && !lists.insert("", 2000));
        let has = |lists: &Lists, now_s: u64| lists.has(&identity("", "a"), Credential::Token, now_s);
        assert!(has(&lists, 1999) && !has(&lists, 2000));
        lists.forget_past(2000);
        assert_eq!(lists.len(), 2);
        lists.remove("sub b");
        lists.remove("sub unknown");
        assert_eq!(lists.len(), 1);
    }

    #[test]
    fn nobody_is_believed_before_the_lists_are_known() {
        let revoked = Revoked::awaited();
        let pass = || revoked.pass(identity("a", "b"), Credential::Token, NOW_S).err();
        assert_eq!(pass(), Some(Refusal::Unavailable("revocations are not known")));
        revoked.replace(Lists::default());
        assert_eq!(pass(), None);
    }
}
