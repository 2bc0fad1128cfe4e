//! `deny` and `allow` of policies and rules: who may come in; and `geo`, the files that know who is where.
//!
//! ```yaml
//! geo: { file: country.mmdb, asn_file: asn.mmdb }
//! policies:
//!   edge:
//!     deny: { cidr: file:deny.txt, countries: [KP], unknown: allow, headers: { user-agent: "*bot*" } }
//!     allow: { cidr: [10.0.0.0/8, "fd00::/8"], methods: [GET] }
//! ```
//!
//! A list of places must say what becomes of addresses of which no file knows the place: neither answer is
//! right for everybody, and a silent one is wrong for most.

use std::path::PathBuf;

use http::{HeaderName, Method};
use ipnet::IpNet;

use super::Config;
use super::finding::{Position, Report};
use super::section::Section;
use super::value;
use super::yaml::{Node, Value};
use crate::policy::geo::Country;
use crate::policy::glob::Glob;

/// One `deny` or `allow`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessList {
    pub position: Position,
    pub cidr: Option<Cidr>,
    /// Countries by their two letters.
    pub countries: Vec<Country>,
    /// Numbers of autonomous systems.
    pub asn: Vec<u32>,
    /// What becomes of an address of unknown place; said where `countries` or `asn` is.
    pub unknown: Option<Unknown>,
    /// HTTP methods.
    pub methods: Vec<Method>,
    /// Globs by header.
    pub headers: Vec<(HeaderName, Vec<String>)>,
}

/// Networks, here or in a file of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cidr {
    Inline(Vec<IpNet>),
    /// One network a line, read again when it changes.
    File {
        path: PathBuf,
        position: Position,
    },
}

/// What becomes of an address of which no file knows the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unknown {
    Allow,
    Deny,
}

/// The files that know where addresses are, in MaxMind's format; each is read again when it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Geo {
    /// Countries.
    pub file: Option<GeoFile>,
    /// Autonomous systems.
    pub asn_file: Option<GeoFile>,
}

/// A file, and where it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeoFile {
    pub path: PathBuf,
    pub position: Position,
}

/// Entries of a list that is not a file.
const ENTRIES_MAX: usize = 10_000;

impl AccessList {
    pub(super) fn read(side: &'static str, node: &Node, report: &mut Report) -> Option<Self> {
        let mut list = Self { position: node.position, ..Self::default() };
        let mut section = Section::open(node, format!("policies.NAME.{side}"), report)?;
        section.read("cidr", &mut list.cidr, |node, report| cidr(node, report).map(Some));
        section.read("countries", &mut list.countries, entries(country, "country"));
        section.read("asn", &mut list.asn, entries(system, "number"));
        section.read("unknown", &mut list.unknown, |node, report| {
            value::choice(&[("allow", Unknown::Allow), ("deny", Unknown::Deny)])(node, report).map(Some)
        });
        section.read("methods", &mut list.methods, entries(method, "method"));
        section.read("headers", &mut list.headers, headers);
        let of_places = section.has("countries") || section.has("asn");
        if of_places {
            section.require("unknown", "say `allow` or `deny` of addresses of which no file knows the place");
        } else if section.has("unknown") {
            section.forbid("unknown", "without `countries` or `asn` nothing is unknown");
        }
        if !["cidr", "countries", "asn", "methods", "headers"].iter().any(|key| section.has(key)) {
            section.refuse("expected `cidr`, `countries`, `asn`, `methods` or `headers`");
        }
        section.close(&[]);
        Some(list)
    }
}

impl Geo {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut geo = Self::default();
        let file = |node: &Node, report: &mut Report| {
            value::path(node, report).map(|path| Some(GeoFile { path, position: node.position }))
        };
        let mut section = Section::open(node, "geo", report)?;
        section.read("file", &mut geo.file, file);
        section.read("asn_file", &mut geo.asn_file, file);
        section.close(&[]);
        Some(geo)
    }
}

/// Lists of places need the files that know them.
pub(super) fn check(config: &Config, report: &mut Report) {
    let of_policies = config.policies.iter().map(|policy| &policy.clauses);
    let rules = config.surfaces.iter().flat_map(|surface| &surface.rules);
    for clauses in of_policies.chain(rules.map(|rule| &rule.clauses)) {
        for list in [&clauses.deny, &clauses.allow].into_iter().flatten() {
            for (key, is_used, file, is_there) in [
                ("countries", !list.countries.is_empty(), "file", config.geo.file.is_some()),
                ("asn", !list.asn.is_empty(), "asn_file", config.geo.asn_file.is_some()),
            ] {
                if is_used && !is_there {
                    report.add(
                        list.position,
                        format!("`{key}` needs a file that knows them: name it in `geo.{file}`"),
                    );
                }
            }
        }
    }
}

