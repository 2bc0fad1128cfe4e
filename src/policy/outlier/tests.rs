//! Outlier detection: cases, and every sequence of events up to a length against what must always hold.

use std::collections::HashMap;

use super::*;

const S: Duration = Duration::from_secs(1);

fn outliers(settings: OutlierSettings, endpoints: u64) -> (Outliers, Instant) {
    let now = Instant::now();
    let mut outliers = Outliers::new(settings);
    (0..endpoints).for_each(|endpoint| outliers.join(endpoint));
    (outliers, now)
}

/// Fails an endpoint so often, and tells for how many seconds it is ejected.
fn fail(outliers: &mut Outliers, endpoint: u64, times: u32, now: Instant) -> Option<u64> {
    let ejections: Vec<_> = (0..times).filter_map(|_| outliers.failed(endpoint, now, Calls::new)).collect();
    ejections.first().map(|ejection| ejection.time.as_secs())
}

#[test]
fn consecutive_failures_eject_and_an_answer_forgets_them() {
    let (mut outliers, now) = outliers(OutlierSettings::default(), 3);
    assert_eq!(fail(&mut outliers, 0, 4, now), None);
    assert!(outliers.answered(0, now));
    assert_eq!(fail(&mut outliers, 0, 4, now), None);
    assert_eq!(fail(&mut outliers, 0, 1, now), Some(30));
    assert!(outliers.is_ejected(0, now + 30 * S - S / 1000));
    assert!(!outliers.is_ejected(0, now + 30 * S));
    // Who is unknown is nobody's outlier.
    assert_eq!(fail(&mut outliers, 9, 50, now), None);
}

#[test]
fn each_ejection_is_longer_until_the_most_and_good_intervals_forgive() {
    let (mut outliers, mut now) = outliers(OutlierSettings::default(), 3);
    let many = || Calls::from([(0, 10_000)]);
    for expected in [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300] {
        assert_eq!(fail(&mut outliers, 0, 5, now), Some(expected));
        now += expected.try_into().map(|seconds: u32| seconds * S).expect("small");
    }
    for _ in 0..9 {
        assert_eq!(outliers.sweep(now, many), []);
        now = outliers.interval_ends().expect("there is more to forgive");
    }
    assert_eq!(fail(&mut outliers, 0, 5, now), Some(90));
    // While it is ejected, nothing is forgiven.
    outliers.sweep(now + INTERVAL, many);
    now += 90 * S;
    assert_eq!(fail(&mut outliers, 0, 5, now), Some(120));
    now += 120 * S;
    for _ in 0..4 {
        assert_ne!(outliers.interval_ends(), None);
        outliers.sweep(now, many);
        now += INTERVAL;
    }
    assert_eq!(outliers.interval_ends(), None, "all is forgiven");
}

#[test]
fn who_is_back_has_one_failure() {
    let (mut outliers, now) = outliers(OutlierSettings::default(), 3);
    assert_eq!(fail(&mut outliers, 0, 5, now), Some(30));
    // What is answered now began before.
    assert!(!outliers.answered(0, now + S));
    let back = now + 30 * S;
    let ejection = outliers.failed(0, back, Calls::new);
    assert_eq!(ejection, Some(Ejection { endpoint: 0, reason: Reason::Relapse, time: 60 * S }));
    let back = back + 60 * S;
    assert!(outliers.answered(0, back));
    assert_eq!(fail(&mut outliers, 0, 4, back), None);
    assert_eq!(fail(&mut outliers, 0, 1, back), Some(90));
}

