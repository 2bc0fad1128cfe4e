//! What a key says of its endpoint.
//!
//! ```text
//! {"Op":0,"Addr":"10.0.0.1:50051","Metadata":{"weight":3,"zone":"eu-1b"}}    go.etcd.io/etcd/client/v3/naming/endpoints
//! 10.0.0.1:50051
//! ```
//!
//! `Metadata` is whatever the registrar likes; a `weight` and a `zone` in it are heeded, everything else is not.

use http::uri::Authority;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::upstream::EndpointSpec;

/// The names are those of etcd's own `Update`.
#[derive(Deserialize)]
struct Update {
    /// 0: there it is.
    #[serde(rename = "Op", default)]
    op: u8,
    #[serde(rename = "Addr")]
    addr: String,
    #[serde(rename = "Metadata", default)]
    metadata: Json,
}

const WEIGHT_MAX: u64 = 1000;

/// The endpoint of a value, which `endpoint` makes of host and port; `None`: the value makes no sense.
pub(super) fn read(value: &[u8], endpoint: impl Fn(Authority) -> EndpointSpec) -> Option<EndpointSpec> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if !text.starts_with('{') {
        return authority(text).map(endpoint);
    }
    let Update { op: 0, addr, metadata } = serde_json::from_str(text).ok()? else { return None };
    let spec = endpoint(authority(&addr)?);
    let weight = metadata.get("weight").and_then(Json::as_u64);
    let zone = metadata.get("zone").and_then(Json::as_str);
    Some(EndpointSpec {
        weight: weight.map_or(spec.weight, |weight| u32::try_from(weight.clamp(1, WEIGHT_MAX)).unwrap_or(1)),
        zone: zone.filter(|zone| !zone.is_empty()).map(Into::into),
        ..spec
    })
}

/// `host:port`, neither more nor less.
fn authority(text: &str) -> Option<Authority> {
    let authority: Authority = text.parse().ok()?;
    let is_whole = !authority.host().is_empty() && !text.contains('@');
    (is_whole && authority.port_u16().is_some_and(|port| port != 0)).then_some(authority)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Address;

    /// `address weight zone`, or `-`.
    #[track_caller]
    fn check(value: &str, expected: &str) {
        let spec = read(value.as_bytes(), |authority| EndpointSpec::new(Address::plain(authority)));
        let shown = spec.map(|spec| {
            let zone = spec.zone.as_deref().unwrap_or("-").to_owned();
            format!("{} {} {zone}", spec.address.authority, spec.weight)
        });
        assert_eq!(shown.as_deref().unwrap_or("-"), expected, "{value}");
    }

    #[test]
    fn values_are_etcds_own_or_bare_addresses() {
        check(r#"{"Op":0,"Addr":"10.0.0.1:50051","Metadata":null}"#, "10.0.0.1:50051 1 -");
        check(r#"{"Addr":"b.example:1"}"#, "b.example:1 1 -");
        check(r#"{"Op":0,"Addr":"[::1]:1","Metadata":{"weight":3,"zone":"z","x":[]}}"#, "[::1]:1 3 z");
        check(r#"{"Op":0,"Addr":"b:1","Metadata":{"weight":0,"zone":""}}"#, "b:1 1 -");
        check(r#"{"Op":0,"Addr":"b:1","Metadata":{"weight":1001,"zone":7}}"#, "b:1 1000 -");
        check(r#"{"Op":0,"Addr":"b:1","Metadata":{"weight":-1}}"#, "b:1 1 -");
        check(r#"{"Op":0,"Addr":"b:1","Metadata":"text"}"#, "b:1 1 -");
        check("10.0.0.1:50051", "10.0.0.1:50051 1 -");
        check(" b:1\n", "b:1 1 -");
    }

    #[test]
    fn what_makes_no_sense_is_no_endpoint() {
        for value in [
            "",
            "b",
            "b:",
            "b:0",
            "b:65536",
            ":1",
            "http://b:1",
            "b:1/x",
            "me@b:1",
            "{",
            "{}",
            "[]",
            "null",
            r#"{"Op":1,"Addr":"b:1"}"#,
            r#"{"Op":0,"Addr":""}"#,
            r#"{"Op":0,"Addr":7}"#,
        ] {
            check(value, "-");
        }
        assert!(read(b"\xff:1", |authority| EndpointSpec::new(Address::plain(authority))).is_none());
    }
}
