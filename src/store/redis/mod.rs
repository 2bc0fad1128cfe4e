//! Cells in a Redis or Valkey that several nodes share: exact by a script, cheap by leases.
//!
//! ```text
//! begin: the lease of the key spends or refuses ─ or ─▶ ask: one script, one round trip, all limits of a key
//! ```
//!
//! A [`RedisStore`] belongs to the process, a [`Link`] to a worker. Whoever gets [`StoreError`] decides by
//! `on_store_error`; [`RedisStore::fall_back`] is the node's own share of the limits, counted here.

mod asking;
mod breaker;
pub mod follow;
mod link;
mod script;
pub mod values;

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates,
};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::clock;
use super::key::{Hashed, Key};
use super::memory::{Few, KEYS_DEFAULT, MemoryStore};
use crate::policy::lease::{self, Lease, Question, Step};
use crate::policy::limit::{Limit, Standing};
use crate::policy::secret::Secret;
use asking::{Looked, Turn};
use script::Told;

pub use asking::Asking;
pub use link::Link;

/// Where a store is and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSettings {
    /// Its name in the configuration.
    pub name: Arc<str>,
    pub host: Box<str>,
    pub port: u16,
    pub tls: bool,
    pub database: u32,
    pub user: Option<Box<str>>,
    pub password: Option<Secret>,
    /// Certificates (PEM) to trust instead of the system's.
    pub ca: Option<Box<[u8]>>,
    /// For one question, whatever it takes.
    pub timeout: Duration,
    /// Before every key, so that several gateways can share one server.
    pub prefix: Box<str>,
    /// How many nodes share the limits; `None`: as many as say so in the store.
    pub nodes: Option<u32>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct RedisStore {
    settings: RedisSettings,
    client: Client,
    shards: Box<[Mutex<Entries>]>,
    /// Last count of nodes that are alive.
    nodes: AtomicU32,
    /// The node's own share while the store does not answer.
    local: MemoryStore,
    told_ns: AtomicU64,
    runtime: Handle,
    /// Whether the heartbeat has begun.
    is_counted: AtomicBool,
}

/// The limits of one policy for one subject: what one question asks.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// The policy: its name is the bucket.
    pub name: &'a str,
    /// What the subject is made of, the same on every node.
    pub words: &'a [u8],
    /// The same for this process.
    pub key: Key,
    pub limits: &'a [Limit],
    pub cost: u64,
}

/// What is known without asking.
#[derive(Debug)]
pub enum Begun {
    Taken(Few<Standing>),
    Refused(Refused),
    Ask(Box<Asking>),
}

/// What the store said.
#[derive(Debug)]
pub enum Verdict {
    /// By a debit at the store, or from a lease.
    Taken(Few<Standing>, Option<Box<Paid>>),
    Refused(Refused),
}

/// Not now.
#[derive(Debug)]
pub struct Refused {
    /// Until all limits have room.
    pub retry_ns: u64,
    /// What each of them had left; empty where that is not known any more.
    pub standings: Few<Standing>,
}

/// A debit at the store, with what it takes to give it back.
#[derive(Clone, Debug)]
pub struct Paid {
    tag: Arc<str>,
    limits: Few<Limit>,
    states: Few<u64>,
    key: Key,
    cost: u64,
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum StoreError {
    #[error("no connection")]
    Down,
    #[error("no answer in time")]
    Timeout,
    #[error("{0}")]
    Failed(String),
}

type Entries = HashMap<Key, Entry, BuildHasherDefault<Hashed>>;

/// What this node knows of one key.
#[derive(Debug)]
struct Entry {
    lease: Lease,
    /// What the store said last, and when.
    told: Few<Told>,
    told_ns: u64,
    tag: Arc<str>,
    limits: Few<Limit>,
    /// Wakes those who wait for an answer.
    answered: Arc<Notify>,
}

const SHARDS: usize = 64;

/// Keys with a lease or a remembered refusal; further ones ask each time.
const ENTRIES_MAX: usize = 100_000 / SHARDS;

/// How often a node says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// How long the others believe it.
const BELIEVED_S: u64 = 7;

/// Between two log lines about a store that does not answer.
const TELL_INTERVAL_NS: u64 = 60_000_000_000;

impl RedisStore {
    /// A store; what it does beside its calls is done on `runtime`.
    ///
    /// # Errors
    ///
    /// In words: what is wrong with the certificates to trust.
    pub fn start(settings: RedisSettings, runtime: &Handle) -> Result<Arc<Self>, String> {
        let store = Arc::new(Self {
            client: client(&settings)?,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            nodes: AtomicU32::new(settings.nodes.unwrap_or(1)),
            local: MemoryStore::new(KEYS_DEFAULT),
            told_ns: AtomicU64::new(0),
            runtime: runtime.clone(),
            is_counted: AtomicBool::new(false),
            settings,
        });
        Ok(store)
    }

    pub fn settings(&self) -> &RedisSettings {
        &self.settings
    }

