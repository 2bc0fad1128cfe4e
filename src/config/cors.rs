//! `surfaces.NAME.cors`: which pages of other origins may call; the rules are the policy's own.
//!
//! ```yaml
//! cors: { origins: ["https://shop.example", "https://*.shop.example"], credentials: true, max_age: 10m }
//! ```

use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, Method};

use super::finding::Report;
use super::section::Section;
use super::value;
use super::yaml::{Node, Value};
use crate::policy::cors::{self, CorsRules, Origin};

/// Browsers keep a preflight for a day at most.
const MAX_AGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(24 * 3600);

/// Headers that a page cannot send, or that every page may (Fetch, "forbidden request-header").
const NOT_FOR_PAGES: [&str; 6] = ["cookie", "host", "origin", "referer", "content-length", "connection"];

pub(super) fn read(node: &Node, report: &mut Report) -> Option<CorsRules> {
    let mut rules = CorsRules::default();
    let mut section = Section::open(node, "surfaces.NAME.cors", report)?;
    section.read("origins", &mut rules.origins, origins);
    section.read("credentials", &mut rules.credentials, value::boolean);
    section.read("max_age", &mut rules.max_age, value::duration(MAX_AGE));
    section.read("methods", &mut rules.methods, value::list(method));
    let mut headers = Vec::new();
    section.read("headers", &mut headers, value::list(header_or_any));
    section.read("expose", &mut rules.expose, value::list(header));
    section.read("private_network", &mut rules.private_network, value::boolean);
    section.require("origins", "list the pages that may call, such as `https://shop.example`");
    section.close(&[]);
    rules.any_header = headers.contains(&None);
    rules.headers = headers.into_iter().flatten().collect();
    match cors::check(&rules) {
        // That there is no origin has been said already.
        Err(error) if !rules.origins.is_empty() => value::refuse(node, report, error.to_string()),
        _ => Some(rules),
    }
}

fn origins(node: &Node, report: &mut Report) -> Option<Vec<Origin>> {
    match &node.value {
        Value::List(items) if items.is_empty() => {
            value::refuse(node, report, "expected at least one origin, found none")
        }
        _ => value::list(origin)(node, report),
    }
}

fn origin(node: &Node, report: &mut Report) -> Option<Origin> {
    let text = value::text(node, report)?;
    match Origin::parse(&text) {
        Ok(origin) => Some(origin),
        Err(error) => value::refuse(node, report, format!("`{text}`: {error}")),
    }
}

fn method(node: &Node, report: &mut Report) -> Option<Method> {
    let text = value::text(node, report)?;
    let is_upper_case = !text.bytes().any(|byte| byte.is_ascii_lowercase());
    match Method::from_bytes(text.as_bytes()) {
        Ok(method) if is_upper_case => Some(method),
        _ => value::refuse(node, report, format!("`{text}` is not an HTTP method in upper case")),
    }
}

/// `None` for `*`.
fn header_or_any(node: &Node, report: &mut Report) -> Option<Option<HeaderName>> {
    match &node.value {
        Value::Text(text) if text == "*" => Some(None),
        _ => {
            let name = header(node, report)?;
            if NOT_FOR_PAGES.contains(&name.as_str()) {
                return value::refuse(node, report, format!("`{name}` is not a page's to send"));
            }
            Some(Some(name))
        }
    }
}

fn header(node: &Node, report: &mut Report) -> Option<HeaderName> {
    let text = value::text(node, report)?;
    match HeaderName::try_from(&text) {
        Ok(name) if text != "*" => Some(name),
        _ => value::refuse(node, report, format!("`{text}` is not a header name")),
    }
}
