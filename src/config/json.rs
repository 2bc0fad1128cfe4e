//! `json`: the choices that the proto3 JSON mapping leaves open; the struct is the codec's own.

use super::finding::Report;
use super::section::Section;
use super::value;
use super::yaml::Node;
use crate::codec::options::{Defaults, Enums, Int64, JsonOptions, Names, Unknown};

/// The words of the file and of the command line.
pub const NAMES: [(&str, Names); 2] = [("json", Names::Json), ("proto", Names::Proto)];
pub const ENUMS: [(&str, Enums); 2] = [("name", Enums::Name), ("number", Enums::Number)];
pub const DEFAULTS: [(&str, Defaults); 2] = [("omit", Defaults::Omit), ("emit", Defaults::Emit)];
pub const INT64: [(&str, Int64); 2] = [("string", Int64::String), ("number", Int64::Number)];
pub const UNKNOWN_FIELDS: [(&str, Unknown); 2] = [("reject", Unknown::Reject), ("ignore", Unknown::Ignore)];

/// Parsing recurses: this keeps the deepest accepted document well within a thread's stack.
const DEPTH_MAX: u16 = 500;

pub(super) fn read(node: &Node, report: &mut Report) -> Option<JsonOptions> {
    let mut json = JsonOptions::default();
    let mut section = Section::open(node, "json", report)?;
    section.read("names", &mut json.names, value::choice(&NAMES));
    section.read("enums", &mut json.enums, value::choice(&ENUMS));
    section.read("defaults", &mut json.defaults, value::choice(&DEFAULTS));
    section.read("int64", &mut json.int64, value::choice(&INT64));
    section.read("unknown_fields", &mut json.unknown, value::choice(&UNKNOWN_FIELDS));
    section.read("depth", &mut json.depth_max, value::integer(1..=DEPTH_MAX));
    section.close(&[]);
    Some(json)
}
