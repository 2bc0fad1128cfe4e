//! `services.NAME.balance`: how the endpoints of a service share its calls.
//!
//! ```yaml
//! balance: p2c-ewma                       # least-requests | round-robin | weighted
//! balance: { hash: { header: x-user } }   # hash: consumer | address
//! ```

use http::HeaderName;

use super::finding::Report;
use super::section::Section;
use super::value;
use super::yaml::{Node, Value};
use crate::policy::balance::{Balance, HashKey};

/// A word of the file.
#[derive(Clone, Copy)]
enum Word {
    PeakEwma,
    LeastRequests,
    RoundRobin,
    Weighted,
}

const WORDS: [(&str, Word); 4] = [
    ("p2c-ewma", Word::PeakEwma),
    ("least-requests", Word::LeastRequests),
    ("round-robin", Word::RoundRobin),
    ("weighted", Word::Weighted),
];

#[derive(Clone, Copy)]
enum Whose {
    Consumer,
    Address,
}

const KEYS: [(&str, Whose); 2] = [("consumer", Whose::Consumer), ("address", Whose::Address)];

pub(super) fn read(name: &str, node: &Node, report: &mut Report) -> Option<Balance> {
    if let Value::Map(_) = node.value {
        return read_section(name, node, report);
    }
    if let Value::Unwritten = node.value {
        read_section(name, node, report);
    }
    value::choice(&WORDS)(node, report).map(|word| match word {
        Word::PeakEwma => Balance::PeakEwma,
        Word::LeastRequests => Balance::LeastRequests,
        Word::RoundRobin => Balance::RoundRobin,
        Word::Weighted => Balance::Weighted,
    })
}

fn read_section(name: &str, node: &Node, report: &mut Report) -> Option<Balance> {
    let mut key = None;
    let mut section = Section::open(node, format!("services.{name}.balance"), report)?;
    section.read("hash", &mut key, |node, report| read_key(name, node, report).map(Some));
    section.require("hash", "write `hash: consumer`, `hash: address` or `hash: { header: NAME }`");
    section.close(&[]);
    key.map(Balance::Hash)
}

/// A header by its name.
pub(super) fn header(node: &Node, report: &mut Report) -> Option<Option<HeaderName>> {
    let text = value::text(node, report)?;
    match text.parse() {
        Ok(name) => Some(Some(name)),
        Err(_) => value::refuse(node, report, format!("`{text}` is not the name of a header")),
    }
}

/// A key that has a word of its own.
pub(super) fn word(node: &Node, report: &mut Report) -> Option<HashKey> {
    value::choice(&KEYS)(node, report).map(|whose| match whose {
        Whose::Consumer => HashKey::Consumer,
        Whose::Address => HashKey::Address,
    })
}

fn read_key(name: &str, node: &Node, report: &mut Report) -> Option<HashKey> {
    if let Value::Map(_) = node.value {
        return read_header(name, node, report);
    }
    if let Value::Unwritten = node.value {
        read_header(name, node, report);
    }
    word(node, report)
}

fn read_header(name: &str, node: &Node, report: &mut Report) -> Option<HashKey> {
    let mut header = None;
    let mut section = Section::open(node, format!("services.{name}.balance.hash"), report)?;
    section.read("header", &mut header, self::header);
    section.require("header", "write `header: NAME`");
    section.close(&[]);
    header.map(HashKey::Header)
}