    /// Begins the heartbeat that counts the nodes: whoever only checks a configuration is none.
    pub fn be_counted(self: &Arc<Self>) {
        if !self.is_counted.swap(true, Ordering::Relaxed) {
            self.runtime.spawn(beat(Arc::downgrade(self)));
        }
    }

    /// A worker's connection; it opens when it is first used.
    pub fn link(self: &Arc<Self>) -> Arc<Link> {
        self.be_counted();
        Link::new(self.client.clone(), self.settings.timeout)
    }

    /// How many nodes share the limits.
    pub fn nodes(&self) -> u32 {
        self.nodes.load(Ordering::Relaxed).max(1)
    }

    /// Where the node counts its own share of the limits while the store does not answer.
    pub fn fall_back(&self) -> &MemoryStore {
        &self.local
    }

    /// Spends what is leased, or says what to ask.
    pub fn begin(self: &Arc<Self>, group: &Group<'_>) -> Begun {
        let now_ns = clock::now_ns();
        let mut entries = self.entries(group.key);
        let has_room = entries.len() < ENTRIES_MAX;
        let entry = match entries.get_mut(&group.key) {
            Some(entry) => entry,
            None if has_room => entries.entry(group.key).or_insert(Entry {
                lease: Lease::default(),
                told: Few::new(),
                told_ns: now_ns,
                tag: self.tag(group),
                limits: Few::from_slice(group.limits),
                answered: Arc::default(),
            }),
            None => {
                drop(entries);
                let tag = self.tag(group);
                return Begun::Ask(Asking::new(
                    self.clone(),
                    tag,
                    group,
                    Turn::Ask(Few::new(), Question::alone(group.cost)),
                ));
            }
        };
        let most = entry.most(group.limits, self.nodes());
        let step = entry.lease.step(now_ns, group.cost, most);
        match entry.look(step, now_ns) {
            Looked::Taken(standings) => Begun::Taken(standings),
            Looked::Refused(refused) => Begun::Refused(refused),
            Looked::Turn(turn) => {
                let tag = entry.tag.clone();
                drop(entries);
                Begun::Ask(Asking::new(self.clone(), tag, group, turn))
            }
        }
    }

    /// Gives back what the lease of a key spent, or nothing when the lease is over.
    pub fn unspend(&self, key: Key, cost: u64) -> bool {
        let mut entries = self.entries(key);
        entries.get_mut(&key).is_some_and(|entry| entry.lease.give_back(clock::now_ns(), cost))
    }

    /// Gives back what was debited at the store: to the lease, or in the background by a script.
    pub fn give_back(&self, link: &Arc<Link>, paid: Box<Paid>) {
        if self.unspend(paid.key, paid.cost) {
            return;
        }
        let link = link.clone();
        tokio::spawn(async move {
            let script = script::give_back(&paid.tag, &paid.limits, &paid.states, paid.cost);
            // What cannot be given back was taken: that admits less, never more.
            let _ = link.run::<i64>(&script).await;
        });
    }

    /// A debit that somebody else keeps only the states of.
    pub fn paid(&self, group: &Group<'_>, states: &[u64]) -> Box<Paid> {
        let (tag, limits) = (self.tag(group), Few::from_slice(group.limits));
        Box::new(Paid { tag, limits, states: Few::from_slice(states), key: group.key, cost: group.cost })
    }

    /// Whether it is time to tell the operator once more that the store does not answer.
    pub fn is_time_to_tell(&self) -> bool {
        let now_ns = clock::now_ns();
        let told_ns = self.told_ns.load(Ordering::Relaxed);
        (told_ns == 0 || now_ns.saturating_sub(told_ns) >= TELL_INTERVAL_NS)
            && self.told_ns.compare_exchange(told_ns, now_ns, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The part of a key that is the same for all limits of a subject; a cluster places it by what is in braces.
    fn tag(&self, group: &Group<'_>) -> Arc<str> {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, group.words);
        let mut tag = format!("{}:{{{}:", self.settings.prefix, group.name);
        for byte in digest.as_ref().iter().take(16) {
            write!(tag, "{byte:02x}").expect("writing to a String does not fail");
        }
        tag.push('}');
        tag.into()
    }

    /// Forgets keys that nobody uses; units that their quotas were charged for and nobody spent go back.
    async fn sweep(&self, link: &Arc<Link>) {
        for shard in &self.shards {
            let now_ns = clock::now_ns();
            let mut unspent = Vec::new();
            lock(shard).retain(|_, entry| {
                let is_idle = entry.lease.is_idle(now_ns);
                if is_idle && entry.lease.left() > 0 && entry.has_quota() {
                    unspent.push((
                        entry.tag.clone(),
                        entry.limits.clone(),
                        entry.states(),
                        entry.lease.left(),
                    ));
                }
                !is_idle
            });
            for (tag, limits, states, left) in unspent {
                let _ = link.run::<i64>(&script::give_back(&tag, &limits, &states, left)).await;
            }
        }
    }

    fn entries(&self, key: Key) -> MutexGuard<'_, Entries> {
        lock(&self.shards[key.shard(SHARDS)])
    }
}

impl Paid {
    /// What each limit said right after.
    pub fn states(&self) -> &[u64] {
        &self.states
    }
}

impl Entry {
    /// The most units that may be taken in advance.
    fn most(&self, limits: &[Limit], nodes: u32) -> u64 {
        let left = self.told.iter().map(|told| told.left).chain(std::iter::repeat(0));
        lease::most(limits.iter().copied().zip(left), nodes)
    }

