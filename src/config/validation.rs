//! `validation`: what holding requests to the rules of their descriptors may cost, and how much is said of a refusal.
//!
//! Whether rules are asked at all is said where requests come in: `surfaces.NAME.validation`.

use super::finding::Report;
use super::section::Section;
use super::value;
use super::yaml::Node;

/// As many violations as a reply can have use for.
const VIOLATIONS_MAX: usize = 1000;
/// So many are half a second of a core.
const STEPS_MAX: usize = 10_000_000;

/// What holds for all surfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validation {
    /// Violations that one refusal tells. Default 100; 1 to 1000.
    pub violations_max: usize,
    /// Steps that the expressions of a request's rules may take together. Default 200,000; 1,000 to 10,000,000.
    pub steps_max: usize,
}

impl Default for Validation {
    fn default() -> Self {
        Self { violations_max: 100, steps_max: 200_000 }
    }
}

impl Validation {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut validation = Self::default();
        let mut section = Section::open(node, "validation", report)?;
        section.read("violations", &mut validation.violations_max, value::integer(1..=VIOLATIONS_MAX));
        section.read("steps", &mut validation.steps_max, value::integer(1000..=STEPS_MAX));
        section.close(&[]);
        Some(validation)
    }
}
