//! `surfaces.NAME.openapi`: what the document of a surface says beside what its descriptors do.
//!
//! ```yaml
//! openapi: { title: Shop, version: "2", servers: ["https://api.shop.example"] }
//! ```

use http::Uri;

use super::finding::Report;
use super::section::Section;
use super::value;
use super::yaml::Node;

/// What the operator says of an API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenApi {
    /// Default: what an annotation says, or the name of the package.
    pub title: Option<String>,
    pub description: Option<String>,
    /// Default: what an annotation says, or the version in the name of the package.
    pub version: Option<String>,
    /// Where the API is served. Default: where the document came from.
    pub servers: Vec<String>,
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
        section.close(&[]);
        Some(openapi)
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
