//! A schema in edition 2023 reads and writes what the same schema in proto2 and proto3 does.
//!
//! Byte by byte and, for what is refused, word by word.

use prost_reflect::MessageDescriptor;
use transom::codec::check_required;
use transom::codec::options::{JsonOptions, Unknown};
use transom::schema::{Input, Schema, load};

use crate::arbitrary::{edition, json, wire};
use crate::codec_differential::{Case, for_each_case};
use crate::oracle::output_options;

fn lifted(schema: &Schema) -> Schema {
    let input = Input { name: "lifted".to_owned(), bytes: edition::lifted(schema.pool()).into() };
    load(&[input]).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

/// Checks that `read` does the same with the lifted schema.
#[track_caller]
fn check<T: PartialEq + std::fmt::Debug>(
    case: &mut Case<'_, '_>,
    lifted: &Schema,
    input: &dyn std::fmt::Debug,
    read: impl Fn(&Case<'_, '_>) -> T,
) {
    let plain = read(case);
    let id = lifted.message_id(case.descriptor.full_name()).expect("the same types are in both");
    let descriptor: MessageDescriptor = lifted.descriptor(id).clone();
    let lifted = read(&Case { seed: case.seed, dice: case.dice, schema: lifted, id, descriptor });
    assert_eq!(plain, lifted, "{}: {input:?}", case.place());
}

#[test]
fn an_edition_means_what_the_syntax_before_it_did() {
    let mut current = None;
    for_each_case(|mut case| {
        if !matches!(&current, Some((seed, _)) if *seed == case.seed) {
            current = Some((case.seed, lifted(case.schema)));
        }
        let Some((_, lifted)) = &current else { unreachable!("it was just set") };
        let mut bytes = case.wire();
        for _ in 0..3 {
            for options in output_options().step_by(5) {
                check(&mut case, lifted, &bytes, |case| {
                    let json = case.to_json(&options, &bytes)?;
                    Ok::<_, String>(String::from_utf8_lossy(&json).into_owned())
                });
            }
            check(&mut case, lifted, &bytes, |case| check_required(case.schema, case.id, &bytes));
            wire::mutate(case.dice, &mut bytes, &[b"\xff", b"\x0a\x01", b"\x0b", b"\x0c", b"\x00"]);
        }
        let mut text = json::json(case.dice, &case.descriptor, 3).into_bytes();
        for unknown in [Unknown::Reject, Unknown::Ignore] {
            let options = JsonOptions { unknown, ..JsonOptions::default() };
            let shown = String::from_utf8_lossy(&text).into_owned();
            check(&mut case, lifted, &shown, |case| case.to_wire(&options, &text));
            wire::mutate(case.dice, &mut text, &[b"null", b"1", b"\"", b"4321", b"[]"]);
        }
    });
}
