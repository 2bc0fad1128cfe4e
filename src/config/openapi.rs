//! `surfaces.NAME.openapi`: what the document of a surface says beside what its descriptors do, and where it is
//! served, with a page to read and try it.
//!
//! ```yaml
//! openapi: { title: Shop, version: "2", servers: ["https://api.shop.example"], docs: off }
//! ```
//!
//! A surface without the section serves neither: nothing is told on the public web that nobody asked for.

use http::Uri;

use super::finding::Report;
use super::section::Section;
use super::value;
use super::yaml::{Node, Value};

/// What the operator says of an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenApi {
    /// Default: what an annotation says, or the name of the package.
    pub title: Option<String>,
    pub description: Option<String>,
    /// Default: what an annotation says, or the version in the name of the package.
    pub version: Option<String>,
    /// Where the API is served. Default: where the document came from.
    pub servers: Vec<String>,
    /// Where the document is served; `None`: nowhere. Default `/openapi.json`.
    pub path: Option<String>,
    /// Where the page is served; `None`: nowhere. Default `/docs`.
    pub docs: Option<String>,
}

impl Default for OpenApi {
    fn default() -> Self {
        Self {
            title: None,
            description: None,
            version: None,
            servers: Vec::new(),
            path: Some("/openapi.json".to_owned()),
            docs: Some("/docs".to_owned()),
        }
    }
}

impl OpenApi {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let some = |node: &Node, report: &mut Report| value::text(node, report).map(Some);
        let mut openapi = Self::default();
        let mut section = Section::open(node, "surfaces.NAME.openapi", report)?;
        section.read("title", &mut openapi.title, some);
        section.read("description", &mut openapi.description, some);
        section.read("version", &mut openapi.version, some);
        section.read("servers", &mut openapi.servers, value::list(server));
        section.read("path", &mut openapi.path, path);
        section.read("docs", &mut openapi.docs, path);
        if openapi.path.is_some() && openapi.path == openapi.docs {
            section.refuse("`path` and `docs` are the same path");
        }
        section.close(&[]);
        Some(openapi)
    }
}

/// A path, or `off`.
fn path(node: &Node, report: &mut Report) -> Option<Option<String>> {
    let text = match &node.value {
        Value::Text(text) if text == "off" => return Some(None),
        _ => value::text(node, report)?,
    };
    // Without what URLs would have to escape, and HTML.
    let is_plain = |segment: &str| {
        !segment.is_empty()
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    };
    match text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_plain)) {
        true => Some(Some(text)),
        false => value::expected(node, report, "a path such as `/openapi.json`, or `off`"),
    }
}

fn server(node: &Node, report: &mut Report) -> Option<String> {
    let text = value::text(node, report)?;
    let is_web = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none();
    match text.parse::<Uri>().ok().filter(is_web) {
        Some(_) => Some(text.trim_end_matches('/').to_owned()),
        None => value::expected(node, report, "a URL such as `https://api.shop.example`"),
    }
}
