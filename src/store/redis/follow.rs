//! A sorted set of a store, followed: read as a whole now and then, and at once where a message says so.
//!
//! ```text
//! subscribe ─▶ read all ─▶ wait ─┬─ message: the scores of the members it names ─┬─▶ wait
//!     ▲                          ├─ empty message, or the interval: read all ────┘
//!     └── pause ◀── failure ─────┘
//! ```
//!
//! The set is the truth and a message only says where to look, so that none that is lost, late or sent twice makes
//! a node believe something else. What came between two connections is found by the read behind the subscription.
//! Nothing is ever written, so that a user with `~KEY &CHANNEL +zrangebyscore +zmscore +subscribe +ping` will do.

use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::aio::{MultiplexedConnection, PubSubSink, PubSubStream};
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisError};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::StreamExt;

use super::{RedisSettings, client, words};

/// Which set is followed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSettings {
    pub key: Box<str>,
    pub channel: Box<str>,
    /// Between two reads of the whole set.
    pub interval: Duration,
    /// A larger set is not read.
    pub members_max: usize,
    /// A message that names a longer member has the whole set read.
    pub member_bytes_max: usize,
    /// Members are scored by their end in seconds since 1970; those whose end is longer ago are not read.
    pub grace: Duration,
}

/// What the set says.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// All members that matter, with their scores; whether an empty message wanted to have them read.
    All { members: Vec<(Vec<u8>, f64)>, is_wanted: bool },
    /// Members that may have changed; without a score they are not in the set.
    Some(Vec<(Vec<u8>, Option<f64>)>),
}

/// Why the set is not known as it is now; it is tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    #[error("no answer of the store in time")]
    Timeout,
    #[error("{0}")]
    Failed(String),
    #[error("the store closed the connection")]
    Closed,
    #[error("the set has more than {0} members")]
    TooMany(usize),
}

/// A set that is followed for as long as this is held.
#[derive(Debug)]
pub struct Following(JoinHandle<()>);

/// A store that is stopped accepts and says nothing; a large set takes a while.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts, doubled from the least to the most.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Members that are asked for at once.
const BATCH_MAX: usize = 256;
/// Messages that are looked at before the store is asked.
const MESSAGES_MAX: usize = 10_000;

/// Follows a set on `runtime`, and tells what is known of it as soon as it is.
///
/// # Errors
///
/// In words: what is wrong with the certificates to trust.
pub fn follow(
    store: &RedisSettings,
    set: SetSettings,
    runtime: &Handle,
    tell: impl Fn(Result<Told, FollowError>) + Send + Sync + 'static,
) -> Result<Following, String> {
    let client = client(store)?;
    Ok(Following(runtime.spawn(async move {
        let mut pause = PAUSE_MIN;
        loop {
            let begun = Instant::now();
            let Err(error) = Session::hold(&client, &set, &tell).await;
            tell(Err(error));
            // A connection that held for a while was a good one.
            pause = if begun.elapsed() > PAUSE_MAX { PAUSE_MIN } else { pause };
            tokio::time::sleep(pause).await;
            pause = PAUSE_MAX.min(pause * 2);
        }
    })))
}

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Two connections: one that is subscribed may not ask.
struct Session<'s> {
    set: &'s SetSettings,
    questions: MultiplexedConnection,
    subscription: PubSubSink,
    messages: PubSubStream,
}

/// What messages ask for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// Whether an empty message was among them.
    All {
        is_empty: bool,
    },
    Some(Vec<Vec<u8>>),
}

impl<'s> Session<'s> {
    /// Follows the set for as long as the connections hold.
    async fn hold(
        client: &Client,
        set: &'s SetSettings,
        tell: &impl Fn(Result<Told, FollowError>),
    ) -> Result<Infallible, FollowError> {
        let mut session = Self::open(client, set).await?;
        let (mut next, mut is_wanted) = (Instant::now(), false);
        loop {
            tokio::select! {
                biased;
                () = sleep_until(next) => {
                    // The other end of a quiet connection may be gone without a word.
                    within(session.subscription.ping::<redis::Value>()).await?;
                    match session.read_all().await {
                        Ok(members) => tell(Ok(Told::All { members, is_wanted })),
                        Err(error @ FollowError::TooMany(_)) => tell(Err(error)),
                        Err(error) => return Err(error),
                    }
                    (next, is_wanted) = (Instant::now() + set.interval, false);
                }
                first = session.messages.next() => {
                    let first = first.ok_or(FollowError::Closed)?;
                    match session.gather(first).await {
                        Wanted::All { is_empty } => (next, is_wanted) = (Instant::now(), is_empty),
                        Wanted::Some(members) => tell(Ok(session.read(members).await?)),
                    }
                }
            }
        }
    }

