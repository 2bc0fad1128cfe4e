//! Room 5, the first stage: who may come in, by address, place, method and headers.
//!
//! ```text
//! deny: networks, countries, systems, methods, headers ─ one that matches ─▶ 403
//! allow: the same                                      ─ one that does not ─▶ 403
//! ```
//!
//! What is denied stays denied, whatever `allow` says and however narrow it says it. Several lists hold
//! together: each `deny` may refuse, each `allow` must be met. Files are looked at anew for every call; they
//! change under a snapshot without a reload.

use core::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method};

use super::judge::{Judge, Judgement};
use crate::call::{Call, Head};
use crate::policy::geo::{Country, GeoDatabase, Place};
use crate::policy::header_rules::HeaderRules;
use crate::policy::networks::Networks;
use crate::source::watched::Watched;
use crate::status::{Code, Status};

/// The lists of a snapshot; one of its `live` extensions.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// By the index of the rule that holds for a method.
    pub gates: Box<[Gate]>,
    pub geo: Geo,
}

/// What the methods of one rule ask of who calls them.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    pub deny: Vec<Arc<List>>,
    pub allow: Vec<Arc<List>>,
}

/// One `deny` or `allow`. An aspect that is empty says nothing.
#[derive(Debug, Default)]
pub struct List {
    pub networks: Option<NetworkList>,
    pub countries: Box<[Country]>,
    /// Numbers of autonomous systems.
    pub systems: Box<[u32]>,
    /// Whether an address of which no file knows the place is taken for one that is listed.
    pub unknown_is_listed: bool,
    pub methods: Box<[Method]>,
    pub headers: HeaderRules,
}

/// Networks of the configuration itself, or of a file of their own.
#[derive(Debug)]
pub enum NetworkList {
    Inline(Box<Networks>),
    File(Arc<Watched<Networks>>),
}

/// The files that know where addresses are.
#[derive(Clone, Debug, Default)]
pub struct Geo {
    pub countries: Option<Arc<Watched<GeoDatabase>>>,
    pub systems: Option<Arc<Watched<GeoDatabase>>>,
}

/// Why somebody may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    Address,
    Place,
    Method,
    Header,
}

/// The judge; what it judges by is the snapshot's.
#[derive(Clone, Copy)]
pub struct Doorkeeper;

impl Judge for Doorkeeper {
    const NAME: &'static str = "access";

    fn judge(&self, call: Call) -> Judgement {
        let Some(access) = call.snapshot.live.get::<Access>() else { return Judgement::Silent(call) };
        let place = access.geo.place(call.head.client.address);
        if access.geo.is_there() {
            call.notes.located(place);
        }
        let gate = usize::try_from(call.binding.rule).ok().and_then(|rule| access.gates.get(rule));
        match gate.and_then(|gate| gate.denial(&call.head, place)) {
            None if gate.is_none_or(Gate::is_open) => Judgement::Silent(call),
            None => Judgement::Pass(call),
            Some(denial) => Judgement::Refuse(denial.status().into()),
        }
    }
}

impl Gate {
    /// Whether it keeps nobody out.
    fn is_open(&self) -> bool {
        self.deny.is_empty() && self.allow.is_empty()
    }

    /// Why the client of `head` may not come in; `None` if it may.
    fn denial(&self, head: &Head, place: Place) -> Option<Denial> {
        let subject =
            Subject { address: head.client.address, place, method: &head.method, headers: &head.headers };
        let denied = self.deny.iter().find_map(|list| list.first_match(&subject));
        denied.or_else(|| self.allow.iter().find_map(|list| list.first_mismatch(&subject)))
    }
}

/// What lists judge by.
struct Subject<'h> {
    address: IpAddr,
    place: Place,
    method: &'h Method,
    headers: &'h HeaderMap,
}

impl List {
    /// The first aspect by which the subject is on this list of what is denied.
    fn first_match(&self, subject: &Subject<'_>) -> Option<Denial> {
        let judged = self.aspects(subject).find(|(_, is_listed)| *is_listed).map(|(denial, _)| denial);
        judged.or_else(|| self.headers.first_match(subject.headers).map(|_| Denial::Header))
    }

    /// The first aspect by which the subject is not on this list of what is allowed.
    fn first_mismatch(&self, subject: &Subject<'_>) -> Option<Denial> {
        let judged = self.aspects(subject).find(|(_, is_listed)| !*is_listed).map(|(denial, _)| denial);
        judged.or_else(|| self.headers.first_mismatch(subject.headers).map(|_| Denial::Header))
    }

    /// Whether the subject is listed, by each aspect of which the list says something.
    fn aspects(&self, subject: &Subject<'_>) -> impl Iterator<Item = (Denial, bool)> {
        let networks = self.networks.as_ref().map(|networks| networks.contains(subject.address));
        let countries = self.of_place(&self.countries, subject.place.country);
        let systems = self.of_place(&self.systems, subject.place.asn);
        let methods = (!self.methods.is_empty()).then(|| self.methods.contains(subject.method));
        [
            (Denial::Address, networks),
            (Denial::Place, countries),
            (Denial::Place, systems),
            (Denial::Method, methods),
        ]
        .into_iter()
        .filter_map(|(denial, is_listed)| Some((denial, is_listed?)))
    }

    fn of_place<T: Ord>(&self, listed: &[T], found: Option<T>) -> Option<bool> {
        if listed.is_empty() {
            return None;
        }
        Some(found.map_or(self.unknown_is_listed, |found| listed.contains(&found)))
    }
}

impl NetworkList {
    fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::Inline(networks) => networks.contains(address),
            Self::File(watched) => watched.look(|networks| networks.contains(address)),
        }
    }
}

impl Geo {
    fn is_there(&self) -> bool {
        self.countries.is_some() || self.systems.is_some()
    }

    fn place(&self, address: IpAddr) -> Place {
        let country = |file: &Arc<Watched<GeoDatabase>>| file.look(|database| database.country(address));
        let asn = |file: &Arc<Watched<GeoDatabase>>| file.look(|database| database.asn(address));
        Place { country: self.countries.as_ref().and_then(country), asn: self.systems.as_ref().and_then(asn) }
    }
}

impl Denial {
    fn reason(self) -> &'static str {
        match self {
            Self::Address => "IP_DENIED",
            Self::Place => "GEO_DENIED",
            Self::Method => "METHOD_DENIED",
            Self::Header => "HEADER_DENIED",
        }
    }

    /// Says which kind of rule it was, never which rule: lists are nobody else's business.
    fn status(self) -> Status {
        let message = match self {
            Self::Address => "this address is not admitted",
            Self::Place => "calls from this place are not admitted",
            Self::Method => "this HTTP method is not admitted",
            Self::Header => "a header of this request is not admitted",
        };
        Status::client(Code::PermissionDenied, message).with_reason(self.reason())
    }
}
