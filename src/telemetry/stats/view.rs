//! The statistics as JSON for programs and as a table for people.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;

use serde::Serialize;

use super::cell::Sum;
use super::{CONSUMERS_MAX, OTHER, Route, Rows, Stats, deprecated, keys, services};
use crate::telemetry::cache::CacheMetrics;
use crate::telemetry::timestamp::Timestamp;
use crate::telemetry::{DiscoverySeen, EndpointSeen};

/// Everything counted, as of one moment.
#[derive(Debug, Serialize)]
pub struct View {
    /// When the process started.
    since: String,
    now: String,
    /// Which configuration is served: the first is 1.
    pub(super) generation: u64,
    /// How far back `lately` reaches: 60 to 70 seconds, less after the start.
    lately_s: f64,
    surfaces: BTreeMap<Box<str>, Row>,
    methods: BTreeMap<Box<str>, Row>,
    consumers: BTreeMap<Box<str>, Row>,
    /// Who calls what is deprecated.
    pub(super) deprecated: deprecated::Rows,
    /// By stage and reason.
    refused: BTreeMap<&'static str, BTreeMap<Box<str>, u64>>,
    services: BTreeMap<Box<str>, services::Row>,
    /// By service.
    endpoints: BTreeMap<Box<str>, Vec<EndpointSeen>>,
    /// By service.
    discovery: BTreeMap<Box<str>, DiscoverySeen>,
    pub(super) cache: Cache,
    #[serde(flatten)]
    keys: keys::Rows,
}

/// What the cache of replies holds and does.
#[derive(Debug, Default, Serialize)]
pub(super) struct Cache {
    entries: i64,
    bytes: i64,
    evicted: u64,
    purged: u64,
    /// Stores that nodes share.
    stores: Stores,
    /// Calls by surface and result.
    surfaces: BTreeMap<Box<str>, BTreeMap<&'static str, u64>>,
}

/// What came of asking stores of replies.
#[derive(Debug, Default, Serialize)]
struct Stores {
    hits: u64,
    misses: u64,
    /// Questions without an answer.
    failures: u64,
}

#[derive(Debug, Default, Serialize)]
struct Row {
    total: Numbers,
    lately: Numbers,
}

#[derive(Debug, Default, Serialize)]
struct Numbers {
    calls: u64,
    /// By gRPC code.
    codes: BTreeMap<&'static str, u64>,
    bytes_in: u64,
    bytes_out: u64,
    messages: u64,
    cost: u64,
    /// Calls that were refused for breaking the rules of their descriptors.
    rules_broken: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<Latency>,
}

#[derive(Debug, Serialize)]
struct Latency {
    mean: f64,
    p50: f64,
    p95: f64,
    p99: f64,
}

pub(super) fn make(stats: &Stats, lately_s: f64, routes: &[Arc<Route>], total: &Rows, lately: &Rows) -> View {
    let by = |name: fn(&Route) -> &Arc<str>| {
        let merged = |rows: &HashMap<usize, Sum>| {
            let mut merged: HashMap<Arc<str>, Sum> = HashMap::new();
            for (index, sum) in rows {
                if let Some(route) = routes.get(*index) {
                    merged.entry(Arc::clone(name(route))).or_default().merge(sum);
                }
            }
            merged
        };
        rows(merged(&total.routes), &merged(&lately.routes))
    };
    let mut refused: BTreeMap<&'static str, BTreeMap<Box<str>, u64>> = BTreeMap::new();
    for (stage, reason, count) in stats.refusals() {
        refused.entry(stage).or_default().insert(reason, count);
    }
    View {
        since: stats.started.to_string(),
        now: Timestamp::now().to_string(),
        // Who asks for the view knows it.
        generation: 0,
        lately_s: (lately_s * 1000.0).round() / 1000.0,
        surfaces: by(|route| &route.surface),
        methods: by(|route| &route.method),
        consumers: rows(most_called(&total.consumers), &most_called(&lately.consumers)),
        deprecated: deprecated::Rows::default(),
        refused,
        services: stats.services.rows(),
        endpoints: BTreeMap::new(),
        discovery: BTreeMap::new(),
        keys: stats.keys.rows(),
        cache: Cache::default(),
    }
}

