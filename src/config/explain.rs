//! What the file says of a rule, key by key, and where: the words behind `config::effective`.
//!
//! The file is read once more as a tree, so that any key is shown as the operator wrote it, with the line that
//! says it, and no section has to know how to print itself.

use super::finding::Position;
use super::policies::ADDED;
use super::yaml::{self, Node, Value};

/// One key that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub key: String,
    /// In YAML's flow style, on one line.
    pub value: String,
    pub position: Position,
    /// The policy that says it; `None`: the rule or the surface itself.
    pub policy: Option<String>,
}

/// The key that a surface itself may say, for where neither rule nor policy does.
const FIELDS: &str = "fields";

/// The keys that keep a service and its callers from harm.
const PROTECTING: [&str; 6] = ["breaker", "endpoint_breaker", "outlier", "health", "retry", "shed"];

/// What protects a service, in the order of the file.
///
/// `text` is a file that [`Config::parse`](super::Config::parse) has accepted.
pub fn protecting(text: &str, service: &str) -> Vec<Said> {
    let Ok(root) = yaml::parse(text) else { return Vec::new() };
    let service = root.get("services").and_then(|services| services.get(service));
    let said = service.into_iter().flat_map(|service| entries(service, None));
    said.filter(|said| PROTECTING.contains(&said.key.as_str())).collect()
}

/// What holds under a rule of a surface, or without one: the rule's own keys first, then those of the policies.
///
/// `text` is a file that [`Config::parse`](super::Config::parse) has accepted.
pub fn said(text: &str, surface: &str, rule_index: Option<usize>) -> Vec<Said> {
    let Ok(root) = yaml::parse(text) else { return Vec::new() };
    let Some(surface) = root.get("surfaces").and_then(|surfaces| surfaces.get(surface)) else {
        return Vec::new();
    };
    let rule = rule_index.and_then(|index| surface.get("rules")?.items().get(index));
    let own: Vec<Said> = rule.map_or_else(Vec::new, |rule| entries(rule, None).collect());
    let policies = rule.and_then(|rule| rule.get("policies")).or_else(|| surface.get("policies"));
    let names = policies.map_or(&[][..], Node::items).iter().filter_map(Node::text);
    let mut bundled: Vec<Said> = Vec::new();
    for name in names {
        let Some(policy) = root.get("policies").and_then(|policies| policies.get(name)) else { continue };
        for said in entries(policy, Some(name)).filter(|said| own.iter().all(|own| !own.replaces(said))) {
            if !ADDED.contains(&said.key.as_str()) {
                bundled.retain(|earlier| !said.replaces(earlier));
            }
            bundled.push(said);
        }
    }
    let is_said = own.iter().chain(&bundled).any(|said| said.key == FIELDS);
    bundled.extend(entries(surface, None).filter(|said| said.key == FIELDS && !is_said));
    bundled.sort_by(|left, right| left.key.cmp(&right.key));
    own.into_iter().chain(bundled).collect()
}

impl Said {
    /// Whether it takes the place of what `other` says: `allow` is two keys in one, a condition and lists.
    fn replaces(&self, other: &Self) -> bool {
        let is_lists = |said: &Self| said.value.starts_with('{');
        self.key == other.key && (self.key != "allow" || is_lists(self) == is_lists(other))
    }
}

fn entries<'n>(node: &'n Node, policy: Option<&'n str>) -> impl Iterator<Item = Said> {
    let entries = match &node.value {
        Value::Map(entries) => entries.as_slice(),
        _ => &[],
    };
    entries.iter().map(move |(key, value)| Said {
        key: key.name.clone(),
        value: flow(value),
        position: key.position,
        policy: policy.map(str::to_owned),
    })
}

impl Node {
    fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// YAML's flow style.
fn flow(node: &Node) -> String {
    match &node.value {
        Value::Null | Value::Unwritten => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Text(text) => plain(text),
        Value::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Map(entries) => {
            let entry = |(key, value): &(yaml::Key, Node)| format!("{}: {}", plain(&key.name), flow(value));
            format!("{{ {} }}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Without quotes where none are needed.
fn plain(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./*%@+".contains(&byte);
    let inner = |byte: u8| is_plain(byte) || byte == b':' || byte == b' ';
    let is_safe = text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'/')
        && text.bytes().next_back().is_some_and(is_plain)
        && text.bytes().all(inner)
        && !text.contains(": ");
    if is_safe || text.bytes().all(|byte| is_plain(byte) && byte != b'*' && byte != b'@' && byte != b'%') {
        text.to_owned()
    } else {
        format!("{text:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
policies:
  edge: { auth: corp, deny: { cidr: file:deny.txt } }
  brief: { fields: [-a.b, -c] }
  strict:
    auth: { any: [partner, corp] }
    deny: { cidr: [10.0.0.0/8] }
surfaces:
  web:
    policies: [edge, strict]
    fields: -d
    rules:
      - { match: a.B.*, timeout: 2s }
      - { match: a.C.*, auth: none, policies: [edge] }
      - { match: a.D.*, fields: e, policies: [brief] }
      - { match: a.E.*, policies: [brief] }
";

    #[test]
    fn what_holds_is_shown_with_its_line() {
        let check = |rule: usize, expected: &[(&str, &str, u32, &str)]| {
            let said = said(FILE, "web", Some(rule));
            let shown: Vec<_> = said
                .iter()
                .map(|one| {
                    let policy = one.policy.as_deref().unwrap_or_default();
                    (one.key.as_str(), one.value.as_str(), one.position.line, policy)
                })
                .collect();
            assert_eq!(shown, expected);
        };
        check(
            0,
            &[
                ("match", "a.B.*", 13, ""),
                ("timeout", "2s", 13, ""),
                ("auth", "{ any: [partner, corp] }", 6, "strict"),
                ("deny", "{ cidr: file:deny.txt }", 3, "edge"),
                ("deny", "{ cidr: [10.0.0.0/8] }", 7, "strict"),
                ("fields", "-d", 11, ""),
            ],
        );
        check(
            1,
            &[
                ("match", "a.C.*", 14, ""),
                ("auth", "none", 14, ""),
                ("policies", "[edge]", 14, ""),
                ("deny", "{ cidr: file:deny.txt }", 3, "edge"),
                ("fields", "-d", 11, ""),
            ],
        );
        check(2, &[("match", "a.D.*", 15, ""), ("fields", "e", 15, ""), ("policies", "[brief]", 15, "")]);
        check(
            3,
            &[
                ("match", "a.E.*", 16, ""),
                ("policies", "[brief]", 16, ""),
                ("fields", "[-a.b, -c]", 4, "brief"),
            ],
        );
        assert_eq!(said(FILE, "none", None), []);
    }

    #[test]
    fn text_is_quoted_where_it_must_be() {
        let check = |text: &str, expected: &str| assert_eq!(plain(text), expected);
        check("a b", "a b");
        check("a: b", "\"a: b\"");
        check("'x' in y", "\"'x' in y\"");
        check("*", "\"*\"");
        check("file:a.txt", "file:a.txt");
        check("10.0.0.0/8", "10.0.0.0/8");
        check("", "");
    }
}
