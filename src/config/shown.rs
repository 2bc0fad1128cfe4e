//! The configuration as operators may read it: every key with its value or its default, no secret.
//!
//! Structure and defaults come from where the schema for editors has them: the readers draw the one, and
//! `docs/configuration.md`, which the tests hold true, has the other. References such as `env:NAME` are shown,
//! what they lead to is not here to begin with; what looks like a secret all the same is `***`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map as Object, Value as Json, json};

use super::endpoints::{Endpoint, Endpoints};
use super::finding::{Position, Report};
use super::schema::{Documented, documented};
use super::shape::{Map, Shape};
use super::yaml::{Key, Node, Value};
use super::{Config, Elsewhere};

/// The file as it was written. Two configurations are equal by what they say, not by how.
#[derive(Clone, Default)]
pub struct Written(Option<Arc<Node>>);

impl Written {
    pub(super) fn new(root: Node) -> Self {
        Self(Some(Arc::new(root)))
    }
}

impl PartialEq for Written {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Config {
    /// Where the value stands that these keys lead to, or the first item of a list there; `None` where flags say
    /// it instead of the file.
    pub fn position(&self, keys: &[&str]) -> Option<Position> {
        let root: &Node = self.written.0.as_ref()?;
        let node = keys.iter().try_fold(root, |node, key| node.get(key))?;
        match &node.value {
            Value::List(items) => Some(items.first().unwrap_or(node).position),
            _ => Some(node.position),
        }
    }

    /// As [`position`](Self::position), or where what is nearest above stands; `None` without a file.
    pub fn place(&self, keys: &[&str]) -> Option<Position> {
        (0..=keys.len()).rev().find_map(|end| self.position(keys.get(..end)?))
    }

    /// What holds, as JSON.
    pub fn shown(&self) -> Json {
        let mut report = Report::new(Path::new(""));
        let drawn = report.drawn(|_, report| {
            drop(Self::read(&Node::unwritten(), Elsewhere::default(), report));
        });
        let root = self.with_listeners();
        let mut shown = value("", Some(&root), &drawn, &documented()).unwrap_or(Json::Null);
        // What flags may have said instead of the file.
        for public in self.listeners.publics() {
            shown["listeners"][&*public.name]["bind"] = json!(public.bind.to_string());
        }
        shown["listeners"]["admin"]["bind"] = json!(self.listeners.admin.bind.to_string());
        if let Some(workers) = self.workers {
            shown["workers"] = json!(workers);
        }
        for service in &self.services {
            let Endpoints::Static(endpoints) = &service.endpoints else { continue };
            shown["services"][&service.name]["endpoints"]["static"] =
                endpoints.iter().map(Endpoint::shown).collect();
        }
        shown
    }

    /// The file's tree with the listeners that are there without being written.
    fn with_listeners(&self) -> Node {
        let position = Position { line: 0, column: 0 };
        let key = |name: &str| Key { position, name: name.to_owned() };
        let node = |value| Node { position, value };
        let mut sections = match self.written.0.as_deref().map(|root| &root.value) {
            Some(Value::Map(sections)) => sections.clone(),
            _ => Vec::new(),
        };
        let written = sections.iter().position(|(key, _)| key.name == "listeners");
        let mut listeners = match written.map(|index| sections.swap_remove(index).1.value) {
            Some(Value::Map(listeners)) => listeners,
            _ => Vec::new(),
        };
        for name in self.listeners.publics().map(|public| &*public.name).chain(["admin"]) {
            if listeners.iter().all(|(key, _)| key.name != name) {
                listeners.push((key(name), node(Value::Null)));
            }
        }
        sections.push((key("listeners"), node(Value::Map(listeners))));
        node(Value::Map(sections))
    }

