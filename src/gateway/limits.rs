//! From the configuration's limits to those of the stage: buckets by rule, stores that outlive a reload.
//!
//! A store is found again by its name and its shape, so that what it has counted outlives a reload; what a bucket
//! counts goes by its name, which is that of its policy, or of the surface and the rule that says it itself.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::runtime::Handle;

use super::expressions::{Expressions, Known};
use super::snapshot::finding;
use crate::config::Config;
use crate::config::cost as written;
use crate::config::effective::{Effective, Origin};
use crate::config::finding::Finding;
use crate::config::rate::{self as file, Numbers, Rate};
use crate::config::stores::{Redis, StoreKind};
use crate::policy::limit::Limit;
use crate::policy::limit_header;
use crate::policy::quota::Period;
use crate::stage::limit::{
    Allowance, Allowed, Bucket, By, Cells, Cost, Limits, Mode, OnStoreError, Plan, RuleLimits, Store,
};
use crate::store::key::Keys;
use crate::store::memory::{KEYS_DEFAULT, MemoryStore};
use crate::store::redis::{RedisSettings, RedisStore};

/// All limits; stores of `previous` that are still the same go on.
pub(super) fn build(
    config: &Config,
    effective: &[Effective<'_>],
    expressions: &Expressions<'_>,
    background: &Handle,
    previous: Option<&Limits>,
) -> Result<Limits, Vec<Finding>> {
    let mut build = Build {
        config,
        keys: previous.map(|previous| previous.keys.clone()).unwrap_or_default(),
        stores: HashMap::new(),
        default_store: previous.map_or_else(
            || Arc::new(MemoryStore::new(KEYS_DEFAULT)),
            |previous| previous.default_store.clone(),
        ),
        findings: Vec::new(),
    };
    build.open(background, previous);
    let rules = (0..).zip(effective);
    let rules = rules.map(|(index, effective)| build.rule(effective, &expressions.of_rule(index, effective)));
    let rules = rules.collect();
    // Rules that share a policy find the same in it.
    let mut told = BTreeSet::new();
    build.findings.retain(|finding| told.insert((finding.position, finding.message.clone())));
    if !build.findings.is_empty() {
        return Err(build.findings);
    }
    let plan = |plan: &crate::config::plans::Plan| {
        (plan.name.as_str().into(), Plan { limits: allowed(&plan.name, plan.numbers).into() })
    };
    Ok(Limits {
        keys: build.keys,
        slots: previous.map(|previous| previous.slots.clone()).unwrap_or_default(),
        rules,
        plans: config.plans.iter().map(plan).collect(),
        stores: build.stores,
        default_store: build.default_store,
    })
}

struct Build<'c> {
    config: &'c Config,
    keys: Keys,
    stores: HashMap<Arc<str>, Store>,
    default_store: Arc<MemoryStore>,
    findings: Vec<Finding>,
}

