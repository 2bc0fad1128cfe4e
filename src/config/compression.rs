//! `surfaces.NAME.compression`: how replies are compressed; the rules are the policy's own.
//!
//! ```yaml
//! compression: { algorithms: [zstd, br, gzip], min_size: 1KiB, level: fast }
//! ```

use super::finding::Report;
use super::section::Section;
use super::value::{self, MIB};
use super::yaml::{Node, Value};
use crate::policy::coding::Coding;
use crate::policy::compression::{Compression, Effort};

const ALGORITHMS: [(&str, Coding); 3] = [
    (Coding::Zstd.name(), Coding::Zstd),
    (Coding::Brotli.name(), Coding::Brotli),
    (Coding::Gzip.name(), Coding::Gzip),
];
const LEVELS: [(&str, Effort); 2] = [("fast", Effort::Fast), ("small", Effort::Small)];

pub(super) fn read(node: &Node, report: &mut Report) -> Option<Compression> {
    let mut compression = Compression::default();
    let mut section = Section::open(node, "surfaces.NAME.compression", report)?;
    section.read("algorithms", &mut compression.codings, algorithms);
    section.read("min_size", &mut compression.bytes_min, value::bytes(0..=MIB));
    section.read("level", &mut compression.effort, value::choice(&LEVELS));
    section.read("streams", &mut compression.streams, value::boolean);
    section.read("with_credentials", &mut compression.with_credentials, value::boolean);
    section.close(&[]);
    Some(compression)
}

/// What is preferred first, each once.
fn algorithms(node: &Node, report: &mut Report) -> Option<Vec<Coding>> {
    let codings = value::list(value::choice(&ALGORITHMS))(node, report)?;
    let Value::List(items) = &node.value else { return Some(codings) };
    for (index, coding) in codings.iter().enumerate() {
        let earlier = codings.iter().take(index).any(|earlier| earlier == coding);
        if let (true, Some(item)) = (earlier && items.len() == codings.len(), items.get(index)) {
            return value::refuse(item, report, format!("`{}` is listed twice", coding.name()));
        }
    }
    Some(codings)
}
