//! Messages: scopes, numbers, ranges, oneofs.

use std::collections::{HashMap, HashSet};

use super::super::raw::{self, DescriptorProto, FieldDescriptorProto, field_type, label};
use super::ranges::Ranges;
use super::{Checker, Conflicts, NESTING_MAX, Problem, Syntax, map_entry, settle_json_names};

impl Checker<'_> {
    /// `parent` is needed by map entries, which belong to a field of it.
    pub(super) fn message(
        &mut self,
        message: &mut DescriptorProto,
        parent: Option<&[FieldDescriptorProto]>,
        depth: usize,
    ) {
        if depth > NESTING_MAX {
            return self.add(Problem::TooDeep { max: NESTING_MAX });
        }
        let options: raw::MessageOptions = self.options(message.options.as_ref());
        self.protobufs_own(message);
        self.message_scope(message);
        let ranges = self.message_ranges(message, options.message_set_wire_format());
        self.field_numbers(message, &ranges);
        self.oneofs(message);
        let oneofs = message.oneof_decl.len();
        for (field, index) in message.field.iter_mut().zip(0..) {
            self.within("field", field.name.clone(), index, |checker| checker.field(field, oneofs));
        }
        if options.map_entry()
            && let Err(problem) = map_entry::check(message, parent, &self.scope)
        {
            self.add(Problem::MapEntry(problem));
        }
        if self.syntax != Syntax::Editions {
            let is_strict =
                self.syntax == Syntax::Proto3 && !options.deprecated_legacy_json_field_conflicts();
            let conflicts = if is_strict { Conflicts::Refuse } else { Conflicts::Rename };
            for (name, problem) in settle_json_names(message, conflicts) {
                self.within("field", Some(name), 0, |checker| checker.add(problem));
            }
        }
        for (extension, index) in message.extension.iter_mut().zip(0..) {
            self.within("extension", extension.name.clone(), index, |checker| checker.extension(extension));
        }
        for (enumeration, index) in message.enum_type.iter().zip(0..) {
            self.within("enum", enumeration.name.clone(), index, |checker| checker.enumeration(enumeration));
        }
        for (nested, index) in message.nested_type.iter_mut().zip(0..) {
            let fields = &message.field;
            self.within("message", nested.name.clone(), index, |checker| {
                checker.message(nested, Some(fields), depth + 1);
            });
        }
    }

    /// prost-reflect decodes options by the set's own `descriptor.proto`, where it holds one, and takes for
    /// granted that these three are what they are.
    fn protobufs_own(&mut self, message: &DescriptorProto) {
        let number = match self.scope.as_str() {
            "google.protobuf.MessageOptions" => 7,
            "google.protobuf.FieldOptions" | "google.protobuf.EnumOptions" => 2,
            _ => return,
        };
        let mut fields = message.field.iter().filter(|field| field.number() == number);
        let is_ours = |field: &FieldDescriptorProto| {
            field.r#type() == field_type::BOOL && field.label() != label::REPEATED
        };
        if !fields.all(is_ours) {
            self.add(Problem::NotProtobufs(self.scope.clone()));
        }
    }

    /// Everything declared in a message shares one scope. Types are compared across files already.
    fn message_scope(&mut self, message: &DescriptorProto) {
        let types = message.nested_type.iter().map(DescriptorProto::name);
        let types: HashSet<&str> = types.chain(message.enum_type.iter().map(|e| e.name())).collect();
        let mut seen = HashSet::new();
        let mut twice = Vec::new();
        let names = message.field.iter().map(FieldDescriptorProto::name);
        let names = names.chain(message.oneof_decl.iter().map(|oneof| oneof.name()));
        let names = names.chain(message.extension.iter().map(FieldDescriptorProto::name));
        let values = message.enum_type.iter().flat_map(|enumeration| &enumeration.value);
        for name in names.chain(values.map(|value| value.name())) {
            if !name.is_empty() && (types.contains(name) || !seen.insert(name)) {
                twice.push(name);
            }
        }
        for name in twice {
            self.add(Problem::DuplicateName(name.to_owned()));
        }
    }

    fn message_ranges(&mut self, message: &DescriptorProto, is_message_set: bool) -> Ranges {
        let mut ranges = Ranges::default();
        // Exclusive ends. A message set numbers its extensions up to the largest int32.
        let end_max = if is_message_set { i32::MAX } else { 1 << 29 };
        for range in &message.reserved_range {
            ranges.add("reserved", range.start(), range.end(), end_max, &mut |problem| self.add(problem));
        }
        for range in &message.extension_range {
            ranges.add("extension", range.start(), range.end(), end_max, &mut |problem| self.add(problem));
        }
        if self.syntax == Syntax::Proto3 && !message.extension_range.is_empty() {
            self.add(Problem::NotAllowed("an extension range", "proto3"));
        }
        ranges.report_overlaps(&mut |problem| self.add(problem));
        ranges
    }

    fn field_numbers(&mut self, message: &DescriptorProto, ranges: &Ranges) {
        let reserved: HashSet<&str> = message.reserved_name.iter().map(String::as_str).collect();
        let mut numbers: HashMap<i32, &str> = HashMap::with_capacity(message.field.len());
        for (field, index) in message.field.iter().zip(0..) {
            let number = field.number();
            let other = numbers.insert(number, field.name()).filter(|_| field.number.is_some());
            let mut found = Vec::new();
            if let Some(other) = other {
                found.push(Problem::DuplicateNumber { number, other: other.to_owned() });
            }
            match ranges.containing(number) {
                Some("reserved") => found.push(Problem::NumberReserved(number)),
                Some(_) => found.push(Problem::NumberInExtensionRange(number)),
                None => {}
            }
            if reserved.contains(field.name()) {
                found.push(Problem::NameReserved);
            }
            for problem in found {
                self.within("field", field.name.clone(), index, |checker| checker.add(problem));
            }
        }
    }

    fn oneofs(&mut self, message: &DescriptorProto) {
        let mut used = vec![false; message.oneof_decl.len()];
        for field in &message.field {
            let slot = field.oneof_index.and_then(|index| usize::try_from(index).ok());
            if let Some(slot) = slot.and_then(|slot| used.get_mut(slot)) {
                *slot = true;
            }
        }
        for ((oneof, index), used) in message.oneof_decl.iter().zip(0..).zip(used) {
            self.within("oneof", oneof.name.clone(), index, |checker| {
                checker.options::<raw::OneofOptions>(oneof.options.as_ref());
                if !used {
                    checker.add(Problem::EmptyOneof);
                }
            });
        }
    }
}
