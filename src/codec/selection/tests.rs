//! Masks as text, and what becomes of their paths in a type.

use std::fmt::Write as _;

use super::*;
use crate::codec::encode::tests::compile;

/// What is wrong with a mask, each with its place; or its paths, the signs taken off.
fn read(text: &str) -> Result<String, String> {
    match Mask::parse(text) {
        Ok(mask) => {
            let sign = if mask.mode == Mode::Exclude { "all but " } else { "" };
            let paths: Vec<_> =
                mask.paths.iter().map(|path| format!("{}@{}", path.text(), path.offset)).collect();
            Ok(format!("{sign}{}", paths.join(" ")))
        }
        Err(errors) => {
            let shown: Vec<_> = errors.iter().map(|error| format!("{}: {error}", error.offset)).collect();
            Err(shown.join("; "))
        }
    }
}

#[test]
fn masks_are_paths_of_one_sign() {
    let check = |text: &str, expected: &str| assert_eq!(read(text).as_deref(), Ok(expected), "{text:?}");
    check("a", "a@0");
    check("a,b.c,_d.e9", "a@0 b.c@2 _d.e9@6");
    check(" a , b ", "a@1 b@5");
    check("-a", "all but a@0");
    check("-a.b, -c", "all but a.b@0 c@6");
    check("[x.y.ext]", "[x.y.ext]@0");
    check("-a.[x.ext].b", "all but a.[x.ext].b@0");
    check("a.b,ab,a.bc,a_b", "a.b@0 ab@4 a.bc@7 a_b@12");
}

#[test]
fn what_is_no_mask_is_told_with_its_place() {
    let check = |text: &str, expected: &str| assert_eq!(read(text), Err(expected.to_owned()), "{text:?}");
    check("", "0: expected a path such as `order.id`, found none");
    check("-", "1: expected a path such as `order.id`, found none");
    check("a,", "2: expected a path such as `order.id`, found none");
    check("a,,b", "2: expected a path such as `order.id`, found none");
    check("a.", "2: expected the name of a field, found ``");
    check(".a", "0: expected the name of a field, found `.a`");
    check("a..b", "2: expected the name of a field, found `.b`");
    check("- a", "1: expected the name of a field, found ` a`");
    check("--a", "1: expected the name of a field, found `-a`");
    check("a b", "1: expected `,`, found ` b`");
    check("a.*", "2: expected the name of a field, found `*`");
    check("a, é", "3: expected the name of a field, found `é`");
    check("9a", "0: expected the name of a field, found `9a`");
    check("[x", "0: expected the name of a field, found `[x`");
    check("[]", "0: expected the name of a field, found `[]`");
    check("[x..y]", "0: expected the name of a field, found `[x..y]`");
    check("[x]y", "3: expected `,`, found `y`");
    check("a,-b", "2: either every path begins with `-` or none does");
    check(
        "-a, b, -c, d",
        "4: either every path begins with `-` or none does; 11: either every path begins with `-` or none does",
    );
    check("a,a", "2: `a` is within `a` already");
    check("order, order.id", "7: `order.id` is within `order` already");
    check("-a.b.c,-a.b-c,-a.b", "0: `a.b.c` is within `a.b` already; 11: expected `,`, found `-c`");
    check("a b, 1", "1: expected `,`, found ` b`; 5: expected the name of a field, found `1`");
}

#[test]
fn a_mask_is_bounded() {
    let paths = |count: usize| {
        let mut text = String::new();
        for index in 0..count {
            write!(text, "{}a{index}", if index == 0 { "" } else { "," }).expect("memory");
        }
        Mask::parse(&text).map(|mask| mask.paths.len()).map_err(|errors| errors[0].problem.clone())
    };
    assert_eq!(paths(PATHS_MAX), Ok(PATHS_MAX));
    assert_eq!(paths(PATHS_MAX + 1), Err(MaskProblem::Paths));
    let depth = |count: usize| {
        let text = vec!["a"; count].join(".");
        Mask::parse(&text).map(|mask| mask.paths[0].names.len()).map_err(|errors| errors[0].problem.clone())
    };
    assert_eq!(depth(DEPTH_MAX), Ok(DEPTH_MAX));
    assert_eq!(depth(DEPTH_MAX + 1), Err(MaskProblem::Depth));
}

#[test]
fn paths_lead_to_fields_of_the_type_or_are_told() {
    let schema = compile();
    let check = |message: &str, path: &str, expected: &str| {
        let id = schema.message_id(message).expect("the fixtures have this type");
        for sign in ["", "-"] {
            let mask = Mask::parse(&format!("{sign}{path}")).expect("a mask");
            let compiled = Selection::compile(&schema, id, &mask);
            let shown = match &compiled.outcomes[0] {
                Outcome::Found => "found".to_owned(),
                Outcome::Elsewhere => "elsewhere".to_owned(),
                Outcome::Wrong(error) => error.to_string(),
            };
            assert_eq!(shown, expected, "{message} {sign}{path}");
            // Without a field to hide, everything is shown; without one to show, nothing.
            assert_eq!(
                compiled.selection.is_none(),
                sign == "-" && shown != "found",
                "{message} {sign}{path}"
            );
        }
    };
    check("t.Node", "n", "found");
    check("t.Node", "after_choice", "found");
    check("t.Node", "afterChoice", "elsewhere");
    check("t.Node", "m", "elsewhere");
    check("t.Node", "child.child.children.n", "found");
    check("t.Node", "child.m", "`t.Node` has no field `m`");
    check("t.Node", "name.n", "`name` of `t.Node` holds no message");
    check("t.Node", "tags.x", "`tags` of `t.Node` holds no message");
    check("t.Maps", "nodes.child.n", "found");
    check("t.Maps", "nodes.key", "`t.Node` has no field `key`");
    check(
        "t.Maps",
        "times.seconds",
        "`times` of `t.Maps` is a `google.protobuf.Timestamp`: it is shown whole or not at all",
    );
    check("t.Known", "empty", "found");
    check("t.Known", "empty.x", "`google.protobuf.Empty` has no field `x`");
    for (name, of) in [
        ("timestamp", "Timestamp"),
        ("mask", "FieldMask"),
        ("struct", "Struct"),
        ("value", "Value"),
        ("list", "ListValue"),
        ("any", "Any"),
        ("w_string", "StringValue"),
    ] {
        let expected =
            format!("`{name}` of `t.Known` is a `google.protobuf.{of}`: it is shown whole or not at all");
        check("t.Known", &format!("{name}.value"), &expected);
    }
    check("google.protobuf.Struct", "fields", "elsewhere");
    check("two.Two", "pair.x", "found");
    check("two.Two", "[two.note]", "found");
    check("two.Two", "[two.none]", "elsewhere");
}

#[test]
fn a_path_under_another_name_hides_nothing_else() {
    // `by_name` would take the JSON name of one field for the declared name of the other.
    let schema = compile();
    let id = schema.message_id("t.Swapped").expect("the fixtures have this type");
    let mask = Mask::parse("-secret").expect("a mask");
    let selection = Selection::compile(&schema, id, &mask).selection.expect("a field is hidden");
    let shown: Vec<_> = schema
        .message(id)
        .fields
        .iter()
        .enumerate()
        .filter(|(index, _)| selection.shows(*index))
        .map(|(_, field)| &*field.name)
        .collect();
    assert_eq!(shown, ["open"]);
}
