//! `surfaces.NAME.graphql.routes`: documents that are bound to a verb and a path, for clients that speak no GraphQL.
//!
//! ```yaml
//! routes:
//!   - { get: "/v1/users/{user}/home", document: home.graphql, variables: { user: path.user, n: query.n }, fail: partial }
//! ```
//!
//! What a document says is only known with the descriptors, so that every word keeps its place in the file.

use std::fmt;
use std::path::PathBuf;

use super::finding::{Position, Report};
use super::section::Section;
use super::surfaces::{Named, named};
use super::value;
use super::yaml::{Key, Node};

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    pub position: Position,
    /// `GET`, ….
    pub verb: &'static str,
    /// The template of its paths.
    pub path: Named,
    pub document: Document,
    /// Where the file names or has the document.
    pub document_position: Position,
    /// Which of the document's operations it is. Default: the only one.
    pub operation: Option<Named>,
    pub variables: Vec<Variable>,
    /// Whether what has failed is null, instead of failing the reply. Default no.
    pub is_partial: bool,
}

/// Where a document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    File(PathBuf),
    Text(String),
}

/// A variable of the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    pub source: Source,
    /// Of the source.
    pub position: Position,
}

/// What of a request has its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A capture.
    Path(String),
    Query(String),
    Body,
    /// A member of the body.
    Member(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(name) => write!(f, "path.{name}"),
            Self::Query(name) => write!(f, "query.{name}"),
            Self::Body => f.write_str("body"),
            Self::Member(name) => write!(f, "body.{name}"),
        }
    }
}

/// More routes are no file that somebody writes.
pub(super) const ROUTES_MAX: usize = 1000;

const FAILS: [(&str, bool); 2] = [("whole", false), ("partial", true)];

impl Route {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut route = Self { position: node.position, ..Self::default() };
        let [mut get, mut post, mut put, mut patch, mut delete] = <[Option<Named>; 5]>::default();
        let (mut file, mut text) = (None, None);
        let mut section = Section::open(node, "surfaces.NAME.graphql.routes[]", report)?;
        section.read("get", &mut get, path);
        section.read("post", &mut post, path);
        section.read("put", &mut put, path);
        section.read("patch", &mut patch, path);
        section.read("delete", &mut delete, path);
        section.read("document", &mut file, |node, report| {
            value::path(node, report).map(|path| Some((Document::File(path), node.position)))
        });
        section.read("query", &mut text, |node, report| {
            value::text(node, report).map(|text| Some((Document::Text(text), node.position)))
        });
        section.read("operation", &mut route.operation, |node, report| named(node, report).map(Some));
        section.read("variables", &mut route.variables, value::by_name("sources", variable));
        section.read("fail", &mut route.is_partial, value::choice(&FAILS));
        let verbs = ["get", "post", "put", "patch", "delete"].iter().filter(|verb| section.has(verb)).count();
        let documents = ["document", "query"].iter().filter(|key| section.has(key)).count();
        section.close(&[]);
        if verbs != 1 {
            let message = "expected exactly one of `get`, `post`, `put`, `patch` or `delete`";
            return value::refuse(node, report, message);
        }
        if documents != 1 {
            let message = "expected either `document`, a file, or `query`, the document itself";
            return value::refuse(node, report, message);
        }
        let paths = [("GET", get), ("POST", post), ("PUT", put), ("PATCH", patch), ("DELETE", delete)];
        (route.verb, route.path) = paths.into_iter().find_map(|(verb, path)| Some((verb, path?)))?;
        (route.document, route.document_position) = file.or(text)?;
        Some(route)
    }
}

/// The routes of a surface.
pub(super) fn read(node: &Node, report: &mut Report) -> Option<Vec<Route>> {
    let routes = value::list(Route::read)(node, report)?;
    if routes.len() > ROUTES_MAX {
        return value::refuse(
            node,
            report,
            format!("{} routes, at most {ROUTES_MAX} are allowed", routes.len()),
        );
    }
    Some(routes)
}

fn path(node: &Node, report: &mut Report) -> Option<Option<Named>> {
    named(node, report).map(Some)
}

fn variable(key: &Key, node: &Node, report: &mut Report) -> Option<Variable> {
    const EXPECTED: &str = "`path.CAPTURE`, `query.PARAMETER`, `body` or `body.MEMBER`";
    let text = value::text(node, report)?;
    let source = match text.split_once('.') {
        None if text == "body" => Source::Body,
        Some(("path", name)) if !name.is_empty() => Source::Path(name.to_owned()),
        Some(("query", name)) if !name.is_empty() => Source::Query(name.to_owned()),
        Some(("body", name)) if !name.is_empty() => Source::Member(name.to_owned()),
        _ => return value::expected(node, report, EXPECTED),
    };
    let name = key.name.strip_prefix('$').unwrap_or(&key.name).to_owned();
    Some(Variable { name, source, position: node.position })
}

impl Default for Document {
    fn default() -> Self {
        Self::Text(String::new())
    }
}