impl Cache {
    pub(super) fn of(metrics: &CacheMetrics) -> Self {
        let mut surfaces: BTreeMap<Box<str>, BTreeMap<&'static str, u64>> = BTreeMap::new();
        for (surface, result, count) in metrics.results() {
            surfaces.entry((&*surface).into()).or_default().insert(result, count);
        }
        let totals = &metrics.totals;
        let (entries, bytes) = (totals.entries(), totals.bytes());
        let stores = Stores {
            hits: totals.store_hits.value(),
            misses: totals.store_misses.value(),
            failures: totals.store_failures.value(),
        };
        let (evicted, purged) = (totals.evicted.value(), totals.purged.value());
        Self { entries, bytes, evicted, purged, stores, surfaces }
    }

    /// The lines for people; none where nothing was ever looked up.
    fn lines(&self) -> String {
        let mut out = String::new();
        if self.surfaces.is_empty() {
            return out;
        }
        let Self { entries, bytes, evicted, purged, .. } = self;
        let _ =
            writeln!(out, "\ncache: {entries} replies, {bytes} bytes, {evicted} evicted, {purged} purged");
        let Stores { hits, misses, failures } = self.stores;
        if hits + misses + failures > 0 {
            let _ = writeln!(out, "stores: {hits} hits, {misses} misses, {failures} failures");
        }
        for (surface, results) in &self.surfaces {
            for (result, count) in results {
                let _ = writeln!(out, "{:<16} {result:<40} {count:>10}", shown(surface));
            }
        }
        out
    }
}

fn rows(total: HashMap<Arc<str>, Sum>, lately: &HashMap<Arc<str>, Sum>) -> BTreeMap<Box<str>, Row> {
    let row = |(name, sum): (Arc<str>, Sum)| {
        let lately = lately.get(&name).map(Numbers::of).unwrap_or_default();
        ((&*name).into(), Row { total: Numbers::of(&sum), lately })
    };
    total.into_iter().map(row).collect()
}

/// The consumers with the most calls, and the sum of the others: each worker has its own that fit.
fn most_called(consumers: &HashMap<Arc<str>, Sum>) -> HashMap<Arc<str>, Sum> {
    let mut by_calls: Vec<_> = consumers.iter().collect();
    // What a worker had no room for has no name to be shown by, however much it is.
    by_calls.sort_by_key(|(name, sum)| (***name == *OTHER, std::cmp::Reverse(sum.calls()), Arc::clone(name)));
    let mut shown: HashMap<Arc<str>, Sum> = HashMap::new();
    for (index, (name, sum)) in by_calls.into_iter().enumerate() {
        let name = if index < CONSUMERS_MAX { Arc::clone(name) } else { OTHER.into() };
        shown.entry(name).or_default().merge(sum);
    }
    shown
}

impl Numbers {
    fn of(sum: &Sum) -> Self {
        let round = |milliseconds: f64| (milliseconds * 1000.0).round() / 1000.0;
        let percentile = |share| sum.percentile_ms(share).map(round);
        let latency = || {
            Some(Latency {
                mean: round(sum.mean_ms()?),
                p50: percentile(0.5)?,
                p95: percentile(0.95)?,
                p99: percentile(0.99)?,
            })
        };
        Self {
            calls: sum.calls(),
            codes: sum.codes().map(|(code, calls)| (code.name(), calls)).collect(),
            bytes_in: sum.bytes_in(),
            bytes_out: sum.bytes_out(),
            messages: sum.messages(),
            cost: sum.cost(),
            rules_broken: sum.rules_broken(),
            latency_ms: latency(),
        }
    }

    fn failed(&self) -> u64 {
        self.calls - self.codes.get("OK").copied().unwrap_or_default()
    }
}

impl View {
    /// With where services are called, and how it goes there.
    #[must_use]
    pub fn with_endpoints(self, endpoints: BTreeMap<Box<str>, Vec<EndpointSeen>>) -> Self {
        Self { endpoints, ..self }
    }

