//! `deprecated` of a surface or of a rule: since when, until when, where to read more.
//!
//! ```yaml
//! deprecated: { since: 2026-09-01, sunset: 2027-03-01, link: "https://shop.example/migrate" }
//! ```

use super::Config;
use super::finding::{Finding, Position, Report, Severity};
use super::section::Section;
use super::value;
use super::yaml::{Node, Value};
use crate::policy::deprecation::{Day, Deprecation, is_link};

/// What is said, and where the file says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deprecated {
    pub position: Position,
    pub deprecation: Deprecation,
}

pub(super) fn of_surface(node: &Node, report: &mut Report) -> Option<Option<Deprecated>> {
    read(node, Section::open(node, "surfaces.NAME.deprecated", report)?)
}

pub(super) fn of_rule(node: &Node, report: &mut Report) -> Option<Option<Deprecated>> {
    read(node, Section::open(node, "surfaces.NAME.rules[].deprecated", report)?)
}

fn read(node: &Node, mut section: Section<'_>) -> Option<Option<Deprecated>> {
    let (mut since, mut sunset, mut url) = (None, None, None);
    section.read("since", &mut since, |node, report| day(node, report).map(Some));
    section.read("sunset", &mut sunset, |node, report| day(node, report).map(Some));
    section.read("link", &mut url, |node, report| link(node, report).map(Some));
    section.require("since", "say since when, such as `2026-09-01`");
    let is_early = since.zip(sunset).is_some_and(|(since, sunset)| sunset < since);
    if is_early {
        section.refuse("`sunset` is before `since`");
    }
    section.close(&[]);
    let deprecation = Deprecation { since: since?, sunset, link: url.map(String::into_boxed_str) };
    Some(Some(Deprecated { position: node.position, deprecation }))
}

fn day(node: &Node, report: &mut Report) -> Option<Day> {
    let day = match &node.value {
        Value::Text(text) => Day::parse(text),
        _ => None,
    };
    match day {
        Some(day) => Some(day),
        None => value::expected(node, report, "a day such as `2026-09-01`"),
    }
}

fn link(node: &Node, report: &mut Report) -> Option<String> {
    let text = value::text(node, report)?;
    if is_link(&text) {
        Some(text)
    } else {
        value::expected(node, report, "a URL such as `https://example.com/migrate`")
    }
}

impl Config {
    /// What is served no longer, because its sunset has passed.
    pub fn past_sunsets(&self, now_unix_s: u64) -> Vec<Finding> {
        let of_surfaces = self.surfaces.iter().filter_map(|surface| surface.deprecated.as_ref());
        let rules = self.surfaces.iter().flat_map(|surface| &surface.rules);
        let of_rules = rules.filter_map(|rule| rule.deprecated.as_ref());
        let is_past = |deprecated: &&Deprecated| {
            deprecated.deprecation.sunset.is_some_and(|sunset| sunset.unix_s() <= now_unix_s)
        };
        let mut findings: Vec<_> = of_surfaces
            .chain(of_rules)
            .filter(is_past)
            .map(|deprecated| Finding {
                file: self.file.clone(),
                position: Some(deprecated.position),
                severity: Severity::Warning,
                message: "the sunset has passed: every call is answered with 410".to_owned(),
            })
            .collect();
        findings.sort_by_key(|finding| finding.position);
        findings
    }
}
