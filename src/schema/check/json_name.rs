//! JSON names: unique in proto3, settled in proto2.
//!
//! protoc refuses two fields of one JSON name in proto3 and only warns in proto2, where such messages
//! exist. There the fields concerned keep their proto names, which are unique.

use std::collections::HashMap;

use super::super::raw::DescriptorProto;
use super::super::read::default_json_name;
use super::Problem;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conflicts {
    Refuse,
    Rename,
}

/// Gives every field of a message its JSON name; returns the fields refused.
pub(crate) fn settle(message: &mut DescriptorProto, conflicts: Conflicts) -> Vec<(String, Problem)> {
    for field in &mut message.field {
        if field.json_name.is_none() {
            field.json_name = Some(default_json_name(field.name()));
        }
    }
    let clashes = clashes(message);
    if conflicts == Conflicts::Refuse {
        return clashes
            .into_iter()
            .map(|(first, second)| {
                let field = &message.field[second];
                let other = message.field[first].name().to_owned();
                (field.name().to_owned(), Problem::JsonName { json: field.json_name().to_owned(), other })
            })
            .collect();
    }
    rename(message, clashes);
    Vec::new()
}

/// Ends: each round renames at least one field for good, and proto names do not clash.
fn rename(message: &mut DescriptorProto, mut clashes: Vec<(usize, usize)>) {
    while !clashes.is_empty() {
        let mut renamed = false;
        for index in clashes.iter().flat_map(|&(first, second)| [first, second]) {
            let field = &mut message.field[index];
            renamed |= field.json_name != field.name;
            field.json_name = field.name.clone();
        }
        if !renamed {
            return; // Proto names that clash are reported as duplicates.
        }
        clashes = self::clashes(message);
    }
}

/// Pairs of fields with one JSON name: the first that has it and each other one.
fn clashes(message: &DescriptorProto) -> Vec<(usize, usize)> {
    let mut owners: HashMap<&str, usize> = HashMap::with_capacity(message.field.len());
    let mut clashes = Vec::new();
    for (field, index) in message.field.iter().zip(0..) {
        match owners.get(field.json_name()) {
            Some(&first) => clashes.push((first, index)),
            None => {
                owners.insert(field.json_name(), index);
            }
        }
    }
    clashes
}
