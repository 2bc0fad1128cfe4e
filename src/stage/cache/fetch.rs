//! Going to the backend for a reply: alone, in line with others, or in the background.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::AGE;

use super::entry::{self, Asking, Entry};
use super::fill::{Lead, Turn};
use super::key::Asker;
use super::meaning::{Meaning, is_outage};
use super::memory::Unkept;
use super::shared::{Fill, Found};
use super::told::{self, Forward, Told};
use super::{Cache, Rule, conditional, instead, kept, memory, serves};
use crate::call::{Call, Failure, Head, Notes, Reply};
use crate::policy::caching::{Asked, Received, Verdict};
use crate::policy::verdict::patience;
use crate::stage::Stage;
use crate::status::{Blame, Status};
use crate::telemetry::cache::CacheResult;

/// A call on its way to the backend.
pub(super) struct Fetch<S> {
    pub(super) cache: Arc<Cache>,
    pub(super) question: Question,
    pub(super) inner: S,
    pub(super) call: Call,
    pub(super) why: Forward,
    /// The reply that is stale or unwanted, and whether it will do when the backend fails.
    pub(super) old: Option<(Arc<Entry>, bool)>,
}

/// What of a call is still needed when it is gone.
pub(super) struct Question {
    rule: Arc<Rule>,
    asked: Asked,
    /// By which its reply is kept.
    key: Arc<[u8]>,
    /// In which it waits.
    line: Arc<[u8]>,
    method: Box<str>,
    metadata: HeaderMap,
    head: Arc<Head>,
    notes: Arc<Notes>,
    deadline: Option<Instant>,
    /// What a deadline must leave for the backend to be late.
    patience: Duration,
    waiting_max: usize,
}

/// What came of a fetch.
enum Fetched {
    Kept(Reply, Arc<Entry>),
    /// It would have been kept, but for a purge that has come meanwhile.
    Purged(Reply, Arc<Entry>),
    Passed(Reply),
    Failed(Failure, Meaning),
}

impl Question {
    pub(super) fn of(call: &Call, asked: Asked, rule: Arc<Rule>, key: Arc<[u8]>, line: Arc<[u8]>) -> Self {
        Self {
            rule,
            asked,
            key,
            line,
            method: call.binding.method.clone(),
            metadata: call.metadata.clone(),
            head: Arc::clone(&call.head),
            notes: Arc::clone(&call.notes),
            deadline: call.deadline,
            patience: patience(call.snapshot.rule(&call.binding).destinations.of(call.service).timeout),
            // Whoever waits takes no more than a call in flight would.
            waiting_max: call.snapshot.bounds.calls_max,
        }
    }

    fn asker(&self) -> Asker<'_> {
        Asker { metadata: &self.metadata, headers: &self.head.headers }
    }

    /// Whether the backend has the time that it may take.
    fn is_patient(&self) -> bool {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        self.deadline.is_none_or(|deadline| left(deadline) >= self.patience)
    }

    /// What others are told of a failure. What a backend has said to one user beside the code is for that user.
    fn told(&self, status: &Status) -> Status {
        if !self.asked.has_credentials || status.blame != Blame::Backend {
            return status.clone();
        }
        let told = Status::backend(status.code, "the backend has failed to answer the same question");
        Status { http: status.http, ..told }
    }

    fn answered(&self, result: CacheResult, told: Told) {
        super::answered(&self.notes, &self.rule, result, told);
    }
}

impl<S: Stage> Fetch<S> {
    /// Asks, whoever else does.
    pub(super) async fn alone(self) -> Result<Reply, Failure> {
        let Self { cache, question, inner, call, why, old } = self;
        let fetched = ask(&cache, &question, inner, call, old.as_ref(), None).await;
        answer(&cache, &question, why, old, fetched)
    }

    /// Waits for the reply that another call has asked for, or asks and tells the others.
    pub(super) async fn in_line(self) -> Result<Reply, Failure> {
        loop {
            let Self { cache, question, .. } = &self;
            let purges = cache.memory.purges();
            let place = cache.fills.join(&question.line);
            match place.turn(question.deadline, question.waiting_max).await {
                Turn::Leads { lead, failures } => return self.lead(lead, failures, purges).await,
                // There was a purge between that question and this one: what is kept now is looked up.
                Turn::Fetched(_, before) if before < purges => {}
                Turn::Fetched(entry, _) if serves(&entry, question.asker(), question.asked) => {
                    question.answered(CacheResult::Collapsed, Told::Collapsed(self.why));
                    return Ok(kept(&question.head, &question.notes, &entry, entry.age(cache.now())));
                }
                Turn::Fetched(..) | Turn::Alone => return self.alone().await,
                Turn::Failed(failure) => {
                    let failed = Fetched::Failed(failure, Meaning::Outage);
                    return answer(cache, question, self.why, self.old.clone(), failed);
                }
            }
        }
    }

