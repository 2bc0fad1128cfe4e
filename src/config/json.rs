//! `json`: the choices that the proto3 JSON mapping leaves open; the struct is the codec's own.

use super::finding::Report;
use super::section::Section;
use super::value;
use super::yaml::Node;
use crate::codec::options::{Defaults, Enums, Int64, JsonOptions, Names, Unknown};

pub(super) fn read(node: &Node, report: &mut Report) -> Option<JsonOptions> {
    let mut json = JsonOptions::default();
    let mut section = Section::open(node, "json", report)?;
    section.read("names", &mut json.names, value::choice(&[("json", Names::Json), ("proto", Names::Proto)]));
    section.read(
        "enums",
        &mut json.enums,
        value::choice(&[("name", Enums::Name), ("number", Enums::Number)]),
    );
    section.read(
        "defaults",
        &mut json.defaults,
        value::choice(&[("omit", Defaults::Omit), ("emit", Defaults::Emit)]),
    );
    section.read(
        "int64",
        &mut json.int64,
        value::choice(&[("string", Int64::String), ("number", Int64::Number)]),
    );
    section.read(
        "unknown_fields",
        &mut json.unknown,
        value::choice(&[("reject", Unknown::Reject), ("ignore", Unknown::Ignore)]),
    );
    // Parsing recurses: the upper bound keeps the deepest accepted document well within a thread's stack.
    section.read("depth", &mut json.depth_max, value::integer(1..=DEPTH_MAX));
    section.close(&[]);
    Some(json)
}

const DEPTH_MAX: u16 = 500;
