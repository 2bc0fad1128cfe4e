//! Reading one mapping: each key once, by the section that owns it, and no key left over.

use std::borrow::Cow;

use super::finding::Report;
use super::shape::{self, Map, NAME, Shape};
use super::yaml::{Key, Node, Value};
use crate::policy::nearest::nearest;

/// A mapping that is being read. [`Section::close`] reports what nobody asked for.
pub(super) struct Section<'a> {
    /// The path of the mapping in the file; empty for the whole file.
    path: Cow<'static, str>,
    node: &'a Node,
    entries: &'a [(Key, Node)],
    known: Vec<&'static str>,
    /// Drawn instead of read.
    map: Option<Map>,
    report: &'a mut Report,
}

impl<'a> Section<'a> {
    /// Opens a mapping; anything else is a finding. An empty value is an empty mapping.
    pub(super) fn open(
        node: &'a Node,
        path: impl Into<Cow<'static, str>>,
        report: &'a mut Report,
    ) -> Option<Self> {
        let path = path.into();
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null | Value::Unwritten => &[],
            other => {
                let what = if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") };
                report.add(node.position, format!("{what}: expected a mapping, found {}", other.kind()));
                return None;
            }
        };
        for (index, (key, _)) in entries.iter().enumerate() {
            if let Some((first, _)) = entries[..index].iter().find(|(other, _)| other.name == key.name) {
                let line = first.position.line;
                report.add(key.position, format!("`{}` is given twice, first on line {line}", key.name));
            }
        }
        let is_drawn = matches!(node.value, Value::Unwritten);
        let map = is_drawn.then(|| Map { path: path.to_string(), ..Map::default() });
        Some(Self { path, node, entries, known: Vec::new(), map, report })
    }

    /// Reads `key` into `slot`; the default stays where the key is absent or its value is refused.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        slot: &mut T,
        reader: impl FnOnce(&Node, &mut Report) -> Option<T>,
    ) {
        self.known.push(key);
        if let Some(map) = &mut self.map {
            let shapes = self.report.drawn(|node, report| drop(reader(node, report)));
            map.keys.push(shape::Key { name: key.to_owned(), shapes, is_required: false });
            return;
        }
        if let Some((_, node)) = self.entries.iter().find(|(candidate, _)| candidate.name == key)
            && let Some(value) = reader(node, self.report)
        {
            *slot = value;
        }
    }

    /// Whether the file names `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(candidate, _)| candidate.name == key)
    }

    /// Makes the absence of `key` a finding that says what to write.
    pub(super) fn require(&mut self, key: &str, advice: &str) {
        if let Some(map) = &mut self.map {
            map.keys.iter_mut().filter(|drawn| drawn.name == key).for_each(|drawn| drawn.is_required = true);
            return;
        }
        if !self.has(key) {
            self.report.add(self.node.position, format!("`{}` is missing: {advice}", self.name(key)));
        }
    }

    /// Makes the presence of `key` a finding that says why it has no effect here.
    pub(super) fn forbid(&mut self, key: &str, reason: &str) {
        if let Some((found, _)) = self.entries.iter().find(|(candidate, _)| candidate.name == key) {
            self.report.add(found.position, format!("`{}`: {reason}", self.name(key)));
        }
    }

    /// Adds a finding about the mapping as a whole.
    pub(super) fn refuse(&mut self, message: &str) {
        self.report.add(self.node.position, format!("`{}`: {message}", self.path));
    }

    /// Gives every key that was not read to `reader`, in the order of the file: names of the operator's choice.
    pub(super) fn read_named(self, mut reader: impl FnMut(&Key, &Node, &mut Report)) {
        if let Some(mut map) = self.map {
            let key = Key { position: self.node.position, name: NAME.to_owned() };
            map.named = Some(self.report.drawn(|node, report| reader(&key, node, report)));
            return self.report.draw(Shape::Map(map));
        }
        for (key, node) in self.entries.iter().filter(|(key, _)| !self.known.contains(&key.name.as_str())) {
            reader(key, node, self.report);
        }
    }

    /// Reports every key that was not read: those of `later` by name, others with the nearest name.
    pub(super) fn close(mut self, later: &[&str]) {
        if let Some(map) = self.map.take() {
            return self.report.draw(Shape::Map(map));
        }
        for (key, _) in self.entries {
            let name = key.name.as_str();
            if self.known.contains(&name) {
                continue;
            }
            let shown = self.name(name);
            let message = if later.contains(&name) {
                format!("`{shown}` is not served by this version")
            } else if let Some(near) = nearest(name, &self.known) {
                format!("unknown key `{shown}`: did you mean `{near}`?")
            } else {
                format!("unknown key `{shown}`: expected {}", listed(&self.known))
            };
            self.report.add(key.position, message);
        }
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// `a`, `b` or `c`, as a message lists what it expected.
pub(super) fn listed(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}
