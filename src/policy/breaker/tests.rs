//! The breaker: cases, and every sequence of events up to a length against what must always hold.
//!
//! The same walk drives the bare machine and the one that threads share, which must never disagree.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::*;

const S: Duration = Duration::from_secs(1);

fn settings() -> BreakerSettings {
    BreakerSettings { consecutive: 3, requests_min: 4, ..BreakerSettings::default() }
}

/// A breaker and its clock, told what happens in letters: `.` answered, `x` failed, `e` exhausted, `-` silent,
/// `1`…`9` as many seconds pass; a call that is refused is noted as `r`.
fn check(settings: BreakerSettings, events: &str, expected: State) -> Breaker {
    let mut now = Instant::now();
    let mut breaker = Breaker::new(settings, now);
    let mut refusals = 0;
    for event in events.chars() {
        if let Some(seconds) = event.to_digit(10) {
            now += S * seconds;
            continue;
        }
        let admitted = breaker.admit(now);
        if event == 'r' {
            assert!(admitted.is_err(), "{events}: call {refusals} passes");
            refusals += 1;
            continue;
        }
        let (ticket, _) = admitted.unwrap_or_else(|_| panic!("{events}: a call is refused"));
        breaker.ended(ticket, verdict(event), now, 0);
    }
    let seen = match breaker.state() {
        State::Open { .. } => State::Open { until: now },
        state => state,
    };
    let expected = match expected {
        State::Open { .. } => State::Open { until: now },
        state => state,
    };
    assert_eq!(seen, expected, "{events}");
    breaker
}

fn verdict(letter: char) -> Verdict {
    match letter {
        '.' => Verdict::Alive,
        'x' => Verdict::Failed,
        'e' => Verdict::Exhausted,
        '-' => Verdict::Silent,
        other => panic!("`{other}` is no event"),
    }
}

#[test]
fn consecutive_failures_open_it_and_an_answer_forgets_them() {
    let open = State::Open { until: Instant::now() };
    let rare = BreakerSettings { requests_min: 1000, ..settings() };
    check(rare, "xx", State::Closed);
    assert_eq!(check(rare, "xxx", open).trip(), Some(Trip::Consecutive(3)));
    check(rare, "xx.xx.xx", State::Closed);
    // What says nothing neither counts nor forgets.
    check(rare, "xx-e", State::Closed);
    check(rare, "x-xexr", open);
}

#[test]
fn the_share_of_failures_opens_it_from_the_least_samples_on() {
    let open = State::Open { until: Instant::now() };
    let long = BreakerSettings { consecutive: 1000, ..settings() };
    check(long, "x.x", State::Closed);
    let breaker = check(long, ".x.x", open);
    assert_eq!(breaker.trip(), Some(Trip::ErrorRate(Counts { total: 4, marked: 2 })));
    check(long, "..x.x.x.", State::Closed);
    check(long, "..x.x.x.x", State::Closed);
    check(long, "..x.x.xx", open);
    // Exhaustion is no sample, and what is older than the window is none either.
    check(long, "xexe-e-x", State::Closed);
    check(long, "xxx91x", State::Closed);
    check(long, "xxx8x", open);
}

#[test]
fn one_probe_decides() {
    let open = State::Open { until: Instant::now() };
    let half_open = State::HalfOpen { is_probing: false };
    check(settings(), "xxx4r", open);
    check(settings(), "xxx5.", State::Closed);
    check(settings(), "xxx5-", half_open);
    check(settings(), "xxx5--.", State::Closed);
    assert_eq!(check(settings(), "xxx5x", open).trip(), Some(Trip::Probe));
    assert_eq!(check(settings(), "xxx5er", open).trip(), Some(Trip::ProbeExhausted));
    // Each failed probe doubles the time, up to the most; an answered one ends it.
    check(settings(), "xxx5x9r1x99r", open);
    check(settings(), "xxx5x91x992x994r", open);
    check(settings(), "xxx5x91.xxx4r1.", State::Closed);
    // Nothing of the time before counts afterwards.
    check(settings(), "xxx5.xx", State::Closed);
}

