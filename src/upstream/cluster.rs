//! The endpoints of a service, as all workers share them: which one a call goes to, and who may be picked at all.
//!
//! ```text
//! update(list) ──────────┐                                  ┌▶ pick: one load, no lock
//! connected, unreachable ┼▶ (lock) new Endpoints, one swap ─┤
//! judge, failures,       │                                  └▶ what is due: probes, endpoints that are back
//! breakers ──────────────┘
//! ```
//!
//! Whatever finds endpoints hands whole lists to [`Cluster::update`]; it knows nothing of workers, and they nothing
//! of it. An endpoint that nobody can connect to is left alone until its backoff ends; then the next call, wherever
//! it goes, has one connection tried beside it: no call has to find out. A moment is a number of milliseconds since
//! the cluster was made.

mod breaking;
mod ejecting;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use tokio::runtime::Handle;

use self::ejecting::Ejections;
use super::UpstreamConfig;
use super::endpoint::{Address, Endpoint, EndpointSpec};
use super::health::Checkers;
use super::pools::Pools;
use crate::policy::balance::latency::Cost;
use crate::policy::balance::roster::{Member, Roster, ramp};
use crate::policy::balance::{Balance, mix};
use crate::policy::breaker::{EndpointBreakers, Outage};
use crate::policy::outlier::Outliers;
use crate::policy::protection::{Protection, ProtectionSettings};
use crate::telemetry::ClusterSeen;

/// A service's endpoints.
#[derive(Debug)]
pub struct Cluster {
    config: UpstreamConfig,
    protection: Arc<Protection>,
    outage: Arc<Outage>,
    started: Instant,
    current: ArcSwap<Endpoints>,
    /// Held while something changes; never while a call is dealt.
    changing: Mutex<Changing>,
    turns: AtomicU64,
    ejections: Ejections,
}

#[derive(Debug)]
struct Changing {
    /// Those who hold connections, to be told of endpoints that are gone.
    holders: Vec<Weak<Pools>>,
    outliers: Option<Outliers>,
    /// Who checks the endpoints, from when on somebody does.
    checkers: Option<Checkers>,
    /// The number of the next endpoint that is new.
    next_number: u64,
}

/// The endpoints of a moment.
#[derive(Debug)]
pub(super) struct Endpoints {
    /// Rises with every list.
    pub(super) generation: u64,
    pub(super) listed: Arc<[Listed]>,
    roster: Roster,
    /// When weights that grow have grown enough to count anew, an ejected endpoint is back, a breaker lets a probe
    /// through, or failures are judged.
    stale_ms: u64,
    /// When the first of the unreachable ones may be tried again.
    probe_ms: u64,
}

/// An endpoint, and what the list says of it.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) endpoint: Arc<Endpoint>,
    weight: u32,
    is_near: bool,
}

/// What a pick depends on beside the endpoints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    pub(super) now_ms: u64,
    /// Uniform over all of `u64`.
    pub(super) random: u64,
    /// The hash of what is to stay together.
    pub(super) key: Option<u64>,
}

/// In so many steps, the weight of an endpoint that came grows to the whole.
const RAMP_STEPS: u32 = 20;

/// Beside the time for a connection: after so long, another worker may try what one has not told the end of.
const PROBE_SLACK: Duration = Duration::from_secs(1);

const NEVER: u64 = u64::MAX;

impl Cluster {
    /// A cluster of these endpoints, none of which is new, whose service has no protection.
    pub fn new(name: impl Into<Arc<str>>, config: UpstreamConfig, specs: Vec<EndpointSpec>) -> Arc<Self> {
        let protection = Protection::new(name, ProtectionSettings::default(), 1, Instant::now());
        Self::protected(Arc::new(protection), config, specs)
    }

    /// The same for a service with this protection, of which it gives each endpoint its part.
    pub fn protected(
        protection: Arc<Protection>,
        config: UpstreamConfig,
        specs: Vec<EndpointSpec>,
    ) -> Arc<Self> {
        let empty = Endpoints {
            generation: 0,
            listed: Arc::new([]),
            roster: Roster::default(),
            stale_ms: NEVER,
            probe_ms: NEVER,
        };
        let outliers = config.outlier.map(Outliers::new);
        let started = Instant::now();
        let cluster = Arc::new(Self {
            config,
            protection,
            outage: Arc::new(Outage::new(started)),
            started,
            current: ArcSwap::from_pointee(empty),
            changing: Mutex::new(Changing { holders: Vec::new(), outliers, checkers: None, next_number: 0 }),
            turns: AtomicU64::new(0),
            ejections: Ejections::default(),
        });
        cluster.update(specs);
        cluster
    }

    pub fn name(&self) -> &Arc<str> {
        &self.protection.service
    }

    pub fn config(&self) -> &UpstreamConfig {
        &self.config
    }

    /// Whether all of its endpoints refuse calls, by their breakers.
    pub fn outage(&self) -> &Arc<Outage> {
        &self.outage
    }

