//! Every name that can be defined once only, and the resolution of type names.
//!
//! Fields, oneofs, methods and the values of nested enums live in the scope of one message or service,
//! where they are compared among themselves; this table holds what any file could define again.

use std::collections::HashMap;

use super::error::{Problem, Problems};
use super::raw::{self, DescriptorProto, EnumDescriptorProto, FileDescriptorProto};
use super::read::File;

/// The definitions of a joined set by full name.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    by_name: HashMap<Box<str>, Symbol>,
    /// Extension ranges by the full name of the message, `end` exclusive.
    extension_ranges: HashMap<Box<str>, Vec<(i32, i32)>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Symbol {
    pub kind: Kind,
    /// Position of the defining file.
    pub file: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Package,
    Message,
    MapEntry,
    Enum,
    Service,
    EnumValue,
    Extension,
}

impl Kind {
    pub(super) const fn noun(self) -> &'static str {
        match self {
            Self::Package => "a package",
            Self::Message => "a message",
            Self::MapEntry => "a map entry",
            Self::Enum => "an enum",
            Self::Service => "a service",
            Self::EnumValue => "an enum value",
            Self::Extension => "an extension",
        }
    }

    const fn is_type(self) -> bool {
        matches!(self, Self::Message | Self::MapEntry | Self::Enum)
    }
}

impl Symbols {
    pub(super) fn collect(files: &[File], problems: &mut Problems) -> Self {
        let mut symbols = Self::default();
        for (file, place) in files.iter().zip(0..) {
            let mut collector = Collector { symbols: &mut symbols, problems, files, file: place };
            collector.file(&file.proto);
        }
        symbols
    }

    pub(super) fn get(&self, full_name: &str) -> Option<Symbol> {
        self.by_name.get(full_name).copied()
    }

    /// Whether `message` leaves `number` to extensions.
    pub(super) fn is_extensible(&self, message: &str, number: i32) -> bool {
        let ranges = self.extension_ranges.get(message);
        ranges.is_some_and(|ranges| ranges.iter().any(|&(start, end)| start <= number && number < end))
    }

    /// The full name that `name` means when it is used in `scope`.
    ///
    /// As protoc: a leading dot makes it absolute; otherwise the innermost scope is tried first, and a
    /// scope that holds the first part of a dotted name settles where the rest is looked for. Names of
    /// packages settle nothing, for any file may add to a package.
    pub(super) fn resolve(&self, scope: &str, name: &str) -> Option<(String, Symbol)> {
        if let Some(absolute) = name.strip_prefix('.') {
            return Some((absolute.to_owned(), self.get(absolute)?));
        }
        let first = name.split('.').next().unwrap_or(name);
        let mut scope = Some(scope);
        while let Some(outer) = scope {
            let joined =
                |name: &str| if outer.is_empty() { name.to_owned() } else { format!("{outer}.{name}") };
            let candidate = joined(name);
            match self.get(&candidate) {
                Some(symbol) if symbol.kind.is_type() || first.len() < name.len() => {
                    return Some((candidate, symbol));
                }
                _ => {}
            }
            let is_dotted = first.len() < name.len();
            if is_dotted && self.get(&joined(first)).is_some_and(|symbol| symbol.kind.is_type()) {
                return None;
            }
            scope = match outer.rfind('.') {
                Some(dot) => Some(&outer[..dot]),
                None if outer.is_empty() => None,
                None => Some(""),
            };
        }
        None
    }
}

struct Collector<'a> {
    symbols: &'a mut Symbols,
    problems: &'a mut Problems,
    files: &'a [File],
    file: usize,
}

impl Collector<'_> {
    fn file(&mut self, file: &FileDescriptorProto) {
        let package = file.package();
        for (dot, _) in package.match_indices('.') {
            self.define(&package[..dot], Kind::Package);
        }
        if !package.is_empty() {
            self.define(package, Kind::Package);
        }
        for message in &file.message_type {
            self.message(package, message);
        }
        for enumeration in &file.enum_type {
            self.enumeration(package, enumeration);
            // Values live in the scope around their enum.
            for value in &enumeration.value {
                self.define(&join(package, value.name()), Kind::EnumValue);
            }
        }
        for service in &file.service {
            self.define(&join(package, service.name()), Kind::Service);
        }
        for extension in &file.extension {
            self.define(&join(package, extension.name()), Kind::Extension);
        }
    }

    fn message(&mut self, scope: &str, message: &DescriptorProto) {
        let full_name = join(scope, message.name());
        let options: raw::MessageOptions = raw::known_options(message.options.as_ref());
        let kind = if options.map_entry() { Kind::MapEntry } else { Kind::Message };
        self.define(&full_name, kind);
        for nested in &message.nested_type {
            self.message(&full_name, nested);
        }
        for enumeration in &message.enum_type {
            self.enumeration(&full_name, enumeration);
        }
        if !message.extension_range.is_empty() {
            let ranges = message.extension_range.iter().map(|range| (range.start(), range.end())).collect();
            self.symbols.extension_ranges.insert(full_name.into(), ranges);
        }
    }

    fn enumeration(&mut self, scope: &str, enumeration: &EnumDescriptorProto) {
        self.define(&join(scope, enumeration.name()), Kind::Enum);
    }

    fn define(&mut self, full_name: &str, kind: Kind) {
        if full_name.is_empty() || full_name.ends_with('.') {
            return; // The missing name is reported where the declaration is checked.
        }
        match self.symbols.by_name.get(full_name) {
            None => {
                let symbol = Symbol { kind, file: self.file };
                self.symbols.by_name.insert(full_name.into(), symbol);
            }
            Some(Symbol { kind: Kind::Package, .. }) if kind == Kind::Package => {}
            Some(&Symbol { file, .. }) => {
                let other = self.files[file].name().to_owned();
                self.problems.add(self.files[self.file].name(), full_name, Problem::Duplicate(other));
            }
        }
    }
}

/// `scope.name`, or `name` alone at the top.
pub(super) fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}
