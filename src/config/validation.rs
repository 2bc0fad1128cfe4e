//! `validation`: how much is said of requests that break the rules of their descriptors.
//!
//! Whether rules are asked at all is said where requests come in: `surfaces.NAME.validation`.

use super::finding::Report;
use super::section::Section;
use super::value;
use super::yaml::Node;

/// As many violations as a reply can have use for.
const VIOLATIONS_MAX: usize = 1000;

/// What holds for all surfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validation {
    /// Violations that one refusal tells. Default 100; 1 to 1000.
    pub violations_max: usize,
}

impl Default for Validation {
    fn default() -> Self {
        Self { violations_max: 100 }
    }
}

impl Validation {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut validation = Self::default();
        let mut section = Section::open(node, "validation", report)?;
        section.read("violations", &mut validation.violations_max, value::integer(1..=VIOLATIONS_MAX));
        section.close(&[]);
        Some(validation)
    }
}
