//! One endpoint of a cluster, as all workers share it: its address, and what is known of it.
//!
//! An [`Endpoint`] outlives the lists that it is on: a new list with the same address leads to the same one, so
//! that connections, latencies and failures are not forgotten. What a list says of it (weight, zone) is not here.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::uri::{Authority, Scheme};

use super::pool::Proofs;
use crate::policy::balance;
use crate::policy::balance::latency::{Cost, Latency};
use crate::policy::balance::roster::Standing;
use crate::policy::breaker::Circuit;
use crate::telemetry::{BreakerSeen, Counter, EndpointSeen, EndpointState};

/// Where an endpoint is: `http://host:port`, or `https://host:port` by TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    pub authority: Authority,
    pub is_tls: bool,
}

/// An endpoint as a list names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSpec {
    pub address: Address,
    /// Against the others'; at least 1.
    pub weight: u32,
    pub zone: Option<Box<str>>,
}

/// An endpoint and what the workers learn about it together.
#[derive(Debug)]
pub struct Endpoint {
    pub(super) address: Address,
    /// Of its address, for keys that are to stay with it.
    pub(super) hash: u64,
    pub(super) proofs: Proofs,
    pub(super) failures: Counter,
    load: Load,
    latency: AtomicU64,
    /// Open connections of all workers.
    connections: AtomicUsize,
    /// When it may be tried again, in milliseconds of its cluster; 0 where it can be reached.
    retry_ms: AtomicU64,
    is_well: AtomicBool,
    /// Its number among the outliers of its cluster.
    pub(super) number: u64,
    /// Whether the next answer is news: it has failed, or was ejected, since it last answered.
    is_suspect: AtomicBool,
    /// When it is back from being ejected, in milliseconds of its cluster; 0 where it is not ejected.
    ejected_until_ms: AtomicU64,
    /// Where the service asks for one.
    pub(super) breaker: Option<Circuit>,
    /// Until when its breaker leaves it out, in milliseconds of its cluster; 0 where it takes calls.
    refuses_until_ms: AtomicU64,
    /// When it came, or came back, in milliseconds of its cluster; [`ALWAYS`] for those of the first list.
    since_ms: AtomicU64,
}

const ALWAYS: u64 = u64::MAX;

/// Calls begun above, calls in flight in the lower [`IN_FLIGHT_BITS`]: one atomic addition counts both.
#[derive(Debug, Default)]
struct Load(AtomicU64);

const IN_FLIGHT_BITS: u32 = 24;
const IN_FLIGHT: u64 = (1 << IN_FLIGHT_BITS) - 1;

impl Address {
    /// Plain HTTP/2.
    pub fn plain(authority: Authority) -> Self {
        Self { authority, is_tls: false }
    }

    pub(super) fn scheme(&self) -> Scheme {
        if self.is_tls { Scheme::HTTPS } else { Scheme::HTTP }
    }

    /// The host as a resolver wants it: that of an IPv6 authority is in brackets.
    pub(super) fn host(&self) -> &str {
        let host = self.authority.host();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    pub(super) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.is_tls { 443 } else { 80 })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority)
    }
}

impl EndpointSpec {
    /// One like any other.
    pub fn new(address: Address) -> Self {
        Self { address, weight: 1, zone: None }
    }
}

impl Endpoint {
    pub(super) fn new(address: Address, number: u64, breaker: Option<Circuit>, now_ms: u64) -> Self {
        let hash = balance::hash(address.to_string().as_bytes());
        Self {
            address,
            hash,
            proofs: Proofs::default(),
            failures: Counter::default(),
            load: Load::default(),
            latency: AtomicU64::new(Latency::unknown(low(now_ms)).word()),
            connections: AtomicUsize::new(0),
            retry_ms: AtomicU64::new(0),
            is_well: AtomicBool::new(true),
            number,
            is_suspect: AtomicBool::new(false),
            ejected_until_ms: AtomicU64::new(0),
            breaker,
            refuses_until_ms: AtomicU64::new(0),
            since_ms: AtomicU64::new(now_ms),
        }
    }

    /// Calls of all workers that have not ended, those that wait for a connection too.
    pub fn in_flight(&self) -> u64 {
        self.load.0.load(Ordering::Relaxed) & IN_FLIGHT
    }

    pub(super) fn seen(&self, now_ms: u64) -> EndpointSeen {
        EndpointSeen {
            address: self.address.to_string(),
            state: match self.standing() {
                Standing::Usable => EndpointState::Usable,
                Standing::Unwell if self.ejected_until_ms().is_some() => EndpointState::Ejected,
                Standing::Unwell => EndpointState::Unwell,
                Standing::Unreachable => EndpointState::Unreachable,
                Standing::Refusing => EndpointState::Open,
            },
            breaker: self.breaker.as_ref().map(|breaker| {
                let (state, trip) = breaker.state();
                BreakerSeen::of(state, trip)
            }),
            calls: self.calls(),
            failures: self.failures.value(),
            in_flight: self.in_flight(),
            connections: self.connections() as u64,
            latency_ms: self.latency().estimate_us(low(now_ms)).map(|us| f64::from(us) / 1000.0),
        }
    }

