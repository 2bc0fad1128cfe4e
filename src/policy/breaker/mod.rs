//! The circuit breaker: a backend that fails is left alone for a while, and then tried by one call.
//!
//! ```text
//!             failures in a row, or the share of failures in the window
//!   CLOSED ────────────────────────────────────────────────────────────▶ OPEN ◀─────────────┐
//!     ▲                                                                   │ its time is over  │
//!     │                                                                   ▼                   │ the probe failed,
//!     └──────────────── the probe was answered ───────────────────── HALF-OPEN ──────────────┘ RESOURCE_EXHAUSTED too
//!                                                                    │  ▲
//!                                            one call is the probe   └──┘ the probe says nothing: the next call is it
//! ```
//!
//! The time that it stays open doubles from the least to the most with each probe that fails, with a jitter that
//! never leaves these two. A probe of which nothing is heard for a minute, or for the most if that is longer, gives
//! way to another. A [`Ticket`] remembers in which phase a call began: what began before the breaker
//! opened decides nothing about the probe. [`Circuit`] is the same machine, shared by threads;
//! [`EndpointBreakers`] is what those of the endpoints of one service have in common, and an [`Outage`] that all refuse.

mod circuit;
mod endpoints;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use super::verdict::Verdict;
use super::window::{Counts, Window};

pub use circuit::Circuit;
pub use endpoints::{EndpointBreakers, Outage, Outages};

/// When it opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row.
    pub consecutive: u32,
    /// Of a hundred calls in the window, those that fail.
    pub error_percent: u32,
    pub window: Duration,
    /// Calls in the window without which the share says nothing.
    pub requests_min: u64,
    pub open_min: Duration,
    pub open_max: Duration,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
    /// Grows with every change of state, and with every probe that is given up.
    phase: u64,
    /// When the probe that is out gives way to another.
    probe_until: Instant,
    /// Failures in a row.
    streak: u32,
    window: Window,
    /// Openings since it was last closed.
    openings: u32,
    trip: Option<Trip>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    Closed,
    Open { until: Instant },
    HalfOpen { is_probing: bool },
}

/// What opened it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trip {
    /// So many failures in a row.
    Consecutive(u32),
    /// Of the calls in the window, the marked ones failed.
    ErrorRate(Counts),
    /// The probe failed.
    Probe,
    /// The probe met `RESOURCE_EXHAUSTED`.
    ProbeExhausted,
}

/// A call that was let through; its end is told with it, once.
#[derive(Debug, PartialEq, Eq, Hash)]
#[must_use = "the breaker waits to be told how the call ended"]
pub struct Ticket {
    phase: u64,
    is_probe: bool,
}

impl Ticket {
    /// Whether it is the one call that decides for all.
    pub fn is_probe(&self) -> bool {
        self.is_probe
    }
}

/// The call is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refused {
    /// When another one may be.
    pub retry: Duration,
}

/// A change of state, for logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Opened { trip: Trip, time: Duration },
    HalfOpened,
    Closed,
}

/// What somebody is told who comes while the probe is out: nobody knows how long it takes.
const PROBE_RETRY: Duration = Duration::from_secs(1);

/// How long a probe may take at least: a stream may never end, and its client may never send.
const PROBE_TIME: Duration = Duration::from_secs(60);

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            consecutive: 5,
            error_percent: 50,
            window: Duration::from_secs(10),
            requests_min: 20,
            open_min: Duration::from_secs(5),
            open_max: Duration::from_secs(60),
        }
    }
}

