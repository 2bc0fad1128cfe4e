//! `surfaces.NAME.graphql`: GraphQL at a surface whose `protocols` name it.
//!
//! ```yaml
//! protocols: [rest, graphql]
//! graphql: { path: /graphql, introspection: false, limits: { depth: 8 } }
//! ```
//!
//! What a document may be is bounded before anything is called.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::aggregates::{self, Route};
use super::finding::{Position, Report};
use super::links::Link;
use super::section::Section;
use super::subscriptions::Subscriptions;
use super::value::{self, KIB, MIB};
use super::yaml::Node;

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graphql {
    /// Default `/graphql`.
    pub path: String,
    /// Whether clients may ask for the schema. Default true.
    pub introspection: bool,
    /// Whether maps are JSON instead of lists of entries. Default false.
    pub maps_as_json: bool,
    /// Whether the selection becomes the request's read mask where that has one. Default true.
    pub read_masks: bool,
    /// Whether `GENRE_POETRY` of the enum `Genre` is `POETRY`. Default false.
    pub strip_enum_prefix: bool,
    /// Whether a GET needs a header that no page of another origin can send unasked. Default true.
    pub csrf: bool,
    /// The texts of documents that are not read again, in bytes. Default 4 MiB.
    pub documents_bytes_max: usize,
    /// Whether browsers that come to the path get a page. Default false.
    pub explorer: bool,
    /// Whether an operation is debited what it costs, and not one for each of its calls. Default false.
    pub debits_cost: bool,
    pub persisted: Persisted,
    pub limits: Limits,
    pub subscriptions: Subscriptions,
    /// Fields that lead to what other methods tell. Default none.
    pub links: Vec<Link>,
    /// Requests that one body may have as an array; 0: none. Default 0.
    pub batch_max: usize,
    /// Documents that are bound to a path. Default none.
    pub routes: Vec<Route>,
}

/// What one request may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In bytes. Default 64 KiB.
    pub document_bytes_max: usize,
    /// In bytes, as the body has them. Default 1 MiB.
    pub variables_bytes_max: usize,
    /// Default 4000.
    pub tokens_max: usize,
    /// Fields above each other. Default 12.
    pub depth_max: usize,
    /// Default 30.
    pub aliases_max: usize,
    /// Default 20.
    pub root_fields_max: usize,
    /// Calls of one operation, those that links make among them. Default 100.
    pub calls_max: usize,
    /// Objects in the reply, as far as they can be told beforehand. Default 1000.
    pub cost_max: u64,
    /// Fields above each other below `__schema` and `__type`. Default 15.
    pub introspection_depth_max: usize,
    /// The header that names what a route's reply lacks, in bytes. Default 1 KiB.
    pub partial_bytes_max: usize,
    /// Of all that introspection tells, in bytes. Default 32 MiB.
    pub introspection_bytes_max: usize,
    /// Values and names of members in a request's JSON. Default 25,000.
    pub values_max: usize,
    /// For a client to send its request. Default 30 seconds.
    pub read_timeout: Duration,
    /// In bytes. Default 64 MiB.
    pub response_bytes_max: usize,
    /// Errors that are told of one operation. Default 100.
    pub errors_max: usize,
    /// Keys of an operation's links. Default 10,000.
    pub link_keys_max: usize,
    /// Calls of an operation's links that are on their way at once. Default 20.
    pub link_calls_max: usize,
}

/// Documents that clients name instead of sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persisted {
    /// A manifest or a folder of documents that are trusted, and where the file names it.
    pub manifest: Option<(PathBuf, Position)>,
    /// Whether nothing else is answered. Default false.
    pub only: bool,
    /// Whether clients may register documents by their hash. Default false.
    pub automatic: bool,
    /// Texts that are kept of those. Default 1000.
    pub automatic_count_max: usize,
    /// In bytes. Default 4 MiB.
    pub automatic_bytes_max: usize,
}

const READ_TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);
const DEBITS: [(&str, bool); 2] = [("calls", false), ("cost", true)];
const MAPS: [(&str, bool); 2] = [("entries", false), ("json", true)];

impl Graphql {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut graphql = Self::default();
        let mut section = Section::open(node, "surfaces.NAME.graphql", report)?;
        section.read("path", &mut graphql.path, path);
        section.read("introspection", &mut graphql.introspection, value::boolean);
        section.read("map_as", &mut graphql.maps_as_json, value::choice(&MAPS));
        section.read("read_mask", &mut graphql.read_masks, value::boolean);
        section.read("strip_enum_prefix", &mut graphql.strip_enum_prefix, value::boolean);
        section.read("csrf", &mut graphql.csrf, value::boolean);
        section.read("documents", &mut graphql.documents_bytes_max, value::bytes(0..=value::GIB));
        section.read("explorer", &mut graphql.explorer, value::boolean);
        section.read("debit", &mut graphql.debits_cost, value::choice(&DEBITS));
        section.read("persisted", &mut graphql.persisted, Persisted::read);
        section.read("limits", &mut graphql.limits, Limits::read);
        section.read("subscriptions", &mut graphql.subscriptions, Subscriptions::read);
        section.read("links", &mut graphql.links, value::list(Link::read));
        section.read("batch", &mut graphql.batch_max, value::integer(0..=100));
        section.read("routes", &mut graphql.routes, aggregates::read);
        section.close(&[]);
        Some(graphql)
    }
}

