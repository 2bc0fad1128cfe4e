//! From the file's `deny`, `allow` and `geo` to the lists of the stage; files are opened here, and watched.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::Handle;

use super::snapshot::finding;
use crate::config::Config;
use crate::config::access::{AccessList, Cidr, GeoFile, Unknown};
use crate::config::effective::Effective;
use crate::config::finding::{Finding, Position};
use crate::policy::geo::{GeoDatabase, GeoError};
use crate::policy::header_rules::HeaderRules;
use crate::policy::networks::{self, Networks};
use crate::source::watched::Watched;
use crate::stage::access::{Access, Gate, Geo, List, NetworkList};

/// Files that are watched, by path, for as long as a snapshot holds them.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    networks: Files<Networks>,
    countries: Files<GeoDatabase>,
    systems: Files<GeoDatabase>,
}

#[derive(Debug)]
struct Files<T>(Arc<Mutex<HashMap<PathBuf, Weak<Watched<T>>>>>);

/// The lists of every rule.
pub(super) fn build(
    config: &Config,
    effective: &[Effective<'_>],
    background: &Handle,
    kept: &Kept,
) -> Result<Access, Vec<Finding>> {
    let mut lists = Lists { config, background, kept, built: BTreeMap::new(), findings: Vec::new() };
    type Read = fn(Vec<u8>) -> Result<GeoDatabase, GeoError>;
    let mut open = |file: &Option<GeoFile>, files: &Files<GeoDatabase>, read: Read| {
        let file = file.as_ref()?;
        let read = move |bytes| read(bytes).map_err(|error| error.to_string());
        lists.watch(&file.path, file.position, files, read)
    };
    let geo = Geo {
        countries: open(&config.geo.file, &kept.countries, GeoDatabase::of_countries),
        systems: open(&config.geo.asn_file, &kept.systems, GeoDatabase::of_systems),
    };
    let gate = |effective: &Effective<'_>| Gate {
        deny: lists.build(effective.all_of(|clauses| clauses.deny.as_ref()), Unknown::Deny),
        allow: lists.build(effective.all_of(|clauses| clauses.allow.as_ref()), Unknown::Allow),
    };
    let gates = effective.iter().map(gate).collect();
    if lists.findings.is_empty() { Ok(Access { gates, geo }) } else { Err(lists.findings) }
}

/// The lists of the file, each built once however many rules it holds for.
struct Lists<'c> {
    config: &'c Config,
    background: &'c Handle,
    kept: &'c Kept,
    /// By the place of the list, and by the side on which it stands: an alias of YAML may stand on both.
    built: BTreeMap<(Position, Unknown), Option<Arc<List>>>,
    findings: Vec<Finding>,
}

impl Lists<'_> {
    /// `listed` is the answer to unknown places that puts them on the list.
    fn build<O>(&mut self, named: Vec<(&AccessList, O)>, listed: Unknown) -> Vec<Arc<List>> {
        let named = named.into_iter().map(|(list, _)| list);
        named.filter_map(|list| self.one(list, listed)).collect()
    }

    fn one(&mut self, list: &AccessList, listed: Unknown) -> Option<Arc<List>> {
        let key = (list.position, listed);
        if let Some(built) = self.built.get(&key) {
            return built.clone();
        }
        let built = self.read(list, listed).map(Arc::new);
        self.built.insert(key, built.clone());
        built
    }

    fn read(&mut self, list: &AccessList, listed: Unknown) -> Option<List> {
        let networks = match &list.cidr {
            None => None,
            Some(Cidr::Inline(networks)) => {
                Some(NetworkList::Inline(Box::new(networks.iter().copied().collect())))
            }
            Some(Cidr::File { path, position }) => {
                Some(NetworkList::File(self.watch(path, *position, &self.kept.networks, read_networks)?))
            }
        };
        let headers = list.headers.iter().map(|(name, globs)| (name.clone(), globs.as_slice()));
        Some(List {
            networks,
            countries: list.countries.clone().into(),
            systems: list.asn.clone().into(),
            unknown_is_listed: list.unknown == Some(listed),
            methods: list.methods.clone().into(),
            headers: HeaderRules::parse(headers).expect("the file was read with these globs"),
        })
    }

    /// Opens a file and watches it, unless that is done already.
    fn watch<T: Send + Sync + 'static>(
        &mut self,
        path: &Path,
        position: Position,
        files: &Files<T>,
        read: impl Fn(Vec<u8>) -> Result<T, String> + Send + Sync + 'static,
    ) -> Option<Arc<Watched<T>>> {
        if let Some(watched) = files.find(path) {
            return Some(watched);
        }
        let shown = path.display().to_string();
        let parse = move |contents: Vec<Vec<u8>>| {
            read(contents.concat()).map_err(|reason| format!("`{shown}`: {reason}"))
        };
        let watched = Watched::new(vec![path.to_owned()], self.background, parse)
            .map_err(|reason| self.findings.push(finding(self.config, Some(position), reason)))
            .ok()?;
        files.keep(path, &watched);
        Some(watched)
    }
}

impl<T> Files<T> {
    fn find(&self, path: &Path) -> Option<Arc<Watched<T>>> {
        self.lock().get(path).and_then(Weak::upgrade)
    }

    fn keep(&self, path: &Path, watched: &Arc<Watched<T>>) {
        let mut files = self.lock();
        // Those that no snapshot holds any more.
        files.retain(|_, watched| watched.strong_count() > 0);
        files.insert(path.to_owned(), Arc::downgrade(watched));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Weak<Watched<T>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Files<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Files<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

fn read_networks(bytes: Vec<u8>) -> Result<Networks, String> {
    if bytes.len() as u64 > networks::FILE_BYTES_MAX {
        return Err(format!("larger than {} bytes", networks::FILE_BYTES_MAX));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| "expected text in UTF-8".to_owned())?;
    Networks::parse(text).map_err(|error| error.to_string())
}