#[test]
fn the_share_holds_after_the_ejection_and_the_last_one_stays() {
    let check = |endpoints: u64, percent: u32, expected: usize| {
        let settings = OutlierSettings { ejected_percent_max: percent, ..OutlierSettings::default() };
        let (mut outliers, now) = outliers(settings, endpoints);
        let ejected = (0..endpoints).filter(|one| fail(&mut outliers, *one, 50, now).is_some()).count();
        assert_eq!(ejected, expected, "{percent} % of {endpoints}");
    };
    for (endpoints, percent, expected) in [
        (1, 100, 0),
        (2, 100, 1),
        (2, 50, 1),
        (2, 49, 0),
        (3, 50, 1),
        (4, 50, 2),
        (5, 50, 2),
        (10, 10, 1),
        (9, 10, 0),
    ] {
        check(endpoints, percent, expected);
    }
    check(3, 100, 2);
    check(3, 0, 0);
}

#[test]
fn of_fewer_endpoints_fewer_stay_ejected() {
    let (mut outliers, now) = outliers(OutlierSettings::default(), 4);
    fail(&mut outliers, 0, 5, now);
    fail(&mut outliers, 1, 5, now + S);
    outliers.leave(2, now + S);
    assert_eq!([0, 1].map(|one| outliers.is_ejected(one, now + S)), [false, true]);
    outliers.leave(3, now + S);
    outliers.leave(0, now + S);
    assert!(!outliers.is_ejected(1, now + S), "the only one left");
    outliers.leave(1, now + S);
}

/// Of so many calls to each endpoint in an interval, so many fail; who is ejected, and why.
#[track_caller]
fn check_sweep(endpoints: &[(u64, u64)], expected: &[(u64, Reason)]) {
    let settings = OutlierSettings { consecutive: u32::MAX, ..OutlierSettings::default() };
    let (mut outliers, now) = outliers(settings, 0);
    for (endpoint, (_, failures)) in (0..).zip(endpoints) {
        outliers.join(endpoint);
        (0..*failures).for_each(|_| assert_eq!(outliers.failed(endpoint, now, Calls::new), None));
    }
    let calls = || (0..).zip(endpoints.iter().map(|(calls, _)| *calls)).collect();
    assert_eq!(outliers.sweep(now + INTERVAL - S / 1000, calls), []);
    let ejections = outliers.sweep(now + INTERVAL, calls);
    let seen: Vec<_> = ejections.iter().map(|ejection| (ejection.endpoint, ejection.reason)).collect();
    assert_eq!(seen, expected, "{endpoints:?}");
    // A new interval begins with nothing.
    assert_eq!(outliers.sweep(now + 2 * INTERVAL, Calls::new), []);
}

#[test]
fn shares_of_failures_are_judged_each_interval() {
    use Reason::ErrorRate;
    check_sweep(&[(50, 43), (50, 0)], &[(0, ErrorRate)]);
    check_sweep(&[(50, 42), (50, 0)], &[]);
    check_sweep(&[(49, 49), (50, 0)], &[]);
    check_sweep(&[(0, 0), (0, 0)], &[]);
    // The worst goes, where not all may.
    check_sweep(&[(100, 86), (100, 99), (100, 0)], &[(1, ErrorRate)]);
}

#[test]
fn rates_far_below_the_mean_are_outliers() {
    use Reason::SuccessRate;
    check_sweep(&[(100, 30), (100, 1), (100, 2), (100, 1), (100, 2)], &[(0, SuccessRate)]);
    check_sweep(&[(100, 30), (100, 1), (100, 2), (100, 1)], &[]);
    check_sweep(&[(99, 30), (100, 1), (100, 2), (100, 1), (100, 2)], &[]);
    // All alike are nobody's outliers, however bad.
    check_sweep(&[(100, 30); 8], &[]);
}