    /// Makes this the list of endpoints; those that stay keep their connections and what is known of them.
    ///
    /// An empty list changes nothing: who finds no endpoint at all has found out nothing about those that were
    /// there, and calls that fail tell more than calls that are not tried.
    pub fn update(&self, specs: Vec<EndpointSpec>) {
        if !specs.is_empty() {
            self.replace(specs);
        }
    }

    /// As [`update`](Self::update), by who is sure even of an empty list.
    pub fn replace(&self, specs: Vec<EndpointSpec>) {
        let mut changing = self.lock();
        let before = self.current.load_full();
        let now_ms = self.now_ms();
        let mut known: HashMap<&Address, &Arc<Endpoint>> =
            before.listed.iter().map(|listed| (&listed.endpoint.address, &listed.endpoint)).collect();
        let mut listed = Vec::with_capacity(specs.len());
        let mut seen = HashSet::with_capacity(specs.len());
        for EndpointSpec { address, weight, zone } in specs {
            if !seen.insert(address.clone()) {
                continue;
            }
            let endpoint = match known.remove(&address) {
                Some(endpoint) => Arc::clone(endpoint),
                None => {
                    let breaker = self.breakers().map(|breakers| breakers.circuit(self.at(now_ms)));
                    Arc::new(Endpoint::new(address, changing.join(), breaker, now_ms))
                }
            };
            if before.listed.is_empty() {
                endpoint.establish();
            }
            // Without a zone of our own, or of the endpoint's, it is as near as any.
            let is_near = match (&self.config.zone, &zone) {
                (Some(own), Some(zone)) => own == zone,
                _ => true,
            };
            listed.push(Listed { endpoint, weight: weight.max(1), is_near });
        }
        let gone: Vec<_> = known.into_values().map(|endpoint| endpoint.number).collect();
        self.let_go(&mut changing, &gone, &listed, now_ms);
        if let Some(checkers) = &mut changing.checkers {
            checkers.follow(&listed, &self.config);
        }
        let after = self.assess(&changing, before.generation + 1, listed.into(), now_ms);
        self.current.store(Arc::clone(&after));
        changing.holders.retain(|pools| pools.upgrade().map(|pools| pools.follow(&after)).is_some());
    }

    /// Has the endpoints checked by tasks of this runtime, now and whoever comes, if the service asks for it.
    pub fn begin_checks(self: &Arc<Self>, runtime: &Handle) {
        let mut changing = self.lock();
        let Some(settings) = self.config.health.as_ref().filter(|_| changing.checkers.is_none()) else {
            return;
        };
        let mut checkers = Checkers::new(self, settings.clone(), runtime.clone());
        checkers.follow(&self.current.load().listed, &self.config);
        changing.checkers = Some(checkers);
    }

    /// Says whether an endpoint does its work, by whoever watches that; where too few do, all are used.
    pub fn judge(&self, address: &Address, is_well: bool) {
        let changing = self.lock();
        let endpoints = self.current.load_full();
        let found = endpoints.listed.iter().find(|listed| listed.endpoint.address == *address);
        if found.is_some_and(|listed| listed.endpoint.judge(is_well, self.now_ms())) {
            self.reassess(&changing, &endpoints, self.now_ms());
        }
    }