    /// Asks, and tells those who wait; `purges` counts those that the call came after.
    async fn lead(self, lead: Lead<'_>, failures: u32, purges: u64) -> Result<Reply, Failure> {
        let Self { cache, question, inner, call, why, old } = self;
        // The last line may have ended between our look and our turn.
        if let Some(entry) = just_kept(&cache, &question) {
            lead.fetched(Arc::clone(&entry), purges);
            question.answered(CacheResult::Collapsed, Told::Collapsed(why));
            return Ok(kept(&question.head, &question.notes, &entry, entry.age(cache.now())));
        }
        if let Some((stale, true)) = old.as_ref().filter(|_| failures > 0) {
            return Ok(instead(&question.head, &question.notes, &question.rule, stale, cache.now()));
        }
        let fill = match elsewhere(&cache, &question).await {
            Found::Kept(entry) => {
                lead.fetched(Arc::clone(&entry), purges);
                let age = entry.age(cache.now());
                let ttl_s = told::ttl_s(entry.freshness.lifetime, age);
                question.answered(CacheResult::Hit, Told::FromStore { ttl_s });
                return Ok(kept(&question.head, &question.notes, &entry, age));
            }
            Found::Passing => {
                cache.memory.pass(&question.line, cache.now());
                lead.alone();
                let fetched = ask(&cache, &question, inner, call, old.as_ref(), None).await;
                return answer(&cache, &question, why, old, fetched);
            }
            Found::Ask(fill) => fill,
        };
        let fetched = ask(&cache, &question, inner, call, old.as_ref(), fill).await;
        settle(lead, purges, &question, &fetched);
        answer(&cache, &question, why, old, fetched)
    }

    /// Puts a new reply in the place of the old one, unless another call is about to.
    pub(super) async fn in_background(self) {
        let Self { cache, question, inner, call, old, .. } = self;
        let purges = cache.memory.purges();
        let place = cache.fills.join(&question.line);
        let Some(lead) = place.lead_now() else { return };
        let fill = match elsewhere(&cache, &question).await {
            Found::Kept(entry) => return lead.fetched(entry, purges),
            Found::Passing => None,
            Found::Ask(fill) => fill,
        };
        let fetched = ask(&cache, &question, inner, call, old.as_ref(), fill).await;
        settle(lead, purges, &question, &fetched);
    }
}

/// Tells those who wait what has come of it.
fn settle(lead: Lead<'_>, purges: u64, question: &Question, fetched: &Fetched) {
    match fetched {
        Fetched::Kept(_, entry) | Fetched::Purged(_, entry) => lead.fetched(Arc::clone(entry), purges),
        Fetched::Failed(failure, Meaning::Outage) => lead.failed(|| question.told(&failure.status)),
        Fetched::Failed(_, Meaning::Hurry) => drop(lead),
        Fetched::Passed(_) | Fetched::Failed(_, Meaning::Gone | Meaning::Refused) => lead.alone(),
    }
}