impl Limits {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut limits = Self::default();
        let mut section = Section::open(node, "surfaces.NAME.graphql.limits", report)?;
        section.read("document", &mut limits.document_bytes_max, value::bytes(256..=16 * MIB));
        section.read("variables", &mut limits.variables_bytes_max, value::bytes(0..=64 * MIB));
        section.read("tokens", &mut limits.tokens_max, value::integer(10..=1_000_000));
        section.read("depth", &mut limits.depth_max, value::integer(1..=100));
        section.read("aliases", &mut limits.aliases_max, value::integer(0..=10_000));
        section.read("root_fields", &mut limits.root_fields_max, value::integer(1..=100));
        section.read("calls", &mut limits.calls_max, value::integer(1..=10_000));
        section.read("cost", &mut limits.cost_max, value::integer(1..=1_000_000_000));
        section.read("introspection_depth", &mut limits.introspection_depth_max, value::integer(1..=100));
        section.read("partial_header", &mut limits.partial_bytes_max, value::bytes(64..=16 * KIB));
        section.read(
            "introspection_size",
            &mut limits.introspection_bytes_max,
            value::bytes(KIB..=value::GIB),
        );
        section.read("values", &mut limits.values_max, value::integer(10..=10_000_000));
        section.read("read_timeout", &mut limits.read_timeout, value::duration(READ_TIMEOUTS));
        section.read("response", &mut limits.response_bytes_max, value::bytes(KIB..=value::GIB));
        section.read("errors", &mut limits.errors_max, value::integer(1..=10_000));
        section.read("link_keys", &mut limits.link_keys_max, value::integer(1..=1_000_000));
        section.read("link_calls", &mut limits.link_calls_max, value::integer(1..=1000));
        section.close(&[]);
        Some(limits)
    }
}

impl Persisted {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut persisted = Self::default();
        let mut section = Section::open(node, "surfaces.NAME.graphql.persisted", report)?;
        section.read("manifest", &mut persisted.manifest, |node, report| {
            value::path(node, report).map(|path| Some((path, node.position)))
        });
        section.read("only", &mut persisted.only, value::boolean);
        section.read("automatic", &mut persisted.automatic, value::boolean);
        section.read("automatic_count", &mut persisted.automatic_count_max, value::integer(1..=1_000_000));
        section.read("automatic_size", &mut persisted.automatic_bytes_max, value::bytes(256..=value::GIB));
        section.close(&[]);
        if persisted.only && persisted.manifest.is_none() {
            return value::refuse(node, report, "`only` needs the `manifest` of what is answered");
        }
        if persisted.only && persisted.automatic {
            return value::refuse(
                node,
                report,
                "with `only` clients register nothing: leave out `automatic`",
            );
        }
        Some(persisted)
    }
}

impl Default for Persisted {
    fn default() -> Self {
        Self {
            manifest: None,
            only: false,
            automatic: false,
            automatic_count_max: 1000,
            automatic_bytes_max: 4 * MIB,
        }
    }
}

impl Default for Graphql {
    fn default() -> Self {
        Self {
            path: "/graphql".to_owned(),
            introspection: true,
            maps_as_json: false,
            read_masks: true,
            strip_enum_prefix: false,
            csrf: true,
            documents_bytes_max: 4 * MIB,
            explorer: false,
            debits_cost: false,
            persisted: Persisted::default(),
            limits: Limits::default(),
            subscriptions: Subscriptions::default(),
            links: Vec::new(),
            batch_max: 0,
            routes: Vec::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document_bytes_max: 64 * KIB,
            variables_bytes_max: MIB,
            tokens_max: 4000,
            depth_max: 12,
            aliases_max: 30,
            root_fields_max: 20,
            calls_max: 100,
            cost_max: 1000,
            introspection_depth_max: 15,
            partial_bytes_max: KIB,
            introspection_bytes_max: 32 * MIB,
            values_max: 25_000,
            read_timeout: Duration::from_secs(30),
            response_bytes_max: 64 * MIB,
            errors_max: 100,
            link_keys_max: 10_000,
            link_calls_max: 20,
        }
    }
}

/// A path without escapes: it is compared byte by byte.
fn path(node: &Node, report: &mut Report) -> Option<String> {
    let text = value::text(node, report)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    if !text.starts_with('/') || !text.bytes().all(is_plain) {
        return value::expected(node, report, "a path such as `/graphql`");
    }
    Some(text)
}
