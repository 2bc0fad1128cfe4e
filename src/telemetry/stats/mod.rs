//! Statistics for people: who calls what, how it ends, how long it takes; since the start and lately.
//!
//! ```text
//! worker ─▶ its Shard: a row a route, a row a consumer ─▶ merged when somebody reads ─▶ `/stats`, `/metrics`
//!                                                        └ every ten seconds ─▶ what was, for "last minute"
//! ```
//!
//! A surface's method is resolved to its [`Route`] once, when a snapshot is built; while a call runs there is one
//! lookup, of its consumer. The number of rows is bounded; what does not fit is counted as `other`.
//! Consumers are rows here and never labels of a metric: there may be very many of them.

mod cell;
mod deprecated;
mod keys;
mod services;
mod view;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::cache::CacheMetrics;
use super::timestamp::Timestamp;
use crate::status::Code;
use cell::{Cell, Sum};
use deprecated::Callers;

pub use cell::Outcome;
pub use keys::Keys;
pub use services::Services;
pub use view::View;

/// Pairs of surface and method with a row of their own.
const ROUTES_MAX: usize = if cfg!(test) { 4 } else { 2000 };
/// Consumers with a row of their own, in each worker and in the view.
const CONSUMERS_MAX: usize = if cfg!(test) { 4 } else { 1000 };
/// Pairs of stage and reason, in each worker.
const REFUSALS_MAX: usize = if cfg!(test) { 4 } else { 200 };
/// What does not fit.
const OTHER: &str = "other";

/// How often what was is noted, and how far back "lately" reaches.
pub const NOTED_EVERY: Duration = Duration::from_secs(10);
const LATELY: Duration = Duration::from_secs(60);

/// The statistics of the process.
#[derive(Debug)]
pub struct Stats {
    /// What the cache of replies does.
    pub cache: CacheMetrics,
    started: Timestamp,
    routes: Mutex<Routes>,
    shards: Mutex<Vec<Arc<Shard>>>,
    past: Mutex<VecDeque<(Instant, Rows)>>,
    /// The services that are called.
    pub services: Services,
    /// The API keys that open the door.
    pub keys: Keys,
}

/// A surface's method, by which calls are counted and billed.
#[derive(Debug)]
pub struct Route {
    pub surface: Arc<str>,
    /// `package.Service.Method`.
    pub method: Arc<str>,
    /// Its row; that of the others where there is no room for one of its own.
    row: usize,
    /// Whether its callers are told that it is deprecated, and we want to know who they are.
    is_deprecated: AtomicBool,
}

/// The rows that are given away; the first is that of the others.
#[derive(Debug, Default)]
struct Routes {
    rows: Vec<Arc<Route>>,
    by_name: HashMap<(Arc<str>, Arc<str>), Arc<Route>>,
}

/// What one worker counts.
#[derive(Debug, Default)]
pub struct Shard(Mutex<Cells>);

#[derive(Debug, Default)]
struct Cells {
    routes: Vec<Option<Arc<Cell>>>,
    consumers: HashMap<Arc<str>, Arc<Cell>>,
    consumers_other: Option<Arc<Cell>>,
    deprecated: Callers,
    refusals: HashMap<&'static str, HashMap<Box<str>, u64>>,
    refusals_count: usize,
}

/// All rows of all shards.
#[derive(Clone, Debug, Default)]
struct Rows {
    routes: HashMap<usize, Sum>,
    consumers: HashMap<Arc<str>, Sum>,
}

impl Default for Stats {
    fn default() -> Self {
        let mut routes = Routes::default();
        routes.row(&OTHER.into(), &OTHER.into());
        let past = VecDeque::from([(Instant::now(), Rows::default())]);
        Self {
            cache: CacheMetrics::default(),
            started: Timestamp::now(),
            routes: Mutex::new(routes),
            shards: Mutex::default(),
            past: Mutex::new(past),
            services: Services::default(),
            keys: Keys::default(),
        }
    }
}

impl Stats {
    /// A surface's method; its row is the same after every reload.
    pub fn route(&self, surface: &Arc<str>, method: &str) -> Arc<Route> {
        lock(&self.routes).row(surface, &method.into())
    }

