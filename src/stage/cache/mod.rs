//! The cache of replies: what a backend has said once is said again while it is fresh.
//!
//! ```text
//! Call ─ no rule with a cache ────────────────────────────────────────────▶ inner service ─▶ a write forgets
//!   └─ key ─▶ Memory ─┬─ fresh ─▶ Reply, or 304                               ▲
//!                     ├─ stale, and may be ─▶ Reply; one call refreshes it ───┤
//!                     └─ nothing ─▶ in line for the key ─▶ the first asks ────┘─▶ kept, and told to the others
//!                                                          (a store first, where the rule names one)
//! ```
//!
//! It stands behind everything that judges a call, so that a hit is authenticated, allowed and counted like any
//! other call, and before the bound on calls in flight, of which a hit is none. What is kept is the neutral reply:
//! compression, CORS and limits write their headers for each client. What may be kept is `policy::caching`'s affair.

mod entry;
mod fetch;
mod fill;
mod heard;
mod key;
mod meaning;
mod memory;
mod outbox;
mod shared;
mod told;
mod write;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{HeaderName, Method};
use pin_project_lite::pin_project;
use tokio::sync::Semaphore;
use tower::Service;

use super::Stage;
use crate::call::{Call, ClientBody, Failure, Head, Notes, Payload, Reply};
use crate::policy::caching::{Asked, RequestControl, Terms, Verdict};
use crate::status::{Code, Status};
use crate::telemetry::cache::{CacheCounts, CacheResult, CacheTotals};

use entry::Entry;
use fetch::{Fetch, Question};
use fill::Fills;
use key::Asker;
use told::{Forward, Told};
use write::Write;

pub use memory::{Bounds, Memory, Purge, Target};
pub use shared::Shared;

/// What the rules of a snapshot say of caching.
#[derive(Debug)]
pub struct Caching {
    pub cache: Arc<Cache>,
    /// By [`Binding::rule`](crate::route::Binding::rule).
    pub rules: Box<[Option<Arc<Rule>>]>,
    /// By name; the next snapshot goes on with those that stay the same.
    pub stores: HashMap<Arc<str>, Arc<Shared>>,
}

/// The replies, and who is fetching some: one for all workers, and for one snapshot after the other.
#[derive(Debug)]
pub struct Cache {
    memory: Memory,
    fills: Arc<Fills>,
    refreshes: Arc<Semaphore>,
    clock: fn() -> Instant,
}

/// What one rule says of caching.
#[derive(Debug)]
pub struct Rule {
    /// Others where replies may look otherwise or are for others: other descriptors, another service, other terms.
    /// The same on all nodes that serve the same.
    pub fingerprint: [u8; 32],
    pub surface: Arc<str>,
    pub terms: Terms,
    /// What replies vary in, whether they say so or not.
    pub vary: Box<[HeaderName]>,
    /// Each consumer has replies of its own.
    pub by_consumer: bool,
    /// A longer reply is not kept.
    pub entry_bytes_max: usize,
    pub counts: Arc<CacheCounts>,
    /// Where nodes share replies.
    pub store: Option<Arc<Shared>>,
}

impl Caching {
    /// Begins to hear of what other nodes purge.
    pub fn begin(&self) {
        self.stores.values().for_each(Shared::begin);
    }

    /// What a [rule](crate::route::Binding::rule) says, if anything.
    fn rule(&self, rule: u32) -> Option<&Arc<Rule>> {
        self.rules.get(usize::try_from(rule).ok()?)?.as_ref()
    }
}

impl Cache {
    pub fn new(bounds: Bounds, totals: Arc<CacheTotals>) -> Self {
        Self::with_clock(bounds, totals, Instant::now)
    }

    /// A cache to which `clock` tells how old replies are.
    pub fn with_clock(bounds: Bounds, totals: Arc<CacheTotals>, clock: fn() -> Instant) -> Self {
        Self {
            refreshes: Arc::new(Semaphore::new(bounds.refreshes_max)),
            memory: Memory::new(bounds, totals),
            fills: Arc::default(),
            clock,
        }
    }

    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    fn now(&self) -> Instant {
        (self.clock)()
    }
}

/// See the module's documentation.
#[derive(Clone)]
pub struct Cached<S> {
    inner: S,
}

impl<S> Cached<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S> Service<Call> for Cached<S>
where
    S: Stage + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Reply;
    type Error = Failure;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        if !call.snapshot.rule(&call.binding).is_cached {
            return self.pass(call);
        }
        self.look(call)
    }
}