impl Breaker {
    pub fn new(settings: BreakerSettings, now: Instant) -> Self {
        let window = Window::new(settings.window, now);
        Self {
            settings,
            state: State::Closed,
            phase: 0,
            probe_until: now,
            streak: 0,
            window,
            openings: 0,
            trip: None,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// What opened it last, even when it is closed again.
    pub fn trip(&self) -> Option<Trip> {
        self.trip
    }

    /// Until when calls are refused if nothing is heard of a probe before, maybe in the past; `None`: they are not.
    pub fn refuses_until(&self) -> Option<Instant> {
        match self.state {
            State::Open { until } => Some(until),
            State::HalfOpen { is_probing: true } => Some(self.probe_until),
            State::Closed | State::HalfOpen { is_probing: false } => None,
        }
    }

    /// How long calls are refused from now on; `None` where one would be let through.
    pub fn refuses(&self, now: Instant) -> Option<Refused> {
        let until = self.refuses_until().filter(|until| now < *until)?;
        let is_probing = self.state == State::HalfOpen { is_probing: true };
        Some(Refused { retry: if is_probing { PROBE_RETRY } else { until - now } })
    }

    /// Asks to make a call.
    ///
    /// # Errors
    ///
    /// It is open, or another call is the probe.
    pub fn admit(&mut self, now: Instant) -> Result<(Ticket, Option<Change>), Refused> {
        if let Some(refused) = self.refuses(now) {
            return Err(refused);
        }
        let change = match self.state {
            State::Closed | State::HalfOpen { is_probing: false } => None,
            State::HalfOpen { is_probing: true } => {
                self.phase += 1;
                None
            }
            State::Open { .. } => {
                self.phase += 1;
                Some(Change::HalfOpened)
            }
        };
        let is_probe = self.state != State::Closed;
        if is_probe {
            self.state = State::HalfOpen { is_probing: true };
            self.probe_until = now + self.settings.open_max.max(PROBE_TIME);
        }
        Ok((Ticket { phase: self.phase, is_probe }, change))
    }

    /// Is told how a call ended; `random` is uniform over all of `u32`.
    pub fn ended(&mut self, ticket: Ticket, verdict: Verdict, now: Instant, random: u32) -> Option<Change> {
        if ticket.phase != self.phase {
            return None;
        }
        if ticket.is_probe {
            return self.probed(verdict, now, random);
        }
        match verdict {
            Verdict::Silent | Verdict::Exhausted => None,
            Verdict::Alive => {
                self.streak = 0;
                self.window.add(Counts { total: 1, marked: 0 }, now);
                None
            }
            Verdict::Failed => {
                self.streak = self.streak.saturating_add(1);
                self.window.add(Counts { total: 1, marked: 1 }, now);
                self.tripped(now).map(|trip| self.open(trip, now, random))
            }
        }
    }

    /// Answered calls that were counted elsewhere since the last time, all of this phase and in order before
    /// what comes next.
    fn answered_before(&mut self, count: u64) {
        self.window.add_before(Counts { total: count, marked: 0 });
    }

    fn tripped(&mut self, now: Instant) -> Option<Trip> {
        if self.streak >= self.settings.consecutive {
            return Some(Trip::Consecutive(self.streak));
        }
        let counts = self.window.sum(now);
        let share = counts.marked.saturating_mul(100);
        let is_high = share >= counts.total.saturating_mul(u64::from(self.settings.error_percent));
        (counts.total >= self.settings.requests_min && is_high).then_some(Trip::ErrorRate(counts))
    }

    fn probed(&mut self, verdict: Verdict, now: Instant, random: u32) -> Option<Change> {
        match verdict {
            Verdict::Silent => {
                self.state = State::HalfOpen { is_probing: false };
                None
            }
            Verdict::Failed => Some(self.open(Trip::Probe, now, random)),
            Verdict::Exhausted => Some(self.open(Trip::ProbeExhausted, now, random)),
            Verdict::Alive => {
                self.state = State::Closed;
                self.phase += 1;
                self.openings = 0;
                self.streak = 0;
                self.window.clear();
                Some(Change::Closed)
            }
        }
    }

    fn open(&mut self, trip: Trip, now: Instant, random: u32) -> Change {
        let time = self.open_time(random);
        self.openings = self.openings.saturating_add(1);
        self.phase += 1;
        self.state = State::Open { until: now + time };
        self.trip = Some(trip);
        Change::Opened { trip, time }
    }

    /// A fifth of the time is jitter, on the side where the bounds leave room for it.
    fn open_time(&self, random: u32) -> Duration {
        let BreakerSettings { open_min, open_max, .. } = self.settings;
        let doubled = open_min.saturating_mul(1_u32.checked_shl(self.openings).unwrap_or(u32::MAX));
        let most = doubled.saturating_mul(6).min(open_max.saturating_mul(5)) / 5;
        let least = (most / 6 * 5).max(open_min).min(most);
        least + (most - least).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

impl Trip {
    /// As metrics name them.
    pub const ALL: [&'static str; 4] = ["consecutive", "error_rate", "probe", "probe_exhausted"];

    /// Its place in [`Self::ALL`].
    pub fn index(self) -> usize {
        match self {
            Self::Consecutive(_) => 0,
            Self::ErrorRate(_) => 1,
            Self::Probe => 2,
            Self::ProbeExhausted => 3,
        }
    }
}

impl std::fmt::Display for Trip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Consecutive(count) => write!(f, "{count} failures in a row"),
            Self::ErrorRate(Counts { total, marked }) => write!(f, "{marked} failures of {total} calls"),
            Self::Probe => f.write_str("the probe failed"),
            Self::ProbeExhausted => f.write_str("the probe met RESOURCE_EXHAUSTED"),
        }
    }
}