    async fn open(client: &Client, set: &'s SetSettings) -> Result<Self, FollowError> {
        let (mut subscription, messages) = within(client.get_async_pubsub()).await?.split();
        within(subscription.subscribe(&*set.channel)).await?;
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let questions = within(client.get_multiplexed_async_connection_with_config(&config)).await?;
        Ok(Self { set, questions, subscription, messages })
    }

    /// The members that a message and those right behind it name.
    async fn gather(&mut self, first: redis::Msg) -> Wanted {
        let mut wanted = Wanted::new(first.get_payload_bytes(), self.set.member_bytes_max);
        // Without a wait: what is there already.
        for _ in 0..MESSAGES_MAX {
            let Ok(Some(message)) = timeout(Duration::ZERO, self.messages.next()).await else { break };
            wanted.add(message.get_payload_bytes(), self.set.member_bytes_max);
        }
        wanted
    }

    async fn read_all(&mut self) -> Result<Vec<(Vec<u8>, f64)>, FollowError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let least = format!("({}", now.saturating_sub(self.set.grace).as_secs());
        let members_max = self.set.members_max;
        let mut question = redis::cmd("ZRANGEBYSCORE");
        question.arg(&*self.set.key).arg(least).arg("+inf").arg("WITHSCORES");
        // One more tells that there are too many.
        question.arg("LIMIT").arg(0).arg(members_max.saturating_add(1));
        let members: Vec<(Vec<u8>, f64)> = self.ask(&question).await?;
        if members.len() > members_max {
            return Err(FollowError::TooMany(members_max));
        }
        Ok(members)
    }

    async fn read(&mut self, members: Vec<Vec<u8>>) -> Result<Told, FollowError> {
        let mut question = redis::cmd("ZMSCORE");
        question.arg(&*self.set.key).arg(&members);
        let scores: Vec<Option<f64>> = self.ask(&question).await?;
        Ok(Told::Some(members.into_iter().zip(scores).collect()))
    }

    async fn ask<T: FromRedisValue>(&mut self, question: &redis::Cmd) -> Result<T, FollowError> {
        within(question.query_async(&mut self.questions)).await
    }
}

impl Wanted {
    fn new(message: &[u8], member_bytes_max: usize) -> Self {
        let mut wanted = Self::Some(Vec::new());
        wanted.add(message, member_bytes_max);
        wanted
    }

    /// Adds what a message names; an empty one, an odd one and too many want the whole set.
    fn add(&mut self, message: &[u8], member_bytes_max: usize) {
        match self {
            Self::Some(members)
                if !message.is_empty() && message.len() <= member_bytes_max && members.len() < BATCH_MAX =>
            {
                members.push(message.to_vec());
            }
            Self::Some(_) => *self = Self::All { is_empty: message.is_empty() },
            Self::All { is_empty } => *is_empty |= message.is_empty(),
        }
    }
}

async fn within<T>(asked: impl Future<Output = Result<T, RedisError>>) -> Result<T, FollowError> {
    match timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|error| FollowError::Failed(words(error))),
        Err(_) => Err(FollowError::Timeout),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_members_and_odd_ones_want_them_all() {
        let check = |messages: &[&str], expected: Result<usize, bool>| {
            let (first, rest) = messages.split_first().expect("a message");
            let mut wanted = Wanted::new(first.as_bytes(), 8);
            rest.iter().for_each(|message| wanted.add(message.as_bytes(), 8));
            let found = match wanted {
                Wanted::All { is_empty } => Err(is_empty),
                Wanted::Some(members) => Ok(members.len()),
            };
            assert_eq!(found, expected, "{messages:?}");
        };
        check(&["jti abcd"], Ok(1));
        check(&["jti abcde"], Err(false));
        check(&[""], Err(true));
        check(&["a", "", "b"], Err(true));
        check(&["a"; BATCH_MAX], Ok(BATCH_MAX));
        check(&["a"; BATCH_MAX + 1], Err(false));
        check(&["jti abcde", "", "a"], Err(true));
    }
}