    /// What a step comes to, or whose turn it is to ask.
    fn look(&self, step: Step, now_ns: u64) -> Looked {
        match step {
            Step::Spend => Looked::Taken(self.standings(now_ns)),
            Step::Refuse { retry_ns } => {
                Looked::Refused(Refused { retry_ns, standings: self.standings(now_ns) })
            }
            Step::Ask(question) => Looked::Turn(Turn::Ask(self.told.clone(), question)),
            Step::Wait { failures } => {
                Looked::Turn(Turn::Wait(Box::pin(self.answered.clone().notified_owned()), failures))
            }
        }
    }

    fn standings(&self, now_ns: u64) -> Few<Standing> {
        standings(&self.told, self.lease.left(), now_ns.saturating_sub(self.told_ns))
    }

    fn states(&self) -> Few<u64> {
        self.told.iter().map(|told| told.state).collect()
    }

    fn has_quota(&self) -> bool {
        self.limits.iter().any(|limit| matches!(limit, Limit::Quota(_)))
    }
}

/// What a client is told, from what the store said and what the node holds beside it.
fn standings(told: &[Told], leased: u64, elapsed_ns: u64) -> Few<Standing> {
    let standing = |told: &Told| Standing {
        remaining: told.left + leased,
        reset_ns: told.full_in_ns.saturating_sub(elapsed_ns),
    };
    told.iter().map(standing).collect()
}

/// Logs in and waits for the answer to a PING; without a bound in time.
///
/// # Errors
///
/// In words, for operators.
pub async fn ping(settings: &RedisSettings) -> Result<(), String> {
    let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
    let shown = |error: redis::RedisError| match error.is_io_error() {
        // Of the system: nothing that was given.
        true => error.to_string(),
        false => words(error),
    };
    let client = client(settings)?;
    let connection = client.get_multiplexed_async_connection_with_config(&config).await;
    let mut connection = connection.map_err(shown)?;
    redis::cmd("PING").query_async(&mut connection).await.map_err(shown)
}

/// Connects, and no more.
///
/// # Errors
///
/// In words, for operators.
pub async fn connect(settings: &RedisSettings) -> Result<(), String> {
    let connected = tokio::net::TcpStream::connect((&*settings.host, settings.port)).await;
    connected.map(drop).map_err(|error| error.to_string())
}

/// Counts nodes and forgets idle keys, for as long as somebody holds the store.
async fn beat(store: Weak<RedisStore>) {
    let node: String = (0..2).fold(String::new(), |mut node, _| {
        use std::hash::{BuildHasher, Hasher};
        let word = std::hash::RandomState::new().build_hasher().finish();
        write!(node, "{word:016x}").expect("writing to a String does not fail");
        node
    });
    let Some(link) = store.upgrade().map(|store| store.link()) else { return };
    loop {
        let Some(store) = store.upgrade() else { return };
        let script = script::nodes(&store.settings.prefix, &node, BELIEVED_S);
        // Of a store that does not answer, the last count is the best.
        if let Ok(count) = link.run::<u32>(&script).await {
            store.nodes.store(store.settings.nodes.unwrap_or(count), Ordering::Relaxed);
        }
        store.sweep(&link).await;
        drop(store);
        tokio::time::sleep(HEARTBEAT).await;
    }
}

fn client(settings: &RedisSettings) -> Result<Client, String> {
    let (host, port) = (settings.host.to_string(), settings.port);
    let address = if settings.tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    let mut login = RedisConnectionInfo::default().set_db(settings.database.into());
    if let Some(user) = &settings.user {
        login = login.set_username(user);
    }
    if let Some(password) = &settings.password {
        login = login.set_password(password.expose());
    }
    let connection = address.into_connection_info().map_err(words)?.set_redis_settings(login);
    // Questions are small and somebody waits for each.
    let connection = connection.set_tcp_settings(TcpSettings::default().set_nodelay(true));
    match settings.ca.as_deref().filter(|_| settings.tls) {
        Some(ca) => {
            let certificates = TlsCertificates { client_tls: None, root_cert: Some(ca.to_vec()) };
            Client::build_with_tls(connection, certificates).map_err(words)
        }
        None => Client::open(connection).map_err(words),
    }
}

/// Without the details, which may repeat what was given.
fn words(error: redis::RedisError) -> String {
    error.category().to_owned()
}

fn lock(entries: &Mutex<Entries>) -> MutexGuard<'_, Entries> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}