/// One call to the backend; a reply that may be kept is.
async fn ask<S: Stage>(
    cache: &Cache,
    question: &Question,
    mut inner: S,
    call: Call,
    old: Option<&(Arc<Entry>, bool)>,
    fill: Option<Fill>,
) -> Fetched {
    let path = entry::decoded(question.head.uri.path());
    let flight = cache.memory.flight(&question.rule.surface, &path);
    let is_patient = question.is_patient();
    let store = question.rule.store.as_ref().map(|store| (store, store.last_purge()));
    let began = cache.now();
    let outcome = match std::future::poll_fn(|cx| inner.poll_ready(cx)).await {
        Ok(()) => inner.call(call).await,
        Err(failure) => Err(failure),
    };
    let came = cache.now();
    let mut reply = match outcome {
        Ok(reply) => reply,
        Err(failure) => {
            let meaning = Meaning::of(&failure.status, is_patient);
            match meaning {
                Meaning::Outage => old.iter().for_each(|(entry, _)| entry.pause(came)),
                Meaning::Gone => pass(cache, question, came, old, fill),
                Meaning::Hurry | Meaning::Refused => {}
            }
            return Fetched::Failed(failure, meaning);
        }
    };
    let labels = entry::dress(&mut reply, &question.rule);
    let asking = Asking {
        rule: &question.rule,
        bounds: cache.memory.bounds(),
        asker: question.asker(),
        method: &question.method,
        path: &path,
        key_bytes: question.key.len(),
        asked: question.asked,
        received: Received {
            now: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            delay: came.saturating_duration_since(began),
        },
    };
    let entry = Entry::of(&reply, labels, &asking, came).map(Arc::new);
    if let Some(age) = reply.metadata.remove(AGE).filter(|age| age.as_bytes().iter().all(u8::is_ascii_digit))
    {
        question.notes.reply_header(AGE, age);
    }
    match entry {
        Some(entry) => match cache.memory.keep(&question.key, &entry, &flight) {
            Ok(()) => {
                if let Some((store, purges)) = store {
                    store.keep(&question.line, fill, &entry, purges, came);
                }
                // With the tag that it was given.
                return Fetched::Kept(entry.reply(), entry);
            }
            Err(Unkept::Purged) => return Fetched::Purged(entry.reply(), entry),
            Err(Unkept::NoRoom) => {}
        },
        None if question.asked.control.no_store => {}
        None => pass(cache, question, came, old, fill),
    }
    Fetched::Passed(reply)
}

/// What other nodes have kept; who is to ask the backend, where they have nothing.
async fn elsewhere(cache: &Cache, question: &Question) -> Found {
    let Some(store) = &question.rule.store else { return Found::Ask(None) };
    let path = entry::decoded(question.head.uri.path());
    let flight = cache.memory.flight(&question.rule.surface, &path);
    let fits = |entry: &Entry| {
        serves(entry, question.asker(), question.asked)
            && entry.freshness.judge(entry.age(cache.now()), &question.asked.control) == Verdict::Fresh
    };
    let found = store.look(&question.line, &question.rule, question.deadline, fits).await;
    // Without room it is an answer nevertheless.
    if let Found::Kept(entry) = &found
        && let Err(Unkept::Purged) = cache.memory.keep(&question.key, entry, &flight)
    {
        return Found::Ask(None);
    }
    found
}

/// Remembers that nobody need wait for replies of this kind, and forgets the old one.
fn pass(
    cache: &Cache,
    question: &Question,
    now: Instant,
    old: Option<&(Arc<Entry>, bool)>,
    fill: Option<Fill>,
) {
    if let Some(store) = &question.rule.store {
        store.pass(&question.line, fill);
    }
    cache.memory.pass(&question.line, now);
    old.inspect(|(entry, _)| cache.memory.forget(&question.key, entry));
}

/// What the client is told of a fetch.
fn answer(
    cache: &Cache,
    question: &Question,
    why: Forward,
    old: Option<(Arc<Entry>, bool)>,
    fetched: Fetched,
) -> Result<Reply, Failure> {
    let (reply, is_stored) = match fetched {
        Fetched::Kept(reply, _) => (reply, true),
        Fetched::Purged(reply, _) | Fetched::Passed(reply) => (reply, false),
        Fetched::Failed(failure, _) => {
            return match old {
                Some((stale, true)) if is_outage(&failure.status) => {
                    Ok(instead(&question.head, &question.notes, &question.rule, &stale, cache.now()))
                }
                _ => {
                    question.answered(CacheResult::Miss, Told::Forwarded { why, is_stored: false });
                    Err(failure)
                }
            };
        }
    };
    let result = if is_stored { CacheResult::Stored } else { CacheResult::Miss };
    question.answered(result, Told::Forwarded { why, is_stored });
    Ok(conditional(&question.head, &reply.metadata).unwrap_or(reply))
}

/// The fresh reply that somebody has kept while this call came to its turn.
fn just_kept(cache: &Cache, question: &Question) -> Option<Arc<Entry>> {
    let now = cache.now();
    let found =
        cache.memory.find(&question.key, now, |entry| serves(entry, question.asker(), question.asked));
    let memory::Found::Entry(entry) = found else { return None };
    let verdict = entry.freshness.judge(entry.age(now), &question.asked.control);
    (verdict == Verdict::Fresh).then_some(entry)
}