    /// Says which methods of which surfaces are deprecated from now on; those without a row of their own are none.
    pub fn deprecate(&self, is_deprecated: impl Fn(&str, &str) -> bool) {
        for route in &lock(&self.routes).rows {
            route.is_deprecated.store(is_deprecated(&route.surface, &route.method), Ordering::Relaxed);
        }
    }

    /// A fresh shard, for one worker thread.
    pub fn shard(&self) -> Arc<Shard> {
        let shard = Arc::new(Shard::default());
        lock(&self.shards).push(Arc::clone(&shard));
        shard
    }

    /// Notes what has been counted until now; to be called every [`NOTED_EVERY`].
    pub fn note(&self, now: Instant) {
        let rows = self.rows();
        let mut past = lock(&self.past);
        past.push_back((now, rows));
        // The oldest that stays is the youngest that is old enough.
        while past.get(1).is_some_and(|(moment, _)| now.duration_since(*moment) >= LATELY) {
            past.pop_front();
        }
    }

    /// Everything counted, as of now, under this generation of the configuration.
    pub fn view(&self, now: Instant, generation: u64) -> View {
        let rows = self.rows();
        let past = lock(&self.past);
        let (moment, earlier) = past.front().expect("the start is noted");
        let lately = rows.since(earlier);
        let lately_s = now.duration_since(*moment).as_secs_f64();
        drop(past);
        let routes = lock(&self.routes).rows.clone();
        let mut view = view::make(self, lately_s, &routes, &rows, &lately);
        view.generation = generation;
        view.cache = view::Cache::of(&self.cache);
        view.deprecated = self.deprecated().rows();
        view
    }

    /// Calls by surface, method and code; only those that occurred.
    pub fn calls(&self) -> Vec<(Arc<str>, Arc<str>, Code, u64)> {
        let routes = lock(&self.routes).rows.clone();
        let mut calls = Vec::new();
        let cells = self.route_cells();
        for route in &routes {
            for code in Code::ALL {
                let count = cells.get(&route.row).into_iter().flatten().map(|cell| cell.calls(code)).sum();
                if count > 0 {
                    calls.push((Arc::clone(&route.surface), Arc::clone(&route.method), code, count));
                }
            }
        }
        calls
    }

