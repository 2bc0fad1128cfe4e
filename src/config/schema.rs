//! The JSON Schema of the configuration file, for editors: `transom schema`.
//!
//! Its structure is drawn by the readers (`config::shape`), its descriptions and defaults are those of
//! `docs/configuration.md`, which the tests hold complete. Draft 2020-12.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map as Object, Value, json};

use super::finding::Report;
use super::shape::{Map, Shape};
use super::value::{show_bytes, show_duration};
use super::yaml::Node;
use super::{Config, Elsewhere};

const PAGE: &str = include_str!("../../docs/configuration.md");

/// Draws the schema of the whole file.
pub fn schema() -> Value {
    let mut report = Report::new(Path::new(""));
    let drawn =
        report.drawn(|_, report| drop(Config::read(&Node::unwritten(), Elsewhere::default(), report)));
    let documented = documented();
    let mut schema = any_of(&drawn, &documented);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Transom configuration");
    schema
}

/// `| `key` | default | meaning |` → default and meaning by key.
pub(super) fn documented() -> HashMap<&'static str, (&'static str, &'static str)> {
    let row = |line: &'static str| {
        let mut cells = line.strip_prefix("| `")?.strip_suffix(" |")?.splitn(3, " | ");
        let key = cells.next()?.strip_suffix('`')?;
        Some((key, (cells.next()?.trim(), cells.next()?.trim())))
    };
    PAGE.lines().filter_map(row).collect()
}

pub(super) type Documented = HashMap<&'static str, (&'static str, &'static str)>;

fn any_of(shapes: &[Shape], documented: &Documented) -> Value {
    match shapes {
        [one] => of(one, documented),
        several => json!({ "anyOf": several.iter().map(|shape| of(shape, documented)).collect::<Vec<_>>() }),
    }
}

fn of(shape: &Shape, documented: &Documented) -> Value {
    match shape {
        Shape::Map(map) => object(map, documented),
        Shape::List(items) => json!({ "type": "array", "items": any_of(items, documented) }),
        // YAML reads `yes` as text and `1.5` as a number: what is text for us may look like either.
        Shape::Text => json!({ "type": ["string", "number", "boolean"] }),
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Integer { least, most } => integer(*least, *most),
        Shape::Duration { least, most } => duration(*least, *most),
        Shape::Bytes { least, most } => bytes(*least, *most),
        Shape::Choice(words) => json!({ "enum": words }),
        Shape::Words(words) => json!({ "description": format!("Expected: {words}.") }),
    }
}

fn object(map: &Map, documented: &Documented) -> Value {
    let mut properties = Object::new();
    for key in &map.keys {
        let mut property = any_of(&key.shapes, documented);
        let path = if map.path.is_empty() { key.name.clone() } else { format!("{}.{}", map.path, key.name) };
        if let Some((default, meaning)) = documented.get(documented_as(&path, documented).as_str()) {
            property["description"] = json!(description(default, meaning));
        }
        properties.insert(key.name.clone(), property);
    }
    let required: Vec<_> = map.keys.iter().filter(|key| key.is_required).map(|key| &key.name).collect();
    let rest = map.named.as_ref().map_or(json!(false), |named| any_of(named, documented));
    // An empty value is an empty mapping.
    let mut object = json!({ "type": ["object", "null"], "additionalProperties": rest });
    if !properties.is_empty() {
        object["properties"] = Value::Object(properties);
    }
    if !required.is_empty() {
        object["required"] = json!(required);
        object["type"] = json!("object");
    }
    object
}

/// The key of the page for a key that stands in several places: rules have the keys of policies, and `retry` as
/// services have it; `allow` has those of `deny`, and `revoked` the same for every kind of provider.
fn documented_as(path: &str, documented: &Documented) -> String {
    let mut path = path.to_owned();
    for (place, other) in [
        ("surfaces.NAME.rules[].retry.", "services.NAME.retry."),
        ("surfaces.NAME.rules[].", "policies.NAME."),
        ("policies.NAME.allow.", "policies.NAME.deny."),
        ("auth.NAME.api_key.revoked.", "auth.NAME.jwt.revoked."),
        ("auth.NAME.introspect.revoked.", "auth.NAME.jwt.revoked."),
        ("descriptors[].tls.", "services.NAME.tls."),
    ] {
        if let Some(key) = path.strip_prefix(place).filter(|_| !documented.contains_key(path.as_str())) {
            path = format!("{other}{key}");
        }
    }
    path
}

