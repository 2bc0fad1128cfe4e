//! The slices of a service as lists and events tell them, and the endpoints that they come to.
//!
//! ```text
//! endpoint ─ ready ─▶ used
//!          └ serving while it terminates ─▶ used where none is ready
//! ```
//!
//! A slice has addresses of one family; a pod that has one of each is one endpoint, by IPv4. What a field that is
//! missing means is what the API says of it (`discovery.k8s.io/v1`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use http::uri::Authority;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::upstream::EndpointSpec;
use crate::upstream::discovery::asking::authority;

/// Which port of the pods is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// As the service names it.
    Name(Box<str>),
    /// As the pods listen.
    Number(u16),
}

/// All slices, at a version.
#[derive(Debug)]
pub(super) struct Slices {
    port: Port,
    version: String,
    by_name: BTreeMap<String, Slice>,
}

/// What an event comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// What is known holds at a later version.
    Told,
    /// What happened in between is forgotten: all must be listed again.
    Gone,
}

/// A service with a thousand endpoints has ten or twenty.
const SLICES_MAX: usize = 1000;

#[derive(Deserialize)]
struct List {
    metadata: Metadata,
    items: Option<Vec<Slice>>,
}

#[derive(Deserialize)]
struct Told {
    #[serde(rename = "type")]
    kind: String,
    object: Json,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: String,
    resource_version: String,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: Metadata,
}

/// What an `ERROR` says.
#[derive(Deserialize)]
struct Status {
    code: Option<i64>,
    reason: Option<String>,
    message: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Slice {
    metadata: Metadata,
    endpoints: Option<Vec<Endpoint>>,
    ports: Option<Vec<SlicePort>>,
}

#[derive(Debug, Deserialize)]
struct SlicePort {
    #[serde(default)]
    name: Option<String>,
    port: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    conditions: Conditions,
    zone: Option<String>,
    target_ref: Option<Target>,
}

#[derive(Debug, Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Target {
    uid: Option<String>,
}

impl Slices {
    /// What a list says.
    ///
    /// # Errors
    ///
    /// In words: it is none, or has too many slices.
    pub(super) fn read(body: &[u8], port: &Port) -> Result<Self, String> {
        let list: List = serde_json::from_slice(body)
            .map_err(|error| format!("the answer is no list of EndpointSlices: {error}"))?;
        let items = list.items.unwrap_or_default();
        let by_name = items.into_iter().map(|slice| (slice.metadata.name.clone(), slice)).collect();
        let slices = Self { port: port.clone(), version: list.metadata.resource_version, by_name };
        slices.bounded()
    }

    /// Heeds an event of a watch.
    ///
    /// # Errors
    ///
    /// In words: it makes no sense, or is an error that is not about the version.
    pub(super) fn follow(&mut self, line: &[u8]) -> Result<Event, String> {
        let Told { kind, object } = read(line)?;
        match &*kind {
            "ADDED" | "MODIFIED" => {
                let slice: Slice = object_of(object)?;
                self.version.clone_from(&slice.metadata.resource_version);
                self.by_name.insert(slice.metadata.name.clone(), slice);
                if self.by_name.len() > SLICES_MAX {
                    return Err(too_many());
                }
            }
            "DELETED" => {
                let slice: Slice = object_of(object)?;
                self.version = slice.metadata.resource_version;
                self.by_name.remove(&slice.metadata.name);
            }
            "BOOKMARK" => self.version = object_of::<Bookmark>(object)?.metadata.resource_version,
            "ERROR" => {
                let status: Status = object_of(object)?;
                if status.code == Some(410) {
                    return Ok(Event::Gone);
                }
                let said = status.message.or(status.reason).unwrap_or_else(|| "no reason".to_owned());
                return Err(format!("the watch ends with an error: {said}"));
            }
            // Of a later version of the API.
            _ => {}
        }
        Ok(Event::Told)
    }

