//! Field masks against prost-reflect: what is selected is the oracle's JSON without the members that its
//! descriptors say are hidden.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value as Json;
use transom::codec::options::{JsonOptions, Names};
use transom::codec::selected_to_json;
use transom::codec::selection::{Mask, Mode, Selection};

use crate::arbitrary::wire;
use crate::codec_differential::{Case, for_each_case, parse};
use crate::dice::Dice;
use crate::oracle::{self, SLACK, output_options, same_json};

const PATHS_MAX: usize = 8;
const DEPTH_MAX: usize = 4;
const MASKS_PER_MESSAGE: usize = 6;

/// The type of the messages in a field, if they have members to choose from.
fn held(kind: &Kind, is_map: bool) -> Option<MessageDescriptor> {
    let held = match kind {
        Kind::Message(entry) if is_map => match entry.map_entry_value_field().kind() {
            Kind::Message(value) => value,
            _ => return None,
        },
        Kind::Message(message) => message.clone(),
        _ => return None,
    };
    let is_plain = held.package_name() != "google.protobuf" || held.name() == "Empty";
    is_plain.then_some(held)
}

/// A field or an extension: its names as declared and in JSON, and what it holds.
struct Member {
    name: String,
    json_name: String,
    held: Option<MessageDescriptor>,
}

fn members(of: &MessageDescriptor) -> Vec<Member> {
    let field = |field: FieldDescriptor| Member {
        name: field.name().to_owned(),
        json_name: field.json_name().to_owned(),
        held: held(&field.kind(), field.is_map()),
    };
    let extensions = of.extensions().map(|extension| {
        let name = format!("[{}]", extension.full_name());
        Member { json_name: name.clone(), name, held: held(&extension.kind(), false) }
    });
    of.fields().map(field).chain(extensions).collect()
}

/// Some path through a type.
fn path(dice: &mut Dice<'_>, of: &MessageDescriptor) -> Vec<String> {
    let (mut path, mut of) = (Vec::new(), of.clone());
    loop {
        let mut members = members(&of);
        if members.is_empty() {
            return path;
        }
        let member = members.swap_remove(dice.below(members.len()));
        path.push(member.name);
        match member.held {
            Some(inner) if path.len() < DEPTH_MAX && !dice.one_in(3) => of = inner,
            _ => return path,
        }
    }
}

fn mask(dice: &mut Dice<'_>, of: &MessageDescriptor) -> (Mask, String) {
    let mut paths: Vec<Vec<String>> = Vec::new();
    for _ in 0..=dice.below(PATHS_MAX) {
        let path = path(dice, of);
        let is_within = |other: &Vec<String>| other.starts_with(&path) || path.starts_with(other);
        if !path.is_empty() && !paths.iter().any(is_within) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        paths.push(vec!["none_such".to_owned()]);
    }
    let sign = if dice.one_in(2) { "-" } else { "" };
    let text: Vec<_> = paths.iter().map(|path| format!("{sign}{}", path.join("."))).collect();
    let text = text.join(",");
    (Mask::parse(&text).unwrap_or_else(|errors| panic!("{text}: {errors:?}")), text)
}

/// Takes what is hidden out of the JSON of a message.
fn hide(json: &mut Json, of: &MessageDescriptor, names: Names, mode: Mode, paths: &[&[String]]) {
    let Json::Object(object) = json else { panic!("not the JSON of a message: {json}") };
    for Member { name, json_name, held } in members(of) {
        let key = if names == Names::Json { &json_name } else { &name };
        let here: Vec<_> =
            paths.iter().filter_map(|path| path.strip_prefix(std::slice::from_ref(&name))).collect();
        let is_whole = here.iter().any(|rest| rest.is_empty());
        let is_hidden = if mode == Mode::Include { here.is_empty() } else { is_whole };
        if is_hidden {
            object.remove(key);
            continue;
        }
        let (Some(held), Some(value)) = (held, object.get_mut(key)) else { continue };
        if is_whole || here.is_empty() {
            continue;
        }
        match value {
            Json::Null => {}
            Json::Array(list) => list.iter_mut().for_each(|value| hide(value, &held, names, mode, &here)),
            Json::Object(map) if is_map(of, &name) => {
                map.values_mut().for_each(|value| hide(value, &held, names, mode, &here));
            }
            value => hide(value, &held, names, mode, &here),
        }
    }
}

fn is_map(of: &MessageDescriptor, name: &str) -> bool {
    of.get_field_by_name(name).is_some_and(|field| field.is_map())
}

fn check(case: &Case<'_, '_>, options: &JsonOptions, mask: &Mask, text: &str, wire: &[u8]) {
    let expected = oracle::wire_to_json(&case.descriptor, options, wire)
        .unwrap_or_else(|error| panic!("{}: oracle: {error}", case.place()));
    let mut expected = parse(&expected);
    let paths: Vec<&[String]> = mask.paths.iter().map(|path| path.names.as_slice()).collect();
    hide(&mut expected, &case.descriptor, options.names, mask.mode, &paths);
    let selection = Selection::compile(case.schema, case.id, mask).selection;
    let mut ours = Vec::new();
    selected_to_json(case.schema, case.id, selection.as_ref(), options, wire, &mut ours)
        .unwrap_or_else(|status| panic!("{}, `{text}`: {status}", case.place()));
    assert!(
        same_json(&parse(&ours), &expected, SLACK),
        "{}, `{text}`, {options:?}\n  ours: {}\noracle: {expected}\n  wire: {wire:x?}",
        case.place(),
        String::from_utf8_lossy(&ours),
    );
}

#[test]
fn what_is_selected_is_the_oracles_json_without_the_rest() {
    let mut hidden = 0;
    for_each_case(|mut case| {
        let plain = case.wire();
        let scrambled = wire::scramble(case.dice, &case.descriptor, &plain).expect("valid wire");
        for _ in 0..MASKS_PER_MESSAGE {
            let (mask, text) = mask(case.dice, &case.descriptor);
            hidden += usize::from(mask.mode == Mode::Exclude);
            let options: Vec<_> = output_options().collect();
            for wire in [&plain, &scrambled] {
                let options = *case.dice.pick(&options);
                check(&case, &options, &mask, &text, wire);
            }
        }
    });
    assert!(hidden > 0, "both kinds of masks were tried");
}