impl Build<'_> {
    fn open(&mut self, background: &Handle, previous: Option<&Limits>) {
        for named in &self.config.stores {
            let name: Arc<str> = named.name.as_str().into();
            let before = previous.and_then(|previous| previous.stores.get(&name));
            let store = match (&named.kind, before) {
                (StoreKind::Memory { keys_max }, Some(Store::Memory(store)))
                    if store.keys_max() == *keys_max =>
                {
                    Store::Memory(store.clone())
                }
                (StoreKind::Memory { keys_max }, _) => Store::Memory(Arc::new(MemoryStore::new(*keys_max))),
                (StoreKind::Redis(redis), before) => {
                    let opened = settings(&name, redis).and_then(|settings| match before {
                        Some(Store::Shared(store)) if *store.settings() == settings => Ok(store.clone()),
                        _ => RedisStore::start(settings, background),
                    });
                    match opened {
                        Ok(store) => Store::Shared(store),
                        Err(reason) => {
                            let position =
                                redis.ca.as_ref().map_or(named.position, |(_, position)| *position);
                            self.findings.push(finding(self.config, Some(position), reason));
                            continue;
                        }
                    }
                }
            };
            self.stores.insert(name, store);
        }
    }

    fn rule(&mut self, effective: &Effective<'_>, known: &Known<'_>) -> RuleLimits {
        let mut rule = RuleLimits::default();
        let (mut by_address, mut by_identity) = (Vec::new(), Vec::new());
        // What is not shown is not called, and may have no path.
        if effective.rule.is_some_and(|rule| !rule.expose) {
            return rule;
        }
        let said = effective.single(|clauses| clauses.cost.as_ref()).map(|(cost, _)| cost);
        let cost = said.map_or(Cost::Units(1), |cost| self.cost(cost, known));
        let mut seen = BTreeSet::new();
        for (rates, origin) in effective.all_of(|clauses| clauses.rate.as_ref()) {
            let name = name(effective, origin);
            // A policy that is named twice counts once.
            if !seen.insert(name.clone()) {
                continue;
            }
            for (rate, bucket) in self.buckets(&name, rates, &cost, known) {
                let goes_by_identity =
                    bucket.by.contains(&By::Consumer) || matches!(bucket.allowance, Allowance::OfPlan { .. });
                if !goes_by_identity && !known.asks_nobody {
                    self.is_known_early(&bucket.cost, rate.cost.as_ref().or(said));
                }
                let place = if goes_by_identity { &mut by_identity } else { &mut by_address };
                place.push(Arc::new(bucket));
            }
        }
        rule.by_address = by_address.into();
        rule.by_identity = by_identity.into();
        rule
    }

    /// The buckets of one policy. Limits of the same kind of subject are one bucket: a shared store judges them
    /// with one question.
    fn buckets<'r>(
        &mut self,
        name: &str,
        rates: &'r [Rate],
        cost: &Cost,
        known: &Known<'_>,
    ) -> Vec<(&'r Rate, Bucket)> {
        let mut groups: Vec<(usize, &Rate, Vec<Numbers>)> = Vec::new();
        for (number, rate) in rates.iter().enumerate() {
            let file::Allowance::Own(numbers) = &rate.allowance else {
                groups.push((number, rate, Vec::new()));
                continue;
            };
            let fits = |(_, first, numbers): &&mut (usize, &Rate, Vec<Numbers>)| {
                !numbers.is_empty() && rate.concurrency.is_none() && is_same_but_numbers(first, rate)
            };
            match groups.iter_mut().find(fits) {
                Some((_, _, group)) => group.push(*numbers),
                None => groups.push((number, rate, vec![*numbers])),
            }
        }
        let bucket = |(number, rate, numbers): (usize, &'r Rate, Vec<Numbers>)| {
            let own = rate.cost.as_ref().map(|own| self.cost(own, known));
            let cost = own.unwrap_or_else(|| cost.clone());
            (rate, self.bucket(name, number, rate, numbers, cost))
        };
        groups.into_iter().map(bucket).collect()
    }

    fn bucket(
        &mut self,
        name: &str,
        number: usize,
        rate: &Rate,
        numbers: Vec<Numbers>,
        cost: Cost,
    ) -> Bucket {
        let store = rate.store.as_ref().and_then(|named| self.stores.get(named.name.as_str()));
        let mut store = store.cloned().unwrap_or_else(|| Store::Memory(self.default_store.clone()));
        let allowance = match &rate.allowance {
            file::Allowance::Own(_) => {
                let limits: Vec<_> = numbers
                    .into_iter()
                    .zip(0..)
                    .flat_map(|(numbers, index)| allowed(&shown_name(name, number + index), numbers))
                    .collect();
                self.afford(rate, &cost, name, limits.iter().map(|allowed| allowed.limit));
                if limits.is_empty() {
                    // Calls at once are counted by each node.
                    store = Store::Memory(self.default_store.clone());
                }
                Allowance::Fixed(Plan { limits: limits.into() })
            }
            file::Allowance::Plan { otherwise } => {
                for plan in &self.config.plans {
                    let limits = allowed(&plan.name, plan.numbers);
                    self.afford(rate, &cost, &plan.name, limits.iter().map(|allowed| allowed.limit));
                }
                Allowance::OfPlan { otherwise: otherwise.as_ref().map(|named| named.name.as_str().into()) }
            }
        };
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        Bucket {
            name: name.into(),
            number,
            cells: Cells::new(&self.keys, name, number),
            by: rate.by.iter().map(by).collect(),
            allowance,
            cost,
            store,
            on_store_error: match rate.on_store_error {
                file::OnStoreError::Local => OnStoreError::Local,
                file::OnStoreError::Allow => OnStoreError::Allow,
                file::OnStoreError::Deny => OnStoreError::Deny,
            },
            mode: match rate.mode {
                file::Mode::Enforce => Mode::Enforce,
                file::Mode::Shadow => Mode::Shadow,
            },
            quiet: rate.quiet,
            concurrency: rate.concurrency,
        }
    }

    /// The number, or the expression as the rule's calls will have it.
    fn cost(&mut self, cost: &written::Cost, known: &Known<'_>) -> Cost {
        match cost {
            written::Cost::Units(units) => Cost::Units(*units),
            written::Cost::Counted(text) => match known.compile::<u64>(text, &mut self.findings) {
                Some(count) => Cost::Counted(Arc::new(count)),
                None => Cost::Units(1),
            },
        }
    }

    /// Before authentication, no cost can go by who is calling.
    fn is_known_early(&mut self, cost: &Cost, said: Option<&written::Cost>) {
        let (Cost::Counted(count), Some(written::Cost::Counted(said))) = (cost, said) else { return };
        if let Some(variable) = count.identity_variable() {
            let message = format!(
                "`{variable}` is not known yet to a limit by address, header or method: give that one a `cost` of its own"
            );
            self.findings.push(finding(self.config, Some(said.position), message));
        }
    }

    /// A limit that is less than what one call costs lets nobody pass. What an expression says shows with calls.
    fn afford(&mut self, rate: &Rate, cost: &Cost, name: &str, limits: impl Iterator<Item = Limit>) {
        let Cost::Units(cost) = *cost else { return };
        if let Some(least) = limits.map(|limit| limit.capacity()).min().filter(|least| *least < cost) {
            let message =
                format!("`{name}` allows {least} at once, and a call costs {cost}: none would ever pass");
            self.findings.push(finding(self.config, Some(rate.position), message));
        }
    }
}

