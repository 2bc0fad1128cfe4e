//! Which front end a request is for: listener and host first, then the routes of each that is left.
//!
//! Several surfaces may share a host, as versions of one API do: the first that knows the path answers. Host
//! names compare without case, port and trailing dot; an exact name goes before a wildcard, a longer
//! wildcard before a shorter one, and a surface without hosts serves what no other surface names.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Graphql;
use crate::policy::compression::Compression;
use crate::policy::cors::Cors;
use crate::policy::host;
use crate::route::{Exposed, Match, RouteTree};

/// One front end.
#[derive(Debug)]
pub struct Surface {
    pub name: Arc<str>,
    /// The listener by which it is reached, by its place among the public ones; `None`: every one.
    pub listener: Option<usize>,
    /// None: every host that no other surface names.
    pub hosts: Vec<HostPattern>,
    /// Which pages of other origins may call; `None`: none.
    pub cors: Option<Cors>,
    pub compression: Compression,
    /// Whether clients may say which trace their calls belong to.
    pub trusts_traceparent: bool,
    pub routes: RouteTree,
    /// `None`: clients speak no GraphQL.
    pub graphql: Option<Graphql>,
    /// Every method that it shows, with a route or without, in the order of the descriptors.
    pub methods: Box<[Exposed]>,
}

/// A host name, lower-case, or every name below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    Exact(Box<str>),
    /// `example.com` stands for `*.example.com`.
    Below(Box<str>),
}

/// All front ends, found by host.
#[derive(Debug)]
pub struct Surfaces {
    all: Box<[Surface]>,
    exact: HashMap<Box<str>, Indexes>,
    below: HashMap<Box<str>, Indexes>,
    everywhere: Indexes,
    /// Whether any of them speaks GraphQL.
    has_graphql: bool,
}

type Indexes = SmallVec<[u32; 2]>;

/// No surface is reached by this listener under this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSurface;

/// Longer names are no host names (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 253;

impl Surfaces {
    pub fn new(all: Vec<Surface>) -> Self {
        let mut surfaces = Self {
            all: Box::default(),
            exact: HashMap::new(),
            below: HashMap::new(),
            everywhere: Indexes::new(),
            has_graphql: all.iter().any(|surface| surface.graphql.is_some()),
        };
        for (index, surface) in (0..).zip(&all) {
            if surface.hosts.is_empty() {
                surfaces.everywhere.push(index);
            }
            for host in &surface.hosts {
                let (table, name) = match host {
                    HostPattern::Exact(name) => (&mut surfaces.exact, name),
                    HostPattern::Below(name) => (&mut surfaces.below, name),
                };
                table.entry(name.clone()).or_default().push(index);
            }
        }
        surfaces.all = all.into();
        surfaces
    }

    /// All of them, in the order of the configuration.
    pub fn all(&self) -> &[Surface] {
        &self.all
    }

    /// The surface that serves a request, and what its routes say of it.
    ///
    /// # Errors
    ///
    /// No surface has this host on this listener.
    pub fn find(
        &self,
        listener: usize,
        host: &str,
        verb: &str,
        path: &str,
    ) -> Result<(&Surface, Match<'_>), NoSurface> {
        let mut second_best = None;
        for surface in self.at(host) {
            if surface.listener.is_some_and(|own| own != listener) {
                continue;
            }
            let found = surface.routes.find(verb, path);
            match (&found, &second_best) {
                (Match::Found { .. } | Match::Aggregate { .. }, _) => return Ok((surface, found)),
                // Another surface may well have the path; what the first one says of it is told otherwise.
                (Match::NotFound, Some(_)) => {}
                (_, None | Some((_, Match::NotFound))) => second_best = Some((surface, found)),
                (_, Some(_)) => {}
            }
        }
        second_best.ok_or(NoSurface)
    }

