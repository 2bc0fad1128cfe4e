//! Two endpoints with breakers, through every sequence of events up to a length: who gets a call, and who is refused.
//!
//! The machine of one breaker has its own walk (`policy::breaker`). Here it is about what stands between: rosters,
//! probes that several want to be, calls that are given up, and calls that are made again.

use std::sync::Arc;

use super::*;
use crate::policy::balance::{Balance, mix};
use crate::policy::breaker::BreakerSettings;
use crate::policy::protection::{Protection, ProtectionSettings};
use crate::upstream::cluster::Draw;
use crate::upstream::{Address, EndpointSpec, UpstreamConfig};

const S: Duration = Duration::from_secs(1);

/// Long after the cluster was made, whatever the clock says.
const START_MS: u64 = 3_600_000;

#[derive(Clone, Copy, Debug)]
enum Event {
    Begin,
    /// The oldest, or the youngest, call ends.
    Ends {
        is_oldest: bool,
        verdict: Verdict,
    },
    /// The oldest call fails, and is made again at an endpoint that it has not met.
    Retried,
    /// Until just before the first endpoint that is left out may be tried, and until then.
    AlmostDue,
    Due,
}

const EVENTS: [Event; 8] = [
    Event::Begin,
    Event::Ends { is_oldest: true, verdict: Verdict::Alive },
    Event::Ends { is_oldest: true, verdict: Verdict::Failed },
    Event::Ends { is_oldest: true, verdict: Verdict::Silent },
    Event::Ends { is_oldest: false, verdict: Verdict::Failed },
    Event::Retried,
    Event::AlmostDue,
    Event::Due,
];

struct World {
    cluster: Arc<Cluster>,
    endpoints: Vec<Arc<Endpoint>>,
    now_ms: u64,
    random: u64,
    calls: Vec<Call>,
    path: Vec<Event>,
}

/// A call that has begun, and its end has not been told.
struct Call {
    place: usize,
    ticket: Ticket,
    begun_ms: u64,
}

impl World {
    fn new(path: &[Event]) -> Self {
        // Small enough for everything to happen within eight events.
        let breaker = BreakerSettings { consecutive: 1, requests_min: 4, ..BreakerSettings::default() };
        let cluster = cluster(breaker, &["a:1", "b:1"]);
        let endpoints = cluster.current().listed.iter().map(|listed| Arc::clone(&listed.endpoint)).collect();
        let mut world =
            Self { cluster, endpoints, now_ms: START_MS, random: 0, calls: Vec::new(), path: Vec::new() };
        for event in path {
            world.step(*event);
        }
        world
    }

    fn now(&self) -> Instant {
        self.cluster.at(self.now_ms)
    }

    fn breaker(&self, place: usize) -> &Circuit {
        self.endpoints[place].breaker.as_ref().expect("each has one")
    }

    /// Whether anything can have changed.
    fn step(&mut self, event: Event) -> bool {
        self.path.push(event);
        match event {
            Event::Begin => self.begin(&[]),
            Event::Ends { is_oldest, verdict } => {
                if self.calls.is_empty() || (!is_oldest && self.calls.len() == 1) {
                    return false;
                }
                self.end(if is_oldest { 0 } else { self.calls.len() - 1 }, verdict);
            }
            Event::Retried => {
                if self.calls.is_empty() {
                    return false;
                }
                let place = self.end(0, Verdict::Failed);
                self.begin(&[Arc::clone(&self.endpoints[place])]);
            }
            Event::AlmostDue | Event::Due => {
                let left_out = self.endpoints.iter().filter_map(|endpoint| endpoint.refuses_until_ms());
                let Some(due_ms) = left_out.filter(|until_ms| *until_ms > self.now_ms).min() else {
                    return false;
                };
                let then_ms = if matches!(event, Event::Due) { due_ms } else { due_ms - 1 };
                if then_ms == self.now_ms {
                    return false;
                }
                self.now_ms = then_ms;
            }
        }
        self.always();
        true
    }

    /// As a worker does it.
    fn begin(&mut self, tried: &[Arc<Endpoint>]) {
        let now = self.now();
        let takes: Vec<_> = (0..2).map(|place| self.breaker(place).refuses(now).is_none()).collect();
        let picked = loop {
            let endpoints = self.cluster.current.load_full();
            if endpoints.is_due(self.now_ms) && self.cluster.tend(self.now_ms).is_some() {
                continue;
            }
            self.random += 1;
            let draw = Draw { now_ms: self.now_ms, random: mix(self.random), key: None };
            let Some(place) = self.cluster.pick(&endpoints, draw, tried) else { break None };
            if let Ok(ticket) = self.cluster.admit(&self.endpoints[place], now) {
                break Some((place, ticket.expect("each has a breaker")));
            }
        };
        let Some((place, ticket)) = picked else {
            assert_eq!(takes, [false, false], "refused: {:?}", self.path);
            let refused = self.cluster.refuses(now).expect("it says when to come again");
            let all = (0..2).filter_map(|place| self.breaker(place).refuses(now));
            assert!(all.min().is_some_and(|soonest| refused <= soonest), "{refused:?}: {:?}", self.path);
            return;
        };
        assert!(takes[place], "{place} is left out: {:?}", self.path);
        let is_met = tried.iter().any(|tried| Arc::ptr_eq(tried, &self.endpoints[place]));
        assert!(!is_met || !takes[1 - place], "{place} again: {:?}", self.path);
        if ticket.is_probe() {
            let mut others = self.calls.iter().filter(|call| call.place == place && call.ticket.is_probe());
            let is_given_up = |call: &Call| self.now_ms - call.begun_ms >= 60_000;
            assert!(others.all(is_given_up), "two probes: {:?}", self.path);
        }
        self.calls.push(Call { place, ticket, begun_ms: self.now_ms });
    }

