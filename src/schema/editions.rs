//! Lowering: files of edition 2023 and 2024 become the proto2 files that mean the same.
//!
//! prost-reflect knows proto2 and proto3 alone. Proto2 is the form that can say nearly all: presence,
//! `required`, groups, packed or not. What it cannot say goes to [`Traits`] by full name: implicit
//! presence, open enums, UTF-8 validation. Proto3 files stay as they are, but for those that
//! prost-reflect refuses and protoc does not (field names equal but for case and `_`).
//!
//! Features come from the edition's defaults and are inherited: file → message → nested message, oneof
//! → field; file or message → enum (protobuf.dev, "Feature Settings for Editions").

use std::collections::HashSet;

use prost::Message;

use super::Traits;
use super::check::{Conflicts, settle_json_names};
use super::error::{Problem, Problems};
use super::features::{Features, JsonFormat, Presence};
use super::raw::{self, DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, field_type, label};
use super::read::File;
use super::symbols::join;

/// Lowers the files that need it and notes in `Traits` what they lose.
pub(super) fn lower(files: &mut [File], problems: &mut Problems) -> Traits {
    let mut traits = Traits::default();
    for file in files {
        let proto = &mut file.proto;
        let is_edition = proto.syntax() == "editions";
        let is_refused = proto.syntax() == "proto3" && proto.message_type.iter().any(has_similar_names);
        if !is_edition && !is_refused {
            continue;
        }
        let name = proto.name().to_owned();
        let mut lowering = Lowering { traits: &mut traits, problems, file: &name, is_edition };
        let package = proto.package().to_owned();
        let features = if is_edition {
            let options: raw::FileOptions = raw::known_options(proto.options.as_ref());
            if options.features.is_some_and(|features| features.field_presence == Some(LEGACY_REQUIRED)) {
                let reason = "cannot be LEGACY_REQUIRED for a whole file";
                lowering.refuse("", "field_presence", reason);
            }
            lowering.inherit("", Features::EDITION_2023, options.features)
        } else {
            Features::PROTO3
        };
        for message in &mut proto.message_type {
            lowering.message(message, &package, features);
        }
        for enumeration in &proto.enum_type {
            lowering.enumeration(enumeration, &package, features);
        }
        for extension in &mut proto.extension {
            lowering.extension(extension, &package, features);
        }
        proto.syntax = None;
        proto.edition = None;
    }
    traits
}

const LEGACY_REQUIRED: i32 = Presence::LegacyRequired as i32;

/// prost-reflect compares proto3 names without case and `_`; protoc compares their JSON names.
fn has_similar_names(message: &DescriptorProto) -> bool {
    let mut seen = HashSet::with_capacity(message.field.len());
    let bare = |field: &FieldDescriptorProto| field.name().replace('_', "").to_ascii_lowercase();
    !message.field.iter().all(|field| seen.insert(bare(field)))
        || message.nested_type.iter().any(has_similar_names)
}

struct Lowering<'a> {
    traits: &'a mut Traits,
    problems: &'a mut Problems,
    file: &'a str,
    /// Otherwise proto3.
    is_edition: bool,
}

