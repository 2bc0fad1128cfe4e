//! `consumers`: who is served and counted, whatever the credential is.
//!
//! ```yaml
//! consumers:
//!   acme: { plan: pro, keys: ["sha256:…"] }
//!   mesh-jobs: { certificates: ["spiffe://shop.example/jobs"] }
//!   "corp:{tenant}": { plan: "{tier}" }      # one for each value of a claim of the provider `corp`
//!   "corp:gold": { plan: pro }               # one of these, with a plan of its own
//! ```
//!
//! Keys stand here as SHA-256 only, as `transom key new` prints them.

use std::collections::HashMap;

use super::finding::{Position, Report};
use super::section::Section;
use super::shape::Shape;
use super::surfaces::Named;
use super::value;
use super::yaml::{Key as YamlKey, Node, Value};
use crate::codec::time::parse_timestamp;
use crate::policy::api_key::KeyHash;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    pub name: String,
    pub position: Position,
    pub origin: Origin,
    pub plan: Option<Plan>,
    pub keys: Vec<Key>,
    /// Names of certificates, as the kind `mtls` finds them.
    pub certificates: Vec<Named>,
}

/// By what a consumer is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Keys, certificates, or an external service that says its name.
    Written,
    /// `corp:{tenant}`: one for each value of a claim.
    Claim { provider: Named, claim: String },
    /// `corp:gold`: the one of a value.
    Value { provider: Named, value: String },
}

/// By what a consumer has a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    Named(Named),
    /// `{tier}`: the claim that says its name.
    Claim(String),
}

/// A key of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub position: Position,
    pub hash: KeyHash,
    /// In seconds since 1970, both.
    pub not_before: Option<u64>,
    pub expires: Option<u64>,
}

/// More is a sign of keys that are never taken away: one to use, and one to change to.
const KEYS_USUAL: usize = 2;
const NAME_BYTES_MAX: usize = 128;

/// The entries by name.
pub(super) fn read(node: &Node, report: &mut Report) -> Option<Vec<Consumer>> {
    let consumers = value::by_name("consumers", Consumer::read)(node, report)?;
    check_keys(&consumers, report);
    Some(consumers)
}

impl Consumer {
    fn read(key: &YamlKey, node: &Node, report: &mut Report) -> Option<Self> {
        let name = &key.name;
        let mut consumer = Self {
            name: name.clone(),
            position: key.position,
            origin: origin(key, report)?,
            plan: None,
            keys: Vec::new(),
            certificates: Vec::new(),
        };
        let mut section = Section::open(node, format!("consumers.{name}"), report)?;
        section.read("plan", &mut consumer.plan, |node, report| plan(node, report).map(Some));
        section.read("keys", &mut consumer.keys, value::list(Key::read));
        section.read("certificates", &mut consumer.certificates, value::list(super::surfaces::named));
        let has_own = section.has("keys") || section.has("certificates");
        section.close(&[]);
        let is_written = consumer.origin == Origin::Written;
        if !is_written && has_own {
            let message = format!("`{name}` is known by a claim: it has neither keys nor certificates");
            report.add(key.position, message);
        }
        if let Some(Plan::Claim(claim)) = &consumer.plan {
            let message = match consumer.origin {
                Origin::Claim { .. } => None,
                Origin::Written => Some(format!("`{name}` has no claim `{claim}`: name one of `plans`")),
                Origin::Value { .. } => Some(format!("`{name}` has a plan of its own: name one of `plans`")),
            };
            message.into_iter().for_each(|message| report.add(key.position, message));
        }
        if consumer.keys.len() > KEYS_USUAL {
            let count = consumer.keys.len();
            report
                .warn(key.position, format!("`{name}` has {count} keys: take away those that are not used"));
        }
        Some(consumer)
    }
}

