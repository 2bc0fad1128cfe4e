//! What is believed of the lists that a source tells: the pure part of discovery.
//!
//! ```text
//! a list      ─▶ the list, sorted, each address once, ENDPOINTS_MAX at most; told again, it is no change
//! no endpoint ─▶ doubted: the last list stays for `empty_after`, and until then anything else ends the doubt
//! a failure   ─▶ counted and shown: the last list stays
//! ```
//!
//! An empty answer is more often a fault of who answers than the end of a service, and calls that fail tell more
//! than calls that are not tried. `now` is an argument.

use std::time::{Duration, Instant};

use crate::policy::balance::ENDPOINTS_MAX;
use crate::telemetry::DiscoverySeen;
use crate::upstream::EndpointSpec;

/// The list that holds, and how it came to be.
#[derive(Debug)]
pub(super) struct Listing {
    empty_after: Duration,
    specs: Vec<EndpointSpec>,
    /// When a list was last told that is believed.
    told: Option<Instant>,
    /// Since when nothing but empty answers came.
    empty_since: Option<Instant>,
    changes: u64,
    failures: u64,
    /// Entries of the last list that are without effect.
    left_out: u64,
    /// Why the list is not known as it is now.
    failure: Option<String>,
}

/// What a list changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// There are no endpoints, and that is not believed yet.
    Doubted,
    /// Another list holds.
    Listed {
        added: usize,
        removed: usize,
    },
}

impl Listing {
    /// With the list that holds until one is told.
    pub(super) fn new(before: Vec<EndpointSpec>, empty_after: Duration) -> Self {
        Self {
            empty_after,
            specs: sorted(before),
            told: None,
            empty_since: None,
            changes: 0,
            failures: 0,
            left_out: 0,
            failure: None,
        }
    }

    pub(super) fn specs(&self) -> &[EndpointSpec] {
        &self.specs
    }

    pub(super) fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// Whether the source has said anything yet, be it that there are none, or that it cannot tell.
    pub(super) fn is_answered(&self) -> bool {
        self.is_told() || self.failure.is_some() || self.empty_since.is_some()
    }

    /// Entries of the last list that are without effect.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Why the source was not understood when it was last asked.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The source has told a list; of `left_out` more entries it made no sense.
    pub(super) fn list(&mut self, specs: Vec<EndpointSpec>, left_out: u64, now: Instant) -> Change {
        self.failure = None;
        let mut specs = sorted(specs);
        let excess = specs.len().saturating_sub(ENDPOINTS_MAX);
        specs.truncate(ENDPOINTS_MAX);
        self.left_out = left_out.saturating_add(excess as u64);
        if !specs.is_empty() {
            self.empty_since = None;
            return self.believe(specs, now);
        }
        if self.is_told() && self.specs.is_empty() {
            self.told = Some(now);
            return Change::Nothing;
        }
        let is_first = self.empty_since.is_none();
        self.empty_since.get_or_insert(now);
        match self.end_doubt(now) {
            Change::Nothing if is_first && self.empty_since.is_some() => Change::Doubted,
            change => change,
        }
    }

    /// The source cannot tell; says whether it is for another reason than before.
    pub(super) fn failed(&mut self, reason: &str) -> bool {
        self.failures += 1;
        // Who has lost sight of the source has not seen it empty all the time.
        self.empty_since = None;
        let is_new = self.failure.as_deref() != Some(reason);
        self.failure = Some(reason.to_owned());
        is_new
    }

    /// When an answer without endpoints is to be believed.
    pub(super) fn doubted_until(&self) -> Option<Instant> {
        self.empty_since?.checked_add(self.empty_after)
    }

    /// Believes that there are no endpoints, if nothing else was told for long enough.
    pub(super) fn end_doubt(&mut self, now: Instant) -> Change {
        if self.doubted_until().is_none_or(|until| now < until) {
            return Change::Nothing;
        }
        self.empty_since = None;
        self.believe(Vec::new(), now)
    }

    fn believe(&mut self, specs: Vec<EndpointSpec>, now: Instant) -> Change {
        self.told = Some(now);
        if specs == self.specs {
            return Change::Nothing;
        }
        let missing = |these: &[EndpointSpec], those: &[EndpointSpec]| {
            let is_missing =
                |one: &&EndpointSpec| those.binary_search_by(|other| order(other).cmp(&order(one))).is_err();
            these.iter().filter(is_missing).count()
        };
        let (added, removed) = (missing(&specs, &self.specs), missing(&self.specs, &specs));
        self.changes += 1;
        self.specs = specs;
        Change::Listed { added, removed }
    }

    pub(super) fn seen(&self, source: &'static str, now: Instant) -> DiscoverySeen {
        DiscoverySeen {
            source,
            endpoints: self.specs.len(),
            age: self.told.map(|told| now.saturating_duration_since(told)),
            changes: self.changes,
            failures: self.failures,
            left_out: self.left_out,
            is_doubted: self.empty_since.is_some(),
            failure: self.failure.clone(),
        }
    }
}

/// In one order, whatever the source's, and each address once: the first entry holds.
fn sorted(mut specs: Vec<EndpointSpec>) -> Vec<EndpointSpec> {
    specs.sort_by(|left, right| order(left).cmp(&order(right)));
    specs.dedup_by(|later, first| later.address == first.address);
    specs
}