    /// What a watch goes on from.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// The endpoints that are to be used, which `endpoint` makes of host and port, and how many there are of which it
    /// cannot be said where they are.
    ///
    /// # Errors
    ///
    /// In words: there are endpoints, and none of them has the port.
    pub(super) fn endpoints(
        &self,
        endpoint: impl Fn(Authority) -> EndpointSpec,
    ) -> Result<(Vec<EndpointSpec>, u64), String> {
        let all: Vec<_> = self.by_name.values().flat_map(Slice::members).collect();
        let has_port = |slice: &&Slice| slice.port(&self.port).is_some();
        if !all.is_empty()
            && !self.by_name.values().filter(has_port).any(|slice| slice.members().next().is_some())
        {
            return Err(self.no_port());
        }
        let is_any_ready = all.iter().any(|(_, member)| member.conditions.is_ready());
        let is_used = |conditions: &Conditions| {
            if is_any_ready { conditions.is_ready() } else { conditions.is_last_resort() }
        };
        let used: Vec<_> = all.into_iter().filter(|(_, member)| is_used(&member.conditions)).collect();
        let of_ipv4: BTreeSet<_> = used
            .iter()
            .filter(|(_, member)| !member.is_ipv6())
            .filter_map(|(_, member)| member.pod())
            .collect();
        let is_twice =
            |member: &Endpoint| member.is_ipv6() && member.pod().is_some_and(|pod| of_ipv4.contains(pod));
        let (mut specs, mut left_out) = (Vec::new(), 0);
        for (slice, member) in used.iter().filter(|(_, member)| !is_twice(member)) {
            let place = slice.port(&self.port).and_then(|port| authority(member.address()?, port.into()));
            match place {
                Some(place) => specs.push(EndpointSpec { zone: member.zone(), ..endpoint(place) }),
                None => left_out += 1,
            }
        }
        Ok((specs, left_out))
    }

    fn bounded(self) -> Result<Self, String> {
        if self.by_name.len() > SLICES_MAX { Err(too_many()) } else { Ok(self) }
    }

    fn no_port(&self) -> String {
        let wanted = match &self.port {
            Port::Name(name) => format!("is called `{name}`"),
            Port::Number(number) => format!("is {number}"),
        };
        let shown = |port: &SlicePort| {
            let number = port.port.map_or("any".to_owned(), |number| number.to_string());
            match port.name.as_deref() {
                None | Some("") => number,
                Some(name) => format!("`{name}` {number}"),
            }
        };
        let ports = self.by_name.values().flat_map(|slice| slice.ports.iter().flatten().map(shown));
        let ports: BTreeSet<_> = ports.collect();
        let listed: Vec<_> = ports.into_iter().take(8).collect();
        if listed.is_empty() {
            return format!("no port of the pods {wanted}: they have none");
        }
        format!("no port of the pods {wanted}: there are {}", listed.join(", "))
    }
}

impl Slice {
    fn members(&self) -> impl Iterator<Item = (&Self, &Endpoint)> {
        self.endpoints.iter().flatten().map(move |endpoint| (self, endpoint))
    }

    fn port(&self, wanted: &Port) -> Option<u16> {
        let is_wanted = |port: &&SlicePort| match wanted {
            Port::Name(name) => port.name.as_deref() == Some(name),
            Port::Number(number) => port.port == Some(*number),
        };
        self.ports.iter().flatten().find(is_wanted).and_then(|port| port.port)
    }
}

impl Endpoint {
    /// The API has room for several and gives them no meaning.
    fn address(&self) -> Option<&str> {
        self.addresses.first().map(String::as_str)
    }

    fn is_ipv6(&self) -> bool {
        self.address().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
    }

    fn pod(&self) -> Option<&str> {
        self.target_ref.as_ref()?.uid.as_deref()
    }

    fn zone(&self) -> Option<Box<str>> {
        self.zone.as_deref().filter(|zone| !zone.is_empty()).map(Into::into)
    }
}

impl Conditions {
    /// "A nil value should be interpreted as true."
    fn is_ready(&self) -> bool {
        self.ready.unwrap_or(true)
    }

    /// Whether it answers still, although it is told to end. Serving that is not said is as ready as it is.
    fn is_last_resort(&self) -> bool {
        self.terminating == Some(true) && self.serving.unwrap_or_else(|| self.is_ready())
    }
}

fn read(line: &[u8]) -> Result<Told, String> {
    serde_json::from_slice(line).map_err(|error| format!("the watch tells no event: {error}"))
}

fn object_of<T: serde::de::DeserializeOwned>(object: Json) -> Result<T, String> {
    serde_json::from_value(object).map_err(|error| format!("the watch tells of no EndpointSlice: {error}"))
}

fn too_many() -> String {
    format!("there are more than {SLICES_MAX} EndpointSlices")
}

#[cfg(test)]
mod tests;