    fn end(&mut self, index: usize, verdict: Verdict) -> usize {
        let Call { place, ticket, .. } = self.calls.remove(index);
        self.cluster.settle(&self.endpoints[place], ticket, verdict, self.now(), || 0);
        place
    }

    fn always(&self) {
        let now = self.now();
        let refusing = (0..2).filter(|place| self.breaker(*place).refuses(now).is_some()).count();
        // What judges calls by their heads knows it too.
        assert_eq!(self.cluster.refuses(now).is_some(), refusing == 2, "{:?}", self.path);
    }

    /// From here on endpoints that answer are trusted again: whatever is out ends, time passes, one call to each.
    fn recovers(mut self) {
        while !self.calls.is_empty() {
            self.end(0, Verdict::Alive);
        }
        self.now_ms += 3_600_000;
        for _ in 0..2 {
            self.begin(&[]);
        }
        assert_eq!(self.calls.len(), 2, "{:?}", self.path);
        while !self.calls.is_empty() {
            self.end(0, Verdict::Alive);
        }
        let states = [0, 1].map(|place| self.breaker(place).state().0);
        assert_eq!(states, [State::Closed; 2], "{:?}", self.path);
    }
}

fn cluster(breaker: BreakerSettings, endpoints: &[&str]) -> Arc<Cluster> {
    protected(&protection(breaker), endpoints)
}

fn protection(breaker: BreakerSettings) -> Arc<Protection> {
    let settings = ProtectionSettings { endpoint_breaker: Some(breaker), ..ProtectionSettings::default() };
    Arc::new(Protection::new("api", settings, 2, Instant::now()))
}

fn protected(protection: &Arc<Protection>, endpoints: &[&str]) -> Arc<Cluster> {
    let config = UpstreamConfig {
        balance: Balance::RoundRobin,
        slow_start: Duration::ZERO,
        ..UpstreamConfig::default()
    };
    let spec = |authority: &&str| EndpointSpec::new(Address::plain(authority.parse().expect("an authority")));
    Cluster::protected(Arc::clone(protection), config, endpoints.iter().map(spec).collect())
}

#[test]
fn every_sequence_of_eight_events_deals_each_call_to_an_endpoint_that_takes_it() {
    let mut worlds = 0_u32;
    let mut open = vec![Vec::new()];
    while let Some(path) = open.pop() {
        for event in EVENTS {
            let mut world = World::new(&path);
            if !world.step(event) {
                continue;
            }
            worlds += 1;
            if world.path.len() < 8 {
                open.push(world.path.clone());
            }
            world.recovers();
        }
    }
    assert!(worlds > 10_000, "{worlds} worlds");
}

#[test]
fn an_endpoint_whose_breaker_has_closed_takes_its_share_by_and_by() {
    let settings = BreakerSettings { consecutive: 1, ..BreakerSettings::default() };
    let cluster = cluster(settings, &["a:1"]);
    let endpoint = Arc::clone(&cluster.current().listed[0].endpoint);
    let mut now = cluster.at(START_MS);
    for verdict in [Verdict::Failed, Verdict::Alive] {
        let ticket = cluster.admit(&endpoint, now).expect("it may be tried").expect("it has a breaker");
        cluster.settle(&endpoint, ticket, verdict, now, || 0);
        now += 10 * S;
    }
    assert_eq!(endpoint.age(START_MS + 10_000), Duration::ZERO);
    assert_eq!(endpoint.age(START_MS + 15_000), 5 * S);
}

#[test]
fn the_endpoints_of_before_a_reload_speak_for_themselves_alone() {
    let protection = protection(BreakerSettings { consecutive: 1, ..BreakerSettings::default() });
    let old = protected(&protection, &["a:1"]);
    let endpoint = Arc::clone(&old.current().listed[0].endpoint);
    let mut now = old.at(START_MS);
    let admit = |now| old.admit(&endpoint, now).expect("it may be tried").expect("it has a breaker");
    old.settle(&endpoint, admit(now), Verdict::Failed, now, || 0);
    // A reload that is refused has changed nothing.
    drop(protected(&protection, &["b:1"]));
    assert!(old.refuses(now).is_some());
    now += 10 * S;
    let probe = admit(now);
    let new = protected(&protection, &["b:1"]);
    old.settle(&endpoint, probe, Verdict::Failed, now, || 0);
    assert!(old.refuses(now).is_some());
    assert_eq!(new.refuses(now), None);
}