    /// Requests that have broken the rules of their descriptors, by surface and method; only those that occurred.
    pub fn rules_broken(&self) -> Vec<(Arc<Route>, u64)> {
        let routes = lock(&self.routes).rows.clone();
        let cells = self.route_cells();
        let count = |route: &Route| -> u64 {
            cells.get(&route.row).into_iter().flatten().map(|cell| cell.rules_broken()).sum()
        };
        let counted = routes.into_iter().map(|route| (Arc::clone(&route), count(&route)));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    /// Refused calls by stage and reason.
    pub fn refusals(&self) -> Vec<(&'static str, Box<str>, u64)> {
        let mut sums: HashMap<(&'static str, Box<str>), u64> = HashMap::new();
        for shard in lock(&self.shards).iter() {
            for (stage, reasons) in &lock(&shard.0).refusals {
                for (reason, count) in reasons {
                    *sums.entry((stage, reason.clone())).or_default() += count;
                }
            }
        }
        let mut refusals: Vec<_> =
            sums.into_iter().map(|((stage, reason), count)| (stage, reason, count)).collect();
        refusals.sort();
        refusals
    }

    fn deprecated(&self) -> Callers {
        let mut callers = Callers::default();
        for shard in lock(&self.shards).iter() {
            // A worker must not wait while rows are added up.
            let own = lock(&shard.0).deprecated.clone();
            callers.merge(own);
        }
        callers
    }

    fn route_cells(&self) -> HashMap<usize, Vec<Arc<Cell>>> {
        let mut cells: HashMap<usize, Vec<Arc<Cell>>> = HashMap::new();
        for shard in lock(&self.shards).iter() {
            for (index, cell) in lock(&shard.0).routes.iter().enumerate() {
                if let Some(cell) = cell {
                    cells.entry(index).or_default().push(Arc::clone(cell));
                }
            }
        }
        cells
    }

    fn rows(&self) -> Rows {
        let mut rows = Rows::default();
        for (index, cells) in self.route_cells() {
            let sum = rows.routes.entry(index).or_default();
            cells.iter().for_each(|cell| sum.add(cell));
        }
        for shard in lock(&self.shards).iter() {
            // Pointers only: a worker must not wait while rows are added up.
            let (consumers, other) = {
                let cells = lock(&shard.0);
                let consumers: Vec<_> =
                    cells.consumers.iter().map(|(name, cell)| (Arc::clone(name), Arc::clone(cell))).collect();
                (consumers, cells.consumers_other.clone())
            };
            let other = other.map(|cell| (Arc::from(OTHER), cell));
            for (name, cell) in consumers.into_iter().chain(other) {
                rows.consumers.entry(name).or_default().add(&cell);
            }
        }
        rows
    }
}

impl Routes {
    fn row(&mut self, surface: &Arc<str>, method: &Arc<str>) -> Arc<Route> {
        let name = (Arc::clone(surface), Arc::clone(method));
        if let Some(route) = self.by_name.get(&name) {
            return Arc::clone(route);
        }
        let has_room = self.rows.len() <= ROUTES_MAX;
        let row = if has_room { self.rows.len() } else { 0 };
        let (surface, method) = (Arc::clone(surface), Arc::clone(method));
        let route = Arc::new(Route { surface, method, row, is_deprecated: AtomicBool::new(false) });
        if has_room {
            self.rows.push(Arc::clone(&route));
            self.by_name.insert(name, Arc::clone(&route));
        }
        route
    }
}

impl Shard {
    /// Counts one call.
    pub fn record(&self, route: &Route, consumer: Option<&Arc<str>>, outcome: &Outcome) {
        let mut cells = lock(&self.0);
        cells.route(route.row).record(outcome);
        let Some(consumer) = consumer else { return };
        if route.is_deprecated.load(Ordering::Relaxed) {
            cells.deprecated.record(&route.surface, consumer, Timestamp::now());
        }
        match cells.consumers.get(consumer) {
            Some(cell) => cell.record(outcome),
            None => cells.new_consumer(consumer).record(outcome),
        }
    }

    /// Counts a request of a route that has broken the rules of its descriptors.
    pub fn broke_rules(&self, route: &Route) {
        lock(&self.0).route(route.row).broke_rules();
    }

    /// Counts one refusal.
    pub fn refused(&self, stage: &'static str, reason: &str) {
        let mut cells = lock(&self.0);
        let cells = &mut *cells;
        let reasons = cells.refusals.entry(stage).or_default();
        if let Some(count) = reasons.get_mut(reason) {
            *count += 1;
            return;
        }
        let fits = cells.refusals_count < REFUSALS_MAX;
        cells.refusals_count += usize::from(fits);
        *reasons.entry(if fits { reason.into() } else { OTHER.into() }).or_default() += 1;
    }
}

impl Cells {
    fn route(&mut self, row: usize) -> &Cell {
        if self.routes.len() <= row {
            self.routes.resize(row + 1, None);
        }
        self.routes[row].get_or_insert_default()
    }

    fn new_consumer(&mut self, name: &Arc<str>) -> &Cell {
        if self.consumers.len() >= CONSUMERS_MAX {
            return self.consumers_other.get_or_insert_default();
        }
        self.consumers.entry(Arc::clone(name)).or_default()
    }
}

impl Rows {
    /// What was counted after `earlier`; rows without a call are left out.
    fn since(&self, earlier: &Self) -> Self {
        Self {
            routes: since(&self.routes, &earlier.routes),
            consumers: since(&self.consumers, &earlier.consumers),
        }
    }
}

fn since<K: Clone + Eq + std::hash::Hash>(
    now: &HashMap<K, Sum>,
    earlier: &HashMap<K, Sum>,
) -> HashMap<K, Sum> {
    let rows = now.iter().map(|(key, sum)| {
        (key.clone(), earlier.get(key).map_or_else(|| sum.clone(), |earlier| sum.since(earlier)))
    });
    rows.filter(|(_, sum)| sum.calls() > 0).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
