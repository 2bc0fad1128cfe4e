//! `mirror` of a rule: another service that gets copies of its calls.
//!
//! ```yaml
//! mirror: orders-next
//! mirror: { to: orders-next, share: 10%, concurrency: 100, bytes: 16MiB, writes: false }
//! ```

use super::finding::{Position, Report};
use super::section::Section;
use super::surfaces::{Named, named};
use super::value::{self, GIB, KIB};
use super::yaml::{Node, Value};
use crate::policy::mirror::MirrorSettings;

/// Copies of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    pub service: Named,
    pub settings: MirrorSettings,
    /// Whether the file says which calls that change something are copied.
    pub says_writes: bool,
    pub position: Position,
}

pub(super) fn read(node: &Node, report: &mut Report) -> Option<Mirror> {
    let position = node.position;
    let mut settings = MirrorSettings::default();
    let mut says_writes = false;
    let mut service = None;
    if let Value::Map(_) | Value::Unwritten = node.value {
        let mut section = Section::open(node, "surfaces.NAME.rules[].mirror", report)?;
        section.read("to", &mut service, |node, report| named(node, report).map(Some));
        section.read("share", &mut settings.share_percent, value::percent(1..=100));
        section.read("concurrency", &mut settings.calls_max, value::integer(1..=10_000));
        section.read("bytes", &mut settings.bytes_max, value::bytes(KIB..=GIB));
        section.read("writes", &mut settings.writes, value::boolean);
        says_writes = section.has("writes");
        section.require("to", "name a service");
        section.close(&[]);
    }
    if !matches!(node.value, Value::Map(_)) {
        service = named(node, report);
    }
    Some(Mirror { service: service?, settings, says_writes, position })
}
