//! From the configuration's `breaker`, `endpoint_breaker`, `retry` and `shed` to the protection of each service.
//!
//! What a breaker knows, what a budget has spent and how much room there is outlive a reload: a service whose name
//! and settings stay goes on with what it has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::snapshot::warning;
use crate::config::Config;
use crate::config::effective::Effective;
use crate::config::finding::{Finding, Position};
use crate::config::protection::BUDGET_PERCENT;
use crate::policy::protection::{Protection, ProtectionSettings, Protections};
use crate::policy::retry::Condition;
use crate::snapshot::Surfaces;

/// One a service, in the order of the file, for so many workers.
pub(super) fn build(
    config: &Config,
    effective: &[Effective<'_>],
    workers: usize,
    previous: Option<&Protections>,
) -> Protections {
    let previous = previous.map_or(&[][..], |Protections(previous)| previous);
    let now = Instant::now();
    let services = config.services.iter().enumerate().map(|(index, service)| {
        let mut of_rules = effective.iter().filter(|one| one.services(config).contains(&index));
        let is_retried = of_rules.any(|one| one.retry(service).is_some());
        let percent = service.retry.as_ref().map_or(BUDGET_PERCENT, |retry| retry.budget_percent);
        let settings = ProtectionSettings {
            breaker: service.breaker,
            endpoint_breaker: service.endpoint_breaker,
            retry_percent: is_retried.then_some(percent),
            shed: service.shed,
        };
        let same = previous.iter().find(|one| *one.service == *service.name && *one.settings() == settings);
        same.cloned()
            .unwrap_or_else(|| Arc::new(Protection::new(service.name.as_str(), settings, workers, now)))
    });
    Protections(services.collect())
}

/// What the methods that a `retry` holds for say of themselves.
#[derive(Default)]
struct Methods<'m> {
    /// One that may run once only.
    once: Option<&'m str>,
    is_any_repeatable: bool,
}

/// Rules that ask for retries which methods that they match cannot safely have, and services none of whose methods can:
/// only what never left is repeated.
pub(super) fn doubtful(config: &Config, effective: &[Effective<'_>], shown: &Surfaces) -> Vec<Finding> {
    let mut asked: BTreeMap<_, Methods<'_>> = BTreeMap::new();
    for binding in shown.all().iter().flat_map(|surface| surface.routes.bindings()) {
        let Some(one) = usize::try_from(binding.rule).ok().and_then(|index| effective.get(index)) else {
            continue;
        };
        let is_own = one.rule.is_some_and(|rule| rule.retry.is_some());
        let services = one.services(config).into_iter().filter_map(|index| config.services.get(index));
        for retry in services.filter_map(|service| one.retry(service)) {
            let needs_idempotency = retry.rules.on.iter().any(|condition| *condition != Condition::Connect);
            if needs_idempotency && retry.rules.attempts_max > 1 {
                let methods = asked.entry((retry.position, is_own)).or_default();
                methods.is_any_repeatable |= binding.is_idempotent;
                if !binding.is_idempotent {
                    methods.once.get_or_insert(&*binding.method);
                }
            }
        }
    }
    // A service reads and writes, and says once for all what holds for both.
    let in_vain = |((position, is_own), methods): ((Position, bool), Methods<'_>)| {
        let method = methods.once.filter(|_| is_own || !methods.is_any_repeatable)?;
        let message = format!(
            "`{method}` does not say that it may run twice: it is repeated only where it never left; \
             give it an `idempotency_level`, or write `on: connect`"
        );
        Some(warning(config, Some(position), message))
    };
    asked.into_iter().filter_map(in_vain).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Elsewhere;

    fn protections(services: &str, previous: Option<&Protections>) -> Protections {
        let text = format!(
            "version: 1\nservices:\n{services}\
             surfaces: {{ web: {{ rules: [{{ match: a, to: a, retry: {{}} }}, {{ match: b, to: b }}] }} }}\n"
        );
        let elsewhere = Elsewhere { descriptors: true, ..Elsewhere::default() };
        let config = Config::parse(&text, Path::new("t.yaml"), elsewhere).expect("a good file");
        build(&config, &Effective::all(&config), 2, previous)
    }

    const PLAIN: &str = "  a: { endpoints: { static: [\"http://a:1\"] } }\n  \
                         b: { endpoints: { static: [\"http://b:1\"] }, breaker: {}, shed: {} }\n";

    #[test]
    fn each_part_is_there_where_it_is_asked_for() {
        let Protections(protections) = protections(PLAIN, None);
        let parts: Vec<_> = protections
            .iter()
            .map(|one| (&*one.service, one.breaker.is_some(), one.retries.is_some(), one.gate.is_some()))
            .collect();
        // A rule that repeats calls needs the budget of its service, whoever does not say it.
        assert_eq!(parts, [("a", false, true, false), ("b", true, false, true)]);
        assert_eq!(protections[0].retries.as_ref().map(|budget| budget.percent()), Some(20));
    }

    #[test]
    fn what_stays_the_same_goes_on() {
        let first = protections(PLAIN, None);
        let other =
            PLAIN.replace("breaker: {}", "breaker: { consecutive: 6 }").replace("http://a:1", "http://a:2");
        let second = protections(&other, Some(&first));
        assert!(Arc::ptr_eq(&first.0[0], &second.0[0]));
        assert!(!Arc::ptr_eq(&first.0[1], &second.0[1]));
    }
}
