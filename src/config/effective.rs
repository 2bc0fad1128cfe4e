//! What holds for a method on a surface, and which line of the file says so.
//!
//! ```text
//! the rule's own key, if it has it ── otherwise ── policies, from left to right:
//!     `single`: the last one that says it          `all`: each one that says it
//! ```
//!
//! The one place of this rule: stages are built from it, and `transom explain` prints it.

use std::time::Duration;

use super::Config;
use super::fields::Fields;
use super::policies::{Clauses, Policy};
use super::protection::Retry;
use super::rollout::Share;
use super::services::Service;
use super::surfaces::{Named, Rule, Surface};

/// The rule of a surface, or the lack of one, with the policies that hold under it.
#[derive(Clone, Debug)]
pub struct Effective<'c> {
    pub surface: &'c Surface,
    /// The index of the surface in the file.
    pub surface_index: usize,
    /// `None`: the surface has no rules.
    pub rule: Option<&'c Rule>,
    /// The policies, from left to right.
    pub policies: Vec<&'c Policy>,
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'c> {
    Rule,
    Policy(&'c str),
}

impl<'c> Effective<'c> {
    /// Every rule of every surface, in the order of the file. Their indexes are those of
    /// [`Binding::rule`](crate::route::Binding::rule).
    pub fn all(config: &'c Config) -> Vec<Self> {
        let surfaces = config.surfaces.iter().enumerate();
        surfaces.flat_map(|(index, surface)| Self::of(config, index, surface)).collect()
    }

    fn of(config: &'c Config, surface_index: usize, surface: &'c Surface) -> Vec<Self> {
        let one = |rule: Option<&'c Rule>| {
            let named = rule.and_then(|rule| rule.policies.as_ref()).unwrap_or(&surface.policies);
            let policies = named.iter().filter_map(|named| config.policy(named)).collect();
            Self { surface, surface_index, rule, policies }
        };
        if surface.rules.is_empty() {
            return vec![one(None)];
        }
        surface.rules.iter().map(|rule| one(Some(rule))).collect()
    }

    /// Of a thing of which there is only one: the rule's own, or that of the last policy that says it.
    pub fn single<T>(&self, read: impl Fn(&'c Clauses) -> Option<&'c T>) -> Option<(&'c T, Origin<'c>)> {
        if let Some(own) = self.rule.and_then(|rule| read(&rule.clauses)) {
            return Some((own, Origin::Rule));
        }
        let said = |policy: &&'c Policy| Some((read(&policy.clauses)?, Origin::Policy(policy.name.as_str())));
        self.policies.iter().rev().find_map(said)
    }

    /// Of a thing of which there may be many: the rule's own, or that of every policy that says it.
    pub fn all_of<T>(&self, read: impl Fn(&'c Clauses) -> Option<&'c T>) -> Vec<(&'c T, Origin<'c>)> {
        if let Some(own) = self.rule.and_then(|rule| read(&rule.clauses)) {
            return vec![(own, Origin::Rule)];
        }
        let said = |policy: &&'c Policy| Some((read(&policy.clauses)?, Origin::Policy(policy.name.as_str())));
        self.policies.iter().filter_map(said).collect()
    }

    /// What is shown of replies: as [`single`](Self::single), or else what the surface says.
    pub fn fields(&self) -> Option<&'c Fields> {
        let said = self.single(|clauses| clauses.fields.as_ref()).map(|(fields, _)| fields);
        said.or(self.surface.fields.as_ref())
    }

    /// Whether requests are held to the rules of their descriptors.
    pub fn validates(&self) -> bool {
        self.rule.and_then(|rule| rule.validates).unwrap_or(self.surface.validates)
    }

    /// The index in `config.services` of the service that is called, of several that of the first; `None` where a
    /// name dangles.
    pub fn service(&self, config: &Config) -> Option<usize> {
        match self.shares().first() {
            Some(share) => config.service(&share.service),
            None => (config.services.len() <= 1).then_some(0),
        }
    }

    /// The indexes in `config.services` of all services that may be called, each once, the first one first.
    pub fn services(&self, config: &Config) -> Vec<usize> {
        let mut services = Vec::new();
        let of_cases = self.rule.map_or(&[][..], |rule| &rule.when).iter().map(|case| &case.service);
        let named = self.shares().iter().map(|share| &share.service).chain(of_cases);
        let named = named.filter_map(|named| config.service(named));
        for index in self.service(config).into_iter().chain(named) {
            if !services.contains(&index) {
                services.push(index);
            }
        }
        services
    }

    /// The services that the rule names, with their shares.
    pub fn shares(&self) -> &'c [Share] {
        self.rule.map_or(&[], |rule| &rule.to)
    }

    /// How long a unary call to a service may take: what that says, or the rule where that is less.
    pub fn timeout(&self, service: &Service) -> Duration {
        let own = self.rule.and_then(|rule| rule.timeout);
        own.map_or(service.timeout, |own| own.min(service.timeout))
    }

    /// Which calls to a service are made again: what the rule says, otherwise what the service does.
    pub fn retry(&self, service: &'c Service) -> Option<&'c Retry> {
        self.rule.and_then(|rule| rule.retry.as_ref()).or(service.retry.as_ref())
    }
}

impl Config {
    /// The index of a service.
    pub fn service(&self, named: &Named) -> Option<usize> {
        self.services.iter().position(|service| service.name == named.name)
    }

    pub(super) fn policy(&self, named: &Named) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.name == named.name)
    }
}
