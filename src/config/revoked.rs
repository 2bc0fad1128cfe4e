//! `revoked`: credentials that are believed no longer, by the provider that they belong to.
//!
//! ```yaml
//! auth:
//!   corp: { jwt: { issuer: "https://id.shop.example", audiences: [shop], revoked: { store: shared } } }
//!   partner: { api_key: { revoked: file:revoked.txt } }
//! ```
//!
//! In a store it is a sorted set; what is published on the channel makes every node look there at once.

use std::path::PathBuf;

use super::finding::Report;
use super::section::Section;
use super::surfaces::{self, Named};
use super::value;
use super::yaml::{Node, Value};

/// Where revocations are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// Read again when it changes.
    File(PathBuf),
    Store(Set),
}

/// A set in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    pub store: Named,
    /// Default: the store's prefix, `:revoked:` and the name of the provider.
    pub key: Option<String>,
    /// Default: that of the key.
    pub channel: Option<String>,
    /// Entries that a node keeps. Default 100 000.
    pub entries_max: usize,
}

const NAME_BYTES_MAX: usize = 256;

/// Reads the key `revoked` of the provider `name`, which is of this kind.
pub(super) fn of(kind: &'static str, name: &str) -> impl Fn(&Node, &mut Report) -> Option<Option<Revoked>> {
    move |node, report| match &node.value {
        Value::Map(_) => Set::read(kind, name, node, report).map(|set| Some(Revoked::Store(set))),
        Value::Unwritten => {
            value::file(node, report);
            Set::read(kind, name, node, report).map(|set| Some(Revoked::Store(set)))
        }
        Value::Text(_) => value::file(node, report).map(|path| Some(Revoked::File(path))),
        _ => value::expected(node, report, "`file:PATH` or `{ store: NAME }`"),
    }
}

impl Set {
    fn read(kind: &str, name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let (mut store, mut key, mut channel, mut entries_max) = (None, None, None, 100_000);
        let mut section = Section::open(node, format!("auth.{name}.{kind}.revoked"), report)?;
        section.read("store", &mut store, |node, report| surfaces::named(node, report).map(Some));
        section.read("key", &mut key, |node, report| key_name(node, report).map(Some));
        section.read("channel", &mut channel, |node, report| key_name(node, report).map(Some));
        section.read("entries", &mut entries_max, value::integer(1000..=1_000_000));
        section.require("store", "write a name of `stores`");
        section.close(&[]);
        Some(Self { store: store?, key, channel, entries_max })
    }
}

/// What can be typed at a prompt without quotes.
fn key_name(node: &Node, report: &mut Report) -> Option<String> {
    let text = value::text(node, report)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:{}".contains(&byte);
    if text.len() <= NAME_BYTES_MAX && text.bytes().all(is_plain) {
        return Some(text);
    }
    value::expected(node, report, "up to 256 letters, digits, `-`, `_`, `.`, `:`, `{` or `}`")
}