    /// The endpoints and how they are.
    pub fn seen(&self) -> ClusterSeen {
        let now_ms = self.now_ms();
        let endpoints = self.current.load();
        ClusterSeen {
            endpoints: endpoints.listed.iter().map(|listed| listed.endpoint.seen(now_ms)).collect(),
            ejections: self.ejections.seen(),
            openings: self.breakers().map(|breakers| breakers.openings().collect()).unwrap_or_default(),
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.moment(Instant::now())
    }

    pub(super) fn moment(&self, now: Instant) -> u64 {
        milliseconds(now.saturating_duration_since(self.started))
    }

    pub(super) fn current(&self) -> Guard<Arc<Endpoints>> {
        self.current.load()
    }

    /// Tells `pools` of every list from now on.
    pub(super) fn join(&self, pools: &Arc<Pools>) {
        let holders = &mut self.lock().holders;
        holders.retain(|pools| pools.strong_count() > 0);
        holders.push(Arc::downgrade(pools));
    }

    /// The place of the endpoint that a call goes to; none of `tried` while there is another.
    pub(super) fn pick(&self, endpoints: &Endpoints, draw: Draw, tried: &[Arc<Endpoint>]) -> Option<usize> {
        if tried.is_empty() {
            return self.pick_from(endpoints, &endpoints.roster, draw);
        }
        let is_tried = |place: usize| {
            let listed = endpoints.listed.get(place);
            listed.is_some_and(|listed| tried.iter().any(|tried| Arc::ptr_eq(tried, &listed.endpoint)))
        };
        self.pick_from(endpoints, &endpoints.roster.without(is_tried), draw)
    }

    fn pick_from(&self, endpoints: &Endpoints, roster: &Roster, draw: Draw) -> Option<usize> {
        let Draw { now_ms, random, key } = draw;
        // What is random stays random when it is spread once more; what has a key goes where the key goes.
        let zone_draw = |number: u64| u32::try_from(mix(number) >> 32).unwrap_or(0);
        let cost = |place: usize| {
            let listed = endpoints.listed.get(place).expect("a roster has the places of its own list");
            listed.endpoint.cost(now_ms)
        };
        match &self.config.balance {
            Balance::PeakEwma => roster.tier(zone_draw(random)).two_choices(random, cost),
            Balance::LeastRequests => roster
                .tier(zone_draw(random))
                .two_choices(random, |place| Cost { latency_us: None, ..cost(place) }),
            Balance::RoundRobin | Balance::Weighted => {
                roster.tier(zone_draw(random)).in_turn(|| self.turns.fetch_add(1, Ordering::Relaxed))
            }
            Balance::Hash(_) => {
                let key = key.unwrap_or(random);
                roster.tier(zone_draw(key)).by_hash(key)
            }
        }
    }

    /// Does what is due now: weights that have grown count, who was ejected for long enough is back, and the endpoints
    /// that may be tried again are given to the one who asks. `None` when somebody else is at it.
    pub(super) fn tend(&self, now_ms: u64) -> Option<Vec<Arc<Endpoint>>> {
        let mut changing = self.changing.try_lock().ok()?;
        let endpoints = self.current.load_full();
        if !endpoints.is_due(now_ms) {
            return None;
        }
        let claimed_until_ms = now_ms + milliseconds(self.config.connect_timeout + PROBE_SLACK);
        let is_due =
            |endpoint: &&Arc<Endpoint>| endpoint.retry_ms().is_some_and(|retry_ms| retry_ms <= now_ms);
        let due: Vec<_> =
            endpoints.listed.iter().map(|listed| &listed.endpoint).filter(is_due).cloned().collect();
        for endpoint in &due {
            endpoint.leave_alone(claimed_until_ms);
        }
        self.review(&mut changing, &endpoints, now_ms);
        self.reassess(&changing, &endpoints, now_ms);
        Some(due)
    }

    /// A worker has a connection to an endpoint.
    pub(super) fn connected(&self, endpoint: &Endpoint) {
        let changing = self.lock();
        let now_ms = self.now_ms();
        if endpoint.connected(now_ms) {
            self.reassess(&changing, &self.current.load_full(), now_ms);
        }
    }

    /// A worker cannot connect to an endpoint, and tries again after `delay`.
    pub(super) fn unreachable(&self, endpoint: &Endpoint, delay: Duration) {
        let changing = self.lock();
        let now_ms = self.now_ms();
        if endpoint.leave_alone(now_ms + milliseconds(delay)) {
            self.reassess(&changing, &self.current.load_full(), now_ms);
        }
    }

    /// The same list anew.
    fn reassess(&self, changing: &Changing, endpoints: &Endpoints, now_ms: u64) {
        let listed = Arc::clone(&endpoints.listed);
        self.current.store(self.assess(changing, endpoints.generation, listed, now_ms));
    }

    fn assess(
        &self,
        changing: &Changing,
        generation: u64,
        listed: Arc<[Listed]>,
        now_ms: u64,
    ) -> Arc<Endpoints> {
        let open_ms = self.ask_breakers(&listed, now_ms);
        let members: Vec<_> = listed.iter().map(|listed| self.member(listed, now_ms)).collect();
        let is_growing =
            self.ramps() && listed.iter().any(|listed| listed.endpoint.age(now_ms) < self.config.slow_start);
        let step = milliseconds(self.config.slow_start / RAMP_STEPS).max(1);
        let grown_ms = is_growing.then_some(now_ms + step);
        let back_ms = listed.iter().filter_map(|listed| listed.endpoint.ejected_until_ms()).min();
        let stale_ms = [grown_ms, back_ms, open_ms, self.judged_ms(changing)].into_iter().flatten().min();
        let probe_ms = listed.iter().filter_map(|listed| listed.endpoint.retry_ms()).min();
        Arc::new(Endpoints {
            generation,
            roster: Roster::new(&members),
            stale_ms: stale_ms.unwrap_or(NEVER),
            probe_ms: probe_ms.unwrap_or(NEVER),
            listed,
        })
    }

    fn member(&self, listed: &Listed, now_ms: u64) -> Member {
        let endpoint = &listed.endpoint;
        let weight = if self.config.balance == Balance::RoundRobin { 1.0 } else { listed.weight as f32 };
        let grown = if self.ramps() { ramp(endpoint.age(now_ms), self.config.slow_start) } else { 1.0 };
        Member {
            hash: endpoint.hash,
            weight: weight * grown,
            is_near: listed.is_near,
            standing: endpoint.standing(),
        }
    }

    /// Keys that belong to a new endpoint belong to it at once: they would move twice.
    fn ramps(&self) -> bool {
        !matches!(self.config.balance, Balance::Hash(_))
    }

    fn breakers(&self) -> Option<&EndpointBreakers> {
        self.protection.endpoint_breakers.as_ref()
    }

    fn at(&self, now_ms: u64) -> Instant {
        self.started + Duration::from_millis(now_ms)
    }

    fn lock(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Endpoints {
    /// Whether [`Cluster::tend`] has something to do.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        now_ms >= self.stale_ms.min(self.probe_ms)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests;
