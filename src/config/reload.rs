//! `reload`: when the configuration is loaded again, and what is refused then.
//!
//! ```yaml
//! reload: { watch: true, refuse_breaking: true }
//! ```

use super::finding::Report;
use super::section::Section;
use super::value;
use super::yaml::Node;

/// How the configuration is replaced while calls are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Whether the file, and the files that it names, are loaded again when they change. Default yes.
    pub watch: bool,
    /// Whether a configuration is refused with which clients of the one before would lose something. Default no.
    pub refuse_breaking: bool,
}

impl Default for Reload {
    fn default() -> Self {
        Self { watch: true, refuse_breaking: false }
    }
}

impl Reload {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut reload = Self::default();
        let mut section = Section::open(node, "reload", report)?;
        section.read("watch", &mut reload.watch, value::boolean);
        section.read("refuse_breaking", &mut reload.refuse_breaking, value::boolean);
        section.close(&[]);
        Some(reload)
    }
}