/// `file:PATH`, one network, or a list of them.
fn cidr(node: &Node, report: &mut Report) -> Option<Cidr> {
    match &node.value {
        Value::Text(text) => match text.strip_prefix("file:") {
            Some("") => value::expected(node, report, "a path behind `file:`"),
            Some(path) => Some(Cidr::File { path: report.path(path), position: node.position }),
            None => Some(Cidr::Inline(vec![value::network(node, report)?])),
        },
        Value::List(_) => entries(value::network, "network")(node, report).map(Cidr::Inline),
        _ => value::expected(node, report, "`file:PATH` or a list of networks"),
    }
}

fn country(node: &Node, report: &mut Report) -> Option<Country> {
    let text = value::text(node, report)?;
    match Country::parse(&text) {
        Some(country) => Some(country),
        None => value::expected(node, report, "a country by its two capital letters, such as `DE`"),
    }
}

/// `64500` or `AS64500`.
fn system(node: &Node, report: &mut Report) -> Option<u32> {
    let number = match &node.value {
        Value::Integer(number) => u32::try_from(*number).ok(),
        Value::Text(text) => text.strip_prefix("AS").and_then(|number| number.parse().ok()),
        _ => None,
    };
    match number {
        Some(number) => Some(number),
        None => value::expected(node, report, "the number of an autonomous system, such as `64500`"),
    }
}

fn method(node: &Node, report: &mut Report) -> Option<Method> {
    let text = value::text(node, report)?;
    match Method::from_bytes(text.as_bytes()) {
        // RFC 9110, section 9.1: methods are case-sensitive, so `get` would never match.
        Ok(method) if !text.bytes().any(|byte| byte.is_ascii_lowercase()) => Some(method),
        _ => value::expected(node, report, "an HTTP method such as `GET`"),
    }
}

/// A mapping of header names to a glob, or to a list of them.
fn headers(node: &Node, report: &mut Report) -> Option<Vec<(HeaderName, Vec<String>)>> {
    let Value::Map(entries_of_headers) = &node.value else {
        return value::expected(node, report, "a mapping such as `user-agent: \"*bot*\"`");
    };
    if entries_of_headers.is_empty() {
        return value::refuse(node, report, "expected at least one header, found none");
    }
    let mut headers: Vec<(HeaderName, Vec<String>)> = Vec::new();
    for (key, node) in entries_of_headers {
        let globs = match &node.value {
            Value::List(_) => entries(glob, "glob")(node, report),
            _ => glob(node, report).map(|glob| vec![glob]),
        };
        match HeaderName::try_from(&key.name) {
            Ok(name) if headers.iter().any(|(other, _)| *other == name) => {
                report.add(key.position, format!("`{name}` is given twice"));
            }
            Ok(name) => headers.push((name, globs.unwrap_or_default())),
            Err(_) => report.add(key.position, format!("`{}` is not a header name", key.name)),
        }
    }
    Some(headers)
}

/// Any text; an empty one matches a header that is empty or not there.
fn glob(node: &Node, report: &mut Report) -> Option<String> {
    let Value::Text(text) = &node.value else {
        return value::expected(node, report, "a glob such as `\"*bot*\"`");
    };
    match Glob::parse(text) {
        Ok(_) => Some(text.clone()),
        Err(error) => value::refuse(node, report, error.to_string()),
    }
}

/// A list with at least one entry and not too many: an empty one is most likely a mistake, and would deny
/// nobody or everybody.
fn entries<T>(
    item: impl Fn(&Node, &mut Report) -> Option<T>,
    what: &'static str,
) -> impl Fn(&Node, &mut Report) -> Option<Vec<T>> {
    move |node, report| match &node.value {
        Value::List(items) if items.is_empty() => {
            value::refuse(node, report, format!("expected at least one {what}, found none"))
        }
        Value::List(items) if items.len() > ENTRIES_MAX => {
            value::refuse(node, report, format!("more than {ENTRIES_MAX} entries: use a file"))
        }
        _ => value::list(&item)(node, report),
    }
}
