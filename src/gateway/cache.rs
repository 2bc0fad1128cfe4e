//! From the file's `cache` to what each rule keeps: bounds, terms, stores, and a fingerprint of how replies look.
//!
//! The cache outlives a reload that leaves its bounds as they are. Replies that another set of descriptors, other
//! choices of JSON, another mask or another service have made are not found any more, and make room in their time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use aws_lc_rs::digest;
use tokio::runtime::Handle;

use super::limits;
use super::snapshot::finding;
use crate::config::Config;
use crate::config::cache::{self as file, Partition};
use crate::config::effective::{Effective, Origin};
use crate::config::finding::Finding;
use crate::config::stores::StoreKind;
use crate::policy::caching::Terms;
use crate::route::Binding;
use crate::schema::Schema;
use crate::snapshot::Surfaces;
use crate::stage::cache::{Bounds, Cache, Caching, Rule, Shared};
use crate::store::redis::values::Values;
use crate::telemetry::cache::CacheMetrics;

/// What caches stand on and do not own.
pub(super) struct Ground<'g> {
    pub(super) background: &'g Handle,
    pub(super) metrics: &'g CacheMetrics,
    pub(super) previous: Option<&'g Caching>,
}

/// What every rule keeps; `None` where none keeps anything.
pub(super) fn build(
    config: &Config,
    effective: &[Effective<'_>],
    schema: &Schema,
    shown: &Surfaces,
    ground: Ground<'_>,
) -> Result<Option<Caching>, Vec<Finding>> {
    if effective.iter().all(|effective| clause(effective).is_none()) {
        return Ok(None);
    }
    let findings = misplaced(config, effective, shown);
    if !findings.is_empty() {
        return Err(findings);
    }
    let Ground { background, metrics, previous } = ground;
    let bounds = bounds(&config.cache);
    let kept = previous.map(|previous| &previous.cache).filter(|cache| *cache.memory().bounds() == bounds);
    let cache = kept.cloned().unwrap_or_else(|| Arc::new(Cache::new(bounds, metrics.totals.clone())));
    let stores = stores(config, effective, &cache, background, previous)?;
    let mut looks = Looks::default();
    // Another version may write other JSON.
    looks.add(env!("CARGO_PKG_VERSION").as_bytes());
    looks.add(&schema.pool().encode_to_vec());
    looks.add(format!("{:?}", config.json).as_bytes());
    let rule = |effective: &Effective<'_>| {
        let clause = clause(effective)?;
        let store = clause.store.as_ref().and_then(|named| stores.get(named.name.as_str()).cloned());
        Some(Arc::new(rule(config, effective, clause, looks.clone(), (metrics, store))))
    };
    let rules = effective.iter().map(rule).collect();
    Ok(Some(Caching { cache, rules, stores }))
}

/// The stores that caches name; one that is the same as before goes on, with the purges that it has heard of.
fn stores(
    config: &Config,
    effective: &[Effective<'_>],
    cache: &Arc<Cache>,
    background: &Handle,
    previous: Option<&Caching>,
) -> Result<HashMap<Arc<str>, Arc<Shared>>, Vec<Finding>> {
    let mut stores = HashMap::new();
    for named in effective.iter().filter_map(|effective| clause(effective)?.store.as_ref()) {
        let store = config.stores.iter().find(|store| store.name == named.name);
        let Some(StoreKind::Redis(redis)) = store.map(|store| &store.kind) else { continue };
        let name: Arc<str> = named.name.as_str().into();
        let before = previous.and_then(|previous| previous.stores.get(&name));
        let opened = limits::settings(&name, redis).and_then(|settings| match before {
            Some(shared) if *shared.values().settings() == settings && shared.is_of(cache) => {
                Ok(shared.clone())
            }
            _ => Ok(Shared::new(Values::new(settings, background)?, cache)),
        });
        let found = |reason| {
            let position = redis.ca.as_ref().map(|(_, position)| *position).or(named.position);
            vec![finding(config, position, reason)]
        };
        stores.insert(name, opened.map_err(found)?);
    }
    Ok(stores)
}

/// What replies look like and whom they are for, said in bytes: the same on every node that serves the same.
#[derive(Clone)]
struct Looks(digest::Context);

impl Default for Looks {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl Looks {
    /// Adds a part. Its length goes before it, so that no two parts are taken for two others.
    fn add(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_be_bytes());
        self.0.update(part);
    }

    fn fingerprint(self) -> [u8; 32] {
        *self.0.finish().as_ref().first_chunk().expect("SHA-256 has 32 bytes")
    }
}

/// What is said of the replies under a rule; `None` where none is kept.
pub(super) fn clause<'c>(effective: &Effective<'c>) -> Option<&'c file::Cache> {
    let (clause, _) = effective.single(|clauses| clauses.cache.as_ref())?;
    let is_shown = effective.rule.is_none_or(|rule| rule.expose);
    (is_shown && !clause.is_none).then_some(clause)
}