#[test]
fn an_interval_begins_with_a_failure() {
    let (mut outliers, now) =
        outliers(OutlierSettings { consecutive: 1000, ..OutlierSettings::default() }, 2);
    outliers.answered(0, now);
    assert_eq!(outliers.interval_ends(), None);
    // A million good calls of before do not excuse fifty bad ones.
    let then = now + 3600 * S;
    (0..50).for_each(|_| assert_eq!(outliers.failed(0, then, || Calls::from([(0, 1_000_000)])), None));
    assert_eq!(outliers.interval_ends(), Some(then + INTERVAL));
    let ejections = outliers.sweep(then + INTERVAL, || Calls::from([(0, 1_000_050), (1, 2_000_000)]));
    assert_eq!(
        ejections.iter().map(|one| (one.endpoint, one.reason)).collect::<Vec<_>>(),
        [(0, Reason::ErrorRate)]
    );
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Fails(u64),
    Answers(u64),
    /// Until just before the next ejection ends, and until it does.
    AlmostBack,
    Back,
    Interval,
    Leave,
    Join,
}

/// Calls are not counted: of those that an interval sees, all have failed.
#[derive(Clone, PartialEq, Eq, Hash)]
struct World {
    now: Instant,
    outliers: Outliers,
    members: Vec<u64>,
    next: u64,
}

impl World {
    fn join(&mut self) {
        self.outliers.join(self.next);
        self.members.push(self.next);
        self.next += 1;
    }

    /// What comes of an event, if it can happen now.
    fn after(&self, event: Event) -> Option<Self> {
        let mut world = self.clone();
        let until = self.members.iter().filter_map(|one| self.outliers.ejected_until(*one, self.now)).min();
        match event {
            Event::Fails(member) => {
                world.outliers.failed(*self.members.get(index(member))?, self.now, Calls::new);
            }
            Event::Answers(member) => {
                world.outliers.answered(*self.members.get(index(member))?, self.now);
            }
            Event::AlmostBack => world.now = until? - Duration::from_nanos(1),
            Event::Back => world.now = until?,
            Event::Interval => {
                world.now = self.now.max(self.outliers.interval_ends()?);
                world.outliers.sweep(world.now, Calls::new);
            }
            Event::Leave => world.outliers.leave(world.members.pop()?, self.now),
            Event::Join if self.members.len() < 3 => world.join(),
            Event::Join => return None,
        }
        Some(world)
    }

    fn keeps_the_promises(&self, path: &[Event]) {
        let count = self.members.len();
        let ejected = self.members.iter().filter(|one| self.outliers.is_ejected(**one, self.now)).count();
        assert!(count == 0 || ejected < count, "nobody is left: {path:?}");
        let percent = index(self.outliers.settings.ejected_percent_max.into());
        assert!(ejected * 100 <= count * percent, "{ejected} of {count}: {path:?}");
        // Everyone is back in the end.
        let end = self.now + self.outliers.settings.eject_max;
        let is_back = |one: &u64| !self.outliers.is_ejected(*one, end);
        assert!(self.members.iter().all(is_back), "left out for too long: {path:?}");
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("small")
}

#[test]
fn every_sequence_of_events_keeps_the_promises() {
    use Event::{AlmostBack, Answers, Back, Fails, Interval, Join, Leave};
    let events = [Fails(0), Fails(1), Fails(2), Answers(0), AlmostBack, Back, Interval, Leave, Join];
    // Two failures to eject, and one, where everything comes sooner; the rate of two calls, or none.
    for (consecutive, requests_min, ejected_percent_max) in [(2, 50, 67), (1, 2, 100)] {
        let settings =
            OutlierSettings { consecutive, requests_min, ejected_percent_max, ..Default::default() };
        let mut first =
            World { now: Instant::now(), outliers: Outliers::new(settings), members: Vec::new(), next: 0 };
        (0..3).for_each(|_| first.join());
        // Sequences that lead to the same are gone on with once.
        let mut layer = HashMap::from([(first, Vec::new())]);
        for _ in 0..8 {
            let mut next = HashMap::new();
            for (world, path) in &layer {
                for event in events {
                    let Some(after) = world.after(event) else { continue };
                    let path = [&path[..], &[event]].concat();
                    after.keeps_the_promises(&path);
                    next.entry(after).or_insert(path);
                }
            }
            layer = next;
        }
        assert!(layer.len() > 100, "{}", layer.len());
    }
}
