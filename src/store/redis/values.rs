//! Values that several nodes share for a while: one node makes a value, all read it, any of them has it forgotten.
//!
//! ```text
//! look ─┬─ Found: the value, and how long it still lives
//!       ├─ Right: nobody makes it, so the asker does ─▶ keep, or release
//!       └─ Busy: somebody makes it
//! purge ─▶ a numbered entry of a sorted set, and a message ─▶ every node that follows the set
//! ```
//!
//! Values are not searched: a purge is a note that whoever reads a value holds against what is written in it. Every
//! question has the store's timeout; what a value means is the caller's affair.

use std::fmt::Write;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use redis::{AsyncConnectionConfig, Script};
use tokio::runtime::Handle;

use super::follow::{FollowError, Following, SetSettings, Told, follow};
use super::link::Link;
use super::{RedisSettings, StoreError, client, words};

static LOOK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("value_look.lua")));
static KEEP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("value_keep.lua")));
static RELEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("value_release.lua")));
static PURGE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("value_purge.lua")));

/// Values under names that begin alike.
#[derive(Debug)]
pub struct Values {
    settings: RedisSettings,
    link: Arc<Link>,
    runtime: Handle,
    /// Tells this node's rights from those of others.
    node: u64,
    rights: AtomicU64,
    following: OnceLock<Following>,
}

/// What there is under a key.
#[derive(Debug)]
pub enum Looked {
    Found {
        value: Vec<u8>,
        left: Duration,
    },
    /// The asker makes it.
    Right,
    /// Somebody else makes it.
    Busy,
}

/// The bytes by which a value is found: a digest of what it is about.
pub type ValueKey = [u8; 32];

/// One attempt to make a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(Box<str>);

/// How a value begins, which tells it from the one that takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning(Vec<u8>);

/// A purge that nodes were told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Larger than those of all purges before it.
    pub number: u64,
    pub text: Vec<u8>,
}

/// In every key, after the store's prefix.
const NAME: &str = "cache";

/// How long a value lives at most, and so how long a purge is remembered.
pub const LIFE_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long whoever makes a value may take until the next one tries.
pub const RIGHT: Duration = Duration::from_secs(5);

/// As the script has it.
const BEGINNING_BYTES: usize = 32;

/// Purges that are remembered; one more becomes a purge of everything.
const PURGES_MAX: usize = 4096;

/// Of one purge.
const PURGE_BYTES_MAX: usize = 64 << 10;

/// Between two reads of all purges: so late is what no message told.
const INTERVAL: Duration = Duration::from_secs(10);

/// Nodes whose clocks are behind by no more read every purge that holds.
const GRACE: Duration = Duration::from_secs(3600);

/// An operator waits for longer than a call does.
const PURGE_TIMEOUT: Duration = Duration::from_secs(2);

impl Values {
    /// Values of a store; what is done beside calls is done on `runtime`.
    ///
    /// # Errors
    ///
    /// In words: what is wrong with the certificates to trust.
    pub fn new(settings: RedisSettings, runtime: &Handle) -> Result<Self, String> {
        let link = Link::new(client(&settings)?, settings.timeout);
        let node = RandomState::new().build_hasher().finish();
        let (rights, following) = (AtomicU64::new(0), OnceLock::new());
        Ok(Self { settings, link, runtime: runtime.clone(), node, rights, following })
    }

    pub fn settings(&self) -> &RedisSettings {
        &self.settings
    }

    /// Where work goes on that no call waits for.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Tells of purges as they come, by `true` of all that there are, and of a store that cannot be followed.
    pub fn follow(&self, tell: impl Fn(Result<(Vec<Noted>, bool), FollowError>) + Send + Sync + 'static) {
        self.following.get_or_init(|| {
            let set = SetSettings {
                key: self.purges().into(),
                channel: self.purges().into(),
                interval: INTERVAL,
                members_max: PURGES_MAX + 1,
                member_bytes_max: PURGE_BYTES_MAX + 32,
                grace: GRACE,
            };
            let tell = move |told: Result<Told, FollowError>| {
                tell(told.map(|told| match told {
                    Told::All { members, .. } => {
                        (members.iter().filter_map(|(member, _)| Noted::read(member)).collect(), true)
                    }
                    Told::Some(members) => {
                        (members.iter().filter_map(|(member, _)| Noted::read(member)).collect(), false)
                    }
                }));
            };
            follow(&self.settings, set, &self.runtime, tell).expect("`new` read the same certificates")
        });
    }