    /// A digest for each part of the file that has a name, for telling two files apart without their text.
    pub fn digests(&self) -> BTreeMap<String, String> {
        let mut digests = BTreeMap::new();
        let Some(Value::Map(sections)) = self.written.0.as_deref().map(|root| &root.value) else {
            return digests;
        };
        for (Key { name: section, .. }, node) in sections {
            match &node.value {
                Value::Map(entries) if NAMED.contains(&section.as_str()) => {
                    for (Key { name, .. }, node) in entries {
                        digests.insert(format!("{section}.{name}"), hash(node));
                        for key in keys(node) {
                            let digest = hash(key);
                            digests.insert(format!("{section}.{name}.keys.{}", &digest[..12]), digest);
                        }
                    }
                }
                _ => drop(digests.insert(section.clone(), hash(node))),
            }
        }
        digests
    }
}

/// Sections whose entries have names.
const NAMED: [&str; 8] =
    ["listeners", "services", "stores", "auth", "plans", "consumers", "policies", "surfaces"];

/// The keys of a consumer, one by one: which was added and which removed is what an audit asks.
fn keys(consumer: &Node) -> &[Node] {
    let Value::Map(entries) = &consumer.value else { return &[] };
    let keys = entries.iter().find(|(key, _)| key.name == "keys");
    match keys.map(|(_, node)| &node.value) {
        Some(Value::List(keys)) => keys,
        _ => &[],
    }
}

/// Of a 128-bit half of the SHA-256 of the value, in hexadecimal.
fn hash(node: &Node) -> String {
    let text = plain("", node, |_, text| text.to_owned()).to_string();
    digest(&SHA256, text.as_bytes()).as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// A value where one is written, else its default; `None` where there is neither.
fn value(key: &str, node: Option<&Node>, shapes: &[Shape], documented: &Documented) -> Option<Json> {
    let map = shapes.iter().find_map(|shape| match shape {
        Shape::Map(map) => Some(map),
        _ => None,
    });
    let items = shapes.iter().find_map(|shape| match shape {
        Shape::List(items) => Some(items),
        _ => None,
    });
    match (node.map(|node| &node.value), map, items) {
        (Some(Value::Map(entries)), Some(map), _) => Some(mapping(entries, map, documented)),
        (Some(Value::Null), Some(map), _) => Some(mapping(&[], map, documented)),
        (None, Some(map), _) if has_defaults(map) => Some(mapping(&[], map, documented)),
        (Some(Value::List(nodes)), _, Some(shapes)) => {
            nodes.iter().map(|node| value(key, Some(node), shapes, documented)).collect()
        }
        _ => node.map(|node| plain(key, node, masked)),
    }
}

/// Whether a mapping that is absent holds all the same: not one of names, nor one that must say something.
fn has_defaults(map: &Map) -> bool {
    map.named.is_none() && map.keys.iter().all(|key| !key.is_required)
}

fn mapping(entries: &[(Key, Node)], map: &Map, documented: &Documented) -> Json {
    let mut object = Object::new();
    for key in &map.keys {
        let written = entries.iter().find(|(entry, _)| entry.name == key.name).map(|(_, node)| node);
        let path = if map.path.is_empty() { key.name.clone() } else { format!("{}.{}", map.path, key.name) };
        let default = || documented.get(path.as_str()).and_then(|(default, _)| literal(default));
        // An absent key that begins something optional, such as `usage`, stays absent.
        let is_optional = documented.get(path.as_str()).is_some_and(|(default, _)| *default == "none");
        let shown = match written {
            None if is_optional => None,
            written => value(&key.name, written, &key.shapes, documented),
        };
        if let Some(shown) = shown.or_else(default) {
            object.insert(key.name.clone(), shown);
        }
    }
    let own = entries.iter().filter(|(entry, _)| map.keys.iter().all(|key| key.name != entry.name));
    for (entry, node) in own {
        let shapes = map.named.as_deref().unwrap_or_default();
        if let Some(shown) = value(&entry.name, Some(node), shapes, documented) {
            object.insert(entry.name.clone(), shown);
        }
    }
    Json::Object(object)
}

/// A default as the documentation writes it: `` `30s` ``.
fn literal(default: &str) -> Option<Json> {
    let text = default.strip_prefix('`')?.strip_suffix('`')?;
    Some(plain("", &super::yaml::parse(text).ok()?, masked))
}

/// A value as it is written, its texts through `show`.
fn plain(key: &str, node: &Node, show: fn(&str, &str) -> String) -> Json {
    match &node.value {
        Value::Null | Value::Unwritten => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Integer(number) => i64::try_from(*number).map_or(Json::Null, Json::from),
        Value::Float(number) => json!(number),
        Value::Text(text) => json!(show(key, text)),
        Value::List(items) => items.iter().map(|item| plain(key, item, show)).collect(),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(key, node)| (key.name.clone(), plain(&key.name, node, show)));
            Json::Object(entries.collect())
        }
    }
}