    /// With how the endpoints of services are found.
    #[must_use]
    pub fn with_discovery(self, discovery: BTreeMap<Box<str>, DiscoverySeen>) -> Self {
        Self { discovery, ..self }
    }

    /// For programs.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("names and numbers are JSON")
    }

    /// For people: one table of surfaces, methods and consumers, the busiest of late first.
    pub fn text(&self) -> String {
        let mut out = format!(
            "since {}, configuration {}, lately = the last {:.0} s\n",
            self.since, self.generation, self.lately_s
        );
        for (title, rows) in
            [("surface", &self.surfaces), ("method", &self.methods), ("consumer", &self.consumers)]
        {
            let width = rows.keys().map(|name| shown(name).chars().count()).max().unwrap_or(0).max(10);
            let _ = writeln!(
                out,
                "\n{title:<width$} {:>12} {:>10} {:>10} {:>8} {:>9} {:>9} {:>9}",
                "calls", "failed", "lately", "failed", "p50 ms", "p95 ms", "p99 ms"
            );
            let mut rows: Vec<_> = rows.iter().collect();
            rows.sort_by_key(|(name, row)| {
                (std::cmp::Reverse((row.lately.calls, row.total.calls)), (*name).clone())
            });
            for (name, Row { total, lately }) in rows {
                let name = shown(name);
                let _ = write!(
                    out,
                    "{name:<width$} {:>12} {:>10} {:>10} {:>8}",
                    total.calls,
                    total.failed(),
                    lately.calls,
                    lately.failed()
                );
                let latency = lately.latency_ms.as_ref().or(total.latency_ms.as_ref());
                for value in latency.iter().flat_map(|latency| [latency.p50, latency.p95, latency.p99]) {
                    let _ = write!(out, " {value:>9.1}");
                }
                out.push('\n');
            }
        }
        self.put_endpoints(&mut out);
        if !self.discovery.is_empty() {
            out.push_str("\ndiscovery\n");
        }
        for (service, seen) in &self.discovery {
            let _ = writeln!(out, "{service:<16} {}", seen.text());
        }
        self.keys.write(&mut out);
        self.deprecated.write(&mut out);
        if !self.refused.is_empty() {
            out.push_str("\nrefused\n");
        }
        for (stage, reasons) in &self.refused {
            for (reason, count) in reasons {
                let _ = writeln!(out, "{stage:<16} {reason:<40} {count:>10}");
            }
        }
        if !self.services.is_empty() {
            out.push_str("\nservices\n");
        }
        for (name, service) in &self.services {
            let _ = writeln!(out, "{name:<16} {}", service.text());
        }
        out.push_str(&self.cache.lines());
        out
    }

    fn put_endpoints(&self, out: &mut String) {
        if !self.endpoints.is_empty() {
            let [calls, failed, open, latency] = ["calls", "failed", "open", "latency ms"];
            let _ = writeln!(
                out,
                "\n{:<16} {:<40} {:<12} {calls:>12} {failed:>10} {open:>8} {latency:>11}",
                "service", "endpoint", "state"
            );
        }
        for (service, endpoints) in &self.endpoints {
            for seen in endpoints {
                let latency = seen.latency_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"));
                let breaker = seen.breaker.as_ref().map(|breaker| format!("  breaker {}", breaker.text()));
                let _ = writeln!(
                    out,
                    "{service:<16} {:<40} {:<12} {:>12} {:>10} {:>8} {latency:>11}{}",
                    seen.address,
                    seen.state.name(),
                    seen.calls,
                    seen.failures,
                    seen.in_flight,
                    breaker.unwrap_or_default()
                );
            }
        }
    }

    /// The same table as a page.
    pub fn html(&self) -> String {
        let text = self.text().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        format!("<!doctype html>\n<meta charset=\"utf-8\">\n<title>transom</title>\n<pre>\n{text}</pre>\n")
    }
}

/// A name as a table can show it: claims of tokens become names of consumers.
pub(super) fn shown(name: &str) -> String {
    name.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}
