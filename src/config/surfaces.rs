//! `surfaces`: front ends, each with its hosts, its protocols and the methods that it shows.
//!
//! ```yaml
//! surfaces:
//!   web:
//!     hosts: [api.shop.example, "*.shop.example"]
//!     policies: [edge, signed-in]
//!     rules:
//!       - { match: shop.v1.Orders.*, to: orders }
//!       - { match: [shop.v1.Catalog.Get*, shop.v1.Catalog.List*], to: catalog, auth: none }
//!       - { match: shop.v1.Admin.*, expose: false }
//! ```
//!
//! The first rule that matches a method holds. A surface with rules shows what they match and nothing
//! else, so that a method that is new in the descriptors is not public before somebody says so; one
//! without rules shows everything. Without any surface there is one, with every host and no rules.

use std::time::Duration;

use super::deprecated::{self, Deprecated};
use super::fallback::Fallback;
use super::fields::Fields;
use super::finding::{Position, Report};
use super::graphql::Graphql;
use super::mirror::{self, Mirror};
use super::openapi::OpenApi;
use super::policies::Clauses;
use super::protection::Retry;
use super::rollout::{self, Case, Share, Sticky};
use super::section::Section;
use super::value;
use super::yaml::{Key, Node, Value};
use super::{compression, cors};
use crate::policy::compression::Compression;
use crate::policy::concurrency::Priority;
use crate::policy::cors::CorsRules;
use crate::policy::glob::Glob;

/// One front end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surface {
    pub name: String,
    /// Where the file names it; `None` for the one that is there without the section.
    pub position: Option<Position>,
    /// The listener by which it is reached. Default: every public one.
    pub listener: Option<Named>,
    /// Host names, lower-case; `*.example.com` is every name below. Default: every host.
    pub hosts: Vec<Host>,
    /// What clients may speak. Default REST.
    pub protocols: Vec<Protocol>,
    /// How they speak GraphQL, where they may.
    pub graphql: Graphql,
    /// Names of policies; they hold from left to right.
    pub policies: Vec<Named>,
    /// Which pages of other origins may call. Default none.
    pub cors: Option<CorsRules>,
    pub compression: Compression,
    /// Whether its clients may say which trace their calls belong to. Default true.
    pub trusts_traceparent: bool,
    /// Whether requests are held to the rules of their descriptors. Default true.
    pub validates: bool,
    pub deprecated: Option<Deprecated>,
    /// What its document says beside what its descriptors do.
    pub openapi: Option<OpenApi>,
    /// What is shown of replies where neither rule nor policy says it. Default: all.
    pub fields: Option<Fields>,
    pub rules: Vec<Rule>,
}

/// A name, and where the file has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub position: Option<Position>,
}

/// A host name, or all names below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Without the `*.` of a wildcard.
    pub name: String,
    pub is_wildcard: bool,
    pub position: Position,
}

/// What clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Rest,
    Graphql,
}

/// What holds for some methods of a surface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub position: Position,
    /// Patterns of `package.Service.Method`; `*` stands for any text. One of them suffices.
    pub matches: Vec<Named>,
    /// The service that is called, or several with their shares. None: the only one.
    pub to: Vec<Share>,
    /// Which calls go to a certain service, before shares count. Default: none.
    pub when: Vec<Case>,
    /// Whose calls keep to one of several services. Default: nobody's.
    pub sticky: Option<Sticky>,
    /// Another service that gets copies of the calls. Default: none.
    pub mirror: Option<Mirror>,
    /// Whether the methods can be reached at all. Default true.
    pub expose: bool,
    /// Policies in the place of the surface's.
    pub policies: Option<Vec<Named>>,
    /// A unary call from its first byte to its last, where that is less than the service's.
    pub timeout: Option<Duration>,
    /// Which calls are made again, in the place of what the service says.
    pub retry: Option<Retry>,
    /// What clients get where the service cannot be called. Default: that it cannot.
    pub fallback: Option<Fallback>,
    /// Which calls are shed first.
    pub priority: Priority,
    /// Whether requests are held to the rules of their descriptors. Default: as the surface says.
    pub validates: Option<bool>,
    /// What holds for these methods in the place of what the surface says.
    pub deprecated: Option<Deprecated>,
    /// What the rule itself says, in the place of what its policies say.
    pub clauses: Clauses,
}

/// Protocols of the format that a later version serves.
const PROTOCOLS_LATER: [&str; 3] = ["grpc", "grpc-web", "connect"];

