//! What Consul's `/v1/health/service/NAME` says of the instances: address, port, weight and zone of each.
//!
//! An instance without an address of its own has that of its node. Go writes empty maps as `null`.

use std::collections::BTreeMap;

use http::uri::Authority;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::upstream::EndpointSpec;
use crate::upstream::discovery::asking::authority;

/// The endpoints of an answer.
#[derive(Debug)]
pub(super) struct Endpoints {
    pub(super) specs: Vec<EndpointSpec>,
    /// Entries that make no sense.
    pub(super) left_out: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    node: Node,
    service: Instance,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    #[serde(default)]
    address: String,
    meta: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    #[serde(default)]
    address: String,
    #[serde(default)]
    port: i64,
    meta: Option<BTreeMap<String, String>>,
    weights: Option<Weights>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: i64,
}

const WEIGHT_MAX: i64 = 1000;

/// The endpoints that `body` names; the key `zone` of the metadata, of the instance or else of its node, says where
/// each is, and `endpoint` makes one of host and port.
///
/// # Errors
///
/// In words: the body is no list.
pub(super) fn read(
    body: &[u8],
    zone: &str,
    endpoint: impl Fn(Authority) -> EndpointSpec,
) -> Result<Endpoints, String> {
    let entries: Vec<Json> = serde_json::from_slice(body)
        .map_err(|error| format!("the answer is no list of instances: {error}"))?;
    let count = entries.len();
    let spec =
        |entry| serde_json::from_value(entry).ok().and_then(|entry: Entry| entry.spec(zone, &endpoint));
    let specs: Vec<_> = entries.into_iter().filter_map(spec).collect();
    let left_out = (count - specs.len()) as u64;
    Ok(Endpoints { specs, left_out })
}

impl Entry {
    fn spec(self, zone: &str, endpoint: impl Fn(Authority) -> EndpointSpec) -> Option<EndpointSpec> {
        let Self { node, service } = self;
        let host = if service.address.is_empty() { &node.address } else { &service.address };
        let spec = endpoint(authority(host, service.port)?);
        let weight = service.weights.map_or(1, |weights| weights.passing.clamp(1, WEIGHT_MAX));
        let said =
            |meta: Option<BTreeMap<String, String>>| meta?.remove(zone).filter(|zone| !zone.is_empty());
        let zone = said(service.meta).or_else(|| said(node.meta));
        Some(EndpointSpec { weight: u32::try_from(weight).unwrap_or(1), zone: zone.map(Into::into), ..spec })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Address;

    /// `address weight zone` of each, and the count of those left out.
    #[track_caller]
    fn check(body: &str, expected: Result<&str, &str>) {
        let endpoints =
            read(body.as_bytes(), "rack", |authority| EndpointSpec::new(Address::plain(authority)));
        let shown = endpoints.map(|Endpoints { specs, left_out }| {
            let one = |spec: &EndpointSpec| {
                let zone = spec.zone.as_deref().unwrap_or("-");
                format!("{} {} {zone}", spec.address.authority, spec.weight)
            };
            let specs: Vec<_> = specs.iter().map(one).collect();
            format!("{}; {left_out}", specs.join(", "))
        });
        match (&shown, expected) {
            (Err(reason), Err(expected)) => assert!(reason.contains(expected), "{reason}"),
            _ => assert_eq!(shown.as_deref().map_err(String::as_str), expected, "{body}"),
        }
    }

    #[test]
    fn instances_have_addresses_weights_and_zones() {
        check("[]", Ok("; 0"));
        let whole = r#"[{
            "Node": { "Node": "n1", "Address": "10.0.0.1", "Meta": { "rack": "r1" } },
            "Service": {
                "ID": "orders-1", "Service": "orders", "Tags": null, "Address": "10.1.0.1", "Port": 50051,
                "Meta": { "rack": "r2" }, "Weights": { "Passing": 3, "Warning": 1 } },
            "Checks": [{ "Status": "passing" }] }]"#;
        check(whole, Ok("10.1.0.1:50051 3 r2; 0"));
        // The node speaks for an instance that says nothing itself.
        let node = r#"[{ "Node": { "Address": "fd00::1", "Meta": { "rack": "r1" } },
                         "Service": { "Address": "", "Port": 1, "Meta": { "rack": "" } } }]"#;
        check(node, Ok("[fd00::1]:1 1 r1; 0"));
        let bare = r#"[{ "Node": { "Address": "a.test", "Meta": null },
                         "Service": { "Address": "", "Port": 1, "Meta": null, "Weights": null } }]"#;
        check(bare, Ok("a.test:1 1 -; 0"));
        for (weight, expected) in [(0, 1), (-4, 1), (1000, 1000), (65_535, 1000)] {
            let body = format!(
                r#"[{{ "Node": {{}}, "Service":
                       {{ "Address": "a.test", "Port": 1, "Weights": {{ "Passing": {weight} }} }} }}]"#
            );
            check(&body, Ok(&format!("a.test:1 {expected} -; 0")));
        }
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let good = r#"{ "Node": { "Address": "a.test" }, "Service": { "Port": 1 } }"#;
        for bad in [
            "7",
            "null",
            "{}",
            r#"{ "Node": { "Address": "a.test" } }"#,
            r#"{ "Node": { "Address": "a.test" }, "Service": { "Port": 0 } }"#,
            r#"{ "Node": { "Address": "a.test" }, "Service": { "Port": 65536 } }"#,
            r#"{ "Node": { "Address": "a.test" }, "Service": { "Port": "1" } }"#,
            r#"{ "Node": { "Address": "" }, "Service": { "Port": 1 } }"#,
            r#"{ "Node": { "Address": "me@a.test" }, "Service": { "Port": 1 } }"#,
        ] {
            check(&format!("[{bad}, {good}]"), Ok("a.test:1 1 -; 1"));
        }
        for body in ["", "{}", "null", "[", "<html>", "[1] x"] {
            check(body, Err("the answer is no list of instances"));
        }
    }
}