/// The cells of a row, as sentences: what it means, its bounds, its default.
fn description(default: &str, meaning: &str) -> String {
    let (meaning, bounds) = meaning.split_once('|').unwrap_or((meaning, ""));
    let default = if default == "required" { String::new() } else { format!("Default: {default}.") };
    let sentence = |text: &str| match text {
        "" => String::new(),
        text if text.ends_with(['.', '`']) => text.to_owned(),
        text => format!("{text}."),
    };
    let sentences = [meaning.trim().to_owned(), sentence(bounds.trim()), default];
    sentences.iter().filter(|text| !text.is_empty()).map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn integer(least: i128, most: i128) -> Value {
    // JSON numbers beyond 64 bits say nothing to an editor.
    let bound = |bound: i128| i64::try_from(bound).ok();
    json!({ "type": "integer", "minimum": bound(least), "maximum": bound(most).unwrap_or(i64::MAX) })
}

fn duration(least: Duration, most: Duration) -> Value {
    let words = format!("{} to {}", show_duration(least), show_duration(most));
    json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h)$", "description": words })
}

fn bytes(least: usize, most: usize) -> Value {
    json!({
        "anyOf": [
            { "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)$" },
            { "type": "integer", "minimum": least, "maximum": most },
        ],
        "description": format!("{} to {}", show_bytes(least), show_bytes(most)),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::shape::Key;

    /// The paths of all keys below some shapes.
    fn keys(shapes: &[Shape], found: &mut BTreeSet<String>) {
        for shape in shapes {
            match shape {
                Shape::List(items) => keys(items, found),
                Shape::Map(map) => {
                    keys(map.named.as_deref().unwrap_or_default(), found);
                    for Key { name, shapes, .. } in &map.keys {
                        let dot = if map.path.is_empty() { "" } else { "." };
                        found.insert(format!("{}{dot}{name}", map.path));
                        keys(shapes, found);
                    }
                }
                _ => {}
            }
        }
    }

    #[test]
    fn every_documented_key_is_drawn_and_every_drawn_key_documented() {
        let mut report = Report::new(Path::new(""));
        let drawn =
            report.drawn(|_, report| drop(Config::read(&Node::unwritten(), Elsewhere::default(), report)));
        let mut found = BTreeSet::new();
        keys(&drawn, &mut found);
        let documented = documented();
        let found: BTreeSet<_> = found.iter().map(|path| documented_as(path, &documented)).collect();
        assert_eq!(found, documented.into_keys().map(str::to_owned).collect());
    }

    #[test]
    fn the_schema_says_what_the_readers_do() {
        let schema = schema();
        let at = |pointer: &str| schema.pointer(pointer).unwrap_or(&Value::Null).clone();
        assert_eq!(at("/required"), json!(["version", "descriptors", "services"]));
        assert_eq!(at("/additionalProperties"), json!(false));
        let workers = at("/properties/workers");
        assert_eq!((&workers["minimum"], &workers["maximum"]), (&json!(1), &json!(1024)));
        assert!(
            workers["description"].as_str().is_some_and(|text| text.starts_with("Threads, ")),
            "{workers}"
        );
        assert_eq!(at("/properties/json/properties/names/enum"), json!(["json", "proto"]));
        let timeout = at("/properties/services/additionalProperties/properties/timeout");
        assert_eq!(timeout["pattern"], json!("^[0-9]+(ms|s|m|h)$"));
        let described = timeout["description"].as_str().unwrap_or_default();
        assert!(described.ends_with("may ask for less. 10ms to 24h. Default: `30s`."), "{described}");
    }
}