const TIMEOUT_MIN: Duration = Duration::from_millis(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

impl Surface {
    /// The surface that is there when the file names none.
    pub fn whole() -> Self {
        Self {
            name: "default".to_owned(),
            position: None,
            listener: None,
            hosts: Vec::new(),
            protocols: vec![Protocol::Rest],
            graphql: Graphql::default(),
            policies: Vec::new(),
            cors: None,
            compression: Compression::default(),
            trusts_traceparent: true,
            validates: true,
            deprecated: None,
            openapi: None,
            fields: None,
            rules: Vec::new(),
        }
    }

    /// How clients speak GraphQL, if they may.
    pub fn graphql(&self) -> Option<&Graphql> {
        self.protocols.contains(&Protocol::Graphql).then_some(&self.graphql)
    }

    pub fn speaks_rest(&self) -> bool {
        self.protocols.contains(&Protocol::Rest)
    }

    fn read(key: &Key, node: &Node, report: &mut Report) -> Option<Self> {
        let name = &key.name;
        let mut surface = Self { name: name.clone(), position: Some(key.position), ..Self::whole() };
        let mut section = Section::open(node, format!("surfaces.{name}"), report)?;
        section.read("listener", &mut surface.listener, |node, report| named(node, report).map(Some));
        section.read("hosts", &mut surface.hosts, value::list(host));
        section.read("protocols", &mut surface.protocols, protocols);
        section.read("graphql", &mut surface.graphql, Graphql::read);
        section.read("policies", &mut surface.policies, value::list(named));
        section.read("cors", &mut surface.cors, |node, report| cors::read(node, report).map(Some));
        section.read("compression", &mut surface.compression, compression::read);
        section.read("trust_traceparent", &mut surface.trusts_traceparent, value::boolean);
        section.read("validation", &mut surface.validates, value::boolean);
        section.read("deprecated", &mut surface.deprecated, deprecated::of_surface);
        section.read("openapi", &mut surface.openapi, |node, report| OpenApi::read(node, report).map(Some));
        section.read("fields", &mut surface.fields, |node, report| Fields::read(node, report).map(Some));
        section.read("rules", &mut surface.rules, value::list(Rule::read));
        if section.has("graphql") && surface.graphql().is_none() {
            section.forbid("graphql", "`protocols` does not name it: write `protocols: [rest, graphql]`");
        }
        if !surface.speaks_rest() && !surface.graphql.routes.is_empty() {
            section.forbid("protocols", "the routes of `graphql` need `rest`, too");
        }
        section.close(&[]);
        Some(surface)
    }
}

impl Rule {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut rule = Self {
            position: node.position,
            matches: Vec::new(),
            to: Vec::new(),
            when: Vec::new(),
            sticky: None,
            mirror: None,
            expose: true,
            policies: None,
            timeout: None,
            retry: None,
            fallback: None,
            priority: Priority::default(),
            validates: None,
            deprecated: None,
            clauses: Clauses::default(),
        };
        let mut section = Section::open(node, "surfaces.NAME.rules[]", report)?;
        section.read("match", &mut rule.matches, value::one_or_more("pattern", pattern));
        section.read("to", &mut rule.to, rollout::to);
        section.read("when", &mut rule.when, rollout::when);
        section.read("sticky", &mut rule.sticky, |node, report| rollout::sticky(node, report).map(Some));
        if section.has("sticky") && rule.to.len() < 2 {
            section.forbid("sticky", "there is one side to keep: give `to` several services");
        }
        section.read("mirror", &mut rule.mirror, |node, report| mirror::read(node, report).map(Some));
        section.read("expose", &mut rule.expose, value::boolean);
        section
            .read("policies", &mut rule.policies, |node, report| value::list(named)(node, report).map(Some));
        section.read("timeout", &mut rule.timeout, |node, report| {
            value::duration(TIMEOUT_MIN..=TIMEOUT_MAX)(node, report).map(Some)
        });
        section.read("retry", &mut rule.retry, |node, report| Retry::of_rule(node, report).map(Some));
        section.read("fallback", &mut rule.fallback, |node, report| Fallback::read(node, report).map(Some));
        section.read("priority", &mut rule.priority, value::choice(&Priority::ALL));
        section
            .read("validation", &mut rule.validates, |node, report| value::boolean(node, report).map(Some));
        section.read("deprecated", &mut rule.deprecated, deprecated::of_rule);
        rule.clauses = Clauses::read(&mut section);
        section.require("match", "name methods, such as `shop.v1.Orders.*`");
        section.close(&[]);
        Some(rule)
    }
}

/// The surfaces by name.
pub(super) fn read(node: &Node, report: &mut Report) -> Option<Vec<Surface>> {
    if matches!(&node.value, Value::Map(entries) if entries.is_empty()) {
        return value::refuse(node, report, "expected at least one surface, found none");
    }
    value::by_name("surfaces", Surface::read)(node, report)
}

/// A name that something else in the file must have.
pub(super) fn named(node: &Node, report: &mut Report) -> Option<Named> {
    value::text(node, report).map(|name| Named { name, position: Some(node.position) })
}

fn host(node: &Node, report: &mut Report) -> Option<Host> {
    let text = value::text(node, report)?.to_ascii_lowercase();
    let (name, is_wildcard) = match text.strip_prefix("*.") {
        Some(rest) => (rest, true),
        None => (text.as_str(), false),
    };
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let is_address = name.starts_with('[') && name.ends_with(']');
    if !is_address && !name.split('.').all(is_label) {
        let expected = "a host name without a port, such as `api.example.com` or `*.example.com`";
        return value::expected(node, report, expected);
    }
    Some(Host { name: name.to_owned(), is_wildcard, position: node.position })
}

fn protocols(node: &Node, report: &mut Report) -> Option<Vec<Protocol>> {
    let one = |node: &Node, report: &mut Report| match &node.value {
        Value::Text(text) if PROTOCOLS_LATER.contains(&text.as_str()) => {
            value::refuse(node, report, format!("`{text}` is not served by this version"))
        }
        _ => value::choice(&[("rest", Protocol::Rest), ("graphql", Protocol::Graphql)])(node, report),
    };
    let protocols = value::list(one)(node, report)?;
    if let Value::List(items) = &node.value
        && items.is_empty()
    {
        return value::refuse(node, report, "expected at least one protocol, found none");
    }
    Some(protocols)
}

fn pattern(node: &Node, report: &mut Report) -> Option<Named> {
    let pattern = named(node, report)?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._*".contains(&byte);
    if !pattern.name.bytes().all(is_name) {
        return value::expected(node, report, "a gRPC name such as `shop.v1.Orders.*`, not a path");
    }
    match Glob::parse(&pattern.name) {
        Ok(_) => Some(pattern),
        Err(error) => value::refuse(node, report, error.to_string()),
    }
}
