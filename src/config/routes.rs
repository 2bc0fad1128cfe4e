//! `routes`: what becomes a route, and how strictly a request must fit it.

use std::path::PathBuf;

use super::finding::{Position, Report};
use super::section::Section;
use super::value;
use super::yaml::Node;
pub use crate::route::{Conflicts, OnConflict, UnboundBody, UnknownQuery};

/// How annotations become routes and how requests bind. The defaults refuse whatever is ambiguous.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// Whether methods without a rule are reachable as `POST /package.Service/Method`. Default no.
    pub unannotated: bool,
    /// What happens when two rules claim the same requests. Default refuse.
    pub conflicts: Conflicts,
    /// Service-config files whose `http.rules` override annotations, the last match winning.
    pub service_config: Vec<ServiceConfig>,
    /// What happens to query parameters that name no field. Default refuse.
    pub unknown_query: UnknownQuery,
    /// Query parameters that never bind and are never refused.
    pub ignored_query: Vec<String>,
    /// What happens when a capture and the body or query give one field two values. Default refuse.
    pub on_conflict: OnConflict,
    /// What happens to a body that the rule does not bind. Default refuse.
    pub unbound_body: UnboundBody,
}

/// A service-config YAML file, and where the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    pub file: PathBuf,
    pub position: Option<Position>,
}

pub const CONFLICTS: [(&str, Conflicts); 2] = [("refuse", Conflicts::Refuse), ("first", Conflicts::First)];
const UNKNOWN_QUERY: [(&str, UnknownQuery); 2] =
    [("refuse", UnknownQuery::Refuse), ("ignore", UnknownQuery::Ignore)];
const ON_CONFLICT: [(&str, OnConflict); 2] =
    [("refuse", OnConflict::Refuse), ("capture", OnConflict::Capture)];
const UNBOUND_BODY: [(&str, UnboundBody); 2] =
    [("refuse", UnboundBody::Refuse), ("ignore", UnboundBody::Ignore)];

impl Routes {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut routes = Self::default();
        let mut section = Section::open(node, "routes", report)?;
        section.read("unannotated", &mut routes.unannotated, value::boolean);
        section.read("conflicts", &mut routes.conflicts, value::choice(&CONFLICTS));
        section.read(
            "service_config",
            &mut routes.service_config,
            value::one_or_more("file", service_config),
        );
        section.read("unknown_query", &mut routes.unknown_query, value::choice(&UNKNOWN_QUERY));
        section.read("ignored_query", &mut routes.ignored_query, value::list(value::text));
        section.read("on_conflict", &mut routes.on_conflict, value::choice(&ON_CONFLICT));
        section.read("unbound_body", &mut routes.unbound_body, value::choice(&UNBOUND_BODY));
        section.close(&[]);
        Some(routes)
    }
}

fn service_config(node: &Node, report: &mut Report) -> Option<ServiceConfig> {
    value::path(node, report).map(|file| ServiceConfig { file, position: Some(node.position) })
}
