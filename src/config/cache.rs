//! `cache` of a policy or a rule: which replies are kept, and how long; and the bounds of all of them.
//!
//! ```yaml
//! cache: { bytes: 256MiB }
//! policies:
//!   kept: { cache: { ttl: origin, stale_if_error: 60s, vary: [accept-language] } }
//!   fresh: { cache: none }
//! ```
//!
//! `ttl: origin` leaves it to the reply how long it lives; a duration is for replies that do not say so. What a
//! reply says itself always goes first.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderName;

use super::finding::{Position, Report};
use super::section::Section;
use super::surfaces::{Named, named};
use super::value::{self, GIB, KIB, MIB};
use super::yaml::{Node, Value};

/// Which replies are kept, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    pub position: Position,
    /// `cache: none` keeps nothing, whatever a policy says.
    pub is_none: bool,
    /// How long a reply lives that does not say so itself. `None` (`origin`): it is not kept.
    pub ttl: Option<Duration>,
    /// How long a stale reply is served while a new one is fetched, where the reply does not say so.
    pub stale_while_revalidate: Option<Duration>,
    /// How long a stale reply is served when the backend fails, where the reply does not say so.
    pub stale_if_error: Option<Duration>,
    /// Request headers that replies depend on, beside those of their `vary`.
    pub vary: Vec<HeaderName>,
    pub partition: Partition,
    /// Replies to calls with credentials are for everybody, whatever they say. Default false.
    pub public: bool,
    /// A longer reply is not kept, its headers included. Default 1 MiB.
    pub max_bytes: usize,
    /// Where nodes share replies, beside the memory of each.
    pub store: Option<Named>,
}

/// Who shares replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Partition {
    #[default]
    None,
    /// Each consumer has its own.
    Consumer,
}

/// The bounds of the cache as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Everything that is kept, in bytes. Default 64 MiB.
    pub bytes_max: usize,
    /// The key of one reply, in bytes. Default 4 KiB.
    pub key_bytes_max: usize,
    /// Replies of one key that differ by what they vary in. Default 16.
    pub variants_max: usize,
    /// Names in the `vary` of a reply. Default 8.
    pub vary_names_max: usize,
    /// Stale replies that are refreshed in the background at once. Default 64.
    pub refreshes_max: usize,
}

/// The largest reply is so much smaller than everything, that one does not drive out all others.
pub(super) const LARGEST_SHARE: usize = 16;

const PARTITIONS: [(&str, Partition); 2] = [("none", Partition::None), ("consumer", Partition::Consumer)];

const TTLS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(365 * 24 * 3600);
const WINDOWS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(365 * 24 * 3600);

impl Cache {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut cache = Self {
            position: node.position,
            is_none: false,
            ttl: None,
            stale_while_revalidate: None,
            stale_if_error: None,
            vary: Vec::new(),
            partition: Partition::default(),
            public: false,
            max_bytes: MIB,
            store: None,
        };
        match &node.value {
            Value::Text(text) if text == "none" => return Some(Self { is_none: true, ..cache }),
            Value::Text(_) => {
                return value::expected(node, report, "`none`, or a mapping such as `{ ttl: origin }`");
            }
            Value::Unwritten => drop(value::choice(&[("none", ())])(node, report)),
            _ => {}
        }
        let window = |node: &Node, report: &mut Report| value::duration(WINDOWS)(node, report).map(Some);
        let mut section = Section::open(node, "policies.NAME.cache", report)?;
        section.read("ttl", &mut cache.ttl, ttl);
        section.read("stale_while_revalidate", &mut cache.stale_while_revalidate, window);
        section.read("stale_if_error", &mut cache.stale_if_error, window);
        section.read("vary", &mut cache.vary, value::list(header));
        section.read("partition", &mut cache.partition, value::choice(&PARTITIONS));
        section.read("public", &mut cache.public, value::boolean);
        section.read("max_bytes", &mut cache.max_bytes, value::bytes(KIB..=64 * MIB));
        section.read("store", &mut cache.store, |node, report| named(node, report).map(Some));
        section.close(&[]);
        if cache.public && cache.partition == Partition::Consumer {
            report.add(
                node.position,
                "`public` shares what `partition: consumer` keeps apart: write one of them",
            );
        }
        Some(cache)
    }
}

impl Bounds {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut bounds = Self::default();
        let mut section = Section::open(node, "cache", report)?;
        section.read("bytes", &mut bounds.bytes_max, value::bytes(MIB..=64 * GIB));
        section.read("key", &mut bounds.key_bytes_max, value::bytes(256..=64 * KIB));
        section.read("variants", &mut bounds.variants_max, value::integer(1..=1000));
        section.read("vary", &mut bounds.vary_names_max, value::integer(1..=64));
        section.read("refreshes", &mut bounds.refreshes_max, value::integer(1..=10_000));
        section.close(&[]);
        Some(bounds)
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            bytes_max: 64 * MIB,
            key_bytes_max: 4 * KIB,
            variants_max: 16,
            vary_names_max: 8,
            refreshes_max: 64,
        }
    }
}

/// `origin`, or a duration.
fn ttl(node: &Node, report: &mut Report) -> Option<Option<Duration>> {
    match &node.value {
        Value::Text(text) if text == "origin" => Some(None),
        Value::Unwritten => {
            let _ = value::choice(&[("origin", ())])(node, report);
            value::duration(TTLS)(node, report).map(Some)
        }
        Value::Text(text) if text.starts_with(|first: char| first.is_ascii_digit()) => {
            value::duration(TTLS)(node, report).map(Some)
        }
        _ => value::expected(node, report, "`origin`, or a duration such as `30s`"),
    }
}

fn header(node: &Node, report: &mut Report) -> Option<HeaderName> {
    let text = value::text(node, report)?;
    match HeaderName::try_from(text.as_str()) {
        Ok(name) if text != "*" => Some(name),
        _ => value::refuse(node, report, format!("`{text}` does not name a header")),
    }
}
