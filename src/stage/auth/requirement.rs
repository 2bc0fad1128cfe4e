//! What a rule demands: `none`, one provider, `any` of several or `all` of them.

use std::pin::Pin;
use std::sync::Arc;

use http::HeaderName;

use super::provider::{Presence, Provider, Refusal, Verdict};
use super::refusal::{Challenges, Reason, What};
use crate::call::{Call, Head};
use crate::policy::identity::Identity;

/// How the providers of a requirement go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combination {
    /// Nobody is asked.
    None,
    /// The first credential that is present decides; without one the call is refused.
    Any,
    /// As `Any`, but without a credential the call goes on, as nobody's.
    Optional,
    /// Each of them must be present and good.
    All,
}

/// What a rule demands of its calls.
#[derive(Debug)]
pub struct Requirement {
    combination: Combination,
    providers: Box<[Arc<dyn Provider>]>,
    pub(super) challenges: Challenges,
    /// What does not reach the backend when the provider of this index has decided; the last one when none has.
    withheld: Box<[Box<[HeaderName]>]>,
}

/// What is known of a call without waiting.
pub(super) enum Outcome {
    Open,
    Anonymous,
    /// `decider` is an index among the providers; of several that were needed, the first.
    Identified {
        identity: Arc<Identity>,
        decider: usize,
    },
    Refused(Reason),
    Later {
        verdict: Waiting,
        decider: usize,
    },
}

type Waiting = Pin<Box<dyn Future<Output = Result<Arc<Identity>, Reason>> + Send>>;

impl Requirement {
    pub fn new(combination: Combination, providers: impl Into<Box<[Arc<dyn Provider>]>>) -> Self {
        let providers = providers.into();
        let withheld = (0..=providers.len()).map(|decider| withheld(combination, &providers, decider));
        Self { combination, challenges: Challenges::new(&providers), withheld: withheld.collect(), providers }
    }

    /// Judges what the head carries; `now` is in seconds since 1970.
    pub(super) fn judge(&self, head: &Arc<Head>, now: u64) -> Outcome {
        match self.combination {
            Combination::None => Outcome::Open,
            Combination::Any | Combination::Optional => self.judge_any(head, now),
            Combination::All => self.judge_all(head, now),
        }
    }

    fn judge_any(&self, head: &Arc<Head>, now: u64) -> Outcome {
        let mut foreign = None;
        for (decider, provider) in self.providers.iter().enumerate() {
            match provider.present(head) {
                Presence::Absent => {}
                Presence::Foreign => foreign = foreign.or(Some(decider)),
                Presence::Malformed => return Outcome::Refused(Reason::of(decider, What::Malformed)),
                Presence::Present(credential) => {
                    return match provider.verify(credential, head, now) {
                        Verdict::Accepted(identity) => Outcome::Identified { identity, decider },
                        Verdict::Refused(refusal) => Outcome::Refused(Reason::refused(decider, refusal)),
                        Verdict::Later(verdict) => Outcome::Later {
                            verdict: Box::pin(async move {
                                verdict.await.map_err(|refusal| Reason::refused(decider, refusal))
                            }),
                            decider,
                        },
                    };
                }
            }
        }
        match foreign {
            // A credential that nobody owns up to is a bad one, also where none is needed.
            Some(decider) => {
                Outcome::Refused(Reason::refused(decider, Refusal::Invalid("no provider knows its issuer")))
            }
            None if self.combination == Combination::Optional => Outcome::Anonymous,
            None => Outcome::Refused(Reason::missing()),
        }
    }

    /// All must be there before any is verified: nothing is learnt of one credential without the others.
    fn judge_all(&self, head: &Arc<Head>, now: u64) -> Outcome {
        let mut credentials = Vec::with_capacity(self.providers.len());
        for (index, provider) in self.providers.iter().enumerate() {
            match provider.present(head) {
                Presence::Absent => return Outcome::Refused(Reason::missing()),
                Presence::Foreign => {
                    let refusal = Refusal::Invalid("another provider's");
                    return Outcome::Refused(Reason::refused(index, refusal));
                }
                Presence::Malformed => return Outcome::Refused(Reason::of(index, What::Malformed)),
                Presence::Present(credential) => credentials.push(credential),
            }
        }
        let verdicts = self.providers.iter().zip(credentials);
        let verdicts: Vec<_> =
            verdicts.map(|(provider, credential)| provider.verify(credential, head, now)).collect();
        if verdicts.iter().any(|verdict| matches!(verdict, Verdict::Later(_)))
            && !verdicts.iter().any(|verdict| matches!(verdict, Verdict::Refused(_)))
        {
            return Outcome::Later { verdict: Box::pin(join_later(verdicts)), decider: 0 };
        }
        let mut identities = Vec::with_capacity(verdicts.len());
        for (index, verdict) in verdicts.into_iter().enumerate() {
            match verdict {
                Verdict::Accepted(identity) => identities.push(identity),
                Verdict::Refused(refusal) => return Outcome::Refused(Reason::refused(index, refusal)),
                // Another one refuses: nobody need be asked any more.
                Verdict::Later(_) => {}
            }
        }
        match Identity::join(&identities) {
            Some(identity) => Outcome::Identified { identity, decider: 0 },
            None => Outcome::Refused(Reason::missing()),
        }
    }

    /// Takes from a call what the backend is not to see.
    pub(super) fn withhold(&self, call: &mut Call, decider: Option<usize>) {
        let names = self.withheld.get(decider.unwrap_or(self.providers.len()));
        for name in names.into_iter().flatten() {
            call.metadata.remove(name);
        }
    }

    /// The name of a provider, for the log.
    pub(super) fn name_of(&self, index: Option<usize>) -> &str {
        let provider = index.and_then(|index| self.providers.get(index));
        provider.map_or("", |provider| &provider.profile().provider)
    }
}

async fn join_later(verdicts: Vec<Verdict>) -> Result<Arc<Identity>, Reason> {
    let mut identities = Vec::with_capacity(verdicts.len());
    for (index, verdict) in verdicts.into_iter().enumerate() {
        let identity = match verdict {
            Verdict::Accepted(identity) => Ok(identity),
            Verdict::Refused(refusal) => Err(refusal),
            Verdict::Later(verdict) => verdict.await,
        };
        identities.push(identity.map_err(|refusal| Reason::refused(index, refusal))?);
    }
    Identity::join(&identities).ok_or(Reason::missing())
}

/// The carriers of all credentials but those that are to be passed on: the decider's, or of `all` each one's.
fn withheld(combination: Combination, providers: &[Arc<dyn Provider>], decider: usize) -> Box<[HeaderName]> {
    let is_passed = |index: usize, provider: &Arc<dyn Provider>| {
        provider.profile().pass_token && (combination == Combination::All || index == decider)
    };
    let carriers = |is_wanted: bool| {
        providers
            .iter()
            .enumerate()
            .filter(move |(index, provider)| is_passed(*index, provider) == is_wanted)
            .filter_map(|(_, provider)| provider.carrier())
    };
    let mut names: Vec<_> =
        carriers(false).filter(|name| !carriers(true).any(|passed| passed == *name)).cloned().collect();
    names.sort_by(|left, right| left.as_str().cmp(right.as_str()));
    names.dedup();
    names.into()
}