#[test]
fn a_call_from_before_decides_nothing() {
    let mut now = Instant::now();
    let mut breaker = Breaker::new(settings(), now);
    let begin = |breaker: &mut Breaker, now| breaker.admit(now).expect("admitted").0;
    let early: Vec<_> = (0..9).map(|_| begin(&mut breaker, now)).collect();
    let mut early = early.into_iter();
    for ticket in early.by_ref().take(3) {
        breaker.ended(ticket, Verdict::Failed, now, 0);
    }
    now += 5 * S;
    let probe = begin(&mut breaker, now);
    for (ticket, verdict) in early.by_ref().zip([Verdict::Alive, Verdict::Failed]) {
        assert_eq!(breaker.ended(ticket, verdict, now, 0), None);
        assert_eq!(breaker.state(), State::HalfOpen { is_probing: true });
    }
    assert_eq!(breaker.ended(probe, Verdict::Alive, now, 0), Some(Change::Closed));
    for ticket in early {
        assert_eq!(breaker.ended(ticket, Verdict::Failed, now, 0), None);
    }
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn refusals_say_when_to_come_again() {
    let now = Instant::now();
    let mut breaker = Breaker::new(settings(), now);
    for _ in 0..3 {
        let (ticket, _) = breaker.admit(now).expect("closed");
        breaker.ended(ticket, Verdict::Failed, now, 0);
    }
    assert_eq!(breaker.admit(now + 2 * S).expect_err("open").retry, 3 * S);
    let (_probe, change) = breaker.admit(now + 5 * S).expect("half-open");
    assert_eq!(change, Some(Change::HalfOpened));
    assert_eq!(breaker.admit(now + 5 * S).expect_err("one probe").retry, S);
}

#[test]
fn a_probe_that_never_ends_gives_way_to_another() {
    for (open_max, patience) in [(10 * S, 60 * S), (300 * S, 300 * S)] {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(BreakerSettings { open_max, ..settings() }, now);
        for _ in 0..3 {
            let (ticket, _) = breaker.admit(now).expect("closed");
            breaker.ended(ticket, Verdict::Failed, now, 0);
        }
        now += 5 * S;
        let (lost, _) = breaker.admit(now).expect("the probe");
        assert!(breaker.admit(now + patience - S / 1000).is_err());
        now += patience;
        let (probe, change) = breaker.admit(now).expect("another probe");
        assert_eq!(change, None);
        assert!(breaker.admit(now).is_err());
        assert_eq!(breaker.ended(lost, Verdict::Alive, now, 0), None);
        assert_eq!(breaker.state(), State::HalfOpen { is_probing: true });
        assert_eq!(breaker.ended(probe, Verdict::Alive, now, 0), Some(Change::Closed));
    }
}

#[test]
fn jitter_stays_within_the_bounds() {
    let times = |openings, random| {
        let breaker = Breaker { openings, ..Breaker::new(BreakerSettings::default(), Instant::now()) };
        breaker.open_time(random).as_millis()
    };
    let cases: [(u32, u128, u128); 7] = [
        (0, 5_000, 6_000),
        (1, 10_000, 12_000),
        (2, 20_000, 24_000),
        (3, 40_000, 48_000),
        (4, 50_000, 60_000),
        (31, 50_000, 60_000),
        (u32::MAX, 50_000, 60_000),
    ];
    for (openings, least, most) in cases {
        assert_eq!((times(openings, 0), times(openings, u32::MAX)), (least, most), "{openings}");
    }
    let same = BreakerSettings { open_min: 5 * S, open_max: 5 * S, ..BreakerSettings::default() };
    assert_eq!(Breaker::new(same, Instant::now()).open_time(7), 5 * S);
}

/// What can happen next, in the smallest world in which everything can.
#[derive(Clone, Copy, Debug)]
enum Event {
    Begin,
    /// The oldest, or the youngest, call ends.
    Ends {
        is_oldest: bool,
        verdict: Verdict,
    },
    /// Until just before the breaker may be tried, or the probe gives way, and until then.
    AlmostDue,
    Due,
}

const EVENTS: [Event; 9] = [
    Event::Begin,
    Event::Ends { is_oldest: true, verdict: Verdict::Alive },
    Event::Ends { is_oldest: true, verdict: Verdict::Failed },
    Event::Ends { is_oldest: true, verdict: Verdict::Exhausted },
    Event::Ends { is_oldest: true, verdict: Verdict::Silent },
    Event::Ends { is_oldest: false, verdict: Verdict::Alive },
    Event::Ends { is_oldest: false, verdict: Verdict::Failed },
    Event::AlmostDue,
    Event::Due,
];

/// One world: the bare machine, the shared one, and a witness that knows only what it saw.
struct World {
    now: Instant,
    breaker: Breaker,
    circuit: Circuit,
    calls: Vec<(Ticket, Ticket)>,
    /// When it last opened, and for how long.
    opened: Option<(Instant, Duration)>,
    failures_since_closed: u32,
    path: Vec<Event>,
}

impl World {
    fn new(settings: BreakerSettings, path: &[Event]) -> Self {
        let now = Instant::now();
        let mut world = Self {
            now,
            breaker: Breaker::new(settings, now),
            circuit: Circuit::new(settings, 2, now),
            calls: Vec::new(),
            opened: None,
            failures_since_closed: 0,
            path: Vec::new(),
        };
        for event in path {
            world.step(*event);
        }
        world
    }

    /// Whether anything can have changed.
    fn step(&mut self, event: Event) -> bool {
        self.path.push(event);
        match event {
            Event::Begin => self.begin(),
            Event::Ends { is_oldest, verdict } => {
                if self.calls.is_empty() || (!is_oldest && self.calls.len() == 1) {
                    return false;
                }
                let index = if is_oldest { 0 } else { self.calls.len() - 1 };
                let (bare, shared) = self.calls.remove(index);
                self.end(bare, shared, verdict);
            }
            Event::AlmostDue | Event::Due => {
                let until = match self.breaker.state() {
                    State::Open { until } => until,
                    State::HalfOpen { is_probing: true } => self.breaker.probe_until,
                    State::Closed | State::HalfOpen { is_probing: false } => return false,
                };
                let almost = until - Duration::from_nanos(1);
                let then = if matches!(event, Event::Due) { until } else { almost };
                if then <= self.now {
                    return false;
                }
                self.now = then;
            }
        }
        self.always();
        true
    }

    fn begin(&mut self) {
        let (bare, shared) = (self.breaker.admit(self.now), self.circuit.admit(self.now));
        let (Ok((bare, _)), Ok((shared, _))) = (&bare, &shared) else {
            assert_eq!(bare.err(), shared.err(), "{:?}", self.path);
            return;
        };
        assert_eq!(bare, shared, "{:?}", self.path);
        if let Some((opened, time)) = self.opened {
            assert!(self.now >= opened + time, "a call passes an open breaker: {:?}", self.path);
        }
        let copy = |ticket: &Ticket| Ticket { phase: ticket.phase, is_probe: ticket.is_probe };
        self.calls.push((copy(bare), copy(shared)));
    }

    fn end(&mut self, bare: Ticket, shared: Ticket, verdict: Verdict) {
        let was_closed = self.breaker.state() == State::Closed;
        let is_stale = bare.phase != self.breaker.phase;
        let probe_answered = bare.is_probe && !is_stale && verdict == Verdict::Alive;
        let state = self.breaker.state();
        let change = self.breaker.ended(bare, verdict, self.now, 0);
        assert_eq!(change, self.circuit.ended(shared, verdict, self.now, 1, || 0), "{:?}", self.path);
        if is_stale {
            assert_eq!((change, self.breaker.state()), (None, state), "{:?}", self.path);
        } else if was_closed && verdict == Verdict::Failed {
            self.failures_since_closed += 1;
        }
        match change {
            Some(Change::Opened { time, .. }) => {
                let BreakerSettings { open_min, open_max, consecutive, requests_min, .. } =
                    self.breaker.settings;
                assert!((open_min..=open_max).contains(&time), "open for {time:?}: {:?}", self.path);
                let least = u64::from(consecutive).min(requests_min / 2);
                let enough = u64::from(self.failures_since_closed) >= least;
                assert!(enough || !was_closed, "open too early: {:?}", self.path);
                self.opened = Some((self.now, time));
            }
            Some(Change::Closed) => (self.opened, self.failures_since_closed) = (None, 0),
            Some(Change::HalfOpened) => panic!("an end half-opens nothing: {:?}", self.path),
            None => {}
        }
        if probe_answered {
            assert_eq!(self.breaker.state(), State::Closed, "{:?}", self.path);
        }
    }

    fn always(&self) {
        let probes = self.calls.iter().filter(|(bare, _)| bare.is_probe && bare.phase == self.breaker.phase);
        let is_probing = self.breaker.state() == State::HalfOpen { is_probing: true };
        assert_eq!(probes.count(), usize::from(is_probing), "{:?}", self.path);
        assert_eq!(self.circuit.state(), (self.breaker.state(), self.breaker.trip()), "{:?}", self.path);
        assert_eq!(self.circuit.refuses(self.now), self.breaker.refuses(self.now), "{:?}", self.path);
        self.recovers();
    }

    /// From here on a backend that answers is trusted again: whatever is out ends, time passes, one call.
    fn recovers(&self) {
        let mut breaker = self.breaker.clone();
        let mut now = self.now;
        for (bare, _) in &self.calls {
            let ticket = Ticket { phase: bare.phase, is_probe: bare.is_probe };
            breaker.ended(ticket, Verdict::Alive, now, 0);
        }
        if let State::Open { until } = breaker.state() {
            now = now.max(until);
        }
        let (ticket, _) = breaker.admit(now).expect("a call is let through");
        breaker.ended(ticket, Verdict::Alive, now, 0);
        assert_eq!(breaker.state(), State::Closed, "{:?}", self.path);
    }
}

#[test]
fn every_sequence_of_eight_events_keeps_the_promises() {
    // Small enough for everything to happen within eight events: two failures open it.
    let settings = BreakerSettings { consecutive: 2, requests_min: 4, ..BreakerSettings::default() };
    let mut worlds = 0_u32;
    let mut states = HashSet::new();
    let mut open = vec![Vec::new()];
    while let Some(path) = open.pop() {
        for event in EVENTS {
            let mut world = World::new(settings, &path);
            if !world.step(event) {
                continue;
            }
            worlds += 1;
            states.insert(std::mem::discriminant(&world.breaker.state()));
            if world.path.len() < 8 {
                open.push(world.path);
            }
        }
    }
    assert_eq!(states.len(), 3);
    assert!(worlds > 10_000, "{worlds} worlds");
}

#[test]
fn rates_are_judged_in_every_order_of_calls() {
    let settings = BreakerSettings {
        consecutive: 100,
        requests_min: 4,
        error_percent: 50,
        ..BreakerSettings::default()
    };
    for length in 0..=8_u32 {
        for bits in 0..1_u32 << length {
            let now = Instant::now();
            let circuit = Circuit::new(settings, 3, now);
            let mut failures = 0;
            for call in 0..length {
                let is_failure = bits >> call & 1 == 1;
                failures += u32::from(is_failure);
                let verdict = if is_failure { Verdict::Failed } else { Verdict::Alive };
                let (ticket, _) = circuit.admit(now).expect("closed");
                let thread = usize::try_from(call).expect("small");
                let change = circuit.ended(ticket, verdict, now, thread, || 0);
                // It is judged when something fails, by everything that has ended until then.
                let should_open = is_failure && call + 1 >= 4 && failures * 2 > call;
                assert_eq!(change.is_some(), should_open, "{bits:b} at {call}");
                if should_open {
                    break;
                }
            }
        }
    }
}

#[test]
fn the_window_of_threads_forgets_as_the_bare_one_does() {
    let settings = BreakerSettings { consecutive: 100, requests_min: 4, ..BreakerSettings::default() };
    let start = Instant::now();
    let circuit = Circuit::new(settings, 2, start);
    let call = |verdict, now| {
        let (ticket, _) = circuit.admit(now).expect("closed");
        circuit.ended(ticket, verdict, now, 0, || 0)
    };
    for _ in 0..1000 {
        assert_eq!(call(Verdict::Alive, start), None);
    }
    // The thousand answers are older than the window; without that they would hide the failures for ever.
    let late = start + 11 * S;
    assert_eq!(call(Verdict::Alive, late), None);
    assert_eq!(call(Verdict::Failed, late), None);
    assert_eq!(call(Verdict::Failed, late), None);
    let trip = Trip::ErrorRate(Counts { total: 4, marked: 3 });
    assert!(matches!(call(Verdict::Failed, late), Some(Change::Opened { trip: seen, .. }) if seen == trip));
}
