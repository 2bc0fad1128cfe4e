//! `services.NAME.outlier`: when one endpoint of several is left out because it does worse than the others.
//!
//! ```yaml
//! outlier: { consecutive: 5, eject: 30s..300s, max_ejected: 50% }
//! ```
//!
//! It is off without its key, and has every default with an empty one.

use std::time::Duration;

use super::finding::Report;
use super::section::Section;
use super::value;
use super::yaml::Node;
use crate::policy::outlier::OutlierSettings;

const EJECT_MIN: Duration = Duration::from_millis(100);
const EJECT_MAX: Duration = Duration::from_secs(24 * 3600);

pub(super) fn read(node: &Node, report: &mut Report) -> Option<OutlierSettings> {
    let mut settings = OutlierSettings::default();
    let mut eject = settings.eject_base..=settings.eject_max;
    let mut section = Section::open(node, "services.NAME.outlier", report)?;
    section.read("consecutive", &mut settings.consecutive, value::integer(1..=1_000_000));
    section.read("error_rate", &mut settings.error_percent, value::percent(1..=100));
    section.read("min_requests", &mut settings.requests_min, value::integer(1..=1_000_000));
    section.read("eject", &mut eject, value::durations(EJECT_MIN..=EJECT_MAX));
    section.read("max_ejected", &mut settings.ejected_percent_max, value::percent(1..=100));
    section.close(&[]);
    (settings.eject_base, settings.eject_max) = eject.into_inner();
    Some(settings)
}