fn is_same_but_numbers(one: &Rate, other: &Rate) -> bool {
    let same = |rate: &Rate| Rate {
        position: one.position,
        allowance: one.allowance.clone(),
        concurrency: None,
        store: rate
            .store
            .as_ref()
            .map(|named| crate::config::surfaces::Named { position: None, ..named.clone() }),
        ..rate.clone()
    };
    same(one) == same(other)
}

/// The name of a bucket: that of the policy, or of the surface and the rule.
fn name(effective: &Effective<'_>, origin: Origin<'_>) -> String {
    match origin {
        Origin::Policy(policy) => policy.to_owned(),
        Origin::Rule => {
            let pattern = effective.rule.and_then(|rule| rule.matches.first());
            format!("{}/{}", effective.surface.name, pattern.map_or("", |pattern| &pattern.name))
        }
    }
}

/// How clients are told of one limit of several.
fn shown_name(name: &str, number: usize) -> String {
    if number == 0 { name.to_owned() } else { format!("{name}-{}", number + 1) }
}

fn allowed(name: &str, numbers: Numbers) -> Vec<Allowed> {
    let rate = numbers.rate.map(|rate| (name.to_owned(), Limit::Rate(rate)));
    let quota = numbers.quota.map(|quota| {
        let period = match quota.period() {
            Period::Day => "day",
            Period::Month => "month",
        };
        (format!("{name}-{period}"), Limit::Quota(quota))
    });
    let allowed = |(name, limit): (String, Limit)| Allowed {
        limit,
        shown: Arc::new(limit_header::shown(&name, &limit)),
    };
    rate.into_iter().chain(quota).map(allowed).collect()
}

fn by(by: &file::By) -> By {
    match by {
        file::By::Ip => By::Address,
        file::By::Header(name) => By::Header(name.clone()),
        file::By::Consumer => By::Consumer,
        file::By::Method => By::Method,
    }
}