    /// The surface whose GraphQL is at this path.
    pub fn graphql(&self, listener: usize, host: &str, path: &str) -> Option<(&Surface, &Graphql)> {
        if !self.has_graphql {
            return None;
        }
        let reached = self.at(host).filter(|one| one.listener.is_none_or(|own| own == listener));
        let mut served = reached.filter_map(|one| Some((one, one.graphql.as_ref()?)));
        served.find(|(_, graphql)| *graphql.path == *path)
    }

    /// The surfaces of a host at which a `GET` of the path is answered, each with the rule of the method; without one
    /// where it is a document's.
    pub fn reading<'s>(&'s self, host: &str, path: &str) -> impl Iterator<Item = (&'s Surface, Option<u32>)> {
        self.at(host).filter_map(move |surface| match surface.routes.find("GET", path) {
            Match::Found { binding, .. } => Some((surface, Some(binding.rule))),
            Match::Aggregate { .. } => Some((surface, None)),
            _ => None,
        })
    }

    /// The surfaces of a host, as the request names it.
    fn at(&self, host: &str) -> impl Iterator<Item = &Surface> {
        let indexes = if self.exact.is_empty() && self.below.is_empty() {
            &self.everywhere
        } else {
            self.named(&host::canonical(host)).unwrap_or(&self.everywhere)
        };
        indexes.iter().filter_map(|index| self.all.get(usize::try_from(*index).ok()?))
    }

    fn named(&self, host: &str) -> Option<&Indexes> {
        if let Some(indexes) = self.exact.get(host) {
            return Some(indexes);
        }
        if self.below.is_empty() || host.len() > HOST_BYTES_MAX {
            return None;
        }
        host.match_indices('.').find_map(|(dot, _)| self.below.get(host.get(dot + 1..)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Rules, build};
    use crate::schema;

    fn surfaces(hosts: &[&[&str]]) -> Surfaces {
        let schema = schema::built_in();
        let surface = |(index, hosts): (usize, &&[&str])| Surface {
            name: index.to_string().into(),
            listener: Some(0),
            hosts: hosts
                .iter()
                .map(|host| match host.strip_prefix("*.") {
                    Some(rest) => HostPattern::Below(rest.into()),
                    None => HostPattern::Exact((*host).into()),
                })
                .collect(),
            cors: None,
            compression: Compression::default(),
            trusts_traceparent: true,
            routes: build(&schema, &Rules::default()).expect("no rules").0,
            methods: Box::default(),
            graphql: None,
        };
        Surfaces::new(hosts.iter().enumerate().map(surface).collect())
    }

    #[test]
    fn the_most_particular_host_holds() {
        let surfaces = surfaces(&[
            &["api.example.com", "m.example.com"],
            &["*.example.com"],
            &["*.b.example.com"],
            &["api.example.com"],
            &["[::1]"],
            &[],
        ]);
        let check = |host: &str, expected: &[&str]| {
            let found: Vec<_> = surfaces.at(host).map(|surface| &*surface.name).collect();
            assert_eq!(found, expected, "{host}");
        };
        check("api.example.com", &["0", "3"]);
        check("API.Example.com:8443", &["0", "3"]);
        check("api.example.com.", &["0", "3"]);
        check("m.example.com", &["0"]);
        check("x.example.com", &["1"]);
        check("x.y.example.com", &["1"]);
        check("x.b.example.com", &["2"]);
        check("b.example.com", &["1"]);
        check("example.com", &["5"]);
        check("other.org", &["5"]);
        check("[::1]:80", &["4"]);
        check("", &["5"]);
        check("user@api.example.com", &["0", "3"]);
        check(&format!("{}.example.com", "a".repeat(300)), &["5"]);
    }

    #[test]
    fn a_surface_belongs_to_its_listener() {
        let surfaces = surfaces(&[&[]]);
        assert!(surfaces.find(0, "a", "GET", "/").is_ok());
        assert_eq!(surfaces.find(1, "a", "GET", "/").err(), Some(NoSurface));
    }
}
