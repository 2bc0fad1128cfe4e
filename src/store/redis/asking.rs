//! One call's question to a store: who asks it, who waits for the answer, what becomes of both.
//!
//! Of the calls that want units of one key in advance one asks; the others look again when it has its answer.
//! When it has none they have none either, so that a silent store costs each call one timeout and not a queue
//! of them; when its client goes away, the next one asks.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::futures::OwnedNotified;

use super::link::Link;
use super::script::{self, Answer, Told};
use super::{Entry, Group, Paid, RedisStore, Refused, StoreError, Verdict, standings};
use crate::policy::lease::Question;
use crate::policy::limit::{Limit, Standing};
use crate::store::clock;
use crate::store::key::Key;
use crate::store::memory::Few;

/// A question under way. Dropped without an answer it lets those who wait for it ask.
#[derive(Debug)]
pub struct Asking {
    store: Arc<RedisStore>,
    tag: Arc<str>,
    limits: Few<Limit>,
    key: Key,
    cost: u64,
    turn: Turn,
    /// It has its answer, or none.
    is_done: bool,
}

/// Who asks.
#[derive(Debug)]
pub(super) enum Turn {
    /// This call, knowing what the store said last.
    Ask(Few<Told>, Question),
    /// Another one, after so many failures.
    Wait(Pin<Box<OwnedNotified>>, u32),
}

/// What a look at the key comes to.
pub(super) enum Looked {
    Taken(Few<Standing>),
    Refused(Refused),
    Turn(Turn),
}

impl Asking {
    pub(super) fn new(store: Arc<RedisStore>, tag: Arc<str>, group: &Group<'_>, turn: Turn) -> Box<Self> {
        let (key, limits) = (group.key, Few::from_slice(group.limits));
        Box::new(Self { store, tag, limits, key, cost: group.cost, turn, is_done: false })
    }

    /// Asks the store, within its timeout, or waits for the answer to whoever is asking.
    ///
    /// # Errors
    ///
    /// There is no answer; nothing is known to be debited.
    pub async fn ask(mut self: Box<Self>, link: &Arc<Link>) -> Result<Verdict, StoreError> {
        loop {
            let (told, question) = match &mut self.turn {
                Turn::Ask(told, question) => (std::mem::take(told), *question),
                Turn::Wait(answered, failures) => {
                    let timeout = self.store.settings.timeout;
                    let waited = tokio::time::timeout(timeout, answered.as_mut()).await;
                    waited.map_err(|_| StoreError::Timeout)?;
                    let failures = *failures;
                    match self.look_again(failures)? {
                        Some(verdict) => return Ok(verdict),
                        None => continue,
                    }
                }
            };
            let unix_s = clock::now().unix_s;
            let script = script::take(&self.tag, &self.limits, &told, self.cost, question, unix_s);
            let answer = link.run::<Vec<i64>>(&script).await;
            let answer = answer.and_then(|numbers| Answer::read(&numbers, &self.limits));
            self.is_done = true;
            return match answer {
                Ok(answer) => Ok(self.answered(question, answer)),
                Err(error) => {
                    self.with_entry(|entry| entry.lease.failed(question));
                    Err(error)
                }
            };
        }
    }

    /// Somebody has his answer: this call spends of it, is refused with it, or asks or waits in its turn.
    fn look_again(&mut self, failures: u32) -> Result<Option<Verdict>, StoreError> {
        let (now_ns, nodes, cost) = (clock::now_ns(), self.store.nodes(), self.cost);
        let mut entries = self.store.entries(self.key);
        let Some(entry) = entries.get_mut(&self.key) else {
            drop(entries);
            self.turn = Turn::Ask(Few::new(), Question::alone(cost));
            return Ok(None);
        };
        if entry.lease.failures() != failures {
            return Err(StoreError::Down);
        }
        let most = entry.most(&self.limits, nodes);
        let step = entry.lease.step_again(now_ns, cost, most);
        let turn = match entry.look(step, now_ns) {
            Looked::Taken(standings) => return Ok(Some(Verdict::Taken(standings, None))),
            Looked::Refused(refused) => return Ok(Some(Verdict::Refused(refused))),
            Looked::Turn(turn) => turn,
        };
        drop(entries);
        self.turn = turn;
        Ok(None)
    }

    fn answered(&self, question: Question, answer: Answer) -> Verdict {
        let now_ns = clock::now_ns();
        let states = answer.told.iter().map(|told| told.state).collect();
        let standings = standings(&answer.told, 0, 0);
        self.with_entry(|entry| {
            if answer.granted == 0 {
                entry.lease.refused(now_ns, question, answer.wait_ns, self.cost);
            } else {
                entry.lease.granted(now_ns, question, answer.granted, self.cost);
            }
            (entry.told, entry.told_ns) = (answer.told, now_ns);
        });
        if answer.granted == 0 {
            return Verdict::Refused(Refused { retry_ns: answer.wait_ns, standings });
        }
        let (tag, limits) = (self.tag.clone(), self.limits.clone());
        Verdict::Taken(
            standings,
            Some(Box::new(Paid { tag, limits, states, key: self.key, cost: self.cost })),
        )
    }

    /// Changes what is known of the key, and wakes those who wait for that.
    fn with_entry(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.store.entries(self.key).get_mut(&self.key) {
            change(entry);
            entry.answered.notify_waiters();
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let (Turn::Ask(_, question), false) = (&self.turn, self.is_done) {
            let question = *question;
            self.with_entry(|entry| entry.lease.abandoned(question));
        }
    }
}