/// How a Redis is spoken to.
///
/// # Errors
///
/// In words: a file that cannot be read.
pub(super) fn settings(name: &Arc<str>, redis: &Redis) -> Result<RedisSettings, String> {
    let ca = match &redis.ca {
        Some((path, _)) => {
            Some(std::fs::read(path).map_err(|error| format!("`{}`: {error}", path.display()))?.into())
        }
        None => None,
    };
    Ok(RedisSettings {
        name: name.clone(),
        host: redis.host.as_str().into(),
        port: redis.port,
        tls: redis.tls,
        database: redis.database,
        user: redis.user.as_deref().map(Into::into),
        password: redis.password.clone(),
        ca,
        timeout: redis.timeout,
        prefix: redis.prefix.as_str().into(),
        nodes: redis.nodes,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use prost_reflect::DescriptorPool;

    use super::*;
    use crate::config::Elsewhere;
    use crate::schema::{Schema, Traits};
    use crate::snapshot::Surfaces;

    fn limits(stores: &str, limit: &str, previous: Option<&Limits>) -> Result<Limits, Vec<String>> {
        let text = format!(
            "version: 1\nstores: {{ small: {stores} }}\n\
             policies: {{ edge: {{ rate: {{ by: ip, store: small, {limit} }} }} }}\n\
             surfaces: {{ web: {{ policies: [edge] }} }}\n"
        );
        let elsewhere = Elsewhere { descriptors: true, services: true, ..Elsewhere::default() };
        let config = Config::parse(&text, Path::new("t.yaml"), elsewhere).expect("a good file");
        let (schema, surfaces) =
            (Schema::new(DescriptorPool::new(), Traits::default()), Surfaces::new(Vec::new()));
        let expressions = Expressions { config: &config, schema: &schema, surfaces: &surfaces };
        let built = build(&config, &Effective::all(&config), &expressions, &Handle::current(), previous);
        built.map_err(|findings| findings.iter().map(ToString::to_string).collect())
    }

    #[tokio::test]
    async fn a_store_that_stays_the_same_outlives_a_reload() {
        let first = limits("{ memory: { keys: 1000 } }", "limit: 1/s", None).expect("good limits");
        let memory = |limits: &Limits| match &limits.stores["small"] {
            Store::Memory(store) => store.clone(),
            Store::Shared(_) => panic!("a store in memory"),
        };
        let same = limits("{ memory: { keys: 1000 } }", "limit: 2/s", Some(&first)).expect("good limits");
        assert!(Arc::ptr_eq(&memory(&first), &memory(&same)));
        assert!(Arc::ptr_eq(&first.default_store, &same.default_store));
        let other = limits("{ memory: { keys: 2000 } }", "limit: 1/s", Some(&first)).expect("good limits");
        assert!(!Arc::ptr_eq(&memory(&first), &memory(&other)));
        let shared = |limits: &Limits| match &limits.stores["small"] {
            Store::Shared(store) => store.clone(),
            Store::Memory(_) => panic!("a shared store"),
        };
        let redis = "{ redis: \"redis://127.0.0.1:1\" }";
        let first = limits(redis, "limit: 1/s", Some(&first)).expect("good limits");
        let same = limits(redis, "limit: 2/s", Some(&first)).expect("good limits");
        assert!(Arc::ptr_eq(&shared(&first), &shared(&same)));
        let moved = limits("{ redis: \"redis://127.0.0.1:2\" }", "limit: 1/s", Some(&first));
        assert!(!Arc::ptr_eq(&shared(&first), &shared(&moved.expect("good limits"))));
    }

    #[tokio::test]
    async fn a_limit_that_no_call_can_afford_is_a_finding() {
        let memory = "{ memory: {} }";
        assert!(limits(memory, "limit: 1/s, burst: 5, cost: 5", None).is_ok());
        let message = "t.yaml:3:27: `edge` allows 5 at once, and a call costs 6: none would ever pass";
        let findings = limits(memory, "limit: 1/s, burst: 5, cost: 6", None).err();
        assert_eq!(findings, Some(vec![message.to_owned()]));
        let missing = "{ redis: \"rediss://a\", ca: no-such-file }";
        let message = "t.yaml:2:45: `no-such-file`: No such file or directory (os error 2)";
        assert_eq!(limits(missing, "limit: 1/s", None).err(), Some(vec![message.to_owned()]));
    }
}
