//! Writes small MaxMind DB files, by the published format, version 2.0.
//!
//! ```text
//! File     = tree, 16 zero bytes, records, marker, metadata
//! tree     = nodes of two 24-bit numbers: below the count of nodes it is a node; the count is "nothing";
//!            beyond it, count + 16 + the offset of a record
//! ```
//!
//! The tree is one of IPv6; IPv4 stands below `::/96`.

use std::net::IpAddr;

use ipnet::IpNet;

/// A value of a record.
#[derive(Clone)]
pub(crate) enum Value {
    Text(String),
    U16(u16),
    U32(u32),
    U64(u64),
    List(Vec<Value>),
    Map(Vec<(&'static str, Value)>),
}

/// A file of countries, as MaxMind writes them; no letters stand for a record without a country.
pub(crate) fn countries(networks: &[(&str, &str)]) -> Vec<u8> {
    let record = |country: &str| match country {
        "" => Value::Map(vec![("continent", Value::Map(vec![("code", text("EU"))]))]),
        country => Value::Map(vec![("country", Value::Map(vec![("iso_code", text(country))]))]),
    };
    let records: Vec<_> = networks.iter().map(|(network, country)| (*network, record(country))).collect();
    file("Test-Country", &records)
}

/// A file of autonomous systems, as MaxMind writes them.
pub(crate) fn systems(networks: &[(&str, u32)]) -> Vec<u8> {
    let record = |number: u32| Value::Map(vec![("autonomous_system_number", Value::U32(number))]);
    let records: Vec<_> = networks.iter().map(|(network, number)| (*network, record(*number))).collect();
    file("Test-ASN", &records)
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// A file of any records.
pub(crate) fn file(database_type: &str, records: &[(&str, Value)]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut tree = Tree { nodes: vec![[Child::Nothing; 2]] };
    for (network, record) in records {
        tree.insert(network.parse().expect("a network"), data.len());
        put(&mut data, record);
    }
    let count = tree.nodes.len();
    let mut file = Vec::new();
    for child in tree.nodes.iter().flatten() {
        let number = match child {
            Child::Nothing => count,
            Child::Node(index) => *index,
            Child::Record(offset) => count + 16 + offset,
        };
        file.extend_from_slice(&u32::try_from(number).expect("a small file").to_be_bytes()[1..]);
    }
    file.extend_from_slice(&[0; 16]);
    file.extend_from_slice(&data);
    file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let metadata = Value::Map(vec![
        ("node_count", Value::U32(u32::try_from(count).expect("a small file"))),
        ("record_size", Value::U16(24)),
        ("ip_version", Value::U16(6)),
        ("database_type", text(database_type)),
        ("languages", Value::List(vec![text("en")])),
        ("binary_format_major_version", Value::U16(2)),
        ("binary_format_minor_version", Value::U16(0)),
        ("build_epoch", Value::U64(1_700_000_000)),
        ("description", Value::Map(vec![("en", text("written by a test"))])),
    ]);
    put(&mut file, &metadata);
    file
}

#[derive(Clone, Copy)]
enum Child {
    Nothing,
    Node(usize),
    Record(usize),
}

struct Tree {
    nodes: Vec<[Child; 2]>,
}

impl Tree {
    /// Networks do not overlap.
    fn insert(&mut self, network: IpNet, offset: usize) {
        let (bits, length) = match network.addr() {
            IpAddr::V4(address) => (u128::from(address.to_bits()), network.prefix_len() + 96),
            IpAddr::V6(address) => (address.to_bits(), network.prefix_len()),
        };
        let side = |depth: u8| usize::from(bits >> (127 - depth) & 1 == 1);
        let mut node = 0;
        for depth in 0..length - 1 {
            node = match self.nodes[node][side(depth)] {
                Child::Node(next) => next,
                _ => {
                    self.nodes.push([Child::Nothing; 2]);
                    let next = self.nodes.len() - 1;
                    self.nodes[node][side(depth)] = Child::Node(next);
                    next
                }
            };
        }
        self.nodes[node][side(length - 1)] = Child::Record(offset);
    }
}

fn put(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(text) => {
            head(out, 2, text.len());
            out.extend_from_slice(text.as_bytes());
        }
        Value::U16(number) => {
            head(out, 5, 2);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::U32(number) => {
            head(out, 6, 4);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::U64(number) => {
            head(out, 9, 8);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::List(values) => {
            head(out, 11, values.len());
            values.iter().for_each(|value| put(out, value));
        }
        Value::Map(entries) => {
            head(out, 7, entries.len());
            for (name, value) in entries {
                put(out, &text(name));
                put(out, value);
            }
        }
    }
}

/// The control byte: three bits of type and five of size; types beyond 7 have a byte of their own.
fn head(out: &mut Vec<u8>, kind: u8, size: usize) {
    let size = u8::try_from(size).expect("a small value");
    assert!(size < 29, "longer sizes have bytes of their own");
    match kind.checked_sub(7) {
        None | Some(0) => out.push(kind << 5 | size),
        Some(beyond) => out.extend_from_slice(&[size, beyond]),
    }
}
