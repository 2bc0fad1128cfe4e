//! `services.NAME.health`: how endpoints are asked whether they work.
//!
//! ```yaml
//! health: { grpc: "", every: 5s, timeout: 1s, unhealthy: 3, healthy: 2 }
//! ```
//!
//! Nobody is asked without the key; an empty one has every default.

use std::time::Duration;

use super::finding::Report;
use super::section::Section;
use super::value;
use super::yaml::{Node, Value};
use crate::policy::health::HealthSettings;

/// More often is no better known, and a load of its own.
const EVERY_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MIN: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_secs(3600);

/// Names of services are short; this one is sent with every check.
const SERVICE_BYTES_MAX: usize = 1024;

pub(super) fn read(node: &Node, report: &mut Report) -> Option<HealthSettings> {
    let mut settings = HealthSettings::default();
    let mut section = Section::open(node, "services.NAME.health", report)?;
    section.read("grpc", &mut settings.service, |node, report| {
        // Empty is a name too: that of the server as a whole.
        if matches!(&node.value, Value::Text(text) if text.is_empty()) {
            return Some("".into());
        }
        let text = value::text(node, report)?;
        if text.len() > SERVICE_BYTES_MAX {
            let message = format!("the name of a service has at most {SERVICE_BYTES_MAX} bytes");
            return value::refuse(node, report, message);
        }
        Some(text.into())
    });
    section.read("every", &mut settings.every, value::duration(EVERY_MIN..=HOUR));
    section.read("timeout", &mut settings.timeout, value::duration(TIMEOUT_MIN..=HOUR));
    section.read("unhealthy", &mut settings.unhealthy_after, value::integer(1..=1000));
    section.read("healthy", &mut settings.healthy_after, value::integer(1..=1000));
    section.close(&[]);
    Some(settings)
}
