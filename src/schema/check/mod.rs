//! Proves a joined set sound: every rule that protoc holds and that later steps rely on.
//!
//! Descriptors need not come from protoc, and a truncated or edited set can break any of its rules. On
//! the way type names become absolute, as protoc writes them. One file per kind of declaration.

mod enums;
mod field;
mod json_name;
mod map_entry;
mod message;
mod ranges;
mod service;

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;

use super::error::{Problem, Problems};
use super::imports::View;
use super::raw::{self, FileDescriptorProto};
use super::read::{File, decode_reason};
use super::symbols::{Kind, Symbols};

pub(super) use json_name::{Conflicts, settle as settle_json_names};

/// Messages may nest this deep: protoc's own limit (kMaxNesting in its parser).
pub(super) const NESTING_MAX: usize = 32;

/// Checks all files and makes their type names absolute.
pub(super) fn check(files: &mut [File], views: &[View], symbols: &Symbols, problems: &mut Problems) {
    let names: Vec<String> = files.iter().map(|file| file.name().to_owned()).collect();
    let mut extension_numbers = HashMap::new();
    for (file, view) in files.iter_mut().zip(views) {
        let Some(syntax) = Syntax::of(&file.proto, problems) else { continue };
        let mut checker = Checker {
            symbols,
            view,
            file_names: &names,
            file: file.proto.name().to_owned(),
            syntax,
            scope: file.proto.package().to_owned(),
            extension_numbers: &mut extension_numbers,
            problems,
        };
        checker.check_file(&mut file.proto);
    }
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Proto2,
    Proto3,
    Editions,
}

// Values of `google.protobuf.Edition`.
const EDITION_2023: i32 = 1000;
const EDITION_2024: i32 = 1001;

impl Syntax {
    fn of(file: &FileDescriptorProto, problems: &mut Problems) -> Option<Self> {
        let problem = match (file.syntax.as_deref(), file.edition) {
            (None | Some("" | "proto2"), _) => return Some(Self::Proto2),
            (Some("proto3"), _) => return Some(Self::Proto3),
            (Some("editions"), Some(EDITION_2023 | EDITION_2024)) => return Some(Self::Editions),
            (Some("editions"), None) => Problem::NoEdition,
            // EDITION_2023 is 1000 and each later year counts one on (descriptor.proto).
            (Some("editions"), Some(edition @ 1002..=1099)) => {
                Problem::UnknownEdition((edition + 1023).to_string())
            }
            (Some("editions"), Some(edition)) => Problem::UnknownEdition(format!("number {edition}")),
            (Some(other), _) => Problem::UnknownSyntax(other.to_owned()),
        };
        problems.add(file.name(), "", problem);
        None
    }
}

struct Checker<'a> {
    symbols: &'a Symbols,
    view: &'a View,
    file_names: &'a [String],
    file: String,
    syntax: Syntax,
    /// Full name of the declaration that is being checked.
    scope: String,
    /// Extensions of the whole set by extendee and number.
    extension_numbers: &'a mut HashMap<(String, i32), String>,
    problems: &'a mut Problems,
}

impl Checker<'_> {
    fn check_file(&mut self, file: &mut FileDescriptorProto) {
        let package = file.package();
        if !package.is_empty() && !package.split('.').all(is_identifier) {
            self.problems.add(&self.file, "", Problem::PackageName(package.to_owned()));
        }
        self.options::<raw::FileOptions>(file.options.as_ref());
        for (message, index) in file.message_type.iter_mut().zip(0..) {
            self.within("message", message.name.clone(), index, |checker| checker.message(message, None, 1));
        }
        for (enumeration, index) in file.enum_type.iter().zip(0..) {
            self.within("enum", enumeration.name.clone(), index, |checker| checker.enumeration(enumeration));
        }
        for (service, index) in file.service.iter_mut().zip(0..) {
            self.within("service", service.name.clone(), index, |checker| checker.service(service));
        }
        for (extension, index) in file.extension.iter_mut().zip(0..) {
            self.within("extension", extension.name.clone(), index, |checker| checker.extension(extension));
        }
    }

    fn add(&mut self, problem: Problem) {
        self.problems.add(&self.file, &self.scope, problem);
    }

    /// Runs `check` in the scope of a declaration, when its name can be one.
    fn within(
        &mut self,
        what: &'static str,
        name: Option<String>,
        index: usize,
        check: impl FnOnce(&mut Self),
    ) {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return self.add(Problem::Unnamed { what, index });
        };
        if !is_identifier(&name) {
            return self.add(Problem::InvalidName(name));
        }
        let outer = self.scope.len();
        if outer > 0 {
            self.scope.push('.');
        }
        self.scope.push_str(&name);
        check(self);
        self.scope.truncate(outer);
    }

    fn options<M: Message + Default>(&mut self, options: Option<&Bytes>) -> M {
        match options.map(|bytes| M::decode(bytes.clone())) {
            None => M::default(),
            Some(Ok(options)) => options,
            Some(Err(error)) => {
                self.add(Problem::Options(decode_reason(&error)));
                M::default()
            }
        }
    }

    /// Resolves a type name used in the current scope and checks that it may be used here.
    fn resolve(&mut self, name: &str, expected: &'static str, allowed: &[Kind]) -> Option<(String, Kind)> {
        let Some((full_name, symbol)) = self.symbols.resolve(&self.scope, name) else {
            if !self.view.incomplete {
                self.add(Problem::Unresolved { name: name.strip_prefix('.').unwrap_or(name).to_owned() });
            }
            return None;
        };
        if !allowed.contains(&symbol.kind) {
            self.add(Problem::WrongKind { name: full_name, found: symbol.kind.noun(), expected });
            return None;
        }
        if !self.view.sees(symbol.file) {
            let file = self.file_names.get(symbol.file).cloned().unwrap_or_default();
            if !self.view.incomplete {
                self.add(Problem::NotImported { name: full_name, file });
            }
            return None;
        }
        Some((full_name, symbol.kind))
    }
}

/// A letter or `_`, then letters, digits and `_`, all of ASCII.
fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