    /// Calls that have begun.
    pub(super) fn calls(&self) -> u64 {
        self.load.0.load(Ordering::Relaxed) >> IN_FLIGHT_BITS
    }

    pub(super) fn begin(&self) {
        self.load.0.fetch_add((1 << IN_FLIGHT_BITS) + 1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.load.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn latency(&self) -> Latency {
        Latency::from_word(self.latency.load(Ordering::Relaxed))
    }

    pub(super) fn learn(&self, now_ms: u64, learn: impl Fn(Latency, u32) -> Latency) {
        let learn = |word| Some(learn(Latency::from_word(word), low(now_ms)).word());
        let _ = self.latency.fetch_update(Ordering::Relaxed, Ordering::Relaxed, learn);
    }

    /// What one more call is expected to cost there.
    pub(super) fn cost(&self, now_ms: u64) -> Cost {
        Cost { calls: self.in_flight() + 1, latency_us: self.latency().estimate_us(low(now_ms)) }
    }

    pub(super) fn standing(&self) -> Standing {
        if self.refuses_until_ms().is_some() {
            Standing::Refusing
        } else if self.retry_ms.load(Ordering::Relaxed) != 0 {
            Standing::Unreachable
        } else if self.is_well.load(Ordering::Relaxed) && self.ejected_until_ms().is_none() {
            Standing::Usable
        } else {
            Standing::Unwell
        }
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.is_suspect.load(Ordering::Relaxed)
    }

    pub(super) fn ejected_until_ms(&self) -> Option<u64> {
        Some(self.ejected_until_ms.load(Ordering::Relaxed)).filter(|until_ms| *until_ms != 0)
    }

    pub(super) fn refuses_until_ms(&self) -> Option<u64> {
        Some(self.refuses_until_ms.load(Ordering::Relaxed)).filter(|until_ms| *until_ms != 0)
    }

    pub(super) fn age(&self, now_ms: u64) -> Duration {
        match self.since_ms.load(Ordering::Relaxed) {
            ALWAYS => Duration::MAX,
            since_ms => Duration::from_millis(now_ms.saturating_sub(since_ms)),
        }
    }
}

impl Endpoint {
    /// A worker's connection is gone; what that means is found out by the next call.
    pub(super) fn disconnected(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Changes of standing; each is made with the cluster's lock held, and says whether the roster changes by it.
impl Endpoint {
    pub(super) fn retry_ms(&self) -> Option<u64> {
        Some(self.retry_ms.load(Ordering::Relaxed)).filter(|retry_ms| *retry_ms != 0)
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn connected(&self, now_ms: u64) -> bool {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let is_back = self.retry_ms.swap(0, Ordering::Relaxed) != 0;
        if is_back {
            self.since_ms.store(now_ms, Ordering::Relaxed);
            // Whatever made it go away, what was learned before is of another time.
            self.latency.store(Latency::unknown(low(now_ms)).word(), Ordering::Relaxed);
        }
        is_back
    }

    /// Leaves it alone until a moment, unless some worker is connected to it.
    pub(super) fn leave_alone(&self, until_ms: u64) -> bool {
        let is_gone = self.connections() == 0;
        if is_gone {
            self.retry_ms.store(until_ms.max(1), Ordering::Relaxed);
        }
        is_gone
    }

    pub(super) fn judge(&self, is_well: bool, now_ms: u64) -> bool {
        let was_well = self.is_well.swap(is_well, Ordering::Relaxed);
        if is_well && !was_well {
            self.since_ms.store(now_ms, Ordering::Relaxed);
        }
        was_well != is_well
    }

    pub(super) fn suspect(&self, is_suspect: bool) {
        self.is_suspect.store(is_suspect, Ordering::Relaxed);
    }

    /// Leaves it out until a moment, or no longer; whether it is back by that.
    pub(super) fn eject(&self, until_ms: Option<u64>, now_ms: u64) -> bool {
        let until_ms = until_ms.map_or(0, |until_ms| until_ms.max(1));
        let is_back = self.ejected_until_ms.swap(until_ms, Ordering::Relaxed) != 0 && until_ms == 0;
        if is_back {
            self.since_ms.store(now_ms, Ordering::Relaxed);
        }
        is_back
    }

    /// Its breaker leaves it out until a moment, or no longer.
    pub(super) fn refuse(&self, until_ms: Option<u64>) {
        self.refuses_until_ms.store(until_ms.map_or(0, |until_ms| until_ms.max(1)), Ordering::Relaxed);
    }

    /// Its breaker has closed: it takes its share by and by.
    pub(super) fn recovered(&self, now_ms: u64) {
        self.since_ms.store(now_ms, Ordering::Relaxed);
    }

    /// It has been there for as long as anybody asks.
    pub(super) fn establish(&self) {
        self.since_ms.store(ALWAYS, Ordering::Relaxed);
    }
}

/// Latencies keep the lower half of a moment, and know that it wraps.
const fn low(now_ms: u64) -> u32 {
    now_ms as u32
}