    /// A token for one attempt.
    pub fn token(&self) -> Token {
        let number = self.rights.fetch_add(1, Ordering::Relaxed);
        Token(format!("{:016x}:{number}", self.node).into())
    }

    /// The value of a key that is no longer than `bytes_max`, or the right to make it in the place of the one that
    /// is `unwanted`.
    ///
    /// # Errors
    ///
    /// There is no answer. The right may have been given nevertheless: [`release`](Self::release) it.
    pub async fn look(
        &self,
        key: &ValueKey,
        token: &Token,
        bytes_max: usize,
        unwanted: Option<&Beginning>,
    ) -> Result<Looked, StoreError> {
        let [value, right] = self.keys(key);
        let mut script = LOOK.prepare_invoke();
        script
            .key(value)
            .key(right)
            .arg(&*token.0)
            .arg(millis(RIGHT))
            .arg(bytes_max)
            .arg(unwanted.map_or(&[][..], |beginning| &beginning.0));
        let (kind, left_ms, value) = self.link.run::<(u8, i64, Vec<u8>)>(&script).await?;
        Ok(match kind {
            1 => {
                // A value without an end is none of ours.
                let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
                Looked::Found { value, left }
            }
            2 => Looked::Right,
            _ => Looked::Busy,
        })
    }

    /// Keeps a value for `life`, and gives the right back if there is one.
    ///
    /// # Errors
    ///
    /// There is no answer.
    pub async fn keep(
        &self,
        key: &ValueKey,
        token: &Token,
        value: &[u8],
        life: Duration,
    ) -> Result<(), StoreError> {
        let [kept, right] = self.keys(key);
        let mut script = KEEP.prepare_invoke();
        script.key(kept).key(right).arg(&*token.0).arg(millis(life.min(LIFE_MAX)).max(1)).arg(value);
        self.link.run::<i64>(&script).await.map(drop)
    }

    /// Gives the right back without a value.
    pub async fn release(&self, key: &ValueKey, token: &Token) {
        let [_, right] = self.keys(key);
        let mut script = RELEASE.prepare_invoke();
        script.key(right).arg(&*token.0);
        // Otherwise it ends by itself.
        let _ = self.link.run::<i64>(&script).await;
    }

    /// Notes a purge, and tells every node of it; `everything` says the same of all values.
    ///
    /// # Errors
    ///
    /// In words, for operators: other nodes may not know.
    pub async fn purge(&self, text: &str, everything: &str) -> Result<Noted, String> {
        let text = if text.len() > PURGE_BYTES_MAX { everything } else { text };
        let mut script = PURGE.prepare_invoke();
        script.key(self.purges()).key(format!("{}:purged", self.root()));
        script.arg((LIFE_MAX + GRACE).as_secs()).arg(PURGES_MAX).arg(self.purges()).arg(text).arg(everything);
        let noted = async {
            let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
            let client = client(&self.settings)?;
            let mut connection =
                client.get_multiplexed_async_connection_with_config(&config).await.map_err(words)?;
            script.invoke_async::<Vec<u8>>(&mut connection).await.map_err(words)
        };
        let noted = tokio::time::timeout(PURGE_TIMEOUT, noted).await;
        let noted = noted.unwrap_or_else(|_| Err("no answer in time".to_owned()))?;
        Noted::read(&noted).ok_or_else(|| "an answer that is none".to_owned())
    }

    /// Both keys of a value, which a cluster has in one place.
    fn keys(&self, key: &ValueKey) -> [String; 2] {
        let mut value = format!("{}:{NAME}:{{", self.settings.prefix);
        for byte in key {
            write!(value, "{byte:02x}").expect("writing to a String does not fail");
        }
        value.push('}');
        let right = format!("{value}:fill");
        [value, right]
    }

    fn purges(&self) -> String {
        format!("{}:purges", self.root())
    }

    fn root(&self) -> String {
        format!("{{{}:{NAME}}}", self.settings.prefix)
    }
}

impl Beginning {
    /// Of a value that begins with a digest of the rest.
    pub fn of(value: &[u8]) -> Self {
        let begins = value.get(..BEGINNING_BYTES).unwrap_or(value);
        // One byte more: also an empty value is one.
        Self([b"=", begins].concat())
    }
}

impl Noted {
    /// `NUMBER:TEXT`; anything else was written by nobody who purges.
    fn read(member: &[u8]) -> Option<Self> {
        let mut parts = member.splitn(2, |byte| *byte == b':');
        let number = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        Some(Self { number, text: parts.next()?.to_vec() })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