fn bounds(bounds: &file::Bounds) -> Bounds {
    Bounds {
        bytes_max: bounds.bytes_max,
        key_bytes_max: bounds.key_bytes_max,
        variants_max: bounds.variants_max,
        vary_names_max: bounds.vary_names_max,
        refreshes_max: bounds.refreshes_max,
    }
}

fn rule(
    config: &Config,
    effective: &Effective<'_>,
    clause: &file::Cache,
    mut looks: Looks,
    (metrics, store): (&CacheMetrics, Option<Arc<Shared>>),
) -> Rule {
    let surface: Arc<str> = effective.surface.name.as_str().into();
    let service = effective.service(config).and_then(|index| config.services.get(index));
    looks.add(service.map_or("", |service| service.name.as_str()).as_bytes());
    for index in effective.services(config) {
        // Keys have the index of a side.
        let name = config.services.get(index).map_or("", |service| &service.name);
        looks.add(format!("{name} {index}").as_bytes());
    }
    looks.add(format!("{:?}", effective.fields().map(|fields| &fields.mask)).as_bytes());
    // For whom a reply was kept, and by what it was told apart, is decided when it is kept.
    looks.add(format!("{:?} {:?} {:?}", clause.vary, clause.partition, clause.public).as_bytes());
    let by_consumer = clause.partition == Partition::Consumer;
    Rule {
        fingerprint: looks.fingerprint(),
        terms: Terms {
            ttl: clause.ttl,
            stale_while_revalidate: clause.stale_while_revalidate,
            stale_if_error: clause.stale_if_error,
            shares: clause.public || by_consumer,
        },
        vary: clause.vary.clone().into(),
        by_consumer,
        entry_bytes_max: clause.max_bytes,
        counts: metrics.surface(&surface),
        store,
        surface,
    }
}

/// Caches of methods that change something, or that answer with a stream.
///
/// What a rule says itself is meant for each of its methods; what a policy says, for those that it fits.
fn misplaced(config: &Config, effective: &[Effective<'_>], shown: &Surfaces) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut useful = BTreeSet::new();
    for (index, effective) in (0_u32..).zip(effective) {
        let Some(clause) = clause(effective) else { continue };
        let bindings = || {
            let all = shown.all().iter().flat_map(|surface| surface.routes.bindings());
            all.filter(move |binding| binding.rule == index)
        };
        let methods: BTreeSet<&str> = bindings().map(|binding| &*binding.method).collect();
        let kept: BTreeSet<&str> =
            bindings().filter(|binding| is_kept(binding)).map(|binding| &*binding.method).collect();
        if !kept.is_empty() {
            useful.insert(clause.position);
        }
        let is_own = effective
            .single(|clauses| clauses.cache.as_ref())
            .is_some_and(|(_, origin)| origin == Origin::Rule);
        if let Some(method) = methods.difference(&kept).next().filter(|_| is_own) {
            let message = format!(
                "`{method}` is no method whose replies can be kept: it is neither reached by GET nor \
                 `NO_SIDE_EFFECTS`, or it streams"
            );
            findings.push(finding(config, Some(clause.position), message));
        }
    }
    let idle = effective.iter().filter_map(clause).map(|clause| clause.position);
    let idle: BTreeSet<_> = idle.filter(|position| !useful.contains(position)).collect();
    let told: BTreeSet<_> = findings.iter().filter_map(|finding| finding.position).collect();
    for position in idle.difference(&told) {
        let message = "no method under this policy is reached by GET or `NO_SIDE_EFFECTS`, and answers with one message";
        findings.push(finding(config, Some(*position), message));
    }
    findings
}

fn is_kept(binding: &Binding) -> bool {
    binding.is_read_only() && !binding.client_streaming && !binding.server_streaming
}