impl Lowering<'_> {
    fn message(&mut self, message: &mut DescriptorProto, scope: &str, outer: Features) {
        let full_name = join(scope, message.name());
        let options: raw::MessageOptions = raw::known_options(message.options.as_ref());
        let features = self.inherit(&full_name, outer, options.features);
        let oneofs: Vec<Features> = message
            .oneof_decl
            .iter()
            .map(|oneof| {
                let options: raw::OneofOptions = raw::known_options(oneof.options.as_ref());
                self.inherit(&join(&full_name, oneof.name()), features, options.features)
            })
            .collect();
        if self.is_edition {
            let is_strict = features.json_format == JsonFormat::Allow
                && !options.deprecated_legacy_json_field_conflicts();
            let conflicts = if is_strict { Conflicts::Refuse } else { Conflicts::Rename };
            for (name, problem) in settle_json_names(message, conflicts) {
                self.problems.add(self.file, &join(&full_name, &name), problem);
            }
        }
        let map_entries: HashSet<String> = message
            .nested_type
            .iter()
            .filter(|nested| is_map_entry(nested))
            .map(|nested| format!(".{}", join(&full_name, nested.name())))
            .collect();
        let in_map_entry = options.map_entry();
        for field in &mut message.field {
            let oneof = field.oneof_index.and_then(|index| usize::try_from(index).ok());
            let outer = oneof.and_then(|index| oneofs.get(index)).copied().unwrap_or(features);
            let context = FieldContext {
                is_map: in_map_entry || map_entries.contains(field.type_name()),
                in_map_entry,
                is_extension: false,
            };
            self.field(field, &full_name, outer, context);
        }
        for nested in &mut message.nested_type {
            self.message(nested, &full_name, features);
        }
        for enumeration in &message.enum_type {
            self.enumeration(enumeration, &full_name, features);
        }
        for extension in &mut message.extension {
            self.extension(extension, &full_name, features);
        }
    }

    fn extension(&mut self, extension: &mut FieldDescriptorProto, scope: &str, outer: Features) {
        let context = FieldContext { is_map: false, in_map_entry: false, is_extension: true };
        self.field(extension, scope, outer, context);
    }

    fn field(
        &mut self,
        field: &mut FieldDescriptorProto,
        scope: &str,
        outer: Features,
        context: FieldContext,
    ) {
        let full_name = join(scope, field.name());
        let options: raw::FieldOptions = raw::known_options(field.options.as_ref());
        if self.is_edition && !context.in_map_entry {
            self.check_features(&full_name, field, &options, context);
        }
        let features = self.inherit(&full_name, outer, options.features);
        let is_repeated = field.label() == label::REPEATED;
        let is_message = matches!(field.r#type(), field_type::MESSAGE | field_type::GROUP);

        if is_repeated {
            if is_packable(field.r#type()) {
                let packed = if self.is_edition { features.packed } else { options.packed.unwrap_or(true) };
                let options = raw::FieldOptions { packed: Some(packed), features: None };
                field.options = Some(options.encode_to_vec().into());
            }
        } else if !context.is_extension && !context.in_map_entry && field.oneof_index.is_none() {
            match features.presence {
                Presence::LegacyRequired => field.label = Some(label::REQUIRED),
                Presence::Implicit if !is_message => {
                    self.traits.implicit.insert(full_name.as_str().into());
                }
                Presence::Implicit | Presence::Explicit => {}
            }
        }
        // A map's own field and its value stay length-prefixed (`FieldDescriptor::type` of protobuf).
        if features.delimited && field.r#type() == field_type::MESSAGE && !context.is_map {
            field.r#type = Some(field_type::GROUP);
        }
        if features.utf8 && field.r#type() == field_type::STRING {
            self.traits.utf8_flipped.insert(full_name.into());
        }
    }

    fn enumeration(&mut self, enumeration: &EnumDescriptorProto, scope: &str, outer: Features) {
        let full_name = join(scope, enumeration.name());
        let options: raw::EnumOptions = raw::known_options(enumeration.options.as_ref());
        if self.inherit(&full_name, outer, options.features).open_enums {
            if enumeration.value.first().is_some_and(|first| first.number() != 0) {
                self.problems.add(self.file, &full_name, Problem::FirstValue);
            }
            self.traits.open_enums.insert(full_name.into());
        }
    }

    fn inherit(&mut self, full_name: &str, outer: Features, own: Option<raw::FeatureSet>) -> Features {
        let Some(own) = own.filter(|_| self.is_edition) else { return outer };
        outer.with(&own).unwrap_or_else(|problem| {
            self.problems.add(self.file, full_name, problem);
            outer
        })
    }

    /// What protoc refuses to let a field say for itself (`ValidateFieldFeatures` of descriptor.cc).
    fn check_features(
        &mut self,
        full_name: &str,
        field: &FieldDescriptorProto,
        options: &raw::FieldOptions,
        context: FieldContext,
    ) {
        if options.packed.is_some() {
            self.problems.add(self.file, full_name, Problem::NotAllowed("`packed`", "editions"));
        }
        let own = options.features.unwrap_or_default();
        let is_repeated = field.label() == label::REPEATED;
        let is_message = field.r#type() == field_type::MESSAGE;
        if let Some(presence) = own.field_presence {
            let reason = if is_repeated {
                Some("cannot be set on a repeated field")
            } else if field.oneof_index.is_some() {
                Some("cannot be set on a oneof member")
            } else if context.is_extension {
                Some("cannot be set on an extension")
            } else if is_message && presence == Presence::Implicit as i32 {
                Some("cannot be IMPLICIT for a message")
            } else {
                None
            };
            if let Some(reason) = reason {
                self.refuse(full_name, "field_presence", reason);
            }
        }
        if own.repeated_field_encoding.is_some() && !is_repeated {
            self.refuse(full_name, "repeated_field_encoding", "is for repeated fields");
        }
        if own.repeated_field_encoding == Some(1) && is_repeated && !is_packable(field.r#type()) {
            self.refuse(full_name, "repeated_field_encoding", "cannot be PACKED for this type");
        }
        // On a map it is meant for key and value, which carry a copy of their own.
        if own.utf8_validation.is_some() && field.r#type() != field_type::STRING && !context.is_map {
            self.refuse(full_name, "utf8_validation", "is for string fields");
        }
        if own.message_encoding.is_some() && !is_message {
            self.refuse(full_name, "message_encoding", "is for message fields");
        }
    }

    fn refuse(&mut self, full_name: &str, feature: &'static str, reason: &'static str) {
        self.problems.add(self.file, full_name, Problem::Feature { feature, reason });
    }
}

/// Where a field stands.
#[derive(Clone, Copy)]
struct FieldContext {
    /// It is a map, or part of a map entry.
    is_map: bool,
    in_map_entry: bool,
    is_extension: bool,
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    raw::known_options::<raw::MessageOptions>(message.options.as_ref()).map_entry()
}

const fn is_packable(field_type: i32) -> bool {
    !matches!(field_type, field_type::STRING | field_type::BYTES | field_type::MESSAGE | field_type::GROUP)
}