/// `NAME`, `PROVIDER:{CLAIM}` or `PROVIDER:VALUE`.
fn origin(key: &YamlKey, report: &mut Report) -> Option<Origin> {
    let name = key.name.as_str();
    let is_plain = |text: &str| {
        (1..=NAME_BYTES_MAX).contains(&text.len())
            && !text.chars().any(|one| one.is_control() || one.is_whitespace() || "{}".contains(one))
    };
    let parts = name.split_once(':').map(|(provider, rest)| {
        let provider = Named { name: provider.to_owned(), position: Some(key.position) };
        (provider, rest)
    });
    match parts {
        None if is_plain(name) => Some(Origin::Written),
        Some((provider, rest)) => match rest.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(claim) if is_plain(claim) => Some(Origin::Claim { provider, claim: claim.to_owned() }),
            None if is_plain(rest) => Some(Origin::Value { provider, value: rest.to_owned() }),
            _ => refuse_name(key, report),
        },
        None => refuse_name(key, report),
    }
}

fn refuse_name<T>(key: &YamlKey, report: &mut Report) -> Option<T> {
    let expected = "expected a name such as `acme`, or `PROVIDER:{CLAIM}` such as `corp:{tenant}`";
    report.add(key.position, format!("{expected}, found `{}`", key.name));
    None
}

/// The name of a plan, or `{CLAIM}`.
fn plan(node: &Node, report: &mut Report) -> Option<Plan> {
    let text = value::text(node, report)?;
    match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some("") => value::expected(node, report, "the name of a claim between `{` and `}`"),
        Some(claim) => Some(Plan::Claim(claim.to_owned())),
        None => Some(Plan::Named(Named { name: text, position: Some(node.position) })),
    }
}

impl Key {
    /// `sha256:…`, or a mapping with `hash`.
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        if matches!(node.value, Value::Text(_)) {
            let hash = hash(node, report)??;
            return Some(Self { position: node.position, hash, not_before: None, expires: None });
        }
        if let Value::Unwritten = node.value {
            report.draw(Shape::Text);
        }
        let (mut found, mut not_before, mut expires) = (None, None, None);
        let mut section = Section::open(node, "consumers.NAME.keys[]", report)?;
        section.read("hash", &mut found, hash);
        section.read("not_before", &mut not_before, |node, report| date(node, report).map(Some));
        section.read("expires", &mut expires, |node, report| date(node, report).map(Some));
        section.require("hash", "write the `sha256:…` that `transom key new` printed");
        section.close(&[]);
        if let (Some(start), Some(end)) = (not_before, expires)
            && start >= end
        {
            report.add(node.position, "the key expires before it is valid");
        }
        Some(Self { position: node.position, hash: found?, not_before, expires })
    }
}

fn hash(node: &Node, report: &mut Report) -> Option<Option<KeyHash>> {
    let text = value::text(node, report)?;
    match KeyHash::parse(&text) {
        Some(hash) => Some(Some(hash)),
        // What stands there may be a key: it is not repeated.
        None => value::refuse(
            node,
            report,
            "expected `sha256:` and 64 hexadecimal digits: keys stand here as hashes only, see `transom key`",
        ),
    }
}

/// A date, which begins at midnight UTC, or a time: `2027-01-31`, `2027-01-31T12:00:00Z`.
fn date(node: &Node, report: &mut Report) -> Option<u64> {
    let parsed = match &node.value {
        Value::Text(text) if text.len() == 10 => parse_timestamp(format!("{text}T00:00:00Z").as_bytes()).ok(),
        Value::Text(text) => parse_timestamp(text.as_bytes()).ok(),
        _ => None,
    };
    match parsed.and_then(|instant| u64::try_from(instant.seconds).ok()) {
        Some(seconds) => Some(seconds),
        None => value::expected(node, report, "a date such as `2027-01-31` or `2027-01-31T12:00:00Z`"),
    }
}

/// A key has one owner.
fn check_keys(consumers: &[Consumer], report: &mut Report) {
    let mut owners: HashMap<KeyHash, &str> = HashMap::new();
    for consumer in consumers {
        for key in &consumer.keys {
            if let Some(owner) = owners.insert(key.hash, &consumer.name) {
                report.add(key.position, format!("this key is that of `{owner}` already"));
            }
        }
    }
}