impl<S> Cached<S>
where
    S: Stage + Clone + Send + 'static,
    S::Future: Send,
{
    /// Answers out of memory, or goes and asks.
    fn look(&mut self, call: Call) -> Answering<S::Future> {
        let Some((cache, rule)) = rule_of(&call) else { return self.pass(call) };
        let words = key::words(&call, &rule);
        if !is_eligible(&call) || words.len() > cache.memory.bounds().key_bytes_max {
            answered(
                &call.notes,
                &rule,
                CacheResult::Bypass,
                Told::Forwarded { why: Forward::Bypass, is_stored: false },
            );
            return self.pass(call);
        }
        let asked = asked(&call);
        let asker = Asker::of(&call);
        let now = cache.now();
        let found = cache.memory.find(&words, now, |entry| serves(entry, asker, asked));
        let (why, old) = match found {
            memory::Found::Nothing => (Forward::UriMiss, None),
            memory::Found::Varies => (Forward::VaryMiss, None),
            memory::Found::Entry(entry) => {
                let verdict = entry.freshness.judge(entry.age(now), &asked.control);
                match verdict {
                    Verdict::Fresh => return ready(answer(&call, &rule, &entry, now, CacheResult::Hit)),
                    Verdict::Tolerated => {
                        return ready(answer(&call, &rule, &entry, now, CacheResult::Stale));
                    }
                    Verdict::Revalidating => {
                        let reply = answer(&call, &rule, &entry, now, CacheResult::Stale);
                        if !entry.is_paused(now) {
                            self.refresh(&cache, &rule, &call, words, asked, entry);
                        }
                        return ready(reply);
                    }
                    Verdict::Stale { serves_errors: true } if entry.is_paused(now) => {
                        return ready(instead(&call.head, &call.notes, &rule, &entry, now));
                    }
                    Verdict::Stale { serves_errors } => (Forward::Stale, Some((entry, serves_errors))),
                    Verdict::Unwanted => (Forward::Request, Some((entry, false))),
                }
            }
        };
        if asked.control.only_if_cached {
            call.notes.refused_by("cache");
            rule.counts.add(CacheResult::Refused);
            call.notes.cached(CacheResult::Refused.name());
            return Answering::Answered { outcome: Some(Err(not_cached().into())) };
        }
        // Whoever wants a newer reply than there is does not take one that others have asked for before.
        let is_alone = asked.control.no_cache || asked.control.no_store || why == Forward::Request;
        let line = key::line(words.clone(), asker, &rule, asked.has_credentials && !rule.terms.shares);
        let is_alone = is_alone || cache.memory.is_passing(&line, now);
        // The inner service is ready, so it is this one that goes along (tower's rule for clones).
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let question = Question::of(&call, asked, rule, Arc::from(&words[..]), Arc::from(&line[..]));
        let fetch = Fetch { cache, question, inner, call, why, old };
        Answering::Asking {
            answer: if is_alone { Box::pin(fetch.alone()) } else { Box::pin(fetch.in_line()) },
        }
    }

    /// Has the inner service answer, without a look at what is kept.
    fn pass(&mut self, call: Call) -> Answering<S::Future> {
        match Write::of(&call) {
            None => Answering::Passed { call: self.inner.call(call) },
            Some(write) => Answering::Written { call: self.inner.call(call), write: Some(Box::new(write)) },
        }
    }

    /// Has one call fetch a new reply in the background, within its bounds.
    fn refresh(
        &self,
        cache: &Arc<Cache>,
        rule: &Arc<Rule>,
        call: &Call,
        words: key::Words,
        asked: Asked,
        entry: Arc<Entry>,
    ) {
        if !entry.claim() {
            return;
        }
        let claim = Claim(Arc::clone(&entry));
        let Ok(permit) = Arc::clone(&cache.refreshes).try_acquire_owned() else { return };
        let line =
            key::line(words.clone(), Asker::of(call), rule, asked.has_credentials && !rule.terms.shares);
        let asked = Asked { control: RequestControl::default(), ..asked };
        let call = again(call);
        let question =
            Question::of(&call, asked, Arc::clone(rule), Arc::from(&words[..]), Arc::from(&line[..]));
        let inner = self.inner.clone();
        let cache = Arc::clone(cache);
        let fetch = Fetch { cache, question, inner, call, why: Forward::Stale, old: Some((entry, true)) };
        tokio::spawn(async move {
            fetch.in_background().await;
            drop((claim, permit));
        });
    }
}

/// The right to refresh an entry, given back on drop.
struct Claim(Arc<Entry>);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.unclaim();
    }
}