/// Keys whose values are secrets, if they are not references.
const SECRETS: [&str; 7] = ["secret", "password", "token", "pepper", "private_key", "credential", "hmac"];

/// Text without what is secret in it.
fn masked(key: &str, text: &str) -> String {
    const MASK: &str = "***";
    if text.starts_with("env:") || text.starts_with("file:") {
        return text.to_owned();
    }
    if SECRETS.iter().any(|secret| key == *secret || key.ends_with(&format!("_{secret}")))
        || text.starts_with("transom_")
        || text.contains("-----BEGIN")
    {
        return MASK.to_owned();
    }
    if let Some((algorithm, _)) = text.split_once(':').filter(|(name, _)| *name == "sha256") {
        return format!("{algorithm}:{MASK}");
    }
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?***"));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{MASK}@{host}{path}{query}"),
        None => format!("{scheme}://{rest}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let elsewhere = Elsewhere { descriptors: true, services: true, ..Elsewhere::default() };
        Config::parse(&format!("version: 1\n{text}"), Path::new("t.yaml"), elsewhere).expect("a good file")
    }

    #[test]
    fn values_and_defaults_are_shown() {
        let shown = config(
            "json: { names: proto }\nservices: { api: { endpoints: { static: [\"http://b:1\"] }, timeout: 2s } }\n\
             observe: { usage: { file: u, mode: rollup } }",
        )
        .shown();
        let check = |pointer: &str, expected: Json| {
            assert_eq!(shown.pointer(pointer), Some(&expected), "{pointer} in {shown:#}");
        };
        check("/json/names", json!("proto"));
        check("/json/enums", json!("name"));
        check("/services/api/timeout", json!("2s"));
        check("/services/api/connect_timeout", json!("5s"));
        check("/services/api/endpoints/static", json!(["http://b:1/"]));
        check("/listeners/public/bind", json!("127.0.0.1:8080"));
        check("/listeners/public/limits/headers", json!("32KiB"));
        check("/observe/usage/mode", json!("rollup"));
        check("/observe/usage/spool_bytes", json!("256MiB"));
        assert_eq!(shown.pointer("/observe/audit"), None);
        assert_eq!(config("").shown().pointer("/observe/usage"), None);
        let without_file = Config::default().shown();
        assert_eq!(without_file.pointer("/listeners/admin/bind"), Some(&json!("127.0.0.1:9901")));
    }

    #[test]
    fn secrets_are_masked() {
        let check =
            |key: &str, text: &str, expected: &str| assert_eq!(masked(key, text), expected, "{key}: {text}");
        check("token", "env:TOKEN", "env:TOKEN");
        check("key", "file:/etc/tls.key", "file:/etc/tls.key");
        check("token", "hunter2", "***");
        check("client_secret", "hunter2", "***");
        check("keys", "sha256:9f86d081884c7d65", "sha256:***");
        check("keys", "transom_1_2_3", "***");
        check("key", "-----BEGIN PRIVATE KEY-----", "***");
        check("redis", "rediss://user:hunter2@valkey:6379/0", "rediss://***@valkey:6379/0");
        check("http", "https://a/b?key=hunter2", "https://a/b?***");
        check("http", "https://a/b@c", "https://a/b@c");
        check("bind", "127.0.0.1:8080", "127.0.0.1:8080");
        check("token_type", "bearer", "bearer");
    }

    #[test]
    fn digests_change_with_what_they_are_of() {
        let before = config("json: { names: proto }\nlisteners: { public: {}, admin: {} }").digests();
        let names: Vec<_> = before.keys().map(String::as_str).collect();
        assert_eq!(names, ["json", "listeners.admin", "listeners.public", "version"]);
        let after = config("json: { names: json }\nlisteners: { admin: {}, public: {} }").digests();
        let changed: Vec<_> = before.keys().filter(|name| before.get(*name) != after.get(*name)).collect();
        assert_eq!(changed, ["json"]);
        let node =
            super::super::yaml::parse("{ plan: pro, keys: [\"sha256:a\", \"sha256:b\"] }").expect("YAML");
        assert_eq!(keys(&node).len(), 2);
        assert_ne!(hash(&keys(&node)[0]), hash(&keys(&node)[1]), "masked ones would be the same");
    }
}
