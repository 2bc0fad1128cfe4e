//! `surfaces.NAME.graphql.subscriptions`: operations that have many results.
//!
//! ```yaml
//! graphql: { subscriptions: { keep_alive: 15s, leeway: 0s } }
//! ```

use std::ops::RangeInclusive;
use std::time::Duration;

use super::finding::Report;
use super::section::Section;
use super::value;
use super::yaml::Node;

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriptions {
    /// So often a client without a result is told that the stream is alive. Default 12 s.
    pub keep_alive: Duration,
    /// How long a subscription outlives the credential that it was opened with. Default 60 s.
    pub leeway: Duration,
}

const KEEP_ALIVES: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);
const LEEWAYS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400);

impl Subscriptions {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut subscriptions = Self::default();
        let mut section = Section::open(node, "surfaces.NAME.graphql.subscriptions", report)?;
        section.read("keep_alive", &mut subscriptions.keep_alive, value::duration(KEEP_ALIVES));
        section.read("leeway", &mut subscriptions.leeway, value::duration(LEEWAYS));
        section.close(&[]);
        Some(subscriptions)
    }
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self { keep_alive: Duration::from_secs(12), leeway: Duration::from_secs(60) }
    }
}