pin_project! {
    /// A call that is answered, passed on, or on its way.
    #[project = AnsweringProjection]
    pub enum Answering<F> {
        Answered { outcome: Option<Result<Reply, Failure>> },
        Passed { #[pin] call: F },
        Written { #[pin] call: F, write: Option<Box<Write>> },
        Asking { answer: Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send>> },
    }
}

impl<F: Future<Output = Result<Reply, Failure>>> Future for Answering<F> {
    type Output = Result<Reply, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnsweringProjection::Answered { outcome } => {
                Poll::Ready(outcome.take().expect("a call is answered once"))
            }
            AnsweringProjection::Passed { call } => call.poll(cx),
            AnsweringProjection::Written { call, write } => call.poll(cx).map(|outcome| {
                // Before the client can know, and ask again.
                write.take().filter(|_| outcome.is_ok()).into_iter().for_each(|write| write.succeed());
                outcome
            }),
            AnsweringProjection::Asking { answer } => answer.as_mut().poll(cx),
        }
    }
}

fn rule_of(call: &Call) -> Option<(Arc<Cache>, Arc<Rule>)> {
    let caching = call.snapshot.live.get::<Arc<Caching>>()?;
    Some((Arc::clone(&caching.cache), Arc::clone(caching.rule(call.binding.rule)?)))
}

/// One message there without a body, one back, of a method that changes nothing.
fn is_eligible(call: &Call) -> bool {
    call.binding.is_read_only()
        && !call.binding.client_streaming
        && !call.binding.server_streaming
        && !call.payload.has_body()
}

fn asked(call: &Call) -> Asked {
    Asked {
        control: RequestControl::of(&call.head.headers),
        // A scheme that is no provider's reaches the backend, which may well know it; so does what came as
        // `Grpc-Metadata-Authorization`. Whatever else clients have forwarded is part of the key.
        has_credentials: call.identity.is_some()
            || call.head.headers.contains_key(AUTHORIZATION)
            || call.metadata.contains_key(AUTHORIZATION),
    }
}

/// Whether a kept reply is one for this request: what was said to nobody in particular is not said to somebody.
fn serves(entry: &Entry, asker: Asker<'_>, asked: Asked) -> bool {
    (entry.freshness.is_shared || !asked.has_credentials) && asker.says(&entry.varied)
}

/// The answer by a kept reply.
fn answer(call: &Call, rule: &Rule, entry: &Entry, now: Instant, result: CacheResult) -> Reply {
    let age = entry.age(now);
    let ttl_s = told::ttl_s(entry.freshness.lifetime, age);
    answered(&call.notes, rule, result, Told::Hit { ttl_s });
    kept(&call.head, &call.notes, entry, age)
}

/// The answer by a stale reply in the place of a failure.
fn instead(head: &Head, notes: &Notes, rule: &Rule, entry: &Entry, now: Instant) -> Reply {
    let age = entry.age(now);
    let ttl_s = told::ttl_s(entry.freshness.lifetime, age);
    answered(notes, rule, CacheResult::Stale, Told::OnError { ttl_s });
    kept(head, notes, entry, age)
}

/// A kept reply, or the 304 for who has it.
fn kept(head: &Head, notes: &Notes, entry: &Entry, age: Duration) -> Reply {
    told::age(notes, age);
    conditional(head, entry.metadata()).unwrap_or_else(|| entry.reply())
}

/// RFC 9110, section 13.1.2: to other methods the same headers mean something else.
fn conditional(head: &Head, metadata: &http::HeaderMap) -> Option<Reply> {
    let is_read = head.method == Method::GET || head.method == Method::HEAD;
    is_read.then(|| entry::unmodified(&head.headers, metadata)).flatten()
}

fn answered(notes: &Notes, rule: &Rule, result: CacheResult, told: Told) {
    rule.counts.add(result);
    notes.cached(result.name());
    told.tell(notes);
}

fn ready<F>(reply: Reply) -> Answering<F> {
    Answering::Answered { outcome: Some(Ok(reply)) }
}

/// The same call once more, for nobody.
fn again(call: &Call) -> Call {
    let timeout = call.snapshot.rule(&call.binding).destinations.of(call.service).timeout;
    Call {
        snapshot: Arc::clone(&call.snapshot),
        binding: Arc::clone(&call.binding),
        metadata: call.metadata.clone(),
        deadline: Instant::now().checked_add(timeout),
        head: Arc::clone(&call.head),
        identity: call.identity.clone(),
        notes: Arc::default(),
        trail: None,
        limited: None,
        held: Vec::new(),
        service: call.service,
        payload: match &call.payload {
            Payload::Http { captures, .. } => {
                Payload::Http { captures: captures.clone(), body: ClientBody::empty() }
            }
            Payload::Wire(message) => Payload::Wire(message.clone()),
        },
    }
}

/// RFC 9111, section 5.2.1.7.
fn not_cached() -> Status {
    Status::client(Code::Unavailable, "no kept reply is good enough, and no other one is wanted")
        .with_http(504)
        .with_reason("NOT_CACHED")
}