fn order(spec: &EndpointSpec) -> (&str, bool) {
    (spec.address.authority.as_str(), spec.address.is_tls)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Address;

    const SECOND: Duration = Duration::from_secs(1);

    fn specs(ports: impl IntoIterator<Item = usize>) -> Vec<EndpointSpec> {
        let one = |port: usize| format!("b:{port}").parse().expect("an authority");
        ports.into_iter().map(|port| EndpointSpec::new(Address::plain(one(port)))).collect()
    }

    fn listed(added: usize, removed: usize) -> Change {
        Change::Listed { added, removed }
    }

    #[test]
    fn a_list_that_repeats_is_no_change_in_any_order() {
        let mut listing = Listing::new(Vec::new(), 30 * SECOND);
        let now = Instant::now();
        let mut check = |ports: &[usize], expected: Change| {
            assert_eq!(listing.list(specs(ports.iter().copied()), 0, now), expected, "{ports:?}");
        };
        check(&[1, 2, 3], listed(3, 0));
        check(&[3, 1, 2], Change::Nothing);
        check(&[3, 1, 1, 2, 2], Change::Nothing);
        check(&[4, 3], listed(1, 2));
        assert_eq!(listing.seen("file", now).changes, 2);
        let heavier = specs([3, 4]).into_iter().map(|spec| EndpointSpec { weight: 2, ..spec }).collect();
        assert_eq!(listing.list(heavier, 0, now), listed(0, 0));
    }

    #[test]
    fn the_excess_is_left_out_and_said() {
        let mut listing = Listing::new(Vec::new(), 30 * SECOND);
        let now = Instant::now();
        for (count, left_out) in [(ENDPOINTS_MAX, 0), (ENDPOINTS_MAX + 1, 1)] {
            listing.list(specs(1..=count), 0, now);
            assert_eq!(listing.specs().len(), ENDPOINTS_MAX);
            assert_eq!(listing.seen("file", now).left_out, left_out);
        }
        listing.list(specs([1]), 2, now);
        assert_eq!(listing.seen("file", now).left_out, 2);
    }

    #[test]
    fn no_endpoint_is_believed_when_nothing_else_came_for_long() {
        let start = Instant::now();
        let at = |seconds: u32| start + seconds * SECOND;
        let mut listing = Listing::new(Vec::new(), 30 * SECOND);
        listing.list(specs([1]), 0, at(0));
        assert_eq!(listing.list(Vec::new(), 0, at(1)), Change::Doubted);
        assert!(listing.is_answered());
        assert_eq!(listing.list(Vec::new(), 0, at(30)), Change::Nothing);
        assert_eq!(listing.end_doubt(at(30)), Change::Nothing);
        assert_eq!(listing.specs().len(), 1);
        assert_eq!(listing.end_doubt(at(31)), listed(0, 1));
        assert_eq!(listing.doubted_until(), None);
        assert_eq!(listing.list(Vec::new(), 0, at(32)), Change::Nothing);
        assert_eq!(listing.list(specs([1]), 0, at(33)), listed(1, 0));
    }

    #[test]
    fn a_list_and_a_failure_end_the_doubt() {
        let start = Instant::now();
        let at = |seconds: u32| start + seconds * SECOND;
        for is_failure in [false, true] {
            let mut listing = Listing::new(Vec::new(), 30 * SECOND);
            listing.list(specs([1]), 0, at(0));
            listing.list(Vec::new(), 0, at(1));
            if is_failure {
                listing.failed("gone");
            } else {
                listing.list(specs([1]), 0, at(2));
            }
            assert_eq!(listing.doubted_until(), None);
            assert_eq!(listing.end_doubt(at(90)), Change::Nothing);
            assert_eq!(listing.list(Vec::new(), 0, at(91)), Change::Doubted);
            assert_eq!(listing.specs().len(), 1);
        }
    }

    #[test]
    fn without_patience_no_endpoint_is_believed_at_once() {
        let now = Instant::now();
        let mut listing = Listing::new(Vec::new(), Duration::ZERO);
        assert_eq!(listing.list(Vec::new(), 0, now), Change::Nothing);
        assert!(listing.is_told());
        listing.list(specs([1, 2]), 0, now);
        assert_eq!(listing.list(Vec::new(), 0, now), listed(0, 2));
    }

    #[test]
    fn a_failure_keeps_the_list_and_is_new_once() {
        let start = Instant::now();
        let mut listing = Listing::new(specs([7]), 30 * SECOND);
        assert!(!listing.is_answered());
        assert!(listing.failed("refused"));
        assert!(listing.is_answered());
        assert!(!listing.failed("refused"));
        assert!(listing.failed("late"));
        assert!(!listing.is_told());
        assert_eq!(listing.specs(), specs([7]));
        let seen = listing.seen("file", start);
        assert_eq!((seen.failures, seen.failure.as_deref(), seen.age), (3, Some("late"), None));
        listing.list(specs([7]), 0, start);
        let seen = listing.seen("file", start + SECOND);
        assert_eq!((seen.failure, seen.age), (None, Some(SECOND)));
    }
}
